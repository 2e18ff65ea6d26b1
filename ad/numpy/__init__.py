"""NumPy's names, for programs that write to arrays and join values in lists: `import ad.numpy as np` is all it takes.

Outside differentiation every function is NumPy's own, and gives plain arrays. While something is differentiated or
recorded in this thread, functions that make arrays (`zeros`, `array`, `linspace`, `r_`, ...) give Arrays, which can be
written to and can hold other Arrays. What dispatches by NumPy's protocols is NumPy's own object.

`adopt` gives these names to a module that cannot be edited.
"""
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from ad import mirrors
from ad.numpy import names as _names
from ad.numpy.adoption import adopt

_OURS: dict[str, Any] = {**_names.NAMES["numpy"], "adopt": adopt}

mirrors.provide("numpy", {module: partial(dict, found) for module, found in _names.NAMES.items()})
globals().update({
    name: value for name, value in vars(np).items() if not name.startswith("_") and not isinstance(value, ModuleType)
})
globals().update(_OURS)

__all__ = [*np.__all__, "adopt"]


def __getattr__(name: str) -> Any:
    if name == "special":  # where SciPy looks for a namespace's own functions, with SCIPY_ARRAY_API=1
        return import_module("ad.special")
    found = getattr(np, name)
    if isinstance(found, ModuleType) and found.__name__ == f"numpy.{name}":
        return import_module(f"ad.numpy.{name}")
    return found


def __dir__() -> list[str]:
    return sorted({*dir(np), "adopt"})
