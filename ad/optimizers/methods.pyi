from typing import TypedDict, Unpack, type_check_only

from ad.optimizers.base import Optimizer, _Rate

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Nadam", "RMSprop"]

@type_check_only
class _Clipping(TypedDict, total=False):
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    name: str | None

@type_check_only
class _Options(_Clipping, total=False):
    weight_decay: float | None

class SGD(Optimizer):
    momentum: float
    nesterov: bool
    def __init__(
        self, learning_rate: _Rate = 0.01, momentum: float = 0.0, nesterov: bool = False, **options: Unpack[_Options]
    ) -> None: ...

class RMSprop(Optimizer):
    rho: float
    momentum: float
    epsilon: float
    centered: bool
    def __init__(
        self, learning_rate: _Rate = 0.001, rho: float = 0.9, momentum: float = 0.0, epsilon: float = 1e-7,
        centered: bool = False, **options: Unpack[_Options]
    ) -> None: ...

class Adagrad(Optimizer):
    initial_accumulator_value: float
    epsilon: float
    def __init__(
        self, learning_rate: _Rate = 0.001, initial_accumulator_value: float = 0.1, epsilon: float = 1e-7,
        **options: Unpack[_Options]
    ) -> None: ...

class Adam(Optimizer):
    beta_1: float
    beta_2: float
    epsilon: float
    amsgrad: bool
    def __init__(
        self, learning_rate: _Rate = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7,
        amsgrad: bool = False, **options: Unpack[_Options]
    ) -> None: ...

class AdamW(Adam):
    def __init__(
        self, learning_rate: _Rate = 0.001, weight_decay: float = 0.004, beta_1: float = 0.9, beta_2: float = 0.999,
        epsilon: float = 1e-7, amsgrad: bool = False, **options: Unpack[_Clipping]
    ) -> None: ...

class Nadam(Optimizer):
    beta_1: float
    beta_2: float
    epsilon: float
    def __init__(
        self, learning_rate: _Rate = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7,
        **options: Unpack[_Options]
    ) -> None: ...
