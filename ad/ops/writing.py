"""Elements that are written: the op `setitem`, and the functions and methods of NumPy that change an array in place."""
from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from ad._core import Array, constant
from ad.engine.array import is_traced
from ad.engine.inspection import as_array, is_any_tracing
from ad.engine.public_functions import add_method
from ad.engine.writing import assign, resize
from ad.ops.domains import REAL
from ad.ops.forms import case, linear, stacked
from ad.ops.indexing import behind_lanes, getitem, has_repeats, is_basic, plain_index, take, with_bounds
from ad.ops.joining import concatenate
from ad.ops.refusals import as_index, refuse
from ad.ops.selection import where
from ad.ops.shape_rules import in_order
from ad.ops.shaping import as_dtype, astype, broadcast_to, ravel, reshape
from ad.ops.structure import MOVES
from ad.ops.traits import Batching

__all__ = ["WRITERS", "prepare_write", "setitem", "write_at", "writes_to_array"]

_Function: TypeAlias = Callable[..., Any]

# -- the op ---------------------------------------------------------------------------------------


def _setitem_lanes(_ndim: int, index: Any) -> Any:
    shifted = behind_lanes(index)
    return None if shifted is None else (shifted,)


def _rest(y_bar: Any, _x: Any, _values: Any, index: Any) -> Any:
    return setitem(y_bar, np.zeros(_picked_shape(y_bar.shape, index), y_bar.dtype), index)


def _written(y_bar: Any, x: Any, _values: Any, index: Any) -> Any:
    picked = getitem(y_bar, index)
    if not has_repeats(index, x.shape):
        return picked
    order = np.arange(picked.size).reshape(picked.shape)
    last = np.zeros(x.shape, np.intp)
    last[index] = order  # of values for one element, NumPy keeps the last
    return where(last[index] == order, picked, 0.0)


@linear(inputs=2, transpose=(_rest, _written), batching=Batching(params=_setitem_lanes), domain=REAL, structure=MOVES,
        shape_rule=lambda x, values, index: (x.shape, x.dtype) if in_order(x) else None, cases=(
            case((5,), (2,), index=slice(1, 3)), case((5,), (), index=-1), case((3, 4), (), index=(1, 2)),
            case((3, 4), (3,), index=(slice(None), 0)), case((3, 4), (2, 4), index=np.array([0, 2])),
            case((5,), (3,), index=np.array([0, 3, 0])), case((2, 2), (2,), index=np.eye(2, dtype=bool)),
            case((3,), (3,), index=...), case((), (), index=()),
        ))
def setitem(x: Any, values: Any, index: Any) -> Any:
    """A copy of `x` in which the elements at `index` are `values`, which have the shape of `x[index]`."""
    y = np.array(x)
    y[index] = values
    return y


def _picked_shape(shape: tuple[int, ...], index: Any) -> tuple[int, ...]:
    return np.shape(np.broadcast_to(np.False_, shape)[index])


# -- x[index] = value -----------------------------------------------------------------------------


def prepare_write(x: Array, index: Any, value: Any) -> tuple[Any, Array]:
    """Return index and value of `x[index] = value` as `setitem` takes them.

    The index is None if a program that is being recorded computes a mask: the value is then that of all of `x`.
    """
    given = index, value
    try:
        value = stacked(value)
        index = (None,) if index is None else index
        if is_any_tracing():
            if isinstance(index, Array) and index.dtype == bool and is_traced(index) and not np.ndim(value):
                mask = reshape(index, index.shape + (1,) * (x.ndim - index.ndim))
                return None, as_dtype(where(mask, _in_shape(value, x.dtype, (), False), x), x.dtype)
            index = tuple(map(with_bounds, index)) if type(index) is tuple else with_bounds(index)
        if type(index) is not int:
            index = plain_index(index)
        picked = np.broadcast_to(np.False_, x.shape)[index]
        is_element = not isinstance(picked, np.ndarray)
        if not is_element and not is_basic(index) and not isinstance(value, Array):
            value = np.asarray(value, x.dtype)  # as NumPy: in lists with too many brackets, for example
        return index, _fitted(x, _in_shape(value, x.dtype, picked.shape, is_element), picked.shape)
    except Exception:
        refuse(_write_plain, (x, *given), {})
        raise


def _in_shape(value: Any, dtype: Any, shape: tuple[int, ...], is_element: bool) -> Array:
    """An Array of what is written: a value that is no Array is converted by NumPy, with its errors."""
    if isinstance(value, Array):
        if is_element and value.ndim:
            raise ValueError("setting an array element with a sequence.")
        return value
    converted = np.empty((1,) if is_element else shape, dtype)
    converted[0 if is_element else ...] = value
    return as_array(converted.reshape(shape))


def _write_plain(x: Any, index: Any, value: Any) -> None:
    x[index] = value


def _lifted(value: Any) -> Array:
    """An Array of array_like data, which may hold Arrays."""
    value = stacked(value)
    return value if isinstance(value, Array) else constant(np.asarray(value))


def _fitted(x: Array, value: Array, shape: tuple[int, ...]) -> Array:
    """The value in this shape, and as a real number where `x` holds no others."""
    if value.dtype.kind == "c" and x.dtype.kind != "c":
        warnings.warn("Casting complex values to real discards the imaginary part", np.exceptions.ComplexWarning,
                      stacklevel=4)
        value = astype(value, x.dtype) if x.dtype.kind == "f" else np.real(value)
    if value.shape == shape:
        return value
    extra = value.ndim - len(shape)
    if extra > 0 and value.shape[:extra] == (1,) * extra:
        value = reshape(value, value.shape[extra:])
    fitted: Array = broadcast_to(value, shape)
    return fitted


# -- functions of NumPy that write to their first argument ------------------------------------------

WRITERS: dict[_Function, _Function] = {}
"""Function of NumPy -> ours, which writes to an Array."""


def writes_to_array(function: _Function, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether a call of one of the functions in `WRITERS` writes to an Array."""
    target = args[0] if args else kwargs.get(WRITERS[function].__code__.co_varnames[0])
    return isinstance(target, Array)


def _writer(function: _Function) -> Callable[[_Function], _Function]:
    """Decorates our version of a function of NumPy that writes to its first argument."""

    def define(ours: _Function) -> _Function:
        WRITERS[function] = ours
        return ours

    return define


@_writer(np.copyto)
def copyto(dst: Any, src: Any, casting: Any = "same_kind", **options: Any) -> None:
    src = _lifted(src)
    if not np.can_cast(src.dtype, dst.dtype, casting):
        raise TypeError(f"Cannot cast array data from {src.dtype!r} to {dst.dtype!r} according to the rule {casting!r}")
    mask = options.pop("where", True)
    if options:
        raise TypeError(f"copyto() got an unexpected keyword argument {next(iter(options))!r}")
    if mask is True:
        dst[...] = src
    else:
        assign(dst, as_dtype(where(mask, broadcast_to(src, dst.shape), dst), dst.dtype))


@_writer(np.put)
def put(a: Any, ind: Any, v: Any, mode: Any = "raise") -> None:
    ind = np.asarray(plain_index(ind)).ravel()
    if mode == "wrap":
        ind = ind % a.size
    elif mode == "clip":
        ind = np.clip(ind, 0, a.size - 1)
    _write_flat(a, ind, _repeated(v, ind.size))


@_writer(np.place)
def place(arr: Any, mask: Any, vals: Any) -> None:
    ind = np.flatnonzero(plain_index(mask))
    _write_flat(arr, ind, _repeated(vals, ind.size))


@_writer(np.putmask)
def putmask(a: Any, mask: Any, values: Any) -> None:
    ind = np.flatnonzero(np.broadcast_to(plain_index(mask), a.shape))
    values = ravel(_lifted(values))
    _write_flat(a, ind, take(values, ind % values.size))


def _repeated(values: Any, n: int) -> Any:
    """The first n of the values, which are repeated as often as needed."""
    values = ravel(_lifted(values))
    return values if values.size == n else take(values, np.arange(n) % values.size)


def _write_flat(x: Any, positions: Any, values: Any) -> None:
    """Write values at positions in C order."""
    x[np.unravel_index(np.where(positions < 0, positions + x.size, positions), x.shape)] = values


@_writer(np.fill_diagonal)
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    positions = np.arange(a.size).reshape(a.shape)
    marked = np.zeros(a.shape, bool)
    np.fill_diagonal(marked, True, wrap)
    ind = positions[marked]
    _write_flat(a, ind, _repeated(val, ind.size))


@_writer(np.put_along_axis)
def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any = -1) -> None:
    positions = np.arange(arr.size).reshape(arr.shape)
    if axis is None:
        positions, axis = positions.ravel(), 0
    ind = np.take_along_axis(positions, np.asarray(plain_index(indices)), axis)
    _write_flat(arr, ind.ravel(), ravel(broadcast_to(_lifted(values), ind.shape)))


# -- ufunc.at --------------------------------------------------------------------------------------


def write_at(ufunc: Any, a: Any, indices: Any, *others: Any) -> None:
    """`ufunc.at(a, indices, *others)`: an element that is picked again is changed again.

    In each round every element is written once: those picked for the first time, for the second time, and so on.
    """
    indices = plain_index(indices)
    positions = np.arange(a.size).reshape(a.shape)[indices]
    values = [ravel(broadcast_to(_lifted(b), np.shape(positions))) for b in others]
    positions = np.ravel(positions)
    for chosen in _rounds(positions):
        places = np.unravel_index(positions[chosen], a.shape)
        a[places] = ufunc(a[places], *(b[chosen] for b in values))


def _rounds(positions: Any) -> Sequence[Any]:
    """Indices into the positions, so that no position is twice in one part."""
    order = np.argsort(positions, kind="stable")
    ordered = positions[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if ordered.size else np.arange(0)
    counts = np.diff(np.append(first, ordered.size))
    turn = np.empty(ordered.size, np.intp)
    turn[order] = np.arange(ordered.size) - np.repeat(first, counts)
    return [np.flatnonzero(turn == k) for k in range(counts.max(initial=0))]


# -- methods of Array -------------------------------------------------------------------------------


def _fill(x: Any, value: Any) -> None:
    """As ndarray.fill: write one number to all elements."""
    x[...] = value


def _sort(x: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> None:
    """As ndarray.sort: sort the elements along an axis, in place."""
    if axis is None:
        raise TypeError("'NoneType' object cannot be interpreted as an integer")
    y: Any = np.sort(x, axis, kind, order, stable=stable)  # through the table, which imports `sorting` then
    assign(x, y)


def _partition(x: Any, kth: Any, axis: Any = -1, kind: Any = "introselect", order: Any = None) -> None:
    """As ndarray.partition: move the elements smaller than the kth before it, in place."""
    y: Any = np.partition(x, kth, as_index(axis), kind, order)
    assign(x, y)


def _put(x: Any, indices: Any, values: Any, mode: Any = "raise") -> None:
    """As ndarray.put: write values at positions in C order."""
    np.put(x, indices, values, mode)


def _resize(x: Any, *new_shape: Any, refcheck: bool = True) -> None:
    """As ndarray.resize: change the shape in place, and fill up with zeros. Views of the array become invalid."""
    shape = new_shape[0] if len(new_shape) == 1 else new_shape
    shape = tuple(map(as_index, shape)) if isinstance(shape, (tuple, list)) else (as_index(shape),)
    size = math.prod(shape)
    elements = ravel(x)[:size]
    if size > x.size:
        elements = concatenate([elements, np.zeros(size - x.size, x.dtype)])
    resize(x, reshape(elements, shape))


add_method("fill", _fill)
add_method("sort", _sort)
add_method("partition", _partition)
add_method("put", _put)
add_method("resize", _resize)
