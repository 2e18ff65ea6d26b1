"""The functions of a constrained problem with their sparse derivatives."""
from __future__ import annotations

import reprlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ad import trees
from ad.compiler.compile import compile
from ad.ops.joining import concatenate
from ad.ops.shaping import ravel
from ad.sparse.functions import SparseDerivative, hessian, jacobian
from ad.sparse.patterns import Pattern
from ad.transforms import value_and_grad

__all__ = ["Lagrangian", "lagrangian"]


class Lagrangian:
    """The functions of `minimize f(x) subject to c(x)`, with sparse derivatives: see `lagrangian`."""

    def __init__(self, f: Callable[..., Any], constraints: Callable[..., Any] | None, triangle: str | None) -> None:
        for name, given in (("f", f), ("constraints", _none if constraints is None else constraints)):
            if not callable(given):
                raise TypeError(f"ad.sparse.lagrangian: {name} has to be a function, not {reprlib.repr(given)}")
        self.f = f
        self._constraints = _none if constraints is None else lambda x: _flat(constraints(x))
        self.value_and_gradient = compile(value_and_grad(f))
        self._values = compile(self._constraints)
        self._jacobian: SparseDerivative = jacobian(self._constraints)
        self._hessian: SparseDerivative = hessian(self._weighted, triangle=triangle)

    def _weighted(self, x: Any, multipliers: Any, factor: Any) -> Any:
        values = self._constraints(x)
        if multipliers.shape != values.shape:
            raise ValueError(f"ad.sparse.lagrangian: multipliers of shape {multipliers.shape}, and constraints of "
                             f"shape {values.shape}; give one number for each constraint")
        return factor * self.f(x) + (multipliers * values).sum()

    def value(self, x: Any) -> float:
        """Return f(x)."""
        return float(self.value_and_gradient(x)[0])

    def gradient(self, x: Any) -> Any:
        """Return the gradient of f, like x."""
        return self.value_and_gradient(x)[1]

    def constraints(self, x: Any) -> NDArray[np.float64]:
        """Return c(x), flat: m numbers."""
        found: NDArray[np.float64] = self._values(x)
        return found

    def jacobian(self, x: Any, out: Any = None) -> Any:
        """Return the Jacobian of c, of shape (m, n)."""
        return self._jacobian(x, out=out)

    def hessian(self, x: Any, multipliers: Any = (), factor: float = 1.0, out: Any = None) -> Any:
        """Return `factor` times the Hessian of f plus those of the constraints times their multipliers.

        Parameters
        ----------
        x
        multipliers : array_like
            One for each constraint; it is left out if there are none.
        factor : float
        out : optional
            An array that an earlier call returned, into which the values are written.
        """
        return self._hessian(x, np.asarray(multipliers, np.float64), np.asarray(factor, np.float64), out=out)

    def jacobian_pattern(self, x: Any) -> Pattern:
        """Return the structure of the Jacobian of c."""
        return self._jacobian.pattern(x)

    def hessian_pattern(self, x: Any) -> Pattern:
        """Return the structure of the Hessian, both triangles."""
        return self._hessian.pattern(x, np.ones(len(self.constraints(x))), np.ones(()))


def _none(x: Any) -> Any:
    return np.zeros(0)


def _flat(tree: Any) -> Any:
    leaves = [ravel(leaf) for leaf in trees.flatten(tree)[0]]
    return leaves[0] if len(leaves) == 1 else concatenate(leaves) if leaves else np.zeros(0)


def lagrangian(f: Callable[..., Any], constraints: Callable[..., Any] | None = None, *,
               triangle: str | None = "lower") -> Lagrangian:
    """Return the functions of a constrained problem, with the sparse derivatives that solvers take.

    Parameters
    ----------
    f : callable
        `f(x)` returns a real scalar.
    constraints : callable, optional
        `constraints(x)` returns an array, or a container of arrays: m numbers in all.
    triangle : {"lower", "upper"} or None
        Which entries of the Hessian are returned: those on and on one side of the diagonal, or all.

    Returns
    -------
    Lagrangian
        With the methods `value`, `gradient`, `constraints`, `jacobian` and `hessian`, of an x that is an array or a
        container of arrays.

    Examples
    --------
    >>> problem = ad.sparse.lagrangian(lambda x: np.sum(x ** 4), lambda x: x[1:] * x[:-1] - 1)
    >>> problem.hessian(np.ones(3), [1.0, 2.0]).toarray()
    array([[12.,  0.,  0.],
           [ 1., 12.,  0.],
           [ 0.,  2., 12.]])
    """
    return Lagrangian(f, constraints, triangle)
