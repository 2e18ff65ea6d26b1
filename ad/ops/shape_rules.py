"""Shape rules: what the output of an op looks like, without evaluating it.

An op's shape rule takes what its `fn` takes. It returns the output's shape and dtype, and "F" if its memory is in
Fortran order instead of C order; or ALIASES_INPUT, for an op that reads no element. It returns None or raises where it
cannot tell, and where the op might raise for some values: then the op is evaluated.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from ad.engine.deferred import ALIASES_INPUT

__all__ = ["ALIASES_INPUT", "ShapeRule", "elementwise_shape", "in_order", "is_elementwise", "is_view", "view"]

ShapeRule: TypeAlias = Callable[..., Any]


def is_elementwise(function: Any) -> bool:
    """Whether it is a ufunc that works element by element; a generalised ufunc works on vectors or matrices."""
    return isinstance(function, np.ufunc) and function.signature is None


def is_view(op: Any, inputs: Sequence[Any], params: Sequence[Any]) -> bool:
    """Whether an op reads no element of these inputs."""
    try:
        return op.shape_rule is not None and op.shape_rule(*inputs, *params) is ALIASES_INPUT
    except (IndexError, TypeError, ValueError):
        return False


def view(*_: Any) -> Any:
    """The shape rule of an op that returns a view, whatever its inputs."""
    return ALIASES_INPUT


def elementwise_shape(ufunc: Any = None) -> ShapeRule | None:
    """The shape rule of an op that works element by element.

    The dtype is that of the ufunc, or the common dtype of the inputs. None for a ufunc with several outputs.
    """
    if ufunc and ufunc.nout > 1:
        return None

    def shape_rule(*xs: Any) -> Any:
        order = _order([x for x in xs if isinstance(x, np.ndarray) and x.ndim])
        dtype = _dtype_by(ufunc, xs) if ufunc else np.result_type(*xs)
        if order is None or dtype.kind not in "fcb":  # a power of integers may raise
            return None
        return np.broadcast(*xs).shape, dtype, order

    return shape_rule


def in_order(*xs: Any) -> bool:
    """Whether the elements of each input lie in C order, maybe with gaps: a copy by NumPy keeps the input's order."""
    return all(x.ndim < 2 or x.flags.c_contiguous or (0 not in _steps(x) and _fall(_steps(x))) for x in xs)


def _dtype_by(ufunc: Any, xs: Sequence[Any]) -> Any:
    given = [type(x) if type(x) in (int, float, complex) else x.dtype for x in xs]
    return ufunc.resolve_dtypes((*given, None))[-1]


def _order(xs: Sequence[Any]) -> str | None:
    """The order in which a ufunc goes through arrays; None if it is neither C nor Fortran order."""
    if all(x.flags.c_contiguous or _fall([step for step in _steps(x) if step]) for x in xs):
        return "C"
    return "F" if all(x.flags.f_contiguous and x.shape == xs[0].shape for x in xs) else None


def _steps(x: Any) -> list[int]:
    """The strides, without their signs, of the axes that have more than one element."""
    return [abs(stride) for stride, n in zip(x.strides, x.shape) if n > 1]


def _fall(steps: Sequence[int]) -> bool:
    return all(a >= b for a, b in itertools.pairwise(steps))
