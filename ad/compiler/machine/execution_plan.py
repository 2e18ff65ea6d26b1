"""The execution plan of a graph: `memory_plan` makes it, a `vm.Machine` follows it.

A place in memory is a base and an offset in elements. Base REGISTERS holds single numbers. BUFFERS is the arena of the
arrays that outlive their step; its memory is reused after their last reader. SCRATCH holds the blocks of the arrays
that do not outlive their step. Every other base is an ndarray: an input, a constant, an argument or result of a call,
or an output.
"""
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ad.engine.graph import Aval, Op

__all__ = [
    "ARRAYS", "BUFFERS", "REGISTERS", "SCRATCH", "AddAtLoop", "AddSliceLoop", "AddViewLoop", "BufferSpec", "Constant",
    "ExecutionPlan", "Float64Array", "GatherLoop", "KernelLoop", "Loop", "LoopGroup", "Matrix", "MatrixProduct",
    "NumpyLoop", "OpaqueCall", "OtherValue", "PlanInput", "PlanOutput", "Ref", "Register", "ScalarCode",
    "ScalarInstruction", "Source", "Span", "Step", "StridedArray", "SumLoop", "TakeLoop",
]

REGISTERS, BUFFERS, SCRATCH, ARRAYS = range(4)


class Source(Enum):
    """Where an ndarray of a run comes from."""

    INPUT = "input"
    CONSTANT = "constant"
    ALLOCATED = "allocated"  # by the machine
    RETURNED = "returned"    # by an opaque call


class BufferSpec(NamedTuple):
    """A base that is an ndarray; `value` is that of a constant."""

    source: Source
    shape: tuple[int, ...]
    value: NDArray[np.float64] | None = None


# -- operands --------------------------------------------------------------------------------------


class Register(NamedTuple):
    """A float64 number in a register. An argument of a call is that number broadcast to `shape`."""

    register: int
    shape: tuple[int, ...] = ()


class Float64Array(NamedTuple):
    """A float64 base in C order. As an output, one that the machine has allocated."""

    base: int


class OtherValue(NamedTuple):
    """A base that holds any other value. As an output, it is copied unless nothing else refers to it."""

    base: int


class StridedArray(NamedTuple):
    """A strided view of a base."""

    base: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Constant(NamedTuple):
    """A value known when the plan is made."""

    value: Any


class PlanInput(NamedTuple):
    place: Register | Float64Array | OtherValue
    aval: Aval


class PlanOutput(NamedTuple):
    place: Register | Float64Array | OtherValue | Constant
    aval: Aval


class Span(NamedTuple):
    """Elements offset, ..., offset + n - 1 of a base."""

    base: int
    offset: int
    n: int


# -- loops -----------------------------------------------------------------------------------------


class Ref(NamedTuple):
    """An operand of a loop: element i of the iteration is element offset + i * step of the base; step is 0 or 1."""

    base: int
    offset: int
    step: int


class KernelLoop(NamedTuple):
    """out = kernel(*inputs), by a kernel of `loops.h`."""

    kernel: str
    out: Ref
    inputs: tuple[Ref, ...]


class NumpyLoop(NamedTuple):
    """out = op(*inputs), by NumPy's inner loop of the op."""

    op: Op
    out: Ref
    inputs: tuple[Ref, ...]


class GatherLoop(NamedTuple):
    """Copy the elements of a strided view to `out`."""

    out: Ref
    view: StridedArray
    inputs: tuple[Ref, ...] = ()


class TakeLoop(NamedTuple):
    """Copy those elements of a base to `out` that have these indices, relative to `offset`."""

    out: Ref
    base: int
    offset: int
    indices: NDArray[np.int32]
    inputs: tuple[Ref, ...] = ()


class AddViewLoop(NamedTuple):
    """Add the one input to the elements of a strided view."""

    inputs: tuple[Ref, ...]
    view: StridedArray
    out: None = None


class AddAtLoop(NamedTuple):
    """Add the one input to those elements of a base that have these indices, relative to `offset`."""

    inputs: tuple[Ref, ...]
    base: int
    offset: int
    indices: NDArray[np.int32]
    out: None = None


class AddSliceLoop(NamedTuple):
    """Add to `out`, a slice of an array and the last input, the first input or the product of the first two.

    `halo` is the number of elements by which this slice begins before the last of those added to the same array.
    """

    out: Ref
    inputs: tuple[Ref, ...]
    halo: int


class SumLoop(NamedTuple):
    """Add all elements of the one input to the total with this index."""

    inputs: tuple[Ref, ...]
    total: int
    out: None = None


Loop = KernelLoop | NumpyLoop | GatherLoop | TakeLoop | AddViewLoop | AddAtLoop | AddSliceLoop | SumLoop


# -- steps -----------------------------------------------------------------------------------------


class ScalarInstruction(NamedTuple):
    """An instruction of scalar code, as `loops.h` describes it; `op` is the op of a "loop"."""

    opcode: str
    out: int
    a: int = 0
    b: int = 0
    c: int = 0
    op: Op | None = None


class ScalarCode(NamedTuple):
    """Instructions on registers, after the elements in `zeros` have been cleared."""

    zeros: list[Span]
    code: list[ScalarInstruction]


class LoopGroup(NamedTuple):
    """Loops over n elements, which run one block of elements after another.

    `sums` gives the element for each total. Threads may begin at multiples of `align`.
    """

    zeros: list[Span]
    n: int
    block: int
    loops: list[Loop]
    sums: list[Span]
    align: int


class Matrix(NamedTuple):
    """Element (i, j) is element offset + i * row + j * column of a base."""

    base: int
    offset: int
    row: int
    column: int


class MatrixProduct(NamedTuple):
    """out = a b; `sizes` is (m, k, n) for an m x k and a k x n matrix."""

    sizes: tuple[int, int, int]
    a: Matrix
    b: Matrix
    out: Matrix


class OpaqueCall(NamedTuple):
    """results = op.fn(*args, *params), a call into Python."""

    op: Op
    params: tuple[Any, ...]
    args: list[Constant | Register | Float64Array | OtherValue | StridedArray]
    results: list[Register | Float64Array | OtherValue]


Step = ScalarCode | LoopGroup | MatrixProduct | OpaqueCall


class ExecutionPlan(NamedTuple):
    """All that a machine has to know of a graph.

    Attributes
    ----------
    n_registers : int
    register_constants : dict
        Register -> the constant that it holds.
    inputs : list of PlanInput
    arrays : list of BufferSpec
        By base, from ARRAYS on.
    arena_size, scratch_size : int
        Elements of the bases BUFFERS and SCRATCH.
    steps : list of Step
    allocate_before, free_after : list of list of int
        For each step the bases to allocate before it and to free after it.
    outputs : list of PlanOutput
    """

    n_registers: int
    register_constants: dict[int, float]
    inputs: list[PlanInput]
    arrays: list[BufferSpec]
    arena_size: int
    scratch_size: int
    steps: list[Step]
    allocate_before: list[list[int]]
    free_after: list[list[int]]
    outputs: list[PlanOutput]
