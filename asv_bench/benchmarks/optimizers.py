"""One step of an optimizer."""
import numpy as np

import ad


class ApplyGradients:
    params = [["SGD", "RMSprop", "Adagrad", "Adam", "AdamW", "Nadam"], [1, 20], [1, 1000, 100_000]]
    param_names = ["optimizer", "variables", "size"]

    def setup(self, optimizer, variables, size):
        rng = np.random.default_rng(0)
        self.optimizer = getattr(ad.optimizers, optimizer)()
        self.pairs = [(rng.random(size), ad.Variable(rng.random(size))) for _ in range(variables)]

    def time_step(self, optimizer, variables, size):
        self.optimizer.apply_gradients(self.pairs)
