"""A call that NumPy refuses raises NumPy's own error.

If a function of the table fails, NumPy's function is called on ndarrays with the same arguments: if it fails, too, the
caller gets its error. So the functions of the table need only notice that a call is wrong; NumPy says what is wrong.
"""
from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ad import trees
from ad._core import Array
from ad.engine.array import public_value
from ad.engine.inspection import is_any_tracing, metadata_view, note_failure

__all__ = ["as_flag", "as_index", "one_axis", "refuse", "tried"]

normalize_axis_index = np.lib.array_utils.normalize_axis_index


def as_index(value: Any) -> int:
    """The integer `value`. As NumPy does, it refuses a bool as a number of elements or axes."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError("an integer is required")
    return operator.index(value)


def one_axis(axis: Any, ndim: int) -> int:
    """The axis, counted from the first one."""
    return normalize_axis_index(as_index(axis), ndim)


def as_flag(value: Any) -> bool:
    """`keepdims` as a bool; as for NumPy, it must be an integer."""
    return value is True or value is not False and bool(operator.index(value))


def tried(function: Callable[..., Any], x: Any, *args: Any, **kwargs: Any) -> None:
    """Call a function of NumPy that reads only the shape of `x`, so that it refuses other arguments that are wrong."""
    function(metadata_view(x) if isinstance(x, Array) else x, *args, **kwargs)


def refuse(function: Callable[..., Any], args: Any, kwargs: Any) -> None:
    """Raise the error with which `function`, of NumPy or SciPy, refuses these arguments; return if it takes them.

    It is called where a function of the table has raised. The arguments are copied: an `out=` is not written to.
    """
    found: list[Array] = []
    args, kwargs = _copied(args, found), _copied(kwargs, found)
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            function(*args, **kwargs)
    except Exception as error:
        if is_any_tracing():
            note_failure(found)  # on other values it may be another error, or none
        raise error from None


def _copied(tree: Any, found: list[Array]) -> Any:
    """Copies of the arguments, with ndarrays in the place of Arrays, which are added to `found`."""

    def copied(x: Any) -> Any:
        if isinstance(x, Array):
            found.append(x)
            return np.array(public_value(x))
        if isinstance(x, np.ndarray):
            return x.copy(order="K")
        return slice(*map(copied, (x.start, x.stop, x.step))) if type(x) is slice else x

    return trees.map_nested(copied, tree)
