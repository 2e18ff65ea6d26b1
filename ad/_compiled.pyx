"""The way of a call to a compiled function that costs next to nothing: arguments like those of a call before."""
from cpython.ref cimport PyObject

cimport numpy as cnp
from ad._graph cimport State, current
from ad._kernels cimport has_shape, is_plain
from ad._vm cimport Machine

cnp.import_array()

cdef enum:
    MOST = 8         # shortcuts of a function, and arguments of a shortcut


cdef class Shortcut:
    """A recording without guards, and the arguments it was made for: float64 arrays, floats, and what is fixed.

    Parameters
    ----------
    args : tuple
        The arguments of such a call.
    machine : Machine
    variables : list of Variable
        Inputs after the arguments.
    results : Frame
    """
    cdef Machine machine
    cdef tuple args
    cdef list variables
    cdef object results
    cdef bint single

    def __init__(self, args, machine, variables, results, single):
        self.args, self.machine, self.variables, self.results, self.single = args, machine, variables, results, single

    @staticmethod
    def serves(args):
        """Whether calls like this one can be taken."""
        return len(args) <= MOST and all(
            is_plain(<PyObject *>x) if isinstance(x, cnp.ndarray) else type(x) in (float, int, bool, str) for x in args)

    cdef object call(self, tuple args):
        """What the function returns; None if the arguments are not like those of the recording."""
        cdef PyObject *values[16]
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
                if not (is_plain(x) and has_shape(x, cnp.PyArray_NDIM(<cnp.ndarray>like),
                                                  cnp.PyArray_DIMS(<cnp.ndarray>like))):
                    return None
            elif type(<object>like) is not float:
                if x != like:
                    return None
                continue
            values[n] = x
            n += 1
        read = [variable.numpy() for variable in self.variables] if self.variables else None
        for i in range(len(self.variables)):
            values[n + i] = <PyObject *>read[i]
        found = self.machine.replay(values, None)
        return (found[0],) if self.single else (self.results(found),)


cdef class Quick:
    """A function that tries its shortcuts first; what they do not serve goes to `general(args, kwargs)`."""
    cdef list shortcuts

    def __cinit__(self):
        self.shortcuts = []

    def __call__(self, *args, **kwargs):
        cdef State state = current()
        cdef Shortcut shortcut
        if not kwargs and state.recording == 0 and not state.levels:
            for shortcut in self.shortcuts:
                found = shortcut.call(args)
                if found is not None:
                    return (<tuple>found)[0]
        return self.general(args, kwargs)

    def remember(self, Shortcut shortcut):
        """Try this shortcut first from now on."""
        self.shortcuts = [shortcut, *self.shortcuts[:MOST - 1]]
