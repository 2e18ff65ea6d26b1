"""Large systems of equations and residuals: sparse Jacobians for least_squares, exact products for root by krylov."""
import numpy as np
import pytest
from objectives import CONSTANT, Counted, message
from scipy import optimize as scipy_optimize
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, splu

from ad.optimize import least_squares, root


def residuals(x):
    """Of the chained Rosenbrock function."""
    return np.concatenate([10 * (x[1:] - x[:-1] ** 2), 1 - x[:-1]])


def residuals_jacobian(x):
    n = x.size
    upper = sparse.diags_array([-20 * x[:-1], np.full(n - 1, 10.0)], offsets=[0, 1], shape=(n - 1, n))
    return sparse.vstack([upper, sparse.diags_array([-np.ones(n - 1)], offsets=[0], shape=(n - 1, n))], "csr")


X0 = np.linspace(0.5, 1.5, 60)


@pytest.mark.parametrize("how", [
    {}, {"method": "dogbox"}, {"loss": "soft_l1"}, {"loss": "cauchy", "f_scale": 0.5}, {"x_scale": "jac"},
    {"bounds": (0, 0.9)}, {"max_nfev": 3},
])
def test_the_same_search_as_with_a_sparse_jacobian_by_hand(how):
    ours = least_squares(residuals, X0.clip(0, 0.8), tr_solver="lsmr", **how)
    scipys = scipy_optimize.least_squares(residuals, X0.clip(0, 0.8), residuals_jacobian, tr_solver="lsmr", **how)
    np.testing.assert_allclose(ours.x, scipys.x, atol=1e-6)
    assert sparse.issparse(ours.jac) and ours.jac.nnz == 3 * 59
    np.testing.assert_allclose(ours.cost, scipys.cost, atol=1e-9)
    assert (ours.nfev, ours.njev, ours.status) == (scipys.nfev, scipys.njev, scipys.status)
    np.testing.assert_allclose(ours.jac.toarray(), scipys.jac.toarray(), atol=1e-5)


def test_values_are_not_recorded():
    f = Counted(residuals)
    result = least_squares(f, X0, tr_solver="lsmr")
    plain = [x for x in f.xs if type(x) is np.ndarray]
    assert len(plain) >= result.nfev - 1 and len(f.xs) - len(plain) < 6


def test_containers_of_many_elements():
    n = 40
    x0 = {"a": np.full((n, 2), 0.5), "b": 0.0}
    f = lambda p: {"r": p["a"] ** 2 - 4, "s": [p["b"] - 3, np.sum(p["a"]) - 4 * n]}
    result = least_squares(f, x0, tr_solver="lsmr")
    np.testing.assert_allclose(result.x["a"], 2)
    np.testing.assert_allclose(result.x["b"], 3)
    assert result.jac.shape == (2 * n + 2, 2 * n + 1) and result.jac.nnz == 2 * n + 1 + 2 * n


def test_what_is_dense_stays_dense():
    for how in ({}, {"tr_solver": "exact"}, {"method": "lm"}):
        assert type(least_squares(residuals, X0, **how).jac) is np.ndarray
    jac = Counted(lambda x: residuals_jacobian(x).toarray())
    assert type(least_squares(residuals, X0, jac, tr_solver="lsmr").jac) is np.ndarray and jac.xs


def test_errors_of_sparse_residuals():
    said = message(least_squares, lambda x: np.ones(3), X0, tr_solver="lsmr")
    assert said == f"ad.optimize.least_squares: {CONSTANT}"
    with np.errstate(invalid="ignore"):
        assert "f is nan in element 0 of 60 at x0" in message(least_squares, lambda x: np.sqrt(x - 1), X0,
                                                             tr_solver="lsmr")


# -- krylov ----------------------------------------------------------------------------------


def heat(u):
    """A nonlinear equation of heat on a line, with values of 0 and 1 at its ends."""
    h = 1 / (u.size + 1)
    around = np.concatenate([np.zeros(1), u, np.ones(1)])
    return (around[2:] - 2 * u + around[:-2]) / h**2 - 10 * np.sin(3 * u)


def heat_jacobian(u):
    h, n = 1 / (u.size + 1), u.size
    off = np.full(n - 1, h**-2)
    return sparse.diags_array([off, -2 / h**2 - 30 * np.cos(3 * u), off], offsets=[-1, 0, 1]).tocsc()


U0 = np.linspace(0, 1, 22)[1:-1]
SOLVERS = ["lgmres", "gmres", "bicgstab", "cgs", "tfqmr"]


@pytest.mark.parametrize("solver", SOLVERS)
def test_exact_products(solver):
    jac_options = {"method": solver, "inner_maxiter": 60}
    how = {"method": "krylov", "options": {"jac_options": jac_options, "fatol": 1e-8}}
    ours, scipys = root(heat, U0, **how), scipy_optimize.root(heat, U0, **how)
    assert ours.success and ours.nfev < scipys.nfev / 4
    exact = scipy_optimize.root(heat, U0, jac=lambda u: heat_jacobian(u).toarray(), tol=1e-12)
    np.testing.assert_allclose(ours.x, exact.x, atol=1e-9)
    assert ours.nit <= 10  # as Newton's method; with differences it depends on their noise
    assert jac_options == {"method": solver, "inner_maxiter": 60}


class Preconditioner(LinearOperator):
    """The inverse of the Jacobian where the search began, or where it is."""

    def __init__(self, follows):
        super().__init__(np.float64, (U0.size, U0.size))
        self.follows, self.calls = follows, []

    def setup(self, u, f, function):
        self.calls.append("setup")
        self.inverse = splu(heat_jacobian(u))

    def update(self, u, f):
        self.calls.append("update")
        if self.follows:
            self.inverse = splu(heat_jacobian(u))

    def _matvec(self, v):
        return self.inverse.solve(v)


@pytest.mark.parametrize("follows", [False, True])
def test_preconditioners_are_asked(follows):
    preconditioner = Preconditioner(follows)
    result = root(heat, U0, method="krylov", options={"jac_options": {"inner_M": preconditioner}, "fatol": 1e-8})
    assert result.success and np.abs(heat(result.x)).max() < 1e-8
    assert preconditioner.calls[0] == "setup" and preconditioner.calls.count("update") >= result.nit - 1


def test_differences_on_request():
    for how in ({"jac": False}, {"options": {"jac_options": {"rdiff": 1e-8, "inner_maxiter": 60}}}):
        f = Counted(heat)
        assert root(f, U0, method="krylov", **how).success
        assert all(type(u) is np.ndarray for u in f.xs[1:])
    exact = Counted(heat)
    root(exact, U0, method="krylov")
    assert any(type(u) is not np.ndarray for u in exact.xs[1:])


def test_equations_in_containers():
    f = lambda p: {"v": p["u"] * p["v"] - np.array([8.0, 27.0]), "u": p["u"] - p["v"] ** 2}
    result = root(f, {"u": np.array([1.0, 2.0]), "v": np.array([1.5, 1.0])}, method="krylov", options={"fatol": 1e-9})
    np.testing.assert_allclose(result.x["u"], [4, 9])
    np.testing.assert_allclose(result.x["v"], [2, 3])


def test_equations_that_do_not_depend_on_x():
    assert message(root, lambda x: np.ones(2), [1.0, 2.0], method="krylov") == f"ad.optimize.root: {CONSTANT}"
