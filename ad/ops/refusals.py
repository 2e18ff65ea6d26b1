"""What NumPy refuses is refused with NumPy's own error.

A call of ours that fails is made once more, by NumPy's function and on plain values: if NumPy refuses it too, its error
is the one that the caller gets. So our functions need only notice that a call is wrong; NumPy says what is.
"""
import operator
import warnings

import numpy as np

from ad import _core, trees
from ad._core import Array

__all__ = ["as_flag", "as_index", "one_axis", "refuse", "tried"]

normalize_axis_index = np.lib.array_utils.normalize_axis_index


def as_index(value):
    """An integer: `value`, if it is one for NumPy too, which takes no bool for a number of elements or axes."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError("an integer is required")
    return operator.index(value)


def one_axis(axis, ndim):
    """An axis, counted from the first one."""
    return normalize_axis_index(as_index(axis), ndim)


def as_flag(value):
    """`keepdims` as a bool: an integer, as NumPy wants it."""
    return value is True or value is not False and bool(operator.index(value))


def tried(function, x, *args, **kwargs):
    """Call a function of NumPy's that looks only at the shape of `x`, to see whether it takes the other arguments."""
    function(_core.metadata_view(x) if isinstance(x, Array) else x, *args, **kwargs)


def refuse(function, args, kwargs):
    """Raise the error with which `function`, of NumPy or SciPy, refuses these arguments; return if it takes them.

    To be called where a call of ours has raised. The arguments are copied: an `out=` is not written to.
    """
    found = []
    args, kwargs = _plain(args, found), _plain(kwargs, found)
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            function(*args, **kwargs)
    except Exception as error:
        if _core.is_any_tracing():
            _core.note_failure(found)  # on other values it may be another error, or none
        raise error from None


def _plain(tree, found):
    """Copies of the arguments, with ndarrays in the place of Arrays, which are added to `found`."""

    def copied(x):
        if isinstance(x, Array):
            found.append(x)
            return np.array(_core.public_value(x))
        if isinstance(x, np.ndarray):
            return x.copy(order="K")
        return slice(*map(copied, (x.start, x.stop, x.step))) if type(x) is slice else x

    return trees.map_nested(copied, tree)
