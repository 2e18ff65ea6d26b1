"""Ops that join arrays, repeat or roll their elements, and fill an array with one."""
from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ad._core import Array, apply
from ad.errors import MissingRule
from ad.ops.axes import behind_lanes
from ad.ops.binding import has_array
from ad.ops.domains import REAL
from ad.ops.forms import case, composite, linear, numpy_signature, stacked
from ad.ops.indexing import getitem, plain_index, take
from ad.ops.nondifferentiable import evaluate
from ad.ops.refusals import one_axis
from ad.ops.shape_rules import in_order
from ad.ops.shaping import (
    astype,
    atleast_1d,
    atleast_2d,
    atleast_3d,
    broadcast_to,
    expand_dims,
    ravel,
    reshape,
    transpose,
)
from ad.ops.structure import MOVES
from ad.ops.table import TABLE
from ad.ops.traits import Batching
from ad.ops.ufuncs import power

__all__ = [
    "asarray", "column_stack", "concatenate", "dstack", "full_like", "hstack", "repeat", "roll", "stack", "vstack",
]


def raw(value: Any) -> Any:
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
        shape_rule=_joined_shape_rule, moves=True, carry=_joined_powers("concatenate"), structure=MOVES)
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
    arrays = tuple([raw(a) for a in arrays])
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
        moves=True, carry=_joined_powers("stack"), structure=MOVES)
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
    arrays = tuple([a if isinstance(a, (int, float)) else raw(a) for a in arrays])
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


@composite(np.full_like, domain=REAL, cases=(case((2, 3), ()), case((2, 3), (3,)), case((2,), (), shape=(1, 2))))
def full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None, *,
    device: Any = None
) -> Any:
    if not isinstance(fill_value, Array):
        return evaluate(np.full_like, (a, fill_value, dtype, order, subok, shape), {})
    np.full_like(np.empty(0), 0.0, dtype, order, subok, device=device)  # raises for a wrong option
    a = asarray(a)
    return broadcast_to(astype(fill_value, a.dtype if dtype is None else dtype), a.shape if shape is None else shape)


def _joined_by(numpy: Any, shaped: Any, axis: Any, cases: Any) -> Any:
    def join(tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
        _no_out(numpy.__name__, None, dtype, casting)
        arrays = [shaped(raw(a)) for a in tup]
        return concatenate(arrays, axis(arrays[0]))

    join.__name__ = numpy.__name__
    return composite(numpy, domain=REAL, cases=cases, sequence=True)(join)


_PAIRS = (case([(3,), (3,)]), case([(2, 3), (2, 3)]), case([(), ()]))
vstack = _joined_by(np.vstack, atleast_2d, lambda first: 0, (*_PAIRS, case([(3,), (2, 3)])))
hstack = _joined_by(np.hstack, atleast_1d, lambda first: 0 if first.ndim == 1 else 1, (*_PAIRS, case([(2, 1), (2, 3)])))
dstack = _joined_by(np.dstack, atleast_3d, lambda first: 2, (*_PAIRS, case([(2, 3), (2, 3, 2)])))


@composite(np.column_stack, domain=REAL, sequence=True, cases=(case([(3,), (3,)]), case([(2,), (2, 3)])))
def column_stack(tup: Any) -> Any:
    arrays = [raw(a) for a in tup]
    return concatenate([transpose(atleast_2d(a)) if a.ndim < 2 else a for a in arrays], 1)


# -- repeating and rolling ------------------------------------------------------------------------------


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


@linear(transpose=_pull_roll, domain=REAL, moves=True, carry="moved", structure=MOVES,
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
