"""Modules that stand for others: `ad.numpy.linalg` for `numpy.linalg`, `ad.scipy.optimize` for `scipy.optimize`.

A mirror has the names of its module; some of them lead to objects of ours. A module in which nothing is ours is not
mirrored: `ad.numpy.random` is `numpy.random`.
"""
import importlib
import importlib.util
import sys
import types
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from typing import Any

__all__ = ["counterpart", "provide"]

_Names = Callable[[], dict[str, Any]]

PREFIX = "ad."
# "numpy" -> the modules in which something is ours -> a function that returns those names with what they lead to.
_ROOTS: dict[str, dict[str, _Names]] = {}
_REPLACED: dict[str, dict[int, Any]] = {}  # module -> id of its object -> what `ad` has in its place


def provide(root: str, names: dict[str, _Names]) -> None:
    """Let `ad.<module>` be imported for every module of a package.

    Parameters
    ----------
    root : str
        The package: "numpy".
    names : dict
        For each module in which something is ours, by its name: a function that returns what is, by name.
    """
    _ROOTS[root] = names


def _is_mirrored(module: str) -> bool:
    """Whether something in a module, or in a module below it, is ours."""
    names = _ROOTS[module.partition(".")[0]]
    return any(name == module or name.startswith(f"{module}.") for name in names)


class _Mirror(types.ModuleType):
    """A module with the names of another one."""

    def __init__(self, name: str, original: types.ModuleType, ours: dict[str, Any]) -> None:
        super().__init__(name, original.__doc__)
        self.__dict__.update(_original=original, _ours=ours, **ours)
        if hasattr(original, "__path__"):
            self.__path__: list[str] = []
        if hasattr(original, "__all__"):
            self.__all__ = sorted({*original.__all__, *ours})

    def __getattr__(self, name: str) -> Any:
        found = counterpart(getattr(self._original, name))
        if not name.startswith("__"):
            setattr(self, name, found)
        return found

    def __dir__(self) -> list[str]:
        return sorted({*dir(self._original), *self._ours})


class _Finder:
    """Finds the modules below `ad.numpy` and `ad.scipy` that have no file."""  # importlib.abc is slow to import

    def find_spec(self, fullname: str, path: Sequence[str] | None = None,
                  target: types.ModuleType | None = None) -> ModuleSpec | None:
        original = fullname.removeprefix(PREFIX)
        if fullname == original or original in _ROOTS or original.partition(".")[0] not in _ROOTS:
            return None
        loader: Any = self
        return ModuleSpec(fullname, loader) if importlib.util.find_spec(original) is not None else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Let Python make the module."""

    def exec_module(self, module: types.ModuleType) -> None:
        name = module.__name__.removeprefix(PREFIX)
        found = original = importlib.import_module(name)
        if _is_mirrored(name):
            ours = _ROOTS[name.partition(".")[0]].get(name, dict)
            found = _Mirror(module.__name__, original, ours())
            found.__spec__ = module.__spec__
        sys.modules[module.__name__] = found


sys.meta_path.insert(0, _Finder())  # before the one that would load a module again from its package's folder


def counterpart(value: Any) -> Any:
    """What `ad` has in the place of a module, a function or a class of NumPy or SciPy; anything else as it is."""
    if isinstance(value, types.ModuleType):
        name = value.__name__
        return importlib.import_module(PREFIX + name) if name.partition(".")[0] in _ROOTS and _is_mirrored(name) \
            else value
    for names in _ROOTS.values():
        for module in names:
            if module in sys.modules:
                found = _replaced(module).get(id(value), value)
                if found is not value:
                    return found
    return value


def _replaced(module: str) -> dict[int, Any]:
    """What is ours in a module, by the identity of what it replaces."""
    if module not in _REPLACED:
        original = sys.modules[module]
        ours = _ROOTS[module.partition(".")[0]][module]()
        _REPLACED[module] = {id(getattr(original, name)): x for name, x in ours.items() if hasattr(original, name)}
    return _REPLACED[module]
