"""The ops that the machine has loops of its own for. It knows them by the op: another may have the same name."""
import numpy as np

from ad.compiler.machine.vm import SIMPLE, has_loop
from ad.ops import TABLE
from ad.ops.nondifferentiable import nondifferentiable_op

__all__ = ["COMPARISONS", "KERNELS", "SCALAR_CODES", "has_loop"]

COMPARISONS = {nondifferentiable_op(getattr(np, name)): name for name in (
    "less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_not")}
# Op -> the name of its kernel; those that are in no table are made of two ops, or of one with a constant.
KERNELS = {TABLE[name].op: name for name in SIMPLE if name in TABLE} | COMPARISONS
# Op -> the name of what scalar code has beyond the kernels.
SCALAR_CODES = {TABLE[name].op: name for name in ("exp", "log", "tanh", "power")}
