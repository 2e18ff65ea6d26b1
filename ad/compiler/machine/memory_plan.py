"""Plan the execution of a graph: lower its ops, schedule them in steps, and give every value a place in memory."""
from collections.abc import Sequence
from typing import Any

from ad.compiler.machine.allocation import Allocator, Lifetimes, Steps, count_readers
from ad.compiler.machine.execution_plan import (
    REGISTERS,
    Constant,
    ExecutionPlan,
    Float64Array,
    Matrix,
    MatrixProduct,
    OpaqueCall,
    OtherValue,
    PlanInput,
    PlanOutput,
    Register,
    ScalarCode,
    ScalarInstruction,
    Source,
    Span,
    Step,
    StridedArray,
)
from ad.compiler.machine.grouping import GroupMaker
from ad.compiler.machine.kernels import SCALAR_CODES
from ad.compiler.machine.lowered_ops import CallOp, LoopOp, LoweredOp, MatmulOp, ScalarOp, View, contiguous
from ad.compiler.machine.lowering import Lowering
from ad.compiler.machine.scheduling import fused, schedule
from ad.compiler.machine.slot_table import FLOAT64_DTYPE

__all__ = ["plan_execution"]


def plan_execution(graph: Any) -> ExecutionPlan:
    """Return the execution plan of a graph."""
    lowering = Lowering(graph)
    steps = schedule(lowering)
    lifetimes, readers = Lifetimes(lowering, steps), count_readers(lowering, steps)
    steps = [fused(step, readers) for step in steps]
    allocator = Allocator(graph.inputs, lowering, steps, lifetimes)
    return _Planner(graph, lowering, steps, allocator).plan()


class _Planner:
    """Writes the plan of a graph, with the places that its allocator gives."""

    def __init__(self, graph: Any, lowering: Lowering, steps: Steps, allocator: Allocator) -> None:
        self.graph, self.lowering, self.steps, self.allocator = graph, lowering, steps, allocator
        self.readers = count_readers(lowering, steps)

    def plan(self) -> ExecutionPlan:
        allocator = self.allocator
        inputs = [PlanInput(self._input(slot), self.graph.avals[slot]) for slot in self.graph.inputs]
        steps = [self._step(t, step) for t, step in enumerate(self.steps)]
        loads = _ScalarCodeMaker(allocator)
        outputs = [PlanOutput(self._output(slot, loads), self.graph.avals[output])
                   for slot, output in zip(self.lowering.outputs, self.graph.outputs)]
        if loads.code:
            steps.append(ScalarCode([], loads.code))
        allocate_before, free_after = self._allocations(len(steps))
        return ExecutionPlan(
            allocator.n_registers, allocator.register_constants, inputs, allocator.arrays, allocator.arena_size,
            allocator.scratch_size, steps, allocate_before, free_after, outputs)

    def _step(self, t: int, step: Sequence[LoweredOp]) -> Step:
        op = step[0]
        if isinstance(op, LoopOp):
            return GroupMaker(self.allocator, self.readers, t, step).group()
        if isinstance(op, ScalarOp):
            return _ScalarCodeMaker(self.allocator).make(step)
        if isinstance(op, MatmulOp):
            return self._product(op)
        assert isinstance(op, CallOp)
        return OpaqueCall(op.op, op.params, [self._argument(slot) for slot in op.inputs],
                          [self._result(slot) for slot in op.outputs])

    def _product(self, op: MatmulOp) -> MatrixProduct:
        places = [(*self.allocator.place(view.root), view) for view in op.inputs]
        a, b = [Matrix(base, offset + view.offset, *view.strides) for base, offset, view in places]
        return MatrixProduct(op.sizes, a, b, Matrix(*self.allocator.place(op.outputs[0]), op.sizes[2], 1))

    # -- inputs and outputs ----------------------------------------------------------------------

    def _input(self, slot: int) -> Register | Float64Array | OtherValue:
        if self.lowering.dtype(slot) != FLOAT64_DTYPE:
            return OtherValue(self.allocator.array(slot))
        if self.lowering.shape(slot) == ():
            return Register(self.allocator.register(slot))
        return Float64Array(self.allocator.array(slot))

    def _output(self, slot: int, loads: "_ScalarCodeMaker") -> Register | Float64Array | OtherValue | Constant:
        """Return the place of an output; `loads` loads a number that is in no register."""
        lowering, allocator = self.lowering, self.allocator
        if slot not in lowering.views or lowering.dtype(slot) != FLOAT64_DTYPE:
            if slot in lowering.constants:
                return Constant(lowering.constants[slot])
            return OtherValue(allocator.array(slot))
        view = lowering.views[slot]
        if view.shape == ():
            return Register(loads.operand(view))
        base = allocator.array(view.root)
        return Float64Array(base) if allocator.source(base) is Source.ALLOCATED else OtherValue(base)

    def _argument(self, slot: int) -> Constant | Register | Float64Array | OtherValue | StridedArray:
        lowering = self.lowering
        if slot in lowering.constants:
            return Constant(lowering.constants[slot])
        if slot not in lowering.views:
            return OtherValue(self.allocator.array(slot))
        view = lowering.views[slot]
        base, offset = self.allocator.place(view.root)
        if base == REGISTERS:
            return Register(offset, view.shape)
        if view == contiguous(view.root, lowering.shapes[view.root]):
            return Float64Array(base)
        return StridedArray(base, view.offset, view.shape, view.strides)

    def _result(self, slot: int) -> Register | Float64Array | OtherValue:
        if slot not in self.lowering.views:
            return OtherValue(self.allocator.array(slot))
        if self.lowering.shape(slot) == ():
            return Register(self.allocator.register(slot))
        return Float64Array(self.allocator.array(slot))

    def _allocations(self, n_steps: int) -> tuple[list[list[int]], list[list[int]]]:
        """Return for each step the bases to allocate before it (up to the next call at once) and to free after it."""
        allocate_before: list[list[int]] = [[] for _ in range(n_steps)]
        free_after: list[list[int]] = [[] for _ in range(n_steps)]
        lifetimes = self.allocator.lifetimes
        for slot, base in self.allocator.base_of.items():
            source = self.allocator.source(base)
            if source is Source.ALLOCATED:
                t = lifetimes.first[slot]
                while t and not isinstance(self.steps[t - 1][0], CallOp):
                    t -= 1
                allocate_before[t].append(base)
            if source in (Source.ALLOCATED, Source.RETURNED) and lifetimes.last[slot] < len(self.steps):
                free_after[lifetimes.last[slot]].append(base)
        return allocate_before, free_after


class _ScalarCodeMaker:
    """Writes the instructions of one step of scalar code.

    Attributes
    ----------
    loaded : dict
        (base, offset) of an element -> the register that it was loaded into.
    unpaired : dict
        (opcode, register) -> the index of a sine or cosine of that register, which this opcode could join.
    """

    def __init__(self, allocator: Allocator) -> None:
        self.allocator = allocator
        self.zeros: list[Span] = []
        self.code: list[ScalarInstruction] = []
        self.loaded: dict[tuple[int, int], int] = {}
        self.unpaired: dict[tuple[str, int], int] = {}

    def make(self, step: Sequence[Any]) -> ScalarCode:
        for op in step:
            operands = [self.operand(view) for view in op.inputs]
            if op.kernel == "add_into":
                self._accumulate(op, operands[0])
            else:
                self._compute(op, operands)
        return ScalarCode(self.zeros, self.code)

    def operand(self, view: View) -> int:
        """Return the register of a number, after loading it if it is in none."""
        base, offset = self.allocator.place(view.root)
        if base == REGISTERS:
            return offset
        place = base, offset + view.offset
        if place not in self.loaded:
            self.loaded[place] = self.allocator.new_register()
            self.code.append(ScalarInstruction("load", self.loaded[place], base, 0, place[1]))
        return self.loaded[place]

    def _accumulate(self, op: ScalarOp, value: int) -> None:
        """Add a number to an element of an array, which is cleared first if nothing has written to it."""
        (slot,) = op.outputs
        base, offset = self.allocator.place(slot)
        if slot not in self.allocator.initialized:
            self.allocator.initialized.add(slot)
            self.zeros.append(Span(base, offset, self.allocator.lowering.views[slot].size))
        self.code.append(ScalarInstruction("accumulate", 0, base, value, offset + op.target.offset))

    def _compute(self, op: ScalarOp, operands: list[int]) -> None:
        base, offset = self.allocator.place(op.outputs[0])
        out = offset if base == REGISTERS else self.allocator.new_register()
        opcode = SCALAR_CODES.get(op.op, "loop") if op.kernel == "loop" else op.kernel
        if not self._join_sin_cos(opcode, out, operands[0]):
            a, b, c = (operands + [0, 0])[:3]
            self.code.append(ScalarInstruction(opcode, out, a, b, c, op.op))
        if base != REGISTERS:
            self.code.append(ScalarInstruction("store", 0, base, out, offset))

    def _join_sin_cos(self, opcode: str, out: int, a: int) -> bool:
        """Compute a sine or cosine together with the other one of the same number, if there is an unpaired one."""
        if opcode not in ("sin", "cos"):
            return False
        at = self.unpaired.pop((opcode, a), None)
        if at is None:
            self.unpaired["cos" if opcode == "sin" else "sin", a] = len(self.code)
            return False
        sine, cosine = (out, self.code[at].out) if opcode == "sin" else (self.code[at].out, out)
        self.code[at] = ScalarInstruction("sin_cos", sine, a, cosine)
        return True
