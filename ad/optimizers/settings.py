"""Settings of optimizers and schedules: attributes that are checked by their names, and listed by `get_config`."""
import math
from collections.abc import Callable, Collection
from numbers import Real
from typing import Any, Self

__all__ = ["Configured", "checked_number"]

_POSITIVE = "be positive", lambda x: x > 0
_NOT_NEGATIVE = "be finite, and zero or positive", lambda x: 0 <= x < math.inf
_FRACTION = "lie in [0, 1]", lambda x: 0 <= x <= 1
_DISCOUNT = "lie in [0, 1)", lambda x: 0 <= x < 1
_FINITE: tuple[str, Callable[[Any], bool]] = "be finite", math.isfinite

_RANGES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "beta_1": _DISCOUNT, "beta_2": _DISCOUNT, "rho": _FRACTION, "momentum": _FRACTION, "epsilon": _NOT_NEGATIVE,
    "initial_accumulator_value": _NOT_NEGATIVE, "weight_decay": _NOT_NEGATIVE,
    "clipnorm": _POSITIVE, "clipvalue": _POSITIVE, "global_clipnorm": _POSITIVE,
    "learning_rate": _NOT_NEGATIVE, "initial_learning_rate": _FINITE, "end_learning_rate": _FINITE,
    "decay_rate": _FINITE, "warmup_target": _FINITE,
    "decay_steps": _POSITIVE, "first_decay_steps": _POSITIVE, "warmup_steps": _NOT_NEGATIVE,
    "t_mul": ("be at least 1", lambda x: x >= 1), "m_mul": _FINITE, "alpha": _FINITE, "power": _FINITE,
}


def checked_number(owner: str, name: str, value: Any) -> float:
    """Check and return `value`, the argument `name` of `owner`, as a Python number, which leaves float32 in float32."""
    wanted, holds = _RANGES[name]
    if not isinstance(value, Real):
        raise TypeError(f"ad: the {name} of {owner} must be a number, not {type(value).__name__} {value!r:.60}")
    if not holds(value):
        raise ValueError(f"ad: the {name} of {owner} must {wanted}, not be {value!r}")
    number: Any = value
    return number if isinstance(number, int) else float(number)


class Configured:
    """Base of optimizers and schedules: settings from which a copy can be made."""

    _settings: tuple[str, ...] = ()

    def keep(self, optional: Collection[str] = (), **settings: Any) -> None:
        """Set attributes that `get_config` lists; those with a name in the table of ranges are checked.

        Parameters
        ----------
        optional : collection of str
            The names of settings that may be None.
        **settings
        """
        for name, value in settings.items():
            if name in _RANGES and not (value is None and name in optional):
                value = checked_number(type(self).__name__, name, value)
            setattr(self, name, value)
        self._settings = (*self._settings, *settings)

    def get_config(self) -> dict[str, Any]:
        """Return the settings as a dict, from which `from_config` makes a copy."""
        return {name: getattr(self, name) for name in self._settings}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make a copy from the settings that `get_config` returned.

        Parameters
        ----------
        config : dict
        """
        return cls(**config)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.get_config().items())})"
