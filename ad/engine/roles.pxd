"""Contract of the roles: the ops and functions of the table that compiled code calls."""
from ad.engine.graph cimport Op


cdef class Roles:
    # the operators of Array
    cdef public Op add, subtract, multiply, divide, power, floor_divide, remainder, negative, positive, absolute
    cdef public Op getitem, setitem
    # what rules and sweeps are made of, whatever the op
    cdef public Op identity, scale, scale_dots, conjugate, reshape, broadcast_to, stack, sum_to, astype
    # functions: their arguments have to be bound before an op is called
    cdef public object getitem_function, matmul_function, compare, detached, either, smooth_power
    cdef public object asarray           # a list or tuple as an array; an Array if one is in it
    cdef public object stacked           # a value as it is, but a list or tuple with an Array in it as an Array
    cdef public object plain_index       # an index with ndarrays and numbers in the place of Arrays
    cdef public object prepare_write     # index and value of `x[index] = value`, as `setitem` takes them
    cdef public object refuse            # raises NumPy's own error for these operands, where it has one
    cdef public object array_ufunc, array_function
    cdef public bint compares_to_arrays  # whether comparisons go by `compare` while nothing is recorded, too


cdef Roles roles
