from collections.abc import Callable, Mapping
from typing import Any, Literal

from numpy.typing import ArrayLike

__all__ = ["curve_fit", "least_squares", "root"]

# The results are SciPy's OptimizeResult, whose items are attributes of any type; `x` of it is as `x0`.
def least_squares(
    fun: Callable[..., Any], x0: Any, jac: Callable[..., Any] | str | None = None, bounds: Any = ...,
    method: Literal["trf", "dogbox", "lm"] = "trf", *, args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None, callback: Callable[..., Any] | None = None, **options: Any
) -> Any: ...
def root(
    fun: Callable[..., Any], x0: Any, args: Any = (), method: str = "hybr",
    jac: Callable[..., Any] | bool | None = None, tol: float | None = None,
    callback: Callable[..., Any] | None = None, options: Mapping[str, Any] | None = None
) -> Any: ...

# With `full_output=True` five values instead of two.
def curve_fit(
    f: Callable[..., Any], xdata: ArrayLike, ydata: ArrayLike, p0: ArrayLike | None = None,
    sigma: ArrayLike | None = None, absolute_sigma: bool = False, check_finite: bool | None = None, bounds: Any = ...,
    method: Literal["lm", "trf", "dogbox"] | None = None, jac: Callable[..., Any] | str | None = None, **options: Any
) -> Any: ...
