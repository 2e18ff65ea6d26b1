"""Elementwise ops: NumPy's ufuncs, each with its partial derivatives.

In a partial, `x` (or `x1`, `x2`) are the inputs and `y` is the output.
"""
from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from ad._core import Array
from ad.engine.variable import stop_gradient
from ad.engine.writing import assign
from ad.errors import MissingRule
from ad.ops.domains import AT_LEAST_ONE, BETWEEN_STEPS, NONZERO, POSITIVE, REAL, UNIT
from ad.ops.forms import Accuracy, case, composite, elementwise, inexact, linear, numpy_signature, point, stacked
from ad.ops.nondifferentiable import evaluate
from ad.ops.shape_rules import elementwise_shape, view
from ad.ops.structure import ELEMENTWISE, if_complex
from ad.ops.traits import SAME_PARAMS

__all__ = [
    "absolute", "add", "angle", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cbrt",
    "ceil", "conjugate", "copysign", "cos", "cosh", "deg2rad", "divide", "divmod", "exp", "exp2", "expm1", "fabs",
    "float_power", "floor", "floor_divide", "fmax", "fmin", "fmod", "frexp", "gap", "heaviside", "hypot", "identity",
    "imag", "ldexp", "log", "log10", "log1p", "log2", "logaddexp", "logaddexp2", "maximum", "minimum", "modf",
    "multiply", "negative", "positive", "power", "rad2deg", "real", "reciprocal", "remainder", "rint", "round", "scale",
    "scale_dots", "sign", "sin", "sinh", "sqrt", "square", "subtract", "tan", "tanh", "trunc",
]

LN2, LN10, INF, NAN = math.log(2), math.log(10), math.inf, math.nan


def _scaled_power(op: Any, power: Any, p: Any, factor: Any) -> Any:
    """`op(x, factor)` to the power p, from that power of x.

    None unless the power of the factor is well inside the range. A factor that is being differentiated or recorded has
    no values to go by: a whole power of it is right whatever its sign.
    """
    if isinstance(factor, Array):
        if not factor.is_constant:
            return op(power, factor ** p) if p == int(p) else None
        factor = factor.numpy()
    with np.errstate(all="ignore"):
        whole = np.float_power(factor, p)
    limits, size = np.finfo(power.dtype), np.abs(whole)
    if not np.all((size > math.sqrt(limits.tiny)) & (size < math.sqrt(limits.max))):
        return None
    return op(power, whole.astype(factor.dtype) if isinstance(factor, (np.ndarray, np.floating)) else float(whole))


def _power_if_real(power: Any, _i: Any, _p: Any, xs: Any, _params: Any) -> Any:
    return None if xs[0].dtype.kind == "c" else power


# -- arithmetic ------------------------------------------------------------------------------

add = elementwise("add", np.add, (1, 1), domain=(REAL, REAL), commutative=True)
subtract = elementwise("subtract", np.subtract, (1, -1), domain=(REAL, REAL))
multiply: Any = elementwise(
    "multiply", np.multiply, (lambda _x1, x2, _y: x2, lambda x1, _x2, _y: x1), domain=(REAL, REAL),
    commutative=True, exponent="itself", annihilates=(0, 1),
    carry=lambda power, i, p, xs, params: _scaled_power(multiply, power, p, xs[1 - i]),
)
divide: Any = elementwise(
    "divide", np.divide, (lambda _x1, x2, _y: 1 / x2, lambda _x1, x2, y: -y / x2), domain=(REAL, NONZERO),
    annihilates=(0,), carry=lambda power, i, p, xs, params: None if i else _scaled_power(divide, power, p, xs[1]),
)
negative = elementwise("negative", np.negative, -1, domain=REAL,
                       carry=lambda power, i, p, xs, params: _scaled_power(multiply, power, p, -1.0))
_SAME: dict[str, Any] = {"moves": True, "keeps_reals": True, "carry": lambda power, *_: power}
positive = elementwise("positive", np.positive, 1, domain=REAL, **_SAME)
identity = elementwise("identity", None, 1, domain=REAL, fn=lambda x: x, shape_rule=view, **_SAME)
reciprocal = elementwise("reciprocal", np.reciprocal, lambda _x, y: -y * y, domain=NONZERO)
square = elementwise("square", np.square, lambda x, _y: 2 * x, domain=REAL, exponent=2)


def _holds_nowhere(condition: Any) -> Any:
    """Whether a condition is known to be false for all elements; a recorded condition is not known."""
    return not isinstance(condition, Array) and not np.any(condition)


def quotient(x1: Any, x2: Any, undefined: Any = None) -> Any:
    """x1 / x2, and 0 with all its derivatives where x2 is 0, or where a condition says so.

    There it is x1 / inf, of which all derivatives are 0; a division by zero would be differentiated with the rest.
    """
    undefined = x2 == 0 if undefined is None else undefined
    return x1 / (x2 if _holds_nowhere(undefined) else np.where(undefined, INF, x2))


def _power_base(x1: Any, x2: Any, _y: Any) -> Any:
    """x2 x1^(x2 - 1), and 0 where x2 is 0 (the power is constant there)."""
    if x2.ndim == 0 and x2.is_constant:
        exponent = x2.item()
        return 2 * x1 if exponent == 2 else scale(exponent, x1 ** (exponent - 1))
    return scale(x2, x1 ** (x2 - 1) if x2.is_constant else _lower_power(x1, x2 - 1))


def _lower_power(x1: Any, x2: Any) -> Any:
    """x1^x2, which as the exponent grows falls from 1 to 0 where both are 0."""
    falls = (x1 == 0) & (x2 == 0)
    if _holds_nowhere(falls):
        return x1**x2
    return np.where(falls, 1 - scale(x2, INF), x1**x2)


def _power_exponent(x1: Any, _x2: Any, y: Any) -> Any:
    """y log x1; where x1 is 0 it is 0, or nan where y is infinite."""
    zero = x1 == 0
    if _holds_nowhere(zero):
        return y * log(x1)
    logarithm = np.where(y == 0, -INF, np.where(y == 1, 0.0, NAN))  # where x1 is 0
    return np.where(zero, scale(y, logarithm), y * log(np.where(zero, 1, x1)))


_EXPONENT = Accuracy("the rounding of x2 - 1 counts log x1 times", 512, 512)
power = elementwise(
    "power", np.power, (_power_base, _power_exponent), domain=(POSITIVE, REAL),
    exponent="operand",
    points=(
        point(0.0, 0, first=0, second=0, third=0), point(0.0, 1, first=1, second=0, third=0),
        point(0.0, 2, first=0, second=2, third=0), point(0.0, 3, first=0, second=0, third=6),
        point(0.0, -1, first=-INF, second=INF, third=-INF), point(0.0, 0.0, first=0), point(0.0, 0.5, first=(INF, 0)),
        point(0.0, 1.0, first=(1, 0), second=((0, -INF), (-INF, 0))),
        point(0.0, 1.5, first=0, second=((INF, 0), (0, 0))),
        point(0.0, 2.0, first=0, second=((2, 0), (0, 0))), point(0.0, 2.5, first=0, second=0),
        point(0.0, 3.0, first=0, second=0), point(0.0, -1.0, first=(-INF, NAN)),
        point(-2.0, 3.0, first=(12, NAN), second=((-12, NAN), (NAN, NAN))),
    ),
    singular="for an exponent that is a constant as of the monomial; a negative base gives nan for the exponent",
    accuracy=_EXPONENT,
)
float_power = elementwise(
    "float_power", np.float_power, (_power_base, _power_exponent), domain=(POSITIVE, REAL), singular="as power",
    exponent="operand", accuracy=_EXPONENT,
)


def _product(a: Any, b: Any, is_zero: Any) -> Any:
    """a * b, but zero wherever that is nan and `is_zero(a, b)`."""
    product = np.multiply(a, b)
    if not np.isnan(product).any():
        return product
    return np.where(is_zero(a, b), 0, product).astype(product.dtype, copy=False)


def _scale(dot: Any, partial: Any) -> Any:
    """dot * partial, but zero wherever dot is zero, or partial is zero and dot infinite."""
    return _product(dot, partial, lambda d, p: np.equal(d, 0) | (np.equal(p, 0) & np.equal(d, d)))


def _scale_dots(a: Any, b: Any) -> Any:
    """a * b, but zero wherever one of them is zero."""
    return _product(a, b, lambda a, b: np.equal(a, 0) | np.equal(b, 0))


_FACTORS = (lambda _x1, x2, _y: x2, lambda x1, _x2, _y: x1)
scale = elementwise(
    "scale", None, _FACTORS, dots=(1,), domain=(NONZERO, REAL), fn=_scale, shape_rule=elementwise_shape(np.multiply),
    annihilates=(0, 1),
    singular="a zero (co)tangent stays zero beside an infinite or undefined partial, and 0 times ±inf is 0",
)
scale_dots = elementwise(  # the product of a (co)tangent of a partial and the (co)tangent that the partial scales
    "scale_dots", None, _FACTORS, dots=(0, 1), domain=(NONZERO, REAL), fn=_scale_dots,
    shape_rule=elementwise_shape(np.multiply), annihilates=(0, 1),
    singular="a zero of either (co)tangent stays zero beside an infinite or undefined one",
)
floor_divide = elementwise("floor_divide", np.floor_divide, (0, 0), domain=(REAL, NONZERO), singular="0 at the steps")
remainder = elementwise(
    "remainder", np.remainder, (1, lambda x1, x2, _y: -floor_divide(x1, x2)), domain=(REAL, NONZERO),
    singular="the derivative between the jumps, at the jumps too",
)
fmod = elementwise(
    "fmod", np.fmod, (1, lambda x1, x2, y: -rint((x1 - y) / x2)), domain=(REAL, NONZERO), singular="as remainder"
)


@composite(np.divmod, domain=(REAL, NONZERO), cases=(case((3,), (3,)), case((2, 3), ())), singular="as remainder")
def divmod(x1: Any, x2: Any) -> tuple[Any, Any]:
    return floor_divide(x1, x2), remainder(x1, x2)


# -- size and sign ---------------------------------------------------------------------------


def phase(x: Any) -> Any:
    """x / |x|, and 0 where x is 0."""
    return quotient(x, absolute(x)) if x.dtype.kind == "c" else sign(x)


def _phase(x: Any, _y: Any) -> Any:
    """sign x; for complex x the conjugate of x / |x|, so that the gradient points along x."""
    return conjugate(phase(x)) if x.dtype.kind == "c" else sign(x)


def _sign_partial(x: Any, _y: Any) -> Any:
    """0: the sign of a real number is constant. That of a complex one turns with it."""
    if x.dtype.kind == "c":
        raise MissingRule("ad: no rule for np.sign of complex arguments; write x / np.abs(x)")
    return 0.0


def _modulus_radicand(x: Any) -> tuple[Any, Any]:
    return (lambda: square(real(x)) + square(imag(x))), 0.5


_CORNER = (point(0.0, first=0, second=0, third=0),)
absolute = elementwise("absolute", np.absolute, _phase, domain=NONZERO, points=_CORNER, exponent=1,
                       radicand=_modulus_radicand)
fabs = elementwise("fabs", np.fabs, _phase, domain=NONZERO, points=_CORNER, exponent=1)
sign = elementwise("sign", np.sign, _sign_partial, domain=NONZERO, singular="0 everywhere", structure=if_complex)
floor = elementwise("floor", np.floor, 0, domain=BETWEEN_STEPS, singular="0 everywhere")
ceil = elementwise("ceil", np.ceil, 0, domain=BETWEEN_STEPS, singular="0 everywhere")
trunc = elementwise("trunc", np.trunc, 0, domain=BETWEEN_STEPS, singular="0 everywhere")
rint: Any = elementwise("rint", np.rint, 0, domain=BETWEEN_STEPS, singular="0 everywhere")


@composite(np.round, np.around, domain=BETWEEN_STEPS, method=True, singular="0 everywhere", cases=(
    case((3,)), case((2, 3), decimals=-1), case(np.array([0.12, -1.38]), 1), case(()),
))
def round(a: Any, decimals: Any = 0, out: Any = None) -> Any:
    if out is not None:
        raise MissingRule("ad.round takes no out=: arrays are not changed in place")
    decimals = operator.index(decimals)
    if a.dtype.kind == "b" and decimals:
        raise TypeError("ad.round: truth values have no decimals")
    if a.dtype.kind in "iu" and decimals >= 0:
        return positive(a)
    if decimals == 0:
        return rint(a)
    if a.dtype.kind == "c":
        return round(a.real, decimals) + 1j * round(a.imag, decimals)
    unit = 10.0 ** abs(decimals)
    y = rint(a * unit) / unit if decimals > 0 else rint(a / unit) * unit  # NumPy's steps
    return y.astype(a.dtype) if a.dtype.kind in "iu" else y


heaviside = elementwise(
    "heaviside", np.heaviside, (0, lambda x1, _x2, _y: 1.0 * (x1 == 0)), domain=(NONZERO, REAL),
    points=(point(0.0, 0.5, first=(0, 1), second=0),), singular="0 at the step",
)
copysign: Any = elementwise(
    "copysign", np.copysign, (lambda x1, x2, _y: copysign(1.0, x1) * copysign(1.0, x2), 0), domain=(NONZERO, NONZERO),
    singular="at 0 as for the sign of the zero",
)


def _first(x1: Any, x2: Any, y: Any) -> Any:
    return (x1 == y) - 0.5 * (x1 == x2)


def _second(x1: Any, x2: Any, y: Any) -> Any:
    return (x2 == y) - 0.5 * (x1 == x2)


_TIES: dict[str, Any] = {
    "singular": "ties share the gradient equally", "points": (point(1.0, 1.0, first=0.5, second=0, third=0),),
}
maximum = elementwise("maximum", np.maximum, (_first, _second), domain=(REAL, REAL), commutative=True, **_TIES)
minimum = elementwise("minimum", np.minimum, (_first, _second), domain=(REAL, REAL), commutative=True, **_TIES)
fmax = elementwise("fmax", np.fmax, (_first, _second), domain=(REAL, REAL), **_TIES)
fmin = elementwise("fmin", np.fmin, (_first, _second), domain=(REAL, REAL), **_TIES)

# -- roots, exponentials, logarithms ---------------------------------------------------------

_VERTICAL = (point(0.0, first=INF, second=-INF, third=INF),)
sqrt = elementwise("sqrt", np.sqrt, lambda _x, y: 0.5 / y, domain=POSITIVE, points=_VERTICAL, exponent=0.5)
cbrt = elementwise("cbrt", np.cbrt, lambda _x, y: square(1 / y) / 3, domain=NONZERO, points=_VERTICAL,
                   radicand=lambda x: ((lambda: x), 1 / 3))
exp = elementwise("exp", np.exp, lambda _x, y: y, domain=REAL)
exp2 = elementwise("exp2", np.exp2, lambda _x, y: LN2 * y, domain=REAL)
expm1 = elementwise(
    "expm1", np.expm1, lambda _x, y: y + 1, domain=REAL, accuracy=inexact("y + 1 cancels far below 0")
)
log = elementwise("log", np.log, lambda x, _y: 1 / x, domain=POSITIVE, points=_VERTICAL)
log2 = elementwise("log2", np.log2, lambda x, _y: 1 / (LN2 * x), domain=POSITIVE, points=_VERTICAL)
log10 = elementwise("log10", np.log10, lambda x, _y: 1 / (LN10 * x), domain=POSITIVE, points=_VERTICAL)
log1p = elementwise("log1p", np.log1p, lambda x, _y: 1 / (1 + x), domain=UNIT,
                    points=(point(-1.0, first=INF, second=-INF, third=INF),))


def _gap(x1: Any, x2: Any) -> Any:
    """x1 - x2, and 0 where they are the same infinity."""
    with np.errstate(invalid="ignore"):
        difference = np.subtract(x1, x2)
    if not np.isnan(difference).any():
        return difference
    return np.where(np.equal(x1, x2), 0, difference)


gap = elementwise("gap", None, (1, -1), domain=(REAL, REAL), fn=_gap, shape_rule=elementwise_shape(np.subtract),
                  singular="as subtract, at infinities too")


def _share(x1: Any, x2: Any, exponential: Any) -> Any:
    """exp(x1) / (exp(x1) + exp(x2)): from the gap alone, since the sum's logarithm is rounded to its own size."""
    ahead, difference = x1 > x2, gap(x2, x1)
    ratio = exponential(np.where(ahead, difference, -difference))
    return np.where(ahead, 1, ratio) / (1 + ratio)


_TAIL = inexact("the rounding of x1 - x2 counts as often as it is large, in the smaller share")
logaddexp = elementwise(
    "logaddexp", np.logaddexp, (lambda x1, x2, _y: _share(x1, x2, exp), lambda x1, x2, _y: _share(x2, x1, exp)),
    domain=(REAL, REAL), singular="1/2 each where both are the same infinity", accuracy=_TAIL, commutative=True,
)
logaddexp2 = elementwise(
    "logaddexp2", np.logaddexp2, (lambda x1, x2, _y: _share(x1, x2, exp2), lambda x1, x2, _y: _share(x2, x1, exp2)),
    domain=(REAL, REAL), singular="1/2 each where both are the same infinity", accuracy=_TAIL,
)
ldexp = elementwise(
    "ldexp", np.ldexp, (lambda _x1, x2, _y: exp2(x2), 0),
    domain=(REAL, lambda rng, shape: rng.integers(-2, 3, shape)),
)


@composite(np.modf, domain=BETWEEN_STEPS, cases=(case((3,)), case(())), singular="the derivative between the jumps")
def modf(x: Any) -> tuple[Any, Any]:
    return fmod(x, 1.0), trunc(x)


@composite(np.frexp, domain=lambda rng, shape: rng.uniform(0.55, 0.95, shape), cases=(case((3,)), case(())),
           singular="the derivative between the powers of 2")
def frexp(x: Any) -> tuple[Any, Any]:
    exponent = evaluate(np.frexp, (x,), {})[1]
    return ldexp(x, -exponent), exponent


# -- trigonometry ----------------------------------------------------------------------------

sin = elementwise("sin", np.sin, lambda x, _y: cos(x), domain=REAL)
cos: Any = elementwise("cos", np.cos, lambda x, _y: -sin(x), domain=REAL)
tan = elementwise("tan", np.tan, lambda _x, y: 1 + y * y, domain=UNIT)
_STEEP = (point(1.0, first=INF, second=INF, third=INF), point(-1.0, first=INF, second=-INF, third=INF))
arcsin = elementwise("arcsin", np.arcsin, lambda x, _y: 1 / sqrt((1 - x) * (1 + x)), domain=UNIT, points=_STEEP)
arccos = elementwise("arccos", np.arccos, lambda x, _y: -1 / sqrt((1 - x) * (1 + x)), domain=UNIT,
                     points=(point(1.0, first=-INF, second=-INF, third=-INF),
                             point(-1.0, first=-INF, second=INF, third=-INF)))
arctan = elementwise("arctan", np.arctan, lambda x, _y: 1 / (1 + x * x), domain=REAL)


def _over_square(x: Any, x1: Any, x2: Any) -> Any:
    """x / (x1^2 + x2^2), scaled by the larger of both, whose squares may overflow."""
    size = np.maximum(abs(stop_gradient(x1)), abs(stop_gradient(x2)))
    size = np.where((size > 0) & (size < np.inf), size, 1)
    a, b = x1 / size, x2 / size
    return x / size / (a * a + b * b) / size


arctan2 = elementwise(
    "arctan2", np.arctan2,
    (lambda x1, x2, _y: _over_square(x2, x1, x2), lambda x1, x2, _y: -_over_square(x1, x1, x2)),
    domain=(NONZERO, NONZERO), points=(point(0.0, 0.0, first=NAN),),
)
hypot = elementwise(
    "hypot", np.hypot, (lambda x1, _x2, y: quotient(x1, y), lambda _x1, x2, y: quotient(x2, y)),
    commutative=True, radicand=lambda x1, x2: ((lambda: square(x1) + square(x2)), 0.5),
    domain=(NONZERO, NONZERO), points=(point(0.0, 0.0, first=0, second=0, third=0),),
)
sinh = elementwise("sinh", np.sinh, lambda x, _y: cosh(x), domain=REAL)
cosh: Any = elementwise("cosh", np.cosh, lambda x, _y: sinh(x), domain=REAL)
tanh = elementwise(
    "tanh", np.tanh, lambda _x, y: 1 - y * y, domain=REAL, accuracy=inexact("1 - y^2 cancels in the tails")
)


def _arcsinh_partial(x: Any, _y: Any) -> Any:
    """1 / sqrt(x^2 + 1); the inverse of |x| where the square has swallowed the 1, and may overflow."""
    if x.dtype.kind == "c":
        return 1 / sqrt(x * x + 1)
    size = absolute(x)
    far = size > 2 * np.finfo(x.dtype).eps ** -0.5
    root: Any = np.where(far, size, sqrt(np.where(far, 0, x) ** 2 + 1))
    return 1 / root


arcsinh = elementwise("arcsinh", np.arcsinh, _arcsinh_partial, domain=REAL)
arccosh = elementwise(
    "arccosh", np.arccosh, lambda x, _y: 1 / sqrt(x - 1) / sqrt(x + 1), domain=AT_LEAST_ONE,
    points=(point(1.0, first=INF, second=-INF, third=INF),),
)
arctanh = elementwise("arctanh", np.arctanh, lambda x, _y: 1 / ((1 - x) * (1 + x)), domain=UNIT, points=_STEEP)
deg2rad = elementwise("deg2rad", (np.deg2rad, np.radians), math.pi / 180, domain=REAL)
rad2deg = elementwise("rad2deg", (np.rad2deg, np.degrees), 180 / math.pi, domain=REAL)

# -- parts of complex numbers ----------------------------------------------------------------
# A real y of a complex x: its tangent is the real part of partial * x_dot (see docs/theory).


def _pull_conjugate(y_bar: Any, _x: Any) -> Any:
    return conjugate(y_bar)


@linear(np.conjugate, transpose=_pull_conjugate, batching=SAME_PARAMS, domain=REAL,
        cases=(case((3,)), case((2, 3))), shape_rule=elementwise_shape(np.conjugate), method=True,
        moves=True, keeps_reals=True, carry=_power_if_real, structure=ELEMENTWISE)
def conjugate(x: Any) -> Any:
    return np.conjugate(x)




def _write_real(x: Any, y: Any) -> None:
    assign(x, y + 1j * imag(x) if x.dtype.kind == "c" else y)


def _write_imag(x: Any, y: Any) -> None:
    assign(x, real(x) + 1j * y)


real = elementwise("real", np.real, 1, domain=REAL, moves=True, keeps_reals=True, carry=_power_if_real,
                   write=_write_real)
imag = elementwise("imag", np.imag, lambda x, _y: -1j if x.dtype.kind == "c" else 0.0, domain=REAL, moves=True,
                   write=_write_imag, structure=if_complex)
_angle = elementwise(
    "angle", None, lambda x, _y: -1j / x if x.dtype.kind == "c" else 0.0, domain=NONZERO, singular="nan at 0",
    fn=np.angle, structure=if_complex,
)


@numpy_signature("angle", np.angle)
def angle(z: Any, deg: Any = False) -> Any:
    if not isinstance(z, Array):
        return np.angle(stacked(z), deg)
    return rad2deg(_angle(z)) if deg else _angle(z)
