"""Programs with constants from all over the range of their dtype: simplifying ends, and keeps the values."""
import itertools
import sys

import numpy as np
import pytest
from programs import Builder, assert_same_results, values_of

import ad
from ad.compiler.passes import pipeline
from ad.compiler.passes.factors import MODERATE
from ad.compiler.passes.rewriting import Rewriting

pytestmark = pytest.mark.usefixtures("measured")
inf, nan = np.inf, np.nan

CONSTANTS = {
    np.float64: [0.0, -0.0, 1.0, -1.0, 2.0, -0.5, 3.0, 0.1, 1.38e-23, 6.02e23, 1e-200, 1e200, -1e300, 1e-300, 1e308,
                 5e-324, 2.0**-1022, 2.0**-1040, 2.0**1000, 2.0**-1000, np.finfo(np.float64).max, inf, -inf, nan],
    np.float32: [0.0, -0.0, 1.0, -1.0, 2.0, -0.5, 3.0, 0.1, 1.38e-23, 6.02e23, 1e-30, -1e30, 3e38, 1e-38, 1e-44,
                 2.0**-126, 2.0**-140, 2.0**100, float(np.finfo(np.float32).max), 1e-200, 1e300, inf, -inf, nan],
}
# One step of a chain: of a builder, what there is so far, another input, and a constant.
STEPS = {
    "x * c": lambda b, x, y, c: b.multiply(x, c), "c * x": lambda b, x, y, c: b.multiply(c, x),
    "x / c": lambda b, x, y, c: b.divide(x, c), "c / x": lambda b, x, y, c: b.divide(c, x),
    "x + c": lambda b, x, y, c: b.add(x, c), "c - x": lambda b, x, y, c: b.subtract(c, x),
    "scale(x, c)": lambda b, x, y, c: b.scale(x, c), "scale(c, x)": lambda b, x, y, c: b.scale(c, x),
    "x * y * c": lambda b, x, y, c: b.multiply(b.multiply(x, y), c),
    "x * c * y": lambda b, x, y, c: b.multiply(b.multiply(x, c), y),
    "x / y * c": lambda b, x, y, c: b.multiply(b.divide(x, y), c),
    "scale(y, x * c)": lambda b, x, y, c: b.scale(y, b.multiply(x, c)),
    "x * c + y * c": lambda b, x, y, c: b.add(b.multiply(x, c), b.multiply(y, c)),
    "x * c - y * -c": lambda b, x, y, c: b.subtract(b.multiply(x, c), b.multiply(y, -c)),
    "-(x * c)": lambda b, x, y, c: b.negative(b.multiply(x, c)),
    "-x * c": lambda b, x, y, c: b.multiply(b.negative(x), c), "c / -x": lambda b, x, y, c: b.divide(c, b.negative(x)),
    "(x * c) ** 2": lambda b, x, y, c: b.power(b.multiply(x, c), 2),
    "(x * c) ** 3": lambda b, x, y, c: b.power(b.multiply(x, c), 3),
    "(x * c) ** -1": lambda b, x, y, c: b.power(b.multiply(x, c), -1.0),
    "(x * c) * (y * c)": lambda b, x, y, c: b.multiply(b.multiply(x, c), b.multiply(y, c)),
    "(x * c) / (y * c)": lambda b, x, y, c: b.divide(b.multiply(x, c), b.multiply(y, c)),
    "sum(x * c)": lambda b, x, y, c: b.add(b.sum_to(b.multiply(x, c), params=((1,),)) if x.shape else x, y),
}
FORMS = [float, np.asarray, lambda c: np.asarray(c).reshape(1)]  # in which constants are given


def values_in(dtype, shape=(4,)):
    rng = np.random.default_rng(0)
    return [(rng.uniform(0.3, 3, shape) * rng.choice([-1, 1], shape)).astype(dtype) for _ in range(2)]


def check(build, dtype, shape=(4,)):
    """A simplified graph gives the same infinities, zeros and nan, and to rounding the same numbers.

    Where the program as it is passes near an end of the range, there may be a value for its infinity, zero or nan, but
    none of these for a value.
    """
    b, inputs = Builder(), values_in(dtype, shape)
    program = b.graph(build(b, *map(b.input, inputs)))
    found = pipeline.simplify(program)
    (y,), (expected,) = values_of(found, inputs), values_of(program, inputs)
    assert (y.dtype, y.shape) == (expected.dtype, expected.shape)
    tiny, eps = np.finfo(dtype).tiny, np.finfo(dtype).eps
    if any(is_near_the_ends(b.values[i.outputs[0]]) for i in program.instructions):
        sound = np.isfinite(expected) & (abs(expected) >= MODERATE * tiny)
        y, expected = y[sound], expected[sound]
    np.testing.assert_allclose(y, expected, 100 * eps ** 0.75, tiny, err_msg=str(program))  # terms may cancel
    return found


def is_near_the_ends(x):
    """Return whether values are nearly too large or too small for their dtype."""
    size, limits = np.abs(x[np.isfinite(x) & (x != 0)]), np.finfo(x.dtype)
    return np.any((size > limits.max / MODERATE) | (size < limits.tiny * MODERATE))


def chain(steps, constants, form, dtype):
    def build(b, x, y):
        for step, c in zip(steps, constants):
            given = form(c) if form is float else form(np.asarray(c, dtype))
            x = STEPS[step](b, x, y, given)
        return x

    return build


def check_chain(rng, dtype, constants):
    steps, form = rng.choice([*STEPS], len(constants)), FORMS[rng.integers(3)]
    check(chain(steps, constants, form, dtype), dtype, () if rng.random() < 0.3 else (4,))


@pytest.mark.parametrize("dtype", CONSTANTS)
def test_pairs(dtype):
    rng = np.random.default_rng(1)
    for pair in itertools.product(CONSTANTS[dtype], repeat=2):
        for _ in range(2):
            check_chain(rng, dtype, pair)


@pytest.mark.parametrize("dtype", CONSTANTS)
def test_three_and_four(dtype):
    rng = np.random.default_rng(2)
    for _ in range(800):
        check_chain(rng, dtype, rng.choice(CONSTANTS[dtype], rng.integers(3, 5)).tolist())


# -- as functions are recorded --------------------------------------------------------------------------

FUNCTIONS = {
    "products": lambda x, c, d: c * x * d, "squares": lambda x, c, d: (c * x) ** 2 * d,
    "quotients": lambda x, c, d: (x / c) / d, "by x": lambda x, c, d: c / (d * x),
    "cubes": lambda x, c, d: d * (x / c) ** 3,
    "of two": lambda x, c, d: (c * x) * (x * d), "sums": lambda x, c, d: c * x + d * x - x / d,
    "roots": lambda x, c, d: np.sqrt(c * x * x) * d, "exponentials": lambda x, c, d: np.exp(-c * x * x) / d,
    "reciprocals": lambda x, c, d: d / (x / c),
}
MODES = {
    "value": lambda f: f, "gradient": lambda f: ad.grad(lambda x: np.sum(f(x))),
    "hvp": lambda f: lambda x: ad.hvp(lambda x: np.sum(f(x)))(x, np.ones_like(x)), "lanes": ad.vmap,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", CONSTANTS)
def test_compiled_functions(dtype, mode):
    """Two constants in every mode, against the function as it is; each lane against itself."""
    rng, x = np.random.default_rng(3), np.array([0.3, 1.7], dtype)
    tiny, eps = np.finfo(dtype).tiny, np.finfo(dtype).eps
    for f in FUNCTIONS.values():
        for c, d in rng.choice(CONSTANTS[dtype], (20, 2)).tolist():
            if rng.random() < 0.5:
                c, d = dtype(c), dtype(d)
            g = MODES[mode](lambda x, c=c, d=d, f=f: f(x, c, d))
            expected = np.stack([f(part, c, d) for part in x]) if mode == "lanes" else np.asarray(g(x))
            replayed = g if mode == "lanes" else ad.compile(g)
            _, found = (np.asarray(replayed(x)) for _ in range(2))
            sound = np.isfinite(expected) & (abs(expected) >= MODERATE * tiny)
            np.testing.assert_allclose(found[sound], expected[sound], 100 * eps ** 0.75, err_msg=f"{f} {c} {d}")


def test_hessians_and_complex_numbers():
    """Expressions with which these constants once made simplification run forever."""
    for c, d in itertools.permutations([1e-200, 1e200, 1e308, 3.0], 2):
        for f in FUNCTIONS.values():
            hessian = ad.hessian(lambda x, f=f, c=c, d=d: np.sum(f(x, c, d)))
            np.testing.assert_array_equal(hessian(np.array([0.3, 1.7]))[0, 1], 0)
        x = np.array([0.3 + 1j, 1.7 - 2j])
        replayed = ad.compile(lambda x, c=c, d=d: -x * c * d / c)
        for _ in range(2):
            np.testing.assert_array_equal(replayed(x), -x * c * d / c)


# -- long chains ----------------------------------------------------------------------------------------

LONG = 1500
CYCLES = [[1.1], [1e-200, 1e200], [1e200], [2.0**20, 2.0**-20], [0.0], [2.0, 5e-324], [3.0, 1e-300, 1e300, inf],
          [-1.0, 1e300]]


@pytest.mark.parametrize("step", ["x * c", "x / c", "x * c * y", "x * y * c", "scale(y, x * c)", "c / x", "-(x * c)"])
def test_long_chains(step, monkeypatch):
    """The recursion is no deeper, and no more rules are applied for each step, than in a short chain."""
    counted = []

    class Counting(Rewriting):
        def _rewritten(self, op, inputs, params, y):
            counted.append(op)
            return super()._rewritten(op, inputs, params, y)

    monkeypatch.setattr(sys.modules["ad.compiler.passes.algebra"], "Rewriting", Counting)
    for constants in CYCLES:
        counted.clear()
        b = Builder()
        chained = itertools.islice(itertools.cycle(constants), LONG)
        x, y = map(b.input, values_in(np.float64, ()))
        for c in chained:
            x = STEPS[step](b, x, y, c)
        pipeline.simplify(b.graph(x))
        assert len(counted) < 30 * LONG


def test_rules_within_rules_end_before_the_recursion_limit(rng):
    """The sum of the rows of a product of many matrices is taken before the first product."""
    b, inputs = Builder(), [rng.normal(size=(3, 3)) / 2 for _ in range(LONG)]
    x, *more = map(b.input, inputs)
    for y in more:
        x = b.matmul(x, y)
    program = b.graph(b.sum_to(x, params=((1, 3),)))
    assert_same_results(program, pipeline.simplify(program), inputs, 1e-9)
