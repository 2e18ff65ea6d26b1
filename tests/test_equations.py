"""`least_squares`, `root` and `curve_fit` of `ad.optimize` against scipy.optimize with derivatives by hand."""
import inspect

import numpy as np
import pytest
from objectives import (
    CONSTANT,
    DATA,
    Counted,
    T,
    decay,
    decay_jacobian,
    equations,
    equations_jacobian,
    message,
)
from scipy import optimize as scipy_optimize
from scipy.optimize import Bounds

import ad
from ad.optimize import curve_fit, least_squares, root


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


@pytest.mark.parametrize("method", scipy_optimize._root.ROOT_METHODS)
def test_root(method):
    by_hand = {"jac": equations_jacobian} if method in ("hybr", "lm") else {}
    ours = root(equations, [0.1, 0.2], method=method)
    scipys = scipy_optimize.root(equations, [0.1, 0.2], method=method, **by_hand)
    assert ours.success
    np.testing.assert_allclose(ours.x, scipys.x, rtol=1e-5 if method == "krylov" else 1e-8)
    assert set(ours) == set(scipys)
    assert ours.nfev < scipys.nfev if method == "krylov" else ours.nfev == scipys.nfev  # products cost no evaluations


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
