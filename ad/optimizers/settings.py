"""Settings kept as attributes: checked by their names, and listed by `get_config`."""
import math
from numbers import Real

__all__ = ["Configured", "checked_number"]

_POSITIVE = "be positive", lambda x: x > 0
_NOT_NEGATIVE = "be finite, and zero or positive", lambda x: 0 <= x < math.inf
_FRACTION = "lie in [0, 1]", lambda x: 0 <= x <= 1
_DISCOUNT = "lie in [0, 1)", lambda x: 0 <= x < 1
_FINITE = "be finite", math.isfinite

_RANGES = {
    "beta_1": _DISCOUNT, "beta_2": _DISCOUNT, "rho": _FRACTION, "momentum": _FRACTION, "epsilon": _NOT_NEGATIVE,
    "initial_accumulator_value": _NOT_NEGATIVE, "weight_decay": _NOT_NEGATIVE,
    "clipnorm": _POSITIVE, "clipvalue": _POSITIVE, "global_clipnorm": _POSITIVE,
    "learning_rate": _NOT_NEGATIVE, "initial_learning_rate": _FINITE, "end_learning_rate": _FINITE,
    "decay_rate": _FINITE, "warmup_target": _FINITE,
    "decay_steps": _POSITIVE, "first_decay_steps": _POSITIVE, "warmup_steps": _NOT_NEGATIVE,
    "t_mul": ("be at least 1", lambda x: x >= 1), "m_mul": _FINITE, "alpha": _FINITE, "power": _FINITE,
}


def checked_number(owner, name, value):
    """`value` as a Python number, which leaves float32 values in float32; `owner` is what it is an argument of."""
    wanted, holds = _RANGES[name]
    if not isinstance(value, Real):
        raise TypeError(f"ad: the {name} of {owner} must be a number, not {type(value).__name__} {value!r:.60}")
    if not holds(value):
        raise ValueError(f"ad: the {name} of {owner} must {wanted}, not be {value!r}")
    return value if isinstance(value, int) else float(value)


class Configured:
    """What optimizers and schedules share: settings that make a copy of them."""

    def keep(self, optional=(), **settings):
        """Set attributes that `get_config` lists; numbers of known names are checked.

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
        self._settings = (*getattr(self, "_settings", ()), *settings)

    def get_config(self):
        """The settings as a dict, from which `from_config` makes the same again."""
        return {name: getattr(self, name) for name in self._settings}

    @classmethod
    def from_config(cls, config):
        """Made anew from what `get_config` gave.

        Parameters
        ----------
        config : dict
        """
        return cls(**config)

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.get_config().items())})"
