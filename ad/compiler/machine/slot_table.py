"""The values of a program during lowering: which slots arithmetic can read, and the lowered ops emitted so far."""
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ad.compiler.machine.kernels import KERNELS
from ad.compiler.machine.lowered_ops import CallOp, LoopOp, LoweredOp, ScalarOp, View, contiguous
from ad.compiler.machine.sparse_blocks import ScatterIndex, SparseBlock
from ad.engine.graph import Op
from ad.ops.table import ops_named

__all__ = ["FLOAT64_DTYPE", "SlotTable"]

FLOAT64_DTYPE = np.dtype(np.float64)
POWER, SCALE, SCALE_DOTS = ops_named("power scale scale_dots")
POWERS: dict[float | None, str] = {2.0: "square", 3.0: "cube", 0.5: "sqrt", -1.0: "reciprocal"}


class SlotTable:
    """What is known of each slot, and the lowered ops.

    Attributes
    ----------
    ops : list of LoweredOp
    views : dict
        Slot -> View, for every native slot.
    shapes : dict
        Root slot -> shape.
    constants : dict
        Slot -> value, for the constants of the program and those that lowering adds.
    boxed : set
        Native roots that must be ndarrays: calls read or make them, or they are outputs.
    blocks : dict
        Slot -> its sparse blocks, for arrays that are zero elsewhere.
    materialized : set
        Slots with blocks whose whole array exists as well.
    """

    def __init__(self, program: Any) -> None:
        self.ops: list[LoweredOp] = []
        self.views: dict[int, View] = {}
        self.shapes: dict[int, tuple[int, ...]] = {}
        self.constants: dict[int, Any] = dict(program.constants)
        self.boxed: set[int] = set()
        self.blocks: dict[int, list[SparseBlock]] = {}
        self.materialized: set[int] = set()
        self._avals: dict[int, tuple[tuple[int, ...], Any]] = {
            slot: (aval.shape, aval.dtype) for slot, aval in enumerate(program.avals)}

    def dtype(self, slot: int) -> Any:
        return self._avals[slot][1]

    def shape(self, slot: int) -> tuple[int, ...]:
        return self._avals[slot][0]

    def root_of(self, slot: int) -> int:
        """Return the slot in whose memory a slot lies."""
        return self.views[slot].root if slot in self.views else slot

    def roots_of(self, op: LoweredOp) -> list[int]:
        """Return the root of each input of a lowered op."""
        return [self.root_of(slot) if isinstance(op, CallOp) else slot.root for slot in op.inputs]

    # -- new slots -------------------------------------------------------------------------------

    def new_slot(self, shape: tuple[int, ...]) -> int:
        slot = len(self._avals)
        self._avals[slot] = (shape, FLOAT64_DTYPE)
        self.add_root(slot)
        return slot

    def new_constant(self, value: Any) -> int:
        slot = self.new_slot(value.shape)
        self.constants[slot] = value
        return slot

    def add_root(self, slot: int) -> None:
        shape = self.shape(slot)
        self.shapes[slot] = shape
        self.views[slot] = contiguous(slot, shape)

    def box(self, root: int) -> None:
        """Require that a root is an ndarray, unless it is a single number."""
        if self.shapes[root] != ():
            self.boxed.add(root)

    # -- reading ---------------------------------------------------------------------------------

    def is_native(self, slot: int) -> bool:
        """Return whether arithmetic can read a slot.

        A real constant of no higher precision becomes float64, as in NumPy.
        """
        if slot not in self.views and slot in self.constants:
            dtype = np.asarray(self.constants[slot]).dtype
            if dtype.kind in "biuf" and dtype.itemsize <= FLOAT64_DTYPE.itemsize:
                self.add_root(slot)
        return slot in self.views

    def read(self, slot: int) -> View:
        """Return the view of a slot that arithmetic reads; sparse blocks are materialized."""
        if slot in self.blocks and slot not in self.materialized:
            self._materialize(slot)
        return self.views[slot]

    def _materialize(self, slot: int) -> None:
        """Add the sparse blocks of a slot into its array."""
        self.materialized.add(slot)
        for values, target in self.blocks[slot]:
            rebased = target if isinstance(target, ScatterIndex) else target._replace(root=slot)
            self.emit("add_into", (values,), slot, target=rebased)

    def read_broadcast(self, inputs: Iterable[int], out: int) -> tuple[View, ...]:
        """Return the views of the inputs, broadcast to the shape of `out`."""
        return tuple([self.read(slot).broadcast(self.shape(out)) for slot in inputs])

    def number(self, slot: int | None) -> float | None:
        """Return the value of a constant number, or None."""
        value = None if slot is None else self.constants.get(slot)
        return float(value) if value is not None and np.ndim(value) == 0 else None

    # -- emitting --------------------------------------------------------------------------------

    def kernel_of(self, op: Op, inputs: tuple[Any, ...]) -> tuple[str | None, tuple[Any, ...]]:
        """Return the kernel of an op and the inputs it reads, simplified where an input is a known number."""
        if op in (SCALE, SCALE_DOTS) and any(c and math.isfinite(c) for c in map(self.number, inputs)):
            return "multiply", inputs
        if op is POWER and self.number(inputs[1]) in POWERS:
            return POWERS[self.number(inputs[1])], inputs[:1]
        return KERNELS.get(op), inputs

    def emit(self, kernel: str, views: tuple[View, ...], out: int, op: Op | None = None,
             target: View | ScatterIndex | None = None) -> None:
        """Append an elementwise op."""
        kind = ScalarOp if views[0].size == 1 else LoopOp
        self.ops.append(kind(views, (out,), kernel, op, target))
