"""What there is to do in a replay, and the arrays it is done to, before they have a place in memory."""
import math
from typing import NamedTuple

import numpy as np

__all__ = ["View", "Work", "contiguous", "regular"]


class View(NamedTuple):
    """A strided array over the elements of the array in slot `root`; all counted in elements."""

    root: int
    offset: int
    shape: tuple
    strides: tuple

    @property
    def size(self):
        return math.prod(self.shape)

    @property
    def is_number(self):
        """Whether every element is the same one."""
        return all(stride == 0 or n == 1 for n, stride in zip(self.shape, self.strides))

    @property
    def is_flat(self):
        """Whether the elements are one after another, in C order."""
        expected = 1
        for n, stride in zip(self.shape[::-1], self.strides[::-1]):
            if n != 1 and stride != expected:
                return self.size == 0
            expected *= n
        return True

    def broadcast(self, shape):
        """The same elements, broadcast."""
        if shape == self.shape:
            return self
        added = len(shape) - len(self.shape)
        if added < 0 or any(n not in (1, whole) for n, whole in zip(self.shape, shape[added:])):
            raise ValueError(f"ad: a value of shape {self.shape} cannot be broadcast to {shape}")
        strides = tuple(s if n != 1 else 0 for n, s in zip(self.shape, self.strides))
        return View(self.root, self.offset, shape, (0,) * added + strides)


def contiguous(root, shape):
    """All of a root, in C order."""
    strides, size = [], 1
    for n in shape[::-1]:
        strides.append(size)
        size *= n
    return View(root, 0, shape, tuple(strides[::-1]))


def regular(root, numbers):
    """The View of those elements of a root that have these numbers; None if it takes more than one stride."""
    if numbers.size == 1:
        return View(root, int(numbers.flat[0]), numbers.shape, (0,) * numbers.ndim)
    steps = np.diff(numbers) if numbers.ndim == 1 else None
    if steps is None or np.any(steps != steps[0]):
        return None
    return View(root, int(numbers[0]), numbers.shape, (int(steps[0]),))


class Work(NamedTuple):
    """One thing to do.

    Attributes
    ----------
    kind : {"scalar", "vector", "product", "call"}
    name : str
        A simple op; "loop", the op's inner loop; "sum", of all elements; "take", of those elements of its input's root
        that `params` has the numbers of; "add_into", which adds to the elements of `target`, of an array that begins as
        zeros; "product", of two matrices of the sizes in `params` (m, k, n); or "call".
    op, params
        As in an `Instruction`, for loops and calls.
    inputs : tuple of View
        All of one shape, but for a product; for a call, of slots.
    outputs : tuple of int
    target : View or Scattered, optional
    """

    kind: str
    name: str
    op: object
    params: tuple
    inputs: tuple
    outputs: tuple
    target: object = None

    @property
    def n(self):
        return self.params[0].size if self.name == "take" else self.inputs[0].size
