"""A GARCH(1,1) model of volatility by maximum likelihood, with standard errors.

The variance of a return depends on the last return and the last variance, v[t] = omega + alpha r[t-1]**2 + beta v[t-1]:
a loop of 2000 steps in Python, which `ad` differentiates twice. The constraints omega, alpha, beta > 0 and
alpha + beta < 1 hold by a change of variables; the delta method, with a Jacobian, carries the covariance back.

T. Bollerslev, "Generalized autoregressive conditional heteroskedasticity", Journal of Econometrics 31, 1986.
"""
from pathlib import Path
from typing import Any

import numpy as np
from _picture import BLUE, GREY, LIGHT, ORANGE, output_directory, picture
from numpy.typing import NDArray

import ad

Floats = NDArray[np.float64]

NAMES = ("omega", "alpha", "beta", "alpha + beta", "long-run volatility")
TRUTH = np.array([0.05, 0.10, 0.85])
GUESS = np.array([0.10, 0.05, 0.90])


def quantities(theta: Floats) -> Floats:
    """What is reported: the three parameters, the persistence, and the volatility that the model returns to."""
    omega, alpha, beta = theta
    return np.stack([omega, alpha, beta, alpha + beta, np.sqrt(omega / (1 - alpha - beta))])


def constrained(u: Floats) -> Floats:
    """From any three numbers to omega > 0 and alpha, beta > 0 with alpha + beta < 1."""
    omega, a, b = np.exp(u)
    return np.stack([omega, a / (1 + a + b), b / (1 + a + b)])


def unconstrained(theta: Floats) -> Floats:
    """The inverse of `constrained`."""
    omega, alpha, beta = theta
    return np.log([omega, alpha / (1 - alpha - beta), beta / (1 - alpha - beta)])


def variances(theta: Floats, r: Floats) -> Floats:
    """The variance of every return, given those before it."""
    omega, alpha, beta = theta
    path = [np.var(r)]
    for shock in r[:-1] ** 2:
        path.append(omega + alpha * shock + beta * path[-1])
    return np.stack(path)


def negative_log_likelihood(u: Floats, r: Floats) -> np.float64:
    v = variances(constrained(u), r)
    return 0.5 * np.sum(np.log(2 * np.pi * v) + r**2 / v)


def fit(r: Floats) -> tuple[Any, Floats, Floats]:
    """SciPy's result for the unconstrained parameters, the quantities to report, and their standard errors."""

    def reported(u: Floats) -> Floats:
        return quantities(constrained(u))

    result = ad.optimize.minimize(negative_log_likelihood, unconstrained(GUESS), args=(r,), method="trust-exact")
    hessian, J = ad.hessian(negative_log_likelihood)(result.x, r), ad.jacobian(reported)(result.x)
    covariance = J @ np.linalg.solve(hessian, J.T)
    return result, reported(result.x), np.sqrt(np.diag(covariance))


def simulate(n: int = 2000, seed: int = 5) -> tuple[Floats, Floats]:
    """Daily returns in per cent from the true model, and their variances."""
    omega, alpha, beta = TRUTH
    v, r = np.empty(n), np.empty(n)
    v[0] = omega / (1 - alpha - beta)
    for t, noise in enumerate(np.random.default_rng(seed).standard_normal(n)):
        if t:
            v[t] = omega + alpha * r[t - 1] ** 2 + beta * v[t - 1]
        r[t] = np.sqrt(v[t]) * noise
    return r, v


def draw(path: Path, r: Floats, v: Floats, fitted: Floats, estimates: Floats, errors: Floats) -> None:
    with picture(path, 2, width_ratios=[2, 1]) as (left, right):
        left.vlines(np.arange(r.size), 0, np.abs(r), color=GREY, alpha=0.6, linewidth=0.5, label="absolute return")
        left.plot(np.sqrt(fitted), color=BLUE, linewidth=2.2, label="volatility: fit")
        left.plot(np.sqrt(v), color=ORANGE, linewidth=1.0, label="volatility: truth")
        left.set(xlabel="day", ylabel="%", title="Returns and volatility, the last 600 of 2000 days", ylim=(0, 3.9),
                 xlim=(r.size - 600, r.size))
        left.legend(loc="upper left", ncols=3)
        rows, truth = np.arange(len(NAMES)), quantities(TRUTH)
        right.axvline(1, color=GREY, linewidth=1)
        right.errorbar(estimates / truth, rows, xerr=1.96 * errors / truth, fmt="o", color=BLUE, capsize=3)
        right.set_yticks(rows, NAMES)
        right.grid(axis="x", color=LIGHT)
        right.set(xlabel="estimate / truth", title="Estimates, 95 % intervals", ylim=(len(NAMES) - 0.5, -0.5))


def main(out: Path) -> None:
    r, v = simulate()
    result, estimates, errors = fit(r)
    print(f"log-likelihood {-result.fun:.3f} after {result.nit} steps; |gradient| = {np.linalg.norm(result.jac):.1e}")
    for name, estimate, error, true in zip(NAMES, estimates, errors, quantities(TRUTH)):
        print(f"  {name:<20}{estimate:8.4f} +- {error:.4f}   truth {true:.4f}")
    draw(out / "garch.png", r, v, variances(constrained(result.x), r), estimates, errors)


if __name__ == "__main__":
    main(output_directory(__doc__))
