"""Arrays that are zeros but for some parts: where the parts lie, seen from other arrays of the same shape."""
import itertools
import math
from typing import NamedTuple

import numpy as np

from ad.compiler.ir import strided

__all__ = ["MANY", "Part", "Scattered", "are_apart", "nonzeros", "seen_in"]

MANY = 8    # parts above which an array is made, if more than one instruction reads it
FEW = 0.25  # of the elements of a constant: the most that may be nonzero for it to be taken as parts


class Part(NamedTuple):
    """Values (a View), and where in the array they are added (a View of it, of the same shape, or Scattered)."""

    view: object
    target: object


class Scattered:
    """Elements of an array in any order, by their numbers in C order: an element may be there more than once."""

    is_flat = False
    offset = 0  # as far as is known

    def __init__(self, numbers):
        self.numbers = numbers


def _indices(flat, shape):
    """The index of an element by its number in C order."""
    indices = []
    for n in shape[::-1]:
        indices.append(flat % n)
        flat //= n
    return indices[::-1]


def seen_in(target, shape, strides):
    """Offset and strides, in an array of this shape and strides, of the elements at `target` in one in C order.

    None where these are not regular, or one element is in more than one place of the target.
    """
    if isinstance(target, Scattered) or target.size == 0:
        return None
    if any(n > 1 and stride <= 0 for n, stride in zip(target.shape, target.strides)):
        return None
    start = _indices(target.offset, shape)
    moves = [_indices(stride if n > 1 else 0, shape) for n, stride in zip(target.shape, target.strides)]
    for d, n in enumerate(shape):
        if start[d] + sum(move[d] * (count - 1) for move, count in zip(moves, target.shape)) >= n:
            return None
    offset = sum(map(int.__mul__, start, strides))
    return offset, tuple([sum(map(int.__mul__, move, strides)) for move in moves])


def _are_apart(a, b):
    """Whether two targets have no element in common; false too where that is not plain from their strides."""
    first, second = sorted([a, b], key=lambda target: target.offset)
    reach = sum(abs(stride) * (n - 1) for n, stride in zip(first.shape, first.strides))
    step = math.gcd(*first.strides, *second.strides)
    return first.offset + reach < second.offset or step > 0 and (second.offset - first.offset) % step != 0


def are_apart(parts):
    """Whether nothing is added up: no two parts, or values of one part, go to the same element."""
    return (len(parts) <= MANY and not any(isinstance(part.target, Scattered) or _is_sum(part.target) for part in parts)
            and all(_are_apart(a.target, b.target) for a, b in itertools.combinations(parts, 2)))


def _is_sum(target):
    return any(n > 1 and stride == 0 for n, stride in zip(target.shape, target.strides))


def nonzeros(array):
    """(start, step, values) of a constant whose nonzero elements are few, and equally far apart in C order; or None."""
    at = strided.nonzeros(array)
    if len(at) < 2 or len(at) > FEW * array.size or np.any(np.diff(at, 2)):
        return None
    return int(at[0]), int(at[1] - at[0]), np.asarray(array[np.unravel_index(at, array.shape)], np.float64)
