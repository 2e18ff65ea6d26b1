"""Differences of neighbours: slopes, interpolation between points, the trapezoidal rule."""
from __future__ import annotations

from typing import Any

import numpy as np

from ad._core import Array
from ad.errors import MissingRule
from ad.ops.domains import REAL
from ad.ops.forms import case, composite
from ad.ops.indexing import getitem
from ad.ops.joining import concatenate
from ad.ops.reductions import sum
from ad.ops.selection import where
from ad.ops.shaping import broadcast_to, moveaxis, ravel, reshape

__all__ = ["diff", "ediff1d", "gradient", "interp", "trapezoid"]


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


@composite(np.trapezoid, domain=REAL, cases=(
    case((5,)), case((2, 4), dx=0.5), case((3, 2), np.array([0.0, 1.0, 3.0]), axis=0), case((2, 3), (2, 3)),
    case((4,), (4,)), case((1,)),
))
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> Any:
    y, x = (part if part is None or isinstance(part, Array) else np.asarray(part) for part in (y, x))
    before, after = ((slice(None),) * (axis % y.ndim) + (part,) for part in (slice(None, -1), slice(1, None)))
    width = dx if x is None else diff(x, axis=axis if x.ndim > 1 else -1)
    if x is not None and x.ndim == 1:
        width = reshape(width, (-1,) + (1,) * (y.ndim - 1 - axis % y.ndim))
    return sum(width * (y[after] + y[before]) / 2.0, axis)
