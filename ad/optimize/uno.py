"""Uno, by unopy, on a `Problem`."""
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from ad.errors import needs_extra
from ad.optimize.functions import Vector
from ad.optimize.problem import EvaluationError, Problem
from ad.optimize.runs import Run, Settings

__all__ = ["minimize_uno"]

NAMES = {"maxiter": "max_iterations", "max_time": "time_limit"}
TOLERANCES = "primal_tolerance", "dual_tolerance"
FIELDS = (  # of Uno's result: those that `info` has
    "cpu_time", "number_constraint_evaluations", "number_hessian_evaluations", "number_iterations",
    "number_jacobian_evaluations", "number_objective_evaluations", "number_objective_gradient_evaluations",
    "number_subproblems_solved", "solution_complementarity", "solution_primal_feasibility", "solution_stationarity",
)


def _unopy() -> Any:
    try:
        return importlib.import_module("unopy")
    except ImportError:
        raise needs_extra('ad.optimize.minimize(method="uno")', "unopy", "uno") from None


def minimize_uno(make: Callable[[], Problem], callback: Callable[..., Any] | None, tol: float | None,
                 options: Mapping[str, Any] | None) -> OptimizeResult:
    """Solve a problem by Uno.

    Parameters
    ----------
    make : callable
        Makes the `Problem`; it is called once unopy is there, so that a missing one is noticed first.
    callback : callable or None
    tol : float or None
    options : dict or None
        Uno's, `preset` among them ("filtersqp", "ipopt", ...), with `maxiter`, `max_time` (seconds) and `disp` besides.
    """
    unopy = _unopy()
    settings = Settings(options, tol, NAMES)
    own: dict[str, Any] = {"logger": "SILENT"}
    if settings.tol is not None:
        own |= dict.fromkeys(TOLERANCES, settings.tol)
    own |= settings.own
    if settings.max_time is not None:
        own.setdefault(NAMES["max_time"], settings.max_time)
    preset = own.pop("preset", None)
    problem = make()
    run = Run(problem, "uno", callback, settings)
    solver = _solver(unopy, preset, own)
    adapter = _Adapter(run)
    model = adapter.model(unopy, second=own.get("hessian_model", "exact") == "exact" and preset != "filterslp")
    solver.set_termination_callback(adapter.has_to_stop)
    try:
        with run:
            found = solver.optimize(model)
    except KeyboardInterrupt:  # the second one, or where signals are not ours to handle
        run.interrupt()
        return run.cut_off(status=unopy.USER_TERMINATION, nit=adapter.n_iterations)
    if run.error is not None:
        raise run.error
    return _result(run, found, solver.get_method_description())


def _solver(unopy: Any, preset: str | None, options: dict[str, Any]) -> Any:
    solver = unopy.UnoSolver()
    if preset is not None:
        try:
            solver.set_preset(preset)
        except RuntimeError as error:
            raise ValueError(f"ad.optimize.minimize: Uno has no preset {preset!r}: {error}") from None
    for name, value in options.items():
        _set_option(solver, name, value)
    return solver


def _set_option(solver: Any, name: str, value: Any) -> None:
    """Set an option of Uno's, which takes an int for a float as little as the other way round."""
    is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    tries = [value] if not is_number else [int(value), float(value)] if value == int(value) else [float(value)]
    for attempt in tries:
        try:
            solver.set_option(name, attempt)
            return
        except (TypeError, KeyError):
            continue
    raise ValueError(f"ad.optimize.minimize: Uno has no option {name!r} that takes {value!r}; options are maxiter, "
                     "max_time, disp, preset, and those of https://unosolver.readthedocs.io")


def _result(run: Run, found: Any, description: str) -> OptimizeResult:
    n, m = run.problem.n, run.problem.m
    ended, reached = found.optimization_status, found.solution_status
    info = {name: getattr(found, name) for name in FIELDS}
    info |= {"optimization_status": ended.name, "solution_status": reached.name, "solver": description}
    message = _words(reached.name) if ended.name == "SUCCESS" else f"{_words(ended.name)}: {_words(reached.name)}"
    return run.result(
        np.array(found.primal_solution)[:n], success=ended.name == "SUCCESS" and reached.name == "FEASIBLE_KKT_POINT",
        status=int(ended.value), message=message, nit=found.number_iterations,
        multipliers=np.array(found.constraint_dual_solution)[:m],
        bound_multipliers=(np.array(found.lower_bound_dual_solution) + np.array(found.upper_bound_dual_solution))[:n],
        info=info)


def _words(name: str) -> str:
    return name.lower().replace("_", " ").replace("kkt", "KKT").replace("fj", "FJ")


class _Adapter:
    """A problem as the callbacks that unopy calls: they write into arrays, and what they raise means no value."""

    def __init__(self, run: Run) -> None:
        self.run, self.problem, self.n_iterations, self.has_begun = run, run.problem, 0, False

    def model(self, unopy: Any, second: bool) -> Any:
        """Return the model for unopy."""
        problem = self.problem
        model = unopy.Model(unopy.PROBLEM_NONLINEAR, problem.n, problem.lb, problem.ub, unopy.ZERO_BASED_INDEXING)
        model.set_objective(unopy.MINIMIZE, self.run.guarded(self._objective), self._writing(problem.gradient))
        if problem.m:
            rows, columns = problem.jacobianstructure()
            model.set_constraints(problem.m, self._writing(problem.constraints), problem.cl, problem.cu, rows.size,
                                  rows, columns, self._writing(problem.jacobian_values))
        if second:
            rows, columns = problem.hessianstructure()
            hessian = self._writing(lambda x, factor, multipliers: problem.hessian_values(x, multipliers, factor))
            model.set_lagrangian_hessian(rows.size, unopy.LOWER_TRIANGLE, rows, columns, hessian)
        model.set_lagrangian_sign_convention(unopy.MULTIPLIER_POSITIVE)  # the Lagrangian adds the constraints
        model.set_initial_primal_iterate(problem.x0)
        return model

    def _objective(self, x: Any) -> float:
        if not self.has_begun:
            self.has_begun = True
            self.run.reclaim_signal()
        return self.problem.objective(np.array(x))

    def _writing(self, function: Callable[..., Vector]) -> Callable[..., None]:
        """Return a function that writes its result into its last argument; it may not keep the others."""

        def write(x: Any, *rest: Any) -> None:
            rest[-1][...] = function(np.array(x), *rest[:-1])

        guarded: Callable[..., None] = self.run.guarded(write)
        return guarded

    def has_to_stop(self, x: Any, _lower: Any, _upper: Any, _multipliers: Any, _factor: float, violation: float,
                    optimality: float, _complementarity: float) -> bool:
        """Tell the run of an iteration; return whether to end the search."""
        self.n_iterations += 1
        if self.run.error is not None:
            return True
        try:
            at = np.array(x)[:self.problem.n]
            return not self.run.iteration(OptimizeResult(
                nit=self.n_iterations, x=at, fun=self._value(at), constr_violation=violation, optimality=optimality))
        except KeyboardInterrupt:
            self.run.interrupt()
        except BaseException as error:
            self.run.error = error
        return True

    def _value(self, x: Vector) -> float:
        if self.run.line is None and self.run.callback is None:
            return np.nan  # nobody sees it
        try:
            return self.problem.objective(x)
        except EvaluationError:
            return np.nan
