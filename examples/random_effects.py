"""Maximum likelihood with crossed random effects, by the Laplace approximation.

Did 300 students solve 40 tasks? Each tried 12 of them. Students and tasks have effects of their own, normally
distributed: 340 variables that the likelihood integrates over. The approximation needs the mode of the effects and the
log-determinant of a sparse Hessian there; the gradient of the latter needs third derivatives, which are the sparse
Hessian of a `jvp`.
"""
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _picture import BLUE, GREY, INK, ORANGE, output_directory, picture
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse.linalg import splu

import ad

Floats = NDArray[np.float64]

STUDENTS, TASKS, TRIED = 300, 40, 12
NAMES = ("mean", "training", "log sd of students", "log sd of tasks")
TRUTH = np.array([0.3, 0.8, np.log(1.2), np.log(0.7)])


class Data(NamedTuple):
    """One row for each attempt."""

    student: NDArray[np.int64]
    task: NDArray[np.int64]
    trained: Floats
    solved: Floats


def simulate(seed: int = 5) -> tuple[Data, Floats]:
    """Attempts, and the standardized effects of students and tasks (STUDENTS + TASKS,) behind them."""
    rng = np.random.default_rng(seed)
    effects = rng.standard_normal(STUDENTS + TASKS)
    student = np.repeat(np.arange(STUDENTS), TRIED)
    task = np.concatenate([rng.choice(TASKS, TRIED, replace=False) for _ in range(STUDENTS)])
    trained = (rng.random(student.size) < 0.5).astype(float)
    data = Data(student, task, trained, np.zeros(student.size))
    odds = np.exp(log_odds(effects, TRUTH, data))
    return data._replace(solved=(rng.random(student.size) < odds / (1 + odds)).astype(float)), effects


def log_odds(effects: Any, theta: Any, data: Data) -> Any:
    students, tasks = np.exp(theta[2]) * effects[:STUDENTS], np.exp(theta[3]) * effects[STUDENTS:]
    return theta[0] + theta[1] * data.trained + students[data.student] + tasks[data.task]


def joint(effects: Any, theta: Any, data: Data) -> Any:
    """The negative logarithm of the density of data and effects, without the factor of the normal distribution."""
    z = log_odds(effects, theta, data)
    return np.sum(np.logaddexp(0, z) - data.solved * z) + 0.5 * np.sum(effects**2)


class Laplace:
    """The approximate negative log-likelihood of `theta` and its gradient."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.effects = np.zeros(STUDENTS + TASKS)  # the mode at the last theta
        self.steps = 0
        self.newton = ad.sparse.value_and_hessian(self.joint, format="csc")
        self.slope = ad.compile(ad.grad(self.joint, 1))
        self.cross = ad.compile(lambda u, theta, v: ad.jvp(lambda t: ad.grad(self.joint)(u, t), (theta,), (v,))[1])
        self.change = ad.sparse.hessian(lambda u, theta, du, dtheta: ad.jvp(self.joint, (u, theta), (du, dtheta))[1],
                                        format="csc")

    def joint(self, effects: Any, theta: Any) -> Any:
        """Return `joint` of these data: index arrays that are no arguments are known when the structure is found."""
        return joint(effects, theta, self.data)

    def mode(self, theta: Floats) -> tuple[float, Any]:
        """Move the effects to their mode, by Newton's method; return the density there and the Hessian's factor."""
        while True:
            (value, gradient), hessian = self.newton(self.effects, theta)
            factor = splu(hessian, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
            if np.abs(gradient).max() < 1e-9:
                return float(value), factor
            self.effects = self.effects - factor.solve(gradient)
            self.steps += 1

    def __call__(self, theta: Floats) -> tuple[float, Floats]:
        """Return the value and the gradient.

        The derivative of log det H in a direction is the trace of inv(H) dH: dH is taken along the path of the mode,
        which moves by -inv(H) times the mixed derivatives (implicit function theorem).
        """
        value, factor = self.mode(theta)
        inverse = factor.solve(np.eye(self.effects.size))
        gradient = np.array(self.slope(self.effects, theta))
        for k, direction in enumerate(np.eye(theta.size)):
            moved = -factor.solve(self.cross(self.effects, theta, direction))
            gradient[k] += 0.5 * self.change(self.effects, theta, moved, direction).multiply(inverse).sum()
        return value + 0.5 * np.sum(np.log(factor.U.diagonal())), gradient


def fit(data: Data) -> tuple[Any, Floats, Laplace]:
    """SciPy's result for theta, its standard errors, and the likelihood with the effects at the mode."""
    likelihood = Laplace(data)
    result = minimize(likelihood, np.zeros(TRUTH.size), jac=True, method="BFGS", options={"gtol": 1e-5})
    steps = 1e-4 * np.eye(TRUTH.size)
    information = np.stack([(likelihood(result.x + h)[1] - likelihood(result.x - h)[1]) / 2e-4 for h in steps])
    likelihood(result.x)
    return result, np.sqrt(np.diag(np.linalg.inv((information + information.T) / 2))), likelihood


def draw(path: Path, result: Any, errors: Floats, likelihood: Laplace, truth: Floats) -> None:
    theta = result.x
    with picture(path, 3, width_ratios=[0.9, 1, 1]) as panels:
        panels[0].figure.set_size_inches(12, 4.2)
        rows = np.arange(TRUTH.size)
        panels[0].errorbar(theta, rows, xerr=1.96 * errors, fmt="o", color=BLUE, capsize=3, label="estimate, 95 %")
        panels[0].plot(TRUTH, rows, "D", color=ORANGE, markersize=5, label="truth")
        panels[0].set(yticks=rows, ylim=(4.2, -0.5), title="Parameters")
        panels[0].set_yticklabels([name.replace(" sd of ", " sd of\n") for name in NAMES])
        panels[0].legend(loc="lower right")
        groups = (("students", slice(None, STUDENTS), GREY), ("tasks", slice(STUDENTS, None), BLUE))
        for (name, part, color), sd, true_sd in zip(groups, np.exp(theta[2:]), np.exp(TRUTH[2:])):
            panels[1].plot(true_sd * truth[part], sd * likelihood.effects[part], "o", color=color, markersize=3,
                           label=name)
        panels[1].axline((0, 0), slope=1, color=INK, linewidth=0.8)
        panels[1].set(title="Effects: mode against truth", xlabel="true effect", ylabel="mode")
        panels[1].legend()
        ad.sparse.spy(likelihood.newton.pattern(likelihood.effects, theta), ax=panels[2])
        panels[2].set_title("Hessian in the effects of students, then tasks")


def main(out: Path) -> None:
    data, effects = simulate()
    result, errors, likelihood = fit(data)
    print(f"log-likelihood {-result.fun:.3f} after {result.nit} steps; {likelihood.steps} Newton steps in the effects")
    for name, estimate, error, true in zip(NAMES, result.x, errors, TRUTH):
        print(f"  {name:<20}{estimate:7.3f} +- {error:.3f}   truth {true:.3f}")
    draw(out / "random_effects.png", result, errors, likelihood, effects)


if __name__ == "__main__":
    main(output_directory(__doc__))
