"""The overhead of every op of the table, on the small arrays of its first case."""
import contextlib

import numpy as np

import ad
from ad.ops import TABLE

with contextlib.suppress(ImportError):  # without SciPy its functions are not in the table
    ad.special.__name__  # noqa: B018


def is_differentiable(x):
    if isinstance(x, list):
        return all(map(is_differentiable, x))
    return isinstance(x, np.ndarray) and x.dtype.kind in "fc"


def total(outputs):
    """One real number from whatever an op returns."""
    parts = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    terms = [np.sum(np.real(y) if y.dtype.kind == "c" else y) for y in parts if y.dtype.kind in "fc"]
    return sum(terms[1:], terms[0])


class Overhead:
    """One call on plain arrays, in forward mode, and its gradient."""

    params = [sorted(TABLE)]
    param_names = ["op"]

    def setup(self, name):
        entry = TABLE[name]
        keywords = entry.cases[0][1] if entry.cases else {}
        self.args = entry.sample(np.random.default_rng(1))
        argnums = tuple(i for i, x in enumerate(self.args) if is_differentiable(x))
        self.call = lambda *args: entry.function(*args, **keywords)
        self.gradient = ad.grad(lambda *args: total(self.call(*args)), argnums=argnums)
        self.duals = [seeded(x) if i in argnums else x for i, x in enumerate(self.args)]

    def time_plain(self, name):
        self.call(*self.args)

    def time_forward(self, name):
        self.call(*self.duals)

    def time_gradient(self, name):
        self.gradient(*self.args)


def seeded(x):
    return [seeded(part) for part in x] if isinstance(x, list) else ad.Dual(x, np.ones_like(x))
