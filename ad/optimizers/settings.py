"""Settings of optimizers and schedules: attributes that are checked by their names, and listed by `get_config`."""
import math
from collections.abc import Callable, Collection, Mapping
from numbers import Real
from typing import Any, Self, TypeAlias

__all__ = [
    "DISCOUNT", "FINITE", "FRACTION", "NOT_NEGATIVE", "POSITIVE", "RANGES", "Configured", "Range", "checked_number",
]

# What a number must do, for the message of the error, and whether it does.
Range: TypeAlias = tuple[str, Callable[[Any], bool]]

POSITIVE: Range = "be positive", lambda x: x > 0
NOT_NEGATIVE: Range = "be finite, and zero or positive", lambda x: 0 <= x < math.inf
FRACTION: Range = "lie in [0, 1]", lambda x: 0 <= x <= 1
DISCOUNT: Range = "lie in [0, 1)", lambda x: 0 <= x < 1
FINITE: Range = "be finite", math.isfinite

# The ranges of settings by name; those of one class only stand in its `_ranges`.
RANGES: dict[str, Range] = {
    "beta_1": DISCOUNT, "beta_2": DISCOUNT, "rho": FRACTION, "momentum": FRACTION, "epsilon": NOT_NEGATIVE,
    "initial_accumulator_value": NOT_NEGATIVE, "weight_decay": NOT_NEGATIVE,
    "clipnorm": POSITIVE, "clipvalue": POSITIVE, "global_clipnorm": POSITIVE,
    "learning_rate": NOT_NEGATIVE, "initial_learning_rate": FINITE, "end_learning_rate": FINITE,
    "decay_rate": FINITE, "warmup_target": FINITE,
    "decay_steps": POSITIVE, "first_decay_steps": POSITIVE, "warmup_steps": NOT_NEGATIVE,
    "t_mul": ("be at least 1", lambda x: x >= 1), "m_mul": FINITE, "alpha": FINITE, "power": FINITE,
}


def checked_number(owner: str, name: str, value: Any, wanted: Range) -> float:
    """Check and return `value`, the argument `name` of `owner`, as a Python number, which leaves float32 in float32."""
    requirement, holds = wanted
    if not isinstance(value, Real):
        raise TypeError(f"ad: the {name} of {owner} must be a number, not {type(value).__name__} {value!r:.60}")
    if not holds(value):
        raise ValueError(f"ad: the {name} of {owner} must {requirement}, not be {value!r}")
    number: Any = value
    return number if isinstance(number, int) else float(number)


class Configured:
    """Base of optimizers and schedules: settings from which a copy can be made."""

    _settings: tuple[str, ...] = ()
    _ranges: Mapping[str, Range] = {}

    def keep(self, optional: Collection[str] = (), **settings: Any) -> None:
        """Set attributes that `get_config` lists; those with a name in `RANGES` or `_ranges` are checked.

        Parameters
        ----------
        optional : collection of str
            The names of settings that may be None.
        **settings
        """
        ranges = RANGES | dict(self._ranges)
        for name, value in settings.items():
            if name in ranges and not (value is None and name in optional):
                value = checked_number(type(self).__name__, name, value, ranges[name])
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
