# cython: nonecheck=True
"""Fast path of compiled calls: arguments that match a previous call go straight to its machine."""
from cpython.ref cimport PyObject

cimport cython
cimport numpy as cnp
from ad.engine.array cimport Array, is_live, raw_value
from ad.engine.kernels cimport heeds_errors
from ad.engine.pool cimport has_shape
from ad.engine.recorder cimport State, current
from ad.compiler.machine.vm cimport Machine

from functools import partial
from types import FunctionType

import numpy as np

cnp.import_array()

cdef enum:
    MAX_ENTRIES = 8         # cache entries of a function
    MAX_VALUES = 16         # arguments and variables of a cache entry
    HAS_FLOAT = 1           # a call has a Python float,
    HAS_LOW_PRECISION = 2   # and an array to whose precision it would adapt

# Types of arguments that are compared by value, or by identity if they have no other equality.
cdef frozenset STATIC_TYPES = frozenset([bool, int, str, type(None), FunctionType])


cdef bint is_accepted(PyObject *array) noexcept:
    """Return whether an array is in C order, and no Python float adapts to its precision."""
    cdef int type_number = cnp.PyArray_TYPE(<cnp.ndarray>array)
    return (type_number == cnp.NPY_DOUBLE or cnp.PyTypeNum_ISINTEGER(type_number) or cnp.PyTypeNum_ISBOOL(type_number)
            ) and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>array)


@cython.final
cdef class CacheEntry:
    """A recording without guards, and the arguments that it serves.

    Arrays of float64, integers or bools, in C order, must have the same shape and dtype as in the recorded call; floats
    may have any value; any other argument must be equal to that of the recorded call.

    Parameters
    ----------
    args : tuple
        The arguments of the recorded call.
    machine : Machine
    chosen : list of int
        For each input of the machine its position among the arrays and floats of a call, followed by the variables.
    variables : list of Variable
    results : PartialTree
    single : bool
        Whether the result is the only output itself.
    """
    cdef Machine machine
    cdef tuple args
    cdef list variables
    cdef object results
    cdef bint single
    cdef int n_chosen
    cdef int chosen[MAX_VALUES]

    def __init__(self, args, machine, chosen, variables, results, single):
        self.args = tuple([np.broadcast_to(np.zeros((), x.dtype), x.shape) if type(x) is cnp.ndarray else x
                           for x in args])
        self.machine, self.variables, self.results, self.single = machine, variables, results, single
        if len(chosen) > MAX_VALUES:
            raise ValueError(f"ad: {len(chosen)} inputs; a cache entry takes {MAX_VALUES} at most")
        self.n_chosen = len(chosen)
        for i, position in enumerate(chosen):
            self.chosen[i] = position

    @staticmethod
    def accepts(args, variables):
        """Return whether an entry can be made for calls with arguments like these."""
        return len(args) + len(variables) <= MAX_VALUES and all([
            is_accepted(<PyObject *>x) if type(x) is cnp.ndarray else type(x) is float or type(x) in STATIC_TYPES
            for x in args])

    cdef object call(self, tuple args):
        """Return the result of the function in a tuple; None if the arguments do not match."""
        cdef PyObject *values[MAX_VALUES]
        cdef PyObject *inputs[MAX_VALUES]
        cdef Py_ssize_t i, n = 0
        cdef PyObject *x
        cdef PyObject *like
        if len(args) != len(self.args):
            return None
        for i in range(len(args)):
            x, like = <PyObject *>args[i], <PyObject *>self.args[i]
            if not matches(x, like):
                return None
            if type(<object>like) is cnp.ndarray or type(<object>like) is float:
                values[n] = x
                n += 1
        read = [variable.numpy() for variable in self.variables] if self.variables else None
        for i in range(len(self.variables)):
            values[n + i] = <PyObject *>read[i]
        for i in range(self.n_chosen):
            inputs[i] = values[self.chosen[i]]
        found = self.machine.replay(inputs, None)
        return (found[0],) if self.single else (self.results(found),)


cdef inline bint matches(PyObject *x, PyObject *like) except -1:
    """Return whether an argument can take the place of that of the recorded call."""
    if type(<object>x) is not type(<object>like):
        return False
    if type(<object>like) is cnp.ndarray:
        return (cnp.PyArray_TYPE(<cnp.ndarray>x) == cnp.PyArray_TYPE(<cnp.ndarray>like)
                and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x)
                and has_shape(x, cnp.PyArray_NDIM(<cnp.ndarray>like), cnp.PyArray_DIMS(<cnp.ndarray>like)))
    return type(<object>like) is float or x == like or <object>x == <object>like


def cache_key(args, kwargs):
    """Return a key of a call's arguments, and the values among them.

    Returns
    -------
    key : tuple or None
        Calls with equal keys have equal signatures. None if the arguments hold something else than arrays, numbers and
        the like in builtin containers.
    values : list
        The arrays and floats, if there is a key.
    """
    cdef list key = [], values = []
    cdef int seen = 0
    if not (add_to_key(args, key, values, &seen) and add_to_key(kwargs, key, values, &seen)):
        return None, values
    return (None if seen == HAS_FLOAT | HAS_LOW_PRECISION else tuple(key)), values


cdef bint add_to_key(object x, list key, list values, int *seen) except -1:
    """Append what tells `x` apart to `key`, and its values to `values`; return false if that is not quickly done."""
    kind = type(x)
    key.append(kind)
    if kind is cnp.ndarray or kind is Array:
        return add_array(x, key, values, seen)
    if kind is float:
        seen[0] |= HAS_FLOAT
        values.append(x)
        return True
    if kind is tuple or kind is list:
        key.append(len(x))
        return add_parts(x, key, values, seen)
    if kind is dict:
        key.append(tuple(x))
        return add_parts((<dict>x).values(), key, values, seen)
    if kind is slice:
        bounds = x.start, x.stop, x.step
        key.append(bounds)
        return all([bound is None or type(bound) is int for bound in bounds])
    key.append(x)
    return kind in STATIC_TYPES


cdef bint add_parts(object parts, list key, list values, int *seen) except -1:
    for part in parts:
        if not add_to_key(part, key, values, seen):
            return False
    return True


cdef bint add_array(object x, list key, list values, int *seen) except -1:
    """Append the shape and dtype of an ndarray or Array to `key`, and its value to `values`."""
    dtype = x.dtype
    key.append(dtype)
    key.append(x.shape)
    if type(x) is Array:
        values.append(raw_value(<Array>x))
        seen[0] |= HAS_LOW_PRECISION  # not checked: at worst there is no key
        return not is_live(<Array>x)
    if cnp.PyArray_TYPE(<cnp.ndarray>x) not in (cnp.NPY_DOUBLE, cnp.NPY_CDOUBLE) and dtype.kind in "fc":
        seen[0] |= HAS_LOW_PRECISION
    values.append(x)
    return cnp.PyArray_ISNUMBER(<cnp.ndarray>x)


cdef class FastPath:
    """A function that first tries its cache entries.

    A call that matches no entry, or whose replay raises, goes to `general(args, kwargs)`, which subclasses define.
    """
    cdef list entries

    def __cinit__(self):
        self.entries = []

    def __call__(self, *args, **kwargs):
        cdef State state = current()
        cdef CacheEntry entry
        if not kwargs and state.recording == 0 and not state.levels and not heeds_errors():
            for entry in self.entries:
                try:
                    found = entry.call(args)
                except Exception:
                    break
                if found is not None:
                    return (<tuple>found)[0]
        return self.general(args, kwargs)

    def __get__(self, instance, owner):
        return self if instance is None else partial(self, instance)

    def remember(self, CacheEntry entry):
        """Try this entry first from now on."""
        self.entries = [entry, *self.entries[:MAX_ENTRIES - 1]]
