"""Elements of a graph's values that are zero whatever its inputs are: no derivative passes a product with one."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ad.compiler.ir.graph import Graph, Instruction
from ad.engine.graph import Aval, Op
from ad.ops.structure import ELEMENTWISE, MOVES, NOTHING, SUMS, Gather
from ad.ops.traits import traits_of

__all__ = ["KnownZeros", "Masks", "last_uses"]

Mask = NDArray[np.bool_]
Masks = Sequence[Mask | None]


def last_uses(graph: Graph) -> dict[int, int]:
    """Return for each slot the position of the last instruction that reads it."""
    last = {slot: k for k, instruction in enumerate(graph.instructions) for slot in instruction.inputs}
    return {**last, **{slot: len(graph.instructions) for slot in graph.outputs}}


class KnownZeros:
    """Which elements are known to be zero, of the values that are still to be read.

    The instructions of the graph are to be given to `add` one after the other.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph, self.position, self.last = graph, 0, last_uses(graph)
        self.masks: dict[int, Mask] = {}
        for slot, value in graph.constants.items():
            self._keep(slot, np.asarray(value) == 0)

    def of(self, slot: int) -> Mask | None:
        """Return a mask of the elements of a value that are zero; None if none is known to be."""
        return self.masks.get(slot)

    def add(self, instruction: Instruction) -> None:
        """Find the zeros of the output of the next instruction."""
        op, params, inputs, outputs, _ = instruction
        masks = [self.masks.get(slot) for slot in inputs]
        if op.outputs == 1 and op.form != "nondifferentiable":
            structure = traits_of(op).structure
            if any(mask is not None for mask in masks) or structure == SUMS or callable(structure):
                xs, y = [self.graph.avals[slot] for slot in inputs], self.graph.avals[outputs[0]]
                known = self.graph.constants
                given = [np.asarray(known[slot]) if slot in known else x for slot, x in zip(inputs, xs)]
                self._keep(outputs[0], _zeros_of(op, params, given, xs, y, masks))
        for slot in inputs:
            if self.last[slot] == self.position:
                self.masks.pop(slot, None)
        self.position += 1

    def _keep(self, slot: int, mask: Mask | None) -> None:
        if mask is not None and slot in self.last and mask.any():
            self.masks[slot] = mask


def _zeros_of(op: Op, params: tuple[Any, ...], given: list[Any], xs: list[Aval], y: Aval,
              masks: Masks) -> Mask | None:
    """Return which elements of an output are zero; None if that is not known."""
    traits = traits_of(op)
    if op.form == "elementwise":
        return _of_elementwise(op, traits.annihilates, xs, y, masks)
    if op.form == "linear" and traits.structure == MOVES:
        return ~np.asarray(op.fn(*_others(masks, xs), *params))
    if op.form == "linear" and traits.structure == SUMS:
        if masks[0] is None and y.size <= xs[0].size:
            return None
        summed: Mask = np.asarray(op.fn(_others(masks, xs)[0].astype(np.float32), *params)) == 0
        return summed
    if op.form == "linear" and traits.structure == ELEMENTWISE:
        return _all(masks, y)
    return _of_chosen(traits.structure, params, given, xs, y, masks) if traits.moves else None


def _of_elementwise(op: Op, annihilates: Sequence[int], xs: list[Aval], y: Aval, masks: Masks) -> Mask | None:
    """A product is zero where a factor is; a ufunc that is zero at zero, where all of its inputs are."""
    if annihilates:
        return _any([masks[i] for i in annihilates], y)
    if not isinstance(op.fn, np.ufunc) or any(mask is None for mask in masks):
        return None
    with np.errstate(all="ignore"):
        is_zero = op.fn(*[np.zeros((), x.dtype) for x in xs]) == 0
    return _all(masks, y) if is_zero else None


def _of_chosen(structure: str | Callable[..., Any] | None, params: tuple[Any, ...], given: list[Any], xs: list[Aval],
               y: Aval, masks: Masks) -> Mask | None:
    """Of an op that gives each element of the output as one of an input."""
    if not callable(structure):
        return None
    zero = np.ones(y.shape, bool)
    for i, (x, mask) in enumerate(zip(xs, masks)):
        found = structure(i, given, y, *params)
        if isinstance(found, Gather):
            others = np.append(np.ones(x.shape, bool) if mask is None else ~mask, False)  # the last one is for none
            zero &= ~others[np.maximum(found.source, -1)].reshape(y.shape)
        elif found == ELEMENTWISE and mask is not None:
            zero &= mask
        elif found != NOTHING:
            return None
    return zero


def _others(masks: Masks, xs: Sequence[Aval]) -> list[Mask]:
    """Return masks of the elements that may differ from zero."""
    return [np.ones(x.shape, bool) if mask is None else ~mask for mask, x in zip(masks, xs)]


def _any(masks: Masks, y: Aval) -> Mask | None:
    """Return where one of the inputs is zero."""
    found: Mask = np.zeros(y.shape, bool)
    for mask in masks:
        if mask is not None:
            found |= mask
    return found


def _all(masks: Masks, y: Aval) -> Mask | None:
    """Return where all inputs are zero."""
    if any(mask is None for mask in masks):
        return None
    found: Mask = np.logical_and.reduce([np.broadcast_to(mask, y.shape) for mask in masks if mask is not None])
    return found
