"""`jacobian`, `hessian` and their like: functions that return sparse matrices of a fixed structure."""
from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ad import transforms
from ad.compiler.compile import compile
from ad.compiler.tracing.call_signature import CallSignature
from ad.errors import not_a_function
from ad.sparse.coloring import Coloring
from ad.sparse.coloring import color as color_pattern
from ad.sparse.compressed import Compressed, coloring_of, given_coloring
from ad.sparse.direct import Direct
from ad.sparse.patterns import Pattern
from ad.sparse.patterns import pattern as pattern_of
from ad.sparse.recorded import Recorded, record_path, with_floats
from ad.sparse.structured import FORMATS, Structured
from ad.sparse.terms import TooCostly

__all__ = [
    "SparseDerivative", "color", "hessian", "hessian_pattern", "hvp", "jacobian", "jacobian_pattern",
    "value_and_hessian", "value_and_jacobian",
]

Function = Callable[..., Any]
TRIANGLES = (None, "lower", "upper")
METHODS = (None, "terms", "colors")
MOST_SWEEPS = 1 << 6  # what terms may cost, in evaluations of the recorded function
MOST_PATHS = 64  # for each signature, and signatures
FEW_SWEEPS = 4  # what terms may cost without a look at the colors


class SparseDerivative:
    """A function that returns a sparse Jacobian or Hessian: see `jacobian` and `hessian`."""

    def __init__(self, caller: str, f: Function, argnum: int, *, of_gradient: bool, with_outputs: bool, pattern: Any,
                 format: str, coloring: Any = None, method: str | None = None, triangle: str | None = None) -> None:
        if not callable(f):
            raise not_a_function(caller, f)
        if format not in FORMATS:
            raise ValueError(f"ad.{caller}: format is one of {', '.join(map(repr, FORMATS))}, not {format!r}")
        if method not in METHODS:
            raise ValueError(f"ad.{caller}: method is 'terms', 'colors' or None, not {method!r}")
        if triangle not in TRIANGLES:
            raise ValueError(f"ad.{caller}: triangle is 'lower', 'upper' or None, not {triangle!r}")
        self.caller, self.f, self.argnum, self.format, self.triangle = caller, f, argnum, format, triangle
        self.of_gradient, self.with_outputs = of_gradient, with_outputs
        self.given, self.coloring = None if pattern is None else pattern_of(pattern), coloring
        self.method = "colors" if coloring is not None else method
        self._recorded_function = transforms.gradient_of(caller, self._scalar, argnum, False, True,
                                                         False) if of_gradient else f
        self._paths: dict[Any, list[_Path]] = {}
        self._has_warned = False
        self._last: tuple[Any, Any] | None = None  # avals and path of the last call, if all arguments were ndarrays

    def __call__(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """Return the derivative at these arguments: see `jacobian` and `hessian`."""
        last = self._last
        if last is not None and not kwargs and _have(args, last[0]):
            found = last[1].result(args, out)
            if found is not None:
                return found
        return self._found(args, kwargs, out)

    def pattern(self, *args: Any, **kwargs: Any) -> Pattern:
        """Return the structure of the result at these arguments."""
        args = with_floats(f"ad.{self.caller}", args, self.argnum)
        return self._structure(record_path(self._recorded_function, args, kwargs, self.argnum % len(args)))

    def explain(self, *args: Any, **kwargs: Any) -> str:
        """Return a text about how the derivative is computed at these arguments, and what it costs by prediction."""
        args = with_floats(f"ad.{self.caller}", args, self.argnum)
        path = self._new_path(args, kwargs, CallSignature(args, kwargs))
        return f"ad.{self.caller}: {path.structured.pattern!r}\n{path.evaluator.explanation}"

    def _scalar(self, *args: Any, **kwargs: Any) -> Any:
        """Return what `f` returns, which has to be a scalar for a Hessian."""
        y = self.f(*args, **kwargs)
        if getattr(y, "shape", ()):
            raise ValueError(f"ad.{self.caller}: the function returned an array of shape {y.shape}, and a Hessian is "
                             "that of a scalar: sum it, or use ad.sparse.jacobian")
        return y

    def _found(self, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
        args = with_floats(f"ad.{self.caller}", args, self.argnum)
        signature = CallSignature(args, kwargs)
        if signature.is_live:
            raise TypeError(f"ad.{self.caller}: an argument is being differentiated or recorded, and a sparse matrix "
                            "has no derivative; use ad.jacobian or ad.hessian there, or pass plain arrays")
        paths = self._paths.setdefault(signature.key, [])
        found = None
        for path in paths:
            found = path.result(signature.values, out)
            if found is not None:
                break
        else:
            path = self._new_path(args, kwargs, signature)
            self._keep(paths, path)
        if not kwargs and all(type(x) is np.ndarray for x in args):
            self._last = [(x.shape, x.dtype) for x in args], path
        return path.result(signature.values, out, is_recorded=True) if found is None else found

    def _keep(self, paths: list[_Path], path: _Path) -> None:
        """Keep a path of a signature, and let go what is too old."""
        paths.insert(0, path)
        if len(paths) > MOST_PATHS:
            paths.pop()
            if not self._has_warned:
                self._has_warned = True
                warnings.warn(f"ad.{self.caller}: the function takes another branch nearly each time, and is recorded "
                              f"anew for each ({MOST_PATHS} recordings are kept). Make the value that Python sees an "
                              "argument, or write the branch with np.where", stacklevel=4)
        if len(self._paths) > MOST_PATHS:
            self._paths.pop(next(iter(self._paths)))

    def __repr__(self) -> str:
        name = getattr(self.f, "__qualname__", repr(self.f))
        return f"<ad.{self.caller} of {name}, {sum(map(len, self._paths.values()))} recordings>"

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
        pattern = whole = self._structure(recorded)
        if self.triangle:
            pattern = pattern.lower() if self.triangle == "lower" else pattern.T.lower().T
        skip = int(self.of_gradient)
        dtypes = [recorded.graph.avals[slot].dtype for slot in recorded.outputs[skip:]]
        floats = [dtype for dtype in dtypes if dtype.kind == "f"]
        dtype = np.result_type(np.float32, *floats) if floats else np.dtype(np.float64)
        structured = Structured(pattern, self.format, dtype)
        values = recorded.values(signature.values)
        return _Path(recorded, structured, self._evaluator(recorded, structured, values, whole))

    def _evaluator(self, recorded: Recorded, structured: Structured, values: list[Any],
                   pattern: Pattern) -> Direct | Compressed:
        """Return what computes the derivative of a path: by terms or by colors, whichever costs less."""
        skip, work = int(self.of_gradient), recorded.work
        direct = None
        if self.method != "colors":
            budget = MOST_SWEEPS * work + 16 * pattern.nnz + 10_000
            try:
                direct = Direct(recorded, values, structured, self.of_gradient, skip, self.with_outputs, budget)
            except TooCostly:
                if self.method == "terms":
                    raise ValueError(f"ad.{self.caller}: terms would have more than {budget} entries, or an op mixes "
                                     "too many elements; leave out method='terms'") from None
        if direct is not None and (self.method == "terms" or direct.cost <= FEW_SWEEPS * work):
            return direct
        if self.coloring is None:
            coloring = coloring_of(pattern, self.of_gradient)
        else:
            coloring = given_coloring(pattern, self.coloring, self.of_gradient)
        if direct is not None and direct.cost <= coloring.num_colors * work:
            return direct
        return Compressed(recorded, values, structured, coloring, pattern, skip, self.with_outputs)


def _have(args: tuple[Any, ...], avals: list[tuple[Any, Any]]) -> bool:
    """Return whether arguments are ndarrays of these shapes and dtypes."""
    if len(args) != len(avals):
        return False
    for x, (shape, dtype) in zip(args, avals):
        if type(x) is not np.ndarray or x.shape != shape or x.dtype != dtype:
            return False
    return True


class _Path:
    """What a function does at some arguments, and how its derivative is computed there."""

    def __init__(self, recorded: Recorded, structured: Structured, evaluator: Direct | Compressed) -> None:
        self.recorded, self.structured, self.evaluator = recorded, structured, evaluator

    def result(self, values: Sequence[Any], out: Any, is_recorded: bool = False) -> Any:
        """Return the result; None if the function takes another path for these values.

        If the path `is_recorded` with them, that is not asked: a replay may round otherwise than the function.
        """
        misfit = None if out is None else self.structured.misfit(out)
        matrix = self.structured.new() if out is None or misfit is not None else out
        outputs = self.evaluator.run(self.recorded.values(values) if self.recorded.variables else values, matrix.data)
        if misfit is None and not outputs:
            return matrix
        guards = self.recorded.guards
        n = len(outputs) - len(guards)
        if not is_recorded and not all(guard.holds(value) for guard, value in zip(guards, outputs[n:])):
            return None
        if misfit is not None:
            raise misfit
        return matrix if not n else (self.recorded.results(outputs[:n]), matrix)


def jacobian(f: Function, argnum: int = 0, *, pattern: Any = None, coloring: Any = None, format: str = "csr",
             method: str | None = None) -> SparseDerivative:
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
    coloring : Coloring or array_like of int, optional
        Colors, of columns if it is an array, instead of those that are found. They are checked. Implies the method.
    format : {"csr", "csc", "coo"}
    method : {"terms", "colors"}, optional
        How the values are computed: entry by entry, or by products with sums of directions, one for each color. By
        default what costs less.

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
                            coloring=coloring, format=format, method=method)


def hessian(f: Function, argnum: int = 0, *, pattern: Any = None, coloring: Any = None, format: str = "csr",
            method: str | None = None, triangle: str | None = None) -> SparseDerivative:
    """The Hessian of a function, as a sparse matrix.

    Parameters
    ----------
    f : callable
        Returns a real scalar.
    argnum, pattern, coloring, format, method
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
                            coloring=coloring, format=format, method=method, triangle=triangle)


def value_and_jacobian(f: Function, argnum: int = 0, *, pattern: Any = None, coloring: Any = None,
                       format: str = "csr", method: str | None = None) -> SparseDerivative:
    """The value of a function and its Jacobian, from one evaluation: `(y, J)`. See `jacobian`."""
    return SparseDerivative("sparse.value_and_jacobian", f, argnum, of_gradient=False, with_outputs=True,
                            pattern=pattern, coloring=coloring, format=format, method=method)


def value_and_hessian(f: Function, argnum: int = 0, *, pattern: Any = None, coloring: Any = None,
                      format: str = "csr", method: str | None = None,
                      triangle: str | None = None) -> SparseDerivative:
    """The value, gradient and Hessian of a function, from one evaluation: `((y, gradient), H)`. See `hessian`."""
    return SparseDerivative("sparse.value_and_hessian", f, argnum, of_gradient=True, with_outputs=True,
                            pattern=pattern, coloring=coloring, format=format, method=method, triangle=triangle)


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


def hvp(f: Function, argnum: int = 0) -> Function:
    """Products with the Hessian of a function, which is not formed: `hvp(f)(x, v)`, compiled.

    Parameters, returns
        As of `ad.hvp`.
    """
    return compile(transforms.hvp(f, argnum))


def color(matrix: Any, kind: str = "columns", **options: Any) -> Coloring:
    """Color the columns or rows of a sparse matrix so that its entries can be read from sums of them.

    Parameters
    ----------
    matrix : Pattern, scipy.sparse array or matrix, or array_like
    kind : {"columns", "rows", "bidirectional", "star", "acyclic"}
        For a Jacobian one of the first three; for a Hessian, which is symmetric, one of the others.
    **options
        `order`, `seed` and `postprocess` of `ad.sparse.coloring.color`.

    Returns
    -------
    Coloring

    Examples
    --------
    >>> tridiagonal = np.eye(6) + np.eye(6, k=1) + np.eye(6, k=-1)
    >>> ad.sparse.color(tridiagonal, "star").num_colors
    3
    """
    found = pattern_of(matrix)
    return color_pattern(found.indptr, found.indices, found.shape, kind=kind, **options)
