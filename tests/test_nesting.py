"""Transforms inside transforms: every nesting, perturbation confusion, threads, exceptions."""
import itertools
import threading

import numpy as np
import pytest

import ad


def by_tape(f):
    def derivative(x):
        x = ad.constant(x) if isinstance(x, float) else x + 0
        with ad.GradientTape() as tape:
            tape.watch(x)
            y = f(x)
        return tape.gradient(y, x, unconnected_gradients="zero")

    return derivative


ARRAY = type(ad.constant(0.0))

# Each takes a function of one number and gives its derivative, by another way.
DERIVATIVES = {
    "grad": ad.grad,
    "value_and_grad": lambda f: lambda x: ad.value_and_grad(f)(x)[1],
    "jvp": lambda f: lambda x: ad.jvp(f, (x,), (1.0,))[1],
    "vjp": lambda f: lambda x: ad.vjp(f, x)[1](1.0)[0],
    "linearize": lambda f: lambda x: ad.linearize(f, x)[1](1.0),
    "forward": lambda f: ad.jacobian(f, mode="forward"),
    "reverse": lambda f: ad.jacobian(f, mode="reverse"),
    "tape": by_tape,
}
SECOND = {
    "hvp": lambda f: lambda x: ad.hvp(f)(x, 1.0),
    "hessian": ad.hessian,
}


def nested(names, f):
    for name in names:
        f = DERIVATIVES[name](f) if name in DERIVATIVES else SECOND[name](f)
    return f


def plain(value):
    return value.numpy() if isinstance(value, ARRAY) else value


def order(names):
    return sum(1 + (name in SECOND) for name in names)


def wave(x):
    return np.sin(2 * x) * np.exp(x)


def wave_derivative(k, x):
    return (((1 + 2j) ** k) * np.exp((1 + 2j) * x)).imag


NESTINGS = [names for depth in (1, 2, 3) for names in itertools.product((*DERIVATIVES, *SECOND), repeat=depth)]


@pytest.mark.parametrize("first", (*DERIVATIVES, *SECOND))
def test_every_nesting_of_a_scalar_function(first):
    for names in NESTINGS:
        if names[0] == first:
            found = nested(names, wave)(0.3)
            assert type(found) is np.float64 or "tape" in names, names
            found = plain(found)
            assert found == pytest.approx(wave_derivative(order(names), 0.3)), names


@pytest.mark.parametrize("first", (*DERIVATIVES, *SECOND))
def test_confusion_in_every_nesting(first):
    """d/dx (x d/dy (x y^3)) at y = 2x, with both variables alive in the inner function."""
    inner = {**DERIVATIVES, **SECOND}[first]
    for name, outer in DERIVATIVES.items():
        found = outer(lambda x: x * inner(lambda y: x * y ** 3)(2 * x))(1.5)
        found = plain(found)
        # order 1: x (3 x (2x)^2) = 12 x^4; order 2: x (6 x 2x) = 12 x^3
        assert found == pytest.approx(48 * 1.5 ** 3 if first in DERIVATIVES else 36 * 1.5 ** 2), name


@pytest.mark.parametrize("outer, inner", list(itertools.product(DERIVATIVES, DERIVATIVES)))
def test_siskind_and_pearlmutter(outer, inner):
    d, e = DERIVATIVES[outer], DERIVATIVES[inner]
    assert d(lambda x: x * e(lambda y: x + y)(1.0))(1.0) == 1
    assert d(lambda x: x * e(lambda y: x * y)(2.0))(3.0) == 6
    assert d(lambda x: e(lambda y: x)(2.0) + x)(3.0) == 1
    assert d(lambda x: e(lambda y: y * y)(5.0) * x)(3.0) == 10


MATRIX = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])


def chain(x):
    return np.sin(MATRIX @ x) * x[0] + (x * x).sum()


VECTOR = {
    "forward": lambda f: ad.jacobian(f, mode="forward"),
    "reverse": lambda f: ad.jacobian(f, mode="reverse"),
    "linearize": lambda f: lambda x: np.moveaxis(np.stack([ad.linearize(f, x)[1](e) for e in np.eye(3)]), 0, -1),
    "jvp": lambda f: lambda x: np.moveaxis(np.stack([ad.jvp(f, (x,), (e,))[1] for e in np.eye(3)]), 0, -1),
}


@pytest.mark.parametrize("names", list(itertools.product(VECTOR, repeat=2)))
def test_second_derivatives_of_a_vector_function(names):
    x = np.array([0.3, -0.4, 0.9])
    first, second = (VECTOR[name] for name in names)
    found = second(first(chain))(x)
    step = 1e-5
    jacobian = ad.jacobian(chain)
    expected = np.stack([(jacobian(x + step * e) - jacobian(x - step * e)) / (2 * step) for e in np.eye(3)], -1)
    assert found.shape == (2, 3, 3)
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_third_derivatives_agree():
    x = np.array([0.3, -0.4, 0.9])
    results = [
        VECTOR[a](VECTOR[b](VECTOR[c](chain)))(x)
        for a, b, c in (("forward",) * 3, ("reverse",) * 3, ("forward", "reverse", "jvp"),
                        ("linearize", "forward", "reverse"))
    ]
    results.append(np.stack([ad.jacobian(ad.hessian(lambda v, k=k: chain(v)[k]))(x) for k in range(2)]))
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], atol=1e-10)


def test_outer_values_captured_by_several_levels():
    def f(a):
        def g(b):
            def h(c):
                return a * b ** 2 * c ** 3
            return ad.grad(h)(b) * ad.jvp(h, (a,), (1.0,))[1]
        return ad.jacobian(g, mode="forward")(a * 2)

    # g(b) = 3 a b^4 * 3 a^3 b^2 = 9 a^4 b^6; g' = 54 a^4 b^5 = 1728 a^9; f' = 15552 a^8
    assert ad.grad(f)(1.1) == pytest.approx(15552 * 1.1 ** 8)
    assert ad.jvp(f, (1.1,), (1.0,))[1] == pytest.approx(15552 * 1.1 ** 8)


def test_pullback_inside_an_outer_derivative():
    _, pullback = ad.vjp(lambda v: v ** 3, 2.0)
    assert ad.grad(lambda s: pullback(s * s)[0])(3.0) == 12 * 2 * 3
    assert ad.jvp(lambda s: pullback(s * s)[0], (3.0,), (1.0,)) == (108, 72)
    _, push = ad.linearize(lambda v: v ** 3, 2.0)
    assert ad.grad(lambda s: push(s * s))(3.0) == 72
    assert ad.hessian(lambda s: push(s * s))(3.0) == 24


def test_results_of_a_closed_derivative_are_constants():
    kept = []

    def f(x):
        kept.append(x * x)
        return x * x

    ad.grad(f)(3.0)
    ad.jvp(f, (3.0,), (1.0,))
    for old in kept:
        assert old.is_constant
        assert ad.grad(lambda y, old=old: y * old)(2.0) == 9
        assert ad.jvp(lambda y, old=old: y * old, (2.0,), (1.0,)) == (18, 9)


@pytest.mark.parametrize("name", DERIVATIVES)
def test_duals_through_every_transform(name):
    found = DERIVATIVES[name](lambda v: v ** 3)(ad.Dual(2.0, 5.0))
    assert isinstance(found, ad.Dual)
    assert (found.primal, found.tangent) == (12, 60)


@pytest.mark.parametrize("name", (*DERIVATIVES, *SECOND))
def test_an_exception_half_way_leaves_nothing_behind(name):
    def f(x):
        y = x * x
        if y > 5:
            raise ZeroDivisionError
        return y

    transform = {**DERIVATIVES, **SECOND}[name]
    for outer in DERIVATIVES.values():
        with pytest.raises(ZeroDivisionError):
            outer(transform(f))(3.0)
        assert transform(lambda x: x ** 3)(2.0) == 12
        assert outer(lambda x: x * transform(lambda y: x * y ** 2)(1.0))(1.0) == 4
    assert ad.constant(1.0).is_constant
    assert (ad.constant(1.0) * 2).is_constant


def test_a_caught_exception_inside_an_outer_derivative():
    def inner(y):
        y = y * y
        raise ZeroDivisionError

    def f(x):
        for transform in DERIVATIVES.values():
            with pytest.raises(ZeroDivisionError):
                transform(inner)(x)
        return x * x

    assert ad.grad(f)(3.0) == 6
    assert ad.jvp(f, (3.0,), (1.0,))[1] == 6


def test_threads_with_different_nestings():
    choices = [names for names in NESTINGS if len(names) == 3][::23]
    failures = []
    start = threading.Barrier(8)

    def work(k):
        start.wait()
        for i in range(12):
            names = choices[(7 * k + i) % len(choices)]
            x = 0.1 * (k + 1)
            found = plain(nested(names, wave)(x))
            if not np.isclose(found, wave_derivative(order(names), x)):
                failures.append((k, names, found))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_transforms_in_another_thread_do_not_mix_with_those_around_it():
    found = []

    def f(x):
        def work():
            found.append(ad.grad(lambda y: y * x)(2.0))
            found.append(ad.jvp(lambda y: y * x, (2.0,), (1.0,))[1])
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return x * x

    assert ad.grad(f)(3.0) == 6
    assert ad.jvp(f, (3.0,), (1.0,)) == (9, 6)
    assert [float(value) for value in found] == [3, 3, 3, 3]


def test_deep_chain_twice():
    def f(x):
        for _ in range(3000):
            x = x * 1.0001
        return x * x

    assert ad.hessian(f)(1.0) == pytest.approx(2 * 1.0001 ** 6000)
    assert ad.grad(ad.grad(f))(1.0) == pytest.approx(2 * 1.0001 ** 6000)


def test_duals_that_a_function_makes_for_itself_stay_inside():
    def slope(x):
        return np.sin(ad.Dual(3.0, 1.0) * x).tangent

    expected = np.cos(6) - 6 * np.sin(6)
    for derivative in ad.grad, ad.jacobian, lambda f: lambda x: ad.vjp(f, x)[1](1.0)[0]:
        found = derivative(slope)(2.0)
        assert not isinstance(found, ad.Array)
        np.testing.assert_allclose(found, expected)
    assert not isinstance(ad.hessian(slope)(2.0), ad.Array)


def test_single_precision_stays_single_in_every_mode():
    x = np.array([1, 2, 3], np.float32)

    def f(x):
        return np.sum(2.0 * x * x) + np.mean(x / 2)

    assert ad.jvp(f, (x,), (x,))[1].dtype == np.float32
    assert ad.hessian(f)(x).dtype == np.float32
    with ad.GradientTape():
        assert ad.grad(f)(x).dtype == np.float32
