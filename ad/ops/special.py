"""The functions of scipy.special, and the stable sums of exponentials that go with them.

The ufuncs are reached as `scipy.special.erf(x)` or as `ad.special.erf(x)`. SciPy's other functions have no protocol by
which Arrays are noticed: they are called as `ad.special.softmax(x)`.

In a partial, `x` (or `x1`, `x2`) are the inputs and `y` is the output. Constants are Python's
numbers, which leave single precision as it is. Sources of the formulas: DLMF chapters 5 to 10.
"""
from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from ad._core import Array
from ad.engine.variable import stop_gradient
from ad.ops.bessel import i0, i0e, i1, i1e, iv, ive, j0, j1, jv, k0, k1, kv, y0, y1, yv
from ad.ops.domains import POSITIVE, REAL, UNIT, UNIT_INTERVAL
from ad.ops.forms import Accuracy, case, composite, elementwise, inexact, point
from ad.ops.joining import asarray
from ad.ops.reductions import largest, log_sum_exp, sum
from ad.ops.scipy_support import floats, missing_rule_for, numbers_from, real_only, scipy_special
from ad.ops.selection import where
from ad.ops.shape_rules import elementwise_shape
from ad.ops.table import TABLE, UFUNCS
from ad.ops.ufuncs import (
    INF,
    LN10,
    absolute,
    cbrt,
    exp,
    exp2,
    expm1,
    gap,
    log,
    log1p,
    quotient,
    scale,
    sqrt,
    square,
)

__all__ = [
    "beta", "betaln", "boxcox", "cbrt", "digamma", "entr", "erf", "erfc", "erfcinv", "erfcx", "erfinv", "exp10", "exp2",
    "expit", "expm1", "exprel", "gamma", "gammainc", "gammaincc", "gammaln", "i0", "i0e", "i1", "i1e", "iv", "ive",
    "j0", "j1", "jv", "k0", "k1", "kl_div", "kv", "log1p", "log_expit", "log_ndtr", "log_softmax", "loggamma", "logit",
    "logsumexp", "ndtr", "ndtri", "polygamma", "psi", "rel_entr", "softmax", "xlog1py", "xlogy", "y0", "y1", "yv",
    "zeta",
]

SQRT_PI, SQRT_2, SQRT_2PI = math.sqrt(math.pi), math.sqrt(2), math.sqrt(2 * math.pi)


# -- SciPy's own objects for functions that NumPy has too ------------------------------------------

for _name in ("cbrt", "exp2", "expm1", "log1p"):
    _ufunc = getattr(scipy_special, _name)
    UFUNCS[_ufunc] = TABLE[_name].function
    TABLE[_name].numpy += (_ufunc,)

exp10 = elementwise("exp10", scipy_special.exp10, lambda _x, y: LN10 * y, domain=REAL)

# -- the error function and the normal distribution ------------------------------------------------


def _erfcx_partial(x: Any, y: Any) -> Any:
    """2 x y - 2 / sqrt(pi); beyond 30, where these cancel, the asymptotic series of that."""
    far = x > 30
    s = where(far, x, 30.0) ** -2
    series = 1.0
    for k in (6, 5, 4, 3, 2, 1):
        series = 1.0 - (k + 0.5) * s * series
    return where(far, -s * series / SQRT_PI, 2 * where(far, 0, x) * y - 2 / SQRT_PI)


def _log_ndtr_partial(x: Any, _y: Any) -> Any:
    """The density over the probability, from erfcx where both vanish."""
    right = x > 0
    left, right_x = where(right, 0, x), where(right, x, 0)
    density = exp(-0.5 * right_x * right_x) / SQRT_2PI
    return where(right, density / ndtr(right_x), 2 / (SQRT_2PI * erfcx(left / -SQRT_2)))


def _growth(distance: Any, y: Any) -> Any:
    """exp(y^2), for y >= 0 at which erfc is `distance`: by erfcx, since the rounding of y would count 2 y^2 times."""
    end = distance == 0
    return where(end, exp(square(where(end, y, 0))), erfcx(where(end, 1, y)) / where(end, 1, distance))


def _erfcinv_partial(x: Any, y: Any) -> Any:
    left = x < 1
    return (-SQRT_PI / 2) * _growth(where(left, x, 2 - x), where(left, y, -y))


def _erfinv_partial(x: Any, y: Any) -> Any:
    right = x > 0
    return (SQRT_PI / 2) * _growth(1 - where(right, x, -x), where(right, y, -y))


def _ndtri_partial(x: Any, y: Any) -> Any:
    left = x < 0.5
    return SQRT_2PI * _growth(2 * where(left, x, 1 - x), where(left, y, -y) / -SQRT_2)


_GAUSSIAN = inexact("the rounding of x^2 counts x^2 times, in the tails")
erf = elementwise(
    "erf", scipy_special.erf, lambda x, _y: (2 / SQRT_PI) * exp(-x * x), domain=REAL, accuracy=_GAUSSIAN
)
erfc = elementwise(
    "erfc", scipy_special.erfc, lambda x, _y: (-2 / SQRT_PI) * exp(-x * x), domain=REAL, accuracy=_GAUSSIAN
)
erfcx = elementwise(
    "erfcx", scipy_special.erfcx, _erfcx_partial, domain=REAL,
    accuracy=inexact("its terms cancel below 30; SciPy's values, far below 0, as far as exp(x^2)", 1024),
)
erfinv = elementwise(
    "erfinv", scipy_special.erfinv, _erfinv_partial, domain=UNIT,
    points=(point(1.0, first=INF, second=INF, third=INF), point(-1.0, first=INF, second=-INF, third=INF)),
)
erfcinv = elementwise(
    "erfcinv", scipy_special.erfcinv, _erfcinv_partial, domain=UNIT_INTERVAL,
    points=(point(0.0, first=-INF, second=INF, third=-INF), point(2.0, first=-INF, second=-INF, third=-INF)),
)
ndtr = elementwise(
    "ndtr", scipy_special.ndtr, lambda x, _y: exp(-0.5 * x * x) / SQRT_2PI, domain=REAL, accuracy=_GAUSSIAN
)
log_ndtr = elementwise("log_ndtr", scipy_special.log_ndtr, _log_ndtr_partial, domain=REAL, accuracy=_GAUSSIAN)
ndtri = elementwise(
    "ndtri", scipy_special.ndtri, _ndtri_partial, domain=UNIT_INTERVAL,
    points=(point(0.0, first=INF, second=-INF, third=INF), point(1.0, first=INF, second=INF, third=INF)),
)

# -- gamma and its kin -----------------------------------------------------------------------------


def _psi_partial(x: Any, _y: Any) -> Any:
    real_only("psi", x)
    return zeta(2.0, x)


_POLES = Accuracy("SciPy's psi loses digits near its poles below 0", low=0)
gamma = elementwise(
    "gamma", scipy_special.gamma, lambda x, y: y * psi(x), domain=POSITIVE, singular="nan at the other poles",
    points=(point(0.0, first=-INF, second=INF, third=-INF),), accuracy=_POLES,
)
gammaln = elementwise("gammaln", scipy_special.gammaln, lambda x, _y: psi(x), domain=POSITIVE, accuracy=_POLES)
loggamma = elementwise("loggamma", scipy_special.loggamma, lambda x, _y: psi(x), domain=POSITIVE, accuracy=_POLES)
psi: Any = elementwise(
    "psi", scipy_special.psi, _psi_partial, domain=POSITIVE, singular="inf at the poles",
    points=(point(0.0, first=INF, second=-INF, third=INF),),
    accuracy=Accuracy("SciPy's zeta loses digits far below 0", low=-100),
)
digamma = psi
zeta: Any = elementwise(
    "zeta", None, (missing_rule_for("zeta", "x"), lambda x1, x2, _y: -x1 * zeta(x1 + 1.0, x2)),
    domain=(numbers_from(2), POSITIVE), fn=scipy_special.zeta, singular="no derivative in x",
    accuracy=Accuracy("SciPy's values lose digits below 0", low=0),
)


@composite(domain=POSITIVE, cases=(case(0, (3,)), case(1, (2, 3)), case(3, ()), case(2, np.array([-0.4, -1.7]))))
def polygamma(n: Any, x: Any) -> Any:
    """The derivative of order n of the digamma function.

    Parameters
    ----------
    n : int
        From 0, which is digamma itself.
    x : array_like
        Real.
    """
    n = operator.index(n)
    if n < 0:
        raise ValueError(f"ad.special.polygamma: the order must be 0 or more, not {n}")
    return psi(x) if n == 0 else (-1.0) ** (n + 1) * math.factorial(n) * zeta(n + 1.0, x)


_STIRLING = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)  # B_2k / 2k: DLMF 5.11.2
_SHIFT = 10


def _psi_drop_positive(x: Any, h: Any) -> Any:
    """psi(x) - psi(x + h), by differences of the terms of the recurrence and of the asymptotic series."""
    drop = 0.0
    for k in range(_SHIFT):
        drop = drop - h / (x + h + k) / (x + k)
    near, far = 1 / (x + _SHIFT), 1 / (x + h + _SHIFT)
    near2, far2 = near * near, far * far
    divided, power, series = 1.0, 1.0, _STIRLING[0]  # divided: (near2^k - far2^k) / (near2 - far2)
    for c in _STIRLING[1:]:
        power = power * far2
        divided = divided * near2 + power
        series = series + c * divided
    return drop - np.log1p(h * near) - h * near * far * (0.5 + (near + far) * series)


def _psi_drop(x: Any, h: Any) -> Any:
    x, h = floats(x, h)
    positive = (x > 0) & (h > 0)
    drop = _psi_drop_positive(np.where(positive, x, 1), np.where(positive, h, 1))
    return np.where(positive, drop, scipy_special.psi(x) - scipy_special.psi(np.add(x, h)))


psi_drop = elementwise(
    "psi_drop", None, (lambda x1, x2, _y: zeta(2.0, x1) - zeta(2.0, x1 + x2), lambda x1, x2, _y: -zeta(2.0, x1 + x2)),
    domain=(POSITIVE, POSITIVE), fn=_psi_drop, singular="nan at the poles",
    accuracy=inexact("the difference cancels where x2 is small beside x1", math.inf, 1e-150),
)
beta = elementwise(
    "beta", scipy_special.beta, (lambda x1, x2, y: y * psi_drop(x1, x2), lambda x1, x2, y: y * psi_drop(x2, x1)),
    domain=(POSITIVE, POSITIVE), accuracy=inexact("SciPy's values", 4096, 0, 1e6),
)
betaln = elementwise(
    "betaln", scipy_special.betaln, (lambda x1, x2, _y: psi_drop(x1, x2), lambda x1, x2, _y: psi_drop(x2, x1)),
    domain=(POSITIVE, POSITIVE), accuracy=_POLES,
)


def _gamma_density(a: Any, x: Any) -> Any:
    """x^(a - 1) exp(-x) / gamma(a); for large a by Stirling's series, for the terms of the logarithm cancel then."""
    large = a > 30
    near, far = where(large, 1.0, a), where(large, a, 31.0)
    ahead = (where(large, x, far) - far) / far
    square = far * far
    series = (1 / 12 - (1 / 360 - (1 / 1260 - 1 / 1680 / square) / square) / square) / far  # DLMF 5.11.1
    density = exp((far - 1) * log1p(ahead) - far * ahead - series) / (SQRT_2PI * sqrt(far))
    return where(large, density, exp(xlogy(near - 1, x) - x - gammaln(near)))


_DENSITY = inexact("the logarithm's rounding counts as often as its terms are large")
gammainc = elementwise(
    "gammainc", scipy_special.gammainc, (missing_rule_for("gammainc", "a"), lambda x1, x2, _y: _gamma_density(x1, x2)),
    domain=(numbers_from(1), POSITIVE), singular="no derivative in a", accuracy=_DENSITY,
)
gammaincc = elementwise(
    "gammaincc", scipy_special.gammaincc,
    (missing_rule_for("gammaincc", "a"), lambda x1, x2, _y: -_gamma_density(x1, x2)),
    domain=(numbers_from(1), POSITIVE), singular="no derivative in a", accuracy=_DENSITY,
)

# -- logistic --------------------------------------------------------------------------------------

expit: Any = elementwise("expit", scipy_special.expit, lambda x, y: y * expit(-x), domain=REAL)
log_expit = elementwise("log_expit", scipy_special.log_expit, lambda x, _y: expit(-x), domain=REAL)
logit = elementwise(
    "logit", scipy_special.logit, lambda x, _y: 1 / (x * (1 - x)), domain=UNIT_INTERVAL,
    points=(point(0.0, first=INF, second=-INF, third=INF), point(1.0, first=INF, second=INF, third=INF)),
)

# -- entropies -------------------------------------------------------------------------------------


def _ratio(x1: Any, x2: Any) -> Any:
    """x1 / x2, and 0 where both are 0; as x1 * (1 / x2) where x2 is 0, for its derivatives."""
    zero = x2 == 0
    return where(zero, scale(x1, 1 / x2), x1 / where(zero, 1, x2))


def _constant_ratio(x1: Any, x2: Any) -> Any:
    """x1 / x2, and 0 with all its derivatives where both are 0."""
    return quotient(x1, x2, (x1 == 0) & (x2 == 0))


def _log_ratio(x1: Any, x2: Any) -> Any:
    """log(x1 / x2), and -1 where both are 0: exact where it is small, and where the ratio leaves the range.

    With -1, what is made of it has the right derivative along x1 = x2, where `rel_entr` and `kl_div` are 0.
    """
    x1, x2 = floats(x1, x2)
    both = (x1 == 0) & (x2 == 0)
    x1, x2 = np.where(both, 1, x1), np.where(both, 1, x2)
    with np.errstate(all="ignore"):
        ratio = x1 / x2
        far = (ratio < np.finfo(ratio.dtype).tiny) | np.isinf(ratio)
        logarithm = np.where((0.5 < ratio) & (ratio < 2), np.log1p((x1 - x2) / x2), np.log(ratio))
        return np.where(both, -1, np.where(far, np.log(x1) - np.log(x2), logarithm))


log_ratio = elementwise(
    "log_ratio", None, (lambda x1, x2, _y: quotient(1, x1, (x1 == 0) & (x2 == 0)),
                        lambda x1, x2, _y: quotient(-1, x2, (x1 == 0) & (x2 == 0))),
    domain=(POSITIVE, POSITIVE), fn=_log_ratio, shape_rule=elementwise_shape(np.divide),
)
xlogy = elementwise(
    "xlogy", scipy_special.xlogy, (lambda _x1, x2, _y: log(x2), lambda x1, x2, _y: _ratio(x1, x2)),
    domain=(REAL, POSITIVE), points=(
        point(0.0, 0.0, first=(-INF, 0), second=((0, INF), (INF, 0))),
        point(0.0, 1.0, first=0, second=((0, 1), (1, 0))),
        point(2.0, 0.0, first=(-INF, INF), second=((0, INF), (INF, -INF))),
    ),
)
xlog1py = elementwise(
    "xlog1py", scipy_special.xlog1py, (lambda _x1, x2, _y: log1p(x2), lambda x1, x2, _y: _ratio(x1, 1 + x2)),
    domain=(REAL, UNIT), points=(
        point(0.0, -1.0, first=(-INF, 0), second=((0, INF), (INF, 0))),
        point(0.0, 0.0, first=0, second=((0, 1), (1, 0))),
    ),
)
entr = elementwise(
    "entr", scipy_special.entr, lambda x, _y: -log(x) - 1, domain=POSITIVE,
    points=(point(0.0, first=INF, second=-INF, third=INF),),
    accuracy=inexact("it cancels where it is zero, at 1/e"),
)
rel_entr = elementwise(
    "rel_entr", scipy_special.rel_entr,
    (lambda x1, x2, _y: log_ratio(x1, x2) + 1, lambda x1, x2, _y: -_constant_ratio(x1, x2)),
    domain=(POSITIVE, POSITIVE), points=(
        point(0.0, 0.0, first=(0, 0), second=0, third=0),
        point(0.0, 2.0, first=(-INF, 0), second=((INF, -0.5), (-0.5, 0))),
        point(2.0, 0.0, first=(INF, -INF), second=((0.5, -INF), (-INF, INF))),
    ),
    accuracy=inexact("for x1 it cancels where it is zero, at x2/e"),
)
kl_div = elementwise(
    "kl_div", scipy_special.kl_div,
    (lambda x1, x2, _y: log_ratio(x1, x2), lambda x1, x2, _y: 1 - _constant_ratio(x1, x2)),
    domain=(POSITIVE, POSITIVE), points=(
        point(0.0, 0.0, first=(-1, 1), second=0, third=0),
        point(0.0, 2.0, first=(-INF, 1), second=((INF, -0.5), (-0.5, 0))),
        point(2.0, 0.0, first=(INF, -INF), second=((0.5, -INF), (-INF, INF))),
    ),
    accuracy=inexact("for x2 it cancels where x1 is near x2"),
)

# -- powers ----------------------------------------------------------------------------------------


def _exprel_partial(x: Any, y: Any) -> Any:
    """(exp(x) - y) / x; its power series where these cancel, and exp(x) = 1 + x y where they overflow."""
    near = absolute(x) < 1
    small, large = where(near, x, 0), where(near, 1, x)
    series = 0.0
    for k in range(17, -1, -1):
        series = series * small + (k + 1) / math.factorial(k + 2)
    right = large > 0
    numerator = where(right, where(right, y, 1) * (large - 1) + 1, exp(where(right, 0, large)) - y)
    return where(near, series, numerator / large)


def _boxcox_exponent(x1: Any, x2: Any, y: Any) -> Any:
    """log^2 x1 times the derivative of exprel at x2 log x1, for y is log x1 times exprel of that; -1 / x2 at 0."""
    zero = x1 == 0
    logarithm = log(where(zero, 1, x1))
    exponent = x2 * logarithm
    return where(zero, y * y, logarithm * logarithm * _exprel_partial(exponent, exprel(exponent)))


exprel = elementwise("exprel", scipy_special.exprel, _exprel_partial, domain=REAL)
boxcox = elementwise(
    "boxcox", scipy_special.boxcox, (lambda x1, x2, _y: x1 ** (x2 - 1), _boxcox_exponent), domain=(POSITIVE, REAL),
    points=(point(0.0, 2.0, first=(0, 0.25), second=((1, 0), (0, -0.25))), point(0.0, 0.0, first=INF)),
    singular="inf for x2 where x1 = 0 and x2 <= 0",
    accuracy=Accuracy("the rounding of x2 - 1, and of x2 log x1, counts log x1 times", 1024, 1024),
)

# -- sums of exponentials: shifted by the largest, so that nothing overflows -------------------------


def _floating(x: Any) -> Any:
    x = x if isinstance(x, Array) else asarray(x)
    return x if x.dtype.kind in "fc" else x * 1.0


_OVER_AXES = (case((4,)), case((2, 3), axis=0), case((2, 3, 2), axis=(0, -1)), case(()))


@composite(domain=REAL, singular="infinities share the gradient equally", cases=(
    *_OVER_AXES, case((2, 3), axis=1, keepdims=True), case((3,), b=np.array([0.5, 0.0, 2.0])),
))
def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False) -> Any:
    """log(sum(b exp(a))), computed without overflow.

    Parameters
    ----------
    a : array_like
    axis : int or tuple of ints, optional
        By default all of them.
    b : array_like, optional
        Factors, of the shape of `a` or broadcast to it. Where they are 0, `a` may be anything.
    keepdims : bool

    Returns
    -------
    Array, or ndarray if no argument is an Array
        -inf where all of `a` is -inf (with equal shares as the gradient); inf where any of it is inf.
    """
    a = _floating(a)
    counted = a
    if b is not None:
        b = b if isinstance(b, Array) else asarray(b)
        counted = where(b == 0, -np.inf, a)
    top = largest(counted, axis)
    if b is not None:  # what would overflow has no part in the sum
        ahead = stop_gradient(a).real - np.where(np.isfinite(top), top, 0)
        a = where((b == 0) & (ahead > math.log(np.finfo(a.dtype).max)), -np.inf, a)
    return log_sum_exp(a, axis, keepdims, b, top)


@composite(domain=REAL, cases=_OVER_AXES, singular="infinities share equally")
def softmax(x: Any, axis: Any = None) -> Any:
    """exp(x) / sum(exp(x)), computed without overflow.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of ints, optional
        What sums to 1; by default all of it.

    Returns
    -------
    Array, or ndarray for plain `x`
        Of the shape of `x`. Entries of inf, and entries that are all -inf, have equal shares.
    """
    x = _floating(x)
    terms = exp(gap(x, largest(x, axis)))
    return terms / sum(terms, axis, keepdims=True)


@composite(domain=REAL, cases=_OVER_AXES, singular="infinities share equally")
def log_softmax(x: Any, axis: Any = None) -> Any:
    """The logarithm of `softmax(x, axis)`, exact where that vanishes.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of ints, optional
        By default all of them.

    Returns
    -------
    Array, or ndarray for plain `x`
        Of the shape of `x`.
    """
    x = _floating(x)
    above = gap(x, largest(x, axis))
    return above - log(sum(exp(above), axis, keepdims=True))
