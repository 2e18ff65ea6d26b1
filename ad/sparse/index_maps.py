"""Maps from the entries of a term to elements of a value: shared where they are equal, and written as views."""
from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Interned", "View", "folded_shape", "inverse_of", "view_of"]

MOST_AXES = 4  # of a folded array


class Interned:
    """Arrays of indices, one object for all that are equal: they can be compared by identity."""

    def __init__(self) -> None:
        self._arrays: dict[Any, NDArray[np.int32]] = {}

    def __call__(self, indices: Any) -> NDArray[np.int32]:
        indices = np.ascontiguousarray(indices, np.int32)
        return self._arrays.setdefault((indices.shape, indices.tobytes()), indices)


def inverse_of(source: NDArray[np.int32], shape: tuple[int]) -> NDArray[np.int32] | None:
    """Return for each of so many elements where `source` has it, or -1; None if it has one more than once."""
    places = np.flatnonzero(source >= 0).astype(np.int32)
    found = np.full(shape, -1, np.int32)
    found[source[places]] = places
    return found if np.array_equal(found[source[places]], places) else None


def folded_shape(places: NDArray[np.int32]) -> tuple[int, ...]:
    """Return a shape in which places have a constant distance along each axis; their own, if there is none.

    Those of a view that was broadcast and flattened, as `[0, 1, 0, 1, 2, 3, 2, 3]`, are found as `(2, 2, 2)`.
    """
    rest = places.reshape(-1)
    shape: tuple[int, ...] = ()
    while rest.size > 1:
        step = int(rest[1]) - int(rest[0])
        changes = np.flatnonzero(np.diff(rest) != step)
        n = int(changes[0]) + 1 if changes.size else rest.size
        if rest.size % n or len(shape) == MOST_AXES:
            return places.shape
        rows = rest.reshape(-1, n)
        if (rows != rows[:, :1] + step * np.arange(n)).any():
            return places.shape
        rest, shape = rows[:, 0], (n, *shape)
    return shape or places.shape


class View(NamedTuple):
    """Slices of a value, and the shape in which they are taken."""

    slices: tuple[slice, ...]
    shape: tuple[int, ...]


def view_of(places: NDArray[np.int32], shape: tuple[int, ...]) -> View | None:
    """Return the view of a value of this shape that has the elements at these places, in C order.

    Parameters
    ----------
    places : ndarray of int32
        Numbers of elements of the value, with any number of axes.
    shape : tuple of int
        Of the value.

    Returns
    -------
    View or None
        Its shape can be broadcast to that of `places`: an axis along which they do not change has length 1. None if
        the places are at no constant distances.
    """
    if not places.size:
        return None
    steps = [int(_second(places, axis)) - int(places.flat[0]) if n > 1 else 0 for axis, n in enumerate(places.shape)]
    starts = np.unravel_index(int(places.flat[0]), shape) if shape else ()
    slices = [slice(int(start), int(start) + 1) for start in starts]
    strides = [math.prod(shape[k + 1:]) for k in range(len(shape))]
    last = -1
    for n, step in zip(places.shape, steps):
        if not step:
            continue
        k = next((k for k in range(last + 1, len(shape)) if step % strides[k] == 0
                  and 0 <= starts[k] + step // strides[k] * (n - 1) < shape[k]), None)
        if k is None:
            return None
        slices[k], last = _slice(int(starts[k]), step // strides[k], n), k
    index = tuple(slices)
    found = View(index, tuple([n if step else 1 for n, step in zip(places.shape, steps)]))
    numbers = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)[index].reshape(found.shape)
    return found if np.array_equal(np.broadcast_to(numbers, places.shape), places) else None


def _second(places: NDArray[np.int32], axis: int) -> np.int32:
    index = [0] * places.ndim
    index[axis] = 1
    found: np.int32 = places[tuple(index)]
    return found


def _slice(start: int, step: int, n: int) -> slice:
    stop = start + step * n
    return slice(start, stop if stop >= 0 else None, step)
