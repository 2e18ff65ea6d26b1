"""Values of sparse derivatives by colors: products with sums of directions, from which each entry is read."""
from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ad.compiler.ir.interpreting import interpret_graph
from ad.compiler.machine import machine_for
from ad.compiler.tracing.lanes import pull_lanes
from ad.engine import boundary, sweep
from ad.engine.inspection import lift_constant
from ad.ops.joining import concatenate, stack
from ad.ops.shaping import astype, ravel, reshape
from ad.sparse import _rows
from ad.sparse.coloring import Coloring, color, from_colors
from ad.sparse.links import as_operand
from ad.sparse.patterns import Pattern
from ad.sparse.recorded import Recorded, record_graph
from ad.sparse.structured import Structured

__all__ = ["Compressed", "coloring_of", "given_coloring"]

WORTH_SUBSTITUTION = 0.75  # of the colors with direct recovery: what substitution must save
WORTH_BOTH_SIDES = 0.5  # the same for colors of rows and columns


def coloring_of(pattern: Pattern, is_symmetric: bool) -> Coloring:
    """Return a coloring of few colors, and of the simplest kind that has about as few."""
    def colored(kind: str) -> Coloring:
        return color(pattern.indptr, pattern.indices, pattern.shape, kind=kind)

    if is_symmetric:
        star, acyclic = colored("star"), colored("acyclic")
        return acyclic if acyclic.num_colors < WORTH_SUBSTITUTION * star.num_colors else star
    best = min(colored("columns"), colored("rows"), key=lambda coloring: coloring.num_colors)
    if best.num_colors <= 4:
        return best
    both = colored("bidirectional")
    return both if both.num_colors < WORTH_BOTH_SIDES * best.num_colors else best


def given_coloring(pattern: Pattern, coloring: Any, is_symmetric: bool) -> Coloring:
    """Return a coloring that a user has given, after a check that it fits the pattern.

    Parameters
    ----------
    pattern : Pattern
    coloring : Coloring or array_like of int
        An array has the colors of the columns, from 1 on.
    is_symmetric : bool
    """
    if isinstance(coloring, Coloring):
        kind, columns, rows = coloring.kind, coloring.column_colors, coloring.row_colors
    else:
        kind, columns, rows = "star" if is_symmetric else "columns", coloring, None
    has_rows = kind in ("rows", "bidirectional")
    return from_colors(pattern.indptr, pattern.indices, pattern.shape, kind=kind,
                       column_colors=None if kind == "rows" else columns, row_colors=rows if has_rows else None)


class Compressed:
    """The derivative of one path by colors.

    Parameters
    ----------
    recorded : Recorded
    values : sequence
        The values of its inputs that it was recorded with.
    structured : Structured
        Of the result.
    coloring : Coloring
        Of `pattern`.
    pattern : Pattern
        With all entries of the result.
    skip : int
        The outputs, from the first on, that are not differentiated.
    with_outputs : bool
        Whether `run` returns the outputs, too.
    """

    def __init__(self, recorded: Recorded, values: Sequence[Any], structured: Structured, coloring: Coloring,
                 pattern: Pattern, skip: int, with_outputs: bool) -> None:
        self.recorded, self.skip, self.with_outputs = recorded, skip, with_outputs
        self.dtype = structured.dtype
        elements = coloring.num_column_colors * pattern.shape[0] + coloring.num_row_colors * pattern.shape[1]
        if elements > _rows.MAX_ENTRIES:
            _rows.refuse(elements)
        rows, columns = structured.entries()
        picked = coloring.source[_rows.positions(pattern.indptr, pattern.indices, rows, columns)]
        self.coloring = dataclasses.replace(coloring, source=picked)
        self.machine = machine_for(record_graph(self._computed, values))

    def run(self, values: Sequence[Any], data: NDArray[Any]) -> list[Any]:
        """Write the derivative into `data`; return the outputs of the path, then what the guards check."""
        columns, rows, *found = self.machine.run(values)
        self.coloring.recover(columns, rows, out=data, overwrite=True)
        return found

    @property
    def explanation(self) -> str:
        """How the derivative is computed, and what that costs."""
        coloring = self.coloring
        return (f"by colors: {coloring.num_column_colors} of columns and {coloring.num_row_colors} of rows "
                f"({coloring.kind}), each a product with the {self.recorded.work} elements that the recording computes")

    def _computed(self, *values: Any) -> list[Any]:
        """Return the sums of columns and of rows, the outputs, and what the guards check: this is recorded."""
        recorded, coloring = self.recorded, self.coloring
        n_outputs = len(recorded.outputs)
        rest: list[Any] = []

        def flat_output(*xs: Any) -> list[Any]:
            given = list(values)
            for i, x in zip(recorded.xs, xs):
                given[i] = x
            found = [as_operand(y) for y in interpret_graph(recorded.graph, given)]
            rest[:] = found if self.with_outputs else found[n_outputs:]
            parts = [ravel(y if y.dtype == self.dtype else astype(y, self.dtype))
                     for y in found[self.skip : n_outputs]]
            return [parts[0] if len(parts) == 1 else concatenate(parts)]

        recorder, sources, ys = sweep.run_recorded(flat_output, [values[i] for i in recorded.xs])
        plan = sweep.SweepPlan(recorder, ys, sources)
        columns = self._columns(plan, sources, ys[0].size)
        return [columns, self._rows(plan, coloring.row_seeds(self.dtype), sources), *rest]

    def _columns(self, plan: sweep.SweepPlan, xs: Sequence[Any], m: int) -> Any:
        """Return the sums of the columns of each color, of shape (colors, m)."""
        seeds = self.coloring.column_seeds(self.dtype)
        tangents, start = [], 0
        for x in xs:
            part = seeds[:, start : start + x.size].reshape(len(seeds), *x.shape)
            tangents.append(lift_constant(np.ascontiguousarray(part)))
            start += x.size
        (found,) = boundary.push(plan, tangents) if len(seeds) else [None]
        return np.zeros((len(seeds), m), self.dtype) if found is None else found

    def _rows(self, plan: sweep.SweepPlan, seeds: NDArray[Any], xs: Sequence[Any]) -> Any:
        """Return the sums of the rows of each color, of shape (colors, n)."""
        if not len(seeds):
            return np.zeros((0, self.coloring.shape[1]), self.dtype)

        def pull(seed: Any) -> list[Any]:
            return boundary.pull(plan, [seed])

        found = pull_lanes(pull, seeds)
        if found is None:
            parts = [pull(lift_constant(seed)) for seed in seeds]
            found = [None if part[0] is None else stack(part) for part in zip(*parts)]
        flat = [np.zeros((len(seeds), x.size), self.dtype) if part is None else reshape(part, (len(seeds), x.size))
                for part, x in zip(found, xs)]
        return flat[0] if len(flat) == 1 else concatenate(flat, 1)
