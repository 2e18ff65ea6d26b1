"""Gradients and Hessians: their times, and the ratio to the time of the function alone."""
import numpy as np

import ad

from .problems import best, rosen


class Rosenbrock:
    params = [[2, 10, 100, 1000, 10_000, 1_000_000]]
    param_names = ["n"]

    def setup(self, n):
        self.x = np.random.default_rng(n).random(n)
        self.gradient = ad.grad(rosen)

    def time_value(self, n):
        rosen(self.x)

    def time_gradient(self, n):
        self.gradient(self.x)

    def track_gradient_by_value(self, n):
        return best(lambda: self.gradient(self.x)) / best(lambda: rosen(self.x))

    track_gradient_by_value.unit = "ratio"


class Hessian:
    params = [[10, 100, 1000]]
    param_names = ["n"]

    def setup(self, n):
        self.x = np.random.default_rng(n).random(n)
        self.hessian = ad.hessian(rosen)
        self.product = ad.hvp(rosen)

    def time_dense(self, n):
        self.hessian(self.x)

    def time_product(self, n):
        self.product(self.x, self.x)


class Tape:
    """The smallest program with a tape; the base of the ratio is a sum of ten-element ndarrays."""

    def setup(self):
        self.x = ad.Variable(3.0)

    def first_program(self):
        with ad.GradientTape() as tape:
            y = self.x**2
        return tape.gradient(y, self.x)

    def time_first_program(self):
        self.first_program()

    def track_first_program_by_add(self):
        ten = np.arange(10.0)
        return best(self.first_program) / best(lambda: ten + ten)

    track_first_program_by_add.unit = "ratio"


class HessianThroughMatrix:
    """Directions that go through a matrix at once: one product, one factorisation."""

    params = [["product", "system"]]
    param_names = ["by"]

    def setup(self, by):
        rng = np.random.default_rng(0)
        a, self.x = rng.normal(size=(200, 200)) + 20 * np.eye(200), rng.random(200)
        self.hessian = ad.hessian({
            "product": lambda x: np.sum(np.tanh(a @ x)), "system": lambda x: np.sum(np.linalg.solve(a, x) ** 3),
        }[by])

    def time_hessian(self, by):
        self.hessian(self.x)


class Rows:
    """Rows of a table that an index picks, some of them often: a batch of embeddings."""

    params = [["eager", "compiled"]]
    param_names = ["how"]

    def setup(self, how):
        rng = np.random.default_rng(0)
        self.args = rng.random((1000, 16)), rng.integers(0, 1000, 64), rng.random((64, 16))
        gradient = ad.grad(lambda table, index, y: np.sum((table[index] - y) ** 2))
        self.gradient = gradient if how == "eager" else ad.compile(gradient)
        self.gradient(*self.args)

    def time_gradient(self, how):
        self.gradient(*self.args)
