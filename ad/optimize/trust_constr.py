"""SciPy's trust-constr on a `Problem`: with sparse matrices, and with one Hessian for the whole Lagrangian."""
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import optimize as scipy_optimize
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, NonlinearConstraint, OptimizeResult
from scipy.sparse.linalg import LinearOperator

from ad.optimize.functions import Vector
from ad.optimize.problem import EvaluationError, Problem
from ad.optimize.runs import Run, Settings
from ad.transforms import grad, linearize

__all__ = ["MAX_DENSE", "minimize_trust_constr"]

# With more variables than this, matrices are sparse; and products cost less than a Hessian that is full.
MAX_DENSE = 100
NAMES: dict[str, str] = {}
STOPPED = 3  # SciPy's status where a callback has stopped the search
FIELDS = (  # of SciPy's result: those that `info` has, too
    "method", "cg_niter", "cg_stop_cond", "tr_radius", "constr_penalty", "barrier_parameter", "barrier_tolerance",
)


class SymmetricProblem(Problem):
    """A problem with both triangles of the Hessian, which SciPy multiplies with vectors."""

    _triangle = None
    _differences = 'give jac="2-point"', 'give the constraint jac="3-point"'

    def hessian_matrix(self, x: Vector, lagrange: Vector) -> sparse.csr_array:
        """Return the Hessian of the Lagrangian as a sparse matrix of its own."""
        structure = self._hessian_set_up().matrix
        return sparse.csr_array((self.hessian(x, lagrange), structure.indices, structure.indptr), structure.shape)

    def has_full_hessian(self) -> bool:
        """Whether products with the Hessian cost less than the matrix."""
        if self.n <= MAX_DENSE:
            return False
        try:
            return bool(self._lagrangian.hessian_pattern(self.x0).nnz > MAX_DENSE * self.n)
        except MemoryError:
            return True

    def hessian_operator(self, x: Vector, lagrange: Vector) -> LinearOperator:
        """Return the products of the Hessian of the Lagrangian; the gradient is recorded once for all at a point."""
        linear: Any = None

        def product(v: Vector) -> Vector:
            nonlocal linear
            if linear is None:
                multipliers = lagrange[self.rows.nonlinear_rows]
                linear = linearize(grad(lambda x: self.lagrangian_value(x, multipliers)), np.array(x))[1]
            return np.asarray(linear(np.ravel(v)))

        return LinearOperator((self.n, self.n), product, dtype=np.float64)

    def lagrangian_value(self, x: Any, multipliers: Vector) -> Any:
        value = self._objective.call(x)
        return value + np.dot(multipliers, self.rows.functions(x)) if self.rows.has_functions else value


class _CutOff(Exception):
    """The search has to end at once, before SciPy asks its callback."""


def minimize_trust_constr(make: Callable[[type[Problem]], Problem], callback: Callable[..., Any] | None,
                          tol: float | None, options: Mapping[str, Any] | None) -> OptimizeResult:
    """Solve a problem by SciPy's trust-constr.

    Parameters
    ----------
    make : callable
        Makes the problem, of a given class.
    callback : callable or None
    tol : float or None
    options : dict or None
        SciPy's, with `max_time` (seconds) besides; `disp` shows the progress.
    """
    settings = Settings(options, tol, NAMES)
    problem = make(SymmetricProblem)
    assert isinstance(problem, SymmetricProblem)
    settings.own.setdefault("sparse_jacobian", problem.n > MAX_DENSE)
    run = Run(problem, "trust-constr", callback, settings)
    adapter = _Adapter(run, problem)
    found: OptimizeResult | None = None
    try:
        with run:
            found = scipy_optimize.minimize(**adapter.arguments(), x0=problem.x0, method="trust-constr",
                                            tol=settings.tol, options=settings.own)
    except KeyboardInterrupt:
        run.interrupt()
    except _CutOff:
        if not run.stopped:
            failure = problem.statistics.last_failure
            run.stop_at_best(f"a derivative could not be computed: {failure}; x is the best point so far")
    return _result(run, problem, found, bool(settings.own["sparse_jacobian"]))


class _Adapter:
    """A problem as the arguments of scipy.optimize.minimize."""

    def __init__(self, run: Run, problem: SymmetricProblem) -> None:
        self.run, self.problem = run, problem
        self.last_constraints = self.rows_of_functions(np.zeros(problem.m))
        self.has_operator = problem.has_full_hessian()

    def arguments(self) -> dict[str, Any]:
        problem, rows = self.problem, self.problem.rows
        constraints: list[Any] = []
        if rows.has_functions:
            where = rows.nonlinear_rows
            keep = np.concatenate([c.keep_feasible for c in rows.nonlinear])
            constraints.append(NonlinearConstraint(self.constraints, problem.cl[where], problem.cu[where],
                                                   self.jacobian, self.hessian, keep))
        constraints += [LinearConstraint(c.matrix, c.lower, c.upper, c.keep_feasible)
                        for c in rows.each if c.matrix is not None and c.size]
        bounds = problem.bounds
        return {
            "fun": self.objective, "jac": self.gradient, "constraints": constraints, "callback": self.watch,
            # SciPy adds the Hessians of the function and of the constraints, which come in one
            "hess": self.no_hessian if rows.has_functions else self.hessian,
            "bounds": Bounds(bounds.lower, bounds.upper, bounds.keep_feasible) if bounds.are_given else None,
        }

    def watch(self, x: Vector, state: OptimizeResult) -> bool:
        return not self.run.iteration(OptimizeResult(state, x=np.array(x)))

    def rows_of_functions(self, matrix: Any) -> Any:
        """Return the rows of the nonlinear constraints."""
        rows = self.problem.rows
        return matrix if rows.are_functions else matrix[rows.nonlinear_rows]

    # SciPy steps back from an infinite value of the function (and not from NaN, nor from infinite constraints), so
    # that is what it gets where anything fails; and the constraints of another point, so that it can go on computing.

    def objective(self, x: Vector) -> float:
        if self.run.stopped:
            raise _CutOff
        try:
            self.problem.constraints(x)
            return self.problem.objective(x)
        except EvaluationError:
            return np.inf

    def constraints(self, x: Vector) -> Vector:
        try:
            self.last_constraints = self.rows_of_functions(self.problem.constraints(x))
        except EvaluationError:
            pass
        found: Vector = self.last_constraints.copy()
        return found

    def gradient(self, x: Vector) -> Vector:
        return np.asarray(self._derivative(self.problem.gradient, x))

    def jacobian(self, x: Vector) -> Any:
        return self.rows_of_functions(self._derivative(self.problem.jacobian_matrix, x))

    def hessian(self, x: Vector, multipliers: Vector | None = None) -> Any:
        """Return the Hessian of the whole Lagrangian."""
        all_multipliers = np.zeros(self.problem.m)
        if multipliers is not None:
            all_multipliers[self.problem.rows.nonlinear_rows] = multipliers
        if self.has_operator:
            return self.problem.hessian_operator(x, all_multipliers)
        return self._derivative(self.problem.hessian_matrix, x, all_multipliers)

    def no_hessian(self, x: Vector) -> sparse.csr_array:
        return sparse.csr_array((x.size, x.size))

    def _derivative(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return function(*args)
        except EvaluationError:
            raise _CutOff from None


def _result(run: Run, problem: SymmetricProblem, found: OptimizeResult | None, is_sparse: bool) -> OptimizeResult:
    """Return SciPy's result, and what the other methods of this package add to one.

    If the search was cut off there is none of SciPy's, and its state in the last iteration takes its place.
    """
    last = found if found is not None else OptimizeResult(run.state or {"x": problem.x0, "nit": 0})
    multipliers, bound_multipliers = _multipliers(problem, last.get("v"))
    status = STOPPED if found is None or run.stopped else found.status
    result = run.result(
        last.x, success=bool(last.get("success", False)), status=status, message=last.get("message", ""),
        nit=last.nit, multipliers=multipliers, bound_multipliers=bound_multipliers,
        info={name: last[name] for name in FIELDS if name in last})
    for name in ("nfev", "njev", "nhev", "method"):  # by SciPy's count
        result[name] = last.get(name, result[name])
    for name in ("constr_nfev", "constr_njev", "constr_nhev"):
        if name in last:
            result[name] = _by_constraint(problem, list(last[name]))
    return OptimizeResult(last | result | _in_scipys_form(problem, run.x, result, is_sparse))


def _multipliers(problem: Problem, v: list[Vector] | None) -> tuple[Vector | None, Vector | None]:
    """Return the multipliers of all rows and of the bounds, of those that SciPy has for each of our constraints."""
    if v is None:
        return None, None
    left, all_rows = list(v), np.zeros(problem.m)
    if problem.rows.has_functions:
        all_rows[problem.rows.nonlinear_rows] = left.pop(0)
    for c in problem.rows.each:
        if c.matrix is not None and c.size:
            all_rows[c.rows] = left.pop(0)
    return all_rows, left[0] if left else np.zeros(problem.n)


def _in_scipys_form(problem: Problem, x: Vector, result: OptimizeResult, is_sparse: bool) -> dict[str, Any]:
    """Return the lists that SciPy's result has with an item for each constraint, and for the bounds at last."""
    has_bounds = problem.bounds.are_given
    lists: dict[str, Any] = {"constr": result.constr + [x.copy()] * has_bounds}
    if result.multipliers is not None:
        lists["v"] = result.multipliers + [result.bound_multipliers] * has_bounds
    try:
        matrix = problem.jacobian_matrix(x)
        blocks = [*problem.split(matrix), *[sparse.eye_array(problem.n, format="csr")] * has_bounds]
        lists["jac"] = blocks if is_sparse else [block.toarray() for block in blocks]
    except EvaluationError:
        lists["jac"] = []
    return lists


def _by_constraint(problem: Problem, counts: list[int]) -> list[int]:
    of_functions = counts.pop(0) if problem.rows.has_functions else 0
    of_each = [of_functions if c.matrix is None or not c.size else counts.pop(0) for c in problem.rows.each]
    return of_each + counts  # those of the bounds
