"""Draw the pictures of patterns in the pages.

    python docs/patterns.py        # writes docs/_static/patterns.svg; needs matplotlib
"""
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import ad

STATIC = Path(__file__).parent / "_static"


def area(x: Any) -> Any:
    """The area of a surface over a square grid, by triangles."""
    u = x.reshape(6, 6)
    across, down = u[:-1, 1:] - u[:-1, :-1], u[1:, :-1] - u[:-1, :-1]
    return np.sum(np.sqrt(1 + across**2 + down**2))


def sums(x: Any) -> Any:
    """Products with one variable, and the sum of all: a dense column and a dense row."""
    return np.concatenate([np.sum(x)[None], x[0] * x[1:] ** 2])


def main() -> None:
    hessian = ad.sparse.hessian_pattern(area, np.ones(36))
    jacobian = ad.sparse.jacobian_pattern(sums, np.ones(36))
    with matplotlib.rc_context({"svg.hashsalt": "patterns", "font.size": 9, "svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        axes = figure.subplots(1, 3)
        ad.sparse.spy(hessian, ax=axes[0])
        ad.sparse.spy(hessian, ad.sparse.color(hessian, "star"), ax=axes[1])
        ad.sparse.spy(jacobian, ad.sparse.color(jacobian, "bidirectional"), ax=axes[2])
        figure.savefig(STATIC / "patterns.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
