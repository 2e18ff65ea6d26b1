"""Values of sparse derivatives by terms: a program that computes coefficients, and a scatter of these."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ad._core import Array
from ad.compiler.machine import machine_for
from ad.engine.inspection import value_or_tracer
from ad.ops.shaping import astype, broadcast_to, ravel
from ad.sparse._scatter import Scatter
from ad.sparse.recorded import Recorded, record_graph
from ad.sparse.structured import Structured
from ad.sparse.terms import SHORT, Term, joined_coefficients, push_terms

__all__ = ["Direct"]


class Direct:
    """The derivative of one path by terms.

    Parameters
    ----------
    recorded : Recorded
    values : sequence
        The values of its inputs that it was recorded with.
    structured : Structured
        Of the result.
    is_symmetric : bool
        Only the entries on and below the diagonal are computed; if the structure has others, they are mirrored.
    skip : int
        The outputs, from the first on, that are not differentiated.
    with_outputs : bool
        Whether `run` returns the outputs, too.
    budget : int
        As for `push_terms`.

    Raises
    ------
    TooCostly
        As of `push_terms`.
    ValueError
        If the structure lacks an entry that the derivative may have.
    """

    def __init__(self, recorded: Recorded, values: Sequence[Any], structured: Structured, is_symmetric: bool,
                 skip: int, with_outputs: bool, budget: int) -> None:
        self.recorded, self.structured, self.is_symmetric = recorded, structured, is_symmetric
        self.skip, self.with_outputs, self.budget = skip, with_outputs, budget
        rows, columns = structured.entries()
        self.has_upper = bool((rows < columns).any())
        self.template = np.zeros(structured.nnz, structured.dtype)
        self.parts: list[tuple[int, NDArray[np.int32], float]] = []
        self.machine = machine_for(record_graph(self._computed, values))
        self.scatter = Scatter(self.template, self.parts)

    def run(self, values: Sequence[Any], data: NDArray[Any]) -> list[Any]:
        """Write the derivative into `data`; return the outputs of the path, then what the guards check."""
        found = self.machine.run(values)
        self.scatter.run(found, data)
        return found[self.n_arrays :]

    @property
    def explanation(self) -> str:
        """How the derivative is computed, and what that costs."""
        ratio = self.cost / max(self.recorded.work, 1)
        return (f"by terms: {self.cost} products of coefficients, {ratio:.1f} for each element that the recording "
                f"computes; {self.scatter.n_parts} arrays are scattered")

    def _computed(self, *values: Any) -> list[Any]:
        """Return the arrays of coefficients, the outputs, and what the guards check: this is recorded."""
        graph, outputs = self.recorded.graph, self.recorded.outputs
        found, terms, self.cost = push_terms(graph, values, self.recorded.columns(), self.budget)
        arrays: list[Any] = []
        self.known: dict[tuple[int, tuple[int, ...]], int] = {}
        short: list[tuple[Term, list[NDArray[np.int32]]]] = []
        start = 0
        for slot, group in zip(outputs[self.skip :], terms[self.skip : len(outputs)]):
            for term in group:
                self._place(term, start, arrays, short)
            start += graph.avals[slot].size
        self._place_short([(term, places) for term, places in short if term.columns.size == 1], arrays)
        self._place_short([(term, places) for term, places in short if term.columns.size > 1], arrays)
        self.n_arrays = len(arrays)  # the first of what the program returns
        return [*arrays, *(found if self.with_outputs else found[len(outputs) :])]

    def _place(self, term: Term, start: int, arrays: list[Any], short: list[Any]) -> None:
        """Find the places of a term, and keep its coefficients if they vary and have any place."""
        columns = term.columns.reshape(-1)
        rows = np.arange(columns.size, dtype=np.int32) if term.rows is None else term.rows.reshape(-1)
        parts = self._places(rows + np.int32(start) if start else rows, columns)
        given = 1.0 if term.coefficients is None else value_or_tracer(term.coefficients)
        if not isinstance(given, Array):
            added = np.broadcast_to(given, term.shape).reshape(-1) * term.factor
            for places in parts:
                np.add.at(self.template, places[places >= 0], added[places >= 0])
        elif columns.size <= SHORT:
            short += [(term, parts)] if parts else []
        elif parts:
            source = self.known.setdefault((id(term.coefficients), term.shape), len(arrays))
            if source == len(arrays):
                arrays.append(self._cast(_flat(term)))
            for places in parts:
                self._add_part(source, places, term.factor)

    def _add_part(self, source: int, places: NDArray[np.int32], factor: float) -> None:
        """Keep a part; in another one of the same numbers, if each of these is in one of the two at most."""
        for k, (other_source, others, other_factor) in enumerate(self.parts):
            if (source, factor) == (other_source, other_factor) and (np.minimum(places, others) < 0).all():
                self.parts[k] = source, np.maximum(places, others), factor
                return
        self.parts.append((source, places, factor))

    def _place_short(self, group: list[tuple[Term, list[NDArray[np.int32]]]], arrays: list[Any]) -> None:
        """Join the coefficients of short terms to one array."""
        if not group:
            return
        arrays.append(self._cast(joined_coefficients([term for term, _ in group])))
        for side in range(max(len(parts) for _, parts in group)):
            places = [parts[side] if side < len(parts) else np.full(term.columns.size, -1, np.int32)
                      for term, parts in group]
            self.parts.append((len(arrays) - 1, np.concatenate(places), 1.0))

    def _places(self, rows: NDArray[np.int32], columns: NDArray[np.int32]) -> list[NDArray[np.int32]]:
        """Return the places of entries in the data, and those of their mirror images; without arrays of none."""
        whole_size = rows.size
        if not self.is_symmetric:
            return [self.structured.places(rows, columns)] if rows.size else []
        below = np.flatnonzero(rows >= columns)
        if not below.size:
            return []
        is_whole = below.size == rows.size
        rows, columns = (rows, columns) if is_whole else (rows[below], columns[below])
        sides = [self.structured.places(rows, columns)]
        if self.has_upper:
            sides.append(np.where(rows > columns, self.structured.places(columns, rows), np.int32(-1)))
        sides = [places for places in sides if places.max() >= 0]
        return sides if is_whole else [_spread(places, below, whole_size) for places in sides]

    def _cast(self, x: Any) -> Any:
        return x if x.dtype == self.template.dtype else astype(x, self.template.dtype)


def _spread(places: NDArray[np.int32], where: NDArray[np.int64], size: int) -> NDArray[np.int32]:
    """Return an array of so many places, with these in it and -1 elsewhere."""
    found = np.full(size, -1, np.int32)
    found[where] = places
    return found


def _flat(term: Term) -> Any:
    given = term.coefficients
    return ravel(given if given.shape == term.shape else broadcast_to(given, term.shape))
