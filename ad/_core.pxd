"""Contract of the core: values, and the one way through them, `apply`."""
from ad._graph cimport Node, Op

cdef class Array:
    cdef object array                # an ndarray, or None where `number` holds a float64 scalar
    cdef double number
    cdef Node node
    cdef tuple tangents              # ((tag, Array), ...) with rising tags, or None
    cdef Array read(self)
    cdef object plain(self)


cdef class Dual(Array):
    pass


cdef Array wrap(object value, Node node=*, tuple tangents=*)
cdef Array lift(object value)
cdef Array alias(Array x)
cdef Array as_value(object value, object dtype)
cdef object value_of(Array x)
cdef object read_input(Node node, int i)
cdef object read_output(Node node)
cdef bint is_live(Array x) noexcept
cpdef bint is_traced(Array x) noexcept
cdef Array new_array(object array, double number, Node node, tuple tangents)
cdef object scaled(object dot, object partial, tuple xs, object y, bint conjugate)
cdef object push_rule(Op op, tuple x_dots, tuple xs, object y, tuple params)
cdef Array tangent_of(Array x, long tag)
cdef Array restrict(Array x, long tag)
cdef long dual_depth(Array x)
cdef Array without_duals(Array x, long depth)

cdef object apply1(Op op, object a)
cdef object apply2(Op op, object a, object b)
cpdef object apply(Op op, tuple inputs, tuple params=*)
cdef dict roles
