"""Draws `docs/_static/speed.svg` from the table of models in the README: `python docs/speed.py`."""
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

ROOT = Path(__file__).parent.parent
HEAD = "| gradient of |"  # how the table begins
LEFT = 0.1  # where the bars begin, on a logarithmic axis
COLOURS = {"`ad`": "#1f77b4", "`ad.compile`": "#17becf", "HIPS autograd": "#ff7f0e", "JAX": "#7f7f7f"}


def table():
    """The cells of the table of models, row by row; its heading is the first."""
    lines = iter((ROOT / "README.md").read_text(encoding="utf-8").splitlines())
    rows = [next(line for line in lines if line.startswith(HEAD))]
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(line)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if not row.startswith("|-")]


def multiple(cell):
    """The number of a cell like "3.5x" or "3.5x (12 ms)"; None where a library has none."""
    return float(cell.partition("x")[0]) if "x" in cell else None


def draw(path):
    """Draw, for each model, a bar for each library: the time of a gradient as a multiple of the function's."""
    heading, *rows = table()
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "ad", "font.size": 9})
    figure, axes = plt.subplots(figsize=(7.5, 0.72 * len(rows) + 0.7), layout="constrained")
    for i, (name, colour) in enumerate(COLOURS.items()):
        column = heading.index(name)
        places, found = zip(*[(j + 0.2 * i, x) for j, row in enumerate(rows) if (x := multiple(row[column]))])
        bars = axes.barh(places, [x - LEFT for x in found], 0.19, left=LEFT, color=colour, label=name.strip("`"))
        axes.bar_label(bars, [f"{x:g}x" for x in found], padding=2, fontsize=7)
    axes.set_yticks([j + 0.3 for j in range(len(rows))], [row[0] for row in rows])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.6)
    axes.set_xlabel("time of a gradient / time of the function by NumPy (lower is better)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    figure.legend(frameon=False, loc="outside upper right", ncols=len(COLOURS), fontsize=8)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    draw(ROOT / "docs" / "_static" / "speed.svg")
