"""The ops of a replay, and the arrays they read and write, before these have a place in memory."""
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CallOp", "ElementwiseOp", "LoopOp", "LoweredOp", "MatmulOp", "ScalarOp", "View", "as_strided", "contiguous",
]


class View(NamedTuple):
    """A strided array over the elements of the array in slot `root`; offset and strides count elements."""

    root: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def is_number(self) -> bool:
        """Whether all elements are the same one."""
        return all(stride == 0 or n == 1 for n, stride in zip(self.shape, self.strides))

    @property
    def is_flat(self) -> bool:
        """Whether the elements are contiguous, in C order."""
        expected = 1
        for n, stride in zip(self.shape[::-1], self.strides[::-1]):
            if n != 1 and stride != expected:
                return self.size == 0
            expected *= n
        return True

    def broadcast(self, shape: tuple[int, ...]) -> "View":
        """Return the view broadcast to a shape."""
        if shape == self.shape:
            return self
        added = len(shape) - len(self.shape)
        if added < 0 or any(n not in (1, whole) for n, whole in zip(self.shape, shape[added:])):
            raise ValueError(f"ad: a value of shape {self.shape} cannot be broadcast to {shape}")
        strides = tuple(s if n != 1 else 0 for n, s in zip(self.shape, self.strides))
        return View(self.root, self.offset, shape, (0,) * added + strides)


def contiguous(root: int, shape: tuple[int, ...]) -> View:
    """Return the view of a whole root, in C order."""
    strides, size = [], 1
    for n in shape[::-1]:
        strides.append(size)
        size *= n
    return View(root, 0, shape, tuple(strides[::-1]))


def as_strided(root: int, indices: NDArray[np.int32]) -> View | None:
    """Return the view of the elements of a root that have these flat indices; None if they have no constant stride."""
    if indices.size == 1:
        return View(root, int(indices.flat[0]), indices.shape, (0,) * indices.ndim)
    steps = np.diff(indices) if indices.ndim == 1 else None
    if steps is None or np.any(steps != steps[0]):
        return None
    return View(root, int(indices[0]), indices.shape, (int(steps[0]),))


@dataclass(slots=True, eq=False)
class LoweredOp:
    """One operation of a replay: it reads `inputs` and writes the slots `outputs`.

    Attributes
    ----------
    inputs : tuple of View
        For a `CallOp`, a tuple of slots.
    outputs : tuple of int
    """

    inputs: tuple[Any, ...]
    outputs: tuple[int, ...]


@dataclass(slots=True, eq=False)
class ElementwiseOp(LoweredOp):
    """The same arithmetic on each element of its inputs, all of one shape.

    Attributes
    ----------
    kernel : str
        A kernel of the machine; or "loop", the inner loop of `op`; "sum", of all elements; "take", of the elements with
        known indices; "add_into", which adds to the elements of `target` in an array that is initially zero.
    op : Op, optional
    target : View or ScatterIndex, optional
    """

    kernel: str
    op: Any = None
    target: Any = None

    @property
    def n(self) -> int:
        size: int = self.inputs[0].size
        return size


@dataclass(slots=True, eq=False)
class ScalarOp(ElementwiseOp):
    """An `ElementwiseOp` on single numbers."""


@dataclass(slots=True, eq=False)
class LoopOp(ElementwiseOp):
    """An `ElementwiseOp` on `n` elements.

    Two more names: "sum" adds up all elements; "take" reads the elements of the input's root at the flat `indices`.
    """

    indices: Any = None

    @property
    def n(self) -> int:
        size: int = self.inputs[0].size if self.indices is None else self.indices.size
        return size


@dataclass(slots=True, eq=False)
class MatmulOp(LoweredOp):
    """The product of two small matrices; `sizes` is (m, k, n)."""

    sizes: tuple[int, int, int]


@dataclass(slots=True, eq=False)
class CallOp(LoweredOp):
    """A call of an op's own function; `params` are the static parameters of the `Instruction`."""

    op: Any
    params: tuple[Any, ...]
