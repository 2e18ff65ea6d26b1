"""What `ad.optimize` refuses, and that it is called as SciPy is."""
import inspect
import subprocess
import sys

import numpy as np
import pytest
from objectives import (
    CONSTANT,
    METHODS_HERE,
    START,
    Counted,
    equations,
    equations_jacobian,
    message,
    rosen,
)
from scipy import optimize as scipy_optimize

import ad
from ad.optimize import curve_fit, least_squares, minimize, root
from ad.optimize.minimizers import METHODS

# -- errors ----------------------------------------------------------------------------------

NUMBERS = "; give real numbers, arrays of them, or a container of such"
SHAPE = (
    "f returned an array of shape (4,); return one number: np.sum it, or, for a sum of squares, give the array itself "
    "to ad.optimize.least_squares"
)


@pytest.mark.parametrize("method", METHODS_HERE)
@pytest.mark.parametrize(("f", "said"), [
    (lambda x: x - 1, SHAPE),
    (lambda x: np.sum(x) * np.nan, "f is nan at x0; start where it is finite"),
    (lambda x: np.sum(x) * np.inf, "f is inf at x0; start where it is finite"),
    (lambda x: None, "f returned None: is there a return missing?"),
    (lambda x: (x[0], x[1]), "f returned a tuple; return one number"),
    (lambda x: "low", "f returned a str; return one number"),
    (lambda x: x[0] + 1j, "f returned a value of dtype complex128; return its real part, or abs()"),
])
def test_what_f_must_not_return(f, said, method):
    assert message(minimize, f, START, method=method) == f"ad.optimize.minimize: {said}"


@pytest.mark.parametrize("f", [lambda x: 3.0, lambda x: np.sum(ad.stop_gradient(x)), lambda x: np.array([2.0])])
@pytest.mark.parametrize("method", [m for m in METHODS_HERE if METHODS[m]])
def test_an_f_that_does_not_depend_on_x(f, method):
    assert message(minimize, f, START, method=method) == f"ad.optimize.minimize: {CONSTANT}"


def test_a_gradient_that_is_not_finite_at_the_start():
    assert message(minimize, lambda p: np.sum(np.sqrt(p["w"])) + p["b"], {"b": 1.0, "w": np.array([[1.0, 0.0]])}) == (
        "ad.optimize.minimize: the derivative of f by x0['w'][0, 1] is inf at x0, where f is finite; start from "
        "another point, or guard f there with np.where"
    )


@pytest.mark.filterwarnings("ignore:invalid value")
def test_values_that_are_not_finite_later_are_left_to_scipy():
    values = []

    def f(x):
        y = np.sum(x - np.log(x))
        values.append(np.float64(y.numpy() if isinstance(y, ad.Array) else y))
        return y

    ours = minimize(f, [3.0], method="Newton-CG")  # the first step goes to -3
    scipys = scipy_optimize.minimize(f, [3.0], method="Newton-CG", jac=lambda x: 1 - 1 / x, hess=lambda x: [1 / x**2])
    assert np.isnan(values[:ours.nfev]).any()
    np.testing.assert_allclose(ours.x, scipys.x)
    assert (ours.nfev, ours.status) == (scipys.nfev, scipys.status)


@pytest.mark.parametrize(("x0", "said"), [
    ("one", "x0 is a str" + NUMBERS),
    (["a", 1.0], "x0[0] is a str" + NUMBERS),
    ({"w": np.ones(2), "b": [True]}, "x0['b'][0] is a bool" + NUMBERS),
    (np.array(["a"]), "x0 is an array of dtype <U1" + NUMBERS),
    (np.array([True]), "x0 is an array of dtype bool" + NUMBERS),
    (np.array([1j]), "x0 is an array of dtype complex128; give its real and imaginary parts and join them in f"),
    (1j, "x0 is a complex; give its real and imaginary parts and join them in f"),
    ([], "x0 is empty; give it at least one number to vary"),
    (np.zeros((0, 3)), "x0 is empty; give it at least one number to vary"),
])
@pytest.mark.parametrize("call", [minimize, least_squares, root])
def test_what_x0_must_not_be(call, x0, said):
    assert message(call, rosen, x0) == f"ad.optimize.{call.__name__}: {said}"


def test_unknown_methods():
    assert message(minimize, rosen, START, method="newton") == (
        "ad.optimize.minimize: unknown method 'newton'; choose one of Nelder-Mead, Powell, CG, BFGS, Newton-CG, "
        "L-BFGS-B, TNC, COBYLA, COBYQA, SLSQP, trust-constr, dogleg, trust-ncg, trust-exact, trust-krylov, ipopt, uno"
    )
    assert message(root, rosen, START, method="newton") == (
        "ad.optimize.root: unknown method 'newton'; choose one of hybr, lm, broyden1, broyden2, anderson, "
        "linearmixing, diagbroyden, excitingmixing, krylov, df-sane"
    )


MISFIT = (
    "an upper bound does not fit x0; give a number, or an array of the same shape, for each of x0['w'] (2,), x0['b'] ()"
)


@pytest.mark.parametrize(("bounds", "said"), [
    ({"w": (0, 1)}, "bounds['b'] is missing; give a (low, high) pair, or None, for x0['b']"),
    ({"w": 3, "b": None}, "bounds['w'] is 3; give a (low, high) pair of numbers or arrays, or None"),
    ({"w": (0, [1, 2, 3]), "b": None}, MISFIT),
])
def test_bounds_that_do_not_fit(bounds, said):
    x0 = {"w": np.ones(2), "b": 1.0}
    assert message(minimize, lambda p: p["b"] ** 2, x0, bounds=bounds) == f"ad.optimize.minimize: {said}"


def test_constraints_without_a_function_or_type():
    assert message(minimize, rosen, START, constraints={"type": "ineq"}) == (
        "ad.optimize.minimize: a constraint is {'type': 'ineq'}; write {'type': 'eq' or 'ineq', 'fun': function}"
    )


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_scipy_is_imported_on_use():
    done = run("import sys, ad; assert 'scipy' not in sys.modules; ad.optimize; assert 'scipy' in sys.modules")
    assert done.returncode == 0, done.stderr


def test_without_scipy():
    done = run("import sys; sys.modules['scipy'] = None; import ad; ad.optimize.minimize")
    assert done.stderr.splitlines()[-1] == 'ImportError: ad.optimize needs SciPy: pip install "dualtape[scipy]"'


# -- as SciPy is called ------------------------------------------------------------------------


@pytest.mark.parametrize("function", [minimize, root, least_squares, curve_fit], ids=lambda f: f.__name__)
def test_names_and_order_of_the_arguments_are_scipys(function):
    scipys = inspect.signature(getattr(scipy_optimize, function.__name__)).parameters
    ours = inspect.signature(function).parameters.values()
    positional = [p.name for p in ours if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == list(scipys)[:len(positional)]
    assert {p.name for p in ours if p.kind is p.KEYWORD_ONLY} <= set(scipys)


@pytest.mark.parametrize("x0", [3.0, np.array(3.0), 3])
def test_a_number_is_an_array_of_one(x0):
    assert minimize(fun=lambda x: (x[0] - 1) ** 2, x0=x0).x.shape == (1,)
    for function in (root, least_squares):
        found = function(fun=lambda x: x[0] ** 2 - 4, x0=x0).x
        np.testing.assert_allclose(found, [2.0], rtol=1e-6)


@pytest.mark.parametrize("method", ["hybr", "lm", "broyden1"])
def test_a_system_that_returns_its_jacobian(method):
    f = Counted(lambda x: (equations(x), equations_jacobian(x)))
    ours = root(f, [0.1, 0.2], jac=True, method=method)
    np.testing.assert_allclose(ours.x, root(equations, [0.1, 0.2]).x, rtol=1e-4)
    assert all(type(x) is np.ndarray for x in f.xs)
    if method != "broyden1":  # for which SciPy takes no pair
        scipys = scipy_optimize.root(f.f, [0.1, 0.2], jac=True, method=method)
        assert ours.nfev == scipys.nfev


def test_positional_arguments_of_curve_fit():
    t = np.arange(5.0)
    fit = curve_fit(lambda t, a, b: a * np.exp(b * t), t, 2 * np.exp(-t), [1.0, -0.5], None, False, True, (-5, 1.5))
    assert fit[0][0] == pytest.approx(1.5, abs=1e-6)


@pytest.mark.parametrize("function", [minimize, least_squares, root])
def test_the_first_argument_is_a_function(function):
    text = message(function, START, lambda x: x)
    assert text.endswith(f"the first argument is the function, not an ndarray: write {function.__name__}(f, x0)")


@pytest.mark.parametrize(("function", "second"), [(minimize, "gradient"), (root, "Jacobian")])
@pytest.mark.parametrize("f", [lambda x: np.sum(x), lambda x: x, lambda x: None], ids=["number", "array", "None"])
def test_jac_true_without_a_pair(function, second, f):
    text = message(function, f, START, jac=True)
    assert f"with jac=True f returns its value and its {second}, in a tuple, not" in text


def test_one_number_of_ours_as_x0_is_an_array_of_one_element():
    found = minimize(lambda x: np.sum((x - 2.0) ** 2), ad.constant(3.0)).x
    np.testing.assert_allclose(found, [2.0], rtol=1e-6)
