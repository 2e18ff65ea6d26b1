"""Ops of users, by ad.ops: what a plain function costs as an op, beside the same op of the table."""
import numpy as np

import ad


def tanh(x):
    return np.tanh(x)


OPS = {
    "table": lambda: np.tanh,
    "elementwise": lambda: ad.ops.elementwise(tanh, partials=lambda _x, y: 1 - y * y),
    "custom": lambda: ad.ops.custom(tanh, vjp=lambda y_bar, _x, y: y_bar * (1 - y * y)),
}


class Tanh:
    params = [[*OPS], [10, 1_000_000]]
    param_names = ["op", "n"]

    def setup(self, op, n):
        self.x = np.linspace(-1, 1, n)
        self.op = OPS[op]()
        self.gradient = ad.grad(lambda x: np.sum(self.op(x)))
        self.compiled = ad.compile(self.gradient)
        self.compiled(self.x)

    def time_value(self, op, n):
        self.op(self.x)

    def time_gradient(self, op, n):
        self.gradient(self.x)

    def time_compiled(self, op, n):
        self.compiled(self.x)
