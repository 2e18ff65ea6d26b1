"""Contract of deferral: values that a recording has abstract_output, and not computed."""
from cpython.ref cimport PyObject

from ad.engine.graph cimport Op
from ad.engine.recorder cimport State
from ad.engine.types cimport Operand

cdef int n_open  # recordings that may have such values, in any thread


cdef class Deferred:
    cdef State state             # of the thread that records
    cdef list waiting            # [(op, inputs, params, output), ...] in the order of their evaluation
    cdef set pending                # the addresses of those outputs
    cdef long long bytes         # of those outputs
    cdef PyObject *fresh         # an output that was described and is not among them yet
    cdef readonly bint stopped
    cdef object lock             # of the recording too: other threads may take part in it
    cdef bint holds(self, PyObject *array) noexcept
    cdef bint is_fresh(self, Operand *output) noexcept
    cdef int add(self, Op op, list inputs, object params, object output) except -1
    cdef int forget_unread(self) except -1
    cdef int evaluate(self) except -1
    cdef int evaluate_all(self, list waiting) except -1

cdef Deferred begin()
cdef object abstract_output(Op op, Operand *operands, int n, object params)
cdef int force_deferred(PyObject *array) except -1
