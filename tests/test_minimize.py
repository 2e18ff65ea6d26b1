"""`ad.optimize.minimize` against SciPy's with derivatives by hand, and what it calls the user's functions with."""
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
from objectives import DERIVATIVES, METHODS_HERE, START, Counted, rosen
from scipy import optimize as scipy_optimize
from scipy.optimize import Bounds, LinearConstraint, NonlinearConstraint

import ad
from ad.optimize import minimize
from ad.optimize.minimizers import MAX_DENSE, METHODS

# What the results of the methods that take sparse derivatives have besides SciPy's fields.
ADDED = {"bound_multipliers", "evaluation_time", "evaluations", "failed_evaluations", "info", "multipliers",
         "setup_time", "solver_time"}


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
    assert type(ours) is type(scipys)
    assert set(ours) == set(scipys) | (ADDED if method == "trust-constr" else set())


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


@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg", "trust-krylov", "trust-exact", "dogleg"])
def test_a_hessian_takes_one_more_evaluation(method):
    f = Counted(rosen)
    result = minimize(f, START, method=method)
    assert len(f.points()) < len(f.xs) <= len(f.points()) + result.nhev + 1  # result.hess comes after SciPy's count


@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg", "trust-krylov"])
def test_products_beyond_a_hundred_variables(method):
    f = Counted(rosen)
    x0 = np.full(MAX_DENSE + 1, 1.1)
    result = minimize(f, x0, method=method)
    assert result.success
    np.testing.assert_allclose(result.x, 1, rtol=0.05)
    assert len(f.xs) <= 2 * len(f.points())
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
