"""The structure of ops of users: which elements of the output depend on which elements of an input."""
from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ad.errors import kind
from ad.ops.opaque import Parameters
from ad.ops.structure import ELEMENTWISE, Mixing, Pairs

__all__ = ["own_structure", "same_places"]

_Structure = Callable[..., Any]


def same_places(i: int, xs: Any, y: Any, *_params: Any) -> Any:
    """The structure of an op whose output depends on the elements at the same place, over broadcast inputs.

    The op is evaluated on inputs of its shapes only, as its function may hold arrays.
    """
    return (Mixing((), ()),) * len(y) if type(y) is tuple else Mixing((), ())


def own_structure(structure: Any, parameters: Parameters, outputs: int) -> _Structure | None:
    """Return the trait `structure` of an op from what a user gives: None, "elementwise", axes, or a callable."""
    if structure is None:
        return None
    if isinstance(structure, str) and structure == ELEMENTWISE:
        return same_places
    if callable(structure):
        return _by_matrices(structure, parameters, outputs)
    try:
        axes = tuple([operator.index(axis) for axis in (structure if isinstance(structure, tuple) else (structure,))])
    except TypeError:
        raise TypeError(f"ad: {parameters.name}: structure is 'elementwise', an axis, a tuple of axes, or a function, "
                        f"not {kind(structure)}") from None
    return _along(axes, parameters.name)


def _along(axes: tuple[int, ...], name: str) -> _Structure:
    def structure(i: int, xs: Any, y: Any, *_params: Any) -> Any:
        found = [_checked_mixing(axes, name, xs[i], part) for part in (y if type(y) is tuple else (y,))]
        return tuple(found) if type(y) is tuple else found[0]

    return structure


def _checked_mixing(axes: tuple[int, ...], name: str, x: Any, y: Any) -> Mixing:
    """Return that the op mixes these axes, if those left of input and output correspond."""
    try:
        left = [np.delete(v.shape, np.lib.array_utils.normalize_axis_tuple(axes, v.ndim)).tolist() for v in (x, y)]
        fits = list(np.broadcast_shapes(*map(tuple, left))) == left[1]
    except ValueError:  # as an AxisError is, too
        fits = False
    if not fits:
        raise ValueError(f"ad: {name}: its structure says that the axes of an input of shape {x.shape} and an output "
                         f"of shape {y.shape} correspond, but for {axes}; they do not")
    return Mixing(axes, axes)


def _by_matrices(rule: Callable[..., Any], parameters: Parameters, outputs: int) -> _Structure:
    adapted = parameters.adapted("its structure", rule, *parameters.input_names(), "y")

    def structure(i: int, xs: Any, y: Any, *params: Any) -> Any:
        given = adapted(*xs, y, *params)
        parts = _parts(given, outputs, "output", parameters.name)
        matrices = [_parts(part, parameters.inputs, "input", parameters.name)[i] for part in parts]
        ys = y if outputs > 1 else (y,)
        found = [_pairs(matrix, xs[i], part, parameters.name) for matrix, part in zip(matrices, ys)]
        return tuple(found) if outputs > 1 else found[0]

    return structure


def _parts(given: Any, count: int, of: str, name: str) -> Sequence[Any]:
    """Return what belongs to several outputs or inputs; what belongs to one stands alone."""
    if count == 1:
        return (given,)
    if not isinstance(given, tuple) or len(given) != count:
        raise ValueError(f"ad: {name}: its structure returned {kind(given)}; it must return a tuple of {count}, one "
                         f"for each {of}")
    return given


def _pairs(matrix: Any, x: Any, y: Any, name: str) -> Pairs | None:
    """Return the entries of a matrix; None where any may be there."""
    if matrix is None:
        return None
    found = matrix.tocoo() if hasattr(matrix, "tocoo") else np.asarray(matrix)
    if found.shape != (y.size, x.size):
        raise ValueError(f"ad: {name}: its structure returned {kind(matrix)} of shape {found.shape}, for an output of "
                         f"{y.size} elements and an input of {x.size}; the shape must be {(y.size, x.size)}")
    rows, columns = np.nonzero(found) if isinstance(found, np.ndarray) else (found.row, found.col)
    return Pairs(rows, columns, tuple(range(x.ndim)))
