"""Ops by ad.ops around functions that cannot be recorded, for the tests of them: a name of the module leads to each."""
import math

import numpy as np

import ad

__all__ = [
    "IN_NUMPY", "SAMPLES", "cauchy_product", "counted", "erf", "gamma_like", "polar", "power_sum", "prefix_sums",
    "scaled_power", "sine_pair", "total", "weighted",
]


def by_loop(n, function):
    """An array made element by element, as only an opaque function may."""
    y = np.empty(n)
    for i in range(n):
        y[i] = float(function(i))
    return y


# -- elementwise

erf = ad.ops.elementwise(math.erf, partials=lambda x, y: 2 / np.sqrt(np.pi) * np.exp(-x**2), vectorize=True)


@ad.ops.elementwise(partials=(lambda x1, _x2, _y: 2 * x1, lambda _x1, x2, _y: np.cos(x2)))
def gamma_like(x1, x2):
    """Of two inputs that broadcast, without a static parameter."""
    return np.square(x1) + np.sin(x2)


@ad.ops.elementwise(partials=(lambda x, a, y, *, n: a * n * x ** (n - 1), lambda x, _a, _y, *, n: x**n))
def scaled_power(x, a, *, n=3):
    return a * np.power(x, n)


# -- linear and bilinear


@ad.ops.linear(transpose=lambda y_bar, x: np.cumsum(y_bar[::-1])[::-1])
def prefix_sums(x):
    return by_loop(len(x), lambda i: np.sum(x[: i + 1]))


@ad.ops.linear(transpose=lambda y_bar, x, w, *, k: (k * y_bar, np.full(w.shape, 1.0) * np.sum(y_bar)))
def weighted(x, w, *, k=2.0):
    """Linear in two inputs together."""
    return k * x + np.sum(w)


def _correlate(y_bar, other, n):
    return np.stack([np.sum(y_bar[i : i + len(other)] * other) for i in range(n)])


@ad.ops.bilinear(transposes=(lambda y_bar, a, b: _correlate(y_bar, b, a.shape[0]),
                             lambda y_bar, a, b: _correlate(y_bar, a, b.shape[0])))
def cauchy_product(a, b):
    return np.convolve(a, b)


# -- custom: the rule in one mode, for each input or for all, of one output or two


@ad.ops.custom(vjp=lambda y_bar, x, p, _y, *, k: (
    y_bar * k * p * x ** (p - 1), np.sum(y_bar * x**p * np.log(x)) * k))
def power_sum(x, p, *, k=1):
    return by_loop(len(x), lambda i: k * math.pow(x[i], p))


@ad.ops.custom(jvp=(lambda r_dot, _r, t, _y: (r_dot * np.cos(t), r_dot * np.sin(t)),
                    lambda t_dot, r, t, _y: (-t_dot * r * np.sin(t), t_dot * r * np.cos(t))), outputs=2)
def polar(r, t):
    return r * np.cos(t), r * np.sin(t)


@ad.ops.custom(vjp=lambda y_bar, x, y: y_bar[0] * y[1] - y_bar[1] * y[0], outputs=2)
def sine_pair(x):
    return [np.sin(x), np.cos(x)]


calls = []


@ad.ops.custom(jvp=lambda x_dot, x, _y: 2 * x_dot @ x)
def counted(x):
    """Notes its calls."""
    calls.append(x.copy())
    return math.fsum(x**2)


X, P = np.array([0.3, 0.7, 1.2]), np.array([0.5, 1.1, 0.2, 0.9])
# Name -> the function to differentiate, its arguments, and the same function in plain NumPy.
SAMPLES = {
    "elementwise of C": (erf, (X,), None),
    "elementwise of a number": (erf, (np.float64(0.4),), None),
    "elementwise, broadcast": (gamma_like, (X[:, None], P), lambda a, b: a**2 + np.sin(b)),
    "elementwise, static": (lambda x, a: scaled_power(x, a, n=2), (X, P[:, None]), lambda x, a: a * x**2),
    "elementwise, default": (scaled_power, (X, 2.0), lambda x, a: a * x**3),
    "linear": (prefix_sums, (X,), np.cumsum),
    "linear in two": (lambda x, w: weighted(x, w, k=3.0), (X, P), lambda x, w: 3 * x + np.sum(w)),
    "bilinear": (cauchy_product, (X, P), np.convolve),
    "custom by vjp": (power_sum, (X, 1.7), lambda x, p: x**p),
    "custom by vjp, static": (lambda x, p: power_sum(x, p, k=4), (X, 0.7), lambda x, p: 4 * x**p),
    "two outputs by jvp": (polar, (X, 0.8), lambda r, t: (r * np.cos(t), r * np.sin(t))),
    "two outputs by vjp": (sine_pair, (X,), lambda x: (np.sin(x), np.cos(x))),
    "a number by jvp": (counted, (X,), lambda x: np.sum(x**2)),
}


# -- what the tests of all ops share

IN_NUMPY = [name for name, (_, _, plain) in SAMPLES.items() if plain is not None]


def total(f):
    """A number that depends on every output of `f`, and not linearly."""

    def loss(*args):
        y = f(*args)
        return sum(np.sum(np.sin(part) * (k + 1)) for k, part in enumerate(y if isinstance(y, (tuple, list)) else (y,)))

    return loss
