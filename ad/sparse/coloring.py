"""Coloring of sparse Jacobians and Hessians, and the recovery of their entries from compressed matrices.

Columns of one color are differentiated together: the derivative of a function in the sum of their directions is the
sum of these columns, and the colors are chosen so that each entry can be read from such sums. With C colors for the
columns of an m-by-n matrix, `columns[c, i]` is the sum of `J[i, j]` over the columns j of color c + 1, of shape (C, m);
with colors for rows, `rows[c, j]` is the sum of `J[i, j]` over the rows i of color c + 1, of shape (C, n).
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ad.sparse import _coloring
from ad.sparse.coloring_graphs import KINDS, NAMED_ORDERS, SYMMETRIC, Pattern, checked_pattern, greedy_colors
from ad.sparse.coloring_plans import Colors, recovery_plan, without_spare_colors

__all__ = ["KINDS", "ORDERS", "Coloring", "check_colors", "color", "from_colors"]

ORDERS = (*NAMED_ORDERS, "best")

_Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Coloring:
    """Colors of the columns and rows of a sparse matrix, and where to read its entries in the compressed matrix.

    Attributes
    ----------
    kind : str
        "columns", "rows", "bidirectional", "star" or "acyclic"; see `color`.
    shape : tuple of int
        Shape (m, n) of the matrix.
    order : str
        The order of the vertices that gave these colors; "given" for an array of the caller's, or colors of the
        caller's.
    column_colors : ndarray of int32, shape (n,)
        The color of each column, from 1 on; 0 where no entry is read by the color of the column.
    row_colors : ndarray of int32, shape (m,)
        The same for rows. All are 0 unless `kind` is "rows" or "bidirectional".
    num_column_colors, num_row_colors : int
        Numbers of colors.
    source : ndarray of int32 or int64, shape (nnz,)
        The entry k of the pattern is element `source[k]` of the flat compressed matrix: `columns.ravel()`, behind it
        `rows.ravel()`.
    targets, reads : ndarray of the same dtype as `source`
        For an acyclic coloring: before entries are read, subtract element `reads[t]` of the flat compressed matrix from
        element `targets[t]`, for each t in order. Empty for the other kinds.
    """

    kind: str
    shape: tuple[int, int]
    order: str
    column_colors: _Array
    row_colors: _Array
    num_column_colors: int
    num_row_colors: int
    source: _Array
    targets: _Array
    reads: _Array

    @property
    def num_colors(self) -> int:
        """Number of colors of columns and rows together: the products that a derivative takes."""
        return self.num_column_colors + self.num_row_colors

    def column_seeds(self, dtype: DTypeLike = np.float64) -> _Array:
        """Return the 0-1 matrix of shape (num_column_colors, n) whose row c marks the columns of color c + 1."""
        return _seeds(self.column_colors, self.num_column_colors, dtype)

    def row_seeds(self, dtype: DTypeLike = np.float64) -> _Array:
        """Return the 0-1 matrix of shape (num_row_colors, m) whose row c marks the rows of color c + 1."""
        return _seeds(self.row_colors, self.num_row_colors, dtype)

    def recover(self, columns: ArrayLike | None = None, rows: ArrayLike | None = None, *, out: _Array | None = None,
                overwrite: bool = False) -> _Array:
        """Return the entries of the matrix, in the order of the pattern, from the compressed matrix.

        Parameters
        ----------
        columns : array_like of float64 or float32, shape (num_column_colors, m)
            Sums of the columns of each color. May be left out where no column has a color.
        rows : array_like of the same dtype, shape (num_row_colors, n)
            Sums of the rows of each color. May be left out where no row has a color.
        out : ndarray, shape (nnz,), optional
            The array to write the entries to, of the dtype of `columns` and contiguous.
        overwrite : bool, optional
            Whether `columns` may be overwritten. Saves a copy for acyclic colorings.

        Returns
        -------
        ndarray, shape (nnz,)

        Raises
        ------
        ValueError
            If a shape is wrong, or if `out` has another dtype or is not contiguous.
        TypeError
            If a dtype is neither float64 nor float32, or if the two differ.
        """
        m, n = self.shape
        given = columns if columns is not None else rows
        dtype = np.float64 if given is None else np.asarray(given).dtype
        flat_columns = _flat("columns", columns, (self.num_column_colors, m), np.dtype(dtype))
        flat_rows = _flat("rows", rows, (self.num_row_colors, n), np.dtype(dtype))
        result = np.empty(self.source.shape, dtype) if out is None else _checked_out(out, self.source.shape, dtype)
        if self.targets.size:
            is_free = flat_columns.flags.writeable and (overwrite or not np.may_share_memory(flat_columns, columns))
            flat_columns = flat_columns if is_free else flat_columns.copy()
            _coloring.eliminate(self.targets, self.reads, flat_columns)
        _coloring.gather(self.source, flat_columns, flat_rows, result)
        return result


def color(indptr: ArrayLike, indices: ArrayLike, shape: tuple[int, int], *, kind: str = "columns",
          order: str | ArrayLike = "natural", seed: int | None = 0, postprocess: bool = True) -> Coloring:
    """Color a sparse matrix so that its entries can be read from sums of its columns or rows.

    Parameters
    ----------
    indptr, indices : array_like of int
        The pattern in compressed row form, as in `scipy.sparse.csr_array`: the columns of the entries of row i are
        `indices[indptr[i]:indptr[i + 1]]`, in ascending order without duplicates.
    shape : tuple of int
        Shape (m, n).
    kind : str, optional
        - "columns": columns with an entry in the same row have different colors.
        - "rows": rows with an entry in the same column have different colors.
        - "bidirectional": columns and rows have colors, and each entry is read by one or the other. A matrix with a few
          dense rows and a few dense columns takes few colors. The best of a greedy star bicoloring and of two ways to
          split the matrix into rows and columns.
        - "star": for a symmetric matrix, of which entries (i, j) and (j, i) are one; each is read directly.
        - "acyclic": for a symmetric matrix, with fewer colors; entries are found by substitution.
    order : str or array_like of int, optional
        The order in which vertices (columns; rows; for "bidirectional" columns, then rows) get the least color that
        is allowed: "natural", "largest_first", "smallest_last", "incidence_degree", "dynamic_largest_first", "random",
        or a permutation. "best" tries the named ones and keeps the result with the fewest colors.
    seed : int, optional
        The seed of the random order.
    postprocess : bool, optional
        Whether to take their color from columns and rows by whose color no entry needs to be read ("star", "acyclic",
        "bidirectional").

    Returns
    -------
    Coloring

    Raises
    ------
    ValueError
        If the pattern is not in compressed row form, or not symmetric where `kind` needs that, or if `kind` or `order`
        is none of these.

    References
    ----------
    A. H. Gebremedhin, F. Manne, A. Pothen, "What color is your Jacobian? Graph coloring for computing derivatives",
    SIAM Review 47 (2005); A. H. Gebremedhin, A. Tarafdar, F. Manne, A. Pothen, "New acyclic and star coloring
    algorithms with application to computing Hessians", SIAM Journal on Scientific Computing 29 (2007).
    """
    pattern = checked_pattern(indptr, indices, shape, kind)
    if isinstance(order, str) and order not in ORDERS:
        raise ValueError(f"order is {order!r}; it has to be one of {', '.join(ORDERS)}, or a permutation")
    names = NAMED_ORDERS if isinstance(order, str) and order == "best" else (order,)
    candidates = [
        Colors(*colors, name if isinstance(name, str) else "given")
        for name in names for colors in greedy_colors(pattern, kind, name, seed)
    ]
    if postprocess and kind not in ("columns", "rows"):
        candidates = [without_spare_colors(pattern, kind, colors) for colors in candidates]
    return _planned(pattern, kind, min(candidates, key=lambda colors: sum(colors.counts(kind))))


def from_colors(indptr: ArrayLike, indices: ArrayLike, shape: tuple[int, int], *, kind: str,
                column_colors: ArrayLike | None = None, row_colors: ArrayLike | None = None) -> Coloring:
    """Return the coloring with the colors given, after a check that each entry can be read.

    Parameters
    ----------
    indptr, indices, shape, kind
        As in `color`.
    column_colors : array_like of int, shape (n,), optional
        The color of each column, from 1 on, or 0 for columns by whose color no entry is read.
    row_colors : array_like of int, shape (m,), optional
        The same for rows, if `kind` is "rows" or "bidirectional".

    Returns
    -------
    Coloring

    Raises
    ------
    ValueError
        If some entry cannot be read. The message names two columns or rows that collide.
    """
    pattern = checked_pattern(indptr, indices, shape, kind)
    columns = _given_colors("column_colors", column_colors, pattern.shape[1], kind != "rows", kind)
    rows = _given_colors("row_colors", row_colors, pattern.shape[0], kind in ("rows", "bidirectional"), kind)
    return _planned(pattern, kind, Colors(columns, columns if kind in SYMMETRIC else rows, "given"))


def check_colors(indptr: ArrayLike, indices: ArrayLike, shape: tuple[int, int], *, kind: str,
                 column_colors: ArrayLike | None = None, row_colors: ArrayLike | None = None) -> None:
    """Raise ValueError, naming two columns or rows that collide, unless the colors fit the pattern.

    The parameters are those of `from_colors`.
    """
    from_colors(indptr, indices, shape, kind=kind, column_colors=column_colors, row_colors=row_colors)


def _planned(pattern: Pattern, kind: str, colors: Colors) -> Coloring:
    plan = recovery_plan(pattern, kind, colors)
    rows = np.zeros(pattern.shape[0], np.int32) if kind in SYMMETRIC else colors.rows
    for array in (colors.columns, rows, *plan):
        array.flags.writeable = False
    return Coloring(kind, pattern.shape, colors.order, colors.columns, rows, *colors.counts(kind), *plan)


def _given_colors(name: str, colors: ArrayLike | None, size: int, is_used: bool, kind: str) -> _Array:
    if not is_used and colors is not None:
        raise ValueError(f'kind="{kind}" takes no {name}')
    if colors is None:
        return np.zeros(size, np.int32)
    array = np.asarray(colors)
    if array.shape != (size,) or not (np.issubdtype(array.dtype, np.integer) or size == 0):
        raise ValueError(f"{name} has to be {size} integers; it has shape {array.shape} and dtype {array.dtype}")
    if size and (array.min() < 0 or array.max() > size):
        raise ValueError(f"{name} has to be from 0 (no color) to {size}; it goes from {array.min()} to {array.max()}")
    return array.astype(np.int32)


def _seeds(colors: _Array, count: int, dtype: DTypeLike) -> _Array:
    result = np.zeros((count, colors.size), dtype)
    marked = np.flatnonzero(colors)
    result[colors[marked] - 1, marked] = 1
    return result


def _flat(name: str, compressed: ArrayLike | None, shape: tuple[int, int], dtype: np.dtype[Any]) -> _Array:
    if compressed is None and shape[0] == 0:
        return np.empty(0, dtype)
    array = np.asarray(compressed)
    if compressed is None or array.shape != shape:
        raise ValueError(f"{name} has to be of shape {shape}, colors first; it is " +
                         ("not given" if compressed is None else f"of shape {array.shape}"))
    if array.dtype not in (np.float64, np.float32) or array.dtype != dtype:
        raise TypeError(f"{name} has dtype {array.dtype}; float64 and float32 can be recovered, one at a time")
    return np.ascontiguousarray(array).reshape(-1)


def _checked_out(out: _Array, shape: tuple[int, ...], dtype: DTypeLike) -> _Array:
    if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(f"out has to be a contiguous, writable array of shape {shape} and dtype {np.dtype(dtype)}; "
                         f"it has shape {out.shape} and dtype {out.dtype}")
    return out
