"""Indices that a recorded program computes: what is known of them before it runs."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from ad.ops.nondifferentiable import Hole, filled
from ad.ops.structure import NOTHING, Gather, Pairs, Scatter, blocks_of

__all__ = ["integers_of", "structure_of_gather", "structure_of_scatter"]


def integers_of(index: Any, parts: Any, ndim: int) -> Any:
    """The items of an index with holes, the rank its integers broadcast to, and the number of axes before those.

    None if a mask is among the items.
    """
    items = index if isinstance(index, tuple) else (index,)
    places = [i for i, item in enumerate(items) if not (item is None or item is Ellipsis or type(item) is slice)]
    found = [parts[items[i]] if type(items[i]) is Hole else np.asarray(items[i]) for i in places]
    if any(x.dtype == bool for x in found):
        return None
    axes = [ndim - sum(other is not None for other in items) + 1 if item is Ellipsis else 1
            for item in items[:places[0]]]
    together = places[-1] - places[0] + 1 == len(places)
    return items, max(x.ndim for x in found), sum(axes) if together else 0


def _axes_of_holes(index: Any, parts: Any, ndim: int) -> tuple[int, ...] | None:
    """The axes that an index picks from by holes whose values are not known; None if a mask is in the index."""
    items = index if isinstance(index, tuple) else (index,)
    if any(np.asarray(item).dtype == bool for item in items if isinstance(item, list | np.ndarray | bool)):
        return None
    axes, axis = [], 0
    for item in items:
        if type(item) is Hole and not isinstance(parts[item], np.ndarray):
            axes.append(axis)
        axis += ndim - sum(other is not None for other in items) + 1 if item is Ellipsis else item is not None
    return tuple(axes)


def _places(x: Any, index: Any, parts: Any) -> tuple[Any, Any, tuple[int, ...]] | None:
    """The elements of `x` that may come to each place of `x[index]`, flat.

    They are rows of an array: returned are that, the row for each place, and the axes along which a row has elements.
    """
    axes = _axes_of_holes(index, parts, len(x.shape))
    if axes is None:
        return None
    length = math.prod(x.shape[axis] for axis in axes)
    members = blocks_of(x, axes).reshape(math.prod(x.shape) // max(length, 1), length)
    row = np.empty(members.size, np.intp)
    row[members] = np.arange(len(members))[:, None]
    known = [part if isinstance(part, np.ndarray) else np.zeros(part.shape, np.intp) for part in parts]
    return members, row.reshape(x.shape)[filled(index, known)].reshape(-1), axes


def structure_of_gather(i: int, xs: Any, y: Any, index: Any) -> Any:
    """Each element of the output is one of those along the axes that holes index."""
    if i:
        return NOTHING
    found = _places(xs[0], index, xs[1:])
    if found is None:
        return None
    members, rows, axes = found
    if not axes:
        return Gather(rows)
    return Pairs(np.repeat(np.arange(len(rows)), members.shape[1]), members[rows].reshape(-1), axes)


def structure_of_scatter(i: int, xs: Any, y: Any, index: Any, _shape: Any) -> Any:
    """Each element of the input comes to one of the places along the axes that holes index."""
    if i:
        return NOTHING
    found, integers = _places(y, index, xs[1:]), integers_of(index, xs[1:], len(y.shape))
    if found is None or integers is None:
        return None
    members, rows, axes = found
    if not axes:
        return Scatter(rows)
    _, rank, before = integers
    return Pairs(members[rows].reshape(-1), np.repeat(np.arange(len(rows)), members.shape[1]),
                 tuple(range(before, before + rank)))
