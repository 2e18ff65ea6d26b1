"""Fits by `ad.optimize`, and what the way from SciPy to a value and its gradient costs."""
import numpy as np
from scipy.optimize import OptimizeResult

import ad
from ad import __main__ as example

from .problems import best, rosen


class Fit:
    """The logistic regression of `python -m ad`."""

    params = [[how for _, how in example.FITS]]
    param_names = ["how"]

    def setup(self, how):
        X, vote = example.load()
        self.f, self.x0 = example.likelihood(X, vote), np.zeros(X.shape[1])
        self.fit = example.fit(self.f, self.x0, repeat=1, **how)

    def time_fit(self, how):
        ad.optimize.minimize(self.f, self.x0, **how)

    def track_evaluations(self, how):
        return self.fit.evaluations

    track_evaluations.unit = "evaluations of f"


class Overhead:
    """A new point: its value, then its gradient, as SciPy asks for them, beside `ad.value_and_grad` alone."""

    params = [[10, 1000, 100_000]]
    param_names = ["n"]

    def setup(self, n):
        x = np.random.default_rng(n).random(n)
        self.points = x, x + 0.1
        self.asked = {}

        def method(fun, x0, jac=None, **unused):
            self.asked.update(value=fun, gradient=jac)
            return OptimizeResult(x=x0)

        ad.optimize.minimize(rosen, x, method=method)
        self.alone = ad.value_and_grad(rosen)

    def through_the_bridge(self):
        for x in self.points:
            self.asked["value"](x)
            self.asked["gradient"](x)

    def without_it(self):
        for x in self.points:
            self.alone(x)

    def time_two_points(self, n):
        self.through_the_bridge()

    def track_overhead(self, n):
        return (best(self.through_the_bridge) - best(self.without_it)) / 2 * 1e6

    track_overhead.unit = "us"
