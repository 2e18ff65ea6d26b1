"""Sums of exponentials, shifted by the largest, so that nothing overflows."""
from typing import Any

import numpy as np

from ad.engine.variable import stop_gradient
from ad.ops.elementwise import exp, gap, log
from ad.ops.reductions import sum

__all__ = ["largest", "log_sum_exp"]


def largest(x: Any, axis: Any) -> Any:
    """The largest element, as a constant: the shift cancels out of the result and of its derivatives."""
    return np.max(stop_gradient(x).real, axis=axis, keepdims=True)


def log_sum_exp(x: Any, axis: Any, keepdims: bool = False, factors: Any = None, top: Any = None) -> Any:
    """log(sum(factors exp(x))), of which `top` is the largest x that counts; infinities share the gradient equally."""
    top = largest(x, axis) if top is None else top
    terms = exp(gap(x, top))
    total = sum(terms if factors is None else factors * terms, axis, keepdims=keepdims)
    return log(total) + np.reshape(top, total.shape)
