from collections.abc import Callable, Sequence
from typing import Any

from ad.program import Program

__all__ = ["vmap", "with_lanes"]

def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]: ...
def with_lanes(program: Program, k: int, batched: Sequence[Any]) -> Any: ...
