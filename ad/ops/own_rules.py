"""The rules of users: called as the core calls those of the table, with results checked, and the missing mode derived.

A rule of the table takes the static parameters by position, and there is one for each input. That of a user takes them
by keyword, may do for all inputs at once, and may be missing: as rules are written in ops, that of the other mode can
be transposed. All errors name the op. What is said of ops here holds for calls under `custom_gradient`, too.
"""
from __future__ import annotations

import functools
import inspect
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ad._core import Array, apply, constant
from ad.errors import MissingRule, is_untraceable, kind
from ad.ops.batching import (
    aligned_tangent,
    broadcast_if_it_fits,
    fits,
    lane_count,
    over_lanes,
    total,
    zeros_like,
)
from ad.ops.forms import ALL_VALUES, conjugated, needed_values, pull_rule, push_rule
from ad.ops.opaque import Parameters, numbers_in
from ad.ops.table import ops_named
from ad.ops.traits import Batching
from ad.ops.transposing import NotLinear, apply_transpose

__all__ = ["OnceASweep", "Results", "elementwise_rules", "needs_of", "needs_of_input", "pull_of_push", "pull_of_vjp",
           "push_of_jvp", "push_of_pull", "pushed", "slopes_of", "transposed", "transposes_of"]

ASTYPE, BROADCAST_TO, SCALE, SUM_TO = ops_named("astype broadcast_to scale sum_to")

_Function = Callable[..., Any]


def needs_of(rule: Any, first: int, inputs: int) -> int:
    """Return the values that a rule of a user needs, as bits; all of them if its parameters are not known."""
    if inspect.isfunction(rule):
        return needed_values(rule, first, inputs)
    return ALL_VALUES if callable(rule) else 0


def needs_of_input(i: int, rule: Any, inputs: int) -> int:
    """Return the values that the rule of an input needs; one for all inputs needs the first: see `OnceASweep`."""
    if isinstance(rule, tuple):
        return needs_of(rule[i], 1, inputs)
    return needs_of(rule, 1, inputs) | (rule is not None and inputs > 1)


class Results:
    """Checks of what the rules of an op return.

    Parameters
    ----------
    name : str
        Of the op, for messages.
    outputs : int
    vjp : str, optional
        What messages call the reverse rule.
    """

    jvp, vjp = "jvp", "vjp"
    options = {"jvp": "give jvp=", "vjp": "give vjp="}  # how the missing rule is given
    broadcasts = False  # whether a result may have a shape that broadcasts to the one wanted

    def __init__(self, name: str, outputs: int, vjp: str = "") -> None:
        self.name, self.outputs, self.vjp = name, outputs, vjp or self.vjp

    def listed(self, y: Any) -> Sequence[Any]:
        """Return one output, or what belongs to it, in a sequence; several are in one already."""
        return (y,) if self.outputs == 1 else y

    def together(self, parts: Sequence[Any]) -> Any:
        """Return what belongs to the outputs as rules have it: alone for one output, else in a tuple."""
        return parts[0] if self.outputs == 1 else tuple(parts)

    def counted(self, dots: Any, n: int, what: str = "cotangent", of: str = "inputs") -> Sequence[Any]:
        """Return (co)tangents in a sequence; raise if there are not n of them."""
        if isinstance(dots, (tuple, list)) and len(dots) == n:
            return dots
        found = f"{len(dots)} {what}s" if isinstance(dots, (tuple, list)) else kind(dots)
        raise ValueError(f"ad: {self.name}: its {self._rule(what)} returned {found} for {n} {of}; it must return a "
                         "tuple with one for each (None for zeros)")

    def cotangents(self, x_bars: Any, xs: Sequence[Any], y: Any) -> list[Array | None]:
        """Return the cotangents of all inputs as Arrays; None for zeros."""
        if len(xs) == 1 and not isinstance(x_bars, (tuple, list)):
            x_bars = (x_bars,)
        return [self.cotangent(x_bar, x, xs, y) for x_bar, x in zip(self.counted(x_bars, len(xs)), xs)]

    def cotangent(self, x_bar: Any, x: Any, xs: Sequence[Any], y: Any) -> Array | None:
        """Return the cotangent of an input as an Array; None for zeros."""
        return None if x_bar is None else self._fitted(x_bar, x, "cotangent", (*xs, *self.listed(y)))

    def tangents(self, y_dots: Any, y: Any) -> Any:
        """Return the tangents of the outputs, given in a sequence, as rules have them."""
        y_dots = self.counted(y_dots, self.outputs, "tangent", "outputs")
        return self.together([zeros_like(part) if dot is None else self._fitted(dot, part, "tangent", (part,))
                              for dot, part in zip(y_dots, self.listed(y))])

    def _rule(self, what: str) -> str:
        return self.vjp if what == "cotangent" else self.jvp

    def _fitted(self, dot: Any, x: Any, what: str, around: Sequence[Any]) -> Array:
        """Return a (co)tangent of x as an Array; it may be complex if one of the values around it is."""
        if isinstance(dot, Array):
            array = dot
        else:
            who = f"{self.name}: its {self._rule(what)}"
            array = constant(numbers_in(dot, who, "return an array, or None for zeros"))
        if self.broadcasts:
            array = broadcast_if_it_fits(array, x.shape)
        if array.shape != x.shape:
            hint = "; sum over the axes that broadcasting added" if array.ndim > x.ndim else ""
            raise ValueError(f"{self._mismatch(what, 'shape', array, x)}; they must be the same{hint}")
        if array.dtype.kind == "c" and not any(value is not None and value.dtype.kind == "c" for value in around):
            raise TypeError(f"{self._mismatch(what, 'dtype', array, x)}; return its real part")
        if array.dtype.kind in "biu" and x.dtype.kind in "fc":
            array = apply(ASTYPE, (array,), (x.dtype,))
        return array

    def _mismatch(self, what: str, trait: str, array: Array, x: Any) -> str:
        return (f"ad: {self.name}: its {self._rule(what)} returned a {what} of {trait} {getattr(array, trait)} for an "
                f"{'input' if what == 'cotangent' else 'output'} of {trait} {getattr(x, trait)}")


# -- rules as the core calls them: jvp(x_dots, xs, y, params), vjp(i, y_bar, xs, y, params) -------------------


def pull_of_vjp(rule: Any, parameters: Parameters, results: Results, conjugates: bool) -> _Function:
    """Return the reverse rule of a user's; with `conjugates`, it gets complex values conjugated."""
    n, names = parameters.inputs, ["y_bar", *parameters.input_names(), "y"]
    if isinstance(rule, tuple):
        pulls = _pulls_of_each(rule, parameters, results, names)
        return pull_rule(pulls, [needs_of_input(i, rule, n) for i in range(n)] if conjugates else ())
    adapted, shared, read = parameters.adapted("its vjp", rule, *names), OnceASweep(n), needs_of_input(0, rule, n)

    def all_of(y_bar: Any, xs: Any, y: Any, params: Any) -> list[Array | None]:
        given, output = conjugated(xs, y, read) if conjugates else (xs, y)
        return results.cotangents(adapted(y_bar, *given, output, *params), xs, y)

    return lambda i, y_bar, xs, y, params: shared.cotangents(all_of, y_bar, xs, y, params)[i]


def transposes_of(rule: Any, parameters: Parameters, results: Results) -> list[_Function]:
    """Return `transpose(y_bar, *inputs, *params)` for each input of a linear or bilinear op."""
    names = ["y_bar", *parameters.input_names()]
    if isinstance(rule, tuple):
        return _pulls_of_each(rule, parameters, results, names)
    n, adapted = parameters.inputs, parameters.adapted(f"its {results.vjp}", rule, *names)
    shared = OnceASweep(n)

    def all_of(y_bar: Any, xs: Any, _y: Any, params: Any) -> list[Array | None]:
        return results.cotangents(adapted(y_bar, *xs, *params), xs, y_bar)

    def of_input(i: int) -> _Function:
        return lambda y_bar, *rest: shared.cotangents(all_of, y_bar, rest[:n], None, rest[n:])[i]

    return [of_input(i) for i in range(n)]


def push_of_jvp(rule: Any, parameters: Parameters, results: Results, batching: Batching) -> _Function:
    """Return the forward rule of a user's."""
    n, names = parameters.inputs, [*parameters.input_names(), "y"]
    if isinstance(rule, tuple):
        _check_count(rule, parameters, "jvp")
        return push_rule([_push_of_input(each, parameters, results, names) for each in rule], batching)
    adapted = parameters.adapted("its jvp", rule, "x_dot" if n == 1 else "x_dots", *names)

    def push(x_dots: Any, xs: Any, y: Any, params: Any) -> Any:
        def of_all(dots: Any) -> Sequence[Any]:
            return results.listed(adapted(dots[0] if n == 1 else dots, *xs, y, *params))

        return pushed(results, of_all, x_dots, xs, y)

    return push


def _pulls_of_each(rules: tuple[Any, ...], parameters: Parameters, results: Results, names: list[str]
                   ) -> list[_Function]:
    """Return the rules of one input each as the table has them: `vjp(y_bar, *inputs, y, *params)`."""
    n, has_output = parameters.inputs, len(names) > parameters.inputs + 1
    _check_count(rules, parameters, results.vjp)
    adapted = [parameters.adapted(f"its {results.vjp}", rule, *names) for rule in rules]

    def of_input(i: int) -> _Function:
        def pull(y_bar: Any, *rest: Any) -> Any:
            xs = rest[:n]
            return results.cotangent(adapted[i](y_bar, *rest), xs[i], xs, rest[n] if has_output else y_bar)

        return pull

    return [of_input(i) for i in range(n)]


def _push_of_input(rule: Any, parameters: Parameters, results: Results, names: list[str]) -> _Function:
    """Return the rule of one input as the table has it: `jvp(x_dot, *inputs, y, *params)`."""
    n, adapted = parameters.inputs, parameters.adapted("its jvp", rule, "x_dot", *names)
    return lambda x_dot, *rest: results.tangents(results.listed(adapted(x_dot, *rest)), rest[n])


def _check_count(rules: tuple[Any, ...], parameters: Parameters, what: str) -> None:
    if len(rules) != parameters.inputs:
        raise TypeError(f"ad: {parameters.name}: it has {parameters.inputs} inputs ("
                        f"{', '.join(parameters.input_names())}) and {len(rules)} rules {what}; give one for each")


class OnceASweep:
    """Calls a reverse rule for all inputs once, where a sweep asks for one cotangent after the other.

    The sweep reads the inputs of a node once, so that the Array of the first one, with the output's cotangent, tells
    for which node it asks. The cotangents are kept for as long as these live.

    Parameters
    ----------
    inputs : int
        How many inputs have cotangents: those of one are not kept.
    """

    def __init__(self, inputs: int) -> None:
        self.inputs, self.latest = inputs, threading.local()

    def cotangents(self, rule: _Function, y_bar: Any, xs: Sequence[Any], y: Any, params: Any) -> Sequence[Any]:
        """Return rule(y_bar, xs, y, params), the cotangents of all inputs."""
        if self.inputs == 1 or not isinstance(xs[0], Array):
            found: list[Any] = rule(y_bar, xs, y, params)
            return found
        given = (xs[0], *y_bar) if isinstance(y_bar, tuple) else (xs[0], y_bar)
        known, found = getattr(self.latest, "entry", ((), []))
        if not found or len(known) != len(given) or any(ref() is not x for ref, x in zip(known, given)):
            found = [*rule(y_bar, xs, y, params)]
            drop = functools.partial(_clear, found)
            self.latest.entry = [weakref.ref(x, drop) for x in given], found
        return [*found]


def _clear(found: list[Any], _: Any) -> None:
    found.clear()


def pushed(results: Results, rule: _Function, x_dots: Sequence[Any], xs: Sequence[Any], y: Any) -> Any:
    """Return the outputs' tangents by a rule for all inputs, which takes zeros for tangents that are None.

    `rule(x_dots)` returns a sequence of the outputs' tangents.
    """
    def of_lane(*dots: Any) -> Any:
        return results.tangents(rule(tuple([zeros_like(x) if dot is None else dot for dot, x in zip(dots, xs)])), y)

    return over_lanes(of_lane, x_dots, xs)


# -- the missing mode -----------------------------------------------------------------------------------------


def push_of_pull(pull: _Function, results: Results) -> _Function:
    """Return the forward rule that transposes the reverse rule."""

    def push(x_dots: Any, xs: Any, y: Any, params: Any) -> Any:
        def linear(y_bar: Any) -> list[Array | None]:
            return [None if x_dot is None else pull(i, y_bar, xs, y, params) for i, x_dot in enumerate(x_dots)]

        return transposed(results, linear, x_dots, xs, y)

    return push


def transposed(results: Results, linear: _Function, x_dots: Sequence[Any], xs: Sequence[Any], y: Any) -> Any:
    """Return the outputs' tangents by the transpose of `linear(y_bar)`, which returns the cotangents of the inputs."""
    ys = results.listed(y)

    def of_lane(*dots: Any) -> Any:
        found = _transposed(results, "jvp", lambda *y_bars: linear(results.together(y_bars)), ys, dots)
        return results.together([zeros_like(part) if dot is None else dot for dot, part in zip(found, ys)])

    return over_lanes(of_lane, x_dots, xs)


def pull_of_push(push: _Function, results: Results, inputs: int, is_of_all: bool) -> _Function:
    """Return the reverse rule that transposes the forward rule: once, if that is of all inputs, or for each of them."""
    shared = OnceASweep(inputs)

    def pull_all(y_bar: Any, xs: Any, y: Any, params: Any) -> list[Array | None]:
        return _transposed(results, "vjp", lambda *x_dots: results.listed(push(x_dots, xs, y, params)), xs,
                           results.listed(y_bar))

    def pull_each(i: int, y_bar: Any, xs: Any, y: Any, params: Any) -> Any:
        def linear(x_dot: Any) -> Sequence[Any]:
            return results.listed(push([x_dot if k == i else None for k in range(inputs)], xs, y, params))

        return _transposed(results, "vjp", linear, [xs[i]], results.listed(y_bar))[0]

    if not is_of_all:
        return pull_each
    return lambda i, y_bar, xs, y, params: shared.cotangents(pull_all, y_bar, xs, y, params)[i]


def _transposed(results: Results, wanted: str, linear: _Function, like: Sequence[Any],
                bars: Sequence[Any]) -> list[Array | None]:
    """Apply the transpose of a rule; raise MissingRule if the rule has no transpose."""
    given, mode, dot = (results.vjp, "forward", "y_bar") if wanted == "jvp" else (results.jvp, "reverse", "x_dot")
    message = (f"ad: {results.name} has no rule in {mode} mode, and none can be derived from its {given}, which is not "
               f"made of operations on {dot} that ad differentiates")
    try:
        return apply_transpose(linear, like, bars, checked=True)
    except NotLinear:
        raise MissingRule(f"{message}: its result does not depend on {dot}, and is not zero. Write it in ops of ad and "
                          f"NumPy (without .numpy()), or {results.options[wanted]}") from None
    except Exception as error:
        if not is_untraceable(error):
            raise
        raise MissingRule(f"{message}: {error} Or {results.options[wanted]}") from error


# -- elementwise ops ------------------------------------------------------------------------------------------


def slopes_of(partials: tuple[Any, ...], parameters: Parameters) -> tuple[Any, ...]:
    """Return the partials with the static parameters by position, and their results checked; numbers unchanged."""
    names = [*parameters.input_names(), "y"]
    _check_count(partials, parameters, "partials")
    return tuple([partial if isinstance(partial, (int, float, complex)) else
                  _checked_slope(parameters.adapted("its partial", partial, *names), parameters)
                  for partial in partials])


def _checked_slope(partial: _Function, parameters: Parameters) -> _Function:
    def slope(*args: Any) -> Any:
        found = partial(*args)
        if not isinstance(found, Array):
            numbers_in(found, f"{parameters.name}: its partial")
        known = [x.shape for x in args[:parameters.inputs + 1] if x is not None]
        shape = np.shape(found)
        if shape and known and shape not in known and not fits(shape, np.broadcast_shapes(*known)):
            raise ValueError(f"ad: {parameters.name}: its partial returned an array of shape {shape}, which does not "
                             f"broadcast to that of the output, {np.broadcast_shapes(*known)}")
        return found

    return slope


def elementwise_rules(slopes: tuple[Any, ...]) -> tuple[_Function, _Function]:
    """Return the rules of an elementwise op with static parameters; one without them is one of the core's."""

    def slope_of(i: int, xs: Any, y: Any, params: Any) -> Any:
        return slopes[i](*xs, y, *params) if callable(slopes[i]) else slopes[i]

    def pull(i: int, y_bar: Any, xs: Any, y: Any, params: Any) -> Any:
        x_bar = apply(SCALE, (y_bar, np.conj(slope_of(i, xs, y, params))))
        return apply(SUM_TO, (x_bar,), (xs[i].shape,))

    def push(x_dots: Any, xs: Any, y: Any, params: Any) -> Any:
        given = [i for i, x_dot in enumerate(x_dots) if x_dot is not None]
        y_dot = total(apply(SCALE, (aligned_tangent(x_dots[i], i, xs, params, 0), slope_of(i, xs, y, params)))
                      for i in given)
        lanes = lane_count(x_dots, xs)
        shape = y.shape if lanes is None else (lanes, *y.shape)
        return y_dot if y_dot.shape == shape else apply(BROADCAST_TO, (y_dot,), (shape,))

    return push, pull
