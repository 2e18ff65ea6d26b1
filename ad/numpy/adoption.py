"""`adopt`: another module, which cannot be edited, with these namespaces in the place of NumPy's and SciPy's."""
import importlib
import threading
import types
from typing import Any

import ad.scipy  # noqa: F401 - what its modules have in the place of SciPy's
from ad.mirrors import counterpart

__all__ = ["adopt"]

_LOCK = threading.Lock()
# Modules that are adopted now, by identity: the module, how often, and its globals: what was there, what is there now.
_ADOPTED: dict[int, tuple[types.ModuleType, int, dict[str, tuple[Any, Any]]]] = {}


class adopt:
    """Give another module `ad.numpy` and `ad.scipy` in the place of NumPy and SciPy, for as long as the block lasts.

    Each global of the module that is NumPy or SciPy, one of their modules, or one of their functions and classes
    (`from numpy import zeros`) is replaced by what `ad.numpy` and `ad.scipy` have under its name. On leaving, after an
    error too, each global that still is what it was replaced by is what it was before.

    Parameters
    ----------
    module : module or str
        The module, or its name, under which it is imported.

    Notes
    -----
    The globals of a module are those of all threads: a thread that calls the module's functions while another one has
    adopted it finds `ad.numpy` there, which outside differentiation does what NumPy does. Blocks may be nested, and
    may overlap in different threads: the last one to be left restores the globals. What has been imported in the
    meantime by functions, default values of arguments, and other modules, also those that the module imports, are not
    changed.

    Examples
    --------
    >>> import types
    >>> model = types.ModuleType("model")
    >>> exec("import numpy as np\\ndef f(x):\\n    y = np.array([x, x * x])\\n    return y.sum()", vars(model))
    >>> with ad.numpy.adopt(model):
    ...     print(ad.grad(model.f)(3.0))
    7.0
    """

    def __init__(self, module: types.ModuleType | str) -> None:
        if not isinstance(module, (str, types.ModuleType)):
            raise TypeError(f"ad.numpy.adopt takes a module or the name of one, not {module!r:.60}")
        self.module = module

    def __enter__(self) -> types.ModuleType:
        module = importlib.import_module(self.module) if isinstance(self.module, str) else self.module
        self.module = module
        with _LOCK:
            _, depth, replaced = _ADOPTED.get(id(module), (module, 0, {}))
            for name, value in list(vars(module).items()):
                ours = counterpart(value) if not name.startswith("__") else value
                if ours is not value:
                    replaced[name] = value, ours
                    setattr(module, name, ours)
            _ADOPTED[id(module)] = module, depth + 1, replaced
        return module

    def __exit__(self, *error: object) -> None:
        module: Any = self.module
        with _LOCK:
            if id(module) not in _ADOPTED:
                raise RuntimeError("ad.numpy.adopt: left a module that is not adopted; enter it first")
            _, depth, replaced = _ADOPTED.pop(id(module))
            if depth > 1:
                _ADOPTED[id(module)] = module, depth - 1, replaced
                return
            for name, (value, ours) in replaced.items():
                if vars(module).get(name) is ours:
                    setattr(module, name, value)
