"""The measures by which every rule of `passes.algebra` makes an expression less, and a check of each application.

The docstring of that module defines the measures. This one has the weights.
"""
from typing import NamedTuple

import numpy as np

from ad.compiler.passes.rewriting import Rewriting
from ad.ops import TABLE

__all__ = ["MeasuredRewriting"]


def _by_op(weights):
    return {TABLE[name].op: weight for name, weight in weights.items()}


# The weights of an input, a constant scalar, a constant array, and an op that is not listed.
INPUT, NUMBER, ARRAY, OTHER = 1, 1, 3, 4
WEIGHTS = _by_op({
    "broadcast_to": 1, "negative": 2, "reshape": 2, "multiply": 3, "square": 3, "scale": 4, "scale_dots": 4,
    "divide": 4, "add": 5, "subtract": 5, "reciprocal": 6, "sum": 6, "sum_to": 7, "power": 10, "float_power": 10,
})
FACTORS = {TABLE[name].op for name in ("multiply", "scale", "scale_dots", "divide")}
POWERS = {TABLE[name].op for name in ("power", "float_power")}
BROADCAST_TO, MATMUL, NEGATIVE, PUT_ZEROS, RESHAPE = [
    TABLE[name].op for name in "broadcast_to matmul negative put_zeros reshape".split()]


class Measure(NamedTuple):
    """The measures of an expression; `numbers` counts its numbers and signs, and is not compared."""

    extent: int
    weight: int
    depth: int
    numbers: int

    def is_less(self, other):
        return self[:3] < other[:3]


def axes(shape):
    return len(shape) + sum(n != 1 for n in shape)


def _extent(op, shapes, y):
    if op is BROADCAST_TO:
        return 0
    own = axes(y.shape) + (axes(shapes[0]) if op is PUT_ZEROS else 0)
    return 2 * own if op is MATMUL or op in POWERS else own


def _weight(op, shapes):
    own = WEIGHTS.get(op, OTHER)
    if op is BROADCAST_TO and shapes[0] and np.prod(shapes[0]) == 1:
        return own + WEIGHTS[RESHAPE] + 1  # a rule makes it a broadcast of a scalar
    return own


class MeasuredRewriting(Rewriting):
    """A rewriting that checks that what a rule makes, or asks to be rewritten, is less than what it was given."""

    checked = 0

    def __init__(self, graph, rules):
        super().__init__(graph, rules)
        self.measures, self.given = {}, []

    def _rewritten(self, op, inputs, params, y):
        before = self.measure(op, inputs, y)
        assert not self.given or before.is_less(self.given[-1]), f"{op} is asked for by a rule for no more than it"
        self.given.append(before)
        found = super()._rewritten(op, inputs, params, y)
        self.given.pop()
        if found is not None:
            after = self.measure_of(found)
            assert after.is_less(before), f"a rule for {op} makes {after} of {before}"
            MeasuredRewriting.checked += 1
        return found

    def measure(self, op, inputs, y):
        """Return the measure of an op on these inputs."""
        parts, shapes = [self.measure_of(slot) for slot in inputs], [self.avals[slot].shape for slot in inputs]
        copies = 2 if op in POWERS else 1
        return Measure(
            _extent(op, shapes, y) + copies * sum([part.extent for part in parts]),
            _weight(op, shapes) + copies * sum([part.weight for part in parts]),
            sum([part.depth for part in parts]) + (self._deepened(inputs, parts) if op in FACTORS else 0),
            sum([part.numbers for part in parts]) + (op is NEGATIVE))

    def _deepened(self, inputs, parts):
        """Return the number of numbers and signs in these operands that stand beside another that is no number."""
        return sum([part.numbers for part, other in zip(parts, inputs[::-1]) if other not in self.numbers])

    def measure_of(self, slot):
        """Return the measure of the expression in a slot."""
        if slot not in self.measures:
            if slot in self.constants:
                found = Measure(0, ARRAY if np.ndim(self.constants[slot]) else NUMBER, 0, int(slot in self.numbers))
            elif slot in self.made:
                made = self.made[slot]
                found = self.measure(made.op, made.inputs, self.avals[slot])
            else:
                found = Measure(0, INPUT, 0, 0)
            self.measures[slot] = found
        return self.measures[slot]
