# cython: nonecheck=True
"""What runs once per gradient of a tape, and what reaches into values: watching, attaching tangents.

`ad/transforms/gradient_tape.py` puts TensorFlow's interface on top, with everything that takes nested
structures. Names with an underscore are for it.
"""
cimport numpy as cnp
from ad.engine.array cimport Array, public_value, settle, wrap
from ad.engine.forward cimport tangent_of
from ad.engine.graph cimport Node, NodePtr
from ad.engine.recorder cimport (
    FOREVER, Level, Recorder, State, current, is_busy_elsewhere, is_live_elsewhere, new_leaf, share_leaf,
)
from ad.engine.variable cimport Variable
from ad.engine.sweep cimport plans_of, pull_plans

import warnings
from operator import attrgetter, itemgetter

import numpy as np

cnp.import_array()

cdef Array ONE = wrap(1.0)


cdef inline bint is_inexact(Array x) noexcept:
    if x.array is None:
        return True
    return cnp.PyArray_ISFLOAT(<cnp.ndarray>x.array) or cnp.PyArray_ISCOMPLEX(<cnp.ndarray>x.array)


cdef bint all_inexact(list values) noexcept:
    for x in values:
        if not isinstance(x, Array) or not is_inexact(<Array>x):
            return False
    return True


# Compiled functions have no frame of their own: level 1 is a method in `gradient_tape`, 2 its caller.
cdef int warn_of_dtype(str what, Array x) except -1:
    warnings.warn(f"ad: the dtype of {what} must be floating or complex (e.g. float64), not {x.dtype}; "
                  "it has no gradient", stacklevel=2)
    return 0


def is_differentiating():
    """Whether this thread records, or has an open forward level, or another thread records."""
    cdef State state = current()
    return state.recording > 0 or len(state.levels) > 0 or is_busy_elsewhere(state)


cdef class Tape(Recorder):
    """An interval of recording with a set of watched leaves, and the gradients over it."""

    def __cinit__(self):
        self.watched = {}

    def __init__(self, persistent=False, watch_accessed_variables=True):
        self.persistent = persistent
        self.watches_variables = watch_accessed_variables

    def __enter__(self):
        if self.active:
            raise ValueError("ad: this GradientTape is recording already; its block cannot be entered inside itself")
        if self.used:
            self.forget()
        self.enter()
        self.active = True
        return self

    def __exit__(self, kind, error, traceback):
        if self.active:
            self.close()

    cdef int close(self) except -1:
        self.active = False
        self.leave()
        return 0

    cdef int forget(self) except -1:
        """Back to the state of a new tape; not while it is among the open recorders."""
        self.start = self.end = FOREVER
        self.pauses = self.rules = None
        self.watched = {}
        self.used = False
        return 0

    cdef void access(self, object variable):
        if self.watches_variables and (<Array>variable).node is not None:
            self.watched[(<Array>variable).node] = variable

    cdef int begin(self) except -1:
        """Ready for a set of gradients: those of a tape that is not persistent end its recording."""
        if self.used:
            raise RuntimeError("ad: a non-persistent GradientTape gives one set of gradients (or jacobians) only; "
                               "make it with GradientTape(persistent=True) to ask it again")
        if self.start == FOREVER:
            raise RuntimeError("ad: this GradientTape has never recorded; enter it: with ad.GradientTape() as tape")
        if not self.persistent:
            self.used = True
            if self.recording:
                self.close()
        elif self.recording and not self.warned:
            self.warned = True
            warnings.warn("ad: gradients taken inside the block of a persistent GradientTape are recorded too, which "
                          "costs time and memory; take them after the block unless you want higher derivatives",
                          stacklevel=2)
        return 0

    cdef bint is_source(self, Node node) except -1:
        return node in self.watched

    cdef bint shares(self, Node leaf):
        return leaf in self.watched

    cdef list known(self, list sources):
        """The sources that have a gradient on this tape."""
        cdef Array x
        cdef list found = []
        for x in sources:
            settle(x)
            if x.node is not None and self.watches(x.node):
                found.append(x)
            elif not is_inexact(x):
                warn_of_dtype("a source", x)
        return found

    cdef int settle_all(self, list targets) except -1:
        """Bring targets up to date with what was written; the ops that do so are a part of what was recorded."""
        cdef Array x
        for x in targets:
            if not x.unsettled:
                continue
            if self.recording:
                settle(x)
            elif self.active:
                self.resume()
                try:
                    settle(x)
                finally:
                    self.pause()
            else:
                self.enter()
                try:
                    settle(x)
                finally:
                    self.leave()
        return 0

    cdef list pull(self, list targets, list sources, list seeds):
        """The sources' cotangents; None where they are not connected."""
        cdef list known = self.known(sources)
        self.settle_all(targets)
        cdef list found = pull_plans(plans_of(self, targets, known), known, seeds)
        if len(known) == len(sources):
            return found
        return scattered(found, known, sources, targets, seeds)

    def gradient(self, target, sources, output_gradients=None, unconnected_gradients="none"):
        """The derivatives of the sum of the target's elements.

        Parameters
        ----------
        target : Array, Variable, or a nested structure of them
            Several are summed.
        sources : Array, Variable, or a nested structure of them
        output_gradients : array_like or list, optional
            A cotangent for each target, in place of ones; None stands for ones.
        unconnected_gradients : {'none', 'zero'}
            What is returned for a source that the target does not depend on, or that is not watched.

        Returns
        -------
        Array or None, in the nesting of the sources

        Raises
        ------
        RuntimeError
            If the tape is not persistent and has given its gradients, or has never recorded.
        """
        if (type(target) is not Array or output_gradients is not None or unconnected_gradients != "none"
                or not is_inexact(<Array>target) or self.recording and self.persistent):
            return self._gradient(target, sources, output_gradients, unconnected_gradients)
        if isinstance(sources, Array) and is_inexact(<Array>sources):
            self.begin()
            return self.pull([target], [sources], [ONE])[0]
        if type(sources) is list or type(sources) is tuple:
            flat = list(sources)
            if all_inexact(flat):
                self.begin()
                found = self.pull([target], flat, [ONE])
                return found if type(sources) is list else tuple(found)
        return self._gradient(target, sources, output_gradients, unconnected_gradients)

    def _begin(self):
        self.begin()

    def _pull(self, list targets, list sources, list seeds):
        return self.pull(targets, sources, seeds)

    def _pullback(self, Array target, list sources):
        """From a cotangent of the target to those of the sources: a function, to be called many times."""
        cdef list known = self.known(sources)
        self.settle_all([target])
        cdef list plans = plans_of(self, [target], known)
        return lambda y_bar: scattered(pull_plans(plans, known, [y_bar]), known, sources, [target], [y_bar])

    def _watch(self, Array x):
        cdef Variable variable
        if not is_inexact(x):
            warn_of_dtype("a watched value", x)
            return
        settle(x)
        if x.node is None or (x.node.op != NULL and x.node.seq < current().floor
                              and not is_live_elsewhere(<NodePtr>x.node)):
            # A node older than the floor is cut off from its history already.
            x.node = new_leaf(shared=isinstance(x, Variable))
            x.base = None
            x.changes += 1
            if isinstance(x, Variable):
                variable = <Variable>x
                variable.snapshot = None
        elif x.node.op == NULL:
            share_leaf(x.node)
        self.watched[x.node] = x

    def _pause(self):
        if self.used or self.start == FOREVER:
            raise RuntimeError("ad: stop_recording() of a GradientTape which has not begun to record")
        if not self.recording:
            raise ValueError("ad: stop_recording() of a GradientTape which is not recording")
        self.pause()

    def _resume(self):
        if not self.active:
            return
        if self.used:  # a gradient was taken meanwhile: record afresh
            self.leave()
            self.forget()
            self.enter()
        else:
            self.resume()

    def reset(self):
        """Forget everything recorded and watched, and go on recording as a new tape.

        Raises
        ------
        ValueError
            If the tape is not recording.
        """
        if not self.recording:
            raise ValueError("ad: reset() of a GradientTape which is not recording")
        self.leave()
        self.forget()
        self.enter()

    def watched_variables(self):
        """The variables watched so far, as a tuple in the order in which they were made."""
        return tuple(sorted([x for x in list(self.watched.values()) if isinstance(x, Variable)],
                            key=attrgetter("serial")))


cdef list scattered(list found, list known, list sources, list targets, list seeds):
    """Gradients of all sources from those of the known ones, which are in the same order."""
    cdef list all_found = []
    cdef int next = 0
    for x in sources:
        if next < len(known) and known[next] is x:
            all_found.append(found[next])
            next += 1
        else:
            all_found.append(of_itself(x, targets, seeds))
    return all_found


cdef object of_itself(Array x, list targets, list seeds):
    """The gradient of an unwatched value with respect to itself, if it is a target."""
    for target, seed in zip(targets, seeds):
        if target is x and is_inexact(x):
            return wrap(np.array(np.broadcast_to(public_value(seed), x.shape), x.dtype))
    return None


cdef class Accumulator(Level):
    """a forward level that gives tangents to Arrays for as long as it is open."""

    def __cinit__(self):
        self.primals, self.x_dots = [], []

    def _add(self, Array x, Array x_dot):
        for other in self.primals:
            if other is x:
                raise ValueError(f"ad: {x!r:.80} is a primal of this ForwardAccumulator twice; "
                                 "give it once, with the sum of its tangents")
        if is_inexact(x):
            self.primals.append(x)
            self.x_dots.append(x_dot)
        else:
            warn_of_dtype("a primal", x)

    def __enter__(self):
        cdef State state = current()
        if self.active:
            raise ValueError("ad: this ForwardAccumulator is recording already; "
                             "its block cannot be entered inside itself")
        if self.tag == 0:
            self.enter()
        else:
            self.reenter(state)
        self.active = True
        for x, x_dot in zip(self.primals, self.x_dots):
            attach(x, self.tag, x_dot)
        return self

    cdef int reenter(self, State state) except -1:
        """Go on with the old tag, so that tangents of before still count."""
        cdef Level level
        for level in state.levels:
            if level.tag > self.tag:
                raise ValueError("ad: a ForwardAccumulator cannot be entered again inside one made later")
        self.enter()
        return 0

    def __exit__(self, kind, error, traceback):
        if not self.active:
            return
        self.active = False
        self.leave()
        for x in self.primals:
            detach(x, self.tag)

    def _tangent(self, Array x):
        for primal, x_dot in zip(self.primals, self.x_dots):
            if primal is x and self.tag:
                return x_dot
        if not x.unsettled or self.active or not self.tag:
            settle(x)
            return tangent_of(x, self.tag)
        self.enter()
        try:
            settle(x)
        finally:
            self.leave()
        return tangent_of(x, self.tag)


cdef int attach(Array x, long tag, Array x_dot) except -1:
    settle(x)
    kept = [t for t in x.tangents or () if t[0] != tag]
    set_tangents(x, tuple(sorted(kept + [(tag, x_dot)], key=itemgetter(0))))
    return 0


cdef int detach(Array x, long tag) except -1:
    set_tangents(x, tuple([t for t in x.tangents or () if t[0] != tag]) or None)
    return 0


cdef int set_tangents(Array x, tuple tangents) except -1:
    cdef Variable variable
    x.tangents = tangents
    x.base = None  # derivatives with respect to x itself begin here
    x.changes += 1
    if isinstance(x, Variable):
        variable = <Variable>x
        variable.snapshot = None
    return 0
