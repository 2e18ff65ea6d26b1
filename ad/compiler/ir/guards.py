"""Guards: the values that Python saw while a function was traced. A program holds for these values only."""
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

__all__ = ["KEYS", "Guard"]


class Guard(NamedTuple):
    """The Python value that a traced value was converted to: a bool, an int, a float, ..."""

    kind: str
    answer: Any
    line: str = ""

    def key(self) -> Any:
        """Return the answer in a form that can be compared and hashed."""
        return KEYS[self.kind](self.answer)

    def holds(self, value: Any) -> bool:
        """Return whether this value gives the same answer."""
        return bool(KEYS[self.kind](value) == self.key())


def _whole(x: Any) -> int | str:
    """Return `int(x)`, or a string for nan and infinities, for which `int` raises."""
    try:
        return int(x)
    except (ValueError, OverflowError):
        return repr(float(x))


# The kind of a guard -> the function from a value to a key that is equal for equal answers.
KEYS: dict[str, Callable[[Any], Any]] = {
    "bool": bool, "int": _whole, "float": lambda x: float(x).hex(), "complex": lambda x: repr(complex(x)),
    "array": lambda x: (np.shape(x), np.asarray(x).tobytes()),
}
