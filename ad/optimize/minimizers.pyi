from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["minimize"]

# The result is SciPy's OptimizeResult, whose items are attributes of any type; `x` of it is as `x0`.
def minimize(
    fun: Callable[..., Any], x0: Any, args: Any = (), method: str | Callable[..., Any] | None = None,
    jac: Callable[..., Any] | str | bool | None = None, hess: Any = None,
    hessp: Callable[..., Any] | None = None, bounds: Any = None, constraints: Any = (), tol: float | None = None,
    callback: Callable[..., Any] | None = None, options: Mapping[str, Any] | None = None
) -> Any: ...
