"""Reductions over axes that leave out nans."""
from __future__ import annotations

from typing import Any

import numpy as np

from ad.ops.domains import REAL
from ad.ops.forms import case, composite
from ad.ops.reductions import counts, is_exact, max, mean, min, quiet_mean, root, squared_moduli, sum, var, warn_where
from ad.ops.selection import where as choose

__all__ = ["nanmax", "nanmean", "nanmin", "nanstd", "nansum", "nanvar"]


def _numbers(a: Any) -> tuple[Any, Any]:
    """Where `a` is not nan, and `a` with 0 in the place of nans."""
    mask = ~np.isnan(a)
    return mask, choose(mask, a, 0)


_WITH_NAN = (case((4,)), case((2, 3), axis=1), case(np.array([1.0, np.nan, 3.0])))


@composite(np.nansum, domain=REAL, cases=_WITH_NAN)
def nansum(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, initial: Any = 0,
    where: Any = True
) -> Any:
    return sum(_numbers(a)[1], axis, dtype, out, keepdims, initial, where)


@composite(np.nanmean, domain=REAL, cases=_WITH_NAN)
def nanmean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = True
) -> Any:
    _check_inexact(a, dtype)
    mask, a = _numbers(a)
    mask = mask & where
    warn_where(~np.any(mask, axis=axis), "Mean of empty slice")
    reduce = quiet_mean if a.dtype.kind in "fc" else mean  # NumPy's checks the axis of a number for integers only
    with np.errstate(invalid="ignore"):
        return reduce(a, axis, dtype, out, keepdims, where=mask)


@composite(np.nanvar, domain=REAL, cases=_WITH_NAN)
def nanvar(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: bool = False) -> Any:
    _check_inexact(a, dtype)
    if a.dtype.kind not in "fc":
        return var(a, axis, dtype, out, ddof, keepdims)
    mask, a = _numbers(a)
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = choose(mask, a - quiet_mean(a, axis, keepdims=True, where=mask), 0)
        total = sum(squared_moduli(deviation), axis, dtype, out, keepdims)
        freedom = counts(mask, axis, keepdims, total) - ddof
        warn_where(freedom <= 0, "Degrees of freedom <= 0 for slice.")
        return total / np.where(freedom > 0, freedom, np.nan)


def _check_inexact(a: Any, dtype: Any) -> None:
    if a.dtype.kind in "fc" and is_exact(dtype):
        raise TypeError("If a is inexact, then dtype must be inexact")


@composite(np.nanstd, domain=REAL, cases=_WITH_NAN, singular="as std")
def nanstd(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: bool = False) -> Any:
    return root(nanvar(a, axis, dtype, out, ddof, keepdims))


def _among_numbers(reduce: Any, ufunc: Any, worst: Any, a: Any, axis: Any, out: Any, keepdims: bool) -> Any:
    """The extreme of the elements that are not nan; of a slice of nans it is nan, as in NumPy."""
    if a.size == 0:
        ufunc.reduce(np.empty(a.shape), axis)  # which raises in NumPy's words, if it has to
    if a.dtype.kind not in "fc":
        return reduce(a, axis, out, keepdims)
    nans = np.isnan(a)
    alone = np.all(nans, axis=axis, keepdims=True)
    warn_where(alone, "All-NaN slice encountered", 6)
    return reduce(choose(nans & ~alone, worst, a), axis, out, keepdims)


@composite(np.nanmax, domain=REAL, cases=_WITH_NAN, singular="as max")
def nanmax(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    return _among_numbers(max, np.fmax, -np.inf, a, axis, out, keepdims)


@composite(np.nanmin, domain=REAL, cases=_WITH_NAN, singular="as min")
def nanmin(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    return _among_numbers(min, np.fmin, np.inf, a, axis, out, keepdims)
