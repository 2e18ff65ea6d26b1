"""Contract of the replay loop: a plan in C structs, and the machine that runs it."""
from cpython.ref cimport PyObject
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, uint32_t

from numpy cimport npy_intp

from ad.engine.graph cimport Op
from ad.engine.kernels cimport InnerLoop

cdef extern from "loops.h":
    ctypedef void (*Kernel "ad_kernel")(
        ptrdiff_t n, double *out, const double *a, const double *b, const double *c) noexcept nogil
    ctypedef struct Scalar "ad_scalar":
        uint32_t code, out, a, b, c
    ctypedef struct ScalarLoop "ad_scalar_loop":
        InnerLoop run
        void *data
        int arity
    ctypedef struct Ref "ad_ref":
        int32_t base, step
        ptrdiff_t offset
    ctypedef struct View "ad_view":
        int32_t base, nd
        ptrdiff_t offset
        ptrdiff_t *shape
        ptrdiff_t *strides
    ctypedef enum VectorKind "ad_kind":
        KERNEL "AD_KERNEL"
        NUMPY "AD_NUMPY"
        GATHER "AD_GATHER"
        TAKE "AD_TAKE"
        ADD_INTO "AD_ADD_INTO"
        ADD_AT "AD_ADD_AT"
        ADD_SLICE "AD_ADD_SLICE"
        SUM "AD_SUM"
    ctypedef struct Vector "ad_vector":
        VectorKind kind
        int arity, sum
        ptrdiff_t halo, spill_start
        Kernel run
        InnerLoop loop
        void *data
        Ref out
        Ref input[3]
        View view
        const int32_t *indices
    ctypedef struct Matrix "ad_matrix":
        int32_t base
        ptrdiff_t offset, row, column
    ctypedef struct Product "ad_product":
        ptrdiff_t m, k, n
        Matrix a, b, out
    ctypedef struct Span "ad_span":
        int32_t base
        ptrdiff_t offset, n
    ctypedef struct Step "ad_step":
        int n_zeros, n_ops, n_sums, is_parallel
        ptrdiff_t spill_size, align
        double work
        Span *zeros
        Scalar *code
        ScalarLoop *loops
        Product *product
        ptrdiff_t n, block
        Vector *ops
        Span *sums

    ctypedef struct Total "ad_total":
        double sum, error

# What one run needs of memory: used by one run at a time, kept for the next.
cdef struct Workspace:
    void *memory
    Total *totals       # of a group and of a chunk, and its spill
    PyObject **arrays   # owned, or NULL
    double **bases      # base ARRAYS + i is the data of arrays[i]

cdef struct ArrayPlan:
    int nd, out         # out: which output it is, or -1
    npy_intp *shape
    npy_intp size

# Steps without Python, and the call that follows them, if any; by base, the arrays made before and dropped after.
cdef struct Segment:
    int start, end, n_begins, n_ends
    int *begins
    int *ends
    bint is_worth, is_parallel  # giving up the GIL, and workers

# What an input or output is: a float64 number in a register, a float64 array, any other value, or a constant.
cdef enum PlaceKind:
    NUMBER
    ARRAY
    OTHER
    CONSTANT

cdef struct Place:
    PlaceKind kind
    int at              # register or base

# What a call is given: an object known beforehand, the number of a register, a whole array, or a view of one.
cdef enum ArgumentKind:
    GIVEN
    REGISTER
    WHOLE
    PART

cdef struct Argument:
    ArgumentKind kind
    int at              # register, or number of the array
    View view           # its strides in bytes


cdef class CallStep:
    cdef Op op
    cdef tuple given    # by argument the object, or the shape that a number is spread over; then the static parameters
    cdef Argument *args
    cdef Place *results
    cdef int n_args, n_results


cdef class Machine:
    cdef readonly object layout
    cdef Step *steps
    cdef Segment *segments
    cdef ArrayPlan *arrays
    cdef Place *inputs
    cdef Place *outputs
    cdef int n_steps, n_segments, n_arrays, n_inputs, n_outputs, n_spare
    cdef size_t scratch, totals    # elements of the blocks, bytes of the totals
    cdef list calls                # by segment
    cdef Workspace *spare[8]

    cdef int fill_arrays(self) except -1
    cdef int fill_steps(self) except -1
    cdef int fill_segment(self, Segment *segment, int start, int end, int stop) except -1
    cdef int fill_step(self, Step *step, object part) except -1
    cdef int fill_ends(self) except -1
    cdef Workspace *take_workspace(self) except NULL
    cdef Workspace *new_workspace(self) except NULL
    cdef int give_back(self, Workspace *space) except -1
    cdef int drop(self, Workspace *space, int i) except -1
    cdef int put(self, Workspace *space, int i, object array) except -1
    cdef list placed(self, list out, list values)
    cdef list replay(self, PyObject **values, list out)
    cdef int bind(self, Workspace *space, int i, PyObject *value) except -1
    cdef object fitting(self, int i, object value)
    cdef int run_segment(self, Workspace *space, int i, list out) except -1
    cdef void run_steps(self, Segment *segment, Workspace *space) noexcept nogil
    cdef object fresh(self, ArrayPlan *array, list out)
    cdef int call(self, Workspace *space, CallStep step) except -1
    cdef object argument(self, Workspace *space, Argument *arg, object given)
    cdef int keep(self, Workspace *space, CallStep step, int i, object result) except -1
    cdef list collect(self, Workspace *space, list out)
    cdef object output(self, Workspace *space, int i)
    cdef bint is_free(self, PyObject *array, int base)
