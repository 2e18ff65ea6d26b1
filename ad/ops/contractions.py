"""Einstein's summation: `einsum`, of one operand a linear op, of two a bilinear one; more are contracted in pairs."""
from __future__ import annotations

import builtins
import string
from typing import Any

import numpy as np

from ad.ops.costs import contraction
from ad.ops.domains import REAL
from ad.ops.forms import bilinear, case, composite, linear
from ad.ops.indexing import put_zeros
from ad.ops.matrix_products import as_matrices, operand
from ad.ops.shaping import broadcast_to, reshape
from ad.ops.structure import SUMS, products_of_einsum
from ad.ops.traits import Batching

__all__ = ["contract", "einsum", "rearrange"]


def _scatter(y_bar: Any, x: Any, subscripts: str) -> Any:
    """The transpose of an einsum of one operand: every label dropped is spread, a repeated one is a diagonal."""
    labels, kept = subscripts.split("->")
    size = dict(zip(labels, x.shape))
    unique = "".join(dict.fromkeys(labels))
    order = [label for label in unique if label in kept]
    turned = rearrange(y_bar, f"{kept}->{''.join(order)}") if order != list(kept) else y_bar
    spread = reshape(turned, tuple(size[label] if label in kept else 1 for label in unique))
    spread = broadcast_to(spread, tuple(size[label] for label in unique))
    if len(unique) == len(labels):
        return spread
    grid = np.ix_(*(np.arange(size[label]) for label in unique))
    return put_zeros(spread, tuple(grid[unique.index(label)] for label in labels), x.shape)


def _behind_lane(ndim: int, subscripts: str) -> tuple[Any]:
    labels, kept = subscripts.split("->")
    lane = next(label for label in string.ascii_letters if label not in labels)
    return (f"{lane}{labels}->{lane}{kept}",)


def _write_rearranged(x: Any, y: Any, subscripts: str) -> None:
    """Write to a view, which has every label once: a transpose, a diagonal."""
    labels, kept = subscripts.split("->")
    size = dict(zip(labels, x.shape))
    grid = np.ix_(*(np.arange(size[label]) for label in kept))
    x[tuple([grid[kept.index(label)] for label in labels])] = y


@linear(transpose=_scatter, batching=Batching(params=_behind_lane), moves=True, domain=REAL, write=_write_rearranged,
        structure=SUMS,
        cases=(case((2, 3), subscripts="ab->ba"), case((3, 3), subscripts="aa->a"), case((3, 3), subscripts="aa->"),
               case((2, 3, 2), subscripts="aba->b"), case((2, 3), subscripts="ab->b"), case((), subscripts="->")))
def rearrange(x: Any, subscripts: str) -> Any:
    """An einsum of one operand, with its output written out and no ellipsis."""
    return np.einsum(subscripts, x)


def _transposed(subscripts: str, i: int) -> str:
    """The subscripts that give operand `i` from the output and the other operand."""
    inputs, output = subscripts.split("->")
    parts = inputs.split(",")
    return f"{output},{parts[1 - i]}->{parts[i]}"


def _stretched(x_bar: Any, x: Any) -> Any:
    """Spread along the axes where only `x` is longer than 1 (the other operand was broadcast)."""
    lead = x_bar.ndim - x.ndim
    shape = x_bar.shape[:lead] + tuple(n if m == 1 else m for m, n in zip(x_bar.shape[lead:], x.shape))
    return x_bar if shape == x_bar.shape else broadcast_to(x_bar, shape)


def _core_axes(subscripts: str) -> list[Any]:
    """How many axes of each operand have a label, and do not stand under its ellipsis."""
    return [len(part) - 3 for part in subscripts.split("->")[0].split(",")]


def _contract_lanes(values: Any, xs: Any, _y: Any, subscripts: str) -> Any:
    """Operands behind enough axes of length 1 that their ellipses are as long; then those of lanes meet in front."""
    widths = [x.ndim - core for x, core in zip(xs, _core_axes(subscripts))]
    x1, x2 = [as_matrices(value, x.shape, x.ndim + builtins.max(widths) - width) if value.ndim > x.ndim else value
              for value, x, width in zip(values, xs, widths)]
    return contract(x1, x2, subscripts)


def _pull_first(y_bar: Any, _x1: Any, x2: Any, subscripts: str) -> Any:
    return _stretched(contract(y_bar, x2, _transposed(subscripts, 0)), _x1)


def _pull_second(y_bar: Any, x1: Any, _x2: Any, subscripts: str) -> Any:
    return _stretched(contract(y_bar, x1, _transposed(subscripts, 1)), _x2)


@bilinear(batching=Batching(rule=_contract_lanes, tangents=_core_axes), operations=contraction, domain=(REAL, REAL),
          structure=lambda i, xs, y, subscripts: products_of_einsum(subscripts, xs, y),
          transposes=(_pull_first, _pull_second),
          cases=(case((2, 3), (3, 4), subscripts="...ab,...bc->...ac"), case((2,), (3,), subscripts="...a,...b->...ba"),
                 case((2, 3), (2, 3), subscripts="...ab,...ab->..."),
                 case((1, 3), (2, 3), subscripts="...ab,...ab->...b")))
def contract(x1: Any, x2: Any, subscripts: str) -> Any:
    """An einsum of two operands; the ellipsis stands for lanes, so every axis has its own label."""
    return np.einsum(subscripts, x1, x2, optimize=np.size(x1) * np.size(x2) > WORTH_PLANNING)


LETTERS = frozenset(string.ascii_letters)
WORTH_PLANNING = 10_000  # products of sizes from which NumPy's way to BLAS costs less than its plain loop


@composite(np.einsum, domain=REAL, view=True,
           cases=(case("ij,jk", (2, 3), (3, 2)), case("ii->i", (3, 3)), case("ii", (3, 3)), case("ij->", (2, 3)),
                  case("...ij,...jk->...ik", (4, 2, 3), (3, 2)), case("i,j,k->kij", (2,), (3,), (2,)),
                  case("ii,ij,k->kj", (2, 2), (2, 3), (2,)), case("ij,ij->j", (2, 3), (2, 3)),
                  case("i,i", (1,), (3,)), case((2, 3), [0, 1], (3, 2), [1, 2], [2, 0])))
def einsum(*operands: Any, optimize: Any = False) -> Any:
    """Einstein's summation over any number of operands, as `np.einsum`; `optimize` may be a path."""
    labels, output, arrays = _parsed(operands)
    if not {*"".join(labels)}.issuperset(output) or len({*output}) < len(output):
        raise ValueError("ad.einsum: the output has a label that no operand has, or one twice")
    if not all(map(_has_diagonals, labels, arrays)):
        raise ValueError("ad.einsum: the axes of a label that an operand has twice differ in length")
    if len(arrays) == 1:
        return rearrange(arrays[0], f"{labels[0]}->{output}")
    for pair in _path(labels, output, arrays, optimize):
        (a, x1), (b, x2) = [(labels.pop(k), arrays.pop(k)) for k in sorted(pair, reverse=True)]
        rest = set(output).union(*labels)
        a, x1 = _summed(a, x1, rest.union(b))
        b, x2 = _summed(b, x2, rest.union(a))
        kept = "".join(label for label in dict.fromkeys(a + b) if label in rest) if labels else output
        labels.append(kept)
        arrays.append(contract(x1, x2, f"...{a},...{b}->...{kept}"))
    return arrays[0]


def _has_diagonals(labels: Any, x: Any) -> bool:
    """Whether the axes under the same label are of the same length."""
    if len({*labels}) == len(labels):
        return True
    size = dict(zip(labels, x.shape))
    return all(size[label] == n for label, n in zip(labels, x.shape))


def _summed(labels: Any, x: Any, wanted: Any) -> Any:
    """`x` summed over what appears in it alone, with every label once."""
    kept = "".join(label for label in dict.fromkeys(labels) if label in wanted)
    return (labels, x) if kept == labels else (kept, rearrange(x, f"{labels}->{kept}"))


def _path(labels: Any, output: Any, arrays: Any, optimize: Any) -> Any:
    """The pairs to contract, one after the other."""
    if len(arrays) == 2:
        return [(0, 1)]
    if not isinstance(optimize, (list, tuple)):
        optimize = "greedy"
    shapes = [np.broadcast_to(0.0, x.shape) for x in arrays]
    path = np.einsum_path(f"{','.join(labels)}->{output}", *shapes, optimize=optimize)[0][1:]
    if all(len(step) == 2 for step in path):
        return path
    return [(0, 1)] + [(0, n - 1) for n in range(len(arrays) - 1, 1, -1)]


def _parsed(operands: Any) -> tuple[Any, Any, Any]:
    """The labels of each operand, those of the output, and the operands; no ellipsis left."""
    if isinstance(operands[0], str):
        joined, arrow, output = operands[0].replace(" ", "").partition("->")
        inputs, arrays = joined.split(","), [operand(x) for x in operands[1:]]
    else:
        arrow = "->" if len(operands) % 2 else ""
        output = _letters(operands[-1]) if arrow else ""
        arrays = [operand(x) for x in operands[: len(operands) - len(operands) % 2 : 2]]
        inputs = [_letters(sublist) for sublist in operands[1::2]]
    if len(inputs) != len(arrays):
        raise ValueError(f"ad.einsum: the subscripts are for {len(inputs)} operands, and {len(arrays)} are given")
    used = set("".join(inputs)) | set(output)
    if not used <= LETTERS and not all(LETTERS.issuperset(part.replace("...", "", 1)) for part in (*inputs, output)):
        raise ValueError("ad.einsum: the subscripts are letters, and an ellipsis at most for each operand")
    spare = [label for label in string.ascii_letters if label not in used]
    widths = [x.ndim - len(part.replace("...", "")) for part, x in zip(inputs, arrays)]
    for part, x, width in zip(inputs, arrays, widths):
        if width < 0 or width and "..." not in part:
            raise ValueError(f"ad.einsum: the subscripts {part!r} do not fit an operand of shape {x.shape}")
    widest = builtins.max(widths)
    spelt = ["".join(spare[:widest])[widest - width :] for width in widths]
    labels = [part.replace("...", own) for part, own in zip(inputs, spelt)]
    if arrow and widest and "..." not in output:
        raise ValueError("ad.einsum: the output has no ellipsis, and the operands have axes for one")
    if not arrow:
        joined = "".join(inputs).replace("...", "")
        output = "..." + "".join(sorted(label for label in set(joined) if joined.count(label) == 1))
    return labels, output.replace("...", "".join(spare[:widest])), arrays


def _letters(sublist: Any) -> Any:
    """The letters that stand for the numbers of a sublist, in the same order."""
    letters = string.ascii_uppercase + string.ascii_lowercase
    return "".join("..." if label is Ellipsis else letters[label] for label in sublist)
