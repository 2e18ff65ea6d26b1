"""Ten problems with sparse derivatives, of any size, as a user writes them for NumPy.

A function takes its variables and the namespace to compute with, so that the same text runs on NumPy, on `ad`, on JAX
and on the symbols of CasADi. `PROBLEMS[name](n)` makes a problem of about n variables.
"""
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class SparseProblem:
    """Minimize `objective(x, xp)` where `lower <= x <= upper` and `constraints(x, xp)` is 0.

    `constraints` returns an array or a list of arrays; None: there are none.
    """

    objective: Callable[..., Any]
    x0: np.ndarray
    constraints: Callable[..., Any] | None = None
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None
    scale: float = 0.1  # of steps within which the functions change by about as much as they are

    def __post_init__(self):
        self.lower = np.full(self.x0.shape, -np.inf) if self.lower is None else self.lower
        self.upper = np.full(self.x0.shape, np.inf) if self.upper is None else self.upper

    def flat_constraints(self, x, xp=np):
        """The constraints as one vector."""
        if self.constraints is None:
            return np.zeros(0)
        parts = self.constraints(x, xp)
        return xp.concatenate([part.reshape(-1) for part in parts]) if isinstance(parts, list) else parts.reshape(-1)

    def point(self, seed=0):
        """A point near the start, and multipliers of the constraints: where derivatives are compared."""
        rng = np.random.default_rng(seed)
        x = self.x0 + self.scale * rng.uniform(-1, 1, self.x0.shape)
        return x, rng.uniform(-1, 1, self.flat_constraints(x).shape)


# -- chains -----------------------------------------------------------------------------------------


def rosenbrock(n):
    """The chained Rosenbrock function."""

    def objective(x, xp):
        return xp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    return SparseProblem(objective, np.where(np.arange(n) % 2, 1.2, 0.8))


def lukvle1(n):
    """The chained Rosenbrock function with trigonometric-exponential constraints: LUKVLE1 of CUTEst."""

    def objective(x, xp):
        return xp.sum(100 * (x[:-1] ** 2 - x[1:]) ** 2 + (x[:-1] - 1) ** 2)

    def constraints(x, xp):
        a, b, c = x[:-2], x[1:-1], x[2:]
        return 3 * b**3 + 2 * c - 5 + xp.sin(b - c) * xp.sin(b + c) + 4 * b - a * xp.exp(a - b) - 3

    return SparseProblem(objective, np.where(np.arange(n) % 2, 1.0, -1.2), constraints)


def powell(n):
    """Powell's singular function, extended to n variables: blocks of four."""

    def objective(x, xp):
        a, b, c, d = x[0::4], x[1::4], x[2::4], x[3::4]
        return xp.sum((a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4)

    return SparseProblem(objective, np.tile([3.0, -1.0, 0.0, 1.0], n // 4))


# -- graphs -----------------------------------------------------------------------------------------


def springs(n):
    """A net of springs in the plane, hung up by its upper edge: its nodes and springs are in no order."""
    side = round((n / 2) ** 0.5)
    rng = np.random.default_rng(0)
    nodes = rng.permutation(side * side).reshape(side, side)
    pairs = [(nodes[1:], nodes[:-1]), (nodes[:, 1:], nodes[:, :-1]), (nodes[1:, 1:], nodes[:-1, :-1])]
    first, second = (np.concatenate([pair[i].ravel() for pair in pairs]) for i in (0, 1))
    order = rng.permutation(first.size)
    first, second = first[order], second[order]
    place = np.empty((side * side, 2))
    place[nodes.ravel()] = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
    rest = 0.9 * np.sqrt(np.sum((place[first] - place[second]) ** 2, axis=1))
    held, weight = nodes[-1], 1.0 / side

    def objective(x, xp):
        at = x.reshape(-1, 2)
        length = xp.sqrt(xp.sum((at[first] - at[second]) ** 2, axis=1))
        stretched = 0.5 * xp.sum((length - rest) ** 2)
        return stretched + 50 * xp.sum((at[held] - place[held]) ** 2) + weight * xp.sum(at[:, 1])

    return SparseProblem(objective, place.ravel())


def pose_graph(n):
    """Positions and headings on a way from measurements of some relative to others, as in bundle adjustment."""
    size = n // 3
    rng = np.random.default_rng(0)
    heading = np.cumsum(0.1 * rng.standard_normal(size))
    truth = np.stack([np.cumsum(np.cos(heading)), np.cumsum(np.sin(heading)), heading], axis=1)
    closing = np.arange(40, size)
    second = np.concatenate([np.arange(1, size), closing])
    first = np.concatenate([np.arange(size - 1), closing - rng.integers(10, 40, closing.size)])

    def relative(p, xp):
        """Where the second of each pair is, as the first sees it."""
        ahead, aside, turn = p[second, 0] - p[first, 0], p[second, 1] - p[first, 1], p[second, 2] - p[first, 2]
        c, s = xp.cos(p[first, 2]), xp.sin(p[first, 2])
        return c * ahead + s * aside, c * aside - s * ahead, turn

    seen = [part + 0.05 * rng.standard_normal(first.size) for part in relative(truth, np)]

    def objective(x, xp):
        p = x.reshape(-1, 3)
        misses = [xp.sum((part - wanted) ** 2) for part, wanted in zip(relative(p, xp), seen)]
        return misses[0] + misses[1] + 10 * misses[2] + 100 * xp.sum((p[0] - truth[0]) ** 2)

    return SparseProblem(objective, (truth + 0.1 * rng.standard_normal(truth.shape)).ravel())


# -- grids ------------------------------------------------------------------------------------------


def minimal_surface(n):
    """The surface of least area over a square and above an obstacle, with a given edge."""
    side = round(n**0.5)
    h = 1 / (side - 1)
    s, t = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side), indexing="ij")
    edge = 0.5 * np.sin(2 * np.pi * s) * (1 - t) + t * s
    lower = np.maximum(0.3 - 6 * ((s - 0.5) ** 2 + (t - 0.5) ** 2), -10)
    inner = np.pad(np.ones((side - 2, side - 2), bool), 1)

    def objective(x, xp):
        u = x.reshape(side, side)
        one, other = u[1:, 1:] - u[:-1, :-1], u[1:, :-1] - u[:-1, 1:]
        return h**2 * xp.sum(xp.sqrt(1 + (one**2 + other**2) / (2 * h**2)))

    return SparseProblem(objective, np.maximum(edge, np.where(inner, lower, edge)).ravel(),
                         lower=np.where(inner, lower, edge).ravel(), upper=np.where(inner, np.inf, edge).ravel())


def burgers_control(n):
    """The force that brings a stationary Burgers flow near a profile: one dimension, a tridiagonal equation."""
    size = n // 2
    h, viscosity = 1 / (size + 1), 0.1
    wanted = np.sin(np.pi * np.linspace(0, 1, size + 2)) ** 2
    free = np.pad(np.ones(size), 1)

    def objective(x, xp):
        y, u = x[: size + 2], x[size + 2 :]
        return 0.5 * h * xp.sum((y - wanted) ** 2) + 0.5e-3 * h * xp.sum(u**2)

    def constraints(x, xp):
        y, u = x[: size + 2], x[size + 2 :]
        left, middle, right = y[:-2], y[1:-1], y[2:]
        return viscosity * (2 * middle - left - right) + 0.5 * h * middle * (right - left) - h**2 * u

    still = np.where(free, np.inf, 0.0)
    wide = np.full(size, np.inf)
    return SparseProblem(objective, np.zeros(2 * size + 2), constraints,
                         np.concatenate([-still, -wide]), np.concatenate([still, wide]))


def poisson_control(n):
    """Sources within bounds that bring a reaction and diffusion near a profile: two dimensions, five-point stencils."""
    side = round((n / 2) ** 0.5) + 1
    h = 1 / (side - 1)
    states, shape = side * side, (side - 2, side - 2)
    s, t = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side), indexing="ij")
    wanted = np.sin(np.pi * s) * np.sin(np.pi * t)
    inner = np.pad(np.ones(shape, bool), 1)

    def objective(x, xp):
        y, u = x[:states].reshape(side, side), x[states:]
        return 0.5 * h**2 * xp.sum((y - wanted) ** 2) + 0.5e-3 * h**2 * xp.sum(u**2)

    def constraints(x, xp):
        y, u = x[:states].reshape(side, side), x[states:].reshape(*shape)
        middle = y[1:-1, 1:-1]
        around = y[:-2, 1:-1] + y[2:, 1:-1] + y[1:-1, :-2] + y[1:-1, 2:]
        return 4 * middle - around + h**2 * (middle**3 - u)

    still = np.where(inner, np.inf, 0.0).ravel()
    sources = np.full(shape[0] * shape[1], 12.0)
    return SparseProblem(objective, np.zeros(states + sources.size), constraints,
                         np.concatenate([-still, 0 * sources]), np.concatenate([still, sources]))


# -- others -----------------------------------------------------------------------------------------


def rocket(n):
    """A rocket that burns its fuel to fly as high as it can: collocation by the trapezoidal rule, as in COPS."""
    size = n // 4
    h = 0.2 / (size - 1)

    def split(x):
        return x[:size], x[size : 2 * size], x[2 * size : 3 * size], x[3 * size :]

    def objective(x, xp):
        return -x[size - 1]

    def constraints(x, xp):
        height, speed, mass, thrust = split(x)
        drag = 310 * speed**2 * xp.exp(-500 * (height - 1))
        pull = (thrust - drag) * mass**-1 - height**-2
        return [height[1:] - height[:-1] - h / 2 * (speed[1:] + speed[:-1]),
                speed[1:] - speed[:-1] - h / 2 * (pull[1:] + pull[:-1]),
                mass[1:] - mass[:-1] + h * (thrust[1:] + thrust[:-1])]

    t, ones = np.linspace(0, 1, size), np.ones(size)
    lower = np.concatenate([ones, 0 * ones, 0.6 * ones, 0 * ones])
    upper = np.concatenate([np.inf * ones, np.inf * ones, ones, 3.5 * ones])
    for place, value in ((0, 1.0), (size, 0.0), (2 * size, 1.0), (3 * size - 1, 0.6)):
        lower[place] = upper[place] = value
    start = np.concatenate([ones, t * (1 - t), 1 - 0.4 * t, 1.75 * ones])
    return SparseProblem(objective, start, constraints, lower, upper, scale=1e-3)


def growth_rate(n):
    """States of a population and its rate of growth, which is in every term: an arrow-head Hessian."""
    rng = np.random.default_rng(0)
    truth = np.empty(n - 1)
    truth[0] = 0.3
    for i in range(1, n - 1):
        truth[i] = 3.2 * truth[i - 1] * (1 - truth[i - 1])
    seen = truth + 0.02 * rng.standard_normal(n - 1)

    def objective(x, xp):
        rate, y = x[0], x[1:]
        return 100 * xp.sum((y[1:] - rate * y[:-1] * (1 - y[:-1])) ** 2) + xp.sum((y - seen) ** 2)

    return SparseProblem(objective, np.concatenate([[3.0], seen]))


PROBLEMS = {make.__name__: make for make in (
    rosenbrock, lukvle1, powell, springs, pose_graph, minimal_surface, burgers_control, poisson_control, rocket,
    growth_rate,
)}
