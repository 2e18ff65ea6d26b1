"""`python -m ad`: a logistic regression on real data by Newton's method, then a training loop.

NumPy is enough to run it. The model is plain NumPy code; `ad` differentiates it as it stands.
"""
import sys
import time
from importlib.resources import files

import numpy as np

import ad

__all__ = ["check", "fit", "likelihood", "load", "main", "numerical_gradient", "numerical_hessian", "train"]

FEATURES = ("selfLR", "age", "educ", "income", "PID")
LABELS = {
    "selfLR": "liberal (1) to conservative (7)",
    "age": "age in years",
    "educ": "education, 1 to 7",
    "income": "household income, 1 to 24",
    "PID": "Democrat (0) to Republican (6)",
}


def load():
    """The design matrix (944, 6), a column of ones first, and the votes (944,): 1.0 for Dole."""
    with (files("ad") / "data" / "anes96.csv").open(encoding="utf-8") as lines:
        names = next(lines).strip().split(",")
        columns = dict(zip(names, np.loadtxt(lines, delimiter=",").T))
    vote = columns["vote"]
    return np.stack([np.ones_like(vote), *(columns[name] for name in FEATURES)], axis=1), vote


def likelihood(X, vote):
    """The negative log-likelihood of a logistic regression, as a function of its coefficients."""

    def negative_log_likelihood(beta):
        eta = X @ beta
        return np.sum(np.logaddexp(0.0, eta) - vote * eta)

    return negative_log_likelihood


def fit(f, beta, tolerance=1e-10, max_iterations=50):
    """Minimise a convex `f` by Newton's method.

    Returns
    -------
    beta : ndarray
    steps : list of (float, float)
        The value and the largest element of the gradient, at every iterate.
    """
    value_and_grad, hessian = ad.value_and_grad(f), ad.hessian(f)
    steps = []
    for _ in range(max_iterations):
        value, gradient = value_and_grad(beta)
        steps.append((float(value), float(np.abs(gradient).max())))
        if steps[-1][1] < tolerance * max(1.0, abs(value)):
            return beta, steps
        beta = beta - np.linalg.solve(hessian(beta), gradient)
    raise RuntimeError(f"Newton's method has not converged in {max_iterations} steps: |gradient| = {steps[-1][1]:.1e}")


def numerical_gradient(f, beta):
    """The gradient of `f` by central differences."""
    steps = np.diag(1e-5 * np.maximum(1e-2, np.abs(beta)))
    return np.array([(f(beta + a) - f(beta - a)) / (2 * a.sum()) for a in steps])


def numerical_hessian(f, beta):
    """The Hessian of `f` by second central differences: no derivative of ours has a part in it."""
    steps = np.diag(2e-3 * np.maximum(1e-2, np.abs(beta)))

    def second(a, b):
        corners = f(beta + a + b) - f(beta + a - b) - f(beta - a + b) + f(beta - a - b)
        return corners / (4 * a.sum() * b.sum())

    return np.array([[second(a, b) for b in steps] for a in steps])


def check(f, beta):
    """The relative errors of `ad`'s derivatives of `f` near its minimum, against central differences.

    Raises
    ------
    ArithmeticError
        If one of them is larger than central differences can explain.
    """
    aside = 0.9 * beta  # at the minimum itself the gradient is zero
    errors = {}
    for name, ours, reference, bound in (
        ("gradient", ad.grad(f)(aside), numerical_gradient(f, aside), 1e-7),
        ("Hessian", ad.hessian(f)(beta), numerical_hessian(f, beta), 1e-5),
    ):
        errors[name] = float(np.max(np.abs(ours - reference)) / np.max(np.abs(reference)))
        if not errors[name] < bound:
            raise ArithmeticError(f"{name} and central differences disagree: relative error {errors[name]:.1e}")
    return errors


def train(steps=100):
    """Minimise x**2 by gradient descent on a tape."""
    x = ad.Variable(-1.0)
    optimizer = ad.optimizers.SGD(learning_rate=0.1)
    for _ in range(steps):
        with ad.GradientTape() as tape:
            loss = x**2
        grads = tape.gradient(loss, [x])
        optimizer.apply_gradients(zip(grads, [x]))
    return x.numpy()


def report_fit(beta, errors, steps, seconds):
    print(f"\n  step   -log L           |gradient|     ({seconds * 1e3:.0f} ms)")
    for i, (value, slope) in enumerate(steps):
        print(f"  {i:4d}   {value:.8f}   {slope:10.1e}")
    print(f"\n  {'coefficient':<14}{'estimate':>10}{'std. error':>12}{'z':>9}")
    for name, b, error in zip(("constant", *FEATURES), beta, errors):
        print(f"  {name:<14}{b:10.4f}{error:12.4f}{b / error:9.2f}   {LABELS.get(name, '')}".rstrip())


def main():
    """Fit, check, print; the exit status."""
    print("Who voted for Dole? American National Election Study 1996, 944 respondents.")
    print("Data: electionstudies.org by way of statsmodels; public domain (ad/data/anes96.md).")
    print("Logistic regression: Newton's method on exact forward-over-reverse Hessians of NumPy code.")
    f = likelihood(*load())
    start = time.perf_counter()
    beta, steps = fit(f, np.zeros(1 + len(FEATURES)))
    seconds = time.perf_counter() - start
    try:
        errors = check(f, beta)
    except ArithmeticError as error:
        print(f"ad: {error}", file=sys.stderr)
        return 1
    report_fit(beta, np.sqrt(np.diag(np.linalg.inv(ad.hessian(f)(beta)))), steps, seconds)
    print("\n  against central differences: "
          + ", ".join(f"{name} within {error:.0e}" for name, error in errors.items()) + " (relative)")
    print("\nGradient descent on a GradientTape, x**2 from -1:")
    print("Optimized value of x:", train())
    return 0


if __name__ == "__main__":
    sys.exit(main())
