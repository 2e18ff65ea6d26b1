from collections.abc import Sequence
from typing import Any, final

from ad.compiler.machine.vm import Machine
from ad.engine.variable import Variable
from ad.trees import PartialTree

@final
class CacheEntry:
    def __init__(
        self, args: tuple[Any, ...], machine: Machine, chosen: Sequence[int], variables: list[Variable],
        results: PartialTree, single: bool
    ) -> None: ...
    @staticmethod
    def accepts(args: tuple[Any, ...], variables: list[Variable]) -> bool: ...

class FastPath:
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __get__(self, instance: Any, owner: Any = None, /) -> Any: ...
    def remember(self, entry: CacheEntry) -> None: ...

def cache_key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...] | None, list[Any]]: ...
