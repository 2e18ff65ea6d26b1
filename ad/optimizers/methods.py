"""The optimizers: each states its update formula, in which g is the gradient and t counts the steps from 1."""
import math
from typing import Any, TypeAlias, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from ad.optimizers.base import Optimizer, _Rate

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Nadam", "RMSprop"]

Value: TypeAlias = Any  # an ndarray or a NumPy scalar


class _Clipping(TypedDict, total=False):
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    name: str | None


class _Options(_Clipping, total=False):
    weight_decay: float | None


class SGD(Optimizer):
    """Gradient descent, with momentum.

    A step is `v = momentum * v - learning_rate * g; x = x + v`, and with `nesterov`
    `x = x + momentum * v - learning_rate * g`.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule, or callable of no arguments
    momentum : float
        In [0, 1].
    nesterov : bool
        Whether the momentum is Nesterov's.
    **options
        weight_decay, clipnorm, clipvalue, global_clipnorm, name: see `Optimizer`.

    References
    ----------
    I. Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.
    """

    _kinds = "fc"  # nothing is squared
    momentum: float
    nesterov: bool

    def __init__(self, learning_rate: _Rate = 0.01, momentum: float = 0.0, nesterov: bool = False,
                 **options: Unpack[_Options]) -> None:
        super().__init__(learning_rate, **options)
        self.keep(momentum=momentum, nesterov=nesterov)

    def slots(self) -> dict[str, float]:
        return {"momentum": 0.0} if self.momentum else {}

    def update(self, x: Value, gradient: Value, learning_rate: float, velocity: NDArray[Any] | None = None) -> Value:
        step = learning_rate * gradient
        if velocity is None:
            return x - step
        velocity *= self.momentum
        velocity -= step
        return x + self.momentum * velocity - step if self.nesterov else x + velocity


class RMSprop(Optimizer):
    """The gradient over the root of its moving mean square.

    A step is `v = rho * v + (1 - rho) * g**2; x = x - learning_rate * g / sqrt(v + epsilon)`. If `centered`,
    v there is less `a**2`, where `a = rho * a + (1 - rho) * g`. With momentum, `m = momentum * m + ` the above
    change, and `x = x - m`.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule, or callable of no arguments
    rho, momentum : float
        In [0, 1].
    epsilon : float
    centered : bool
    **options
        weight_decay, clipnorm, clipvalue, global_clipnorm, name: see `Optimizer`.

    Notes
    -----
    As in Keras, epsilon is within the root. PyTorch adds it to the root.

    References
    ----------
    G. Hinton, "Neural networks for machine learning", lecture 6, Coursera, 2012.
    A. Graves, "Generating sequences with recurrent neural networks", arXiv:1308.0850, for the centered one.
    """

    rho: float
    momentum: float
    epsilon: float
    centered: bool

    def __init__(self, learning_rate: _Rate = 0.001, rho: float = 0.9, momentum: float = 0.0, epsilon: float = 1e-7,
                 centered: bool = False, **options: Unpack[_Options]) -> None:
        super().__init__(learning_rate, **options)
        self.keep(rho=rho, momentum=momentum, epsilon=epsilon, centered=centered)

    def slots(self) -> dict[str, float]:
        wanted = {"velocity": True, "momentum": self.momentum, "average_gradient": self.centered}
        return {name: 0.0 for name, is_wanted in wanted.items() if is_wanted}

    def update(self, x: Value, gradient: Value, learning_rate: float, velocity: NDArray[Any],
               *others: NDArray[Any]) -> Value:
        velocity += (1 - self.rho) * (gradient * gradient - velocity)
        variance = velocity
        if self.centered:
            average = others[-1]
            average += (1 - self.rho) * (gradient - average)
            variance = velocity - average * average
        step = learning_rate * gradient / np.sqrt(variance + self.epsilon)
        if not self.momentum:
            return x - step
        momentum = others[0]
        momentum *= self.momentum
        momentum += step
        return x - momentum


class Adagrad(Optimizer):
    """The gradient over the root of the sum of its squares.

    A step is `a = a + g**2; x = x - learning_rate * g / sqrt(a + epsilon)`.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule, or callable of no arguments
    initial_accumulator_value : float
        The first a.
    epsilon : float
    **options
        weight_decay, clipnorm, clipvalue, global_clipnorm, name: see `Optimizer`.

    Notes
    -----
    As in Keras, epsilon is within the root. PyTorch adds it to the root, and its first a is 0.

    References
    ----------
    J. Duchi, E. Hazan and Y. Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 12, 2011.
    """

    initial_accumulator_value: float
    epsilon: float

    def __init__(self, learning_rate: _Rate = 0.001, initial_accumulator_value: float = 0.1, epsilon: float = 1e-7,
                 **options: Unpack[_Options]) -> None:
        super().__init__(learning_rate, **options)
        self.keep(initial_accumulator_value=initial_accumulator_value, epsilon=epsilon)

    def slots(self) -> dict[str, float]:
        return {"accumulator": self.initial_accumulator_value}

    def update(self, x: Value, gradient: Value, learning_rate: float, accumulator: NDArray[Any]) -> Value:
        accumulator += gradient * gradient
        return x - learning_rate * gradient / np.sqrt(accumulator + self.epsilon)


class Adam(Optimizer):
    """The moving mean of the gradient over the root of its moving mean square, both corrected for starting at 0.

    A step is `m = m + (1 - beta_1) * (g - m); v = v + (1 - beta_2) * (g**2 - v)` and
    `x = x - learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)`. With `amsgrad`
    the last v is the largest so far.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule, or callable of no arguments
    beta_1, beta_2 : float
        In [0, 1).
    epsilon : float
    amsgrad : bool
    **options
        weight_decay, clipnorm, clipvalue, global_clipnorm, name: see `Optimizer`.

    Notes
    -----
    As in Keras, epsilon is the paper's epsilon hat: that of PyTorch and of the paper's Algorithm 1 times
    `sqrt(1 - beta_2**t)`.

    References
    ----------
    D. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015; the formula before section 2.1.
    S. Reddi, S. Kale and S. Kumar, "On the convergence of Adam and beyond", ICLR 2018, for amsgrad.
    """

    beta_1: float
    beta_2: float
    epsilon: float
    amsgrad: bool

    def __init__(self, learning_rate: _Rate = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7,
                 amsgrad: bool = False, **options: Unpack[_Options]) -> None:
        super().__init__(learning_rate, **options)
        self.keep(beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, amsgrad=amsgrad)

    def slots(self) -> dict[str, float]:
        return dict.fromkeys(("momentum", "velocity", "velocity_hat")[:2 + bool(self.amsgrad)], 0.0)

    def coefficients(self, learning_rate: float, step: int) -> float:
        return learning_rate * math.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)

    def update(self, x: Value, gradient: Value, rate: float, momentum: NDArray[Any], velocity: NDArray[Any],
               velocity_hat: NDArray[Any] | None = None) -> Value:
        momentum += (1 - self.beta_1) * (gradient - momentum)
        velocity += (1 - self.beta_2) * (gradient * gradient - velocity)
        if velocity_hat is not None:
            velocity = np.maximum(velocity_hat, velocity, out=velocity_hat)
        return x - rate * momentum / (np.sqrt(velocity) + self.epsilon)


class AdamW(Adam):
    """Adam after a decay of the weights.

    A step is `x = x - weight_decay * learning_rate * x`, and then one of `Adam`.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule, or callable of no arguments
    weight_decay : float
    beta_1, beta_2 : float
        In [0, 1).
    epsilon : float
    amsgrad : bool
    **options
        clipnorm, clipvalue, global_clipnorm, name: see `Optimizer`.

    References
    ----------
    I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """

    def __init__(self, learning_rate: _Rate = 0.001, weight_decay: float = 0.004, beta_1: float = 0.9,
                 beta_2: float = 0.999, epsilon: float = 1e-7, amsgrad: bool = False,
                 **options: Unpack[_Clipping]) -> None:
        if weight_decay is None:
            raise ValueError("ad: the weight_decay of AdamW must be a number; without one, use Adam")
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **options)


class Nadam(Optimizer):
    """Adam with Nesterov's momentum.

    With `u_t = beta_1 * (1 - 0.96**t / 2)` and the m and v of `Adam`, a step is
    `x = x - learning_rate * n / (sqrt(v / (1 - beta_2**t)) + epsilon)`, where
    `n = u_(t+1) * m / (1 - u_1 ... u_(t+1)) + (1 - u_t) * g / (1 - u_1 ... u_t)`.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule, or callable of no arguments
    beta_1, beta_2 : float
        In [0, 1).
    epsilon : float
    **options
        weight_decay, clipnorm, clipvalue, global_clipnorm, name: see `Optimizer`.

    Notes
    -----
    PyTorch has the same formula, with `0.96**(t * momentum_decay)` and 0.004 for its momentum_decay: 250 of
    its steps weaken the schedule of u as much as one does here and in Keras.

    References
    ----------
    T. Dozat, "Incorporating Nesterov momentum into Adam", ICLR 2016 workshop.
    """

    beta_1: float
    beta_2: float
    epsilon: float

    def __init__(self, learning_rate: _Rate = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7,
                 **options: Unpack[_Options]) -> None:
        super().__init__(learning_rate, **options)
        self.keep(beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)
        self._product = 0, 1.0  # the last step asked for, and its product

    def slots(self) -> dict[str, float]:
        return {"momentum": 0.0, "velocity": 0.0}

    def coefficients(self, learning_rate: float, step: int) -> tuple[float, float, float]:
        now, following, product = self._u(step), self._u(step + 1), self._product_of_u(step)
        return (learning_rate * following / (1 - product * following), learning_rate * (1 - now) / (1 - product),
                1 / (1 - self.beta_2**step))

    def update(self, x: Value, gradient: Value, coefficients: tuple[float, float, float], momentum: NDArray[Any],
               velocity: NDArray[Any]) -> Value:
        of_momentum, of_gradient, correction = coefficients
        momentum += (1 - self.beta_1) * (gradient - momentum)
        velocity += (1 - self.beta_2) * (gradient * gradient - velocity)
        step = of_momentum * momentum + of_gradient * gradient
        return x - step / (np.sqrt(correction * velocity) + self.epsilon)

    def _u(self, step: int) -> float:
        return self.beta_1 * (1 - 0.5 * 0.96**step)

    def _product_of_u(self, step: int) -> float:
        """u_1 ... u_step, from the last one asked for if that was earlier."""
        last, product = self._product if self._product[0] <= step else (0, 1.0)
        for t in range(last + 1, step + 1):
            product *= self._u(t)
        self._product = step, product
        return product
