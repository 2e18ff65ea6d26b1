# cython: nonecheck=True
"""What a transform does once per call, below the trees: arguments in, one level or one sweep, results out.

`gradient` is the whole of a call in the commonest case, one array or number in and a float64 out.
"""
cimport numpy as cnp
from cpython.ref cimport PyObject
from ad._core cimport alias, apply, lift
from ad.engine.array cimport Array, force, is_live, new_array, settle, wrap
from ad.engine.forward cimport restrict, tangent_of
from ad.engine.pool cimport empty_like, has_own_memory, is_contiguous, track_result
from ad.engine.recorder cimport Level, Recorder
from ad.engine.roles cimport roles
from ad.engine.types cimport FLOAT64_DTYPE, FLOAT64_TYPE
from ad.engine.sweep cimport SweepPlan, begin, independent

import numpy as np

from ad.errors import kind as kind_of
from ad.errors import no_derivative, warn_independent

cnp.import_array()

cdef list ONE = [1.0]

# Elements of an argument from which on it pays to let go of each value as soon as a sweep is done with it.
cdef enum:
    LARGE = 1 << 14


# -- in and out ----------------------------------------------------------------------------

def argument(x):
    """A value to differentiate with respect to, as a floating or complex Array; None if it is no such value."""
    cdef Array found
    if not isinstance(x, (Array, cnp.ndarray, float, int, complex, np.number)) or isinstance(x, bool):
        return None
    if isinstance(x, cnp.ndarray) and x.dtype.kind not in "iufc":
        return None
    found = lift(x)
    kind = found.dtype.kind
    if kind in "iu":
        return apply(roles.astype, (found,), (FLOAT64_DTYPE,))
    return found if kind in "fc" else None


def output(y):
    """A value that a function returned, as an Array; None if it is no array or number."""
    if isinstance(y, (str, bytes)):
        return None
    found = lift(y)
    return None if found is None or found.dtype.kind not in "biufc" else found


def hand_over(Array x, bint wrapped):
    """A function's value as the caller gets it: plain and its own, unless it is live or the caller works with Arrays.

    The function may have kept the Array, so the value is copied.
    """
    if wrapped or is_live(x):
        return x
    force(x)
    value = x.array
    if value is None or cnp.PyArray_NDIM(<cnp.ndarray>value) == 0:
        return own(x)
    if not is_contiguous(<PyObject *>value):
        return np.array(value)
    y = empty_like(<PyObject *>value)
    cnp.PyArray_CopyInto(y, value)
    if (<PyObject *>value).ob_refcnt == 2:  # no argument of the call: those are not kept
        track_result(<PyObject *>value)
    track_result(<PyObject *>y)
    return y


def hand_over_new(Array x, bint wrapped):
    """`hand_over` of what a sweep made: nobody else has the Array."""
    return x if wrapped or is_live(x) else own(x)


cdef object own(Array x):
    """The raw value, in memory that nothing else sees."""
    if x.array is None:
        return FLOAT64_TYPE(x.number)
    force(x)
    value = x.array
    if cnp.PyArray_NDIM(<cnp.ndarray>value) == 0:
        return value[()]
    # Two holders: x, which is going, and the name above.
    if (<PyObject *>value).ob_refcnt == 2 and has_own_memory(<PyObject *>value):
        if is_contiguous(<PyObject *>value):
            track_result(<PyObject *>value)
        return value
    return np.array(value)


def live(Array x):
    """Whether an op on `x` would be recorded, or would carry tangents."""
    return is_live(x)


def zeros_like(Array x, bint wrapped):
    """What stands for a derivative where there is no connection."""
    value = np.zeros(x.shape, x.dtype if x.dtype.kind in "fc" else FLOAT64_TYPE)
    return wrap(value) if wrapped else value[()] if x.ndim == 0 else value


def scalar(y, transform):
    """A function's value, which must be a real scalar; as an Array.

    Raises
    ------
    TypeError
        If it is not an array or a number, or is complex, an integer or a truth. A Python int counts as a constant.
    ValueError
        If it has axes.
    """
    cdef Array found = None if isinstance(y, (str, bytes, list, tuple)) else lift(y)
    if found is None:
        raise TypeError(f"ad.{transform}: the function returned {kind_of(y)}; it must return one number "
                        "(with has_aux=True: a pair of that and anything else)")
    if found.ndim:
        raise ValueError(f"ad.{transform}: the function returned an array of shape {found.shape}; it must return "
                         "a scalar: sum it, or use ad.jacobian")
    if found.dtype.kind == "c":
        raise TypeError(f"ad.{transform}: the function returned a complex number; a gradient is that of a real one: "
                        "return its real(), imag() or abs(), or use ad.vjp")
    if found.dtype.kind in "biu" and type(y) is not int:
        raise no_derivative(transform, found.dtype)
    if found.dtype.kind not in "if":
        raise TypeError(f"ad.{transform}: the function returned a value of dtype {found.dtype}, which is no number")
    return found


# -- reverse -------------------------------------------------------------------------------

def pull(SweepPlan plan, list seeds):
    """Cotangents of the plan's sources (None where unconnected) from those of its targets."""
    return plan.pull(seeds)


def push(SweepPlan plan, list x_dots):
    """Tangents of the plan's targets (None where unconnected) from those of its sources."""
    return plan.push(x_dots)


cdef list seed_of(Array y):
    if y.array is None:
        return ONE
    return [np.ones((), y.dtype)] if y.dtype.kind == "f" else [None]


def pull_scalar(SweepPlan plan):
    """The gradient of a real scalar."""
    return plan.pull(seed_of(plan.targets[0]))


cdef Array leaf(object x):
    """A fresh alias of an argument of the commonest kinds; None for another."""
    cdef type t = type(x)
    if t is float:
        return alias(new_array(None, x, None, None))
    if t is cnp.ndarray and cnp.PyArray_ISFLOAT(<cnp.ndarray>x):
        return alias(wrap(x))
    if t is Array and ((<Array>x).array is None or cnp.PyArray_ISFLOAT(<cnp.ndarray>(<Array>x).array)):
        return alias(<Array>x)
    return None


def gradient(f, tuple args, dict kwargs, tuple positions, bint single, bint with_value, bint warns):
    """The gradient of `f` with respect to the arguments in `positions`, if they are leaves of the commonest kinds.

    Returns the gradient (of `single` the only one, else a tuple), or (value, gradient); None, before `f`
    is called, where the general way must do.
    """
    cdef Recorder recorder = Recorder.__new__(Recorder)
    cdef Array source, y
    cdef list given = list(args), sources = []
    cdef Py_ssize_t n = len(args)
    cdef bint wrapped = False, has_large = False
    cdef SweepPlan plan
    transform = "value_and_grad" if with_value else "grad"
    cdef long begun = begin()
    recorder.enter()
    try:
        for position in positions:
            if not 0 <= position < n:
                return None
            source = leaf(given[position])
            if source is None:
                return None
            wrapped |= type(args[position]) is Array
            has_large |= source.array is not None and cnp.PyArray_SIZE(<cnp.ndarray>source.array) >= LARGE
            sources.append(source)
            # f gets an Array of its own, which an `out=` may rebind
            given[position] = new_array(source.array, source.number, source.node, source.tangents)
        returned = f(*given, **kwargs) if kwargs else f(*given)
        if isinstance(returned, Array):
            settle(<Array>returned)
    finally:
        recorder.leave()
    if type(returned) is Array and (<Array>returned).array is None:
        y = returned
    else:
        y = scalar(returned, transform)
    plan = SweepPlan(recorder, [y], sources)
    if warns and plan.is_independent():
        warn_independent(transform, *independent(plan, begun))
    # Where no recorder but this one ever saw the nodes, no other sweep will want their values.
    cdef bint alone = has_large and recorder.had_all()
    found = [zeros_like(source, wrapped) if x_bar is None else hand_over_new(x_bar, wrapped)
             for x_bar, source in zip(plan.pull(seed_of(y), alone), sources)]
    result = found[0] if single else tuple(found)
    return (hand_over(y, wrapped), result) if with_value else result


# -- forward -------------------------------------------------------------------------------

def push_level(f, list xs, list x_dots):
    """Call `f(*xs)` with these tangents on the arguments (None: no tangent), in a forward level of its own.

    `f` must return a list of Arrays. Returns two lists: them, and their tangents (None where
    unconnected), both without what this level put on them.
    """
    cdef Level level = Level.__new__(Level)
    cdef Array x, y
    cdef list duals = [], primals = [], y_dots = []
    level.private = True
    level.enter()
    try:
        for x, x_dot in zip(xs, x_dots):
            if x_dot is not None:
                x = new_array(x.array, x.number, x.node, (x.tangents or ()) + ((level.tag, x_dot),))
            duals.append(x)
        for y in f(*duals):
            primals.append(restrict(y, level.tag))
            y_dots.append(tangent_of(y, level.tag))
    finally:
        level.leave()
    return primals, y_dots
