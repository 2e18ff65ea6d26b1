"""Functions guarded by `np.where`: the branch not taken leaves no NaN, to third order in any nesting of the modes."""
import itertools

import mpmath
import numpy as np
import pytest

import ad
from ad.ops import TABLE

NESTINGS = {order: list(itertools.product(("forward", "reverse"), repeat=order)) for order in (1, 2, 3)}


def derivative(f, mode):
    """The derivative of a function of one number."""
    return (lambda x: ad.jvp(f, (x,), (np.ones_like(x),))[1]) if mode == "forward" else ad.grad(f)


def nested(f, modes):
    for mode in modes:
        f = derivative(f, mode)
    return f


# name -> f, the number where the branch not taken is singular, and the branch taken elsewhere, for mpmath
IDIOMS = {
    "sin(x) / x": (lambda x: np.where(x != 0, np.sin(x) / x, 1.0), 0.0, lambda x: mpmath.sin(x) / x),
    "(1 - cos x) / x^2": (lambda x: np.where(x != 0, (1 - np.cos(x)) / x**2, 0.5), 0.0,
                          lambda x: (1 - mpmath.cos(x)) / x**2),
    "expm1(x) / x": (lambda x: np.where(x != 0, np.expm1(x) / x, 1.0), 0.0, lambda x: mpmath.expm1(x) / x),
    "log1p(x) / x": (lambda x: np.where(x != 0, np.log1p(x) / x, 1.0), 0.0, lambda x: mpmath.log1p(x) / x),
    "tanh(x) / x": (lambda x: np.where(x != 0, np.tanh(x) / x, 1.0), 0.0, lambda x: mpmath.tanh(x) / x),
    "x / (1 - exp(-x))": (lambda x: np.where(x != 0, x / (1 - np.exp(-x)), 1.0), 0.0,
                          lambda x: x / (1 - mpmath.exp(-x))),
    "x log x": (lambda x: np.where(x > 0, x * np.log(x), 0.0), 0.0, lambda x: x * mpmath.log(x)),
    "log x": (lambda x: np.where(x > 0, np.log(x), 0.0), 0.0, mpmath.log),
    "log of a negative number": (lambda x: np.where(x > 0, np.log(x), 0.0), -1.0, mpmath.log),
    "sqrt(x)": (lambda x: np.where(x > 0, np.sqrt(x), 0.0), 0.0, mpmath.sqrt),
    "sqrt of a negative number": (lambda x: np.where(x > 0, np.sqrt(x), 0.0), -1.0, mpmath.sqrt),
    "x / sqrt(x)": (lambda x: np.where(x > 0, x / np.sqrt(x), 0.0), 0.0, mpmath.sqrt),
    "sqrt of a square": (lambda x: np.where(x != 0, x / np.sqrt(x * x), 0.0), 0.0, lambda x: mpmath.mpf(1) + 0 * x),
    "x^x": (lambda x: np.where(x > 0, x**x, 1.0), 0.0, lambda x: x**x),
    "x^x of a negative number": (lambda x: np.where(x > 0, x**x, 1.0), -0.5, lambda x: x**x),
    "x^-1": (lambda x: np.where(x != 0, x**-1.0, 0.0), 0.0, lambda x: 1 / x),
    "x^1.5": (lambda x: np.where(x > 0, x**1.5, 0.0), -0.5, lambda x: x ** mpmath.mpf("1.5")),
    "1 / x": (lambda x: np.where(x != 0, 1 / x, 0.0), 0.0, lambda x: 1 / x),
    "1 / x^2": (lambda x: np.where(x != 0, np.reciprocal(np.square(x)), 0.0), 0.0, lambda x: x**-2),
    "exp(-1 / x)": (lambda x: np.where(x > 0, np.exp(-1 / x), 0.0), 0.0, lambda x: mpmath.exp(-1 / x)),
    "x / norm": (lambda x: np.where(np.abs(x) > 0, x / np.linalg.norm(x), 0.0), 0.0, None),
    "arccos": (lambda x: np.where(x < 1, np.arccos(x), 0.0), 1.0, mpmath.acos),
    "arcsin": (lambda x: np.where(x < 1, np.arcsin(x), 0.0), 1.0, mpmath.asin),
    "arctanh": (lambda x: np.where(x < 1, np.arctanh(x), 0.0), 1.0, mpmath.atanh),
    "arccosh": (lambda x: np.where(x < 1, 0.5, np.arccosh(x + 0.5)), 0.25, None),
    "cbrt": (lambda x: np.where(x > 0, np.cbrt(x), 0.0), 0.0, mpmath.cbrt),
    "arctan2": (lambda x: np.where(x > 0, np.arctan2(x, x * x), 0.0), 0.0, lambda x: mpmath.atan(1 / x)),
    "hypot": (lambda x: np.where(x > 0, x / np.hypot(x, x * x), 0.0), 0.0, lambda x: 1 / mpmath.sqrt(1 + x * x)),
    "overflow": (lambda x: np.where(x < 5, np.exp(x), 0.0), 1000.0, mpmath.exp),
    "sigmoid": (lambda x: np.where(x < 0, 0.0, 1 / (1 + np.exp(-x))), -1000.0, lambda x: 1 / (1 + mpmath.exp(-x))),
    "select": (lambda x: np.select([x > 0, x == 0], [np.log(x), 1 / x * 0 + 2], 0.0), -1.0, mpmath.log),
    "nested where": (lambda x: np.where(x > 0, np.where(x > 1, np.sqrt(x - 1), np.log(x)), 0.0), 0.0, mpmath.log),
    "double where": (lambda x: np.where(x != 0, np.sin(x) / np.where(x != 0, x, 1.0), 1.0), 0.0,
                     lambda x: mpmath.sin(x) / x),
    "nan constant": (lambda x: np.where(x < 0, 0.0, np.where(x > 0.5, x * x, np.nan * np.sin(x))), -1.0,
                     lambda x: x * x),
    "chain": (lambda x: np.where(x > 0, np.exp(np.sin(np.log(x)) / np.sqrt(x)), 0.0), 0.0,
              lambda x: mpmath.exp(mpmath.sin(mpmath.log(x)) / mpmath.sqrt(x))),
    "maximum": (lambda x: np.where(x > 0, np.maximum(np.log(x), -50.0 / x), 0.0), 0.0, mpmath.log),
    "clip": (lambda x: np.where(x > 0, np.clip(np.log(x), -9.0, 9.0), 0.0), 0.0, mpmath.log),
}
REGULAR = 0.7
of_idioms = pytest.mark.parametrize("name", IDIOMS)


def reference(name, order):
    f = IDIOMS[name][2]
    return float(mpmath.diff(f, mpmath.mpf(REGULAR), order)) if f else None


def values(name, order, singular):
    """The derivatives where the branch is not taken, and at the regular point, if there is a reference for that."""
    expected = reference(name, order)
    return [(singular, 0.0), *([] if expected is None else [(REGULAR, expected)])]


@pytest.mark.parametrize("order", [1, 2, 3])
@of_idioms
def test_the_branch_not_taken_adds_nothing(name, order):
    f, singular, _ = IDIOMS[name]
    points, expected = np.transpose(values(name, order, singular))
    for modes in NESTINGS[order]:
        d = nested(f, modes)
        for run in (d, ad.compile(d)):
            np.testing.assert_allclose([run(x) for x in points], expected, rtol=1e-7, atol=1e-12, err_msg=modes)
        np.testing.assert_allclose(ad.vmap(d)(points), expected, rtol=1e-7, atol=1e-12, err_msg=modes)


def summed(f):
    return lambda x: np.sum(f(x))


def ones_along(f):
    """The gradient's derivative along the ones: for a sum over elements, that of each of them."""
    return lambda x: ad.hvp(f)(x, np.ones_like(x))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@of_idioms
def test_elements_of_which_the_branch_is_not_taken_add_nothing(name, dtype):
    f, singular, _ = IDIOMS[name]
    x, second = np.transpose(values(name, 2, singular)).astype(dtype)
    third = [expected for _, expected in values(name, 3, singular)]
    tolerances = {"rtol": 1e-7, "atol": 1e-12} if dtype == np.float64 else {"rtol": 2e-3, "atol": 3e-3}
    for transform in (lambda g: g, ad.compile):
        hessian = transform(ad.hessian(summed(f)))(x)
        assert hessian.dtype == dtype
        np.testing.assert_allclose(hessian, np.diag(second), **tolerances)
        np.testing.assert_allclose(transform(ones_along(summed(f)))(x), second, **tolerances)
        if dtype == np.float64:
            again = ones_along(summed(ad.grad(summed(f))))
            np.testing.assert_allclose(transform(again)(x), third, **tolerances)


COMPLEX = {
    "sin(z) / z": (lambda z: np.where(z != 0, np.sin(z) / z, 1.0), lambda z: mpmath.sin(z) / z),
    "z log z": (lambda z: np.where(z != 0, z * np.log(z), 0.0), lambda z: z * mpmath.log(z)),
    "sqrt(z)": (lambda z: np.where(z != 0, np.sqrt(z), 0.0), mpmath.sqrt),
    "1 / z": (lambda z: np.where(z != 0, 1 / z, 0.0), lambda z: 1 / z),
    "z / |z|": (lambda z: np.where(z != 0, z / np.abs(z), 0.0), lambda z: z / abs(z)),
    "angle": (lambda z: np.where(z != 0, np.angle(z), 0.0) + 0 * z, mpmath.arg),
}


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("part", [np.real, np.imag])
@pytest.mark.parametrize("name", COMPLEX)
def test_the_branch_not_taken_of_complex_numbers_adds_nothing(name, part, order):
    f, exact = COMPLEX[name]
    step = 1 + 0.5j
    for modes in NESTINGS[order]:
        d = nested(lambda t: part(f(t * step)), modes)
        for run in (d, ad.compile(d)):
            assert run(0.0) == 0.0
            expected = part(complex(mpmath.diff(lambda t: exact(t * mpmath.mpc(step)), REGULAR, order)))
            np.testing.assert_allclose(run(REGULAR), expected, rtol=1e-7, atol=1e-11)


VECTORS = {
    "quotient of elements": lambda v: np.where(v[1] > 0, v[0] / v[1], 0.0),
    "normalized": lambda v: np.sum(np.where(np.linalg.norm(v) > 0, v / np.linalg.norm(v), 0.0)),
    "normalized by hand": lambda v: np.sum(np.where(v @ v > 0, v / np.sqrt(v @ v), 0.0)),
    "cosine": lambda v: np.where(v @ v > 0, v @ np.array([1.0, 2.0]) / np.linalg.norm(v), 0.0),
    "entropy": lambda v: np.sum(np.where(v > 0, -v * np.log(v), 0.0)),
    "standardized": lambda v: np.sum(np.where(np.std(v) > 0, (v - np.mean(v)) / np.std(v), 0.0) ** 2),
    "power": lambda v: np.where(v[0] > 0, v[0] ** v[1], 0.0),
    "arctan2": lambda v: np.where(v @ v > 0, np.arctan2(v[0], v[1]), 0.0),
    "product": lambda v: np.where(v[0] > 0, np.prod(np.log(v)), 0.0),
    "running product": lambda v: np.sum(np.where(v[0] > 0, np.cumprod(1 / v), 0.0)),
    "norm of quotients": lambda v: np.where(v[0] > 0, np.linalg.norm(v / v[0]), 0.0),
    "norm of order 3 of quotients": lambda v: np.where(v[0] > 0, np.linalg.norm(v / v[0], 3), 0.0),
    "maximum of quotients": lambda v: np.where(v[0] > 0, np.max(v / v[0]), 0.0),
    "sum of exponentials": lambda v: np.where(v[0] > 0, ad.special.logsumexp(np.log(v)), 0.0),
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_branch_not_taken_of_vectors_adds_nothing(name):
    f, x = VECTORS[name], np.zeros(2)
    for order in (1, 2, 3):
        for modes in itertools.product(("forward", "reverse"), repeat=order):
            d = f
            for mode in modes:
                d = ad.jacobian(d, mode=mode)
            for run in (d, ad.compile(d)):
                np.testing.assert_array_equal(run(x), np.zeros((2,) * order), err_msg=str(modes))
    np.testing.assert_array_equal(ad.hessian(f)(x), np.zeros((2, 2)))


HARD = np.array([0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan])
FACTORS = np.repeat(HARD, len(HARD)), np.tile(HARD, len(HARD))


def product(a, b, zero):
    return 0.0 if zero else a * b


# what the products are, by their definitions
PRODUCTS = {
    "scale": lambda dot, partial: product(dot, partial, dot == 0 or (partial == 0 and np.isinf(dot))),
    "scale_dots": lambda a, b: product(a, b, a == 0 or b == 0),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_with_zeros(name, dtype):
    """Arrays, numbers, broadcast ones, and programs, long enough for a kernel to look at many elements at once."""
    op, (a, b) = TABLE[name].function, [x.astype(dtype) for x in FACTORS]
    expected = np.array([PRODUCTS[name](x, y) for x, y in zip(*FACTORS)])
    found = [op(ad.constant(a), ad.constant(b)).numpy(), ad.compile(op)(a, b),
             [op(ad.constant(x), ad.constant(y)).numpy() for x, y in zip(a, b)]]
    found.append(ad.compile(lambda a, b: op(a, b) + 0)(a, b))
    found.append([ad.compile(op)(x, y) for x, y in zip(a, b)])
    found.append(op(ad.constant(HARD.astype(dtype)[:, None]), ad.constant(HARD.astype(dtype))).numpy().ravel())
    for y in found:
        y = np.asarray(y)
        if dtype == np.complex128:  # of infinite ones NumPy's product has parts that are nan
            assert np.array_equal(y == 0, expected == 0)
        else:
            np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("bar", [np.nan, np.inf, 0.0])
@pytest.mark.parametrize("shape", [(), (20,)])
@pytest.mark.parametrize("name", PRODUCTS)
def test_derivatives_of_products_let_a_zero_win(name, shape, bar):
    """A partial's (co)tangent beside a zero (co)tangent, in both modes, for numbers and arrays."""
    dot, partial, seed = np.zeros(shape), np.ones(shape), np.full(shape, bar)

    def f(p):
        return TABLE[name].function(dot, p)

    for run in (lambda g: g, ad.compile):
        assert np.all(run(lambda p, p_dot: ad.jvp(f, (p,), (p_dot,))[1])(partial, seed) == 0)
        assert np.all(run(lambda p, y_bar: ad.vjp(f, p)[1](y_bar)[0])(partial, seed) == 0)
