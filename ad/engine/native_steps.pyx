"""Native steps of the sweeps for ops that read no value: elements picked and written, and the sum of all elements."""
from cpython.slice cimport PySlice_AdjustIndices, PySlice_Unpack

cimport numpy as cnp
from ad.engine.array cimport Array, wrap
from ad.engine.graph cimport Node, Op, params_of, saved_input, saved_output, shape_of
from ad.engine.kernels cimport add_into, embedded
from ad.engine.pool cimport is_contiguous, is_owned
from ad.engine.slots cimport add, clear, factor, number, owned
from ad.engine.types cimport ARRAY, BOXED, FLOAT64_DTYPE, NOTHING, SCALAR, SHAPE, SHAPE_SCALAR, SHAPE_VECTOR, Saved

import numpy as np

cnp.import_array()


cdef bint pull_getitem(Node node, Saved *y_bar, int *edges, Saved *slots) except -1:
    """Pull back x[index]: add into the buffer of the cotangent of x."""
    index = params_of(node)[0]
    cdef Saved *slot = &slots[edges[0]]
    if node.kinds[0] == SHAPE_VECTOR and type(index) is slice and (
            y_bar.kind == SCALAR or y_bar.kind == ARRAY and is_contiguous(y_bar.of.object)):
        return pull_slice(<slice>index, node.narrow[0].value.n, y_bar, slot)
    if node.kinds[0] == SHAPE_VECTOR and type(index) is int:
        return pull_element(index, node.narrow[0].value.n, y_bar, slot)
    if slot.kind == NOTHING or not is_basic(index) or is_number(node) or not is_like(y_bar, saved_input(node, 0)):
        return False
    if not make_buffer(slot, saved_input(node, 0)):
        return False
    part = (<object>slot.of.object)[as_view(index)]
    np.add(part, <object>y_bar.of.object if y_bar.kind == ARRAY else y_bar.of.x, out=part, casting="same_kind")
    return True


cdef bint is_basic(index):
    """Whether an index picks a block, each element once."""
    if type(index) is tuple:
        for part in <tuple>index:
            if type(part) is not int and type(part) is not slice and part is not Ellipsis and part is not None:
                return False
        return True
    return type(index) is int or type(index) is slice or index is Ellipsis


cdef object as_view(index):
    """A basic index with an ellipsis, by which NumPy gives a view of a single element, too, instead of a number."""
    cdef tuple parts = <tuple>index if type(index) is tuple else (index,)
    return parts if any([part is Ellipsis for part in parts]) else (*parts, ...)


cdef bint is_number(Node node) noexcept:
    """Whether the first input is a float64 scalar: its cotangent is never an ndarray."""
    return node.kinds[0] == SCALAR or node.kinds[0] == SHAPE_SCALAR


cdef bint is_like(Saved *y_bar, Saved x) except -1:
    """Whether a cotangent is no Array, and of the dtype of a value."""
    return y_bar.kind == SCALAR or y_bar.kind == ARRAY and (<object>y_bar.of.object).dtype == dtype_of(x)


cdef bint make_buffer(Saved *slot, Saved x) except -1:
    """Let a slot hold an array of the shape and dtype of x that the sweep owns; false if it holds an Array."""
    if slot.kind == BOXED:
        return False
    if slot.kind == ARRAY and is_owned(slot.of.object):
        return True
    shape = shape_of(x)
    if slot.kind == ARRAY:
        buffer = np.array(np.broadcast_to(<object>slot.of.object, shape))
    else:
        buffer = np.full(shape, slot.of.x if slot.kind == SCALAR else 0, dtype_of(x))
    clear(slot)
    slot[0] = owned(buffer)
    return True


cdef bint pull_element(Py_ssize_t i, cnp.npy_intp size, Saved *y_bar, Saved *slot) except -1:
    """Pull back one element of a float64 vector."""
    if y_bar.kind != SCALAR:
        return False
    i = i if i >= 0 else i + size
    if slot.kind == NOTHING:
        slot[0] = owned(embedded(size, i, 1, 1, factor(y_bar[0])))
        return True
    if not own_vector(slot, size):
        return False
    add_into(slot.of.object, i, 1, 1, factor(y_bar[0]))
    return True


cdef bint pull_slice(slice index, cnp.npy_intp size, Saved *y_bar, Saved *slot) except -1:
    """Pull back x[start:stop:step] of a float64 vector."""
    cdef Py_ssize_t start, stop, step, n
    PySlice_Unpack(index, &start, &stop, &step)
    n = PySlice_AdjustIndices(size, &start, &stop, step)
    if slot.kind == NOTHING:
        slot[0] = owned(embedded(size, start, step, n, factor(y_bar[0])))
        return True
    if not own_vector(slot, size):
        return False
    add_into(slot.of.object, start, step, n, factor(y_bar[0]))
    return True


cdef bint own_vector(Saved *slot, cnp.npy_intp size) except -1:
    """Let a slot of a float64 vector hold an array that the sweep owns; false if it holds something else."""
    if slot.kind == SCALAR:
        slot[0] = owned(embedded(size, 0, 1, size, factor(slot[0])))
    elif slot.kind != ARRAY or not is_contiguous(slot.of.object):
        return False
    elif not is_owned(slot.of.object):
        copy = np.array(<object>slot.of.object)
        clear(slot)
        slot[0] = owned(copy)
        del copy
    return True


cdef bint pull_setitem(Node node, Saved *y_bar, int *edges, Saved *slots) except -1:
    """Pull back elements that were written: take their cotangents from the buffer, which is then that of the rest."""
    index = params_of(node)[0]
    cdef Saved v_bar
    if not is_basic(index) or is_number(node):
        return False
    if not is_like(y_bar, saved_output(node)) or not is_like(y_bar, saved_input(node, 1)):
        return False
    make_buffer(y_bar, saved_output(node))
    bar = <object>y_bar.of.object
    if edges[1] >= 0:
        part = np.array(bar[index])
        v_bar = number(part[()]) if part.ndim == 0 and part.dtype == FLOAT64_DTYPE else owned(part)
        add(&slots[edges[1]], &v_bar)
    if edges[0] >= 0:
        bar[index] = 0
        bar = None
        add(&slots[edges[0]], y_bar)
    return True


cdef object dtype_of(Saved x):
    return (<object>x.of.object).dtype if x.kind == ARRAY or x.kind == SHAPE else FLOAT64_DTYPE


cdef bint pull_sum(Node node, Saved *y_bar, int *edges, Saved *slots) except -1:
    """Pull back the sum of all elements: its cotangent stands for the cotangent of each element."""
    cdef Saved x_bar
    if y_bar.kind != SCALAR or params_of(node)[0] is not None:
        return False
    x_bar = number(y_bar.of.x)
    add(&slots[edges[0]], &x_bar)
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


def specialise(Op getitem, Op setitem, Op put_zeros, Op sum):
    """Set the native steps of these ops of the table."""
    getitem.pull, getitem.push = <void *>pull_getitem, <void *>push_slice
    setitem.pull = <void *>pull_setitem
    put_zeros.push = <void *>push_put
    sum.pull = <void *>pull_sum
