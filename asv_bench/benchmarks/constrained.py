"""Constrained problems by `ad.optimize`: whole solves, and what the evaluations of a solver cost."""
import numpy as np

import ad

from .problems import rosen


def equations(x):
    """Those of LUKVLE1, Luksan and Vlcek, problem 5.1."""
    a, b, c = x[:-2], x[1:-1], x[2:]
    return 3 * b**3 + 2 * c - 5 + np.sin(b - c) * np.sin(b + c) + 4 * b - a * np.exp(a - b) - 3


CONSTRAINTS = {"type": "eq", "fun": equations}


class Solve:
    """The chained Rosenbrock function under equations."""

    params = [["trust-constr", "ipopt", "uno"], [1000, 10_000]]
    param_names = ["method", "n"]
    timeout = 300

    def setup(self, method, n):
        self.x0 = np.where(np.arange(n) % 2, 1.0, -1.2)
        try:
            self.result = self.solve(method)
        except ImportError:
            raise NotImplementedError(method) from None

    def solve(self, method):
        options = {"preset": "ipopt"} if method == "uno" else {}
        return ad.optimize.minimize(rosen, self.x0, method=method, constraints=CONSTRAINTS, options=options)

    def time_solve(self, method, n):
        self.solve(method)

    def track_iterations(self, method, n):
        return self.result.nit

    track_iterations.unit = "iterations"

    def track_evaluations(self, method, n):
        return self.solve(method).evaluation_time

    track_evaluations.unit = "s"


class Ipopt:
    """Three iterations of Ipopt."""

    params = [[1000, 100_000]]
    param_names = ["n"]
    timeout = 300

    def setup(self, n):
        try:
            import cyipopt
        except ImportError:
            raise NotImplementedError("cyipopt") from None
        problem = ad.optimize.Problem(rosen, np.where(np.arange(n) % 2, 1.0, -1.2), constraints=CONSTRAINTS)
        self.x0 = problem.x0
        self.solver = cyipopt.Problem(problem.n, problem.m, problem, problem.lb, problem.ub, problem.cl, problem.cu)
        for name, value in (("print_level", 0), ("sb", "yes"), ("max_iter", 3)):
            self.solver.add_option(name, value)

    def time_three_iterations(self, n):
        self.solver.solve(self.x0)
