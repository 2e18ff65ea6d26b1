"""Outlines: what the output of an op looks like, told without evaluating it.

An op's `outline` takes what its `fn` takes. It returns the output's shape and dtype; or VIEW, for an op that reads no
element; or None where it cannot tell, or the op might raise for some values: then the op is evaluated, as where the
outline raises. An output that is not a view is in C order, as NumPy makes it of inputs in that order.
"""
import itertools

import numpy as np

from ad._deferred import VIEW

__all__ = ["VIEW", "in_order", "is_view", "joint", "view"]


def is_view(op, inputs, params):
    """Whether an op reads no element of these inputs."""
    return op.outline is not None and op.outline(*inputs, *params) is VIEW


def view(*_):
    """Of an op that returns a view, whatever its inputs."""
    return VIEW


def joint(ufunc=None):
    """Of an op that works element by element: in the dtype that a ufunc gives, or all inputs have together.

    None for a ufunc with several outputs.
    """
    if ufunc and ufunc.nout > 1:
        return None

    def outline(*xs):
        if not all(map(_is_served, xs)):
            return None
        dtype = _dtype_by(ufunc, xs) if ufunc else np.result_type(*xs)
        return (np.broadcast(*xs).shape, dtype) if dtype.kind in "fcb" else None  # a power of integers may raise

    return outline


def in_order(*xs):
    """Whether these inputs lie in C order, if not without gaps: NumPy's copies keep the order of what they copy."""
    return all(x.ndim < 2 or x.flags.c_contiguous or (0 not in _steps(x) and _fall(_steps(x))) for x in xs)


def _dtype_by(ufunc, xs):
    given = [type(x) if type(x) in (int, float, complex) else x.dtype for x in xs]
    return ufunc.resolve_dtypes((*given, None))[-1]


def _is_served(x):
    """Whether a ufunc goes through the elements of an input in C order, if it is an array at all."""
    return not isinstance(x, np.ndarray) or x.flags.c_contiguous or _fall([step for step in _steps(x) if step])


def _steps(x):
    """The strides, without their signs, of the axes that have more than one element."""
    return [abs(stride) for stride, n in zip(x.strides, x.shape) if n > 1]


def _fall(steps):
    return all(a >= b for a, b in itertools.pairwise(steps))
