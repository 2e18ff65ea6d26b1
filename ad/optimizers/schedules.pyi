from collections.abc import Mapping, Sequence
from typing import Any

from ad.optimizers.settings import Configured

__all__ = [
    "CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay", "LearningRateSchedule",
    "PiecewiseConstantDecay", "PolynomialDecay", "deserialize", "serialize",
]

class LearningRateSchedule(Configured):
    def __call__(self, step: int) -> float: ...

class ExponentialDecay(LearningRateSchedule):
    initial_learning_rate: float
    decay_steps: float
    decay_rate: float
    staircase: bool
    name: str
    def __init__(
        self, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False,
        name: str = "ExponentialDecay"
    ) -> None: ...

class InverseTimeDecay(LearningRateSchedule):
    initial_learning_rate: float
    decay_steps: float
    decay_rate: float
    staircase: bool
    name: str
    def __init__(
        self, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False,
        name: str = "InverseTimeDecay"
    ) -> None: ...

class PiecewiseConstantDecay(LearningRateSchedule):
    boundaries: list[float]
    values: list[float]
    name: str
    def __init__(
        self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant"
    ) -> None: ...

class PolynomialDecay(LearningRateSchedule):
    initial_learning_rate: float
    decay_steps: float
    end_learning_rate: float
    power: float
    cycle: bool
    name: str
    def __init__(
        self, initial_learning_rate: float, decay_steps: float, end_learning_rate: float = 0.0001, power: float = 1.0,
        cycle: bool = False, name: str = "PolynomialDecay"
    ) -> None: ...

class CosineDecay(LearningRateSchedule):
    initial_learning_rate: float
    decay_steps: float
    alpha: float
    name: str
    warmup_target: float | None
    warmup_steps: float
    def __init__(
        self, initial_learning_rate: float, decay_steps: float, alpha: float = 0.0, name: str = "CosineDecay",
        warmup_target: float | None = None, warmup_steps: float = 0
    ) -> None: ...

class CosineDecayRestarts(LearningRateSchedule):
    initial_learning_rate: float
    first_decay_steps: float
    t_mul: float
    m_mul: float
    alpha: float
    name: str
    def __init__(
        self, initial_learning_rate: float, first_decay_steps: float, t_mul: float = 2.0, m_mul: float = 1.0,
        alpha: float = 0.0, name: str = "SGDRDecay"
    ) -> None: ...

def serialize(schedule: LearningRateSchedule) -> dict[str, Any]: ...
def deserialize(
    config: Mapping[str, Any], custom_objects: Mapping[str, type[LearningRateSchedule]] | None = None
) -> LearningRateSchedule: ...
