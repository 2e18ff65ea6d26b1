"""What an entry tells readers and tests besides its rule: sample calls, singular points, accuracy, the docstring."""
from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

__all__ = ["EXACT", "Accuracy", "Point", "case", "documentation", "inexact", "point", "present", "singular_text"]


def case(*inputs: Any, **params: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments to test an entry with. A tuple is a shape to sample; anything else is passed as it is."""
    return inputs, params


class Accuracy:
    """How accurate the first derivatives of an elementwise entry are in float64: bounds that the tests hold.

    Most entries are within 8 ulp everywhere. Where more would cost too much, `reason` says what loses digits.

    Attributes
    ----------
    reason : str
    relative : float
        ulps of the derivative f'.
    absolute : float
        ulps of max(1, |f'|).
    low, high : float
        The bounds hold for inputs from `low` to `high`.
    """

    def __init__(self, reason: str = "", relative: float = 8.0, absolute: float = 8.0, low: float = -math.inf,
                 high: float = math.inf) -> None:
        self.reason, self.relative, self.absolute, self.low, self.high = reason, relative, absolute, low, high


EXACT = Accuracy()


def inexact(reason: str, absolute: float = 8.0, low: float = -math.inf, high: float = math.inf) -> Accuracy:
    """The accuracy of a derivative whose relative error has no bound, for this reason."""
    return Accuracy(reason, math.inf, absolute, low, high)


class Point:
    """A point at which a rule makes a choice, and the derivatives of each order there."""

    def __init__(self, inputs: tuple[Any, ...], params: dict[str, Any], derivatives: tuple[Any, ...]) -> None:
        self.inputs, self.params, self.derivatives = inputs, params, derivatives

    def __str__(self) -> str:
        given = [_text(x) for x in self.inputs]
        at = ", ".join(given + [f"{name}={_text(value)}" for name, value in self.params.items()])
        at = at if len(given) == 1 and not self.params else f"({at})"
        first, *higher = map(_text, self.derivatives)
        ordinals = ("second", "third")
        return ", ".join([f"{first} at {at}", *[f"{ordinal} {value}" for ordinal, value in zip(ordinals, higher)]])


def point(*inputs: Any, first: Any, second: Any = None, third: Any = None, **params: Any) -> Point:
    """A singular point of an entry: its inputs, numbers or tuples of them, and the derivatives there.

    The second and third derivatives are with respect to all elements of the inputs, one after the other: nested tuples.
    A number stands for all of them. For an output with several elements they are the derivatives of its sum.
    """
    return Point(inputs, params, tuple(x for x in (first, second, third) if x is not None))


def _text(value: Any) -> str:
    """A number, or nested tuples of numbers, as a reader writes it."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))})"
    return f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def singular_text(points: Iterable[Point], singular: str) -> str:
    """The text about singular points: each point that is listed, then the entry's own words."""
    return "; ".join([*map(str, points), *([singular] if singular else [])])


def documentation(
    name: str, own: str | None, numpy: Sequence[Callable[..., Any]], singular: str, accuracy: Accuracy = EXACT
) -> str:
    """The docstring of a public function: what it computes, what it stands for, where its derivative is a choice."""
    parts = [own.rstrip() if own else _title(numpy[0]) if numpy else name]
    if numpy and not own:
        module = numpy[0].__module__ if hasattr(numpy[0], "__module__") else "scipy.special"
        parts.append(f"As `{module}.{numpy[0].__name__}`, where the full description is; differentiable in every mode.")
    if singular:
        parts.append(f"Singular points: {singular}.")
    if accuracy.reason:
        parts.append(f"Accuracy of the derivative: {accuracy.reason}.")
    return "\n\n    ".join(parts)  # indented as in the source: `help` removes the indentation


def _title(numpy: Callable[..., Any]) -> str:
    """The first sentence of a NumPy or SciPy function's documentation."""
    text = (numpy.__doc__ or "")[:1000].lstrip()  # not all of it: `import ad` does this for every entry
    while text.startswith(f"{numpy.__name__}("):  # the signature of a ufunc: SciPy's may have two
        text = text.partition("\n\n")[2].lstrip()
    return " ".join(text.partition("\n\n")[0].split()) or numpy.__name__


def present(
    public: Any, function: Callable[..., Any], name: str, numpy: Sequence[Callable[..., Any]], singular: str
) -> None:
    """Give a public function the name, signature and documentation that `help` shows."""
    public.__name__ = public.__qualname__ = name
    public.__module__, public.__wrapped__ = function.__module__, function  # inspect.signature follows the latter
    public.__doc__ = documentation(name, function.__doc__, numpy, singular)
