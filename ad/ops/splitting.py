"""Ops that split arrays, put blocks together, insert, pad and tile."""
from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ad.engine.inspection import metadata_view
from ad.errors import MissingRule
from ad.ops.binding import has_array
from ad.ops.domains import REAL
from ad.ops.forms import case, composite
from ad.ops.indexing import getitem, plain_index, put_zeros, take
from ad.ops.joining import asarray, concatenate, raw
from ad.ops.selection import where
from ad.ops.shaping import broadcast_to, ravel, reshape, transpose

__all__ = [
    "append", "array_split", "block", "dsplit", "hsplit", "insert", "pad", "split", "tile", "vsplit",
]

# -- splitting ----------------------------------------------------------------------------------------


def _cut(name: str, numpy: Any, axis_of: Any, cases: Any) -> Any:
    """A public function that splits where NumPy's function does."""

    def cut(ary: Any, indices_or_sections: Any, axis: Any) -> list[Any]:
        cuts = plain_index(indices_or_sections)
        parts = (np.split if axis_of else numpy)(np.arange(ary.shape[axis]), cuts)
        before = (slice(None),) * axis
        return [getitem(ary, (*before, slice(int(p[0]), int(p[-1]) + 1) if len(p) else slice(0, 0))) for p in parts]

    def along_its_axis(ary: Any, indices_or_sections: Any) -> Any:
        numpy(metadata_view(ary), 1)  # raises for an axis out of range
        return cut(ary, indices_or_sections, axis_of(ary))

    def along_any(ary: Any, indices_or_sections: Any, axis: Any = 0) -> Any:
        return cut(ary, indices_or_sections, np.lib.array_utils.normalize_axis_index(axis, ary.ndim))

    public = along_its_axis if axis_of else along_any
    public.__name__ = name
    return composite(numpy, domain=REAL, cases=cases, view=True)(public)


split = _cut("split", np.split, None, (case((4,), 2), case((2, 5), [1, 3], axis=1), case((3,), [2, 9])))
array_split = _cut("array_split", np.array_split, None, (case((5,), 2), case((2, 5), 3, axis=-1), case((2,), 3)))
vsplit = _cut("vsplit", np.vsplit, lambda ary: 0, (case((4, 3), 2),))
hsplit = _cut("hsplit", np.hsplit, lambda ary: 0 if ary.ndim == 1 else 1, (case((4,), 2), case((2, 3), [1])))
dsplit = _cut("dsplit", np.dsplit, lambda ary: 2, (case((2, 2, 4), 2),))


# -- putting together ----------------------------------------------------------------------------------


@composite(np.block, domain=REAL, sequence=True, cases=(case([(2,), (3,)]), case([[(2, 2), (2, 1)], [(1, 2), (1, 1)]])))
def block(arrays: Any) -> Any:
    depth = _list_depth(arrays)
    ndim = max(depth, max(raw(a).ndim for a in _leaves(arrays)))
    return _block(arrays, depth, ndim)


def _list_depth(arrays: Any) -> Any:
    return 1 + _list_depth(arrays[0]) if isinstance(arrays, list) else 0


def _leaves(arrays: Any) -> Any:
    return [leaf for part in arrays for leaf in _leaves(part)] if isinstance(arrays, list) else [arrays]


def _block(arrays: Any, depth: Any, ndim: int) -> Any:
    if isinstance(arrays, list):
        return concatenate([_block(part, depth - 1, ndim) for part in arrays], -depth)
    array = raw(arrays)
    return reshape(array, (1,) * (ndim - array.ndim) + array.shape)


@composite(np.append, domain=REAL, cases=(case((3,), (2, 2)), case((2, 3), (2, 1), axis=1), case((2,), 1.0)))
def append(arr: Any, values: Any, axis: Any = None) -> Any:
    return concatenate([raw(arr), raw(values)], axis)


@composite(np.insert, domain=REAL, cases=(
    case((4,), 1, ()), case((4,), [1, 3], (2,)), case((2, 3), 1, (3,), axis=0), case((2, 3), [0, 2], (2, 2), axis=1),
    case((2, 3), 1, (2,), axis=1), case((2, 2), 3, ()),
))
def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    arr, values = raw(arr), raw(values)
    if values.dtype != arr.dtype:
        values = values.astype(arr.dtype)
    if axis is None:
        arr, axis = ravel(arr), 0
    axis = np.lib.array_utils.normalize_axis_index(axis, arr.ndim)
    n = arr.shape[axis]
    obj = plain_index(obj)
    count = len(np.insert(np.arange(n), obj, 0)) - n
    if np.ndim(obj) == 0 and not isinstance(obj, slice):
        values = reshape(values, (1,) * (arr.ndim - values.ndim) + values.shape)
        values = transpose(values, (*range(1, axis + 1), 0, *range(axis + 1, arr.ndim)))
        count = values.shape[axis]
        obj = [obj] * count
    values = broadcast_to(values, (*arr.shape[:axis], count, *arr.shape[axis + 1 :]))
    order = np.insert(np.arange(n), obj, np.arange(n, n + count))
    return take(concatenate([arr, values], axis), order, axis)


@composite(np.tile, domain=REAL, cases=(
    case((3,), 2), case((2, 3), reps=(2, 1)), case((3,), reps=(2, 2)), case((2, 3), 2), case((), 3), case((2, 2), 0),
))
def tile(A: Any, reps: Any) -> Any:
    reps = tuple(map(operator.index, reps)) if np.ndim(reps) else (operator.index(reps),)
    ndim = max(A.ndim, len(reps))
    reps = (1,) * (ndim - len(reps)) + reps
    shape = (1,) * (ndim - A.ndim) + A.shape
    apart = reshape(A, tuple(n for size in shape for n in (1, size)))
    spread = broadcast_to(apart, tuple(n for pair in zip(reps, shape) for n in pair))
    return reshape(spread, tuple(r * n for r, n in zip(reps, shape)))


# -- pad ------------------------------------------------------------------------------------------


def _framed(array: Any, pad_width: Any, constant_values: Any) -> Any:
    """The array padded with Arrays: two values for each axis, or what broadcasts to that."""
    values = ravel(broadcast_to(asarray(constant_values), (array.ndim, 2)))
    inside = np.full(array.shape, values.size)  # the number of each element's value, and of the array's place
    numbers = np.pad(inside, pad_width, constant_values=np.arange(values.size).reshape(-1, 2))
    inner = np.pad(np.arange(array.size).reshape(array.shape), pad_width)
    framed = getitem(concatenate([values, np.zeros(1)]), numbers)
    y = where(numbers == values.size, getitem(ravel(array), inner) if array.size else 0, framed)
    return y.astype(array.dtype)

_TAKES = ("edge", "reflect", "symmetric", "wrap", "empty")


@composite(np.pad, domain=REAL, cases=(
    case((3,), 2), case((2, 3), pad_width=((1, 0), (0, 2)), constant_values=3.0), case((4,), 2, mode="edge"),
    case((4,), 2, mode="reflect"), case((2, 3), 1, mode="wrap"), case((3,), 5, mode="symmetric"), case((), 0),
))
def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    if mode == "constant":
        if has_array((kwargs.get("constant_values"),)):
            return _framed(array, pad_width, **kwargs)
        width = np.broadcast_to(pad_width, (array.ndim, 2)).tolist()
        frame = np.pad(np.zeros(array.shape, array.dtype), pad_width, **kwargs)
        inner = tuple(slice(before, before + n) for (before, _), n in zip(width, array.shape))
        padded = put_zeros(array, inner, frame.shape)
        return padded + frame if frame.any() else padded
    if mode not in _TAKES or kwargs.get("reflect_type", "even") != "even":
        raise MissingRule(f"ad.pad has no rule for mode={mode!r}; it has for constant, {', '.join(_TAKES)}")
    order = np.pad(np.arange(array.size).reshape(array.shape), pad_width, "edge" if mode == "empty" else mode, **kwargs)
    return getitem(ravel(array), order)
