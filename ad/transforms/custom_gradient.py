"""`custom_gradient`: a function whose derivative rule the caller gives."""
import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from numbers import Number
from typing import Any, Generic, ParamSpec, TypeVar, overload

import numpy as np

from ad._core import Array, constant
from ad.engine.array import public_value
from ad.engine.inspection import find_tracer
from ad.engine.tape import Tape, is_differentiating
from ad.engine.variable import Variable
from ad.engine.writing import separate
from ad.errors import kind, name_of, not_a_function
from ad.ops.opaque import numbers_in
from ad.ops.own_call import with_inputs_in_places, with_rules_of_call
from ad.ops.own_rules import OnceASweep, Results, pushed, transposed
from ad.transforms.replay import Rerun, Reruns, refuse_tangents
from ad.trees import flatten, flatten_optional

__all__ = ["custom_gradient"]

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
    ValueError, TypeError
        In the sweep, if `grad_fn` returns another number of cotangents than it should, one of a shape that does not
        broadcast to the argument's, or no numbers; or a forward rule such tangents.
    MissingRule
        In forward mode, if there is no forward rule, and `grad_fn` cannot be transposed.

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
        self._reruns = Reruns()
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
        return _CustomCall(functools.partial(self._f, instance), args, kwargs, rule, Reruns(), is_method=True).result()

    def __reduce__(self) -> str:
        name: str = self.__qualname__  # type: ignore[attr-defined]
        return name

    def defjvp(self, rule: _Rule) -> _Rule:
        self._rule = rule
        return rule


class _Results(Results):
    """Checks of what `grad_fn` and a forward rule return."""

    jvp, vjp, broadcasts = "forward rule", "grad_fn", True
    options = {"jvp": "register a forward rule by defjvp"}


class _CustomCall:
    """A call of such a function, and its rules for the arrays among its arguments and the variables that it reads."""

    def __init__(self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any],
                 forward: Callable[..., Any] | None, reruns: Reruns, is_method: bool = False) -> None:
        if kwargs:
            args, kwargs = with_inputs_in_places(f, args, kwargs)
        self.f, self.kwargs, self.reruns, self.is_method = f, kwargs, reruns, is_method
        self.forward: Any = forward  # the rule that `defjvp` registered, or None
        self.name = name_of(f)
        leaves, self.rebuild_args = flatten(args)
        leaves = [x.read_value() if isinstance(x, Variable) else x for x in leaves]
        # `f` gets Arrays of its own: what it writes to them is inside the op, whose inputs are the caller's
        self.leaves: list[Any] = [separate(x) if isinstance(x, Array) else x for x in leaves]
        self.positions = [i for i, x in enumerate(self.leaves) if isinstance(x, Array)]
        self.variables: dict[int, Variable] = {}  # by their place among the inputs

    def result(self) -> Any:
        """Call the function; return `y` with its derivatives."""
        given = [separate(self.leaves[i]) for i in self.positions]
        tracer = find_tracer(given)
        caught = tracer and tracer.catch(given)
        try:
            y, self.grad_fn = self.run_watched() if is_differentiating() else self.run(self.leaves)
        finally:
            has_escaped = tracer and tracer.release(caught)
        leaves, rebuild = flatten(y)
        inputs = given + [v.read_value() for v in self.variables.values()]
        if not inputs or not leaves:
            return y
        outputs = [part if isinstance(part, Array) else constant(
            numbers_in(part, f"{self.name}: the function", "it must return arrays and numbers")) for part in leaves]
        if has_escaped:
            return rebuild(self.rerun(outputs)(inputs))
        self.results, self.once = _Results(self.name, len(outputs)), OnceASweep(len(inputs))
        return rebuild(with_rules_of_call(self.name, inputs, outputs, self))

    def rerun(self, outputs: list[Array]) -> Rerun:
        """Return the op that calls the function again in each replay; `outputs` are those of this call."""
        self.leaves = self.with_inputs([None] * len(self.positions))
        fixed = (*self.leaves, *self.positions, *map(id, self.variables.values()), *self.kwargs, *self.kwargs.values(),
                 self.forward)
        return self.reruns.known(fixed, Rerun(self.name, self.again, self.variables, [*map(public_value, outputs)]))

    def again(self, inputs: list[Any]) -> list[Any]:
        """Call the function on other inputs; return its outputs."""
        args = self.rebuild_args(self.with_inputs(inputs))
        return flatten(_CustomCall(self.f, args, self.kwargs, self.forward, self.reruns, self.is_method).result())[0]

    def run(self, leaves: Iterable[Any]) -> tuple[Any, Callable[..., Any]]:
        """Call `f` on arguments with these leaves."""
        returned = self.f(*self.rebuild_args(leaves), **self.kwargs)
        if isinstance(returned, tuple) and len(returned) == 2 and callable(returned[1]):
            return returned
        raise TypeError(f"ad: {self.name}, under custom_gradient, must return (y, grad_fn), not {kind(returned)}")

    def run_watched(self) -> tuple[Any, Callable[..., Any]]:
        """Call `f` on the arguments; note which variables it reads."""
        with Tape() as watcher:
            y, grad_fn = self.run(self.leaves)
        self.variables = dict(enumerate(watcher.watched_variables(), len(self.positions)))
        if self.variables and not any(p.name == "variables" or p.kind is p.VAR_KEYWORD
                                      for p in inspect.signature(grad_fn).parameters.values()):
            names = [v.name for v in self.variables.values()]
            raise TypeError(f"ad: {self.name} reads the variables {names}: its grad_fn must have a keyword "
                            "`variables`, or they must be arguments")
        return y, grad_fn

    def with_inputs(self, inputs: Iterable[Any], fill: Sequence[Any] | None = None) -> list[Any]:
        """Return the leaves of the arguments, or `fill`, with inputs in the positions of the arrays."""
        leaves = list(self.leaves if fill is None else fill)
        for i, x in zip(self.positions, inputs):
            leaves[i] = x
        return leaves

    # -- rules

    def vjp(self, i: int, y_bar: Any, xs: Sequence[Any], y: Any, params: tuple[Any, ...]) -> Any:
        return self.once.cotangents(lambda y_bar, xs, y, _: self.cotangents(self.grad_fn, y_bar, xs, y),
                                    y_bar, xs, y, params)[i]

    def jvp(self, x_dots: Sequence[Any], xs: Sequence[Any], y: Any, params: tuple[Any, ...]) -> Any:
        refuse_tangents(self.name, self.variables, x_dots)
        n = len(self.positions)
        x_dots, xs = x_dots[:n], xs[:n]
        if self.forward is not None:
            return pushed(self.results, functools.partial(self.tangents, xs), x_dots, xs, y)
        _, grad_fn = self.run(self.with_inputs(xs))  # again, so that it depends on nothing but `xs`
        return transposed(self.results, lambda y_bar: self.cotangents(grad_fn, y_bar, xs, y), x_dots, xs, y)

    def tangents(self, xs: Sequence[Any], x_dots: Sequence[Any]) -> list[Any]:
        """Return what the registered rule does."""
        zeros = [0.0] * len(self.leaves)
        return flatten_optional(self.forward(self.rebuild_args(self.with_inputs(xs)),
                                             self.rebuild_args(self.with_inputs(x_dots, zeros))))

    def cotangents(self, grad_fn: Callable[..., Any], y_bar: Any, xs: Sequence[Any], y: Any) -> list[Array | None]:
        """Return the cotangents of the inputs by a gradient function."""
        y_bars = map(separate, self.results.listed(y_bar))
        v_bars: Any = ()
        if self.variables:
            pair = grad_fn(*y_bars, variables=list(self.variables.values()))
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise TypeError(f"ad: {self.name}: as it reads variables, its grad_fn must return a pair: the "
                                f"cotangents of the arguments, and a list of those of the variables; not {kind(pair)}")
            x_bars, v_bars = pair
            v_bars = self.results.counted(flatten_optional(v_bars), len(self.variables), of="variables")
        else:
            x_bars = grad_fn(*y_bars)
        x_bars = self.of_arguments(flatten_optional(x_bars))
        found = [*[x_bars[i] for i in self.positions], *v_bars]
        return [self.results.cotangent(x_bar, x, xs, y) for x_bar, x in zip(found, xs)]

    def of_arguments(self, x_bars: list[Any]) -> Sequence[Any]:
        """Return a cotangent for each leaf of the arguments; for the object of a method, one may be given or not."""
        surplus = len(x_bars) - len(self.leaves)
        if self.is_method and surplus == 1 and x_bars[0] is None:
            x_bars = x_bars[1:]
        elif surplus == -1 and not isinstance(self.leaves[0], (Array, np.ndarray, np.generic, Number)):
            x_bars = [None, *x_bars]  # under another decorator, the object is an argument
        return self.results.counted(x_bars, len(self.leaves), of="arguments")
