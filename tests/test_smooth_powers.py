"""Smooth functions of a kink: powers that undo a root or a modulus have the derivatives of the smooth function."""
import itertools
import math

import numpy as np
import pytest

import ad

ZERO, MIXED = np.zeros(2), np.array([0.0, 1.5])
SQUARE = lambda x: np.sum(x ** 2)
FOURTH = lambda x: np.sum(x ** 4)
SQUARED_SUM = lambda x: np.sum(x ** 2) ** 2

# The function as a user writes it, and a smooth one that it equals.
FUNCTIONS = {
    "abs**2": (lambda x: np.sum(np.abs(x) ** 2), SQUARE),
    "abs**2.0": (lambda x: np.sum(np.abs(x) ** 2.0), SQUARE),
    "abs**4": (lambda x: np.sum(np.abs(x) ** 4), FOURTH),
    "square(abs)": (lambda x: np.sum(np.square(np.abs(x))), SQUARE),
    "fabs**2": (lambda x: np.sum(np.fabs(x) ** 2), SQUARE),
    "power(abs, 2)": (lambda x: np.sum(np.power(np.abs(x), 2)), SQUARE),
    "float_power(abs, 2)": (lambda x: np.sum(np.float_power(np.abs(x), 2)), SQUARE),
    "abs * abs": (lambda x: np.sum(np.abs(x) * np.abs(x)), SQUARE),
    "a * a": (lambda x: np.sum((lambda a: a * a)(abs(x))), SQUARE),
    "(abs**2)**2": (lambda x: np.sum((np.abs(x) ** 2) ** 2), FOURTH),
    "(sqrt(abs))**4": (lambda x: np.sum(np.sqrt(np.abs(x)) ** 4), SQUARE),
    "norm**2": (lambda x: np.linalg.norm(x) ** 2, SQUARE),
    "norm**4": (lambda x: np.linalg.norm(x) ** 4, SQUARED_SUM),
    "norm * norm": (lambda x: np.linalg.norm(x) * np.linalg.norm(x), SQUARE),
    "vector_norm**2": (lambda x: np.linalg.vector_norm(x) ** 2, SQUARE),
    "norm(axis)**2": (lambda x: np.sum(np.linalg.norm(x[:, None], axis=1) ** 2), SQUARE),
    "norm(fro)**2": (lambda x: np.linalg.norm(np.outer(x, [1.0, 1.0]), "fro") ** 2 / 2, SQUARE),
    "norm(4)**4": (lambda x: np.linalg.norm(x, 4) ** 4, FOURTH),
    "norm(4)**8": (lambda x: np.linalg.norm(x, 4) ** 8, lambda x: np.sum(x ** 4) ** 2),
    "hypot**2": (lambda x: np.hypot(x[0], x[1]) ** 2, SQUARE),
    "hypot(arrays)**2": (lambda x: np.sum(np.hypot(x, 2 * x) ** 2) / 5, SQUARE),
    "std**2": (lambda x: np.std(x) ** 2, np.var),
    "nanstd**2": (lambda x: np.nanstd(x) ** 2, np.var),
    "sqrt(x**4)": (lambda x: np.sum(np.sqrt(x ** 4)), SQUARE),
    "sqrt((x*x)**2)": (lambda x: np.sum(np.sqrt((x * x) ** 2)), SQUARE),
    "sqrt(x**8)": (lambda x: np.sum(np.sqrt(x ** 8)), FOURTH),
    "(x**8)**0.25": (lambda x: np.sum((x ** 8) ** 0.25), SQUARE),
    "sqrt(x @ x)**2": (lambda x: np.sqrt(x @ x) ** 2, SQUARE),
    "sqrt(sum)**4": (lambda x: np.sqrt(np.sum(x ** 2)) ** 4, SQUARED_SUM),
    "(x1 * abs)**2": (lambda x: np.sum((x[1] * np.abs(x)) ** 2), lambda x: np.sum((x[1] * x) ** 2)),
    "(abs * -x1)**4": (lambda x: np.sum((np.abs(x) * -x[1]) ** 4), lambda x: np.sum((x[1] * x) ** 4)),
    "(abs * abs')**2": (lambda x: (np.abs(x[0]) * np.abs(x[1])) ** 2, lambda x: (x[0] * x[1]) ** 2),
    "(norm / (1 + x1))**2": (
        lambda x: (np.linalg.norm(x) / (1 + x[1])) ** 2, lambda x: np.sum(x ** 2) / (1 + x[1]) ** 2),
    "where(abs)**2": (lambda x: np.sum(np.where([True, False], np.abs(x), x) ** 2), SQUARE),
    "where(x, abs)**2": (lambda x: np.sum(np.where(np.isnan(x), 1.0, np.abs(x)) ** 2), SQUARE),
    "(2 * abs)**2": (lambda x: np.sum((2 * np.abs(x)) ** 2) / 4, SQUARE),
    "(abs / c)**2": (lambda x: np.sum((np.abs(x) / np.array([0.5, 0.5])) ** 2) / 4, SQUARE),
    "(-abs)**2": (lambda x: np.sum((-np.abs(x)) ** 2), SQUARE),
    "(norm / 3)**2": (lambda x: (np.linalg.norm(x) / 3) ** 2 * 9, SQUARE),
    "(-norm * 3)**4": (lambda x: (-np.linalg.norm(x) * 3) ** 4 / 81, SQUARED_SUM),
    "abs[i]**2": (lambda x: np.abs(x)[0] ** 2 + np.abs(x)[np.array([1])][0] ** 2, SQUARE),
    "rows of abs": (lambda x: sum(a ** 2 for a in np.abs(x)), SQUARE),
    "abs[:, None].T**2": (lambda x: np.sum(np.abs(x)[:, None].T ** 2), SQUARE),
    "norm(axis)[:, None]**2": (lambda x: np.sum(np.linalg.norm(x[:, None], axis=1)[:, None] ** 2), SQUARE),
    "ravel(2 * abs / 2)[::-1]**2": (lambda x: np.sum(np.ravel(2 * np.abs(x) / 2)[::-1] ** 2), SQUARE),
    "sqrt(2 * x**4)": (lambda x: np.sum(np.sqrt(2 * x ** 4)) / np.sqrt(2), SQUARE),
    "a * a, scaled": (lambda x: np.sum((lambda a: a * a)(2 * np.abs(x))) / 4, SQUARE),
    "|x + 0i|**2": (lambda x: np.sum(np.abs(x + 0j * x) ** 2), SQUARE),
    "|z|**2": (lambda x: np.abs(x[0] + 1j * x[1]) ** 2, SQUARE),
    "(1j * abs)**2": (lambda x: np.sum(np.real((1j * np.abs(x)) ** 2)), lambda x: -np.sum(x ** 2)),
    "sqrt(x + 0j)**2": (lambda x: np.sum(np.real(np.sqrt(x + 0j) ** 2) * x), SQUARE),
    "sqrt**2": (lambda x: np.sum(np.sqrt(x) ** 2 * x), SQUARE),
    "cbrt**3": (lambda x: np.sum(np.cbrt(x) ** 3 * x), SQUARE),
    "cbrt**6": (lambda x: np.sum(np.cbrt(x) ** 6), SQUARE),
    "abs(x**2)": (lambda x: np.sum(np.abs(x ** 2)), SQUARE),
    "abs**[2, 2]": (lambda x: np.sum(np.abs(x) ** np.array([2, 2])), SQUARE),
    "sqrt(norm**4)": (lambda x: np.sqrt(np.linalg.norm(x) ** 4), SQUARE),
    "norm(abs)**2": (lambda x: np.linalg.norm(np.abs(x)) ** 2, SQUARE),
    "norm(2 * abs)**2": (lambda x: np.linalg.norm(2 * np.abs(x)) ** 2 / 4, SQUARE),
    "hypot(hypot)**2": (lambda x: np.hypot(np.hypot(x[0], x[1]), 0.0) ** 2, SQUARE),
    "(+abs)**2": (lambda x: np.sum((+np.abs(x)) ** 2), SQUARE),
    "abs.copy()**2": (lambda x: np.sum(np.abs(x).copy() ** 2), SQUARE),
    "abs.astype(float)**2": (lambda x: np.sum(np.abs(x).astype(float) ** 2), SQUARE),
    "real(conj(abs))**2": (lambda x: np.sum(np.real(np.conj(np.abs(x))) ** 2), SQUARE),
    "roll(abs)**2": (lambda x: np.sum(np.roll(np.abs(x), 1) ** 2), SQUARE),
    "stack(abs)**2": (lambda x: np.sum(np.stack([3.0, abs(x[0]), abs(x[1])]) ** 2), SQUARE),
    "concatenate(abs)**2": (lambda x: np.sum(np.concatenate([abs(x[:1]), x[1:], np.ones(1)]) ** 2), SQUARE),
    "a[[0, 1]] * a[[0, 1]]": (
        lambda x: np.sum((lambda a: a[np.array([0, 1])] * a[np.array([0, 1])])(np.abs(x))), SQUARE),
}


def forward(f):
    """The gradient by forward mode."""
    return lambda x: np.stack([ad.jvp(f, (x,), (e,))[1] for e in np.eye(2)])


def derivative(f, nesting):
    """The derivative of f by these modes, the first one innermost."""
    for i, mode in enumerate(nesting):
        if mode == "forward":
            f = forward(f)
        else:
            f = ad.grad(f) if i == 0 else ad.jacobian(f)
    return f


def nestings(order):
    return list(itertools.product(("forward", "reverse"), repeat=order))


@pytest.mark.parametrize("nesting", nestings(1) + nestings(2) + nestings(3), ids="-".join)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_derivatives_are_those_of_the_smooth_function(name, nesting):
    f, smooth = FUNCTIONS[name]
    for x in (ZERO, MIXED):
        found, want = derivative(f, nesting)(x), derivative(smooth, nesting)(x)
        assert np.allclose(np.moveaxis(found, 0, 0), want, rtol=1e-12, atol=1e-12), (name, x)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_recorded_hessians_are_those_of_the_smooth_function(name):
    f, smooth = FUNCTIONS[name]
    ways = {
        "hessian": ad.hessian(f), "compiled": ad.compile(ad.hessian(f)), "of compiled": ad.hessian(ad.compile(f)),
        "recorded": ad.record(ad.hessian(f))(MIXED), "by lanes": lambda x: ad.vmap(ad.hessian(f))(np.stack([x, x]))[1],
        "products": lambda x: np.stack([ad.hvp(f)(x, e) for e in np.eye(2)]),
    }
    for way, function in ways.items():
        for x in (ZERO, MIXED, ZERO):
            assert np.allclose(function(x), ad.hessian(smooth)(x), rtol=1e-12, atol=1e-12), (way, x)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_stay_those_of_numpy(name):
    f = FUNCTIONS[name][0]
    x = np.array([0.3, -1.7])
    with np.errstate(invalid="ignore"):
        np.testing.assert_equal(ad.value_and_grad(f)(x)[0], f(x))


def test_a_root_of_something_negative_stays_nan():
    for mode in nestings(1):
        assert np.isnan(derivative(lambda x: np.sum(np.sqrt(x) ** 2), mode)(np.array([-1.0, 4.0]))[0])
    assert ad.grad(lambda x: np.sqrt(x) ** 2)(0.0) == 1


def test_a_negative_number_beside_a_root_stays_real():
    f = lambda x: np.where(x < 1, np.sqrt(np.where(x < 1, x ** 4, -1.0)), x)
    for way in (ad.grad(f), ad.compile(ad.grad(f)), ad.hessian(f)):
        assert np.isrealobj(way(0.5))
    assert ad.hessian(f)(0.0) == 2 and ad.grad(f)(2.0) == 1


def test_a_value_is_numpys_where_a_power_leaves_the_range():
    with np.errstate(over="ignore", under="ignore"):
        assert ad.value_and_grad(lambda x: np.sqrt(x ** 4))(1e100)[0] == np.inf
        assert ad.value_and_grad(lambda x: np.sqrt(x ** 4))(1e-100)[0] == 0


def test_the_slope_of_a_modulus_stays_zero_at_zero():
    for f in (np.abs, lambda x: np.sqrt(x ** 2), lambda x: np.abs(x) ** 3, lambda x: np.abs(x) ** 1):
        assert ad.grad(f)(0.0) == 0 and ad.hessian(f)(0.0) == 0


def test_derivatives_with_respect_to_the_modulus_itself_are_not_bypassed():
    for make, wanted in ((np.abs, 6.0), (lambda x: np.hypot(x, 0.0), 6.0), (lambda x: np.sqrt(x * x), 6.0)):
        with ad.GradientTape(persistent=True) as tape:
            x = ad.Variable(-3.0)
            y = make(x)
            z = y ** 2
        assert tape.gradient(z, y).numpy() == wanted
        assert tape.gradient(z, x).numpy() == -6
        assert [g.numpy() for g in tape.gradient(z, [x, y])] == [-6, wanted]


def test_a_watched_modulus_is_a_start_of_its_own():
    x = ad.Variable(-3.0)
    with ad.GradientTape() as outer:
        y = np.abs(x)
        with ad.GradientTape() as inner:
            inner.watch(y)
            z = y ** 2
        dy = inner.gradient(z, y)
    assert dy.numpy() == 6 and outer.gradient(dy, x).numpy() == -2
    with ad.GradientTape() as tape:
        tape.watch(y)
        z = y ** 2
    assert tape.gradient(z, y).numpy() == 6
    assert ad.grad(lambda x: ad.grad(lambda y: y ** 2)(np.abs(x)))(-3.0) == -2
    with ad.ForwardAccumulator(y, ad.constant(1.0)) as acc:
        z = y ** 2
    assert acc.jvp(z).numpy() == 6


@pytest.mark.parametrize("make", (lambda w: 2.0 * w, lambda w: -w, lambda w: w + 0.0, lambda w: (w * 2.0)[None][0],
                                  lambda w: w ** 1))
def test_a_start_of_derivatives_below_the_root_is_not_in_between(make):
    w = ad.Variable(0.0)
    with ad.GradientTape() as outer:
        with ad.GradientTape() as tape:
            x = make(w)
            z = np.abs(x) ** 2
        slope = tape.gradient(z, x)
    scale = ad.grad(make)(0.0)
    assert np.isclose(outer.gradient(slope, w).numpy(), 2 * scale)


def test_sources_on_both_sides_of_a_root():
    w = ad.Variable(np.zeros(2))
    with ad.GradientTape(persistent=True) as outer:
        with ad.GradientTape(persistent=True) as tape:
            y = np.linalg.norm(w)
            s = 3.0 * y
            z = s ** 2 + w[0]
        dw, dy, ds = tape.gradient(z, [w, y, s])
    assert np.allclose(dw.numpy(), [1, 0]) and dy.numpy() == 0 and ds.numpy() == 0
    assert np.allclose(outer.jacobian(dw, w).numpy(), 18 * np.eye(2))
    w = ad.Variable(np.arange(1.0, 101.0))
    with ad.GradientTape(persistent=True) as tape:
        roots = [np.abs(w[i]) for i in range(100)]  # more than a plan tells apart
        z = sum(root ** 2 for root in roots)
    *of_roots, of_w = tape.gradient(z, [*roots, w])
    assert np.allclose([g.numpy() for g in of_roots], 2 * w.numpy()) and np.allclose(of_w.numpy(), 2 * w.numpy())
    j_root, j_w = tape.jacobian(z, [roots[0], w])
    assert j_root.numpy() == 2 and np.allclose(j_w.numpy(), 2 * w.numpy())


def rebind_base(x):
    a = np.abs(x)
    np.multiply(x, 3.0, out=x)
    return np.sum(a ** 2)


def rebind_root(x):
    a = np.abs(x)
    b = 2.0 * a
    np.multiply(a, 3.0, out=a)
    return np.sum(b ** 2) / 4


def rebind_factor(x):
    c = ad.constant(2.0)
    b = c * np.abs(x)
    np.multiply(c, 5.0, out=c)
    return np.sum(b ** 2) / 4


def rebind_part(x):
    a = np.abs(x)
    b = np.concatenate([a[:1], a[1:]])
    np.multiply(a, 3.0, out=a)
    return np.sum(b ** 2)


@pytest.mark.parametrize("f", (rebind_base, rebind_root, rebind_factor, rebind_part))
def test_what_a_root_was_made_of_may_be_rebound(f):
    x = np.array([1.0, -2.0])
    for g in (ad.grad(f), forward(f), ad.compile(ad.grad(f))):
        assert np.allclose(g(x), 2 * x)


def test_an_accumulator_that_starts_from_the_base_later_is_not_told_of_the_root():
    x = ad.Variable(3.0)
    with ad.GradientTape() as tape:
        u = x + 0.0
        y = np.abs(u)
        with ad.ForwardAccumulator(u, ad.constant(1.0)) as acc:
            z = y ** 2
    assert acc.jvp(z) is None and tape.gradient(z, x).numpy() == 6


def test_a_root_that_an_accumulator_started_from_is_still_in_between():
    x = ad.Variable(-3.0)
    with ad.GradientTape(persistent=True) as tape:
        y = np.abs(x)
        z = y ** 2
    with ad.ForwardAccumulator(y, ad.constant(1.0)):
        pass
    assert tape.gradient(z, y).numpy() == 6 and tape.gradient(z, x).numpy() == -6


def test_factors_that_only_look_alike():
    x = np.array([1.0, -2.0])
    for f in (lambda x: np.sum(np.abs(x)[np.array([0, 1])] * np.abs(x)[np.array([1, 0])]),
              lambda x: np.sum(np.abs(x)[1] * np.abs(x)[True]), lambda x: np.sum(np.abs(x)[:1] * np.abs(x)[1:]),
              lambda x: np.sum(x ** 1 * np.abs(x)), lambda x: np.sum((x ** 1.0) ** 3 * np.abs(x))):
        ad.testing.check_grads(f, (x,), order=2)


def test_the_dtype_is_that_of_the_power():
    x = np.array([0.0, 1.0], np.float32)
    for f in (lambda x: np.float_power(np.abs(x), 2), lambda x: np.abs(x) ** np.float64(2)):
        assert {part.dtype for part in ad.jvp(f, (x,), (x,))} == {np.dtype(float)}


def test_programs_that_are_recorded_saved_and_loaded(tmp_path):
    for f in (lambda x: np.linalg.norm(x) ** 2, lambda x: np.sum(np.abs(x) ** 2), lambda x: np.sum((2 * abs(x)) ** 2)):
        program = ad.record(f)(np.ones(2))
        program.save(tmp_path / "program")
        for found in (program, ad.load(tmp_path / "program")):
            assert np.allclose(ad.hessian(found)(ZERO), ad.hessian(f)(ZERO)) and ad.hessian(found)(ZERO)[0, 0] > 0


def test_smooth_powers_raise_and_warn_of_nothing_new(recwarn):
    with np.errstate(all="raise"):
        f = lambda x: np.sum((np.abs(x) * 1e-200) ** 2)
        assert np.allclose(ad.grad(f)(np.array([1e190])), 2e-210, rtol=1e-14, atol=0)
    assert not recwarn.list
    assert np.isnan(ad.grad(lambda x: np.sqrt(x) ** 2)(np.nan))


def test_duals_too():
    x = ad.Dual(ad.Dual(0.0, 1.0), ad.Dual(1.0, 0.0))
    y = np.abs(x) ** 2
    assert y.tangent.tangent == 2


def test_single_precision_and_broadcast_bases():
    x = np.zeros(3, np.float32)
    assert ad.hessian(lambda x: np.sum(np.abs(x) ** 2))(x).dtype == np.float32
    f = lambda x: np.sum(np.hypot(x[:, None], x[None]) ** 2)
    assert np.allclose(ad.hessian(f)(x), 4 * 3 * np.eye(3))


def test_long_chains_of_roots_and_powers_end():
    def f(x):
        for _ in range(20_000):
            x = np.hypot(x, 1e-3)
        return x * x

    def g(x):
        for _ in range(20_000):
            x = 1.0001 * np.sqrt(np.abs(x))
        return x * x

    def h(x):
        x = np.abs(x)
        for _ in range(20_000):
            x = x * 1.0001
        return x * x

    assert math.isclose(ad.grad(f)(2.0), 4.0) and np.isclose(ad.jvp(f, (2.0,), (1.0,))[1], 4.0)
    assert np.isfinite(ad.grad(g)(2.0)) and np.isfinite(ad.jvp(g, (2.0,), (1.0,))[1])
    assert math.isclose(ad.grad(h)(2.0), ad.jvp(h, (2.0,), (1.0,))[1])


def test_a_factor_that_would_leave_the_range_does_no_harm():
    for factor, x in ((1e200, 1e-190), (1e-200, 1e190)):
        f = lambda x, factor=factor: (np.abs(x) * factor) ** 2
        assert math.isclose(ad.grad(f)(x), 2 * (x * factor) * factor, rel_tol=1e-14)
    tiny, x = np.float32(1.38e-23), np.full(2, 1e23, np.float32)
    assert np.allclose(ad.grad(lambda x: np.sum((np.abs(x) * tiny) ** 2))(x), 2 * 1.38 * 1.38e-23, rtol=1e-6)


def test_an_optimizer_finds_the_minimum_through_a_kink():
    target = np.array([1.0, 2.0])
    for f in (lambda x: np.sum(np.abs(x) ** 2), lambda x: np.linalg.norm(x) ** 2):
        found = ad.optimize.minimize(lambda x, f=f: f(x) - 2 * target @ x, np.zeros(2), method="newton-cg")
        assert np.allclose(found.x, target)


@pytest.mark.parametrize("f", (
    lambda x: np.abs(x) ** x, lambda x: np.abs(x) ** -2, lambda x: 2.0 ** np.abs(x), lambda x: np.abs(x) ** 2j,
    lambda x: np.sqrt(x) ** 3, lambda x: np.abs(x) ** 3.5, lambda x: np.hypot(x, 1.0) ** 3,
    lambda x: np.sqrt(np.abs(x) ** 3), lambda x: np.abs(x) * np.sqrt(x), lambda x: (x ** 1.5) ** 2,
))
def test_other_powers_are_right_too(f):
    ad.testing.check_grads(lambda x: np.real(f(x)), (1.3,), order=2)


def test_what_a_root_was_taken_of_may_be_rebound():
    """`out=` makes an Array stand for another value; what was computed from it before stays what it is."""
    def f(x):
        y = x * 1.0
        powers = np.sqrt(y), np.abs(y), np.linalg.norm(y), 2 * np.sqrt(y)
        np.multiply(y, 3.0, out=y)
        return sum(np.sum(power ** 2) for power in powers)

    x = np.array([4.0, 0.25])
    np.testing.assert_allclose(ad.grad(f)(x), 5 + 4 * x)
    np.testing.assert_allclose(ad.jvp(f, (x,), (np.ones(2),))[1], np.sum(5 + 4 * x))
    np.testing.assert_allclose(ad.hessian(f)(x), 4 * np.eye(2))
