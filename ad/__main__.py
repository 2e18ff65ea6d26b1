"""`python -m ad`: a maximum-likelihood fit to real data, beside the same fit by finite differences; a training loop.

The model is plain NumPy code; `ad` differentiates it as it stands, and SciPy does the fitting.
"""
import sys
import time
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

import ad

__all__ = [
    "Fit", "check", "fit", "likelihood", "load", "main", "numerical_gradient", "numerical_hessian", "scoring", "train",
]

Vector: TypeAlias = NDArray[np.float64]

FEATURES = ("selfLR", "age", "educ", "income", "PID")
LABELS = {
    "selfLR": "liberal (1) to conservative (7)",
    "age": "age in years",
    "educ": "education, 1 to 7",
    "income": "household income, 1 to 24",
    "PID": "Democrat (0) to Republican (6)",
}

# The heading of each column of the table, and the arguments of its fit.
FITS: tuple[tuple[tuple[str, str, str], dict[str, Any]], ...] = (
    (("exact", "gradient", "and Hessian"), {"method": "trust-exact"}),
    (("exact", "gradient", ""), {"method": "BFGS"}),
    (("finite", "differences", "2-point"), {"method": "BFGS", "jac": "2-point"}),
    (("finite", "differences", "3-point"), {"method": "BFGS", "jac": "3-point"}),
)


class Fit(NamedTuple):
    """A fit by `ad.optimize.minimize`, and its cost."""

    result: Any  # SciPy's OptimizeResult
    errors: Vector  # the standard errors of the coefficients
    source: str  # of the standard errors
    evaluations: int  # of f, including those for its derivatives
    seconds: float


def load() -> tuple[Vector, Vector]:
    """Return the design matrix (944, 6), whose first column is ones, and the votes (944,): 1.0 for Dole."""
    with (files("ad") / "data" / "anes96.csv").open(encoding="utf-8") as lines:
        names = next(lines).strip().split(",")
        columns = dict(zip(names, np.loadtxt(lines, delimiter=",").T))
    vote = columns["vote"]
    return np.stack([np.ones_like(vote), *(columns[name] for name in FEATURES)], axis=1), vote


def likelihood(X: Vector, vote: Vector) -> Callable[[Vector], Any]:
    """Return the negative log-likelihood of a logistic regression as a function of its coefficients."""

    def negative_log_likelihood(beta: Vector) -> Any:
        eta = X @ beta
        return np.sum(np.logaddexp(0.0, eta) - vote * eta)

    return negative_log_likelihood


def scoring(X: Vector, vote: Vector) -> tuple[Vector, Vector]:
    """Fit by Fisher's scoring, with the formulas of the textbook (McCullagh and Nelder, 1989, section 4.4).

    Returns
    -------
    beta, errors : ndarray
        The coefficients and their standard errors: the reference for the other fits, computed without `ad`.
    """
    beta = np.zeros(X.shape[1])
    for _ in range(25):
        p = 1 / (1 + np.exp(-X @ beta))
        information = (X.T * (p * (1 - p))) @ X
        beta = beta + np.linalg.solve(information, X.T @ (vote - p))
    return beta, standard_errors(np.linalg.inv(information))


def standard_errors(covariance: NDArray[Any]) -> Vector:
    return np.sqrt(np.diag(covariance))


def fit(f: Callable[[Vector], Any], beta: Vector, repeat: int = 5, **how: Any) -> Fit:
    """Minimise a negative log-likelihood `f`, `repeat` times for the best time; return a `Fit`."""
    evaluations = 0

    def counted(beta: Vector) -> Any:
        nonlocal evaluations
        evaluations += 1
        return f(beta)

    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = ad.optimize.minimize(counted, beta, **how)
        seconds.append(time.perf_counter() - start)
    exact = "hess" in result
    errors = standard_errors(np.linalg.inv(result.hess) if exact else result.hess_inv)
    source = "Hessian" if exact else "BFGS update"
    return Fit(result, errors, source, evaluations // repeat, min(seconds))


def numerical_gradient(f: Callable[[Vector], Any], beta: Vector) -> Vector:
    """Compute the gradient of `f` by central differences."""
    steps = np.diag(1e-5 * np.maximum(1e-2, np.abs(beta)))
    return np.array([(f(beta + a) - f(beta - a)) / (2 * a.sum()) for a in steps])


def numerical_hessian(f: Callable[[Vector], Any], beta: Vector) -> Vector:
    """Compute the Hessian of `f` by second central differences, without `ad`."""
    steps = np.diag(2e-3 * np.maximum(1e-2, np.abs(beta)))

    def second(a: Vector, b: Vector) -> Any:
        corners = f(beta + a + b) - f(beta + a - b) - f(beta - a + b) + f(beta - a - b)
        return corners / (4 * a.sum() * b.sum())

    return np.array([[second(a, b) for b in steps] for a in steps])


def check(f: Callable[[Vector], Any], beta: Vector) -> dict[str, float]:
    """Return the relative errors of `ad`'s derivatives of `f` near its minimum, against central differences.

    Raises
    ------
    ArithmeticError
        If one of them is larger than central differences can explain.
    """
    aside = 0.9 * beta  # at the minimum itself the gradient is zero
    errors = {}
    for name, exact, reference, bound in (
        ("gradient", ad.grad(f)(aside), numerical_gradient(f, aside), 1e-7),
        ("Hessian", ad.hessian(f)(beta), numerical_hessian(f, beta), 1e-5),
    ):
        errors[name] = float(np.max(np.abs(exact - reference)) / np.max(np.abs(reference)))
        if not errors[name] < bound:
            raise ArithmeticError(f"{name} and central differences disagree: relative error {errors[name]:.1e}")
    return errors


def train(steps: int = 100) -> Any:
    """Minimise x**2 by gradient descent on a tape."""
    x = ad.Variable(-1.0)
    optimizer = ad.optimizers.SGD(learning_rate=0.1)
    for _ in range(steps):
        with ad.GradientTape() as tape:
            loss = x**2
        grads = tape.gradient(loss, [x])
        optimizer.apply_gradients(zip(grads, [x]))
    return x.numpy()


def report_fits(fits: list[Fit], beta: Vector, errors: Vector) -> None:
    """Print the table of the fits; `beta` and `errors` are the reference."""

    def row(name: str, cells: Iterable[Any]) -> None:
        print(f"  {name:<26}" + "".join(f"{cell:>13}" for cell in cells))

    print()
    for line in zip(*(head for head, _ in FITS)):
        row("", line)
    print("  " + "-" * 78)
    results = [fit.result for fit in fits]
    row("SciPy's method", [how["method"] for _, how in FITS])
    row("converged, by its own test", ["yes" if result.success else "no" for result in results])
    row("iterations", [result.nit for result in results])
    row("evaluations of f", [fit.evaluations for fit in fits])
    row("gradients", [result.njev for result in results])
    row("Hessians", [result.get("nhev", 0) for result in results])
    row("time", [f"{fit.seconds * 1e3:.1f} ms" for fit in fits])
    row("error of coefficients", [shown(np.max(np.abs(fit.result.x - beta) / errors)) for fit in fits])
    row("standard errors from", [fit.source for fit in fits])
    row("error of standard errors", [shown(np.max(np.abs(fit.errors / errors - 1))) for fit in fits])
    print("  Errors: the largest, of coefficients in standard errors, against Fisher's scoring.")


def shown(error: float) -> str:
    """Format a relative error: large ones in percent, small ones in powers of ten."""
    return f"{error:.0%}" if error > 0.01 else f"{error:.0e}"


def report_coefficients(beta: Vector, errors: Vector) -> None:
    print(f"\n  {'coefficient':<14}{'estimate':>10}{'std. error':>12}{'z':>9}")
    for name, b, error in zip(("constant", *FEATURES), beta, errors):
        print(f"  {name:<14}{b:10.4f}{error:12.4f}{b / error:9.2f}   {LABELS.get(name, '')}".rstrip())


def main() -> int:
    """Fit, check and print; return the exit status."""
    try:
        ad.optimize  # noqa: B018
    except ImportError as error:
        print(error, file=sys.stderr)
        return 1
    print("Who voted for Dole? American National Election Study 1996, 944 respondents.")
    print("Data: electionstudies.org by way of statsmodels; public domain (ad/data/anes96.md).")
    print("Logistic regression by maximum likelihood; the likelihood is two lines of NumPy.")
    X, vote = load()
    f = likelihood(X, vote)
    fits = [fit(f, np.zeros(X.shape[1]), **how) for _, how in FITS]
    best = fits[0]
    try:
        differences = check(f, best.result.x)
    except ArithmeticError as error:
        print(f"ad: {error}", file=sys.stderr)
        return 1
    report_fits(fits, *scoring(X, vote))
    report_coefficients(best.result.x, best.errors)
    print("\n  against central differences: "
          + ", ".join(f"{name} within {error:.0e}" for name, error in differences.items()) + " (relative)")
    print("\nGradient descent on a GradientTape, x**2 from -1:")
    print("Optimized value of x:", train())
    return 0


if __name__ == "__main__":
    sys.exit(main())
