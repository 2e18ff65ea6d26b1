"""Rewriting: a walk over a program that replaces single instructions by what rules make of them.

A rule is `rule(r, y, *inputs, *params)`, with the `Rewriting` r, the `Aval` y of the instruction's output and the
slots of its inputs. It returns the slot that holds the result (an old one, or one that `r.emit` gave), or None
where it does not apply. A rule for numbers gets the value of a constant real scalar in the place of its slot.
"""
from dataclasses import replace
from typing import Any

import numpy as np

from ad.compiler.ir import strided
from ad.compiler.ir.graph import Graph, Instruction
from ad.engine.graph import Aval
from ad.ops.forms import TABLE
from ad.ops.shape_rules import is_view

__all__ = ["ANY", "FLOATING", "REAL", "Rewriting", "Rules", "fold"]

# What a rule asks of the dtypes: the characters of those that inputs and output may share, or nothing.
REAL, FLOATING, ANY = "fd", "fdFD", None

FOLDED = 1024  # elements of a result that is kept as a constant, whatever the size of what it was made from
EXACT = 2 ** 53  # integers up to here are floats too
DEEP = 40  # results of rules within rules, beyond which one is rewritten in the next round only
SCALAR = Aval((), np.float64)
WEAK = {int, float, complex, bool}
BROADCAST_TO, MULTIPLY, NEGATIVE = [TABLE[name].op for name in ("broadcast_to", "multiply", "negative")]


def fold(instruction, constants, avals):
    """The outputs of an instruction whose inputs are constants; None if they are better computed each time."""
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


def _is_worth_folding(op, given, params, size):
    """Whether a result of this size takes no more memory than what it is made of, or little."""
    if op is BROADCAST_TO:
        return False
    return size <= FOLDED or is_view(op, given, params) or size <= sum(map(strided.held, given))


class Rules:
    """Those for one op, or one form of ops, by what its inputs are; each a pair (rule, dtypes)."""

    __slots__ = ("left", "plain", "right")

    def __init__(self):
        self.right = []  # (x, number)
        self.left = []   # (number, x)
        self.plain = []


class Rewriting:
    """A program on its way to another: what is known of each slot, and the instructions so far."""

    def __init__(self, graph: Graph, rules: dict[Any, Rules]):
        self.old, self.rules = graph, rules
        self.avals, self.constants = list(graph.avals), dict(graph.constants)
        self.made = {}  # slot -> the instruction that makes it
        self.same = {}  # slot -> the slot that takes its place
        self.numbers = {}  # slot -> the value of a constant real scalar
        self.uniform = {}  # slot of a constant array -> that of the scalar which every element is, or None
        self.instructions, self.line, self.depth = [], "", 0
        for slot, value in self.constants.items():
            self._note(slot, value)
        self.uses = uses = [0] * len(self.avals)
        for slot in graph.outputs:
            uses[slot] += 1
        for instruction in graph.instructions:
            for slot in instruction.inputs:
                uses[slot] += 1

    def run(self):
        """The program rewritten; what the rules leave unused is still in it."""
        for instruction in self.old.instructions:
            self._visit(instruction)
        if not self.same:
            return self.old
        return replace(self.old, outputs=tuple([self.same.get(slot, slot) for slot in self.old.outputs]),
                       instructions=tuple(self.instructions), constants=self.constants, avals=tuple(self.avals))

    def _visit(self, instruction):
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
                return self._replace(slot, found, inputs)
            self.made[slot] = instruction
        self.instructions.append(instruction)

    def _rewritten(self, op, inputs, params, y):
        """The slot that a rule gives for the result; None if none applies."""
        rules, numbers, found = self.rules.get(op), self.numbers, None
        if rules is not None:
            if rules.right and inputs[1] in numbers:
                found = self._first(rules.right, inputs, (inputs[0], numbers[inputs[1]]), y)
            if found is None and rules.left and inputs[0] in numbers:
                found = self._first(rules.left, inputs, (numbers[inputs[0]], inputs[1]), y)
            if found is None and rules.plain:
                found = self._first(rules.plain, inputs, inputs + params, y)
        if found is None and y.shape and op.form in self.rules:
            found = self._first(self.rules[op.form].plain, inputs, (op, params, inputs), y)
        return found

    def _first(self, rules, inputs, args, y):
        shared = self._shared_dtype(inputs, y)
        for rule, dtypes in rules:
            if dtypes is ANY or shared in dtypes:
                found = rule(self, y, *args)
                if found is not None and self._fits(found, y):
                    return self.strong(found)
        return None

    def _shared_dtype(self, inputs, y):
        """The character of the one dtype that inputs and output have, Python numbers aside; else "?"."""
        dtype, avals = y.dtype, self.avals
        for slot in inputs:
            if avals[slot].dtype is not dtype and type(self.constants.get(slot)) not in WEAK:
                return "?"
        return dtype.char

    def _fits(self, slot, y):
        aval = self.avals[slot]
        return aval is y or (aval.shape == y.shape and aval.dtype == y.dtype)

    def _replace(self, slot, found, inputs):
        self.same[slot] = found
        self.uses[found] += self.uses[slot]
        for x in inputs:
            self._release(x)

    def _release(self, slot):
        """One use of the slot less; if it was the last, also of the inputs of what made it."""
        waiting = [slot]
        while waiting:
            slot = waiting.pop()
            self.uses[slot] -= 1
            if self.uses[slot] == 0 and slot in self.made:
                waiting.extend(self.made[slot].inputs)

    # -- what rules ask

    def made_by(self, slot, op):
        """The inputs of the instruction that made it, if that is of this op and in one dtype; else an empty tuple."""
        instruction = self.made.get(slot)
        if instruction is None or instruction.op is not op:
            return ()
        return instruction.inputs if self._shared_dtype(instruction.inputs, self.avals[slot]) != "?" else ()

    def params(self, slot):
        return self.made[slot].params

    def alone(self, slot, y):
        """Whether it has the shape of y and no other use: what is done to it may as well be done later."""
        return self.uses[slot] <= 1 and self.avals[slot].shape == y.shape

    def product(self, slot):
        """(z, c) if it was made as z times the number c, or as -z; else an empty tuple."""
        if negated := self.made_by(slot, NEGATIVE):
            return negated[0], -1.0
        if not (factors := self.made_by(slot, MULTIPLY)):
            return ()
        a, b = factors
        if (a in self.numbers) == (b in self.numbers):
            return ()
        return (a, self.numbers[b]) if b in self.numbers else (b, self.numbers[a])

    def is_number(self, slot):
        """Whether it is a constant real number, or an array of copies of one."""
        return slot in self.numbers or (slot in self.constants and self.spread_from(slot) in self.numbers)

    def spread_from(self, slot):
        """The slot of a value that was broadcast to make this one, which may be a constant; or None."""
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

    # -- what rules make

    def emit(self, op, y, *inputs, params=()):
        """The slot of this op on these slots, itself rewritten; a float among them becomes a constant."""
        inputs = tuple([self.constant(x) if type(x) is float else x for x in inputs])
        if y.dtype.char in REAL and all(type(self.constants.get(x)) in WEAK for x in inputs):
            # Python's numbers among themselves have no dtype to give.
            inputs = (self.constant(np.asarray(self.constants[inputs[0]], y.dtype)), *inputs[1:])
        if self.depth < DEEP:
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

    def constant(self, value):
        """The slot of a new constant: a float, which is weak in promotion, or an ndarray."""
        aval = SCALAR if type(value) is float else Aval(value.shape, value.dtype)
        return self._keep(self._new_slot(aval), value)

    def strong(self, slot):
        """A slot of the same value which is strong in promotion, as results are and Python numbers are not."""
        value = self.constants.get(slot)
        return self.constant(np.asarray(value, self.avals[slot].dtype)) if type(value) in WEAK else slot

    def _keep(self, slot, value):
        self.constants[slot] = value
        self._note(slot, value)
        return slot

    def _note(self, slot, value):
        kind = type(value)
        if kind is float or (kind is int and -EXACT <= value <= EXACT):
            self.numbers[slot] = float(value)
        elif not getattr(value, "shape", True) and value.dtype.char in REAL:
            self.numbers[slot] = float(value)

    def _new_slot(self, aval):
        self.avals.append(aval)
        self.uses.append(0)
        return len(self.avals) - 1
