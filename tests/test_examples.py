"""Every file in examples/ runs, saves a picture, and finds what it says; references are SciPy's and published ones."""
import functools
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, optimize, signal, special, stats

import ad

pytest.importorskip("matplotlib", reason="matplotlib draws the pictures of the examples")

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("[!_]*.py"))


def run(name, directory, *arguments):
    """What an example prints when it is run in a directory."""
    paths = [str(Path(ad.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]  # ad may be built in place
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *arguments], cwd=directory, timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}, capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Runs an example once: the directory that it ran in and what it printed."""

    @functools.cache
    def of(name):
        directory = tmp_path_factory.mktemp(name)
        return directory, run(name, directory)

    return of


@pytest.fixture
def load(monkeypatch):
    """Imports an example as a module."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


def rows(printed):
    """The lines `name estimate +- error` of a table."""
    found = re.findall(r"^  (.+?) +(-?\d+\.\d+) \+- (\d+\.\d+)", printed, re.MULTILINE)
    names, estimates, errors = zip(*found)
    return names, np.array(estimates, float), np.array(errors, float)


def pixels(path):
    from matplotlib.image import imread

    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    return imread(path)[..., :3]


@pytest.mark.parametrize("name", NAMES)
def test_saves_a_picture(finished, name):
    directory, printed = finished(name)
    assert [path.name for path in directory.iterdir()] == [f"{name}.png"]
    assert f"picture: {name}.png" in printed
    image = pixels(directory / f"{name}.png")
    assert image.shape[0] >= 400 and image.shape[1] >= 800
    for part in np.array_split(image, 2, axis=1):  # a panel in each half
        assert part.std() > 0.03 and len(np.unique(part.reshape(-1, 3), axis=0)) > 50


def test_out_names_a_directory(tmp_path):
    run("logistic_newton", tmp_path, "--out", "made/here")
    assert [path.name for path in tmp_path.rglob("*.png")] == ["logistic_newton.png"]
    assert (tmp_path / "made" / "here" / "logistic_newton.png").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_import_does_nothing(load, name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert callable(load(name).main)
    assert not list(tmp_path.iterdir()) and capsys.readouterr().out == ""


def test_logistic_newton_solves_the_score_equations(finished, load):
    names, beta, errors = rows(finished("logistic_newton")[1])
    X, vote = load("logistic_newton").load()
    score = lambda b: X.T @ (vote - special.expit(X @ b))
    expected = optimize.root(score, np.zeros(X.shape[1])).x
    weights = special.expit(X @ expected) * special.expit(-X @ expected)
    assert len(names) == X.shape[1] == 8
    np.testing.assert_allclose(beta, expected, atol=6e-4)
    np.testing.assert_allclose(errors, np.sqrt(np.diag(np.linalg.inv(X.T * weights @ X))), atol=6e-4)


def test_logistic_newton_converges_quadratically(load):
    example = load("logistic_newton")
    X, vote = example.load()
    _, sizes = example.newton(lambda beta: example.negative_log_likelihood(beta, X, vote), np.zeros(X.shape[1]))
    assert len(sizes) < 10 and sizes[-1] < 1e-9
    assert sizes[-2] < 0.1 * sizes[-3] ** 1.5


def test_ode_fit_solver_agrees_with_scipy(load):
    example = load("ode_fit")
    p = example.GUESS
    reference = integrate.solve_ivp(
        lambda t, state: [p[0] * state[0] - p[1] * state[0] * state[1], p[3] * state[0] * state[1] - p[2] * state[1]],
        (0, 20), p[4:], rtol=1e-10, atol=1e-10, t_eval=np.arange(21),
    )
    np.testing.assert_allclose(example.solve(np.log(p))[:: example.STEPS].T, np.log(reference.y), atol=1e-3)


def test_ode_fit_agrees_with_the_published_posterior(finished):
    """The means and standard deviations that Stan samples: B. Carpenter, "Predator-prey population dynamics", 2018."""
    _, estimates, errors = rows(finished("ode_fit")[1])
    mean = np.array([0.545, 0.028, 0.803, 0.024, 33.956, 5.933])
    deviation = np.array([0.064, 0.004, 0.092, 0.004, 2.856, 0.535])
    assert np.all(np.abs(estimates - mean) < deviation)
    np.testing.assert_allclose(errors, deviation, rtol=0.2)  # which is given to one digit where it is small


def test_ode_fit_is_a_minimum(load):
    example = load("ode_fit")
    log_p, _, sums = example.gauss_newton(np.log(example.GUESS))
    reference = optimize.least_squares(example.residuals, log_p, xtol=1e-12, ftol=1e-12)
    assert sums[-1] < sums[0] / 2
    np.testing.assert_allclose(sums[-1], 2 * reference.cost, rtol=1e-10)


def test_gaussian_process_likelihood_is_scipys(load):
    example = load("gaussian_process")
    _, _, t, y = example.simulate()
    amplitude, length, noise = example.GUESS
    K = amplitude**2 * np.exp(-0.5 * np.subtract.outer(t, t) ** 2 / length**2) + noise**2 * np.eye(t.size)
    expected = stats.multivariate_normal(np.zeros(t.size), K).logpdf(y)
    assert -example.negative_log_likelihood(np.log(example.GUESS), t, y) == pytest.approx(expected, rel=1e-10)


def test_gaussian_process_fit_is_a_minimum_near_the_truth(load):
    example = load("gaussian_process")
    _, _, t, y = example.simulate()
    guess = np.log(example.GUESS)
    result, errors = example.fit(guess, t, y)
    f = lambda log_theta: example.negative_log_likelihood(log_theta, t, y)
    assert result.success and result.fun < f(guess) - 20
    assert np.max(np.abs(optimize.approx_fprime(result.x, f, 1e-6))) < 1e-3
    assert np.all(np.abs(result.x - np.log(example.TRUTH)) < 3 * errors) and np.all(errors < 0.5)


def test_garch_variances_are_a_linear_filter(load):
    example = load("garch")
    r, v = example.simulate()
    omega, alpha, beta = example.TRUTH
    start = omega / (1 - alpha - beta)
    filtered, _ = signal.lfilter([1], [1, -beta], omega + alpha * r[:-1] ** 2, zi=[beta * start])
    np.testing.assert_allclose(v[1:], filtered, rtol=1e-12)
    fitted = example.variances(example.TRUTH, r)
    decay = beta ** np.arange(r.size)  # of the only difference: where they start
    np.testing.assert_allclose(fitted - v, decay * (np.var(r) - start), atol=1e-12)


def test_garch_fit_is_a_maximum_near_the_truth(load):
    example = load("garch")
    r, _ = example.simulate()
    result, estimates, errors = example.fit(r)
    f = lambda u: example.negative_log_likelihood(u, r)
    assert result.success and result.fun < f(example.unconstrained(example.TRUTH))
    assert np.max(np.abs(optimize.approx_fprime(result.x, f, 1e-6))) < 1e-2
    assert np.all(np.abs(estimates - example.quantities(example.TRUTH)) < 3 * errors)
    assert np.all(errors[:3] < [0.03, 0.03, 0.05])


def test_garch_printed_errors_are_those_of_a_numerical_hessian(finished, load):
    """In the parameters themselves: no change of variables and no delta method."""
    example = load("garch")
    r, _ = example.simulate()
    names, estimates, errors = rows(finished("garch")[1])
    f = lambda theta: example.negative_log_likelihood(example.unconstrained(theta), r)
    x, steps = estimates[:3], np.diag([1e-4, 1e-4, 1e-4])
    hessian = [[(f(x + a + b) - f(x + a - b) - f(x - a + b) + f(x - a - b)) / 4e-8 for a in steps] for b in steps]
    covariance = np.linalg.inv(hessian)
    assert names[:4] == ("omega", "alpha", "beta", "alpha + beta")
    np.testing.assert_allclose(errors[:3], np.sqrt(np.diag(covariance)), rtol=0.02)
    assert errors[3] == pytest.approx(np.sqrt(covariance[1:, 1:].sum()), rel=0.02)


@pytest.mark.parametrize("method", ["BFGS", "Newton-CG", "trust-exact"])
def test_rosenbrock_paths_are_those_of_derivatives_by_hand(load, method):
    example = load("rosenbrock_paths")
    path = [example.START]
    derivatives = {"jac": optimize.rosen_der} | ({} if method == "BFGS" else {"hess": optimize.rosen_hess})
    optimize.minimize(optimize.rosen, example.START, method=method, callback=lambda x: path.append(x.copy()),
                      **derivatives)
    found = example.minimize(method)
    assert found.shape == np.shape(path)
    np.testing.assert_allclose(found, path, atol=1e-5)
    np.testing.assert_allclose(found[-1], [1, 1], atol=1e-4)


def test_rosenbrock_paths_of_gradients_are_longer(finished):
    _, printed = finished("rosenbrock_paths")
    counts = dict(re.findall(r"^  (\S.*?) +(?:not )?below 1e-6 (?:after|in) (\d+) steps", printed, re.MULTILINE))
    assert list(counts) == ["SGD with momentum", "RMSprop", "Adam", "BFGS", "Newton-CG", "trust-exact"]
    steps = [int(count) for count in counts.values()]
    assert min(steps[:3]) > 1000 and max(steps[3:]) < 150


def test_rosenbrock_momentum_is_polyaks(load):
    """B. T. Polyak's heavy ball, 1964."""
    example = load("rosenbrock_paths")
    x = last = example.START
    expected = [x]
    for _ in range(30):
        x, last = x - 1e-3 * optimize.rosen_der(x) + 0.9 * (x - last), x
        expected.append(x)
    found = example.train(ad.optimizers.SGD(learning_rate=1e-3, momentum=0.9))
    np.testing.assert_allclose(found[:31], expected, rtol=1e-6)
    np.testing.assert_allclose(found[-1], [1, 1], atol=1e-3)


def test_two_moons_are_half_circles(load, rng):
    points, label = load("two_moons").moons(200, rng, noise=0.0)
    upper, lower = points[label == 0], points[label == 1]
    np.testing.assert_allclose(np.linalg.norm(upper, axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(lower - [1, 0.5], axis=1), 1)
    assert len(upper) == len(lower) and upper[:, 1].min() >= 0 and lower[:, 1].max() <= 0.5


def test_two_moons_are_learnt(finished):
    printed = finished("two_moons")[1]
    before, after = (float(share) for share in re.findall(r"(\d+\.\d)% of new points right", printed))
    first, last = map(float, re.search(r"cross-entropy (\d\.\d+) -> (\d\.\d+)", printed).groups())
    assert before < 70 and after > 95
    assert first > 0.5 and last < 0.2
