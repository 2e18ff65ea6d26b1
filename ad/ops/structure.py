"""Structure of ops: which elements of the output depend on which elements of an input.

The trait `structure` of an op is one of

- ELEMENTWISE: on the element at the same place; inputs are broadcast. This is the default of elementwise ops.
- MOVES: each element of the output is an element of one of the inputs, or none: the op is asked by evaluating it on
  arrays of indices.
- SUMS: each element of an input is added to one element of the output, or to none: its transpose is asked.
- a callable `structure(i, xs, y, *params)`, which returns for input i one of `ELEMENTWISE`, `NOTHING`, a `Mixing`, the
  `Products` of both inputs, a `Gather`, a `Scatter`, `Pairs`, or None if each element may depend on all of the input,
  which is the default of all other ops. The `xs` are avals, or anything that has a shape and a dtype; those that are
  constants are ndarrays. Of an op with several outputs, `y` is a tuple of avals, and the result is a tuple, too.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ad.ops.axes import axes_of

if TYPE_CHECKING:  # which takes as long to import as a tenth of the library
    from numpy.typing import NDArray

__all__ = [
    "ELEMENTWISE", "MOVES", "NOTHING", "SUMS", "Gather", "Mixing", "Pairs", "Products", "Scatter", "along_axis",
    "blocks_of", "if_complex", "inverse_mask", "mixes_axis", "mixes_last_axes", "numbers_of", "products_of_einsum",
    "reduces",
]

ELEMENTWISE, MOVES, SUMS = "elementwise", "moves", "sums"
NOTHING = "nothing"  # the derivative by this input is zero
MOST_PRODUCTS = 1 << 26  # factors of which the pairs are listed one by one
MOST_ROWS = 1024  # of a constant matrix that is searched for zeros of its inverse


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
    """A bilinear op: `y[output[k]] += x1[first[k]] * x2[second[k]]` for each k, in flat arrays.

    With `signs`, the product is multiplied by `signs[k]`.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    output: NDArray[np.intp]
    signs: NDArray[np.float64] | None = None


class Gather(NamedTuple):
    """Element k of the output is element `source[k]` of the input, or does not depend on it if that is negative."""

    source: NDArray[Any]


class Scatter(NamedTuple):
    """Element j of the input is added to element `target[j]` of the output, or to none if that is negative."""

    target: NDArray[Any]


class Pairs(NamedTuple):
    """Element `outputs[k]` of the output depends on element `inputs[k]` of the input, for each k.

    Attributes
    ----------
    outputs, inputs : ndarray of int
    axes : tuple of int
        Of the input: no element of the output depends on two elements of the input at the same place along these.
    """

    outputs: NDArray[Any]
    inputs: NDArray[Any]
    axes: tuple[int, ...]


def numbers_of(x: Any) -> NDArray[np.int64]:
    """Return the numbers of the elements, in the shape of x."""
    return np.arange(math.prod(x.shape)).reshape(x.shape)


def blocks_of(x: Any, axes: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the numbers of the elements, with those along these axes in the last one."""
    numbers = np.moveaxis(numbers_of(x), axes, range(-len(axes), 0)) if axes else numbers_of(x)
    rest = numbers.shape[: numbers.ndim - len(axes)]
    return numbers.reshape(*rest, math.prod(numbers.shape[len(rest):]))


def if_complex(i: int, xs: Any, y: Any, *_params: Any) -> str:
    """The structure of an elementwise function that is constant along the real numbers."""
    return ELEMENTWISE if xs[i].dtype.kind == "c" else NOTHING


def mixes_axis(axis: int, x: Any, y: Any, used: int) -> Mixing:
    """Return that the elements along an axis depend on the first `used` along it."""
    n, m = x.shape[axis], y.shape[axis]
    return Mixing((axis,), (axis,), None if used >= n else np.broadcast_to(np.arange(n) < used, (m, n)))


def inverse_mask(a: Any) -> NDArray[np.bool_] | None:
    """Return where the inverse of a constant matrix may differ from zero; None if that is not known.

    The inverse is a polynomial in the matrix, so it has no entries but where a path of entries leads.
    """
    if not isinstance(a, np.ndarray) or a.ndim != 2 or len(a) > MOST_ROWS:
        return None
    reached: NDArray[np.bool_] = (a != 0) | np.eye(len(a), dtype=bool)
    while not reached.all():
        further = reached.astype(np.float32) @ reached.astype(np.float32) > 0
        if np.array_equal(further, reached):
            break
        reached = further
    return reached


def along_axis(i: int, xs: Any, y: Any, axis: int, *_params: Any) -> Mixing:
    """The structure of a running sum or product: each element depends on those up to it along an axis."""
    return Mixing((axis,), (axis,), np.tri(y.shape[axis], xs[i].shape[axis], dtype=bool))


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
    sizes: dict[str, int] = {}
    for part, x in zip(parts, xs):
        for label, n in zip(reversed(part.replace("...", "")), reversed(x.shape)):
            sizes[label] = n if n != 1 else sizes.get(label, 1)  # an axis of length 1 is broadcast
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
    numbers = numbers_of(x)
    order = [lead + named.index(label) for label in labels if label in named]
    numbers = numbers.transpose(*range(lead), *order)
    spread = (*numbers.shape[:lead], *[x.shape[lead + named.index(label)] if label in named else 1 for label in labels])
    return np.ascontiguousarray(np.broadcast_to(numbers.reshape(spread), shape)).reshape(-1)
