"""Ops that move elements about: all linear, so the transpose is the whole rule."""
import numpy as np

from ad._core import apply
from ad.ops.domains import REAL
from ad.ops.forms import case, linear

__all__ = ["astype", "broadcast_to", "conjugate", "reshape", "sum_to"]


def _first_axis_added(ndim, shape):
    return None


@linear(transpose=lambda y_bar, x, dtype: astype(y_bar, x.dtype), lanes=lambda ndim, dtype: (dtype,), domain=REAL,
        cases=(case((3,), dtype=np.float64),))
def astype(x, dtype):
    """`x` in another dtype; from complex to real this takes the real part."""
    if np.dtype(dtype).kind != "c" and np.asarray(x).dtype.kind == "c":
        x = np.real(x)
    return np.asarray(x).astype(dtype)


@linear(np.conjugate, transpose=lambda y_bar, x: conjugate(y_bar), lanes=lambda ndim: (), domain=REAL,
        cases=(case((3,)), case((2, 3))), method=True)
def conjugate(x):
    return np.conjugate(x)


@linear(np.broadcast_to, transpose=lambda y_bar, x, shape: sum_to(y_bar, x.shape), domain=REAL,
        cases=(case((3,), shape=(2, 3)), case((2, 1), shape=(4, 2, 3)), case((), shape=(2,))))
def broadcast_to(x, shape):
    return np.broadcast_to(x, shape)


@linear(transpose=lambda y_bar, x, shape: broadcast_to(y_bar, x.shape), domain=REAL,
        cases=(case((2, 3), shape=(3,)), case((4, 2, 3), shape=(2, 1)), case((2,), shape=())))
def sum_to(x, shape):
    """The sum over the axes that broadcasting `shape` to the shape of `x` adds or stretches."""
    added = np.ndim(x) - len(shape)
    stretched = tuple(i + added for i, n in enumerate(shape) if n == 1 and np.shape(x)[i + added] != 1)
    return np.sum(x, axis=tuple(range(added)) + stretched, keepdims=True).reshape(shape)


@linear(np.reshape, transpose=lambda y_bar, x, shape: reshape(y_bar, x.shape), domain=REAL,
        cases=(case((6,), shape=(2, 3)), case((2, 3), shape=(-1,)), case((2, 3), shape=6)))
def reshape(x, shape):
    return np.reshape(x, shape)
