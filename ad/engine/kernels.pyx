"""Loops on float64 arrays without the cost of a NumPy call.

A ufunc call costs about 0.3 µs before it computes anything. Its inner loop, in the public struct
`PyUFuncObject`, has the same SIMD code without that cost; it is looked up once, by type signature.
"Contiguous" below means what `is_contiguous` tests. A function here returns None for operands that it
does not support; the caller then calls NumPy.
"""
from cpython.contextvars cimport PyContextVar_CheckExact, get_value
from cpython.ref cimport Py_INCREF
from libc.string cimport memcpy, memset

cimport numpy as cnp
from ad.engine.pool cimport (
    PyArray_NewFromDescr, data_of, empty_like, empty_vector, has_own_memory, is_contiguous, is_vector, same_shape,
    size_of,
)

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


cdef const Native *find_native(const char *name) noexcept:
    """Return the native kernels of an op, or NULL."""
    return ad_find_native(name)


cdef int find_loop(object ufunc, Loop *loop) except -1:
    """Store the float64 inner loop of `ufunc` in `loop`; whether it has one."""
    cdef UFunc *table
    cdef int i, j
    loop.run = NULL
    if not isinstance(ufunc, cnp.ufunc) or ufunc.signature is not None:  # a generalised ufunc loops over vectors
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
# Loops and scalar kernels that are called directly only set the flags of the processor. Where np.errstate asks for more
# than a warning, NumPy itself has to repeat the computation that set them.

# NumPy keeps its settings in a context variable, if it has one of this name. Settings are replaced and never changed.
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
    """Clear the floating-point flags, which are set; return `heeds_errors`."""
    clear_float_flags()
    return heeds_errors()


# -- loops -------------------------------------------------------------------------------

cdef object map1(Loop *loop, PyObject *a):
    """Return loop(a) in a new array."""
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
    """Set where, and with which stride, a loop reads an operand; false if it cannot."""
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
    """Return how often b is repeated to give the shape of a, if its shape is the end of that of a; else 0."""
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
    """Return loop(a, b) in a new array, for a number and an array, or where one shape is the end of the other."""
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
    """loop(... loop(loop(start, a0), a1) ...) over a contiguous array; NumPy's loops sum pairwise."""
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
    """Set where, and with which stride, a native kernel reads an operand; false if it cannot."""
    if f.array == NULL:
        stride[0] = 0
        return True
    data[0] = data_of(f.array)
    stride[0] = 1
    if like[0] == NULL:
        like[0] = f.array
    return is_contiguous(f.array)


cdef object pull_loop(Pullback kernel, Factor a, Factor b, PyObject *y, Factor g, bint overwrite):
    """Return g * partial(a, b, y): a new array, or a float where no operand is an array.

    With `overwrite` the result is written into the memory of g, which has no other holder.
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
    """Return x_dot * partial(a, b, y) for every lane that x_dot has in front of the shape of a, b and y."""
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
    """a.flat[start : start + n * step : step] += b, for contiguous a, and b contiguous or a number."""
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

    Returns False and does nothing if an array is not contiguous, a number is out of bounds, or shapes do not match.
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


cdef enum:
    MAX_NDIM = 64  # of an ndarray


cdef int add_reach(cnp.ndarray x, npy_intp n, npy_intp axis, npy_intp step, npy_intp *low, npy_intp *high) except -1:
    """Widen the range of indices of x by those that n steps along an axis reach."""
    if not 0 <= axis < cnp.PyArray_NDIM(x) or n > 1 and step and (n - 1) > (x.shape[axis] - 1) // max(step, -step):
        raise ValueError(f"{n} elements {step} apart do not fit in axis {axis} of the shape {(<object>x).shape}")
    if step < 0:
        low[axis] += (n - 1) * step
    else:
        high[axis] += (n - 1) * step
    return 0


def strided_view(cnp.ndarray x, shape, axes, steps, start):
    """Return a read-only view of x with elements that lie at constant distances; an element may occur several times.

    Its element at index j is `x[i]` with i = start, and steps[k] * j[k] added to i[axes[k]] for each k. Raises
    ValueError if that is outside of x.
    """
    cdef npy_intp[MAX_NDIM] sizes, strides, low, high
    cdef npy_intp k, axis, step, size = 1
    cdef int nd = len(shape), ndim = cnp.PyArray_NDIM(x)
    cdef char *data = cnp.PyArray_BYTES(x)
    if nd > MAX_NDIM or not len(axes) == len(steps) == nd or len(start) != ndim:
        raise ValueError("a view has as many axes and steps as its shape, and starts at an index of the array")
    for k in range(nd):
        sizes[k] = shape[k]
        size = min(size, sizes[k])
    if size < 0:
        raise ValueError(f"negative dimensions in the shape {shape}")
    for k in range(ndim):
        low[k] = high[k] = start[k]
        data += low[k] * cnp.PyArray_STRIDE(x, <int>k) if size else 0
    for k in range(nd):
        axis, step = axes[k], steps[k]
        if size:
            add_reach(x, sizes[k], axis, step, low, high)
        strides[k] = step * cnp.PyArray_STRIDE(x, <int>axis) if 0 <= axis < ndim else 0
    for k in range(ndim):
        if size and not 0 <= low[k] <= high[k] < x.shape[k]:
            raise ValueError(f"a view would read the elements {low[k]} to {high[k]} of an axis of {x.shape[k]}")
    Py_INCREF(x.dtype)  # NewFromDescr steals it
    view = PyArray_NewFromDescr(cnp.ndarray, x.dtype, nd, sizes, strides, data, 0, None)
    cnp.set_array_base(view, x)
    return view


cdef void add_elements(int nd, const npy_intp *shape, char *to, const npy_intp *strides, const char *data,
                       const npy_intp *data_strides) noexcept:
    """Add float64 elements to others, one after the other; the strides are in bytes."""
    cdef npy_intp _i, n = shape[0] if nd else 1
    cdef npy_intp stride = strides[0] if nd else 0, data_stride = data_strides[0] if nd else 0
    for _i in range(n):
        if nd > 1:
            add_elements(nd - 1, shape + 1, to, strides + 1, data, data_strides + 1)
        else:
            (<double *>to)[0] += (<const double *>data)[0]
        to += stride
        data += data_stride


def add_to_view(cnp.ndarray out, x, axes, steps, start):
    """Add x to the elements of out that `strided_view` would show, where one may occur several times.

    Returns False and does nothing if `out` is not contiguous, or x is no array of aligned float64.
    """
    if not is_contiguous(<PyObject *>out) or not has_own_memory(<PyObject *>out):
        return False
    if not cnp.PyArray_CheckExact(x) or x.dtype.num != cnp.NPY_DOUBLE or not cnp.PyArray_ISBEHAVED_RO(<cnp.ndarray>x):
        return False
    cdef cnp.ndarray view = strided_view(out, x.shape, axes, steps, start)
    add_elements(cnp.PyArray_NDIM(view), cnp.PyArray_DIMS(view), cnp.PyArray_BYTES(view), cnp.PyArray_STRIDES(view),
                 cnp.PyArray_BYTES(<cnp.ndarray>x), cnp.PyArray_STRIDES(<cnp.ndarray>x))
    return True


cdef object embedded(npy_intp size, npy_intp start, npy_intp step, npy_intp n, Factor b):
    """Return a new vector that is b at [start : start + n * step : step] and zero elsewhere."""
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
