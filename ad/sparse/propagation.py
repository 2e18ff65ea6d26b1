"""Propagation of patterns through a graph: which inputs each element of a value depends on."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ad.compiler.ir.graph import Graph, Instruction
from ad.sparse import _rows
from ad.sparse.links import Elementwise, Gather, Link, Mixed, Scatter, links_of
from ad.sparse.zeros import KnownZeros, last_uses

__all__ = ["Rows", "propagate"]


class Rows:
    """For each element of a value, in C order, the columns that it depends on, in compressed rows."""

    __slots__ = ("indices", "indptr", "n")

    def __init__(self, indptr: NDArray[np.int32], indices: NDArray[np.int32], n: int) -> None:
        self.indptr, self.indices, self.n = indptr, indices, n

    @classmethod
    def identity(cls, size: int, start: int, n: int) -> Rows:
        """Element i depends on column `start + i` of n."""
        return cls(np.arange(size + 1, dtype=np.int32), np.arange(start, start + size, dtype=np.int32), n)

    @classmethod
    def empty(cls, size: int, n: int) -> Rows:
        return cls(np.zeros(size + 1, np.int32), np.zeros(0, np.int32), n)

    @classmethod
    def stacked(cls, parts: Sequence[Rows], n: int) -> Rows:
        """The rows of several values, one after the other."""
        if len(parts) == 1:
            return parts[0]
        lengths = [np.diff(part.indptr) for part in parts]
        indptr = np.cumsum(np.concatenate([[0], *lengths]), dtype=np.int64)
        if indptr[-1] > _rows.MAX_ENTRIES:
            _rows.refuse(int(indptr[-1]))
        indices = np.concatenate([np.zeros(0, np.int32), *[part.indices for part in parts]])
        return cls(indptr.astype(np.int32), indices, n)

    def linked(self, link: Link, size: int) -> Rows:
        """Return the rows of the `size` elements of an output that has this link to the value."""
        if isinstance(link, Elementwise | Gather):
            source = link.source
            return self if source is None else Rows(*_rows.take(self.indptr, self.indices, source), self.n)
        if isinstance(link, Mixed):
            blocks = link.blocks()
            if blocks is not None:
                return self.mixed(*blocks)
            link = link.pairs()
        if isinstance(link, Scatter):
            kept = np.flatnonzero(link.target >= 0).astype(np.int32)
            links = _rows.from_pairs(link.target[kept], kept, size, len(link.target))
        else:
            links = _rows.from_pairs(link.outputs, link.inputs, size, len(self.indptr) - 1)
        return Rows(*_rows.product(*links, self.indptr, self.indices, self.n), self.n)

    def mixed(self, members: NDArray[np.int32], block: NDArray[np.int32]) -> Rows:
        """Return the rows of an output, each element of which depends on all members of a block."""
        count, length = members.shape
        indptr = np.arange(count + 1, dtype=np.int32) * np.int32(length)
        found = _rows.product(indptr, members.reshape(-1), self.indptr, self.indices, self.n)
        return Rows(*_rows.take(*found, block), self.n)

    def union(self, other: Rows | None) -> Rows:
        if other is None or other is self:
            return self
        return Rows(*_rows.union(self.indptr, self.indices, other.indptr, other.indices), self.n)


def propagate(graph: Graph, patterns: Mapping[int, Rows]) -> list[Rows | None]:
    """Return the pattern of each output of a graph, or None if it depends on none of the columns.

    Parameters
    ----------
    graph : Graph
    patterns : mapping
        Slot -> the pattern of the value in it, for the inputs that are differentiated.
    """
    known: dict[int, Rows] = dict(patterns)
    last, zeros = last_uses(graph), KnownZeros(graph)
    for position, instruction in enumerate(graph.instructions):
        known.update(_outputs(graph, instruction, known, zeros))
        zeros.add(instruction)
        for slot in instruction.inputs:
            if last[slot] == position:
                known.pop(slot, None)
    return [known.get(slot) for slot in graph.outputs]


def _outputs(graph: Graph, instruction: Instruction, known: Mapping[int, Rows],
             zeros: KnownZeros) -> dict[int, Rows]:
    """Return the patterns of the outputs that depend on a column."""
    wanted = {i for i, slot in enumerate(instruction.inputs) if slot in known}
    found: dict[int, Rows] = {}
    if wanted:
        for k, i, link in links_of(graph, instruction, wanted, zeros):
            slot = instruction.outputs[k]
            rows = known[instruction.inputs[i]].linked(link, graph.avals[slot].size)
            found[slot] = rows.union(found.get(slot))
    return found
