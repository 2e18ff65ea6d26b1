"""Replays of programs by the machine: what a compiled function costs beyond its call."""
import math

import numpy as np

import ad
from ad.machine._vm import Machine, get_num_threads, set_num_threads

from .problems import best, rosen, scalar_loop


class Rosenbrock:
    """The gradient, by one thread and by all."""

    params = [[10, 100, 1000, 10_000, 100_000, 1_000_000], ["one thread", "all threads"]]
    param_names = ["n", "threads"]

    def setup(self, n, threads):
        self.before = get_num_threads()
        if threads == "one thread":
            set_num_threads(1)
        self.values = [np.random.default_rng(n).random(n)]
        self.out = [np.empty(n)]
        self.machine = Machine(ad.record(ad.grad(rosen))(*self.values))

    def teardown(self, n, threads):
        set_num_threads(self.before)

    def time_gradient(self, n, threads):
        self.machine.run(self.values)

    def time_gradient_into_out(self, n, threads):
        self.machine.run(self.values, self.out)


class ScalarLoop:
    """900 operations on scalars; the base of the ratio is `math` on Python floats."""

    def setup(self):
        gradient = ad.grad(lambda x, y: scalar_loop(ad, x, y), argnums=(0, 1))
        self.program = ad.record(gradient)(0.3, 0.7)
        self.machine = Machine(self.program)

    def time_gradient(self):
        self.machine.run([0.3, 0.7])

    def time_layout(self):
        Machine(self.program)

    def track_gradient_by_value(self):
        return best(lambda: self.machine.run([0.3, 0.7])) / best(lambda: scalar_loop(math, 0.3, 0.7))

    track_gradient_by_value.unit = "ratio"
