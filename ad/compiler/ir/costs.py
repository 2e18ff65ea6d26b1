"""Costs of an instruction: operations on elements, and bytes of memory."""
from ad.compiler.ir.graph import Graph, Instruction
from ad.engine.graph import Aval
from ad.ops.traits import traits_of

__all__ = ["bytes_moved", "operations"]


def operations(graph: Graph, instruction: Instruction) -> int:
    """Return the number of operations on single elements that an instruction takes."""
    op, params, inputs, outputs, _ = instruction
    traits = traits_of(op)
    if traits.moves:
        return 0
    xs, ys = [graph.avals[slot] for slot in inputs], [graph.avals[slot] for slot in outputs]
    if traits.operations is not None:
        return traits.operations(xs, ys, *params)
    size = sum([y.size for y in ys])
    return size if op.form == "elementwise" else max([size, *[x.size for x in xs]])


def bytes_moved(graph: Graph, instruction: Instruction) -> int:
    """Return the number of bytes that an instruction reads and writes.

    One that only moves elements reads as many as it writes.
    """
    written = sum([_bytes(graph.avals[slot]) for slot in instruction.outputs])
    if traits_of(instruction.op).moves:
        return 2 * written
    return written + sum([_bytes(graph.avals[slot]) for slot in instruction.inputs])


def _bytes(aval: Aval) -> int:
    return aval.size * aval.dtype.itemsize
