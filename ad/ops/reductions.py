"""Reductions over axes."""
from __future__ import annotations

import builtins
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ad._core import Array, apply
from ad.engine.inspection import value_or_tracer
from ad.engine.variable import stop_gradient
from ad.errors import unsupported_argument
from ad.ops import ufuncs
from ad.ops.axes import REDUCES, count, extreme_shape_rule, from_the_end, kept_shape, reduced_shape_rule
from ad.ops.domains import NONZERO, POSITIVE, REAL
from ad.ops.forms import (
    OUTPUT,
    case,
    composite,
    custom,
    elementwise,
    linear,
    needed_values,
    numpy_signature,
    point,
    stacked,
)
from ad.ops.nondifferentiable import evaluate
from ad.ops.refusals import as_flag
from ad.ops.scans import exclusive, flipped
from ad.ops.selection import of_dtype
from ad.ops.selection import where as choose
from ad.ops.shaping import broadcast_to, moveaxis, reshape
from ad.ops.structure import SUMS, reduces

__all__ = ["average", "largest", "log_sum_exp", "max", "mean", "min", "prod", "ptp", "std", "sum", "var"]

# -- axes -----------------------------------------------------------------------------------------


def spread(y: Any, x: Any, axis: Any) -> Any:
    """A reduction's result or its cotangent, broadcast back to the shape of its input `x`."""
    return broadcast_to(reshape(y, kept_shape(x.shape, axis)), x.shape)


# -- the form -------------------------------------------------------------------------------------


def reduction(
    *numpy: Any, partial: Any = None, jvp: Any = None, vjp: Any = None, **options: Any
) -> Callable[[Callable[..., Any]], Any]:
    """An op that reduces axes: it decorates `function(x, axis, keepdims)`, which computes it on raw values.

    The rules over axes, the shape rule and the batching follow from the partial derivative.

    Parameters
    ----------
    *numpy : callables
        The NumPy functions it stands for.
    partial : callable, or 1 for a sum
        `partial(x, y, axis)` is the derivative of the output with respect to each element of `x`, in its shape; `y` is
        the output with the reduced axes kept as ones.
    jvp, vjp : callables, optional
        In the place of `partial`: rules as for `custom`.
    **options
        As for all forms (`ad/ops/forms.py`).
    """
    options = {"batching": REDUCES, "shape_rule": reduced_shape_rule, "structure": reduces, **options}
    if partial == 1:
        options["structure"] = SUMS
        return linear(*numpy, transpose=lambda y_bar, x, axis, _keepdims: spread(y_bar, x, axis), **options)
    if partial is not None:
        jvp, vjp = _rules_over_axes(partial)
    return custom(*numpy, jvp=jvp, vjp=vjp, **options)


def _rules_over_axes(partial: Any) -> tuple[Any, Any]:
    """The rules of a reduction in both modes, from its partial derivative."""
    needs = needed_values(partial, 0, 1)

    def kept(y: Any, x: Any, axis: Any) -> Any:
        return reshape(y, kept_shape(x.shape, axis)) if needs & OUTPUT else None

    def push(x_dot: Any, x: Any, y: Any, axis: Any, keepdims: bool) -> Any:
        slope = partial(x, kept(y, x, axis), axis)
        return sum(ufuncs.scale(x_dot, slope), from_the_end(x.ndim, axis), keepdims=keepdims)

    def pull(y_bar: Any, x: Any, y: Any, axis: Any, _keepdims: Any) -> Any:
        return ufuncs.scale(spread(y_bar, x, axis), partial(x, kept(y, x, axis), axis))

    rules: tuple[Any, Any] = push, pull
    for rule in rules:
        rule.needs = needs
    return rules


# -- arguments ------------------------------------------------------------------------------------


def counts(mask: Any, axis: Any, keepdims: bool, total: Any) -> Any:
    """How many elements of a mask are true, in the floating type that a sum of them has."""
    return np.sum(mask, axis=axis, keepdims=keepdims, dtype=np.result_type(total.dtype, np.float16))


def warn_where(empty: Any, text: Any, level: Any = 5) -> None:
    """Give NumPy's warning about slices without numbers to the caller of an entry; replays of a program give none."""
    empty = value_or_tracer(empty)
    if empty is not False and not isinstance(empty, Array) and np.any(empty):
        warnings.warn(text, RuntimeWarning, stacklevel=level)


def is_exact(dtype: Any) -> bool:
    """Whether it is a dtype of integers or bools, through which no derivative flows."""
    return dtype is not None and np.dtype(dtype).kind not in "fc"


def _whole_mask(where: Any, a: Any) -> Any:
    """The argument `where=`, in the shape of the array."""
    if not isinstance(where, Array):
        where = np.asarray(where)
        if where.dtype.kind not in "biufc":
            raise TypeError("ad: where= is an array of bool")
        where = where.astype(bool)
    return np.broadcast_to(where, a.shape)


def _check_axis(a: Any, axis: Any) -> None:
    """Refuse an axis of an array that has none, as NumPy's mean and var do, and its sum does not."""
    if axis is not None and not a.ndim:
        np.lib.array_utils.normalize_axis_tuple(axis, 0)


def _unserved(name: str, **arguments: Any) -> None:
    """Refuse arguments for which there is no rule."""
    for argument, value in arguments.items():
        if value is not None:
            raise unsupported_argument(name, argument, value)


# -- sum and mean ---------------------------------------------------------------------------------


@reduction(partial=1, reduction_kernel=(np.add, -0.0), domain=REAL)
def _sum(a: Any, axis: Any, keepdims: Any) -> Any:
    return np.add.reduce(a, axis=axis, keepdims=keepdims)


@numpy_signature("sum", np.sum, method=True, cases=(
    case((4,)), case((2, 3), axis=0), case((2, 3, 2), axis=(0, -1)), case((2, 3), axis=1, keepdims=True), case(()),
    case((), axis=0), case((0, 3), axis=0), case((2, 3), where=np.array([True, False, True]), initial=2.0),
    case((2, 3), axis=()),
))
def sum(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, initial: Any = 0,
    where: Any = True
) -> Any:
    if not isinstance(a, Array):
        return np.sum(stacked(a), axis, dtype, out, keepdims, initial, where)
    if dtype is not None or out is not None or where is not True or initial != 0:
        _unserved("sum", out=out)
        a = a if where is True else choose(where, a, 0)
        if is_exact(dtype):
            return evaluate(np.sum, (a, axis, dtype), {"keepdims": keepdims, "initial": initial})
        found = sum(a if dtype is None else a.astype(dtype), axis, keepdims=keepdims)
        return found + of_dtype(initial, found.dtype)
    return apply(_sum.op, (a,), (axis, as_flag(keepdims)))


def quiet_mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = True
) -> Any:
    """The mean, without a warning where there is nothing."""
    if where is not True:
        where = _whole_mask(where, a)
        total = sum(a, axis, dtype, out, keepdims, where=where)
        return total / counts(where, axis, keepdims, total)
    return sum(a, axis, dtype, out, keepdims) / count(a, axis)


@composite(np.mean, domain=REAL, method=True, cases=(
    case((4,)), case((2, 3), axis=0), case((2, 3, 2), axis=(0, -1), keepdims=True), case(()),
    case((2, 3), where=np.array([True, False, True])),
))
def mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = True
) -> Any:
    _check_axis(a, axis)
    if is_exact(dtype):
        _unserved("mean", out=out)
        return evaluate(np.mean, (a, axis, dtype), {"keepdims": keepdims, "where": where})
    warn_where(where is True and count(a, axis) == 0, "Mean of empty slice")
    return quiet_mean(a, axis, dtype, out, keepdims, where=where)


@composite(np.var, domain=REAL, method=True, cases=(
    case((4,)), case((2, 3), axis=0, ddof=1), case((2, 3, 2), axis=(0, -1), keepdims=True),
    case((2, 3), axis=1, ddof=1, where=np.array([True, False, True])),
))
def var(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: bool = False, *,
    where: Any = True, mean: Any = None, correction: Any = np._NoValue
) -> Any:
    _check_axis(a, axis)
    ddof = _degrees(ddof, correction)
    if is_exact(dtype):
        _unserved("var", out=out, mean=mean)
        return evaluate(np.var, (a, axis, dtype, None, ddof), {"keepdims": keepdims, "where": where})
    a = a if dtype is None else a.astype(dtype)
    where = where if where is True else _whole_mask(where, a)
    squares = squared_moduli(a - (quiet_mean(a, axis, keepdims=True, where=where) if mean is None else mean))
    total = sum(squares, axis, None, out, keepdims, where=where)
    if where is True:
        freedom = count(a, axis) - ddof
        warn_where(freedom <= 0, "Degrees of freedom <= 0 for slice")
        return total / builtins.max(freedom, 0)
    return total / np.maximum(counts(where, axis, keepdims, total) - ddof, 0)


def _degrees(ddof: Any, correction: Any) -> Any:
    """`ddof`, which has another name in the array API."""
    if correction is np._NoValue:
        return ddof
    if ddof != 0:
        raise ValueError("ddof and correction can't be provided simultaneously.")
    return correction


def squared_moduli(x: Any) -> Any:
    if x.dtype.kind == "c":
        return ufuncs.square(x.real) + ufuncs.square(x.imag)
    return x * x


def _half_inverse(_x: Any, y: Any) -> Any:
    return ufuncs.quotient(0.5, y)


root = elementwise(
    "root", None, _half_inverse, domain=POSITIVE, fn=np.sqrt, singular="the square root, with derivative 0 at 0",
    radicand=lambda x: ((lambda: x), 0.5),
    points=(point(0.0, first=0, second=0, third=0),),
)


@composite(np.std, domain=REAL, method=True, singular="0 where all elements are equal",
           points=(point((1.0, 1.0, 1.0), first=0, second=0),), cases=(
    case((4,)), case((2, 3), axis=0, ddof=1), case((2, 3, 2), axis=(0, -1), keepdims=True),
    case((2, 3), axis=1, where=np.array([True, False, True])),
))
def std(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: bool = False, *,
    where: Any = True, mean: Any = None, correction: Any = np._NoValue
) -> Any:
    if is_exact(dtype):
        _unserved("std", out=out, mean=mean)
        ddof = _degrees(ddof, correction)
        return evaluate(np.std, (a, axis, dtype, None, ddof), {"keepdims": keepdims, "where": where})
    return root(var(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction))


@composite(np.average, domain=POSITIVE, cases=(
    case((4,)), case((3,), weights=np.array([1.0, 2.0, 3.0])), case((2, 3), axis=1, weights=np.array([1.0, 2.0, 3.0])),
    case((2, 3), axis=0, weights=np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]), keepdims=True),
))
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    a = ufuncs.positive(a)
    if weights is None:
        found, scale = mean(a, axis, keepdims=keepdims), a.dtype.type(count(a, axis))
        if not found.size:
            raise ZeroDivisionError("division by zero")
    else:
        weights = weights if isinstance(weights, Array) else np.asarray(weights)
        if weights.shape != a.shape:
            weights = _along(weights, a, axis)
        scale = sum(weights, axis, keepdims=keepdims)
        if np.any(scale == 0):
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        found = sum(a * weights, axis, keepdims=keepdims) / scale
    return (found, broadcast_to(scale, found.shape)) if returned else found


def _along(weights: Any, a: Any, axis: Any) -> Any:
    """Weights for some axes of `a` only, in the shape of `a`."""
    if axis is None:
        raise TypeError("Axis must be specified when shapes of a and weights differ.")
    axes = tuple(i % a.ndim for i in (axis if isinstance(axis, tuple) else (axis,)))
    if weights.shape != tuple(a.shape[i] for i in axes):
        raise ValueError("Shape of weights must be consistent with shape of a along specified axis.")
    ordered = moveaxis(weights, range(len(axes)), np.argsort(np.argsort(axes)).tolist())
    return broadcast_to(reshape(ordered, tuple(n if i in axes else 1 for i, n in enumerate(a.shape))), a.shape)


# -- product --------------------------------------------------------------------------------------


def _rows(x: Any, axis: Any) -> tuple[Any, Any]:
    """The reduced axes as one, at the end."""
    if axis is None or not x.ndim:
        axes = tuple(range(x.ndim))
    else:
        axes = np.lib.array_utils.normalize_axis_tuple(axis, x.ndim)
    kept = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    return reshape(moveaxis(x, axes, range(-len(axes), 0)), (*kept, count(x, axis))), axes


def _others(x: Any, axis: Any) -> Any:
    """For each element the product of the others. There is no division, so that zeros do no harm."""
    rows, axes = _rows(x, axis)
    products = exclusive(rows) * flipped(exclusive(flipped(rows)))
    moved = [n for i, n in enumerate(x.shape) if i not in axes] + [x.shape[a] for a in axes]
    return moveaxis(reshape(products, tuple(moved)), range(-len(axes), 0), axes)


@reduction(partial=lambda x, _y, axis: _others(x, axis), reduction_kernel=(np.multiply, 1.0), domain=NONZERO,
           singular="exact with any number of zeros", points=(
    point((0.0, 2.0), first=(2, 0), second=((0, 1), (1, 0)), third=0, axis=None, keepdims=False),
    point((0.0, 0.0, 3.0), first=0, second=((0, 3, 0), (3, 0, 0), (0, 0, 0)), axis=None, keepdims=False),
))
def _prod(a: Any, axis: Any, keepdims: Any) -> Any:
    return np.multiply.reduce(a, axis=axis, keepdims=keepdims)


@numpy_signature("prod", np.prod, method=True, cases=(
    case((4,)), case((2, 3), axis=0), case((2, 3, 2), axis=(0, -1), keepdims=True), case((2, 3, 2), axis=(2, 0)),
    case(()), case((0, 2), axis=0), case(np.array([2.0, 0.0, 3.0])), case(np.array([0.0, 0.0, 3.0])),
))
def prod(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, initial: Any = 1,
    where: Any = True
) -> Any:
    if not isinstance(a, Array):
        return np.prod(stacked(a), axis, dtype, out, keepdims, initial, where)
    _unserved("prod", out=out)
    a = a if where is True else choose(where, a, 1)
    if is_exact(dtype):
        return evaluate(np.prod, (a, axis, dtype), {"keepdims": keepdims, "initial": initial})
    found = apply(_prod.op, (a if dtype is None else a.astype(dtype),), (axis, as_flag(keepdims)))
    return found if type(initial) is int and initial == 1 else found * of_dtype(initial, found.dtype)


# -- extremes -------------------------------------------------------------------------------------


def _winners(x: Any, y: Any, axis: Any) -> tuple[Any, Any]:
    """Which elements are the extreme, and how many; where the result is nan, the elements that are nan."""
    x, best = value_or_tracer(x), np.reshape(value_or_tracer(y), kept_shape(x.shape, axis))
    hits = np.logical_or(x == best, x != x)  # if there is a nan, the result is one, and no element is equal to it
    return hits, np.add.reduce(hits * x.dtype.type(1), axis=axis, keepdims=True)


def _extreme_push(x_dot: Any, x: Any, y: Any, axis: Any, keepdims: bool) -> Any:
    hits, ties = _winners(x, y, axis)
    return sum(choose(hits, x_dot / ties, 0), from_the_end(x.ndim, axis), keepdims=keepdims)


def _extreme_pull(y_bar: Any, x: Any, y: Any, axis: Any, keepdims: bool) -> Any:
    hits, ties = _winners(x, y, axis)
    return choose(hits, reshape(y_bar, kept_shape(x.shape, axis)) / ties, 0)


def _extreme(ufunc: Any, worst: Any) -> Any:
    """The op for a maximum or a minimum, whose gradient goes to the elements that attain it."""

    def reduce(a: Any, axis: Any, keepdims: bool) -> Any:
        return ufunc.reduce(a, axis=axis, keepdims=keepdims)

    reduce.__name__ = "max" if ufunc is np.maximum else "min"
    return reduction(
        jvp=_extreme_push, vjp=_extreme_pull, conjugates=False, reduction_kernel=(ufunc, worst), domain=REAL,
        shape_rule=extreme_shape_rule,
        singular="ties share the gradient equally; where the result is nan, the nans share it",
        points=(point((2.0, 2.0, 2.0), first=1 / 3, second=0, axis=None, keepdims=False),),
    )(reduce)


_max, _min = _extreme(np.maximum, -np.inf), _extreme(np.minimum, np.inf)


def _reduced(op: Any, pair: Any, a: Any, axis: Any, out: Any, keepdims: bool, initial: Any, where: Any) -> Any:
    """A maximum or minimum with `initial` or `where`."""
    _unserved(op.name, out=out)
    given = initial is not None and initial is not np._NoValue
    if where is not True and where is not np._NoValue:
        if not given:
            raise ValueError("reduction operation does not have an identity, so to use a where mask one has to "
                             "specify 'initial'")
        a = choose(where, a, initial)
    if given and not a.size:
        return sum(a, axis, a.dtype, None, keepdims) + of_dtype(initial, a.dtype)  # of zeros
    found = apply(op, (a,), (axis, as_flag(keepdims)))
    return pair(found, of_dtype(initial, found.dtype)) if given else found


_EXTREMES = (
    case((4,)), case((2, 3), axis=0), case((2, 3, 2), axis=(0, -1), keepdims=True), case(()), case((), axis=0),
    case((2, 0), axis=0), case((2, 3), axis=1, initial=0.7),
)


def _extreme_function(numpy: Any, alias: Any, op: Any, pair: Any) -> Any:
    """The public maximum or minimum over axes, with the signature of NumPy's."""

    def extreme(
        a: Any, axis: Any = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True
    ) -> Any:
        if not isinstance(a, Array):
            return numpy(stacked(a), axis, out, keepdims, np._NoValue if initial is None else initial, where)
        if out is initial is None and where is True:
            return apply(op, (a,), (axis, as_flag(keepdims)))
        return _reduced(op, pair, a, axis, out, keepdims, initial, where)

    extreme.__name__ = extreme.__qualname__ = numpy.__name__
    return numpy_signature(numpy.__name__, numpy, alias, method=True, cases=_EXTREMES)(extreme)


max = _extreme_function(np.max, np.amax, _max.op, ufuncs.maximum)
min = _extreme_function(np.min, np.amin, _min.op, ufuncs.minimum)


@composite(np.ptp, domain=REAL, cases=(case((4,)), case((2, 3), axis=1, keepdims=True)))
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
    return max(a, axis, out, keepdims) - min(a, axis, out, keepdims)


# -- sums of exponentials, shifted by the largest, so that nothing overflows --------------------------


def largest(x: Any, axis: Any) -> Any:
    """The largest element, as a constant: the shift cancels out of the result and of its derivatives."""
    return np.max(stop_gradient(x).real, axis=axis, keepdims=True)


def log_sum_exp(x: Any, axis: Any, keepdims: bool = False, factors: Any = None, top: Any = None) -> Any:
    """log(sum(factors exp(x))), of which `top` is the largest x that counts; infinities share the gradient equally."""
    top = largest(x, axis) if top is None else top
    terms = ufuncs.exp(ufuncs.gap(x, top))
    total = sum(terms if factors is None else factors * terms, axis, keepdims=keepdims)
    return ufuncs.log(total) + np.reshape(top, total.shape)
