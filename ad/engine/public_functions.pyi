from collections.abc import Callable
from typing import Any

from ad.engine.graph import Op

def elementwise_function(op: Op, doc: str) -> Callable[..., Any]: ...
def add_method(name: str, function: Callable[..., Any] | property) -> None: ...
