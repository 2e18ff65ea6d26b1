"""np.errstate: what raises, calls or prints on arrays does so on values of ours, however an op is computed."""
import warnings

import numpy as np
import pytest

import ad

SHAPES = [(), (3,), (2, 2), (70,)]
OPS = {  # op, where it is without an error, where it has one
    "overflow of exp": (np.exp, 1.0, 1e4), "underflow of exp": (np.exp, 1.0, -1e4), "log of 0": (np.log, 2.0, 0.0),
    "root of a negative": (np.sqrt, 2.0, -1.0), "1 / 0": (lambda x: 1 / x, 2.0, 0.0),
    "0 / 0": (lambda x: x / x, 2.0, 0.0),
    "power of 0": (lambda x: x ** -1.0, 2.0, 0.0), "product": (lambda x: x * x, 1.0, 1e200),
    "sum": (lambda x: x + x, 1.0, 1.7e308), "inf - inf": (lambda x: np.inf - x * np.inf, -1.0, 1.0),
    "reduction": (lambda x: np.prod(x) * 1.0, 1.0, 1e200), "arcsin": (np.arcsin, 0.5, 2.0),
}


def guarded(op):
    def f(x):
        with np.errstate(all="raise"):
            try:
                return op(x)
            except FloatingPointError:
                return -x

    return f


def value(y):
    return np.asarray(y.numpy() if isinstance(y, ad.Array) else y)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("op", OPS)
def test_the_branch_taken_is_numpys(op, shape):
    op, good, bad = OPS[op]
    compiled = ad.compile(guarded(op))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a function that cannot be replayed says so
        for at in (good, bad, good, bad):
            x = np.full(shape, at)[()]
            want = guarded(op)(x)
            np.testing.assert_array_equal(value(guarded(op)(ad.constant(x))), want)
            np.testing.assert_array_equal(compiled(x), want)


def test_a_derivative_is_that_of_the_branch_taken():
    f = guarded(lambda x: np.exp(x * 1000))
    assert ad.grad(f)(3.0) == -1.0
    assert ad.jvp(f, (3.0,), (1.0,))[1] == -1.0
    np.testing.assert_array_equal(ad.grad(lambda x: np.sum(f(x)))(np.array([3.0, 0.0])), [-1.0, -1.0])
    np.testing.assert_allclose(ad.vmap(f)(np.array([3.0, 0.0])), [-3.0, 1.0])


def test_around_a_replay():
    f = ad.compile(lambda x: np.exp(x) + 1)
    f(np.ones(3)), f(np.ones(3))
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow"):
        f(np.full(3, 1e4))
    np.testing.assert_array_equal(f(np.full(3, 1e4)), np.inf)


def test_around_lanes():
    f = ad.vmap(lambda x: np.exp(x) + 1)
    f(np.ones(3)), f(np.ones(3))
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow"):
        f(np.full(3, 1e4))
    with np.errstate(over="raise"):
        np.testing.assert_array_equal(ad.grad(lambda x: np.sum(f(x)))(np.zeros(3)), np.ones(3))


def test_large_values_of_a_recording_do_not_wait_where_they_may_raise():
    f = ad.compile(guarded(lambda x: np.exp(x) * 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for at in (1.0, 1e4):
            x = np.full(100_000, at)
            np.testing.assert_array_equal(f(x), guarded(lambda x: np.exp(x) * 2)(x))


@pytest.mark.parametrize("how", ["call", "log"])
def test_calls_and_logs(how):
    told = []

    class Log:
        write = staticmethod(told.append)

    with np.errstate(all=how, call=(lambda *what: told.append(what)) if how == "call" else Log()):
        np.log(ad.constant(0.0)), np.exp(ad.constant([1e4]))
    assert len(told) == 2


@pytest.mark.parametrize("settings", [{}, {"all": "ignore"}, {"all": "warn"}])
def test_no_warning_otherwise(settings):
    with warnings.catch_warnings(), np.errstate(**settings):
        warnings.simplefilter("error")
        assert np.log(ad.constant(0.0)) == -np.inf
        assert np.exp(ad.constant([1e4])) == np.inf
        assert ad.grad(np.log)(0.0) == np.inf
