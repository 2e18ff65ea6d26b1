"""A soap film over an obstacle: the least area of a surface that is spanned by a frame.

The heights at the 58 x 58 inner points of a grid are the unknowns, and the obstacle is a lower bound of each. The
area is a few lines of NumPy. `ad.sparse` finds that a height meets those of its neighbors only, so that a Newton
method with active bounds factorizes a sparse matrix in each step.
"""
from pathlib import Path
from typing import Any

import numpy as np
from _picture import BLUE, ORANGE, output_directory, picture
from matplotlib.colors import LightSource, to_rgb
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

import ad

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Steps = list[tuple[float, int, float]]

SIZE = 60


def frame(size: int) -> Floats:
    """The heights (size, size) of the boundary, and zeros within."""
    s = np.linspace(-1, 1, size)
    z = np.zeros((size, size))
    z[0], z[-1] = 0.35 * (1 - s**2), 0.35 * (1 - s**2)
    return z


def obstacle(size: int) -> Floats:
    """The heights (size, size) of a ball and a ridge, with -1 for none."""
    y, x = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size), indexing="ij")
    ball: Floats = np.sqrt(np.maximum(0.16 - (x + 0.4) ** 2 - (y + 0.1) ** 2, 0)) + 0.35
    ridge = np.where((np.abs(x - 0.5) < 0.1) & (np.abs(y) < 0.5), 0.6 - 12 * (x - 0.5) ** 2, -1.0)
    heights: Floats = np.maximum(np.where(ball > 0.35, ball, -1.0), ridge)
    return heights


def area(inner: Any, boundary: Floats) -> Any:
    """The area of the surface through the inner heights (n - 2, n - 2) and the boundary, two triangles in a cell."""
    n = len(boundary)
    z = np.concatenate([boundary[:1, 1:-1], inner, boundary[-1:, 1:-1]])
    z = np.concatenate([boundary[:, :1], z, boundary[:, -1:]], axis=1) * ((n - 1) / 2)
    down, right = z[1:] - z[:-1], z[:, 1:] - z[:, :-1]
    below = np.sqrt(1 + down[:, :-1] ** 2 + right[1:] ** 2)
    above = np.sqrt(1 + down[:, 1:] ** 2 + right[:-1] ** 2)
    return 2 * np.sum(below + above) / (n - 1) ** 2


def search(z: Floats, step: Floats, value: float, slope: Floats, lower: Floats, boundary: Floats) -> Floats:
    """The point where a step, halved until the area falls enough, ends: no height is below its bound."""
    for length in 0.5 ** np.arange(40):
        new: Floats = np.maximum(z + length * step, lower)
        if area(new, boundary) <= value + 1e-4 * np.sum(slope * (new - z)) + 1e-14:
            return new
    raise RuntimeError("the area falls in no direction that Newton's method finds")


def newton(start: Floats, lower: Floats, boundary: Floats) -> tuple[Floats, Bools, Steps]:
    """Minimize the area subject to the lower bounds.

    A projected Newton method (D. P. Bertsekas, SIAM J. Control Optim. 20, 1982): heights that lie on their bound
    and would fall stay there; a Newton step moves the others, and what passes its bound is put back on it.

    Returns
    -------
    heights
    held : which heights are on the obstacle, and pressed against it
    steps : area, number of heights on the obstacle, and largest element of the projected gradient, for each step
    """
    derivatives = ad.sparse.value_and_hessian(area, format="csc")
    z, steps = np.maximum(start, lower), []
    while True:
        (value, slope), hessian = derivatives(z, boundary)
        held = (z <= lower) & (slope > 0)
        free = np.flatnonzero(~held)
        rest = np.abs(slope.flat[free]).max()
        steps.append((float(value), int(held.sum()), float(rest)))
        if rest < 1e-10:
            return z, held, steps
        step = np.zeros(z.size)
        step[free] = splu(hessian[free][:, free]).solve(-slope.flat[free])
        z = search(z, step.reshape(z.shape), value, slope, lower, boundary)


def draw(path: Path, z: Floats, held: Bools, steps: Steps) -> None:
    contact = np.zeros(z.shape, bool)
    contact[1:-1, 1:-1] = held
    x, y = np.meshgrid(np.linspace(-1, 1, len(z)), np.linspace(-1, 1, len(z)))
    pattern = ad.sparse.hessian_pattern(area, z[1:7, 1:7], z[:8, :8])
    coloring = ad.sparse.color(pattern, "star")
    with picture(path, 3, width_ratios=[1.15, 1, 1]) as panels:
        figure, place = panels[0].figure, panels[0].get_subplotspec()
        figure.set_size_inches(12, 4.2)
        panels[0].remove()
        solid = figure.add_subplot(place, projection="3d")
        colors = np.where(contact[..., None], to_rgb(ORANGE), to_rgb("#a9c4e2"))
        solid.plot_surface(x, y, z, facecolors=colors, rstride=1, cstride=1, linewidth=0,
                           lightsource=LightSource(300, 35))
        solid.set(title=f"Film of area {steps[-1][0]:.3f}", zlim=(0, 0.85), xticks=[-1, 0, 1], yticks=[-1, 0, 1])
        solid.set_box_aspect((1, 1, 0.5), zoom=1.2)
        solid.view_init(32, -60)
        panels[1].contour(x, y, z, levels=14, colors=[BLUE], linewidths=0.8)
        panels[1].scatter(x[contact], y[contact], s=9, marker="s", color=ORANGE, linewidths=0)
        panels[1].set(title=f"Contour lines; {held.sum()} points touch", aspect="equal")
        ad.sparse.spy(pattern, coloring, ax=panels[2])
        panels[2].set_title(f"Hessian of 6 x 6 heights, {coloring.num_colors} colors")


def main(out: Path, size: int = SIZE) -> None:
    boundary, lower = frame(size), obstacle(size)[1:-1, 1:-1]
    inner, held, steps = newton(np.zeros(lower.shape), lower, boundary)
    print(f"{inner.size} heights, {ad.sparse.hessian_pattern(area, inner, boundary).nnz} entries in the Hessian")
    for value, active, slope in steps:
        print(f"  area {value:.6f}   {active:3d} heights on the obstacle   projected gradient {slope:.1e}")
    surface = boundary.copy()
    surface[1:-1, 1:-1] = inner
    draw(out / "minimal_surface.png", surface, held, steps)


if __name__ == "__main__":
    main(output_directory(__doc__))
