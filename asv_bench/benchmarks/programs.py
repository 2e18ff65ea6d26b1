"""Replays of programs by the machine: what a compiled function costs beyond its call."""
import numpy as np

import ad
from ad.compiler.machine import machine_for
from ad.compiler.machine.loops import get_num_threads, set_num_threads

from .problems import rosen


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
        self.machine = machine_for(ad.record(ad.grad(rosen))(*self.values))

    def teardown(self, n, threads):
        set_num_threads(self.before)

    def time_gradient(self, n, threads):
        self.machine.run(self.values)

    def time_gradient_into_out(self, n, threads):
        self.machine.run(self.values, self.out)
