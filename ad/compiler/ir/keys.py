"""Keys by which static parameters and constants are compared."""
from typing import Any

import numpy as np

__all__ = ["frozen"]

SMALL = 1024  # bytes of an array that is compared by value
VALUES = (str, bytes, range, np.dtype, type(None), type(...))  # parameters that are their own key


def frozen(params: Any, small: int = SMALL) -> Any:
    """Return a hashable key of static parameters, which is equal for equal values of equal types.

    Arrays of up to `small` bytes are compared by value, larger ones by identity.
    """
    kind = type(params)
    if isinstance(params, (tuple, list)):
        return (kind, *[frozen(part, small) for part in params])
    if kind is slice:
        return kind, params.start, params.stop, params.step
    if kind is np.ndarray or isinstance(params, np.generic):
        if params.nbytes <= small and not params.dtype.hasobject:
            return kind, params.dtype.str, params.shape, params.tobytes()
        return kind, id(params)
    if kind is float or kind is complex:
        return kind, repr(params)  # zeros differ by their sign, and nan equals itself
    if isinstance(params, int):
        return kind, int(params)
    return kind, params if isinstance(params, VALUES) else id(params)
