"""Ops that sort elements: a permutation, which is constant between ties."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from ad._core import Array
from ad.engine.inspection import concrete
from ad.errors import MissingRule
from ad.ops.domains import REAL
from ad.ops.forms import case, composite
from ad.ops.indexing import getitem, take, take_along_axis
from ad.ops.joining import asarray
from ad.ops.nondifferentiable import evaluate
from ad.ops.plain_results import plain_result
from ad.ops.reductions import mean
from ad.ops.selection import clip, where
from ad.ops.shaping import broadcast_to, moveaxis, ravel, reshape
from ad.ops.ufuncs import floor

__all__ = ["median", "partition", "percentile", "quantile", "sort", "unique"]

_TIES = "ties keep their order, and each its own gradient"


def _permuted(order: Any, a: Any, axis: Any) -> Any:
    if axis is None:
        a, axis = ravel(a), 0
    return take_along_axis(a, order(a, axis), axis)


@composite(np.sort, domain=REAL, singular=_TIES, cases=(
    case((5,)), case((2, 3)), case((3, 2), axis=0), case((2, 3), axis=None), case((0,)),
    case(np.array([1.0, 3.0, 2.0])),
))
def sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    if kind is not None or order is not None or stable is not None:
        np.sort(np.empty(0), kind=kind, order=order, stable=stable)  # raises for a wrong option
    return _permuted(lambda values, axis: np.argsort(values, axis, kind="stable"), a, axis)


@composite(np.partition, domain=REAL, singular=_TIES, cases=(case((5,), 2), case((2, 4), 1, axis=1)))
def partition(a: Any, kth: Any, axis: Any = -1, kind: Any = "introselect", order: Any = None) -> Any:
    np.partition(np.empty(1), 0, -1, kind, order)
    return _permuted(lambda values, axis: np.argpartition(values, kth, axis), a, axis)


@composite(np.unique, domain=REAL, singular="the gradient goes to the first of equal elements",
           cases=(case((4,)), case(np.array([[2.0, 1.0], [3.0, 4.0]])), case((3, 2), axis=0)))
def unique(
    ar: Any, return_index: Any = False, return_inverse: Any = False, return_counts: Any = False, axis: Any = None, *,
    equal_nan: Any = True
) -> Any:
    _, index, *rest = np.unique(concrete(ar), True, return_inverse, return_counts, axis, equal_nan=equal_nan)
    found = take(ar, index, axis)
    others = plain_result([index, *rest] if return_index else rest, (ar,))
    return (found, *others) if others else found


# -- quantiles ------------------------------------------------------------------------------------

# Of the methods that interpolate alpha and beta: of n elements in order the quantile is the one numbered
# n q + alpha + q (1 - alpha - beta) - 1 (Hyndman and Fan, The American Statistician 50(4), 1996). The others jump.
_INTERPOLATING = {
    "linear": (1, 1), "hazen": (0.5, 0.5), "weibull": (0, 0), "interpolated_inverted_cdf": (0, 1),
    "median_unbiased": (1 / 3, 1 / 3), "normal_unbiased": (3 / 8, 3 / 8),
}


def _last_axis(a: Any, axis: Any) -> tuple[Any, Any]:
    """The axes to reduce as one, at the end; and the shape of the result with them kept as ones."""
    axes = tuple(range(a.ndim)) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, a.ndim)
    kept = tuple(1 if i in axes else n for i, n in enumerate(a.shape))
    rest = tuple(n for i, n in enumerate(a.shape) if i not in axes)
    size = math.prod([a.shape[i] for i in axes])
    return reshape(moveaxis(a, axes, range(-len(axes), 0)), (*rest, size)), kept


def _place(q: Any, n: Any, method: Any) -> Any:
    """The position of the quantile among n sorted elements, with a fraction."""
    if method not in _INTERPOLATING:
        return evaluate(np.quantile, (np.arange(float(n)), q), {"method": method})
    if method == "linear":
        return q * (n - 1)
    alpha, beta = _INTERPOLATING[method]
    return clip(n * q + (alpha + q * (1 - alpha - beta)) - 1, 0, n - 1)


def _at(ordered: Any, place: Any, dtype: Any) -> Any:
    """The elements at a place, or places, of the sorted last axis; nan if there is a nan."""
    below = floor(place).astype(np.intp)
    above = np.minimum(below + 1, ordered.shape[-1] - 1)
    if not isinstance(below, Array) and not below.ndim:
        below, above = int(below), int(above)  # integers select views
    low, high = getitem(ordered, (..., below)), getitem(ordered, (..., above))
    last = getitem(ordered, (..., -1, *(None,) * place.ndim))
    weight = place - below
    y = low + (high - low) * (weight if weight.dtype == dtype else weight.astype(dtype))
    return where(np.isnan(last), last, y)


def _fractions(q: Any, a: Any, percent: bool = False) -> Any:
    """q as numbers in [0, 1]; a Python number adapts to the precision of `a`."""
    if not isinstance(q, Array):
        q = np.asarray(q, np.finfo(a.dtype).dtype if type(q) in (int, float) and a.dtype.kind in "fc" else None)
    q = q / 100 if percent else q * 1.0
    if q.ndim > 2:
        raise ValueError("q must be a scalar or 1d")
    if np.any((q < 0) | (q > 1)):
        raise ValueError("Percentiles must be in the range [0, 100]" if percent else
                         "Quantiles must be in the range [0, 1]")
    return q


def _check_real(a: Any) -> None:
    if a.dtype.kind == "c":
        raise TypeError("a must be an array of real numbers")


def _quantile(a: Any, q: Any, axis: Any, method: Any, keepdims: bool) -> Any:
    rows, kept = _last_axis(a, axis)
    place = _place(q, rows.shape[-1], method)
    found = _at(sort(rows), place, np.result_type(a.dtype, q.dtype))
    found = moveaxis(found, range(-q.ndim, 0), range(q.ndim))
    return reshape(found, (*q.shape, *kept)) if keepdims else found


def _weighted(a: Any, q: Any, axis: Any, method: Any, keepdims: bool, weights: Any) -> Any:
    """The weighted quantiles: each is one of the elements."""
    rows, kept = _last_axis(a, axis)
    best = evaluate(np.quantile, (a, q), {"axis": axis, "method": method, "keepdims": True, "weights": weights})
    best = reshape(best, (*q.shape, *rows.shape[:-1], 1))
    rows = broadcast_to(rows, (*q.shape, *rows.shape))
    found = take_along_axis(rows, evaluate(np.argmax, (rows == best, -1), {"keepdims": True}), -1)
    found = where(np.isnan(best), best, found)
    return reshape(found, (*q.shape, *(kept if keepdims else rows.shape[q.ndim:-1])))


def _no_out(name: str, out: Any) -> None:
    if out is not None:
        raise MissingRule(f"ad.{name} takes no out=: arrays are not changed in place")


_QUANTILES = "between ties any of them; between two elements, of which a method takes one, that of the one it takes"


@composite(np.quantile, domain=REAL, singular=_QUANTILES, cases=(
    case((5,), q=0.3), case((2, 4), q=0.5, axis=1), case((3, 4), q=np.array(0.25), axis=0, keepdims=True),
    case((4,), q=[0.0, 0.6, 1.0]), case((4,), q=0.3, method="lower"), case((2, 5), [0.31, 0.6], 1, method="hazen"),
    case((5,), 0.37, method="averaged_inverted_cdf"), case((2, 3), 0.4, weights=np.array([1.0, 3.0, 1.0]), axis=1,
                                                          method="inverted_cdf"),
))
def quantile(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
    keepdims: bool = False, *, weights: Any = None
) -> Any:
    _no_out("quantile", out)
    a = asarray(a)
    _check_real(a)
    q = _fractions(q, a)
    if weights is not None:
        return _weighted(a, q, axis, method, keepdims, weights)
    return _quantile(a, q, axis, method, keepdims)


@composite(np.percentile, domain=REAL, singular=_QUANTILES, cases=(
    case((5,), 30), case((2, 4), 75, axis=1), case((5,), [20.0, 71.0], method="weibull"),
))
def percentile(
    a: Any, q: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
    keepdims: bool = False, *, weights: Any = None
) -> Any:
    _no_out("percentile", out)
    a = asarray(a)
    _check_real(a)
    q = _fractions(q, a, percent=True)
    if weights is not None:
        return _weighted(a, q, axis, method, keepdims, weights)
    return _quantile(a, q, axis, method, keepdims)


@composite(np.median, domain=REAL, singular=_QUANTILES, cases=(
    case((5,)), case((2, 4), axis=1), case((2, 3, 2), axis=(0, 2), keepdims=True), case(()), case((0, 3), axis=1),
))
def median(a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    _no_out("median", out)
    if not _last_axis(a, axis)[0].shape[-1]:
        return mean(a, axis, keepdims=keepdims)  # nan
    return _quantile(a, _fractions(0.5, a), axis, "linear", keepdims)
