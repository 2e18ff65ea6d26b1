"""Slots of the reverse sweep: cotangents as they are summed.

A slot holds a scalar that stands for every element, an ndarray, or an Array where the sweep may be differentiated.
"""
cimport numpy as cnp
from ad._core cimport apply, apply2
from ad.engine.array cimport force, is_live, new_array, wrap
from ad.engine.kernels cimport add_into
from ad.engine.pool cimport filled, is_contiguous, is_owned
from ad.engine.roles cimport roles

import numpy as np

cnp.import_array()


cdef Saved unboxed(Array x, bint general):
    """Return a slot for an Array: its raw value, unless the Array itself can be differentiated."""
    cdef Saved saved
    if general and is_live(x):
        saved.kind = BOXED
        saved.of.object = <PyObject *>x
        Py_INCREF(x)
        return saved
    force(x)
    return number(x.number) if x.array is None else owned(x.array)


cdef Array boxed(Saved *slot):
    """Return the Array that a slot stands for."""
    if slot.kind == SCALAR:
        return new_array(None, slot.of.x, None, None)
    if slot.kind == ARRAY:
        return new_array(<object>slot.of.object, 0, None, None)
    return <Array>slot.of.object


cdef int add_arrays(Saved *slot, Saved *more) except -1:
    """`add` for what are not two scalars."""
    cdef Saved swap
    if not can_add_in_place(slot, more):
        swap = slot[0]
        slot[0] = more[0]
        more[0] = swap
    if can_add_in_place(slot, more):
        add_into(slot.of.object, 0, 1, cnp.PyArray_SIZE(<cnp.ndarray>slot.of.object), factor(more[0]))
        clear(more)
        return 0
    swap = unboxed(apply2(roles.add, boxed(more), boxed(slot)), True)
    clear(slot)
    clear(more)
    slot[0] = swap
    return 0


cdef bint can_add_in_place(Saved *slot, Saved *more) noexcept:
    if slot.kind != ARRAY or not is_owned(slot.of.object):
        return False
    if more.kind == SCALAR:
        return True
    return (more.kind == ARRAY and is_contiguous(more.of.object)
            and cnp.PyArray_SAMESHAPE(<cnp.ndarray>slot.of.object, <cnp.ndarray>more.of.object))


cdef object result(Saved *slot, Array x):
    """Return a source's cotangent in the source's shape and dtype, an Array that shares memory with nothing."""
    if slot.kind == NOTHING:
        return None
    if slot.kind == BOXED:
        return <object>slot.of.object
    if slot.kind == SCALAR:
        if x.array is None:
            return wrap(slot.of.x)
        if is_contiguous(<PyObject *>x.array):
            return wrap(filled(<PyObject *>x.array, slot.of.x))
        return wrap(np.full(x.shape, slot.of.x, x.dtype))
    value = <object>slot.of.object
    # Two references are known: the slot's and that of `value` here.
    if (slot.of.object.ob_refcnt > 2 or cnp.PyArray_BASE(<cnp.ndarray>value) != NULL
            or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray>value) or value.dtype != x.dtype):
        value = np.array(value, dtype=x.dtype)
    return wrap(value)


cdef object of_dtype(object dot, Array x):
    """Return a cotangent in its value's dtype: a rule may have promoted it by a Python number that was weak."""
    if dot is None or x.array is None:
        return dot
    if (<Array>dot).array is not None and (
            cnp.PyArray_TYPE(<cnp.ndarray>(<Array>dot).array) == cnp.PyArray_TYPE(<cnp.ndarray>x.array)):
        return dot
    dtype = (<Array>dot).dtype
    if dtype is x.array.dtype or dtype == x.array.dtype or x.array.dtype.kind not in "fc":
        return dot
    return apply(roles.astype, (dot,), (x.array.dtype,))
