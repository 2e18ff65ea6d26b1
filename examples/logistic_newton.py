"""Logistic regression by Newton's method with exact Hessians.

Who expected to vote for Dole in 1996? The model is its likelihood in NumPy; the gradient and the Hessian come from
`ad`, and the inverse Hessian at the maximum gives the standard errors.
"""
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
from _picture import BLUE, GREY, LIGHT, ORANGE, output_directory, picture
from numpy.typing import NDArray

import ad

Floats = NDArray[np.float64]

FEATURES = {
    "PID": "party (Republican)", "selfLR": "own position (right)", "DoleLR": "sees Dole as right",
    "ClinLR": "sees Clinton as right", "income": "income", "educ": "education", "age": "age",
}


def load() -> tuple[Floats, Floats]:
    """Features in units of their standard deviation, a column of ones first, and the votes: 1.0 for Dole."""
    with (files("ad.data") / "anes96.csv").open(encoding="utf-8") as file:
        table = np.genfromtxt(file, delimiter=",", names=True)
    features = np.stack([table[name] for name in FEATURES], axis=1)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    return np.column_stack([np.ones(len(features)), features]), table["vote"]


def negative_log_likelihood(beta: Floats, X: Floats, vote: Floats) -> np.float64:
    eta = X @ beta
    return np.sum(np.logaddexp(0.0, eta) - vote * eta)


def newton(f: Callable[[Floats], np.float64], x: Floats, tolerance: float = 1e-9) -> tuple[Floats, list[float]]:
    """The minimum of a convex `f`, and the size of the gradient at every iterate."""
    gradient, hessian = ad.grad(f), ad.hessian(f)
    sizes: list[float] = []
    for _ in range(50):
        slope = gradient(x)
        sizes.append(float(np.linalg.norm(slope)))
        if sizes[-1] < tolerance:
            return x, sizes
        x = x - np.linalg.solve(hessian(x), slope)
    raise RuntimeError(f"|gradient| = {sizes[-1]:.1e} after {len(sizes)} steps")


def gradient_descent(f: Callable[[Floats], np.float64], x: Floats, rate: float, steps: int) -> list[float]:
    """The size of the gradient at every iterate."""
    gradient = ad.grad(f)
    sizes = []
    for _ in range(steps):
        slope = gradient(x)
        sizes.append(float(np.linalg.norm(slope)))
        x = x - rate * slope
    return sizes


def draw(path: Path, beta: Floats, errors: Floats, by_newton: list[float], by_descent: list[float]) -> None:
    with picture(path, 2) as (left, right):
        left.loglog(1 + np.arange(len(by_descent)), by_descent, color=ORANGE, label="gradient descent")
        left.loglog(1 + np.arange(len(by_newton)), by_newton, "o-", color=BLUE, label="Newton's method")
        left.set(xlabel="evaluation", ylabel="length of the gradient", title="Convergence")
        left.set_xticks([1, 10, 100], ["1", "10", "100"])
        left.legend()
        rows = np.arange(len(FEATURES))
        right.axvline(0, color=GREY, linewidth=1)
        right.errorbar(beta[1:], rows, xerr=1.96 * errors[1:], fmt="o", color=BLUE, ecolor=BLUE, capsize=3)
        right.set_yticks(rows, list(FEATURES.values()))
        right.grid(axis="x", color=LIGHT)
        right.set(xlabel="log-odds for Dole per standard deviation", title="Coefficients, 95 % intervals",
                  ylim=(len(FEATURES) - 0.5, -0.5))


def main(out: Path) -> None:
    X, vote = load()

    def f(beta: Floats) -> np.float64:
        return negative_log_likelihood(beta, X, vote)

    start = np.zeros(X.shape[1])
    beta, by_newton = newton(f, start)
    errors = np.sqrt(np.diag(np.linalg.inv(ad.hessian(f)(beta))))
    by_descent = gradient_descent(f, start, rate=4 / float(np.linalg.norm(X, 2)) ** 2, steps=300)
    print(f"Newton's method: |gradient| = {by_newton[-1]:.1e} after {len(by_newton) - 1} steps; "
          f"gradient descent: {by_descent[-1]:.1e} after {len(by_descent) - 1}")
    for name, b, error in zip(["constant", *FEATURES.values()], beta, errors):
        print(f"  {name:<22}{b:8.3f} +- {error:.3f}")
    draw(out / "logistic_newton.png", beta, errors, by_newton, by_descent)


if __name__ == "__main__":
    main(output_directory(__doc__))
