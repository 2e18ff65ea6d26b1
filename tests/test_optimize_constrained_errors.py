"""What constrained problems must not be, and that it is said before a solver starts."""
import numpy as np
import pytest
from objectives import CONSTANT, message
from scipy import optimize as scipy_optimize
from scipy import sparse
from scipy.optimize import SR1, Bounds, LinearConstraint, NonlinearConstraint

import ad
from ad.optimize import Problem, minimize

X0 = {"a": np.array([1.0, 2.0]), "b": 3.0}


def f(x):
    return np.sum(x["a"] ** 2) + x["b"] ** 2


@pytest.fixture(params=["minimize", "Problem"])
def said(request, monkeypatch):
    """What is wrong with a problem, according to the error, in which the name of the function is left out."""
    monkeypatch.setattr(scipy_optimize, "minimize", lambda *args, **kwargs: pytest.fail("the solver has started"))

    def error(f=f, x0=X0, **how):
        call = Problem if request.param == "Problem" else lambda *args, **how: minimize(*args, method="trust-constr",
                                                                                        **how)
        found = message(call, f, x0, **how)
        assert found.startswith(f"ad.optimize.{request.param}: ")
        return found.partition(": ")[2]

    return error


def test_x0(said):
    assert said(x0={"a": np.array([1.0, np.nan]), "b": 3.0}) == "x0['a'][1] is nan; start from finite numbers"
    assert said(x0={"a": np.array([1.0, 2.0]), "b": -np.inf}) == "x0['b'] is -inf; start from finite numbers"
    assert said(x0={"a": np.zeros(0), "b": []}) == "x0 is empty; give it at least one number to vary"


@pytest.mark.parametrize(("function", "text"), [
    (lambda x: x["a"], ("f returned an array of shape (2,); return one number: np.sum it, or, for a sum of squares, "
                       "give the array itself to ad.optimize.least_squares")),
    (lambda x: np.log(x["b"] - 9), "f is nan at x0; start where it is finite"),
    (lambda x: 3.0, CONSTANT),
    (lambda x: None, "f returned None: is there a return missing?"),
    (lambda x: np.sqrt(x["b"] - 3),
     ("the derivative of f by x0['b'] is inf at x0, where f is finite; start from another point, or guard f there with "
     "np.where")),
])
def test_functions(function, text, said):
    with np.errstate(all="ignore"):
        assert said(function) == text


LINE = lambda x: x["a"] + 1
FORM = "; write {'type': 'eq' or 'ineq', 'fun': function}"


@pytest.mark.parametrize(("constraints", "text"), [
    ({"type": "ineq"}, "a constraint is {'type': 'ineq'}" + FORM),
    ([{"type": "equal", "fun": 3}], "a constraint is {'type': 'equal', 'fun': 3}" + FORM),
    ([LINE], ("a constraint is a function; give a dict, or SciPy's NonlinearConstraint or LinearConstraint (bounds of "
             "the variables are given as bounds)")),
    (Bounds(0, 1), ("a constraint is a Bounds; give a dict, or SciPy's NonlinearConstraint or LinearConstraint (bounds "
                   "of the variables are given as bounds)")),
    (NonlinearConstraint(3, 0, 1), "the function of a NonlinearConstraint is an int"),
    ([LinearConstraint(np.eye(3), 0, 1), NonlinearConstraint(lambda x: None, 0, 1)],
     "constraint 2 of 2 returned None: is there a return missing?"),
    (NonlinearConstraint(lambda x: x["a"] * 1j, 0, 1),
     "constraint 1 of 1 returned values of dtype complex128; return its real part, or abs()"),
    (NonlinearConstraint(lambda x: np.log(x["a"] - 1.5), 0, 1),
     "constraint 1 of 1 is nan in element 0 of 2 at x0; start where it is finite"),
    (NonlinearConstraint(LINE, [0, 5, 0], 9),
     "the lower bound of constraint 1 of 1 has 3 numbers, and the constraint has 2"),
    (NonlinearConstraint(LINE, 0, []), "the upper bound of constraint 1 of 1 has 0 numbers, and the constraint has 2"),
    (NonlinearConstraint(LINE, [0, 5], [1, 4]),
     "the lower bound of constraint 1 of 1 is above the upper one in element 1: 5.0 > 4.0"),
    (NonlinearConstraint(LINE, [0, np.nan], 9),
     "the lower bound of constraint 1 of 1 is nan in element 1; give a number, or -np.inf for none"),
    (NonlinearConstraint(LINE, 0, -np.inf),
     "the upper bound of constraint 1 of 1 is -inf in element 0; give a number, or np.inf for none"),
    (LinearConstraint(np.eye(2), 0, 1), "the matrix of constraint 1 of 1 has 2 columns, and x0 has 3 elements"),
    (LinearConstraint(sparse.eye_array(2), 0, 1),
     "the matrix of constraint 1 of 1 has 2 columns, and x0 has 3 elements"),
    (LinearConstraint([[1, np.nan, 0]], 0, 1), "the matrix of constraint 1 of 1 has an element that is not finite"),
])
def test_constraints(constraints, text, said):
    with np.errstate(all="ignore"):
        assert said(constraints=constraints) == text


@pytest.mark.parametrize(("bounds", "text"), [
    (3, "bounds is an int; give SciPy's Bounds, or a (low, high) pair for each element"),
    ([(0, 1)] * 4, None),
    ([(0, 1), (0, 1, 2), (0, 1)], "bounds[1] is (0, 1, 2); give a (low, high) pair of numbers, or None for no bound"),
    ([(0, 1), (2, 1), (0, 1)], "the bounds of x0['a'][1] are 2.0 and 1.0"),
    ([(0, 1), (0, 1), (np.nan, 1)], "the bounds of x0['b'] are nan and 1.0"),
    ([(0, 1), (0, 1), (np.inf, None)], "the bounds of x0['b'] are inf and inf"),
    (Bounds([0, 0], 1), "there are 2 lower bounds, and x0 has 3 elements"),
    ({"a": (0, 1)}, "bounds['b'] is missing; give a (low, high) pair, or None, for x0['b']"),
])
def test_bounds(bounds, text, said):
    found = said(bounds=bounds)
    if text is None:
        return
    rest = ("; the lower one has to be at most the upper one, and neither may be NaN, nor infinite on the wrong side"
            if "bounds of" in text else "")
    assert found == text + rest


def test_pairs_for_another_number_of_elements(said):
    assert said(lambda x: np.sum(x), np.ones(3), bounds=[(0, 1)] * 4) == (
        "there are 4 pairs of bounds, and x0 has 3 elements")


@pytest.mark.parametrize(("constraint", "what"), [
    ({"type": "eq", "fun": LINE, "jac": lambda x: np.ones((2, 3))}, "a jac of its own"),
    (NonlinearConstraint(LINE, 0, 1, lambda x: np.ones((2, 3))), "a jac of its own"),
    (NonlinearConstraint(LINE, 0, 1, "3-point"), "jac='3-point'"),
    (NonlinearConstraint(LINE, 0, 1, hess=SR1()), "a hess of its own"),
])
def test_derivatives_of_constraints(constraint, what):
    assert message(Problem, f, X0, constraints=[constraint]) == (
        f"ad.optimize.Problem: constraint 1 of 1 has {what}, which this method does not use: its derivatives are exact "
        "and sparse; leave it out, or make the function an op with rules of your own (ad.ops.custom)")


@pytest.mark.parametrize("solver", ["ipopt", "uno"])
def test_derivatives_of_the_function(solver):
    assert message(minimize, f, X0, method=solver, jac=f, hess=f) == (
        f"ad.optimize.minimize: {solver} takes no jac and no hess: its derivatives are exact and sparse; leave it "
        "out, or make f an op with rules of your own (ad.ops.custom)")


UNTRACEABLE = lambda x: np.asarray(x[0]) + 0 * x[0]


@pytest.mark.parametrize(("method", "rest"), [
    ("trust-constr", ('Or give jac="2-point", for finite differences by SciPy.',
                      'Or give the constraint jac="3-point", for finite differences by SciPy.')),
    (None, ("or ad.stop_gradient(x).",) * 2),
])
def test_functions_that_cannot_be_differentiated(method, rest):
    """The methods that take no derivatives of one's own do not offer differences."""
    def said(f, **how):
        if method is None:
            return message(Problem, f, [1.0, 2.0], **how)
        return message(minimize, f, [1.0, 2.0], method=method, **how)

    found = said(UNTRACEABLE)
    assert ": f cannot be differentiated. " in found and found.endswith(rest[0])
    found = said(lambda x: x @ x, constraints=[{"type": "eq", "fun": UNTRACEABLE}])
    assert ": constraint 1 of 1 cannot be differentiated. " in found and found.endswith(rest[1])


def test_differences_of_a_constraint_on_request():
    result = minimize(lambda x: np.sum((x - 2) ** 2), [1.0, 2.0], method="trust-constr",
                      constraints=NonlinearConstraint(lambda x: np.asarray(x[0]) ** 2, -np.inf, 1, jac="3-point"))
    np.testing.assert_allclose(result.x, [1, 2], atol=1e-3)


def test_a_constraint_that_changes_its_shape():
    def c(x):
        return x[:1] if x[0] < 0.5 else x

    found = message(minimize, lambda x: np.sum((x - 2) ** 2), [0.0, 0.0], constraints=NonlinearConstraint(c, -9, 1),
                    method="trust-constr")
    assert found == ("ad.optimize.minimize: constraint 1 of 1 returned 1 number at x0, and 2 at another x; it has to "
                     "return as many at every x")


def test_a_branch_that_depends_on_more():
    """The Jacobian has one entry at x0, and another besides later, for which the solver has no place."""
    def c(x):
        return x[:1] * x[1:] if x[0] > 0.5 else x[:1]

    found = message(minimize, lambda x: np.sum((x - 2) ** 2), [0.0, 0.0], constraints=NonlinearConstraint(c, -9, 1),
                    method="trust-constr")
    assert found == (
        "ad.optimize.minimize: the Jacobian of the constraints has an entry (0, 1) that it had not at x0, since a "
        "function takes another branch now; write the branch with np.where, so that the structure is the same "
        "everywhere, or start from another x0")


def test_a_constraint_that_does_not_depend_on_x():
    with pytest.warns(ad.IndependentWarning, match="constraint 2 of 2 does not depend on x"):
        Problem(f, X0, constraints=[{"type": "eq", "fun": LINE}, {"type": "ineq", "fun": lambda x: np.ones(2)}])
