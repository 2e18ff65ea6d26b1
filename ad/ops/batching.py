"""Rules over lanes: a leading axis of tangents, with one entry for each direction."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ad import _core
from ad._core import apply
from ad.ops.table import TABLE
from ad.ops.traits import Batching

__all__ = ["aligned_tangent", "broadcast_if_it_fits", "fits", "lane_count", "linear_over_lanes", "over_lanes",
           "total", "with_lanes", "zeros_like"]


def over_lanes(rule: Callable[..., Any], dots: Sequence[Any], xs: Sequence[Any], tangents: Any = False) -> Any:
    """`rule(*dots)`; one lane after the other if the tangents have lanes and `tangents` says the rule takes none.

    A tangent that is None, for zeros, stays None in each lane.
    """
    if tangents is not False:
        return rule(*dots)
    k = lane_count(dots, xs)
    if k is None:
        return rule(*dots)
    has_lanes = [dot is not None and dot.ndim > x.ndim for dot, x in zip(dots, xs)]
    rows = [rule(*[dot[lane] if has else dot for dot, has in zip(dots, has_lanes)]) for lane in range(k)]
    stack = TABLE["stack"].function
    if isinstance(rows[0], tuple):
        return tuple(stack(parts) for parts in zip(*rows))
    return stack(rows)


def linear_over_lanes(op: Any, batching: Batching, x_dots: Sequence[Any], xs: Sequence[Any], y: Any,
                      params: tuple[Any, ...]) -> Any:
    """A linear op on tangents, of which some or all may have lanes; None stands for a tangent of zeros."""
    dots = tuple(zeros_like(x) if x_dot is None else x_dot for x_dot, x in zip(x_dots, xs))
    k = lane_count(dots, xs)
    if k is None:
        return apply(op, dots, params)
    shifted = batching.params(xs[0].ndim, *params) if batching.params else None
    if batching.rule is None and shifted is None:
        return over_lanes(lambda *d: apply(op, d, params), dots, xs)
    whole = tuple(dot if dot.ndim > x.ndim else with_lanes(dot, k) for dot, x in zip(dots, xs))
    return apply(op, whole, shifted) if batching.rule is None else batching.rule(whole, xs, y, *params)


def aligned_tangent(x_dot: Any, i: int, xs: Sequence[Any], params: tuple[Any, ...], tangents: Any) -> Any:
    """The tangent of input i with axes of length 1 behind the lanes, where broadcasting adds axes to the input.

    Inputs differ in their leading axes where one is a tangent with the lanes of an inner differentiation. `tangents`
    is the field of `Batching`.
    """
    if type(tangents) is bool or x_dot.ndim == xs[i].ndim:
        return x_dot
    cores = tangents(*params) if callable(tangents) else (tangents,) * len(xs) if type(tangents) is int else tangents
    leading = [x.ndim - core for x, core in zip(xs, cores)]
    missing = max(leading) - leading[i]
    return TABLE["reshape"].function(x_dot, (x_dot.shape[0], *(1,) * missing, *xs[i].shape)) if missing else x_dot


def lane_count(dots: Iterable[Any], xs: Iterable[Any]) -> int | None:
    """How many lanes the tangents have, of which some may be None; None if they have no lanes."""
    for dot, x in zip(dots, xs):
        if dot is not None and dot.ndim > x.ndim:
            return int(dot.shape[0])
    return None


def with_lanes(dot: Any, k: int) -> Any:
    """A tangent, the same in each of k lanes."""
    return TABLE["broadcast_to"].function(dot, (k, *dot.shape))


def total(terms: Iterable[Any]) -> Any:
    """The sum of what each input's tangent adds to the output's; part by part for several outputs."""
    result = None
    for term in terms:
        if result is None:
            result = term
        elif isinstance(term, tuple):
            result = tuple(a + b for a, b in zip(result, term))
        else:
            result = result + term
    return result


def broadcast_if_it_fits(x: Any, shape: tuple[int, ...]) -> Any:
    """An Array broadcast to a shape, or as it is if it does not broadcast to that."""
    return TABLE["broadcast_to"].function(x, shape) if x.shape != shape and fits(x.shape, shape) else x


def fits(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether an array of a shape broadcasts to another one."""
    return len(shape) <= len(whole) and all(n in (1, m) for n, m in zip(shape[::-1], whole[::-1]))


def zeros_like(x: Any) -> Any:
    """An Array of zeros with the shape and dtype of another."""
    return _core.constant(np.zeros(x.shape, x.dtype))
