"""The pool of float64 arrays: memory that is used again."""
from cpython.ref cimport Py_DECREF, Py_INCREF

from ad.engine.types cimport FLOAT64_DTYPE

cnp.import_array()

# It costs more to make a small array than to run any loop over it, and the memory of a new large array has to be mapped
# page by page. A gradient makes and drops an array for every op, so the last few arrays of each size that were dropped
# are kept here to be used again: small ones by size, large ones up to LARGE_BYTES in all.
cdef enum:
    SIZES = 64       # buckets of small arrays, by size modulo this; one more for the large
    DEPTH = 8        # arrays in a bucket
    SMALL = 1024     # elements
    LARGE_BYTES = 1 << 26
    TRACKED = 4      # large results that callers have and may drop

cdef struct Bucket:
    int n
    PyObject *arrays[DEPTH]  # owned

cdef Bucket pool[SIZES + 1]
cdef npy_intp large_bytes = 0
cdef PyObject *tracked[TRACKED]  # owned
cdef int next_tracked = 0


cdef inline Bucket *bucket_of(npy_intp size) noexcept:
    return &pool[size % SIZES] if size <= SMALL else &pool[SIZES]


cdef inline bint is_idle(PyObject *a) noexcept:
    """Whether an array has one holder, and no weak reference."""
    return is_owned(a) and (<Fields *>a).weakreflist == NULL


cdef void track_result(PyObject *a) noexcept:
    """Remember a large result that is returned to the caller, to use it again when the caller has dropped it.

    Otherwise Python would give its memory back to the system, which maps new pages for the next result of a loop.
    """
    global next_tracked
    cdef PyObject *before
    if not SMALL < size_of(a) <= LARGE_BYTES // (8 * TRACKED):
        return
    for i in range(TRACKED):
        if tracked[i] == a:
            return
    before = tracked[next_tracked]
    Py_INCREF(<object>a)
    tracked[next_tracked] = a
    next_tracked = (next_tracked + 1) % TRACKED
    if before != NULL:
        Py_DECREF(<object>before)


cdef object reclaim_result(int nd, const npy_intp *shape):
    """Return a tracked array of this shape that its caller has dropped, or None."""
    cdef PyObject *a
    cdef int i
    for i in range(TRACKED):
        a = tracked[i]
        if a != NULL and has_shape(a, nd, shape) and is_idle(a):
            tracked[i] = NULL
            array = <object>a
            Py_DECREF(array)
            return array
    return None


cdef void release_to_pool(PyObject *a) noexcept:
    """Put an array that its only holder is about to drop into the pool, if it can be used again."""
    global large_bytes
    cdef Bucket *bucket
    cdef npy_intp size
    if not is_idle(a):
        return
    size = size_of(a)
    if 8 * size > LARGE_BYTES:
        return
    bucket = bucket_of(size)
    while bucket.n == DEPTH or size > SMALL and large_bytes + 8 * size > LARGE_BYTES:
        if size_of(bucket.arrays[0]) == size:
            return  # enough of these
        Py_DECREF(take_out(bucket, 0))
    Py_INCREF(<object>a)
    bucket.arrays[bucket.n] = a
    bucket.n += 1
    if size > SMALL:
        large_bytes += 8 * size


cdef object take_out(Bucket *bucket, int i):
    """Remove array i from a bucket and return it; the caller gives up the pool's reference."""
    global large_bytes
    cdef PyObject *array = bucket.arrays[i]
    cdef int k
    bucket.n -= 1
    for k in range(i, bucket.n):
        bucket.arrays[k] = bucket.arrays[k + 1]
    if size_of(array) > SMALL:
        large_bytes -= 8 * size_of(array)
    return <object>array


cdef object acquire(int nd, const npy_intp *shape, npy_intp size):
    """Return the array of this shape that was put into the pool last, or None."""
    cdef Bucket *bucket = bucket_of(size)
    cdef int i
    for i in range(bucket.n - 1, -1, -1):
        if has_shape(bucket.arrays[i], nd, shape):
            array = take_out(bucket, i)
            Py_DECREF(array)
            return array
    return None


cdef object empty(int nd, const npy_intp *shape, npy_intp size):
    """Return a float64 array whose elements are not set."""
    if bucket_of(size).n:
        array = acquire(nd, shape, size)
        if array is not None:
            return array
    if size > SMALL:
        array = reclaim_result(nd, shape)
        if array is not None:
            return array
    Py_INCREF(FLOAT64_DTYPE)  # NewFromDescr steals it
    return PyArray_NewFromDescr(cnp.ndarray, FLOAT64_DTYPE, nd, shape, NULL, NULL, 0, None)


cdef object empty_like(PyObject *a):
    return empty(cnp.PyArray_NDIM(<cnp.ndarray>a), cnp.PyArray_DIMS(<cnp.ndarray>a), size_of(a))


cdef object empty_vector(npy_intp n):
    return empty(1, &n, n)


cdef object filled(PyObject *like, double number):
    """Return a new array of the shape of `like` with every element `number`."""
    out = empty_like(like)
    cdef double *data = data_of(<PyObject *>out)
    cdef npy_intp i
    for i in range(size_of(like)):
        data[i] = number
    return out


cdef object slice1(PyObject *a, npy_intp start, npy_intp step, npy_intp n):
    """Return the view a[start : start + n * step : step] of a one-dimensional float64 array."""
    cdef npy_intp stride = cnp.PyArray_STRIDE(<cnp.ndarray>a, 0)
    cdef npy_intp out_stride = stride * step
    cdef char *data = <char *>cnp.PyArray_DATA(<cnp.ndarray>a) + (start * stride if n else 0)
    Py_INCREF(FLOAT64_DTYPE)
    out = PyArray_NewFromDescr(cnp.ndarray, FLOAT64_DTYPE, 1, &n, &out_stride, data,
                               cnp.PyArray_FLAGS(<cnp.ndarray>a) & cnp.NPY_ARRAY_WRITEABLE, None)
    cnp.set_array_base(out, <object>a)
    return out
