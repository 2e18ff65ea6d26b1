"""One run of a solver on a `Problem`: what watches it, what stops it, and the result."""
import inspect
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from ad.optimize.functions import Vector
from ad.optimize.problem import EvaluationError, Problem, evaluation_error
from ad.optimize.progress import Progress, progress_line
from ad.transforms.differentiated_call import Function

__all__ = ["Run", "Settings"]


class Settings:
    """The options of a solver, without those that are ours: `disp` and `max_time`.

    Parameters
    ----------
    options : dict or None
    tol : float or None
    names : dict
        The solver's own names for maxiter, tol and max_time.
    """

    def __init__(self, options: Mapping[str, Any] | None, tol: float | None, names: Mapping[str, str]) -> None:
        left = dict(options or {})
        self.disp = bool(left.pop("disp", False))
        self.max_time = _limit(left.pop("max_time", None))
        tol = left.pop("tol", tol)
        self.own = {names.get(name, name): value for name, value in left.items()}
        if tol is not None and "tol" in names:
            self.own.setdefault(names["tol"], float(tol))
        self.tol = tol


def _limit(max_time: Any) -> float | None:
    if max_time is None:
        return None
    if isinstance(max_time, (int, float, np.number)) and max_time > 0:
        return float(max_time)
    raise ValueError(f"ad.optimize.minimize: max_time is {max_time!r}; give the seconds after which to stop")


class Run(AbstractContextManager["Run"]):
    """A run of a solver: calls back, shows the progress, and knows why it was stopped.

    Parameters
    ----------
    problem : Problem
    method : str
    callback : callable or None
        `callback(x)`, `callback(x, state)` or `callback(intermediate_result)`.
    settings : Settings
    """

    def __init__(self, problem: Problem, method: str, callback: Callable[..., Any] | None, settings: Settings) -> None:
        self.problem, self.method, self.settings = problem, method, settings
        self.callback = None if callback is None else _adapted(problem, callback)
        self.line: Progress | None = None
        self.stopped = ""  # why, for the message
        self.takes_best = False  # whether the result is the best point, not the solver's last one
        self.error: BaseException | None = None  # what a callback of the solver raised, which the solver must not see
        self.state: OptimizeResult | None = None  # of the last iteration
        self.x = problem.x0  # of the result, a flat vector
        self.start = time.perf_counter()
        self.seconds = 0.0

    # Ctrl-C mostly comes while the solver is in compiled code. It must not be raised where that calls back: solvers
    # take exceptions for failed evaluations, or lose what they have found. So the first one is only noted, and the
    # search ends with the iteration; a second one is raised as usual.

    def __enter__(self) -> "Run":
        self.previous = signal.getsignal(signal.SIGINT)
        self.notes_signal = self.previous is signal.default_int_handler and _is_main()
        if self.notes_signal:
            signal.signal(signal.SIGINT, self._on_signal)
        if self.settings.disp:
            self.line = progress_line(self.method)
        self.start = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = time.perf_counter() - self.start
        if self.notes_signal:
            signal.signal(signal.SIGINT, self.previous)
        if self.line is not None:
            self.line.close()

    def reclaim_signal(self) -> None:
        """Let Python handle Ctrl-C, of which a solver has taken possession; it gives it back in the end."""
        handler = signal.getsignal(signal.SIGINT)
        if handler is not None and _is_main():
            signal.signal(signal.SIGINT, handler)

    def _on_signal(self, number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, self.previous)
        self.interrupt()

    # -- iterations

    def iteration(self, state: OptimizeResult) -> bool:
        """Tell those who watch of an iteration; return whether to go on. The state's x is a flat vector, or absent."""
        self.state = state
        if self.stopped:
            return False
        state.execution_time = time.perf_counter() - self.start
        if self.line is not None:
            self.line.update(state.nit, f"f={state.fun:.6g}, violation={state.constr_violation:.1e}, "
                                        f"optimality={state.optimality:.1e}")
        if self.callback is not None and self.callback(state):
            self.stopped = "the callback stopped the search"
        elif self.settings.max_time is not None and state.execution_time >= self.settings.max_time:
            self.stopped = f"the time limit of {self.settings.max_time:g} s was reached"
        return not self.stopped

    def interrupt(self) -> None:
        """Note that the user pressed Ctrl-C."""
        self.stop_at_best("interrupted by Ctrl-C; x is the best point so far")

    def stop_at_best(self, why: str) -> None:
        """Note why the search ends before the solver has come to an end."""
        self.takes_best, self.stopped = True, why

    def guarded(self, function: Function) -> Function:
        """Return a function for a solver that survives no exceptions but those for failed evaluations."""

        def evaluation(*args: Any) -> Any:
            try:
                if self.error is not None:
                    raise evaluation_error("the search is being stopped")
                return function(*args)
            except EvaluationError:
                raise
            except KeyboardInterrupt:
                self.interrupt()
                raise evaluation_error("interrupted") from None
            except BaseException as error:
                self.error = error
                raise evaluation_error("stopped by an error") from None

        return evaluation

    # -- the result

    def result(self, x: Vector, *, success: bool, status: int, message: str, nit: int, multipliers: Vector | None,
               bound_multipliers: Vector | None, info: dict[str, Any]) -> OptimizeResult:
        """Return the result: SciPy's fields, and those that all methods of this package have.

        Parameters
        ----------
        x : ndarray
            The solver's last point; that of the result is the best one if the search was cut off.
        success : bool
        status : int
        message : str
        nit : int
        multipliers, bound_multipliers : ndarray or None
            By SciPy's signs: the gradient of f plus their products with the gradients of constraints and variables
            is zero. None where the solver has none.
        info : dict
        """
        problem, spent = self.problem, self.problem.statistics
        counts, evaluation_time = dict(spent.counts), spent.seconds
        if self.takes_best and problem.best.x is not None:
            x = problem.best.x
        if self.stopped:
            success, message = False, self.stopped
        self.x = x
        result = OptimizeResult(
            x=problem.unpack(x), success=success, status=status, message=self._explained(message), nit=nit,
            nfev=counts.get("objective", 0), njev=counts.get("gradient", 0), nhev=counts.get("hessian", 0),
            method=self.method, evaluations=counts, failed_evaluations=spent.failures,
            setup_time=spent.setup_seconds, evaluation_time=evaluation_time,
            solver_time=max(0.0, self.seconds - evaluation_time), execution_time=spent.setup_seconds + self.seconds,
            multipliers=None if multipliers is None else problem.split(multipliers),
            bound_multipliers=bound_multipliers, info=info,
        )
        result.update(_at(problem, x, multipliers, bound_multipliers))
        return result

    def cut_off(self, status: int, nit: int) -> OptimizeResult:
        """Return the result of a search of which the solver has told nothing."""
        return self.result(self.problem.x0, success=False, status=status, message="", nit=nit, multipliers=None,
                           bound_multipliers=None, info={})

    def _explained(self, message: str) -> str:
        spent = self.problem.statistics
        if not spent.failures:
            return message
        return f"{message} ({spent.failures} evaluations failed; the last: {spent.last_failure})"


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def _adapted(problem: Problem, callback: Callable[..., Any]) -> Callable[[OptimizeResult], bool]:
    """Return a callback by SciPy's rules as a function of the state, which returns whether to stop."""
    by_name = set(inspect.signature(callback).parameters) == {"intermediate_result"}
    takes_state = not by_name and _takes_two(callback)

    def call(state: OptimizeResult) -> bool:
        unpacked = OptimizeResult(state, x=problem.unpack(state.x))
        try:
            if by_name:
                return bool(callback(intermediate_result=unpacked))
            return bool(callback(unpacked.x, unpacked) if takes_state else callback(unpacked.x))
        except StopIteration:
            return True

    return call


def _takes_two(callback: Callable[..., Any]) -> bool:
    try:
        inspect.signature(callback).bind(None, None)
    except TypeError:
        return False
    return True


def _at(problem: Problem, x: Vector, multipliers: Vector | None, bound_multipliers: Vector | None) -> dict[str, Any]:
    """Return what holds at a point: the value, the gradient, the constraints, and how far it is from optimal."""
    found: dict[str, Any] = {"fun": np.nan, "jac": np.full(problem.n, np.nan), "optimality": np.nan,
                             "constr": problem.split(np.full(problem.m, np.nan)), "constr_violation": np.nan}
    try:
        found["fun"] = problem.objective(x)
        values = problem.constraints(x).copy()
        found["constr"], found["constr_violation"] = problem.split(values), problem.violation(x, values)
        found["jac"] = np.array(problem.gradient(x))
        if multipliers is not None and bound_multipliers is not None:
            found["optimality"] = _residual(problem, x, found["jac"], multipliers, bound_multipliers)
    except EvaluationError:
        pass  # the solver has ended at a point where it could not evaluate, and says so
    return found | {"grad": found["jac"]}


def _residual(problem: Problem, x: Vector, gradient: Vector, multipliers: Vector, bound_multipliers: Vector) -> float:
    """Return the largest element of the gradient of the Lagrangian."""
    products = problem.jacobian_matrix(x).T @ multipliers if problem.m else 0.0
    return float(np.max(np.abs(gradient + products + bound_multipliers)))
