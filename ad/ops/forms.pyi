from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ad.engine.graph import Op

__all__ = [
    "Accuracy", "BROADCASTS", "EXACT", "Entry", "FUNCTIONS", "LANES", "LATER", "Lanes", "Point", "TABLE", "UFUNCS",
    "bilinear", "case", "composite", "custom", "elementwise", "inexact", "lanes_of", "linear", "point", "spelling",
    "stacked",
]

_Function: TypeAlias = Callable[..., Any]
_Decorator: TypeAlias = Callable[[_Function], _Function]
_Case: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
_Rules: TypeAlias = _Function | tuple[_Function, ...]

OUTPUT: int
LATER: list[str]
TABLE: dict[str, Entry]
UFUNCS: dict[np.ufunc, _Function]
LANES: dict[Op, Lanes]
BROADCASTS: Lanes
FUNCTIONS: dict[_Function, _Function]

class Lanes(NamedTuple):
    broadcasts: bool = False
    shifted: _Function | None = None
    batched: _Function | None = None

class Point(NamedTuple):
    inputs: tuple[Any, ...]
    params: dict[str, Any]
    derivatives: tuple[Any, ...]
class Accuracy(NamedTuple):
    reason: str = ""
    relative: float = 8.0
    absolute: float = 8.0
    low: float = ...
    high: float = ...

EXACT: Accuracy

class Entry:
    name: str
    function: _Function
    form: str
    numpy: tuple[_Function, ...]
    op: Op | None
    domain: Any
    cases: Sequence[_Case]
    points: Sequence[Point]
    singular: str
    accuracy: Accuracy
    def __init__(
        self, name: str, function: _Function, form: str, *, numpy: tuple[_Function, ...] = (), op: Op | None = None,
        domain: Any = None, cases: Sequence[_Case] = (), points: Sequence[Point] = (), singular: str = "",
        accuracy: Accuracy = ...
    ) -> None: ...

def lanes_of(op: Op) -> Lanes: ...
def over_lanes(rule: _Function, dots: tuple[Any, ...], xs: tuple[Any, ...], y: Any, lanes: Any) -> Any: ...
def case(*inputs: Any, **params: Any) -> _Case: ...
def inexact(reason: str, absolute: float = 8.0, low: float = ..., high: float = ...) -> Accuracy: ...
def point(*inputs: Any, first: Any, second: Any = None, third: Any = None, **params: Any) -> Point: ...
def elementwise(
    name: str, numpy: _Function | tuple[_Function, ...] | None, partials: Any, *, domain: Any, singular: str = "",
    points: Sequence[Point] = (), method: bool | str = False, fn: _Function | None = None,
    shape_rule: _Function | None = None, exponent: float | str | None = None, radicand: _Function | None = None,
    carry: _Function | None = None, dots: Sequence[int] = (), accuracy: Accuracy = ...
) -> _Function: ...
def spelling(
    name: str, *numpy: _Function, cases: Sequence[_Case] = (), method: bool | str = False
) -> _Decorator: ...
def linear(
    *numpy: _Function, transpose: _Rules, inputs: int | None = 1, lanes: _Function | None = None,
    batched: _Function | None = None, domain: Any = None, cases: Sequence[_Case] = (), singular: str = "",
    method: bool | str = False, fold: tuple[np.ufunc, float] | None = None, shape_rule: _Function | None = None,
    moves: bool = False, carry: _Function | None = None
) -> _Decorator: ...
def bilinear(
    *numpy: _Function, transposes: tuple[_Function, _Function], batches: Any = False,
    batched: _Function | None = None, domain: Any = None, cases: Sequence[_Case] = (), singular: str = "",
    method: bool | str = False
) -> _Decorator: ...
def custom(
    *numpy: _Function, jvp: _Rules, vjp: _Rules, inputs: int | None = 1, outputs: int = 1, batches: Any = False,
    lanes: Any = None, domain: Any = None, cases: Sequence[_Case] = (), singular: str = "",
    points: Sequence[Point] = (), method: bool | str = False, fold: tuple[np.ufunc, float] | None = None,
    shape_rule: _Function | None = None, radicand: _Function | None = None,
    carry: _Function | None = None
) -> _Decorator: ...
def composite(
    *numpy: _Function, domain: Any = None, cases: Sequence[_Case] = (), singular: str = "",
    points: Sequence[Point] = (), method: bool | str = False, sequence: bool = False
) -> _Decorator: ...
def stacked(value: Any) -> Any: ...
