"""`custom_gradient`: a function whose derivative rule the caller gives."""
import functools
import inspect
import weakref
from collections.abc import Callable, Iterable
from numbers import Number
from typing import Any, Generic, ParamSpec, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from ad._core import Array, apply, constant, is_traced, is_watched, public_value
from ad.engine.graph import Op
from ad.engine.inspection import find_tracer
from ad.engine.recorder import keep_rule
from ad.engine.tape import Tape, is_differentiating
from ad.engine.variable import Variable, stop_gradient
from ad.engine.writing import separate
from ad.errors import MissingRule, kind, lost_recording, no_place, not_a_function
from ad.ops.batching import over_lanes, zeros_like
from ad.ops.forms import ALL_VALUES
from ad.ops.table import TABLE
from ad.ops.transposing import apply_transpose
from ad.transforms.cotangents import broadcast_cotangent
from ad.transforms.replay import Rerun
from ad.trees import flatten, flatten_optional

__all__ = ["custom_gradient"]

IDENTITY: Any = TABLE["identity"].op

_P = ParamSpec("_P")
_Y = TypeVar("_Y")
_Rule = TypeVar("_Rule", bound=Callable[[Any, Any], Any])


@overload
def custom_gradient(f: Callable[_P, tuple[_Y, Callable[..., Any]]]) -> "_WithGradient[_P, _Y]": ...
@overload
def custom_gradient(
    f: None = None,
) -> "Callable[[Callable[_P, tuple[_Y, Callable[..., Any]]]], _WithGradient[_P, _Y]]": ...
def custom_gradient(f: Any = None) -> Any:
    """Make a function whose gradient is given with it; a decorator.

    Parameters
    ----------
    f : callable
        `f(*args, **kwargs)` returns `(y, grad_fn)`, where `y` is an array or a nested structure of arrays.
        `grad_fn(*y_bars)` takes one cotangent for each array of `y`. It returns the cotangent of each positional
        argument (of each array in them, where they are nested), or None where there is none: a sequence, or the
        cotangent alone if there is one argument. An argument that is being differentiated counts as positional even
        if the call passes it by keyword.

    Returns
    -------
    callable
        The function of the same arguments that returns `y`. Its method `defjvp` registers a forward rule:
        `rule(primals, tangents)` takes tuples of the positional arrays and of their tangents (zeros where there are
        none), and returns the tangent of `y` in the nesting of `y`. Without a forward rule, forward mode transposes
        `grad_fn`, which must then be made of operations that `ad` differentiates.

        In the body of a class it is a method (also under `staticmethod` and `classmethod`): the object it is called
        on has no gradient, and is the first parameter of a forward rule.

    Notes
    -----
    If `f` reads trainable variables that are not among its arguments, then `grad_fn` must have a
    keyword `variables`, gets them in a list, and returns a pair: the cotangents of the arguments,
    and a list with those of the variables.

    Higher derivatives differentiate what `grad_fn` does, through everything that it closes over.

    A recorded program (`ad.compile`, `ad.vmap`) contains the ops of `f`. If `f` takes values out by `x.numpy()`, a
    program would repeat those of the recording; each replay and its derivatives then call `f` itself.

    Raises
    ------
    ValueError
        In the sweep, if `grad_fn` returns a wrong number of cotangents.

    Examples
    --------
    >>> @ad.custom_gradient
    ... def log1pexp(x):
    ...     e = np.exp(x)
    ...     return np.log(1 + e), lambda y_bar: y_bar * (1 - 1 / (1 + e))
    """
    if f is None:
        return custom_gradient
    if isinstance(f, (staticmethod, classmethod)):
        return type(f)(custom_gradient(f.__func__))
    if not callable(f):
        raise not_a_function("custom_gradient", f)
    return _WithGradient(f)


class _WithGradient(Generic[_P, _Y]):
    """A function decorated with `custom_gradient`."""

    def __init__(self, f: Callable[_P, tuple[_Y, Callable[..., Any]]]) -> None:
        functools.update_wrapper(self, f)
        self._f = f
        self._rule: Callable[..., Any] | None = None
        self._reruns: dict[Any, Rerun] = {}
        self._owner: Any = type  # a class method is called with its class, by newer versions of Python

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner = (type, owner)  # Owner.f(x, ...) is x.f(...)

    def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _Y:
        result: _Y
        if args and isinstance(args[0], self._owner):
            result = self._called_on(*args, **kwargs)
        else:
            result = _CustomCall(self._f, args, kwargs, self._rule, self._reruns).result()
        return result

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> "_WithGradient[_P, _Y]": ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> Callable[..., _Y]: ...
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self._called_on, instance)

    def _called_on(self, instance: Any, /, *args: Any, **kwargs: Any) -> Any:
        rule = self._rule and functools.partial(self._rule, instance)
        return _CustomCall(functools.partial(self._f, instance), args, kwargs, rule, {}, is_method=True).result()

    def __reduce__(self) -> str:
        name: str = self.__qualname__  # type: ignore[attr-defined]
        return name

    def defjvp(self, rule: _Rule) -> _Rule:
        self._rule = rule
        return rule


class _CustomCall:
    """A call of such a function, and the op that it makes of the arrays among its arguments."""

    def __init__(self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any],
                 forward: Callable[..., Any] | None, reruns: dict[Any, Rerun], is_method: bool = False) -> None:
        if kwargs:
            args, kwargs = _in_places(f, args, kwargs)
        self.f, self.kwargs, self.reruns, self.is_method = f, kwargs, reruns, is_method
        self.forward: Any = forward  # the rule that `defjvp` registered, or None
        self.name = _name(f)
        leaves, self.rebuild_args = flatten(args)
        leaves = [x.read_value() if isinstance(x, Variable) else x for x in leaves]
        # `f` gets Arrays of its own: what it writes to them is inside the op, whose inputs are the caller's
        self.leaves: list[Any] = [separate(x) if isinstance(x, Array) else x for x in leaves]
        self.positions = [i for i, x in enumerate(self.leaves) if isinstance(x, Array)]
        self.variables: list[Variable] = []
        self.pulled: Any = None  # (y_bar, cotangents of all inputs) of the sweep under way

    def result(self) -> Any:
        """Call the function; return `y` as outputs of the op."""
        given = [separate(self.leaves[i]) for i in self.positions]
        tracer = find_tracer(given)
        caught = tracer and tracer.catch(given)
        try:
            y, self.grad_fn = self.run(self.leaves, watch=is_differentiating())
        finally:
            has_escaped = tracer and tracer.release(caught)
        outputs, rebuild = flatten(y)
        inputs = tuple(given + [v.read_value() for v in self.variables])
        if not inputs or not outputs:
            return y
        self.outputs = len(outputs)
        if has_escaped:
            return rebuild(self.rerun([_as_ndarray(part) for part in outputs])(inputs))
        form, fn = "custom", self.evaluate
        if any(map(is_traced, inputs)) or any(isinstance(part, Array) and is_traced(part) for part in outputs):
            inputs += tuple([stop_gradient(part) if isinstance(part, Array) else constant(part) for part in outputs])
            form, fn = "custom_boundary", self.last
        else:
            self.values: Any = tuple([_as_ndarray(part) for part in outputs])
        op = Op(self.name, form, _weakly(fn), jvp=_weakly(self.jvp), vjp=_weakly(self.vjp), needs=(ALL_VALUES,),
                outputs=self.outputs)
        keep_rule(op, self)
        found = apply(op, inputs, ())
        return rebuild(found if self.outputs > 1 else [found])

    def rerun(self, values: list[Any]) -> Rerun:
        """Return the op that calls the function again in each replay; `values` are the outputs of this call."""
        variables = {len(self.positions) + i: variable for i, variable in enumerate(self.variables)}
        fixed = [None if i in self.positions else leaf for i, leaf in enumerate(self.leaves)]
        key: Any
        try:
            key = (*map(_same, fixed), *self.positions, *map(id, self.variables), tuple(self.kwargs), len(values),
                   *map(_same, self.kwargs.values()), self.forward)
            found = self.reruns.get(key)
        except TypeError:  # unhashable
            key = found = None
        if found is None:
            self.leaves = fixed
            found = Rerun(self.name, self.again, variables, len(values))
            if key is not None:
                self.reruns[key] = found
        found.first = values
        return found

    def again(self, inputs: list[Any]) -> list[Array]:
        """Call the function on other inputs; return its outputs."""
        leaves = self.with_inputs(inputs, self.leaves)
        args = self.rebuild_args(leaves)
        y = _CustomCall(self.f, args, self.kwargs, self.forward, self.reruns, self.is_method).result()
        return [apply(IDENTITY, (part,)) for part in flatten(y)[0]]

    def run(self, leaves: Iterable[Any], watch: bool = False) -> tuple[Any, Callable[..., Any]]:
        """Call `f` on arguments with these leaves; with `watch`, note which variables it reads."""
        args = self.rebuild_args(leaves)
        if not watch:
            return self.pair(self.f(*args, **self.kwargs))
        with Tape() as watcher:
            y, grad_fn = self.pair(self.f(*args, **self.kwargs))
        self.variables = list(watcher.watched_variables())
        if self.variables and not _takes_variables(grad_fn):
            names = [v.name for v in self.variables]
            raise TypeError(f"ad: {self.name} reads the variables {names}: its gradient function must have "
                            "a keyword `variables`, or they must be arguments")
        return y, grad_fn

    def pair(self, returned: Any) -> tuple[Any, Callable[..., Any]]:
        if isinstance(returned, tuple) and len(returned) == 2 and callable(returned[1]):
            return returned
        raise TypeError(f"ad: {self.name}, under custom_gradient, must return (y, grad_fn), "
                        f"not {kind(returned)}")

    def evaluate(self, *raw: Any) -> Any:
        """Evaluate the op on raw values; `result` has computed the outputs of the first evaluation."""
        values, self.values = self.values, None
        if values is None:
            y, _ = self.run(self.with_inputs(map(constant, raw), self.leaves))
            values = tuple([_as_ndarray(part) for part in flatten(y)[0]])
        return values if self.outputs > 1 else values[0]

    def last(self, *raw: Any) -> Any:
        """Evaluate the op in a program, where the ops of `f` have computed the outputs: they are its last inputs."""
        return raw[-self.outputs:] if self.outputs > 1 else raw[-1]

    def with_inputs(self, inputs: Iterable[Any], leaves: Iterable[Any]) -> list[Any]:
        """Return `leaves` with the op's inputs (without the variables) in the positions of the arrays."""
        leaves = list(leaves)
        for i, x in zip(self.positions, inputs):
            leaves[i] = x
        return leaves

    # -- reverse

    def vjp(self, i: int, y_bar: Any, xs: tuple[Any, ...], y: Any, params: tuple[Any, ...]) -> Any:
        if self.pulled is None or self.pulled[0] is not y_bar:
            y_bars = tuple(map(separate, y_bar if self.outputs > 1 else (y_bar,)))
            self.pulled = y_bar, self.cotangents(self.grad_fn, y_bars, xs)
        found = self.pulled[1][i] if i < len(self.pulled[1]) else None
        if i == len(xs) - 1:
            self.pulled = None
        return found

    def cotangents(self, grad_fn: Callable[..., Any], y_bars: tuple[Any, ...],
                   xs: tuple[Any, ...]) -> list[Array | None]:
        """Return the cotangents of the op's inputs, in their shapes; None where there is none."""
        if self.variables:
            x_bars, v_bars = grad_fn(*y_bars, variables=list(self.variables))
            v_bars = self.counted(v_bars, len(self.variables), "variables")
        else:
            x_bars, v_bars = grad_fn(*y_bars), []
        if self.is_method and isinstance(x_bars, (tuple, list)) and len(x_bars) > 1 and x_bars[0] is None:
            n = len(flatten_optional(x_bars))
            x_bars = x_bars[n - len(self.leaves):] if n == len(self.leaves) + 1 else x_bars  # None for the object, too
        elif self.leads_with_object() and len(flatten_optional(x_bars)) == len(self.leaves) - 1:
            x_bars = [None, *flatten_optional(x_bars)]
        x_bars = self.counted(x_bars, len(self.leaves), "arguments")
        found = [x_bars[i] for i in self.positions] + v_bars
        return [None if x_bar is None else self.fitted(x_bar, x) for x_bar, x in zip(found, xs)]

    def leads_with_object(self) -> bool:
        """Whether the first argument is not numeric, as the object of a method under another decorator."""
        return bool(self.leaves) and not isinstance(self.leaves[0], (Array, np.ndarray, np.generic, Number))

    def counted(self, x_bars: Any, n: int, what: str) -> list[Any]:
        leaves = flatten_optional(x_bars)
        if len(leaves) != n:
            raise ValueError(f"ad: the gradient function of {self.name} returned {len(leaves)} gradients "
                             f"for {n} {what}; it must return one for each (None where there is none)")
        return leaves

    def fitted(self, x_bar: Any, x: Array) -> Array:
        x_bar = apply(IDENTITY, (x_bar,))
        return broadcast_cotangent(x_bar, x.shape, "ad: the gradient function of {name} returned a gradient of shape "
                                   "{found} for an argument of shape {wanted}; sum it over the axes that broadcasting "
                                   "added", name=self.name)

    # -- forward

    def jvp(self, x_dots: tuple[Any, ...], xs: tuple[Any, ...], y: Any, params: tuple[Any, ...]) -> Any:
        known = [i for i, x_dot in enumerate(x_dots) if x_dot is not None]
        if known[-1] >= len(self.positions):
            name = self.variables[known[-1] - len(self.positions)].name
            raise MissingRule(f"ad: {self.name} has no forward rule for variable {name!r}, "
                              "which is not among its arguments")
        rule = self.transposed if self.forward is None else self.pushed
        return over_lanes(lambda *dots: rule(dict(zip(known, dots)), xs, y), tuple([x_dots[i] for i in known]),
                          tuple([xs[i] for i in known]))

    def pushed(self, x_dots: dict[int, Any], xs: tuple[Any, ...], y: Any) -> Any:
        """Compute the output's tangent by the registered rule."""
        tangents = [x_dots[i] if i in x_dots else zeros_like(x) for i, x in enumerate(xs)]
        y_dot = self.forward(self.rebuild_args(self.with_inputs(xs, self.leaves)),
                             self.rebuild_args(self.with_inputs(tangents, [0.0] * len(self.leaves))))
        parts = flatten(y_dot)[0]
        if len(parts) != self.outputs:
            raise ValueError(f"ad: the forward rule of {self.name} returned {len(parts)} tangents "
                             f"for {self.outputs} outputs")
        y_dots = tuple([apply(IDENTITY, (part,)) for part in parts])
        return y_dots if self.outputs > 1 else y_dots[0]

    def transposed(self, x_dots: dict[int, Any], xs: tuple[Any, ...], y: Any) -> Any:
        """Compute the output's tangent by transposing `grad_fn`, the transpose of the map from tangents to tangents.

        `f` is called again, so that the map depends on nothing but `xs`.
        """
        ys = y if self.outputs > 1 else (y,)
        _, grad_fn = self.run(self.with_inputs(xs, self.leaves))
        found = apply_transpose(lambda *y_bars: self.cotangents(grad_fn, y_bars, xs), ys,
                                [x_dots.get(i) for i in range(len(xs))])
        y_dots = tuple([zeros_like(part) if y_dot is None else y_dot for y_dot, part in zip(found, ys)])
        return y_dots if self.outputs > 1 else y_dots[0]


def _name(f: Any) -> str:
    """Return the name of a function, or of an object that is called like one."""
    return getattr(f, "__name__", None) or _name(getattr(f, "func", type(f)))


def _in_places(f: Callable[..., Any], args: tuple[Any, ...],
               kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Move arguments that have a gradient from the keywords to their positions in the signature of `f`."""
    if not any(isinstance(x, Array) for x in flatten(tuple(kwargs.values()))[0]):
        return args, kwargs
    signature = inspect.signature(f)
    places = [name for name, p in signature.parameters.items()
              if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    n = 0
    for name, value in kwargs.items():
        if _has_gradient(value, signature.parameters.get(name)):
            if name not in places:
                raise no_place(_name(f), name)
            n = max(n, places.index(name) + 1)
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    moved = places[len(args):n]
    return (*args, *[bound.arguments[name] for name in moved]), {k: v for k, v in kwargs.items() if k not in moved}


def _has_gradient(value: Any, parameter: inspect.Parameter | None) -> bool:
    """Whether an argument is being differentiated, or may be in a program that is being recorded."""
    arrays = [x for x in flatten(value)[0] if isinstance(x, Array)]
    required = parameter is not None and parameter.default is parameter.empty
    return any(map(is_watched, arrays)) or required and any(map(is_traced, arrays))


def _same(x: Any) -> tuple[type, Any]:
    """Return a cache key of an argument that is no array: 1, 1.0 and True have different ones."""
    return type(x), repr(x) if isinstance(x, (float, complex)) else x


def _weakly(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method without a strong reference to its object, which the recorders hold (see `keep_rule`)."""
    found = weakref.WeakMethod(method)

    def call(*args: Any) -> Any:
        bound = found()
        if bound is None:
            raise lost_recording()
        return bound(*args)

    return call


def _as_ndarray(part: Any) -> NDArray[Any]:
    return public_value(part) if isinstance(part, Array) else np.asarray(part)


def _takes_variables(grad_fn: Callable[..., Any]) -> bool:
    parameters = inspect.signature(grad_fn).parameters.values()
    return any(p.name == "variables" or p.kind is p.VAR_KEYWORD for p in parameters)
