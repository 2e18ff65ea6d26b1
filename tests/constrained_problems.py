"""Constrained problems with known solutions, and what tells if a result is one, by derivatives of its own.

The functions are analytic, so that their derivatives are those of a complex step: exact, and without `ad`.
"""
import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import LinearConstraint, NonlinearConstraint

PACKAGES = {"ipopt": "cyipopt", "uno": "unopy"}
STEP = 1e-30


@pytest.fixture(name="method", params=["trust-constr", "ipopt", "uno"])
def each_method(request):
    """Each method that takes sparse derivatives, if its solver is installed."""
    if request.param in PACKAGES:
        pytest.importorskip(PACKAGES[request.param])
    return request.param


# How exactly the solvers are asked to solve, each by its own measure of it.
TIGHT = {
    "trust-constr": {"options": {"gtol": 1e-9, "xtol": 1e-12, "barrier_tol": 1e-9, "maxiter": 5000}},
    "ipopt": {"tol": 1e-10}, "uno": {"tol": 1e-9},
}
# How far from bounds the solutions are: trust-constr stops before its barrier has vanished.
ATOL = {"trust-constr": 5e-4, "ipopt": 1e-6, "uno": 1e-6}


def derivative(f, x):
    """The Jacobian of an analytic function of a vector, by complex steps."""
    return np.stack([np.imag(f(x + 1j * STEP * e)) / STEP for e in np.eye(x.size)], axis=-1)


class Known:
    """A problem and its solution: `lower <= c(x) <= upper`, and bounds of x."""

    def __init__(self, f, x0, c, lower, upper, bounds, fun, x=None):
        self.f, self.x0, self.c, self.fun, self.x = f, np.asarray(x0, float), c, fun, x
        self.lower, self.upper = np.atleast_1d(lower), np.atleast_1d(upper)
        self.low, self.high = np.full((2, self.x0.size), np.array(bounds)[:, None])

    @property
    def bounds(self):
        return None if np.isinf(self.low).all() and np.isinf(self.high).all() else list(zip(self.low, self.high))

    @property
    def constraints(self):
        return NonlinearConstraint(self.c, self.lower, self.upper)

    def check(self, x, multipliers, bound_multipliers, atol):
        """That x is feasible and stationary, and the multipliers are of active bounds and have their signs."""
        values = self.c(x)
        lagrangian_gradient = derivative(self.f, x) + multipliers @ derivative(self.c, x) + bound_multipliers
        np.testing.assert_allclose(lagrangian_gradient, 0, atol=atol)
        for low, at, high, factor in ((self.lower, values, self.upper, multipliers),
                                      (self.low, x, self.high, bound_multipliers)):
            assert np.all(at >= low - atol) and np.all(at <= high + atol)
            is_equality = np.broadcast_to(low == high, at.shape)
            towards = np.where(factor > 0, high - at, at - low)  # to the bound that the sign of the multiplier names
            assert np.all(is_equality | (np.minimum(np.abs(factor), np.abs(towards)) < np.sqrt(atol)))


HS071 = Known(  # W. Hock and K. Schittkowski, Test examples for nonlinear programming codes, problem 71
    lambda x: x[0] * x[3] * (x[0] + x[1] + x[2]) + x[2], [1.0, 5.0, 5.0, 1.0],
    lambda x: np.stack([x[0] * x[1] * x[2] * x[3], np.sum(x**2)]), [25, 40], [np.inf, 40], (1, 5),
    fun=17.0140172891520542, x=[1, 4.742999637, 3.821149984, 1.379408294],
)
HS039 = Known(
    lambda x: -x[0], [2.0, 2.0, 2.0, 2.0],
    lambda x: np.stack([x[1] - x[0] ** 3 - x[2] ** 2, x[0] ** 2 - x[1] - x[3] ** 2]), [0, 0], [0, 0], (-np.inf, np.inf),
    fun=-1.0,
)
HS043 = Known(
    lambda x: np.sum(x**2) + x[2] ** 2 - 5 * x[0] - 5 * x[1] - 21 * x[2] + 7 * x[3], np.zeros(4),
    lambda x: np.stack([
        np.sum(x**2) + x[0] - x[1] + x[2] - x[3],
        np.sum(x**2) + x[1] ** 2 + x[3] ** 2 - x[0] - x[3],
        np.sum(x**2) + x[0] ** 2 - x[3] ** 2 + 2 * x[0] - x[1] - x[3],
    ]), np.full(3, -np.inf), [8, 10, 5], (-np.inf, np.inf), fun=-44.0,
)
HS063 = Known(
    lambda x: 1000 - x[0] ** 2 - 2 * x[1] ** 2 - x[2] ** 2 - x[0] * x[1] - x[0] * x[2], [2.0, 2.0, 2.0],
    lambda x: np.stack([8 * x[0] + 14 * x[1] + 7 * x[2], np.sum(x**2)]), [56, 25], [56, 25], (0, np.inf),
    fun=961.715172127,
)
HS071_MULTIPLIERS = [-0.552293660, 0.161468564]


def rosenbrock(x):
    return np.sum(100 * (x[:-1] ** 2 - x[1:]) ** 2 + (x[:-1] - 1) ** 2)


def lukvle1_constraints(x):
    a, b, c = x[:-2], x[1:-1], x[2:]
    return 3 * b**3 + 2 * c - 5 + np.sin(b - c) * np.sin(b + c) + 4 * b - a * np.exp(a - b) - 3


def lukvle1(n):
    """L. Luksan and J. Vlcek, Sparse and partially separable test problems, problem 5.1."""
    return Known(rosenbrock, np.where(np.arange(n) % 2, 1.0, -1.2), lukvle1_constraints, np.zeros(n - 2),
                 np.zeros(n - 2), (-np.inf, np.inf), fun=6.23245863)


def nearest_on_curve(n):
    """The chained Rosenbrock function where neighbours have a product of at most 1/2, in the unit box."""
    return Known(rosenbrock, np.full(n, 0.5), lambda x: x[1:] * x[:-1], np.full(n - 1, -np.inf), np.full(n - 1, 0.5),
                 (0, 1), fun=None)


class QuadraticProgram:
    """A strictly convex quadratic function under linear equations: its KKT conditions are a linear system."""

    def __init__(self, n, m, seed=0):
        rng = np.random.default_rng(seed)
        self.n, self.m = n, m
        self.Q = sparse.diags_array([np.full(n - 1, -1.0), np.full(n, 2.5), np.full(n - 1, -1.0)], offsets=[-1, 0, 1])
        self.q, self.b = rng.normal(size=n), rng.normal(size=m)
        self.A = sparse.csr_array(rng.random((m, n)) * (rng.random((m, n)) < 0.2) + np.eye(m, n))
        zero = np.zeros((m, m))
        kkt = np.block([[self.Q.toarray(), self.A.toarray().T], [self.A.toarray(), zero]])
        self.solution = np.linalg.solve(kkt, np.concatenate([-self.q, self.b]))

    def f(self, x):
        return np.sum(1.25 * x**2) - np.sum(x[1:] * x[:-1]) + np.sum(self.q * x)

    @property
    def constraint(self):
        return LinearConstraint(self.A, self.b, self.b)
