"""Contract of the float64 kernels: NumPy's inner loops and native partials."""
from cpython.ref cimport PyObject
from libc.stddef cimport ptrdiff_t
from numpy cimport npy_intp

from ad.engine.types cimport ARRAY, Operand

ctypedef void (*InnerLoop)(
    char **args, const npy_intp *dimensions, const npy_intp *strides,
    void *data) noexcept nogil

cdef extern from "native.h":
    ctypedef double (*Value "ad_value")(double a, double b) noexcept nogil
    ctypedef double (*Partial "ad_partial")(double a, double b, double y) noexcept nogil
    ctypedef void (*Pullback "ad_pullback")(
        ptrdiff_t n, const double *a, int sa, const double *b, int sb,
        const double *y, const double *g, int sg, double *out) noexcept nogil
    double scaled "ad_scaled"(double dot, double partial) noexcept nogil
    double scaled_dots "ad_scaled_dots"(double a, double b) noexcept nogil
    int float_flags "ad_float_flags"() noexcept nogil
    ctypedef struct Native "ad_native":
        const char *name
        Value value
        const Partial *partial
        const Pullback *pullback
        InnerLoop loop

cdef struct Loop:
    InnerLoop run
    void *data

# One operand of a kernel: a contiguous or one-dimensional array, or a number if `array` is NULL.
cdef struct Factor:
    PyObject *array
    double number

cdef inline Factor factor_of(Operand *operand) noexcept:
    """Return an operand of `apply` as an operand of a kernel."""
    cdef Factor f
    f.array = operand.value if operand.kind == ARRAY else NULL
    f.number = operand.x
    return f

cdef bint heeds_errors() except -1
cdef bint heeds_flags() except -1
cdef const Native *find_native(const char *name) noexcept
cdef int find_loop(object ufunc, Loop *loop) except -1
cdef object map1(Loop *loop, PyObject *a)
cdef object map2(Loop *loop, Factor a, Factor b)
cdef double reduce_loop(Loop *loop, PyObject *a, double start) noexcept
cdef object pull_loop(Pullback kernel, Factor a, Factor b, PyObject *y, Factor g, bint overwrite)
cdef object push_loop(Pullback kernel, Factor a, Factor b, PyObject *y, PyObject *x_dot)
cdef object embedded(npy_intp size, npy_intp start, npy_intp step, npy_intp n, Factor b)
cdef void add_into(PyObject *a, npy_intp start, npy_intp step, npy_intp n, Factor b) noexcept
