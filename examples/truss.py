"""The stiffest truss of a given volume, for two loads.

A ground structure: 9 x 5 nodes, and 388 members that may be built between them. A cantilever, held on the left, is to
carry a weight at its lower right corner, or else at its upper one. The compliance is the energy of the member forces.
For given forces the best areas are known, so it is left to choose forces that balance each load: a convex problem with
linear equations, solved by `ad.optimize.minimize` with the sparse Hessian.
"""
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _picture import BLUE, INK, LIGHT, ORANGE, output_directory, picture
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint
from scipy.sparse import csr_array, kron

import ad

Floats = NDArray[np.float64]

WIDE, HIGH, REACH = 9, 5, 3
VOLUME = 45.0


class Truss(NamedTuple):
    """Nodes (nodes, 2), the two ends of each member, their lengths, and what balances the forces."""

    nodes: Floats
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    length: Floats
    balance: Any  # sparse (free coordinates, members): the member forces' sums at the nodes
    loads: Floats  # (loads, free coordinates)


def ground_structure() -> Truss:
    """All members of at most REACH cells that pass through no other node; the nodes on the left are held."""
    grid = np.stack(np.meshgrid(np.arange(WIDE), np.arange(HIGH), indexing="ij"), -1).reshape(-1, 2)
    first, second = np.triu_indices(len(grid), 1)
    across = grid[second] - grid[first]
    kept = (np.gcd(*across.T) == 1) & (np.abs(across).max(axis=1) <= REACH)
    first, second, across = first[kept], second[kept], across[kept]
    length = np.linalg.norm(across, axis=1)
    unit = across / length[:, None]
    rows = np.concatenate([2 * first, 2 * first + 1, 2 * second, 2 * second + 1])
    values = np.concatenate([*unit.T, *-unit.T])
    balance = csr_array((values, (rows, np.tile(np.arange(length.size), 4))), shape=(grid.size, length.size))
    loads = np.zeros((2, len(grid), 2))
    loads[0, -HIGH, 1] = loads[1, -1, 1] = -1
    free = np.repeat(grid[:, 0] > 0, 2)
    return Truss(grid.astype(float), first, second, length, balance[np.flatnonzero(free)],
                 loads.reshape(2, -1)[:, free])


def rounded_volume(forces: Any, length: Floats, rounding: float) -> Any:
    """The sum of length * size, where the size of a member's forces has its kink at zero rounded off."""
    return np.sum(length * np.sqrt(np.sum(forces**2, axis=0) + rounding**2))


def solve(truss: Truss) -> tuple[Floats, Floats, list[tuple[float, int, float]]]:
    """Return the member forces (loads, members), the areas, and how the search went.

    With a modulus of 1 the compliances of the loads are the sums of length force^2 / area, and half of these is
    minimized under the volume. The best area is proportional to the size of a member's forces, and the minimum is
    sum(length size)^2 / (2 volume). The kink of the size at zero is rounded off less and less.
    """
    m = truss.length.size
    forces = np.zeros((2, m))
    against = -truss.loads.ravel()
    equations = LinearConstraint(kron(np.eye(2), truss.balance, format="csr"), against, against)
    steps = []
    for rounding in (1.0, 0.1, 0.01, 0.001):
        result = ad.optimize.minimize(rounded_volume, forces, args=(truss.length, rounding), method="trust-constr",
                                      constraints=equations, options={"gtol": 1e-5, "maxiter": 1000})
        forces = result.x
        size: Floats = np.sqrt(np.sum(forces**2, axis=0))
        steps.append((rounding, int(result.nit), float(np.sum(truss.length * size) ** 2 / (2 * VOLUME))))
    return forces, VOLUME * size / np.sum(truss.length * size), steps


def draw(path: Path, truss: Truss, forces: Floats, areas: Floats) -> None:
    ends = truss.nodes[np.stack([truss.first, truss.second], axis=1)]
    with picture(path, 2) as panels:
        panels[0].figure.set_size_inches(11, 4.2)
        for panel, force, corner, name in zip(panels, forces, (-HIGH, -1), ("lower", "upper")):
            loading = np.abs(force) / np.maximum(areas, 0.02 * areas.max())
            panel.plot(*ends.transpose(2, 1, 0), color=LIGHT, linewidth=0.4, zorder=0)
            for k in np.flatnonzero(areas > 0.005 * areas.max()):
                style = {"linewidth": 10 * areas[k] / areas.max(), "solid_capstyle": "round"}
                panel.plot(*ends[k].T, color=LIGHT, **style)
                panel.plot(*ends[k].T, color=BLUE if force[k] < 0 else ORANGE, alpha=loading[k] / loading.max(),
                           **style)
            panel.plot(*truss.nodes.T, ".", color=INK, markersize=3)
            panel.plot(*truss.nodes[:HIGH].T, ">", color=INK, markersize=8)
            x, y = truss.nodes[corner]
            y += 0.1 if corner == -1 else -1.0
            panel.annotate("", (x, y), (x, y + 0.9), arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 2})
            panel.set(title=f"Weight at the {name} corner", aspect="equal", xlim=(-0.5, 8.5), ylim=(-1.2, 5.2))
            panel.axis("off")
        for color, text in ((ORANGE, "tension"), (BLUE, "compression"), (LIGHT, "no force")):
            panels[1].plot([], [], color=color, linewidth=4, label=text)
        panels[1].legend(loc="lower left", ncols=3)


def main(out: Path) -> None:
    truss = ground_structure()
    pattern = ad.sparse.hessian_pattern(rounded_volume, np.zeros((2, truss.length.size)), truss.length, 1.0)
    print(f"{truss.length.size} members, {truss.balance.shape[0]} equations for each of {len(truss.loads)} loads; "
          f"{pattern.nnz} of {pattern.shape[0]}^2 entries in the Hessian")
    forces, areas, steps = solve(truss)
    for rounding, count, energy in steps:
        print(f"  rounded at {rounding:<5} {count:4d} steps   half the sum of compliances {energy:.4f}")
    print(f"{np.sum(areas > 0.01 * areas.max())} members have more than 1 % of the largest area")
    draw(out / "truss.png", truss, forces, areas)


if __name__ == "__main__":
    main(output_directory(__doc__))
