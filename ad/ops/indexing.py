"""Selection of elements, and its transpose, which puts elements into an array of zeros."""
from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ad import trees
from ad._core import Array, apply
from ad.engine.array import is_traced
from ad.engine.inspection import concrete, is_any_tracing
from ad.engine.kernels import add_rows
from ad.engine.writing import link
from ad.errors import MissingRule
from ad.ops.batching import over_lanes
from ad.ops.computed_indices import integers_of, structure_of_gather, structure_of_scatter
from ad.ops.domains import REAL
from ad.ops.forms import case, composite, custom, linear, numpy_signature
from ad.ops.nondifferentiable import Hole, evaluate, filled, take_out
from ad.ops.refusals import one_axis, refuse
from ad.ops.shape_rules import ALIASES_INPUT, in_order
from ad.ops.shaping import astype, broadcast_to, moveaxis, ravel, reshape, swapaxes
from ad.ops.structure import MOVES, SUMS
from ad.ops.traits import Batching

__all__ = [
    "behind_lanes", "bincount", "compress", "delete", "diag", "diagflat", "diagonal", "extract", "flip", "fliplr",
    "flipud", "getitem", "has_repeats", "is_basic", "plain_index", "put_zeros", "rot90", "take", "take_along_axis",
    "trace", "with_bounds",
]

# -- selection and its transpose --------------------------------------------------------------------------


def is_basic(index: Any) -> bool:
    """Whether an index gives a view: it has slices, integers, None and an ellipsis only."""
    for part in index if isinstance(index, tuple) else (index,):
        if not (type(part) is slice or part is None or part is Ellipsis or isinstance(part, (int, np.integer))):
            return False
        if isinstance(part, bool):
            return False
    return True


def has_repeats(index: Any, shape: tuple[int, ...]) -> bool:
    """Whether an index may pick an element more than once."""
    if is_basic(index) or _is_mask(index):
        return False
    picked = np.arange(math.prod(shape)).reshape(shape)[index]
    return bool(np.unique(picked).size < picked.size)


def behind_lanes(index: Any) -> Any:
    """The index behind a lane axis; None if it would put the lanes elsewhere."""
    parts = index if isinstance(index, tuple) else (index,)
    if not is_basic(index):
        advanced = [i for i, part in enumerate(parts) if not (part is None or part is Ellipsis or type(part) is slice)]
        if advanced[-1] - advanced[0] + 1 != len(advanced):
            return None
    return (slice(None), *parts)


def _getitem_lanes(ndim: int, index: Any) -> Any:
    shifted = behind_lanes(index)
    return None if shifted is None else (shifted,)


def _shape_rule(x: Any, index: Any) -> Any:
    """A view, or a copy whose shape is that of the same index applied to another array of this shape."""
    picked = np.broadcast_to(np.False_, x.shape)[index]
    if picked.ndim and is_basic(index):
        return ALIASES_INPUT
    return (picked.shape, x.dtype) if picked.flags.c_contiguous and in_order(x) else None


def _pull_getitem(y_bar: Any, x: Any, index: Any) -> Any:
    return put_zeros(y_bar, index, x.shape)


def _write_elements(x: Any, y: Any, index: Any) -> None:
    x[index] = y


@linear(transpose=_pull_getitem, domain=REAL, batching=Batching(params=_getitem_lanes),
        shape_rule=_shape_rule, moves=True, carry="moved", write=_write_elements, structure=MOVES)
def _getitem(x: Any, index: Any) -> Any:
    return x[index]


# An index that a program computes while it is being recorded is an input of the op, not a parameter.


def _meeting_lanes(values: Any, xs: Any, rank: Any) -> tuple[Any, Any, Any]:
    """The number of lanes, the indices with lanes in this rank behind the lane axis, and an index of all lanes."""
    k = next(value.shape[0] for value, x in zip(values, xs) if value.ndim > x.ndim)
    parts = [reshape(part, (k, *(1,) * (rank - x.ndim), *x.shape)) if part.ndim > x.ndim else part
             for part, x in zip(values[1:], xs[1:])]
    return k, parts, np.arange(k).reshape(k, *(1,) * rank)


def _gather_lanes(values: Any, xs: Any, _y: Any, index: Any) -> Any:
    found = integers_of(index, xs[1:], xs[0].ndim)
    if found is None:
        return None
    items, rank, before = found
    _, parts, lanes = _meeting_lanes(values, xs, rank)
    if values[0].ndim == xs[0].ndim:
        return moveaxis(gather((values[0], *parts), items), before, 0)
    y = gather((values[0], *parts), (lanes, *items))  # right behind the lanes comes what the integers give
    return moveaxis(y, range(1, 1 + rank), range(1 + before, 1 + before + rank))


def _scatter_lanes(values: Any, xs: Any, _y: Any, index: Any, shape: Any) -> Any:
    found = integers_of(index, xs[1:], len(shape))
    if found is None:
        return None
    items, rank, before = found
    k, parts, lanes = _meeting_lanes(values, xs, rank)
    x = values[0] if values[0].ndim > xs[0].ndim else broadcast_to(values[0], (k, *xs[0].shape))
    x = moveaxis(x, range(1 + before, 1 + before + rank), range(1, 1 + rank))
    return scatter((x, *parts), (lanes, *items), (k, *shape))


def _push(function: Any, lanes: Any, n_params: Any) -> Callable[..., Any]:
    """The forward rule of an op that is linear in its first input: the op again, over lanes where there are any."""

    def push(x_dot: Any, _x: Any, *rest: Any) -> Any:
        *parts, y = rest[:-n_params]
        params = rest[-n_params:]
        if x_dot.ndim > _x.ndim:
            found = lanes((x_dot, *parts), (_x, *parts), y, *params)
            if found is not None:
                return found
        return over_lanes(lambda dot: function((dot, *parts), *params), (x_dot,), (_x,))

    return push


def _gather_again(arrays: Any, index: Any) -> Any:
    return gather(arrays, index)


def _pull_gather(y_bar: Any, _x: Any, *rest: Any) -> Any:
    return scatter((y_bar, *rest[:-2]), rest[-1], _x.shape)


@custom(inputs=None, domain=REAL, batching=Batching(rule=_gather_lanes, tangents=True), may_raise=True,
        structure=structure_of_gather,
        conjugates=False, jvp=_push(_gather_again, _gather_lanes, 1), vjp=_pull_gather, cases=(
            case([(5,), np.array([0, 0, 3])], index=Hole(0)),
            case([(3, 4), np.array(1), np.array([2, 0])], index=(Hole(0), Hole(1))),
            case([(3, 4), np.array([2, 0])], index=(slice(None), Hole(0))),
        ))
def gather(arrays: Any, index: Any) -> Any:
    """`x[index]`, with the holes in the index filled by the inputs that follow x: integers and arrays of integers."""
    x, *parts = arrays
    return x[filled(index, parts)]


def _scatter_again(arrays: Any, index: Any, shape: Any) -> Any:
    return scatter(arrays, index, shape)


@custom(inputs=None, domain=REAL, batching=Batching(rule=_scatter_lanes, tangents=True),
        structure=structure_of_scatter,
        conjugates=False, jvp=_push(_scatter_again, _scatter_lanes, 2),
        vjp=lambda y_bar, _x, *rest: gather((y_bar, *rest[:-3]), rest[-2]), cases=(
            case([(3,), np.array([0, 0, 3])], index=Hole(0), shape=(5,)),
            case([(4,), np.array(1)], index=(Hole(0), slice(None)), shape=(3, 4)),
        ))
def scatter(arrays: Any, index: Any, shape: Any) -> Any:
    """The transpose of `gather`."""
    x, *parts = arrays
    return _put_zeros(x, filled(index, parts), shape)


def _is_position(x: Any) -> bool:
    """Whether a recorded program computes these indices. A mask must be known: the shape depends on it."""
    return is_traced(x) and x.dtype.kind in "iu"


def plain_index(index: Any) -> Any:
    """The index with ndarrays and numbers in the place of Arrays."""
    if isinstance(index, Array):
        return concrete(index)
    if type(index) is tuple:
        return tuple([plain_index(part) for part in index])
    if type(index) is list:
        return np.array([plain_index(part) for part in index], dtype=None if index else np.intp)
    return index


def with_bounds(part: Any) -> Any:
    """A part of an index; a slice with integers in the place of Arrays, whose values a recording guards."""
    if type(part) is not slice:
        return part
    bounds = part.start, part.stop, part.step
    if not any(isinstance(bound, Array) for bound in bounds):
        return part
    return slice(*[operator.index(bound) if isinstance(bound, Array) else bound for bound in bounds])


_MASK = np.array([[True, False, True], [False, False, True]])


@numpy_signature("getitem", cases=(
    case((5,), slice(1, None)), case((5,), slice(None, None, -2)), case((3, 4), 1),
    case((3, 4), index=(slice(None), None, -1)), case((5,), np.array([0, 0, 3])), case((5,), [1, -1]),
    case((3, 4), index=(np.array([0, 2]), np.array([1, 1]))),
    case((4,), np.array([True, False] * 2)), case((2, 3), _MASK),
    case((2, 3, 4), index=(np.array([0, 1]), slice(None), np.array([1, 1]))), case((3,), ...), case((), index=()),
    case((), None), case((2, 3, 4), index=(slice(None), np.array([0, 2, 2]), 1)),
    case((2, 3, 4), index=(..., np.array([[0, 1], [3, 3]]))),
    case((3,), slice(3, None)), case((3,), np.zeros(3, bool)), case((2, 3), index=(0, 2)), case((), True),
))
def getitem(x: Any, index: Any) -> Any:
    """`x[index]`, basic or fancy."""
    given = index
    try:
        if type(index) is slice:
            if is_any_tracing():
                index = with_bounds(index)
        elif type(index) is not int:
            if is_any_tracing():
                if type(index) is tuple:
                    index = tuple(map(with_bounds, index))
                index, parts = take_out(index, _is_position)
                if parts:
                    return _gathered(x, parts, index, given)
            index = plain_index(index)
        return apply(_getitem.op, (x,), (index,))
    except Exception:
        refuse(operator.getitem, (x, given), {})
        raise


def _put_lanes(x_dots: Any, xs: Any, _y: Any, index: Any, shape: Any) -> Any:
    (x_dot,) = x_dots
    shifted = behind_lanes(index)
    if shifted is not None:
        return put_zeros(x_dot, shifted, (x_dot.shape[0], *shape))
    return moveaxis(put_zeros(moveaxis(x_dot, 0, -1), index, (*shape, x_dot.shape[0])), -1, 0)


@linear(transpose=lambda y_bar, x, index, shape: getitem(y_bar, index), batching=Batching(rule=_put_lanes), domain=REAL,
        moves=True, shape_rule=lambda x, index, shape: (shape, np.asarray(x).dtype), structure=SUMS, cases=(
    case((4,), index=slice(1, None), shape=(5,)), case((3,), index=np.array([0, 0, 3]), shape=(5,)),
    case((2, 3), index=(np.array([0, 1]), slice(None), np.array([1, 1])), shape=(2, 3, 4)),
    case((), index=(1, 2), shape=(2, 3)),
))
def _put_zeros(x: Any, index: Any, shape: Any) -> Any:
    out = np.zeros(shape, np.asarray(x).dtype)
    if is_basic(index) or _is_mask(index):
        out[index] = x
    else:
        _add_at(out, index, x)
    return out


def _add_at(out: Any, index: Any, x: Any) -> None:
    """out[index] += x, where an element may be picked more than once: by a native loop if the index picks rows."""
    parts = index if isinstance(index, tuple) else (index,)
    rows = out.reshape(-1, *out.shape[len(parts):]) if out.size else out
    try:
        numbers = parts[0] if len(parts) == 1 else np.ravel_multi_index(parts, out.shape[:len(parts)])
    except (TypeError, ValueError):
        numbers = None  # there are others than integers, or some out of bounds, or from the end
    if not add_rows(rows, numbers, x):
        np.add.at(out, index, x)


def _is_mask(index: Any) -> bool:
    return isinstance(index, np.ndarray) and index.dtype == bool


@numpy_signature("put_zeros")
def put_zeros(x: Any, index: Any, shape: Any) -> Any:
    """Zeros of this shape, with `x` added at `index` (repeated indices add up)."""
    return apply(_put_zeros.op, (x,), (index, shape))


def _gathered(x: Any, parts: Any, index: Any, given: Any) -> Any:
    """`x[given]`, where a program that is being recorded computes the parts that fill the holes in the index."""
    y = apply(gather.op, (x, *parts), (index,))
    numbers = not any(part.ndim for part in parts) and is_basic(trees.map_nested(_zero_in_hole, index))
    if numbers and (y.ndim or _has_ellipsis(index)) and isinstance(x, Array):
        link(y, x, _getitem.op, (given,))
    return y


def _has_ellipsis(index: Any) -> bool:
    """Whether an index gives a view of a single element, too, instead of a number."""
    return any(part is Ellipsis for part in (index if isinstance(index, tuple) else (index,)))


def _zero_in_hole(part: Any) -> Any:
    return 0 if type(part) is Hole else part


# -- take ---------------------------------------------------------------------------------------------


def _indices(indices: Any) -> Any:
    """An array of indices: an Array if a program that is being recorded computes it, else an ndarray."""
    if isinstance(indices, Array) and _is_position(indices):
        return indices
    return np.asarray(plain_index(indices))


def _positions(indices: Any, n: Any, mode: Any) -> Any:
    if mode not in ("raise", "wrap", "clip"):
        np.take(np.zeros(1), 0, mode=mode)
        raise MissingRule(f"ad.take: mode is 'raise', 'wrap' or 'clip', not {mode!r}")
    given, indices = indices, _indices(indices)
    if indices.dtype == bool:  # no mask, but elements 0 and 1
        indices = indices.astype(np.intp)
    if indices.dtype.kind not in "iu":
        indices = np.take(np.arange(n), indices if isinstance(given, Array) else given, mode=mode)
    if mode == "wrap":
        return indices % n
    return np.clip(indices, 0, n - 1) if mode == "clip" else indices


@composite(np.take, domain=REAL, method=True, cases=(
    case((5,), np.array([0, 2, 2])), case((2, 3), np.array([[1, 5], [0, 0]])), case((2, 3), [2, 0], axis=1),
    case((2, 3), 1, axis=0), case((3,), np.array([4, -1]), mode="wrap"), case((4,), np.array([True, False, True])),
    case((2, 3), np.array([5, -9]), 1, mode="clip"), case((), np.array([0, 0]), axis=-1),
))
def take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    if out is not None:
        raise TypeError("ad.take takes no out=: arrays are not changed in place")
    if axis is None or not a.ndim:
        a, axis = ravel(a), axis or 0
    axis = one_axis(axis, a.ndim)
    return getitem(a, (*(slice(None),) * axis, _positions(indices, a.shape[axis], mode)))


@composite(np.take_along_axis, domain=REAL, cases=(
    case((2, 3), np.array([[2, 0], [1, 1]]), axis=1), case((4,), np.array([3, 3, 0]), axis=None),
    case((2, 3), np.array([[1, 0, 1]]), axis=0),
))
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    indices = _indices(indices) if indices.ndim else indices
    if indices.dtype.kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    if axis is None:
        arr, axis = ravel(arr), 0
    if arr.ndim != indices.ndim:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    axis = one_axis(axis, arr.ndim)
    grid = [np.arange(n).reshape((-1,) + (1,) * (arr.ndim - i - 1)) for i, n in enumerate(arr.shape)]
    grid[axis] = indices
    return getitem(arr, tuple(grid))


@composite(np.compress, domain=REAL, cases=(case([True, False, True], (3, 2), axis=0), case([True, False], (3,))))
def compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    condition = plain_index(condition)
    if np.ndim(condition) != 1:
        raise ValueError("ad.compress: the condition has one axis")
    return take(a, np.flatnonzero(condition), axis, out)


@composite(np.extract, domain=REAL, cases=(case(_MASK, (2, 3)),))
def extract(condition: Any, arr: Any) -> Any:
    return take(arr, np.flatnonzero(plain_index(condition)))


@composite(np.delete, domain=REAL, cases=(case((5,), [1, 3]), case((2, 3), 1, axis=1), case((5,), slice(0, 5, 2))))
def delete(arr: Any, obj: Any, axis: Any = None) -> Any:
    if axis is None:
        arr, axis = ravel(arr), 0
    return take(arr, np.delete(np.arange(arr.shape[axis]), plain_index(obj)), axis)


@composite(np.bincount, domain=REAL, cases=(
    case(np.array([0, 2, 2]), (3,)), case(np.array([1, 0]), (2,), minlength=4),
))
def bincount(x: Any, weights: Any = None, minlength: Any = 0) -> Any:
    if weights is None:
        return evaluate(np.bincount, (x, None, minlength), {})
    x, weights = np.asarray(plain_index(x)), weights if isinstance(weights, Array) else np.asarray(weights)
    counts = np.bincount(x, minlength=minlength)
    if weights.shape != x.shape:
        raise ValueError("The weights and list don't have the same length.")
    if not np.can_cast(weights.dtype, np.float64):
        raise TypeError("ad.bincount: the weights are real numbers")
    return put_zeros(astype(weights, np.float64), x, counts.shape) if x.size else counts


# -- reversed axes --------------------------------------------------------------------------------------


@composite(np.flip, domain=REAL, view=True, cases=(
    case((2, 3)), case((2, 3), axis=1), case((2, 3, 4), axis=(0, -1)),
))
def flip(m: Any, axis: Any = None) -> Any:
    axes = range(m.ndim) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, m.ndim)
    return getitem(m, tuple(slice(None, None, -1) if i in axes else slice(None) for i in range(m.ndim)))


@composite(np.flipud, domain=REAL, view=True, cases=(case((2, 3)),))
def flipud(m: Any) -> Any:
    return flip(m, 0)


@composite(np.fliplr, domain=REAL, view=True, cases=(case((2, 3)),))
def fliplr(m: Any) -> Any:
    return flip(m, 1)


@composite(np.rot90, domain=REAL, view=True, cases=(
    case((2, 3)), case((2, 3), k=2), case((2, 3, 4), k=-1, axes=(1, 2)),
))
def rot90(m: Any, k: Any = 1, axes: Any = (0, 1)) -> Any:
    first, second = np.lib.array_utils.normalize_axis_tuple(axes, m.ndim)
    k %= 4
    if k == 0:
        return getitem(m, ...)
    if k == 2:
        return flip(m, (first, second))
    return swapaxes(flip(m, second), first, second) if k == 1 else flip(swapaxes(m, first, second), second)


# -- diagonals ------------------------------------------------------------------------------------------


def _diagonal_index(rows: Any, columns: Any, offset: Any) -> tuple[Any, Any]:
    n = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    i = np.arange(n)
    return i - min(offset, 0), i + max(offset, 0)


@composite(np.diagonal, domain=REAL, view=True, method=True, cases=(
    case((3, 3)), case((2, 3), offset=1), case((2, 3, 4), axis1=1, axis2=2), case((2, 3, 4), -1, 2, 0), case((2, 3), 9),
))
def diagonal(a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1) -> Any:
    if a.ndim < 2:
        raise ValueError("diag requires an array of at least two dimensions")
    a = moveaxis(a, (axis1, axis2), (-2, -1))
    rows, columns = a.shape[-2:]
    index = (..., *_diagonal_index(rows, columns, offset))
    y = getitem(a, index)
    if isinstance(a, Array):
        link(y, a, _getitem.op, (index,), is_read_only=True)
    return y


@composite(np.trace, domain=REAL, method=True, cases=(case((3, 3)), case((2, 3), 1), case((2, 3, 4), 0, 1, 2)))
def trace(a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1, dtype: Any = None, out: Any = None) -> Any:
    return diagonal(a, offset, axis1, axis2).sum(-1, dtype, out)


@composite(np.diag, domain=REAL, view=True, cases=(
    case((3,)), case((2,), k=-1), case((3, 3)), case((2, 3), k=1), case((0,)),
))
def diag(v: Any, k: Any = 0) -> Any:
    if v.ndim == 2:
        return diagonal(v, k)
    if v.ndim != 1:
        raise ValueError("Input must be 1- or 2-d.")
    n = v.size + abs(k)
    return put_zeros(v, _diagonal_index(n, n, k), (n, n))


@composite(np.diagflat, domain=REAL, cases=(case((2, 2)), case((3,), k=1)))
def diagflat(v: Any, k: Any = 0) -> Any:
    return diag(ravel(v), k)
