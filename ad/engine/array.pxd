"""Contract of `Array`, the type of a value."""
from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from ad.engine.graph cimport Node, Op
from ad.engine.types cimport FreeList, Operand

cdef class Array:
    cdef object array                # an ndarray, or None where `number` holds a float64 scalar
    cdef double number
    cdef Node node
    cdef tuple tangents              # ((tag, Array), ...) with rising tags, or None
    cdef object base                 # what this is a power of, and with what exponent: see `engine.powers`; or None
    cdef double exponent
    cdef bint modulus                # whether it is a power of the modulus
    cdef uint32_t changes            # how often this was rebound, or made a start of derivatives
    cdef uint32_t base_changes       # how often what `base` is made of was, when that was remembered
    # For `engine.writing`:
    cdef Array owner                 # the Array that this is a view of, or None
    cdef Op view_op                  # the op that makes the view of the owner; None for a slice, whose memory tells
    cdef tuple view_params           # the params of that op
    cdef dict pending                # elements written whose derivatives are not those of the array yet; or None
    cdef uint64_t settled_at         # `clock.writes` when this was known to be up to date
    cdef uint32_t writes             # how often elements of this were written
    cdef uint32_t owner_writes       # how often those of the owner had been, when the view was computed
    cdef bint unsettled              # whether it is a view or has `pending`
    cdef bint is_sole_owner          # whether nothing else should share the memory of `array`, which is written to
    cdef bint is_compact             # whether it is a view that has a copy of the elements of its owner
    cdef bint is_read_only           # whether it is a view that cannot be written to
    cdef bint has_history            # whether a field for writing is set, other than `owner` and `unsettled`
    cdef object __weakref__
    cdef Array read(self)
    cdef Array read_unwatched(self)


# What `Array` and `apply` call in the modules above, which set these when they are imported.
cdef struct Hooks:
    # by `ad._core`
    object (*apply1)(Op op, object a)
    object (*apply2)(Op op, object a, object b)
    object (*take_slice)(Array x, slice index)
    # by `engine.forward`
    object (*push_tangents)(Op op, Operand *operands, int n, tuple params, Array y)
    Array (*blank_dual)()
    # by `engine.powers`
    object (*power_of)(Op op, object a, object b, Array y)
    int (*remember)(Op op, tuple inputs, tuple params, Array y) except -1
    # by `engine.writing`
    int (*settle)(Array x) except -1
    int (*write)(Array x, object index, object value) except -1
    object (*write_whole)(Array x, object y)
    Array (*read_pending)(Array x, object index)
    bint (*gives_view)(Array x, Op op, tuple params) except -1

cdef Hooks hooks


cdef struct Clock:
    uint64_t writes                  # how often an Array was written to, in all threads

cdef Clock clock


cdef inline int settle(Array x) except -1:
    """Bring an Array up to date with what was written to it, or to what it is a view of."""
    if x.unsettled and x.settled_at != clock.writes:
        hooks.settle(x)
    return 0


cdef inline Array up_to_date(Array x):
    """An Array as ops see it: a variable is read, and what was written is there."""
    if type(x) is not Array:
        x = x.read()
    settle(x)
    return x


cdef inline bint is_no_number(object a):
    """Whether an operand is of a type that knows nothing of arithmetic."""
    return a is None or isinstance(a, (str, bytes))


cdef FreeList spare_arrays  # Arrays come and go with every op


cdef inline Array blank_array():
    """An Array without anything in it."""
    cdef PyObject *x
    if spare_arrays.n == 0:
        return allocate_array()
    spare_arrays.n -= 1
    x = spare_arrays.objects[spare_arrays.n]
    x.ob_refcnt = 0  # the cast below counts the first reference
    return <Array>x


cdef Array allocate_array()
cdef Array new_array(object array, double number, Node node, tuple tangents)
cdef Array wrap(object value, Node node=*, tuple tangents=*)
cdef Array as_value(object value, object dtype)
cdef object raw_value(Array x)
cdef object read_only(Array x)
cpdef object public_value(Array x)
cdef int force(Array x) except -1
cdef bint is_live(Array x) except -1
cdef int note_cut(Array x, str what) except -1
cpdef bint is_traced(Array x) except -1
cdef bint is_followed(Array x) except -1
cpdef bint is_watched(Array x)
cdef object record_guard(Array x, str kind, object value)
