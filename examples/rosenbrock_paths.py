"""The paths of six optimizers down Rosenbrock's valley.

Three that train networks take the gradient from a tape, step by step; three of SciPy get exact gradients and Hessians
from `ad.optimize.minimize`. The function is the same line of NumPy for all.
"""
from pathlib import Path
from typing import Any

import numpy as np
from _picture import BLUE, GREEN, GREY, INK, ORANGE, output_directory, picture
from numpy.typing import NDArray

import ad

Floats = NDArray[np.float64]

START = np.array([-0.5, 2.0])
STEPS = 3000


def rosenbrock(x: Any) -> Any:
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def train(optimizer: Any) -> Floats:
    """The points (steps + 1, 2) that an optimizer of `ad.optimizers` visits, to a value of 1e-9 or for 3000 steps."""
    x = ad.Variable(START)
    path = [START]
    while len(path) <= STEPS and rosenbrock(path[-1]) > 1e-9:
        with ad.GradientTape() as tape:
            loss = rosenbrock(x)
        optimizer.apply_gradients(zip(tape.gradient(loss, [x]), [x]))
        path.append(x.numpy())
    return np.stack(path)


def minimize(method: str) -> Floats:
    """The points (steps + 1, 2) that a method of SciPy visits."""
    path = [START]
    ad.optimize.minimize(rosenbrock, START, method=method, callback=lambda x: path.append(x.copy()))
    return np.stack(path)


def paths() -> dict[str, dict[str, Floats]]:
    first_order = {
        "SGD with momentum": train(ad.optimizers.SGD(learning_rate=1e-3, momentum=0.9)),
        "RMSprop": train(ad.optimizers.RMSprop(learning_rate=5e-3)),
        "Adam": train(ad.optimizers.Adam(learning_rate=0.1)),
    }
    return {"Gradient only": first_order,
            "Gradient and curvature": {name: minimize(name) for name in ("BFGS", "Newton-CG", "trust-exact")}}


def steps_to(path: Floats, value: float = 1e-6) -> int | None:
    """After how many steps the function is below a value; None if it never is."""
    below = np.flatnonzero(rosenbrock(path.T) < value)
    return int(below[0]) if below.size else None


def draw(path: Path, groups: dict[str, dict[str, Floats]]) -> None:
    across, up = np.meshgrid(np.linspace(-1.7, 1.5, 300), np.linspace(-0.7, 2.3, 300))
    heights = rosenbrock(np.stack([across, up]))
    with picture(path, 3, width_ratios=[1, 1, 0.9]) as panels:
        for panel, style, (title, group) in zip(panels, ("-", "--"), groups.items()):
            panel.contour(across, up, heights, levels=np.logspace(-1, 3, 9), colors=[GREY], linewidths=0.5, alpha=0.7)
            for (name, points), color, width in zip(group.items(), (ORANGE, GREEN, BLUE), (1.0, 2.2, 1.0)):
                panel.plot(*points.T, style, color=color, linewidth=width, label=name)
                panels[2].loglog(1 + np.arange(len(points)), rosenbrock(points.T), style, color=color)
            panel.plot(1, 1, "*", color=INK, markersize=9)
            panel.set(title=title, xlabel="x", ylim=(-0.7, 2.3), xlim=(-1.7, 1.5))
            panel.legend(loc="lower center", frameon=True, edgecolor="none", framealpha=0.9)
        panels[0].set(ylabel="y")
        panels[2].set(title="Function value", xlabel="step", ylim=(1e-12, 1e3))


def main(out: Path) -> None:
    groups = paths()
    for group in groups.values():
        for name, points in group.items():
            steps = steps_to(points)
            reached = f"below 1e-6 after {steps} steps" if steps else f"not below 1e-6 in {len(points) - 1} steps"
            print(f"  {name:<18} {reached}; at the end {rosenbrock(points[-1]):.1e}")
    draw(out / "rosenbrock_paths.png", groups)


if __name__ == "__main__":
    main(output_directory(__doc__))
