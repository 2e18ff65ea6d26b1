from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ad.engine.graph import Op

def keep_rule(op: Op, rule: object) -> None: ...
def call_apart(f: Callable[..., Any], xs: Iterable[Any], params: Mapping[str, Any]) -> Any: ...

class State: ...

class Recorder:
    @property
    def recording(self) -> bool: ...

class Level:
    @property
    def tag(self) -> int: ...
