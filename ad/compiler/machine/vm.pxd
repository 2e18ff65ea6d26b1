"""Contract of the machine."""
from cpython.ref cimport PyObject
from numpy cimport npy_intp

from ad.compiler.machine.assembly cimport Argument, ArraySpec, AssembledPlan, CallStep, Segment
from ad.compiler.machine.loops cimport Total

cdef enum:
    SPARE_WORKSPACES = 8  # kept for later runs

# Memory of one run at a time, kept for the next.
cdef struct Workspace:
    void *memory
    Total *totals       # of a group and of a chunk, then the spill of a chunk
    PyObject **arrays   # owned, or NULL
    double **bases      # base ARRAYS + i is the data of arrays[i]


cdef class Machine(AssembledPlan):
    cdef int n_spare
    cdef Workspace *spare[SPARE_WORKSPACES]

    cdef Workspace *take_workspace(self) except NULL
    cdef Workspace *new_workspace(self) except NULL
    cdef int give_back(self, Workspace *space) except -1
    cdef int drop(self, Workspace *space, int i) except -1
    cdef int put(self, Workspace *space, int i, object array) except -1
    cdef list checked_targets(self, list out, list values)
    cdef list replay(self, PyObject **values, list out)
    cdef int bind_input(self, Workspace *space, int i, PyObject *value) except -1
    cdef object converted(self, int i, object value)
    cdef int run_segment(self, Workspace *space, int i, list out) except -1
    cdef void run_native(self, Segment *segment, Workspace *space) noexcept nogil
    cdef object allocated(self, ArraySpec *array, list out)
    cdef int call(self, Workspace *space, CallStep step) except -1
    cdef object argument(self, Workspace *space, Argument *arg, object given)
    cdef int store_result(self, Workspace *space, CallStep step, int i, object result) except -1
    cdef list collect_outputs(self, Workspace *space, list out)
    cdef object output(self, Workspace *space, int i)
    cdef bint is_free(self, PyObject *array, int base)
