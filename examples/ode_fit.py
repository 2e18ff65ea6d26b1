"""The parameters of an ordinary differential equation, fitted by forward mode.

Lynx and hare pelts of the Hudson's Bay Company, 1900 to 1920, in thousands, and the predator-prey model of Lotka and
Volterra. A Runge-Kutta solver in NumPy is differentiated as it stands: six parameters in, 42 residuals out, so that
one forward sweep in six directions gives the whole Jacobian for Gauss-Newton steps.

Data: P. Howard, "Modeling Basics", Texas A&M University, 2009, from the Company's records. B. Carpenter, "Predator-prey
population dynamics: the Lotka-Volterra model in Stan", 2018, finds the same parameters by sampling.
"""
from pathlib import Path

import numpy as np
from _picture import BLUE, GREEN, GREY, ORANGE, output_directory, picture
from numpy.typing import NDArray

import ad

Floats = NDArray[np.float64]

YEARS = np.arange(1900, 1921)
HARE = np.array([30.0, 47.2, 70.2, 77.4, 36.3, 20.6, 18.1, 21.4, 22.0, 25.4, 27.1,
                 40.3, 57.0, 76.6, 52.3, 19.5, 11.2, 7.6, 14.6, 16.2, 24.7])
LYNX = np.array([4.0, 6.1, 9.8, 35.2, 59.4, 41.7, 19.0, 13.0, 8.3, 9.1, 7.4,
                 8.0, 12.3, 19.5, 45.7, 51.1, 29.7, 15.8, 9.7, 10.1, 8.6])
UNITS = {"hare births": "1/year", "hare deaths by lynx": "1/year per 1000 lynx", "lynx deaths": "1/year",
         "lynx births by hare": "1/year per 1000 hares", "hares in 1900": "thousand", "lynx in 1900": "thousand"}
GUESS = np.array([0.5, 0.02, 0.9, 0.03, 30.0, 4.0])
STEPS = 12  # of the solver, to a year


def rates(z: Floats, p: Floats) -> Floats:
    """The right-hand side: how fast hares z[0] and lynx z[1] change."""
    return np.stack([(p[0] - p[1] * z[1]) * z[0], (p[3] * z[0] - p[2]) * z[1]])


def solve(log_p: Floats) -> Floats:
    """The logarithms of hares and lynx (1 + 20 * STEPS, 2) by the classical Runge-Kutta method."""
    p, h = np.exp(log_p), 1 / STEPS
    path: list[Floats] = [p[4:]]
    for _ in range((len(YEARS) - 1) * STEPS):
        z = path[-1]
        k1 = rates(z, p)
        k2 = rates(z + h / 2 * k1, p)
        k3 = rates(z + h / 2 * k2, p)
        k4 = rates(z + h * k3, p)
        path.append(z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    return np.log(np.stack(path))


def residuals(log_p: Floats) -> Floats:
    """Of the logarithms, as pelts vary by a factor; (42,)."""
    return np.ravel(solve(log_p)[::STEPS] - np.log(np.stack([HARE, LYNX], axis=1)))


def gauss_newton(log_p: Floats, tolerance: float = 1e-8) -> tuple[Floats, Floats, list[float]]:
    """The least-squares parameters, their covariance, and the sum of squares at every iterate."""
    jacobian = ad.jacobian(residuals, mode="forward")
    sums: list[float] = []
    for _ in range(50):
        r, J = residuals(log_p), jacobian(log_p)
        sums.append(float(r @ r))
        step = np.linalg.lstsq(J, -r)[0]
        if np.linalg.norm(step) < tolerance:
            return log_p, np.linalg.inv(J.T @ J) * sums[-1] / (r.size - log_p.size), sums
        log_p = log_p + step
    raise RuntimeError(f"the sum of squares is {sums[-1]} after {len(sums)} steps")


def draw(path: Path, log_p: Floats, covariance: Floats) -> None:
    """The fitted curves, with 95 % bands by the delta method: one more Jacobian by forward mode."""
    curves = solve(log_p)
    J = ad.jacobian(solve, mode="forward")(log_p)
    widths = 1.96 * np.sqrt(np.einsum("tsp,pq,tsq->ts", J, covariance, J))
    years = YEARS[0] + np.arange(len(curves)) / STEPS
    with picture(path, 2, width_ratios=[2.2, 1]) as (left, right):
        for name, color, data, curve, width in zip(("hare", "lynx"), (BLUE, ORANGE), (HARE, LYNX), curves.T, widths.T):
            left.fill_between(years, np.exp(curve - width), np.exp(curve + width), color=color, alpha=0.18, linewidth=0)
            left.plot(years, np.exp(curve), color=color, label=name)
            left.plot(YEARS, data, "o", color=color, markersize=4)
        left.set(xlabel="year", ylabel="pelts, thousands", title="Data, fit and 95 % bands", ylim=(0, 98))
        left.set_xticks(YEARS[::4])
        left.legend(loc="upper center", ncols=2)
        right.plot(*np.exp(curves.T), color=GREY)
        right.plot(HARE, LYNX, "o", color=GREEN, markersize=4)
        right.set(xlabel="hare", ylabel="lynx", title="Phase plane")


def main(out: Path) -> None:
    log_p, covariance, sums = gauss_newton(np.log(GUESS))
    print(f"Sum of squares {sums[0]:.2f} at the guess, {sums[-1]:.4f} after {len(sums) - 1} Gauss-Newton steps")
    estimates = np.exp(log_p)
    for (name, unit), p, error in zip(UNITS.items(), estimates, estimates * np.sqrt(np.diag(covariance))):
        print(f"  {name:<20}{p:9.4f} +- {error:.4f}   {unit}")
    draw(out / "ode_fit.png", log_p, covariance)


if __name__ == "__main__":
    main(output_directory(__doc__))
