"""Contract of deferral: outputs whose shape and dtype a recording knows, and whose values are not computed yet."""
from cpython.ref cimport PyObject

from ad.engine.graph cimport Op
from ad.engine.kernels cimport heeds_errors
from ad.engine.recorder cimport State
from ad.engine.types cimport ARRAY, Operand

cdef int n_open  # the number of recordings that may have such outputs, in all threads


cdef class Deferred:
    cdef State state             # the state of the thread that records
    cdef list waiting            # [(op, inputs, params, output), ...] in the order in which they are evaluated
    cdef set pending             # the addresses of these outputs
    cdef long long bytes         # the size of these outputs
    cdef PyObject *fresh         # a placeholder whose op is not in the list yet
    cdef readonly bint stopped
    cdef object lock             # other threads may take part in the recording
    cdef bint holds(self, PyObject *array) noexcept
    cdef bint is_fresh(self, Operand *output) noexcept
    cdef int add(self, Op op, list inputs, object params, object output) except -1
    cdef int forget_unread(self) except -1
    cdef int evaluate(self) except -1
    cdef int evaluate_all(self, list waiting) except -1

cdef Deferred begin()
cdef object abstract_output(Op op, Operand *operands, int n, object params)
cdef int force_deferred(PyObject *array) except -1


cdef inline object defer(Op op, Operand *operands, int n, tuple params, Operand *output):
    """Fill in an output whose evaluation waits; None if the op is to be evaluated."""
    if n_open == 0 or heeds_errors():
        return None
    value = abstract_output(op, operands, n, params)
    if value is not None:
        output.kind, output.value = ARRAY, <PyObject *>value
    return value
