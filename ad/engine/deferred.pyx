# cython: nonecheck=True
"""Deferral: while a program is being recorded, ops on large arrays are described and not evaluated.

A recording has to know shapes and dtypes; values only where Python sees them. An op whose entry in the table says what
its output looks like gets an array for it that is not filled in, and waits. Whoever needs a value calls
`force_deferred`, which evaluates what waits; if nobody does, it is the program that computes the result, and nothing is
computed twice.

A view of an array that waits is made at once: it has its values when the array has them.
"""
cimport cython
from cpython.tuple cimport PyTuple_GET_ITEM

cimport numpy as cnp
from ad.engine.graph cimport NodePtr, raw
from ad.engine.recorder cimport current
from ad.engine.types cimport ARRAY

import threading

import numpy as np

cnp.import_array()

ALIASES_INPUT = object()  # what a shape rule says of an op that reads no element: its output is a view of its input

cdef cnp.npy_intp large = 1 << 14  # elements from which on it pays to wait
cdef long long budget = 1 << 32  # bytes that may wait: memory that is not there, but promised
cdef list opened = []


def set_limits(from_size, total):
    """Set from how many elements on an op waits, and how many bytes may wait in all; returns what they were.

    For tests, whose arrays are small.
    """
    global large, budget
    before = large, budget
    large, budget = from_size, total
    return before


@cython.final
cdef class Deferred:
    """What one recording, with those inside it, has not evaluated yet.

    Attributes
    ----------
    stopped : bool
        Whether nothing waits any more: large values have been computed all the same, and the rest is soon done.
    """

    def __cinit__(self):
        self.waiting, self.pending, self.lock = [], set(), threading.RLock()

    cdef bint holds(self, PyObject *array) noexcept:
        """Whether an array, or the one whose memory it shows, waits for its values."""
        if not self.pending:
            return False
        while array != NULL and isinstance(<object>array, cnp.ndarray):
            if <size_t>array in self.pending:
                return True
            array = cnp.PyArray_BASE(<cnp.ndarray>array)
        return False

    cdef bint is_fresh(self, Operand *output) noexcept:
        """Whether an output was described just now."""
        return output.kind == ARRAY and output.value == self.fresh

    cdef int add(self, Op op, list inputs, object params, object output) except -1:
        """Let an op wait whose output was described just now."""
        self.fresh = NULL
        self.waiting.append((op, inputs, params, output))
        self.pending.add(<size_t><PyObject *>output)
        self.bytes += output.nbytes
        return self.evaluate() if self.bytes > budget else 0

    cdef int forget_unread(self) except -1:
        """Leave out what nobody has: neither an Array, nor a view, nor an op that waits for it."""
        cdef Py_ssize_t i
        cdef PyObject *output
        for i in range(len(self.waiting) - 1, -1, -1):
            if self.waiting[i] is None:
                continue
            output = PyTuple_GET_ITEM(self.waiting[i], 3)
            if output.ob_refcnt == 1:
                self.pending.discard(<size_t>output)
                self.waiting[i] = None
        self.waiting = [entry for entry in self.waiting if entry is not None]
        return 0

    cdef int evaluate(self) except -1:
        """Fill in what waits and can still be seen.

        What Python runs meanwhile, as a finalizer or a signal handler, may itself need a value: all is there then.
        """
        cdef list waiting
        with self.lock:
            self.forget_unread()
            waiting = self.waiting
            self.stopped |= len(waiting) > 0
            self.evaluate_all(waiting)
        return 0

    cdef int evaluate_all(self, list waiting) except -1:
        """Fill in what these entries are waiting for, in their order."""
        cdef Py_ssize_t i
        try:
            with np.errstate(all="ignore"):  # as where an op is evaluated at once
                for i in range(len(waiting)):
                    op, inputs, params, output = waiting[i]
                    if <size_t><PyObject *>output in self.pending:
                        fill(op, inputs, params, output)
                        self.pending.discard(<size_t><PyObject *>output)
                    waiting[i] = inputs = output = None  # the last one to need an array lets go of it
        finally:
            self.waiting = [entry for entry in self.waiting if entry is not None]
        self.bytes = 0
        return 0

    def close(self):
        """End with it: what somebody still has is evaluated, the rest never."""
        global n_open
        if self.state.deferred is self:
            self.state.deferred = None
        self.evaluate()  # which may be interrupted: then the next to need a value goes on with it
        if self in opened:
            opened.remove(self)
            n_open -= 1


cdef int fill(Op op, list inputs, object params, object output) except -1:
    if isinstance(op.fn, np.ufunc):
        op.fn(*inputs, out=output)
    else:
        output[...] = op.fn(*inputs, *(params or ()))
    return 0


cdef Deferred begin():
    """That of a recording that begins now, inside no other."""
    global n_open
    cdef Deferred deferred = Deferred()
    deferred.state = current()
    deferred.state.deferred = deferred
    opened.append(deferred)
    n_open += 1
    return deferred


cdef int force_deferred(PyObject *array) except -1:
    """See to it that an array has its values, for somebody who is going to read them."""
    cdef Deferred deferred
    array_kept = <object>array  # the evaluation runs Python code, which may let go of it
    for deferred in list(opened):
        if deferred.holds(<PyObject *>array_kept):
            return deferred.evaluate()
    return 0


cdef object abstract_output(Op op, Operand *operands, int n, object params):
    """An array without values in the place of an op's output; None if the op has to be evaluated, and can be."""
    cdef State state = current()
    cdef Deferred deferred = state.deferred
    cdef cnp.npy_intp size, reach = 1  # of an operand; that the output may have at most
    cdef bint waits = False, is_large = False  # an operand
    cdef int i
    for i in range(n):
        if operands[i].kind == ARRAY:
            size = max(cnp.PyArray_SIZE(<cnp.ndarray>operands[i].value), 1)
            is_large |= size >= large
            reach = large if is_large else min(reach * size, large)
            waits = waits or deferred is not None and deferred.holds(operands[i].value)
    if deferred is not None and not waits and reach < large:
        return None
    if deferred is not None and not deferred.stopped and is_recorded(state, operands, n):
        y = placeholder(deferred, op, operands, n, params, waits, is_large)
        if y is not None:
            return y
        deferred.stopped |= waits or is_large
    for i in range(n):
        if operands[i].kind == ARRAY:
            force_deferred(operands[i].value)  # perhaps it is what another thread records
    return None


cdef bint is_recorded(State state, Operand *operands, int n):
    """Whether the tracer will be told of an op on these."""
    cdef int i
    if state.tracer is not None and state.recording > 0:
        for i in range(n):
            if state.tracer.knows(<NodePtr>operands[i].node):
                return True
    return False


cdef object placeholder(Deferred deferred, Op op, Operand *operands, int n, object params, bint waits, bint is_large):
    """What the op's shape rule says of its output, as an array; None if it says nothing, or the op is soon done."""
    cdef list inputs = []
    cdef int i
    deferred.fresh = NULL
    if op.shape_rule is None:
        return None
    for i in range(n):
        inputs.append(raw(&operands[i]))
    try:
        told = op.shape_rule(*inputs, *(params or ()))
        y = op.fn(*inputs, *(params or ())) if told is ALIASES_INPUT else None if told is None else np.empty(*told)
    except (IndexError, TypeError, ValueError, MemoryError):
        return None  # the evaluation says what is wrong; or there is no memory to promise, while there is some to use
    if not isinstance(y, cnp.ndarray) or told is not ALIASES_INPUT and not (waits or is_large or y.size >= large):
        return None
    if told is ALIASES_INPUT:
        if not waits or deferred.holds(<PyObject *>y):
            return y
        y = np.empty_like(y)  # for what is a copy, and in memory of its own: by that its views are known
    deferred.fresh = <PyObject *>y
    return y
