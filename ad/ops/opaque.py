"""Plain functions as the functions of ops: what they are called with, and what they may return.

An op of a user's own calls a function of which nothing is known but its values: it may call C, or a solver. It gets
plain ndarrays and numbers, and is called again in each replay of a program.
"""
from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ad._core import Array
from ad.engine.array import is_traced
from ad.engine.inspection import concrete, is_differentiated
from ad.engine.recorder import call_apart
from ad.errors import MissingRule, is_untraceable, kind, shown

__all__ = ["ElementByElement", "Opaque", "Parameters", "checked_shape_rule", "numbers_in"]

_Function = Callable[..., Any]
_NUMBERS = (int, float, complex, np.number, np.bool_)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Parameters(NamedTuple):
    """The parameters of a function: its inputs, and the static ones.

    Attributes
    ----------
    name : str
        Of the op, for messages.
    inputs : int
    static : tuple of str
    defaults : tuple or None
        Of the static parameters; None if one has to be given.
    signature : inspect.Signature or None
        None if it is not known: then there are no static parameters.
    """

    name: str
    inputs: int
    static: tuple[str, ...] = ()
    defaults: tuple[Any, ...] | None = ()
    signature: inspect.Signature | None = None

    @classmethod
    def of(cls, name: str, function: Any, inputs: int | None, rules: int | None = None) -> Parameters:
        """Return the parameters of a function.

        Its inputs are the first `inputs` parameters, or by default those without a default; where the signature is not
        known, there are as many as rules.
        """
        signature = None if isinstance(function, np.ufunc) else _signature(function)
        if signature is None:
            count = function.nin if isinstance(function, np.ufunc) else inputs or rules
            if count is None:
                raise TypeError(f"ad: {name}: the number of inputs is not known, as {kind(function)} has no signature; "
                                "give it: inputs=1")
            return cls(name, count)
        places = [p for p in signature.parameters.values() if p.kind in _POSITIONAL]
        count = len([p for p in places if p.default is p.empty]) if inputs is None else inputs
        if not 0 < count <= len(places):
            raise TypeError(f"ad: {name}: the function must take at least one input by position, and takes "
                            f"{len(places)} parameters so, of which {count} are inputs. A parameter with a default "
                            "is static; inputs= tells how many of the first are inputs")
        static = [p for p in signature.parameters.values() if p not in places[:count]]
        for p in static:
            if p.kind is p.POSITIONAL_ONLY:
                raise TypeError(f"ad: {name}: the static parameter {p.name!r} must not be positional-only, as it is "
                                "passed by keyword")
        defaults = None if any(p.default is p.empty for p in static) else tuple([p.default for p in static])
        return cls(name, count, tuple([p.name for p in static]), defaults, signature)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return the inputs and the static parameters of a call."""
        if len(args) == self.inputs and not kwargs and self.defaults is not None:
            return args, self.defaults
        if self.signature is None:
            raise TypeError(f"ad: {self.name} takes {self.inputs} inputs by position and no other arguments, not "
                            f"{len(args)} by position and the keywords {', '.join(kwargs) or 'none'}")
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"ad: {self.name}: {error}") from None
        bound.apply_defaults()
        found = bound.arguments
        values = tuple([found[key] for key in found if key not in self.static])
        return values, tuple([self._static(key, found[key]) for key in self.static])

    def _static(self, key: str, value: Any) -> Any:
        """Return a static parameter: it has no derivative, so Arrays in it become ndarrays if none flows through."""
        if type(value) in (tuple, list):
            return type(value)([self._static(key, part) for part in value])
        if is_differentiated(value):
            raise TypeError(f"ad: {self.name}: the parameter {key!r} is static, and is given a value that is being "
                            "differentiated. Make it an input (a parameter without a default, or counted by inputs=), "
                            "or cut it off on purpose: x.numpy()")
        return concrete(value)

    def keywords(self, params: Sequence[Any]) -> dict[str, Any]:
        """Return static parameters by name."""
        return dict(zip(self.static, params))

    def adapted(self, what: str, rule: Any, *names: str) -> _Function:
        """Return a rule with the static parameters by position, behind arguments of these names.

        It is not given a parameter that it does not take, which must then have its default value.
        """
        if not callable(rule):
            raise TypeError(f"ad: {self.name}: {what} must be a function, not {kind(rule)}")
        taken = self._check_rule(what, rule, names)
        count, missing = len(names), [(k, key) for k, key in enumerate(self.static) if key not in taken]

        def adapted(*args: Any) -> Any:
            params = args[count:]
            for k, key in missing:
                self._check_default(what, key, params[k])
            return rule(*args[:count], **{key: x for key, x in zip(self.static, params) if key in taken})

        return adapted if self.static else rule

    def _check_rule(self, what: str, rule: Any, names: Sequence[str]) -> set[str]:
        """Return the static parameters that a rule takes; raise if it cannot be called."""
        try:
            signature = inspect.signature(rule)
        except (TypeError, ValueError):
            return {*self.static}
        found = signature.parameters
        taken = {key for key in self.static if key in found or self._parameter(key).default is inspect.Parameter.empty}
        if any(p.kind is p.VAR_KEYWORD for p in found.values()):
            taken = {*self.static}
        try:
            signature.bind(*names, **dict.fromkeys(taken))
        except TypeError as error:
            takes = ", ".join([*names, *[f"{key}=" for key in self.static]])
            raise TypeError(f"ad: {self.name}: {what} is called with ({takes}), and takes other parameters: {error}"
                            ) from None
        return taken

    def _check_default(self, what: str, key: str, value: Any) -> None:
        default = self._parameter(key).default
        if value is not default and not (isinstance(value, (int, float, str)) and value == default):
            raise MissingRule(f"ad: {self.name} has no rule for {key}={shown(value)}: {what} takes no parameter "
                              f"{key!r}, and so holds for {key}={shown(default)} only")

    def _parameter(self, key: str) -> inspect.Parameter:
        assert self.signature is not None  # without one there are no static parameters
        return self.signature.parameters[key]

    def input_names(self) -> list[str]:
        """Return the names of the inputs."""
        known = [] if self.signature is None else [*self.signature.parameters][:self.inputs]
        return known or [f"x{i + 1}" if self.inputs > 1 else "x" for i in range(self.inputs)]


def _signature(function: Any) -> inspect.Signature | None:
    """Return the signature of a function without its **kwargs; None if the inputs cannot be counted in it."""
    try:
        found = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    parameters = [*found.parameters.values()]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return found.replace(parameters=[p for p in parameters if p.kind is not p.VAR_KEYWORD])


def numbers_in(value: Any, who: str, instead: str = "return an array") -> NDArray[Any]:
    """Return an array_like value that a function of a user returned as an ndarray.

    Raises
    ------
    TypeError
        If it is no array of numbers; the message says who returned it, and what to do instead.
    """
    try:
        found, cause = np.asarray(value), None
    except (TypeError, ValueError) as error:  # sequences of several lengths
        if is_untraceable(error):
            raise
        found, cause = np.array(None), error
    if found.dtype.kind not in "biufc":
        raise TypeError(f"ad: {who} returned {kind(value)}, which is no array of numbers; {instead}") from cause
    return found


def _references_of_a_new_array() -> int:
    y = np.empty(1)
    return sys.getrefcount(y)


_OF_A_NEW_ARRAY = _references_of_a_new_array()  # where only a local variable has it


class Opaque:
    """A plain function as the function of an op.

    Parameters
    ----------
    function : callable
    parameters : Parameters
    outputs : int
    shape_rule : callable, optional
        Of the op: what the output has to look like.
    broadcasts : bool
        Whether the output has the shape that the inputs broadcast to.
    """

    def __init__(self, function: _Function, parameters: Parameters, outputs: int = 1,
                 shape_rule: _Function | None = None, broadcasts: bool = False) -> None:
        self.function, self.parameters, self.outputs = function, parameters, outputs
        self.shape_rule, self.broadcasts, self.name = shape_rule, broadcasts, parameters.name

    def __call__(self, *args: Any) -> Any:
        count = self.parameters.inputs
        xs, params = [self._plain(x) for x in args[:count]], args[count:]
        y = call_apart(self.function, xs, self.parameters.keywords(params) if params else {})
        if self.outputs > 1:
            return tuple([self._number(part) for part in self._parts(y)])
        is_own = type(y) is np.ndarray and sys.getrefcount(y) == _OF_A_NEW_ARRAY and y.flags.owndata
        value = y if is_own and y.ndim and y.dtype.kind in "biufc" else self._number(y)
        if self.broadcasts and (count > 1 or np.shape(value) != np.shape(xs[0])):
            self._check_shape(value, np.broadcast_shapes(*map(np.shape, xs)), "the shape that its inputs broadcast to")
        return value if self.shape_rule is None else self._as_told(value, self.shape_rule(*xs, *params))

    def _plain(self, x: Any) -> Any:
        """Return an input as an array that cannot be written to, or as a number, which is a Python float, too."""
        value: Any = x if type(x) is np.ndarray else np.float64(x) if type(x) is float else np.asarray(x)
        if value.dtype.kind not in "biufc":
            raise TypeError(f"ad: {self.name} takes arrays and numbers, not {kind(x)} of dtype {value.dtype}")
        if not value.ndim:
            return value[()]
        value = value.view(np.ndarray)
        value.setflags(write=False)
        return value

    def _parts(self, y: Any) -> Sequence[Any]:
        if not isinstance(y, (tuple, list)) or len(y) != self.outputs:
            count = f"{kind(y)} of {len(y)}" if isinstance(y, (tuple, list)) else kind(y)
            raise TypeError(f"ad: {self.name}: the function returned {count}; with outputs={self.outputs} it must "
                            f"return a tuple of {self.outputs} arrays or numbers")
        return y

    def _number(self, y: Any) -> Any:
        """Return what the function returned as an array that nobody else holds, or as a number."""
        if isinstance(y, Array):
            y = self._without_node(y)
        if isinstance(y, tuple) and self.outputs == 1:
            raise TypeError(f"ad: {self.name}: the function returned a tuple of {len(y)}; it must return one array "
                            f"or number, or be given outputs={len(y)}")
        value = np.array(numbers_in(y, f"{self.name}: the function", "it must return an array or a number"))
        if value.ndim:
            return value
        return np.float64(y) if type(y) is int else value[()]

    def _without_node(self, y: Array) -> Any:
        if is_differentiated(y) or is_traced(y):
            raise TypeError(f"ad: {self.name}: the function returned a value that depends on something that is being "
                            "differentiated or recorded, and is none of its inputs. Make that an input, too")
        return y.numpy()

    def _check_shape(self, value: Any, shape: tuple[int, ...], what: str) -> None:
        if np.shape(value) != shape:
            raise ValueError(f"ad: {self.name}: the function returned an array of shape {np.shape(value)}, and "
                             f"{what} is {shape}")

    def _as_told(self, value: Any, told: Any) -> Any:
        """Return a value with the dtype that the shape rule tells, checked against its shape."""
        shape, dtype = told
        self._check_shape(value, shape, "the shape that its shape rule tells")
        if value.dtype == dtype:
            return value
        if not np.can_cast(value.dtype, dtype, "same_kind"):
            raise TypeError(f"ad: {self.name}: the function returned values of dtype {value.dtype}, and its shape "
                            f"rule tells {dtype}")
        return value.astype(dtype)


class ElementByElement:
    """A function of numbers, applied to each element of arrays that broadcast against each other."""

    def __init__(self, function: _Function) -> None:
        self.function = function

    def __call__(self, *xs: Any, **params: Any) -> Any:
        if all(type(x) is np.float64 for x in xs):
            return self.function(*xs, **params)
        arrays: Sequence[NDArray[Any]] = np.broadcast_arrays(*xs)
        dtype: Any = np.result_type(*xs)
        dtype = dtype if dtype.kind in "fc" else np.dtype(float)
        function = functools.partial(self.function, **params) if params else self.function
        numbers = [*map(function, *[array.ravel().tolist() for array in arrays])]
        try:
            y = np.asarray(numbers) if numbers else np.empty(0, dtype)
        except ValueError:  # sequences of several lengths
            y = np.empty((0, 0))
        if y.dtype.kind not in "biufc" or y.ndim != 1:
            wrong = [y for y in numbers if not isinstance(y, _NUMBERS) and not _is_number(y)]
            return wrong[0] if wrong else y  # which is refused
        dtype = np.result_type(dtype, np.complex64) if y.dtype.kind == "c" else dtype
        return y.astype(dtype).reshape(arrays[0].shape)


def _is_number(y: Any) -> bool:
    return isinstance(y, np.ndarray) and y.ndim == 0 and y.dtype.kind in "biufc"


def checked_shape_rule(name: str, rule: _Function, parameters: Parameters) -> _Function:
    """Return the shape rule of an op from that of a user, which takes the static parameters by keyword."""

    def shape_rule(*args: Any) -> Any:
        xs, params = args[:parameters.inputs], args[parameters.inputs:]
        told = rule(*xs, **parameters.keywords(params))
        try:
            shape, dtype = told
            return tuple([int(n) for n in shape]), np.dtype(dtype)
        except (TypeError, ValueError):
            raise TypeError(f"ad: {name}: the shape rule returned {told!r:.60}; it must return the shape and the dtype "
                            "of the output: (x.shape, x.dtype)") from None

    return shape_rule
