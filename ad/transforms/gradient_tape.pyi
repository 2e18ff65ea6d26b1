import enum
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeAlias, overload

from ad._core import Array
from ad.engine.tape import Accumulator, Tape
from ad.engine.variable import Variable

__all__ = ["ForwardAccumulator", "GradientTape", "UnconnectedGradients"]

class UnconnectedGradients(enum.Enum):
    NONE = "none"
    ZERO = "zero"

_Unconnected: TypeAlias = Literal["none", "zero"] | UnconnectedGradients

class GradientTape(Tape):
    __slots__ = ()
    def watch(self, tensor: Any) -> None: ...
    # A source that the target does not depend on gets None, which is left out of these types.
    @overload
    def jacobian(
        self, target: Array, sources: Array, unconnected_gradients: _Unconnected = "none",
        parallel_iterations: int | None = None, experimental_use_pfor: bool = True
    ) -> Array: ...
    @overload
    def jacobian(
        self, target: Array, sources: list[Array] | list[Variable], unconnected_gradients: _Unconnected = "none",
        parallel_iterations: int | None = None, experimental_use_pfor: bool = True
    ) -> list[Array]: ...
    @overload
    def jacobian(
        self, target: Array, sources: Any, unconnected_gradients: _Unconnected = "none",
        parallel_iterations: int | None = None, experimental_use_pfor: bool = True
    ) -> Any: ...
    def batch_jacobian(
        self, target: Array, source: Array, unconnected_gradients: _Unconnected = "none",
        parallel_iterations: int | None = None, experimental_use_pfor: bool = True
    ) -> Array: ...
    def stop_recording(self) -> AbstractContextManager[None]: ...

class ForwardAccumulator(Accumulator):
    __slots__ = ("__weakref__",)
    def __init__(self, primals: Any, tangents: Any) -> None: ...
    @overload
    def jvp(self, primals: Array, unconnected_gradients: _Unconnected = "none") -> Array: ...
    @overload
    def jvp(
        self, primals: list[Array] | list[Variable], unconnected_gradients: _Unconnected = "none"
    ) -> list[Array]: ...
    @overload
    def jvp(self, primals: Any, unconnected_gradients: _Unconnected = "none") -> Any: ...
