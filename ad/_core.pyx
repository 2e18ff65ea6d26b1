"""`apply`, the one way through Arrays.

`apply` evaluates an op on raw values, records a node if a recorder is open and an input has a
node, and lets `engine.forward` push the tangents that the inputs carry. No code here depends on which op it is given.

`engine.forward` and `engine.powers` are made of ops and so lie above `apply`, which calls them by the `hooks` of
`engine.array`.
"""
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.long cimport PyLong_AsDouble
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport PyObject
from cpython.slice cimport PySlice_AdjustIndices, PySlice_Unpack

cimport numpy as cnp
from ad.engine.array cimport (
    Array, blank_array, clock, hooks, is_live, is_no_number, new_array, settle, up_to_date, wrap,
)
from ad.engine.deferred cimport defer
from ad.engine.graph cimport BY_ITSELF, BY_RADICAND, CARRIES, NO_POWER, hold, let_go, raw, set_output
from ad.engine.kernels cimport factor_of, float_flags, heeds_flags, map1, map2, reduce_loop
from ad.engine.pool cimport is_contiguous, slice1
from ad.engine.recorder cimport make_node, make_scalar_node, new_leaf, new_pick, tell_failure
from ad.engine.roles cimport roles
from ad.engine.types cimport ARRAY, FLOAT64_TYPE, Operand, SCALAR

import numpy as np

from ad.engine import array
from ad.errors import kind as kind_of

cnp.import_array()

globals().update(Array=array.Array, constant=array.constant)  # to be imported from here, too


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


cdef enum:
    FEW = 4  # operands of an op that need no memory of their own

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
    value = defer(op, operands, n, params, output)
    if value is not None:
        return value
    try:
        value = op.fn(*arguments(operands, n, params))
    except Exception:
        tell_failure(operands, n)
        raise
    return set_output(output, value)


cdef inline tuple arguments(Operand *operands, int n, tuple params):
    """The arguments of an op's function."""
    cdef tuple values
    cdef int i
    if n == 1:
        values = (raw(operands),)
    elif n == 2:
        values = (raw(operands), raw(&operands[1]))
    else:
        values = tuple([raw(&operands[i]) for i in range(n)])
    return values if params is None else values + params


cpdef object apply(Op op, tuple inputs, tuple params=None):
    """Run any op on any inputs: Arrays, ndarrays or numbers."""
    cdef Operand output
    cdef int i, n = len(inputs), n_held = 0
    cdef Operand few[FEW]
    cdef Operand *operands = few
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
    if n > FEW:
        operands = <Operand *>PyMem_Malloc(n * sizeof(Operand))
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
        if operands != few:
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


# -- arrays of operands --------------------------------------------------------------------

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


# -- slices --------------------------------------------------------------------------------

cdef inline bint has_array(slice index):
    """Whether a bound is an Array, whose value has to be read by Python code first."""
    return isinstance(index.start, Array) or isinstance(index.stop, Array) or isinstance(index.step, Array)


cdef object take_slice(Array x, slice index):
    """x[index] for a one-dimensional float64 array; None where the general way must do."""
    cdef Array y
    cdef Py_ssize_t start, stop, step, n
    cdef Array given = x
    if has_array(index):
        return None
    PySlice_Unpack(index, &start, &stop, &step)  # asked first: a bound may be an object that runs Python code
    x = up_to_date(x)
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


hooks.apply1, hooks.apply2, hooks.take_slice = apply1, apply2, take_slice
