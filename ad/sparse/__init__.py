"""Sparse Jacobians and Hessians: their patterns, found from a recording, and their values as SciPy's sparse arrays."""
from ad.sparse.functions import (
    hessian,
    hessian_pattern,
    jacobian,
    jacobian_pattern,
    value_and_hessian,
    value_and_jacobian,
)
from ad.sparse.lagrangian import Lagrangian, lagrangian
from ad.sparse.pattern import Pattern, pattern

__all__ = [
    "Lagrangian", "Pattern", "hessian", "hessian_pattern", "jacobian", "jacobian_pattern", "lagrangian", "pattern",
    "value_and_hessian", "value_and_jacobian",
]
