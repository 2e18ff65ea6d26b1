"""Places in memory for the values of a graph: which values outlive their step, and where each value is."""
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from ad.compiler.machine.execution_plan import ARRAYS, BUFFERS, REGISTERS, BufferSpec, Source
from ad.compiler.machine.lowered_ops import CallOp, LoweredOp, MatmulOp
from ad.compiler.machine.lowering import Lowering
from ad.compiler.machine.slot_table import FLOAT64_DTYPE

__all__ = ["PADDING", "Allocator", "FreeList", "Lifetimes", "count_readers"]

PADDING = 16  # elements between blocks and buffers: accesses at equal addresses modulo 4096 delay each other

Steps = Sequence[Sequence[LoweredOp]]


class FreeList:
    """First-fit allocator of an arena that grows as needed; `gaps` are the free (start, length), sorted."""

    def __init__(self) -> None:
        self.gaps: list[tuple[int, int]] = []
        self.size = 0

    def allocate(self, n: int) -> int:
        for k, (start, length) in enumerate(self.gaps):
            if length >= n:
                self.gaps[k : k + 1] = [(start + n, length - n)] if length > n else []
                return start
        self.size += n
        return self.size - n

    def free(self, start: int, n: int) -> None:
        gaps, k = self.gaps, bisect(self.gaps, (start, n))
        if k < len(gaps) and gaps[k][0] == start + n:
            n += gaps.pop(k)[1]
        if k and sum(gaps[k - 1]) == start:
            k -= 1
            before, length = gaps.pop(k)
            start, n = before, length + n
        gaps.insert(k, (start, n))


class Lifetimes:
    """The steps between which each value must be kept.

    Attributes
    ----------
    first : dict
        Slot -> the first step that writes it.
    last : dict
        Root -> the last step that writes or reads it; for an output, the number of steps.
    """

    def __init__(self, lowering: Lowering, steps: Steps) -> None:
        self.first: dict[int, int] = {}
        self.last: dict[int, int] = {}
        for t, step in enumerate(steps):
            for op in step:
                for slot in op.outputs:
                    self.first.setdefault(slot, t)
                    self.last[slot] = t
                for root in lowering.roots_of(op):
                    self.last[root] = t
        for slot in lowering.outputs:
            self.last[lowering.root_of(slot)] = len(steps)


def count_readers(lowering: Lowering, steps: Steps) -> Counter[int]:
    """Count for each root the operands and the outputs that are views of it."""
    roots = [root for step in steps for op in step for root in lowering.roots_of(op)]
    return Counter(roots + [lowering.root_of(slot) for slot in lowering.outputs])


class Allocator:
    """Assigns a register, a part of the arena, or an ndarray to each value.

    Attributes
    ----------
    arrays : list of BufferSpec
        The ndarrays, from base ARRAYS on; `base_of` gives the base of a slot.
    buffers, registers : dict
        Root -> offset in the arena, or register.
    register_constants : dict
        Register -> the constant that it holds.
    initialized : set of int
        Slots that a step has cleared or stored; further blocks of them are added.
    scratch_size : int
        Elements of the blocks of the largest group.
    """

    def __init__(self, inputs: Sequence[int], lowering: Lowering, steps: Steps, lifetimes: Lifetimes) -> None:
        self.lowering, self.lifetimes = lowering, lifetimes
        self.inputs = frozenset(inputs)
        self.returned = {slot for step in steps for op in step if isinstance(op, CallOp) for slot in op.outputs}
        self.arrays: list[BufferSpec] = []
        self.base_of: dict[int, int] = {}
        self.registers: dict[int, int] = {}
        self.register_constants: dict[int, float] = {}
        self.n_registers = 0
        self.initialized: set[int] = set()
        self.scratch_size = 0
        self.buffers, self.arena_size = self._arena(steps)

    def _arena(self, steps: Steps) -> tuple[dict[int, int], int]:
        """Return the offset of each array in the arena, and the size of the arena."""
        arena, offsets, dying = FreeList(), {}, defaultdict(list)
        last = self.lifetimes.last
        for t, step in enumerate(steps):
            for op in step:
                for slot in () if isinstance(op, CallOp) else op.outputs:
                    outlives = last[slot] > t or isinstance(op, MatmulOp) or op.kernel == "add_into"  # type: ignore[attr-defined]
                    size = self.lowering.views[slot].size
                    if outlives and size != 1 and slot not in offsets and not self.is_array(slot):
                        offsets[slot] = arena.allocate(size + PADDING)
                        dying[last[slot]].append((offsets[slot], size + PADDING))
            for gap in dying[t]:
                arena.free(*gap)
        return offsets, arena.size

    def is_array(self, root: int) -> bool:
        """Whether a float64 root is an ndarray."""
        lowering = self.lowering
        if lowering.shapes[root] == ():
            return False
        return root in lowering.boxed or root in self.inputs or root in lowering.constants

    def outlives(self, root: int, t: int) -> bool:
        """Whether a root must be stored as a whole: a later step reads it, or it is an ndarray."""
        return self.lifetimes.last[root] > t or self.is_array(root)

    def array(self, slot: int) -> int:
        """Return the base of a slot that is an ndarray."""
        if slot not in self.base_of:
            self.base_of[slot] = ARRAYS + len(self.arrays)
            self.arrays.append(self._describe(slot))
        return self.base_of[slot]

    def _describe(self, slot: int) -> BufferSpec:
        shape = self.lowering.shape(slot)
        if slot in self.inputs:
            return BufferSpec(Source.INPUT, shape)
        if slot in self.lowering.constants:
            value = np.ascontiguousarray(self.lowering.constants[slot], FLOAT64_DTYPE)
            return BufferSpec(Source.CONSTANT, shape, value)
        return BufferSpec(Source.RETURNED if slot in self.returned else Source.ALLOCATED, shape)

    def source(self, base: int) -> Source:
        return self.arrays[base - ARRAYS].source

    def new_register(self) -> int:
        self.n_registers += 1
        return self.n_registers - 1

    def register(self, root: int) -> int:
        """Return the register of a number."""
        if root not in self.registers:
            self.registers[root] = self.new_register()
            if root in self.lowering.constants:
                self.register_constants[self.registers[root]] = float(self.lowering.constants[root])
        return self.registers[root]

    def place(self, root: int) -> tuple[int, int]:
        """Return base and offset of a root."""
        if self.is_array(root):
            return self.array(root), 0
        if root in self.buffers:
            return BUFFERS, self.buffers[root]
        return REGISTERS, self.register(root)
