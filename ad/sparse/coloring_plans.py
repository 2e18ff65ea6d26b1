"""Recovery plans of colorings: which colors are needed, where each entry is read, and what keeps it from being read."""
from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ad.sparse import _coloring
from ad.sparse.coloring_graphs import SYMMETRIC, Pattern, largest

__all__ = ["Colors", "Plan", "recovery_plan", "without_spare_colors"]

_Array: TypeAlias = NDArray[Any]


class Colors(NamedTuple):
    """Colors of columns and rows, the same array for a symmetric matrix, and the order that gave them."""

    columns: _Array
    rows: _Array
    order: str

    def counts(self, kind: str) -> tuple[int, int]:
        """Numbers of colors of columns and of rows; those of a symmetric matrix are the same, counted once."""
        return largest(self.columns), 0 if kind in SYMMETRIC else largest(self.rows)


def _readable(pattern: Pattern, kind: str, colors: Colors) -> tuple[_Array, _Array]:
    """Return whether each entry is alone in its row with the color of its column, and in its column with its row's."""
    indptr, indices, positions = pattern.transpose
    nothing = np.zeros(pattern.indices.size, np.uint8)
    if kind == "columns":
        return _coloring.readable_in_rows(pattern.indptr, pattern.indices, colors.columns), nothing
    if kind in SYMMETRIC:
        by_column = _coloring.readable_in_rows(pattern.indptr, pattern.indices, colors.columns)
        return by_column, by_column[positions]
    by_row = np.empty_like(nothing)
    by_row[positions] = _coloring.readable_in_rows(indptr, indices, colors.rows)
    if kind == "rows":
        return nothing, by_row
    return _coloring.readable_in_rows(pattern.indptr, pattern.indices, colors.columns), by_row


def without_spare_colors(pattern: Pattern, kind: str, colors: Colors) -> Colors:
    """Take their color from columns and rows by whose color no entry needs to be read."""
    offset = 0 if kind in SYMMETRIC else colors.counts(kind)[0]
    count = sum(colors.counts(kind))
    if kind == "acyclic":
        needed, choices = _required_by_trees(pattern, colors.columns, count)
    else:
        needed, choices = _coloring.required_colors(
            pattern.indptr, pattern.indices, colors.columns, colors.rows, *_readable(pattern, kind, colors), offset,
            count)
    _choose(needed, choices)
    needed[0] = 0
    if needed[1:].all():
        return colors
    if kind in SYMMETRIC:
        columns = _renumbered(colors.columns, needed[1:])
        return colors._replace(columns=columns, rows=columns)
    return colors._replace(columns=_renumbered(colors.columns, needed[1:offset + 1]),
                           rows=_renumbered(colors.rows, needed[offset + 1:]))


def _required_by_trees(pattern: Pattern, colors: _Array, count: int) -> tuple[_Array, _Array]:
    """What `required_colors` returns, for an acyclic coloring."""
    mirror = pattern.transpose[2]
    diagonal = pattern.indices[_diagonal(mirror)]
    needed, choices = np.zeros(count + 1, np.uint8), np.empty((2, 0), np.int32)
    needed[colors[diagonal]] = 1
    if not needed[1:].all():
        edges, _, is_alone, _ = _coloring.elimination(pattern.indptr, pattern.indices, mirror, colors)
        ends = np.stack([colors[pattern.indices[edges]], colors[pattern.indices[mirror[edges]]]])
        needed[ends[0][is_alone == 0]] = 1
        choices = ends[:, (is_alone == 1) & ~needed[ends].any(axis=0)]
    return needed, choices


def _choose(needed: _Array, choices: _Array) -> None:
    """Mark one color of each choice, the most frequent first: a small vertex cover, in a graph of colors."""
    if not choices.size:
        return
    pairs, counts = np.unique(np.sort(choices, axis=0), axis=1, return_counts=True)
    while counts.size:
        weights = np.bincount(pairs[0], counts, needed.size) + np.bincount(pairs[1], counts, needed.size)
        best = int(weights.argmax())
        needed[best] = 1
        left = (pairs != best).all(axis=0)
        pairs, counts = pairs[:, left], counts[left]


def _renumbered(colors: _Array, is_kept: _Array) -> _Array:
    numbers = np.concatenate([[0], np.where(is_kept, np.cumsum(is_kept, dtype=np.int32), 0)]).astype(np.int32)
    return numbers[colors]


class Plan(NamedTuple):
    """Where each entry is read in the flat compressed matrix, and what is subtracted from what before."""

    source: _Array
    targets: _Array
    reads: _Array


def recovery_plan(pattern: Pattern, kind: str, colors: Colors) -> Plan:
    """Return the plan; raises ValueError if some entry cannot be read."""
    (m, n), (column_count, row_count) = pattern.shape, colors.counts(kind)
    dtype = np.dtype(np.int32 if column_count * m + row_count * n < 2**31 else np.int64)
    return _substitution(pattern, colors, dtype) if kind == "acyclic" else _direct(pattern, kind, colors, dtype)


def _direct(pattern: Pattern, kind: str, colors: Colors, dtype: np.dtype[Any]) -> Plan:
    m, n = pattern.shape
    base = 0 if kind in SYMMETRIC else colors.counts(kind)[0] * m
    source = np.empty(pattern.indices.size, dtype)
    i, k = _coloring.direct_sources(
        pattern.indptr, pattern.indices, colors.columns, colors.rows, *_readable(pattern, kind, colors), n, base,
        source)
    if i >= 0:
        raise ValueError(_collision(pattern, kind, colors, i, int(pattern.indices[k])))
    return Plan(source, np.empty(0, dtype), np.empty(0, dtype))


def _substitution(pattern: Pattern, colors: Colors, dtype: np.dtype[Any]) -> Plan:
    mirror, indices = pattern.transpose[2], pattern.indices
    edges, updates, _, (i, k) = _coloring.elimination(pattern.indptr, indices, mirror, colors.columns)
    if i >= 0:
        raise ValueError(_collision(pattern, "acyclic", colors, i, int(indices[k])))
    on_diagonal = _diagonal(mirror)
    diagonal = indices[on_diagonal]
    for j in diagonal[colors.columns[diagonal] == 0][:1]:
        raise ValueError(f"entry ({j}, {j}) cannot be read: column {j} has no color")
    lanes = (colors.columns.astype(dtype) - dtype.type(1)) * dtype.type(pattern.shape[1])
    mirrored = mirror[edges]
    parents, leaves = indices[edges], indices[mirrored]
    reads = (lanes[parents] + leaves).astype(dtype, copy=False)
    source = np.empty(indices.size, dtype)
    source[edges] = source[mirrored] = reads
    source[on_diagonal] = lanes[diagonal] + diagonal
    is_update = updates == 1
    return Plan(source, (lanes[leaves] + parents)[is_update].astype(dtype, copy=False), reads[is_update])


def _diagonal(mirror: _Array) -> _Array:
    """Return the positions of the entries on the diagonal, those that are their own mirror image."""
    return np.flatnonzero(mirror == np.arange(mirror.size, dtype=mirror.dtype))


# Errors

def _collision(pattern: Pattern, kind: str, colors: Colors, i: int, j: int) -> str:
    """Say why entry (i, j) cannot be read."""
    if kind == "acyclic":
        a, b = colors.columns[i], colors.columns[j]
        if a == b:
            return f"columns {i} and {j} both have color {a}, and there is an entry ({i}, {j})"
        return f"columns {i} and {j} are on a cycle of columns with colors {a} and {b}; it needs a third color"
    reasons = []
    if kind != "rows":
        reasons.append(_clash("column", colors.columns, j, pattern.indptr, pattern.indices, i))
    indptr, indices, _ = pattern.transpose
    if kind in SYMMETRIC and i != j:
        reasons.append(_clash("column", colors.columns, i, pattern.indptr, pattern.indices, j))
    elif kind not in ("columns", *SYMMETRIC):
        reasons.append(_clash("row", colors.rows, i, indptr, indices, j))
    return f"entry ({i}, {j}) cannot be read: {', and '.join(reasons)}"


def _clash(name: str, colors: _Array, v: int, indptr: _Array, indices: _Array, line: int) -> str:
    """Say why v does not have a color of its own among the indices of a line."""
    if colors[v] == 0:
        return f"{name} {v} has no color, for colors are numbers from 1 on"
    inside = indices[indptr[line]:indptr[line + 1]]
    other = next(int(w) for w in inside if w != v and colors[w] == colors[v])
    crossing = "row" if name == "column" else "column"
    return f"{name}s {v} and {other} have color {colors[v]} and an entry each in {crossing} {line}"


