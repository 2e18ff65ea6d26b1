"""Results that have no derivative: plain ndarrays, but Arrays where SciPy looks for the array API standard.

SciPy's functions that follow the standard refuse plain arrays beside Arrays. With SCIPY_ARRAY_API=1 in the environment,
which is when they ask, the results of comparisons, `argsort` and so on are Arrays while something is differentiated.
"""
from __future__ import annotations

import os
from typing import Any

import numpy as np

from ad._core import constant
from ad.engine import roles
from ad.engine.inspection import is_differentiating

__all__ = ["GIVES_ARRAYS", "plain_result"]

GIVES_ARRAYS = bool(os.environ.get("SCIPY_ARRAY_API"))

roles.install(compares_to_arrays=GIVES_ARRAYS)


def plain_result(y: Any, args: tuple[Any, ...]) -> Any:
    """What a call with these arguments gives, of NumPy's result without a derivative."""
    return _as_arrays(y) if GIVES_ARRAYS and is_differentiating(args) else y


def _as_arrays(y: Any) -> Any:
    """Numbers and arrays of them as Arrays; those in a list or tuple, too."""
    if isinstance(y, (tuple, list)):
        parts = [_as_arrays(part) for part in y]
        return type(y)(*parts) if hasattr(y, "_fields") else type(y)(parts)
    return constant(y) if isinstance(y, (np.ndarray, np.generic)) and y.dtype.kind in "biufc" else y
