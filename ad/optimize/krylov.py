"""Exact Jacobian-vector products for SciPy's Newton-Krylov solver, which takes differences of the function."""
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.optimize import KrylovJacobian
from scipy.sparse.linalg import LinearOperator

from ad.optimize.functions import Vector
from ad.transforms import linearize

__all__ = ["with_exact_products"]


def with_exact_products(f: Callable[[Any], Any], options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return options for scipy.optimize.root(method="krylov") with which it uses the derivative of `f`.

    Parameters
    ----------
    f : callable
        A function of the flat vector, an ndarray or an Array.
    options : dict or None
        The user's. With an `rdiff` in their `jac_options`, the step of differences, they are returned as they are.
    """
    found = dict(options or {})
    given = dict(found.get("jac_options") or {})
    if "rdiff" not in given:
        configured = KrylovJacobian(**given)
        if "prepend_outer_v" in configured.method_kw and "inner_prepend_outer_v" not in given:
            # lgmres takes steps of former iterations first by SciPy's default, and stops when a product adds nothing
            # new: if two such steps are parallel, that is at once, except for the rounding errors of differences
            configured.method_kw["prepend_outer_v"] = False
        exact = _ExactProducts(f, configured)
        found["jac_options"] = {"method": exact.solve, "inner_M": exact}
    return found


class _ExactProducts:
    """What SciPy's KrylovJacobian takes for a solver of its linear systems, and for an object that follows x.

    Parameters
    ----------
    f : callable
    configured : scipy.optimize.KrylovJacobian
        Has the solver that the user asks for, and its arguments.
    """

    def __init__(self, f: Callable[[Any], Any], configured: Any) -> None:
        self.f, self.configured = f, configured
        self.x: Any = None
        self.linear: Any = None

    # SciPy calls these two of a preconditioner

    def setup(self, x: Vector, y: Vector, function: Callable[..., Any]) -> None:
        self._move(x)
        if hasattr(self.configured.preconditioner, "setup"):
            self.configured.preconditioner.setup(x, y, function)

    def update(self, x: Vector, y: Vector) -> None:
        self._move(x)
        if hasattr(self.configured.preconditioner, "update"):
            self.configured.preconditioner.update(x, y)

    def _move(self, x: Vector) -> None:
        self.x, self.linear = np.array(x), None

    def product(self, v: Vector) -> Vector:
        """Return the Jacobian at x times a vector; f is recorded once for all products at a point."""
        if self.linear is None:
            self.linear = linearize(self.f, self.x)[1]
        return np.asarray(self.linear(np.ravel(v)))

    def solve(self, operator: Any, right: Vector, rtol: float = 1e-5, **_ours: Any) -> tuple[Vector, int]:
        """Solve a linear system with the Jacobian in the place of SciPy's operator, and with the user's settings."""
        jacobian = LinearOperator(operator.shape, self.product, dtype=np.float64)
        settings = {"rtol": rtol} | self.configured.method_kw
        solution: tuple[Vector, int] = self.configured.method(jacobian, right, **settings)
        return solution
