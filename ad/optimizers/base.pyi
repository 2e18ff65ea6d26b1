from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Never, Self, TypeAlias

from numpy.typing import ArrayLike, NDArray

from ad._core import Array
from ad.engine.tape import Tape
from ad.engine.variable import Variable
from ad.optimizers.schedules import LearningRateSchedule
from ad.optimizers.settings import Configured

__all__ = ["Optimizer"]

_Rate: TypeAlias = float | LearningRateSchedule | Callable[[], float]

class Optimizer(Configured):
    iterations: int
    name: str
    weight_decay: float | None
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    def __init__(
        self, learning_rate: _Rate = 0.001, *, weight_decay: float | None = None, clipnorm: float | None = None,
        clipvalue: float | None = None, global_clipnorm: float | None = None, name: str | None = None,
        **unknown: Never
    ) -> None: ...
    @property
    def learning_rate(self) -> float: ...
    @learning_rate.setter
    def learning_rate(self, rate: _Rate) -> None: ...
    def slots(self) -> dict[str, float]: ...
    def coefficients(self, learning_rate: float, step: int) -> Any: ...
    # Of (x, gradient, coefficients, *slots): each optimizer names its own coefficients and slots.
    update: Callable[..., Any]
    def apply_gradients(self, grads_and_vars: Iterable[tuple[Array | ArrayLike | None, Variable]]) -> None: ...
    def apply(
        self, grads: Sequence[Array | ArrayLike | None], trainable_variables: Sequence[Variable] | None = None
    ) -> None: ...
    def minimize(self, loss: Array | Callable[[], Any], var_list: Any, tape: Tape | None = None) -> None: ...
    def build(self, var_list: Any) -> None: ...
    def state(self) -> dict[str, NDArray[Any]]: ...
    def load_state(self, state: Mapping[str, NDArray[Any]], var_list: Any = None) -> None: ...
    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, type[LearningRateSchedule]] | None = None
    ) -> Self: ...
    def __getstate__(self) -> dict[str, Any]: ...
    def __setstate__(self, state: dict[str, Any]) -> None: ...
