"""Pictures of patterns and colorings, by matplotlib."""
from __future__ import annotations

from typing import Any

import numpy as np

from ad.sparse.coloring import Coloring
from ad.sparse.patterns import pattern as pattern_of

__all__ = ["spy"]

PIXELS = 600  # along an axis of the picture of a large matrix
DOTTED = 20_000  # entries up to which each is drawn as a square of its own


def spy(matrix: Any, coloring: Coloring | None = None, *, ax: Any = None) -> Any:
    """Draw a pattern: entries, in the color of their column or row if a coloring is given.

    Parameters
    ----------
    matrix : Pattern, scipy.sparse array or array_like
    coloring : Coloring, optional
        The entries that are read by the color of a column or row have that color.
    ax : matplotlib.axes.Axes, optional
        By default the current one of `matplotlib.pyplot`.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    if ax is None:
        try:
            from matplotlib import pyplot
        except ImportError:
            raise ImportError('ad.sparse.spy needs matplotlib: pip install "dualtape[plot]"') from None
        ax = pyplot.gca()
    pattern = pattern_of(matrix)
    m, n = pattern.shape
    if coloring is None and pattern.nnz > DOTTED:
        density, _, _ = np.histogram2d(pattern.rows, pattern.indices, bins=(min(m, PIXELS), min(n, PIXELS)),
                                       range=((0, m), (0, n)))
        ax.imshow(density > 0, cmap="Greys", vmin=0, vmax=1, interpolation="none",
                  extent=(-0.5, n - 0.5, m - 0.5, -0.5))
    else:
        drawn: Any = {"c": "black"} if coloring is None else {"c": _colors(pattern, coloring), "cmap": "tab20"}
        side = min(12.0, max(1.5, 200.0 / max(m, n, 1)))  # smaller ones may fall between pixels
        ax.scatter(pattern.indices, pattern.rows, s=side * side, marker="s", linewidths=0, **drawn)
        ax.set_aspect("equal")
    ax.set_xlim(-0.5, n - 0.5)
    ax.set_ylim(m - 0.5, -0.5)
    ax.set_title(f"{m} x {n}, {pattern.nnz} entries" + (f", {coloring.num_colors} colors" if coloring else ""))
    return ax


def _colors(pattern: Any, coloring: Coloring) -> Any:
    """Return the number of the color by which each entry is read."""
    m, n = pattern.shape
    split = coloring.num_column_colors * m
    source = np.asarray(coloring.source, np.int64)
    return np.where(source < split, source // max(m, 1), coloring.num_column_colors + (source - split) // max(n, 1))
