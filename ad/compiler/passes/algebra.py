"""Algebra: cheaper ways to compute the same, as a table of rewrites (see `rules` for what a rule is).

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
from ad.compiler.ir.graph import Graph
from ad.compiler.passes import arithmetic, shapes
from ad.compiler.passes.rewriting import Rewriting
from ad.compiler.passes.rules import RuleTable

__all__ = ["algebra"]

RULES = RuleTable(arithmetic.RULES, shapes.RULES)


def algebra(graph: Graph) -> Graph:
    """Apply every rule wherever it applies; instructions that are no longer used stay."""
    return Rewriting(graph, RULES).run()
