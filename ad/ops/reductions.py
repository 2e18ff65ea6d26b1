"""Reductions over axes."""
import numpy as np

from ad.ops.domains import REAL
from ad.ops.forms import case, linear
from ad.ops.shaping import broadcast_to, reshape

__all__ = ["sum"]


def kept_shape(shape, axis):
    """The shape of a reduction's result with the reduced axes kept as ones."""
    if axis is None:
        return (1,) * len(shape)
    axes = {a % len(shape) for a in (axis if isinstance(axis, tuple) else (axis,))}
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def spread(y, x, axis):
    """A reduction's result (or cotangent), broadcast back to the shape of its input `x`."""
    return broadcast_to(reshape(y, kept_shape(x.shape, axis)), x.shape)


def behind_lanes(ndim, axis):
    """The same axes of an array that has a lane axis in front."""
    if axis is None:
        return tuple(range(1, ndim + 1))
    return tuple(a % ndim + 1 for a in (axis if isinstance(axis, tuple) else (axis,)))


@linear(np.sum, transpose=lambda y_bar, x, axis, keepdims: spread(y_bar, x, axis),
        lanes=lambda ndim, axis, keepdims: (behind_lanes(ndim, axis), keepdims), domain=REAL, fold=(np.add, -0.0),
        cases=(case((4,)), case((2, 3), axis=0), case((2, 3, 2), axis=(0, -1)), case((2, 3), axis=1, keepdims=True)),
        method=True)
def sum(x, axis=None, keepdims=False):
    return np.sum(x, axis=axis, keepdims=keepdims)
