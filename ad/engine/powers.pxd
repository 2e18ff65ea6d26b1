"""Contract of powers: what an output is a power of."""
from ad._core cimport Array
from ad.engine.graph cimport BY_ITSELF, CARRIES, Op


cdef inline bint is_power(Op op, object a, object b):
    """Whether an op that has an exponent computes a power of `a`."""
    if op.power == CARRIES or op.power == BY_ITSELF and a is not b:
        return remembers(a) or remembers(b)
    return True


cdef inline bint remembers(object x):
    return isinstance(x, Array) and (<Array>x).base is not None


cdef inline bint any_remembers(list inputs):
    for x in inputs:
        if remembers(x):
            return True
    return False


cdef object power_of(Op op, object a, object b, Array y)
cdef int remember(Op op, tuple inputs, tuple params, Array y) except -1
