"""The hyperparameters of a Gaussian process, by maximising the marginal likelihood.

A function seen through noise at 60 points. The likelihood goes through a Cholesky factor and a linear solve of
NumPy; `ad` differentiates both, twice, so that a trust-region Newton method finds the amplitude, the length scale and
the noise, and the Hessian gives their standard errors. All three are positive: their logarithms are fitted.
"""
from pathlib import Path
from typing import Any

import numpy as np
from _picture import BLUE, GREY, INK, ORANGE, output_directory, picture
from numpy.typing import NDArray

import ad

Floats = NDArray[np.float64]

NAMES = ("amplitude", "length scale", "noise")
TRUTH = np.array([1.0, 0.8, 0.25])
GUESS = np.array([1.0, 4.0, 1.0])


def kernel(s: Floats, t: Floats, log_theta: Floats) -> Floats:
    """The squared-exponential covariance of function values at `s` and `t`."""
    amplitude, length = np.exp(log_theta[:2])
    K: Floats = amplitude**2 * np.exp(-0.5 * ((s[:, None] - t) / length) ** 2)
    return K


def covariance(t: Floats, log_theta: Floats) -> Floats:
    """Of noisy observations at `t`."""
    noise: Floats = np.exp(2 * log_theta[2]) * np.eye(t.size)
    return kernel(t, t, log_theta) + noise


def negative_log_likelihood(log_theta: Floats, t: Floats, y: Floats) -> np.float64:
    L = np.linalg.cholesky(covariance(t, log_theta))
    z = np.linalg.solve(L, y)
    value: np.float64 = 0.5 * z @ z + np.sum(np.log(np.diag(L))) + 0.5 * y.size * np.log(2 * np.pi)
    return value


def fit(guess: Floats, t: Floats, y: Floats) -> tuple[Any, Floats]:
    """SciPy's result for the logarithms of the hyperparameters, and their standard errors."""
    result = ad.optimize.minimize(negative_log_likelihood, guess, args=(t, y), method="trust-exact", tol=1e-6)
    hessian = ad.hessian(negative_log_likelihood)(result.x, t, y)
    return result, np.sqrt(np.diag(np.linalg.inv(hessian)))


def simulate(n: int = 60, seed: int = 7) -> tuple[Floats, Floats, Floats, Floats]:
    """A sample of the process with the true hyperparameters: a grid, the function on it, and noisy data (t, y)."""
    rng = np.random.default_rng(seed)
    grid = np.linspace(0, 10, 401)
    L = np.linalg.cholesky(kernel(grid, grid, np.log(TRUTH)) + 1e-9 * np.eye(grid.size))
    function = L @ rng.standard_normal(grid.size)
    seen = np.sort(rng.choice(grid.size, n, replace=False))
    return grid, function, grid[seen], function[seen] + TRUTH[2] * rng.standard_normal(n)


def posterior(grid: Floats, t: Floats, y: Floats, log_theta: Floats) -> tuple[Floats, Floats]:
    """The mean and the standard deviation of the function, given the data."""
    cross = kernel(grid, t, log_theta)
    weights = np.linalg.solve(covariance(t, log_theta), cross.T)
    variance = np.exp(2 * log_theta[0]) - np.sum(cross.T * weights, axis=0)
    return weights.T @ y, np.sqrt(np.maximum(variance, 0))


def draw(path: Path, grid: Floats, function: Floats, t: Floats, y: Floats, fits: dict[str, Floats]) -> None:
    with picture(path, 2, sharey=True) as panels:
        for panel, (title, log_theta), color in zip(panels, fits.items(), (ORANGE, BLUE)):
            mean, deviation = posterior(grid, t, y, log_theta)
            panel.fill_between(grid, mean - 1.96 * deviation, mean + 1.96 * deviation, color=color, alpha=0.2,
                               linewidth=0, label="95 % band")
            panel.plot(grid, mean, color=color, label="posterior mean")
            panel.plot(grid, function, "--", color=GREY, linewidth=1.2, label="true function")
            panel.plot(t, y, "o", color=INK, markersize=3, label="data")
            value = -negative_log_likelihood(log_theta, t, y)
            panel.set(xlabel="t", title=f"{title}: log-likelihood {value:.1f}")
        panels[0].set(ylabel="y", ylim=(-3.2, 2.0))
        panels[1].legend(loc="upper center", ncols=2)


def main(out: Path) -> None:
    grid, function, t, y = simulate()
    guess = np.log(GUESS)
    result, errors = fit(guess, t, y)
    print(f"log-likelihood {-negative_log_likelihood(guess, t, y):.3f} at the guess, {-result.fun:.3f} after "
          f"{result.nit} steps; |gradient| = {np.linalg.norm(result.jac):.1e}")
    for name, estimate, error, true in zip(NAMES, result.x, errors, TRUTH):
        low, middle, high = np.exp(estimate + 1.96 * error * np.array([-1, 0, 1]))
        print(f"  {name:<14}{middle:7.3f}   95 % interval {low:.3f} to {high:.3f}   truth {true}")
    draw(out / "gaussian_process.png", grid, function, t, y, {"Guess": guess, "Fitted": result.x})


if __name__ == "__main__":
    main(output_directory(__doc__))
