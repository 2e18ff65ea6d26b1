"""Costs: what running an instruction takes, in operations on elements and bytes of memory."""
import math

from ad.ops.forms import TABLE
from ad.ops.nondifferentiable import DETACHED

__all__ = ["bytes_moved", "operations"]


def _ops(names):
    return [TABLE[name].op for name in names.split()]


MATMUL, CONTRACT = _ops("matmul contract")
MOVES = {DETACHED, *_ops(
    "getitem put_zeros reshape broadcast_to transpose concatenate stack roll rearrange identity positive astype where "
    "conjugate real imag"
)}
# times n log n, with the logarithm to base 2
TRANSFORMS = dict(zip(_ops("fft ifft rfft irfft"), (5, 5, 2.5, 2.5), strict=True))
MATRIX = {*_ops("inv solve_matrix pinv det slogdet_parts cholesky_lower eigh_parts svd_parts qr_parts least_squares")}


def operations(program, instruction):
    """How many operations on single elements an instruction is."""
    op, params, inputs, outputs, _ = instruction
    xs, size = [program.avals[slot] for slot in inputs], sum([program.avals[slot].size for slot in outputs])
    if op in MOVES:
        return 0
    if op is MATMUL:
        return 2 * size * xs[0].shape[-1]
    if op is CONTRACT:
        return 2 * size * _summed(params[0], xs)
    if op in TRANSFORMS:
        y, axis = program.avals[outputs[0]], params[1]
        return round(TRANSFORMS[op] * max(xs[0].size, size) * math.log2(max(xs[0].shape[axis], y.shape[axis])))
    if op in MATRIX:
        return max([x.size * x.shape[-1] for x in xs])
    return size if op.form == "elementwise" else max([size, *[x.size for x in xs]])


def _summed(subscripts, xs):
    """Over how many pairs of factors a contraction sums for each element."""
    factors, output = subscripts.split("->")
    sizes = {}
    for labels, x in zip(factors.split(","), xs):
        named = labels.replace("...", "")
        sizes.update(zip(reversed(named), reversed(x.shape)))
    return math.prod([n for label, n in sizes.items() if label not in output])


def bytes_moved(program, instruction):
    """How many bytes an instruction reads and writes; one that moves elements, those of its result twice."""
    written = sum([_bytes(program.avals[slot]) for slot in instruction.outputs])
    if instruction.op in MOVES:
        return 2 * written
    return written + sum([_bytes(program.avals[slot]) for slot in instruction.inputs])


def _bytes(aval):
    return aval.size * aval.dtype.itemsize
