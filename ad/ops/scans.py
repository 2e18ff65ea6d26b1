"""Ops along an axis whose elements depend on those before them, and differences of neighbours."""
from typing import Any

import numpy as np

from ad._core import Array, apply
from ad.engine.inspection import value_or_tracer
from ad.errors import MissingRule
from ad.ops.axes import ALONG_AXIS
from ad.ops.domains import NONZERO, REAL
from ad.ops.elementwise import scale, scale_dots
from ad.ops.forms import case, composite, custom, linear, numpy_signature, point, stacked
from ad.ops.indexing import flip, getitem, take_along_axis
from ad.ops.joining import concatenate
from ad.ops.nondifferentiable import evaluate
from ad.ops.refusals import one_axis
from ad.ops.selection import where
from ad.ops.shape_rules import in_order
from ad.ops.shaping import broadcast_to, moveaxis, ravel, reshape
from ad.ops.traits import Batching

__all__ = [
    "cummax", "cummin", "cumprod", "cumsum", "diff", "ediff1d", "exclusive", "flipped", "gradient", "interp",
    "recurrence",
]

# -- running sums ---------------------------------------------------------------------------------


def _shape_rule(x: Any, axis: Any) -> Any:
    """The shape rule of a scan: the shape and dtype of its input, if that is floating."""
    np.lib.array_utils.normalize_axis_index(axis, x.ndim)
    return (x.shape, x.dtype) if x.dtype.kind in "fc" and in_order(x) else None


def _pull_cumsum(y_bar: Any, x: Any, axis: Any) -> Any:
    return flip(cumsum(flip(y_bar, axis), axis), axis)


@linear(transpose=_pull_cumsum, domain=REAL, batching=ALONG_AXIS, shape_rule=_shape_rule)
def _cumsum(a: Any, axis: Any) -> Any:
    return np.cumsum(a, axis)


def _scan(name: str, numpy: Any, run: Any, a: Any, axis: Any, dtype: Any, out: Any) -> Any:
    if not isinstance(a, Array):
        return numpy(stacked(a), axis, dtype, out)
    if out is not None:
        raise MissingRule(f"ad.{name} takes no out=: arrays are not changed in place")
    if dtype is not None and np.dtype(dtype).kind not in "fc":
        return evaluate(numpy, (a, axis, dtype), {})
    a = a if dtype is None else a.astype(dtype)
    if axis is not None and not a.ndim:
        numpy(np.zeros(()), axis)  # raises for all axes but 0 and -1
    return run(a, axis) if axis is not None and a.ndim else run(ravel(a), 0)


@numpy_signature("cumsum", np.cumsum, method=True, cases=(
    case((4,)), case((2, 3)), case((2, 3), axis=0), case((2, 3), axis=-1), case(()), case((0,)),
))
def cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    return _scan("cumsum", np.cumsum, lambda a, axis: apply(_cumsum.op, (a,), (axis,)), a, axis, dtype, out)


# -- linear recurrences along the last axis ---------------------------------------------------------


def flipped(x: Any) -> Any:
    """The last axis in reverse."""
    return getitem(x, (..., slice(None, None, -1)))


def _shifted(x: Any, first: Any) -> Any:
    """`first`, then all but the last along the last axis."""
    head = np.full((*x.shape[:-1], min(1, x.shape[-1])), first, x.dtype)
    return concatenate([head, getitem(x, (..., slice(-1)))], -1)


def exclusive(x: Any) -> Any:
    """For each element along the last axis, the product of the elements before it."""
    return _shifted(cumprod(x, -1), 1)


def _from_behind(s_bar: Any, a: Any) -> Any:
    """t[j] = s_bar[j] + a[j + 1] t[j + 1]: the recurrence transposed."""
    return flipped(recurrence(_shifted(flipped(a), 0), flipped(s_bar)))


def _push_factor(a_dot: Any, a: Any, _b: Any, s: Any) -> Any:
    return recurrence(a, scale_dots(a_dot, _shifted(s, 0)))


def _push_term(b_dot: Any, a: Any, _b: Any, _s: Any) -> Any:
    return recurrence(a, b_dot)


def _pull_factor(s_bar: Any, a: Any, _b: Any, s: Any) -> Any:
    return scale_dots(_from_behind(s_bar, a), _shifted(s, 0))


def _pull_term(s_bar: Any, a: Any, _b: Any, _s: Any) -> Any:
    return _from_behind(s_bar, a)


@custom(inputs=2, batching=Batching(broadcasts=True, tangents=(1, 1)), domain=REAL,
        jvp=(_push_factor, _push_term), vjp=(_pull_factor, _pull_term),
        cases=(case((5,), (5,)), case((2, 3), (2, 3)), case((1,), (1,)), case((0,), (0,))))
def _recurrence(a: Any, b: Any) -> Any:
    """s[j] = b[j] + a[j] s[j - 1] along the last axis, by doubling: log n steps on whole arrays.

    The terms b are (co)tangents, and a partial derivatives: a zero s[j - 1] is zero beside an a[j] that is nan.
    """
    a, b = (np.array(x, dtype=np.result_type(a, b)) for x in np.broadcast_arrays(a, b))
    step = 1
    while step < a.shape[-1]:
        b[..., step:] += scale(b[..., :-step], a[..., step:])
        a[..., step:] *= a[..., :-step].copy()
        step *= 2
    return b


@numpy_signature("recurrence")
def recurrence(a: Any, b: Any) -> Any:
    """s[j] = b[j] + a[j] s[j - 1] along the last axis."""
    return apply(_recurrence.op, (a, b), ())


def _cumprod_push(x_dot: Any, x: Any, y: Any, axis: Any) -> Any:
    x, x_dot, y = (moveaxis(v, axis - x.ndim, -1) for v in (x, x_dot, y))
    return moveaxis(recurrence(x, scale(x_dot, _shifted(y, 1))), -1, axis - x.ndim)


def _cumprod_pull(y_bar: Any, x: Any, y: Any, axis: Any) -> Any:
    x, y, y_bar = (moveaxis(v, axis, -1) for v in (x, y, y_bar))
    return moveaxis(scale(_from_behind(y_bar, x), _shifted(y, 1)), -1, axis)


@custom(jvp=_cumprod_push, vjp=_cumprod_pull, batching=ALONG_AXIS, domain=NONZERO,
        singular="exact with any number of zeros", shape_rule=_shape_rule,
        points=(point((2.0, 0.0, 3.0), first=(1, 8, 0), second=((0, 4, 0), (4, 0, 2), (0, 2, 0)), axis=0),))
def _cumprod(a: Any, axis: Any) -> Any:
    return np.cumprod(a, axis)


@numpy_signature("cumprod", np.cumprod, method=True, cases=(
    case((4,)), case((2, 3)), case((2, 3, 2), axis=1), case((2, 3), axis=-1), case(()), case((0,)),
    case(np.array([2.0, 0.0, 3.0, 0.0, 1.0])),
))
def cumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    def run(a: Any, axis: Any) -> Any:
        return apply(_cumprod.op, (a,), (one_axis(axis, a.ndim),))

    return _scan("cumprod", np.cumprod, run, a, axis, dtype, out)


# -- running extremes --------------------------------------------------------------------------------

_RECORDS = (case((5,)), case((2, 4)), case((3, 2), axis=1), case((0,)))


def _running(ufunc: Any, a: Any, axis: Any) -> Any:
    """The elements that are the extreme so far: the latest of them, as a tie goes."""
    values = value_or_tracer(a)
    extreme = evaluate(ufunc.accumulate, (values, axis), {})
    stands = np.logical_or(values == extreme, values != values)  # from a nan on all are
    places = np.arange(a.shape[axis]).reshape((-1,) + (1,) * (a.ndim - 1 - one_axis(axis, a.ndim)))
    latest = evaluate(np.maximum.accumulate, (np.where(stands, places, 0), axis), {})
    return take_along_axis(a, latest, axis)


def _running_extreme(name: str, ufunc: Any, adjective: Any) -> Any:
    def running(a: Any, axis: Any = 0) -> Any:
        return _running(ufunc, a, axis)

    running.__name__ = name
    running.__doc__ = f"""The {adjective} of the elements so far, as `np.{ufunc.__name__}.accumulate`.

    Parameters
    ----------
    a : array_like
    axis : int

    Returns
    -------
    Array, or ndarray for plain `a`
    """
    return composite(domain=REAL, singular="the latest of equal elements", cases=_RECORDS)(running)


cummax, cummin = _running_extreme("cummax", np.maximum, "largest"), _running_extreme("cummin", np.minimum, "smallest")


# -- differences ----------------------------------------------------------------------------------


def _along(axis: Any, part: Any) -> Any:
    return (slice(None),) * axis + (part,)


@composite(np.diff, domain=REAL, cases=(
    case((5,)), case((2, 4), n=2), case((3, 2), axis=0), case((3,), prepend=0.0, append=np.array([1.0, 2.0])),
    case((3,), n=0), case((1,)),
))
def diff(a: Any, n: Any = 1, axis: Any = -1, prepend: Any = np._NoValue, append: Any = np._NoValue) -> Any:
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n!r}")
    axis = np.lib.array_utils.normalize_axis_index(axis, a.ndim)
    if n:
        before, after = ([] if part is np._NoValue else [_end(part, a, axis)] for part in (prepend, append))
        a = concatenate([*before, a, *after], axis) if before or after else a
    for _ in range(n):
        a = getitem(a, _along(axis, slice(1, None))) - getitem(a, _along(axis, slice(None, -1)))
    return a


def _end(part: Any, a: Any, axis: Any) -> Any:
    if np.ndim(part):
        return part if isinstance(part, Array) else np.asarray(part)
    return broadcast_to(part, (*a.shape[:axis], 1, *a.shape[axis + 1 :]))


@composite(np.ediff1d, domain=REAL, cases=(case((4,)), case((2, 3), to_end=np.array([1.0]), to_begin=2.0)))
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    if ary.dtype == bool:
        raise TypeError("ad.ediff1d: truth values have no differences")
    found = diff(ravel(ary))
    if not all(np.can_cast(part.dtype if isinstance(part, Array) else np.asanyarray(part), ary.dtype, "same_kind")
               for part in (to_end, to_begin) if part is not None):
        raise TypeError("ad.ediff1d: to_begin and to_end must have the dtype of the array, or a lesser one")
    before, after = ([] if part is None else [np.ravel(part).astype(ary.dtype)] for part in (to_begin, to_end))
    return concatenate([*before, found, *after]) if before or after else found


@composite(np.gradient, domain=REAL, cases=(
    case((5,)), case((4,), 0.5), case((4,), np.array([0.0, 1.0, 1.5, 3.0]), edge_order=2), case((3, 4)),
    case((3, 4), 2.0, axis=1, edge_order=2), case((3, 4), 0.5, np.array([0.0, 1.0, 3.0, 3.5])),
))
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: Any = 1) -> Any:
    axes = tuple(range(f.ndim)) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, f.ndim)
    if f.dtype.kind in "iu":
        f = f.astype(float)
    uniform = len(varargs) == 1 and not np.ndim(varargs[0])
    spacings = varargs * len(axes) if uniform else varargs or (1.0,) * len(axes)
    if len(spacings) != len(axes):
        raise TypeError("invalid number of arguments")
    found = [moveaxis(_slopes(moveaxis(f, a, 0), h, edge_order), 0, a) for a, h in zip(axes, spacings)]
    return found[0] if len(axes) == 1 else tuple(found)


def _slopes(f: Any, spacing: Any, edge_order: Any) -> Any:
    """Second order differences along the first axis, one-sided of the given order at its ends."""
    n = f.shape[0]
    if edge_order > 2 or np.ndim(spacing) > 1:
        raise ValueError("ad.gradient: edge_order is 1 or 2, and a distance is a number or has one axis")
    if n < edge_order + 1:
        raise ValueError("Shape of array too small to calculate a numerical gradient, "
                         "at least (edge_order + 1) elements are required.")
    spacing = spacing if isinstance(spacing, Array) else np.asarray(spacing)
    h = diff(spacing) if spacing.ndim else broadcast_to(spacing, (n - 1,))
    h = reshape(h, (n - 1,) + (1,) * (f.ndim - 1))
    rise = (f[1:] - f[:-1]) / h
    h1, h2 = h[:-1], h[1:]
    middle = (h2 * rise[:-1] + h1 * rise[1:]) / (h1 + h2)
    first, last = rise[:1], rise[-1:]
    if edge_order != 1:
        first = first - h[:1] * (rise[1:2] - first) / (h[:1] + h[1:2])
        last = last + h[-1:] * (last - rise[-2:-1]) / (h[-1:] + h[-2:-1])
    found = concatenate([first, middle, last])
    return found if found.dtype == f.dtype else found.astype(f.dtype)


@composite(np.interp, singular="at the knots the slope to the right", cases=(
    case(np.array([0.5, 1.7, 3.0, -1.0]), np.array([0.0, 1.0, 2.0, 4.0]), (4,)),
    case(1.2, np.array([0.0, 1.0, 2.0]), (3,)),
    case(np.array([[0.3, 9.0]]), np.array([0.0, 1.0, 2.0]), (3,), left=-1.0, right=2.0),
), domain=REAL)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    if period is not None:
        raise MissingRule("ad.interp has no rule for period=; reduce x by np.remainder and extend xp, fp by hand")
    x, xp, fp = (v if isinstance(v, Array) else np.asarray(v) for v in (x, xp, fp))
    if any(v.dtype.kind == "c" for v in (x, xp)) or any(map(np.ndim, (left, right))):
        raise TypeError("ad.interp: the points must be real, and left and right numbers")
    if xp.ndim != 1 or xp.shape != fp.shape or not xp.size:
        raise ValueError("ad.interp: xp and fp must be vectors of the same length")
    if xp.size == 1:
        xp, fp = concatenate([xp, xp]), concatenate([fp, fp])
    i = np.clip(np.searchsorted(xp, x, side="right") - 1, 0, len(xp) - 2)
    x0, f0 = getitem(xp, i), getitem(fp, i)
    y = f0 + (getitem(fp, i + 1) - f0) / (getitem(xp, i + 1) - x0) * (x - x0)
    y = where(x < getitem(xp, 0), getitem(fp, 0) if left is None else left, y)
    return where(x > getitem(xp, -1), getitem(fp, -1) if right is None else right, y)
