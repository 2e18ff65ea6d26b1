"""NumPy's protocols: from a NumPy function called on a value of ours to the table's entry."""
import numpy as np

from ad import _core
from ad.errors import MissingRule
from ad.ops.forms import FUNCTIONS, UFUNCS

__all__ = ["array_function", "array_ufunc"]


def array_ufunc(ufunc, method, inputs, kwargs):
    """What `Array.__array_ufunc__` does."""
    function = UFUNCS.get(ufunc)
    if function is None or method != "__call__" or kwargs:
        raise MissingRule(f"ad: no rule for np.{ufunc.__name__}.{method}")
    return function(*inputs)


def array_function(function, types, args, kwargs):
    """What `Array.__array_function__` does."""
    ours = FUNCTIONS.get(function)
    if ours is None:
        raise MissingRule(f"ad: no rule for {function.__name__}")
    return ours(*args, **kwargs)


_core.install(array_ufunc=array_ufunc, array_function=array_function)
