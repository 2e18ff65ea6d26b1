"""Quantiles by every method, in the values, in q and by weights, beside NumPy's and differences."""
import numpy as np
import pytest

import ad
from ad.testing import check_grads

X = np.array([3.0, 1.0, 2.5, 7.0, 5.2])
METHODS = ("linear hazen weibull interpolated_inverted_cdf median_unbiased normal_unbiased inverted_cdf "
           "averaged_inverted_cdf closest_observation lower higher midpoint nearest").split()
QS = [0.0, 0.13, 0.37, 0.55, 0.82, 1.0, np.array([0.23, 0.91])]


@pytest.mark.parametrize("method", METHODS)
def test_values(method):
    compiled = ad.compile(lambda x, q: np.quantile(x, q, method=method))
    for q in QS:
        want = np.quantile(X, q, method=method)
        np.testing.assert_allclose(np.quantile(ad.constant(X), q, method=method).numpy(), want, rtol=1e-13)
        np.testing.assert_allclose(compiled(X, q), want, rtol=1e-13)
        np.testing.assert_allclose(compiled(X[::-1] * 2, q), 2 * want, rtol=1e-13)
        percent = np.percentile(ad.constant(X), q * 100, method=method).numpy()
        np.testing.assert_allclose(percent, np.percentile(X, q * 100, method=method), rtol=1e-13)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("q", QS[1:5] + QS[6:], ids=str)
def test_derivatives_by_values_and_q(method, q):
    check_grads(lambda x, q: np.quantile(x, q, method=method), [X, q])
    compiled = ad.compile(ad.grad(lambda q: np.sum(np.quantile(X, q, method=method))))
    compiled(q * 0.9)
    np.testing.assert_allclose(compiled(q), ad.grad(lambda q: np.sum(np.quantile(X, q, method=method)))(q), rtol=1e-12)


def test_q_decides_between_elements():
    assert ad.grad(lambda q: np.quantile(np.arange(4.0), q))(0.3) == 3.0
    np.testing.assert_allclose(ad.vmap(lambda q: np.quantile(X, q))(np.array([0.1, 0.6])), np.quantile(X, [0.1, 0.6]))


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1), -1])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("q", [0.3, np.array([0.2, 0.8])], ids=["one", "two"])
@pytest.mark.parametrize("weighted", [False, True])
def test_axes_and_weights(axis, keepdims, q, weighted):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 5))
    options = {"weights": rng.uniform(1, 2, size=(4, 5)), "method": "inverted_cdf"} if weighted else {}

    def f(x):
        return np.quantile(x, q, axis=axis, keepdims=keepdims, **options)

    np.testing.assert_allclose(f(ad.constant(x)).numpy(), f(x), rtol=1e-13)
    np.testing.assert_allclose(ad.compile(f)(x), f(x), rtol=1e-13)
    check_grads(f, [x], order=1)


@pytest.mark.parametrize("q", [0.3, np.float64(0.3), np.array([0.3], np.float32)], ids=["weak", "float64", "float32"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_dtypes(q, dtype):
    x = np.array([1, 5, 2], dtype)
    assert np.quantile(ad.constant(x, dtype), q).dtype == np.quantile(x, q).dtype


@pytest.mark.parametrize("f", [
    lambda x: np.quantile(x, 1.5), lambda x: np.percentile(x, [20, 101]), lambda x: np.quantile(x, np.ones((1, 1, 1))),
    lambda x: np.quantile(x, 0.5, method="no such method"),
])
def test_refused_as_by_numpy(f):
    with pytest.raises(ValueError) as numpys:  # noqa: PT011
        f(X)
    with pytest.raises(ValueError, match=str(numpys.value)[:20]):
        f(ad.constant(X))


def test_a_nan_makes_nan():
    x = np.array([[1.0, np.nan, 2.0], [1.0, 3.0, 2.0]])
    found = np.quantile(ad.constant(x), [0.2, 0.5], axis=1).numpy()
    np.testing.assert_array_equal(found, np.quantile(x, [0.2, 0.5], axis=1))
    np.testing.assert_array_equal(np.median(ad.constant(x), axis=1).numpy(), [np.nan, 2.0])
