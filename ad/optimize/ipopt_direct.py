"""Ipopt's C interface, in the library that cyipopt has loaded: with whole arrays where cyipopt copies each element.

At a hundred thousand variables, evaluations then take a quarter of the time. The library is called only where it is
known how it was compiled: that of `cyipopt-wheels`. Everywhere else cyipopt calls it.
"""
import ctypes
import importlib.metadata
import sys
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, c_bool, c_char_p, c_double, c_int, c_void_p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ad.optimize.functions import Vector
from ad.optimize.problem import EvaluationError

__all__ = ["DirectSolver", "library_of"]

NUMBERS, INDICES = POINTER(c_double), POINTER(c_int)
EVAL_F = CFUNCTYPE(c_bool, c_int, NUMBERS, c_bool, NUMBERS, c_void_p)
EVAL_G = CFUNCTYPE(c_bool, c_int, NUMBERS, c_bool, c_int, NUMBERS, c_void_p)
EVAL_JACOBIAN = CFUNCTYPE(c_bool, c_int, NUMBERS, c_bool, c_int, c_int, INDICES, INDICES, NUMBERS, c_void_p)
EVAL_HESSIAN = CFUNCTYPE(c_bool, c_int, NUMBERS, c_bool, c_double, c_int, NUMBERS, c_bool, c_int, INDICES, INDICES,
                         NUMBERS, c_void_p)
INTERMEDIATE = CFUNCTYPE(c_bool, c_int, c_int, *[c_double] * 8, c_int, c_void_p)
SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "CreateIpoptProblem": (c_void_p, (c_int, NUMBERS, NUMBERS, c_int, NUMBERS, NUMBERS, c_int, c_int, c_int,
                                      EVAL_F, EVAL_G, EVAL_F, EVAL_JACOBIAN, EVAL_HESSIAN)),
    "FreeIpoptProblem": (None, (c_void_p,)),
    "AddIpoptStrOption": (c_bool, (c_void_p, c_char_p, c_char_p)),
    "AddIpoptNumOption": (c_bool, (c_void_p, c_char_p, c_double)),
    "AddIpoptIntOption": (c_bool, (c_void_p, c_char_p, c_int)),
    "SetIntermediateCallback": (c_bool, (c_void_p, INTERMEDIATE)),
    "IpoptSolve": (c_int, (c_void_p, *[NUMBERS] * 6, c_void_p)),
    "GetIpoptCurrentIterate": (c_bool, (c_void_p, c_bool, c_int, *[NUMBERS] * 3, c_int, *[NUMBERS] * 2)),
}


def library_of(cyipopt: Any) -> Any:
    """Return the library of Ipopt that a module cyipopt uses; None if it is not known how to call it."""
    wrapper = sys.modules.get(getattr(getattr(cyipopt, "Problem", None), "__module__", ""))
    try:
        importlib.metadata.distribution("cyipopt-wheels")
        if cyipopt.IPOPT_VERSION[:2] != (3, 14):
            return None
        library = ctypes.CDLL(wrapper.__file__)  # type: ignore[union-attr]
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (AttributeError, OSError, importlib.metadata.PackageNotFoundError):
        return None
    return library


class DirectSolver:
    """What `cyipopt.Problem` is to this package, by the library itself.

    Parameters
    ----------
    library, cyipopt
        As found by `library_of`, and the module.
    callbacks : object
        With those of cyipopt's callbacks that there are. They raise nothing but EvaluationError.
    lb, ub, cl, cu : ndarray
    """

    def __init__(self, library: Any, cyipopt: Any, callbacks: Any, lb: Vector, ub: Vector, cl: Vector,
                 cu: Vector) -> None:
        self.library, self.callbacks, self.n, self.m = library, callbacks, lb.size, cl.size
        self.messages = getattr(sys.modules[cyipopt.Problem.__module__], "STATUS_MESSAGES", {})
        nothing = np.empty(0, np.int32), np.empty(0, np.int32)
        has_hessian = hasattr(callbacks, "hessian")
        self.jacobian_entries = callbacks.jacobianstructure() if self.m else nothing
        self.hessian_entries = callbacks.hessianstructure() if has_hessian else nothing
        self._functions: tuple[Any, ...] = (  # Ipopt keeps pointers to them
            EVAL_F(self._objective), EVAL_G(self._constraints), EVAL_F(self._gradient),
            EVAL_JACOBIAN(self._jacobian), EVAL_HESSIAN(self._hessian), INTERMEDIATE(self._intermediate))
        self.handle = library.CreateIpoptProblem(
            self.n, _numbers(lb), _numbers(ub), self.m, _numbers(cl), _numbers(cu), self.jacobian_entries[0].size,
            self.hessian_entries[0].size, 0, *self._functions[:5])
        if not self.handle:
            raise RuntimeError("ad.optimize.minimize: Ipopt could not be given the problem")
        library.SetIntermediateCallback(self.handle, self._functions[5])
        if not has_hessian:
            self.add_option("hessian_approximation", "limited-memory")

    def close(self) -> None:
        """Free what Ipopt holds."""
        if getattr(self, "handle", None):
            self.library.FreeIpoptProblem(self.handle)
            self.handle = None
            self._functions = ()

    __del__ = close

    # -- what the adapter calls

    def add_option(self, name: str, value: str | int | float) -> None:
        """Set an option; raise TypeError, as cyipopt does, if there is none that takes such a value."""
        kind, encoded = (("Str", value.encode()) if isinstance(value, str) else
                         ("Int", value) if isinstance(value, int) else ("Num", value))
        if not getattr(self.library, f"AddIpopt{kind}Option")(self.handle, name.encode(), encoded):
            raise TypeError(f"{name}: {value!r}")

    def solve(self, x0: Vector) -> tuple[Vector, dict[str, Any]]:
        """Return the solution and cyipopt's dict about it."""
        x, value = np.array(x0, np.float64), np.zeros(1)
        info = {"x": x, "g": np.zeros(self.m), "mult_g": np.zeros(self.m), "mult_x_L": np.zeros(self.n),
                "mult_x_U": np.zeros(self.n)}
        status = self.library.IpoptSolve(
            self.handle, _numbers(x), _numbers(info["g"]), _numbers(value), _numbers(info["mult_g"]),
            _numbers(info["mult_x_L"]), _numbers(info["mult_x_U"]), None)
        return x, info | {"obj_val": float(value[0]), "status": status,
                          "status_msg": self.messages.get(status, b"Unknown status")}

    def get_current_iterate(self) -> dict[str, Vector] | None:
        """Return the point of an iteration, in an intermediate callback."""
        x, low, high = np.empty(self.n), np.empty(self.n), np.empty(self.n)
        g, multipliers = np.empty(self.m), np.empty(self.m)
        found = self.library.GetIpoptCurrentIterate(self.handle, False, self.n, _numbers(x), _numbers(low),
                                                    _numbers(high), self.m, _numbers(g), _numbers(multipliers))
        return {"x": x} if found else None

    # -- what Ipopt calls

    def _objective(self, n: int, x: Any, _new: bool, value: Any, _data: Any) -> bool:
        return _filled(value, 1, self.callbacks.objective, _read(x, n))

    def _gradient(self, n: int, x: Any, _new: bool, gradient: Any, _data: Any) -> bool:
        return _filled(gradient, n, self.callbacks.gradient, _read(x, n))

    def _constraints(self, n: int, x: Any, _new: bool, m: int, values: Any, _data: Any) -> bool:
        return not m or _filled(values, m, self.callbacks.constraints, _read(x, n))

    def _jacobian(self, n: int, x: Any, _new: bool, m: int, n_entries: int, rows: Any, columns: Any, values: Any,
                  _data: Any) -> bool:
        if not n_entries:
            return True
        if not values:
            return _structure(rows, columns, self.jacobian_entries)
        return _filled(values, n_entries, self.callbacks.jacobian, _read(x, n))

    def _hessian(self, n: int, x: Any, _new: bool, factor: float, m: int, multipliers: Any, _new_multipliers: bool,
                 n_entries: int, rows: Any, columns: Any, values: Any, _data: Any) -> bool:
        if not n_entries:
            return True
        if not values:
            return _structure(rows, columns, self.hessian_entries)
        return _filled(values, n_entries, self.callbacks.hessian, _read(x, n), _read(multipliers, m), factor)

    def _intermediate(self, *args: Any) -> bool:
        return bool(self.callbacks.intermediate(*args[:-1]))


def _numbers(values: Vector) -> Any:
    """Return a pointer to the numbers of an array, which the caller has to keep."""
    assert values.dtype == np.float64 and values.flags.c_contiguous
    return values.ctypes.data_as(NUMBERS)


def _read(pointer: Any, n: int) -> Vector:
    return np.array(np.ctypeslib.as_array(pointer, (n,))) if n else np.empty(0)


def _filled(pointer: Any, n: int, function: Callable[..., Any], *args: Any) -> bool:
    """Write what a callback returns to Ipopt's memory; return whether there is a value."""
    try:
        np.ctypeslib.as_array(pointer, (n,))[...] = function(*args)
    except EvaluationError:
        return False
    return True


def _structure(rows: Any, columns: Any, entries: tuple[NDArray[np.int32], NDArray[np.int32]]) -> bool:
    for pointer, values in zip((rows, columns), entries):
        np.ctypeslib.as_array(pointer, values.shape)[...] = values
    return True
