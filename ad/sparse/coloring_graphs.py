"""Patterns of sparse matrices, their graphs, and greedy colorings of these in an order of the vertices."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ad.sparse import _coloring

__all__ = ["KINDS", "NAMED_ORDERS", "SYMMETRIC", "Pattern", "checked_pattern", "greedy_colors", "largest"]

KINDS = ("columns", "rows", "bidirectional", "star", "acyclic")
SYMMETRIC = ("star", "acyclic")
NAMED_ORDERS = ("natural", *_coloring.RULES, "random")

_Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Pattern:
    """A sparse matrix without its values. The index arrays have one type, wide enough for twice the entries."""

    indptr: _Array
    indices: _Array
    shape: tuple[int, int]

    @cached_property
    def transpose(self) -> tuple[_Array, _Array, _Array]:
        """indptr and indices of the transpose, and the position of each of its entries here."""
        return _coloring.transposed(self.indptr, self.indices, self.shape[1])

    def row(self, position: int) -> int:
        return int(np.searchsorted(self.indptr, position, side="right")) - 1

    def graph(self, kind: str) -> _Graph:
        """The graph of a symmetric matrix, or of the rows and columns of any: columns first, their neighbors rows."""
        if kind in SYMMETRIC:
            return _Graph(self.indptr, self.indices)
        indptr, indices, _ = self.transpose
        n, entries = self.shape[1], self.indices.size
        return _Graph(np.concatenate([indptr, self.indptr[1:] + entries], dtype=indptr.dtype),
                      np.concatenate([indices + n, self.indices], dtype=indptr.dtype))

    def hypergraph(self, kind: str) -> _Hypergraph:
        """The hypergraph of columns, whose hyperedges are rows, or of rows."""
        indptr, indices, _ = self.transpose
        if kind == "columns":
            return _Hypergraph(indptr, indices, self.indptr, self.indices)
        return _Hypergraph(self.indptr, self.indices, indptr, indices)


class _Graph(NamedTuple):
    """A graph, by the neighbors of each vertex."""

    indptr: _Array
    indices: _Array


class _Hypergraph(NamedTuple):
    """A hypergraph, by the hyperedges of each vertex and the vertices of each hyperedge."""

    indptr: _Array
    indices: _Array
    edge_indptr: _Array
    edge_indices: _Array


def checked_pattern(indptr: ArrayLike, indices: ArrayLike, shape: tuple[int, int], kind: str) -> Pattern:
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; it has to be one of {', '.join(KINDS)}")
    m, n = map(int, shape)
    if m < 0 or n < 0:
        raise ValueError(f"shape is {shape}; it cannot be negative")
    starts, columns = _index_array("indptr", indptr), _index_array("indices", indices)
    if starts.size != m + 1 or starts[0] != 0 or starts[-1] != columns.size:
        raise ValueError(f"indptr has to have {m + 1} elements for {m} rows, from 0 to the number of indices, "
                         f"{columns.size}; it has {starts.size}" +
                         (f", from {starts[0]} to {starts[-1]}" if starts.size else ""))
    common = np.result_type(starts, columns)
    starts, columns = starts.astype(common, copy=False), columns.astype(common, copy=False)
    row, fault = _coloring.first_fault(starts, columns, n)
    if fault:
        raise ValueError({"indptr": f"indptr decreases, or is out of range, behind element {row}",
                          "range": f"row {row} has an index out of range for {n} columns",
                          "order": f"row {row} has indices out of order or twice; call sum_duplicates() of the matrix"
                          }[fault])
    narrow = np.int32 if max(2 * columns.size, m + n + 2) < 2**31 else np.int64
    pattern = Pattern(starts.astype(narrow, copy=False), columns.astype(narrow, copy=False), (m, n))
    if kind in SYMMETRIC:
        _require_symmetry(pattern, kind)
    return pattern


def _index_array(name: str, a: ArrayLike) -> _Array:
    array = np.asarray(a)
    if array.ndim != 1 or not (np.issubdtype(array.dtype, np.integer) or array.size == 0):
        raise ValueError(f"{name} has to be a vector of integers; it has shape {array.shape} and dtype {array.dtype}")
    return np.ascontiguousarray(array, np.int32 if array.dtype == np.int32 else np.int64)


def _require_symmetry(pattern: Pattern, kind: str) -> None:
    m, n = pattern.shape
    if m != n:
        raise ValueError(f'kind="{kind}" is for symmetric matrices; this one has shape {m} by {n}')
    indptr, indices, _ = pattern.transpose
    if np.array_equal(indptr, pattern.indptr) and np.array_equal(indices, pattern.indices):
        return
    rows = np.repeat(np.arange(n), np.diff(pattern.indptr))
    missing = np.flatnonzero(~np.isin(rows * n + pattern.indices, pattern.indices.astype(np.int64) * n + rows))
    i, j = rows[missing[0]], pattern.indices[missing[0]]
    raise ValueError(f'kind="{kind}" is for symmetric patterns; this one has entry ({i}, {j}) and not ({j}, {i})')


# Orders

def _vertex_order(graph: _Graph | _Hypergraph, order: str | ArrayLike, seed: int | None) -> _Array:
    n, dtype = graph.indptr.size - 1, graph.indptr.dtype
    if not isinstance(order, str):
        return _permutation(order, n).astype(dtype)
    if order == "natural":
        return np.arange(n, dtype=dtype)
    if order == "random":
        return np.random.default_rng(seed).permutation(n).astype(dtype)
    rule = _coloring.RULES[order]
    if isinstance(graph, _Graph):
        return _coloring.degree_order(*graph, *graph, False, n, rule)
    return _coloring.degree_order(*graph, True, _longest_edge(graph.edge_indptr), rule)


def _permutation(order: ArrayLike, n: int) -> _Array:
    array = np.asarray(order)
    if array.shape != (n,) or not np.array_equal(np.sort(array), np.arange(n)):
        raise ValueError(f"order has to be a permutation of the {n} vertices")
    return array


def _longest_edge(edge_indptr: _Array) -> int:
    """Return the longest hyperedge to look into for neighbors, such that the time does not grow with the squares.

    A longer one is left out of the degrees, to which it would add the same for all its vertices.
    """
    counts = np.bincount(np.diff(edge_indptr), minlength=1)
    work = np.cumsum(counts * np.arange(counts.size, dtype=np.int64) ** 2)
    return int(np.searchsorted(work, 100 * int(edge_indptr[-1]) + 10**6, side="right")) - 1


# Colors

def greedy_colors(pattern: Pattern, kind: str, order: str | ArrayLike,
                  seed: int | None) -> Iterator[tuple[_Array, _Array]]:
    """Yield colors of columns and of rows; for symmetric matrices, both are the same array."""
    m, n = pattern.shape
    if kind in ("columns", "rows"):
        graph = pattern.hypergraph(kind)
        colors = _distance2(graph, _vertex_order(graph, order, seed))
        yield (colors, np.zeros(m, np.int32)) if kind == "columns" else (np.zeros(n, np.int32), colors)
    elif kind == "bidirectional":
        yield from _bidirectional(pattern, order, seed)
    else:
        colors = _symmetric(kind, pattern.graph(kind), order, seed)
        yield colors, colors


def _symmetric(kind: str, graph: _Graph, order: str | ArrayLike, seed: int | None) -> _Array:
    sequence = _vertex_order(graph, order, seed)
    if kind == "acyclic":
        return _coloring.acyclic(*graph, sequence)
    colors = _coloring.star(*graph, sequence, False, sequence.size)
    assert colors is not None  # as many colors as vertices are always enough
    return colors


def _bidirectional(pattern: Pattern, order: str | ArrayLike, seed: int | None) -> Iterator[tuple[_Array, _Array]]:
    """Yield the colors of two ways to split the matrix, and of a star coloring of the augmented matrix."""
    n, graph = pattern.shape[1], pattern.graph("bidirectional")
    sequence = _vertex_order(graph, order, seed)
    columns, rows = pattern.hypergraph("columns"), pattern.hypergraph("rows")
    if isinstance(order, str):
        column_order, row_order = _vertex_order(columns, order, seed), _vertex_order(rows, order, seed)
    else:
        column_order, row_order = sequence[sequence < n], sequence[sequence >= n] - sequence.dtype.type(n)
    row_colors, column_colors = _split(rows, columns, row_order, column_order)
    splits = [(column_colors, row_colors), _split(columns, rows, column_order, row_order)]
    yield from splits
    # Where one row or column is dense, the star coloring may take a color for each of the others, and the square of
    # their number in time. It is given up well before; that it will lose some of its colors is taken into account.
    fewest = min(largest(by_column) + largest(by_row) for by_column, by_row in splits)
    colors = _coloring.star(*graph, sequence, True, 2 * fewest + 16)
    if colors is not None:
        yield colors[:n].copy(), colors[n:].copy()


def _distance2(graph: _Hypergraph, order: _Array, skipped: _Array | None = None) -> _Array:
    if skipped is None:
        skipped = np.zeros(graph.edge_indptr.size - 1, np.uint8)
    return _coloring.partial_distance2(*graph, order, skipped)


def _split(lines: _Hypergraph, others: _Hypergraph, order: _Array, other_order: _Array) -> tuple[_Array, _Array]:
    """Color the longest of some lines (rows or columns), and of the others what the remaining ones require."""
    by_length = np.argsort(-np.diff(lines.indptr), kind="stable").astype(order.dtype)
    taken = _coloring.best_split(lines.indptr, lines.indices, others.indptr.size - 1, by_length)
    is_taken = np.zeros(by_length.size, np.uint8)
    is_taken[by_length[:taken]] = 1
    return _distance2(lines, order[is_taken[order] == 1]), _distance2(others, other_order, is_taken)


def largest(colors: _Array) -> int:
    """Return the number of colors."""
    return int(colors.max(initial=0))
