"""Ops that change shape, order of axes or dtype: all are linear, so the transpose is the whole rule."""
from __future__ import annotations

from typing import Any

import numpy as np

from ad._core import Array, apply
from ad.engine.array import is_traced
from ad.engine.inspection import metadata_view
from ad.engine.public_functions import add_method
from ad.engine.variable import stop_gradient
from ad.engine.writing import assign, is_contiguous, is_view, link, without_views
from ad.errors import MissingRule
from ad.ops import shape_rules, ufuncs
from ad.ops.axes import behind_lanes
from ad.ops.domains import REAL
from ad.ops.forms import case, composite, linear, numpy_signature, stacked
from ad.ops.plain_results import plain_result
from ad.ops.refusals import tried
from ad.ops.structure import ELEMENTWISE, MOVES, SUMS
from ad.ops.traits import SAME_PARAMS, Batching

__all__ = [
    "as_dtype", "astype", "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_arrays", "broadcast_to", "copy",
    "expand_dims", "flatten", "moveaxis", "ravel", "reshape", "rollaxis", "squeeze", "sum_to",
    "swapaxes", "transpose",
]

_EMPTY = np.empty(0)  # NumPy is called with it, to see whether it accepts an option

# -- types and copies -----------------------------------------------------------------------------


@linear(transpose=lambda y_bar, x, dtype: cast(y_bar, x.dtype), batching=SAME_PARAMS, domain=REAL,
        structure=ELEMENTWISE,
        shape_rule=lambda x, dtype: (x.shape, np.dtype(dtype)) if shape_rules.in_order(x) else None,
        moves=True, carry=lambda power, i, p, xs, params: power if xs[0].dtype == params[0] else None)
def _astype(x: Any, dtype: Any) -> Any:
    """`x` in another dtype; from complex to real this takes the real part."""
    if np.dtype(dtype).kind != "c" and np.asarray(x).dtype.kind == "c":
        x = np.real(x)
    return np.asarray(x).astype(dtype)


def cast(x: Any, dtype: Any) -> Any:
    """`x` in this dtype, as an op, also for integer and bool dtypes."""
    return apply(_astype.op, (x,), (dtype,))


@numpy_signature("astype", *(f for f in [getattr(np, "astype", None)] if f), method=True,
          cases=(case((3,), "float64"), case((2, 3), "complex128")))
def astype(x: Any, dtype: Any, order: Any = "K", casting: Any = "unsafe", subok: bool = True, copy: bool = True) -> Any:
    """`x` in another dtype. What becomes integer or boolean is a plain ndarray: nothing flows through it.

    Parameters
    ----------
    x : Array or array_like
    dtype : dtype_like
    order, casting, subok, copy : str, str, bool, bool
        As for ndarray.astype. They make no difference to an Array, but for `casting`: what it forbids raises.

    Returns
    -------
    Array or ndarray
    """
    dtype = np.dtype(dtype)
    if order != "K":
        _EMPTY.astype(float, order)
    if not isinstance(x, Array):
        x = stacked(x)
        if not isinstance(x, Array):
            return np.asarray(x).astype(dtype, order=order, casting=casting, copy=copy)
    if not np.can_cast(x.dtype, dtype, casting):
        raise TypeError(f"Cannot cast array data from {x.dtype!r} to {dtype!r} according to the rule {casting!r}")
    if dtype.kind not in "fc":
        if is_traced(x):
            return cast(stop_gradient(x), dtype)
        return plain_result(np.asarray(x.numpy()).astype(dtype, casting=casting), (x,))
    return apply(_astype.op, (x,), (dtype,))


def as_dtype(x: Any, dtype: Any) -> Any:
    """An Array in this dtype: itself, if it has it, or None is given."""
    return x if dtype is None or x.dtype == np.dtype(dtype) else astype(x, dtype)


@composite(np.copy, domain=REAL, cases=(case((2, 3)), case(())))
def copy(a: Any, order: Any = "K", subok: bool = False) -> Any:
    y = ufuncs.identity(a)
    if order != "K":
        np.copy(_EMPTY, order)
    if order != "K" and isinstance(y, Array) and y.ndim > 1:
        order = memory_order(y, order)
        if not is_contiguous(y, order):  # views of the copy depend on its strides
            return without_views(reshape(ravel(y, order), y.shape, order))
    return y


def _copy_method(x: Any, order: Any = "C") -> Any:
    """As ndarray.copy: an array of its own, by default in C order."""
    return copy(x, order)


add_method("copy", _copy_method)


def _strides(x: Any) -> tuple[int, ...]:
    """As ndarray.strides, of the value."""
    return np.asarray(metadata_view(x)).strides


def _set_real(x: Any, values: Any) -> None:
    x.real[...] = values


def _set_imag(x: Any, values: Any) -> None:
    x.imag[...] = values


add_method("strides", property(_strides))
add_method("conj", ufuncs.conjugate)
add_method("real", property(ufuncs.real, _set_real))
add_method("imag", property(ufuncs.imag, _set_imag))

# -- broadcasting -----------------------------------------------------------------------------------


def _read_only(_x: Any, _y: Any, *_params: Any) -> None:
    raise ValueError("assignment destination is read-only")


def _broadcast_lanes(x_dots: Any, xs: Any, y: Any, shape: Any) -> Any:
    (x_dot,) = x_dots
    k, *rest = x_dot.shape
    spread = reshape(x_dot, (k, *(1,) * (y.ndim - len(rest)), *rest))
    return broadcast_to(spread, (k, *y.shape))


def _pull_broadcast(y_bar: Any, x: Any, shape: Any) -> Any:
    return sum_to(y_bar, x.shape)


@linear(transpose=_pull_broadcast, batching=Batching(rule=_broadcast_lanes), domain=REAL,
        shape_rule=shape_rules.view, moves=True, carry="moved", write=_read_only, structure=MOVES)
def _broadcast_to(array: Any, shape: Any) -> Any:
    return np.broadcast_to(array, shape)


@numpy_signature("broadcast_to", np.broadcast_to, cases=(
    case((3,), shape=(2, 3)), case((2, 1), shape=(4, 2, 3)), case((), shape=(2,)), case((1, 3), shape=(0, 3)),
    case((), shape=4),
))
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    if isinstance(array, Array):
        return apply(_broadcast_to.op, (array,), (shape,))
    return np.broadcast_to(stacked(array), shape)


@composite(np.broadcast_arrays, domain=REAL, view=True, cases=(case((3,), (2, 1)),))
def broadcast_arrays(*args: Any, subok: bool = False) -> Any:
    args = tuple([a if isinstance(a, Array) else np.asarray(a) for a in map(stacked, args)])
    shape = np.broadcast_shapes(*(a.shape for a in args))
    if all(a.shape == shape for a in args):
        return args  # which can be written to
    return tuple([broadcast_to(a, shape) for a in args])


def _sum_to_lanes(x_dots: Any, xs: Any, y: Any, shape: Any) -> Any:
    (x_dot,) = x_dots
    added = (1,) * (xs[0].ndim - len(shape))
    return reshape(sum_to(x_dot, (x_dot.shape[0], *added, *shape)), (x_dot.shape[0], *shape))


@linear(transpose=lambda y_bar, x, shape: broadcast_to(y_bar, x.shape), domain=REAL, structure=SUMS,
        batching=Batching(rule=_sum_to_lanes),
        shape_rule=lambda x, shape: (shape, x.dtype) if x.dtype.kind in "fc" else None,
        cases=(case((2, 3), shape=(3,)), case((4, 2, 3), shape=(2, 1)), case((2,), shape=())))
def sum_to(x: Any, shape: Any) -> Any:
    """The sum over the axes that broadcasting `shape` to the shape of `x` adds or stretches."""
    added = np.ndim(x) - len(shape)
    stretched = tuple(i + added for i, n in enumerate(shape) if n == 1 and np.shape(x)[i + added] != 1)
    return np.sum(x, axis=tuple(range(added)) + stretched, keepdims=True).reshape(shape)


# -- reshape ------------------------------------------------------------------------------------


def _reshape_lanes(x_dots: Any, xs: Any, y: Any, shape: Any, order: Any = "C") -> Any:
    (x_dot,) = x_dots
    k = x_dot.shape[0]
    if order == "C":
        return reshape(x_dot, (k, *y.shape))
    return moveaxis(reshape(moveaxis(x_dot, 0, -1), (*y.shape, k), order), -1, 0)


def _pull_reshape(y_bar: Any, x: Any, shape: Any, order: Any = "C") -> Any:
    return reshape(y_bar, x.shape, order)


def _write_reshaped(x: Any, y: Any, shape: Any, order: Any = "C") -> None:
    assign(x, reshape(y, x.shape, order))


@linear(transpose=_pull_reshape, domain=REAL, batching=Batching(rule=_reshape_lanes),
        shape_rule=shape_rules.view, moves=True, carry="moved", write=_write_reshaped, structure=MOVES)
def _reshape(a: Any, shape: Any, order: Any = "C") -> Any:
    return np.reshape(a, shape, order)


@numpy_signature("reshape", np.reshape, cases=(
    case((6,), shape=(2, 3)), case((2, 3), shape=(-1,)), case((2, 3), 6), case((2, 3), shape=(3, 2), order="F"),
    case((), shape=(1, 1)), case((1,), shape=()), case((0, 3), shape=(3, 0)),
))
def reshape(a: Any, shape: Any, order: Any = "C", copy: Any = None) -> Any:
    if not isinstance(a, Array):
        return np.reshape(stacked(a), shape, order)
    if type(shape) is list:
        shape = tuple(shape)
    if copy is not None:
        tried(np.reshape, a, shape, order, copy=copy)
    if order != "C":
        np.reshape(_EMPTY, 0, order)
        order = memory_order(a, order)
    return apply(_reshape.op, (a,), (shape, order))


def memory_order(a: Any, order: Any) -> Any:
    """'C' or 'F' for any of NumPy's ways to name an order."""
    np.ravel(_EMPTY, order)  # raises for a wrong order
    order = "C" if order is None else order.upper()
    if order in ("C", "F"):
        return order
    flags = np.asarray(metadata_view(a)).flags
    if flags.c_contiguous or (order == "A" and not flags.f_contiguous):
        return "C"
    if flags.f_contiguous:
        return "F"
    raise MissingRule(f"ad: order={order!r} of an array that is neither C- nor F-contiguous; give 'C' or 'F'")


def _reshape_method(x: Any, *shape: Any, order: Any = "C", copy: Any = None) -> Any:
    """As ndarray.reshape: the same elements in another shape, given as a tuple or as so many integers."""
    if not shape:
        raise TypeError("reshape() takes exactly 1 argument (0 given)")
    return reshape(x, shape[0] if len(shape) == 1 else shape, order, copy)


add_method("reshape", _reshape_method)


@composite(np.ravel, domain=REAL, view=True, cases=(case((2, 3)), case((2, 3), order="F"), case(())), method=True)
def ravel(a: Any, order: Any = "C") -> Any:
    order = order if order == "C" else memory_order(a, order)
    y = reshape(a, (a.size,), order)
    return y if not isinstance(a, Array) or is_contiguous(a, order) else without_views(y)


@composite(domain=REAL, cases=(case((2, 3)), case((2, 3), order="F")), method=True)
def flatten(a: Any, order: Any = "C") -> Any:
    """As ndarray.flatten: all elements in one axis."""
    return ravel(a, order)


def _flat(x: Any) -> Any:
    """As ndarray.flat: all elements in one axis. What is written to it shows in the array, whatever its strides are."""
    params = (x.size,), "C"
    y = apply(_reshape.op, (x,), params)
    if not is_view(y):
        link(y, x, _reshape.op, params)
    return y


def _set_flat(x: Any, values: Any) -> None:
    """Write values at all positions; they are repeated as often as needed."""
    np.put(x, np.arange(x.size), values)


add_method("flat", property(_flat, _set_flat))


def _reshaped_by(function: Any, a: Any, *args: Any) -> Any:
    """`a` in the shape that NumPy's function would give it."""
    return reshape(a, function(np.asarray(metadata_view(a)), *args).shape)


@composite(np.squeeze, domain=REAL, view=True, method=True, cases=(
    case((1, 3, 1)), case((1, 3, 1), axis=0), case((1, 1)),
))
def squeeze(a: Any, axis: Any = None) -> Any:
    return _reshaped_by(np.squeeze, a, axis)


@composite(np.expand_dims, domain=REAL, view=True, cases=(
    case((2, 3), axis=1), case((3,), axis=(0, -1)), case((), axis=0),
))
def expand_dims(a: Any, axis: Any) -> Any:
    return _reshaped_by(np.expand_dims, a, axis)


def _atleast(function: Any) -> Any:
    def atleast(*arys: Any) -> Any:
        found = [_reshaped_by(function, a) if isinstance(a, Array) else function(a) for a in arys]
        return found[0] if len(found) == 1 else tuple(found)

    atleast.__name__ = function.__name__
    return composite(function, domain=REAL, view=True, cases=(case(()), case((3,)), case((2, 3))))(atleast)


atleast_1d, atleast_2d, atleast_3d = _atleast(np.atleast_1d), _atleast(np.atleast_2d), _atleast(np.atleast_3d)

# -- transpose ----------------------------------------------------------------------------------


def _inverse(axes: Any) -> Any:
    return None if axes is None else tuple(np.argsort([a % len(axes) for a in axes]).tolist())


def _transpose_behind_lanes(ndim: int, axes: Any) -> tuple[Any]:
    if axes is None:
        return ((0, *range(ndim, 0, -1)),)
    return ((0, *behind_lanes(ndim, axes)),)


def _pull_transpose(y_bar: Any, x: Any, axes: Any) -> Any:
    return transpose(y_bar, _inverse(axes))


def _write_transposed(x: Any, y: Any, axes: Any) -> None:
    assign(x, transpose(y, _inverse(axes)))


@linear(transpose=_pull_transpose, domain=REAL, batching=Batching(params=_transpose_behind_lanes),
        shape_rule=shape_rules.view, moves=True, carry="moved", write=_write_transposed, structure=MOVES)
def _transpose(a: Any, axes: Any) -> Any:
    return np.asarray(a).transpose(axes)


@numpy_signature("transpose", np.transpose, cases=(
    case((2, 3)), case((2, 3, 4), axes=(1, 2, 0)), case((2, 3, 4), axes=(-1, 0, 1)), case((3,)), case(()),
))
def transpose(a: Any, axes: Any = None) -> Any:
    if isinstance(a, Array):
        if axes is not None:
            axes = (axes,) if isinstance(axes, (int, np.integer)) else tuple(axes)
        return apply(_transpose.op, (a,), (axes,))
    return np.transpose(stacked(a), axes)


def _transpose_method(x: Any, *axes: Any) -> Any:
    """As ndarray.transpose: the axes in another order, given as a tuple or as so many integers; by default reversed."""
    if not axes or axes == (None,):
        return transpose(x)
    return transpose(x, axes[0] if isinstance(axes[0], (tuple, list)) else axes)


add_method("transpose", _transpose_method)
add_method("T", property(transpose))


@composite(np.swapaxes, domain=REAL, view=True, cases=(case((2, 3, 4), 0, -1), case((2, 3), 0, 0)), method=True)
def swapaxes(a: Any, axis1: Any, axis2: Any) -> Any:
    axes = list(range(a.ndim))
    axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
    return transpose(a, tuple(axes))


@composite(np.moveaxis, domain=REAL, view=True, cases=(
    case((2, 3, 4), 0, -1), case((2, 3, 4), source=(0, 1), destination=(-1, 0)),
))
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    source, destination = _axes(source, a.ndim), _axes(destination, a.ndim)
    if len(source) != len(destination):
        raise ValueError("`source` and `destination` arguments must have the same number of elements")
    order = [axis for axis in range(a.ndim) if axis not in source]
    for to, axis in sorted(zip(destination, source)):
        order.insert(to, axis)
    return transpose(a, tuple(order))


def _axes(axis: Any, ndim: int) -> Any:
    return np.lib.array_utils.normalize_axis_tuple(axis, ndim)


@composite(np.rollaxis, domain=REAL, view=True, cases=(case((2, 3, 4), 2), case((2, 3, 4), 0, 2)))
def rollaxis(a: Any, axis: Any, start: Any = 0) -> Any:
    tried(np.rollaxis, a, axis, start)
    (axis,), start = _axes(axis, a.ndim), int(start + a.ndim if start < 0 else start)
    return moveaxis(a, axis, start - (axis < start))
