"""From a NumPy-like call to the inputs and the static parameters of an op: the public functions of the forms."""
from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import numpy as np

from ad._core import Array, apply
from ad.engine.graph import Op
from ad.engine.inspection import concrete, is_differentiated
from ad.errors import unsupported_argument
from ad.ops.nondifferentiable import by_numpy

__all__ = ["ArgumentBinder", "evaluated_by_numpy", "guarded", "has_array", "public_function", "variadic_function"]

NOT_GIVEN = ("out", "dtype", "signature")  # arguments of NumPy's functions for which None means the default

_Function = Callable[..., Any]


class ArgumentBinder:
    """Binds a NumPy-like call to the inputs and the static parameters of an op."""

    def __init__(self, function: Any, inputs: int) -> None:
        code = function.__code__
        names = code.co_varnames[: code.co_argcount]
        defaults = function.__defaults__ or ()
        self.name, self.inputs = function.__name__, inputs
        self.input_names, self.parameters = names[:inputs], names[inputs:]
        self.required = len(names) - len(defaults)
        self.defaults = dict(zip(names[self.required :], defaults))
        self.default_params = defaults if self.required <= inputs else None

    def bind(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The inputs and the static parameters.

        Raises
        ------
        TypeError
            As Python raises it for a wrong call; also if a static parameter is being differentiated.
        """
        names = self.input_names + self.parameters
        if len(args) > len(names):
            raise TypeError(f"ad.{self.name} takes at most {len(names)} arguments, not {len(args)}")
        bound = dict(zip(names, args))
        for name, value in kwargs.items():
            if name in bound:
                raise TypeError(f"ad.{self.name} got argument {name!r} twice")
            if name in names:
                bound[name] = value
            elif value is not np._NoValue and not (value is None and name in NOT_GIVEN):
                raise unsupported_argument(self.name, name, value, f"It takes {', '.join(names)}.")
        for name in names:
            if name not in bound:
                if name not in self.defaults:
                    raise TypeError(f"ad.{self.name} misses its argument {name!r}")
                bound[name] = self.defaults[name]
        return tuple(bound[n] for n in self.input_names), tuple([self._static(n, bound[n]) for n in self.parameters])

    def _static(self, name: str, value: Any) -> Any:
        """A static parameter: it has no derivative, so Arrays in it become ndarrays if nothing flows through them."""
        if type(value) is tuple:
            return tuple([self._static(name, part) for part in value])
        if is_differentiated(value):
            raise unsupported_argument(self.name, name, value, "Nothing flows through it; cut it off with x.numpy().")
        return concrete(value)


def public_function(op: Op, binder: ArgumentBinder, raw: _Function, numpy: Sequence[_Function]) -> _Function:
    """The public function of an op: it computes ndarrays from ndarrays, and calls `apply` if an input is an Array."""
    inputs, default_params = binder.inputs, binder.default_params

    def public(*args: Any, **kwargs: Any) -> Any:
        try:
            if len(args) == inputs and not kwargs and default_params is not None:
                values, params = args, default_params
            else:
                values, params = binder.bind(args, kwargs)
            for value in values:
                if isinstance(value, Array):
                    return apply(op, values, params)
            if has_array(values):
                return apply(op, values, params)
            return raw(*values, *params)
        except Exception as refusal:
            return evaluated_by_numpy(numpy, args, kwargs, refusal)

    return public


def variadic_function(op: Op, binder: ArgumentBinder, raw: _Function) -> _Function:
    """The public function of an op whose first argument is a sequence of inputs."""

    def public(arrays: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        values = tuple(arrays)
        params = binder.bind((arrays, *args), kwargs)[1]
        if any(isinstance(value, Array) for value in values):
            return apply(op, values, params)
        return raw(values, *params)

    return public


def guarded(function: Any, numpy: _Function) -> _Function:
    """The function as users call it: where it raises, they get NumPy's own error."""

    def public(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as refusal:
            return evaluated_by_numpy((numpy,), args, kwargs, refusal)

    functools.update_wrapper(public, function)
    public.__module__ = "ad"  # where it has this name, and the function itself has not
    return public


def evaluated_by_numpy(
    numpy: Sequence[_Function], args: Sequence[Any], kwargs: dict[str, Any], refusal: Exception
) -> Any | NoReturn:
    """NumPy's result for a call that raised `refusal`, if nothing in it is being differentiated; else raise."""
    if not numpy:
        raise refusal
    return by_numpy(numpy[0], args, kwargs, refusal)


def has_array(values: Iterable[Any]) -> bool:
    """Whether there is an Array among the values, or in lists and tuples among them."""
    for value in values:
        if isinstance(value, Array):
            return True
        if isinstance(value, (list, tuple)) and has_array(value):
            return True
    return False
