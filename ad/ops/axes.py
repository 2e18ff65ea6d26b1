"""Axes: those that a reduction sums over, and the same axes behind a leading axis of lanes."""
from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from ad.ops.traits import Batching

__all__ = [
    "ALONG_AXIS", "REDUCES", "axes_of", "behind_lanes", "count", "extreme_shape_rule", "from_the_end", "kept_shape",
    "reduced_shape_rule",
]

Axes: TypeAlias = int | tuple[int, ...] | None


def axes_of(axis: Axes, ndim: int) -> tuple[int, ...]:
    """The axes that `axis` names, counted from the first one; all for None, or for an array that has none."""
    if axis is None or ndim == 0:
        return tuple(range(ndim))
    return tuple([a % ndim for a in (axis if isinstance(axis, tuple) else (axis,))])


def behind_lanes(ndim: int, axis: Axes) -> tuple[int, ...]:
    """The same axes of an array that has a lane axis in front."""
    if axis is None or ndim == 0:
        return tuple(range(1, ndim + 1))
    return tuple([a % ndim + 1 for a in (axis if isinstance(axis, tuple) else (axis,))])  # hot: not by `axes_of`


def from_the_end(ndim: int, axis: Axes) -> tuple[int, ...]:
    """The same axes as negative numbers, which are right with and without a lane axis in front."""
    return tuple([a - ndim for a in axes_of(axis, ndim)])


def kept_shape(shape: tuple[int, ...], axis: Axes) -> tuple[int, ...]:
    """The shape of a reduction's result with the reduced axes kept as ones."""
    axes = axes_of(axis, len(shape))
    return tuple([1 if i in axes else n for i, n in enumerate(shape)])


def count(x: Any, axis: Axes) -> int:
    """How many elements of `x` each element of a reduction's result is made of."""
    if axis is None or x.ndim == 0:
        return int(x.size)
    return math.prod(x.shape[a] for a in (axis if isinstance(axis, tuple) else (axis,)))


def reduced_shape_rule(x: Any, axis: Axes, keepdims: bool) -> tuple[tuple[int, ...], Any] | None:
    """The shape rule of a reduction of floating numbers."""
    if x.dtype.kind not in "fc":
        return None
    axes = range(x.ndim) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, x.ndim)
    kept = kept_shape(x.shape, axis)
    return (kept if keepdims else tuple([n for i, n in enumerate(kept) if i not in axes])), x.dtype


def extreme_shape_rule(x: Any, axis: Axes, keepdims: bool) -> tuple[tuple[int, ...], Any] | None:
    """As `reduced_shape_rule`, but None for an empty array: the evaluation raises NumPy's error."""
    return reduced_shape_rule(x, axis, keepdims) if x.size else None


def _reduction_params(ndim: int, axis: Axes, keepdims: bool) -> tuple[tuple[int, ...], bool]:
    return behind_lanes(ndim, axis), keepdims


def _axis_params(ndim: int, axis: int) -> tuple[int]:
    return (axis % ndim + 1,)


REDUCES = Batching(params=_reduction_params, tangents=True)  # of an op with the params (axis, keepdims)
ALONG_AXIS = Batching(params=_axis_params, tangents=True)  # of an op with one axis as its only param
