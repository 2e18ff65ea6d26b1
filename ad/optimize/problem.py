"""`Problem`: objective, constraints and their sparse derivatives as the callbacks that a solver asks for."""
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ad.optimize.constraints import Constraints, VariableBounds
from ad.optimize.functions import Point, Scalar, Vector
from ad.optimize.packing import Packing
from ad.sparse import lagrangian

__all__ = ["EvaluationError", "Problem", "evaluation_error"]

# What a function may raise where it has no value, and where a solver may step back.
FAILURES = (ArithmeticError, np.linalg.LinAlgError)


class EvaluationError(ArithmeticError):
    """A function or a derivative has no finite value at a point that a solver has tried.

    It is raised by the callbacks of `Problem`. Where cyipopt is loaded it is also a `cyipopt.CyIpoptEvaluationError`,
    on which Ipopt shortens its step.
    """


_also: dict[type, type[EvaluationError]] = {}  # by the class of another library that it is an instance of, too


def evaluation_error(message: str) -> EvaluationError:
    """Return the error for a failed evaluation."""
    known = getattr(sys.modules.get("cyipopt"), "CyIpoptEvaluationError", None)
    if known is None:
        return EvaluationError(message)
    if known not in _also:
        _also[known] = type("EvaluationError", (EvaluationError, known), {"__doc__": EvaluationError.__doc__})
    return _also[known](message)


class Statistics:
    """What the evaluations of a problem have cost.

    Attributes
    ----------
    counts : collections.Counter
        How often each of objective, gradient, constraints, jacobian and hessian was evaluated.
    seconds : float
        The time this took.
    setup_seconds : float
        The time until everything was recorded and all sparse structures were known.
    failures : int
        How many evaluations failed.
    last_failure : str
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.seconds = self.setup_seconds = 0.0
        self.failures, self.last_failure = 0, ""


class Best:
    """The best point of all that were evaluated: the feasible one with the lowest value, else the least infeasible.

    Attributes
    ----------
    x : ndarray or None
        None as long as there is none.
    fun, violation : float
    """

    # Up to this violation a point counts as feasible.
    TOLERANCE = 1e-6

    def __init__(self) -> None:
        self.x: Vector | None = None
        self.fun = self.violation = np.inf

    def offer(self, x: Vector, fun: float, violation: float) -> None:
        feasible, was_feasible = violation <= self.TOLERANCE, self.violation <= self.TOLERANCE
        if feasible and was_feasible:
            is_better = fun < self.fun
        else:
            is_better = feasible or violation < self.violation
        if is_better or self.x is None:
            self.x, self.fun, self.violation = np.array(x), fun, violation


class _Values:
    """A sparse matrix of fixed structure, the values of which are written again at each point.

    Parameters
    ----------
    caller, what : str
        For errors.
    first : scipy.sparse.csr_array
    """

    def __init__(self, caller: str, what: str, first: sparse.csr_array) -> None:
        self.caller, self.what, self.matrix = caller, what, first

    @property
    def structure(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Rows and columns of the entries, in the order of the values."""
        rows = np.repeat(np.arange(self.matrix.shape[0], dtype=np.int32), np.diff(self.matrix.indptr))
        return rows, self.matrix.indices.astype(np.int32)

    def refill(self, function: Callable[..., Any], *args: Any) -> Vector:
        """Write what a function of `ad.sparse` returns into the matrix; return its values."""
        try:
            function(*args, out=self.matrix)
        except ValueError:
            found = function(*args)  # raises again, unless it was because the functions took another branch
            self._scatter(found)
        values: Vector = self.matrix.data
        return values

    def _scatter(self, found: sparse.csr_array) -> None:
        """Write the values of a matrix with entries where this one has them."""
        own = self.matrix
        numbered = sparse.csr_array((np.arange(1, own.nnz + 1), own.indices, own.indptr), own.shape)
        entries = found.tocoo()
        places = np.asarray(numbered[entries.row, entries.col]).reshape(-1) - 1
        lost = np.flatnonzero((places < 0) & (entries.data != 0))
        if lost.size:
            at = entries.row[lost[0]], entries.col[lost[0]]
            raise ValueError(f"{self.caller}: {self.what} has an entry ({at[0]}, {at[1]}) "
                             "that it had not at x0, since a function takes another branch now; write the branch with "
                             "np.where, so that the structure is the same everywhere, or start from another x0")
        own.data[...] = 0.0
        own.data[places[places >= 0]] = entries.data[places >= 0]


class Problem:
    """A problem `minimize f(x)` under bounds and constraints, as the callbacks of an interior-point or SQP solver.

    The callbacks have the names and the arguments that cyipopt asks for, so that a solver can be driven directly::

        problem = ad.optimize.Problem(f, x0, bounds, constraints)
        solver = cyipopt.Problem(problem.n, problem.m, problem, problem.lb, problem.ub, problem.cl, problem.cu)
        x, info = solver.solve(problem.x0)

    They take flat vectors: the elements of `x0`'s leaves in order (`unpack` makes a container of one). All
    derivatives are exact. Jacobian and Hessian are sparse; their structures are found once, when the problem is made
    (the Hessian's when it is first asked for).

    Parameters
    ----------
    f : callable
        `f(x, *args)` returns one real number; `x` is like `x0`.
    x0 : array_like or container of arrays
        Where to start. Elements outside of the bounds are moved to the nearest one.
    bounds : scipy.optimize.Bounds, sequence or container, optional
        As in `minimize`.
    constraints : dict, NonlinearConstraint, LinearConstraint, or sequence of them, optional
        As in `minimize`; without derivatives of their own.
    args : tuple
        Further arguments of `f`.
    caller : str
        Which function of `ad.optimize` errors name.

    Attributes
    ----------
    n, m : int
        The number of variables and of constraints.
    x0 : ndarray
        The flat vector to start from.
    lb, ub : ndarray
        Bounds of the variables.
    cl, cu : ndarray
        Bounds of the constraints.
    best : Best
        The best point of all that were evaluated: `x`, `fun`, `violation`.
    statistics : Statistics
        Counts and times of the evaluations.

    Raises
    ------
    ValueError, TypeError
        As in `minimize`, when the problem is made. The callbacks raise `EvaluationError` where a function or a
        derivative is not finite, or raises an ArithmeticError or a LinAlgError.

    Examples
    --------
    >>> circle = {"type": "eq", "fun": lambda x: x[0] ** 2 + x[1] ** 2 - 2}
    >>> problem = ad.optimize.Problem(lambda x: x[0] + x[1], [1.0, 1.0], constraints=circle)
    >>> problem.constraints(np.array([1.0, 2.0])), problem.jacobian(np.array([1.0, 2.0]))
    (array([3.]), array([2., 4.]))
    >>> rows, columns = problem.hessianstructure()
    >>> rows, columns, problem.hessian(problem.x0, np.array([0.5]), 1.0)
    (array([0, 1], dtype=int32), array([0, 1], dtype=int32), array([1., 1.]))
    """

    _triangle: str | None = "lower"  # of the Hessian
    _differences = "", ""  # how the user gets finite differences of the function, and of a constraint

    def __init__(self, f: Callable[..., Any], x0: Any, bounds: Any = None, constraints: Any = (), *,
                 args: tuple[Any, ...] = (), caller: str = "Problem") -> None:
        start = time.perf_counter()
        self.packing = Packing(caller, f, x0)
        self._check_start()
        self.bounds = VariableBounds(self.packing, bounds)
        self.x0 = self.bounds.nearest(self.packing.flat)
        self.rows = Constraints(self.packing, constraints, self.x0, self._differences[1])
        self.n, self.m = self.packing.n, self.rows.m
        self.lb, self.ub, self.cl, self.cu = self.bounds.lower, self.bounds.upper, self.rows.lower, self.rows.upper
        self.statistics, self.best = Statistics(), Best()
        self._at = Point()
        self._f: float | None = None
        self._c: Vector | None = None
        self._x_bar: Vector | None = None
        self._objective = Scalar(self.packing, (lambda x: f(x, *args)) if args else f)
        self._objective.instead = self._differences[0]
        self._objective.value(self.x0)  # to check it, and its gradient
        self._lagrangian = lagrangian(self._objective.call, self.rows.functions if self.rows.has_functions else None,
                                      triangle=self._triangle)
        self._set_up_jacobian()
        self._hessian: _Values | None = None
        self.statistics.setup_seconds = time.perf_counter() - start

    def _check_start(self) -> None:
        bad = np.flatnonzero(~np.isfinite(self.packing.flat))
        if bad.size:
            raise ValueError(f"{self.packing.caller}: {self.packing.name(bad[0])} is {self.packing.flat[bad[0]]}; "
                             "start from finite numbers")

    # -- containers

    def unpack(self, x: Vector) -> Any:
        """Return a flat vector as a container like `x0`, of copies.

        Parameters
        ----------
        x : ndarray
        """
        return self.packing.unpacked_copy(x)

    def split(self, values: Any) -> list[Any]:
        """Return the parts of a vector with one number for each row of the constraints: one for each constraint.

        Parameters
        ----------
        values : array_like
            Something with a row for each row of the constraints: values, multipliers, a sparse Jacobian.
        """
        return self.rows.split(values)

    def violation(self, x: Vector, values: Vector) -> float:
        """Return by how much a point, and the constraints there, are outside of their bounds, at most.

        Parameters
        ----------
        x : ndarray
        values : ndarray
            What `constraints` returns there.
        """
        return max(self.bounds.violation(x), self.rows.violation(values))

    # -- values

    def objective(self, x: Vector) -> float:
        """Return the value of f.

        Parameters
        ----------
        x : ndarray
        """
        self._move(x)
        if self._f is None:
            self._f = float(self._evaluated("objective", self._value, x))
            self._compare(x)
        return self._f

    def _value(self, x: Vector) -> Any:
        """Return the value of f, and keep the gradient, which solvers ask for next."""
        value, self._x_bar = self._lagrangian.value_and_gradient(x)
        return value

    def constraints(self, x: Vector) -> Vector:
        """Return the values of all constraints, in the order given.

        Parameters
        ----------
        x : ndarray
        """
        self._move(x)
        if self._c is None:
            values: Vector = self._evaluated("constraints", self._constraint_values, x)
            self._c = values
            self._compare(x)
        return self._c

    def _constraint_values(self, x: Vector) -> Vector:
        return self.rows.values(self._lagrangian.constraints(x) if self.rows.has_functions else None, x)

    def _move(self, x: Vector) -> None:
        if not self._at.is_at(x):
            self._at.move(x)
            self._f = self._c = self._x_bar = None

    def _compare(self, x: Vector) -> None:
        """Offer a point as the best one, once all is known that tells."""
        if self.m == 0:
            self._c = self.rows.lower
        if self._f is not None and self._c is not None:
            self.best.offer(x, self._f, self.violation(x, self._c))

    # -- derivatives

    def gradient(self, x: Vector) -> Vector:
        """Return the gradient of f.

        Parameters
        ----------
        x : ndarray
        """
        self._move(x)
        x_bar: Vector = self._evaluated("gradient", self._gradient, x)
        return x_bar

    def _gradient(self, x: Vector) -> Any:
        if self._x_bar is None:
            self._value(x)
        return self._x_bar

    def jacobianstructure(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return rows and columns of the entries of the constraints' Jacobian, row by row."""
        return self._jacobian.structure

    def jacobian(self, x: Vector) -> Vector:
        """Return the values of the entries of `jacobianstructure`.

        Parameters
        ----------
        x : ndarray
        """
        return self.jacobian_values(x).copy()

    def jacobian_values(self, x: Vector) -> Vector:
        """Return the same as `jacobian`, in an array that the next call writes to again.

        Parameters
        ----------
        x : ndarray
        """
        values: Vector = self._evaluated("jacobian", self._refilled_jacobian, x)
        return values

    def jacobian_matrix(self, x: Vector) -> sparse.csr_array:
        """Return the Jacobian of the constraints as a sparse matrix of its own.

        Parameters
        ----------
        x : ndarray
        """
        structure = self._jacobian.matrix
        return sparse.csr_array((self.jacobian(x), structure.indices, structure.indptr), structure.shape)

    def hessianstructure(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return rows and columns of the entries of the lower triangle of the Lagrangian's Hessian, row by row."""
        return self._hessian_set_up().structure

    def hessian(self, x: Vector, lagrange: Vector, obj_factor: float = 1.0) -> Vector:
        """Return the values of the entries of `hessianstructure`.

        Parameters
        ----------
        x : ndarray
        lagrange : ndarray
            Multipliers, one for each row of the constraints.
        obj_factor : float

        Returns
        -------
        ndarray
            Of the second derivatives of `obj_factor * f(x) + lagrange @ constraints(x)`.
        """
        return self.hessian_values(x, lagrange, obj_factor).copy()

    def hessian_values(self, x: Vector, lagrange: Vector, obj_factor: float = 1.0) -> Vector:
        """Return the same as `hessian`, in an array that the next call writes to again.

        Parameters
        ----------
        x : ndarray
        lagrange : ndarray
        obj_factor : float
        """
        values: Vector = self._evaluated("hessian", self._refilled_hessian, x, lagrange, obj_factor)
        return values

    def intermediate(self, alg_mod: int, iter_count: int, obj_value: float, inf_pr: float, inf_du: float, mu: float,
                     d_norm: float, regularization_size: float, alpha_du: float, alpha_pr: float,
                     ls_trials: int) -> bool:
        """Return True: Ipopt is to go on with the next iteration. Override it to watch or to stop it.

        Parameters
        ----------
        alg_mod : int
            0, or 1 while Ipopt restores feasibility.
        iter_count : int
        obj_value, inf_pr, inf_du : float
            The value of f, and how far the point is from feasible and from optimal.
        mu : float
            The parameter of the barrier.
        d_norm, regularization_size : float
            The size of the step, and of what was added to the Hessian.
        alpha_du, alpha_pr : float
            The lengths of the step, of 1, in multipliers and variables.
        ls_trials : int
            The number of lengths that were tried.
        """
        return True

    def _set_up_jacobian(self) -> None:
        """Find the structure of the Jacobian; the values of linear constraints are in it for good."""
        self._nonlinear: _Values | None = None
        if self.rows.has_functions:
            self._nonlinear = self._sparse("the Jacobian of the constraints", self._lagrangian.jacobian(self.x0))
        self._copies: list[tuple[slice, slice]] = []  # where in all values, from where in the nonlinear ones
        if self._nonlinear is not None and self.rows.are_functions:
            self._jacobian = self._nonlinear
            return
        blocks, n_entries, row = [sparse.csr_array((0, self.n))], 0, 0
        for c in self.rows.each:
            if not c.size:
                continue
            block = c.matrix
            if block is None:
                assert self._nonlinear is not None
                block = self._nonlinear.matrix[row:row + c.size]
                start = int(self._nonlinear.matrix.indptr[row])
                entries = slice(start, start + block.nnz)
                self._copies.append((slice(n_entries, n_entries + block.nnz), entries))
                row += c.size
            blocks.append(block)
            n_entries += block.nnz
        self._jacobian = self._sparse("the Jacobian", sparse.csr_array(sparse.vstack(blocks, "csr")))

    def _sparse(self, what: str, first: sparse.csr_array) -> _Values:
        return _Values(self.packing.caller, what, first)

    def _refilled_jacobian(self, x: Vector) -> Vector:
        values: Vector = self._jacobian.matrix.data
        if self._nonlinear is not None:
            nonlinear = self._nonlinear.refill(self._lagrangian.jacobian, x)
            for where, source in self._copies:
                values[where] = nonlinear[source]
        return values

    def _hessian_set_up(self) -> _Values:
        if self._hessian is None:
            start = time.perf_counter()
            multipliers = np.zeros(self.rows.nonlinear_rows.size)
            first = self._lagrangian.hessian(self.x0, multipliers, 1.0)
            self._hessian = self._sparse("the Hessian of the Lagrangian", first)
            self.statistics.setup_seconds += time.perf_counter() - start
        return self._hessian

    def _refilled_hessian(self, x: Vector, lagrange: Vector, obj_factor: float) -> Vector:
        multipliers = np.asarray(lagrange, np.float64)[self.rows.nonlinear_rows]
        return self._hessian_set_up().refill(self._lagrangian.hessian, x, multipliers, obj_factor)

    # -- evaluations

    def _evaluated(self, what: str, function: Callable[..., Any], x: Vector, *rest: Any) -> Any:
        """Evaluate, count, time, and raise EvaluationError where there is no finite value."""
        start = time.perf_counter()
        self.statistics.counts[what] += 1
        try:
            values = function(x, *rest)
        except FAILURES as error:
            raise self._failed(f"{what} raised {type(error).__name__}: {error}") from error
        finally:
            self.statistics.seconds += time.perf_counter() - start
        if not np.isfinite(np.sum(values)) and not np.isfinite(values).all():
            bad = np.flatnonzero(~np.isfinite(np.ravel(values)))[0]
            raise self._failed(f"{what} has {np.ravel(values)[bad]} in element {bad}" if np.size(values) > 1 else
                               f"{what} is {np.ravel(values)[bad]}")
        return values

    def _failed(self, message: str) -> EvaluationError:
        self.statistics.failures += 1
        self.statistics.last_failure = message
        return evaluation_error(message)
