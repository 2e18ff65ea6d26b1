from typing import Any

from ad.engine.array import Array as Array
from ad.engine.array import constant as constant
from ad.engine.graph import Op

def apply(op: Op, inputs: tuple[Any, ...], params: tuple[Any, ...] | None = None) -> Any: ...
