"""Costs of an instruction: operations on elements, and bytes of memory."""
import math
from collections.abc import Sequence

from ad.compiler.ir.graph import Graph, Instruction
from ad.compiler.ir.table import ops_named
from ad.engine.graph import Aval
from ad.ops.nondifferentiable import DETACHED

__all__ = ["bytes_moved", "operations"]

MATMUL, CONTRACT = ops_named("matmul contract")
MOVES = {DETACHED, *ops_named(
    "getitem put_zeros reshape broadcast_to transpose concatenate stack roll rearrange identity positive astype where "
    "conjugate real imag"
)}
# The factors of n log2(n).
TRANSFORMS = dict(zip(ops_named("fft ifft rfft irfft"), (5, 5, 2.5, 2.5), strict=True))
MATRIX = {*ops_named(
    "inv solve_matrix pinv det slogdet_parts cholesky_lower eigh_parts svd_parts qr_parts least_squares"
)}


def operations(graph: Graph, instruction: Instruction) -> int:
    """Return the number of operations on single elements that an instruction takes."""
    op, params, inputs, outputs, _ = instruction
    xs, size = [graph.avals[slot] for slot in inputs], sum([graph.avals[slot].size for slot in outputs])
    if op in MOVES:
        return 0
    if op is MATMUL:
        return 2 * size * xs[0].shape[-1]
    if op is CONTRACT:
        return 2 * size * _summed(params[0], xs)
    if op in TRANSFORMS:
        y, axis = graph.avals[outputs[0]], params[1]
        return round(TRANSFORMS[op] * max(xs[0].size, size) * math.log2(max(xs[0].shape[axis], y.shape[axis])))
    if op in MATRIX:
        return max([x.size * x.shape[-1] for x in xs])
    return size if op.form == "elementwise" else max([size, *[x.size for x in xs]])


def _summed(subscripts: str, xs: Sequence[Aval]) -> int:
    """Return the number of pairs of factors that a contraction sums for each element of its result."""
    factors, output = subscripts.split("->")
    sizes: dict[str, int] = {}
    for labels, x in zip(factors.split(","), xs):
        named = labels.replace("...", "")
        sizes.update(zip(reversed(named), reversed(x.shape)))
    return math.prod([n for label, n in sizes.items() if label not in output])


def bytes_moved(graph: Graph, instruction: Instruction) -> int:
    """Return the number of bytes that an instruction reads and writes.

    One that only moves elements reads as many as it writes.
    """
    written = sum([_bytes(graph.avals[slot]) for slot in instruction.outputs])
    if instruction.op in MOVES:
        return 2 * written
    return written + sum([_bytes(graph.avals[slot]) for slot in instruction.inputs])


def _bytes(aval: Aval) -> int:
    return aval.size * aval.dtype.itemsize
