"""The op that a user makes: what is called, and the name by which a saved program finds it.

Such an op is in no table: two of them may have one name. A program that is saved or pickled refers to one by the place
of its function, a module and a name in it, as pickle does for any function.
"""
from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import ReferenceType, WeakKeyDictionary, ref

import numpy as np

from ad._core import apply
from ad.engine.graph import Op
from ad.errors import kind
from ad.ops.binding import has_array
from ad.ops.opaque import Parameters
from ad.ops.table import FUNCTIONS, LATER, UFUNCS, import_later
from ad.ops.traits import OWN_TRAITS, Traits

__all__ = ["MissingOwnOp", "OwnOp", "home_of_caller", "is_own", "own_op_at", "reference_of", "stand_for"]

_Y = TypeVar("_Y")
_Function = Callable[..., Any]


class MissingOwnOp(ImportError):
    """A saved program calls an op of a user that is not there, or whose module is not imported."""


class OwnOp(Generic[_Y]):
    """An op of a user: called as the function that it was made of, with values of any kind.

    Attributes
    ----------
    op : Op
    __wrapped__ : callable
        The function.
    """

    __name__: str
    __qualname__: str

    def __init__(self, function: Any, op: Op, parameters: Parameters, home: str, traits: Traits) -> None:
        functools.update_wrapper(self, function, ("__doc__",), ())
        place = [getattr(function, key, None) for key in ("__module__", "__name__")]
        self.__qualname__ = function.__qualname__ if place == [home, op.name] else op.name
        self.__name__, self.__module__ = op.name, home
        self.op, self._parameters = op, parameters
        OWN_TRAITS[op] = traits
        _OWN[op] = ref(self)

    def __call__(self, /, *args: Any, **kwargs: Any) -> _Y:
        values, params = self._parameters.bind(args, kwargs)
        y: _Y = apply(self.op, values, params) if has_array(values) else self.op.fn(*values, *params)
        return y

    def __repr__(self) -> str:
        return f"<{self.op.form} op {self.__name__} of {self.__module__}>"

    def __reduce__(self) -> str:
        return self.place()[1]

    def place(self) -> tuple[str, str]:
        """Return the names of the module and in it where the op is found.

        Raises
        ------
        TypeError
            If it is not found there: it is local to a function, or has another name.
        """
        if _found(self.__module__, self.__qualname__) is self:
            return self.__module__, self.__qualname__
        for name, value in vars(sys.modules.get(self.__module__, object)).items():
            if value is self:
                return self.__module__, name
        raise TypeError(
            f"ad: the op {self.__name__!r} cannot be saved or pickled: it is kept by its name, and none of the module "
            f"{self.__module__!r} leads to it ({self.__qualname__} does not). Define it at the top level of a module "
            "that can be imported, not in a function")


_OWN: WeakKeyDictionary[Op, ReferenceType[OwnOp[Any]]] = WeakKeyDictionary()


def is_own(op: Op) -> bool:
    """Return whether an op is one of a user."""
    return op in _OWN


def reference_of(op: Op) -> tuple[str, str]:
    """Return the names of module and function of an op of a user; raise TypeError if they do not lead to it."""
    own = _OWN[op]()
    if own is None:
        raise TypeError(f"ad: a program with the op {op.name!r} cannot be saved: its function is gone. Define it at "
                        "the top level of a module that can be imported")
    return own.place()


def own_op_at(module: str, name: str, imports: bool) -> Op:
    """Return the op that `reference_of` referred to.

    Parameters
    ----------
    module, name : str
    imports : bool
        Whether to import the module, if it is not imported yet.
    """
    if imports and module not in sys.modules:
        importlib.import_module(module)
    if module not in sys.modules:
        raise MissingOwnOp(f"the program calls the op {name!r} of the module {module!r}, which is not imported, "
                                f"and a file does not make ad import anything: write `import {module}` before")
    found = _found(module, name)
    if not isinstance(found, OwnOp):
        raise MissingOwnOp(f"the program calls the op {name!r} of the module {module!r}, which has none there")
    return found.op


def _found(module: str, name: str) -> Any:
    """Return what a dotted name of an imported module leads to, or None."""
    try:
        return functools.reduce(getattr, name.split("."), sys.modules[module])
    except (AttributeError, KeyError):
        return None


def home_of_caller() -> str:
    """Return the name of the module that called the library."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "ad":
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "__main__"))


def stand_for(name: str, functions: Any, function: _Function) -> tuple[_Function, ...]:
    """Have calls of functions of NumPy, and of ufuncs, on Arrays call a function of a user.

    Raises
    ------
    TypeError
        For a function that does not hand over such calls.
    ValueError
        For one that the table has an op for.
    """
    given = functions if isinstance(functions, (tuple, list)) else (functions,)
    for each in given:
        if not isinstance(each, np.ufunc) and not hasattr(each, "_implementation"):
            raise TypeError(f"ad: {name}: stands_for takes ufuncs and functions of NumPy, whose calls on values of ad "
                            f"come to ad, not {kind(each)}; call ad's function in the place of another one")
        if each not in UFUNCS and LATER and importlib.util.find_spec("scipy"):
            import_later()
        if each in UFUNCS or each in FUNCTIONS:
            raise ValueError(f"ad: {name}: {each.__name__} has an op already, and what it stands for cannot change")
    for each in given:
        (UFUNCS if isinstance(each, np.ufunc) else FUNCTIONS)[each] = function
    return tuple(given)
