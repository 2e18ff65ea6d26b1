"""Factors of rules: whether a number may be moved or joined with another without a new overflow or underflow."""
import math

import numpy as np

from ad.compiler.passes.rewriting import Rewriting
from ad.compiler.passes.rules import REAL
from ad.engine.graph import Aval
from ad.ops.table import ops_named

__all__ = ["MODERATE", "enlarging", "may_join", "moderate", "normal", "power_of_two", "times"]

MULTIPLY, NEGATIVE = ops_named("multiply negative")
NORMAL = {char: (float(np.finfo(char).tiny), float(np.finfo(char).max)) for char in REAL}
MODERATE = 2.0 ** 20


def normal(c: float, y: Aval, margin: float = 1) -> bool:
    """Return whether a factor is not zero, infinite or nan, and keeps its precision in the dtype of y.

    With a margin, that holds also after it is multiplied or divided by the margin.
    """
    low, high = NORMAL[y.dtype.char]
    return low * margin <= abs(c) <= high / margin


def moderate(c: float) -> bool:
    """Return whether a factor takes only values near the ends of a dtype's range beyond them."""
    return 1 / MODERATE <= abs(c) <= MODERATE


def enlarging(c: float) -> bool:
    """Return whether a moderate factor may be applied later: what overflows without it overflows with it."""
    return 1 <= abs(c) <= MODERATE


def may_join(k: float, c: float, product: float, y: Aval) -> bool:
    """Return whether (z k) c may become z times this product, for every z not near the ends of the dtype's range.

    Factors that both enlarge or both reduce give an infinity or a zero on the way only if they do in the end.
    """
    if abs(k) == 1 or abs(c) == 1:
        return True
    if (abs(k) < 1) == (abs(c) < 1):
        return normal(k, y) and normal(c, y) and normal(product, y)
    return normal(k, y, MODERATE) and normal(c, y, MODERATE) and (moderate(k) or moderate(c))


def times(r: Rewriting, y: Aval, x: int, c: float) -> int:
    """Emit x c, or -x if c is -1."""
    return r.emit(NEGATIVE, y, x) if c == -1 else r.emit(MULTIPLY, y, x, c)


def power_of_two(c: float) -> bool:
    return abs(math.frexp(c)[0]) == 0.5
