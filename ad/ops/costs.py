"""How many operations on single elements an op takes: the `operations` of its traits.

Each function takes the avals of inputs and outputs, and the op's params.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["contraction", "of_matrix", "transform"]


def contraction(xs: Sequence[Any], ys: Sequence[Any], subscripts: str) -> int:
    """A product and a sum for each pair of factors that an einsum of two operands sums."""
    factors, output = subscripts.split("->")
    sizes: dict[str, int] = {}
    for labels, x in zip(factors.split(","), xs):
        named = labels.replace("...", "")
        sizes.update(zip(reversed(named), reversed(x.shape)))
    return int(2 * ys[0].size * math.prod([n for label, n in sizes.items() if label not in output]))


def transform(factor: float) -> Callable[..., int]:
    """`factor` n log2(n), for a discrete Fourier transform of n points along an axis."""

    def operations(xs: Sequence[Any], ys: Sequence[Any], _n: int | None, axis: int, _norm: str | None) -> int:
        (x,), (y,) = xs, ys
        n: int = max(x.shape[axis], y.shape[axis])
        return round(factor * float(max(x.size, y.size)) * math.log2(n))

    return operations


def of_matrix(xs: Sequence[Any], _ys: Sequence[Any], *_: Any) -> int:
    """n^3 for matrices of n rows and columns: what takes a matrix apart or solves with it."""
    return int(max([x.size * x.shape[-1] for x in xs]))
