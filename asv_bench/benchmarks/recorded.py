"""What a call of a compiled function costs, by what it is given, and what recording costs."""
import numpy as np

import ad

from .problems import best, rosen


def branching(x):
    return x * 2 if np.sum(x) > 0 else x * 3


class Call:
    """The same small function, called in every way."""

    params = [["arrays", "containers", "keywords", "guard", "float32", "constants", "variable", "program"]]
    param_names = ["way"]

    def setup(self, way):
        x = np.random.default_rng(0).random(10)
        w = ad.Variable(x)
        y, z, low = ad.constant(x), {"a": x, "b": [x, x]}, x.astype(np.float32)
        product, branches = ad.compile(lambda a, b, c: np.sum(a * b + c)), ad.compile(branching)
        nested, loss = ad.compile(lambda p: np.sum(p["a"] * p["b"][0] + p["b"][1])), ad.compile(lambda: np.sum(w * w))
        program = ad.record(rosen)(x)
        self.call = {
            "arrays": lambda: product(x, x, x), "containers": lambda: nested(z), "guard": lambda: branches(x),
            "keywords": lambda: product(a=x, b=x, c=x), "float32": lambda: product(low, low, low),
            "constants": lambda: product(y, y, y), "variable": loss, "program": lambda: program(x),
        }[way]
        self.call()

    def time_call(self, way):
        self.call()


class Gradient:
    params = [[2, 10, 100, 1000, 10_000, 1_000_000]]
    param_names = ["n"]

    def setup(self, n):
        self.x = np.random.default_rng(n).random(n)
        self.eager = ad.grad(rosen)
        self.gradient = ad.compile(self.eager)
        self.gradient(self.x)

    def time_call(self, n):
        self.gradient(self.x)

    def time_first_call(self, n):
        ad.compile(self.eager)(self.x)

    def track_call_by_eager(self, n):
        return best(lambda: self.gradient(self.x)) / best(lambda: self.eager(self.x))

    track_call_by_eager.unit = "ratio"


class Hessian:
    params = [[10, 100, 1000]]
    param_names = ["n"]

    def setup(self, n):
        self.x = np.random.default_rng(n).random(n)
        self.hessian = ad.compile(ad.hessian(rosen))
        self.hessian(self.x)

    def time_call(self, n):
        self.hessian(self.x)

    def time_first_call(self, n):
        ad.compile(ad.hessian(rosen))(self.x)
