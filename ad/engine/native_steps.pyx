"""Native steps of the sweeps for ops that read no value: slices of float64 vectors, and the sum of all elements."""
from cpython.slice cimport PySlice_AdjustIndices, PySlice_Unpack

cimport numpy as cnp
from ad._core cimport Array, wrap
from ad.engine.graph cimport Node, Op, params_of
from ad.engine.kernels cimport add_into, embedded
from ad.engine.pool cimport is_contiguous, is_owned
from ad.engine.slots cimport add, clear, factor, number, owned
from ad.engine.types cimport ARRAY, NOTHING, SCALAR, SHAPE_VECTOR, Saved

import numpy as np

cnp.import_array()


cdef bint pull_slice(Node node, Saved *y_bar, Saved *slot) except -1:
    """Pull back x[start:stop:step] of a float64 vector: add into the buffer of the vector's cotangent."""
    cdef Py_ssize_t start, stop, step, n
    cdef cnp.npy_intp size = node.narrow[0].value.n
    if node.kinds[0] != SHAPE_VECTOR or type(params_of(node)[0]) is not slice:
        return False
    if not (y_bar.kind == SCALAR or y_bar.kind == ARRAY and is_contiguous(y_bar.of.object)):
        return False
    PySlice_Unpack(params_of(node)[0], &start, &stop, &step)
    n = PySlice_AdjustIndices(size, &start, &stop, step)
    if slot.kind == NOTHING:
        slot[0] = owned(embedded(size, start, step, n, factor(y_bar[0])))
        return True
    if slot.kind == SCALAR:
        slot[0] = owned(embedded(size, 0, 1, size, factor(slot[0])))
    elif slot.kind != ARRAY or not is_contiguous(slot.of.object):
        return False
    elif not is_owned(slot.of.object):
        copy = np.array(<object>slot.of.object)
        clear(slot)
        slot[0] = owned(copy)
        del copy
    add_into(slot.of.object, start, step, n, factor(y_bar[0]))
    return True


cdef bint pull_sum(Node node, Saved *y_bar, Saved *slot) except -1:
    """Pull back the sum of all elements: its cotangent stands for the cotangent of each element."""
    cdef Saved x_bar
    if y_bar.kind != SCALAR or params_of(node)[0] is not None:
        return False
    x_bar = number(y_bar.of.x)
    add(slot, &x_bar)
    return True


cdef object push_slice(Node node, Array x_dot):
    """Push forward x[start:stop:step] of a float64 vector."""
    cdef int lanes = x_dot.ndim - 1
    index = params_of(node)[0]
    if node.kinds[0] != SHAPE_VECTOR or type(index) is not slice or x_dot.array is None:
        return None
    return wrap(x_dot.array[index] if lanes == 0 else x_dot.array[:, index])


cdef object push_put(Node node, Array x_dot):
    """Push forward a float64 vector that is put at a slice of a vector of zeros."""
    cdef int lanes = x_dot.ndim - 1
    index, shape = params_of(node)
    if node.kinds[0] != SHAPE_VECTOR or type(index) is not slice or len(shape) != 1 or x_dot.array is None:
        return None
    out = np.zeros((<tuple>x_dot.shape)[:lanes] + shape)
    if lanes == 0:
        out[index] = x_dot.array
    else:
        out[:, index] = x_dot.array
    return wrap(out)


def specialise(Op getitem, Op put_zeros, Op sum):
    """Set the native steps of these ops of the table."""
    getitem.pull, getitem.push = <void *>pull_slice, <void *>push_slice
    put_zeros.push = <void *>push_put
    sum.pull = <void *>pull_sum
