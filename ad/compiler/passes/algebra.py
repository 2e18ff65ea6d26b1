"""Algebra: cheaper ways to compute the same, as a table of rewrites (see `rewriting` for what a rule is).

The rules hold for every value, signed zeros, infinities and nan among them, but for rounding. What is different:

- A value within a factor of 2 ** 20 of the largest number or of the smallest normal one may over- or underflow in an
  intermediate result where it did not, or no longer do so. Rules that could make a larger difference ask for numbers
  that are `moderate`.
  A number that is no normal one of the dtype is left where it is, and so are two whose product is none.
- A zero to which the terms of a sum cancel may get the other sign, if they all had a negative factor.
- x ** 0.5 is sqrt(x), as NumPy has it for arrays, at -0.0 and -inf too.

The rewriting ends, since each rule makes less of what it rewrites, and asks for nothing to be rewritten that is not
less. "Less" is by three measures of an expression, written out as a tree; the first that differs decides:

1. Its extent: for each op but `broadcast_to` the axes of its result, those that have not one element twice; for
   `put_zeros` those of its operand too; and for `matmul` and powers twice as much, for a power also of its base. Rules
   that move an op to a smaller operand, or before a broadcast or a sum, make it less.
2. Its weight: that of its ops, numbers and inputs, where `reciprocal` weighs more than `divide`, which weighs more than
   `multiply`; `add` and `subtract`, `sum` and `sum_to` weigh more than `multiply` and a number; and a power weighs more
   than twice its base. Most rules take something away, or put something lighter in its place.
3. The depth of its numbers and signs: for each, the products and quotients around it whose other operand is no number.
   `hoist` and `divide_negatives`, which move them outwards past one of these, leave extent and weight as they are.

`tests/termination.py` computes the three, and holds every application of a rule in the tests of this module to them.
"""
import math

import numpy as np

from ad.compiler.ir.keys import frozen
from ad.compiler.passes.rewriting import ANY, FLOATING, REAL, Rewriting, Rules
from ad.engine.graph import Aval
from ad.ops.forms import TABLE
from ad.ops.indexing import is_basic

__all__ = ["algebra"]

(ADD, SUBTRACT, MULTIPLY, DIVIDE, SCALE, SCALE_DOTS, NEGATIVE, ABSOLUTE, SQUARE, SQRT, SUM, TRANSPOSE, RESHAPE,
 BROADCAST_TO, SUM_TO, GETITEM, PUT_ZEROS, MATMUL) = [TABLE[name].op for name in (
     "add subtract multiply divide scale scale_dots negative absolute square sqrt sum transpose reshape broadcast_to "
     "sum_to getitem put_zeros matmul").split()]
NORMAL = {char: (float(np.finfo(char).tiny), float(np.finfo(char).max)) for char in REAL}
MODERATE = 2.0 ** 20
RULES: dict = {}  # op, or the form of ops -> Rules


def algebra(graph):
    """With every rule applied wherever it applies; what that leaves unused is still there."""
    return Rewriting(graph, RULES).run()


def rule(names, inputs="plain", dtypes=REAL):
    """Decorates a rule for the ops of these names: `inputs` is "right" for (x, number), "left" for (number, x)."""

    def define(function):
        for name in names.split():
            rules = RULES.setdefault(TABLE[name].op if name in TABLE else name, Rules())
            getattr(rules, inputs).append((function, dtypes))
        return function

    return define


def normal(c, y, margin=1):
    """Whether this factor is no zero, infinity or nan, and keeps its precision in the dtype of y.

    With a margin, also after it is multiplied or divided by that.
    """
    low, high = NORMAL[y.dtype.char]
    return low * margin <= abs(c) <= high / margin


def moderate(c):
    """Whether a factor takes only values near the ends of a dtype's range beyond them."""
    return 1 / MODERATE <= abs(c) <= MODERATE


def enlarging(c):
    """Whether a moderate factor may be applied later: what overflows without it does so with it."""
    return 1 <= abs(c) <= MODERATE


def may_join(k, c, product, y):
    """Whether (z k) c may be z times this product, for every z that is not near the ends of the dtype's range.

    Factors that both enlarge or both reduce give an infinity or a zero on the way only if they do in the end.
    """
    if abs(k) == 1 or abs(c) == 1:
        return True
    if (abs(k) < 1) == (abs(c) < 1):
        return normal(k, y) and normal(c, y) and normal(product, y)
    return normal(k, y, MODERATE) and normal(c, y, MODERATE) and (moderate(k) or moderate(c))


def times(r, y, x, c):
    return r.emit(NEGATIVE, y, x) if c == -1 else r.emit(MULTIPLY, y, x, c)


def power_of_two(c):
    return abs(math.frexp(c)[0]) == 0.5


# -- sums -----------------------------------------------------------------------------------------


@rule("add", dtypes=FLOATING)
def add_negative(r, y, a, b):
    for x, z in ((a, r.made_by(b, NEGATIVE)), (b, r.made_by(a, NEGATIVE))):
        if z:
            return r.emit(SUBTRACT, y, x, *z)


@rule("subtract", dtypes=FLOATING)
def subtract_negative(r, y, a, b):
    z = r.made_by(b, NEGATIVE)
    return r.emit(ADD, y, a, *z) if z else None


@rule("add", "right")
def add_zero(r, y, x, c):
    return x if c == 0 and math.copysign(1, c) < 0 else None  # -0.0 + 0.0 is 0.0


@rule("add", "left")
def zero_add(r, y, c, x):
    return add_zero(r, y, x, c)


@rule("subtract", "right")
def subtract_zero(r, y, x, c):
    return x if c == 0 and math.copysign(1, c) > 0 else None


@rule("add")
def add_to_itself(r, y, a, b):
    return r.emit(MULTIPLY, y, a, 2.0) if a == b else None


def _common_factor(op, opposite):
    """c a + c b is c (a + b): exactly so if c is a power of two, and without overflow if it is no fraction."""

    def common_factor(r, y, a, b):
        p, q = r.product(a), r.product(b)
        if not (p and q and abs(p[1]) == abs(q[1]) and r.alone(a, y) and r.alone(b, y)):
            return None
        (x, c), z, made = p, q[0], op if p[1] == q[1] else opposite
        if made is SUBTRACT and c < 0:
            x, z, c = z, x, -c  # by which a zero keeps its sign
        if enlarging(c) and power_of_two(c):
            return times(r, y, r.emit(made, y, x, z), c)

    return common_factor


rule("add")(_common_factor(ADD, SUBTRACT))
rule("subtract")(_common_factor(SUBTRACT, ADD))

# -- products with a number -------------------------------------------------------------------------


@rule("multiply scale scale_dots", "right")
def times_one(r, y, x, c):
    return x if c == 1 else r.emit(NEGATIVE, y, x) if c == -1 else None


@rule("scale scale_dots", "right")
def scale_by_number(r, y, x, c):
    return r.emit(MULTIPLY, y, x, c) if normal(c, y) else None


@rule("scale scale_dots", "left")
def scale_number(r, y, c, x):
    return r.emit(MULTIPLY, y, x, c) if normal(c, y) else None


@rule("multiply", "right")
def regroup_factors(r, y, x, c):
    """(z k) c is z (k c)."""
    if (z := r.product(x)) and may_join(z[1], c, z[1] * c, y):
        return times(r, y, z[0], z[1] * c)


@rule("multiply", "right")
def regroup_quotient(r, y, x, c):
    """(a / b) c is (a c) / b, if a is a number, and a (c / b), if b is."""
    if not (parts := r.made_by(x, DIVIDE)) or not r.alone(x, y):
        return None
    (a, b), (k, d) = parts, map(r.numbers.get, parts)
    if k is not None and moderate(c) and normal(k, y, MODERATE):
        return r.emit(DIVIDE, y, k * c, b)
    if d is not None and normal(d, y) and may_join(1 / d, c, c / d, y):
        return times(r, y, a, c / d)


@rule("multiply", "right")
def number_with_smaller(r, y, x, c):
    """(A b) c, for a factor b of fewer elements than the product, is A (b c)."""
    op = next((op for op in (MULTIPLY, SCALE, SCALE_DOTS) if r.made_by(x, op)), None)
    if op is None or not r.alone(x, y) or not moderate(c):
        return None
    a, b = r.made_by(x, op)
    if b not in r.numbers and r.avals[b].size < y.size:
        return r.emit(op, y, a, r.emit(MULTIPLY, r.avals[b], b, c))
    if a not in r.numbers and r.avals[a].size < y.size:
        return r.emit(op, y, r.emit(MULTIPLY, r.avals[a], a, c), b)


@rule("multiply", "left")
def number_first(r, y, c, x):
    for found, _ in RULES[MULTIPLY].right:
        if (slot := found(r, y, x, c)) is not None:
            return slot


# -- products and quotients -----------------------------------------------------------------------------


def _hoist(op):
    """(z c) b is (z b) c: numbers meet at the end, where they become one, and signs where they change a sum.

    Two numbers that could not become one stay in their order.
    """

    def hoist(r, y, a, b):
        for x, other, at in ((a, b, 0), (b, a, 1)):
            if r.is_number(other) or not (z := r.product(x)) or r.avals[x].shape != y.shape:
                continue
            if z[1] == -1 or (r.alone(x, y) and enlarging(z[1])):
                return times(r, y, r.emit(op, y, *((z[0], b), (a, z[0]))[at]), z[1])

    return hoist


rule("multiply")(_hoist(MULTIPLY))
rule("scale")(_hoist(SCALE))
rule("scale_dots")(_hoist(SCALE_DOTS))


@rule("multiply")
def multiply_by_itself(r, y, a, b):
    return r.emit(SQUARE, y, a) if a == b else None


@rule("multiply")
def multiply_by_reciprocal(r, y, a, b):
    for x, other in ((b, a), (a, b)):
        parts = r.made_by(x, DIVIDE)
        if parts and r.numbers.get(parts[0]) == 1 and r.alone(x, y):
            return r.emit(DIVIDE, y, other, parts[1])


@rule("divide", "right")
def divide_by_number(r, y, x, c):
    if c == 1:
        return x
    if normal(c, y) and normal(1 / c, y) and power_of_two(c):
        return r.emit(MULTIPLY, y, x, 1 / c)


@rule("divide", "right")
def divide_product(r, y, x, c):
    """(z k) / c is z (k / c)."""
    if not (z := r.product(x)):
        return None
    if z[1] == -1:
        return r.emit(DIVIDE, y, z[0], -c)
    if normal(c, y) and may_join(z[1], 1 / c, z[1] / c, y):
        return times(r, y, z[0], z[1] / c)


@rule("divide", "left")
def divide_number(r, y, c, x):
    """c / (z k) is (c / k) / z."""
    if (z := r.product(x)) and r.alone(x, y):
        if z[1] == -1 or (moderate(z[1]) and normal(c, y) and normal(c / z[1], y)):
            return r.emit(DIVIDE, y, c / z[1], z[0])


@rule("divide")
def divide_negatives(r, y, a, b):
    for x, other, at in ((a, b, 0), (b, a, 1)):
        z = r.made_by(x, NEGATIVE)
        if z and r.alone(x, y) and other not in r.numbers:
            return r.emit(NEGATIVE, y, r.emit(DIVIDE, y, *((*z, b), (a, *z))[at]))


@rule("reciprocal")
def reciprocal(r, y, x):
    return r.emit(DIVIDE, y, 1.0, x)


# -- signs ------------------------------------------------------------------------------------------


@rule("negative", dtypes=FLOATING)
def negative_twice(r, y, x):
    z = r.made_by(x, NEGATIVE)
    return z[0] if z else None


@rule("negative")
def negative_product(r, y, x):
    z = r.product(x)
    return r.emit(MULTIPLY, y, z[0], -z[1]) if z and r.alone(x, y) else None


@rule("negative")
def negative_quotient(r, y, x):
    parts = r.made_by(x, DIVIDE)
    if parts and parts[0] in r.numbers and r.alone(x, y):
        return r.emit(DIVIDE, y, -r.numbers[parts[0]], parts[1])


def _even(op):
    def even(r, y, x):
        z = r.made_by(x, NEGATIVE)
        return r.emit(op, y, *z) if z else None

    return even


rule("square", dtypes=FLOATING)(_even(SQUARE))
rule("absolute")(_even(ABSOLUTE))

# -- powers -----------------------------------------------------------------------------------------


@rule("power float_power", "right")
def power(r, y, x, c):
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
        return spread(r, y, r.constant(np.ones((), y.dtype)))


# -- ops with nothing to do -------------------------------------------------------------------------
# The shape and dtype of what a rule returns are compared with those of the output before it is believed.


@rule("identity positive real astype reshape broadcast_to sum_to", dtypes=ANY)
def unchanged(r, y, x, *params):
    return x


@rule("either", dtypes=ANY)
def first(r, y, a, b):
    return a


@rule("conjugate", dtypes=ANY)
def conjugate(r, y, x):
    return x if y.dtype.kind != "c" else None


@rule("getitem", dtypes=ANY)
def get_all(r, y, x, index):
    return x if _is_all(index) else None


@rule("put_zeros", dtypes=ANY)
def put_all(r, y, x, index, shape):
    return x if _is_all(index) else None


def _is_all(index):
    """Whether an index that keeps the shape keeps every element in its place."""
    for part in index if type(index) is tuple else (index,):
        if part is not Ellipsis and (type(part) is not slice or part.step not in (None, 1)):
            return False
    return True


@rule("where", dtypes=ANY)
def decided(r, y, condition, a, b):
    """Both branches are one, or the condition is a constant that is all true or all false."""
    known = r.constants.get(condition)
    if a == b or (known is not None and np.all(known)):
        return a
    return b if known is not None and not np.any(known) else None


# -- shapes -----------------------------------------------------------------------------------------


@rule("reshape", dtypes=ANY)
def reshape_twice(r, y, x, shape, order="C"):
    z = r.made_by(x, RESHAPE)
    if z and order == "C" and r.params(x)[1:] in ((), ("C",)):
        return r.emit(RESHAPE, y, *z, params=(y.shape, "C"))


@rule("transpose", dtypes=ANY)
def transpose_twice(r, y, x, axes):
    if z := r.made_by(x, TRANSPOSE):
        first, then = (_axes(axes, len(y.shape)) for axes in (*r.params(x), axes))
        axes = tuple([first[axis] for axis in then])
        return z[0] if axes == tuple(range(len(axes))) else r.emit(TRANSPOSE, y, *z, params=(axes,))


def _axes(axes, ndim):
    return range(ndim)[::-1] if axes is None else [axis % ndim for axis in axes]


@rule("transpose", dtypes=ANY)
def transpose_nothing(r, y, x, axes):
    return x if tuple(_axes(axes, len(y.shape))) == tuple(range(len(y.shape))) else None


@rule("getitem", dtypes=ANY)
def get_what_was_put(r, y, x, index):
    z = r.made_by(x, PUT_ZEROS)
    if z and is_basic(index) and frozen(index) == frozen(r.params(x)[0]):
        return z[0]


@rule("add", dtypes=FLOATING)
def add_put(r, y, a, b):
    """Two parts put in the same place of zeros are added before; also if a third term stands between."""
    for x, put in ((a, b), (b, a)):
        if not r.made_by(put, PUT_ZEROS) or not r.alone(put, y):
            continue
        if _same_place(r, x, put) and r.alone(x, y):
            return _put_sum(r, y, x, put)
        if (parts := r.made_by(x, ADD)) and r.alone(x, y):
            for third, other in (parts, parts[::-1]):
                if _same_place(r, other, put) and r.alone(other, y):
                    return r.emit(ADD, y, third, _put_sum(r, y, other, put))


def _same_place(r, x, put):
    z, of = r.made_by(x, PUT_ZEROS), r.made_by(put, PUT_ZEROS)
    return z and r.avals[z[0]].shape == r.avals[of[0]].shape and frozen(r.params(x)) == frozen(r.params(put))


def _put_sum(r, y, x, put):
    a, b = r.made_by(x, PUT_ZEROS) + r.made_by(put, PUT_ZEROS)
    total = r.emit(ADD, Aval(r.avals[a].shape, y.dtype), a, b)
    return r.emit(PUT_ZEROS, y, total, params=r.params(x))


# -- broadcasting: a value spread over a shape is worked on before it is spread --------------------------


def spread(r, y, x):
    return r.emit(BROADCAST_TO, y, x, params=(y.shape,)) if r.avals[x].shape != y.shape else x


@rule("broadcast_to", dtypes=ANY)
def broadcast_one(r, y, x, shape):
    """One element in several axes of length one is taken as a scalar; other axes in front need no reshape."""
    aval = r.avals[x]
    if aval.shape and aval.size == 1:
        return spread(r, y, r.emit(RESHAPE, Aval((), y.dtype), x, params=((), "C")))
    z = r.made_by(x, RESHAPE)
    if z and aval.shape[-len(r.avals[z[0]].shape):] == r.avals[z[0]].shape and aval.size == r.avals[z[0]].size:
        return spread(r, y, *z)


@rule("broadcast_to", dtypes=ANY)
def broadcast_twice(r, y, x, shape):
    z = r.made_by(x, BROADCAST_TO)
    return spread(r, y, *z) if z else None


@rule("reshape getitem transpose", dtypes=ANY)
def take_of_scalar(r, y, x, *params):
    return spread(r, y, z) if (z := spread_scalar(r, x)) is not None else None


@rule("astype", dtypes=ANY)
def cast_scalar(r, y, x, dtype):
    if (z := spread_scalar(r, x)) is not None:
        return spread(r, y, r.emit(TABLE["astype"].op, Aval((), y.dtype), z, params=(dtype,)))


def spread_scalar(r, x):
    """The scalar that was spread over the shape of x, or None."""
    z = r.spread_from(x)
    return z if z is not None and r.avals[z].shape == () else None


@rule("elementwise", dtypes=ANY)
def operate_then_spread(r, y, op, params, inputs):
    """An operand broadcasts by itself beside one of the whole shape; if there is none, the result is spread."""
    sources = [r.spread_from(x) if r.avals[x].shape else None for x in inputs]
    if all(z is None for z in sources):
        return None
    small = [x if z is None else z for z, x in zip(sources, inputs)]
    shapes = {r.avals[x].shape for x in small}
    if y.shape in shapes:
        return r.emit(op, y, *small, params=params)
    shapes.discard(())
    if len(shapes) <= 1:
        return spread(r, y, r.emit(op, Aval(shapes.pop() if shapes else (), y.dtype), *small, params=params))


@rule("sum sum_to")
def sum_of_copies(r, y, x, *params):
    """The sum of n copies of a scalar, or of an array, is n times it."""
    z, n = r.spread_from(x), r.avals[x].size // max(y.size, 1)
    if z is not None and n and (r.avals[z].shape == () or (len(params) == 1 and r.avals[z].shape == y.shape)):
        return spread(r, y, r.emit(MULTIPLY, r.avals[z], z, float(n)))


@rule("sum sum_to")
def sum_of_product(r, y, x, *params):
    """The sum of c z is c times that of z."""
    z = r.product(x)
    if z and moderate(z[1]) and r.alone(x, r.avals[z[0]]) and y.size < r.avals[x].size:
        op = SUM if len(params) == 2 else SUM_TO
        return times(r, y, r.emit(op, y, z[0], params=params), z[1])


@rule("sum_to", dtypes=FLOATING)
def sum_of_rows(r, y, x, shape):
    """The rows of a product a b, added up, are the rows of a, added up, times b; without rows, zeros whatever b has."""
    product, factors = r.avals[x].shape, r.made_by(x, MATMUL)
    if not factors or r.uses[x] > 1 or len(product) < 2 or shape != (*product[:-2], 1, product[-1]):
        return None
    a, b = factors
    before = r.avals[a].shape
    if before[:-1] != product[:-1] or len(r.avals[b].shape) < 2 or product[-2] == 0:
        return None
    row = (*before[:-2], 1, before[-1])
    return r.emit(MATMUL, y, r.emit(SUM_TO, Aval(row, y.dtype), a, params=(row,)), b)


@rule("sum", dtypes=ANY)
def sum_of_one(r, y, x, axis, keepdims):
    """Sums of one element each."""
    aval = r.avals[x]
    return r.emit(RESHAPE, y, x, params=(y.shape, "C")) if aval.size == y.size and aval.dtype == y.dtype else None


@rule("sum_to", dtypes=ANY)
def sum_to_twice(r, y, x, shape):
    z = r.made_by(x, SUM_TO)
    return r.emit(SUM_TO, y, *z, params=(y.shape,)) if z else None


@rule("sum_to", dtypes=ANY)
def sum_to_scalar(r, y, x, shape):
    return r.emit(SUM, y, x, params=(None, False)) if y.shape == () and r.avals[x].dtype == y.dtype else None
