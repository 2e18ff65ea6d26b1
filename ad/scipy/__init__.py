"""SciPy's modules, with functions of ours where values of ours need them: `from ad.scipy import optimize, special`.

A module is imported when it is first used. `ad.scipy.special` has the functions of `ad.special` that are no ufuncs
(SciPy's ufuncs take values of ours by themselves); `ad.scipy.optimize` those of `ad.optimize`, called as SciPy's are.
All other names are SciPy's own. Needs SciPy.
"""
import functools
import inspect
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from ad import mirrors
from ad.errors import needs_scipy

__all__: list[str] = []


def _called_as(original: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
    """Our function with the signature of SciPy's."""
    signature = inspect.signature(original)

    @functools.wraps(original)
    def function(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        given = dict(bound.arguments)
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                given |= given.pop(name, {})
        return ours(**given)

    return function


def _of_special() -> dict[str, Any]:
    import numpy as np
    import scipy.special

    from ad import special

    return {name: getattr(special, name) for name in special.__all__
            if not isinstance(getattr(scipy.special, name, None), np.ufunc)}


def _of_optimize() -> dict[str, Any]:
    import scipy.optimize

    from ad import optimize

    return {name: _called_as(getattr(scipy.optimize, name), getattr(optimize, name)) for name in optimize.__all__
            if hasattr(scipy.optimize, name)}


mirrors.provide("scipy", {"scipy.special": _of_special, "scipy.optimize": _of_optimize})


def _scipy() -> ModuleType:
    if find_spec("scipy") is None:
        raise needs_scipy("ad.scipy")
    return import_module("scipy")


def __getattr__(name: str) -> Any:
    if name.startswith("__") and name != "__version__":
        raise AttributeError(f"module 'ad.scipy' has no attribute {name!r}")
    found = getattr(_scipy(), name)
    if isinstance(found, ModuleType) and found.__name__ == f"scipy.{name}":
        return import_module(f"ad.scipy.{name}")
    return found


def __dir__() -> list[str]:
    return dir(_scipy())
