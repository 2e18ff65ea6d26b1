"""Links: which elements of an instruction's output depend on which elements of one of its inputs.

They follow from the trait `structure` of the op (`ad/ops/structure.py`), its params, and inputs that are constants.
"""
from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ad._core import Array, constant
from ad.compiler.ir.graph import Graph, Instruction
from ad.engine.graph import Aval, Op
from ad.ops.structure import (
    ELEMENTWISE,
    MOVES,
    NOTHING,
    SUMS,
    Gather,
    Mixing,
    Pairs,
    Products,
    Scatter,
    blocks_of,
    numbers_of,
)
from ad.ops.traits import traits_of
from ad.sparse import _rows
from ad.sparse.zeros import KnownZeros, Masks

__all__ = [
    "Elementwise", "Factors", "Gather", "Link", "Mixed", "Pairs", "Scatter", "as_operand", "links_of",
]

Indices: TypeAlias = NDArray[np.int32]
OUTPUT_BIT = 31  # of `Op.needs_of`


class Elementwise(NamedTuple):
    """Each element of the output depends on the element of the input at the same place.

    Attributes
    ----------
    source : ndarray of int32, optional
        Which element that is, for each of the output, where the input is broadcast; negative where the derivative is
        zero whatever the values are.
    """

    source: Indices | None


class Factors(NamedTuple):
    """Each element of the output is a sum of products, for one of the factors.

    Element `outputs[k]` of the output has the summand `signs[k]` times element `inputs[k]` of the input times element
    `others[k]` of the other input.
    """

    outputs: Indices
    inputs: Indices
    others: Indices
    signs: NDArray[np.float64] | None


class Mixed(NamedTuple):
    """Elements are mixed along some axes. The pairs are listed only where they are asked for, as there may be many."""

    mixing: Mixing
    x: Aval
    y: Aval

    @property
    def lanes(self) -> int:
        """How many elements of the input an element of the output depends on."""
        return math.prod(self.x.shape[axis] for axis in self.mixing.inputs)

    def blocks(self) -> tuple[Indices, Indices] | None:
        """Return blocks of elements of the input, in rows, and for each element of the output its block.

        None if an element of the output does not depend on all of one block.
        """
        sources, targets = blocks_of(self.x, self.mixing.inputs), blocks_of(self.y, self.mixing.outputs)
        rest, shape = sources.shape[:-1], targets.shape[:-1]
        if self.mixing.mask is not None or np.broadcast_shapes(rest, shape) != shape:
            return None
        block = np.empty(self.y.size, np.int32)
        block[targets] = np.broadcast_to(np.arange(math.prod(rest), dtype=np.int32).reshape(rest), shape)[..., None]
        return _flat(sources).reshape(math.prod(rest), -1 if sources.size else 0), block

    def pairs(self) -> Pairs:
        sources, targets = blocks_of(self.x, self.mixing.inputs), blocks_of(self.y, self.mixing.outputs)
        shape, mask = np.broadcast_shapes(sources.shape[:-1], targets.shape[:-1]), self.mixing.mask
        p, q = sources.shape[-1], targets.shape[-1]
        count = math.prod(shape) * (p * q if mask is None else np.count_nonzero(mask))
        if count > _rows.MAX_ENTRIES:
            _rows.refuse(int(count))
        pairs = (*shape, q, p)
        outputs = np.broadcast_to(targets[..., :, None], pairs)
        inputs = np.broadcast_to(sources[..., None, :], pairs)
        if mask is not None:
            outputs, inputs = outputs[..., mask], inputs[..., mask]
        return Pairs(_flat(outputs), _flat(inputs), self.mixing.inputs)


Link: TypeAlias = Elementwise | Gather | Scatter | Pairs | Factors | Mixed


def links_of(graph: Graph, instruction: Instruction, wanted: set[int],
             zeros: KnownZeros) -> Iterator[tuple[int, int, Link]]:
    """Yield `(k, i, link)` for the outputs k and the inputs i of an instruction.

    Parameters
    ----------
    graph : Graph
    instruction : Instruction
    wanted : set of int
        The inputs, by position. No link is yielded for one that the outputs do not depend on.
    zeros : KnownZeros
        Of the inputs.
    """
    op, params, inputs, outputs, _ = instruction
    xs, ys = [graph.avals[slot] for slot in inputs], [graph.avals[slot] for slot in outputs]
    if op.form in ("nondifferentiable", "opaque"):
        return
    constants = {i: np.asarray(graph.constants[slot]) for i, slot in enumerate(inputs) if slot in graph.constants}
    wanted = {i for i in wanted if xs[i].dtype.kind in "fc"}
    masks = [zeros.of(slot) for slot in inputs]
    asked = _asked(op, xs, params) if wanted and traits_of(op).structure == MOVES else {}
    for i in wanted:
        structures = [MOVES] if asked else _structures(op, i, xs, ys, params, constants)
        for k, (y, structure) in enumerate(zip(ys, structures)):
            if y.dtype.kind in "fc" and structure != NOTHING:
                link = asked[i] if asked else _link(structure, op, i, xs, y, params, constants, masks)
                if link is not None:
                    yield k, i, link


def _structures(op: Op, i: int, xs: list[Aval], ys: list[Aval], params: tuple[Any, ...],
                constants: dict[int, Any]) -> Sequence[Any]:
    """Return the structure of each output by input i."""
    structure = traits_of(op).structure
    if callable(structure):
        given = [constants.get(k, x) for k, x in enumerate(xs)]
        found = structure(i, given, ys[0] if op.outputs == 1 else tuple(ys), *params)
        return (found,) * len(ys) if op.outputs == 1 or found is None else found
    return (ELEMENTWISE if op.form == "elementwise" else structure,) * len(ys)


def _link(structure: Any, op: Op, i: int, xs: list[Aval], y: Aval, params: tuple[Any, ...],
          constants: dict[int, Any], zeros: Masks) -> Link | None:
    """Return the link that a structure says; None if there is none for these values."""
    if structure == ELEMENTWISE:
        return _elementwise(op, i, xs, y, constants, zeros) if op.form == "elementwise" else _broadcast(xs[i], y)
    if structure == SUMS:
        return Scatter(_summed(op, i, xs, y, params))
    if isinstance(structure, Gather):
        return Gather(_flat(structure.source))
    if isinstance(structure, Scatter):
        return Scatter(_flat(structure.target))
    if isinstance(structure, Pairs):
        return Pairs(_flat(structure.outputs), _flat(structure.inputs), structure.axes)
    if isinstance(structure, Products):
        return _factors(structure, zeros[1 - i], i)
    return Mixed(structure or _mixing_of_all(xs[i], y), xs[i], y)


def _flat(indices: Any) -> Indices:
    return np.ascontiguousarray(indices, np.int32).reshape(-1)


# -- elementwise -----------------------------------------------------------------------------------


def _broadcast(x: Aval, y: Aval) -> Elementwise:
    return Elementwise(None if x.shape == y.shape else _flat(np.broadcast_to(numbers_of(x), y.shape)))


def as_operand(x: Any) -> Array:
    """Return a value as rules take it: a number of a graph as an Array."""
    return x if isinstance(x, Array) else constant(x)


def _elementwise(op: Op, i: int, xs: list[Aval], y: Aval, constants: dict[int, Any], zeros: Masks) -> Link | None:
    """The link of an elementwise op; none where its partial derivative is zero whatever the values are."""
    partial = op.partials[i]
    if not callable(partial):
        return _broadcast(xs[i], y) if partial else None
    zero = _annihilated(op, i, y, zeros)
    needs = op.needs_of(i)
    needed = [j for j in range(len(xs)) if needs >> j & 1]
    if not needs >> OUTPUT_BIT & 1 and needed and all(j in constants for j in needed):
        value = partial(*[as_operand(constants[j]) if j in needed else None for j in range(len(xs))], None)
        zero = zero | (np.asarray(value.numpy() if isinstance(value, Array) else value) == 0)
    if not zero.any():
        return _broadcast(xs[i], y)
    return Elementwise(_flat(np.where(zero, -1, np.broadcast_to(numbers_of(xs[i]), y.shape))))


def _annihilated(op: Op, i: int, y: Aval, zeros: Masks) -> NDArray[np.bool_]:
    """Where the output is zero whatever input i is; it can be broadcast to the output."""
    zero = np.zeros((), bool)
    for j in traits_of(op).annihilates:
        mask = zeros[j]
        if j != i and mask is not None:
            zero = zero | mask
    return zero


# -- ops that are asked with arrays of indices -----------------------------------------------------


def _asked(op: Op, xs: list[Aval], params: tuple[Any, ...]) -> dict[int, Link]:
    """The links of an op that moves elements, evaluated on the numbers of its inputs' elements, counted from 1."""
    numbers, start = [], 1
    for x in xs:
        numbers.append(numbers_of(x) + start)
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


def _mixing_of_all(x: Aval, y: Aval) -> Mixing:
    """Return that each element of the output depends on all of the input."""
    return Mixing(tuple(range(len(x.shape))), tuple(range(len(y.shape))))


def _factors(products: Products, zeros: NDArray[np.bool_] | None, i: int) -> Factors:
    """The factors by input i of products, but for those whose other factor is zero."""
    mine, others = (products.first, products.second)[:: 1 if i == 0 else -1]
    output, signs = products.output, products.signs
    if zeros is not None:
        kept = ~zeros.reshape(-1)[others]
        mine, others, output = mine[kept], others[kept], output[kept]
        signs = signs if signs is None else signs[kept]
    return Factors(_flat(output), _flat(mine), _flat(others), signs)
