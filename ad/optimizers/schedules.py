"""Learning rates that depend on the step, with Keras' names and arguments.

A schedule is called with the number of steps taken so far, and is given to an optimizer as its `learning_rate`.
"""
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from ad.optimizers.settings import Configured

__all__ = [
    "CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay", "LearningRateSchedule",
    "PiecewiseConstantDecay", "PolynomialDecay", "deserialize", "serialize",
]


class LearningRateSchedule(Configured):
    """Base of the schedules: a subclass computes the rate in `__call__(self, step)`.

    To be saved by `get_config`, a subclass gives its arguments to `self.keep`.

    Examples
    --------
    >>> class Halving(ad.optimizers.schedules.LearningRateSchedule):
    ...     def __init__(self, first):
    ...         self.keep(first=first)
    ...     def __call__(self, step):
    ...         return self.first / 2**step
    >>> Halving(0.1)(2)
    0.025
    """

    def __call__(self, step: int) -> float:
        raise NotImplementedError(f"ad: the schedule {type(self).__name__} must define __call__(self, step)")


class _Decay(LearningRateSchedule):
    """Base of the decays by a function of `step / decay_steps`, which `staircase` rounds down."""

    initial_learning_rate: float
    decay_steps: float
    decay_rate: float
    staircase: bool
    name: str

    def __init__(self, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool,
                 name: str) -> None:
        self.keep(initial_learning_rate=initial_learning_rate, decay_steps=decay_steps, decay_rate=decay_rate,
                  staircase=staircase, name=name)

    def _periods(self, step: int) -> float:
        periods = step / self.decay_steps
        return math.floor(periods) if self.staircase else periods


class ExponentialDecay(_Decay):
    """`initial_learning_rate * decay_rate ** (step / decay_steps)`.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : float
        Positive.
    decay_rate : float
    staircase : bool
        Whether the exponent is rounded down to an integer.
    name : str
    """

    def __init__(self, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False,
                 name: str = "ExponentialDecay") -> None:
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def __call__(self, step: int) -> float:
        rate: float = self.initial_learning_rate * self.decay_rate ** self._periods(step)
        return rate


class InverseTimeDecay(_Decay):
    """`initial_learning_rate / (1 + decay_rate * step / decay_steps)`.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : float
        Positive.
    decay_rate : float
    staircase : bool
        Whether `step / decay_steps` is rounded down to an integer.
    name : str
    """

    def __init__(self, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False,
                 name: str = "InverseTimeDecay") -> None:
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate / (1 + self.decay_rate * self._periods(step))


class PiecewiseConstantDecay(LearningRateSchedule):
    """`values[i]` for the first i with `step <= boundaries[i]`, and the last value after the last boundary.

    Parameters
    ----------
    boundaries : sequence of n numbers
        Rising.
    values : sequence of n + 1 floats
    name : str
    """

    boundaries: list[float]
    values: list[float]
    name: str

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant") -> None:
        boundaries, values = list(boundaries), list(values)
        if len(values) != len(boundaries) + 1:
            raise ValueError(f"ad: PiecewiseConstantDecay takes one value more than boundaries, not {len(values)} "
                             f"values for {len(boundaries)} boundaries")
        if any(low >= high for low, high in zip(boundaries, boundaries[1:])):
            raise ValueError(f"ad: the boundaries of PiecewiseConstantDecay must rise, not be {boundaries}")
        self.keep(boundaries=boundaries, values=values, name=name)

    def __call__(self, step: int) -> float:
        return self.values[bisect_left(self.boundaries, step)]


class PolynomialDecay(LearningRateSchedule):
    """`(initial_learning_rate - end_learning_rate) * (1 - step / decay_steps) ** power + end_learning_rate`.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : float
        Positive. The rate stays at its end after them.
    end_learning_rate : float
    power : float
    cycle : bool
        Whether, instead, `decay_steps` is doubled, tripled, ... once step is beyond it.
    name : str
    """

    initial_learning_rate: float
    decay_steps: float
    end_learning_rate: float
    power: float
    cycle: bool
    name: str

    def __init__(self, initial_learning_rate: float, decay_steps: float, end_learning_rate: float = 0.0001,
                 power: float = 1.0, cycle: bool = False, name: str = "PolynomialDecay") -> None:
        self.keep(initial_learning_rate=initial_learning_rate, decay_steps=decay_steps,
                  end_learning_rate=end_learning_rate, power=power, cycle=cycle, name=name)

    def __call__(self, step: int) -> float:
        steps = self.decay_steps
        if self.cycle:
            steps *= max(1, math.ceil(step / steps))
        left = 1 - min(step, steps) / steps
        rate: float = (self.initial_learning_rate - self.end_learning_rate) * left**self.power + self.end_learning_rate
        return rate


class CosineDecay(LearningRateSchedule):
    """Half a cosine from `initial_learning_rate` down to `alpha` times it, after an optional warmup.

    The warmup rises linearly from `initial_learning_rate` to `warmup_target`, from which the cosine then falls.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : float
        Positive; the steps of the cosine.
    alpha : float
    name : str
    warmup_target : float, optional
        None: no warmup.
    warmup_steps : float

    References
    ----------
    I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.
    P. Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", arXiv:1706.02677.
    """

    initial_learning_rate: float
    decay_steps: float
    alpha: float
    name: str
    warmup_target: float | None
    warmup_steps: float

    def __init__(self, initial_learning_rate: float, decay_steps: float, alpha: float = 0.0, name: str = "CosineDecay",
                 warmup_target: float | None = None, warmup_steps: float = 0) -> None:
        self.keep(optional=("warmup_target",), initial_learning_rate=initial_learning_rate, decay_steps=decay_steps,
                  alpha=alpha, name=name, warmup_target=warmup_target, warmup_steps=warmup_steps)

    def __call__(self, step: int) -> float:
        first, top = self.initial_learning_rate, self.warmup_target
        if top is None:
            return first * _cosine(step / self.decay_steps, self.alpha)
        if step < self.warmup_steps:
            return first + (top - first) * step / self.warmup_steps
        return top * _cosine((step - self.warmup_steps) / self.decay_steps, self.alpha)


class CosineDecayRestarts(LearningRateSchedule):
    """Cosine decays one after the other, each `t_mul` times as long as the last and from `m_mul` times the rate.

    Parameters
    ----------
    initial_learning_rate : float
    first_decay_steps : float
        Positive; the steps of the first decay.
    t_mul : float
        At least 1.
    m_mul : float
    alpha : float
        The least rate, as a fraction of `initial_learning_rate`.
    name : str

    References
    ----------
    I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.
    """

    initial_learning_rate: float
    first_decay_steps: float
    t_mul: float
    m_mul: float
    alpha: float
    name: str

    def __init__(self, initial_learning_rate: float, first_decay_steps: float, t_mul: float = 2.0, m_mul: float = 1.0,
                 alpha: float = 0.0, name: str = "SGDRDecay") -> None:
        self.keep(initial_learning_rate=initial_learning_rate, first_decay_steps=first_decay_steps, t_mul=t_mul,
                  m_mul=m_mul, alpha=alpha, name=name)

    def __call__(self, step: int) -> float:
        restarts, done = self._restarts(step)
        return self.initial_learning_rate * _cosine(done, self.alpha, self.m_mul**restarts)

    def _restarts(self, step: float) -> tuple[float, float]:
        """Return the number of restarts so far, and the fraction of the decay since then."""
        if self.t_mul == 1:
            return divmod(step / self.first_decay_steps, 1)
        # A loop, because a quotient of logarithms rounds to the wrong side at some of the restarts.
        restarts, length = 0, self.first_decay_steps
        while step >= length:
            step, length, restarts = step - length, length * self.t_mul, restarts + 1
        return restarts, step / length


def _cosine(done: float, alpha: float, top: float = 1.0) -> float:
    """Return half a cosine that falls from `top` at 0 to alpha at 1; alpha beyond."""
    return (1 - alpha) * top * (1 + math.cos(math.pi * min(done, 1))) / 2 + alpha


def serialize(schedule: LearningRateSchedule) -> dict[str, Any]:
    """Return the name of a schedule's class and its settings, from which `deserialize` makes it again.

    Parameters
    ----------
    schedule : LearningRateSchedule

    Returns
    -------
    dict
        With the items "class_name" and "config".
    """
    return {"class_name": type(schedule).__name__, "config": schedule.get_config()}


def deserialize(config: Mapping[str, Any],
                custom_objects: Mapping[str, type[LearningRateSchedule]] | None = None) -> LearningRateSchedule:
    """Make a schedule from what `serialize` returned.

    Parameters
    ----------
    config : dict
        With the items "class_name" and "config".
    custom_objects : dict, optional
        The schedules' classes that are not of this module, by their names.

    Raises
    ------
    ValueError
        If there is no schedule of that name.
    """
    name = config["class_name"]
    known = {**_BUILT_IN, **(custom_objects or {})}
    if name not in known:
        raise ValueError(f"ad: no schedule is called {name!r}; give its class: custom_objects={{{name!r}: ...}}")
    return known[name].from_config(config["config"])


_BUILT_IN = {schedule.__name__: schedule for schedule in (
    CosineDecay, CosineDecayRestarts, ExponentialDecay, InverseTimeDecay, PiecewiseConstantDecay, PolynomialDecay)}
