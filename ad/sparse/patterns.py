"""Patterns: which entries of a Jacobian or Hessian may differ from zero."""
from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ad.errors import kind
from ad.sparse import _rows

__all__ = ["Pattern", "pattern"]

SHOWN = 48  # rows and columns of a drawing


class Pattern:
    """The structure of a sparse matrix, in compressed rows.

    Parameters
    ----------
    shape : (int, int)
    indptr, indices : ndarray of int32
        The columns of row i are `indices[indptr[i]:indptr[i + 1]]`, in rising order.

    Attributes
    ----------
    shape, indptr, indices
        Read-only.
    nnz : int
        The number of entries.
    """

    __slots__ = ("indices", "indptr", "shape")
    shape: tuple[int, int]
    indptr: NDArray[np.int32]
    indices: NDArray[np.int32]

    def __init__(self, shape: tuple[int, int], indptr: Any, indices: Any) -> None:
        self.shape = int(shape[0]), int(shape[1])
        self.indptr, self.indices = _read_only(indptr), _read_only(indices)

    @property
    def nnz(self) -> int:
        return len(self.indices)

    @property
    def T(self) -> Pattern:
        """The pattern of the transpose."""
        return Pattern(self.shape[::-1], *_rows.transpose(self.indptr, self.indices, self.shape[1]))

    @property
    def rows(self) -> NDArray[np.int32]:
        """The row of each entry."""
        return np.repeat(np.arange(self.shape[0], dtype=np.int32), np.diff(self.indptr))

    def __and__(self, other: Pattern) -> Pattern:
        """The entries that both patterns have."""
        self._check_shape(other)
        return Pattern(self.shape, *_rows.intersection(self.indptr, self.indices, other.indptr, other.indices))

    def __or__(self, other: Pattern) -> Pattern:
        """The entries that one of the patterns has."""
        self._check_shape(other)
        return Pattern(self.shape, *_rows.union(self.indptr, self.indices, other.indptr, other.indices))

    def __le__(self, other: Pattern) -> bool:
        """Whether each entry is one of the other pattern."""
        return (self & other).nnz == self.nnz

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pattern):
            return NotImplemented
        return (self.shape == other.shape and np.array_equal(self.indptr, other.indptr)
                and np.array_equal(self.indices, other.indices))

    __hash__ = None  # type: ignore[assignment]

    def __contains__(self, entry: tuple[int, int]) -> bool:
        i, j = entry
        return bool(j in self.indices[self.indptr[i]:self.indptr[i + 1]])

    def _check_shape(self, other: Pattern) -> None:
        if self.shape != other.shape:
            raise ValueError(f"ad.sparse: patterns of shapes {self.shape} and {other.shape}")

    def first_missing(self, other: Pattern) -> tuple[int, int]:
        """Return the first entry of another pattern that this one lacks."""
        found = _rows.positions(self.indptr, self.indices, other.rows, other.indices)
        k = int(np.argmax(found < 0))
        return int(other.rows[k]), int(other.indices[k])

    def lower(self) -> Pattern:
        """Return the entries on and below the diagonal."""
        return self._kept(self.indices <= self.rows)

    def _kept(self, mask: NDArray[np.bool_]) -> Pattern:
        total = np.concatenate([[0], np.cumsum(mask)]).astype(np.int32)
        return Pattern(self.shape, total[self.indptr], self.indices[mask])

    def tocsr(self) -> Any:
        """Return a `scipy.sparse.csr_array` of this structure, with ones."""
        return self.matrix(np.ones(self.nnz))

    def matrix(self, data: NDArray[Any]) -> Any:
        """Return a `scipy.sparse.csr_array` of this structure with these values, none of which is copied."""
        from scipy import sparse

        return sparse.csr_array((data, self.indices, self.indptr), shape=self.shape)

    def todense(self) -> NDArray[np.bool_]:
        """Return an ndarray of bool: True where there is an entry."""
        dense = np.zeros(self.shape, bool)
        dense[self.rows, self.indices] = True
        return dense

    def __repr__(self) -> str:
        return f"<pattern of shape {self.shape} with {self.nnz} entries>"

    def __str__(self) -> str:
        """Return a drawing with `*` for an entry; of a large matrix, for a block that has one."""
        shape = [min(n, SHOWN) for n in self.shape]
        drawn = np.full(shape, ".")
        if self.nnz:
            drawn[self.rows.astype(np.int64) * shape[0] // self.shape[0],
                  self.indices.astype(np.int64) * shape[1] // self.shape[1]] = "*"
        return "\n".join([repr(self), *map(" ".join, drawn)])


def _read_only(indices: Any) -> NDArray[np.int32]:
    found = np.ascontiguousarray(indices, np.int32)
    if found.flags.writeable:
        found = found.view()
        found.flags.writeable = False
    return found


def pattern(matrix: Any) -> Pattern:
    """Return the pattern of a matrix.

    Parameters
    ----------
    matrix : Pattern, scipy.sparse array or matrix, or array_like
        Entries stored in a sparse matrix count, zeros too; of an array_like, those that differ from zero.

    Raises
    ------
    TypeError, ValueError
        If it is no matrix.
    """
    if isinstance(matrix, Pattern):
        return matrix
    if hasattr(matrix, "tocoo"):
        coo = matrix.tocoo()
        rows, columns, shape = coo.row, coo.col, coo.shape
    else:
        dense = np.asarray(matrix)
        if dense.ndim != 2 or dense.dtype.kind not in "biufc":
            raise TypeError(f"ad.sparse.pattern takes a matrix, dense or sparse, not {kind(matrix)}")
        (rows, columns), shape = np.nonzero(dense), dense.shape
    return Pattern(shape, *_rows.from_pairs(rows.astype(np.int32), columns.astype(np.int32), *shape))
