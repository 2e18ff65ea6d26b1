"""`ad.optimize.Problem`: its callbacks against derivatives by complex steps, and driven by cyipopt itself."""
import numpy as np
import pytest
from constrained_problems import HS071, HS071_MULTIPLIERS, derivative, lukvle1, nearest_on_curve
from scipy import sparse
from scipy.optimize import LinearConstraint, NonlinearConstraint

from ad.optimize import EvaluationError, Problem


def made(known, **how):
    return Problem(known.f, known.x0, known.bounds, known.constraints, **how)


def dense(structure, values, shape):
    return sparse.coo_array((values, structure), shape).toarray()


def lagrangian_gradient(known, multipliers, factor):
    return lambda x: factor * derivative(known.f, x) + multipliers @ derivative(known.c, x)


def differences(f, x, step=1e-6):
    return np.stack([(f(x + step * e) - f(x - step * e)) / (2 * step) for e in np.eye(x.size)], axis=-1)


@pytest.mark.parametrize("known", [HS071, lukvle1(9), nearest_on_curve(6)])
def test_derivatives(known):
    problem, rng = made(known), np.random.default_rng(1)
    assert (problem.n, problem.m) == (known.x0.size, known.lower.size)
    for _ in range(3):
        x = known.x0 + rng.uniform(-0.3, 0.3, problem.n)
        multipliers, factor = rng.normal(size=problem.m), rng.uniform(0, 2)
        np.testing.assert_allclose(problem.objective(x), known.f(x))
        np.testing.assert_allclose(problem.constraints(x), known.c(x))
        np.testing.assert_allclose(problem.gradient(x), derivative(known.f, x), rtol=1e-12)
        jacobian = dense(problem.jacobianstructure(), problem.jacobian(x), (problem.m, problem.n))
        np.testing.assert_allclose(jacobian, derivative(known.c, x), rtol=1e-12, atol=1e-12)
        hessian = dense(problem.hessianstructure(), problem.hessian(x, multipliers, factor), (problem.n, problem.n))
        expected = differences(lagrangian_gradient(known, multipliers, factor), x)
        np.testing.assert_allclose(hessian, np.tril(expected), rtol=1e-5, atol=1e-5)


def test_structures():
    problem = made(lukvle1(9))
    rows, columns = problem.jacobianstructure()
    assert sorted(zip(rows, columns)) == [(i, j) for i in range(7) for j in range(i, i + 3)]
    rows, columns = problem.hessianstructure()
    assert all(i >= j for i, j in zip(rows, columns)) and rows.size <= 9 + 8 + 7
    assert {array.dtype for array in (rows, columns, *problem.jacobianstructure())} == {np.dtype(np.int32)}


def test_linear_constraints_between_others():
    """Their rows are where they were given, their values constant, and they are in no Hessian."""
    rng = np.random.default_rng(2)
    A = sparse.coo_array(rng.normal(size=(4, 5)) * (rng.random((4, 5)) < 0.5))
    given = [LinearConstraint(A, -1, 1), NonlinearConstraint(lambda x: x[1:] * x[:-1], 0, 9),
             LinearConstraint(np.ones((1, 5)), 2, 2), {"type": "ineq", "fun": lambda x: np.exp(x[0]) + x[4]}]

    def c(x):
        return np.concatenate([A.toarray() @ x, x[1:] * x[:-1], [np.sum(x)], [np.exp(x[0]) + x[4]]])

    problem = Problem(lambda x: np.sum(x**4), np.ones(5), constraints=given)
    np.testing.assert_array_equal(problem.cl, [-1] * 4 + [0] * 4 + [2, 0])
    np.testing.assert_array_equal(problem.cu, [1] * 4 + [9] * 4 + [2, np.inf])
    for _ in range(2):
        x = rng.normal(size=5)
        np.testing.assert_allclose(problem.constraints(x), c(x))
        jacobian = dense(problem.jacobianstructure(), problem.jacobian(x), (10, 5))
        np.testing.assert_allclose(jacobian, derivative(c, x), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(problem.jacobian_matrix(x).toarray(), jacobian)
        multipliers = rng.normal(size=10)
        hessian = dense(problem.hessianstructure(), problem.hessian(x, multipliers), (5, 5))
        expected = np.diag(12 * x**2) + np.diag(multipliers[4:8], -1)
        expected[0, 0] += multipliers[9] * np.exp(x[0])
        np.testing.assert_allclose(hessian, expected)
    assert [part.size for part in problem.split(multipliers)] == [4, 4, 1, 1]


def test_results_are_the_callers_own():
    problem = made(HS071)
    x, y = HS071.x0, HS071.x0 + 0.1
    first = problem.jacobian(x), problem.hessian(x, np.ones(2)), problem.gradient(x), problem.constraints(x)
    copies = [values.copy() for values in first]
    for values in (problem.jacobian(y), problem.hessian(y, np.ones(2)), problem.gradient(y), problem.constraints(y)):
        assert all(not np.shares_memory(values, one) for one in first)
    for values, copy in zip(first, copies):
        np.testing.assert_array_equal(values, copy)


def test_containers_and_arguments():
    problem = Problem(lambda p, k: k * np.sum(p["a"] ** 2) * p["b"], {"a": np.ones(2), "b": 3.0}, args=(2.0,),
                      bounds={"a": (0, 5), "b": (None, 2)})
    np.testing.assert_array_equal(problem.x0, [1, 1, 2])  # b is moved to its bound
    np.testing.assert_array_equal(problem.lb, [0, 0, -np.inf])
    np.testing.assert_array_equal(problem.ub, [5, 5, 2])
    assert problem.objective(problem.x0) == 8
    np.testing.assert_array_equal(problem.gradient(problem.x0), [8, 8, 4])
    unpacked = problem.unpack(problem.x0)
    assert unpacked["b"] == 2 and unpacked["a"].tolist() == [1, 1]


def test_points_that_are_written_to():
    """A solver may call with one array, into which it writes each point."""
    problem, x = made(HS071), HS071.x0.copy()
    for _ in range(3):
        assert problem.objective(x) == HS071.f(x)
        np.testing.assert_allclose(problem.gradient(x), derivative(HS071.f, x))
        x += 0.25


def test_the_same_point_is_evaluated_once():
    problem = made(HS071)
    for _ in range(3):
        problem.objective(HS071.x0), problem.constraints(HS071.x0)
    assert problem.statistics.counts == {"objective": 1, "constraints": 1}
    assert problem.best.fun == HS071.f(HS071.x0) and problem.best.violation == 12
    assert problem.statistics.seconds > 0 and problem.statistics.setup_seconds > 0


def raising(x):
    if x[0] < 0:
        raise np.linalg.LinAlgError("singular")
    return x[0]


@pytest.mark.parametrize(("f", "said"), [
    (lambda x: np.log(x[0]), "objective is nan"), (raising, "objective raised LinAlgError: singular"),
])
def test_evaluations_that_fail(f, said):
    problem = Problem(f, [1.0, 1.0], constraints={"type": "eq", "fun": lambda x: np.sqrt(x)})
    with np.errstate(invalid="ignore"):
        with pytest.raises(EvaluationError, match=said):
            problem.objective(np.array([-1.0, 1.0]))
        with pytest.raises(EvaluationError, match="constraints has nan in element 1"):
            problem.constraints(np.array([1.0, -1.0]))
        with pytest.raises(EvaluationError, match="jacobian has nan in element 1"):
            problem.jacobian(np.array([1.0, -1.0]))
    assert problem.objective(np.array([1.0, 1.0])) == f(np.array([1.0, 1.0]))
    assert problem.statistics.failures == 3 and issubclass(EvaluationError, ArithmeticError)


def test_infinities_that_cancel_in_a_sum_are_seen():
    problem = Problem(lambda x: np.sum(x), [1.0, 1.0], constraints={"type": "eq", "fun": lambda x: 1 / x})
    with np.errstate(divide="ignore"), pytest.raises(EvaluationError, match="constraints has inf in element 0"):
        problem.constraints(np.array([0.0, -0.0]))


# -- driven by cyipopt -----------------------------------------------------------------------


def solver_of(cyipopt, problem):
    solver = cyipopt.Problem(problem.n, problem.m, problem, problem.lb, problem.ub, problem.cl, problem.cu)
    solver.add_option("print_level", 0)
    solver.add_option("sb", "yes")
    return solver


def test_cyipopt_takes_it_as_it_is():
    cyipopt = pytest.importorskip("cyipopt")
    problem = made(HS071)
    x, info = solver_of(cyipopt, problem).solve(problem.x0)
    assert info["status"] == 0
    np.testing.assert_allclose(x, HS071.x, atol=1e-6)
    np.testing.assert_allclose(info["mult_g"], HS071_MULTIPLIERS, atol=1e-6)
    assert problem.statistics.counts["hessian"] > 0


def test_failures_are_cyipopts_errors_too():
    cyipopt = pytest.importorskip("cyipopt")
    f = lambda x: x[0] - 3 * np.log(x[0])
    problem = Problem(f, [40.0])
    with np.errstate(invalid="ignore"):
        with pytest.raises(cyipopt.CyIpoptEvaluationError):
            problem.objective(np.array([-1.0]))
        with pytest.raises(EvaluationError):
            problem.objective(np.array([-1.0]))
        x, info = solver_of(cyipopt, problem).solve(problem.x0)
    assert info["status"] == 0
    np.testing.assert_allclose(x, 3, atol=1e-6)
    assert problem.statistics.failures > 2  # the first Newton step is far too long


def test_a_subclass_watches_iterations():
    cyipopt = pytest.importorskip("cyipopt")

    class Watched(Problem):
        def intermediate(self, alg_mod, iter_count, obj_value, *rest):
            self.values = [*getattr(self, "values", []), obj_value]
            return iter_count < 3

    problem = Watched(HS071.f, HS071.x0, HS071.bounds, HS071.constraints)
    _, info = solver_of(cyipopt, problem).solve(problem.x0)
    assert info["status"] == 5 and len(problem.values) == 4
