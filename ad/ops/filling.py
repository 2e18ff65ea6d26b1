"""Arrays with equal steps between two values."""
from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ad.ops.domains import REAL
from ad.ops.forms import case, composite
from ad.ops.joining import asarray
from ad.ops.selection import where
from ad.ops.shaping import astype, moveaxis
from ad.ops.ufuncs import floor, power

__all__ = ["linspace", "logspace"]


@composite(np.linspace, domain=(REAL, REAL), cases=(
    case((), (), 5), case((2,), (), num=4, axis=-1), case((), (), 3, endpoint=False), case((), (), 1), case((), (), 0),
))
def linspace(
    start: Any, stop: Any, num: Any = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
    axis: Any = 0, *, device: Any = None
) -> Any:
    num = operator.index(num)
    if num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.")
    kind = np.result_type(*[x if isinstance(x, (int, float, complex)) else asarray(x) for x in (start, stop)], 1.0)
    start, stop = np.broadcast_arrays(*[astype(asarray(x) * 1.0, kind) for x in (start, stop)])
    parts = num - 1 if endpoint else num
    step = (stop - start) / parts if parts > 0 else (stop - start) * np.nan
    number = np.arange(num).reshape(-1, *(1,) * start.ndim)
    y = start + number.astype(kind) * (step if parts > 0 else stop - start)
    if endpoint and num > 1:
        y = where(number == num - 1, stop, y)
    if dtype is not None and np.dtype(dtype).kind in "iu":
        y = floor(y)
    y = astype(moveaxis(y, 0, axis) if axis or type(axis) is not int else y, kind if dtype is None else dtype)
    return (y, step) if retstep else y


@composite(np.logspace, domain=(REAL, REAL), cases=(case((), (), 4), case((2,), (), 3, base=2.0)))
def logspace(
    start: Any, stop: Any, num: Any = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: Any = 0
) -> Any:
    y = power(base, linspace(start, stop, num, endpoint, axis=axis))
    return y if dtype is None else astype(y, dtype)
