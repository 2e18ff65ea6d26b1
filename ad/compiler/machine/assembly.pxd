"""Contract of the assembled plan: the steps of an execution plan as C structs, in segments."""
from numpy cimport npy_intp

from ad.compiler.machine.loops cimport Step, View
from ad.engine.graph cimport Op

# What is known of an ndarray before a run.
cdef struct ArraySpec:
    int nd, out         # out: the number of the output that it is, or -1
    npy_intp *shape
    npy_intp size

# Steps that run without Python, and the call that follows them, if any; the bases to allocate before and to free after.
cdef struct Segment:
    int start, end, n_allocate, n_free
    int *allocate_before
    int *free_after
    bint releases_gil, is_parallel

# What an input, an output or the result of a call is.
cdef enum PlaceKind:
    NUMBER              # float64, in a register
    ARRAY               # float64, in C order
    OTHER
    CONSTANT

cdef struct Place:
    PlaceKind kind
    int at              # register or base

# What an argument of a call is.
cdef enum ArgumentKind:
    GIVEN               # known when the plan was made
    REGISTER
    WHOLE               # an ndarray, or any other value
    STRIDED             # a view of an ndarray

cdef struct Argument:
    ArgumentKind kind
    int at              # register, or index of the array
    View view           # its strides in bytes


cdef class CallStep:
    cdef Op op
    cdef tuple given    # for each argument the known value, or the shape to broadcast a number to; then the parameters
    cdef Argument *args
    cdef Place *results
    cdef int n_args, n_results


cdef class AssembledPlan:
    cdef readonly object plan
    cdef Step *steps
    cdef Segment *segments
    cdef ArraySpec *arrays
    cdef Place *inputs
    cdef Place *outputs
    cdef int n_steps, n_segments, n_arrays, n_inputs, n_outputs
    cdef size_t scratch_size  # in elements
    cdef size_t totals_size   # in bytes
    cdef list calls           # by segment

    cdef int assemble_arrays(self) except -1
    cdef int assemble_steps(self) except -1
    cdef int assemble_step(self, Step *step, object plan) except -1
    cdef int assemble_segment(self, Segment *segment, int start, int end, int stop) except -1
    cdef int assemble_places(self) except -1

cdef void *calloc_checked(size_t n, size_t size) except NULL
