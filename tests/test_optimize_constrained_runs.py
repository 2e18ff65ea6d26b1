"""What happens while trust-constr, Ipopt and Uno search: callbacks, progress, limits, Ctrl-C, evaluations that fail."""
import builtins
import re
import signal
import sys
import threading
import time

import numpy as np
import pytest
from constrained_problems import (
    HS071,
    TIGHT,
    each_method,  # noqa: F401
    lukvle1,
    rosenbrock,
)

from ad.optimize import minimize

X0 = np.array([-1.2, 1.0])
HERE = {"constraints": {"type": "ineq", "fun": lambda x: 2 - x @ x}}


def without(package, monkeypatch):
    """Let the import of a package fail."""
    real = builtins.__import__
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    return real


# -- callbacks -------------------------------------------------------------------------------


def test_the_three_forms_of_callbacks(method):
    by_x, by_state, by_name = [], [], []

    def named(intermediate_result):
        by_name.append((intermediate_result.nit, intermediate_result.x["x"], intermediate_result.fun))

    f, x0 = lambda p: rosenbrock(p["x"]), {"x": X0}
    how = {"constraints": {"type": "ineq", "fun": lambda p: 2 - p["x"] @ p["x"]}, "method": method}
    result = minimize(f, x0, callback=lambda p: by_x.append(p["x"]), **how)
    minimize(f, x0, callback=lambda p, state: by_state.append((p["x"], state)), **how)
    minimize(f, x0, callback=named, **how)
    assert len(by_x) == len(by_state) == len(by_name) > 5
    for x, (x_again, state), (_, x_named, fun) in zip(by_x, by_state, by_name):
        np.testing.assert_array_equal(x, x_again)
        np.testing.assert_array_equal(x, x_named)
        np.testing.assert_allclose(fun, rosenbrock(x), rtol=1e-6, atol=1e-12)
        assert state.x["x"] is x_again and state.constr_violation >= 0 and state.optimality >= 0
        assert state.execution_time > 0
    np.testing.assert_allclose(by_x[-1], result.x["x"], atol=1e-3)
    assert [nit for nit, *_ in by_name] == sorted(nit for nit, *_ in by_name)


@pytest.mark.parametrize("how_to_stop", ["return", "raise"])
def test_a_callback_stops_the_search(method, how_to_stop):
    seen = []

    def callback(x):
        seen.append(x)
        if len(seen) == 3:
            if how_to_stop == "raise":
                raise StopIteration
            return True

    result = minimize(rosenbrock, X0, method=method, callback=callback, **HERE)
    assert len(seen) == 3 and not result.success and result.nit <= 5
    assert result.message == "the callback stopped the search"


def test_what_a_callback_raises_reaches_the_caller(method):
    def callback(x):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        minimize(rosenbrock, X0, method=method, callback=callback, **HERE)


# -- limits and options ----------------------------------------------------------------------


def test_a_time_limit(method):
    start = time.perf_counter()

    def slow(x, state):
        time.sleep(0.05)

    result = minimize(rosenbrock, np.tile(X0, 20), method=method, callback=slow, options={"max_time": 0.2})
    assert not result.success and time.perf_counter() - start < 5
    assert re.search("time", result.message.lower())


def test_a_limit_of_iterations(method):
    result = minimize(rosenbrock, X0, method=method, options={"maxiter": 4}, **HERE)
    assert not result.success and result.nit <= 5
    assert re.search("maximum number|iteration limit", result.message.lower())


def test_tolerances(method):
    loose, tight = [minimize(rosenbrock, X0, method=method, tol=tol, **HERE) for tol in (1e-1, 1e-8)]
    assert loose.nit < tight.nit
    assert minimize(rosenbrock, X0, method=method, options={"tol": 1e-1}, **HERE).nit == loose.nit


def test_options_of_the_solvers():
    pytest.importorskip("cyipopt")
    how = {"method": "ipopt"} | HERE
    exact = minimize(rosenbrock, X0, **how)
    approximate = minimize(rosenbrock, X0, options={"hessian_approximation": "limited-memory"}, **how)
    assert exact.nhev > 0 == approximate.nhev and approximate.success
    options = {"mu_strategy": "adaptive", "mu_init": 1, "check_derivatives_for_naninf": True, "max_iter": np.int64(90)}
    adaptive = minimize(rosenbrock, X0, options=options, **how)
    assert adaptive.success
    with pytest.raises(ValueError, match="Ipopt has no option 'nonsense' that takes 3"):
        minimize(rosenbrock, X0, options={"nonsense": 3}, **how)
    with pytest.raises(ValueError, match="Ipopt has no option 'max_iter' that takes 'many'"):
        minimize(rosenbrock, X0, options={"maxiter": "many"}, **how)


def test_options_of_uno():
    pytest.importorskip("unopy")
    how = {"method": "uno"} | HERE
    for preset in ("filtersqp", "ipopt"):
        result = minimize(rosenbrock, X0, options={"preset": preset, "TR_radius": 5, "logger": "SILENT"}, **how)
        assert result.success
        np.testing.assert_allclose(result.x, 1, atol=1e-4)
    assert "interior-point" in result.info["solver"]
    linear = minimize(lambda x: np.sum(x), [0.5, 0.5], bounds=[(0, 1)] * 2, method="uno",
                      options={"preset": "filterslp"})
    assert linear.success and linear.nhev == 0
    with pytest.raises(ValueError, match="Uno has no preset 'fast'"):
        minimize(rosenbrock, X0, options={"preset": "fast"}, **how)
    with pytest.raises(ValueError, match="Uno has no option 'nonsense' that takes 3"):
        minimize(rosenbrock, X0, options={"nonsense": 3}, **how)


@pytest.mark.parametrize("limit", [0, -1, "1 s"])
def test_what_a_time_limit_must_not_be(limit):
    with pytest.raises(ValueError, match="max_time is .*; give the seconds after which to stop"):
        minimize(rosenbrock, X0, method="trust-constr", options={"max_time": limit})


# -- the progress line -----------------------------------------------------------------------


@pytest.mark.parametrize("has_tqdm", [True, False])
def test_a_progress_line(method, has_tqdm, capfd, monkeypatch):
    if has_tqdm:
        pytest.importorskip("tqdm")
    else:
        without("tqdm", monkeypatch)
    minimize(rosenbrock, X0, method=method, options={"disp": True}, **HERE)
    printed = capfd.readouterr()
    assert not printed.out
    line = printed.err.split("\r")[-1]
    assert method in line and "iterations" in line and "f=" in line and "violation=" in line and line.endswith("\n")
    minimize(rosenbrock, X0, method=method, **HERE)
    assert capfd.readouterr() == ("", "")


# -- Ctrl-C ----------------------------------------------------------------------------------


def raise_interrupt():
    raise KeyboardInterrupt


@pytest.fixture
def interruptible():
    """Handle SIGINT as in a terminal; a shell starts its background jobs with the signal ignored."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("how", [lambda: signal.raise_signal(signal.SIGINT), raise_interrupt], ids=["signal", "error"])
@pytest.mark.parametrize("where", ["function", "constraint", "callback"])
def test_ctrl_c_returns_the_best_point(method, where, how, monkeypatch):
    problem = lukvle1(8)
    seen, pressed = [], []

    def press(here, value):
        if here == where and len(seen) >= 3 and not pressed:
            pressed.append(True)
            how()
        return value

    interrupting(monkeypatch, press)
    result = minimize(problem.f, problem.x0, constraints=problem.constraints, method=method,
                      callback=lambda x, state: (seen.append(x), press("callback", None)) and None)
    assert result.message == "interrupted by Ctrl-C; x is the best point so far"
    assert not result.success and len(seen) in (3, 4)
    violations = [np.abs(problem.c(x)).max() for x in (problem.x0, *seen)]
    assert result.constr_violation <= min(violations) + 1e-12
    np.testing.assert_allclose(result.fun, problem.f(result.x))
    np.testing.assert_allclose(result.constr[0], problem.c(result.x))
    assert result.evaluations and result.execution_time > 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_belongs_to_whoever_handles_it(method):
    """Where the user has a handler, and in threads, it is left alone."""
    seen = []
    previous = signal.signal(signal.SIGINT, lambda *_: seen.append("handled"))
    try:
        result = minimize(rosenbrock, X0, method=method, callback=lambda x: signal.raise_signal(signal.SIGINT), **HERE)
        assert result.success and len(seen) >= result.nit - 1
    finally:
        signal.signal(signal.SIGINT, previous)
    thread = threading.Thread(target=lambda: seen.append(minimize(rosenbrock, X0, method=method, **HERE).success))
    thread.start()
    thread.join()
    assert seen[-1] is True


@pytest.mark.usefixtures("interruptible")
def test_a_second_ctrl_c_is_raised_at_once(method):
    """The callback does not end by itself, after the first."""
    seen = []

    def endless(x):
        seen.append(None)
        if len(seen) > 2:
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)
                seen.append("still here")

    result = minimize(rosenbrock, X0, method=method, callback=endless, **HERE)
    assert seen.count("still here") == 1 and "Ctrl-C" in result.message


def interrupting(monkeypatch, press):
    """Call `press` at each evaluation: recorded functions are not called again."""
    from ad.sparse.lagrangians import Lagrangian

    make = Lagrangian.__init__

    def __init__(self, *args):
        make(self, *args)
        values = self.value_and_gradient
        self.value_and_gradient = lambda x: press("function", values(x))

    constraints = Lagrangian.constraints
    monkeypatch.setattr(Lagrangian, "__init__", __init__)
    monkeypatch.setattr(Lagrangian, "constraints", lambda self, x: press("constraint", constraints(self, x)))


def test_the_best_of_feasible_points_is_the_lowest():
    from ad.optimize.problem import Best

    best = Best()
    for x, (fun, violation) in enumerate([(5, 3.0), (9, 1.0), (7, 0.0), (8, 0.0), (6, 0.0), (1, 2.0), (6.5, 1e-9)]):
        best.offer(np.array([x]), fun, violation)
        assert best.x[0] == [0, 1, 2, 2, 4, 4, 4][x]


# -- evaluations that fail -------------------------------------------------------------------


def raising(error):
    def g(x):
        if x[0] < 0.05:
            raise error("no value there")
        return np.sqrt(x[0] - 0.05)

    return g


@pytest.mark.parametrize("g", [
    lambda x: np.sqrt(x[0] - 0.05), raising(FloatingPointError), raising(np.linalg.LinAlgError),
    raising(ZeroDivisionError),
], ids=["nan", "FloatingPointError", "LinAlgError", "ZeroDivisionError"])
@pytest.mark.parametrize("part", ["function", "constraint"])
def test_a_failed_evaluation_makes_the_step_shorter(method, g, part):
    """Full Newton steps from here go to negative x[0], where there is no value."""
    f, c = lambda x: 1 / (x[0] + 1) ** 2 + 3 * x[0] + (x[1] - 1) ** 2, lambda x: x[0] + x[1] - 2
    if part == "function":
        f = lambda x, f=f: f(x) + 1e-3 * g(x)
    constraints = [{"type": "ineq", "fun": lambda x: c(x) + 2}]
    if part == "constraint":
        constraints.append({"type": "ineq", "fun": lambda x: 5 - g(x)})
    with np.errstate(invalid="ignore"):
        result = minimize(f, [3.0, 3.0], constraints=constraints, method=method, options={"maxiter": 300})
    assert result.failed_evaluations > 0 and np.isfinite(result.fun)
    assert 0.05 <= result.x[0] < 1.0 and "evaluations failed; the last: " in result.message


def test_other_errors_reach_the_caller(method):
    def f(x):
        if x[0] < 1:  # at x0 it is not
            raise LookupError("mine")
        return np.sum((x + 1) ** 2)

    with pytest.raises(LookupError, match="mine"):
        minimize(f, [2.0, 2.0], method=method, **TIGHT[method])


def test_derivatives_that_fail_end_the_search(method):
    """The function is finite at 0, and its derivative is not."""
    f = lambda x: np.sqrt(np.abs(x[0])) + (x[1] - 1) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        result = minimize(lambda x: f(x) + 0 * x[0], [1.0, 0.0], bounds=[(0, 2)] * 2, method=method,
                          options={"maxiter": 200})
    assert np.isfinite(result.fun) and result.fun <= f(np.array([1.0, 0.0]))


# -- missing packages ------------------------------------------------------------------------


@pytest.mark.parametrize(("solver", "package"), [("ipopt", "cyipopt"), ("uno", "unopy")])
def test_a_solver_that_is_not_installed(solver, package, monkeypatch):
    without(package, monkeypatch)
    with pytest.raises(ImportError) as caught:
        minimize(HS071.f, HS071.x0, method=solver)
    assert str(caught.value) == (
        f'ad.optimize.minimize(method="{solver}") needs {package}: pip install "dualtape[{solver}]"')
