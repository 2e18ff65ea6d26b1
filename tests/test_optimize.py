"""`ad.optimize` against scipy.optimize with derivatives by hand, and what the user's functions are called with."""
import inspect
import subprocess
import sys
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import optimize as scipy_optimize
from scipy.optimize import Bounds, LinearConstraint, NonlinearConstraint

import ad
from ad.optimize import curve_fit, least_squares, minimize, root
from ad.optimize.minimizers import MAX_DENSE, METHODS

START = np.array([1.1, 1.0, 1.15, 1.2])  # where the Hessian is positive definite, which dogleg wants
DERIVATIVES = {"jac": scipy_optimize.rosen_der, "hess": scipy_optimize.rosen_hess}
METHODS_HERE = [m for m in METHODS if m.lower() in scipy_optimize._minimize.MINIMIZE_METHODS]


def rosen(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


class Counted:
    """A function that keeps the arguments it was called with: plain for values, ours for derivatives."""

    def __init__(self, f):
        self.f, self.xs = f, []

    def __call__(self, x, *args):
        self.xs.append(x)
        return self.f(x, *args)

    def points(self):
        return {np.asarray(getattr(x, "primal", x)).tobytes() for x in self.xs}


# -- minimize --------------------------------------------------------------------------------


def test_methods_are_scipys():
    assert {m.lower() for m in METHODS} == set(scipy_optimize._minimize.MINIMIZE_METHODS)


@pytest.mark.parametrize("method", [None, *METHODS_HERE])
def test_the_same_search_as_with_derivatives_by_hand(method):
    takes = METHODS[method or "BFGS"]
    by_hand = {name: DERIVATIVES[name] for name in takes if name != "hessp"}
    ours = minimize(rosen, START, method=method)
    scipys = scipy_optimize.minimize(rosen, START, method=method, **by_hand)
    np.testing.assert_allclose(ours.x, scipys.x, rtol=1e-5)
    assert ours.success == scipys.success
    for count in ("nit", "nfev", "njev", "nhev"):
        assert ours.get(count) == scipys.get(count)
    assert type(ours) is type(scipys) and set(ours) == set(scipys)


@pytest.mark.parametrize("method", ["CG", "BFGS", "L-BFGS-B", "TNC", "SLSQP"])
def test_value_and_gradient_come_from_one_evaluation(method):
    f = Counted(rosen)
    result = minimize(f, START, method=method)
    assert result.success
    assert len(f.xs) == len(f.points()) <= result.nfev


@pytest.mark.parametrize("n", [4, 5000])
def test_a_point_that_is_asked_for_again_is_not_evaluated_again(n):
    def method(fun, x0, jac=None, **unused):
        x = x0.copy()
        first = fun(x), jac(x.copy()), fun(x)
        x[-1] += 1
        second = fun(x), jac(x)
        return scipy_optimize.OptimizeResult(x=x0, first=first, second=second)

    f, x0 = Counted(rosen), np.linspace(0, 1, n)
    result = minimize(f, x0, method=method)
    assert len(f.xs) == 2
    moved = x0 + np.eye(n)[-1]
    np.testing.assert_allclose(result.first[1], scipy_optimize.rosen_der(x0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(result.second[0], rosen(moved))
    np.testing.assert_allclose(result.second[1], scipy_optimize.rosen_der(moved), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg", "trust-krylov", "trust-exact", "dogleg", "trust-constr"])
def test_a_hessian_takes_one_more_evaluation(method):
    f = Counted(rosen)
    result = minimize(f, START, method=method)
    assert len(f.points()) < len(f.xs) <= len(f.points()) + result.nhev + 1  # result.hess comes after SciPy's count


@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg", "trust-krylov", "trust-constr"])
def test_products_beyond_a_hundred_variables(method):
    f = Counted(rosen)
    x0 = np.full(MAX_DENSE + 1, 1.1)
    result = minimize(f, x0, method=method)
    assert result.success
    np.testing.assert_allclose(result.x, 1, rtol=0.05)
    assert len(f.xs) <= 2 * len(f.points())
    if method != "trust-constr":  # it counts in another way
        assert result.nhev > 2 * result.nit and "hess" not in result


@pytest.mark.parametrize("method", ["Nelder-Mead", "Powell", "COBYLA", "COBYQA"])
def test_methods_without_derivatives_see_ndarrays_only(method):
    f = Counted(rosen)
    minimize(f, START, method=method, options={"maxiter": 30})
    assert {type(x) for x in f.xs} == {np.ndarray}


def test_a_method_of_the_users():
    def newton(fun, x0, jac=None, hess=None, **unused):
        return scipy_optimize.OptimizeResult(x=x0 - np.linalg.solve(hess(x0), jac(x0)))

    c = np.array([1.0, 3.0])
    result = minimize(lambda p: np.sum(c * (p["a"] - 2) ** 2), {"a": np.zeros(2)}, method=newton)
    np.testing.assert_allclose(result.x["a"], 2)


Pair = namedtuple("Pair", "w b")


@dataclass
class Model:
    w: np.ndarray
    b: float


def distance(w, b):
    return np.sum((w - np.arange(6.0).reshape(2, 3)) ** 2 + 0.1 * w**4) + (b - 7) ** 2


CONTAINERS = [
    ({"w": np.ones((2, 3)), "b": 1.0}, lambda p: (p["w"], p["b"])),
    ([np.ones((2, 3)), 1], tuple),
    (Pair(np.ones((2, 3), np.float32), np.float32(1)), tuple),
    (Model(np.ones((2, 3), int), np.array(1)), lambda p: (p.w, p.b)),
    ([{"w": ad.constant(np.ones((2, 3)))}, (ad.Variable(1.0),)], lambda p: (p[0]["w"], p[1][0])),
    ({"w": np.ones((2, 3)), "none": np.zeros(0), "b": np.array(1.0)}, lambda p: (p["w"], p["b"])),
]


@pytest.mark.parametrize("method", ["BFGS", "trust-exact", "Newton-CG", "Nelder-Mead"])
@pytest.mark.parametrize(("x0", "parts"), CONTAINERS)
def test_containers(x0, parts, method):
    options = {"maxiter": 4000, "maxfev": 4000, "xatol": 1e-8, "fatol": 1e-12} if method == "Nelder-Mead" else None
    result = minimize(lambda p: distance(*parts(p)), x0, method=method, options=options)
    flat = scipy_optimize.minimize(lambda x: distance(x[:6].reshape(2, 3), x[6]), np.ones(7), tol=1e-10).x
    w, b = parts(result.x)
    assert type(result.x) is type(x0) and w.shape == (2, 3) and np.ndim(b) == 0
    assert w.dtype == b.dtype == np.float64
    np.testing.assert_allclose(w, flat[:6].reshape(2, 3), atol=1e-3)
    np.testing.assert_allclose(b, 7, atol=1e-3)
    if method != "Nelder-Mead":
        assert result.jac.shape == (7,)


@pytest.mark.parametrize("x0", [3, 3.0, np.float32(3), np.array(3.0), [3], (3.0,), np.array([[3]])])
def test_one_number(x0):
    result = minimize(lambda x: (x - 1) ** 2, x0)
    assert np.shape(result.x) == (np.shape(x0) or (1,))  # SciPy's: a number is an array with one element
    np.testing.assert_allclose(result.x, 1)


def test_lists_of_numbers_are_arrays_and_args_are_passed():
    result = minimize(lambda x, a, b: np.sum((x - a) ** 2) + b, [1, 2], args=(np.array([5.0, 6.0]), 3.0))
    np.testing.assert_allclose(result.x, [5, 6], atol=1e-7)
    assert minimize(lambda x, a: np.sum((x - a) ** 2), (1, 2), args=4.0).x.shape == (2,)


def test_x0_is_left_alone():
    x0 = {"w": np.ones(3)}
    result = minimize(lambda p: np.sum((p["w"] - 2) ** 2), x0)
    np.testing.assert_array_equal(x0["w"], 1)
    assert result.x["w"].base is None


BOUNDED = [
    ([1.0, 2.0], [(None, 0.5), (3, None)]),
    ([1.0, 2.0], Bounds([-np.inf, 3], [0.5, np.inf])),
    ({"a": 1.0, "b": 2.0}, {"a": (None, 0.5), "b": (3, None)}),
    ({"a": np.ones(1), "b": 2.0}, {"b": (3, None), "a": ([-np.inf], [0.5])}),
    ([np.ones(1), np.array(2.0)], [(None, 0.5), (3, None)]),
    ([np.array([1.0, 2.0])], [(None, 0.5), (3, None)]),
    (np.array([[1.0], [2.0]]), Bounds(np.array([[-np.inf], [3]]), np.array([[0.5], [np.inf]]))),
]


@pytest.mark.filterwarnings("ignore:Initial guess is not within")
@pytest.mark.parametrize("method", [None, "TNC", "SLSQP", "trust-constr", "Nelder-Mead", "COBYQA"])
@pytest.mark.parametrize(("x0", "bounds"), BOUNDED)
def test_bounds(x0, bounds, method):
    def f(x):
        return sum(np.sum((leaf - 1.5) ** 2) for leaf in ad.trees.flatten(x)[0])

    result = minimize(f, x0, bounds=bounds, method=method)
    found = np.concatenate([np.ravel(leaf) for leaf in ad.trees.flatten(result.x)[0]])
    np.testing.assert_allclose(found, [0.5, 3], atol=2e-4)


def test_bounds_for_some_leaves_and_one_pair_for_all():
    result = minimize(lambda p: np.sum(p["a"] ** 2) + (p["b"] + 1) ** 2, {"a": np.ones(3), "b": 5.0},
                      bounds={"a": (0.5, [1, 2, 3]), "b": None})
    np.testing.assert_allclose(result.x["a"], 0.5)
    np.testing.assert_allclose(result.x["b"], -1, atol=1e-6)
    np.testing.assert_allclose(minimize(lambda x: np.sum(x**2), np.ones(3), bounds=(0.5, None)).x, 0.5)


def test_a_start_outside_its_bounds_is_not_evaluated():
    assert minimize(lambda x: np.sum(x - np.log(x)), [-1.0], bounds=[(1e-3, None)]).x == pytest.approx(1)


# -- constraints -----------------------------------------------------------------------------

CENTRE = np.array([2.0, 1.0])


def far(p):
    return np.sum((p["x"] - CENTRE) ** 4)


def disc(p):
    return 1 - np.sum(p["x"] ** 2)


def far_by_hand(constraints, **how):
    f, jac = lambda x: np.sum((x - CENTRE) ** 4), lambda x: 4 * (x - CENTRE) ** 3
    return scipy_optimize.minimize(f, [0.1, 0.2], jac=jac, constraints=constraints, **how)


DISC_BY_HAND = {"type": "ineq", "fun": lambda x: 1 - x @ x, "jac": lambda x: -2 * x}


@pytest.mark.parametrize("constraints", [
    {"type": "ineq", "fun": disc},
    [{"type": "ineq", "fun": lambda p, r: r - np.sum(p["x"] ** 2), "args": (1,)}],
    NonlinearConstraint(lambda p: np.sum(p["x"] ** 2), -np.inf, 1),
    (NonlinearConstraint(lambda p: {"both": [p["x"][0] ** 2 + p["x"][1] ** 2, p["x"][0]]}, [-1, -1], [1, 9]),),
])
@pytest.mark.parametrize("method", [None, "trust-constr", "COBYLA", "COBYQA"])
def test_constraints(constraints, method):
    result = minimize(far, {"x": np.array([0.1, 0.2])}, constraints=constraints, method=method)
    expected = far_by_hand(DISC_BY_HAND, tol=1e-12).x
    np.testing.assert_allclose(result.x["x"], expected, atol=1e-3)


def test_constraints_are_exact_where_differences_would_be_taken():
    seen = Counted(disc)
    result = minimize(far, {"x": np.array([0.1, 0.2])}, constraints={"type": "ineq", "fun": seen})
    by_hand = far_by_hand(DISC_BY_HAND)
    assert (result.nit, result.nfev) == (by_hand.nit, by_hand.nfev)
    assert len(seen.xs) == len(seen.points()) <= result.nfev


def test_a_constraint_may_be_infinite_at_the_start():
    constraint = {"type": "ineq", "fun": lambda x: 1 / x[0], "jac": lambda x: np.array([-x[0] ** -2, 0.0])}
    x0 = [1.0, 0.0]
    with np.errstate(divide="ignore", invalid="ignore"):
        for start in x0, x0[::-1]:
            ours = minimize(lambda x: np.sum((x - 2) ** 2), start, constraints={**constraint, "jac": None})
            scipys = scipy_optimize.minimize(lambda x: np.sum((x - 2) ** 2), start, jac=lambda x: 2 * (x - 2),
                                             constraints=constraint)
            np.testing.assert_allclose(ours.x, scipys.x)


def test_hessians_of_constraints():
    def pair(x):
        return [x[0] * x[1] ** 2 - 1, np.exp(x[0]) + x[2] ** 3]

    jac = lambda x: [[x[1] ** 2, 2 * x[0] * x[1], 0], [np.exp(x[0]), 0, 3 * x[2] ** 2]]
    hess = lambda x, v: v[0] * np.array([[0, 2 * x[1], 0], [2 * x[1], 2 * x[0], 0], [0, 0, 0]]) + v[1] * np.diag(
        [np.exp(x[0]), 0, 6 * x[2]])
    exact = NonlinearConstraint(pair, [0, -np.inf], [0, 3], jac, hess)
    f, how = lambda x: np.sum((x - 3) ** 2), {"x0": np.ones(3), "method": "trust-constr"}
    ours = minimize(f, constraints=NonlinearConstraint(pair, [0, -np.inf], [0, 3]), **how)
    scipys = scipy_optimize.minimize(f, jac=lambda x: 2 * (x - 3), hess=lambda x: 2 * np.eye(3),
                                     constraints=exact, **how)
    np.testing.assert_allclose(ours.x, scipys.x, rtol=1e-6)
    assert (ours.nit, ours.nfev, ours.constr_nhev) == (scipys.nit, scipys.nfev, scipys.constr_nhev)


def test_derivatives_of_constraints_that_are_given_are_used():
    jac, hess = Counted(lambda p: -2 * p["x"][None]), Counted(lambda p, v: -2 * v[0] * np.eye(2))
    x0 = {"x": np.array([0.1, 0.2])}
    minimize(far, x0, constraints=NonlinearConstraint(disc, 0, np.inf, jac, hess), method="trust-constr")
    assert jac.xs and hess.xs and all(type(p["x"]) is np.ndarray for p in jac.xs + hess.xs)
    jac.xs.clear()
    minimize(far, x0, constraints={"type": "ineq", "fun": disc, "jac": jac})
    assert jac.xs
    plain = Counted(disc)
    minimize(far, x0, constraints=NonlinearConstraint(plain, 0, np.inf, "3-point"))
    assert all(type(p["x"]) is np.ndarray for p in plain.xs)


@pytest.mark.parametrize("method", [None, "trust-constr", "COBYQA"])
def test_linear_constraints_are_over_the_flat_vector(method):
    line = LinearConstraint(np.ones((1, 3)), 1, 1)
    x0 = {"a": np.zeros(2), "b": 0.5}
    result = minimize(lambda p: np.sum(p["a"] ** 2) + p["b"] ** 2, x0, constraints=line, method=method)
    np.testing.assert_allclose([*result.x["a"], result.x["b"]], 1 / 3, atol=1e-4)


# -- what the user gives ---------------------------------------------------------------------


def test_derivatives_that_are_given_are_used():
    f, jac = Counted(rosen), Counted(scipy_optimize.rosen_der)
    hess, hessp = Counted(scipy_optimize.rosen_hess), Counted(scipy_optimize.rosen_hess_prod)
    minimize(f, START, jac=jac, hess=hess, method="trust-exact")
    minimize(f, START, jac=jac, hessp=hessp, method="trust-ncg")
    assert jac.xs and hess.xs and hessp.xs
    assert all(type(x) is np.ndarray for x in f.xs)


def test_a_gradient_that_is_given_may_be_a_container():
    f = lambda p: np.sum((p["w"] - 1) ** 2) + p["b"] ** 2
    gradient = lambda p: {"b": 2 * p["b"], "w": 2 * (p["w"] - 1)}
    x0 = {"w": np.zeros(2), "b": 1.0}
    for how in ({"jac": gradient}, {"jac": lambda p: np.array([*gradient(p)["w"], gradient(p)["b"]])}):
        np.testing.assert_allclose(minimize(f, x0, **how).x["w"], 1)
    both = minimize(lambda p: (f(p), gradient(p)), x0, jac=True)
    np.testing.assert_allclose(both.x["w"], 1)
    assert both.nfev == minimize(f, x0).nfev


@pytest.mark.parametrize(("method", "how"), [
    ("BFGS", {"jac": "2-point"}), ("BFGS", {"jac": False}), ("trust-ncg", {"hess": "2-point"}),
    ("trust-constr", {"hess": scipy_optimize.SR1()}), ("Newton-CG", {"hess": "3-point"}),
])
def test_finite_differences_on_request(method, how):
    result = minimize(rosen, START, method=method, **how)
    np.testing.assert_allclose(result.x, 1, rtol=2e-3)
    if "jac" in how:
        assert result.nfev > 4 * result.njev


@pytest.mark.parametrize("method", [m for m in METHODS_HERE if m != "COBYQA"])
def test_callbacks_get_the_container(method):
    seen = []
    result = minimize(lambda p: rosen(p["x"]), {"x": START}, method=method,
                      options={"maxfun" if method == "TNC" else "maxiter": 30},
                      callback=lambda x, *rest: seen.append((x, *rest)))
    assert seen and {type(x["x"]) for x, *_ in seen} == {np.ndarray}
    assert all(rest[0].x["x"].shape == (4,) for _, *rest in seen if rest)
    assert type(result.x) is dict


@pytest.mark.parametrize("method", ["Nelder-Mead", "BFGS", "L-BFGS-B", "trust-exact", "trust-constr"])
def test_callbacks_get_the_intermediate_result(method):
    seen = []

    def callback(intermediate_result):
        seen.append((intermediate_result.x["x"], intermediate_result.fun))
        if len(seen) == 3:
            raise StopIteration

    minimize(lambda p: rosen(p["x"]), {"x": START}, method=method, callback=callback)
    assert len(seen) == 3
    np.testing.assert_allclose([rosen(x) for x, _ in seen], [value for _, value in seen])


# -- errors ----------------------------------------------------------------------------------

NUMBERS = "; give real numbers, arrays of them, or a container of such"
CONSTANT = (
    "f does not depend on x: what it returns is a constant, or an integer; compute it from the argument of f, without "
    "x.numpy() or ad.stop_gradient"
)
SHAPE = (
    "f returned an array of shape (4,); return one number: np.sum it, or, for a sum of squares, give the array itself "
    "to ad.optimize.least_squares"
)


def message(call, *args, **kwargs):
    with pytest.raises((TypeError, ValueError)) as caught:
        call(*args, **kwargs)
    text = str(caught.value)
    assert "\n" not in text
    return text


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
        "L-BFGS-B, TNC, COBYLA, COBYQA, SLSQP, trust-constr, dogleg, trust-ncg, trust-exact, trust-krylov"
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


# -- least_squares, root, curve_fit ----------------------------------------------------------

T = np.linspace(0, 4, 30)
DATA = 2.5 * np.exp(-1.3 * T) + 0.5 + 0.05 * np.sin(20 * T)


def decay(t, a, k, c):
    return a * np.exp(-k * t) + c


def decay_jacobian(t, a, k, c):
    return np.stack([np.exp(-k * t), -a * t * np.exp(-k * t), np.ones_like(t)], axis=1)


@pytest.mark.parametrize("how", [
    {}, {"method": "lm"}, {"method": "dogbox"}, {"loss": "soft_l1", "f_scale": 0.1}, {"bounds": (0, [2, 3, 1])},
    {"bounds": Bounds([0, 0, 0], [2, 3, 1])}, {"xtol": 1e-12, "x_scale": "jac"},
])
def test_least_squares(how):
    x0 = [1.0, 1.0, 0.1]
    ours = least_squares(lambda p, t, y: decay(t, *p) - y, x0, args=(T,), kwargs={"y": DATA}, **how)
    scipys = scipy_optimize.least_squares(lambda p: decay(T, *p) - DATA, x0, lambda p: decay_jacobian(T, *p), **how)
    np.testing.assert_allclose(ours.x, scipys.x, rtol=1e-7)
    np.testing.assert_allclose(ours.jac, scipys.jac, rtol=1e-6, atol=1e-12)
    assert (ours.nfev, ours.njev, ours.status) == (scipys.nfev, scipys.njev, scipys.status)


@pytest.mark.parametrize("bounds", [
    (-np.inf, np.inf), (0, {"k": np.array([3.0, 3.0]), "a": 9, "c": 9}), {"a": (0, None), "k": ([0, 0], 3), "c": None},
])
def test_residuals_and_parameters_in_containers(bounds):
    def residuals(p):
        return {"first": p["a"] * np.exp(-p["k"][0] * T) + p["c"] - DATA, "rest": (p["k"][1] - 2, [p["c"] - 0.5])}

    ours = least_squares(residuals, {"a": 1, "k": np.ones(2, np.float32), "c": np.array(0.1)}, bounds=bounds)
    scipys = scipy_optimize.least_squares(
        lambda p: np.array([*decay(T, p[0], p[1], p[3]) - DATA, p[2] - 2, p[3] - 0.5]), [1, 1, 1, 0.1], "3-point")
    np.testing.assert_allclose([ours.x["a"], *ours.x["k"], ours.x["c"]], scipys.x, rtol=1e-6)
    assert ours.x["k"].shape == (2,) and ours.jac.shape == (32, 4)


def test_least_squares_with_a_jacobian_that_is_given():
    seen = Counted(lambda p: decay_jacobian(T, p["a"], p["k"], 0.5)[:, :2])
    f = Counted(lambda p: decay(T, p["a"], p["k"], 0.5) - DATA)
    x0 = {"a": 1.0, "k": 1.0}
    given, differences = least_squares(f, x0, seen), least_squares(f, x0, "3-point")
    assert seen.xs and all(type(p["a"]) is not ad.Array for p in f.xs)
    np.testing.assert_allclose(given.x["k"], differences.x["k"], rtol=1e-6)
    np.testing.assert_allclose(given.x["k"], least_squares(f, x0).x["k"], rtol=1e-6)


def test_callbacks_of_least_squares():
    seen = []
    if "callback" not in inspect.signature(scipy_optimize.least_squares).parameters:
        pytest.skip("this SciPy's least_squares has no callback")
    least_squares(lambda p: decay(T, *p["x"]) - DATA, {"x": np.ones(3)}, callback=lambda x: seen.append(x["x"]))
    assert seen and seen[0].shape == (3,)


@pytest.mark.parametrize(("f", "said"), [
    (lambda x: np.log(x - 2) + 1j, "f returned a value of dtype complex128; return its real part, or abs()"),
    (lambda x: np.sqrt(x - 2), "f is nan in element 0 of 2 at x0; start where it is finite"),
    (lambda x: np.ones(2), CONSTANT),
    (lambda x: None, "f returned nothing; return an array, or a container of arrays"),
])
@pytest.mark.parametrize("call", [least_squares, root])
def test_what_residuals_must_not_be(call, f, said):
    with np.errstate(invalid="ignore"):
        assert message(call, f, [1.0, 5.0]) == f"ad.optimize.{call.__name__}: {said}"


def equations(x):
    return [1.0 - x[0] - 0.5 * (x[0] - x[1]) ** 3, 0.5 * (x[0] - x[1]) ** 3 - x[1]]


def equations_jacobian(x):
    d = 1.5 * (x[0] - x[1]) ** 2
    return np.array([[-1 - d, d], [d, -1 - d]])


@pytest.mark.parametrize("method", scipy_optimize._root.ROOT_METHODS)
def test_root(method):
    by_hand = {"jac": equations_jacobian} if method in ("hybr", "lm") else {}
    ours = root(equations, [0.1, 0.2], method=method)
    scipys = scipy_optimize.root(equations, [0.1, 0.2], method=method, **by_hand)
    assert ours.success
    np.testing.assert_allclose(ours.x, scipys.x, rtol=1e-8)
    assert set(ours) == set(scipys) and ours.nfev == scipys.nfev


def test_root_of_containers():
    seen, norms = [], []
    f = Counted(lambda p, a: {"v": p["u"] * p["v"] - a, "u": p["u"] - p["v"] ** 2})
    x0 = {"u": np.array([1.0, 2.0]), "v": np.array([1.5, 1.0])}
    ours = root(f, x0, args=(np.array([8.0, 27.0]),))
    np.testing.assert_allclose(ours.x["u"], [4, 9])
    np.testing.assert_allclose(ours.x["v"], [2, 3])
    root(f, x0, args=np.array([8.0, 27.0]), method="krylov",
         callback=lambda x, y: (seen.append(x["u"]), norms.append(np.abs(y).max())))
    assert seen[-1].shape == (2,) and norms[-1] < 1e-5
    jac = Counted(lambda x: equations_jacobian(x["x"]))
    root(lambda x: equations(x["x"]), {"x": np.zeros(2)}, jac=jac)
    assert jac.xs


def test_a_root_needs_as_many_equations_as_unknowns():
    assert message(root, lambda x: x[0] + x[1], [1.0, 2.0]) == (
        "ad.optimize.root: f must return one number for each of the 2 unknowns, not 1; where there are more than "
        "unknowns use ad.optimize.least_squares"
    )


@pytest.mark.parametrize("how", [
    {}, {"p0": None}, {"sigma": 0.1 + T}, {"sigma": np.diag(0.1 + T) + 0.01, "absolute_sigma": True},
    {"bounds": (0, [2, 3, 1])}, {"method": "trf"}, {"full_output": True}, {"full_output": True, "method": "dogbox"},
    {"check_finite": False},
])
def test_curve_fit(how):
    how = {"p0": [1, 1, 0.1]} | how
    ours = curve_fit(decay, T, DATA, **how)
    scipys = scipy_optimize.curve_fit(decay, T, DATA, jac=decay_jacobian, **how)
    assert len(ours) == len(scipys)
    for a, b in zip(ours[:2], scipys[:2]):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    if len(ours) > 2:
        assert (ours[2]["nfev"], *ours[3:]) == (scipys[2]["nfev"], *scipys[3:])


@pytest.mark.parametrize("method", ["trf", "dogbox", "lm"])
def test_value_and_jacobian_of_residuals_come_from_one_evaluation(method):
    f = Counted(lambda x: np.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]]))
    result = least_squares(f, np.array([-1.2, 1.0]), method=method)
    assert len(f.xs) == len(f.points()) <= result.nfev
    assert result.njev > 5
    np.testing.assert_allclose(result.x, 1)


def test_value_and_jacobian_of_a_system_come_from_one_evaluation():
    system = lambda x: np.stack([x[0] + x[1] - 3, x[0] * x[1] - 2])
    lm, hybr = Counted(system), Counted(system)
    root(lm, np.array([0.5, 3.0]), method="lm")
    assert len(lm.xs) == len(lm.points())
    result = root(hybr, np.array([0.5, 3.0]))
    assert [type(x) for x in hybr.xs].count(np.ndarray) >= result.nfev - 1  # few Jacobians: the values stay plain


@pytest.mark.parametrize("how", [{}, {"bounds": (-9, 9)}, {"p0": {"scale": 1.0, "rate": 1.0, "shift": 0.1}}])
def test_model_and_jacobian_of_curve_fit_come_from_one_evaluation(how):
    seen = []

    def model(t, *params):
        a, b, c = params[0].values() if "p0" in how else params
        seen.append(np.array([np.asarray(getattr(p, "numpy", lambda p=p: p)()) for p in (a, b, c)]).tobytes())
        return decay(t, a, b, c)

    curve_fit(model, T, DATA, **{"p0": [1.0, 1.0, 0.1], **how})
    assert 3 < len(set(seen)) == len(seen)


def test_curve_fit_in_several_variables_and_with_a_jacobian_that_is_given():
    xs = np.stack([T, T**2])
    plane = lambda x, a, b: a * x[0] + b * x[1]
    np.testing.assert_allclose(curve_fit(plane, xs, plane(xs, 2.0, -3.0))[0], [2, -3])
    jac = Counted(decay_jacobian)
    curve_fit(decay, T, DATA, [1, 1, 0], jac=jac)
    assert jac.xs


def test_curve_fit_of_a_container():
    t = np.linspace(0, 2, 9)
    y = 2 * np.exp(-1.5 * t) + 0.25
    model = lambda t, p: p["scale"] * np.exp(p["rate"] * t) + p["floor"][0]
    start = {"scale": 1.0, "rate": -0.5, "floor": np.zeros(1)}
    popt, pcov = ad.optimize.curve_fit(model, t, y, start)
    expected, covariance = scipy_optimize.curve_fit(lambda t, a, b, c: a * np.exp(b * t) + c, t, y, [1, -0.5, 0])
    assert popt.keys() == start.keys() and popt["floor"].shape == (1,)
    np.testing.assert_allclose([popt["scale"], popt["rate"], popt["floor"][0]], expected, rtol=1e-6)
    np.testing.assert_allclose(pcov, covariance, rtol=1e-3, atol=1e-20)
    with pytest.raises(TypeError, match=r"^ad.optimize.curve_fit: x0.*'rate'.* is a str"):
        ad.optimize.curve_fit(model, t, y, {"scale": 1.0, "rate": "fast"})


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
