"""The plan of a replay, as `layout.py` makes it and `_vm.pyx` follows it.

Places are told by base and offset (in elements). Base REGISTERS holds single numbers; BUFFERS the vectors that outlive
their step, reused when their last reader is done; SCRATCH the block of a vector that does not outlive it. Every other
base is an ndarray: an input, a constant, what a call reads or makes, an output.
"""
from typing import NamedTuple

__all__ = [
    "ARRAYS", "BUFFERS", "REGISTERS", "SCRATCH", "Array", "Call", "Group", "Layout", "Matrix", "Product", "Ref",
    "Scalars", "VectorOp",
]

REGISTERS, BUFFERS, SCRATCH, ARRAYS = range(4)


class Array(NamedTuple):
    """A base that is an ndarray: an "input" (its number), a "constant" (its value), "fresh", or "made" by a call."""

    kind: str
    value: object
    shape: tuple


class Ref(NamedTuple):
    """Where operand i of a loop is: element offset + i * step of a base."""

    base: int
    offset: int
    step: int


class VectorOp(NamedTuple):
    """One loop over a block.

    A "gather" reads `view`, an "add_into" adds to it: (base, offset, shape, strides). A "take" and an "add_at" do so by
    the numbers in `op`. Else that is the Op of a "loop", the number of a "sum", and the lag of an "add_part" (see
    `_loops.h`), whose inputs are a value, or the factors of one, and what it is added to.
    """

    name: str
    op: object
    out: Ref
    inputs: tuple
    view: tuple | None = None


class Scalars(NamedTuple):
    """Instructions (name, out, a, b, c, op), as `_loops.h` has them; `zeros`: (base, offset, n) to clear first."""

    zeros: list
    code: list


class Group(NamedTuple):
    """Loops over n elements, `block` at a time; `sums` gives the place of each sum: (base, offset, 1).

    Threads may begin at multiples of `align`.
    """

    zeros: list
    n: int
    block: int
    ops: list
    sums: list
    align: int


class Matrix(NamedTuple):
    """Element (i, j) is element offset + i * row + j * column of a base."""

    base: int
    offset: int
    row: int
    column: int


class Product(NamedTuple):
    """out = a b, of an m x k matrix and one of k x n; `zeros`: as in a Group."""

    zeros: list
    shape: tuple  # m, k, n
    a: Matrix
    b: Matrix
    out: Matrix


class Call(NamedTuple):
    """op.fn(*args, *params).

    Arguments: ("constant", value), ("array", base), ("register", register, shape), ("view", base, offset, shape,
    strides). Results: ("register", register), ("array", base) of float64, ("value", base) of anything else.
    """

    op: object
    params: tuple
    args: list
    results: list


class Layout(NamedTuple):
    """All of the plan.

    Attributes
    ----------
    registers : int
    presets : list of (int, float)
        Registers that hold constants.
    inputs : list
        For each input its base, or its register: ("array", base) or ("register", register).
    arrays : list of Array
        By base, from ARRAYS on.
    room, scratch : int
        Elements of the buffers and of the blocks.
    steps : list
    begins, ends : list of list of int
        For each step the arrays to allocate before it and to let go of after it.
    outputs : list
        ("register", register), ("array", base) for a fresh one, ("value", base) for one to copy unless nobody else has
        it, ("constant", value).
    input_avals, output_avals : list of Aval
    """

    registers: int
    presets: list
    inputs: list
    arrays: list
    room: int
    scratch: int
    steps: list
    begins: list
    ends: list
    outputs: list
    input_avals: list
    output_avals: list
