"""Functions that the tests of `ad.optimize` minimise, solve and fit."""
import numpy as np
import pytest
from scipy import optimize as scipy_optimize

from ad.optimize.minimizers import METHODS

START = np.array([1.1, 1.0, 1.15, 1.2])  # where the Hessian is positive definite, which dogleg wants
DERIVATIVES = {"jac": scipy_optimize.rosen_der, "hess": scipy_optimize.rosen_hess}
METHODS_HERE = [m for m in METHODS if m.lower() in scipy_optimize._minimize.MINIMIZE_METHODS]
# The error of a function that does not depend on its argument.
CONSTANT = (
    "f does not depend on x: what it returns is a constant, or an integer; compute it from the argument of f, without "
    "x.numpy() or ad.stop_gradient"
)


def rosen(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


class Counted:
    """A function that keeps the arguments it was called with: plain for values, ours for derivatives."""

    def __init__(self, f):
        self.f, self.xs = f, []

    def __call__(self, x, *args):
        self.xs.append(x)
        return self.f(x, *args)

    def points(self):
        return {np.asarray(getattr(x, "primal", x)).tobytes() for x in self.xs}


def message(call, *args, **kwargs):
    with pytest.raises((TypeError, ValueError)) as caught:
        call(*args, **kwargs)
    text = str(caught.value)
    assert "\n" not in text
    return text


T = np.linspace(0, 4, 30)
DATA = 2.5 * np.exp(-1.3 * T) + 0.5 + 0.05 * np.sin(20 * T)


def decay(t, a, k, c):
    return a * np.exp(-k * t) + c


def decay_jacobian(t, a, k, c):
    return np.stack([np.exp(-k * t), -a * t * np.exp(-k * t), np.ones_like(t)], axis=1)


def equations(x):
    return [1.0 - x[0] - 0.5 * (x[0] - x[1]) ** 3, 0.5 * (x[0] - x[1]) ** 3 - x[1]]


def equations_jacobian(x):
    d = 1.5 * (x[0] - x[1]) ** 2
    return np.array([[-1 - d, d], [d, -1 - d]])
