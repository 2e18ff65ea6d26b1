"""Matrices of one structure, made again and again with other values."""
from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ad.errors import kind, needs_scipy
from ad.sparse import _rows
from ad.sparse.patterns import Pattern

__all__ = ["FORMATS", "Structured"]

FORMATS = ("csr", "csc", "coo")


class Structured:
    """A structure of sparse arrays of one format.

    Parameters
    ----------
    pattern : Pattern
    format : {"csr", "csc", "coo"}
    dtype : dtype
    """

    def __init__(self, pattern: Pattern, format: str, dtype: Any) -> None:
        try:
            from scipy import sparse
        except ImportError:
            raise needs_scipy("ad.sparse") from None
        self.pattern, self.format, self.dtype = pattern, format, np.dtype(dtype)
        self._stored = pattern.T if format == "csc" else pattern
        empty = np.zeros(pattern.nnz, dtype)
        stored, shape = self._stored, pattern.shape
        if format == "coo":
            self.template: Any = sparse.coo_array((empty, (stored.rows, stored.indices)), shape=shape)
        else:
            kind = sparse.csc_array if format == "csc" else sparse.csr_array
            self.template = kind((empty, stored.indices, stored.indptr), shape=shape)
            self.template.has_sorted_indices = True
        self.template.has_canonical_format = True

    @property
    def nnz(self) -> int:
        return self.pattern.nnz

    def places(self, rows: NDArray[np.int32], columns: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return where the data have these entries; -1 for what is not in the structure."""
        stored = self._stored
        if self.format == "csc":
            rows, columns = columns, rows
        found: NDArray[np.int32] = _rows.positions(stored.indptr, stored.indices, rows, columns)
        return found

    def entries(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the row and the column of each of the data."""
        rows, columns = self._stored.rows, self._stored.indices
        return (columns, rows) if self.format == "csc" else (rows, columns)

    def new(self) -> Any:
        """Return an array of this structure, whose values are not set yet."""
        made = object.__new__(type(self.template))  # SciPy's constructor checks the structure each time
        made.__dict__.update(self.template.__dict__)
        made.data = np.empty(self.pattern.nnz, self.dtype)
        return made

    def misfit(self, out: Any) -> TypeError | ValueError | None:
        """Return the error that says why `out` is no array of this structure; None if it is one."""
        if type(out) is type(self.template) and self._is_own(out):
            return None
        if getattr(out, "format", None) != self.format or not hasattr(out, "data"):
            return TypeError(f"ad.sparse: out is {kind(out)}; give an array of format {self.format!r} that an earlier "
                             "call returned")
        given, own = _structure(out), _structure(self.template)
        if out.shape != self.pattern.shape or not all(a is b or np.array_equal(a, b) for a, b in zip(given, own)):
            return ValueError(f"ad.sparse: out has shape {out.shape} and {len(out.data)} entries; the result has shape "
                              f"{self.pattern.shape} and {self.nnz} entries, maybe elsewhere. Give an array that an "
                              "earlier call with arguments like these returned")
        if out.data.dtype != self.dtype or not out.data.flags.c_contiguous or not out.data.flags.writeable:
            return ValueError(f"ad.sparse: out.data has dtype {out.data.dtype}; contiguous, writeable {self.dtype} is "
                              "wanted")
        return None

    def _is_own(self, out: Any) -> bool:
        """Return whether `out`, of the format, has what `new` gave it."""
        if self.format == "coo":
            return False
        return (out.indices is self.template.indices and out.indptr is self.template.indptr
                and out.data.dtype == self.dtype and len(out.data) == self.pattern.nnz
                and out.data.flags.c_contiguous and out.data.flags.writeable)


def _structure(matrix: Any) -> tuple[Any, ...]:
    return matrix.coords if matrix.format == "coo" else (matrix.indptr, matrix.indices)
