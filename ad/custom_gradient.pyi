from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, overload

__all__ = ["custom_gradient"]

_P = ParamSpec("_P")
_Y = TypeVar("_Y")
_Rule = TypeVar("_Rule", bound=Callable[[Any, Any], Any])

class _WithGradient(Generic[_P, _Y]):
    def __init__(self, f: Callable[_P, tuple[_Y, Callable[..., Any]]]) -> None: ...
    def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _Y: ...
    @overload
    def __get__(self, instance: None, owner: type | None = None) -> _WithGradient[_P, _Y]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> Callable[..., _Y]: ...
    def defjvp(self, rule: _Rule) -> _Rule: ...

@overload
def custom_gradient(f: Callable[_P, tuple[_Y, Callable[..., Any]]]) -> _WithGradient[_P, _Y]: ...
@overload
def custom_gradient(
    f: None = None,
) -> Callable[[Callable[_P, tuple[_Y, Callable[..., Any]]]], _WithGradient[_P, _Y]]: ...
