"""From the instructions of a program to the lowered ops of a replay.

A value that a replay can hold in its own memory is `native`: float64, or the truth of a comparison that only
arithmetic reads, which is then 1.0 or 0.0. A native value is a `View` of the elements of a root slot, so slices,
reshapes, transposes and broadcasts take no work at all. Everything else becomes a lowered op: arithmetic on one number,
arithmetic on n elements, a product of small matrices, or a call of the op's own function.

Rules are found by the op itself. An op without a rule is arithmetic if it has a kernel or an inner loop, and a call
otherwise; so is an instruction that its rule declines.
"""
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ad.compiler.machine.kernels import COMPARISONS, KERNELS, has_loop
from ad.compiler.machine.lowered_ops import CallOp, MatmulOp
from ad.compiler.machine.slot_table import FLOAT64_DTYPE, SlotTable
from ad.compiler.machine.sparse_lowering import SparseLowering
from ad.compiler.machine.view_lowering import VIEWS, ViewLowering
from ad.engine.graph import Op
from ad.ops.table import ops_named

__all__ = ["NATIVE", "Lowering"]

(CLIP, MATMUL), ADDING = ops_named("clip matmul"), ops_named("add_strided concatenate put_zeros sum sum_to")
NATIVE = VIEWS | {MATMUL, *ADDING}  # ops, other than elementwise ones, that may be no call
SMALL_PRODUCT = 4096  # multiplications up to which a product is computed without BLAS


class Lowering(SlotTable):
    """The lowered ops of a program, and where its values are.

    Attributes
    ----------
    view_lowering, sparse_lowering
        The rules of ops on views and on sparse arrays.
    outputs : list of int
        One slot for each output of the program; no array among them is another, an input or a constant.
    """

    def __init__(self, program: Any) -> None:
        super().__init__(program)
        self.program = program
        self.view_lowering = ViewLowering(self)
        self.sparse_lowering = SparseLowering(self, self.view_lowering, _count_uses(program))
        self._rules: dict[Op, Callable[..., bool]] = {
            **self.view_lowering.rules(), **self.sparse_lowering.rules(), MATMUL: self._matmul, CLIP: self._clip}
        self._truths = _numeric_truths(program)
        for slot in program.inputs:
            if self.dtype(slot) == FLOAT64_DTYPE:
                self.add_root(slot)
        for op, params, inputs, outputs, *_ in program.instructions:
            if not self._lower_natively(op, params, inputs, outputs):
                self._call(op, params, inputs, outputs)
        self.outputs = self._own_outputs(program.outputs)

    # -- instructions ----------------------------------------------------------------------------

    def _lower_natively(self, op: Op, params: tuple[Any, ...], inputs: tuple[int, ...], outputs: Sequence[int]) -> bool:
        """Lower an instruction to anything but a call; return False where that is not possible."""
        out = outputs[0]
        if op.outputs != 1 or self.dtype(out) != FLOAT64_DTYPE and out not in self._truths:
            return False
        if not all(map(self.is_native, inputs)):
            return False
        rule = self._rules.get(op)
        return rule is not None and rule(op, params, inputs, out) or self._elementwise(op, params, inputs, out)

    def _elementwise(self, op: Op, params: tuple[Any, ...], inputs: tuple[int, ...], out: int) -> bool:
        if params:
            return False
        kernel, operands = self.kernel_of(op, inputs)
        if kernel is None:
            if not _has_loop(op, [self.dtype(slot) for slot in inputs]):
                return False
            kernel = "loop"
        self.add_root(out)
        self.emit(kernel, self.read_broadcast(operands, out), out, op)
        return True

    def _clip(self, op: Op, params: tuple[Any, ...], inputs: tuple[int, ...], out: int) -> bool:
        """Lower clip(x, low, high) to minimum(maximum(x, low), high)."""
        if params:
            return False
        x, low, high = inputs
        bounded = self.new_slot(np.broadcast_shapes(self.shape(x), self.shape(low)))
        self.emit("maximum", self.read_broadcast((x, low), bounded), bounded)
        self.add_root(out)
        self.emit("minimum", self.read_broadcast((bounded, high), out), out, op)
        return True

    def _matmul(self, _op: Op, _params: tuple[Any, ...], inputs: tuple[int, ...], out: int) -> bool:
        """Lower a product of matrices so small that a call of BLAS takes longer than the multiplications."""
        if any(len(self.shape(slot)) not in (1, 2) for slot in inputs):
            return False
        a, b = [self.read(slot) for slot in inputs]
        if len(a.shape) == 1:
            a = a._replace(shape=(1, *a.shape), strides=(0, *a.strides))
        if len(b.shape) == 1:
            b = b._replace(shape=(*b.shape, 1), strides=(*b.strides, 0))
        m, k, n = *a.shape, b.shape[1]
        if not 0 < m * k * n <= SMALL_PRODUCT:
            return False
        self.add_root(out)
        self.ops.append(MatmulOp((a, b), (out,), (m, k, n)))
        return True

    def _call(self, op: Op, params: tuple[Any, ...], inputs: Sequence[int], outputs: Sequence[int]) -> None:
        for slot in inputs:
            if slot in self.views and slot not in self.constants:
                self.box(self.read(slot).root)
        for slot in outputs:
            if self.dtype(slot) == FLOAT64_DTYPE:
                self.add_root(slot)
                self.box(slot)
        self.ops.append(CallOp(tuple(inputs), tuple(outputs), op, params))

    # -- outputs ---------------------------------------------------------------------------------

    def _own_outputs(self, outputs: Sequence[int]) -> list[int]:
        taken = {*self.program.inputs, *self.constants}
        return [self._own(slot, taken) for slot in outputs]

    def _own(self, slot: int, taken: set[int]) -> int:
        """Return a slot that has the value of an output and memory of its own; add its root to `taken`."""
        if slot not in self.views or self.dtype(slot) != FLOAT64_DTYPE:
            return slot
        view = self.read(slot)
        if view.shape == ():
            return slot
        if view.root == slot and slot not in taken:
            taken.add(slot)
            self.box(slot)
            return slot
        copy = self.new_slot(view.shape)
        self.emit("copy", (view,), copy)
        self.box(copy)
        return copy


def _count_uses(program: Any) -> list[int]:
    """Return, for each slot, how many instructions read it; an output counts twice, as it needs its own memory."""
    uses = [0] * len(program.avals)
    for instruction in program.instructions:
        for slot in instruction.inputs:
            uses[slot] += 1
    for slot in program.outputs:
        uses[slot] += 2
    return uses


def _numeric_truths(program: Any) -> set[int]:
    """Return the slots of comparisons that only arithmetic reads: the numbers 1.0 and 0.0 serve there as well."""
    truths = set()
    needed = set(program.outputs)
    for op, params, inputs, outputs, *_ in program.instructions[::-1]:
        (out, *more) = outputs
        is_truth = not more and op in COMPARISONS and program.avals[out].dtype == bool and out not in needed
        if is_truth:
            truths.add(out)
        elif more or params or program.avals[out].dtype != FLOAT64_DTYPE or not _reads_numbers(op, program, inputs):
            needed.update(inputs)
    return truths


def _reads_numbers(op: Op, program: Any, inputs: Sequence[int]) -> bool:
    return op in KERNELS or _has_loop(op, [program.avals[slot].dtype for slot in inputs])


def _has_loop(op: Op, dtypes: list[Any]) -> bool:
    """Return whether the inner loop on float64 may compute an op on arrays of these dtypes.

    A ufunc that is not in the table might do something else for other dtypes.
    """
    in_table = op.form == "elementwise" or all(dtype == FLOAT64_DTYPE for dtype in dtypes)
    return in_table and has_loop(op) and len(dtypes) <= 2
