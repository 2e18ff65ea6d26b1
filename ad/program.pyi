import os
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from ad._graph import Aval, Op
from ad.trees import Frame

__all__ = ["Cost", "Guard", "Instruction", "Program", "evaluate", "frozen"]

_Slots: TypeAlias = tuple[int, ...]

SMALL: int
KEYS: dict[str, Any]

class Instruction(NamedTuple):
    op: Op
    params: tuple[Any, ...]
    inputs: _Slots
    outputs: _Slots
    line: str = ""

class Guard(NamedTuple):
    kind: str
    answer: object
    line: str = ""
    def key(self) -> Any: ...
    def holds(self, value: Any) -> bool: ...

class Cost(NamedTuple):
    operations: int
    bytes: int

class Program:
    __match_args__ = (
        "inputs", "outputs", "instructions", "constants", "avals", "arguments", "results", "guards"
    )
    __slots__ = (
        "__weakref__", "_machine", "arguments", "avals", "constants", "guards", "inputs", "instructions", "outputs",
        "results"
    )
    @property
    def inputs(self) -> _Slots: ...
    @property
    def outputs(self) -> _Slots: ...
    @property
    def instructions(self) -> tuple[Instruction, ...]: ...
    @property
    def constants(self) -> dict[int, Any]: ...
    @property
    def avals(self) -> tuple[Aval, ...]: ...
    @property
    def arguments(self) -> Frame | None: ...
    @property
    def results(self) -> Frame | None: ...
    @property
    def guards(self) -> tuple[Guard, ...]: ...
    def __init__(
        self, inputs: _Slots, outputs: _Slots, instructions: tuple[Instruction, ...], constants: dict[int, Any],
        avals: tuple[Aval, ...], arguments: Frame | None = None, results: Frame | None = None,
        guards: tuple[Guard, ...] = ()
    ) -> None: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def __call__(self, *args: Any, out: Any = None, **kwargs: Any) -> Any: ...
    @property
    def machine(self) -> Any: ...
    def values(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]: ...
    def interpreted(self, values: Sequence[Any]) -> list[Any]: ...
    def cost(self) -> Cost: ...
    def save(self, path: str | os.PathLike[str]) -> None: ...

def as_before(fixed: Any, leaf: Any) -> None: ...
def evaluate(program: Program, values: Sequence[Any]) -> list[Any]: ...
def frozen(params: Any) -> Any: ...
