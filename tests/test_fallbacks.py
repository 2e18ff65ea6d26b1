"""Calls that have no rule: NumPy evaluates them where nothing is differentiated, and nothing becomes a constant."""
import warnings

import numpy as np
import pytest
from scipy import special

import ad

X = np.array([3.0, 1.0, 2.5, 7.0])
A = np.arange(6.0).reshape(3, 2) + np.eye(3, 2)

WITHOUT_RULE = {
    "full svd": (lambda a: np.linalg.svd(a)[0], A), "full svd by name": (lambda a: np.linalg.svd(a).S, A),
    "complete qr": (lambda a: np.linalg.qr(a, mode="complete")[1], A), "cond": (np.linalg.cond, A),
    "eig": (lambda a: np.linalg.eig(a)[1], A[:2]), "histogram": (lambda x: np.histogram(x, 4)[1], X),
    "weights": (lambda x: np.histogram(np.arange(4.0), 2, weights=x)[0], X), "cov": (np.cov, A),
    "unwrap": (np.unwrap, X), "a ufunc": (lambda x: np.nextafter(x, 1.0), X),
    "SciPy's": (lambda x: special.struve(1, x), X), "two outputs": (lambda x: special.fresnel(x)[1], X),
    "period": (lambda x: np.interp(x, [0.0, 1.0, 2.0], [1.0, 2.0, 0.0], period=3), X),
    "mode of pad": (lambda x: np.pad(x, 2, mode="linear_ramp"), X), "rtol": (lambda a: np.linalg.pinv(a, rtol=0.1), A),
    "hermitian": (lambda a: np.linalg.svd(a @ a.T, hermitian=True)[1], A),
    "dtype of concatenate": (lambda x: np.concatenate([x, x], dtype=np.float32), X),
    "an unknown option": (lambda x: np.nanmax(x, initial=9.0), X), "nested outputs": (
        lambda a: np.histogramdd(a, 2)[1][1], A), "reduceat": (lambda x: np.add.reduceat(x, [0, 2]), X),
    "reduce": (np.hypot.reduce, X), "correlate": (lambda x: np.correlate(x, x, "full"), X),
}
EVERY = pytest.mark.parametrize(("f", "x"), [pytest.param(*case, id=name) for name, case in WITHOUT_RULE.items()])


def plain(y):
    return np.asarray(y.numpy() if isinstance(y, ad.Array) else y)


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@EVERY
def test_on_constants_and_in_compiled_functions(f, x):
    want, compiled = f(x), ad.compile(f)
    compiled(x * 1.25)
    for found in (plain(f(ad.constant(x))), compiled(x), ad.vmap(f)(np.stack([x, x]))[1]):
        np.testing.assert_allclose(found, want, rtol=1e-6)
        assert found.dtype == want.dtype


@EVERY
@pytest.mark.parametrize("derivative", [
    lambda f, x: ad.grad(f)(x), lambda f, x: ad.jvp(f, (x,), (x,)), lambda f, x: ad.grad(ad.compile(f))(x),
    lambda f, x: ad.compile(ad.grad(f))(x), lambda f, x: ad.grad(ad.record(f)(x))(x),
    lambda f, x: ad.jvp(ad.record(f)(x), (x,), (x,)), lambda f, x: ad.hessian(f)(x),
    lambda f, x: ad.grad(lambda x: np.sum(ad.vmap(f)(np.stack([x, x]))))(x),
], ids="grad jvp grad-of-compiled compiled-grad of-a-program jvp-of-a-program hessian of-vmap".split())
def test_no_derivative_is_lost_in_silence(f, x, derivative):
    with pytest.raises(ad.MissingRule):
        derivative(lambda x: np.sum(np.abs(f(x))), x)


def test_what_does_not_depend_on_the_argument_is_evaluated():
    f = lambda x: x * np.linalg.cond(ad.constant(np.diag([4.0, 1.0])))  # noqa: E731
    assert ad.grad(f)(3.0) == ad.compile(ad.grad(f))(3.0) == 4.0


@pytest.mark.parametrize("f", [
    lambda x, out: np.sum(x, axis=0, out=out), lambda x, out: np.mean(x, axis=0, out=out),
    lambda x, out: np.clip(x, 1.0, 2.0, out=out), lambda x, out: np.round(x, out=out),
    lambda x, out: np.take(x, [0, 1, 2, 3], out=out), lambda x, out: np.cumsum(x, out=out),
    lambda x, out: np.concatenate([x, x], out=out), lambda x, out: np.median(x, out=out),
    lambda x, out: np.stack([x, x], out=out), lambda x, out: np.std(x, out=out),
])
def test_out(f):
    out = np.zeros_like(f(X, None))
    given = ad.constant(out)
    assert f(ad.constant(X), out) is out
    np.testing.assert_allclose(out, f(X, None))

    def into(x):
        return np.sum(f(x, given))

    np.testing.assert_allclose(ad.grad(into)(X), ad.grad(lambda x: np.sum(f(x, None)))(X))
    with pytest.raises(TypeError, match="cannot write a value that is being differentiated"):
        ad.grad(lambda x: np.sum(f(x, out)))(X)


@pytest.mark.parametrize("weights", [X, [1.0, 2.0, 3.0, 4.0]])
def test_weights_of_bincount(weights):
    def f(x):
        return np.bincount([0, 2, 2, 1], weights=x * np.asarray(weights), minlength=4)

    np.testing.assert_array_equal(ad.vjp(f, X)[0], f(X))
    np.testing.assert_array_equal(ad.grad(lambda x: f(x)[2])(X), [0, weights[1], weights[2], 0])
    np.testing.assert_array_equal(ad.grad(ad.record(lambda x: f(x)[2])(X))(X), [0, weights[1], weights[2], 0])
    with pytest.raises(ValueError, match="same length"):
        np.bincount(np.array([0, 1]), weights=ad.constant(X))


# -- no elements, no axes -------------------------------------------------------------------------

REDUCING = [np.sum, np.prod, np.mean, np.std, np.median, np.max, np.nansum, np.sort, np.cumsum, np.cumprod,
            lambda x, axis: np.quantile(x, [0.2, 0.7], axis=axis), lambda x, axis: np.percentile(x, 30, axis=axis)]


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (2, 0, 3)], ids=str)
@pytest.mark.parametrize("f", REDUCING)
def test_axes_of_values_without_axes_or_elements(f, shape):
    x = np.full(shape, 2.0)[()]
    for axis in (None, 0, -1, 1):
        try:
            want = f(x, axis=axis)
        except (ValueError, IndexError):  # AxisError, too
            continue
        along = lambda x, axis=axis: f(x, axis=axis)  # noqa: E731
        np.testing.assert_array_equal(plain(along(ad.constant(x))), want)
        np.testing.assert_array_equal(ad.compile(along)(x), want)
        y, pull = ad.vjp(along, x)
        assert np.shape(pull(np.ones(np.shape(y)))[0]) == shape
        assert ad.jvp(along, (x,), (np.ones(shape),))[1].shape == np.shape(want)
        assert ad.vmap(along)(np.stack([x, x])).shape == (2, *np.shape(want))


@pytest.mark.parametrize("f", [
    lambda x: np.prod(x, axis=-1), lambda x: np.take(x, [0, 0], axis=0), lambda x: np.repeat(x, 2, axis=-1),
    lambda x: np.add.reduce(x, axis=0), lambda x: np.max(x, axis=0),
])
def test_derivatives_along_the_axis_of_a_number(f):
    assert ad.grad(lambda x: np.sum(f(x)))(2.0) == ad.jvp(lambda x: np.sum(f(x)), (2.0,), (1.0,))[1] == np.size(f(2.0))
    assert ad.hvp(lambda x: np.sum(f(x)) ** 2)(3.0, 1.0) == 2 * np.size(f(2.0)) ** 2
