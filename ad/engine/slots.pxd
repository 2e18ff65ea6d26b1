"""Contract of slots: a cotangent is a scalar that stands for every element, an ndarray, or an Array."""
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject

from ad.engine.array cimport Array
from ad.engine.kernels cimport Factor
from ad.engine.pool cimport release_to_pool
from ad.engine.types cimport ARRAY, BOXED, NOTHING, SCALAR, Saved

cdef Saved unboxed(Array x, bint general)
cdef Array boxed(Saved *slot)
cdef int add_arrays(Saved *slot, Saved *more) except -1
cdef object result(Saved *slot, Array x)
cdef object of_dtype(object dot, Array x)


cdef inline void hold_slot(Saved *slot) noexcept:
    if slot.kind == ARRAY or slot.kind == BOXED:
        Py_INCREF(<object>slot.of.object)


cdef inline void clear(Saved *slot) noexcept:
    if slot.kind == ARRAY:
        release_to_pool(slot.of.object)
    if slot.kind == ARRAY or slot.kind == BOXED:
        Py_DECREF(<object>slot.of.object)
    slot.kind = NOTHING


cdef inline Saved number(double x) noexcept:
    cdef Saved saved
    saved.kind = SCALAR
    saved.of.x = x
    return saved


cdef inline Saved owned(object value):
    """Return a slot with its own reference to an ndarray, or to a list of cotangents (see `engine.sweep.pull_pick`)."""
    cdef Saved saved
    saved.kind = ARRAY
    saved.of.object = <PyObject *>value
    Py_INCREF(value)
    return saved


cdef inline Factor factor(Saved slot) noexcept:
    cdef Factor f
    f.array = slot.of.object if slot.kind == ARRAY else NULL
    f.number = slot.of.x if slot.kind == SCALAR else 0
    return f


cdef inline int add(Saved *slot, Saved *more) except -1:
    """slot += more; takes over the reference that `more` has."""
    if slot.kind == NOTHING:
        slot[0] = more[0]
        more.kind = NOTHING
        return 0
    if slot.kind == SCALAR and more.kind == SCALAR:
        slot.of.x += more.of.x
        return 0
    return add_arrays(slot, more)
