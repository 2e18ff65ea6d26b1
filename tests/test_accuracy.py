"""The first derivatives of elementwise entries, over their whole range, against closed forms in multiple precision.

How far each may be off is said by the entry's `accuracy`. Eager and compiled gradients are both held to it.
"""
import importlib

import numpy as np
import pytest

import ad
from ad.ops import TABLE
from ad.ops.documentation import EXACT

mp = pytest.importorskip("mpmath")
scipy_special = pytest.importorskip("scipy.special")
importlib.import_module("ad.ops.special")

mp.mp.dps = 40
EPS = mp.mpf(2) ** -52
TINY = np.finfo(float).tiny
LN2, LN10, SQRT_PI, SQRT_2 = mp.log(2), mp.log(10), mp.sqrt(mp.pi), mp.sqrt(2)


def digits(x):
    """Enough of them for what cancels where `x` is far from 1."""
    return mp.workdps(60 + 2 * int(abs(mp.log10(abs(x) or 1))))


# -- closed forms -------------------------------------------------------------------------------------


def erfcx(x):
    if x > 1e9:
        return -1 / (SQRT_PI * x * x)
    with digits(x):
        return 2 * x * mp.exp(x * x) * mp.erfc(x) - 2 / mp.sqrt(mp.pi)


def log_ndtr(x):
    if x < -1e9:
        return -x
    with digits(x):
        return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi) / (mp.erfc(-x / mp.sqrt(2)) / 2)


def erfc_inverse(x):
    """y with erfc(y) = x, from the value in double precision."""
    y = mp.mpf(float(scipy_special.erfcinv(float(x))))
    with mp.workdps(50):
        for _ in range(3):  # Newton's method on the logarithm
            y += (mp.log(mp.erfc(y)) - mp.log(x)) * mp.erfc(y) * mp.sqrt(mp.pi) / 2 * mp.exp(y * y)
    return y


def erfc_growth(x):
    return mp.exp(erfc_inverse(min(x, 2 - x)) ** 2)


def psi_drop(order, x, h):
    if h < x * mp.mpf(10) ** -30:
        return -h * mp.psi(order + 1, x)
    with mp.workdps(60 + max(0, int(mp.log10(x / h)))):
        return mp.psi(order, x) - mp.psi(order, x + h)


def exprel(x):
    with digits(x):
        return (x * mp.exp(x) - mp.expm1(x)) / x**2 if x else mp.mpf(1) / 2


def scaled_bessel(v, x):
    """The derivative of exp(-|x|) I_v(x) for an integer v."""
    size, sign = abs(x), (-1) ** (int(v) + 1) if x < 0 else 1
    if size < 1e4:
        with mp.workdps(60):
            inner = (mp.besseli(v - 1, size) + mp.besseli(v + 1, size)) / 2 - mp.besseli(v, size)
            return sign * mp.exp(-size) * inner
    term, series = mp.mpf(1), mp.mpf(1) / 2
    for k in range(1, 20):
        term *= ((2 * k - 1) ** 2 - 4 * v * v) / (8 * k * size)
        series += (k + mp.mpf(1) / 2) * term
    return -sign * series / (size * mp.sqrt(2 * mp.pi * size))


def density(a, x):
    return mp.exp((a - 1) * mp.log(x) - x - mp.loggamma(a))


def bessel(function, sign):
    """The derivative of a Bessel function, by its neighbours in order."""
    return lambda v, x: (function(v - 1, x) + sign * function(v + 1, x)) / 2


def of_order(v, derivative):
    return lambda x: derivative(v, x)


bessel_j, bessel_y, bessel_i = bessel(mp.besselj, -1), bessel(mp.bessely, -1), bessel(mp.besseli, 1)


def bessel_k(v, x):
    return -mp.besselk(abs(v - 1), x) - v / x * mp.besselk(v, x)


CLOSED = {  # the partials of each entry; nan where there is none
    "multiply": (lambda a, b: b, lambda a, b: a),
    "divide": (lambda a, b: 1 / b, lambda a, b: -a / b**2),
    "reciprocal": (lambda x: -1 / x**2,),
    "square": (lambda x: 2 * x,),
    "power": (lambda a, b: b * mp.power(a, b - 1), lambda a, b: mp.power(a, b) * mp.log(a)),
    "remainder": (lambda a, b: 1, lambda a, b: -mp.floor(a / b)),
    "fmod": (lambda a, b: 1, lambda a, b: -(mp.floor if a * b > 0 else mp.ceil)(a / b)),
    "hypot": (lambda a, b: a / mp.sqrt(a * a + b * b), lambda a, b: b / mp.sqrt(a * a + b * b)),
    "arctan2": (lambda a, b: b / (a * a + b * b), lambda a, b: -a / (a * a + b * b)),
    "logaddexp": (lambda a, b: 1 / (1 + mp.exp(b - a)), lambda a, b: 1 / (1 + mp.exp(a - b))),
    "logaddexp2": (lambda a, b: 1 / (1 + mp.power(2, b - a)), lambda a, b: 1 / (1 + mp.power(2, a - b))),
    "sqrt": (lambda x: 1 / (2 * mp.sqrt(x)),),
    "cbrt": (lambda x: 1 / (3 * mp.cbrt(abs(x)) ** 2),),
    "exp": (mp.exp,),
    "exp2": (lambda x: LN2 * mp.power(2, x),),
    "exp10": (lambda x: LN10 * mp.power(10, x),),
    "expm1": (mp.exp,),
    "log": (lambda x: 1 / x,),
    "log2": (lambda x: 1 / (x * LN2),),
    "log10": (lambda x: 1 / (x * LN10),),
    "log1p": (lambda x: 1 / (1 + x),),
    "sin": (mp.cos,),
    "cos": (lambda x: -mp.sin(x),),
    "tan": (lambda x: mp.sec(x) ** 2,),
    "sinh": (mp.cosh,),
    "cosh": (mp.sinh,),
    "tanh": (lambda x: mp.sech(x) ** 2,),
    "arcsin": (lambda x: 1 / mp.sqrt((1 - x) * (1 + x)),),
    "arccos": (lambda x: -1 / mp.sqrt((1 - x) * (1 + x)),),
    "arctan": (lambda x: 1 / (1 + x * x),),
    "arcsinh": (lambda x: 1 / mp.sqrt(x * x + 1),),
    "arccosh": (lambda x: 1 / mp.sqrt((x - 1) * (x + 1)),),
    "arctanh": (lambda x: 1 / ((1 - x) * (1 + x)),),
    "erf": (lambda x: 2 / SQRT_PI * mp.exp(-x * x),),
    "erfc": (lambda x: -2 / SQRT_PI * mp.exp(-x * x),),
    "erfcx": (erfcx,),
    "erfinv": (lambda x: SQRT_PI / 2 * erfc_growth(1 - abs(x)),),
    "erfcinv": (lambda x: -SQRT_PI / 2 * erfc_growth(x),),
    "ndtr": (mp.npdf,),
    "log_ndtr": (log_ndtr,),
    "ndtri": (lambda x: mp.sqrt(2 * mp.pi) * erfc_growth(2 * x),),
    "gamma": (lambda x: mp.gamma(x) * mp.psi(0, x),),
    "gammaln": (lambda x: mp.psi(0, x),),
    "psi": (lambda x: mp.psi(1, x),),
    "zeta": (None, lambda s, q: (-1) ** int(s) * s * mp.psi(int(s), q) / mp.factorial(int(s))),
    "psi_drop": (lambda a, b: psi_drop(1, a, b), lambda a, b: -mp.psi(1, a + b)),
    "beta": (lambda a, b: mp.beta(a, b) * psi_drop(0, a, b), lambda a, b: mp.beta(a, b) * psi_drop(0, b, a)),
    "betaln": (lambda a, b: psi_drop(0, a, b), lambda a, b: psi_drop(0, b, a)),
    "gammainc": (None, density),
    "gammaincc": (None, lambda a, x: -density(a, x)),
    "expit": (lambda x: 1 / (mp.exp(x / 2) + mp.exp(-x / 2)) ** 2,),
    "log_expit": (lambda x: 1 / (1 + mp.exp(x)),),
    "logit": (lambda x: 1 / (x * (1 - x)),),
    "xlogy": (lambda a, b: mp.log(b), lambda a, b: a / b),
    "xlog1py": (lambda a, b: mp.log1p(b), lambda a, b: a / (1 + b)),
    "entr": (lambda x: -mp.log(x) - 1,),
    "rel_entr": (lambda a, b: mp.log(a / b) + 1, lambda a, b: -a / b),
    "kl_div": (lambda a, b: mp.log(a / b), lambda a, b: (b - a) / b),
    "log_ratio": (lambda a, b: 1 / a, lambda a, b: -1 / b),
    "exprel": (exprel,),
    "boxcox": (lambda a, b: mp.power(a, b - 1), lambda a, b: mp.log(a) ** 2 * exprel(b * mp.log(a))),
    "jv": (None, bessel_j), "yv": (None, bessel_y), "iv": (None, bessel_i), "kv": (None, bessel_k),
    "ive": (None, scaled_bessel),
    "j0": (of_order(0, bessel_j),), "j1": (of_order(1, bessel_j),),
    "y0": (of_order(0, bessel_y),), "y1": (of_order(1, bessel_y),),
    "i0": (of_order(0, bessel_i),), "i1": (of_order(1, bessel_i),),
    "k0": (of_order(0, bessel_k),), "k1": (of_order(1, bessel_k),),
    "i0e": (of_order(0, scaled_bessel),), "i1e": (of_order(1, scaled_bessel),),
}
CLOSED.update(float_power=CLOSED["power"], root=CLOSED["sqrt"], loggamma=CLOSED["gammaln"])

PIECEWISE = {
    "absolute", "angle", "clip", "copysign", "fabs", "floor_divide", "fmax", "fmin", "heaviside", "imag", "ldexp",
    "maximum", "minimum", "scale", "scale_dots", "sign",
}  # whose partials choose, or only move digits: their values are in the table's other tests

SLOW = {"k0", "k1", "kv", "y0", "y1", "yv"}  # in multiple precision: at fewer points

# -- where they are taken -------------------------------------------------------------------------------

# Where something vanishes: a rule must not cancel there.
NEAR = (1.0, 2.0, 0.5, np.pi / 2, np.pi, 1 / np.e, 1.4616321449683623, 2.404825557695773)


def line(rng):
    """Numbers of all sizes and both signs, more of them near 1, and near points where something vanishes."""
    exponents = np.concatenate([np.arange(-1020, 1023, 60), np.arange(-60, 60, 3), np.arange(-12, 12)])
    sizes = np.ldexp(rng.uniform(1, 2, exponents.size), exponents)
    near = [s + sign * 2.0**-k for s in NEAR for k in range(3, 52, 6) for sign in (1, -1)]
    x = np.unique(np.concatenate([sizes, near, [1.0, 2.0, 3.0, 10.0, 25.0, 29.0, 30.0, 100.0]]))
    return np.concatenate([-x[::-1], x])


def plane(rng):
    """Pairs of such numbers: of all combinations of sizes and signs, near each other, and common ones."""
    exponents = np.array([-1000, -400, -100, -30, -3, 0, 1, 4, 9, 33, 100, 400, 1000])
    sizes = np.ldexp(rng.uniform(1, 2, exponents.size), exponents)
    x, y = (v.ravel() for v in np.meshgrid(*[np.concatenate([sizes, -sizes])] * 2))
    close = np.ldexp(rng.uniform(1, 2, 40), rng.integers(-30, 60, 40))
    other = close * (1 + np.ldexp(1.0, -rng.integers(2, 52, 40)))
    common = rng.normal(0, 10, (2, 60))
    return [np.concatenate([x, close, other, common[0], abs(common[0])]),
            np.concatenate([y, other, close, *abs(common)])]


def points(entry, rng):
    if len(entry.op.partials) == 1:
        xs = [line(rng)]
    elif CLOSED[entry.name][0] is None:  # of an integer, and no derivative with respect to it
        x = line(rng)
        xs = [rng.integers(2, 7, x.size).astype(float), x]
        if entry.name.startswith("gammainc"):  # of large ones too, near which the density is
            orders = 10.0 ** rng.uniform(1, 12, 60)
            wide = orders + rng.normal(size=60) * np.sqrt(orders)
            xs = [np.concatenate([xs[0], orders]), np.concatenate([x, wide])]
    else:
        xs = plane(rng)
    low, high = entry.accuracy.low, entry.accuracy.high
    inside = np.logical_and.reduce([(x > low) & (x < high) for x in xs])
    return [x[inside][:: 4 if entry.name in SLOW else 1] for x in xs]


# -- the errors -------------------------------------------------------------------------------------------


def exact(closed, values):
    """A closed form at some floats; None where it is not a real number, or outside of the range of float64."""
    try:
        found = mp.mpmathify(closed(*[mp.mpf(float(v)) for v in values]))
    except (ValueError, ZeroDivisionError):
        return None
    return found if isinstance(found, mp.mpf) and mp.isfinite(found) and abs(found) < 1.79e308 else None


def errors(found, truth):
    """In ulps of the derivative, and of the larger of 1 and its size."""
    if not np.isfinite(found):
        return mp.inf, mp.inf
    error, size = abs(mp.mpf(float(found)) - truth), abs(truth)
    relative = 0 if error < TINY else error / max(size, mp.mpf(TINY)) / EPS
    return relative, error / max(1, size) / EPS


def by_mode(entry, i, xs):
    """The partial of input i, in each of the ways in which it may be computed."""
    others = list(xs)

    def total(x):
        others[i] = x
        return np.sum(entry.function(*others))

    yield "eager", ad.grad(total)(xs[i])
    yield "compiled", ad.compile(ad.grad(total))(xs[i])
    few = slice(None, None, 7)

    def one(*values):
        return ad.grad(lambda v: entry.function(*values[:i], v, *values[i + 1 :]))(values[i])

    numbers = np.full(xs[i].shape, np.nan)
    numbers[few] = [one(*map(float, values)) for values in zip(*[x[few] for x in xs])]
    yield "numbers", numbers


PARTIALS = [pytest.param(name, i, id=f"{name}-{i}") for name, forms in CLOSED.items() if name in TABLE
            for i, closed in enumerate(forms) if closed]


@pytest.mark.parametrize("name, i", PARTIALS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_first_derivative_is_accurate_over_its_whole_range(name, i, rng):
    entry, closed = TABLE[name], CLOSED[name][i]
    xs = points(entry, rng)
    defined = np.isfinite(entry.function(*xs))
    xs = [x[defined] for x in xs]
    truths = [exact(closed, values) for values in zip(*xs)]
    assert sum(truth is not None for truth in truths) > 20
    for mode, found in by_mode(entry, i, xs):
        for k, truth in enumerate(truths):
            if truth is None or mode == "numbers" and k % 7:
                continue
            relative, absolute = errors(found[k], truth)
            if relative > entry.accuracy.relative or absolute > entry.accuracy.absolute:
                raise AssertionError(
                    f"{mode}, at {[float(x[k]) for x in xs]}: {found[k]!r} and not {mp.nstr(truth, 17)}: off by "
                    f"{float(relative):.3g} ulps, {float(absolute):.3g} absolute")


def test_every_elementwise_entry_has_a_closed_form():
    elementwise = {entry.name: entry for entry in TABLE.values() if entry.form == "elementwise"}
    rules = {name for name, entry in elementwise.items() if any(callable(partial) for partial in entry.op.partials)}
    assert rules - PIECEWISE == set(CLOSED) & set(elementwise)


def test_what_is_inexact_says_why():
    for entry in TABLE.values():
        if entry.accuracy is not EXACT:
            assert entry.accuracy.reason and entry.accuracy.reason in entry.function.__doc__
