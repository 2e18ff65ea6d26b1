"""The graph: ops, and the nodes that are their records.

A `Node` is one recorded op with the values that its rule needs. Nothing here knows of threads, or of arrays that carry
nodes: `engine.recorder` makes nodes, and `engine.array` has the arrays.
"""
cimport cython
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.ref cimport Py_DECREF, Py_XDECREF

cimport numpy as cnp
from ad.engine.kernels cimport find_loop, find_native
from ad.engine.pool cimport release_to_pool
from ad.engine.types cimport (
    ARRAY, FLOAT64_DTYPE, FLOAT64_TYPE, FREE_LIST_SIZE, PyTypeObject, SCALAR, SHAPE, SHAPE_SCALAR, SHAPE_VECTOR,
    destructor,
)

import numpy as np

cnp.import_array()


def live_objects():
    """Return how many nodes are alive; only a debug build (AD_DEBUG=1) counts them."""
    if not DEBUG:
        raise RuntimeError("live objects are counted in a debug build only: build with AD_DEBUG=1")
    return {"nodes": nodes.alive}


# -- ops -----------------------------------------------------------------------------------

@cython.final
cdef class Op:
    """One entry of the table, in the form that the core works with.

    `fn(*values, *params)` computes on raw values. An elementwise op has `partials`, one for
    each input: a number, or a callable of `(*inputs, output)`. Every other form has
    `jvp(x_dots, xs, y, params)` and `vjp(i, y_bar, xs, y, params)`. `needs[i]` tells which
    values the cotangent of input i needs: bit k for input k, bit 31 for the output. `dots` are the
    inputs whose partial is itself a (co)tangent. A reduction may have `reduction_kernel`, its ufunc and identity,
    by which the core reduces a whole array to one number.
    """

    def __init__(self, name, form, fn, *, partials=(), jvp=None, vjp=None, needs=(0,),
                 parameters=(), outputs=1, reduction_kernel=None, dots=()):
        cdef int i
        self.name, self.form, self.fn = name, form, fn
        self.partials, self.jvp, self.vjp = tuple(partials), jvp, vjp
        self.elementwise, self.nondifferentiable = form == "elementwise", form == "nondifferentiable"
        self.arity = len(self.partials)
        self.parameters, self.outputs = tuple(parameters), outputs
        for i in range(8):
            self.needs[i] = needs[min(i, len(needs) - 1)]
        for i, partial in enumerate(self.partials[:2]):
            self.constant[i] = isinstance(partial, (int, float))
            self.factor[i] = partial if self.constant[i] else 0
        for i in dots:
            self.dots |= 1 << i
        find_loop(fn, &self.loop)
        find_loop(None if reduction_kernel is None else reduction_kernel[0], &self.reduction_loop)
        self.reduction_identity = 0 if reduction_kernel is None else reduction_kernel[1]

    def set_power(self, exponent=None, radicand=None, carry=None):
        """Set what the op computes a power of: see `ops/forms.py`."""
        self.radicand, self.carry = radicand, carry
        if isinstance(exponent, str):
            self.power = {"operand": BY_OPERAND, "itself": BY_ITSELF}[exponent]
        elif exponent:
            self.power, self.exponent = FIXED, exponent
        elif radicand is not None:
            self.power = BY_RADICAND
        elif carry is not None:
            self.power = CARRIES

    def set_joins(self):
        """Mark the two operands as one value, computed in two ways: see `engine.powers`."""
        self.joins = True

    def needs_of(self, int i):
        """Return the values that the rule of input i needs, as bits: see `needs`."""
        return self.needs[min(max(i, 0), 7)]

    def __repr__(self):
        return f"<ad op {self.name}>"

    def __getattr__(self, name):
        # pickle finds a built-in function as an attribute of the object that it is bound to
        if self.public is None or name != self.name:
            raise AttributeError(f"{self!r} has no attribute {name!r}")
        return self.public[2]

    def __reduce__(self):
        if self.public is None:
            raise TypeError(f"ad: cannot pickle {self!r}")
        return op_named, (self.name,)


cdef object find_op = None  # the table's function: see `install_lookup`


def op_named(str name):
    """Return the op of an entry of the table; pickles of ops name this function."""
    return find_op(name)


def install_lookup(find):
    """Set the function that returns the op of an entry of the table by its name."""
    global find_op
    find_op = find


@cython.nonecheck(True)
def bind_natives(list ops):
    """Give elementwise ops of the table the native kernels that have their names."""
    cdef Op op
    for op in ops:
        encoded = op.name.encode()
        op.native = find_native(encoded)
        if op.native != NULL and op.native.loop != NULL:
            op.numpy_loop = op.loop
            op.loop.run, op.loop.data = op.native.loop, &op.numpy_loop


cdef Op PICK = Op("pick", "pick", None, outputs=1)


# -- nodes ---------------------------------------------------------------------------------

@cython.final
cdef class Aval:
    """The shape and dtype of a value that was dropped."""

    def __init__(self, tuple shape, dtype=FLOAT64_DTYPE):
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
    """Give up the reference of a saved value, if it has one."""
    if kind == ARRAY:
        release_to_pool(value.object)
        Py_DECREF(<object>value.object)
    elif kind == SHAPE:
        Py_DECREF(<object>value.object)


cdef void forget_values(NodePtr node) noexcept:
    """Drop the values that a node keeps for its sweep."""
    cdef Input *inputs = inputs_of(node)
    cdef uint8_t *kinds = kinds_of(node)
    cdef int i
    for i in range((<Node>node).n):
        forget(&inputs[i].value, kinds[i])
        kinds[i] = NOTHING
    forget(&(<Node>node).output, (<Node>node).output_kind)
    (<Node>node).output_kind = NOTHING


# Nodes whose last reference is about to be dropped wait in this list, so that a chain of a million nodes is freed in a
# loop and not by recursion.
cdef PyObject **dying = NULL
cdef size_t n_dying = 0, dying_capacity = 0
cdef bint burying = False


cdef bint enlarge_dying() noexcept:
    """Enlarge the list of dying nodes; whether there was memory for it."""
    global dying, dying_capacity
    cdef size_t capacity = max(<size_t>1024, 2 * dying_capacity)
    cdef PyObject **larger = <PyObject **>PyMem_Realloc(dying, capacity * sizeof(PyObject *))
    if larger == NULL:
        return False
    dying, dying_capacity = larger, capacity
    return True


cdef inline void release(PyObject *node) noexcept:
    """Give up a reference; if it is the last one, the outermost `dealloc_node` frees the node.

    Without memory for the list, the node is freed here, by recursion.
    """
    global n_dying
    if node.ob_refcnt == 1 and (n_dying < dying_capacity or enlarge_dying()):
        dying[n_dying] = node
        n_dying += 1
    else:
        Py_DECREF(<object>node)


@cython.no_gc
cdef class Node:
    """One recorded op, with what a sweep over it needs."""


@cython.final
@cython.no_gc
cdef class TangentNode(Node):
    """A node whose inputs had tangents; a sweep over it needs them."""


cdef destructor free_node = (<PyTypeObject *>Node).tp_dealloc
cdef destructor free_tangent_node = (<PyTypeObject *>TangentNode).tp_dealloc

cdef inline void clear_node(NodePtr node) noexcept:
    """Give up all references of a node; nodes that only it refers to are added to the dying ones."""
    cdef Input *inputs = inputs_of(node)
    cdef uint8_t *kinds = kinds_of(node)
    cdef int i
    for i in range((<Node>node).n):
        forget(&inputs[i].value, kinds[i])
        if inputs[i].node != NULL:
            release(inputs[i].node)
    forget(&(<Node>node).output, (<Node>node).output_kind)
    Py_XDECREF((<Node>node).op)
    Py_XDECREF((<Node>node).params)
    if (<Node>node).n > 2:
        PyMem_Free(inputs)


cdef inline void free_memory(NodePtr node) noexcept:
    """Keep the memory of a node to be used again, or give it back."""
    if DEBUG:
        nodes.alive -= 1
    if type(<object>node) is TangentNode:
        free_tangent_node(node)
    elif nodes.spare.n < FREE_LIST_SIZE:
        nodes.spare.objects[nodes.spare.n] = node
        nodes.spare.n += 1
    else:
        free_node(node)


cdef void dealloc_node(NodePtr node) noexcept:
    """Free a node, without recursion into its inputs.

    This is the type's slot itself, since a `__dealloc__` would cost as much again as all of this.
    """
    global burying, n_dying
    cdef bint outermost = not burying
    burying = True
    clear_node(node)
    free_memory(node)
    if outermost:
        while n_dying:
            n_dying -= 1
            Py_DECREF(<object>dying[n_dying])
        burying = False


(<PyTypeObject *>Node).tp_dealloc = dealloc_node
(<PyTypeObject *>TangentNode).tp_dealloc = dealloc_node


cdef tuple tangents_of(Node node):
    return (<TangentNode>node).tangents if type(node) is TangentNode else None


cdef Node allocate_node(bint has_tangents):
    """Return a new node, where none waits to be used again."""
    return TangentNode.__new__(TangentNode) if has_tangents else Node.__new__(Node)


cdef object raw(Operand *operand):
    """Return the operand as NumPy takes it; a Python number stays weak in promotion."""
    return FLOAT64_TYPE(operand.x) if operand.value == NULL else <object>operand.value


cdef object set_output(Operand *output, object value):
    """Fill in what an op has computed; returns what must stay alive."""
    output.kind = ARRAY
    if type(value) is not cnp.ndarray:
        if type(value) is FLOAT64_TYPE or type(value) is float:
            output.kind = SCALAR
            output.x = PyFloat_AS_DOUBLE(value)
            output.value = NULL
            return None
        if type(value) is not tuple:
            value = np.asarray(value)
    output.value = <PyObject *>value
    if output.kind == ARRAY and type(value) is cnp.ndarray and value.ndim == 0 and value.dtype == FLOAT64_DTYPE:
        output.kind = SCALAR
        output.x = value[()]
        output.value = NULL
    return value


cdef tuple shape_of(Saved saved):
    if saved.kind == SCALAR or saved.kind == SHAPE_SCALAR:
        return ()
    if saved.kind == SHAPE_VECTOR:
        return (saved.of.n,)
    return (<object>saved.of.object).shape
