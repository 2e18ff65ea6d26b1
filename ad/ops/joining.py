"""Ops that join and split arrays, and that repeat or roll their elements."""
import itertools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ad._core import Array, apply
from ad.engine.inspection import metadata_view
from ad.errors import MissingRule
from ad.ops.axes import behind_lanes
from ad.ops.binding import has_array
from ad.ops.domains import REAL
from ad.ops.elementwise import power
from ad.ops.forms import case, composite, linear, numpy_signature, stacked
from ad.ops.indexing import getitem, plain_index, put_zeros, take
from ad.ops.refusals import one_axis
from ad.ops.selection import where
from ad.ops.shape_rules import in_order
from ad.ops.shaping import atleast_1d, atleast_2d, atleast_3d, broadcast_to, expand_dims, ravel, reshape, transpose
from ad.ops.table import TABLE
from ad.ops.traits import Batching

__all__ = [
    "append", "array_split", "asarray", "block", "column_stack", "concatenate", "dsplit", "dstack", "hsplit", "hstack",
    "insert", "pad", "repeat", "roll", "split", "stack", "tile", "vsplit", "vstack",
]


def _raw(value: Any) -> Any:
    return value if isinstance(value, (Array, np.ndarray)) else asarray(value)


def _no_out(name: str, out: Any, dtype: Any, casting: Any) -> None:
    if casting != "same_kind":
        np.can_cast(float, float, casting)  # raises for a wrong casting rule
    if out is not None or dtype is not None:
        raise MissingRule(f"ad.{name} takes no out= and no dtype=: join first, then use astype")


# -- joining -------------------------------------------------------------------------------------


def _slab(y_bar: Any, i: int, xs: Any, axis: Any, ends: Any) -> Any:
    stop = ends[i]
    return getitem(y_bar, (slice(None),) * axis + (slice(stop - xs[i].shape[axis], stop),))


def _joined_powers(name: str) -> Callable[..., Any]:
    """The power of a joined array, from the powers of its parts, of which one is given."""

    def joined(known: Any, i: int, p: Any, xs: Any, params: Any) -> Any:
        op: Any = TABLE[name].op
        return apply(op, tuple([known if j == i else power(x, p) for j, x in enumerate(xs)]), params)

    return joined


def _joined_shape_rule(*args: Any) -> Any:
    *arrays, axis, ends = args
    shape = arrays[0].shape
    if len({x.shape[:axis] + x.shape[axis + 1:] for x in arrays}) > 1 or not in_order(*arrays):
        return None
    return (*shape[:axis], ends[-1], *shape[axis + 1:]), np.result_type(*arrays)


@linear(inputs=None, transpose=_slab, batching=Batching(params=lambda ndim, axis, ends: (axis + 1, ends)), domain=REAL,
        shape_rule=_joined_shape_rule, moves=True, carry=_joined_powers("concatenate"))
def _concatenate(arrays: Any, axis: Any, ends: Any) -> Any:
    return np.concatenate(arrays, axis)


@numpy_signature("concatenate", np.concatenate, cases=(
    case([(2,), (3,)]), case([(2, 3), (1, 3)]), case([(2, 3), (2, 1), (2, 2)], axis=-1),
    case([(2, 3), (4,)], axis=None), case([(3,), (0,)]), case([(3,)]), case([(2,), np.arange(3)]),
))
def concatenate(arrays: Any, axis: Any = 0, out: Any = None, dtype: Any = None, casting: Any = "same_kind") -> Any:
    arrays = tuple(arrays)
    if not has_array(arrays):
        return np.concatenate(arrays, axis, out, dtype=dtype, casting=casting)
    _no_out("concatenate", out, dtype, casting)
    arrays = tuple([_raw(a) for a in arrays])
    if axis is None:
        arrays, axis = tuple([reshape(a, (a.size,)) for a in arrays]), 0
    if not arrays[0].ndim:
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    axis = one_axis(axis, arrays[0].ndim)
    ends = tuple(itertools.accumulate([a.shape[axis] if a.ndim > axis else 0 for a in arrays]))
    return apply(_concatenate.op, arrays, (axis, ends))


def _stack_behind_lanes(ndim: int, axis: Any) -> tuple[Any]:
    return (axis + 1 if axis >= 0 else axis,)


def _stacked_shape_rule(*args: Any) -> Any:
    *arrays, axis = args
    shapes = {*map(np.shape, arrays)}
    if len(shapes) > 1:
        return None
    (shape,) = shapes
    return (*shape[:axis], len(arrays), *shape[axis:]), np.result_type(*map(np.asarray, arrays))


@linear(inputs=None, transpose=lambda y_bar, i, xs, axis: getitem(y_bar, (*(slice(None),) * axis, i) if axis else i),
        batching=Batching(params=_stack_behind_lanes), domain=REAL, shape_rule=_stacked_shape_rule,
        moves=True, carry=_joined_powers("stack"))
def _stack(arrays: Any, axis: Any) -> Any:
    if not any(np.ndim(a) for a in arrays):
        return np.array(arrays)
    return np.stack(arrays, axis)


@numpy_signature("stack", np.stack, cases=(
    case([(3,), (3,)]), case([(2, 3), (2, 3)], axis=-1), case([(), (), ()]), case([(2, 3)], axis=1), case([(), 2.0]),
))
def stack(arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
    arrays = tuple(arrays)
    if not has_array(arrays):
        return np.stack(arrays, axis, out, dtype=dtype, casting=casting)
    _no_out("stack", out, dtype, casting)
    arrays = tuple([a if isinstance(a, (int, float)) else _raw(a) for a in arrays])
    if axis or type(axis) is not int:
        axis = np.lib.array_utils.normalize_axis_index(axis, getattr(arrays[0], "ndim", 0) + 1)
    return apply(_stack.op, arrays, (axis,))


def asarray(value: Any) -> Any:
    """An array of nested lists that may hold Arrays; those keep their derivatives.

    Parameters
    ----------
    value : array_like, or nested lists of Arrays and numbers

    Returns
    -------
    Array, or ndarray if no part of `value` is an Array
    """
    found = stacked(value)
    return found if isinstance(found, (Array, np.ndarray)) else np.asarray(found)


def _joined_by(numpy: Any, shaped: Any, axis: Any, cases: Any) -> Any:
    def join(tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
        _no_out(numpy.__name__, None, dtype, casting)
        arrays = [shaped(_raw(a)) for a in tup]
        return concatenate(arrays, axis(arrays[0]))

    join.__name__ = numpy.__name__
    return composite(numpy, domain=REAL, cases=cases, sequence=True)(join)


_PAIRS = (case([(3,), (3,)]), case([(2, 3), (2, 3)]), case([(), ()]))
vstack = _joined_by(np.vstack, atleast_2d, lambda first: 0, (*_PAIRS, case([(3,), (2, 3)])))
hstack = _joined_by(np.hstack, atleast_1d, lambda first: 0 if first.ndim == 1 else 1, (*_PAIRS, case([(2, 1), (2, 3)])))
dstack = _joined_by(np.dstack, atleast_3d, lambda first: 2, (*_PAIRS, case([(2, 3), (2, 3, 2)])))


@composite(np.column_stack, domain=REAL, sequence=True, cases=(case([(3,), (3,)]), case([(2,), (2, 3)])))
def column_stack(tup: Any) -> Any:
    arrays = [_raw(a) for a in tup]
    return concatenate([transpose(atleast_2d(a)) if a.ndim < 2 else a for a in arrays], 1)


@composite(np.block, domain=REAL, sequence=True, cases=(case([(2,), (3,)]), case([[(2, 2), (2, 1)], [(1, 2), (1, 1)]])))
def block(arrays: Any) -> Any:
    depth = _list_depth(arrays)
    ndim = max(depth, max(_raw(a).ndim for a in _leaves(arrays)))
    return _block(arrays, depth, ndim)


def _list_depth(arrays: Any) -> Any:
    return 1 + _list_depth(arrays[0]) if isinstance(arrays, list) else 0


def _leaves(arrays: Any) -> Any:
    return [leaf for part in arrays for leaf in _leaves(part)] if isinstance(arrays, list) else [arrays]


def _block(arrays: Any, depth: Any, ndim: int) -> Any:
    if isinstance(arrays, list):
        return concatenate([_block(part, depth - 1, ndim) for part in arrays], -depth)
    array = _raw(arrays)
    return reshape(array, (1,) * (ndim - array.ndim) + array.shape)


@composite(np.append, domain=REAL, cases=(case((3,), (2, 2)), case((2, 3), (2, 1), axis=1), case((2,), 1.0)))
def append(arr: Any, values: Any, axis: Any = None) -> Any:
    return concatenate([_raw(arr), _raw(values)], axis)


@composite(np.insert, domain=REAL, cases=(
    case((4,), 1, ()), case((4,), [1, 3], (2,)), case((2, 3), 1, (3,), axis=0), case((2, 3), [0, 2], (2, 2), axis=1),
    case((2, 3), 1, (2,), axis=1), case((2, 2), 3, ()),
))
def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    arr, values = _raw(arr), _raw(values)
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


# -- repeating and rolling ------------------------------------------------------------------------------


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


@composite(np.repeat, domain=REAL, method=True, cases=(
    case((3,), 2), case((2, 3), 2), case((2, 3), 2, axis=1), case((3,), [1, 0, 2]), case((2, 3), [2, 1], axis=0),
    case((), 3), case((), 2, axis=0),
))
def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    repeats = np.asarray(plain_index(repeats)) if isinstance(repeats, Array) else plain_index(repeats)
    if axis is None or not a.ndim:
        a, axis = ravel(a), axis or 0
    axis = one_axis(axis, a.ndim)
    if np.size(repeats) != 1:
        return take(a, np.repeat(np.arange(a.shape[axis]), repeats), axis)
    n, count = a.shape[axis], np.repeat(np.empty(2, bool), repeats).size // 2
    spread = broadcast_to(expand_dims(a, axis + 1), (*a.shape[: axis + 1], count, *a.shape[axis + 1 :]))
    return reshape(spread, (*a.shape[:axis], n * count, *a.shape[axis + 1 :]))


def _back(shift: Any) -> Any:
    return tuple(-s for s in shift)


def _pull_roll(y_bar: Any, x: Any, shift: Any, axis: Any) -> Any:
    return apply(_roll.op, (y_bar,), (_back(shift), axis))


@linear(transpose=_pull_roll, domain=REAL, moves=True, carry="moved",
        shape_rule=lambda x, shift, axis: (x.shape, x.dtype) if axis and in_order(x) else None,
        batching=Batching(params=lambda ndim, shift, axis: (shift, behind_lanes(ndim, axis))))
def _roll(a: Any, shift: Any, axis: Any) -> Any:
    return np.roll(a, shift, axis)


@numpy_signature("roll", np.roll, cases=(
    case((4,), 1), case((2, 3), -1), case((2, 3), 2, axis=1), case((2, 3), shift=(1, 2), axis=(0, 1)), case((), 1),
    case((2, 3), 1, axis=(0, 1)), case((0, 3), 1, axis=0),
))
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    shift, a = plain_index(shift), stacked(a)
    if not isinstance(a, Array):
        return np.roll(a, shift, axis)
    if axis is None:
        return reshape(roll(ravel(a), shift, 0), a.shape)
    np.lib.array_utils.normalize_axis_tuple(axis, a.ndim, allow_duplicate=True)
    shifts, axes = np.broadcast_arrays(np.atleast_1d(shift), axis)
    return apply(_roll.op, (a,), (tuple(shifts.tolist()), tuple(axes.tolist())))


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
