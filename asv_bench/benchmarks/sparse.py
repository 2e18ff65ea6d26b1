"""Sparse derivatives: what comes before the first Hessian, and later calls."""
import numpy as np

import ad

from .problems import best
from .sparse_problems import PROBLEMS

SIZES = [1000, 10_000, 100_000]


def lagrangian(problem):
    """The Lagrangian of a problem, new, so that nothing of it has been made."""
    constraints = None if problem.constraints is None else lambda x: problem.constraints(x, np)
    return ad.sparse.lagrangian(lambda x: problem.objective(x, np), constraints)


class Hessian:
    """The lower triangle of the Hessian of a Lagrangian."""

    params = [list(PROBLEMS), SIZES]
    param_names = ["problem", "n"]

    def setup(self, name, n):
        self.problem = PROBLEMS[name](n)
        self.points = [self.problem.point(seed) for seed in (0, 1)]
        self.made = lagrangian(self.problem)
        self.out = self.made.hessian(*self.points[0])
        self.gradient = ad.compile(ad.grad(self.value))
        self.gradient(*self.points[0])

    def value(self, x, multipliers):
        f = self.problem.objective(x, np)
        return f + multipliers @ self.problem.flat_constraints(x) if multipliers.size else f

    def time_set_up(self, name, n):
        lagrangian(self.problem).hessian(*self.points[0])

    def time_later(self, name, n):
        for point in self.points:  # two points: nothing that is kept of one is of use to the other
            self.made.hessian(*point, out=self.out)

    def track_later_by_gradient(self, name, n):
        later = best(lambda: self.time_later(name, n))
        return later / best(lambda: [self.gradient(*point) for point in self.points])

    track_later_by_gradient.unit = "gradients"


class Jacobian:
    """The constraints of an optimal control by collocation."""

    params = [["lukvle1", "poisson_control", "rocket"], SIZES]
    param_names = ["problem", "n"]

    def setup(self, name, n):
        problem = PROBLEMS[name](n)
        self.constraints = problem.flat_constraints
        self.points = [problem.point(seed)[0] for seed in (0, 1)]
        self.jacobian = ad.sparse.jacobian(self.constraints)
        self.out = self.jacobian(self.points[0])

    def time_set_up(self, name, n):
        ad.sparse.jacobian(self.constraints)(self.points[0])

    def time_later(self, name, n):
        for x in self.points:
            self.jacobian(x, out=self.out)


class Pattern:
    """The structure of a Hessian: rows that are next to each other, and rows in no order."""

    params = [["rosenbrock", "springs", "growth_rate"], SIZES]
    param_names = ["problem", "n"]

    def setup(self, name, n):
        problem = PROBLEMS[name](n)
        self.objective = lambda x: problem.objective(x, np)
        self.x = problem.x0

    def time_pattern(self, name, n):
        ad.sparse.hessian_pattern(self.objective, self.x)
