"""What the array API standard adds: methods of Array, and functions that NumPy has under a second name for it."""
from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from ad._core import Array
from ad.engine.array import is_traced, is_watched, public_value
from ad.engine.inspection import concrete
from ad.engine.public_functions import add_method
from ad.errors import conversion_error
from ad.ops.indexing import diagonal, getitem, take, trace
from ad.ops.joining import concatenate
from ad.ops.matrix_products import matmul
from ad.ops.plain_results import plain_result
from ad.ops.scans import cumprod, cumsum
from ad.ops.shaping import moveaxis
from ad.ops.table import FUNCTIONS

__all__: list[str] = []

_Function = Callable[..., Any]


# -- methods -------------------------------------------------------------------------------------


def _namespace(self: Array, /, *, api_version: Any = None) -> Any:
    """The namespace of functions for Arrays, `ad.numpy`.

    Parameters
    ----------
    api_version : str, optional
        A version of the array API standard.

    Raises
    ------
    ValueError
        If NumPy does not follow that version.
    """
    np.empty(0).__array_namespace__(api_version=api_version)  # raises
    return import_module("ad.numpy")


def _device(self: Array) -> str:
    """Where the elements are: "cpu"."""
    return "cpu"


def _to_device(self: Array, device: str, /, *, stream: Any = None) -> Array:
    """The array itself: all are on the same device.

    Parameters
    ----------
    device : str
        "cpu".
    stream : None

    Raises
    ------
    ValueError
        For another device, or a stream.
    """
    np.empty(0).to_device(device, stream=stream)  # type: ignore[arg-type]  # raises
    return self


def _dlpack(self: Array, *, stream: Any = None, max_version: tuple[int, int] | None = None,
            dl_device: Any = None, copy: bool | None = None) -> Any:
    """The elements as a DLPack capsule, for `from_dlpack` of another library.

    Parameters
    ----------
    stream, max_version, dl_device, copy : optional
        As in the array API standard. A consumer of a version before 1.0, which is not told what is read-only, is given
        a copy.

    Raises
    ------
    TypeError
        If the value is being differentiated or recorded: the other library would not see that.
    BufferError
        As NumPy raises it.
    """
    if is_watched(self) or is_traced(self):
        raise conversion_error("__dlpack__")
    old = max_version is None or max_version < (1, 0)
    value: Any = np.array(public_value(self), copy=True if old and copy is not False else None)
    options = {"stream": stream, "max_version": max_version, "dl_device": dl_device, "copy": copy}
    return value.__dlpack__(**{name: option for name, option in options.items() if option is not None})


def _dlpack_device(self: Array) -> tuple[int, int]:
    """The device of the elements, as DLPack numbers them."""
    return np.empty(0).__dlpack_device__()


_METHODS: dict[str, _Function] = {
    "__array_namespace__": _namespace, "to_device": _to_device, "__dlpack__": _dlpack,
    "__dlpack_device__": _dlpack_device,
}
for _name, _method in _METHODS.items():
    _method.__name__ = _name
    add_method(_name, _method)
add_method("device", property(_device))


# -- functions -----------------------------------------------------------------------------------


def _cumulative(scan: _Function, first: float) -> _Function:
    def cumulative(x: Any, /, *, axis: Any = None, dtype: Any = None, include_initial: bool = False) -> Any:
        if axis is None:
            if x.ndim != 1:
                raise ValueError("For arrays which have more than one dimension ``axis`` argument is required.")
            axis = 0
        y = scan(x, axis, dtype)
        if not include_initial:
            return y
        start = np.full([1 if i == axis % x.ndim else n for i, n in enumerate(x.shape)], first, y.dtype)
        return concatenate([start, y], axis)

    return cumulative


def _unstack(x: Any, /, *, axis: int = 0) -> Any:
    rows = moveaxis(x, axis, 0)
    return tuple([getitem(rows, i) for i in range(rows.shape[0])])


def _unique(original: _Function) -> _Function:
    """A function that returns a named tuple with the sorted `values`, which are elements of `x`."""

    def unique(x: Any) -> Any:
        plain = concrete(x)
        return plain_result(original(plain), (x,))._replace(values=take(x, np.unique_all(plain).indices))

    return unique


def _unique_values(x: Any) -> Any:
    return take(x, np.unique_all(concrete(x)).indices)


FUNCTIONS.update({
    np.linalg.matmul: lambda x1, x2, /: matmul(x1, x2),
    np.linalg.diagonal: lambda x, /, *, offset=0: diagonal(x, offset, -2, -1),
    np.linalg.trace: lambda x, /, *, offset=0, dtype=None: trace(x, offset, -2, -1, dtype),
    np.unique_values: _unique_values, np.unique_all: _unique(np.unique_all),
    np.unique_counts: _unique(np.unique_counts), np.unique_inverse: _unique(np.unique_inverse),
})
if hasattr(np, "unstack"):  # since NumPy 2.1
    FUNCTIONS |= {
        np.unstack: _unstack, np.cumulative_sum: _cumulative(cumsum, 0), np.cumulative_prod: _cumulative(cumprod, 1),
    }
