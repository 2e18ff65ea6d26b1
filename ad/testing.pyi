from collections.abc import Callable, Sequence
from typing import Any, Literal

__all__ = ["check_grads"]

def check_grads(
    f: Callable[..., Any], args: Sequence[Any], order: Literal[1, 2] = 2, modes: Sequence[str] = ...,
    rtol: float | None = None, atol: float | None = None, eps: float = 1e-3, directions: int = 2, seed: int = 0
) -> None: ...
