"""Contract of forward mode: the tangents that values carry."""
from ad.engine.array cimport Array
from ad.engine.graph cimport Op

cdef class Dual(Array):
    pass


cdef long dual_depth(Array x)
cdef Array without_duals(Array x, long depth)
cdef Array tangent_of(Array x, long tag)
cdef Array restrict(Array x, long tag)
cdef list find_tangents(Op op, list xs, list dots, Array y, tuple params)
cdef object output_with(Op op, Array y, list found)
cdef object push_rule(Op op, tuple x_dots, tuple xs, object y, tuple params)
cdef object scaled(object dot, Op op, int i, tuple xs, object y, bint conjugate)
