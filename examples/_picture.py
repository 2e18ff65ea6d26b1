"""What the examples share: how their pictures look and where they are saved."""
import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

__all__ = ["BLUE", "GREEN", "GREY", "INK", "LIGHT", "ORANGE", "output_and_size", "output_directory", "picture"]

INK, GREY, LIGHT = "#2b3440", "#8a94a0", "#e4e8ec"
BLUE, ORANGE, GREEN = "#2f6fb0", "#d9772b", "#3f8f6b"
STYLE: Any = {
    "figure.figsize": (9.0, 4.8), "figure.dpi": 100, "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.12, "figure.constrained_layout.h_pad": 0.1,
    "font.size": 10, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GREY,
    "axes.titlesize": 11, "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False,
    "xtick.color": INK, "ytick.color": INK, "lines.linewidth": 1.6, "legend.frameon": False, "legend.fontsize": 9,
}


@contextmanager
def picture(path: Path, columns: int, width_ratios: Sequence[float] | None = None,
            sharey: bool = False) -> Iterator[Any]:
    """The panels of a figure, side by side; it is saved to `path` as the block ends."""
    with matplotlib.rc_context(STYLE):
        figure = Figure()
        yield figure.subplots(1, columns, width_ratios=width_ratios, sharey=sharey)
        figure.savefig(path)
    print(f"picture: {path}")


def output_directory(description: str) -> Path:
    """The directory that `--out` names, made if it is missing."""
    return _read(_parser(description))[0]


def output_and_size(description: str, meaning: str) -> tuple[Path, int | None]:
    """The directory that `--out` names, made if it is missing, and what `--size` says, if it is there."""
    parser = _parser(description)
    parser.add_argument("--size", type=int, help=meaning)
    return _read(parser)


def _parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(), help="where to save the picture (default: here)")
    return parser


def _read(parser: argparse.ArgumentParser) -> tuple[Path, int | None]:
    found = parser.parse_args()
    found.out.mkdir(parents=True, exist_ok=True)
    return found.out, getattr(found, "size", None)
