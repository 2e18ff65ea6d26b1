"""Values, nodes, ops, and the one way through them, `apply`.

`apply` evaluates an op on raw values, records a node if a recorder is open and an input has a
node, and pushes the tangents that the inputs carry. Nothing here names a particular op: the
table in `ad/ops` makes the ops, and tells by `install` which of them serve the operators.
"""
cimport cython
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.long cimport PyLong_AsDouble
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.object cimport Py_EQ, Py_GE, Py_GT, Py_LE, Py_LT
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from cpython.slice cimport PySlice_AdjustIndices, PySlice_Unpack
from libc.stdint cimport UINT64_MAX

cimport numpy as cnp
from ad._kernels cimport (
    Factor, find_loop, find_native, fold_loop, is_plain, map1, map2, offer, slice1,
)

import operator

import numpy as np

from ad.errors import conversion_error, no_item_assignment, not_an_output

cnp.import_array()

cdef extern from "Python.h":
    PyObject *PyThreadState_GetDict()
    void PyType_Modified(type t)
    ctypedef void (*destructor)(PyObject *) noexcept
    ctypedef struct PyTypeObject:
        PyObject *tp_dict
        destructor tp_dealloc

cdef extern from *:
    """
    #if defined(_MSC_VER)
    static __declspec(thread) PyObject *ad_state;
    #elif defined(__GLIBC__)
    static __thread PyObject *ad_state __attribute__((tls_model("initial-exec")));
    #elif defined(__GNUC__)
    static __thread PyObject *ad_state;
    #else
    static _Thread_local PyObject *ad_state;
    #endif
    #ifndef AD_DEBUG
    #define AD_DEBUG 0
    #endif
    """
    PyObject *ad_state
    const bint DEBUG "AD_DEBUG"

cdef type FLOAT64 = np.float64
cdef object DTYPE = np.dtype(np.float64)
cdef uint64_t clock = 1
cdef uint32_t OUTPUT_NEEDED = <uint32_t>1 << 31
cdef long nodes_alive = 0

# Tags below this belong to `Dual`s, by depth of nesting; they are always live.
cdef long FIRST_LEVEL = 16
cdef long last_level = FIRST_LEVEL


def live_objects():
    """How many nodes are alive: kept by a debug build (AD_DEBUG=1) only."""
    if not DEBUG:
        raise RuntimeError("live objects are counted in a debug build only: build with AD_DEBUG=1")
    return {"nodes": nodes_alive}


# -- what a thread is doing ----------------------------------------------------------------

cdef class State:
    """The open recorders and forward levels of one thread."""

    def __cinit__(self):
        self.recorders = []
        self.levels = []
        self.floor = UINT64_MAX


cdef State current():
    global ad_state
    if ad_state == NULL:
        state = State()
        (<dict>PyThreadState_GetDict())[State] = state  # lives as long as the thread
        ad_state = <PyObject *>state
    return <State>ad_state


cdef uint64_t now() noexcept:
    """A new moment: later than every node so far."""
    global clock
    clock += 1
    return clock


cdef class Recorder:
    """An interval of recording, with pauses: a node belongs to it by its sequence number."""

    def __cinit__(self):
        self.start = self.end = UINT64_MAX

    cdef void enter(self):
        cdef State state = current()
        state.recorders.append(self)
        self.resume()
        state.floor = min(state.floor, self.start)

    cdef void leave(self):
        cdef State state = current()
        cdef Recorder other
        self.pause()
        state.recorders.remove(self)
        state.floor = UINT64_MAX
        for other in state.recorders:
            state.floor = min(state.floor, other.start)

    cdef void resume(self):
        cdef State state = current()
        if self.start == UINT64_MAX:
            self.start = now()
        else:
            if self.pauses is None:
                self.pauses = []
            self.pauses.append((self.end, now()))
        self.end = UINT64_MAX
        self.recording = True
        state.recording += 1

    cdef void pause(self):
        cdef State state = current()
        if self.recording:
            self.end = now()
            self.recording = False
            state.recording -= 1

    cdef bint sees(self, Node node) noexcept:
        if not self.start <= node.seq < self.end:
            return False
        if self.pauses is not None:
            for start, end in self.pauses:
                if start <= node.seq < end:
                    return False
        return True

    cdef void access(self, Variable variable):
        """A variable has been read while this recorder was open."""


cdef class Level:
    """One forward differentiation under way; tangents carry its tag."""

    cdef void enter(self):
        global last_level
        cdef State state = current()
        last_level += 1
        self.tag = last_level
        self.depth = len(state.recorders)
        state.levels.append(self)

    cdef void leave(self):
        current().levels.remove(self)


cdef Level find_level(State state, long tag):
    cdef Level level
    for level in state.levels:
        if level.tag == tag:
            return level
    return None


# -- nodes ---------------------------------------------------------------------------------

@cython.final
cdef class Aval:
    """What is known of a value that was dropped: its shape and dtype."""

    def __init__(self, tuple shape, dtype=DTYPE):
        self.shape = shape
        self.dtype = np.dtype(dtype)

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def size(self):
        size = 1
        for n in self.shape:
            size *= n
        return size

    def __repr__(self):
        return f"Aval(shape={self.shape}, dtype={self.dtype})"


cdef inline void forget(Content *value, uint8_t kind) noexcept:
    if kind == ARRAY:
        offer(value.object)
        Py_DECREF(<object>value.object)
    elif kind == SHAPE:
        Py_DECREF(<object>value.object)


# Nodes whose last holder is going wait here, so that a chain of a million of them is freed in
# a loop and not by recursion.
cdef PyObject **dying = NULL
cdef size_t n_dying = 0, dying_room = 0
cdef bint burying = False


cdef inline void release(PyObject *node) noexcept:
    """Give up a reference; if it was the last, the outermost `__dealloc__` frees the node."""
    global dying, n_dying, dying_room
    if node.ob_refcnt == 1:
        if n_dying == dying_room:
            dying_room = max(<size_t>1024, 2 * dying_room)
            dying = <PyObject **>PyMem_Realloc(dying, dying_room * sizeof(PyObject *))
        dying[n_dying] = node
        n_dying += 1
    else:
        Py_DECREF(<object>node)


@cython.no_gc
cdef class Node:
    """One recorded op: what a sweep needs of it, and what running it again needs."""


cdef destructor free_node = (<PyTypeObject *>Node).tp_dealloc

# Nodes and arrays come and go with every op. The ones given back last wait here as they are, which
# is cheaper than Cython's own free lists: nothing is cleared twice.
cdef enum:
    SPARE = 4096
cdef PyObject *spare_nodes[4096]
cdef PyObject *spare_arrays[4096]
cdef int n_spare_nodes = 0, n_spare_arrays = 0


cdef void dealloc_node(NodePtr node) noexcept:
    """Let go of what a node holds, without recursion into its inputs.

    It stands in the type's slot itself, since a `__dealloc__` costs as much again as all this.
    """
    global burying, n_dying, n_spare_nodes, nodes_alive
    cdef bint outermost = not burying
    cdef Input *inputs = inputs_of(node)
    cdef uint8_t *kinds = kinds_of(node)
    cdef int i
    burying = True
    for i in range((<Node>node).n):
        forget(&inputs[i].value, kinds[i])
        if inputs[i].node != NULL:
            release(inputs[i].node)
    forget(&(<Node>node).output, (<Node>node).output_kind)
    Py_XDECREF((<Node>node).op)
    Py_XDECREF((<Node>node).params)
    if (<Node>node).n > 2:
        PyMem_Free(inputs)
    if DEBUG:
        nodes_alive -= 1
    if n_spare_nodes < SPARE and type(<object>node) is Node:
        spare_nodes[n_spare_nodes] = node
        n_spare_nodes += 1
    else:
        free_node(node)
    if outermost:
        while n_dying:
            n_dying -= 1
            Py_DECREF(<object>dying[n_dying])
        burying = False


(<PyTypeObject *>Node).tp_dealloc = dealloc_node


@cython.final
@cython.no_gc
cdef class TangentNode(Node):
    """A node whose inputs carried tangents, which its sweep must carry on."""


cdef inline tuple tangents_of(Node node):
    return (<TangentNode>node).tangents if type(node) is TangentNode else None


cdef inline Node new_node(bint has_tangents):
    """A node with no op and no inputs; its caller sets all else that it uses."""
    global n_spare_nodes, nodes_alive
    cdef NodePtr node
    if DEBUG:
        nodes_alive += 1
    if has_tangents:
        return TangentNode.__new__(TangentNode)
    if n_spare_nodes == 0:
        return Node.__new__(Node)
    n_spare_nodes -= 1
    node = spare_nodes[n_spare_nodes]
    node.ob_refcnt = 0  # the cast below counts the first reference
    (<Node>node).op = (<Node>node).params = NULL
    (<Node>node).n = 0
    (<Node>node).narrow[0].node = (<Node>node).narrow[1].node = NULL
    (<Node>node).kinds[0] = (<Node>node).kinds[1] = (<Node>node).output_kind = NOTHING
    return <Node>node


cdef Node new_leaf():
    cdef Node node = new_node(False)
    node.seq = UINT64_MAX
    return node


cdef Saved dropped(Operand *operand):
    """What is kept of a value whose cotangent needs its shape and dtype only."""
    cdef Saved saved
    cdef PyObject *array = operand.value
    if operand.kind == NUMBER:
        saved.kind = SHAPE_NUMBER
    elif cnp.PyArray_NDIM(<cnp.ndarray>array) == 1 and is_plain(array):
        saved.kind = SHAPE_VECTOR
        saved.of.n = cnp.PyArray_DIM(<cnp.ndarray>array, 0)
    else:
        aval = Aval((<object>array).shape, (<object>array).dtype)
        Py_INCREF(aval)
        saved.kind = SHAPE
        saved.of.object = <PyObject *>aval
    return saved


cdef inline Saved kept(Operand *operand) noexcept:
    cdef Saved saved
    saved.kind = operand.kind
    if operand.kind == NUMBER:
        saved.of.x = operand.x
    else:
        saved.of.object = operand.value
        Py_INCREF(<object>operand.value)
    return saved


cdef inline bint same_aval(Operand *a, Operand *b) noexcept:
    cdef int i, nd
    if a.kind == NUMBER or b.kind == NUMBER:
        return a.kind == b.kind
    nd = cnp.PyArray_NDIM(<cnp.ndarray>a.value)
    if (nd != cnp.PyArray_NDIM(<cnp.ndarray>b.value)
            or cnp.PyArray_TYPE(<cnp.ndarray>a.value) != cnp.PyArray_TYPE(<cnp.ndarray>b.value)):
        return False
    for i in range(nd):
        if (cnp.PyArray_DIM(<cnp.ndarray>a.value, i)
                != cnp.PyArray_DIM(<cnp.ndarray>b.value, i)):
            return False
    return True


cdef inline Node record(State state, Op op, Operand *operands, int n, object params, Operand *output,
                        bint has_tangents):
    """A node for this op, which keeps only the values that its rule will need."""
    cdef Node node = new_node(has_tangents)
    cdef Input *inputs
    cdef uint8_t *kinds
    cdef uint32_t needs = 0
    cdef Saved saved
    cdef int i
    if n > 2:
        node.narrow[0].node = <PyObject *>PyMem_Calloc(n, sizeof(Input) + 1)
    node.n = n
    inputs = inputs_of(<NodePtr>node)
    kinds = kinds_of(<NodePtr>node)
    Py_INCREF(op)
    node.op = <PyObject *>op
    if params is not None:
        Py_INCREF(params)
        node.params = <PyObject *>params
    node.seq = now()
    for i in range(n):
        if operands[i].node != NULL and (<Node>operands[i].node).seq >= state.floor:
            inputs[i].node = operands[i].node
            Py_INCREF(<object>operands[i].node)
            needs |= op.needs[i if i < 7 else 7]
    node.fit = fit_of(op, n, inputs, operands, output)
    for i in range(n):
        if inputs[i].node == NULL or needs >> i & 1:
            saved = kept(&operands[i])
        elif node.fit == MIXED:
            saved = dropped(&operands[i])
        else:
            continue
        inputs[i].value = saved.of
        kinds[i] = saved.kind
    if needs & OUTPUT_NEEDED:
        saved = kept(output)
    elif node.fit == MIXED:
        saved = dropped(output)
    else:
        return node
    node.output = saved.of
    node.output_kind = saved.kind
    return node


cdef inline Fit fit_of(Op op, int n, Input *inputs, Operand *operands, Operand *output) noexcept:
    cdef int i
    if not op.elementwise:
        return MIXED
    for i in range(n):
        if operands[i].kind == NUMBER and inputs[i].node == NULL and output.kind == ARRAY:
            continue
        if not same_aval(&operands[i], output):
            return MIXED
    return ALIKE if output.kind == ARRAY else NUMBERS


cdef tuple shape_of(Saved saved):
    if saved.kind == NUMBER or saved.kind == SHAPE_NUMBER:
        return ()
    if saved.kind == SHAPE_VECTOR:
        return (saved.of.n,)
    return (<object>saved.of.object).shape


cdef object read_saved(Saved saved, Node node, tuple tangents):
    if saved.kind == NUMBER:
        return new_array(None, saved.of.x, node, tangents)
    if saved.kind == ARRAY:
        return new_array(<object>saved.of.object, 0, node, tangents)
    if saved.kind == SHAPE_VECTOR or saved.kind == SHAPE_NUMBER:
        return Aval(shape_of(saved))
    if saved.kind == SHAPE:
        return <object>saved.of.object
    return None


cdef object read_input(Node node, int i):
    """Input i as the op saw it: an Array, or what is left of it (an Aval, or None)."""
    cdef Input *input = &inputs_of(<NodePtr>node)[i]
    cdef tuple tangents = tangents_of(node)
    cdef Node maker = <Node>input.node if input.node != NULL else None
    return read_saved(saved_input(node, i), maker, None if tangents is None else tangents[i])


cdef object read_output(Node node):
    """The output, as `read_input`; a tuple of Arrays for an op with several.

    Its tangents are found anew: were they kept, a tangent whose own node has this one for its
    input would hold on to itself.
    """
    cdef tuple dots = tangents_of(node)
    cdef Op op = op_of(node)
    y = read_saved(saved_output(node), node, None)
    if dots is None or not isinstance(y, Array):
        return y if op.outputs == 1 else output_with(op, y, [])
    xs = [read_input(node, i) for i in range(node.n)]
    return output_with(op, y, find_tangents(op, xs, list(dots), y, params_of(node)))


cdef Node new_pick(Node node, int k):
    """Output k of a node with several: a node whose input is that node."""
    cdef Node pick = new_node(False)
    Py_INCREF(PICK)
    pick.op = <PyObject *>PICK
    params = (k,)
    Py_INCREF(params)
    pick.params = <PyObject *>params
    pick.seq = node.seq
    pick.n = 1
    pick.narrow[0].node = <PyObject *>node
    Py_INCREF(node)
    return pick


# -- ops -----------------------------------------------------------------------------------

@cython.final
cdef class Op:
    """One entry of the table, in the shape the core works with.

    `fn(*values, *params)` computes on raw values. An elementwise op has `partials`, one for
    each input: a number, or a callable of `(*inputs, output)`. Every other form has
    `jvp(x_dots, xs, y, params)` and `vjp(i, y_bar, xs, y, params)`. `needs[i]` tells which
    values the cotangent of input i needs: bit k for input k, bit 31 for the output. A reduction
    may have `fold`, the ufunc and its neutral element, for the case that reduces to one number.
    """

    def __init__(self, name, form, fn, *, partials=(), jvp=None, vjp=None, needs=(0,),
                 parameters=(), outputs=1, fold=None):
        cdef int i
        self.name, self.form, self.fn = name, form, fn
        self.partials, self.jvp, self.vjp = tuple(partials), jvp, vjp
        self.elementwise = form == "elementwise"
        self.arity = len(self.partials)
        self.parameters, self.outputs = tuple(parameters), outputs
        for i in range(8):
            self.needs[i] = needs[min(i, len(needs) - 1)]
        for i, partial in enumerate(self.partials[:2]):
            self.constant[i] = isinstance(partial, (int, float))
            self.factor[i] = partial if self.constant[i] else 0
        find_loop(fn, &self.loop)
        find_loop(None if fold is None else fold[0], &self.folding)
        self.fold_start = 0 if fold is None else fold[1]
        encoded = name.encode()
        self.native = find_native(encoded) if self.elementwise else NULL
        if self.native != NULL and self.native.loop != NULL:
            self.numpy_loop = self.loop
            self.loop.run, self.loop.data = self.native.loop, &self.numpy_loop

    def __repr__(self):
        return f"<ad op {self.name}>"


cdef extern from "Python.h":
    ctypedef struct PyMethodDef:
        const char *ml_name
        void *ml_meth
        int ml_flags
        const char *ml_doc
    int METH_FASTCALL, METH_KEYWORDS
    object PyCFunction_NewEx(PyMethodDef *method, object self, object module)


cdef object call_elementwise(PyObject *op, PyObject **args, Py_ssize_t n, PyObject *names):
    """What a public elementwise function does: `ad.sin(x)`."""
    cdef Op self = <Op>op
    if names == NULL:
        if n == 1 and self.arity == 1:
            if isinstance(<object>args[0], Array):
                return apply1(self, <object>args[0])
        elif n == 2 and self.arity == 2:
            if isinstance(<object>args[0], Array) or isinstance(<object>args[1], Array):
                return apply2(self, <object>args[0], <object>args[1])
    values = tuple([<object>args[i] for i in range(n)])
    keywords = {} if names == NULL else {
        name: <object>args[n + i] for i, name in enumerate(<tuple>names)}
    return self.fn(*values, **keywords)


def elementwise_function(Op op, doc):
    """The public function of an elementwise op, as light to call as a built-in one."""
    cdef PyMethodDef *method = <PyMethodDef *>PyMem_Calloc(1, sizeof(PyMethodDef))  # lives for ever
    op.public = (op.name.encode(), doc.encode())
    method.ml_name = op.public[0]
    method.ml_doc = op.public[1]
    method.ml_meth = <void *>call_elementwise
    method.ml_flags = METH_FASTCALL | METH_KEYWORDS
    return PyCFunction_NewEx(method, op, "ad")


cdef Op PICK = Op("pick", "pick", None, outputs=1)
cdef dict roles = {}
cdef Op op_add, op_subtract, op_multiply, op_divide, op_power, op_floor_divide, op_remainder
cdef Op op_negative, op_absolute, op_positive, op_getitem


def install(**ops):
    """Tell the core which ops serve its operators, and which the sweeps build with.

    A few go by function and not by op: those whose calls have to be bound first.
    """
    global op_add, op_subtract, op_multiply, op_divide, op_power, op_floor_divide, op_remainder
    global op_negative, op_absolute, op_positive, op_getitem
    roles.update(ops)
    op_add, op_subtract, op_multiply = roles["add"], roles["subtract"], roles["multiply"]
    op_divide, op_power, op_floor_divide = roles["divide"], roles["power"], roles["floor_divide"]
    op_remainder, op_negative = roles["remainder"], roles["negative"]
    op_absolute, op_positive, op_getitem = roles["absolute"], roles["positive"], roles["getitem"]


def add_method(str name, function):
    """Make a function of the table a method (or property) of Array."""
    cdef dict namespace = <dict>(<PyTypeObject *>Array).tp_dict
    namespace[name] = function
    PyType_Modified(Array)


# -- from operands to values ---------------------------------------------------------------

cdef inline void read_array(Array x, Operand *operand):
    operand.kind = NUMBER if x.array is None else ARRAY
    operand.value = NULL if x.array is None else <PyObject *>x.array
    operand.x = x.number
    operand.node = NULL if x.node is None else <PyObject *>x.node
    operand.tangents = NULL if x.tangents is None else <PyObject *>x.tangents


cdef inline object read_operand(object a, Operand *operand):
    """Fill in an operand; returns what must stay alive while it is used, None if it is no number."""
    if type(a) is Array:
        read_array(<Array>a, operand)
        return a
    if type(a) is float:
        operand.kind = NUMBER
        operand.x = PyFloat_AS_DOUBLE(a)
        operand.value = <PyObject *>a
        operand.node = operand.tangents = NULL
        return a
    return read_other(a, operand)


cdef object read_other(object a, Operand *operand):
    cdef type t = type(a)
    if t is Dual:
        read_array(<Array>a, operand)
        return a
    operand.node = operand.tangents = NULL
    if t is FLOAT64:
        operand.kind = NUMBER
        operand.x = PyFloat_AS_DOUBLE(a)
        operand.value = <PyObject *>a
        return a
    if t is int:
        operand.kind = NUMBER
        operand.x = PyLong_AsDouble(a)
        operand.value = <PyObject *>a
        return a
    if isinstance(a, Variable):
        a = (<Variable>a).read()
        read_array(<Array>a, operand)
        return a
    if not isinstance(a, cnp.ndarray):
        if not isinstance(a, (bool, complex, np.generic, list, tuple)):
            return None
        if isinstance(a, (list, tuple)):
            a = roles["asarray"](a)
            if isinstance(a, Array):
                read_array(<Array>a, operand)
                return a
        else:
            a = np.asarray(a)
    elif type(a) is not cnp.ndarray:
        a = np.asarray(a)
    operand.kind = ARRAY
    operand.value = <PyObject *>a
    if cnp.PyArray_NDIM(<cnp.ndarray>a) == 0 and cnp.PyArray_TYPE(<cnp.ndarray>a) == cnp.NPY_DOUBLE:
        operand.kind = NUMBER
        operand.x = a[()]
    return a


cdef inline object raw(Operand *operand):
    """The operand as NumPy takes it; a Python number stays weak in promotion."""
    return FLOAT64(operand.x) if operand.value == NULL else <object>operand.value


cdef inline Factor factor(Operand *operand) noexcept:
    cdef Factor f
    f.array = operand.value if operand.kind == ARRAY else NULL
    f.number = operand.x
    return f


cdef object set_output(Operand *output, object value):
    """Fill in what an op has computed; returns what must stay alive."""
    output.kind = ARRAY
    if type(value) is not cnp.ndarray:
        if type(value) is FLOAT64 or type(value) is float:
            output.kind = NUMBER
            output.x = PyFloat_AS_DOUBLE(value)
            output.value = NULL
            return None
        if type(value) is not tuple:
            value = np.asarray(value)
    output.value = <PyObject *>value
    if output.kind == ARRAY and type(value) is cnp.ndarray and value.ndim == 0 and value.dtype == DTYPE:
        output.kind = NUMBER
        output.x = value[()]
        output.value = NULL
    return value


cdef object finish(Op op, Operand *operands, int n, tuple params, Operand *output):
    """The Array of an output: with its node, and with its tangents."""
    cdef Array y = blank_array()
    cdef State state
    cdef bint has_node = False, has_tangents = False
    cdef int i
    if output.kind == NUMBER:
        y.number = output.x
    else:
        y.array = <object>output.value
    for i in range(n):
        has_node |= operands[i].node != NULL
        has_tangents |= operands[i].tangents != NULL
    if has_node:
        state = current()
        if state.recording:
            for i in range(n):
                if operands[i].node != NULL and (<Node>operands[i].node).seq >= state.floor:
                    y.node = record(state, op, operands, n, params, output, has_tangents)
                    break
    if has_tangents:
        return push_tangents(op, operands, n, params, y)
    return y


cdef inline bint is_recorded(Operand *operand) noexcept:
    return operand.node != NULL and (<Node>operand.node).seq >= (<State>ad_state).floor


cdef inline object finish_numbers(Op op, Operand *operands, int n, double y):
    """`finish` for an elementwise op on float64 scalars: every value is kept, it costs nothing."""
    cdef Operand output
    cdef Array out
    cdef Node node
    cdef int i
    if operands[0].tangents != NULL or n == 2 and operands[1].tangents != NULL:
        output.kind, output.x, output.value = NUMBER, y, NULL
        return finish(op, operands, n, None, &output)
    out = blank_array()
    out.number = y
    if ad_state == NULL or not (<State>ad_state).recording:
        return out
    if is_recorded(&operands[0]) or n == 2 and is_recorded(&operands[1]):
        node = new_node(False)
        Py_INCREF(op)
        node.op = <PyObject *>op
        node.seq = now()
        node.n = n
        node.fit = NUMBERS
        node.output_kind = node.kinds[0] = node.kinds[1] = NUMBER
        node.output.x = y
        for i in range(n):
            node.narrow[i].value.x = operands[i].x
            if is_recorded(&operands[i]):
                node.narrow[i].node = operands[i].node
                Py_INCREF(<object>operands[i].node)
        out.node = node
    return out


cdef object finish_many(Op op, Operand *operands, int n, tuple params, Operand *output):
    """The Arrays of an op with several outputs."""
    cdef Array packed = finish(op, operands, n, params, output)
    cdef tuple values = packed.array
    cdef int k
    return tuple([
        wrap(value, None if packed.node is None else new_pick(packed.node, k),
             None if packed.tangents is None else packed.tangents[k])
        for k, value in enumerate(values)])


# -- forward mode --------------------------------------------------------------------------

cdef Array find_tangent(tuple tangents, long tag):
    if tangents is not None:
        for own, x_dot in tangents:
            if own == tag:
                return x_dot
    return None


cdef Array tangent_of(Array x, long tag):
    return find_tangent(x.tangents, tag)


cdef tuple below(tuple tangents, long tag):
    """Those of lower levels: what a tangent of level `tag` is computed from."""
    if tangents is None:
        return None
    return tuple([t for t in tangents if t[0] < tag]) or None


cdef list live_tags(State state, list dots):
    """The tags of live levels among the inputs' tangents, lowest first."""
    cdef set tags = set()
    for tangents in dots:
        for tag, _ in tangents or ():
            if tag < FIRST_LEVEL or find_level(state, tag) is not None:
                tags.add(tag)
    return sorted(tags)


cdef int recording_outside(State state, long tag):
    """How many recorders record that were opened before the level."""
    cdef Recorder recorder
    cdef int i, count = 0
    if tag < FIRST_LEVEL:
        return state.recording
    for i in range(min(find_level(state, tag).depth, <int>len(state.recorders))):
        recorder = state.recorders[i]
        count += recorder.recording
    return count


cdef object push_tangents(Op op, Operand *operands, int n, tuple params, Array y):
    """Give `y` the tangents of every live level."""
    cdef list xs = [], dots = []
    cdef int i
    for i in range(n):
        xs.append(new_array(None if operands[i].kind == NUMBER else <object>operands[i].value, operands[i].x,
                            None if operands[i].node == NULL else <Node>operands[i].node, None))
        dots.append(None if operands[i].tangents == NULL else <tuple>operands[i].tangents)
    if y.node is not None:
        (<TangentNode>y.node).tangents = tuple(dots)
    found = find_tangents(op, xs, dots, y, params or ())
    if op.outputs == 1:
        return new_array(y.array, y.number, y.node, tuple(found) or None)
    y.tangents = tuple([part_tangents(found, k) for k in range(op.outputs)])
    return y


cdef list find_tangents(Op op, list xs, list dots, Array y, tuple params):
    """[(tag, y_dot), ...] from the inputs' tangents `dots`, lowest level first.

    An input may be what a node has left of it (an Aval, or None), if the rule can do without.
    """
    cdef State state = current()
    cdef int recording = state.recording
    cdef list found = []
    for tag in live_tags(state, dots):
        x_dots = tuple([find_tangent(tangents, tag) for tangents in dots])
        lower = tuple([lowered(x, tangents, tag) for x, tangents in zip(xs, dots)])
        state.recording = recording_outside(state, tag)
        try:
            y_dot = push_rule(op, x_dots, lower, output_with(op, y, found), params)
        finally:
            state.recording = recording
        if y_dot is not None:
            found.append((tag, y_dot))
    return found


cdef object lowered(object x, tuple tangents, long tag):
    """An input with its tangents of lower levels only."""
    if not isinstance(x, Array):
        return x
    return new_array((<Array>x).array, (<Array>x).number, (<Array>x).node, below(tangents, tag))


cdef Array restrict(Array x, long tag):
    return lowered(x, x.tangents, tag)


cdef tuple part_tangents(list found, int k):
    return tuple([(tag, dots[k]) for tag, dots in found]) or None


cdef object output_with(Op op, Array y, list found):
    """The output with these tangents; a tuple of its parts for an op with several."""
    if op.outputs == 1:
        return new_array(y.array, y.number, y.node, tuple(found) or None)
    return tuple([wrap(value, None if y.node is None else new_pick(y.node, k), part_tangents(found, k))
                  for k, value in enumerate(<tuple>y.array)])


cdef object push_rule(Op op, tuple x_dots, tuple xs, object y, tuple params):
    """The output's tangent from the inputs' (None where an input has none)."""
    cdef Array y_dot = None
    cdef int i
    if not op.elementwise:
        return op.jvp(x_dots, xs, y, params)
    for i, x_dot in enumerate(x_dots):
        if x_dot is not None:
            term = scaled(align(x_dot, xs[i], y), op.partials[i], xs, y, False)
            y_dot = term if y_dot is None else apply2(op_add, y_dot, term)
    return to_output(y_dot, x_dots, xs, y)


cdef object align(Array x_dot, object x, object y):
    """Put the axes that broadcasting will add behind the lane axis, where there is one.

    A node whose operands are alike has dropped even shapes (None): nothing broadcasts.
    """
    if x is None or y is None:
        return x_dot
    cdef int lanes = x_dot.ndim - x.ndim
    cdef int missing = y.ndim - x.ndim
    if not lanes or not missing:
        return x_dot
    shape = x_dot.shape
    return apply(roles["reshape"], (x_dot,), (shape[:1] + (1,) * missing + shape[1:],))


cdef object to_output(Array y_dot, tuple x_dots, tuple xs, object y):
    """Broadcast a tangent to lanes + the shape of the output; None for y as in `align`."""
    cdef tuple lanes = ()
    if y_dot is None or y is None:
        return y_dot
    for x_dot, x in zip(x_dots, xs):
        ndim = y.ndim if x is None else x.ndim
        if x_dot is not None and (<Array>x_dot).ndim > ndim:
            lanes = (<Array>x_dot).shape[:1]
    if y_dot.dtype.kind == "c" and y.dtype.kind != "c":
        y_dot = apply(roles["astype"], (y_dot,), (y.dtype,))
    shape = lanes + y.shape
    if y_dot.shape == shape:
        return y_dot
    return apply(roles["broadcast_to"], (y_dot,), (shape,))


cdef object scaled(object dot, object partial, tuple xs, object y, bint conjugate):
    """dot * partial(*xs, y), or its conjugate; a number stands for a constant partial."""
    if callable(partial):
        partial = partial(*xs, y)
    elif partial == 1:
        return dot
    if conjugate:
        if isinstance(partial, complex):
            partial = partial.conjugate()
        elif isinstance(partial, (Array, np.ndarray)) and partial.dtype.kind == "c":
            partial = apply(roles["conjugate"], (partial,), ())
    return apply2(roles["scale"], dot, partial)


# -- apply ---------------------------------------------------------------------------------

cdef object apply1(Op op, object a):
    """An elementwise op of one input."""
    cdef Operand operand, output
    a = read_operand(a, &operand)
    if a is None:
        return NotImplemented
    value = None
    if operand.kind == NUMBER and op.native != NULL:
        return finish_numbers(op, &operand, 1, op.native.value(operand.x, 0))
    if operand.kind == ARRAY and op.loop.run != NULL:
        value = map1(&op.loop, operand.value)
    if value is None:
        value = op.fn(raw(&operand))
    value = set_output(&output, value)
    return finish(op, &operand, 1, None, &output)


cdef object apply2(Op op, object a, object b):
    """An elementwise op of two inputs."""
    cdef Operand operands[2]
    cdef Operand output
    a = read_operand(a, &operands[0])
    b = read_operand(b, &operands[1])
    if a is None or b is None:
        return NotImplemented
    value = None
    if operands[0].kind == NUMBER and operands[1].kind == NUMBER:
        if op.native != NULL:
            return finish_numbers(op, operands, 2, op.native.value(operands[0].x, operands[1].x))
    elif op.loop.run != NULL:
        value = map2(&op.loop, factor(&operands[0]), factor(&operands[1]))
    if value is None:
        value = op.fn(raw(&operands[0]), raw(&operands[1]))
    value = set_output(&output, value)
    return finish(op, operands, 2, None, &output)


cdef tuple FOLDS_ALL = (None, False)  # a reduction's params: axis, keepdims


cdef object apply_fold(Op op, object a, tuple params):
    """A reduction of a whole float64 array; None where the general way must do."""
    cdef Operand operand, output
    a = read_operand(a, &operand)
    if a is None or operand.kind == NUMBER or not is_plain(operand.value):
        return None
    if cnp.PyArray_SIZE(<cnp.ndarray>operand.value) == 0:
        return None
    output.kind = NUMBER
    output.value = NULL
    output.x = fold_loop(&op.folding, operand.value, op.fold_start)
    return finish(op, &operand, 1, params, &output)


cpdef object apply(Op op, tuple inputs, tuple params=None):
    """Run any op on any inputs: values of ours, arrays or numbers."""
    cdef Operand output
    cdef int i, n = len(inputs)
    cdef Operand *operands
    cdef list alive = []
    if op.elementwise and params is None and n <= 2:
        return apply1(op, inputs[0]) if n == 1 else apply2(op, inputs[0], inputs[1])
    if op.folding.run != NULL and params == FOLDS_ALL:
        found = apply_fold(op, inputs[0], params)
        if found is not None:
            return found
    operands = <Operand *>PyMem_Malloc(max(n, 1) * sizeof(Operand))
    try:
        for i, a in enumerate(inputs):
            alive.append(read_operand(a, &operands[i]))
            if alive[i] is None:
                raise TypeError(f"ad: {op.name} takes arrays and numbers, not {type(a).__name__}")
        value = op.fn(*[raw(&operands[i]) for i in range(n)], *(params or ()))
        value = set_output(&output, value)
        if op.outputs > 1:
            return finish_many(op, operands, n, params, &output)
        return finish(op, operands, n, params, &output)
    finally:
        PyMem_Free(operands)


# -- arrays --------------------------------------------------------------------------------

cdef Array new_array(object array, double number, Node node, tuple tangents):
    cdef Array x
    if tangents is not None and tangents[0][0] < FIRST_LEVEL:
        x = Dual.__new__(Dual)
    else:
        x = blank_array()
    x.array, x.number, x.node, x.tangents = array, number, node, tangents
    return x


cdef Array wrap(object value, Node node=None, tuple tangents=None):
    """An Array of a raw value."""
    cdef Operand operand
    value = set_output(&operand, value)
    if operand.kind == NUMBER:
        return new_array(None, operand.x, node, tangents)
    return new_array(value, 0, node, tangents)


cdef Array lift(object value):
    """The Array of any operand; a variable is read."""
    cdef Operand operand
    if type(value) is Array or type(value) is Dual:
        return value
    value = read_operand(value, &operand)
    if value is None:
        return None
    return value if isinstance(value, Array) else wrap(raw(&operand))


cdef object value_of(Array x):
    """The raw value: an ndarray, or an np.float64."""
    return FLOAT64(x.number) if x.array is None else x.array


cdef bint is_live(Array x) noexcept:
    """Whether an op on `x` would be recorded now, or would carry tangents."""
    cdef State state = current()
    if state.recording and x.node is not None and x.node.seq >= state.floor:
        return True
    if x.tangents is not None:
        for tag, _ in x.tangents:
            if tag < FIRST_LEVEL or find_level(state, tag) is not None:
                return True
    return False


cdef Array alias(Array x):
    """A new Array of the same value, with a node of its own; linked to `x` if `x` is live."""
    cdef Array y
    if is_live(x):
        y = apply1(roles["identity"], x)
        if y.node is None:
            y.node = new_leaf()
        return y
    return new_array(x.array, x.number, new_leaf(), None)


@cython.no_gc
cdef class Array:
    """A value that ops on it can be differentiated with respect to.

    Behaves as an ndarray: operators, methods and NumPy functions, without in-place changes.
    Made by `constant`, `Variable`, the transforms, and by every op on one of these.
    """
    __array_priority__ = 1000.0

    def __init__(self):
        raise TypeError("ad: make an array with ad.constant(value) or ad.Variable(value)")

    # -- what it is

    @property
    def shape(self):
        return () if self.array is None else self.array.shape

    @property
    def dtype(self):
        return DTYPE if self.array is None else self.array.dtype

    @property
    def ndim(self):
        return 0 if self.array is None else self.array.ndim

    @property
    def size(self):
        return 1 if self.array is None else self.array.size

    @property
    def itemsize(self):
        return self.dtype.itemsize

    @property
    def nbytes(self):
        return self.size * self.itemsize

    @property
    def is_constant(self):
        """Whether no open tape or forward level would see an op on this value."""
        return not is_live(self)

    def numpy(self):
        """The value: an ndarray (a read-only view), or a NumPy scalar for a 0-d value."""
        if self.array is None:
            return FLOAT64(self.number)
        if self.array.ndim == 0:
            return self.array[()]
        view = self.array.view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype=None, copy=None):
        if is_live(self):
            raise conversion_error("np.asarray")
        return np.array(value_of(self), dtype=dtype, copy=copy)

    def __float__(self):
        if is_live(self):
            raise conversion_error("float")
        return float(self.item())

    def __complex__(self):
        if is_live(self):
            raise conversion_error("complex")
        return complex(self.item())

    def __int__(self):
        return int(self.item())

    def __index__(self):
        return operator.index(self.item())

    def __bool__(self):
        return self.number != 0 if self.array is None else bool(self.array)

    def item(self, *args):
        """The value as a Python number, cut off from the gradient."""
        return self.number if self.array is None else self.array.item(*args)

    def tolist(self):
        """The value as nested lists of Python numbers, cut off from the gradient."""
        return self.number if self.array is None else self.array.tolist()

    def __len__(self):
        if self.ndim == 0:
            raise TypeError("len() of unsized object")
        return len(self.array)

    def __iter__(self):
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return iter([self[i] for i in range(len(self.array))])

    def __contains__(self, item):
        return bool((self == item).any())

    def __repr__(self):
        return repr(np.asarray(value_of(self))).replace("array", type(self).__name__, 1)

    def __str__(self):
        return str(value_of(self))

    def __format__(self, spec):
        return format(value_of(self), spec)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return wrap(np.array(value_of(self)))

    def __reduce__(self):
        return constant, (value_of(self),)

    # -- operators

    def __add__(self, other):
        return apply2(op_add, self, other)

    def __radd__(self, other):
        return apply2(op_add, other, self)

    def __sub__(self, other):
        return apply2(op_subtract, self, other)

    def __rsub__(self, other):
        return apply2(op_subtract, other, self)

    def __mul__(self, other):
        return apply2(op_multiply, self, other)

    def __rmul__(self, other):
        return apply2(op_multiply, other, self)

    def __truediv__(self, other):
        return apply2(op_divide, self, other)

    def __rtruediv__(self, other):
        return apply2(op_divide, other, self)

    def __pow__(self, other, modulus):
        if modulus is not None:
            return NotImplemented
        return apply2(op_power, self, other)

    def __rpow__(self, other, modulus):
        if modulus is not None:
            return NotImplemented
        return apply2(op_power, other, self)

    def __floordiv__(self, other):
        return apply2(op_floor_divide, self, other)

    def __rfloordiv__(self, other):
        return apply2(op_floor_divide, other, self)

    def __mod__(self, other):
        return apply2(op_remainder, self, other)

    def __rmod__(self, other):
        return apply2(op_remainder, other, self)

    def __divmod__(self, other):
        return apply2(op_floor_divide, self, other), apply2(op_remainder, self, other)

    def __rdivmod__(self, other):
        return apply2(op_floor_divide, other, self), apply2(op_remainder, other, self)

    def __matmul__(self, other):
        return roles["matmul_function"](self, other)

    def __rmatmul__(self, other):
        return roles["matmul_function"](other, self)

    def __neg__(self):
        return apply1(op_negative, self)

    def __pos__(self):
        return apply1(op_positive, self)

    def __abs__(self):
        return apply1(op_absolute, self)

    def __richcmp__(self, other, int how):
        a = value_of(lift(self))
        if isinstance(other, Array):
            other = value_of(lift(other))
        if how == Py_LT:
            return a < other
        if how == Py_LE:
            return a <= other
        if how == Py_GT:
            return a > other
        if how == Py_GE:
            return a >= other
        if how == Py_EQ:
            return a == other
        return a != other

    __hash__ = None

    def __getitem__(self, index):
        if type(index) is slice:
            found = take_slice(self, index)
            if found is not None:
                return found
        return roles["getitem_function"](self, index)

    def __setitem__(self, index, value):
        raise no_item_assignment()

    # -- NumPy's protocols

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return roles["array_ufunc"](ufunc, method, inputs, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        return roles["array_function"](function, types, args, kwargs)


cdef destructor free_array = (<PyTypeObject *>Array).tp_dealloc


cdef void dealloc_array(PyObject *x) noexcept:
    global n_spare_arrays
    if (<Array>x).array is not None:
        offer(<PyObject *>(<Array>x).array)
    if n_spare_arrays == SPARE or type(<object>x) is not Array:
        free_array(x)
        return
    (<Array>x).array = None
    (<Array>x).node = None
    (<Array>x).tangents = None
    spare_arrays[n_spare_arrays] = x
    n_spare_arrays += 1


(<PyTypeObject *>Array).tp_dealloc = dealloc_array


cdef inline Array blank_array():
    """An Array without anything in it."""
    global n_spare_arrays
    cdef PyObject *x
    if n_spare_arrays == 0:
        return Array.__new__(Array)
    n_spare_arrays -= 1
    x = spare_arrays[n_spare_arrays]
    x.ob_refcnt = 0  # the cast below counts the first reference
    return <Array>x


cdef object take_slice(Array x, slice index):
    """x[index] for a one-dimensional float64 array; None where the general way must do."""
    cdef Operand operand, output
    cdef Py_ssize_t start, stop, step, n
    x = lift(x)
    if (x.array is None or cnp.PyArray_NDIM(<cnp.ndarray>x.array) != 1
            or cnp.PyArray_TYPE(<cnp.ndarray>x.array) != cnp.NPY_DOUBLE):
        return None
    PySlice_Unpack(index, &start, &stop, &step)
    n = PySlice_AdjustIndices(cnp.PyArray_DIM(<cnp.ndarray>x.array, 0), &start, &stop, step)
    view = slice1(<PyObject *>x.array, start, step, n)
    read_array(x, &operand)
    output.kind = ARRAY
    output.value = <PyObject *>view
    return finish(op_getitem, &operand, 1, (index,), &output)


# -- leaves --------------------------------------------------------------------------------

cdef long variables_made = 0


@cython.no_gc
cdef class Variable(Array):
    """A named leaf that can be assigned to and that tapes watch when it is read.

    Parameters
    ----------
    value : array_like
        The first value. Python numbers and lists become float64, arrays keep their dtype.
    trainable : bool
        Whether tapes watch the variable on read; others are watched by `tape.watch` only.
    name : str, optional
    dtype : dtype_like, optional
    """

    def __init__(self, value, trainable=True, name=None, dtype=None):
        global variables_made
        variables_made += 1
        self.serial = variables_made
        self.trainable = bool(trainable)
        self.name = f"Variable_{self.serial}" if name is None else name
        self.store(as_value(value, dtype))
        if self.trainable and np.issubdtype(self.dtype, np.inexact):
            self.node = new_leaf()

    cdef void store(self, Array value):
        self.array, self.number = value.array, value.number
        self.snapshot = None

    cdef Array read(self):
        """The value now, as an Array; every open tape that watches variables takes note."""
        cdef State state = current()
        cdef Recorder recorder
        if self.trainable and state.recording:
            for recorder in state.recorders:
                if recorder.recording:
                    recorder.access(self)
        if self.snapshot is None:
            self.snapshot = new_array(self.array, self.number, self.node, self.tangents)
        return self.snapshot

    def read_value(self):
        """The value now, as an Array that later assignments leave alone."""
        return apply1(roles["identity"], self)

    def value(self):
        """The same as `read_value()`."""
        return self.read_value()

    def assign(self, value):
        """Replace the value by one of the same shape, cast to the variable's dtype; returns self."""
        cdef Array new = as_value(value.numpy() if isinstance(value, Array) else value, self.dtype)
        if new.shape != self.shape:
            raise ValueError(f"ad: cannot assign a value of shape {new.shape} to variable "
                             f"{self.name!r} of shape {self.shape}")
        self.store(new)
        return self

    def assign_add(self, delta):
        """Add `delta` to the value; returns self."""
        return self.assign(self.numpy() + (delta.numpy() if isinstance(delta, Array) else delta))

    def assign_sub(self, delta):
        """Subtract `delta` from the value; returns self."""
        return self.assign(self.numpy() - (delta.numpy() if isinstance(delta, Array) else delta))

    def __repr__(self):
        return f"<ad.Variable {self.name!r} shape={self.shape} dtype={self.dtype} numpy={value_of(self)!r}>"

    def __copy__(self):
        return self.__deepcopy__({})

    def __deepcopy__(self, memo):
        return Variable(np.array(value_of(self)), self.trainable, self.name)

    def __reduce__(self):
        return Variable, (value_of(self), self.trainable, self.name)


cdef Array as_value(object value, object dtype):
    """A private copy of array_like data; Python numbers become float64."""
    if isinstance(value, Array):
        value = value_of(value)
    raw_value = np.array(value, dtype=dtype)
    if dtype is None and isinstance(value, (int, list, tuple)) and raw_value.dtype.kind in "iu":
        raw_value = raw_value.astype(np.float64)
    if raw_value.dtype.kind not in "biufc":
        raise TypeError(f"ad: an array holds numbers, not {type(value).__name__} {value!r:.60}")
    return wrap(raw_value)


def constant(value, dtype=None):
    """An Array of array_like data (copied): Python numbers and lists become float64.

    Parameters
    ----------
    value : array_like
    dtype : dtype_like, optional
    """
    return as_value(value, dtype)


def stop_gradient(x):
    """`x` as a constant: the same value, through which no derivative flows."""
    return wrap(value_of(lift(x))) if isinstance(x, Array) else x


def rebind(Array target, Array value):
    """Make `target` stand for `value` from now on: what `out=target` asks of an op."""
    if type(target) is not Array:
        raise not_an_output(target)
    target.array, target.number, target.node, target.tangents = value.array, value.number, value.node, value.tangents


# -- dual numbers --------------------------------------------------------------------------

@cython.no_gc
@cython.final
cdef class Dual(Array):
    """A primal with its tangent, in the open: ops on it give `Dual`s.

    Parameters
    ----------
    primal : array_like, Array or Dual
    tangent : array_like, Array or Dual
        Of the primal's shape; or of shape (k,) + its shape, for k tangents at once.

    A `Dual` of `Dual`s carries second derivatives, and so on, 15 levels deep.
    """

    def __init__(self, primal, tangent=1.0):
        cdef Array x = as_dual_part(primal), x_dot = as_dual_part(tangent)
        cdef long tag = 1 + max(depth(x), depth(x_dot))
        if x_dot.ndim == 0 and x.ndim:
            x_dot = apply(roles["broadcast_to"], (x_dot,), (x.shape,))
        if x_dot.shape[x_dot.ndim - x.ndim:] != x.shape or not 0 <= x_dot.ndim - x.ndim <= 1:
            raise ValueError(f"ad.Dual: the tangent has shape {x_dot.shape}; for a primal of shape {x.shape} "
                             f"it must be {x.shape}, or (k, ...) with k tangents of that shape")
        if tag >= FIRST_LEVEL:
            raise ValueError(f"ad.Dual: nested deeper than {FIRST_LEVEL - 1} levels")
        self.array, self.number, self.node = x.array, x.number, x.node
        self.tangents = (x.tangents or ()) + ((tag, x_dot),)

    @property
    def primal(self):
        """The value without its highest tangent: an ndarray or scalar, or a Dual if nested."""
        return opened(restrict(self, depth(self)))

    @property
    def tangent(self):
        """The highest tangent."""
        return opened(tangent_of(self, depth(self)))

    def __repr__(self):
        return f"Dual({self.primal!r}, {self.tangent!r})"

    def __str__(self):
        return repr(self)


cdef long depth(Array x):
    """The highest `Dual` tag of x, or 0."""
    return max([tag for tag, _ in x.tangents or () if tag < FIRST_LEVEL] or [0])


cdef Array as_dual_part(object value):
    return lift(value) if isinstance(value, Array) else as_value(value, None)


cdef object opened(Array x):
    return x if x.node is not None or x.tangents is not None else x.numpy()
