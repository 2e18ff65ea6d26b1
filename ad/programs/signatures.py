"""Signatures: what of a call's arguments a recording depends on."""
import numpy as np

from ad import _calls, trees
from ad._core import Array
from ad._leaves import Variable

__all__ = ["Signature", "is_array", "is_foreign", "is_value"]

LOW = "efF"  # characters of the dtypes of less precision than Python's numbers
NUMBERS = (float, complex)


class Signature:
    """What of a call's arguments a recording depends on, and how to tell the values from the rest."""

    def __init__(self, args, kwargs):
        leaves, structure = trees.flatten((args, kwargs))
        arrays = list(map(is_array, leaves))
        low = any(is_array and x.dtype.char in LOW for x, is_array in zip(leaves, arrays))
        traced = [is_array or (not low and type(x) in NUMBERS) for x, is_array in zip(leaves, arrays)]
        self.values = [x for x, is_traced in zip(leaves, traced) if is_traced]
        self.frame = trees.Frame(structure, {i: x for i, x in enumerate(leaves) if not traced[i]})
        ours = [x for x in leaves if isinstance(x, Array)]
        self.ours, self.live = bool(ours), any(map(_calls.live, ours)) or any(map(is_foreign, leaves))
        self.key = (structure, tuple(map(_aval, self.values)), tuple(map(_identity, self.frame.fixed.items())),
                    self.ours)


def is_value(x):
    return is_array(x) or type(x) in NUMBERS


def is_array(x):
    if not isinstance(x, (np.ndarray, np.generic, Array)) or x.dtype.kind not in "biufc":
        return False
    return not isinstance(x, Variable) and not is_foreign(x)


def is_foreign(x):
    """Whether it is an ndarray of a class whose ops do more than NumPy's: with a mask, with units, a matrix."""
    return isinstance(x, np.ndarray) and type(x) not in (np.ndarray, np.memmap)


def _aval(x):
    return (x.shape, x.dtype) if is_array(x) else type(x)


def _identity(item):
    """What stands in a signature for an argument that is no array."""
    place, x = item
    return place, type(x), repr(x) if type(x) in NUMBERS else Same(x)


class Same:
    """An object in a key: equal to others by its own measure; by identity where it has no hash."""

    __slots__ = ("hash", "x")

    def __init__(self, x):
        self.x = x
        try:
            self.hash = None if isinstance(x, Array) else hash(x)
        except TypeError:
            self.hash = None

    def __hash__(self):
        return id(self.x) if self.hash is None else self.hash

    def __eq__(self, other):
        return self.x is other.x or self.hash is not None and self.x == other.x
