"""Classes of NumPy that count values of ours among their own: `ndarray`, and the scalar types that convert.

Each is derived from NumPy's, so that it is a dtype, a type for annotations and a base like that one. Calls make NumPy's
objects of plain data, and keep the derivative of values of ours.
"""
import inspect
from typing import Any

import numpy as np

from ad._core import Array
from ad.ops.binding import has_array
from ad.ops.creation import CREATION

__all__ = ["CLASSES"]


class _Class(type):
    """The type of the classes here. What is derived from them by others is an ordinary class."""

    original: type

    def _is_ours(cls) -> bool:
        return "original" in vars(cls)

    def _holds(cls, x: Array) -> bool:
        """Whether an Array counts as an instance."""
        return True

    def _convert(cls, *args: Any, **kwargs: Any) -> Any:
        return cls.original(*args, **kwargs)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls._convert(*args, **kwargs) if cls._is_ours() else super().__call__(*args, **kwargs)

    def __instancecheck__(cls, x: Any) -> bool:
        if not cls._is_ours():
            return super().__instancecheck__(x)
        return isinstance(x, cls.original) or isinstance(x, Array) and cls._holds(x)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, cls.original) if cls._is_ours() else super().__subclasscheck__(other)

    # `type(x) == np.ndarray` and `{np.float64: ...}[x.dtype.type]` find NumPy's class; a dtype compares by itself

    def _equals(cls, other: object) -> bool:
        return cls is other or cls._is_ours() and other is cls.original

    def __eq__(cls, other: object) -> Any:
        return cls._equals(other) or NotImplemented

    def __hash__(cls) -> int:
        return hash(cls.original) if cls._is_ours() else super().__hash__()


class _ArrayClass(_Class):
    def _equals(cls, other: object) -> bool:
        return super()._equals(other) or cls._is_ours() and isinstance(other, type) and issubclass(other, Array)

    def __subclasscheck__(cls, other: type) -> bool:
        return cls._is_ours() and issubclass(other, Array) or super().__subclasscheck__(other)


class _ScalarClass(_Class):
    def _holds(cls, x: Array) -> bool:
        return x.ndim == 0 and x.dtype.type is cls.original

    def _convert(cls, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and has_array(args):
            return CREATION[np.asarray](args[0], np.dtype(cls.original))
        return cls.original(*args, **kwargs)


def _derived(kind: type[_Class], original: type) -> Any:
    namespace: dict[str, Any] = {
        "original": original, "__doc__": original.__doc__, "__module__": "ad.numpy", "__slots__": (),
    }
    try:
        namespace["__signature__"] = inspect.signature(original)
    except ValueError:  # NumPy gives none
        pass
    return kind(original.__name__, (original,), namespace)


# NumPy's class -> ours. An integer is a constant, so NumPy's own integer types do.
CLASSES: dict[type, Any] = {np.ndarray: _derived(_ArrayClass, np.ndarray)}
for _type in {np.dtype(char).type for char in np.typecodes["AllFloat"]}:
    CLASSES[_type] = _derived(_ScalarClass, _type)
