"""Values, and the one way through them, `apply`.

`apply` evaluates an op on raw values, records a node if a recorder is open and an input has a
node, and lets `engine.forward` push the tangents that the inputs carry. No code here depends on which op it is given.
The operators and methods of `Array` name the op that each stands for, by its role (`engine.roles`).

`engine.forward` and `engine.powers` are made of ops and so lie above `apply`, which calls them by `hooks`.
"""
cimport cython
from cpython.dict cimport PyDict_GetItem
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.long cimport PyLong_AsDouble
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport PyObject
from cpython.object cimport Py_EQ, Py_GE, Py_GT, Py_LE, Py_LT
from cpython.slice cimport PySlice_AdjustIndices, PySlice_Unpack

cimport numpy as cnp
from ad.engine.deferred cimport defer, force_deferred, n_open
from ad.engine.graph cimport BY_ITSELF, BY_RADICAND, CARRIES, NO_POWER, NodePtr, hold, let_go, raw, set_output
from ad.engine.kernels cimport factor_of, float_flags, heeds_flags, map1, map2, reduce_loop
from ad.engine.pool cimport is_contiguous, release_to_pool, slice1
from ad.engine.recorder cimport (
    FIRST_LEVEL, Recorder, State, current, is_busy_elsewhere, is_level_live, is_live_elsewhere, make_node,
    make_scalar_node, new_leaf, new_pick, tell_failure, tracer_of, unjoined,
)
from ad.engine.types cimport (
    ARRAY, FLOAT64_DTYPE, FLOAT64_TYPE, FREE_LIST_SIZE, FreeList, Operand, PyTypeObject, SCALAR, destructor,
    give_name,
)
from ad.engine.roles cimport roles

import operator

import numpy as np

from ad.errors import conversion_error
from ad.errors import kind as kind_of

cnp.import_array()

cdef extern from "Python.h":
    PyObject *PyEval_GetGlobals()
    void PyObject_ClearWeakRefs(PyObject *)


cdef FreeList spare_arrays  # Arrays come and go with every op


# -- what is above ---------------------------------------------------------------------------

cdef Hooks hooks
cdef Clock clock
clock.writes = 1


# -- from operands to values ---------------------------------------------------------------

cdef inline void read_array(Array x, Operand *operand):
    operand.kind = SCALAR if x.array is None else ARRAY
    operand.value = NULL if x.array is None else <PyObject *>x.array
    operand.x = x.number
    operand.node = NULL if x.node is None else <PyObject *>x.node
    operand.tangents = NULL if x.tangents is None else <PyObject *>x.tangents


cdef inline object read_operand(object a, Operand *operand):
    """Fill in an operand; returns what must stay alive while it is used, None if it is no number."""
    if type(a) is Array:
        settle(<Array>a)
        read_array(<Array>a, operand)
        return a
    if type(a) is float:
        operand.kind = SCALAR
        operand.x = PyFloat_AS_DOUBLE(a)
        operand.value = <PyObject *>a
        operand.node = operand.tangents = NULL
        return a
    return read_other(a, operand)


cdef object read_other(object a, Operand *operand):
    cdef type t = type(a)
    operand.node = operand.tangents = NULL
    if t is FLOAT64_TYPE:
        operand.kind = SCALAR
        operand.x = PyFloat_AS_DOUBLE(a)
        operand.value = <PyObject *>a
        return a
    if t is int:
        operand.kind = SCALAR
        operand.x = PyLong_AsDouble(a)
        operand.value = <PyObject *>a
        return a
    if isinstance(a, Array):
        a = (<Array>a).read()
        settle(<Array>a)
        read_array(<Array>a, operand)
        return a
    if not isinstance(a, cnp.ndarray):
        if not isinstance(a, (int, float, complex, np.generic, list, tuple)):
            return None
        if isinstance(a, (list, tuple)):
            a = roles.asarray(a)
            if isinstance(a, Array):
                read_array(<Array>a, operand)
                return a
        else:  # classes derived from int and float too, to which NumPy gives the precision of an array
            a = np.asarray(a)
    elif type(a) is not cnp.ndarray:
        a = np.asarray(a)
    operand.kind = ARRAY
    operand.value = <PyObject *>a
    if cnp.PyArray_NDIM(<cnp.ndarray>a) == 0 and cnp.PyArray_TYPE(<cnp.ndarray>a) == cnp.NPY_DOUBLE:
        operand.kind = SCALAR
        operand.x = a[()]
    return a


cdef bint is_operand(object a):
    """Whether `a` is an Array or of a type of NumPy or Python; other types may know how to multiply by an Array."""
    return isinstance(a, (Array, cnp.ndarray, np.generic, int, float, complex, list, tuple))


cdef tuple promote_complex(tuple inputs):
    """Return inputs with Python's complex numbers in the dtype of the result, as NumPy's promotion of them has it."""
    for x in inputs:
        if type(x) is complex:
            break
    else:
        return inputs
    known = [np.asarray(x) if isinstance(x, (list, tuple)) else x for x in inputs]
    dtype = np.result_type(*[getattr(x, "dtype", x) for x in known])
    return tuple([np.asarray(x, dtype) if type(x) is complex else x for x in inputs])


cdef int force(Array x) except -1:
    """Compute the value of an Array, if that has been deferred."""
    if n_open and x.array is not None:
        force_deferred(<PyObject *>x.array)
    return 0


cdef object finish(Op op, Operand *operands, int n, tuple params, Operand *output):
    """The Array of an output: with its node, and with its tangents."""
    cdef Array y = blank_array()
    cdef bint has_node = False, has_tangents = False
    cdef int i
    if output.kind == SCALAR:
        y.number = output.x
    else:
        y.array = <object>output.value
    for i in range(n):
        has_node |= operands[i].node != NULL
        has_tangents |= operands[i].tangents != NULL
    if has_node:
        y.node = make_node(op, operands, n, params, output, has_tangents)
    if has_tangents:
        return hooks.push_tangents(op, operands, n, params, y)
    return y


cdef object finish_held(Op op, Operand *operands, int n, Operand *output):
    """`finish`, where nobody holds the operands yet. It is a function of its own: ops on numbers do not pay for it."""
    hold(operands, n)
    try:
        return finish(op, operands, n, None, output)
    finally:
        let_go(operands, n)


cdef inline object finish_numbers(Op op, Operand *operands, int n, double y):
    """`finish` for an elementwise op on float64 scalars."""
    cdef Operand output
    cdef Array out
    if operands[0].tangents != NULL or n == 2 and operands[1].tangents != NULL:
        output.kind, output.x, output.value = SCALAR, y, NULL
        return finish_held(op, operands, n, &output)
    out = blank_array()
    out.number = y
    if operands[0].node != NULL or n == 2 and operands[1].node != NULL:
        out.node = make_scalar_node(op, operands, n, y)
    return out


cdef inline bint is_power(Op op, object a, object b):
    """Whether an op that has an exponent computes a power of `a`."""
    if op.power == CARRIES or op.power == BY_ITSELF and a is not b:
        return remembers(a) or remembers(b)
    return True


cdef inline bint any_remembers(list inputs):
    for x in inputs:
        if remembers(x):
            return True
    return False


cdef inline object kept_power(Op op, object a, object b, Array y):
    """The output of an elementwise op, which remembers what it is a power of, if it is one that is differentiated."""
    if op.power == NO_POWER or y.node is None and y.tangents is None or not is_power(op, a, b):
        return y
    return hooks.power_of(op, a, b, y)


cdef object finish_many(Op op, Operand *operands, int n, tuple params, Operand *output):
    """The Arrays of an op with several outputs."""
    cdef Array packed = finish(op, operands, n, params, output)
    cdef tuple values = packed.array
    cdef int k
    return tuple([
        wrap(value, None if packed.node is None else new_pick(packed.node, k),
             None if packed.tangents is None else packed.tangents[k])
        for k, value in enumerate(values)])


# -- apply ---------------------------------------------------------------------------------

cdef object refuse_operands(Op op, tuple inputs):
    """Raise for operands that are no numbers: NumPy's own error, where it has one."""
    roles.refuse(op.fn, inputs, {})
    cdef Operand operand
    wrong = [kind_of(a) for a in inputs if read_operand(a, &operand) is None]
    raise TypeError(f"ad: {op.name} takes arrays and numbers, not {' and '.join(wrong)}")


cdef inline object not_implemented(Op op, object a, object b):
    """What an operator returns for an operand that is no number: its own type may know what to do."""
    if is_no_number(a) or is_no_number(b):
        refuse_operands(op, (a, b))
    return NotImplemented


cdef inline bint is_no_number(object a):
    """Whether an operand is of a type that knows nothing of arithmetic."""
    return a is None or isinstance(a, (str, bytes))


cdef object apply1(Op op, object a):
    """An elementwise op of one input."""
    cdef Operand operand
    cdef double y
    held = read_operand(a, &operand)
    if held is None:
        return refuse_operands(op, (a,))
    if operand.kind == SCALAR and op.native != NULL:
        y = op.native.value(operand.x, 0)
        if not float_flags() or not heeds_flags():
            return kept_power(op, held, None, finish_numbers(op, &operand, 1, y))
    out = kept_power(op, held, None, evaluate_held(op, &operand, 1))
    if op.write is not None and isinstance(a, Array) and held is a:
        link_if_view(out, a, op, (), (<Array>out).array)
    return out


cdef object evaluate_held(Op op, Operand *operands, int n):
    hold(operands, n)
    try:
        return evaluate1(op, operands) if n == 1 else evaluate2(op, operands)
    finally:
        let_go(operands, n)


cdef inline object evaluate1(Op op, Operand *operand):
    cdef Operand output
    value = None
    waiting = defer(op, operand, 1, None, &output)
    if waiting is None:
        if operand.kind == ARRAY and op.loop.run != NULL:
            value = map1(&op.loop, operand.value)
        if value is None or float_flags() and heeds_flags():
            try:
                value = op.fn(raw(operand))
            except Exception:
                tell_failure(operand, 1)
                raise
        value = set_output(&output, value)
    return finish(op, operand, 1, None, &output)


cdef object apply2(Op op, object a, object b):
    """An elementwise op of two inputs."""
    cdef Operand operands[2]
    cdef double y
    if type(a) is complex or type(b) is complex:
        a, b = promote_complex((a, b))
    held_a = read_operand(a, &operands[0])
    held_b = read_operand(b, &operands[1])
    if held_a is None or held_b is None:
        return not_implemented(op, a, b)
    if operands[0].kind == SCALAR and operands[1].kind == SCALAR:
        if op.native != NULL:
            y = op.native.value(operands[0].x, operands[1].x)
            if not float_flags() or not heeds_flags():
                return kept_power(op, held_a, held_b, finish_numbers(op, operands, 2, y))
    return kept_power(op, held_a, held_b, evaluate_held(op, operands, 2))


cdef inline object evaluate2(Op op, Operand *operands):
    cdef Operand output
    value = None
    waiting = defer(op, operands, 2, None, &output)
    if waiting is None:
        if op.loop.run != NULL and not (operands[0].kind == SCALAR and operands[1].kind == SCALAR):
            value = map2(&op.loop, factor_of(&operands[0]), factor_of(&operands[1]))
        if value is None or float_flags() and heeds_flags():
            try:
                value = op.fn(raw(&operands[0]), raw(&operands[1]))
            except Exception:
                tell_failure(operands, 2)
                raise
        value = set_output(&output, value)
    return finish(op, operands, 2, None, &output)


cdef tuple REDUCES_ALL = (None, False)  # a reduction's params: axis, keepdims


cdef object apply_fold(Op op, object a, tuple params):
    """A reduction of a whole float64 array; None where the general way must do."""
    cdef Operand operand, output
    a = read_operand(a, &operand)
    if a is None or operand.kind == SCALAR or not is_contiguous(operand.value):
        return None
    if cnp.PyArray_SIZE(<cnp.ndarray>operand.value) == 0:
        return None
    hold(&operand, 1)
    try:
        waiting = defer(op, &operand, 1, params, &output)
        if waiting is None:
            output.kind = SCALAR
            output.value = NULL
            output.x = reduce_loop(&op.reduction_loop, operand.value, op.reduction_identity)
            if float_flags() and heeds_flags():
                return None
        return finish(op, &operand, 1, params, &output)
    finally:
        let_go(&operand, 1)


cdef inline object evaluate(Op op, Operand *operands, int n, tuple params, Operand *output):
    """Fill in the output of any op; returns what must stay alive."""
    cdef int i
    value = defer(op, operands, n, params, output)
    if value is not None:
        return value
    try:
        value = op.fn(*[raw(&operands[i]) for i in range(n)], *(params or ()))
    except Exception:
        tell_failure(operands, n)
        raise
    return set_output(output, value)


cpdef object apply(Op op, tuple inputs, tuple params=None):
    """Run any op on any inputs: Arrays, ndarrays or numbers."""
    cdef Operand output
    cdef int i, n = len(inputs), n_held = 0
    cdef Operand *operands
    cdef list alive = []
    if op.elementwise and not params and n <= 2:
        found = apply1(op, inputs[0]) if n == 1 else apply2(op, inputs[0], inputs[1])
        return found if found is not NotImplemented else refuse_operands(op, inputs)
    if op.reduction_loop.run != NULL and params == REDUCES_ALL:
        found = apply_fold(op, inputs[0], params)
        if found is not None:
            return found
    if n > 1:
        inputs = promote_complex(inputs)
    operands = <Operand *>PyMem_Malloc(max(n, 1) * sizeof(Operand))
    if operands == NULL:
        raise MemoryError
    try:
        for i, a in enumerate(inputs):
            alive.append(read_operand(a, &operands[i]))
            if alive[i] is None:
                if op.elementwise:
                    refuse_operands(op, inputs)
                raise TypeError(f"ad: {op.name} takes arrays and numbers, not {kind_of(a)}")
            hold(&operands[i], 1)
            n_held = i + 1
        value = evaluate(op, operands, n, params, &output)
        if op.outputs > 1:
            if type(value) is not tuple or len(<tuple>value) != op.outputs:
                raise TypeError(f"ad: {op.name} gave {type(value).__name__}, not a tuple of {op.outputs} values")
            return finish_many(op, operands, n, params, &output)
        y = finish(op, operands, n, params, &output)
        if op.power == BY_RADICAND or op.power == CARRIES and any_remembers(alive):
            hooks.remember(op, tuple(alive), params, y)
        if op.write is not None and value is not None and isinstance(inputs[0], Array) and alive[0] is inputs[0]:
            link_if_view(y, alive[0], op, params, value)
        return y
    finally:
        let_go(operands, n_held)
        PyMem_Free(operands)


cdef Array apply_given(Op op, tuple inputs, tuple params, object value):
    """`apply` for Arrays, where the output's value is known."""
    cdef Operand operands[2]
    cdef Operand output
    cdef int i, n = len(inputs)
    for i in range(n):
        read_operand(inputs[i], &operands[i])
    hold(operands, n)
    try:
        set_output(&output, value)
        return finish(op, operands, n, params, &output)
    finally:
        let_go(operands, n)


# -- views ---------------------------------------------------------------------------------

cdef inline bint shares_memory(object y, object x) noexcept:
    """Whether the ndarray `y` is a view of the ndarray `x`, or of what that is a view of."""
    cdef PyObject *base
    if not isinstance(y, cnp.ndarray) or x is None:
        return False
    base = <PyObject *>cnp.PyArray_BASE(<cnp.ndarray>y)
    return y is x or base != NULL and (
        base == <PyObject *>x or base == <PyObject *>cnp.PyArray_BASE(<cnp.ndarray>x))


cdef int link_if_view(Array y, Array x, Op op, tuple params, object value) except -1:
    """Note that `y` is a view of `x`, if the raw value that the op has given for it is a view in NumPy's sense."""
    if isinstance(value, cnp.ndarray) and (
            hooks.gives_view(x, op, params) if x.is_compact else shares_memory(value, x.array)):
        link_view(y, x, op, params)
    return 0


cdef inline int link_view(Array y, Array x, Op op, tuple params) except -1:
    """Note that `y` is a view of `x`: what is written to one shows in the other."""
    y.owner, y.view_op, y.view_params, y.owner_writes, y.settled_at = x, op, params, x.writes, clock.writes
    y.unsettled = y.has_history = True
    y.is_compact = x.is_compact
    if x.is_sole_owner and y.array is not None:
        # A view of NumPy's would share the memory, and the next write would copy the whole.
        y.array = y.array.copy(order="K")
        y.is_compact = True
    return 0


# -- arrays --------------------------------------------------------------------------------

cdef Array new_array(object array, double number, Node node, tuple tangents):
    cdef Array x
    if tangents is not None and tangents[0][0] < FIRST_LEVEL:
        x = hooks.blank_dual()
    else:
        x = blank_array()
    x.array, x.number, x.node, x.tangents = array, number, node, tangents
    return x


cdef Array wrap(object value, Node node=None, tuple tangents=None):
    """An Array of a raw value."""
    cdef Operand operand
    value = set_output(&operand, value)
    if operand.kind == SCALAR:
        return new_array(None, operand.x, node, tangents)
    return new_array(value, 0, node, tangents)


cdef Array lift(object value):
    """The Array of any operand; a variable is read."""
    cdef Operand operand
    if type(value) is Array:
        settle(<Array>value)
        return value
    value = read_operand(value, &operand)
    if value is None:
        return None
    return value if isinstance(value, Array) else wrap(raw(&operand))


cdef object raw_value(Array x):
    """The raw value: an ndarray, or an np.float64."""
    settle(x)
    force(x)
    return FLOAT64_TYPE(x.number) if x.array is None else x.array


cdef object only_number(Array x):
    """The Python number of a 0-d value; of other arrays what NumPy makes of it, which may be its error."""
    value = raw_value(x)
    return value.item() if x.array is None or x.array.ndim == 0 else float(value)


cdef bint is_live(Array x) except -1:
    """Whether an op on `x` would be recorded now, or would carry tangents."""
    cdef State state = current()
    settle(x)
    if state.recording and x.node is not None and x.node.seq >= state.floor:
        return True
    if x.tangents is not None:
        for tag, _ in x.tangents:
            if is_level_live(state, tag):
                return True
    return is_busy_elsewhere(state) and x.node is not None and is_live_elsewhere(<NodePtr>x.node)


cpdef bint is_traced(Array x) except -1:
    """Whether a program that is being recorded computes `x`."""
    settle(x)
    return x.node is not None and tracer_of(<NodePtr>x.node) is not None


cdef bint is_followed(Array x) except -1:
    """Whether something would be lost if `x` became a plain value."""
    return is_live(x) or is_traced(x)


cpdef bint is_watched(Array x):
    """Whether a tape, a transform or a forward level would see an op on `x`. Tracers are ignored."""
    settle(x)
    cdef Recorder tracer = None if x.node is None else tracer_of(<NodePtr>x.node)
    cdef Recorder recorder
    if tracer is None:
        return is_live(x)
    for recorder in tracer.state.recorders:
        if recorder.recording and recorder.watches(x.node):
            return True
    return x.tangents is not None


cdef object record_guard(Array x, str kind, object value):
    """Return what Python code is given of a value; the program being traced, if any, records it as a guard."""
    settle(x)
    cdef Recorder tracer = None if x.node is None else tracer_of(<NodePtr>x.node)
    if tracer is not None:
        tracer.guard(<NodePtr>x.node, kind, value)
    return value


cdef inline int escape(Array x, str what) except -1:
    """Tell the program being traced, if any, that a value escapes from it: Python code has it, and may keep it."""
    cdef Recorder tracer
    x = x.read_unwatched()
    settle(x)
    if x.node is None and x.tangents is None:
        return 0
    tracer = None if x.node is None else tracer_of(<NodePtr>x.node)
    if tracer is not None:
        tracer.escape(<NodePtr>x.node, what)
    note_cut(x, what)
    return 0


cdef int note_cut(Array x, str what) except -1:
    """Remember how a value was cut off, for the warning that the result does not depend on the argument."""
    if is_live(x):
        current().cut = what
    return 0


# The value of an Array, by what the caller does with it. Each returns an ndarray (a read-only view), or a NumPy scalar
# for a 0-d value.

cdef object read_only(Array x):
    if x.array is None:
        return FLOAT64_TYPE(x.number)
    if x.array.ndim == 0:
        return x.array[()]
    view = x.array.view()
    view.flags.writeable = False
    return view


cpdef object public_value(Array x):
    """Return the computed value. A program that is being recorded is not told."""
    x = lift(x)
    force(x)
    return read_only(x)


cdef Array alias(Array x):
    """A new Array of the same value, with a node of its own; linked to `x` if `x` is live."""
    cdef Array y
    if x is None:
        raise TypeError("ad: this takes arrays and numbers")
    if is_live(x):
        y = apply1(roles.identity, x)
        y.base = None  # derivatives with respect to y begin here
        if y.node is None:
            y.node = new_leaf()
        return y
    return new_array(x.array, x.number, new_leaf(), None)


cdef str running_module():
    """The name of the module whose Python code runs now."""
    cdef PyObject *namespace = PyEval_GetGlobals()
    cdef PyObject *name = NULL if namespace == NULL else PyDict_GetItem(<object>namespace, "__name__")
    return <str>name if name != NULL and isinstance(<object>name, str) else ""


@cython.no_gc
cdef class Array:
    """A value that ops on it can be differentiated with respect to.

    Behaves as an ndarray: operators, methods and NumPy functions, without in-place changes.
    Made by `constant`, `Variable`, the transforms, and by every op on one of these.
    """
    __array_priority__ = 1000.0

    cdef Array read(self):
        """The Array that ops see: itself, but for a variable."""
        return self

    @property
    def __class__(self):
        """The type; in numpy.polynomial, whose functions do not dispatch, what keeps them from treating it wrongly."""
        cdef str module = running_module()
        if not module.startswith("numpy.polynomial."):
            return type(self)
        return np.generic if module.endswith(".polyutils") else np.ndarray  # which maps domains; all others evaluate

    cdef Array read_unwatched(self):
        """`read`, of which no tape takes note."""
        return self

    def __init__(self, *args, **kwargs):
        raise TypeError("ad: make an array with ad.constant(value) or ad.Variable(value)")

    # -- what it is

    @property
    def shape(self):
        """The size of each axis, as a tuple."""
        return () if self.array is None else self.array.shape

    @property
    def dtype(self):
        """The NumPy dtype of the elements."""
        return FLOAT64_DTYPE if self.array is None else self.array.dtype

    @property
    def ndim(self):
        """The number of axes."""
        return 0 if self.array is None else self.array.ndim

    @property
    def size(self):
        """The number of elements."""
        return 1 if self.array is None else self.array.size

    @property
    def itemsize(self):
        """The bytes of one element."""
        return self.dtype.itemsize

    @property
    def nbytes(self):
        """The bytes of all elements."""
        return self.size * self.itemsize

    @property
    def is_constant(self):
        """Whether no open tape or forward level would see an op on this value."""
        return not is_live(self)

    def numpy(self):
        """The value: an ndarray, or a NumPy scalar for a 0-d value.

        The ndarray is a read-only view. To write into it, copy it first: `x.numpy().copy()`.
        """
        escape(self, "numpy()")
        force(self)
        return read_only(self)

    def __array__(self, dtype=None, copy=None):
        if is_live(self):
            if self.dtype.kind in "fc":
                raise conversion_error("np.asarray")
            record_guard(lift(self), "array", public_value(self))
        found = np.array(raw_value(self), dtype=dtype, copy=copy)
        if found is self.array:
            found = found.view()
            found.flags.writeable = False
        return found

    def __float__(self):
        if is_watched(self):
            raise conversion_error("float")
        return record_guard(self, "float", float(only_number(self)))

    def __complex__(self):
        if is_watched(self):
            raise conversion_error("complex")
        return record_guard(self, "complex", complex(only_number(self)))

    def __int__(self):
        value = only_number(self)
        note_cut(self, "int()")
        try:
            return record_guard(self, "int", int(value))
        except (ValueError, OverflowError):
            record_guard(self, "int", value)  # nan or an infinity: the function may go on from there
            raise

    def __index__(self):
        return record_guard(self, "int", operator.index(raw_value(self)))

    def __bool__(self):
        return record_guard(self, "bool", bool(raw_value(self)))

    def item(self, *args):
        """One element: a Python number; or, of a value that is being differentiated or recorded, an Array without axes.

        Parameters
        ----------
        *args : int
            Which element, as for ndarray.item; none for an array of one element.

        Returns
        -------
        float, int, bool, complex or Array

        Raises
        ------
        ValueError
            Without arguments, if there is not exactly one element.
        """
        cdef Array x = lift(self)
        found = read_only(x).item(*args)  # raises what NumPy raises
        if not is_followed(x):
            return found if x.array is None else raw_value(x).item(*args)
        if len(args) == 1 and not isinstance(args[0], tuple):
            args = np.unravel_index(operator.index(args[0]) % x.size, x.shape)
        elif args:
            args = args if len(args) > 1 else args[0]
        else:
            args = (0,) * x.ndim
        return roles.getitem_function(x, tuple(args))

    def tolist(self):
        """The elements in nested lists, each of them as `item` gives it."""
        cdef Array x = lift(self)
        if not is_followed(x):
            return raw_value(x).tolist()
        return [part.tolist() for part in x] if x.ndim else x

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
        escape(self, "repr()")
        return repr(np.asarray(raw_value(self))).replace("array", type(self).__name__, 1)

    def __str__(self):
        escape(self, "str()")
        return str(raw_value(self))

    def __format__(self, spec):
        escape(self, "format()")
        return format(raw_value(self), spec)

    def __copy__(self):
        return apply1(roles.identity, self)

    def __deepcopy__(self, memo):
        if is_live(self):
            raise conversion_error("copy.deepcopy")
        return wrap(np.array(raw_value(self)))

    def __reduce__(self):
        if is_live(self):
            raise conversion_error("pickle.dumps")
        return constant, (raw_value(self),)

    # -- operators

    def __add__(self, other):
        return apply2(roles.add, self, other)

    def __radd__(self, other):
        return apply2(roles.add, other, self)

    def __sub__(self, other):
        return apply2(roles.subtract, self, other)

    def __rsub__(self, other):
        return apply2(roles.subtract, other, self)

    def __mul__(self, other):
        return apply2(roles.multiply, self, other)

    def __rmul__(self, other):
        return apply2(roles.multiply, other, self)

    def __truediv__(self, other):
        return apply2(roles.divide, self, other)

    def __rtruediv__(self, other):
        return apply2(roles.divide, other, self)

    def __pow__(self, other, modulus):
        if modulus is not None:
            return NotImplemented
        return apply2(roles.power, self, other)

    def __rpow__(self, other, modulus):
        if modulus is not None:
            return NotImplemented
        return apply2(roles.power, other, self)

    def __floordiv__(self, other):
        return apply2(roles.floor_divide, self, other)

    def __rfloordiv__(self, other):
        return apply2(roles.floor_divide, other, self)

    def __mod__(self, other):
        return apply2(roles.remainder, self, other)

    def __rmod__(self, other):
        return apply2(roles.remainder, other, self)

    def __divmod__(self, other):
        return apply2(roles.floor_divide, self, other), apply2(roles.remainder, self, other)

    def __rdivmod__(self, other):
        return apply2(roles.floor_divide, other, self), apply2(roles.remainder, other, self)

    def __matmul__(self, other):
        return roles.matmul_function(self, other) if is_operand(other) or is_no_number(other) else NotImplemented

    def __rmatmul__(self, other):
        return roles.matmul_function(other, self) if is_operand(other) or is_no_number(other) else NotImplemented

    def __neg__(self):
        return apply1(roles.negative, self)

    def __pos__(self):
        return apply1(roles.positive, self)

    def __abs__(self):
        return apply1(roles.absolute, self)

    def __invert__(self):
        return np.bitwise_not(self)

    def __lshift__(self, other):
        return np.left_shift(self, other)

    def __rlshift__(self, other):
        return np.left_shift(other, self)

    def __rshift__(self, other):
        return np.right_shift(self, other)

    def __rrshift__(self, other):
        return np.right_shift(other, self)

    def __and__(self, other):
        return np.bitwise_and(self, other)

    def __rand__(self, other):
        return np.bitwise_and(other, self)

    def __or__(self, other):
        return np.bitwise_or(self, other)

    def __ror__(self, other):
        return np.bitwise_or(other, self)

    def __xor__(self, other):
        return np.bitwise_xor(self, other)

    def __rxor__(self, other):
        return np.bitwise_xor(other, self)

    # -- operators that write

    def __iadd__(self, other):
        return hooks.write_whole(self, apply2(roles.add, self, other))

    def __isub__(self, other):
        return hooks.write_whole(self, apply2(roles.subtract, self, other))

    def __imul__(self, other):
        return hooks.write_whole(self, apply2(roles.multiply, self, other))

    def __itruediv__(self, other):
        return hooks.write_whole(self, apply2(roles.divide, self, other))

    def __ipow__(self, other):
        return hooks.write_whole(self, apply2(roles.power, self, other))

    def __ifloordiv__(self, other):
        return hooks.write_whole(self, apply2(roles.floor_divide, self, other))

    def __imod__(self, other):
        return hooks.write_whole(self, apply2(roles.remainder, self, other))

    def __imatmul__(self, other):
        return hooks.write_whole(self, self.__matmul__(other))

    def __iand__(self, other):
        return hooks.write_whole(self, np.bitwise_and(self, other))

    def __ior__(self, other):
        return hooks.write_whole(self, np.bitwise_or(self, other))

    def __ixor__(self, other):
        return hooks.write_whole(self, np.bitwise_xor(self, other))

    def __ilshift__(self, other):
        return hooks.write_whole(self, np.left_shift(self, other))

    def __irshift__(self, other):
        return hooks.write_whole(self, np.right_shift(self, other))

    # -- comparisons

    def __richcmp__(self, other, int how):
        cdef Array x = lift(self)
        if isinstance(other, (list, tuple)):
            other = roles.stacked(other)
        if is_traced(x) or roles.compares_to_arrays or isinstance(other, Array) and is_traced(lift(other)):
            return roles.compare(x, other, how)
        a = raw_value(x)
        if isinstance(other, Array):
            other = raw_value(lift(other))
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
        if self.pending is not None:
            found = hooks.read_pending(self, index)
            if found is not None:
                return found
        if type(index) is slice and not has_array(index):
            found = take_slice(self, index)
            if found is not None:
                return found
        return roles.getitem_function(self, index)

    def __setitem__(self, index, value):
        hooks.write(self, index, value)

    # -- NumPy's protocols

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return roles.array_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        return roles.array_function(function, types, args, kwargs)


cdef destructor free_array = (<PyTypeObject *>Array).tp_dealloc
cdef Py_ssize_t weakrefs_at = (<PyTypeObject *>Array).tp_weaklistoffset


cdef void forget_writes(Array x) noexcept:
    """Clear the fields for writing, but for those of every view."""
    if x.pending is not None:
        unjoined.pop(<size_t><PyObject *>x, None)
    x.view_op = x.view_params = x.pending = None
    x.writes = 0
    x.is_sole_owner = x.is_compact = x.is_read_only = x.has_history = False


cdef list dropped = []  # owners of views that wait to be let go: a chain of views may be too long for recursion
cdef int drops = 0      # how many views are being let go, each by the next


cdef void drop_owner(Array x) noexcept:
    """Let go of an owner that nothing else holds."""
    global drops
    cdef Array owner = x.owner
    x.owner = None
    if drops == 64:
        dropped.append(owner)
        return
    drops += 1
    owner = None
    drops -= 1
    while drops == 0 and dropped:
        dropped.pop()


cdef void dealloc_array(PyObject *x) noexcept:
    if (<Array>x).array is not None:
        release_to_pool(<PyObject *>(<Array>x).array)
    if (<Array>x).unsettled:
        (<Array>x).unsettled = False
        if (<PyObject *>(<Array>x).owner).ob_refcnt > 1:
            (<Array>x).owner = None
        else:
            drop_owner(<Array>x)
    if (<Array>x).has_history:
        forget_writes(<Array>x)
    if type(<object>x) is not Array:
        free_array(x)
        return
    if (<PyObject **>(<char *>x + weakrefs_at))[0] != NULL:
        PyObject_ClearWeakRefs(x)
    # Each of these counts references to None, one after the other: not for nothing, then.
    if (<Array>x).array is not None:
        (<Array>x).array = None
    if (<Array>x).node is not None:
        (<Array>x).node = None
    if (<Array>x).tangents is not None:
        (<Array>x).tangents = None
    if (<Array>x).base is not None:
        (<Array>x).base = None
    (<Array>x).changes = 0
    if spare_arrays.n == FREE_LIST_SIZE:  # asked last: what was let go above may have filled the list
        free_array(x)
        return
    spare_arrays.objects[spare_arrays.n] = x
    spare_arrays.n += 1


(<PyTypeObject *>Array).tp_dealloc = dealloc_array


give_name(Array, b"ad.Array")


cdef inline Array blank_array():
    """An Array without anything in it."""
    cdef PyObject *x
    if spare_arrays.n == 0:
        return Array.__new__(Array)
    spare_arrays.n -= 1
    x = spare_arrays.objects[spare_arrays.n]
    x.ob_refcnt = 0  # the cast below counts the first reference
    return <Array>x


cdef inline bint has_array(slice index):
    """Whether a bound is an Array, whose value has to be read by Python code first."""
    return isinstance(index.start, Array) or isinstance(index.stop, Array) or isinstance(index.step, Array)


cdef object take_slice(Array x, slice index):
    """x[index] for a one-dimensional float64 array; None where the general way must do."""
    cdef Array y
    cdef Py_ssize_t start, stop, step, n
    cdef Array given = x
    PySlice_Unpack(index, &start, &stop, &step)  # asked first: a bound may be an object that runs Python code
    x = lift(x)
    if (x.array is None or cnp.PyArray_NDIM(<cnp.ndarray>x.array) != 1
            or cnp.PyArray_TYPE(<cnp.ndarray>x.array) != cnp.NPY_DOUBLE
            or not cnp.PyArray_ISNOTSWAPPED(<cnp.ndarray>x.array)):
        return None
    n = PySlice_AdjustIndices(cnp.PyArray_DIM(<cnp.ndarray>x.array, 0), &start, &stop, step)
    view = slice1(<PyObject *>x.array, start, step, n)
    if x.node is None and x.tangents is None:
        y = blank_array()
        y.array = view
    else:
        y = finish_slice(x, index, view)
    if x is given:  # and not the value of a variable
        if x.is_sole_owner or cnp.PyArray_BASE(<cnp.ndarray>x.array) != NULL:
            link_view(y, x, roles.getitem, (index,))
        else:
            y.owner, y.settled_at, y.unsettled = x, clock.writes, True
    return y


cdef Array finish_slice(Array x, slice index, object view):
    """`finish` for a slice of `x`."""
    cdef Operand operand, output
    cdef Array y
    read_array(x, &operand)
    output.kind = ARRAY
    output.value = <PyObject *>view
    hold(&operand, 1)
    try:
        y = finish(roles.getitem, &operand, 1, (index,), &output)
    finally:
        let_go(&operand, 1)
    if x.base is not None:
        hooks.remember(roles.getitem, (x,), (index,), y)
    return y


cdef Array as_value(object value, object dtype):
    """Return an Array of a private copy of array_like data; Python's numbers become float64."""
    if isinstance(value, Array):
        escape(lift(value), "a new array or variable")
        value = raw_value(value)
    copied = np.array(value, dtype=dtype if isinstance(value, cnp.ndarray) else None)
    if copied.dtype == object and all([isinstance(x, (int, float, complex)) for x in copied.flat]):
        copied = copied.astype(FLOAT64_TYPE if dtype is None else dtype)  # integers of more than 64 bits
    if dtype is None and isinstance(value, (int, list, tuple)) and copied.dtype.kind in "iu":
        copied = copied.astype(np.float64)
    if copied.dtype.kind not in "biufc":
        raise TypeError(f"ad: an array holds numbers, not {kind_of(value)}, {value!r:.60}")
    return wrap(copied if dtype is None else copied.astype(dtype, copy=False))


def constant(value, dtype=None):
    """An Array of array_like data (copied): Python numbers and lists become float64.

    Parameters
    ----------
    value : array_like
        Of numbers or booleans. Of an Array the value is taken, without its derivatives.
    dtype : dtype_like, optional
        By default that of the value.

    Returns
    -------
    Array

    Raises
    ------
    TypeError
        If `value` does not hold numbers.
    """
    if isinstance(value, Array) and is_traced(lift(value)):
        value = roles.detached(value)
        return value if dtype is None else apply(roles.astype, (value,), (np.dtype(dtype),))
    return as_value(value, dtype)
