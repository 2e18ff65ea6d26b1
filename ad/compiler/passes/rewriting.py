"""Rewriting: a walk over a graph in which rules replace single instructions (see `rules` for what a rule is)."""
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ad.compiler.ir import strided
from ad.compiler.ir.graph import Graph, Instruction, Slots
from ad.compiler.passes.rules import ANY, REAL, RuleTable
from ad.engine.graph import Aval, Op
from ad.ops.shape_rules import is_view
from ad.ops.table import ops_named

__all__ = ["Rewriting", "fold"]

FOLDED = 1024  # elements up to which a result is kept as a constant, whatever the size of its inputs
EXACT = 2 ** 53  # integers up to here are exact as floats
MAX_DEPTH = 40  # of rules within rules; a deeper result is rewritten in the next round
SCALAR = Aval((), np.float64)
WEAK = {int, float, complex, bool}  # types of constants that are weak in promotion
BROADCAST_TO, MULTIPLY, NEGATIVE = ops_named("broadcast_to multiply negative")


def fold(
    instruction: Instruction, constants: dict[int, Any], avals: Sequence[Aval]
) -> list[NDArray[Any]] | None:
    """Evaluate an instruction whose inputs are constants; return None if it is better evaluated at each run."""
    op, params, inputs, outputs, _ = instruction
    given = [constants[slot] for slot in inputs]
    try:
        if not _is_worth_folding(op, given, params, sum([avals[slot].size for slot in outputs])):
            return None
        with np.errstate(all="ignore"):
            y = op.fn(*given, *params)
    except (ValueError, ArithmeticError):
        return None  # the replay will raise it
    values = [strided.copied(np.asarray(part)) for part in (y if op.outputs > 1 else (y,))]
    for value, slot in zip(values, outputs):
        if value.shape != avals[slot].shape or value.dtype != avals[slot].dtype:
            return None
        value.flags.writeable = False
    return values


def _is_worth_folding(op: Op, given: list[Any], params: tuple[Any, ...], size: int) -> bool:
    """Return whether a result of this size is small, or takes no more memory than its inputs."""
    if op is BROADCAST_TO:
        return False
    return size <= FOLDED or is_view(op, given, params) or size <= sum(map(strided.held, given))


class Rewriting:
    """The state of a walk: what is known of each slot, and the instructions so far."""

    def __init__(self, graph: Graph, rules: RuleTable) -> None:
        self.old, self.rules, self.rules_of_forms = graph, rules.by_op, rules.by_form
        self.avals, self.constants = list(graph.avals), dict(graph.constants)
        self.made: dict[int, Instruction] = {}  # slot -> the instruction that makes it
        self.same: dict[int, int] = {}  # slot -> the slot that takes its place
        self.numbers: dict[int, float] = {}  # slot -> the value of a constant real scalar
        self.uniform: dict[int, int | None] = {}  # constant array -> the scalar that equals all its elements, or None
        self.instructions: list[Instruction] = []
        self.line, self.depth = "", 0
        for slot, value in self.constants.items():
            self._note(slot, value)
        self.uses = uses = [0] * len(self.avals)
        for slot in graph.outputs:
            uses[slot] += 1
        for instruction in graph.instructions:
            for slot in instruction.inputs:
                uses[slot] += 1

    def run(self) -> Graph:
        """Return the graph rewritten; instructions that the rules leave unused are still in it."""
        for instruction in self.old.instructions:
            self._visit(instruction)
        if not self.same:
            return self.old
        return replace(self.old, outputs=tuple([self.same.get(slot, slot) for slot in self.old.outputs]),
                       instructions=tuple(self.instructions), constants=self.constants, avals=tuple(self.avals))

    def _visit(self, instruction: Instruction) -> None:
        op, params, inputs, outputs, line = instruction
        same = self.same
        for slot in inputs:
            if slot in same:
                inputs = tuple([same.get(slot, slot) for slot in inputs])
                instruction = Instruction(op, params, inputs, outputs, line)
                break
        if len(outputs) == 1:
            slot, self.line = outputs[0], line
            found = self._rewritten(op, inputs, params, self.avals[slot])
            if found is not None:
                self._replace(slot, found, inputs)
                return
            self.made[slot] = instruction
        self.instructions.append(instruction)

    def _rewritten(self, op: Op, inputs: Slots, params: tuple[Any, ...], y: Aval) -> int | None:
        """Return the slot that a rule gives for the result; None if no rule applies."""
        rules, numbers, found = self.rules.get(op), self.numbers, None
        if rules is not None:
            if rules.right and inputs[1] in numbers:
                found = self._first(rules.right, inputs, (inputs[0], numbers[inputs[1]]), y)
            if found is None and rules.left and inputs[0] in numbers:
                found = self._first(rules.left, inputs, (numbers[inputs[0]], inputs[1]), y)
            if found is None and rules.general:
                found = self._first(rules.general, inputs, inputs + params, y)
        if found is None and y.shape and op.form in self.rules_of_forms:
            found = self._first(self.rules_of_forms[op.form].general, inputs, (op, params, inputs), y)
        return found

    def _first(self, rules: list[Any], inputs: Slots, args: tuple[Any, ...], y: Aval) -> int | None:
        """Return the result of the first rule that applies."""
        shared = self._shared_dtype(inputs, y)
        for rule, dtypes in rules:
            if dtypes is ANY or shared in dtypes:
                found = rule(self, y, *args)
                if found is not None and self._fits(found, y):
                    return self.strong(found)
        return None

    def _shared_dtype(self, inputs: Slots, y: Aval) -> str:
        """Return the character of the dtype that inputs, except Python numbers, and output share; else "?"."""
        dtype, avals = y.dtype, self.avals
        for slot in inputs:
            if avals[slot].dtype is not dtype and type(self.constants.get(slot)) not in WEAK:
                return "?"
        return dtype.char

    def _fits(self, slot: int, y: Aval) -> bool:
        aval = self.avals[slot]
        return aval is y or (aval.shape == y.shape and aval.dtype == y.dtype)

    def _replace(self, slot: int, found: int, inputs: Slots) -> None:
        self.same[slot] = found
        self.uses[found] += self.uses[slot]
        for x in inputs:
            self._release(x)

    def _release(self, slot: int) -> None:
        """Count one use less of a slot; if it was the last, also of the inputs of the instruction that made it."""
        waiting = [slot]
        while waiting:
            slot = waiting.pop()
            self.uses[slot] -= 1
            if self.uses[slot] == 0 and slot in self.made:
                waiting.extend(self.made[slot].inputs)

    # -- queries of rules

    def made_by(self, slot: int, op: Op) -> Slots:
        """Return the inputs of the instruction that made it, if it is of this op and in one dtype; else ()."""
        instruction = self.made.get(slot)
        if instruction is None or instruction.op is not op:
            return ()
        return instruction.inputs if self._shared_dtype(instruction.inputs, self.avals[slot]) != "?" else ()

    def params(self, slot: int) -> tuple[Any, ...]:
        """Return the parameters of the instruction that made it."""
        return self.made[slot].params

    def is_used_once(self, slot: int, y: Aval) -> bool:
        """Return whether it has the shape of y and one use, so that an op on it may be moved behind that."""
        return self.uses[slot] <= 1 and self.avals[slot].shape == y.shape

    def product(self, slot: int) -> tuple[int, float] | tuple[()]:
        """Return (z, c) if it was made as z times the number c, or as -z; else ()."""
        if negated := self.made_by(slot, NEGATIVE):
            return negated[0], -1.0
        if not (factors := self.made_by(slot, MULTIPLY)):
            return ()
        a, b = factors
        if (a in self.numbers) == (b in self.numbers):
            return ()
        return (a, self.numbers[b]) if b in self.numbers else (b, self.numbers[a])

    def is_number(self, slot: int) -> bool:
        """Return whether it is a constant real number, or an array of copies of one."""
        return slot in self.numbers or (slot in self.constants and self.broadcast_source(slot) in self.numbers)

    def broadcast_source(self, slot: int) -> int | None:
        """Return the slot of the value that was broadcast to make this one, which may be a constant; or None."""
        if slot not in self.constants:
            source = self.made_by(slot, BROADCAST_TO)
            return self.strong(source[0]) if source else None
        if slot not in self.uniform:
            value, self.uniform[slot] = self.constants[slot], None
            if np.ndim(value) and 0 < value.size <= FOLDED and not value.dtype.hasobject:
                first = value.reshape(-1)[0]
                if first.tobytes() * value.size == value.tobytes():
                    self.uniform[slot] = self.constant(np.asarray(first))
        return self.uniform[slot]

    # -- what rules emit

    def emit(self, op: Op, y: Aval, *operands: int | float, params: tuple[Any, ...] = ()) -> int:
        """Emit an op, itself rewritten, on these slots, and return its slot; a float among them becomes a constant."""
        inputs = tuple([self.constant(x) if isinstance(x, float) else x for x in operands])
        if y.dtype.char in REAL and all(type(self.constants.get(x)) in WEAK for x in inputs):
            # Python's numbers among themselves have no dtype to give.
            inputs = (self.constant(np.asarray(self.constants[inputs[0]], y.dtype)), *inputs[1:])
        if self.depth < MAX_DEPTH:
            self.depth += 1
            found = self._rewritten(op, inputs, params, y)
            self.depth -= 1
            if found is not None:
                return found
        slot = self._new_slot(y)
        instruction = Instruction(op, params, inputs, (slot,), self.line)
        if all(x in self.constants for x in inputs):
            values = fold(instruction, self.constants, self.avals)
            if values is not None:
                return self._keep(slot, values[0])
        self.made[slot] = instruction
        self.instructions.append(instruction)
        for x in inputs:
            self.uses[x] += 1
        return slot

    def constant(self, value: float | NDArray[Any]) -> int:
        """Return the slot of a new constant: a float, which is weak in promotion, or an ndarray."""
        aval = SCALAR if isinstance(value, float) else Aval(value.shape, value.dtype)
        return self._keep(self._new_slot(aval), value)

    def strong(self, slot: int) -> int:
        """Return a slot of the same value which is strong in promotion, as results are and Python numbers are not."""
        value = self.constants.get(slot)
        return self.constant(np.asarray(value, self.avals[slot].dtype)) if type(value) in WEAK else slot

    def _keep(self, slot: int, value: Any) -> int:
        self.constants[slot] = value
        self._note(slot, value)
        return slot

    def _note(self, slot: int, value: Any) -> None:
        """Note the value of a constant, if it is a real scalar."""
        kind = type(value)
        if kind is float or (kind is int and -EXACT <= value <= EXACT):
            self.numbers[slot] = float(value)
        elif not getattr(value, "shape", True) and value.dtype.char in REAL:
            self.numbers[slot] = float(value)

    def _new_slot(self, aval: Aval) -> int:
        self.avals.append(aval)
        self.uses.append(0)
        return len(self.avals) - 1
