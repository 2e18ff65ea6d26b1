"""Whole solves by Ipopt through cyipopt, the same solver for each peer, with the time that its callbacks take."""
import time

import numpy as np


class Callbacks:
    """A backend as cyipopt asks for it; `seconds` is what all callbacks took, `calls` how often there was one."""

    def __init__(self, backend, x):
        self.backend, self.seconds, self.calls, self.iterations = backend, 0.0, 0, 0
        self.found, self.jacobian_places = backend.callbacks(x)

    def timed(self, call, *arguments):
        start = time.perf_counter()
        result = call(*arguments)
        self.seconds += time.perf_counter() - start
        self.calls += 1
        return result

    def objective(self, x):
        return float(self.timed(self.found["objective"], x))

    def gradient(self, x):
        return self.timed(self.found["gradient"], x)

    def constraints(self, x):
        return self.timed(self.found["constraints"], x) if "constraints" in self.found else np.zeros(0)

    def jacobianstructure(self):
        return self.jacobian_places

    def jacobian(self, x):
        return self.timed(self.found["jacobian"], x) if "jacobian" in self.found else np.zeros(0)

    def hessianstructure(self):
        return self.backend.places()

    def hessian(self, x, multipliers, factor):
        return self.timed(self.backend.hessian, x, multipliers, factor)

    def intermediate(self, _mode, iteration, *_others):
        self.iterations = iteration
        return True


def solve(backend, problem, max_iter=200):
    """Solve a problem; a dict of what came of it."""
    import cyipopt

    start = time.perf_counter()
    asked = Callbacks(backend, problem.x0)
    m = problem.flat_constraints(problem.x0).size
    solver = cyipopt.Problem(problem.x0.size, m, asked, problem.lower, problem.upper, np.zeros(m), np.zeros(m))
    for option, value in {"print_level": 0, "sb": "yes", "max_iter": max_iter}.items():
        solver.add_option(option, value)
    for ask in (asked.objective, asked.gradient, asked.constraints, asked.jacobian):
        ask(problem.x0)  # what is made at the first call
    asked.seconds, asked.calls = 0.0, 0
    prepared = time.perf_counter()
    _, info = solver.solve(problem.x0)
    return {"prepare": prepared - start, "seconds": time.perf_counter() - prepared, "callbacks": asked.seconds,
            "calls": asked.calls, "iterations": asked.iterations, "objective": float(info["obj_val"]),
            "status": int(info["status"])}
