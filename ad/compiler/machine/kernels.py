"""The ops that the machine has kernels for, by the op itself: an op of someone else may have the same name."""
import numpy as np

from ad.compiler.ir.table import ops_named
from ad.compiler.machine.loops import KERNEL_ARITIES, has_loop
from ad.engine.graph import Op
from ad.ops import TABLE
from ad.ops.nondifferentiable import nondifferentiable_op

__all__ = ["COMPARISONS", "KERNELS", "SCALAR_CODES", "has_loop"]


COMPARISONS: dict[Op, str] = {nondifferentiable_op(getattr(np, name)): name for name in (
    "less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_not")}
# Op -> kernel. Kernels whose names are not in the table serve two ops in one, or an op with a constant operand.
KERNELS: dict[Op, str] = {op: name for name in KERNEL_ARITIES if name in TABLE for op in ops_named(name)} | COMPARISONS
KERNELS |= dict.fromkeys(ops_named("fabs"), "absolute")
# Op -> scalar instruction, for the ops that have no kernel on n elements.
SCALAR_CODES: dict[Op, str] = {op: op.name for op in ops_named("exp log tanh power")}
