"""What there is to do in a replay, and the arrays it is done to, before they have a place in memory."""
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

__all__ = ["CallOp", "ElementwiseOp", "LoopOp", "LoweredOp", "MatmulOp", "ScalarOp", "View", "contiguous", "regular"]


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


@dataclass(slots=True, eq=False)
class LoweredOp:
    """One operation of a replay: it reads `inputs` and writes the slots `outputs`.

    Attributes
    ----------
    inputs : tuple of View
        For a `CallOp`, a tuple of slots.
    outputs : tuple of int
    """

    inputs: tuple
    outputs: tuple


@dataclass(slots=True, eq=False)
class ElementwiseOp(LoweredOp):
    """The same arithmetic on each element of its inputs, all of one shape.

    Attributes
    ----------
    name : str
        A kernel; "loop", the inner loop of `op`; or "add_into", which adds to the elements of `target` in an array
        that is initially zero.
    op : Op, optional
    target : View or Scattered, optional
    """

    name: str
    op: Any = None
    target: Any = None

    @property
    def n(self) -> int:
        return self.inputs[0].size


@dataclass(slots=True, eq=False)
class ScalarOp(ElementwiseOp):
    """An `ElementwiseOp` on single numbers."""


@dataclass(slots=True, eq=False)
class LoopOp(ElementwiseOp):
    """An `ElementwiseOp` on `n` elements.

    Two more names: "sum" is the sum of all elements; "take" is those elements of the input's root that have the indices
    `numbers` in memory.
    """

    numbers: Any = None

    @property
    def n(self) -> int:
        return self.inputs[0].size if self.numbers is None else self.numbers.size


@dataclass(slots=True, eq=False)
class MatmulOp(LoweredOp):
    """The product of two small matrices; `sizes` is (m, k, n)."""

    sizes: tuple[int, int, int]


@dataclass(slots=True, eq=False)
class CallOp(LoweredOp):
    """A call of an op's own function; `params` are the static parameters of the `Instruction`."""

    op: Any
    params: tuple
