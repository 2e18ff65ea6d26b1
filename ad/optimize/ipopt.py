"""Ipopt, by cyipopt, on a `Problem`."""
import importlib
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from scipy.optimize import OptimizeResult

from ad.errors import needs_extra
from ad.optimize.functions import Vector
from ad.optimize.problem import Problem
from ad.optimize.runs import Run, Settings

__all__ = ["minimize_ipopt"]

NAMES = {"maxiter": "max_iter", "tol": "tol", "max_time": "max_wall_time"}
# Solve_Succeeded, Solved_To_Acceptable_Level, Feasible_Point_Found (as many equations as variables).
SUCCESSES = (0, 1, 6)
STOPPED = 5  # User_Requested_Stop
MESSAGES = {-5: "Maximum wall clock time exceeded."}  # which cyipopt has no text for


def _cyipopt() -> Any:
    try:
        return importlib.import_module("cyipopt")
    except ImportError:
        raise needs_extra('ad.optimize.minimize(method="ipopt")', "cyipopt", "ipopt") from None


def minimize_ipopt(make: Callable[[], Problem], callback: Callable[..., Any] | None, tol: float | None,
                   options: Mapping[str, Any] | None) -> OptimizeResult:
    """Solve a problem by Ipopt.

    Parameters
    ----------
    make : callable
        Makes the `Problem`; it is called once cyipopt is there, so that a missing one is noticed first.
    callback : callable or None
    tol : float or None
    options : dict or None
        Ipopt's, with `maxiter`, `max_time` (seconds) and `disp` besides.
    """
    cyipopt = _cyipopt()
    settings = Settings(options, tol, NAMES)
    own = {"print_level": 0, "sb": "yes"} | settings.own
    if settings.max_time is not None:
        own.setdefault(NAMES["max_time"], settings.max_time)
    problem = make()
    run = Run(problem, "ipopt", callback, settings)
    adapter = _Adapter(run, second=own.get("hessian_approximation") != "limited-memory")
    bounds = problem.lb, problem.ub, problem.cl, problem.cu
    solver = adapter.solver = cyipopt.Problem(problem.n, problem.m, adapter.callbacks, *bounds)
    for name, value in own.items():
        _set_option(solver, name, value)
    try:
        with run:
            _, info = solver.solve(problem.x0)
    except KeyboardInterrupt:  # the second one, or where signals are not ours to handle
        run.interrupt()
        return run.cut_off(status=STOPPED, nit=adapter.n_iterations)
    finally:
        solver.close()
    if run.error is not None:
        raise run.error
    status = int(info["status"])
    return run.result(
        info["x"], success=status in SUCCESSES, status=status,
        message=MESSAGES.get(status) or " ".join(info["status_msg"].decode().split()), nit=adapter.n_iterations,
        multipliers=info["mult_g"], bound_multipliers=info["mult_x_U"] - info["mult_x_L"], info=info)


class _Adapter:
    """A problem as the callbacks that cyipopt calls, and what it says of each iteration."""

    def __init__(self, run: Run, second: bool) -> None:
        problem = run.problem
        self.run, self.n_iterations = run, 0
        self.solver: Any = None
        self.callbacks = SimpleNamespace(
            objective=run.guarded(problem.objective), gradient=run.guarded(problem.gradient),
            constraints=run.guarded(problem.constraints), jacobian=run.guarded(problem.jacobian_values),
            jacobianstructure=problem.jacobianstructure, intermediate=self.intermediate)
        if second:  # without these two, cyipopt asks Ipopt for an approximation
            structure = problem.hessianstructure()
            self.callbacks.hessianstructure = lambda: structure
            self.callbacks.hessian = run.guarded(problem.hessian_values)

    def intermediate(self, phase: int, n_iterations: int, fun: float, violation: float, optimality: float, mu: float,
                     *steps: Any) -> bool:
        self.n_iterations = n_iterations
        if self.run.error is not None:
            return False
        try:
            return self.run.iteration(OptimizeResult(
                nit=n_iterations, fun=fun, constr_violation=violation, optimality=optimality, barrier_parameter=mu,
                in_restoration=phase == 1, x=self._x() if self.run.callback is not None else None))
        except KeyboardInterrupt:
            self.run.interrupt()
        except BaseException as error:
            self.run.error = error
        return False

    def _x(self) -> Vector:
        iterate = self.solver.get_current_iterate()
        best = self.run.problem.best.x
        x: Vector = iterate["x"] if iterate else self.run.problem.x0 if best is None else best
        return x


def _set_option(solver: Any, name: str, value: Any) -> None:
    """Set an option of Ipopt's, which wants strings, ints and floats each where it wants them."""
    if isinstance(value, bool):
        value = "yes" if value else "no"
    tries = [value] if isinstance(value, str) else [int(value)] if value == int(value) else []
    for attempt in [*tries, *([] if isinstance(value, str) else [float(value)])]:
        try:
            solver.add_option(name, attempt)
            return
        except TypeError:
            continue
    raise ValueError(f"ad.optimize.minimize: Ipopt has no option {name!r} that takes {value!r}; options are maxiter, "
                     "max_time, disp, and those of https://coin-or.github.io/Ipopt/OPTIONS.html")
