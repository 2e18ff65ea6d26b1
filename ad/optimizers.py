"""Optimizers that change variables by their gradients, with Keras' names and arguments."""
import warnings

import numpy as np

from ad._core import Array
from ad._leaves import Variable
from ad.gradient_tape import GradientTape

__all__ = ["SGD"]


class SGD:
    """Gradient descent, with momentum.

    A step is `v = momentum * v - learning_rate * g; x = x + v`, and with `nesterov`
    `x = x + momentum * v - learning_rate * g`.

    Parameters
    ----------
    learning_rate : float, or callable of no arguments that gives one
    momentum : float
        In [0, 1].
    nesterov : bool
    name : str

    References
    ----------
    I. Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.
    """

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False, name="SGD"):
        if not 0 <= momentum <= 1:
            raise ValueError(f"ad: the momentum of SGD must lie in [0, 1], not be {momentum!r}")
        self.learning_rate, self.momentum, self.nesterov, self.name = learning_rate, momentum, nesterov, name
        self.iterations = 0
        self._velocities = {}  # id of a variable -> (the variable, its velocity)

    def apply_gradients(self, grads_and_vars):
        """Change each variable by its gradient.

        Parameters
        ----------
        grads_and_vars : iterable of (gradient, Variable)
            Pairs whose gradient is None are left out, with a warning.

        Raises
        ------
        ValueError
            If every gradient is None, or one is of another shape than its variable.
        """
        pairs = _with_gradients(grads_and_vars)
        rate = self.learning_rate() if callable(self.learning_rate) else self.learning_rate
        for gradient, variable in pairs:
            variable.assign_add(self._change(gradient, variable, rate))
        self.iterations += 1

    def minimize(self, loss, var_list, tape=None):
        """Take the gradient of a loss, and apply it.

        Parameters
        ----------
        loss : callable of no arguments, or an Array computed on `tape`
        var_list : list of Variable
        tape : GradientTape, optional
        """
        if callable(loss):
            with GradientTape() as tape:
                loss = loss()
        elif tape is None:
            raise ValueError("ad: minimize needs the tape on which the loss was computed, or a callable loss")
        self.apply_gradients(zip(tape.gradient(loss, var_list), var_list))

    def _change(self, gradient, variable, rate):
        step = -rate * gradient
        if not self.momentum:
            return step
        _, velocity = self._velocities.get(id(variable), (variable, 0.0))
        velocity = self.momentum * velocity + step
        self._velocities[id(variable)] = variable, velocity
        return self.momentum * velocity + step if self.nesterov else velocity


def _with_gradients(grads_and_vars):
    """The pairs that have a gradient, with its plain value."""
    pairs = [(gradient, _checked(variable)) for gradient, variable in grads_and_vars]
    missing = [variable.name for gradient, variable in pairs if gradient is None]
    if len(missing) == len(pairs):
        raise ValueError(f"ad: no gradients provided for any variable: {missing}")
    if missing:
        warnings.warn(f"ad: gradients do not exist for the variables {missing}; they stay as they are", stacklevel=3)
    return [(_plain(gradient, variable), variable) for gradient, variable in pairs if gradient is not None]


def _checked(variable):
    if not isinstance(variable, Variable):
        raise TypeError(f"ad: an optimizer changes variables, not {type(variable).__name__} {variable!r:.60}")
    return variable


def _plain(gradient, variable):
    gradient = gradient.numpy() if isinstance(gradient, Array) else np.asarray(gradient)
    if gradient.shape != variable.shape:
        raise ValueError(f"ad: a gradient of shape {gradient.shape} for variable {variable.name!r} "
                         f"of shape {variable.shape}")
    return gradient
