"""Ops of users, by ad.ops, and calls with a rule of their own: what they cost beside an op of the table."""
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


def product(a, b):
    return a * b


@ad.custom_gradient
def product_with_gradient(a, b):
    return a * b, lambda y_bar: (y_bar * b, y_bar * a)


PRODUCTS = {
    "table": lambda: np.multiply,
    "vjp": lambda: ad.ops.custom(product, vjp=lambda y_bar, a, b, y: (y_bar * b, y_bar * a)),
    "jvp": lambda: ad.ops.custom(product, jvp=lambda dots, a, b, y: dots[0] * b + a * dots[1]),
    "custom_gradient": lambda: product_with_gradient,
}


class Product:
    """One rule for two inputs: in the mode that it is given in, and in the one that is derived."""

    params = [[*PRODUCTS]]
    param_names = ["op"]

    def setup(self, op):
        self.x, self.op = np.linspace(-1, 1, 10), PRODUCTS[op]()
        self.gradient = ad.grad(lambda a, b: np.sum(self.op(a, b)), (0, 1))

    def time_gradient(self, op):
        self.gradient(self.x, self.x)

    def time_jvp(self, op):
        ad.jvp(self.op, (self.x, self.x), (self.x, self.x))
