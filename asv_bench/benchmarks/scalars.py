"""The gradient through 900 operations on scalars: as it is, compiled, and by the machine alone."""
import math

import ad
from ad.compiler.machine import machine_for

from .problems import best


def loop(m, x, y):
    """900 operations on scalars, with the functions of the module `m`."""
    for _ in range(100):
        x, y = m.sin(x) * y + 0.1 * x, x * y - m.exp(-x) * y
    return x + y


gradient = ad.grad(lambda x, y: loop(ad, x, y), argnums=(0, 1))


class Gradient:
    """The base of the ratio is `math` on Python floats."""

    params = [["eager", "compiled", "machine"]]
    param_names = ["layer"]

    def setup(self, layer):
        if layer == "machine":
            machine = machine_for(ad.record(gradient)(0.3, 0.7))
            self.call = lambda: machine.run([0.3, 0.7])
        else:
            called = gradient if layer == "eager" else ad.compile(gradient)
            self.call = lambda: called(0.3, 0.7)
        self.call()

    def time_call(self, layer):
        self.call()

    def track_call_by_value(self, layer):
        return best(self.call) / best(lambda: loop(math, 0.3, 0.7))

    track_call_by_value.unit = "ratio"


class Making:
    """What comes before a replay: a first call, which records; and the layout, which is part of it."""

    def setup(self):
        self.program = ad.record(gradient)(0.3, 0.7)

    def time_first_call(self):
        ad.compile(gradient)(0.3, 0.7)

    def time_layout(self):
        machine_for(self.program)
