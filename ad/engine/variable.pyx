# cython: nonecheck=True
"""Where differentiation starts: variables and constants, and the ways to cut a value off."""
cimport cython

from ad._core cimport apply1, lift
from ad.engine.array cimport Array, as_value, is_live, is_traced, new_array, note_cut, raw_value, wrap
from ad.engine.recorder cimport Recorder, State, current, is_busy_elsewhere, new_leaf, recorders_elsewhere
from ad.engine.roles cimport roles
from ad.engine.types cimport give_name

import operator

import numpy as np

from ad.errors import lost_part, no_assignment, no_change

cdef long variables_made = 0
cdef dict RANKS = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3}  # a dtype holds the values of those with ranks up to its own


@cython.no_gc
cdef class Variable(Array):
    """A named leaf that can be assigned to and that tapes watch when it is read.

    Parameters
    ----------
    value : array_like
        The first value. Python numbers and lists become float64, arrays keep their dtype.
    trainable : bool
        Whether tapes watch the variable on read; others are watched by `tape.watch` only.
    name : str, optional
    dtype : dtype_like, optional
    """

    def __init__(self, value, trainable=True, name=None, dtype=None):
        global variables_made
        variables_made += 1
        self.serial = variables_made
        self.trainable = bool(trainable)
        self.name = f"Variable_{self.serial}" if name is None else name
        self.store(as_value(value, dtype))
        if self.trainable and np.issubdtype(self.dtype, np.inexact):
            self.node = new_leaf(shared=True)

    cdef void store(self, Array value):
        self.array, self.number = value.array, value.number
        self.snapshot = None

    cdef Array read(self):
        """The value now, as an Array; every open tape that watches variables takes note."""
        cdef State state = current()
        cdef Recorder recorder
        if self.trainable and state.recording:
            for recorder in state.recorders:
                if recorder.recording:
                    recorder.access(self)
        if self.snapshot is None:
            self.snapshot = new_array(self.array, self.number, self.node, self.tangents)
        if state.tracer is not None:
            return state.tracer.read(self, self.snapshot)
        if is_busy_elsewhere(state) and not state.recording:
            return self.read_for_others()
        return self.snapshot

    cdef Array read_unwatched(self):
        cdef Recorder tracer = current().tracer
        if tracer is None:
            return self
        return tracer.read(self, new_array(self.array, self.number, self.node, self.tangents))

    cdef Array read_for_others(self):
        """`read` in a thread that records nothing: another that does may have started it."""
        cdef Recorder recorder
        cdef Array found = self.snapshot
        for recorder in recorders_elsewhere():
            if self.trainable:
                recorder.access(self)
            if recorder is recorder.state.tracer:
                found = recorder.read(self, self.snapshot)
        return found

    cdef int refuse_in_recordings(self) except -1:
        if current().tracer is not None:
            raise no_assignment(self.name)
        return 0

    def read_value(self):
        """The value now, as an Array that later assignments leave alone."""
        return apply1(roles.identity, self)

    def value(self):
        """The same as `read_value()`."""
        return self.read_value()

    def assign(self, value):
        """Replace the value.

        Parameters
        ----------
        value : array_like
            Of the variable's shape; cast to its dtype, which must not be of a lower kind, as integers are than floats.
            The value of an Array is taken, without its derivatives.

        Returns
        -------
        Variable
            Itself.

        Raises
        ------
        ValueError
            If `value` is of another shape.
        TypeError
            If the cast would lose a part of it: a fraction, an imaginary part.
        """
        self.refuse_in_recordings()
        value = value.numpy() if isinstance(value, Array) else value
        cdef Array new = as_value(value, self.dtype)
        refuse_loss(self, value)
        if new.shape != self.shape:
            raise ValueError(f"ad: cannot assign a value of shape {new.shape} to variable "
                             f"{self.name!r} of shape {self.shape}")
        self.store(new)
        return self

    def assign_add(self, delta):
        """Add to the value.

        Parameters
        ----------
        delta : array_like
            Such that the sum is of the variable's shape; the sum is cast to its dtype.

        Returns
        -------
        Variable
            Itself.

        Raises
        ------
        ValueError
            If the sum is of another shape.
        """
        self.refuse_in_recordings()
        return self.assign(self.numpy() + (delta.numpy() if isinstance(delta, Array) else delta))

    def assign_sub(self, delta):
        """Subtract from the value, and return the variable: as `assign_add` otherwise.

        Parameters
        ----------
        delta : array_like
        """
        self.refuse_in_recordings()
        return self.assign(self.numpy() - (delta.numpy() if isinstance(delta, Array) else delta))

    def __iadd__(self, delta):
        self.refuse_cut("+=", delta)
        return self.assign_add(delta)

    def __isub__(self, delta):
        self.refuse_cut("-=", delta)
        return self.assign_sub(delta)

    def __imul__(self, other):
        return self.change(operator.mul, "*=", other)

    def __itruediv__(self, other):
        return self.change(operator.truediv, "/=", other)

    def __ifloordiv__(self, other):
        return self.change(operator.floordiv, "//=", other)

    def __imod__(self, other):
        return self.change(operator.mod, "%=", other)

    def __ipow__(self, other):
        return self.change(operator.pow, "**=", other)

    def __imatmul__(self, other):
        return self.change(operator.matmul, "@=", other)

    def __setitem__(self, index, value):
        self.refuse_cut("[...] =", value)
        new = np.array(self.numpy())
        new[roles.plain_index(index)] = value.numpy() if isinstance(value, Array) else value
        self.assign(new)

    cdef Variable change(self, operation, str how, other):
        """Assign the result of an operation with the value now."""
        self.refuse_cut(how, other)
        if is_live(self):
            raise no_change(self.name, how)
        return self.assign(operation(self.numpy(), other.numpy() if isinstance(other, Array) else other))

    cdef int refuse_cut(self, str how, other) except -1:
        """Refuse a change whose derivative a tape would have to know; `assign` and the like cut it on purpose."""
        self.refuse_in_recordings()
        if isinstance(other, Array) and is_live(other):
            raise no_change(self.name, how)
        return 0

    def __repr__(self):
        return f"<ad.Variable {self.name!r} shape={self.shape} dtype={self.dtype} numpy={raw_value(self)!r}>"

    def __copy__(self):
        return restored(type(self), raw_value(self), self.trainable, self.name, getattr(self, "__dict__", {}))

    def __deepcopy__(self, memo):
        memo[id(self)] = found = restored(type(self), raw_value(self), self.trainable, self.name, {})
        if hasattr(self, "__dict__"):
            from copy import deepcopy

            found.__dict__.update(deepcopy(self.__dict__, memo))
        return found

    def __reduce__(self):
        return restored, (type(self), raw_value(self), self.trainable, self.name, getattr(self, "__dict__", {}))


cdef int refuse_loss(Variable w, value) except -1:
    """Refuse a value of a kind that the variable's dtype does not hold."""
    dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    if RANKS.get(dtype.kind, 0) > RANKS[w.dtype.kind]:
        raise lost_part(w.name, w.dtype, dtype)
    return 0


def restored(kind, value, trainable, name, attributes):
    """A variable of a class, which may be a subclass with attributes and an `__init__` of its own."""
    x = kind.__new__(kind)
    Variable.__init__(x, value, trainable, name)
    if attributes:
        x.__dict__.update(attributes)
    return x


def stop_gradient(x):
    """`x` as a constant: the same value, through which no derivative flows.

    Parameters
    ----------
    x : Array, or anything else
        What is no Array is returned as it is.

    Returns
    -------
    Array, or `x` itself
    """
    if not isinstance(x, Array):
        return x
    note_cut(x, "ad.stop_gradient")
    return roles.detached(x) if is_traced(lift(x)) else wrap(raw_value(lift(x)))


give_name(Variable, b"ad.Variable")
