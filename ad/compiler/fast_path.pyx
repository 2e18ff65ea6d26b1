# cython: nonecheck=True
"""The way of a call to a compiled function that costs next to nothing: arguments like those of a call before."""
from cpython.ref cimport PyObject

cimport numpy as cnp
from ad._core cimport Array, is_live, raw_value
from ad.engine.graph cimport State, current
from ad.engine.kernels cimport has_shape, heeds_errors
from ad.compiler.machine.vm cimport Machine

from functools import partial
from types import FunctionType

import numpy as np

cnp.import_array()

cdef enum:
    MOST = 8          # shortcuts of a function
    VALUES = 16       # arguments and variables of a shortcut
    FLOAT = 1         # in a call: a Python float,
    LOW = 2           # and an array to whose precision it would adapt

cdef frozenset SIMPLE = frozenset([bool, int, str, type(None), FunctionType])  # what may be fixed in one


cdef bint is_served(PyObject *array) noexcept:
    """Whether an array is in C order, and no Python float adapts to its precision."""
    cdef int type_number = cnp.PyArray_TYPE(<cnp.ndarray>array)
    return (type_number == cnp.NPY_DOUBLE or cnp.PyTypeNum_ISINTEGER(type_number) or cnp.PyTypeNum_ISBOOL(type_number)
            ) and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>array)


cdef class Shortcut:
    """A recording without guards, and what arguments it was made for: arrays of float64, of integers or truths, floats,
    and what is fixed.

    Parameters
    ----------
    args : tuple
        The arguments of such a call.
    machine : Machine
    chosen : list of int
        For each input of the machine its place among the arrays and floats of a call, and the variables after them.
    variables : list of Variable
    results : PartialTree
    single : bool
        Whether the result is the one output itself.
    """
    cdef Machine machine
    cdef tuple args
    cdef list variables
    cdef object results
    cdef bint single
    cdef int n_chosen
    cdef int chosen[VALUES]

    def __init__(self, args, machine, chosen, variables, results, single):
        self.args = tuple([np.broadcast_to(np.zeros((), x.dtype), x.shape) if type(x) is cnp.ndarray else x
                           for x in args])
        self.machine, self.variables, self.results, self.single = machine, variables, results, single
        if len(chosen) > VALUES:
            raise ValueError(f"ad: {len(chosen)} inputs; a shortcut takes {VALUES} at most")
        self.n_chosen = len(chosen)
        for i, place in enumerate(chosen):
            self.chosen[i] = place

    @staticmethod
    def serves(args, variables):
        """Whether calls like this one can be taken."""
        return len(args) + len(variables) <= VALUES and all([
            is_served(<PyObject *>x) if type(x) is cnp.ndarray else type(x) is float or type(x) in SIMPLE
            for x in args])

    cdef object call(self, tuple args):
        """What the function returns, as a tuple of one; None if the arguments are not like those of the recording."""
        cdef PyObject *values[VALUES]
        cdef PyObject *inputs[VALUES]
        cdef Py_ssize_t i, n = 0
        cdef PyObject *x
        cdef PyObject *like
        if len(args) != len(self.args):
            return None
        for i in range(len(args)):
            x, like = <PyObject *>args[i], <PyObject *>self.args[i]
            if type(<object>x) is not type(<object>like):
                return None
            if type(<object>like) is cnp.ndarray:
                if cnp.PyArray_TYPE(<cnp.ndarray>x) != cnp.PyArray_TYPE(<cnp.ndarray>like):
                    return None
                if not (cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x) and has_shape(
                        x, cnp.PyArray_NDIM(<cnp.ndarray>like), cnp.PyArray_DIMS(<cnp.ndarray>like))):
                    return None
            elif type(<object>like) is not float:
                if x != like and <object>x != <object>like:
                    return None
                continue
            values[n] = x
            n += 1
        read = [variable.numpy() for variable in self.variables] if self.variables else None
        for i in range(len(self.variables)):
            values[n + i] = <PyObject *>read[i]
        for i in range(self.n_chosen):
            inputs[i] = values[self.chosen[i]]
        found = self.machine.replay(inputs, None)
        return (found[0],) if self.single else (self.results(found),)


def scan(args, kwargs):
    """A key for a call's arguments, and the arrays and numbers among them, where both are quickly told.

    Returns
    -------
    key : tuple or None
        None where there is more than arrays and numbers in plain containers. Calls with one key have one signature.
    values : list
    """
    cdef list key = [], values = []
    cdef int seen = 0
    if not (scanned(args, key, values, &seen) and scanned(kwargs, key, values, &seen)) or seen == FLOAT | LOW:
        return None, values
    return tuple(key), values


cdef bint scanned(object x, list key, list values, int *seen) except -1:
    """Add what there is to say of `x`, which may be nested; false if that is not all."""
    kind = type(x)
    key.append(kind)
    if kind is cnp.ndarray:
        dtype = (<object>x).dtype
        if cnp.PyArray_TYPE(<cnp.ndarray>x) not in (cnp.NPY_DOUBLE, cnp.NPY_CDOUBLE) and dtype.kind in "fc":
            seen[0] |= LOW
        key.append(dtype)
        key.append((<object>x).shape)
        values.append(x)
        return cnp.PyArray_ISNUMBER(<cnp.ndarray>x)
    if kind is Array:
        key.append((<object>x).dtype)
        key.append((<object>x).shape)
        values.append(raw_value(<Array>x))
        seen[0] |= LOW  # or may be
        return not is_live(<Array>x)
    if kind is float:
        seen[0] |= FLOAT
        values.append(x)
        return True
    if kind is tuple or kind is list:
        key.append(len(x))
        for part in x:
            if not scanned(part, key, values, seen):
                return False
        return True
    if kind is dict:
        key.append(tuple(x))
        for part in (<dict>x).values():
            if not scanned(part, key, values, seen):
                return False
        return True
    if kind is slice:
        part = x.start, x.stop, x.step
        key.append(part)
        return all([bound is None or type(bound) is int for bound in part])
    key.append(x)
    return kind in SIMPLE


cdef class Quick:
    """A function that tries its shortcuts first; what they do not serve or raise in is for `general(args, kwargs)`."""
    cdef list shortcuts

    def __cinit__(self):
        self.shortcuts = []

    def __call__(self, *args, **kwargs):
        cdef State state = current()
        cdef Shortcut shortcut
        if not kwargs and state.recording == 0 and not state.levels and not heeds_errors():
            for shortcut in self.shortcuts:
                try:
                    found = shortcut.call(args)
                except Exception:
                    break
                if found is not None:
                    return (<tuple>found)[0]
        return self.general(args, kwargs)

    def __get__(self, instance, owner):
        return self if instance is None else partial(self, instance)

    def remember(self, Shortcut shortcut):
        """Try this shortcut first from now on."""
        self.shortcuts = [shortcut, *self.shortcuts[:MOST - 1]]
