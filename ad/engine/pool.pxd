"""Contract of the pool of float64 arrays, and what can be asked about an array."""
from cpython.ref cimport PyObject

cimport numpy as cnp
from numpy cimport npy_intp

cdef extern from "numpy/arrayobject.h":
    ctypedef struct Fields "PyArrayObject_fields":
        PyObject *weakreflist
    object PyArray_NewFromDescr(
        type subtype, cnp.dtype descr, int nd, const npy_intp *dims, const npy_intp *strides,
        void *data, int flags, object obj)

cdef void release_to_pool(PyObject *a) noexcept
cdef void track_result(PyObject *a) noexcept
cdef object empty(int nd, const npy_intp *shape, npy_intp size)
cdef object empty_like(PyObject *a)
cdef object empty_vector(npy_intp n)
cdef object filled(PyObject *like, double number)
cdef object slice1(PyObject *a, npy_intp start, npy_intp step, npy_intp n)


cdef inline double *data_of(PyObject *a) noexcept:
    return <double *>cnp.PyArray_DATA(<cnp.ndarray>a)


cdef inline npy_intp size_of(PyObject *a) noexcept:
    return cnp.PyArray_SIZE(<cnp.ndarray>a)


cdef inline bint is_contiguous(PyObject *a) noexcept:
    """Whether this is exactly an ndarray, of aligned float64 in C order."""
    return (cnp.PyArray_CheckExact(<object>a)
            and cnp.PyArray_TYPE(<cnp.ndarray>a) == cnp.NPY_DOUBLE
            and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>a))


cdef inline bint has_own_memory(PyObject *a) noexcept:
    """Whether an array is writable and owns its memory."""
    return (cnp.PyArray_BASE(<cnp.ndarray>a) == NULL
            and cnp.PyArray_CHKFLAGS(<cnp.ndarray>a, cnp.NPY_ARRAY_OWNDATA | cnp.NPY_ARRAY_WRITEABLE))


cdef inline bint is_owned(PyObject *a) noexcept:
    """Whether this is a contiguous array with one reference alone, whose holder may therefore overwrite it."""
    return a.ob_refcnt == 1 and is_contiguous(a) and has_own_memory(a)


cdef inline bint is_vector(PyObject *a) noexcept:
    """Whether this is exactly an ndarray, one-dimensional, of aligned float64 with any stride."""
    return (cnp.PyArray_NDIM(<cnp.ndarray>a) == 1
            and cnp.PyArray_TYPE(<cnp.ndarray>a) == cnp.NPY_DOUBLE
            and cnp.PyArray_CheckExact(<object>a)
            and cnp.PyArray_ISBEHAVED_RO(<cnp.ndarray>a))


cdef inline bint has_shape(PyObject *a, int nd, const npy_intp *shape) noexcept:
    cdef int i
    if nd != cnp.PyArray_NDIM(<cnp.ndarray>a):
        return False
    for i in range(nd):
        if cnp.PyArray_DIM(<cnp.ndarray>a, i) != shape[i]:
            return False
    return True


cdef inline bint same_shape(PyObject *a, PyObject *b) noexcept:
    return has_shape(a, cnp.PyArray_NDIM(<cnp.ndarray>b), cnp.PyArray_DIMS(<cnp.ndarray>b))
