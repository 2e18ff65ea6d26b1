"""Lowering of arrays that are mostly zeros: they stay sparse as long as they are only moved, added and scaled."""
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ad.compiler.machine.lowered_ops import LoopOp, View, as_strided, contiguous
from ad.compiler.machine.slot_table import FLOAT64_DTYPE, SlotTable
from ad.compiler.machine.sparse_blocks import (
    MAX_BLOCKS,
    ScatterIndex,
    SparseBlock,
    disjoint,
    nonzeros,
    restrict,
    translate,
)
from ad.compiler.machine.view_lowering import ViewLowering, element_offset, pick
from ad.engine.graph import Op
from ad.ops.indexing import is_basic
from ad.ops.table import ops_named

__all__ = ["SparseLowering"]

(ADD, ADD_STRIDED, CONCATENATE, MULTIPLY, NEGATIVE, PUT_ZEROS, SCALE, SCALE_DOTS, STRIDED, SUBTRACT, SUM,
 SUM_TO) = ops_named(
    "add add_strided concatenate multiply negative put_zeros scale scale_dots strided subtract sum sum_to"
)
LARGE = 1 << 22  # elements above which NumPy clears an array faster: the system provides zeroed pages on demand


class SparseLowering:
    """The rules of ops that keep arrays in sparse blocks, and of sums, which add blocks.

    `uses` counts, for each slot of the program, the instructions that read it.
    """

    def __init__(self, slots: SlotTable, views: ViewLowering, uses: list[int]) -> None:
        self.slots, self.views, self.uses = slots, views, uses
        self._dense: set[int] = set()  # slots known to have no blocks

    def rules(self) -> dict[Op, Callable[..., bool]]:
        """Return the rule of each op; a rule returns whether it lowered the instruction."""
        return {
            PUT_ZEROS: self._put_zeros, ADD_STRIDED: self._add_strided, CONCATENATE: self._concatenate,
            ADD: self._add, SUBTRACT: self._subtract, NEGATIVE: self._scale, SCALE: self._scale,
            SCALE_DOTS: self._scale, MULTIPLY: self._multiply, SUM: self._sum, SUM_TO: self._sum_to,
        }

    def _blocks_of(self, slot: int) -> list[SparseBlock] | None:
        """Return the blocks of a slot's array; None if it has none, or is better read as a whole."""
        slots = self.slots
        if slot in slots.blocks and (self.uses[slot] == 1 or len(slots.blocks[slot]) <= MAX_BLOCKS):
            return slots.blocks[slot]
        if slot in self._dense:
            return None
        value = slots.constants.get(slot)
        found = nonzeros(value) if isinstance(value, np.ndarray) and value.ndim else None
        if found is None:
            self._dense.add(slot)
            return None
        start, step, values = found
        view = slots.read(slots.new_constant(values))
        slots.blocks[slot] = [SparseBlock(view, View(slot, start, view.shape, (step,)))]
        slots.materialized.add(slot)  # the constant itself
        return slots.blocks[slot]

    def _set_blocks(self, out: int, blocks: list[SparseBlock]) -> bool:
        self.slots.add_root(out)
        self.slots.blocks[out] = blocks
        return True

    # -- moving ----------------------------------------------------------------------------------

    def _put_zeros(self, _op: Op, params: tuple[Any, ...], inputs: tuple[int, ...], out: int) -> bool:
        (x,), (index, shape) = inputs, params
        if not is_basic(index):
            return self._scatter(index, shape, x, out)
        whole = np.empty(shape)
        return self._put_at(x, whole, pick(whole, index), out)

    def _add_strided(self, _op: Op, params: tuple[Any, ...], inputs: tuple[int, ...], out: int) -> bool:
        (x,), (shape, *place) = inputs, params
        whole = np.empty(shape)
        return self._put_at(x, whole, STRIDED.fn(whole, self.slots.shape(x), *place), out)

    def _put_at(self, x: int, whole: NDArray[Any], part: NDArray[Any], out: int) -> bool:
        """Put the array in slot x into zeros, where `part` lies in `whole`."""
        strides = tuple(stride // FLOAT64_DTYPE.itemsize for stride in part.strides)
        target = View(out, element_offset(whole, part), part.shape, strides)
        moved = translate(self._blocks_of(x), target) if self.slots.shape(x) == part.shape else None
        if moved is None:
            moved = [SparseBlock(self.slots.read(x).broadcast(part.shape), target)]
        return self._set_blocks(out, moved)

    def _scatter(self, index: Any, shape: tuple[int, ...], x: int, out: int) -> bool:
        size = math.prod(shape)
        indices = self.views.element_indices(contiguous(out, shape), size, index)
        if indices is None or size > LARGE and size > 16 * indices.size:
            return False
        values = self.slots.read(x).broadcast(indices.shape)
        return self._set_blocks(
            out, [SparseBlock(values, as_strided(out, indices) or ScatterIndex(indices.reshape(-1)))])

    def _concatenate(self, _op: Op, params: tuple[Any, ...], inputs: tuple[int, ...], out: int) -> bool:
        """Translate the blocks of each input, if all have blocks."""
        if not all(map(self._blocks_of, inputs)):
            return False
        slots, axis = self.slots, params[0]
        whole, start, joined = contiguous(out, slots.shape(out)), 0, []
        for slot in inputs:
            shape = slots.shape(slot)
            moved = translate(self._blocks_of(slot), whole._replace(offset=start, shape=shape))
            if moved is None:
                return False
            joined += moved
            start += shape[axis] * whole.strides[axis]
        return self._set_blocks(out, joined)

    # -- adding ----------------------------------------------------------------------------------

    def _are_same_shape(self, inputs: tuple[int, ...], out: int) -> bool:
        return all(self.slots.shape(slot) == self.slots.shape(out) for slot in inputs)

    def _is_last_use(self, slot: int) -> bool:
        """Return whether the blocks of a slot may be taken over by the only instruction that reads it."""
        return self.uses[slot] == 1 and slot not in self.slots.materialized

    def _add(self, _op: Op, _params: tuple[Any, ...], inputs: tuple[int, ...], out: int) -> bool:
        if not self._are_same_shape(inputs, out):
            return False
        first, second = map(self._blocks_of, inputs)
        if first is None or second is None:
            return self._add_dense(inputs, out)
        if self._is_last_use(inputs[0]):
            first += second
            del self.slots.blocks[inputs[0]]
            return self._set_blocks(out, first)
        return self._set_blocks(out, [*first, *second])

    def _add_dense(self, inputs: tuple[int, ...], out: int) -> bool:
        """Add a sparse array and a dense one: the dense one is one more block."""
        slots = self.slots
        for slot, other in (inputs, inputs[::-1]):
            if slot in slots.blocks and self._is_last_use(slot):
                shape = slots.shape(out)
                dense = SparseBlock(slots.read(other).broadcast(shape), contiguous(out, shape))
                return self._set_blocks(out, [*slots.blocks.pop(slot), dense])
        return False

    def _subtract(self, _op: Op, _params: tuple[Any, ...], inputs: tuple[int, ...], out: int) -> bool:
        # x - x is zero exactly, but the sum of overlapping blocks and their negatives is zero only up to rounding.
        if not self._are_same_shape(inputs, out) or inputs[0] == inputs[1]:
            return False
        first, second = map(self._blocks_of, inputs)
        if first is None or second is None:
            return False
        negated = self._scaled(NEGATIVE, second, (), ())
        return negated is not None and self._set_blocks(out, [*first, *negated])

    # -- scaling: a scaled zero is zero whatever the factor, and so is a product with a finite number --------------

    def _scale(self, op: Op, params: tuple[Any, ...], inputs: tuple[int, ...], out: int) -> bool:
        """Scale the blocks alone, if no two of them overlap."""
        x, *factors = inputs
        if params or self.slots.shape(x) != self.slots.shape(out):
            return False
        blocks = self._blocks_of(x)
        if blocks is None or not disjoint(blocks):
            return False
        scaled = self._scaled(op, blocks, factors, self.slots.shape(out))
        return scaled is not None and self._set_blocks(out, scaled)

    def _multiply(self, op: Op, params: tuple[Any, ...], inputs: tuple[int, ...], out: int) -> bool:
        x, factor = inputs
        if self.slots.number(x) is not None:
            x, factor = factor, x
        number = self.slots.number(factor)
        return number is not None and math.isfinite(number) and self._scale(op, params, (x, factor), out)

    def _scaled(self, op: Op, blocks: list[SparseBlock], factors: Any, shape: tuple[int, ...]) -> Any:
        """Return the blocks with an op applied to their values; None if a factor is not strided on a block."""
        slots = self.slots
        kernel, _ = slots.kernel_of(op, (None, *factors))
        if kernel is None:
            return None
        operands = []
        for block in blocks:
            views = [block.values]
            for slot in factors:
                factor = slots.read(slot).broadcast(shape)
                place = restrict(block.target, shape, factor.strides)
                if place is None:
                    return None
                offset, strides = place
                views.append(View(factor.root, factor.offset + offset, block.values.shape, strides))
            operands.append(tuple(views))
        scaled = []
        for block, inputs in zip(blocks, operands):
            slot = slots.new_slot(block.values.shape)
            slots.emit(kernel, inputs, slot, op)
            scaled.append(SparseBlock(slots.read(slot), block.target))
        return scaled

    # -- sums ------------------------------------------------------------------------------------

    def _sum(self, _op: Op, params: tuple[Any, ...], inputs: tuple[int, ...], out: int) -> bool:
        kept = np.sum(np.broadcast_to(0.0, self.slots.shape(inputs[0])), params[0], keepdims=True).shape
        return self._sum_into(inputs[0], kept, out)

    def _sum_to(self, _op: Op, params: tuple[Any, ...], inputs: tuple[int, ...], out: int) -> bool:
        return self._sum_into(inputs[0], params[0], out)

    def _sum_into(self, x: int, kept: tuple[int, ...], out: int) -> bool:
        """Sum an array to the shape `kept`, by adding it to a view of the output with strides of 0."""
        shape = self.slots.shape(x)
        kept = (1,) * (len(shape) - len(kept)) + kept
        if math.prod(kept) == 1:
            return self._sum_all(self.slots.read(x), out)
        strides = tuple(0 if k == 1 else stride for k, stride in zip(kept, contiguous(out, kept).strides))
        target = View(out, 0, shape, strides)
        return self._set_blocks(
            out, translate(self._blocks_of(x), target) or [SparseBlock(self.slots.read(x), target)])

    def _sum_all(self, view: View, out: int) -> bool:
        slots = self.slots
        if view.size == 1:
            slots.views[out] = View(view.root, view.offset, slots.shape(out), (0,) * len(slots.shape(out)))
        else:
            slots.add_root(out)
            slots.ops.append(LoopOp((view,), (out,), "sum"))
        return True
