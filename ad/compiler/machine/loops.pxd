"""Contract of the inner loops: the structs of a plan's steps, and what runs them."""
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, uint32_t

from ad.engine.kernels cimport InnerLoop

cdef extern from "plan.h":
    enum:
        REGISTERS "AD_REGISTERS"
        BUFFERS "AD_BUFFERS"
        SCRATCH "AD_SCRATCH"
        ARRAYS "AD_ARRAYS"
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

cdef Kernel find_kernel(str name, int scalars)
cdef int loop_cost(str name) except -1  # of one element, in units of one multiply
cdef void spawn_workers()
cdef void run_steps(
    const Step *steps, int n_steps, double **bases, Total *totals, int n_bases, size_t scratch) noexcept nogil
