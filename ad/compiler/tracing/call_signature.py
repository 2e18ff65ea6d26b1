"""Signatures: what a recording depends on in the arguments of a call."""
from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np

from ad import trees
from ad._core import Array
from ad.engine import boundary
from ad.engine.variable import Variable

__all__ = ["CallSignature", "is_array", "is_foreign", "is_value"]

LOW_PRECISION = "efF"  # characters of the dtypes of less precision than Python's numbers
NUMBERS = (float, complex)
STATELESS: tuple[type, ...] = (Array, np.ndarray, np.generic, type, FunctionType, BuiltinFunctionType, ModuleType)
MAX_PARTS = 200  # objects that are compared by value within one argument; the others are compared by identity


class CallSignature:
    """What a recording depends on in the arguments of a call, and the values that it does not depend on.

    Attributes
    ----------
    values : list
        The arrays and numbers that are inputs of a recording.
    arguments : PartialTree
        The tree `(args, kwargs)`, in which all but the values are fixed.
    wrapped : bool
        Whether an argument is an Array, so that results are Arrays too.
    is_live : bool
        Whether an argument is being differentiated or recorded, or is an ndarray of a foreign class.
    key
        Calls with equal keys can share recordings.
    """

    def __init__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        leaves, structure = trees.flatten((args, kwargs))
        arrays = list(map(is_array, leaves))
        low = any(x.dtype.char in LOW_PRECISION for x, has_dtype in zip(leaves, arrays) if has_dtype)
        traced = [has_dtype or (not low and type(x) in NUMBERS) for x, has_dtype in zip(leaves, arrays)]
        self.values = [x for x, is_traced in zip(leaves, traced) if is_traced]
        self.arguments = trees.PartialTree(structure, {i: x for i, x in enumerate(leaves) if not traced[i]})
        wrapped = [x for x in leaves if isinstance(x, Array)]
        self.wrapped = bool(wrapped)
        self.is_live = any(map(boundary.live, wrapped)) or any(map(is_foreign, leaves))
        self.key = (structure, tuple(map(_aval, self.values)), tuple(map(_fixed_key, self.arguments.fixed.items())),
                    self.wrapped)


def is_value(x: Any) -> bool:
    """Return whether `x` is an array, or a number that is traced as arrays are."""
    return is_array(x) or type(x) in NUMBERS


def is_array(x: Any) -> bool:
    """Return whether `x` is an array of numbers or bools, no Variable and of no foreign class."""
    if not isinstance(x, (np.ndarray, np.generic, Array)) or x.dtype.kind not in "biufc":
        return False
    return not isinstance(x, Variable) and not is_foreign(x)


def is_foreign(x: Any) -> bool:
    """Return whether `x` is an ndarray of a class with other ops than NumPy's: with a mask, with units, a matrix."""
    return isinstance(x, np.ndarray) and type(x) not in (np.ndarray, np.memmap)


def _aval(x: Any) -> Any:
    return (x.shape, x.dtype) if is_array(x) else type(x)


def _fixed_key(item: tuple[int, Any]) -> tuple[Any, ...]:
    """Return the key of a fixed argument at its position."""
    position, x = item
    return position, type(x), repr(x) if type(x) in NUMBERS else ByValue(x)


class ByValue:
    """An object in a key, with its present state; compared by its own `==`, or by identity if it has no hash."""

    __slots__ = ("hash", "state", "x")

    def __init__(self, x: Any) -> None:
        self.x, self.state = x, _state(x)
        try:
            self.hash = None if isinstance(x, Array) else hash(x)
        except TypeError:
            self.hash = None

    def __hash__(self) -> int:
        return id(self.x) if self.hash is None else self.hash

    def __eq__(self, other: Any) -> bool:
        if self.x is not other.x and (self.hash is None or self.x != other.x):
            return False
        return bool(self.state == other.state)


class ByIdentity:
    """An object in a key, compared by identity. The key keeps it alive, so that no other object gets its address."""

    __slots__ = ("x",)

    def __init__(self, x: Any) -> None:
        self.x = x

    def __hash__(self) -> int:
        return id(self.x)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, ByIdentity) and self.x is other.x


def _state(x: Any) -> Any:
    """Return a key of the attributes of an object and of the objects in them; None if there are none."""
    if isinstance(x, STATELESS) or not getattr(x, "__dict__", None):
        return None
    return _part_key(dict(x.__dict__), [MAX_PARTS])


def _part_key(x: Any, remaining: list[int]) -> Any:
    """Return the key of an attribute or a part of one: numbers and text by value, arrays and the like by identity.

    `remaining` holds the number of objects that may still be compared by value.
    """
    remaining[0] -= 1
    if isinstance(x, (bool, int, float, complex, str, bytes)):
        return type(x), repr(x) if isinstance(x, NUMBERS) else x
    if remaining[0] < 0 or isinstance(x, STATELESS):
        return ByIdentity(x)
    if type(x) in (list, tuple):
        return type(x), tuple([_part_key(part, remaining) for part in x])
    if type(x) is dict:
        return dict, tuple([(ByIdentity(key) if isinstance(key, Array) else key, _part_key(part, remaining))
                            for key, part in x.items()])
    attributes = getattr(x, "__dict__", None)
    return (ByIdentity(x), _part_key(dict(attributes), remaining)) if attributes else ByIdentity(x)
