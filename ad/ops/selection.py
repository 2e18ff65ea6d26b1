"""Ops that choose, element by element, among several values."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ad._core import Array, apply
from ad.engine.inspection import value_or_tracer
from ad.engine.public_functions import add_method
from ad.ops.domains import REAL
from ad.ops.forms import case, composite, custom, elementwise, numpy_signature, point, stacked
from ad.ops.plain_results import plain_result
from ad.ops.shape_rules import elementwise_shape
from ad.ops.shaping import broadcast_to, reshape
from ad.ops.structure import ELEMENTWISE, NOTHING, Gather, numbers_of
from ad.ops.table import TABLE
from ad.ops.traits import BROADCASTS

__all__ = ["clip", "nan_to_num", "select", "tril", "triu", "where"]

# -- where: linear in its branches, for a condition that is given ------------------------------------


def _chosen_dot(pick: Any) -> Callable[..., Any]:
    def push(x_dot: Any, condition: Any, _x1: Any, _x2: Any, _y: Any) -> Any:
        shape, x = _y.shape, (_x1, _x2)[pick]
        if x_dot.ndim > x.ndim:
            k, *rest = x_dot.shape
            x_dot, shape = reshape(x_dot, (k, *(1,) * (_y.ndim - len(rest)), *rest)), (k, *shape)
        y_dot = where(condition, x_dot, 0) if pick == 0 else where(condition, 0, x_dot)
        return y_dot if y_dot.shape == shape else broadcast_to(y_dot, shape)

    return push


def _shape_rule(condition: Any, x: Any, y: Any) -> Any:
    """The shape rule of an op on all three inputs, in the common dtype of the two branches."""
    rule: Any = elementwise_shape()
    found = rule(condition, x, y)
    return found and (found[0], np.result_type(x, y), *found[2:])


def _power_of_chosen(power: Any, i: int, p: Any, xs: Any, _params: Any) -> Any:
    """The power of the chosen elements, from the powers of the branches, of which one is given."""
    condition, *branches = xs
    return where(condition, *[power if j == i else np.power(x, p) for j, x in enumerate(branches, 1)])


def _pull_first(y_bar: Any, condition: Any, _x1: Any, _x2: Any, _y: Any) -> Any:
    return where(condition, y_bar, 0)


def _pull_second(y_bar: Any, condition: Any, _x1: Any, _x2: Any, _y: Any) -> Any:
    return where(condition, 0, y_bar)


def _structure(i: int, xs: Any, y: Any) -> Any:
    """Elements of the branches, of which a condition that is a constant tells which are chosen."""
    if i == 0:
        return NOTHING
    if not isinstance(xs[0], np.ndarray):
        return ELEMENTWISE
    chosen = xs[0].astype(bool) if i == 1 else ~xs[0].astype(bool)
    return Gather(np.where(chosen, np.broadcast_to(numbers_of(xs[i]), y.shape), -1))


@custom(jvp=(None, _chosen_dot(0), _chosen_dot(1)), inputs=3, batching=BROADCASTS, domain=REAL,
        vjp=(lambda *_: None, _pull_first, _pull_second),
        singular="the branch not taken gets an exact zero, whatever its own derivative", shape_rule=_shape_rule,
        conjugates=False, moves=True, carry=_power_of_chosen, structure=_structure)
def _where(condition: Any, x: Any, y: Any) -> Any:
    return np.where(condition, x, y)


_CONDITION = np.array([True, False, True])


@numpy_signature("where", np.where, cases=(
    case(_CONDITION, (3,), (3,)), case(_CONDITION, (2, 3), ()), case(_CONDITION, (), (2, 1)),
    case(_CONDITION[:, None], (2, 1, 3), (3, 3)), case(True, (2,), (2,)), case(np.array(False), (), ()),
))
def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    condition, x, y = value_or_tracer(stacked(condition)), stacked(x), stacked(y)
    if (x is None) != (y is None):
        raise ValueError("either both or neither of x and y should be given")
    if isinstance(x, Array) or isinstance(y, Array) or isinstance(condition, Array):
        if x is None and y is None:
            return plain_result(np.nonzero(condition), (condition,))
        return apply(_where.op, (condition if isinstance(condition, Array) else np.asarray(condition), x, y))
    return plain_result(np.where(condition), ()) if x is None and y is None else np.where(condition, x, y)


# -- clip -------------------------------------------------------------------------------------------

elementwise(
    "clip", None,
    (lambda x, low, high, _y: (x >= low) & (x <= high), lambda x, low, high, _y: (x < low) & (low <= high),
     lambda x, low, high, _y: (x > high) | (low > high)),
    domain=(REAL, lambda rng, shape: rng.uniform(-1.5, -0.5, shape), lambda rng, shape: rng.uniform(0.5, 1.5, shape)),
    fn=np.clip, shape_rule=elementwise_shape(), singular="1 on the bounds, as inside",
    points=(point(1.0, -1.0, 1.0, first=(1, 0, 0), second=0), point(-1.0, -1.0, 1.0, first=(1, 0, 0), second=0)),
)
_CLIP: Any = TABLE["clip"].op


@numpy_signature("clip", np.clip, cases=(
    case((5,), -1.0, 1.0), case((2, 3), None, 0.7), case((2, 3), -0.5, None), case((2, 3), (3,), 1.0),
    case((), -0.1, 0.1), case((2, 1), (2,), (1, 2)),
))
def clip(
    a: Any, a_min: Any = np._NoValue, a_max: Any = np._NoValue, out: Any = None, *, min: Any = np._NoValue,
    max: Any = np._NoValue, **kwargs: Any
) -> Any:
    low, high = _bounds(a_min, a_max, min, max)
    return _clipped(a, low, high, out, kwargs)


def _bounds(a_min: Any, a_max: Any, low: Any, high: Any) -> Sequence[Any]:
    """The bounds, which NumPy takes under one pair of names or the other, but not under both."""
    if a_min is a_max is np._NoValue:
        return [None if bound is np._NoValue else bound for bound in (low, high)]
    if a_min is np._NoValue or a_max is np._NoValue or low is not np._NoValue or high is not np._NoValue:
        raise TypeError("ad.clip takes a_min and a_max, or min and max")
    return a_min, a_max


def _clip_method(x: Any, min: Any = None, max: Any = None, out: Any = None, **kwargs: Any) -> Any:
    """As ndarray.clip: `min` in the place of what is less, and `max` of what is greater."""
    return _clipped(x, min, max, out, kwargs)


add_method("clip", _clip_method)


def _clipped(a: Any, low: Any, high: Any, out: Any, kwargs: Any) -> Any:
    a, low, high = stacked(a), stacked(low), stacked(high)
    if not any(isinstance(v, Array) for v in (a, low, high)):
        return np.clip(a, low, high, out=out, **kwargs)
    if out is not None or any(v is not None for v in kwargs.values()):
        raise TypeError("ad.clip takes no out= and no arguments of a ufunc: arrays are not changed in place")
    dtype = a.dtype if isinstance(a, Array) else np.asarray(a).dtype
    lowest, highest = _extremes(dtype)
    return apply(_CLIP, (a, lowest if low is None else low, highest if high is None else high))


def _extremes(dtype: Any) -> tuple[Any, Any]:
    """Bounds that change no value of a dtype, and not the dtype."""
    if dtype.kind == "b":
        return False, True
    return (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" else (-np.inf, np.inf)


def of_dtype(value: Any, dtype: Any) -> Any:
    """The value cast to this dtype, as where NumPy writes it into an array: an initial value, for example."""
    return value.astype(dtype) if isinstance(value, Array) else np.full((), value, dtype)[()]


# -- by conditions and by triangles -----------------------------------------------------------------


@composite(np.select, domain=REAL, sequence=True, cases=(
    case([_CONDITION, ~_CONDITION], [(3,), (3,)]), case([[True, False], [False, False]], [(2,), (2,)], ()),
    case([True, False], [(3,), ()]),
))
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    if len(condlist) != len(choicelist):
        raise ValueError("list of cases must be same length as list of conditions")
    condlist = [stacked(condition) for condition in condlist]
    condlist = [condition if isinstance(condition, Array) else np.asarray(condition) for condition in condlist]
    if any(condition.dtype != bool for condition in condlist):
        raise TypeError("ad.select: the conditions must be arrays of bool")
    found = default
    for condition, choice in zip(condlist[::-1], choicelist[::-1]):
        found = where(condition, choice, found)
    return found


def _mask(m: Any, k: Any) -> Any:
    return np.tri(*m.shape[-2:], k=k, dtype=bool)  # type: ignore[call-overload]  # one or two sizes


_TRIANGLES = (case((3, 3)), case((2, 3), k=1), case((2, 3, 4), k=-1), case((3,)))


@composite(np.tril, domain=REAL, cases=_TRIANGLES)
def tril(m: Any, k: Any = 0) -> Any:
    return where(_mask(m, k), m, m.dtype.type(0))


@composite(np.triu, domain=REAL, cases=_TRIANGLES)
def triu(m: Any, k: Any = 0) -> Any:
    return where(_mask(m, k - 1), m.dtype.type(0), m)


@composite(np.nan_to_num, domain=REAL, singular="0 where a number is put in the place of another", cases=(
    case((3,)), case(()), case(np.array([np.nan, 1.5, np.inf, -np.inf])),
    case(np.array([np.nan, 1.5, np.inf, -np.inf]), nan=2.0, posinf=7.0, neginf=-7.0),
))
def nan_to_num(x: Any, copy: Any = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    if isinstance(copy, str):
        raise ValueError("strings are not allowed for 'copy' keyword. Use True/False/None instead.")
    if x.dtype.kind == "c":
        return nan_to_num(x.real, nan=nan, posinf=posinf, neginf=neginf) + 1j * nan_to_num(
            x.imag, nan=nan, posinf=posinf, neginf=neginf)
    if x.dtype.kind != "f":
        return x.copy()
    if np.broadcast_shapes(x.shape, *(np.shape(number) for number in (nan, posinf, neginf))) != x.shape:
        raise ValueError("ad.nan_to_num: the numbers to put in must have the shape of the array, or broadcast to it")
    limits = np.finfo(x.dtype)
    highest, lowest = limits.max if posinf is None else posinf, limits.min if neginf is None else neginf
    x = where(np.isnan(x), of_dtype(nan, x.dtype), x)
    x = where(np.isposinf(x), of_dtype(highest, x.dtype), x)
    return where(np.isneginf(x), of_dtype(lowest, x.dtype), x)
