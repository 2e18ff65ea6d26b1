"""Rules of arithmetic: sums, products with numbers, products and quotients, signs, powers."""
import math

import numpy as np

from ad.compiler.passes.factors import MODERATE, enlarging, may_join, moderate, normal, power_of_two, times
from ad.compiler.passes.rewriting import Rewriting
from ad.compiler.passes.rules import FLOATING, Rule, RuleTable
from ad.compiler.passes.shapes import broadcast
from ad.engine.graph import Aval, Op
from ad.ops.table import ops_named

__all__ = ["RULES"]

ADD, SUBTRACT, MULTIPLY, DIVIDE, SCALE, SCALE_DOTS, NEGATIVE, ABSOLUTE, SQUARE, SQRT = ops_named(
    "add subtract multiply divide scale scale_dots negative absolute square sqrt")
RULES = RuleTable()

# -- sums -----------------------------------------------------------------------------------------


@RULES.rule("add", dtypes=FLOATING)
def add_negative(r: Rewriting, y: Aval, a: int, b: int) -> int | None:
    for x, z in ((a, r.made_by(b, NEGATIVE)), (b, r.made_by(a, NEGATIVE))):
        if z:
            return r.emit(SUBTRACT, y, x, *z)
    return None


@RULES.rule("subtract", dtypes=FLOATING)
def subtract_negative(r: Rewriting, y: Aval, a: int, b: int) -> int | None:
    z = r.made_by(b, NEGATIVE)
    return r.emit(ADD, y, a, *z) if z else None


@RULES.rule("add", "right")
def add_zero(r: Rewriting, y: Aval, x: int, c: float) -> int | None:
    return x if c == 0 and math.copysign(1, c) < 0 else None  # -0.0 + 0.0 is 0.0


@RULES.rule("add", "left")
def zero_add(r: Rewriting, y: Aval, c: float, x: int) -> int | None:
    return add_zero(r, y, x, c)


@RULES.rule("subtract", "right")
def subtract_zero(r: Rewriting, y: Aval, x: int, c: float) -> int | None:
    return x if c == 0 and math.copysign(1, c) > 0 else None


@RULES.rule("add")
def add_to_itself(r: Rewriting, y: Aval, a: int, b: int) -> int | None:
    return r.emit(MULTIPLY, y, a, 2.0) if a == b else None


def _common_factor(op: Op, opposite: Op) -> Rule:
    """c a + c b is c (a + b): exactly so if c is a power of two, and without overflow if it is no fraction."""

    def common_factor(r: Rewriting, y: Aval, a: int, b: int) -> int | None:
        p, q = r.product(a), r.product(b)
        if not (p and q and abs(p[1]) == abs(q[1]) and r.is_used_once(a, y) and r.is_used_once(b, y)):
            return None
        (x, c), z, made = p, q[0], op if p[1] == q[1] else opposite
        if made is SUBTRACT and c < 0:
            x, z, c = z, x, -c  # by which a zero keeps its sign
        if enlarging(c) and power_of_two(c):
            return times(r, y, r.emit(made, y, x, z), c)
        return None

    return common_factor


RULES.rule("add")(_common_factor(ADD, SUBTRACT))
RULES.rule("subtract")(_common_factor(SUBTRACT, ADD))

# -- products with a number -------------------------------------------------------------------------


@RULES.rule("multiply scale scale_dots", "right")
def times_one(r: Rewriting, y: Aval, x: int, c: float) -> int | None:
    return x if c == 1 else r.emit(NEGATIVE, y, x) if c == -1 else None


@RULES.rule("scale scale_dots", "right")
def scale_by_number(r: Rewriting, y: Aval, x: int, c: float) -> int | None:
    return r.emit(MULTIPLY, y, x, c) if normal(c, y) else None


@RULES.rule("scale scale_dots", "left")
def scale_number(r: Rewriting, y: Aval, c: float, x: int) -> int | None:
    return r.emit(MULTIPLY, y, x, c) if normal(c, y) else None


@RULES.rule("multiply", "right")
def regroup_factors(r: Rewriting, y: Aval, x: int, c: float) -> int | None:
    """(z k) c is z (k c)."""
    if (z := r.product(x)) and may_join(z[1], c, z[1] * c, y):
        return times(r, y, z[0], z[1] * c)
    return None


@RULES.rule("multiply", "right")
def regroup_quotient(r: Rewriting, y: Aval, x: int, c: float) -> int | None:
    """(a / b) c is (a c) / b, if a is a number, and a (c / b), if b is."""
    if not (parts := r.made_by(x, DIVIDE)) or not r.is_used_once(x, y):
        return None
    (a, b), (k, d) = parts, map(r.numbers.get, parts)
    if k is not None and moderate(c) and normal(k, y, MODERATE):
        return r.emit(DIVIDE, y, k * c, b)
    if d is not None and normal(d, y) and may_join(1 / d, c, c / d, y):
        return times(r, y, a, c / d)
    return None


@RULES.rule("multiply", "right")
def number_with_smaller(r: Rewriting, y: Aval, x: int, c: float) -> int | None:
    """(A b) c, for a factor b of fewer elements than the product, is A (b c)."""
    op = next((op for op in (MULTIPLY, SCALE, SCALE_DOTS) if r.made_by(x, op)), None)
    if op is None or not r.is_used_once(x, y) or not moderate(c):
        return None
    a, b = r.made_by(x, op)
    if b not in r.numbers and r.avals[b].size < y.size:
        return r.emit(op, y, a, r.emit(MULTIPLY, r.avals[b], b, c))
    if a not in r.numbers and r.avals[a].size < y.size:
        return r.emit(op, y, r.emit(MULTIPLY, r.avals[a], a, c), b)
    return None


@RULES.rule("multiply", "left")
def number_first(r: Rewriting, y: Aval, c: float, x: int) -> int | None:
    for multiply in RULES.right_of(MULTIPLY):
        if (slot := multiply(r, y, x, c)) is not None:
            return slot
    return None


# -- products and quotients -----------------------------------------------------------------------------


def _hoist(op: Op) -> Rule:
    """(z c) b is (z b) c: numbers meet at the end, where they become one, and signs where they change a sum.

    Two numbers that could not become one stay in their order.
    """

    def hoist(r: Rewriting, y: Aval, a: int, b: int) -> int | None:
        for x, other, at in ((a, b, 0), (b, a, 1)):
            if r.is_number(other) or not (z := r.product(x)) or r.avals[x].shape != y.shape:
                continue
            if z[1] == -1 or (r.is_used_once(x, y) and enlarging(z[1])):
                return times(r, y, r.emit(op, y, *((z[0], b), (a, z[0]))[at]), z[1])
        return None

    return hoist


RULES.rule("multiply")(_hoist(MULTIPLY))
RULES.rule("scale")(_hoist(SCALE))
RULES.rule("scale_dots")(_hoist(SCALE_DOTS))


@RULES.rule("multiply")
def multiply_by_itself(r: Rewriting, y: Aval, a: int, b: int) -> int | None:
    return r.emit(SQUARE, y, a) if a == b else None


@RULES.rule("multiply")
def multiply_by_reciprocal(r: Rewriting, y: Aval, a: int, b: int) -> int | None:
    for x, other in ((b, a), (a, b)):
        parts = r.made_by(x, DIVIDE)
        if parts and r.numbers.get(parts[0]) == 1 and r.is_used_once(x, y):
            return r.emit(DIVIDE, y, other, parts[1])
    return None


@RULES.rule("divide", "right")
def divide_by_number(r: Rewriting, y: Aval, x: int, c: float) -> int | None:
    if c == 1:
        return x
    if normal(c, y) and normal(1 / c, y) and power_of_two(c):
        return r.emit(MULTIPLY, y, x, 1 / c)
    return None


@RULES.rule("divide", "right")
def divide_product(r: Rewriting, y: Aval, x: int, c: float) -> int | None:
    """(z k) / c is z (k / c)."""
    if not (z := r.product(x)):
        return None
    if z[1] == -1:
        return r.emit(DIVIDE, y, z[0], -c)
    if normal(c, y) and may_join(z[1], 1 / c, z[1] / c, y):
        return times(r, y, z[0], z[1] / c)
    return None


@RULES.rule("divide", "left")
def divide_number(r: Rewriting, y: Aval, c: float, x: int) -> int | None:
    """c / (z k) is (c / k) / z."""
    if (z := r.product(x)) and r.is_used_once(x, y):
        if z[1] == -1 or (moderate(z[1]) and normal(c, y) and normal(c / z[1], y)):
            return r.emit(DIVIDE, y, c / z[1], z[0])
    return None


@RULES.rule("divide")
def divide_negatives(r: Rewriting, y: Aval, a: int, b: int) -> int | None:
    for x, other, at in ((a, b, 0), (b, a, 1)):
        z = r.made_by(x, NEGATIVE)
        if z and r.is_used_once(x, y) and other not in r.numbers:
            return r.emit(NEGATIVE, y, r.emit(DIVIDE, y, *((*z, b), (a, *z))[at]))
    return None


@RULES.rule("reciprocal")
def reciprocal(r: Rewriting, y: Aval, x: int) -> int | None:
    return r.emit(DIVIDE, y, 1.0, x)


# -- signs ------------------------------------------------------------------------------------------


@RULES.rule("negative", dtypes=FLOATING)
def negative_twice(r: Rewriting, y: Aval, x: int) -> int | None:
    z = r.made_by(x, NEGATIVE)
    return z[0] if z else None


@RULES.rule("negative")
def negative_product(r: Rewriting, y: Aval, x: int) -> int | None:
    z = r.product(x)
    return r.emit(MULTIPLY, y, z[0], -z[1]) if z and r.is_used_once(x, y) else None


@RULES.rule("negative")
def negative_quotient(r: Rewriting, y: Aval, x: int) -> int | None:
    parts = r.made_by(x, DIVIDE)
    if parts and parts[0] in r.numbers and r.is_used_once(x, y):
        return r.emit(DIVIDE, y, -r.numbers[parts[0]], parts[1])
    return None


def _even(op: Op) -> Rule:
    def even(r: Rewriting, y: Aval, x: int) -> int | None:
        z = r.made_by(x, NEGATIVE)
        return r.emit(op, y, *z) if z else None

    return even


RULES.rule("square", dtypes=FLOATING)(_even(SQUARE))
RULES.rule("absolute")(_even(ABSOLUTE))

# -- powers -----------------------------------------------------------------------------------------


@RULES.rule("power float_power", "right")
def power(r: Rewriting, y: Aval, x: int, c: float) -> int | None:
    if c == 1:
        return x
    if c == 2:
        return r.emit(SQUARE, y, x)
    if c == 3:
        return r.emit(MULTIPLY, y, r.emit(SQUARE, y, x), x)
    if c == 0.5:
        return r.emit(SQRT, y, x)
    if c == -1:
        return r.emit(DIVIDE, y, 1.0, x)
    if c == 0:
        return broadcast(r, y, r.constant(np.ones((), y.dtype)))
    return None
