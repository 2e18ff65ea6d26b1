"""What takes the place of NumPy's own objects in `ad.numpy`: module name -> name -> object."""
import functools
import types
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import numpy.fft
import numpy.linalg

from ad._core import Array
from ad.engine.inspection import is_differentiating
from ad.numpy.classes import CLASSES
from ad.numpy.grids import GRIDS
from ad.numpy.loops import ndenumerate, vectorize
from ad.ops.binding import has_array
from ad.ops.creation import CREATION, held
from ad.ops.protocol import array_function
from ad.ops.table import FUNCTIONS, TABLE, find

__all__ = ["NAMES"]

_Function = Callable[..., Any]

# Functions that build an array of others: their results can be written to, as those of `zeros` can.
BUILDING = {getattr(np, name) for name in (
    "append block column_stack concatenate diag diagflat dstack hstack insert outer pad repeat stack tile vstack"
).split()}
# Functions that call a function of the user's, which may return values of ours where the arguments are plain.
CALLING = {np.apply_along_axis, np.apply_over_axes, np.piecewise}
FREQUENCIES = np.fft.fftfreq, np.fft.rfftfreq


def _presented(function: _Function, original: _Function) -> _Function:
    """The function with NumPy's name, docstring and signature."""
    functools.update_wrapper(function, original)
    function.__module__ = f"ad.{original.__module__}"
    return function


def _switched(original: _Function, ours: _Function) -> _Function:
    """NumPy's function, but ours while something is differentiated or recorded."""

    def function(*args: Any, **kwargs: Any) -> Any:
        if not is_differentiating(args):
            return original(*args, **kwargs)
        like = kwargs.pop("like", None)
        if like is not None and not isinstance(like, Array):
            return original(*args, like=like, **kwargs)
        return ours(*args, **kwargs)

    return _presented(function, original)


def _has_array(args: Any, kwargs: dict[str, Any]) -> bool:
    return has_array(args) or bool(kwargs) and has_array(kwargs.values())


def _dispatched(original: _Function) -> _Function:
    """A function that dispatches on its arguments, and here on what lists hold, too."""

    def function(*args: Any, **kwargs: Any) -> Any:
        if is_differentiating(args) and _has_array(args, kwargs):
            return array_function(original, (), args, kwargs)
        return original(*args, **kwargs)

    return _presented(function, original)


def _building(original: _Function) -> _Function:
    """`_dispatched`, of a function that makes a new array."""

    def function(*args: Any, **kwargs: Any) -> Any:
        if not is_differentiating(args):
            return original(*args, **kwargs)
        if _has_array(args, kwargs):
            return array_function(original, (), args, kwargs)
        y = original(*args, **kwargs)
        return y if any(np.may_share_memory(y, x) for x in (*args, *kwargs.values()) if isinstance(x, np.ndarray)) \
            else held(y)

    return _presented(function, original)


def _calling(original: Any) -> _Function:
    """Our function, also for plain arguments."""

    def function(*args: Any, **kwargs: Any) -> Any:
        ours: Any = find(FUNCTIONS, original)
        return held(ours(*args, **kwargs))

    return function


def _isscalar(element: Any) -> bool:
    """Whether it is a number: NumPy's scalars are, and an Array without axes stands for one."""
    return isinstance(element, Array) and element.ndim == 0 or np.isscalar(element)


def _by_name(original: _Function) -> _Function:
    """NumPy's function, which does not dispatch; that of the table for an Array, and for lists that hold some."""

    def function(*args: Any, **kwargs: Any) -> Any:
        if not _has_array(args, kwargs):
            return original(*args, **kwargs)
        entry: Any = find(TABLE, original.__name__)
        return entry.function(*args, **kwargs)

    return _presented(function, original)


def _ours(original: Any) -> Any:
    """What takes the place of a function or class; None if NumPy's own does."""
    if original in CLASSES:
        return CLASSES[original]
    if original in BUILDING:
        return _building(original)
    ours = CREATION.get(original)
    if original in CALLING:
        return _switched(original, _calling(original))
    if ours is not None:
        return _switched(original, ours)
    if original in FREQUENCIES:
        return _switched(original, lambda *args, **kwargs: held(original(*args, **kwargs)))
    if hasattr(original, "_implementation") and not isinstance(original, type):  # it dispatches on its arguments
        return _dispatched(original)
    return None


def _names_of(module: types.ModuleType) -> dict[str, Any]:
    made: dict[Any, Any] = {}  # NumPy's `concat` is its `concatenate`, and ours is, too
    for value in vars(module).values():
        if callable(value) and isinstance(value, Hashable) and value not in made:
            made[value] = _ours(value)
    return {name: made[value] for name, value in vars(module).items()
            if callable(value) and not name.startswith("_") and isinstance(value, Hashable) and made[value] is not None}


NAMES: dict[str, dict[str, Any]] = {module.__name__: _names_of(module) for module in (np, np.linalg, np.fft)}
NAMES["numpy.lib.stride_tricks"] = {"as_strided": _by_name(np.lib.stride_tricks.as_strided)}
NAMES["numpy"] |= {
    **GRIDS, "vectorize": vectorize, "ndenumerate": ndenumerate, "isscalar": _presented(_isscalar, np.isscalar),
}
