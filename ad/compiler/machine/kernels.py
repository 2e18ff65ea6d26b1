"""The ops that the machine has kernels for, by the op itself: an op of someone else may have the same name."""
import numpy as np

from ad.compiler.machine.loops import KERNEL_ARITIES, has_loop
from ad.engine.graph import Op
from ad.ops.nondifferentiable import nondifferentiable_op
from ad.ops.table import TABLE, ops_named
from ad.ops.traits import traits_of

__all__ = ["COMPARISONS", "KERNELS", "PAIRS", "SCALAR_CODES", "has_loop"]

COMPARISONS: dict[Op, str] = {nondifferentiable_op(getattr(np, name)): name for name in (
    "less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_not")}
# Op -> kernel. Kernels whose names are not in the table serve two ops in one, or an op with a constant operand.
KERNELS: dict[Op, str] = {op: name for name in KERNEL_ARITIES if name in TABLE for op in ops_named(name)} | COMPARISONS
KERNELS |= dict.fromkeys(ops_named("fabs"), "absolute")
# Op -> scalar instruction, for the ops that have no kernel on n elements.
SCALAR_CODES: dict[Op, str] = {op: op.name for op in ops_named("exp log tanh power")}


def _pairs() -> dict[tuple[str, str, int], str]:
    """Read from the names of the kernels which of them are two in one.

    The keys are the first kernel, the second, and the input of the second that the first computes.
    """
    pairs: dict[tuple[str, str, int], str] = {}
    for name in KERNEL_ARITIES:
        first, _, second = name.partition("_then_")
        op, _, side = second.partition("_")
        if second:
            operands = (0, 1) if traits_of(ops_named(op)[0]).commutative else (1,) if side else (0,)
            for factors in ("multiply", "square") if first == "multiply" else (first,):
                pairs |= {(factors, op, k): name for k in operands}
    return pairs


PAIRS = _pairs()
