"""NumPy's functions that make arrays, with results that can be written to and can hold values of ours.

They are what a function of `ad.numpy` does while something is differentiated or recorded, and what NumPy calls for
`like=x` with an Array x. Of plain numbers they give an Array without a derivative, with NumPy's elements and dtype.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ad._core import Array
from ad.engine.inspection import as_array, is_tracing, metadata_view
from ad.ops.binding import has_array
from ad.ops.filling import linspace, logspace
from ad.ops.joining import asarray as joined
from ad.ops.joining import full_like
from ad.ops.plain_results import GIVES_ARRAYS
from ad.ops.refusals import refuse
from ad.ops.shaping import as_dtype, broadcast_to, copy, reshape
from ad.ops.table import FUNCTIONS

__all__ = ["CREATION", "held"]

_Function = Callable[..., Any]

# What values of ours can be written into: what has derivatives. While a program is being recorded, which may compute
# them, integers and truths can be ours as well, and so are arrays of them that are made to be filled. All other arrays
# of integers stay plain: their elements count loops and are keys of dicts.
INEXACT, OTHERS = "fc", "biu"
CREATION: dict[_Function, _Function] = {}  # NumPy's function -> ours


def held(y: Any, to_be_filled: bool = False) -> Any:
    """An ndarray that nobody else has as an Array, not copied; so are those in a tuple or list; others as they are."""
    if type(y) is np.ndarray:
        kind = y.dtype.kind
        ours = kind in INEXACT or kind in OTHERS and (GIVES_ARRAYS or to_be_filled and is_tracing())
        return as_array(y) if ours else y
    return type(y)([held(part) for part in y]) if type(y) in (tuple, list) else y


def _creation(original: _Function) -> Callable[[_Function], _Function]:
    """Decorate what takes the place of a function of NumPy."""

    def define(function: _Function) -> _Function:
        CREATION[original] = function
        return function

    return define


def _holding(original: _Function, to_be_filled: bool) -> None:
    """Let a function whose arguments are plain numbers give Arrays."""
    CREATION[original] = lambda *args, **kwargs: held(original(*args, **kwargs), to_be_filled)


def _likewise(original: _Function) -> None:
    """Let a function whose first argument gives shape and dtype give Arrays."""

    def make(a: Any, *args: Any, **kwargs: Any) -> Any:
        a = joined(a) if has_array((a,)) else a
        return held(original(metadata_view(a) if isinstance(a, Array) else a, *args, **kwargs), True)

    CREATION[original] = make


_original: _Function
for _original in (np.empty, np.zeros, np.ones):
    _holding(_original, True)
for _original in (np.eye, np.identity, np.tri, np.indices, np.bartlett, np.blackman, np.hamming, np.hanning, np.kaiser):
    _holding(_original, False)
for _original in (np.empty_like, np.zeros_like, np.ones_like):
    _likewise(_original)


# -- from data -----------------------------------------------------------------------------------


def _converted(
    name: str, value: Any, dtype: Any, copied: bool | None, ndmin: int = 0, **options: Any
) -> Any:
    """`np.array(value, ...)` of an Array, or of lists that hold some; `name` is that of the function called."""
    function = getattr(np, name)
    if dtype is not None and np.dtype(dtype).kind not in INEXACT + OTHERS:
        return function(value, dtype, **options)  # which refuses values that are being differentiated
    try:
        x = joined(value)
    except Exception:
        refuse(function, (value, dtype), {})
        raise
    if x.dtype.kind not in INEXACT + OTHERS:
        raise TypeError(f"ad: np.{name} of Arrays makes an array of numbers, and not one of dtype {x.dtype}")
    y = as_dtype(x, dtype)
    if copied is False and y is not value:
        np.array([0.0], copy=False)  # raises
    if copied and y is value:
        y = copy(y)
    return reshape(y, (1,) * (ndmin - y.ndim) + y.shape) if ndmin > y.ndim else y


def _is_fresh(y: Any, value: Any) -> bool:
    """Whether an array made of `value` has memory of its own, as far as the type of `value` tells."""
    if isinstance(value, np.ndarray):
        return y is not value and not np.may_share_memory(y, value)
    return isinstance(value, (list, tuple, int, float, complex, np.generic))


@_creation(np.array)
def _array(object: Any, dtype: Any = None, *, copy: bool | None = True, order: Any = "K", subok: bool = False,
           ndmin: int = 0, **later: Any) -> Any:
    if has_array((object,)):
        return _converted("array", object, dtype, copy, ndmin, **later)
    y = np.array(object, dtype, copy=copy, order=order, subok=subok, ndmin=ndmin, **later)
    return held(y) if copy or _is_fresh(y, object) else y


def _from_data(original: _Function, ndmin: int = 0) -> None:
    """`np.asarray` and the like: a plain ndarray stays what it is, since the result shares its memory."""
    name = original.__name__

    def make(a: Any, dtype: Any = None, *args: Any, copy: bool | None = None, **kwargs: Any) -> Any:
        if has_array((a,)):
            return _converted(name, a, dtype, copy, ndmin)
        if copy is not None:
            kwargs["copy"] = copy
        y = original(a, dtype, *args, **kwargs)
        return held(y) if _is_fresh(y, a) else y

    CREATION[original] = make


for _original in (np.asarray, np.asanyarray):
    _from_data(_original)
for _original in (np.ascontiguousarray, np.asfortranarray):
    _from_data(_original, 1)


@_creation(np.asarray_chkfinite)
def _asarray_chkfinite(a: Any, dtype: Any = None, order: Any = None) -> Any:
    y = CREATION[np.asarray](a, dtype, order)
    if y.dtype.kind in INEXACT and not np.isfinite(y).all():
        raise ValueError("array must not contain infs or NaNs")
    return y


@_creation(np.require)
def _require(a: Any, dtype: Any = None, requirements: Any = None) -> Any:
    if not has_array((a,)):
        y = np.require(a, dtype, requirements)
        return held(y) if _is_fresh(y, a) else y
    np.require(np.empty(0), None, requirements)  # raises for unknown ones
    return _converted("asarray", a, dtype, None)


@_creation(np.copy)
def _copy(a: Any, order: Any = "K", subok: Any = False) -> Any:
    return copy(joined(a), order, subok) if has_array((a,)) else held(np.copy(a, order, subok))


@_creation(np.fromiter)
def _fromiter(iter: Iterable[Any], dtype: Any, count: int = -1) -> Any:
    items = list(iter if count < 0 else itertools.islice(iter, count))
    if not has_array(items):
        return held(np.fromiter(items, dtype, count))
    np.fromiter([0.0] * len(items), dtype, count)  # raises if there are too few
    return _converted("array", items, dtype, None)


# -- filled --------------------------------------------------------------------------------------


@_creation(np.full)
def _full(shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C", **device: Any) -> Any:
    if not has_array((fill_value,)):
        return held(np.full(shape, fill_value, dtype, order, **device), True)
    np.full(0, 0.0, None, order, **device)  # raises for a wrong option
    try:
        return copy(broadcast_to(as_dtype(joined(fill_value), dtype), shape))
    except Exception:
        refuse(np.full, (shape, fill_value, dtype), {})
        raise


@_creation(np.full_like)
def _full_like(a: Any, fill_value: Any, *args: Any, **kwargs: Any) -> Any:
    a = joined(a) if has_array((a,)) else a
    if has_array((fill_value,)):
        return copy(full_like(a, joined(fill_value), *args, **kwargs))
    return held(np.full_like(metadata_view(a) if isinstance(a, Array) else a, fill_value, *args, **kwargs), True)


@_creation(np.arange)
def _arange(*args: Any, dtype: Any = None, **device: Any) -> Any:
    arange: _Function = np.arange
    bounds: dict[str, Any] = {name: device.pop(name) for name in ("start", "stop", "step") if name in device}
    if not has_array((*args, *bounds.values())):
        return held(arange(*args, dtype=dtype, **bounds, **device))
    start, stop, step = _bounds(args, bounds)
    kind = np.result_type(*[x if isinstance(x, (int, float)) else x.dtype for x in (start, stop, step)], np.int_)
    n = max(0, int(np.ceil((stop - start) / step)))
    number = np.arange(n).astype(kind)
    y = start + number * ((start + step) - start)  # the order in which NumPy computes it
    return held(as_dtype(y, kind if dtype is None else dtype))


def _bounds(args: Sequence[Any], bounds: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Start, stop and step of `np.arange`."""
    if len(args) == 1 and "stop" not in bounds:
        args = (0, *args) if "start" not in bounds else (bounds.pop("start"), *args)
    given = {**dict(zip(("start", "stop", "step"), args)), **bounds}
    return given.get("start", 0), given["stop"], given.get("step", 1)


def _spaced(original: _Function, ours: _Function | None) -> None:
    """`np.linspace` and the like, of bounds that may be Arrays."""

    def make(*args: Any, **kwargs: Any) -> Any:
        if ours is not None and has_array((*args, *kwargs.values())):
            return ours(*args, **kwargs)
        return held(original(*args, **kwargs))

    CREATION[original] = make


_spaced(np.linspace, linspace)
_spaced(np.logspace, logspace)
_spaced(np.geomspace, None)


# -- grids ---------------------------------------------------------------------------------------


@_creation(np.meshgrid)
def _meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: Any = "xy") -> Any:
    if not has_array(xi):
        y = np.meshgrid(*xi, copy=copy, sparse=sparse, indexing=indexing)
        return held(y) if copy else y
    plain: Any = [np.empty(np.shape(x)) if isinstance(x, Array) else x for x in map(joined, xi)]
    places = np.meshgrid(*plain, copy=False, sparse=True, indexing=indexing)  # raises for a wrong option
    parts = [reshape(x, place.shape) for x, place in zip(map(joined, xi), places)]
    if not sparse:
        shape = np.broadcast_shapes(*[part.shape for part in parts])
        parts = [broadcast_to(part, shape) for part in parts]
    return tuple([FUNCTIONS[np.copy](part) for part in parts]) if copy else tuple(parts)


@_creation(np.fromfunction)
def _fromfunction(function: _Function, shape: Any, *, dtype: Any = float, **kwargs: Any) -> Any:
    return function(*held(tuple(np.indices(shape, dtype))), **kwargs)


for _original in (  # they take `like=`
    np.array, np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray, np.require, np.fromiter, np.arange,
    np.empty, np.zeros, np.ones, np.full, np.eye, np.identity, np.tri, np.fromfunction,
):
    FUNCTIONS[_original] = CREATION[_original]
