from collections.abc import Callable
from typing import Any, Literal, TypeAlias, overload

__all__ = ["batch_jacobian", "grad", "hessian", "hvp", "jacobian", "jvp", "linearize", "value_and_grad", "vjp"]

# What a transform returns takes the arguments of `f`, but ndarrays and numbers where `f` itself is given Arrays, and
# returns what it is given: the types of `f` are therefore not those of its derivative.
_Function: TypeAlias = Callable[..., Any]
_Argnums: TypeAlias = int | tuple[int, ...]
_Arguments: TypeAlias = tuple[Any, ...] | list[Any]

def gradient_of(
    transform: str, f: _Function, argnums: _Argnums, has_aux: bool, with_value: bool, warns: bool
) -> Callable[..., Any]: ...
def hessian_of(f: _Function, argnums: _Argnums, has_aux: bool, warns: bool) -> Callable[..., Any]: ...
def grad(f: _Function, argnums: _Argnums = 0, has_aux: bool = False) -> Callable[..., Any]: ...
def value_and_grad(
    f: _Function, argnums: _Argnums = 0, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]: ...
@overload
def vjp(
    f: _Function, *primals: Any, has_aux: Literal[False] = False
) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]: ...
@overload
def vjp(
    f: _Function, *primals: Any, has_aux: Literal[True]
) -> tuple[Any, Callable[[Any], tuple[Any, ...]], Any]: ...
@overload
def jvp(
    f: _Function, primals: _Arguments, tangents: _Arguments, has_aux: Literal[False] = False
) -> tuple[Any, Any]: ...
@overload
def jvp(
    f: _Function, primals: _Arguments, tangents: _Arguments, has_aux: Literal[True]
) -> tuple[Any, Any, Any]: ...
@overload
def linearize(
    f: _Function, *primals: Any, has_aux: Literal[False] = False
) -> tuple[Any, Callable[..., Any]]: ...
@overload
def linearize(
    f: _Function, *primals: Any, has_aux: Literal[True]
) -> tuple[Any, Callable[..., Any], Any]: ...
def jacobian(
    f: _Function, argnums: _Argnums = 0, mode: Literal["forward", "reverse"] | None = None, has_aux: bool = False
) -> Callable[..., Any]: ...
def batch_jacobian(
    f: _Function, argnums: _Argnums = 0, mode: Literal["forward", "reverse"] | None = None, has_aux: bool = False
) -> Callable[..., Any]: ...
def hvp(f: _Function, argnums: _Argnums = 0, has_aux: bool = False) -> Callable[..., Any]: ...
def hessian(f: _Function, argnums: _Argnums = 0, has_aux: bool = False) -> Callable[..., Any]: ...
