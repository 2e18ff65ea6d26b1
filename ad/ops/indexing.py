"""Taking elements out of an array, and its transpose: putting them into one of zeros."""
import numpy as np

from ad.ops.domains import REAL
from ad.ops.forms import case, linear

__all__ = ["getitem", "put_zeros"]


def _is_basic(index):
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, (int, np.integer, slice)) for part in parts)


def _behind_lanes(index):
    """The index behind a lane axis; None if it would put the lanes elsewhere."""
    parts = index if isinstance(index, tuple) else (index,)
    if _is_basic(index) or len(parts) == 1:
        return (slice(None), *parts)
    return None


@linear(transpose=lambda y_bar, x, index: put_zeros(y_bar, index, x.shape),
        lanes=lambda ndim, index: _behind_lanes(index) and (_behind_lanes(index),), domain=REAL,
        cases=(case((5,), index=slice(1, None)), case((5,), index=slice(None, None, -2)), case((3, 4), index=1),
               case((3, 4), index=(slice(None), None, -1)), case((5,), index=np.array([0, 0, 3])),
               case((3, 4), index=(np.array([0, 2]), np.array([1, 1]))), case((4,), index=np.array([True, False] * 2)),
               case((2, 3, 4), index=(np.array([0, 1]), slice(None), np.array([1, 1]))), case((3,), index=...)))
def getitem(x, index):
    """`x[index]`, basic or fancy."""
    return x[index]


@linear(transpose=lambda y_bar, x, index, shape: getitem(y_bar, index),
        lanes=lambda ndim, index, shape: None, domain=REAL,
        cases=(case((4,), index=slice(1, None), shape=(5,)), case((3,), index=np.array([0, 0, 3]), shape=(5,))))
def put_zeros(x, index, shape):
    """Zeros of this shape, with `x` added at `index` (repeated indices add up)."""
    out = np.zeros(shape, np.asarray(x).dtype)
    if _is_basic(index):
        out[index] = x
    else:
        np.add.at(out, index, x)
    return out
