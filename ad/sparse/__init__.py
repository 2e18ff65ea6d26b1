"""Sparse Jacobians and Hessians: their patterns, found from a recording, and their values as SciPy's sparse arrays."""
from ad.sparse.coloring import Coloring
from ad.sparse.functions import (
    color,
    hessian,
    hessian_pattern,
    hvp,
    jacobian,
    jacobian_pattern,
    value_and_hessian,
    value_and_jacobian,
)
from ad.sparse.lagrangians import Lagrangian, lagrangian
from ad.sparse.patterns import Pattern, pattern
from ad.sparse.picture import spy

__all__ = [
    "Coloring", "Lagrangian", "Pattern", "color", "hessian", "hessian_pattern", "hvp", "jacobian", "jacobian_pattern",
    "lagrangian", "pattern", "spy", "value_and_hessian", "value_and_jacobian",
]
