"""`Array`, the type of a value.

An Array is an ndarray or a number, with the node by which a tape knows it and the tangents that it carries. Python code
that asks for the value itself, by `float(x)` or `if x > 0`, is given it here; a program that is being recorded is told,
by a guard. The operators and methods name the op that each stands for, by its role (`engine.roles`).

Ops make Arrays, so `apply` lies above this module, and so do `engine.forward` and `engine.writing`: they are called by
`hooks`.
"""
cimport cython
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport Py_EQ, Py_GE, Py_GT, Py_LE, Py_LT
from cpython.ref cimport PyObject

cimport numpy as cnp
from ad.engine.deferred cimport force_deferred, n_open
from ad.engine.graph cimport NodePtr, set_output
from ad.engine.pool cimport release_to_pool
from ad.engine.recorder cimport (
    FIRST_LEVEL, Recorder, State, current, is_busy_elsewhere, is_level_live, is_live_elsewhere, tracer_of, unjoined,
)
from ad.engine.roles cimport roles
from ad.engine.types cimport (
    FLOAT64_DTYPE, FLOAT64_TYPE, FREE_LIST_SIZE, FreeList, Operand, PyTypeObject, SCALAR, destructor, give_name,
)

import operator

import numpy as np

from ad.errors import conversion_error
from ad.errors import kind as kind_of

cnp.import_array()

cdef extern from "Python.h":
    PyObject *PyEval_GetGlobals()
    void PyObject_ClearWeakRefs(PyObject *)

cdef Hooks hooks
cdef Clock clock
clock.writes = 1


# -- values ----------------------------------------------------------------------------------

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


cdef int force(Array x) except -1:
    """Compute the value of an Array, if that has been deferred."""
    if n_open and x.array is not None:
        force_deferred(<PyObject *>x.array)
    return 0


cdef object raw_value(Array x):
    """The raw value: an ndarray, or an np.float64."""
    settle(x)
    force(x)
    return FLOAT64_TYPE(x.number) if x.array is None else x.array


cdef object only_number(Array x):
    """The Python number of a 0-d value; of other arrays what NumPy makes of it, which may be its error."""
    value = raw_value(x)
    return value.item() if x.array is None or x.array.ndim == 0 else float(value)


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
    x = up_to_date(x)
    force(x)
    return read_only(x)


cdef Array as_value(object value, object dtype):
    """Return an Array of a private copy of array_like data; Python's numbers become float64."""
    if isinstance(value, Array):
        escape(up_to_date(value), "a new array or variable")
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
    if isinstance(value, Array) and is_traced(up_to_date(value)):
        value = roles.detached(value)
        return value if dtype is None else value.astype(dtype)
    return as_value(value, dtype)


# -- who would see an op on it ---------------------------------------------------------------

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


# -- the type -------------------------------------------------------------------------------

cdef bint is_operand(object a):
    """Whether `a` is an Array or of a type of NumPy or Python; other types may know how to multiply by an Array."""
    return isinstance(a, (Array, cnp.ndarray, np.generic, int, float, complex, list, tuple))


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
            record_guard(up_to_date(self), "array", public_value(self))
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
        cdef Array x = up_to_date(self)
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
        cdef Array x = up_to_date(self)
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
        return hooks.apply1(roles.identity, self)

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
        return hooks.apply2(roles.add, self, other)

    def __radd__(self, other):
        return hooks.apply2(roles.add, other, self)

    def __sub__(self, other):
        return hooks.apply2(roles.subtract, self, other)

    def __rsub__(self, other):
        return hooks.apply2(roles.subtract, other, self)

    def __mul__(self, other):
        return hooks.apply2(roles.multiply, self, other)

    def __rmul__(self, other):
        return hooks.apply2(roles.multiply, other, self)

    def __truediv__(self, other):
        return hooks.apply2(roles.divide, self, other)

    def __rtruediv__(self, other):
        return hooks.apply2(roles.divide, other, self)

    def __pow__(self, other, modulus):
        if modulus is not None:
            return NotImplemented
        return hooks.apply2(roles.power, self, other)

    def __rpow__(self, other, modulus):
        if modulus is not None:
            return NotImplemented
        return hooks.apply2(roles.power, other, self)

    def __floordiv__(self, other):
        return hooks.apply2(roles.floor_divide, self, other)

    def __rfloordiv__(self, other):
        return hooks.apply2(roles.floor_divide, other, self)

    def __mod__(self, other):
        return hooks.apply2(roles.remainder, self, other)

    def __rmod__(self, other):
        return hooks.apply2(roles.remainder, other, self)

    def __divmod__(self, other):
        return hooks.apply2(roles.floor_divide, self, other), hooks.apply2(roles.remainder, self, other)

    def __rdivmod__(self, other):
        return hooks.apply2(roles.floor_divide, other, self), hooks.apply2(roles.remainder, other, self)

    def __matmul__(self, other):
        return roles.matmul_function(self, other) if is_operand(other) or is_no_number(other) else NotImplemented

    def __rmatmul__(self, other):
        return roles.matmul_function(other, self) if is_operand(other) or is_no_number(other) else NotImplemented

    def __neg__(self):
        return hooks.apply1(roles.negative, self)

    def __pos__(self):
        return hooks.apply1(roles.positive, self)

    def __abs__(self):
        return hooks.apply1(roles.absolute, self)

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
        return hooks.write_whole(self, hooks.apply2(roles.add, self, other))

    def __isub__(self, other):
        return hooks.write_whole(self, hooks.apply2(roles.subtract, self, other))

    def __imul__(self, other):
        return hooks.write_whole(self, hooks.apply2(roles.multiply, self, other))

    def __itruediv__(self, other):
        return hooks.write_whole(self, hooks.apply2(roles.divide, self, other))

    def __ipow__(self, other):
        return hooks.write_whole(self, hooks.apply2(roles.power, self, other))

    def __ifloordiv__(self, other):
        return hooks.write_whole(self, hooks.apply2(roles.floor_divide, self, other))

    def __imod__(self, other):
        return hooks.write_whole(self, hooks.apply2(roles.remainder, self, other))

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
        cdef Array x = up_to_date(self)
        if isinstance(other, (list, tuple)):
            other = roles.stacked(other)
        if is_traced(x) or roles.compares_to_arrays or isinstance(other, Array) and is_traced(up_to_date(other)):
            return roles.compare(x, other, how)
        a = raw_value(x)
        if isinstance(other, Array):
            other = raw_value(up_to_date(other))
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
        if type(index) is slice:
            found = hooks.take_slice(self, index)
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


# -- memory ---------------------------------------------------------------------------------

cdef FreeList spare_arrays
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


cdef Array allocate_array():
    """A new Array, where none waits to be used again."""
    return Array.__new__(Array)
