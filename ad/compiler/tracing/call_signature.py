"""Signatures: what of a call's arguments a recording depends on."""
from types import BuiltinFunctionType, FunctionType, ModuleType

import numpy as np

from ad import trees
from ad._core import Array
from ad.engine import boundary
from ad.engine.variable import Variable

__all__ = ["CallSignature", "is_array", "is_foreign", "is_value"]

LOW = "efF"  # characters of the dtypes of less precision than Python's numbers
NUMBERS = (float, complex)
STATELESS: tuple[type, ...] = (Array, np.ndarray, np.generic, type, FunctionType, BuiltinFunctionType, ModuleType)
PARTS = 200  # that are looked at in an object; the rest is told by identity


class CallSignature:
    """What of a call's arguments a recording depends on, and how to tell the values from the rest."""

    def __init__(self, args, kwargs):
        leaves, structure = trees.flatten((args, kwargs))
        arrays = list(map(is_array, leaves))
        low = any(is_array and x.dtype.char in LOW for x, is_array in zip(leaves, arrays))
        traced = [is_array or (not low and type(x) in NUMBERS) for x, is_array in zip(leaves, arrays)]
        self.values = [x for x, is_traced in zip(leaves, traced) if is_traced]
        self.frame = trees.PartialTree(structure, {i: x for i, x in enumerate(leaves) if not traced[i]})
        ours = [x for x in leaves if isinstance(x, Array)]
        self.ours, self.live = bool(ours), any(map(boundary.live, ours)) or any(map(is_foreign, leaves))
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
    """An object in a key: equal to others by its own measure, or by identity where it has no hash; as it is now."""

    __slots__ = ("hash", "state", "x")

    def __init__(self, x):
        self.x, self.state = x, _state(x)
        try:
            self.hash = None if isinstance(x, Array) else hash(x)
        except TypeError:
            self.hash = None

    def __hash__(self):
        return id(self.x) if self.hash is None else self.hash

    def __eq__(self, other):
        if self.x is not other.x and (self.hash is None or self.x != other.x):
            return False
        return self.state == other.state


class Identical:
    """What is told from others by identity, and kept, so that no other has its address."""

    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x

    def __hash__(self):
        return id(self.x)

    def __eq__(self, other):
        return isinstance(other, Identical) and self.x is other.x


def _state(x):
    """What the attributes of an object are, and of the objects in them, as far as that is quickly told; or None."""
    if isinstance(x, STATELESS) or not getattr(x, "__dict__", None):
        return None
    return _part(dict(x.__dict__), [PARTS])


def _part(x, room):
    """An attribute, or what is in one: numbers and text by their values, arrays and whatever is left by identity."""
    room[0] -= 1
    if isinstance(x, (bool, int, float, complex, str, bytes)):
        return type(x), repr(x) if isinstance(x, NUMBERS) else x
    if room[0] < 0 or isinstance(x, STATELESS):
        return Identical(x)
    if type(x) in (list, tuple):
        return type(x), tuple([_part(part, room) for part in x])
    if type(x) is dict:
        return dict, tuple([(Identical(key) if isinstance(key, Array) else key, _part(part, room))
                            for key, part in x.items()])
    attributes = getattr(x, "__dict__", None)
    return (Identical(x), _part(dict(attributes), room)) if attributes else Identical(x)
