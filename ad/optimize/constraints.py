"""Bounds and constraints in SciPy's forms, as vectors of bounds and one function of the flat vector."""
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import BFGS, Bounds, LinearConstraint, NonlinearConstraint

from ad import trees
from ad._core import Array
from ad.errors import IndependentWarning, kind
from ad.optimize.functions import Vector, differentiable_call
from ad.optimize.packing import Packing
from ad.transforms.differentiated_call import Function

__all__ = ["Constraint", "Constraints", "VariableBounds", "listed", "own_derivative"]

Given: TypeAlias = dict[str, Any] | NonlinearConstraint | LinearConstraint


@dataclass
class Constraint:
    """One constraint of the user's: `lower <= function(x) <= upper`, or `lower <= matrix @ x <= upper`.

    Attributes
    ----------
    name : str
        What errors call it: "constraint 2 of 3".
    function : callable or None
        A function of a container like `x0`; None for a linear constraint.
    matrix : scipy.sparse.csr_array or None
    lower, upper : ndarray
    keep_feasible : ndarray of bool
    start : int
        The first of its rows among those of all constraints.
    """

    name: str
    function: Function | None
    matrix: Any
    lower: Vector
    upper: Vector
    keep_feasible: NDArray[np.bool_]
    start: int = 0

    @property
    def size(self) -> int:
        return self.lower.size

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + self.size)


class Constraints:
    """All constraints of a problem, in the order given.

    Parameters
    ----------
    packing : Packing
    given : dict, NonlinearConstraint, LinearConstraint, sequence of them, or None
    x : ndarray
        The flat vector at which the functions are called for the shapes of what they return.
    differences : str
        How the user gets finite differences, for errors; empty if not at all.

    Attributes
    ----------
    m : int
        The number of rows.
    lower, upper : ndarray
    nonlinear_rows : ndarray of int
        The rows of the constraints that are functions.
    """

    def __init__(self, packing: Packing, given: Any, x: Vector, differences: str) -> None:
        self.packing, self.differences = packing, differences
        constraints = listed(packing, given)
        self.each = [self._read(c, f"constraint {i + 1} of {len(constraints)}", x) for i, c in enumerate(constraints)]
        ends = np.cumsum([0, *(c.size for c in self.each)]).tolist()
        for c, start in zip(self.each, ends):
            c.start = start
        self.m = ends[-1]
        self.lower = np.concatenate([np.empty(0), *(c.lower for c in self.each)])
        self.upper = np.concatenate([np.empty(0), *(c.upper for c in self.each)])
        self.nonlinear = [c for c in self.each if c.function is not None]
        self.nonlinear_rows = np.concatenate(
            [np.empty(0, np.intp), *(np.arange(c.rows.start, c.rows.stop) for c in self.nonlinear)])

    @property
    def has_functions(self) -> bool:
        """Whether there are rows that are not linear."""
        return self.nonlinear_rows.size > 0

    @property
    def are_functions(self) -> bool:
        """Whether no row is linear."""
        return bool(self.nonlinear_rows.size == self.m)

    # -- reading

    def _read(self, c: Given, name: str, x: Vector) -> Constraint:
        if isinstance(c, LinearConstraint):
            return self._linear(c, name)
        own = own_derivative(c)
        if own:
            raise ValueError(f"{self.packing.caller}: {name} has {own}, which this method does not use: its "
                             "derivatives are exact and sparse; leave it out, or make the function an op with rules of "
                             "your own (ad.ops.custom)")
        if isinstance(c, NonlinearConstraint):
            function, lower, upper, keep = c.fun, c.lb, c.ub, c.keep_feasible
        else:
            function, lower, upper, keep = _function_of(c), 0.0, 0.0 if c["type"] == "eq" else np.inf, False
        size = self._first_values(function, name, x)
        return Constraint(name, function, None, *self._limits(lower, upper, keep, size, name))

    def _linear(self, c: LinearConstraint, name: str) -> Constraint:
        matrix = c.A if sparse.issparse(c.A) else np.atleast_2d(np.asarray(c.A, np.float64))
        matrix = sparse.csr_array(matrix, dtype=np.float64)
        if matrix.shape[1] != self.packing.n:
            raise self._error(f"the matrix of {name} has {matrix.shape[1]} columns, and x0 has {self.packing.n} "
                              "elements")
        if not np.isfinite(matrix.data).all():
            raise self._error(f"the matrix of {name} has an element that is not finite")
        matrix.sum_duplicates()
        return Constraint(name, None, matrix,
                          *self._limits(c.lb, c.ub, c.keep_feasible, matrix.shape[0], name))

    def _limits(self, lower: Any, upper: Any, keep: Any, size: int,
                name: str) -> tuple[Vector, Vector, NDArray[np.bool_]]:
        low = self._limit(lower, f"the lower bound of {name}", size, np.inf)
        high = self._limit(upper, f"the upper bound of {name}", size, -np.inf)
        crossed = np.flatnonzero(low > high)
        if crossed.size:
            i = crossed[0]
            raise self._error(f"the lower bound of {name} is above the upper one in element {i}: {low[i]} > {high[i]}")
        return low, high, np.array(np.broadcast_to(np.ravel(np.asarray(keep, bool)), size))

    def _limit(self, bound: Any, what: str, size: int, impossible: float) -> Vector:
        values = np.ravel(np.asarray(bound, np.float64))
        if values.size not in (1, size):
            raise self._error(f"{what} has {_numbers(values.size)}, and the constraint has {size}")
        values = np.array(np.broadcast_to(values, size))
        bad = np.flatnonzero(np.isnan(values) | (values == impossible))
        if bad.size:
            none = "np.inf" if impossible < 0 else "-np.inf"
            raise self._error(f"{what} is {values[bad[0]]} in element {bad[0]}; give a number, or {none} for none")
        return values

    def _first_values(self, function: Function, name: str, x: Vector) -> int:
        """Return how many numbers a constraint has, and check them at the start."""
        values = self._flat(function, name, x)
        if values.dtype.kind not in "biuf":
            remedy = "return its real part, or abs()" if values.dtype.kind == "c" else "return numbers"
            raise TypeError(f"{self.packing.caller}: {name} returned values of dtype {values.dtype}; {remedy}")
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise self._error(f"{name} is {values[bad[0]]} in element {bad[0]} of {values.size} at x0; start where it "
                              "is finite")
        return int(values.size)

    def _error(self, message: str) -> ValueError:
        return ValueError(f"{self.packing.caller}: {message}")

    # -- what the solvers ask for

    def _flat(self, function: Function, name: str, x: Any) -> Any:
        """Call a constraint at a flat vector, an ndarray or an Array; return what it returns as a flat vector."""
        returned = differentiable_call(self.packing.caller, function, self.packing.unpack(x), name, self.differences)
        leaves = trees.flatten(returned)[0]
        if not leaves:
            found = ("None: is there a return missing?" if returned is None else
                     "nothing; return an array, or a container of arrays")
            raise TypeError(f"{self.packing.caller}: {name} returned {found}")
        rows = [np.reshape(leaf, -1) for leaf in leaves]
        return rows[0] if len(rows) == 1 else np.concatenate(rows)

    def functions(self, x: Any) -> Any:
        """Return the values of the nonlinear constraints at a flat vector, an ndarray or an Array."""
        rows = [self._checked(c, x) for c in self.nonlinear]
        return rows[0] if len(rows) == 1 else np.concatenate(rows)

    def _checked(self, c: Constraint, x: Any) -> Any:
        assert c.function is not None
        values = self._flat(c.function, c.name, x)
        if values.size != c.size:
            raise self._error(f"{c.name} returned {_numbers(c.size)} at x0, and {values.size} at another x; it has to "
                              "return as many at every x")
        if isinstance(x, Array) and not isinstance(values, Array) and c.size:
            warnings.warn(f"ad: {c.name} does not depend on x: its rows of the Jacobian are zero", IndependentWarning,
                          stacklevel=2)
        return values if values.dtype.kind == "f" else values.astype(np.float64)

    def values(self, nonlinear: Vector | None, x: Vector) -> Vector:
        """Return the values of all rows, given those of the nonlinear ones."""
        if nonlinear is not None and self.are_functions:
            return nonlinear
        values = np.empty(self.m)
        if nonlinear is not None:
            values[self.nonlinear_rows] = nonlinear
        for c in self.each:
            if c.matrix is not None:
                values[c.rows] = c.matrix @ x
        return values

    def violation(self, values: Vector) -> float:
        """Return by how much the values are outside of their bounds, at most."""
        return _violation(self.lower, values, self.upper)

    def split(self, values: Any) -> list[Any]:
        """Return the part of each constraint, in the order given, of something with a row for each number."""
        return [values[c.rows] for c in self.each]


def listed(packing: Packing, given: Any) -> list[Given]:
    """Return constraints as a list of those of SciPy's forms."""
    if given is None:
        return []
    if isinstance(given, (dict, NonlinearConstraint, LinearConstraint)):
        given = [given]
    constraints = list(given) if isinstance(given, Iterable) else [given]
    for c in constraints:
        if isinstance(c, dict):
            if not callable(c.get("fun")) or c.get("type") not in ("eq", "ineq"):
                raise ValueError(f"{packing.caller}: a constraint is {c!r}; write {{'type': 'eq' or 'ineq', 'fun': "
                                 "function}")
        elif not isinstance(c, (NonlinearConstraint, LinearConstraint)):
            raise TypeError(f"{packing.caller}: a constraint is {kind(c)}; give a dict, or SciPy's NonlinearConstraint "
                            "or LinearConstraint (bounds of the variables are given as bounds)")
        elif isinstance(c, NonlinearConstraint) and not callable(c.fun):
            raise TypeError(f"{packing.caller}: the function of a NonlinearConstraint is {kind(c.fun)}")
    return constraints


def own_derivative(c: Given) -> str | None:
    """Return what a constraint has of its own in the place of an exact derivative, if anything, for a message."""
    if isinstance(c, dict):
        return "a jac of its own" if c.get("jac") is not None else None
    if not isinstance(c, NonlinearConstraint):
        return None
    if callable(c.jac) or c.jac != "2-point":
        return f"jac={c.jac!r}" if isinstance(c.jac, str) else "a jac of its own"
    return None if type(c.hess) is BFGS else "a hess of its own"


def _function_of(c: dict[str, Any]) -> Function:
    function, args = c["fun"], c.get("args", ())
    return (lambda x: function(x, *args)) if args else function


def _numbers(n: int) -> str:
    return f"{n} number{'s' * (n != 1)}"


def _violation(lower: Vector, values: Vector, upper: Vector) -> float:
    if not values.size:
        return 0.0
    return max(0.0, float(np.max(lower - values)), float(np.max(values - upper)))


class VariableBounds:
    """Lower and upper bounds of the elements of the flat vector.

    Parameters
    ----------
    packing : Packing
    given : scipy.optimize.Bounds, sequence of pairs, container like `x0`, or None
    """

    def __init__(self, packing: Packing, given: Any) -> None:
        n = packing.n
        self.packing, self.are_given = packing, given is not None
        if self.are_given and not isinstance(given, Bounds) and not hasattr(given, "__len__"):
            raise self._error(f"bounds is {kind(given)}; give SciPy's Bounds, or a (low, high) pair for each element")
        bounds = packing.bounds(given)
        if bounds is None:
            bounds = Bounds(np.full(n, -np.inf), np.full(n, np.inf))
        elif not isinstance(bounds, Bounds):
            bounds = self._of_pairs(bounds)
        self.lower, self.upper = self._full(bounds.lb, "lower"), self._full(bounds.ub, "upper")
        self.keep_feasible = np.array(np.broadcast_to(np.ravel(np.asarray(bounds.keep_feasible, bool)), n))
        self._check()

    def _of_pairs(self, pairs: Any) -> Bounds:
        pairs = list(pairs)
        if len(pairs) != self.packing.n:
            raise self._error(f"there are {len(pairs)} pairs of bounds, and x0 has {self.packing.n} elements")
        for i, pair in enumerate(pairs):
            if not isinstance(pair, (tuple, list, np.ndarray)) or len(pair) != 2:
                raise self._error(f"bounds[{i}] is {pair!r}; give a (low, high) pair of numbers, or None for no bound")
        return Bounds([-np.inf if low is None else low for low, _ in pairs],
                      [np.inf if high is None else high for _, high in pairs])

    def _full(self, bound: Any, which: str) -> Vector:
        values = np.ravel(np.asarray(bound, np.float64))
        if values.size not in (1, self.packing.n):
            raise self._error(f"there are {values.size} {which} bounds, and x0 has {self.packing.n} elements")
        return np.array(np.broadcast_to(values, self.packing.n))

    def _check(self) -> None:
        for i in np.flatnonzero(~(self.lower <= self.upper) | (self.lower == np.inf) | (self.upper == -np.inf))[:1]:
            raise self._error(f"the bounds of {self.packing.name(i)} are {self.lower[i]} and {self.upper[i]}; the "
                              "lower one has to be at most the upper one, and neither may be NaN, nor infinite on the "
                              "wrong side")

    def _error(self, message: str) -> ValueError:
        return ValueError(f"{self.packing.caller}: {message}")

    def nearest(self, x: Vector) -> Vector:
        """Return the nearest point within the bounds."""
        return np.clip(x, self.lower, self.upper)

    def violation(self, x: Vector) -> float:
        """Return by how much a point is outside, at most."""
        return _violation(self.lower, x, self.upper) if self.are_given else 0.0
