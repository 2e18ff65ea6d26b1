"""Contract of `apply`, the one way through Arrays."""
from ad.engine.array cimport Array
from ad.engine.graph cimport Op


cdef inline bint remembers(object x):
    """Whether a value is known to be a power of another: see `engine.powers`."""
    return isinstance(x, Array) and (<Array>x).base is not None


cdef Array lift(object value)
cdef Array alias(Array x)
cdef object apply1(Op op, object a)
cdef object apply2(Op op, object a, object b)
cpdef object apply(Op op, tuple inputs, tuple params=*)
cdef Array apply_given(Op op, tuple inputs, tuple params, object value)
cdef object refuse_operands(Op op, tuple inputs)
