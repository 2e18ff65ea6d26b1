from typing import Any

from ad.compiler.machine.vm import Machine
from ad.engine.variable import Variable
from ad.trees import PartialTree

class Shortcut:
    def __init__(
        self, args: tuple[Any, ...], machine: Machine, chosen: list[int], variables: list[Variable],
        results: PartialTree, single: bool
    ) -> None: ...
    @staticmethod
    def serves(args: tuple[Any, ...], variables: list[Variable]) -> bool: ...

class Quick:
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __get__(self, instance: Any, owner: Any = None, /) -> Any: ...
    def remember(self, shortcut: Shortcut) -> None: ...

def scan(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...] | None, list[Any]]: ...
