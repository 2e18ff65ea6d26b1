"""Loops on float64 arrays without the cost of a NumPy call.

A ufunc call costs some 0.3 µs before it computes anything. Its inner loop, reached through the
public struct `PyUFuncObject`, has the same SIMD code and none of that cost; it is taken from
the ufunc once, by type signature. "Plain" below means an exact ndarray of aligned float64 in
C order. A function here returns None for operands it does not take; the caller then goes
through NumPy itself.
"""
from cpython.contextvars cimport PyContextVar_CheckExact, get_value
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.string cimport memcpy, memset

cimport numpy as cnp
from numpy cimport npy_intp

import contextvars

import numpy as np

cnp.import_array()
cnp.import_ufunc()

cdef extern from "numpy/ufuncobject.h":
    ctypedef struct UFunc "PyUFuncObject":
        int nin, nout, nargs, ntypes
        InnerLoop *functions
        void **data
        const char *types

cdef extern from "native.h":
    const Native *ad_find_native(const char *name) noexcept nogil
    void clear_float_flags "ad_clear_float_flags"() noexcept nogil

cdef extern from "numpy/arrayobject.h":
    ctypedef struct Fields "PyArrayObject_fields":
        PyObject *weakreflist
    object PyArray_NewFromDescr(
        type subtype, cnp.dtype descr, int nd, const npy_intp *dims, const npy_intp *strides,
        void *data, int flags, object obj)

cdef cnp.dtype FLOAT64_DTYPE = cnp.PyArray_DescrFromType(cnp.NPY_DOUBLE)


cdef const Native *find_native(const char *name) noexcept:
    """The native kernels of an op, or NULL."""
    return ad_find_native(name)


cdef int find_loop(object ufunc, Loop *loop) except -1:
    """Take the all-float64 inner loop of `ufunc`; whether it has one."""
    cdef UFunc *table
    cdef int i, j
    loop.run = NULL
    if not isinstance(ufunc, cnp.ufunc) or ufunc.signature is not None:  # a generalised one goes through vectors
        return False
    table = <UFunc *><PyObject *>ufunc
    if table.nout != 1:
        return False
    for i in range(table.ntypes):
        for j in range(table.nargs):
            if table.types[i * table.nargs + j] != cnp.NPY_DOUBLE:
                break
        else:
            loop.run = table.functions[i]
            loop.data = table.data[i] if table.data != NULL else NULL
            return True
    return False


# -- NumPy's floating-point errors -------------------------------------------------------
# Loops and scalar kernels that are called directly set the flags of the processor, and no more. Where np.errstate asks
# for more than a warning, NumPy itself has to compute what has set them.

# NumPy's settings are in a variable of its own, where it has that under this name. They are never changed but replaced.
cdef object SETTINGS = getattr(np._core.umath, "_extobj_contextvar", None)
cdef bint HAS_SETTINGS = SETTINGS is not None and PyContextVar_CheckExact(SETTINGS)
cdef object known_settings = contextvars.Context().run(SETTINGS.get) if HAS_SETTINGS else None
cdef bint known_answer = False


cdef bint heeds_errors() except -1:
    """Whether np.errstate (or np.seterr) asks to raise, call, print or log."""
    global known_settings, known_answer
    settings = get_value(SETTINGS) if HAS_SETTINGS else None
    if settings is None or settings is not known_settings:
        known_answer = not {"ignore", "warn"}.issuperset(np.geterr().values())
        known_settings = settings
    return known_answer


cdef bint heeds_flags() except -1:
    """`heeds_errors`, asked where flags are set: they are cleared."""
    clear_float_flags()
    return heeds_errors()


# -- arrays ------------------------------------------------------------------------------


cdef inline double *data_of(PyObject *a) noexcept:
    return <double *>cnp.PyArray_DATA(<cnp.ndarray>a)


cdef inline npy_intp size_of(PyObject *a) noexcept:
    return cnp.PyArray_SIZE(<cnp.ndarray>a)


cdef bint is_contiguous(PyObject *a) noexcept:
    return (cnp.PyArray_CheckExact(<object>a)
            and cnp.PyArray_TYPE(<cnp.ndarray>a) == cnp.NPY_DOUBLE
            and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>a))


cdef bint is_owned(PyObject *a) noexcept:
    """Whether a plain array is seen by one holder alone, who may therefore overwrite it."""
    return a.ob_refcnt == 1 and is_contiguous(a) and has_own_memory(a)


cdef bint has_own_memory(PyObject *a) noexcept:
    """Whether no other array, and nothing outside of NumPy, has the memory of an array, and it can be written."""
    return (cnp.PyArray_BASE(<cnp.ndarray>a) == NULL
            and cnp.PyArray_CHKFLAGS(<cnp.ndarray>a, cnp.NPY_ARRAY_OWNDATA | cnp.NPY_ARRAY_WRITEABLE))


cdef bint is_vector(PyObject *a) noexcept:
    """One-dimensional float64, aligned, with any stride."""
    return (cnp.PyArray_NDIM(<cnp.ndarray>a) == 1
            and cnp.PyArray_TYPE(<cnp.ndarray>a) == cnp.NPY_DOUBLE
            and cnp.PyArray_CheckExact(<object>a)
            and cnp.PyArray_ISBEHAVED_RO(<cnp.ndarray>a))


cdef bint has_shape(PyObject *a, int nd, const npy_intp *shape) noexcept:
    cdef int i
    if nd != cnp.PyArray_NDIM(<cnp.ndarray>a):
        return False
    for i in range(nd):
        if cnp.PyArray_DIM(<cnp.ndarray>a, i) != shape[i]:
            return False
    return True


cdef inline bint same_shape(PyObject *a, PyObject *b) noexcept:
    return has_shape(a, cnp.PyArray_NDIM(<cnp.ndarray>b), cnp.PyArray_DIMS(<cnp.ndarray>b))


# Making a small array costs more than any loop over it, and the memory of a fresh large one has
# to be mapped page by page; a gradient makes and drops an array for every op. So the last few of
# each size that were dropped wait here to be used again: small ones by size, large ones up to
# LARGE_BYTES in all.
cdef enum:
    SIZES = 64       # buckets of small arrays, by size modulo this; one more for the large
    DEPTH = 8        # arrays in a bucket
    SMALL = 1024     # elements
    LARGE_BYTES = 1 << 26
    TRACKED = 4         # large results that callers have, and may drop

cdef struct Bucket:
    int n
    PyObject *arrays[8]  # owned

cdef Bucket pool[65]
cdef npy_intp large_bytes = 0
cdef PyObject *tracked[4]  # owned
cdef int next_tracked = 0


cdef inline Bucket *bucket_of(npy_intp size) noexcept:
    return &pool[size % SIZES] if size <= SMALL else &pool[SIZES]


cdef inline bint is_idle(PyObject *a) noexcept:
    """Whether an array has one holder, and no other way leads to it."""
    return a.ob_refcnt == 1 and is_owned(a) and (<Fields *>a).weakreflist == NULL


cdef void track_result(PyObject *a) noexcept:
    """Note a large result that is handed out: when its holder has dropped it, it can be used again.

    Python would give its memory back to the system, which maps fresh pages for the next result of a loop.
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
    """A tracked array of this shape that nobody has any more, or None."""
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
    """Keep an array that its only holder is about to drop, if it can be used again."""
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
    """Array i of a bucket, with the pool's reference still to be given up."""
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
    """An array of this shape from the pool, or None; of those that fit, what was dropped last."""
    cdef Bucket *bucket = bucket_of(size)
    cdef int i
    for i in range(bucket.n - 1, -1, -1):
        if has_shape(bucket.arrays[i], nd, shape):
            array = take_out(bucket, i)
            Py_DECREF(array)
            return array
    return None


cdef object empty(int nd, const npy_intp *shape, npy_intp size):
    """A new float64 array, its elements not set."""
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
    """A new array of this shape, every element `number`."""
    out = empty_like(like)
    cdef double *data = data_of(<PyObject *>out)
    cdef npy_intp i
    for i in range(size_of(like)):
        data[i] = number
    return out


cdef object slice1(PyObject *a, npy_intp start, npy_intp step, npy_intp n):
    """The view a[start : start + n * step : step] of a one-dimensional float64 array."""
    cdef npy_intp stride = cnp.PyArray_STRIDE(<cnp.ndarray>a, 0)
    cdef npy_intp out_stride = stride * step
    cdef char *data = <char *>cnp.PyArray_DATA(<cnp.ndarray>a) + (start * stride if n else 0)
    Py_INCREF(FLOAT64_DTYPE)
    out = PyArray_NewFromDescr(cnp.ndarray, FLOAT64_DTYPE, 1, &n, &out_stride, data,
                               cnp.PyArray_FLAGS(<cnp.ndarray>a) & cnp.NPY_ARRAY_WRITEABLE, None)
    cnp.set_array_base(out, <object>a)
    return out


# -- loops -------------------------------------------------------------------------------

cdef object map1(Loop *loop, PyObject *a):
    """loop(a) in a new array."""
    cdef char *args[2]
    cdef npy_intp steps[2]
    cdef npy_intp n
    if is_contiguous(a):
        steps[0] = 8
    elif is_vector(a):
        steps[0] = cnp.PyArray_STRIDE(<cnp.ndarray>a, 0)
    else:
        return None
    out = empty_like(a)
    n = size_of(a)
    args[0] = <char *>data_of(a)
    args[1] = <char *>data_of(<PyObject *>out)
    steps[1] = 8
    loop.run(args, &n, steps, loop.data)
    return out


cdef inline bint take_step(Factor *f, bint flat, char **arg, npy_intp *step) noexcept:
    """Where and in which steps a loop reads an operand; false if it cannot."""
    if f.array == NULL:
        arg[0] = <char *>&f.number
        step[0] = 0
        return True
    arg[0] = <char *>data_of(f.array)
    if is_contiguous(f.array):
        step[0] = 8
        return True
    if flat and is_vector(f.array):
        step[0] = cnp.PyArray_STRIDE(<cnp.ndarray>f.array, 0)
        return True
    return False


cdef inline npy_intp rows_of(PyObject *a, PyObject *b) noexcept:
    """How often b, whose shape is the end of a's, is gone through for a; 0 if it is not so."""
    cdef int i, na = cnp.PyArray_NDIM(<cnp.ndarray>a), nb = cnp.PyArray_NDIM(<cnp.ndarray>b)
    cdef npy_intp rows = 1
    if nb > na:
        return 0
    for i in range(nb):
        if cnp.PyArray_DIM(<cnp.ndarray>a, na - nb + i) != cnp.PyArray_DIM(<cnp.ndarray>b, i):
            return 0
    for i in range(na - nb):
        rows *= cnp.PyArray_DIM(<cnp.ndarray>a, i)
    return rows


cdef object map2(Loop *loop, Factor a, Factor b):
    """loop(a, b) in a new array: a number beside an array, or one shape the end of the other."""
    cdef char *args[3]
    cdef char *moving[3]
    cdef npy_intp steps[3]
    cdef npy_intp n, row, rows = 1
    cdef PyObject *like = a.array if a.array != NULL else b.array
    cdef npy_intp a_row, b_row
    if a.array != NULL and b.array != NULL and not same_shape(a.array, b.array):
        rows = rows_of(a.array, b.array)
        if rows == 0:
            rows = rows_of(b.array, a.array)
            like = b.array
        if rows == 0:
            return None
    cdef bint flat = rows == 1 and cnp.PyArray_NDIM(<cnp.ndarray>like) == 1
    if not (take_step(&a, flat, &args[0], &steps[0]) and take_step(&b, flat, &args[1], &steps[1])):
        return None
    out = empty_like(like)
    n = size_of(like) // rows
    args[2] = <char *>data_of(<PyObject *>out)
    steps[2] = 8
    a_row = 8 * n if like == a.array else 0
    b_row = 8 * n if like == b.array else 0
    for row in range(rows):
        moving[0] = args[0] + row * a_row  # SciPy's loops move the pointers they are given
        moving[1] = args[1] + row * b_row
        moving[2] = args[2] + row * 8 * n
        loop.run(moving, &n, steps, loop.data)
    return out


cdef double reduce_loop(Loop *loop, PyObject *a, double start) noexcept:
    """loop(... loop(loop(start, a0), a1) ...) over a plain array; NumPy's loops sum pairwise."""
    cdef char *args[3]
    cdef npy_intp steps[3]
    cdef npy_intp n = size_of(a)
    args[0] = args[2] = <char *>&start
    args[1] = <char *>data_of(a)
    steps[0] = steps[2] = 0
    steps[1] = 8
    loop.run(args, &n, steps, loop.data)
    return start


cdef inline bint take(Factor f, const double **data, int *stride, PyObject **like) noexcept:
    if f.array == NULL:
        stride[0] = 0
        return True
    data[0] = data_of(f.array)
    stride[0] = 1
    if like[0] == NULL:
        like[0] = f.array
    return is_contiguous(f.array)


cdef object pull_loop(Pullback kernel, Factor a, Factor b, PyObject *y, Factor g, bint overwrite):
    """g * partial(a, b, y): a new array, or a float where no operand is an array.

    It is written into g's own memory where `overwrite` says that nobody else sees it.
    """
    cdef const double *pa = &a.number
    cdef const double *pb = &b.number
    cdef const double *pg = &g.number
    cdef int sa, sb, sg
    cdef double number
    cdef PyObject *like = y
    if not (take(g, &pg, &sg, &like) and take(a, &pa, &sa, &like) and take(b, &pb, &sb, &like)):
        return None
    if y != NULL and not is_contiguous(y):
        return None
    if like == NULL:
        kernel(1, pa, 0, pb, 0, NULL, pg, 0, &number)
        return number
    out = <object>g.array if overwrite else empty_like(like)
    kernel(size_of(like), pa, sa, pb, sb, NULL if y == NULL else data_of(y), pg, sg,
           data_of(<PyObject *>out))
    return out


cdef object push_loop(Pullback kernel, Factor a, Factor b, PyObject *y, PyObject *x_dot):
    """x_dot * partial(a, b, y), for every lane that x_dot has in front of the shape of a, b and y."""
    cdef const double *pa = &a.number
    cdef const double *pb = &b.number
    cdef int sa, sb
    cdef PyObject *like = y
    cdef int nd = cnp.PyArray_NDIM(<cnp.ndarray>x_dot)
    cdef npy_intp size, stride, _row
    cdef char *dot = <char *>cnp.PyArray_DATA(<cnp.ndarray>x_dot)
    cdef double *out_data
    if not (take(a, &pa, &sa, &like) and take(b, &pb, &sb, &like)) or y != NULL and not is_contiguous(y):
        return None
    size = size_of(x_dot) if like == NULL else size_of(like)
    if is_contiguous(x_dot) and size and size_of(x_dot) % size == 0:
        stride = 8 * size
    elif (nd == 2 and size == cnp.PyArray_DIM(<cnp.ndarray>x_dot, 1)
            and cnp.PyArray_TYPE(<cnp.ndarray>x_dot) == cnp.NPY_DOUBLE
            and cnp.PyArray_ISBEHAVED_RO(<cnp.ndarray>x_dot)
            and cnp.PyArray_STRIDE(<cnp.ndarray>x_dot, 1) == 8):
        stride = cnp.PyArray_STRIDE(<cnp.ndarray>x_dot, 0)
    else:
        return None
    out = empty_like(x_dot)
    out_data = data_of(<PyObject *>out)
    for _row in range(size_of(x_dot) // size if size else 0):
        kernel(size, pa, sa, pb, sb, NULL if y == NULL else data_of(y), <double *>dot, 1, out_data)
        dot += stride
        out_data += size
    return out


cdef void add_into(PyObject *a, npy_intp start, npy_intp step, npy_intp n, Factor b) noexcept:
    """a.flat[start : start + n * step : step] += b, for plain a, and b plain or a number."""
    cdef double *to = data_of(a) + (start if n else 0)
    cdef const double *data
    cdef npy_intp i
    if b.array == NULL:
        for i in range(n):
            to[i * step] += b.number
    elif step == 1:
        data = data_of(b.array)
        for i in range(n):
            to[i] += data[i]
    else:
        data = data_of(b.array)
        for i in range(n):
            to[i * step] += data[i]


def add_rows(cnp.ndarray out, numbers, x):
    """out[number] += row, for each of the numbers and the rows of x, one after the other.

    False, and nothing done, where an array is not plain, a number is out of bounds, or shapes do not fit.
    """
    cdef npy_intp i, j, number, n, width, count
    cdef const npy_intp *at
    cdef const double *row
    cdef double *to
    if not (is_contiguous(<PyObject *>out) and is_contiguous(<PyObject *>x) and cnp.PyArray_CheckExact(numbers)):
        return False
    if cnp.PyArray_TYPE(numbers) != cnp.NPY_INTP or not cnp.PyArray_ISCARRAY_RO(numbers) or out.ndim == 0:
        return False
    if x.shape != numbers.shape + (<object>out).shape[1:]:
        return False
    n, count = out.shape[0], size_of(<PyObject *>numbers)
    width = size_of(<PyObject *>x) // count if count else 0
    at, row, to = <const npy_intp *>cnp.PyArray_DATA(numbers), data_of(<PyObject *>x), data_of(<PyObject *>out)
    for i in range(count):
        if not -n <= at[i] < n:
            return False
    for i in range(count):
        number = at[i] + n if at[i] < 0 else at[i]
        if width == 1:
            to[number] += row[i]
        else:
            for j in range(width):
                to[number * width + j] += row[i * width + j]
    return True


cdef object embedded(npy_intp size, npy_intp start, npy_intp step, npy_intp n, Factor b):
    """A new vector of zeros but for [start : start + n * step : step], where it is b."""
    cdef double *data
    out = empty_vector(size)
    data = data_of(<PyObject *>out)
    if step == 1 and n:
        memset(data, 0, start * sizeof(double))
        memset(data + start + n, 0, (size - start - n) * sizeof(double))
        if b.array != NULL:
            memcpy(data + start, data_of(b.array), n * sizeof(double))
            return out
        memset(data + start, 0, n * sizeof(double))
    else:
        memset(data, 0, size * sizeof(double))
    add_into(<PyObject *>out, start, step, n, b)
    return out
