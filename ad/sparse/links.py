"""Links: which elements of an instruction's output depend on which elements of one of its inputs.

They follow from the trait `structure` of the op (`ad/ops/structure.py`), its params, and inputs that are constants.
"""
from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ad._core import Array, constant
from ad.compiler.ir.graph import Graph, Instruction
from ad.engine.graph import Aval, Op
from ad.ops.structure import ELEMENTWISE, MOVES, SUMS, Mixing, Products
from ad.ops.traits import traits_of

__all__ = [
    "IDENTITY", "Gather", "Link", "Pairs", "Scatter", "as_operand", "blocks_of", "links_of", "mixing_of_all",
]

Indices: TypeAlias = NDArray[np.int32]
OUTPUT_BIT = 31  # of `Op.needs_of`


class Identity(NamedTuple):
    """Each element of the output depends on the element of the input at the same place."""


class Gather(NamedTuple):
    """Element i of the output depends on element `source[i]` of the input, or on none if that is negative."""

    source: Indices


class Scatter(NamedTuple):
    """Element j of the input is part of element `target[j]` of the output, or of none if that is negative."""

    target: Indices


class Pairs(NamedTuple):
    """Element `outputs[k]` of the output depends on element `inputs[k]` of the input."""

    outputs: Indices
    inputs: Indices


Link: TypeAlias = Identity | Gather | Scatter | Pairs
IDENTITY = Identity()


def links_of(graph: Graph, instruction: Instruction, wanted: set[int]) -> Iterator[tuple[int, int, Link]]:
    """Yield `(k, i, link)` for the outputs k and the inputs i of an instruction.

    Parameters
    ----------
    graph : Graph
    instruction : Instruction
    wanted : set of int
        The inputs, by position. No link is yielded for one that the outputs do not depend on.
    """
    op, params, inputs, outputs, _ = instruction
    xs, ys = [graph.avals[slot] for slot in inputs], [graph.avals[slot] for slot in outputs]
    if op.form in ("nondifferentiable", "opaque") or any(y.dtype.kind not in "fc" for y in ys):
        return
    constants = {i: graph.constants[slot] for i, slot in enumerate(inputs) if slot in graph.constants}
    structure = traits_of(op).structure
    asked = _asked(op, xs, params) if structure == MOVES else {}
    for i in wanted:
        if xs[i].dtype.kind not in "fc":
            continue
        for k, y in enumerate(ys):
            if op.form == "elementwise":
                link = _elementwise(op, i, xs, y, constants)
            elif structure == ELEMENTWISE:
                link = _broadcast(xs[i], y)
            elif structure == MOVES:
                link = asked[i]
            elif structure == SUMS:
                link = Scatter(_summed(op, i, xs, y, params))
            else:
                found = structure(i, xs, y, *params) if callable(structure) else None
                link = _mixed(found, i, xs[i], y, constants)
            if link is not None:
                yield k, i, link


def _numbers(x: Aval) -> NDArray[np.int64]:
    return np.arange(x.size).reshape(x.shape)


def _flat(indices: Any) -> Indices:
    return np.ascontiguousarray(indices, np.int32).reshape(-1)


# -- elementwise -----------------------------------------------------------------------------------


def _broadcast(x: Aval, y: Aval) -> Link:
    return IDENTITY if x.shape == y.shape else Gather(_flat(np.broadcast_to(_numbers(x), y.shape)))


def as_operand(x: Any) -> Array:
    """Return a value as rules take it: a number of a graph as an Array."""
    return x if isinstance(x, Array) else constant(x)


def _elementwise(op: Op, i: int, xs: list[Aval], y: Aval, constants: dict[int, Any]) -> Link | None:
    """The link of an elementwise op; none where its partial derivative is zero whatever the values are."""
    partial = op.partials[i]
    if not callable(partial):
        return _broadcast(xs[i], y) if partial else None
    needs = op.needs_of(i)
    needed = [j for j in range(len(xs)) if needs >> j & 1]
    if needs >> OUTPUT_BIT & 1 or not needed or any(j not in constants for j in needed):
        return _broadcast(xs[i], y)
    value = partial(*[as_operand(constants[j]) if j in needed else None for j in range(len(xs))], None)
    zero = np.broadcast_to(np.asarray(value.numpy() if isinstance(value, Array) else value) == 0, y.shape)
    if not zero.any():
        return _broadcast(xs[i], y)
    return Gather(_flat(np.where(zero, -1, np.broadcast_to(_numbers(xs[i]), y.shape))))


# -- ops that are asked with arrays of indices -----------------------------------------------------


def _asked(op: Op, xs: list[Aval], params: tuple[Any, ...]) -> dict[int, Link]:
    """The links of an op that moves elements, evaluated on the numbers of its inputs' elements, counted from 1."""
    numbers, start = [], 1
    for x in xs:
        numbers.append(_numbers(x) + start)
        start += x.size
    source = np.asarray(op.fn(*numbers, *params)).reshape(-1) - 1
    links: dict[int, Link] = {}
    start = 0
    for i, x in enumerate(xs):
        own = source - start
        if len(xs) > 1 or own.size == 0 or own.min() < 0:
            own = np.where((own >= 0) & (own < x.size), own, -1)
        links[i] = Gather(_flat(own))
        start += x.size
    return links


def _summed(op: Op, i: int, xs: list[Aval], y: Aval, params: tuple[Any, ...]) -> Indices:
    """Where each element of an input is added: the transpose of the op, evaluated on the numbers of the outputs."""
    numbers = constant(np.arange(1.0, y.size + 1).reshape(y.shape))
    assert op.vjp is not None
    places = op.vjp(i, numbers, tuple(xs), None, params)
    return _flat(places.numpy() if isinstance(places, Array) else places) - 1


# -- ops that mix elements -------------------------------------------------------------------------


def _mixed(found: Any, i: int, x: Aval, y: Aval, constants: dict[int, Any]) -> Link:
    if isinstance(found, Products):
        return _product_pairs(found, i, constants)
    return _mixing_pairs(found or mixing_of_all(x, y), x, y)


def mixing_of_all(x: Aval, y: Aval) -> Mixing:
    """Return that each element of the output depends on all of the input."""
    return Mixing(tuple(range(len(x.shape))), tuple(range(len(y.shape))))


def _product_pairs(products: Products, i: int, constants: dict[int, Any]) -> Pairs:
    """The pairs for input i of products, but for those whose other factor is a constant zero."""
    mine, other = (products.first, products.second)[:: 1 if i == 0 else -1]
    output = products.output
    if 1 - i in constants:
        kept = np.asarray(constants[1 - i]).reshape(-1)[other] != 0
        mine, output = mine[kept], output[kept]
    return Pairs(_flat(output), _flat(mine))


def _mixing_pairs(mixing: Mixing, x: Aval, y: Aval) -> Pairs:
    sources, targets = blocks_of(x, mixing.inputs), blocks_of(y, mixing.outputs)
    shape = np.broadcast_shapes(sources.shape[:-1], targets.shape[:-1])
    p, q = sources.shape[-1], targets.shape[-1]
    pairs = (*shape, q, p)
    outputs = np.broadcast_to(targets[..., :, None], pairs)
    inputs = np.broadcast_to(sources[..., None, :], pairs)
    if mixing.mask is not None:
        outputs, inputs = outputs[..., mixing.mask], inputs[..., mixing.mask]
    return Pairs(_flat(outputs), _flat(inputs))


def blocks_of(x: Aval, axes: tuple[int, ...]) -> NDArray[np.int64]:
    """The numbers of the elements, with those along these axes in the last one."""
    numbers = np.moveaxis(_numbers(x), axes, range(-len(axes), 0)) if axes else _numbers(x)
    rest = numbers.shape[: numbers.ndim - len(axes)]
    return numbers.reshape(*rest, math.prod(numbers.shape[len(rest):]))
