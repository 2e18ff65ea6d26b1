"""Shape rules: what the output of an op looks like, told without evaluating it.

An op's shape rule takes what its `fn` takes. It returns the output's shape and dtype, and "F" if it is in that order
and not in C's; or ALIASES_INPUT, for an op that reads no element. Where it cannot tell, or the op might raise for some
values, it returns None: then the op is evaluated, as where the shape rule raises.
"""
import itertools

import numpy as np

from ad.engine.deferred import ALIASES_INPUT

__all__ = ["ALIASES_INPUT", "in_order", "is_elementwise", "is_view", "elementwise_shape", "view"]


def is_elementwise(function):
    """Whether it is a ufunc that works element by element, and not on vectors or matrices as a generalised one does."""
    return isinstance(function, np.ufunc) and function.signature is None


def is_view(op, inputs, params):
    """Whether an op reads no element of these inputs."""
    try:
        return op.shape_rule is not None and op.shape_rule(*inputs, *params) is ALIASES_INPUT
    except (IndexError, TypeError, ValueError):
        return False


def view(*_):
    """Of an op that returns a view, whatever its inputs."""
    return ALIASES_INPUT


def elementwise_shape(ufunc=None):
    """Of an op that works element by element: in the dtype that a ufunc gives, or all inputs have together.

    None for a ufunc with several outputs.
    """
    if ufunc and ufunc.nout > 1:
        return None

    def shape_rule(*xs):
        order = _order([x for x in xs if isinstance(x, np.ndarray) and x.ndim])
        dtype = _dtype_by(ufunc, xs) if ufunc else np.result_type(*xs)
        if order is None or dtype.kind not in "fcb":  # a power of integers may raise
            return None
        return np.broadcast(*xs).shape, dtype, order

    return shape_rule


def in_order(*xs):
    """Whether these inputs lie in C order, if not without gaps: NumPy's copies keep the order of what they copy."""
    return all(x.ndim < 2 or x.flags.c_contiguous or (0 not in _steps(x) and _fall(_steps(x))) for x in xs)


def _dtype_by(ufunc, xs):
    given = [type(x) if type(x) in (int, float, complex) else x.dtype for x in xs]
    return ufunc.resolve_dtypes((*given, None))[-1]


def _order(xs):
    """In which order a ufunc goes through arrays; None where that is neither of two."""
    if all(x.flags.c_contiguous or _fall([step for step in _steps(x) if step]) for x in xs):
        return "C"
    return "F" if all(x.flags.f_contiguous and x.shape == xs[0].shape for x in xs) else None


def _steps(x):
    """The strides, without their signs, of the axes that have more than one element."""
    return [abs(stride) for stride, n in zip(x.strides, x.shape) if n > 1]


def _fall(steps):
    return all(a >= b for a, b in itertools.pairwise(steps))
