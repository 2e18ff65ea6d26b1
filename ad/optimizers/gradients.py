"""Gradients that an optimizer is given: checked, cast and clipped."""
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ad._core import Array
from ad.engine.variable import Variable
from ad.errors import kind

__all__ = ["clip_by_global_norm", "clip_by_norm", "clip_by_value", "gradient_for", "pair_of"]


def pair_of(item: Any) -> tuple[Any, Any]:
    """Return a pair of a gradient and its variable; raise if it is none."""
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise TypeError(f"ad: apply_gradients takes pairs of a gradient and its variable, not {kind(item)}: write "
                        "optimizer.apply_gradients(zip(gradients, variables))")
    gradient, variable = item
    return gradient, variable


def gradient_for(variable: Variable, gradient: Any) -> NDArray[Any]:
    """Return a gradient as an ndarray of the dtype of its variable; raise if its shape or dtype does not fit."""
    gradient = gradient.numpy() if isinstance(gradient, Array) else np.asarray(gradient)
    if gradient.shape != variable.shape:
        raise ValueError(f"ad: a gradient of shape {gradient.shape} for variable {variable.name!r} "
                         f"of shape {variable.shape}")
    if not np.can_cast(gradient.dtype, variable.dtype, "same_kind"):
        raise TypeError(f"ad: a gradient of dtype {gradient.dtype} for variable {variable.name!r} "
                        f"of dtype {variable.dtype}")
    cast: NDArray[Any] = gradient.astype(variable.dtype, copy=False)
    return cast


def clip_by_value(gradients: Iterable[NDArray[Any]], high: float) -> Iterable[NDArray[Any]]:
    """Clip the elements of gradients to [-high, high]."""
    return (np.minimum(np.maximum(gradient, -high), high) for gradient in gradients)


def clip_by_norm(gradients: Iterable[NDArray[Any]], longest: float) -> Iterable[NDArray[Any]]:
    """Scale each gradient that is longer than `longest` to this length."""
    return (gradient * _scale(_squares(gradient), longest) for gradient in gradients)


def clip_by_global_norm(gradients: Sequence[NDArray[Any]], longest: float) -> Iterable[NDArray[Any]]:
    """Scale all gradients together to the length `longest` if they are longer."""
    scale = _scale(sum(map(_squares, gradients)), longest)
    return (gradient * scale for gradient in gradients)


def _squares(gradient: NDArray[Any]) -> float:
    return float(np.vdot(gradient, gradient).real)


def _scale(squares: float, longest: float) -> float:
    """Return the factor that scales gradients with this sum of squares to a norm of at most `longest`."""
    norm = math.sqrt(squares)
    return longest / max(norm, longest) if math.isfinite(norm) else math.nan
