"""Cotangents that a caller gives: by `output_gradients`, or from a gradient function."""
from typing import Any

from ad._core import Array, apply
from ad.ops.table import TABLE

__all__ = ["broadcast_cotangent"]

BROADCAST_TO: Any = TABLE["broadcast_to"].op


def broadcast_cotangent(y_bar: Array, shape: tuple[int, ...], message: str, **names: str) -> Array:
    """Return a cotangent broadcast to the shape of its value.

    Raises
    ------
    ValueError
        If it does not broadcast to that shape: `message`, with {found} and {wanted} for the shapes, and the `names`.
    """
    if y_bar.shape == shape:
        return y_bar
    try:
        broadcast: Array = apply(BROADCAST_TO, (y_bar,), (shape,))
    except ValueError:
        raise ValueError(message.format(found=y_bar.shape, wanted=shape, **names)) from None
    return broadcast
