"""The Bessel functions of scipy.special, of the first and second kind and modified; the order is a constant.

Sources of the formulas: DLMF chapter 10.
"""
from __future__ import annotations

import math
from typing import Any

from ad.ops.domains import NONZERO, POSITIVE, REAL
from ad.ops.forms import elementwise, inexact, point
from ad.ops.scipy_support import missing_rule_for, numbers_from, real_only, scipy_special
from ad.ops.selection import where
from ad.ops.ufuncs import INF, absolute, sign, sinh, sqrt

__all__ = ["i0", "i0e", "i1", "i1e", "iv", "ive", "j0", "j1", "jv", "k0", "k1", "kv", "y0", "y1", "yv"]

SQRT_2PI = math.sqrt(2 * math.pi)


def _odd_part(x: Any, y: Any, unscaled: Any) -> Any:
    """sign(x) y, for y = exp(-|x|) unscaled(x). At 0 it and all its derivatives are the means of both sides."""
    kink = x == 0
    return where(kink, -sinh(where(kink, x, 0)) * unscaled(where(kink, x, 0)), sign(x) * y)


def _far_slope(order: Any, x: Any) -> Any:
    """The derivative of exp(-x) times the function I of an order for large x: DLMF 10.40.1, term by term."""
    mu, term, series = 4 * order * order, 1.0, 0.5
    for k in range(1, 13):
        term = term * ((2 * k - 1) ** 2 - mu) / (8 * k * x)
        series = series + (k + 0.5) * term
    return -series / SQRT_2PI / (x * sqrt(x))


def _scaled_slope(order: Any, x: Any, near: Any) -> Any:
    """The derivative of a scaled I: `near(x)` for small x; for large x, where its terms cancel, that of the series."""
    size = absolute(x)
    far = size > 50 + order * order
    slope = _far_slope(order, where(far, size, 100 + order * order))
    return where(far, where((x > 0) | (order % 2 == 1), slope, -slope), near(where(far, 0, x)))


def _ive_partial(x1: Any, x2: Any, _y: Any) -> Any:
    real_only("ive", x2)
    return _scaled_slope(x1, x2, lambda x: 0.5 * (ive(x1 - 1.0, x) + ive(x1 + 1.0, x)) - _odd_part(
        x, ive(x1, x), lambda x: iv(x1, x)))


_WAVES = inexact("it cancels at its zeros, and far out SciPy's values lose digits", 64, -1e3, 1e3)
_GROWTH = inexact("SciPy's values", 64, -700, 700)
_SCALED = inexact("differences of SciPy's values, which lose up to two digits near 50", high=1e300)


def _bessel(
    name: str, partial: Any, domain: Any, singular: str = "no derivative in v", points: Any = (),
    accuracy: Any = _GROWTH
) -> Any:
    return elementwise(
        name, getattr(scipy_special, name), (missing_rule_for(name, "v"), partial), domain=(numbers_from(0), domain),
        singular=singular, points=points, accuracy=accuracy,
    )


def _unless_zero(x: Any, y: Any) -> Any:
    """y, of terms of which the other outgrows this one at x = 0, where both are infinite."""
    return where(x == 0, 0, y)


_KINK = "the mean of both sides at 0, where the scaling has a kink"
jv: Any = _bessel("jv", lambda x1, x2, _y: 0.5 * (jv(x1 - 1.0, x2) - jv(x1 + 1.0, x2)), NONZERO, accuracy=_WAVES)
yv: Any = _bessel("yv", lambda x1, x2, _y: 0.5 * (_unless_zero(x2, yv(x1 - 1.0, x2)) - yv(x1 + 1.0, x2)), POSITIVE,
                  points=tuple(point(v, 0.0, first=INF, second=-INF, third=INF) for v in (0, 1, 2)), accuracy=_WAVES)
iv: Any = _bessel("iv", lambda x1, x2, _y: 0.5 * (iv(x1 - 1.0, x2) + iv(x1 + 1.0, x2)), NONZERO)
kv: Any = _bessel("kv", lambda x1, x2, _y: -0.5 * (kv(x1 - 1.0, x2) + kv(x1 + 1.0, x2)), POSITIVE)
ive = _bessel("ive", _ive_partial, NONZERO, f"no derivative in v; {_KINK}", points=(
    point(0, 0.0, first=0, second=1.5, third=0), point(1, 0.0, first=0.5, second=0, third=1.875)), accuracy=_SCALED)
j0 = elementwise("j0", scipy_special.j0, lambda x, _y: -j1(x), domain=REAL, accuracy=_WAVES)
j1: Any = elementwise("j1", scipy_special.j1, lambda x, _y: 0.5 * (j0(x) - jv(2.0, x)), domain=REAL, accuracy=_WAVES)
_RISING = (point(0.0, first=INF, second=-INF, third=INF),)
_FALLING = (point(0.0, first=-INF, second=INF, third=-INF),)
y0 = elementwise("y0", scipy_special.y0, lambda x, _y: -y1(x), domain=POSITIVE, points=_RISING, accuracy=_WAVES)
y1: Any = elementwise("y1", scipy_special.y1, lambda x, _y: 0.5 * (_unless_zero(x, y0(x)) - yv(2.0, x)),
                      domain=POSITIVE, points=_RISING, accuracy=_WAVES)
i0 = elementwise("i0", scipy_special.i0, lambda x, _y: i1(x), domain=REAL)
i1: Any = elementwise("i1", scipy_special.i1, lambda x, _y: 0.5 * (i0(x) + iv(2.0, x)), domain=REAL)
i0e: Any = elementwise(
    "i0e", scipy_special.i0e, lambda x, _y: _scaled_slope(0, x, lambda x: i1e(x) - _odd_part(x, i0e(x), i0)),
    domain=NONZERO, singular=_KINK, points=(point(0.0, first=0, second=1.5, third=0),), accuracy=_SCALED,
)
i1e: Any = elementwise(
    "i1e", scipy_special.i1e,
    lambda x, _y: _scaled_slope(1, x, lambda x: 0.5 * (i0e(x) + ive(2.0, x)) - _odd_part(x, i1e(x), i1)),
    domain=NONZERO, singular=_KINK, points=(point(0.0, first=0.5, second=0, third=1.875),), accuracy=_SCALED,
)
k0 = elementwise("k0", scipy_special.k0, lambda x, _y: -k1(x), domain=POSITIVE, points=_FALLING)
k1: Any = elementwise(
    "k1", scipy_special.k1, lambda x, _y: -0.5 * (k0(x) + kv(2.0, x)), domain=POSITIVE, points=_FALLING
)
