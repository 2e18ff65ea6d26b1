"""An independent reference for derivatives: hyper-dual numbers over plain NumPy arrays, with formulas of their own.

A hyper-dual `a + d1 e1 + d2 e2 + d12 e1 e2` with e1**2 = e2**2 = 0 carries a value, two directional derivatives and the
second derivative in both directions (Fike and Alonso, 2011). Nothing here comes from the table of ops.
"""
import numpy as np

__all__ = ["BINARY", "UNARY", "Hyperdual", "apply", "bilinear", "linear"]


class Hyperdual:
    """A value with two tangents and their second-order term; `kink` says that a choice was made on the way.

    `largest` is the largest number that went into the parts: where they cancel, the rounding is of that size.
    """

    def __init__(self, a, d1=None, d2=None, d12=None, kink=False, terms=()):
        self.parts = [np.asarray(a), *[np.zeros_like(a) if d is None else np.asarray(d) for d in (d1, d2, d12)]]
        self.kink = kink
        self.largest = max([np.max(np.abs(term), initial=0) for term in (*self.parts, *terms)])

    @property
    def a(self):
        return self.parts[0]


def lifted(x):
    return x if isinstance(x, Hyperdual) else Hyperdual(x)


def together(*xs):
    """Operands as hyper-duals; a Python number takes the dtype of the others, as in NumPy."""
    dtype = np.result_type(*[x.a.dtype if isinstance(x, Hyperdual) else x for x in xs])
    weak = (int, float, complex)
    return [x if isinstance(x, Hyperdual) else Hyperdual(np.asarray(x, dtype if type(x) in weak else None)) for x in xs]


def linear(f, *xs):
    """A function that is linear in all of its operands together."""
    xs = together(*xs)
    return Hyperdual(*[f(*parts) for parts in zip(*[x.parts for x in xs])], kink=any(x.kink for x in xs))


def bilinear(f, x, y):
    x, y = together(x, y)
    (a, a1, a2, a12), (b, b1, b2, b12) = x.parts, y.parts
    return Hyperdual(f(a, b), f(a1, b) + f(a, b1), f(a2, b) + f(a, b2),
                     f(a12, b) + f(a1, b2) + f(a2, b1) + f(a, b12), x.kink or y.kink)


def unary(x, f, slope, second, kink=False):
    """An elementwise function from its value and first two derivatives, arrays all."""
    x = lifted(x)
    _, d1, d2, d12 = x.parts
    return Hyperdual(f, slope * d1, slope * d2, slope * d12 + second * d1 * d2, x.kink or bool(np.any(kink)))


def binary(x, y, f, fx, fy, fxx, fxy, fyy, kink=False):
    x, y = lifted(x), lifted(y)
    (_, a1, a2, a12), (_, b1, b2, b12) = x.parts, y.parts
    second = fxx * a1 * a2 + fxy * (a1 * b2 + a2 * b1) + fyy * b1 * b2
    return Hyperdual(f, fx * a1 + fy * b1, fx * a2 + fy * b2, fx * a12 + fy * b12 + second,
                     x.kink or y.kink or bool(np.any(kink)), (fx * a1, fx * a2, fx * a12, fxx * a1 * a2))


def _modulus(x):
    a = lifted(x).a
    if a.dtype.kind != "c":
        return unary(x, np.abs(a), np.sign(a), 0 * a, a == 0)
    u, v = linear(np.real, x), linear(np.imag, x)
    return apply("hypot", u, v)


def _power(x, p):
    """x to the power of a constant."""
    a = lifted(x).a
    slope = p * a ** (p - 1) if p else 0 * a
    second = p * (p - 1) * a ** (p - 2) if p not in (0, 1) else 0 * a
    return unary(x, a ** p, slope, second)


def _choice(x, y, first):
    """Either of two, by a mask of where it is the first; the mean where they are equal."""
    a, b = lifted(x).a, lifted(y).a
    tie = a == b
    w = np.where(tie, 0.5, first).astype(np.result_type(a, b))
    return binary(x, y, np.where(first, a, b), w, 1 - w, 0 * w, 0 * w, 0 * w, tie)


def _hypot(x, y):
    a, b = lifted(x).a, lifted(y).a
    r = np.hypot(a, b)
    at_zero = r == 0
    s = np.where(at_zero, 1, r)
    u, v = a / s, b / s
    return binary(x, y, r, u, v, v * v / s, -u * v / s, u * u / s, at_zero)


def _arctan2(x, y):
    a, b = lifted(x).a, lifted(y).a
    r = np.hypot(a, b)
    u, v = a / r, b / r
    second = 2 * u * v / r / r
    return binary(x, y, np.arctan2(a, b), v / r, -u / r, -second, (u - v) * (u + v) / r / r, second)


def _logaddexp(x, y):
    a, b = lifted(x).a, lifted(y).a
    w, v = 1 / (1 + np.exp(b - a)), 1 / (1 + np.exp(a - b))
    return binary(x, y, np.logaddexp(a, b), w, v, w * v, -w * v, w * v)


def _divide(x, y):
    a, b = lifted(x).a, lifted(y).a
    q = a / b
    return binary(x, y, q, 1 / b, -q / b, 0 * q, -1 / b / b, 2 * q / b / b)


UNARY = {  # name -> (its value and first two derivatives at a)
    "sin": lambda a: (np.sin(a), np.cos(a), -np.sin(a)),
    "cos": lambda a: (np.cos(a), -np.sin(a), -np.cos(a)),
    "tanh": lambda a: (np.tanh(a), 1 - np.tanh(a) ** 2, -2 * np.tanh(a) * (1 - np.tanh(a) ** 2)),
    "exp": lambda a: (np.exp(a), np.exp(a), np.exp(a)),
    "log": lambda a: (np.log(a), 1 / a, -1 / a / a),
    "sqrt": lambda a: (np.sqrt(a), 0.5 / np.sqrt(a), -0.25 / np.sqrt(a) / a),
    "square": lambda a: (np.square(a), 2 * a, 2 + 0 * a),
    "reciprocal": lambda a: (np.reciprocal(a), -1 / a / a, 2 / a / a / a),
    "negative": lambda a: (-a, -1 + 0 * a, 0 * a),
    "sinh": lambda a: (np.sinh(a), np.cosh(a), np.sinh(a)),
    "cosh": lambda a: (np.cosh(a), np.sinh(a), np.cosh(a)),
    "arctan": lambda a: (np.arctan(a), 1 / (1 + a * a), -2 * a / (1 + a * a) / (1 + a * a)),
    "arcsinh": lambda a: (np.arcsinh(a), 1 / np.hypot(1, a), -a / np.hypot(1, a) ** 3),
    "expm1": lambda a: (np.expm1(a), 1 + np.expm1(a), 1 + np.expm1(a)),
    "log1p": lambda a: (np.log1p(a), 1 / (1 + a), -1 / (1 + a) / (1 + a)),
    "arcsin": lambda a: (np.arcsin(a), 1 / np.sqrt((1 - a) * (1 + a)), a / np.sqrt((1 - a) * (1 + a)) ** 3),
}
BINARY = {
    "add": lambda x, y: linear(np.add, x, y),
    "subtract": lambda x, y: linear(np.subtract, x, y),
    "multiply": lambda x, y: bilinear(np.multiply, x, y),
    "divide": _divide,
    "hypot": _hypot,
    "arctan2": _arctan2,
    "logaddexp": _logaddexp,
    "maximum": lambda x, y: _choice(x, y, lifted(x).a >= lifted(y).a),
    "minimum": lambda x, y: _choice(x, y, lifted(x).a <= lifted(y).a),
}


def apply(name, *xs):
    """A NumPy function by its name."""
    if name == "absolute":
        return _modulus(*xs)
    if name == "power":
        return _power(*xs)
    if name in UNARY:
        return unary(xs[0], *UNARY[name](lifted(xs[0]).a))
    return BINARY[name](*together(*xs))
