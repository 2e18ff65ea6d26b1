"""Matrices large enough to be taken apart: factors and triangular systems."""
import numpy as np
import pytest

import ad
from ad.ops.factorisations import cholesky_cotangent
from ad.ops.solvers import SMALL, solve_matrix

SIZES = [SMALL + 1, 3 * SMALL - 1]


def positive(n, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, n))
    return x @ x.T / n + np.eye(n)


@pytest.mark.parametrize("n", SIZES)
def test_gradient_of_log_determinant_by_the_factor_is_the_inverse(n):
    a = positive(n)
    found = ad.grad(lambda a: 2 * np.sum(np.log(np.diag(np.linalg.cholesky(a)))))(a)
    np.testing.assert_allclose(found, np.linalg.inv(a), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n", SIZES)
def test_gradient_of_quadratic_form_by_the_factor(n):
    a, b = positive(n), np.random.default_rng(1).standard_normal(n)
    found = ad.grad(lambda a: np.sum(np.linalg.solve(np.linalg.cholesky(a), b) ** 2))(a)
    x = np.linalg.solve(a, b)
    np.testing.assert_allclose(found, -np.outer(x, x), rtol=1e-9, atol=1e-12)


def test_cotangent_of_any_factor_agrees_with_differences():
    n = SIZES[0]
    rng = np.random.default_rng(2)
    a, weights, direction = positive(n), rng.standard_normal((n, n)), positive(n, 3)
    found = np.sum(cholesky_cotangent(weights, np.linalg.cholesky(a)) * direction)
    ahead, behind = (np.sum(weights * np.linalg.cholesky(a + h * direction)) for h in (1e-5, -1e-5))
    assert found == pytest.approx((ahead - behind) / 2e-5, rel=1e-7)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("turn", [np.tril, np.triu, np.asarray])
def test_triangular_systems_are_solved_as_any_others(n, turn):
    a, b = turn(positive(n)), np.random.default_rng(4).standard_normal((n, 3))
    np.testing.assert_allclose(solve_matrix(a, b), np.linalg.solve(a, b), rtol=1e-10, atol=1e-12)


def test_triangular_matrix_with_zero_on_its_diagonal_is_singular():
    a = np.tril(positive(SIZES[1]))
    a[-1, -1] = 0
    with pytest.raises(np.linalg.LinAlgError):
        ad.grad(lambda a: np.sum(np.linalg.solve(a, np.ones(len(a)))))(a)


def test_single_precision_stays():
    a = np.tril(positive(SIZES[0])).astype(np.float32)
    assert solve_matrix(a, np.ones((len(a), 1), np.float32)).dtype == np.float32


@pytest.mark.parametrize(("a", "b"), [
    ((3, 3), (4, 3, 2)), ((1, 3, 3), (4, 3, 2)), ((3, 3), (2, 4, 3, 1)), ((1, 1, 3, 3), (2, 4, 3, 2)),
    ((4, 3, 3), (4, 3, 2)), ((1, 3, 3), (1, 3, 2)), ((3, 3), (4, 3, 0)), ((3, 3), (0, 3, 2)),
    ((SMALL + 1, SMALL + 1), (3, SMALL + 1, 2)),
])
def test_a_matrix_of_many_systems_is_taken_apart_once_with_the_same_solutions(a, b, rng):
    a, b = rng.random(a) + 3 * np.eye(a[-1]), rng.random(b)
    if len(a) > SMALL:
        a = np.tril(a)
    x = solve_matrix(a, b)
    np.testing.assert_allclose(x, np.linalg.solve(a, b), rtol=1e-10)
    assert x.flags.c_contiguous


@pytest.mark.parametrize(("a", "b"), [((2, 2), (3, 4, 2)), ((2, 3), (3, 2, 2)), ((4, 2), (3, 2, 2))])
def test_systems_that_do_not_fit_raise_as_they_do_in_numpy(a, b):
    with pytest.raises((ValueError, np.linalg.LinAlgError)) as expected:
        np.linalg.solve(np.ones(a), np.ones(b))
    with pytest.raises(expected.type):
        solve_matrix(np.ones(a), np.ones(b))


@pytest.mark.parametrize("function", [
    lambda x, a: np.sum(np.linalg.solve(a, x) ** 3), lambda x, a: np.sum(np.tanh(a @ np.tanh(a @ x))),
    lambda x, a: np.sum(np.linalg.solve(a + np.diag(x), a) ** 2), lambda x, a: np.sum(np.tanh(np.outer(x, x) @ a)),
])
def test_a_hessian_through_matrices_is_the_jacobian_of_the_gradient(function, rng):
    a, x = rng.random((5, 5)) + np.eye(5), rng.random(5)
    gradient = ad.grad(lambda x: function(x, a))
    steps = 1e-6 * np.eye(5)
    expected = np.array([(gradient(x + step) - gradient(x - step)) / 2e-6 for step in steps])
    np.testing.assert_allclose(ad.hessian(lambda x: function(x, a))(x), expected, rtol=1e-6, atol=1e-7)
