"""Ops along an axis whose elements depend on those before them."""
from __future__ import annotations

from typing import Any

import numpy as np

from ad._core import Array, apply
from ad.engine.inspection import value_or_tracer
from ad.errors import MissingRule
from ad.ops.axes import ALONG_AXIS
from ad.ops.domains import NONZERO, REAL
from ad.ops.forms import case, composite, custom, linear, numpy_signature, point, stacked
from ad.ops.indexing import flip, getitem, take_along_axis
from ad.ops.joining import concatenate
from ad.ops.nondifferentiable import evaluate
from ad.ops.refusals import one_axis
from ad.ops.shape_rules import in_order
from ad.ops.shaping import moveaxis, ravel
from ad.ops.structure import Mixing, along_axis
from ad.ops.traits import Batching
from ad.ops.ufuncs import scale, scale_dots

__all__ = ["cummax", "cummin", "cumprod", "cumsum", "exclusive", "flipped", "recurrence"]

# -- running sums ---------------------------------------------------------------------------------


def _shape_rule(x: Any, axis: Any) -> Any:
    """The shape rule of a scan: the shape and dtype of its input, if that is floating."""
    np.lib.array_utils.normalize_axis_index(axis, x.ndim)
    return (x.shape, x.dtype) if x.dtype.kind in "fc" and in_order(x) else None


def _pull_cumsum(y_bar: Any, x: Any, axis: Any) -> Any:
    return flip(cumsum(flip(y_bar, axis), axis), axis)


@linear(transpose=_pull_cumsum, domain=REAL, batching=ALONG_AXIS, shape_rule=_shape_rule, structure=along_axis)
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


def _structure_of_recurrence(i: int, xs: Any, y: Any) -> Mixing:
    """The first of the factors is not used."""
    found = along_axis(i, xs, y, -1)
    if i or found.mask is None:
        return found
    mask = found.mask.copy()
    mask[:1] = False
    if mask.shape[0] == mask.shape[1]:  # or one factor is broadcast
        mask[:, :1] = False
    return found._replace(mask=mask)


@custom(inputs=2, batching=Batching(broadcasts=True, tangents=(1, 1)), domain=REAL,
        structure=_structure_of_recurrence,
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


@custom(jvp=_cumprod_push, vjp=_cumprod_pull, batching=ALONG_AXIS, domain=NONZERO, structure=along_axis,
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
