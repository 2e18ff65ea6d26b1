"""Arrays that are zero except in some blocks: where the blocks lie, as seen from arrays of the same shape."""
import itertools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ad.compiler.ir import strided
from ad.compiler.machine.lowered_ops import View

__all__ = ["MAX_BLOCKS", "ScatterIndex", "SparseBlock", "disjoint", "nonzeros", "restrict", "translate"]

MAX_BLOCKS = 8      # an array of more blocks is materialized if more than one instruction reads it
MAX_DENSITY = 0.25  # largest share of nonzero elements at which a constant is split into blocks


class ScatterIndex:
    """Elements of an array in any order, by their flat indices in C order; an index may occur more than once."""

    is_flat = False
    offset = 0  # a lower bound

    def __init__(self, indices: NDArray[np.int32]) -> None:
        self.indices = indices


class SparseBlock(NamedTuple):
    """Values, and where they are added: a View of the array, of the shape of the values, or a ScatterIndex."""

    values: View
    target: View | ScatterIndex


def _unravel(flat: int, shape: tuple[int, ...]) -> list[int]:
    """Return the index of the element with flat index `flat` in C order."""
    indices = []
    for n in shape[::-1]:
        indices.append(flat % n)
        flat //= n
    return indices[::-1]


def restrict(
    target: View | ScatterIndex, shape: tuple[int, ...], strides: tuple[int, ...]
) -> tuple[int, tuple[int, ...]] | None:
    """Re-express `target`, a view of a C-ordered array, as (offset, strides) in an array of this shape and strides.

    None if that view is not strided there, or if a stride shows that one element occurs in the target more than once.
    """
    if isinstance(target, ScatterIndex) or target.size == 0:
        return None
    if any(n > 1 and stride <= 0 for n, stride in zip(target.shape, target.strides)):
        return None
    start = _unravel(target.offset, shape)
    moves = [_unravel(stride if n > 1 else 0, shape) for n, stride in zip(target.shape, target.strides)]
    for d, n in enumerate(shape):
        if start[d] + sum(move[d] * (count - 1) for move, count in zip(moves, target.shape)) >= n:
            return None
    offset = sum(map(int.__mul__, start, strides))
    return offset, tuple([sum(map(int.__mul__, move, strides)) for move in moves])


def translate(blocks: list[SparseBlock] | None, target: View) -> list[SparseBlock] | None:
    """Return the blocks of an array after the array itself is put at `target`.

    None if there are no blocks, or if one of them is not strided in `target`.
    """
    translated = []
    for block in blocks or ():
        place = restrict(block.target, target.shape, target.strides)
        if place is None:
            return None
        offset, strides = place
        translated.append(
            SparseBlock(block.values, View(target.root, target.offset + offset, block.values.shape, strides)))
    return translated or None


def _disjoint(a: View, b: View) -> bool:
    """Return whether the strides of two targets show that they have no element in common."""
    first, second = sorted([a, b], key=lambda target: target.offset)
    reach = sum(abs(stride) * (n - 1) for n, stride in zip(first.shape, first.strides))
    step = math.gcd(*first.strides, *second.strides)
    return first.offset + reach < second.offset or step > 0 and (second.offset - first.offset) % step != 0


def disjoint(blocks: list[SparseBlock]) -> bool:
    """Return whether every element of the array gets at most one value, as far as the strides show it."""
    if len(blocks) > MAX_BLOCKS:
        return False
    targets = [block.target for block in blocks if isinstance(block.target, View)]
    return (len(targets) == len(blocks) and not any(map(_overlaps_itself, targets))
            and all(_disjoint(a, b) for a, b in itertools.combinations(targets, 2)))


def _overlaps_itself(target: View) -> bool:
    """Return whether an element may occur more than once: an axis steps no further than the axes inside it reach."""
    reach = 0
    for stride, n in sorted((abs(stride), n) for n, stride in zip(target.shape, target.strides) if n > 1):
        if stride <= reach:
            return True
        reach += stride * (n - 1)
    return False


def nonzeros(array: NDArray[Any]) -> tuple[int, int, NDArray[np.float64]] | None:
    """Return (start, step, values) of the nonzero elements of a constant.

    None unless they are few, and equally spaced in C order.
    """
    at = strided.nonzeros(array)
    if len(at) < 2 or len(at) > MAX_DENSITY * array.size or np.any(np.diff(at, 2)):
        return None
    return int(at[0]), int(at[1] - at[0]), np.asarray(array[np.unravel_index(at, array.shape)], np.float64)
