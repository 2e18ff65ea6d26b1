"""Coloring of sparse matrices with a million columns, and the recovery of their entries."""
import numpy as np

from ad.sparse.coloring import KINDS, color

N = 1_000_000


def tridiagonal():
    i = np.arange(N)
    return csr(np.repeat(i, 3), (i[:, None] + [-1, 0, 1]).ravel())


def stencil():
    """The five-point stencil on a square grid; the end of a line of the grid is a neighbor of the next line."""
    i, side = np.arange(N), 1000
    return csr(np.repeat(i, 5), (i[:, None] + [-side, -1, 0, 1, side]).ravel())


def arrow():
    i, zero = np.arange(N), np.zeros(N, int)
    return csr(np.concatenate([i, zero, i[1:]]), np.concatenate([i, i, zero[1:]]))


def scattered():
    """Two million random pairs, both ways, and the diagonal."""
    i, j = np.random.default_rng(0).integers(0, N, (2, 2 * N))
    k = np.arange(N)
    return csr(np.concatenate([i, j, k]), np.concatenate([j, i, k]))


def csr(rows, columns):
    """indptr and indices of the entries that are inside, each once."""
    inside = (columns >= 0) & (columns < N)
    entries = np.unique(rows[inside].astype(np.int64) * N + columns[inside])
    indptr = np.searchsorted(entries, np.arange(N + 1) * N)
    return indptr.astype(np.int32), (entries % N).astype(np.int32)


PATTERNS = {"tridiagonal": tridiagonal, "stencil": stencil, "arrow": arrow, "scattered": scattered}


class Coloring:
    """The coloring with its plan, in the natural order."""

    params = [list(PATTERNS), list(KINDS)]
    param_names = ["pattern", "kind"]
    timeout = 120

    def setup(self, pattern, kind):
        self.pattern = PATTERNS[pattern]()
        if pattern == "arrow" and kind in ("columns", "rows"):
            raise NotImplementedError  # asv's word for skipping: as many colors as columns
        self.colors = color(*self.pattern, (N, N), kind=kind)
        rng = np.random.default_rng(0)
        self.columns = rng.random((self.colors.num_column_colors, N))
        self.rows = rng.random((self.colors.num_row_colors, N))
        self.out = np.empty(self.colors.source.size)

    def time_color(self, pattern, kind):
        color(*self.pattern, (N, N), kind=kind)

    def time_recover(self, pattern, kind):
        self.colors.recover(self.columns, self.rows, out=self.out)

    def track_colors(self, pattern, kind):
        return self.colors.num_colors
