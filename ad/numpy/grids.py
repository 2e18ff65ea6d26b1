"""`r_`, `c_`, `mgrid` and `ogrid`: arrays written as an index."""
from typing import Any

import numpy as np

from ad._core import Array
from ad.engine.inspection import is_differentiating
from ad.ops.binding import has_array
from ad.ops.creation import CREATION, held
from ad.ops.joining import concatenate
from ad.ops.shaping import as_dtype, reshape, swapaxes, transpose

__all__ = ["GRIDS"]


def _has_array(key: Any) -> bool:
    parts = key if isinstance(key, tuple) else (key,)
    return has_array([part for x in parts for part in ((x.start, x.stop, x.step) if isinstance(x, slice) else (x,))])


class _Directive:
    """What a string in the first place asks for: the axis to join along, and how parts get their axes."""

    def __init__(self, concatenator: Any, text: str | None) -> None:
        self.axis, self.ndmin, self.first = concatenator.axis, concatenator.ndmin, concatenator.trans1d
        if text is None:
            return
        if text in ("r", "c"):
            raise TypeError(f"ad: np.r_[{text!r}, ...] makes an np.matrix, which has no derivatives. Leave it out")
        try:
            numbers = [int(x) for x in text.split(",")]
        except ValueError:
            which = f" {text!r}" if "," in text else ""
            raise ValueError(f"unknown special directive{which}") from None
        self.axis, self.ndmin, self.first = numbers + [self.axis, self.ndmin, self.first][len(numbers):]

    def shaped(self, x: Any, is_slice: bool) -> Any:
        """An array with as many axes as asked for, its own from `first` on."""
        missing = self.ndmin - x.ndim
        if missing <= 0:
            return x
        y = reshape(x, (1,) * missing + x.shape)
        if self.first == -1 or not x.ndim:
            return y
        if is_slice:
            return swapaxes(y, -1, self.first)
        start = self.first + (missing + 1 if self.first < 0 else 0)
        axes = list(range(self.ndmin))
        return transpose(y, axes[:start] + axes[missing:] + axes[start:missing])


def _range(key: slice) -> Any:
    start = 0 if key.start is None else key.start
    step: Any = 1 if key.step is None else key.step
    if isinstance(step, (complex, np.complexfloating)):
        return CREATION[np.linspace](start, key.stop, num=int(abs(complex(step))))
    return CREATION[np.arange](start, key.stop, step)


def _joined(concatenator: Any, key: Any) -> Any:
    parts = list(key) if isinstance(key, tuple) else [key]
    how = _Directive(concatenator, parts.pop(0) if isinstance(parts[0], str) else None)
    if any(isinstance(x, str) for x in parts):
        raise ValueError("special directives must be the first entry.")
    arrays = [_range(x) if isinstance(x, slice) else x if type(x) in np.ScalarType else CREATION[np.asarray](x)
              for x in parts]
    dtype = np.result_type(*[x if type(x) in np.ScalarType else x.dtype for x in arrays])
    shaped = [how.shaped(as_dtype(x, dtype) if isinstance(x, Array) else np.asarray(x, dtype), isinstance(given, slice))
              for x, given in zip(arrays, parts)]
    return concatenate(shaped, how.axis)


def _concatenator(original: Any) -> Any:
    def getitem(self: Any, key: Any) -> Any:
        if not is_differentiating(key if isinstance(key, tuple) else (key,)) or isinstance(key, str):
            return original[key]
        return _joined(self, key) if _has_array(key) else held(original[key])

    return _like(original, getitem)


def _grid(original: Any) -> Any:
    def getitem(self: Any, key: Any) -> Any:
        return held(original[key]) if is_differentiating() else original[key]

    return _like(original, getitem)


def _like(original: Any, getitem: Any) -> Any:
    """An object like NumPy's with another `__getitem__`."""
    kind = type(original)
    return type(kind.__name__, (kind,), {"__getitem__": getitem, "__doc__": kind.__doc__, "__module__": "ad.numpy"})()


GRIDS: dict[str, Any] = {"r_": _concatenator(np.r_), "c_": _concatenator(np.c_), "mgrid": _grid(np.mgrid),
                         "ogrid": _grid(np.ogrid)}
