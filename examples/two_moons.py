"""A small neural network on two moons, trained with GradientTape and Adam.

Layers are matrices in NumPy code; the training loop is that of TensorFlow.
"""
from pathlib import Path
from typing import Any

import numpy as np
from _picture import BLUE, GREY, ORANGE, output_directory, picture
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray

import ad

Floats = NDArray[np.float64]


def moons(n: int, rng: np.random.Generator, noise: float = 0.2) -> tuple[Floats, Floats]:
    """Points (n, 2) on two half circles that interlock, with noise, and which of the two each is on."""
    label = np.arange(n) % 2
    angle = np.pi * rng.random(n)
    x = np.where(label, 1 - np.cos(angle), np.cos(angle))
    y = np.where(label, 0.5 - np.sin(angle), np.sin(angle))
    return np.stack([x, y], axis=1) + noise * rng.standard_normal((n, 2)), label.astype(float)


class Network:
    """Two hidden layers of tanh units; the output is the log-odds of label 1."""

    def __init__(self, rng: np.random.Generator, sizes: tuple[int, ...] = (2, 16, 16, 1)) -> None:
        self.layers = [(ad.Variable(rng.standard_normal((m, n)) / np.sqrt(m)), ad.Variable(np.zeros(n)))
                       for m, n in zip(sizes, sizes[1:])]
        self.variables = [variable for layer in self.layers for variable in layer]

    def __call__(self, x: Any) -> Any:
        *hidden, (weights, bias) = self.layers
        for w, b in hidden:
            x = np.tanh(x @ w + b)
        return (x @ weights + bias)[:, 0]


def cross_entropy(log_odds: Any, label: Floats) -> Any:
    return np.mean(np.logaddexp(0.0, log_odds) - label * log_odds)


def accuracy(network: Network, x: Floats, label: Floats) -> float:
    return float(np.mean((network(x).numpy() > 0) == (label > 0.5)))


def train(network: Network, x: Floats, label: Floats, steps: int = 300, batch: int = 100, seed: int = 1) -> list[float]:
    """The loss on each batch."""
    optimizer = ad.optimizers.Adam(learning_rate=0.02)
    rng, losses = np.random.default_rng(seed), []
    for _ in range(steps):
        rows = rng.choice(len(x), batch, replace=False)
        with ad.GradientTape() as tape:
            loss = cross_entropy(network(x[rows]), label[rows])
        optimizer.apply_gradients(zip(tape.gradient(loss, network.variables), network.variables))
        losses.append(float(loss.numpy()))
    return losses


def draw(path: Path, network: Network, x: Floats, label: Floats, losses: list[float]) -> None:
    across, up = np.meshgrid(np.linspace(-1.8, 2.8, 300), np.linspace(-1.4, 1.9, 200))
    log_odds = network(np.column_stack([across.ravel(), up.ravel()])).numpy().reshape(across.shape)
    shades = LinearSegmentedColormap.from_list("shades", [BLUE, "white", ORANGE])
    with picture(path, 2, width_ratios=[1.8, 1]) as (left, right):
        left.contourf(across, up, 1 / (1 + np.exp(-log_odds)), levels=np.linspace(0, 1, 11), cmap=shades, alpha=0.5)
        left.contour(across, up, log_odds, levels=[0], colors="black", linewidths=1.2)
        for value, color in enumerate((BLUE, ORANGE)):
            left.plot(*x[label == value].T, "o", color=color, markersize=3.5, markeredgecolor="white", mew=0.4)
        right_share = accuracy(network, x, label)
        left.set(xlabel="x", ylabel="y", title=f"Decision: {right_share:.1%} of {len(x)} new points right")
        right.plot(losses, color=GREY, alpha=0.5, linewidth=1, label="of the batch")
        right.plot(np.arange(10, len(losses) - 9), np.convolve(losses, np.ones(20) / 20, "valid"), color=BLUE,
                   label="mean of 20 batches")
        right.set(xlabel="step of Adam", ylabel="cross-entropy", title="Training", ylim=(0, None))
        right.legend()


def main(out: Path) -> None:
    rng = np.random.default_rng(0)
    x, label = moons(1000, rng)
    x_new, label_new = moons(500, rng)
    network = Network(rng)
    print(f"before: {accuracy(network, x_new, label_new):.1%} of new points right")
    losses = train(network, x, label)
    print(f"after {len(losses)} steps of Adam: cross-entropy {losses[0]:.3f} -> {np.mean(losses[-20:]):.3f}, "
          f"{accuracy(network, x_new, label_new):.1%} of new points right")
    draw(out / "two_moons.png", network, x_new, label_new, losses)


if __name__ == "__main__":
    main(output_directory(__doc__))
