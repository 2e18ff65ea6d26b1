"""The functions of scipy.special, and the stable sums of exponentials that go with them.

The ufuncs are reached as `scipy.special.erf(x)` or as `ad.special.erf(x)`; SciPy's other functions do
not let us know that they were called on values of ours, so those are called from here.

In a partial, `x` (or `x1`, `x2`) are the inputs and `y` is the output. Constants are Python's
numbers, which leave single precision as it is. Sources of the formulas: DLMF chapters 5 to 10.
"""
import math
import operator

import numpy as np

from ad._core import Array
from ad._leaves import stop_gradient
from ad.errors import MissingRule, needs_scipy
from ad.ops.choice import where
from ad.ops.domains import NONZERO, POSITIVE, REAL, UNIT, UNIT_INTERVAL
from ad.ops.elementwise import INF, LN10, absolute, cbrt, exp, exp2, expm1, log, log1p, quotient, scale, sign, sinh
from ad.ops.exponentials import gap, largest, log_sum_exp
from ad.ops.forms import TABLE, UFUNCS, case, composite, elementwise, point
from ad.ops.joining import asarray
from ad.ops.outlines import joint
from ad.ops.reductions import sum

try:
    from scipy import special as scipy_special
except ImportError:
    raise needs_scipy("ad.special") from None

__all__ = [
    "beta", "betaln", "boxcox", "cbrt", "digamma", "entr", "erf", "erfc", "erfcinv", "erfcx", "erfinv", "exp10", "exp2",
    "expit", "expm1", "exprel", "gamma", "gammainc", "gammaincc", "gammaln", "i0", "i0e", "i1", "i1e", "iv", "ive",
    "j0", "j1", "jv", "k0", "k1", "kl_div", "kv", "log1p", "log_expit", "log_ndtr", "log_softmax", "loggamma", "logit",
    "logsumexp", "ndtr", "ndtri", "polygamma", "psi", "rel_entr", "softmax", "xlog1py", "xlogy", "y0", "y1", "yv",
    "zeta",
]

SQRT_PI, SQRT_2, SQRT_2PI = math.sqrt(math.pi), math.sqrt(2), math.sqrt(2 * math.pi)


def _numbers_from(low):
    """A domain of integers: an argument with respect to which there is no derivative."""
    return lambda rng, shape: rng.integers(low, low + 4, shape)


def _missing(name, argument):
    """The partial of an argument for which there is none."""

    def partial(_x1, _x2, _y):
        raise MissingRule(
            f"ad: scipy.special.{name} has no rule, in reverse or in forward mode, for its argument {argument}, which "
            "is being differentiated; cut it off on purpose with ad.stop_gradient"
        )

    return partial


def _real_only(name, x):
    if x.dtype.kind == "c":
        raise MissingRule(f"ad: no rule for scipy.special.{name} of complex arguments")


# -- SciPy's own objects for functions that NumPy has too ------------------------------------------

for _name in ("cbrt", "exp2", "expm1", "log1p"):
    _ufunc = getattr(scipy_special, _name)
    UFUNCS[_ufunc] = TABLE[_name].function
    TABLE[_name].numpy += (_ufunc,)

exp10 = elementwise("exp10", scipy_special.exp10, lambda _x, y: LN10 * y, domain=REAL)

# -- the error function and the normal distribution ------------------------------------------------


def _erfcx_partial(x, y):
    """2 x y - 2 / sqrt(pi); beyond 30, where these cancel, the asymptotic series of that."""
    far = x > 30
    s = where(far, x, 30.0) ** -2
    series = 1.0
    for k in (6, 5, 4, 3, 2, 1):
        series = 1.0 - (k + 0.5) * s * series
    return where(far, -s * series / SQRT_PI, 2 * where(far, 0, x) * y - 2 / SQRT_PI)


def _log_ndtr_partial(x, _y):
    """The density over the probability, from erfcx where both vanish."""
    right = x > 0
    left, right_x = where(right, 0, x), where(right, x, 0)
    density = exp(-0.5 * right_x * right_x) / SQRT_2PI
    return where(right, density / ndtr(right_x), 2 / (SQRT_2PI * erfcx(left / -SQRT_2)))


erf = elementwise("erf", scipy_special.erf, lambda x, _y: (2 / SQRT_PI) * exp(-x * x), domain=REAL)
erfc = elementwise("erfc", scipy_special.erfc, lambda x, _y: (-2 / SQRT_PI) * exp(-x * x), domain=REAL)
erfcx = elementwise("erfcx", scipy_special.erfcx, _erfcx_partial, domain=REAL)
erfinv = elementwise(
    "erfinv", scipy_special.erfinv, lambda _x, y: (SQRT_PI / 2) * exp(y * y), domain=UNIT,
    points=(point(1.0, first=INF, second=INF, third=INF), point(-1.0, first=INF, second=-INF, third=INF)),
)
erfcinv = elementwise(
    "erfcinv", scipy_special.erfcinv, lambda _x, y: (-SQRT_PI / 2) * exp(y * y), domain=UNIT_INTERVAL,
    points=(point(0.0, first=-INF, second=INF, third=-INF), point(2.0, first=-INF, second=-INF, third=-INF)),
)
ndtr = elementwise("ndtr", scipy_special.ndtr, lambda x, _y: exp(-0.5 * x * x) / SQRT_2PI, domain=REAL)
log_ndtr = elementwise("log_ndtr", scipy_special.log_ndtr, _log_ndtr_partial, domain=REAL)
ndtri = elementwise(
    "ndtri", scipy_special.ndtri, lambda _x, y: SQRT_2PI * exp(0.5 * y * y), domain=UNIT_INTERVAL,
    points=(point(0.0, first=INF, second=-INF, third=INF), point(1.0, first=INF, second=INF, third=INF)),
)

# -- gamma and its kin -----------------------------------------------------------------------------


def _psi_partial(x, _y):
    _real_only("psi", x)
    return zeta(2.0, x)


gamma = elementwise(
    "gamma", scipy_special.gamma, lambda x, y: y * psi(x), domain=POSITIVE, singular="nan at the other poles",
    points=(point(0.0, first=-INF, second=INF, third=-INF),),
)
gammaln = elementwise("gammaln", scipy_special.gammaln, lambda x, _y: psi(x), domain=POSITIVE)
loggamma = elementwise("loggamma", scipy_special.loggamma, lambda x, _y: psi(x), domain=POSITIVE)
psi = digamma = elementwise("psi", scipy_special.psi, _psi_partial, domain=POSITIVE, singular="inf at the poles",
                            points=(point(0.0, first=INF, second=-INF, third=INF),))
zeta = elementwise(
    "zeta", None, (_missing("zeta", "x"), lambda x1, x2, _y: -x1 * zeta(x1 + 1.0, x2)),
    domain=(_numbers_from(2), POSITIVE), fn=scipy_special.zeta, singular="no derivative in x",
)


@composite(domain=POSITIVE, cases=(case(0, (3,)), case(1, (2, 3)), case(3, ()), case(2, np.array([-0.4, -1.7]))))
def polygamma(n, x):
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


beta = elementwise(
    "beta", scipy_special.beta,
    (lambda x1, x2, y: y * (psi(x1) - psi(x1 + x2)), lambda x1, x2, y: y * (psi(x2) - psi(x1 + x2))),
    domain=(POSITIVE, POSITIVE),
)
betaln = elementwise(
    "betaln", scipy_special.betaln,
    (lambda x1, x2, _y: psi(x1) - psi(x1 + x2), lambda x1, x2, _y: psi(x2) - psi(x1 + x2)), domain=(POSITIVE, POSITIVE),
)


def _gamma_density(a, x):
    return exp(xlogy(a - 1, x) - x - gammaln(a))


gammainc = elementwise(
    "gammainc", scipy_special.gammainc, (_missing("gammainc", "a"), lambda x1, x2, _y: _gamma_density(x1, x2)),
    domain=(_numbers_from(1), POSITIVE), singular="no derivative in a",
)
gammaincc = elementwise(
    "gammaincc", scipy_special.gammaincc, (_missing("gammaincc", "a"), lambda x1, x2, _y: -_gamma_density(x1, x2)),
    domain=(_numbers_from(1), POSITIVE), singular="no derivative in a",
)

# -- logistic --------------------------------------------------------------------------------------

expit = elementwise("expit", scipy_special.expit, lambda x, y: y * expit(-x), domain=REAL)
log_expit = elementwise("log_expit", scipy_special.log_expit, lambda x, _y: expit(-x), domain=REAL)
logit = elementwise(
    "logit", scipy_special.logit, lambda x, _y: 1 / (x * (1 - x)), domain=UNIT_INTERVAL,
    points=(point(0.0, first=INF, second=-INF, third=INF), point(1.0, first=INF, second=INF, third=INF)),
)

# -- entropies -------------------------------------------------------------------------------------


def _ratio(x1, x2):
    """x1 / x2, and 0 where both are 0; as x1 * (1 / x2) where x2 is 0, for its derivatives."""
    zero = x2 == 0
    return where(zero, scale(x1, 1 / x2), x1 / where(zero, 1, x2))


def _constant_ratio(x1, x2):
    """x1 / x2, and 0 with all its derivatives where both are 0."""
    return quotient(x1, x2, (x1 == 0) & (x2 == 0))


def _log_of_ratio(x1, x2):
    """log(x1 / x2), and 0 where both are 0."""
    both = np.equal(x1, 0) & np.equal(x2, 0)
    return np.log(np.divide(np.where(both, 1, x1), np.where(both, 1, x2)))


log_ratio = elementwise(
    "log_ratio", None, (lambda x1, x2, _y: quotient(1, x1, (x1 == 0) & (x2 == 0)),
                        lambda x1, x2, _y: quotient(-1, x2, (x1 == 0) & (x2 == 0))),
    domain=(POSITIVE, POSITIVE), fn=_log_of_ratio, outline=joint(np.divide),
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
entr = elementwise("entr", scipy_special.entr, lambda x, _y: -log(x) - 1, domain=POSITIVE,
                   points=(point(0.0, first=INF, second=-INF, third=INF),))
rel_entr = elementwise(
    "rel_entr", scipy_special.rel_entr,
    (lambda x1, x2, _y: log_ratio(x1, x2) + 1, lambda x1, x2, _y: -_constant_ratio(x1, x2)),
    domain=(POSITIVE, POSITIVE), points=(
        point(0.0, 0.0, first=(1, 0), second=0, third=0),
        point(0.0, 2.0, first=(-INF, 0), second=((INF, -0.5), (-0.5, 0))),
        point(2.0, 0.0, first=(INF, -INF), second=((0.5, -INF), (-INF, INF))),
    ),
)
kl_div = elementwise(
    "kl_div", scipy_special.kl_div,
    (lambda x1, x2, _y: log_ratio(x1, x2), lambda x1, x2, _y: 1 - _constant_ratio(x1, x2)),
    domain=(POSITIVE, POSITIVE), points=(
        point(0.0, 0.0, first=(0, 1), second=0, third=0),
        point(0.0, 2.0, first=(-INF, 1), second=((INF, -0.5), (-0.5, 0))),
        point(2.0, 0.0, first=(INF, -INF), second=((0.5, -INF), (-INF, INF))),
    ),
)

# -- powers ----------------------------------------------------------------------------------------


def _exprel_partial(x, y):
    """(exp(x) - y) / x; its power series where these cancel, and exp(x) = 1 + x y where they overflow."""
    near = absolute(x) < 1
    small, large = where(near, x, 0), where(near, 1, x)
    series = 0.0
    for k in range(17, -1, -1):
        series = series * small + (k + 1) / math.factorial(k + 2)
    right = large > 0
    numerator = where(right, where(right, y, 1) * (large - 1) + 1, exp(where(right, 0, large)) - y)
    return where(near, series, numerator / large)


def _boxcox_exponent(x1, x2, y):
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
)

# -- Bessel functions: the order is a constant -------------------------------------------------------


def _odd_part(x, y, unscaled):
    """sign(x) y, for y = exp(-|x|) unscaled(x). At 0 it and all its derivatives are the means of both sides."""
    kink = x == 0
    return where(kink, -sinh(where(kink, x, 0)) * unscaled(where(kink, x, 0)), sign(x) * y)


def _ive_partial(x1, x2, y):
    _real_only("ive", x2)
    return 0.5 * (ive(x1 - 1.0, x2) + ive(x1 + 1.0, x2)) - _odd_part(x2, y, lambda x: iv(x1, x))


def _bessel(name, partial, domain, singular="no derivative in v", points=()):
    return elementwise(
        name, getattr(scipy_special, name), (_missing(name, "v"), partial), domain=(_numbers_from(0), domain),
        singular=singular, points=points,
    )


def _unless_zero(x, y):
    """y, of terms of which the other outgrows this one at x = 0, where both are infinite."""
    return where(x == 0, 0, y)


_KINK = "the mean of both sides at 0, where the scaling has a kink"
jv = _bessel("jv", lambda x1, x2, _y: 0.5 * (jv(x1 - 1.0, x2) - jv(x1 + 1.0, x2)), NONZERO)
yv = _bessel("yv", lambda x1, x2, _y: 0.5 * (_unless_zero(x2, yv(x1 - 1.0, x2)) - yv(x1 + 1.0, x2)), POSITIVE,
             points=tuple(point(v, 0.0, first=INF, second=-INF, third=INF) for v in (0, 1, 2)))
iv = _bessel("iv", lambda x1, x2, _y: 0.5 * (iv(x1 - 1.0, x2) + iv(x1 + 1.0, x2)), NONZERO)
kv = _bessel("kv", lambda x1, x2, _y: -0.5 * (kv(x1 - 1.0, x2) + kv(x1 + 1.0, x2)), POSITIVE)
ive = _bessel("ive", _ive_partial, NONZERO, f"no derivative in v; {_KINK}", points=(
    point(0, 0.0, first=0, second=1.5, third=0), point(1, 0.0, first=0.5, second=0, third=1.875)))
j0 = elementwise("j0", scipy_special.j0, lambda x, _y: -j1(x), domain=REAL)
j1 = elementwise("j1", scipy_special.j1, lambda x, _y: 0.5 * (j0(x) - jv(2.0, x)), domain=REAL)
_RISING = (point(0.0, first=INF, second=-INF, third=INF),)
_FALLING = (point(0.0, first=-INF, second=INF, third=-INF),)
y0 = elementwise("y0", scipy_special.y0, lambda x, _y: -y1(x), domain=POSITIVE, points=_RISING)
y1 = elementwise("y1", scipy_special.y1, lambda x, _y: 0.5 * (_unless_zero(x, y0(x)) - yv(2.0, x)), domain=POSITIVE,
                 points=_RISING)
i0 = elementwise("i0", scipy_special.i0, lambda x, _y: i1(x), domain=REAL)
i1 = elementwise("i1", scipy_special.i1, lambda x, _y: 0.5 * (i0(x) + iv(2.0, x)), domain=REAL)
i0e = elementwise("i0e", scipy_special.i0e, lambda x, y: i1e(x) - _odd_part(x, y, i0), domain=NONZERO,
                  singular=_KINK, points=(point(0.0, first=0, second=1.5, third=0),))
i1e = elementwise(
    "i1e", scipy_special.i1e, lambda x, y: 0.5 * (i0e(x) + ive(2.0, x)) - _odd_part(x, y, i1), domain=NONZERO,
    singular=_KINK, points=(point(0.0, first=0.5, second=0, third=1.875),),
)
k0 = elementwise("k0", scipy_special.k0, lambda x, _y: -k1(x), domain=POSITIVE, points=_FALLING)
k1 = elementwise(
    "k1", scipy_special.k1, lambda x, _y: -0.5 * (k0(x) + kv(2.0, x)), domain=POSITIVE, points=_FALLING
)

# -- sums of exponentials: shifted by the largest, so that nothing overflows -------------------------


def _floating(x):
    x = x if isinstance(x, Array) else asarray(x)
    return x if x.dtype.kind in "fc" else x * 1.0


_OVER_AXES = (case((4,)), case((2, 3), axis=0), case((2, 3, 2), axis=(0, -1)), case(()))


@composite(domain=REAL, singular="infinities share the gradient equally", cases=(
    *_OVER_AXES, case((2, 3), axis=1, keepdims=True), case((3,), b=np.array([0.5, 0.0, 2.0])),
))
def logsumexp(a, axis=None, b=None, keepdims=False):
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
def softmax(x, axis=None):
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
def log_softmax(x, axis=None):
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
