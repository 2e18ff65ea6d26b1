"""The forms in which an op is written down: one call, in one place, for each.

`elementwise`, `linear`, `bilinear`, `custom` and `composite` each make an entry of `TABLE` and return
the public function. Rules are written in the library's own ops, so that they run on plain
values, on taped values and on duals, and can be differentiated again.

In a rule, a parameter whose name begins with an underscore is not needed by value: the tape drops
it, and the rule is given its `.shape`, `.dtype`, `.ndim` and `.size` (in a partial, None).

Every form takes these options:

domain : callable or tuple
    `domain(rng, shape)` samples an input (a tuple of them: one for each input).
cases : tuple
    Calls to test it with, made by `case`.
singular : str
    What happens where the derivative does not exist.
points : tuple of Point
    Such points, with the derivatives there, made by `point`: for the documentation and the tests.
method : bool or str
    Whether (under what name) it is a method of Array.

All but `composite` also take the fields of `Traits` (`ad/ops/traits.py`), and `shape_rule`, which returns shape and
dtype of the output (`ad/ops/shape_rules.py`). `linear` and `custom` take `reduction_kernel`, a ufunc and its identity,
for a reduction with the params `(axis, keepdims)`.
"""
from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ad._core import Array, apply
from ad.engine.graph import Op
from ad.engine.public_functions import add_method, elementwise_function
from ad.engine.writing import without_views
from ad.errors import unsupported_argument
from ad.ops import shape_rules
from ad.ops.batching import aligned_tangent, linear_over_lanes, over_lanes, total
from ad.ops.binding import (
    ArgumentBinder,
    evaluated_by_numpy,
    guarded,
    has_array,
    public_function,
    variadic_function,
)
from ad.ops.documentation import EXACT, Accuracy, Point, case, documentation, inexact, point, present, singular_text
from ad.ops.nondifferentiable import FINAL
from ad.ops.table import TABLE, Entry, register
from ad.ops.traits import BROADCASTS, ONE_BY_ONE, Batching, Traits

__all__ = [
    "ALL_VALUES", "OUTPUT", "TABLE", "Accuracy", "Batching", "Entry", "Made", "bilinear", "bilinear_rules", "case",
    "composite", "composite_function", "conjugated", "custom", "elementwise", "inexact", "linear", "linear_rules",
    "needed_values", "numpy_signature", "point", "pull_rule", "push_rule", "stacked",
]

# Of the bits for the values that a rule needs: the output, and all inputs and outputs.
OUTPUT, ALL_VALUES = 1 << 31, (1 << 32) - 1

_Function = Callable[..., Any]
_Decorator = Callable[[_Function], Any]


# -- the values that a rule needs ----------------------------------------------------------------


def needed_values(rule: Any, first: int, inputs: int) -> int:
    """Bits for the values a rule needs: bit k for input k, bit 31 for the output.

    They follow from the names of its parameters, of which the one at `first` is its first input, or are its `needs`.
    """
    if not callable(rule):
        return 0
    if hasattr(rule, "needs"):
        return int(rule.needs)
    code = rule.__code__
    named = builtins.min(code.co_argcount - first, inputs + 1)
    bits = 0
    for i, name in enumerate(code.co_varnames[first : first + named]):
        if not name.startswith("_"):
            bits |= OUTPUT if i == inputs else 1 << i
    if code.co_flags & inspect.CO_VARARGS and not code.co_varnames[code.co_argcount].startswith("_"):
        bits |= (OUTPUT - (1 << named)) | OUTPUT  # all that follows
    return bits


def _tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


# -- elementwise ---------------------------------------------------------------------------------


def elementwise(
    name: str, numpy: Any, partials: Any, *, domain: Any, singular: str = "", points: Sequence[Point] = (),
    accuracy: Accuracy = EXACT, method: bool | str = False, fn: _Function | None = None,
    shape_rule: _Function | None = None, **traits: Any
) -> _Function:
    """An op that works element by element, and broadcasts.

    Parameters
    ----------
    name : str
    numpy : callable or tuple
        The NumPy callables it stands for; the first one computes it.
    partials : callable, number, or a tuple with one for each input
        `partial(*inputs, output)` is the derivative with respect to that input.
    accuracy : Accuracy
        Of the partials; by default within 8 ulp.
    fn : callable, optional
        Computes it on raw values, where NumPy's callable does not do.
    domain, singular, points, method, shape_rule, **traits
        As for all forms. Batching and the shape rule of a ufunc need not be given.
    """
    partials, numpy = _tuple(partials), () if numpy is None else _tuple(numpy)
    needs = [needed_values(partial, 0, len(partials)) for partial in partials]
    singular, known = singular_text(points, singular), Traits(**{"batching": BROADCASTS, **traits})
    op = Op(name, "elementwise", fn or numpy[0], partials=partials, needs=needs, dots=known.dots)
    op.shape_rule = shape_rule or (shape_rules.elementwise_shape(op.fn) if shape_rules.is_elementwise(op.fn) else None)
    op.set_power(known.exponent, known.radicand, known.carry)
    op.write = known.write
    inputs = "x" if len(partials) == 1 else "x1, x2"
    signature = f"{name}({inputs}, /, **kwargs)\n--\n\n"  # as CPython wants it of a built-in function
    function = elementwise_function(op, signature + documentation(name, None, numpy, singular, accuracy))
    entry = Entry(name, function, "elementwise", numpy=numpy, op=op, domain=domain, points=points,
                  singular=singular, accuracy=accuracy)
    register(entry, traits=known)
    if method:
        add_method(name if method is True else method, lambda x, *rest: apply(op, (x, *rest)))
    return function


# -- forms with static parameters ----------------------------------------------------------------


def _define(
    function: Any, form: str, numpy: tuple[_Function, ...], *, inputs: int | None, jvp: _Function, vjp: _Function,
    needs: Sequence[int], outputs: int = 1, domain: Any = None, cases: Sequence[Any] = (), singular: str = "",
    points: Sequence[Point] = (), method: bool | str = False, shape_rule: _Function | None = None,
    reduction_kernel: tuple[np.ufunc, float] | None = None, **traits: Any
) -> Any:
    """The op, public function and entry for a form with static parameters."""
    singular, known = singular_text(points, singular), Traits(**traits)
    name = function.__name__.rstrip("_").lstrip("_")
    variadic = inputs is None
    binder = ArgumentBinder(function, 1 if inputs is None else inputs)
    n = len(binder.parameters)
    fn = (lambda *args: function(args[: len(args) - n], *args[len(args) - n :])) if variadic else function
    op = Op(name, form, fn, jvp=jvp, vjp=vjp, needs=needs, parameters=binder.parameters, outputs=outputs,
            reduction_kernel=reduction_kernel)
    op.shape_rule = shape_rule
    carry = (lambda power, i, p, xs, params: apply(op, (power,), params)) if known.carry == "moved" else known.carry
    op.set_power(None, known.radicand, carry)
    op.write = known.write
    public: Any = variadic_function(op, binder, function) if variadic else public_function(op, binder, function, numpy)
    present(public, function, name, numpy, singular)
    public.op = op
    register(Entry(name, public, form, numpy=numpy, op=op, domain=domain, cases=cases, points=points,
                   singular=singular), method, traits=known)
    return public


def numpy_signature(name: str, *numpy: _Function, cases: Sequence[Any] = (), method: bool | str = False) -> _Decorator:
    """Decorates a public function that runs an op, but has the signature of NumPy's function.

    It takes the place of the op's own function in the entry `name`; `cases` are calls of it. It
    is for signatures that differ from the op's, and for calls too hot to be bound by `ArgumentBinder`.
    """

    def define(function: Any) -> Any:
        entry = TABLE[name]
        public: Any = guarded(function, numpy[0]) if numpy else function
        entry.function, entry.numpy, entry.cases = public, numpy, cases or entry.cases
        public.op = function.op = entry.op
        public.__doc__ = function.__doc__ = documentation(name, function.__doc__, numpy, entry.singular)
        register(entry, method, function)
        return function

    return define


def linear(*numpy: _Function, transpose: Any, inputs: int | None = 1, **options: Any) -> _Decorator:
    """An op that is linear in its inputs: the transpose is all its rule.

    Decorates the function that computes it on raw values: its first `inputs` parameters are the
    inputs (None: the first parameter is a sequence of them), the rest are static.

    Parameters
    ----------
    *numpy : callables
        The NumPy functions it stands for.
    transpose : callable, or a tuple with one for each input
        `transpose(y_bar, *inputs, *params)` is the input's cotangent; of the inputs only shape and dtype are known.
        With `inputs=None`: `transpose(y_bar, i, inputs, *params)`.
    inputs : int or None
    **options
        As for all forms.
    """

    def define(function: Any) -> Any:
        made = Made()
        jvp, vjp = linear_rules(made, _tuple(transpose), inputs, options.get("batching", ONE_BY_ONE))
        public = _define(function, "linear", numpy, inputs=inputs, jvp=jvp, vjp=vjp, needs=(0,), **options)
        made.op = public.op
        return public

    return define


def bilinear(*numpy: _Function, transposes: tuple[_Function, _Function], **options: Any) -> _Decorator:
    """An op of two inputs, linear in each: `transposes[i](y_bar, x1, x2, *params)`.

    The transposes of a complex op are those of the real one: they are given conjugated inputs.

    Parameters
    ----------
    *numpy : callables
        The NumPy functions it stands for.
    transposes : tuple of two callables
    **options
        As for all forms.
    """

    def define(function: Any) -> Any:
        made, needs = Made(), [needed_values(rule, 1, 2) for rule in transposes]
        jvp, vjp = bilinear_rules(made, transposes, needs, options.get("batching", ONE_BY_ONE))
        public = _define(function, "bilinear", numpy, inputs=2, jvp=jvp, vjp=vjp, needs=needs, **options)
        made.op = public.op
        return public

    return define


def custom(
    *numpy: _Function, jvp: Any, vjp: Any, inputs: int | None = 1, outputs: int = 1, conjugates: bool = True,
    **options: Any
) -> _Decorator:
    """An op that no simpler form holds: both rules are given, one of each for every input.

    Parameters
    ----------
    *numpy : callables
        The NumPy functions it stands for.
    jvp : callable, or a tuple with one for each input
        `jvp(x_dot, *inputs, y, *params)` is what an input's tangent adds to the output's.
    vjp : callable, or a tuple with one for each input
        `vjp(y_bar, *inputs, y, *params)` is the input's cotangent.
    inputs : int or None
        As for `linear`.
    outputs : int
        With several, `y`, `y_bar` and what `jvp` returns are tuples.
    conjugates : bool
        Whether `vjp` is given complex inputs and outputs conjugated: then the rule for real numbers is right for a
        holomorphic function of complex numbers. False for a rule that conjugates by itself what it has to.
    **options
        As for all forms.
    """

    def define(function: Any) -> Any:
        jvps, vjps = _tuple(jvp), _tuple(vjp)
        count = 1 if inputs is None else inputs
        needs = [needed_values(a, 1, count) | needed_values(b, 1, count) for a, b in zip(jvps, vjps)]
        if outputs > 1:
            needs = [bits | OUTPUT for bits in needs]
        read = [needed_values(rule, 1, count) for rule in vjps] if conjugates else ()
        pull, push = pull_rule(vjps, read), push_rule(jvps, options.get("batching", ONE_BY_ONE))
        return _define(function, "custom", numpy, inputs=inputs, outputs=outputs, jvp=push, vjp=pull, needs=needs,
                       **options)

    return define


# -- the rules of these forms, as the core calls them: jvp(x_dots, xs, y, params), vjp(i, y_bar, xs, y, params) -------


class Made:
    """The op that rules belong to, which is made after them."""

    op: Op


def linear_rules(made: Made, transposes: Sequence[_Function], inputs: int | None,
                 batching: Batching) -> tuple[_Function, _Function]:
    """Return the forward and the reverse rule of an op that is linear in its inputs."""

    def vjp(i: int, y_bar: Any, xs: Any, y: Any, params: Any) -> Any:
        if inputs is None:
            return transposes[0](y_bar, i, xs, *params)
        return transposes[i](y_bar, *xs, *params)

    def jvp(x_dots: Any, xs: Any, y: Any, params: Any) -> Any:
        if len(xs) == 1:  # the commonest, once for every op of a forward sweep
            (x_dot,), (x,) = x_dots, xs
            if x_dot.ndim == x.ndim:
                return apply(made.op, x_dots, params)
            if batching.rule is not None:
                return batching.rule(x_dots, xs, y, *params)
            shifted = batching.params(x.ndim, *params) if batching.params else None
            if shifted is not None:
                return apply(made.op, x_dots, shifted)
        return linear_over_lanes(made.op, batching, x_dots, xs, y, params)

    return jvp, vjp


def bilinear_rules(made: Made, transposes: Sequence[_Function], needs: Sequence[int],
                   batching: Batching) -> tuple[_Function, _Function]:
    """Return the forward and the reverse rule of an op of two inputs that is linear in each."""

    def vjp(i: int, y_bar: Any, xs: Any, y: Any, params: Any) -> Any:
        return transposes[i](y_bar, *_conjugated(xs, needs[i]), *params)

    def jvp(x_dots: Any, xs: Any, y: Any, params: Any) -> Any:
        return total(
            over_lanes(
                lambda d, i=i: apply(made.op, (*xs[:i], d, *xs[i + 1 :]), params),
                (aligned_tangent(x_dots[i], i, xs, params, batching.tangents),), (xs[i],), batching.tangents,
            )
            for i in (0, 1) if x_dots[i] is not None
        )

    return jvp, vjp


def pull_rule(vjps: Sequence[_Function], read: Sequence[int]) -> _Function:
    """Return the reverse rule that calls one for each input; `read` has the values that each reads, to conjugate."""

    def pull(i: int, y_bar: Any, xs: Any, y: Any, params: Any) -> Any:
        if i >= len(vjps):
            return None  # of an input without a rule: integers, which an own op may have computed of floats
        xs, y = conjugated(xs, y, read[i]) if read else (xs, y)
        return vjps[i](y_bar, *xs, y, *params)

    return pull


def push_rule(jvps: Sequence[_Function], batching: Batching) -> _Function:
    """Return the forward rule that adds up what the rule of each input gives."""

    def push(x_dots: Any, xs: Any, y: Any, params: Any) -> Any:
        return total(
            over_lanes(lambda d, i=i: jvps[i](d, *xs, y, *params),
                       (aligned_tangent(x_dots[i], i, xs, params, batching.tangents),), (xs[i],), batching.tangents)
            for i in range(min(len(xs), len(jvps))) if x_dots[i] is not None
        )

    return push


def conjugated(xs: Sequence[Any], y: Any, read: int) -> tuple[tuple[Any, ...], Any]:
    """Inputs and output, of which those that are complex are conjugated if a rule reads them: see `needed_values`."""
    return _conjugated(xs, read), y if read < OUTPUT else _conjugate(y)


def _conjugated(xs: Sequence[Any], read: int) -> tuple[Any, ...]:
    """Inputs, conjugated if they are complex and a rule reads them; bit k of `read` is that of input k."""
    return tuple([_conjugate(x) if read >> min(k, 30) & 1 else x for k, x in enumerate(xs)])


def _conjugate(x: Any) -> Any:
    """The conjugate of a complex value, or of those in a tuple; what is left of a dropped value unchanged."""
    if isinstance(x, Array):
        return TABLE["conjugate"].function(x) if x.dtype.kind == "c" else x
    return tuple([_conjugate(part) for part in x]) if type(x) is tuple else x


# -- functions written in ops --------------------------------------------------------------------


def composite(
    *numpy: _Function, domain: Any = None, cases: Sequence[Any] = (), singular: str = "",
    points: Sequence[Point] = (), method: bool | str = False, sequence: bool = False, view: bool = False,
    final: bool = False
) -> _Decorator:
    """A function written in other ops; its derivatives are theirs. Decorates that function.

    Lists that hold Arrays are stacked before it is called, unless it takes a `sequence` of arrays. If it has no rule
    for its arguments (it raises MissingRule), NumPy evaluates the call where nothing is being differentiated. Nothing
    of this if it is `final`: it is called whatever the arguments are, and what it raises is what the caller gets. Only
    with `view` may its result be a view, to which one writes what shows in the argument, as NumPy's function has it.
    """
    singular = singular_text(points, singular)

    def define(function: Any) -> Any:
        name = function.__name__.rstrip("_")
        FINAL.update(numpy if final else ())
        public = composite_function(function, numpy, sequence, view, final)
        present(public, function, name, numpy, singular)
        register(Entry(name, public, "composite", numpy=numpy, domain=domain, cases=cases, points=points,
                       singular=singular), method)
        return public

    return define


def composite_function(
    function: Any, numpy: Sequence[_Function], sequence: bool = False, view: bool = False, final: bool = False
) -> _Function:
    """Return the public function of a composite: see `composite`."""
    original = numpy[0] if numpy else None
    name, code = function.__name__.rstrip("_"), function.__code__
    named = code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]
    open_ended = code.co_flags & inspect.CO_VARKEYWORDS

    def public(*args: Any, **kwargs: Any) -> Any:
        if original is None or final:
            found = function(*args, **kwargs)
            return found if view else without_views(found)
        if not has_array(args) and not has_array(kwargs.values()):
            return original(*args, **kwargs)
        given = {k: v for k, v in kwargs.items() if v is not np._NoValue}
        try:
            for option in given:
                if option not in named and not open_ended:
                    raise unsupported_argument(name, option, given[option])
            if sequence:
                found = function(*args, **given)
            else:
                found = function(*[_operand(i == 0, value) for i, value in enumerate(args)],
                                 **{key: _operand(key == named[0], value) for key, value in given.items()})
            return found if view else without_views(found)
        except Exception as refusal:
            return evaluated_by_numpy(numpy, args, kwargs, refusal)

    return public


def _operand(is_main: bool, value: Any) -> Any:
    """An argument of a composite function: a list becomes an array if it holds Arrays or is the main argument."""
    if not isinstance(value, (list, tuple)):
        return value
    return stacked(value) if has_array(value) else np.asarray(value) if is_main else value


def stacked(value: Any) -> Any:
    """The stack of a list that holds Arrays; anything else unchanged."""
    if isinstance(value, (list, tuple)) and has_array(value):
        return TABLE["stack"].function([stacked(part) for part in value])
    return value
