"""Windows: views in which an element may occur several times, and their transpose, which adds up what overlaps."""
from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib import stride_tricks
from numpy.typing import NDArray

from ad._core import Array, apply
from ad.engine.inspection import metadata_view
from ad.engine.kernels import add_to_view, strided_view
from ad.errors import MissingRule
from ad.ops import shape_rules
from ad.ops.domains import REAL
from ad.ops.forms import case, composite, linear, stacked
from ad.ops.indexing import getitem
from ad.ops.shaping import ravel
from ad.ops.structure import MOVES, SUMS
from ad.ops.table import TABLE
from ad.ops.traits import Batching

__all__ = ["add_strided", "as_strided", "sliding_window_view", "strided"]

# The params of the two ops: output axis k of `strided` moves by steps[k] along the axis axes[k] of the input, from the
# index `start`. `add_strided` adds its input to these elements of zeros. The lanes are one more axis of both arrays.


def _batching(name: str) -> Batching:
    def rule(x_dots: Any, _xs: Any, _y: Any, shape: Any, axes: Any, steps: Any, start: Any) -> Any:
        op: Any = TABLE[name].op
        k = x_dots[0].shape[0]
        return apply(op, x_dots, ((k, *shape), (0, *[axis + 1 for axis in axes]), (1, *steps), (0, *start)))

    return Batching(rule=rule)


def _pull_strided(y_bar: Any, x: Any, _shape: Any, axes: Any, steps: Any, start: Any) -> Any:
    return apply(add_strided.op, (y_bar,), (x.shape, axes, steps, start))


def _pull_add_strided(y_bar: Any, x: Any, _shape: Any, axes: Any, steps: Any, start: Any) -> Any:
    return apply(strided.op, (y_bar,), (x.shape, axes, steps, start))


@linear(transpose=_pull_strided, domain=REAL, batching=_batching("strided"), shape_rule=shape_rules.view,
        structure=MOVES, moves=True, carry="moved", cases=(
            case((5,), shape=(3, 3), axes=(0, 0), steps=(1, 1), start=(0,)),
            case((3, 4), shape=(2, 2, 3), axes=(1, 0, 1), steps=(-1, 2, 0), start=(0, 2)),
            case((4,), shape=(), axes=(), steps=(), start=(2,)),
        ))
def strided(x: Any, shape: Any, axes: Any, steps: Any, start: Any) -> Any:
    """A view of the elements that lie at constant distances along the axes of `x`."""
    return strided_view(np.asarray(x), shape, axes, steps, start)


@linear(transpose=_pull_add_strided, domain=REAL, batching=_batching("add_strided"), structure=SUMS,
        shape_rule=lambda y, shape, axes, steps, start: (shape, y.dtype), cases=(
            case((3, 3), shape=(5,), axes=(0, 0), steps=(1, 1), start=(0,)),
            case((2, 2, 3), shape=(3, 4), axes=(1, 0, 1), steps=(-1, 2, 0), start=(0, 2)),
            case((2, 3), shape=(3, 4), axes=(0, 1), steps=(1, 1), start=(0, 1)),
        ))
def add_strided(y: Any, shape: Any, axes: Any, steps: Any, start: Any) -> Any:
    """The transpose of `strided`: zeros of this shape, to which each element is added where it comes from."""
    y = np.asarray(y)
    out = np.zeros(shape, y.dtype)
    if not add_to_view(out, y, axes, steps, start):
        numbers = strided_view(np.arange(out.size).reshape(shape), y.shape, axes, steps, start)
        np.add.at(out.reshape(-1), numbers.ravel(), y.ravel())
    return out


# -- NumPy's functions --------------------------------------------------------------------------------


@composite(stride_tricks.sliding_window_view, domain=REAL, cases=(
    case((6,), 3), case((3, 4), window_shape=(2, 3)), case((2, 4, 5), window_shape=(2, 3), axis=(1, 2)),
    case((2, 4), 2, axis=-1), case((6,), window_shape=(3, 2), axis=(0, 0)), case((4,), 4), case((3,), 0),
    case((0, 3), 2, axis=1), case((), window_shape=()),
))
def sliding_window_view(
    x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> Any:
    if writeable:
        raise MissingRule("ad: windows of an Array are read only: leave out writeable=True, and write to the array")
    found = stride_tricks.sliding_window_view(metadata_view(x), window_shape, axis)
    windows = found.ndim - x.ndim
    along = range(windows) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, x.ndim, "axis", True)
    return apply(strided.op, (x,), (found.shape, (*range(x.ndim), *along), (1,) * found.ndim, (0,) * x.ndim))


def _reach(array: NDArray[Any]) -> tuple[int, int]:
    """How many bytes the first and the last element in memory lie from the element at index 0."""
    ends = [stride * (n - 1) for stride, n in zip(array.strides, array.shape)] if array.size else []
    return sum(end for end in ends if end < 0), sum(end for end in ends if end > 0)


def _out_of_memory(x: NDArray[Any], found: NDArray[Any], what: str) -> ValueError:
    return ValueError(
        f"ad: as_strided with shape {found.shape} and strides {found.strides} (in bytes) {what} an array of "
        f"{x.dtype} with shape {x.shape} and strides {x.strides}. Only elements of the array itself can be read: give "
        "a smaller shape, or take np.lib.stride_tricks.sliding_window_view"
    )


def _numbers(x: NDArray[Any], found: NDArray[Any]) -> NDArray[np.intp]:
    """The numbers, in C order, of the elements of an array that a view reads, whatever the strides of both."""
    low, high = _reach(x)
    places = np.full((high - low) // x.itemsize + 1, -1)  # one for each place of an element in the memory of x
    origin = places[-low // x.itemsize:]

    def over(array: NDArray[Any]) -> NDArray[np.intp]:
        steps = [stride // x.itemsize * places.itemsize for stride in array.strides]
        return stride_tricks.as_strided(origin, array.shape, steps)

    over(x)[...] = np.arange(x.size).reshape(x.shape)
    numbers = over(found).copy()
    if (numbers < 0).any():
        raise _out_of_memory(x, found, "reads between the elements of")
    return numbers


@composite(domain=REAL, cases=(
    case((6,), shape=(4,)), case((6,), shape=(2, 3), strides=(0, 0)), case((2, 3)),
    case((3,), shape=(0, 3), strides=(0, 0)),
))
def as_strided(x: Any, shape: Any = None, strides: Any = None, subok: bool = False, writeable: bool = True) -> Any:
    """The elements of `x` that a view with these strides has, as `np.lib.stride_tricks.as_strided`.

    The strides are in bytes, from the first element of `x` on; those of `x.strides` step along its axes. Which elements
    are read is decided at this call: a compiled function reads the same ones of an argument with other strides.

    Parameters
    ----------
    x : Array or array_like
    shape, strides : sequence of int, optional
        By default those of `x`. Where `x` is C-contiguous, the strides are by default those of an array of this shape.
    subok, writeable : bool
        They make no difference to an Array.

    Returns
    -------
    Array or ndarray
        An Array is not a view: writing to it does not change `x`.

    Raises
    ------
    ValueError
        If it would read memory that holds no element of `x`. (NumPy reads whatever is there.)
    """
    x = stacked(x)
    if not isinstance(x, Array):
        return stride_tricks.as_strided(x, shape, strides, subok, writeable)
    given = np.asarray(metadata_view(x))
    found = stride_tricks.as_strided(given, shape, strides)
    (low, high), (lowest, highest) = _reach(found), _reach(given)
    if low < lowest or high > highest or (found.size and not given.size):
        raise _out_of_memory(given, found, "reads outside")
    if any(stride % x.itemsize for stride in found.strides):
        raise _out_of_memory(given, found, "reads parts of the elements of")
    if not given.flags.c_contiguous:
        return getitem(ravel(x), _numbers(given, found))
    steps = tuple([stride // x.itemsize for stride in found.strides])
    return apply(strided.op, (ravel(x),), (found.shape, (0,) * found.ndim, steps, (0,)))
