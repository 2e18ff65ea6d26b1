"""`ad.optimize.minimize` by trust-constr, Ipopt and Uno: solutions, multipliers, and the forms of constraints."""
from dataclasses import dataclass

import numpy as np
import pytest
from constrained_problems import (
    ATOL,
    HS039,
    HS043,
    HS063,
    HS071,
    HS071_MULTIPLIERS,
    TIGHT,
    QuadraticProgram,
    each_method,  # noqa: F401
    lukvle1,
    nearest_on_curve,
    rosenbrock,
)
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, NonlinearConstraint

from ad.optimize import minimize

# -- solutions -------------------------------------------------------------------------------


def solve(problem, method, **how):
    return minimize(problem.f, problem.x0, bounds=problem.bounds, method=method,
                    **{"constraints": problem.constraints} | TIGHT[method] | how)


def test_a_known_solution(method):
    result = solve(HS071, method)
    assert result.success
    np.testing.assert_allclose(result.fun, HS071.fun, rtol=1e-6)
    np.testing.assert_allclose(result.x, HS071.x, atol=ATOL[method])
    np.testing.assert_allclose(result.multipliers[0], HS071_MULTIPLIERS, atol=ATOL[method])
    HS071.check(result.x, result.multipliers[0], result.bound_multipliers, 1e-5)


@pytest.mark.parametrize("problem", [HS039, HS043, HS063], ids=["39", "43", "63"])
def test_published_problems(problem, method):
    result = solve(problem, method)
    assert result.success
    np.testing.assert_allclose(result.fun, problem.fun, atol=ATOL[method])
    problem.check(result.x, result.multipliers[0], result.bound_multipliers, 1e-5)


def test_constraints_that_contradict_each_other(method):
    """The sum is 3 on a line, which is sqrt(9 / 2) from 0 at least; the disc has the radius 1."""
    constraints = [LinearConstraint([[1.0, 1.0]], 3, 3), NonlinearConstraint(lambda x: x @ x, -np.inf, 1)]
    result = minimize(lambda x: x @ x, [1.0, 1.0], constraints=constraints, method=method, options={"maxiter": 300})
    assert not result.success and result.constr_violation > 0.5
    assert "success" not in result.message


@pytest.mark.parametrize("n", [10, 150])
def test_equations_in_a_chain(n, method):
    problem = lukvle1(n)
    result = solve(problem, method)
    assert result.success and result.constr_violation < 1e-6 and result.optimality < 1e-5
    if n > 10:
        np.testing.assert_allclose(result.fun, problem.fun, rtol=1e-6)
    problem.check(result.x, result.multipliers[0], result.bound_multipliers, 1e-5)


@pytest.mark.parametrize("n", [5, 120])
def test_inequalities_and_bounds(n, method):
    problem = nearest_on_curve(n)
    result = solve(problem, method)
    assert result.success
    problem.check(result.x, result.multipliers[0], result.bound_multipliers, 1e-5)
    assert np.max(result.multipliers[0]) > 1e-3  # or else it tells nothing of their signs


@pytest.mark.parametrize("n", [8, 130])
@pytest.mark.parametrize("dense", [False, True])
def test_a_quadratic_program_under_linear_equations(n, dense, method):
    program = QuadraticProgram(n, n // 4)
    constraint = program.constraint
    if dense:
        constraint = LinearConstraint(program.A.toarray(), program.b, program.b)
    result = minimize(program.f, np.zeros(n), constraints=constraint, method=method, **TIGHT[method])
    assert result.success
    np.testing.assert_allclose(result.x, program.solution[:n], atol=1e-6)
    np.testing.assert_allclose(result.multipliers[0], program.solution[n:], atol=1e-6)


def test_no_constraints(method):
    result = minimize(rosenbrock, np.full(20, 0.5), method=method, **TIGHT[method])
    assert result.success and result.multipliers == [] and result.constr == []
    np.testing.assert_allclose(result.x, 1, atol=1e-5)
    assert result.constr_violation == 0 and result.optimality < 1e-5


def test_bounds_alone(method):
    for bounds in (Bounds(0.0, [0.5, np.inf]), [(0, 0.5), (0, None)], {"x": (0, np.array([0.5, np.inf]))}):
        x0 = {"x": np.array([3.0, 3.0])} if isinstance(bounds, dict) else [3.0, 3.0]
        f = lambda p: rosenbrock(p["x"] if isinstance(p, dict) else p)
        result = minimize(f, x0, bounds=bounds, method=method, **TIGHT[method])
        x = result.x["x"] if isinstance(bounds, dict) else result.x
        np.testing.assert_allclose(x, [0.5, 0.25], atol=1e-5)
        np.testing.assert_allclose(result.bound_multipliers, [1, 0], atol=1e-4)


def test_a_linear_function_under_linear_constraints(method):
    sides = LinearConstraint([[1, 2], [3, 1]], [-np.inf, -np.inf], [4, 6])
    result = minimize(lambda x: -x[0] - x[1], [0.5, 0.5], bounds=[(0, None)] * 2, constraints=sides, method=method,
                      **TIGHT[method])
    np.testing.assert_allclose(result.x, [1.6, 1.2], atol=10 * ATOL[method])
    np.testing.assert_allclose(result.multipliers[0], [0.4, 0.2], atol=10 * ATOL[method])


def test_a_hessian_without_structure(method):
    n = 140
    f = lambda x: np.sum((x - 1) ** 2) + np.sum(x) ** 4 / n**3
    line = LinearConstraint(np.ones((1, n)), 3, 3)
    result = minimize(f, np.zeros(n), constraints=line, method=method, **TIGHT[method])
    np.testing.assert_allclose(result.x, 3 / n, atol=ATOL[method])
    np.testing.assert_allclose(result.multipliers[0], -(2 * (3 / n - 1) + 4 * 27 / n**3), atol=ATOL[method])


# -- forms of constraints --------------------------------------------------------------------

PRODUCT, SQUARES = lambda x: x[0] * x[1] * x[2] * x[3], lambda x: x[0] ** 2 + x[1] ** 2 + x[2] ** 2 + x[3] ** 2
FORMS = {
    "dicts": [{"type": "ineq", "fun": lambda x: PRODUCT(x) - 25}, {"type": "eq", "fun": lambda x: SQUARES(x) - 40}],
    "dict with args": ({"type": "ineq", "fun": lambda x, least: PRODUCT(x) - least, "args": (25,)},
                       {"type": "eq", "fun": lambda x, all: all - SQUARES(x), "args": (40,)}),
    "one, and a dict": [NonlinearConstraint(PRODUCT, 25, np.inf), {"type": "eq", "fun": lambda x: SQUARES(x) - 40}],
    "container": NonlinearConstraint(lambda x: {"a": PRODUCT(x), "b": [SQUARES(x)]}, [25, 40], [np.inf, 40]),
    "linear between": [NonlinearConstraint(PRODUCT, 25, np.inf), LinearConstraint([1, 1, 0, 0], -9, 9),
                       NonlinearConstraint(lambda x: [SQUARES(x)], 40, 40)],
    "linear first": [LinearConstraint(sparse.csr_array([[1.0, 1, 0, 0], [0, 0, 1, 1]]), -9, [9, 9]), HS071.constraints],
    "empty ones": [NonlinearConstraint(lambda x: x[:0], 0, 1), HS071.constraints,
                   LinearConstraint(np.zeros((0, 4)), [], [])],
    "constant and linear": [HS071.constraints, {"type": "ineq", "fun": lambda x: x[:2] * 0 + 1},
                            {"type": "ineq", "fun": lambda x: 9 - x}],
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_constraints(form, method):
    constraints = FORMS[form]
    result = solve(HS071, method, constraints=constraints)
    assert result.success
    np.testing.assert_allclose(result.x, HS071.x, atol=ATOL[method])
    n_constraints = len(constraints) if isinstance(constraints, (list, tuple)) else 1
    assert len(result.multipliers) == n_constraints
    assert [np.shape(values) for values in result.constr[:n_constraints]] == [v.shape for v in result.multipliers]
    active = np.sort(np.abs(np.concatenate(result.multipliers)))[-2:]
    np.testing.assert_allclose(active, np.sort(np.abs(HS071_MULTIPLIERS)), atol=ATOL[method])


def test_the_order_of_multipliers_and_values(method):
    line, disc = LinearConstraint([[1.0, -1.0]], 0.2, 0.2), NonlinearConstraint(lambda x: x @ x, -np.inf, 1)
    found = [minimize(lambda x: -x[0] - x[1], [0.5, 0.1], constraints=order, method=method, **TIGHT[method])
             for order in ([line, disc], [disc, line])]
    for result, (at_line, at_disc) in zip(found, ((0, 1), (1, 0))):
        # on x0 = x1 + 0.2 and |x| = 1
        x1 = (-0.4 + np.sqrt(0.16 + 8 * 0.96)) / 4
        np.testing.assert_allclose(result.x, [x1 + 0.2, x1], atol=ATOL[method])
        factors = np.linalg.solve([[1, 2 * (x1 + 0.2)], [-1, 2 * x1]], [1, 1])
        np.testing.assert_allclose(result.multipliers[at_line], factors[:1], atol=10 * ATOL[method])
        np.testing.assert_allclose(result.multipliers[at_disc], factors[1:], atol=10 * ATOL[method])
        np.testing.assert_allclose(result.constr[at_line], 0.2, atol=ATOL[method])
        np.testing.assert_allclose(result.constr[at_disc], 1, atol=ATOL[method])


@dataclass
class Plan:
    control: np.ndarray
    end: float


def test_containers(method):
    seen = []

    def f(plan, weight):
        seen.append(type(plan))
        return np.sum(plan.control**2) + weight * (plan.end - 1) ** 2

    moved = {"type": "eq", "fun": lambda plan: np.sum(plan.control) - plan.end}
    fixed = LinearConstraint([[0, 0, 0, 1.0]], -np.inf, 0.75)  # the end is the last element of the flat vector
    result = minimize(f, Plan(np.zeros(3), 0.5), args=(6.0,), constraints=[moved, fixed], method=method,
                      **TIGHT[method])
    assert set(seen) == {Plan} and type(result.x) is Plan and result.x.control.shape == (3,)
    np.testing.assert_allclose(result.x.control, 0.25, atol=ATOL[method])
    np.testing.assert_allclose(result.x.end, 0.75, atol=ATOL[method])
    np.testing.assert_allclose(result.multipliers[0], -0.5, atol=10 * ATOL[method])
    np.testing.assert_allclose(result.multipliers[1], 12 * 0.25 - 0.5, atol=10 * ATOL[method])
    np.testing.assert_allclose(result.grad, [0.5, 0.5, 0.5, -3], atol=10 * ATOL[method])


def test_fixed_variables(method):
    result = minimize(rosenbrock, [0.5, 0.5, 0.5], bounds=[(None, None), (0.25, 0.25), (None, None)], method=method,
                      **TIGHT[method])
    np.testing.assert_allclose(result.x[1:], [0.25, 0.0625], atol=10 * ATOL[method])


# -- results ---------------------------------------------------------------------------------


def test_what_a_result_says(method):
    result = solve(HS071, method)
    assert result.nit > 0 and result.message and isinstance(result.status, int)
    counts = result.evaluations
    assert set(counts) == {"objective", "gradient", "constraints", "jacobian", "hessian"} and min(counts.values()) > 0
    assert min(result.nfev, result.njev, result.nhev) > 0 and result.failed_evaluations == 0
    assert result.setup_time > 0 and result.evaluation_time > 0 and result.solver_time >= 0
    np.testing.assert_allclose(
        result.execution_time, result.setup_time + result.evaluation_time + result.solver_time, rtol=1e-6)
    assert type(result.info) is dict and result.info
    x = np.asarray(result.x)
    np.testing.assert_allclose(result.grad, [x[3] * (2 * x[0] + x[1] + x[2]), x[0] * x[3], x[0] * x[3] + 1,
                                             x[0] * (x[0] + x[1] + x[2])])
    np.testing.assert_allclose(result.constr[0], HS071.c(x))
    if method != "trust-constr":
        np.testing.assert_array_equal(result.jac, result.grad)


def test_the_fields_that_scipy_has():
    linear = LinearConstraint([[1.0, 0, 0, 0]], 0, 9)
    result = solve(HS071, "trust-constr", constraints=[HS071.constraints, linear])
    assert [values.shape for values in result.constr] == [(2,), (1,), (4,)]
    assert [values.shape for values in result.v] == [(2,), (1,), (4,)]
    assert [matrix.shape for matrix in result.jac] == [(2, 4), (1, 4), (4, 4)]
    assert len(result.constr_nfev) == len(result.constr_njev) == len(result.constr_nhev) == 3
    assert result.method == "tr_interior_point"
    np.testing.assert_allclose(result.jac[0][1], 2 * result.x)
    np.testing.assert_array_equal(result.jac[1], [[1, 0, 0, 0]])


def test_matrices_of_many_variables_are_sparse():
    problem = lukvle1(150)
    result = solve(problem, "trust-constr")
    assert sparse.issparse(result.jac[0]) and result.jac[0].nnz == 3 * 148


def test_functions_are_recorded_and_not_called_again(method):
    calls = []

    def f(x):
        calls.append(None)
        return HS071.f(x)

    result = minimize(f, HS071.x0, bounds=HS071.bounds, constraints=HS071.constraints, method=method)
    assert result.success and len(calls) < result.nfev + result.nhev


@pytest.mark.parametrize("how", [{"jac": lambda x: 2 * x}, {"hess": lambda x: 2 * np.eye(2)}])
def test_derivatives_of_ones_own_are_left_to_scipy(how):
    result = minimize(lambda x: x @ x, [1.0, 2.0], method="trust-constr", **how)
    assert "multipliers" not in result
    np.testing.assert_allclose(result.x, 0, atol=1e-6)


def test_a_branch_with_another_structure(method):
    def c(x):  # both are x[0] >= 1/2 there; the second has a smaller structure
        return x[:1] + 0 * x[1:] - 0.5 if x[0] > 0.75 else x[:1] - 0.5

    result = minimize(lambda x: x @ x, [1.0, 1.0], constraints={"type": "ineq", "fun": c}, method=method,
                      **TIGHT[method])
    np.testing.assert_allclose(result.x, [0.5, 0], atol=ATOL[method])
