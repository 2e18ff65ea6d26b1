"""`jacobian`, `hessian` and their like: functions that return sparse matrices of a fixed structure."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ad.compiler.tracing.call_signature import CallSignature
from ad.errors import not_a_function
from ad.sparse.direct import Direct
from ad.sparse.pattern import Pattern
from ad.sparse.pattern import pattern as pattern_of
from ad.sparse.recorded import Recorded, record_path, with_floats
from ad.sparse.structured import FORMATS, Structured
from ad.transforms import gradient_of

__all__ = [
    "SparseDerivative", "hessian", "hessian_pattern", "jacobian", "jacobian_pattern", "value_and_hessian",
    "value_and_jacobian",
]

Function = Callable[..., Any]
TRIANGLES = (None, "lower", "upper")


class SparseDerivative:
    """A function that returns a sparse Jacobian or Hessian: see `jacobian` and `hessian`."""

    def __init__(self, caller: str, f: Function, argnum: int, *, of_gradient: bool, with_outputs: bool, pattern: Any,
                 format: str, triangle: str | None = None) -> None:
        if not callable(f):
            raise not_a_function(caller, f)
        if format not in FORMATS:
            raise ValueError(f"ad.{caller}: format is one of {', '.join(map(repr, FORMATS))}, not {format!r}")
        if triangle not in TRIANGLES:
            raise ValueError(f"ad.{caller}: triangle is 'lower', 'upper' or None, not {triangle!r}")
        self.caller, self.f, self.argnum, self.format, self.triangle = caller, f, argnum, format, triangle
        self.of_gradient, self.with_outputs = of_gradient, with_outputs
        self.given = None if pattern is None else pattern_of(pattern)
        self._recorded_function = gradient_of(caller, f, argnum, False, True, False) if of_gradient else f
        self._paths: dict[Any, list[_Path]] = {}
        self._last: tuple[Any, ...] = (None, None, None)  # shape, dtype and path of a call with one array

    def __call__(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """Return the derivative at these arguments: see `jacobian` and `hessian`."""
        if len(args) == 1 and not kwargs and type(args[0]) is np.ndarray:
            shape, dtype, path = self._last
            if args[0].shape == shape and args[0].dtype == dtype:
                return path.result([args[0]], out)
        return self._found(args, kwargs, out)

    def pattern(self, *args: Any, **kwargs: Any) -> Pattern:
        """Return the structure of the result at these arguments."""
        args = with_floats(f"ad.{self.caller}", args, self.argnum)
        return self._structure(record_path(self._recorded_function, args, kwargs, self.argnum % len(args)))

    def _found(self, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
        args = with_floats(f"ad.{self.caller}", args, self.argnum)
        signature = CallSignature(args, kwargs)
        if signature.is_live:
            raise TypeError(f"ad.{self.caller}: an argument is being differentiated or recorded, and a sparse matrix "
                            "has no derivative; use ad.jacobian or ad.hessian there, or pass plain arrays")
        paths = self._paths.setdefault(signature.key, [])
        for path in paths:
            found = path.try_result(signature.values, out)
            if found is not None:
                return found
        path = self._new_path(args, kwargs, signature)
        paths.append(path)
        if len(args) == 1 and type(args[0]) is np.ndarray and not kwargs and path.is_simple:
            self._last = args[0].shape, args[0].dtype, path
        return path.result(signature.values, out)

    def _structure(self, recorded: Recorded) -> Pattern:
        """Return the pattern of the derivative of a path: the whole of it, without regard to the triangle."""
        found = recorded.pattern(int(self.of_gradient))
        if self.of_gradient:
            found = found & found.T  # a Hessian is symmetric: what is zero on one side is zero on the other
        if self.given is None:
            return found
        if self.given.shape != found.shape:
            raise ValueError(f"ad.{self.caller}: the pattern has shape {self.given.shape}, the derivative "
                             f"{found.shape}")
        if not found <= self.given:
            i, j = self.given.first_missing(found)
            raise ValueError(f"ad.{self.caller}: the pattern lacks entry ({i}, {j}), which may differ from zero; add "
                             "it, or leave the pattern out to have it found")
        return self.given

    def _new_path(self, args: tuple[Any, ...], kwargs: dict[str, Any], signature: CallSignature) -> _Path:
        recorded = record_path(self._recorded_function, args, kwargs, self.argnum % len(args))
        pattern = self._structure(recorded)
        if self.triangle:
            pattern = pattern.lower() if self.triangle == "lower" else pattern.T.lower().T
        skip = int(self.of_gradient)
        dtypes = [recorded.graph.avals[slot].dtype for slot in recorded.outputs[skip:]]
        floats = [dtype for dtype in dtypes if dtype.kind == "f"]
        dtype = np.result_type(np.float32, *floats) if floats else np.dtype(np.float64)
        structured = Structured(pattern, self.format, dtype)
        values = recorded.values(signature.values)
        work = sum(aval.size for aval in recorded.graph.avals)
        direct = Direct(recorded, values, structured, self.of_gradient, skip, self.with_outputs,
                        64 * work + 16 * pattern.nnz + 10_000)
        return _Path(recorded, structured, direct)


class _Path:
    """What a function does at some arguments, and how its derivative is computed there."""

    def __init__(self, recorded: Recorded, structured: Structured, values: Direct) -> None:
        self.recorded, self.structured, self.evaluator = recorded, structured, values
        self.is_simple = not recorded.guards and not recorded.variables

    def result(self, values: list[Any], out: Any) -> Any:
        """Return the result, which the guards must allow."""
        found = self.try_result(values, out)
        assert found is not None
        return found

    def try_result(self, values: list[Any], out: Any) -> Any:
        """Return the result; None if the function takes another path for these values."""
        matrix = self.structured.new() if out is None else out
        if out is not None:
            self.structured.check(out)
        outputs = self.evaluator.run(self.recorded.values(values), matrix.data)
        guards = self.recorded.guards
        n = len(outputs) - len(guards)
        if guards and not all(guard.holds(value) for guard, value in zip(guards, outputs[n:])):
            return None
        return matrix if not n else (self.recorded.results(outputs[:n]), matrix)


def jacobian(f: Function, argnum: int = 0, *, pattern: Any = None, format: str = "csr") -> SparseDerivative:
    """The Jacobian of a function, as a sparse matrix.

    The structure is found from a recording of the function; the values are exact, and computed by a program that is
    made at the first call. Each later call costs a few evaluations of `f`.

    Parameters
    ----------
    f : callable
        Returns an array, a number, or a container of arrays: m elements in all.
    argnum : int
        Which positional argument to differentiate with respect to: an array, a number or a container of arrays, with n
        elements in all.
    pattern : Pattern, scipy.sparse array or array_like, optional
        The structure of the result, if it shall have more entries than are found.
    format : {"csr", "csc", "coo"}

    Returns
    -------
    SparseDerivative
        Takes the arguments of `f`; returns a `scipy.sparse` array of shape (m, n). Rows are the elements of the leaves
        of the result, in order; columns those of the argument. The structure is that of all points at which `f` does
        the same; calls share its arrays. With `out`, an array that an earlier call returned, the values are written
        into that.

    Raises
    ------
    TypeError
        If an argument is being differentiated: a sparse matrix has no derivative.
    ValueError
        If the pattern has another shape, or lacks an entry that may differ from zero.
    MemoryError
        If there are more entries than the memory holds.

    Examples
    --------
    >>> J = ad.sparse.jacobian(lambda x: x[1:] * x[:-1])
    >>> J(np.array([1.0, 2.0, 3.0])).toarray()
    array([[2., 1., 0.],
           [0., 3., 2.]])
    """
    return SparseDerivative("sparse.jacobian", f, argnum, of_gradient=False, with_outputs=False, pattern=pattern,
                            format=format)


def hessian(f: Function, argnum: int = 0, *, pattern: Any = None, format: str = "csr",
            triangle: str | None = None) -> SparseDerivative:
    """The Hessian of a function, as a sparse matrix.

    Parameters
    ----------
    f : callable
        Returns a real scalar.
    argnum, pattern, format
        As for `jacobian`.
    triangle : {"lower", "upper"}, optional
        Return the entries on and on one side of the diagonal only, as solvers take them.

    Returns
    -------
    SparseDerivative
        Takes the arguments of `f`; returns a `scipy.sparse` array of shape (n, n), as that of `jacobian`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As from `jacobian`.

    Examples
    --------
    >>> H = ad.sparse.hessian(lambda x: np.sum(x[1:] * x[:-1] ** 2))
    >>> H(np.array([1.0, 2.0, 3.0])).toarray()
    array([[4., 2., 0.],
           [2., 6., 4.],
           [0., 4., 0.]])
    """
    return SparseDerivative("sparse.hessian", f, argnum, of_gradient=True, with_outputs=False, pattern=pattern,
                            format=format, triangle=triangle)


def value_and_jacobian(f: Function, argnum: int = 0, *, pattern: Any = None, format: str = "csr") -> SparseDerivative:
    """The value of a function and its Jacobian, from one evaluation: `(y, J)`. See `jacobian`."""
    return SparseDerivative("sparse.value_and_jacobian", f, argnum, of_gradient=False, with_outputs=True,
                            pattern=pattern, format=format)


def value_and_hessian(f: Function, argnum: int = 0, *, pattern: Any = None, format: str = "csr",
                      triangle: str | None = None) -> SparseDerivative:
    """The value, gradient and Hessian of a function, from one evaluation: `((y, gradient), H)`. See `hessian`."""
    return SparseDerivative("sparse.value_and_hessian", f, argnum, of_gradient=True, with_outputs=True,
                            pattern=pattern, format=format, triangle=triangle)


def jacobian_pattern(f: Function, *args: Any, argnum: int = 0, **kwargs: Any) -> Pattern:
    """Return the structure of the Jacobian of a function: the entries that may differ from zero.

    It is found from a recording of `f` at these arguments, of which only the shapes matter, unless `f` takes branches.

    Parameters
    ----------
    f : callable
    *args, **kwargs
        Arguments of `f`.
    argnum : int
        Which positional argument to differentiate with respect to.

    Returns
    -------
    Pattern

    Examples
    --------
    >>> print(ad.sparse.jacobian_pattern(lambda x: x[1:] * x[:-1], np.ones(4)))
    <pattern of shape (3, 4) with 6 entries>
    * * . .
    . * * .
    . . * *
    """
    return jacobian(f, argnum).pattern(*args, **kwargs)


def hessian_pattern(f: Function, *args: Any, argnum: int = 0, **kwargs: Any) -> Pattern:
    """Return the structure of the Hessian of a function, found from a recording of the gradient.

    Parameters, returns
        As of `jacobian_pattern`. Variables in which `f` is linear have no entries.
    """
    return hessian(f, argnum).pattern(*args, **kwargs)
