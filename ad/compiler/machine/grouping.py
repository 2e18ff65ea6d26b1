"""Groups: the loops of a step over arrays of one length, which run one block of elements after another."""
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from ad.compiler.machine.allocation import PADDING, Allocator
from ad.compiler.machine.execution_plan import (
    SCRATCH,
    AddAtLoop,
    AddSliceLoop,
    AddViewLoop,
    GatherLoop,
    KernelLoop,
    Loop,
    LoopGroup,
    NumpyLoop,
    Ref,
    Span,
    StridedArray,
    SumLoop,
    TakeLoop,
)
from ad.compiler.machine.loops import NO_ALIAS
from ad.compiler.machine.lowered_ops import LoopOp, View
from ad.compiler.machine.sparse_blocks import ScatterIndex

__all__ = ["GroupMaker"]

CACHE = 3072   # elements in the blocks of a group, which should stay in the first-level cache
MAX_HALO = 64  # elements of a halo, above which a group is not split over threads


class GroupMaker:
    """Writes the loops of one group, first with numbered temporaries, then with their places in the scratch.

    Attributes
    ----------
    temps : dict
        Root, or View where it is gathered -> the Ref of a block that no other step reads. Its offset is a number of its
        own until `_with_scratch` assigns a place.
    made : dict
        Ref -> the index of the loop that computes it.
    blocks, first_blocks : dict
        Slot -> the ops that add a sparse block to it in this step, and the one that is stored instead, or None.
    starts : dict
        Slot -> the largest target offset of those ops. The halo of an op is this offset minus its own.
    waiting : dict
        Slot -> the ops that come before the stored one; they are added after it.
    align : int
        Threads may begin at multiples of it.
    """

    def __init__(self, allocator: Allocator, readers: Counter[int], t: int, step: Sequence[Any]) -> None:
        self.allocator, self.readers, self.t, self.step = allocator, readers, t, step
        self.n: int = step[0].n
        self.loops: list[Loop] = []
        self.sums: list[Span] = []
        self.zeros: list[Span] = []
        self.temps: dict[int | View, Ref] = {}
        self.n_temps = 0
        self.made: dict[Ref, int] = {}
        self.blocks = defaultdict(list)
        for op in step:
            if op.kernel == "add_into":
                self.blocks[op.outputs[0]].append(op)
        self.first_blocks = {slot: self._initialize(slot, blocks) for slot, blocks in self.blocks.items()}
        self.starts = {slot: max(op.target.offset for op in blocks) for slot, blocks in self.blocks.items()}
        self.waiting: defaultdict[int, list[LoopOp]] = defaultdict(list)
        self.align = 64

    def group(self) -> LoopGroup:
        for op in self.step:
            if op.kernel == "add_into":
                self._add_block(op)
            elif op.kernel == "sum":
                self.loops.append(SumLoop((self._block(op.inputs[0]),), len(self.sums)))
                self.sums.append(Span(*self.allocator.place(op.outputs[0]), 1))
            elif op.kernel == "take":
                self._make(TakeLoop(self._out(op), *self.allocator.place(op.inputs[0].root), op.indices))
            else:
                inputs = tuple([self._ref(view) for view in op.inputs])
                self._make(NumpyLoop(op.op, self._out(op), inputs) if op.kernel == "loop" else
                           KernelLoop(op.kernel, self._out(op), inputs))
        self._fuse_products()
        return self._with_scratch()

    def _make(self, loop: Any) -> None:
        self.made[loop.out] = len(self.loops)
        self.loops.append(loop)

    # -- operands --------------------------------------------------------------------------------

    def _new_temp(self, key: int | View) -> Ref:
        self.temps[key] = Ref(SCRATCH, self.n_temps, 0)
        self.n_temps += 1
        return self.temps[key]

    def _out(self, op: LoopOp) -> Ref:
        (root,) = op.outputs
        if not self.allocator.outlives(root, self.t):
            return self._new_temp(root)
        return Ref(*self.allocator.place(root), 1)

    def _ref(self, view: View) -> Ref:
        if view.root in self.temps:
            return self.temps[view.root]
        if view in self.temps:
            return self.temps[view]
        base, offset = self.allocator.place(view.root)
        if view.is_number:
            return Ref(base, offset + view.offset, 0)
        if view.is_flat:
            return Ref(base, offset + view.offset, 1)
        out = self._new_temp(view)
        self.loops.append(GatherLoop(out, _merged(base, offset, view)))
        return out

    def _block(self, view: View) -> Ref:
        """Return the Ref of n elements; a number is copied n times."""
        ref = self._ref(view)
        if ref.step == 0 and ref.base != SCRATCH:
            out = self._new_temp(view)
            self.loops.append(KernelLoop("copy", out, (ref,)))
            return out
        return ref

    # -- adding sparse blocks to an array --------------------------------------------------------
    # The loop over blocks of elements runs forwards. The sparse block with the largest offset is stored and the others
    # are added. The elements that they are added to have then been stored, in this block of elements or an earlier one.
    # What no sparse block stores is cleared first.

    def _initialize(self, slot: int, blocks: list[Any]) -> Any:
        """Clear what is not stored, and return the op whose block is stored; None if all are added."""
        if slot in self.allocator.initialized:
            return None
        self.allocator.initialized.add(slot)
        base, offset = self.allocator.place(slot)
        size = self.allocator.lowering.views[slot].size
        if not all(op.target.is_flat for op in blocks):
            self.zeros.append(Span(base, offset, size))
            return None
        first = max(blocks, key=lambda op: op.target.offset)
        start, end = first.target.offset, first.target.offset + self.n
        self.zeros += [Span(base, offset, start), Span(base, offset + end, size - end)]
        return first

    def _add_block(self, op: LoopOp) -> None:
        (slot,) = op.outputs
        first = self.first_blocks[slot]
        if op is first:
            self._store(op)
            self.first_blocks[slot] = None
            for other in self.waiting.pop(slot, ()):
                self._accumulate(other)
        elif first is not None:
            self.waiting[slot].append(op)
        else:
            self._accumulate(op)

    def _target(self, op: LoopOp) -> Ref:
        base, offset = self.allocator.place(op.outputs[0])
        return Ref(base, offset + op.target.offset, 1)

    def _store(self, op: LoopOp) -> None:
        """Store a sparse block. If every reader of its value is in this group, the value is computed in its place."""
        view, target = op.inputs[0], self._target(op)
        made = self.temps.get(view.root)
        if made is not None:
            k = self.made[made]
            reading = [i for i in range(k + 1, len(self.loops)) if made in self.loops[i].inputs]
            if sum(self.loops[i].inputs.count(made) for i in reading) + 1 == self.readers[view.root]:
                self.loops[k] = _with_refs(self.loops[k], target, self.loops[k].inputs)
                for i in reading:
                    inputs = tuple([target if ref == made else ref for ref in self.loops[i].inputs])
                    self.loops[i] = _with_refs(self.loops[i], self.loops[i].out, inputs)
                return
        self.loops.append(KernelLoop("copy", target, (self._ref(view),)))

    def _accumulate(self, op: LoopOp) -> None:
        if op.target.is_flat:
            target = self._target(op)
            halo = self.starts[op.outputs[0]] - op.target.offset
            self.loops.append(AddSliceLoop(target, (self._ref(op.inputs[0]), target), halo))
            self._align(1 if halo <= MAX_HALO else self.n)
        elif isinstance(op.target, ScatterIndex):
            place = self.allocator.place(op.outputs[0])
            self.loops.append(AddAtLoop((self._block(op.inputs[0]),), *place, op.target.indices))
            self._align(self.n)
        else:
            view = _merged(*self.allocator.place(op.outputs[0]), op.target)
            self._align(self._independent(op, view))
            self.loops.append(AddViewLoop((self._block(op.inputs[0]),), view))

    def _fuse_products(self) -> None:
        """Compute a product whose one reader adds it to a slice in the loop that adds it.

        The factors must not have been overwritten by then. This serves gradients of stencils and of sums over pairs of
        neighbours, where each slice adds a partial times a cotangent: one loop and one temporary less for each slice.
        """
        readers = Counter(ref for loop in self.loops for ref in loop.inputs)
        products: dict[Ref, int] = {}  # Ref -> the index of the loop that computes it
        written: dict[int | None, int] = {}   # base -> the index of the last loop that writes to it
        fused: set[int] = set()
        for k, loop in enumerate(self.loops):
            if isinstance(loop, KernelLoop) and loop.kernel == "multiply" and loop.out.base == SCRATCH:
                products[loop.out] = k
            elif isinstance(loop, AddSliceLoop) and loop.inputs[0] in products and readers[loop.inputs[0]] == 1:
                at = products[loop.inputs[0]]
                factors = self.loops[at].inputs
                if all(ref.base == SCRATCH or written.get(ref.base, -1) < at for ref in factors):
                    self.loops[k] = loop._replace(inputs=(*factors, loop.inputs[1]))
                    fused.add(at)
            written[_written_base(loop)] = k
        self.loops = [loop for k, loop in enumerate(self.loops) if k not in fused]

    def _align(self, n: int) -> None:
        self.align = math.lcm(self.align, max(n, 1))

    def _independent(self, op: LoopOp, view: StridedArray) -> int:
        """Return a number of elements after which no element is added to the same places as one before."""
        shape, strides = view.shape, view.strides
        alone = all(other.target == op.target for other in self.blocks[op.outputs[0]])
        reach = sum(abs(stride) * (n - 1) for n, stride in zip(shape[1:], strides[1:]))
        return self.n // shape[0] if alone and abs(strides[0]) > reach else self.n

    # -- scratch ---------------------------------------------------------------------------------

    def _with_scratch(self) -> LoopGroup:
        """Assign the temporaries to blocks of the scratch, and return the group."""
        blocks, n_blocks = self._assign_blocks()
        block = max(64, min(1024, CACHE // max(n_blocks, 1) // 64 * 64))
        width = block + PADDING
        self.allocator.scratch_size = max(self.allocator.scratch_size, n_blocks * width)

        def placed(ref: Ref | None) -> Any:
            return ref and (ref._replace(offset=blocks[ref.offset] * width) if ref.base == SCRATCH else ref)

        loops = [_with_refs(loop, placed(loop.out), tuple(map(placed, loop.inputs))) for loop in self.loops]
        return LoopGroup(self.zeros, self.n, block, loops, self.sums, self.align)

    def _assign_blocks(self) -> tuple[dict[int, int], int]:
        """Return the block of each temporary, and the number of blocks.

        A loop may write its output to the block of an operand that no later loop reads, unless its kernel requires that
        the output does not alias an input.
        """
        last = {}
        for k, loop in enumerate(self.loops):
            for ref in (*loop.inputs, loop.out):
                if ref is not None and ref.base == SCRATCH:
                    last[ref.offset] = k
        free: list[int] = []
        blocks: dict[int, int] = {}
        n_blocks = 0
        for k, loop in enumerate(self.loops):
            done = [blocks[i] for i in {ref.offset for ref in loop.inputs if ref.base == SCRATCH} if last[i] == k]
            if not (isinstance(loop, KernelLoop) and loop.kernel in NO_ALIAS):
                free, done = free + done, []
            if loop.out is not None and loop.out.base == SCRATCH:
                if not free:
                    free.append(n_blocks)
                    n_blocks += 1
                blocks[loop.out.offset] = free.pop()
                if last[loop.out.offset] == k:
                    free.append(blocks[loop.out.offset])
            free += done
        return blocks, n_blocks


def _with_refs(loop: Any, out: Ref | None, inputs: tuple[Ref, ...]) -> Any:
    return loop._replace(out=out, inputs=inputs)


def _written_base(loop: Loop) -> int | None:
    """Return the base that a loop writes to; None for a sum."""
    if isinstance(loop, AddViewLoop):
        return loop.view.base
    if isinstance(loop, AddAtLoop):
        return loop.base
    return loop.out.base if loop.out is not None else None


def _merged(base: int, offset: int, view: View) -> StridedArray:
    """Return a view of a root at this place, with as few axes as possible."""
    axes: list[tuple[int, int]] = []
    for n, stride in zip(view.shape, view.strides):
        if n == 1:
            continue
        if axes and axes[-1][1] == n * stride:
            axes[-1] = (axes[-1][0] * n, stride)
        else:
            axes.append((n, stride))
    shape, strides = zip(*axes) if axes else ((1,), (0,))
    return StridedArray(base, offset + view.offset, shape, strides)
