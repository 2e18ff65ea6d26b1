"""The examples of sparse derivatives and constrained optimization, against independent solvers and differences."""
import importlib
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, optimize, sparse

pytest.importorskip("matplotlib", reason="matplotlib draws the pictures of the examples")

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def load(monkeypatch):
    """Imports an example as a module."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


def test_minimal_surface_is_scipys(load):
    example = load("minimal_surface")
    boundary, lower = example.frame(20), example.obstacle(20)[1:-1, 1:-1]
    z, held, _ = example.newton(np.zeros(lower.shape), lower, boundary)
    reference = optimize.minimize(lambda x: example.area(x.reshape(z.shape), boundary), np.maximum(lower, 0).ravel(),
                                  method="L-BFGS-B", bounds=optimize.Bounds(lower.ravel()),
                                  options={"maxfun": 10**6, "maxiter": 2000, "ftol": 1e-12})
    assert example.area(z, boundary) == pytest.approx(reference.fun, rel=1e-6)
    np.testing.assert_allclose(z.ravel(), reference.x, atol=3e-3)
    assert held.any() and np.all(z[held] == lower[held]) and np.all(z >= lower)


def test_minimal_surface_without_an_obstacle_is_scherks(load):
    """H. F. Scherk's surface, 1835: log(cos(y) / cos(x))."""
    example = load("minimal_surface")
    s = np.linspace(-1, 1, 40)
    scherk = np.log(np.cos(s[:, None]) / np.cos(s))
    boundary = scherk.copy()
    boundary[1:-1, 1:-1] = 0
    z, held, _ = example.newton(np.zeros((38, 38)), np.full((38, 38), -10.0), boundary)
    assert not held.any()
    np.testing.assert_allclose(z, scherk[1:-1, 1:-1], atol=2e-3)


def test_minimal_surface_converges_quadratically(load):
    example = load("minimal_surface")
    _, _, steps = example.newton(np.zeros((18, 18)), example.obstacle(20)[1:-1, 1:-1], example.frame(20))
    areas, _, slopes = np.array(steps).T
    assert np.all(np.diff(areas) < 1e-13) and slopes[-1] < 1e-10 and slopes[-2] < slopes[-3] ** 1.4


def test_rocket_rises_as_high_as_published(load):
    """The best height is 1.01283; a grid of 60 steps is coarse, and no grid may be much better."""
    example = load("rocket_control")
    result = example.solve(60, example.TRUST_CONSTR)
    assert result.success and 1.0126 < -result.fun < 1.0129
    assert max(np.abs(v).max() for v in example.motion(result.x).values()) < 1e-5


def test_rocket_flies_as_planned(load):
    """SciPy integrates the equations of motion, written down again, with the thrust of the plan."""
    example = load("rocket_control")
    plan = example.solve(60, example.TRUST_CONSTR).x
    times = np.linspace(0, float(plan["time"]), 61)

    def rates(t, state):
        h, v, m = state
        thrust = np.interp(t, times, plan["thrust"])
        return [v, (thrust - 0.5 * 620 * v**2 * np.exp(500 * (1 - h))) / m - h**-2.0, -thrust / 0.5]

    flown = integrate.solve_ivp(rates, (0, times[-1]), [1, 0, 1], t_eval=times, rtol=1e-9, atol=1e-9, max_step=1e-3)
    np.testing.assert_allclose(flown.y[0], plan["height"], atol=2e-4)
    np.testing.assert_allclose(flown.y[1], plan["speed"], atol=4e-3)
    np.testing.assert_allclose(flown.y[2], plan["mass"], atol=1e-3)


def test_rocket_by_ipopt_burns_full_then_less_then_nothing(load):
    pytest.importorskip("cyipopt")
    example = load("rocket_control")
    result = example.solve(400, example.IPOPT)
    thrust = result.x["thrust"]
    assert -result.fun == pytest.approx(1.01283, abs=2e-5)
    assert thrust[:40].min() > 3.4 and thrust[-200:].max() < 0.01 and 2 < thrust[80] < 2.6


def test_truss_stiffness_matrix_has_the_compliance(load):
    """Displacements from the assembled stiffness matrix, which the example does not form."""
    example = load("truss")
    truss = example.ground_structure()
    forces, areas, steps = example.solve(truss)
    np.testing.assert_allclose(truss.balance @ forces.T, -truss.loads.T, atol=1e-8)
    assert np.sum(areas * truss.length) == pytest.approx(example.VOLUME)
    stiffness = truss.balance @ sparse.diags_array(areas / truss.length) @ truss.balance.T
    moved = np.linalg.solve(stiffness.toarray(), truss.loads.T)
    assert np.sum(moved * truss.loads.T) / 2 == pytest.approx(steps[-1][2], rel=5e-3)


def test_truss_is_nearly_the_best(load):
    """A lower bound by duality: displacements under which no member stretches too much do little work."""
    example = load("truss")
    truss = example.ground_structure()
    _, areas, steps = example.solve(truss)
    stiffness = truss.balance @ sparse.diags_array(areas / truss.length) @ truss.balance.T
    moved = np.linalg.solve(stiffness.toarray(), truss.loads.T)
    strain = np.sqrt(np.sum((truss.balance.T @ moved) ** 2, axis=1)) / truss.length
    bound = np.sum(moved * truss.loads.T / strain.max()) ** 2 / (2 * example.VOLUME)
    assert 0.8 * steps[-1][2] < bound <= steps[-1][2]


@pytest.fixture
def likelihood(load):
    example = load("random_effects")
    return example, example.Laplace(example.simulate()[0])


def test_random_effects_laplace_approximation(likelihood):
    """The dense Hessian by differences, and the gradient by differences of the value."""
    example, laplace = likelihood
    theta = example.TRUTH - 0.1
    value, gradient = laplace(theta)
    u, data = laplace.effects.copy(), laplace.data
    x = np.zeros((data.student.size, u.size))
    rows = np.arange(data.student.size)
    x[rows, data.student], x[rows, example.STUDENTS + data.task] = np.exp(theta[2]), np.exp(theta[3])
    p = 1 / (1 + np.exp(-theta[0] - theta[1] * data.trained - x @ u))
    np.testing.assert_allclose(x.T @ (data.solved - p), u, atol=1e-8)  # the mode
    _, log_det = np.linalg.slogdet(x.T @ ((p * (1 - p))[:, None] * x) + np.eye(u.size))
    density = -np.sum(data.solved * np.log(p) + (1 - data.solved) * np.log(1 - p)) + u @ u / 2
    assert value == pytest.approx(density + log_det / 2, rel=1e-10)
    differences = [(laplace(theta + h)[0] - laplace(theta - h)[0]) / 2e-4 for h in 1e-4 * np.eye(4)]
    np.testing.assert_allclose(gradient, differences, rtol=1e-5, atol=1e-5)


def test_random_effects_fit_is_near_the_truth(likelihood):
    example, laplace = likelihood
    result, errors, fitted = example.fit(laplace.data)
    assert result.success and np.abs(result.jac).max() < 1e-4 and np.all(errors < 0.2)
    assert np.all(np.abs(result.x - example.TRUTH) < 3 * errors)
    assert np.corrcoef(fitted.effects, example.simulate()[1])[0, 1] > 0.8
