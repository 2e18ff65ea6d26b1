# cython: nonecheck=True
"""Deferral: while a program is being recorded, ops on large arrays are not evaluated at once.

A recording needs shapes and dtypes, and values only where Python sees them. The output of an op with a shape rule is a
placeholder, an array that is not filled in, and the op joins a lazy queue. Code that needs a value calls
`force_deferred`, which evaluates the queue. If no code does, the program computes the result, and nothing is computed
twice.

A view of a placeholder is made at once: it has its values when the placeholder has them.
"""
cimport cython
from cpython.tuple cimport PyTuple_GET_ITEM

cimport numpy as cnp
from ad.engine.graph cimport NodePtr, raw
from ad.engine.recorder cimport current
from ad.engine.types cimport ARRAY

import numpy as np

cnp.import_array()

ALIASES_INPUT = object()  # what a shape rule returns for an op that reads no element: the output is a view of the input

cdef cnp.npy_intp large = 1 << 14  # from this number of elements on, an op is deferred
cdef long long budget = 1 << 32  # bytes that pending outputs may have: memory that is reserved and not used yet
cdef list opened = []


def set_limits(from_size, total):
    """Set from how many elements on an op is deferred, and how many bytes may be pending; return the old limits.

    This is for tests, whose arrays are small.
    """
    global large, budget
    before = large, budget
    large, budget = from_size, total
    return before


@cython.final
cdef class Deferred:
    """The queue of ops that one recording, with the recordings inside it, has not evaluated yet.

    Attributes
    ----------
    stopped : bool
        Whether ops are no longer deferred, because large values had to be computed all the same.
    """

    def __cinit__(self):
        from threading import RLock  # here, as few programs record: a millisecond of the time to import the library

        self.waiting, self.pending, self.lock = [], set(), RLock()

    cdef bint holds(self, PyObject *array) noexcept:
        """Whether an array, or an array that it is a view of, is pending."""
        if not self.pending:
            return False
        while array != NULL and isinstance(<object>array, cnp.ndarray):
            if <size_t>array in self.pending:
                return True
            array = cnp.PyArray_BASE(<cnp.ndarray>array)
        return False

    cdef bint is_fresh(self, Operand *output) noexcept:
        """Whether an output is the placeholder that was made last."""
        return output.kind == ARRAY and output.value == self.fresh

    cdef int add(self, Op op, list inputs, object params, object output) except -1:
        """Add an op to the queue whose placeholder was made just now."""
        self.fresh = NULL
        self.waiting.append((op, inputs, params, output))
        self.pending.add(<size_t><PyObject *>output)
        self.bytes += output.nbytes
        return self.evaluate() if self.bytes > budget else 0

    cdef int forget_unread(self) except -1:
        """Remove the ops whose outputs nothing refers to: no Array, no view and no other op of the queue."""
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
        """Evaluate the ops of the queue whose outputs can still be seen.

        Finalizers and signal handlers may run during this loop and force values themselves; the queue stays consistent.
        """
        cdef list waiting
        with self.lock:
            self.forget_unread()
            waiting = self.waiting
            self.stopped |= len(waiting) > 0
            self.evaluate_all(waiting)
        return 0

    cdef int evaluate_all(self, list waiting) except -1:
        """Evaluate these entries of the queue in their order."""
        cdef Py_ssize_t i
        try:
            with np.errstate(all="ignore"):  # as for an op that is evaluated at once
                for i in range(len(waiting)):
                    op, inputs, params, output = waiting[i]
                    if <size_t><PyObject *>output in self.pending:
                        fill(op, inputs, params, output)
                        self.pending.discard(<size_t><PyObject *>output)
                    waiting[i] = inputs = output = None  # the last op that needs an array frees it
        finally:
            self.waiting = [entry for entry in self.waiting if entry is not None]
        self.bytes = 0
        return 0

    def close(self):
        """End the deferral: outputs that something still refers to are evaluated, the others never."""
        global n_open
        if self.state.deferred is self:
            self.state.deferred = None
        self.evaluate()  # if this is interrupted, the next code that needs a value continues with it
        if self in opened:
            opened.remove(self)
            n_open -= 1


cdef int fill(Op op, list inputs, object params, object output) except -1:
    """Evaluate an op into its placeholder."""
    if isinstance(op.fn, np.ufunc):
        op.fn(*inputs, out=output)
    else:
        output[...] = op.fn(*inputs, *(params or ()))
    return 0


cdef Deferred begin():
    """Return the Deferred of a recording that begins now, inside no other."""
    global n_open
    cdef Deferred deferred = Deferred()
    deferred.state = current()
    deferred.state.deferred = deferred
    opened.append(deferred)
    n_open += 1
    return deferred


cdef int force_deferred(PyObject *array) except -1:
    """Compute the values of an array if they are pending: for code that is going to read them."""
    cdef Deferred deferred
    array_kept = <object>array  # the evaluation runs Python code, which may drop it
    for deferred in list(opened):
        if deferred.holds(<PyObject *>array_kept):
            return deferred.evaluate()
    return 0


cdef object abstract_output(Op op, Operand *operands, int n, object params):
    """Return a placeholder for an op's output; None if the op has to be evaluated, for which its operands are ready."""
    cdef State state = current()
    cdef Deferred deferred = state.deferred
    cdef cnp.npy_intp size, reach = 1  # size of an operand; bound of the size of the output
    cdef bint waits = False, is_large = False  # whether an operand is pending; whether one is large
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
            force_deferred(operands[i].value)  # another thread's recording may have it pending
    return None


cdef bint is_recorded(State state, Operand *operands, int n):
    """Whether the tracer will be told of an op on these operands."""
    cdef int i
    if state.tracer is not None and state.recording > 0:
        for i in range(n):
            if state.tracer.knows(<NodePtr>operands[i].node):
                return True
    return False


cdef object placeholder(Deferred deferred, Op op, Operand *operands, int n, object params, bint waits, bint is_large):
    """Return an array as the op's shape rule describes its output; None if there is no rule, or the op is small."""
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
        return None  # the evaluation raises the error; or memory cannot be reserved for all pending outputs
    if not isinstance(y, cnp.ndarray) or told is not ALIASES_INPUT and not (waits or is_large or y.size >= large):
        return None
    if told is ALIASES_INPUT:
        if not waits or deferred.holds(<PyObject *>y):
            return y
        y = np.empty_like(y)  # a copy, which needs memory of its own, because views are recognised by their memory
    deferred.fresh = <PyObject *>y
    return y
