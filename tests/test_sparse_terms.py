"""Terms of sparse derivatives: factors that are numbers, and coefficients that several of them share."""
import numpy as np
import pytest

import ad

X = np.array([0.4, -1.2, 0.7, 1.9, -0.3])


def surface(x):
    """The area of a surface over a grid."""
    u = x.reshape(6, 6)
    a, b = u[1:, 1:] - u[:-1, :-1], u[1:, :-1] - u[:-1, 1:]
    return np.sum(np.sqrt(1 + 0.5 * (a**2 + b**2)))


FUNCTIONS = {
    "factors that differ": lambda x: np.sum(np.sin(x[1:] - 3 * x[:-1]) * (2 * x[1:] - x[:-1] / 7)),
    "factors that cancel": lambda x: np.sum((x[1:] * x[:-1] - x[:-1] * x[1:]) * x[1:] + x[1:] ** 2),
    "opposite factors": lambda x: np.sum((x[1:] ** 3 - x[:-1] ** 3) * (x[1:] - x[:-1])),
    "small factors": lambda x: np.sum((1e-150 * (1e-150 * (1e150 * np.exp(x) * 1e150) * x)) ** 2),
    "weights": lambda x: np.sum(np.arange(5.0) * x**2) + np.sum(np.arange(1.0, 5.0) * x[1:] * x[:-1]),
    "a number and an array": lambda x: np.sum((x + np.cos(x)) * (2 * x - np.cos(x) * x)),
    "gathered twice": lambda x: np.sum((x[[0, 1, 2, 4]] - x[[3, 3, 1, 0]]) ** 4 - 2 * x[[0, 1, 2, 4]] ** 2),
    "many terms": lambda x: np.sum(np.tanh(sum((k + 1) * np.roll(x, k) ** 2 for k in range(5))) ** 2),
    "many sums": lambda x: np.sum(np.exp(sum((x[1:] - x[k]) * (x[:-1] + x[k]) for k in range(5)) / 20)),
}


CASES = [(name, dtype) for name in FUNCTIONS for dtype in "df" if (name, dtype) != ("small factors", "f")]


@pytest.mark.parametrize("name, dtype", CASES)
def test_hessians_are_those_of_dense_derivatives(name, dtype):
    f, x = FUNCTIONS[name], X.astype(dtype)
    found, expected = ad.sparse.hessian(f, method="terms")(x), ad.hessian(f)(x)
    assert found.dtype == dtype
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-12 if dtype == "d" else 2e-5,
                               atol=1e-12 if dtype == "d" else 2e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jacobians_are_those_of_dense_derivatives(name):
    gradient = ad.grad(FUNCTIONS[name])
    found = ad.sparse.jacobian(gradient, method="terms")(X)
    np.testing.assert_allclose(found.toarray(), ad.jacobian(gradient)(X), rtol=1e-12, atol=1e-12)


def test_coefficients_that_differ_by_a_number_are_computed_once():
    """An element of the surface has ten entries in the lower triangle; up to their signs, they are three numbers."""
    hessian = ad.sparse.hessian(surface, method="terms", triangle="lower")
    x = np.random.default_rng(0).random(36)
    np.testing.assert_allclose(hessian(x).toarray(), np.tril(ad.hessian(surface)(x)), rtol=1e-12, atol=1e-14)
    (path,), = hessian._paths.values()
    assert path.evaluator.scatter.n_parts == 10
    assert path.evaluator.n_arrays <= 4
