"""Structure of ops: which elements of the output depend on which elements of an input.

The trait `structure` of an op is one of

- ELEMENTWISE: on the element at the same place; inputs are broadcast. This is the default of elementwise ops.
- MOVES: each element of the output is an element of one of the inputs, or none: the op is asked by evaluating it on
  arrays of indices.
- SUMS: each element of an input is added to one element of the output, or to none: its transpose is asked.
- a callable `structure(i, xs, y, *params)`, which takes avals, or anything that has a shape, and returns a `Mixing`
  for input i, or the `Products` of both inputs, or None if each element may depend on all of the input, which is the
  default of all other ops.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ad.ops.axes import axes_of

__all__ = [
    "ELEMENTWISE", "MOVES", "SUMS", "Mixing", "Products", "along_axis", "mixes_last_axes", "products_of_einsum",
    "reduces",
]

ELEMENTWISE, MOVES, SUMS = "elementwise", "moves", "sums"
MOST_PRODUCTS = 1 << 26  # factors of which the pairs are listed one by one


class Mixing(NamedTuple):
    """An op mixes elements along some axes. The other axes of input and output correspond, in order.

    Attributes
    ----------
    inputs, outputs : tuple of int
        The axes of the input, and those of the output, that are mixed.
    mask : ndarray of bool, optional
        Which element along the axes of the output (rows) depends on which one along those of the input (columns).
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    mask: NDArray[np.bool_] | None = None


class Products(NamedTuple):
    """A bilinear op: `y[output[k]] += x1[first[k]] * x2[second[k]]` for each k, in flat arrays."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    output: NDArray[np.intp]


def along_axis(i: int, xs: Any, y: Any, axis: int, *_params: Any) -> Mixing:
    """The structure of a running sum or product: each element depends on those up to it along an axis."""
    n = xs[i].shape[axis]
    return Mixing((axis,), (axis,), np.tri(n, dtype=bool))


def reduces(i: int, xs: Any, y: Any, axis: Any, keepdims: bool, *_params: Any) -> Mixing:
    """The structure of a reduction with the params `(axis, keepdims)`."""
    axes = axes_of(axis, xs[i].ndim)
    return Mixing(axes, axes if keepdims else ())


def mixes_last_axes(n_inputs: int, n_outputs: int) -> Callable[..., Mixing]:
    """The structure of an op that mixes the last axes of its input, and gives these last axes of its output."""

    def structure(i: int, xs: Any, y: Any, *_params: Any) -> Mixing:
        return Mixing(tuple(range(-n_inputs, 0)), tuple(range(-n_outputs, 0)))

    return structure


def products_of_einsum(subscripts: str, xs: Any, y: Any) -> Products | None:
    """The products that an einsum of two operands sums; the ellipsis stands for axes that are broadcast.

    None if there are too many to list.
    """
    inputs, kept = subscripts.split("->")
    parts = inputs.split(",")
    batch = np.broadcast_shapes(*[_under_ellipsis(part, x) for part, x in zip(parts, xs)])
    labels = "".join(dict.fromkeys(inputs.replace("...", "").replace(",", "")))
    sizes = {label: n for part, x in zip(parts, xs)
             for label, n in zip(reversed(part.replace("...", "")), reversed(x.shape))}
    shape = (*batch, *[sizes[label] for label in labels])
    if math.prod(shape) > MOST_PRODUCTS:
        return None
    first, second, output = (_places(part, x, labels, shape) for part, x in zip((*parts, kept), (*xs, y)))
    return Products(first, second, output)


def _under_ellipsis(part: str, x: Any) -> tuple[int, ...]:
    return tuple(x.shape[: len(x.shape) - len(part.replace("...", ""))])


def _places(part: str, x: Any, labels: str, shape: tuple[int, ...]) -> NDArray[np.intp]:
    """The index of the element of an operand for each point in the space of all labels."""
    named = part.replace("...", "")
    lead = len(x.shape) - len(named)
    numbers = np.arange(math.prod(x.shape)).reshape(x.shape)
    order = [lead + named.index(label) for label in labels if label in named]
    numbers = numbers.transpose(*range(lead), *order)
    spread = (*numbers.shape[:lead], *[x.shape[lead + named.index(label)] if label in named else 1 for label in labels])
    return np.ascontiguousarray(np.broadcast_to(numbers.reshape(spread), shape)).reshape(-1)
