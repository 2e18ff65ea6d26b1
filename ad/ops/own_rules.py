"""The rules of ops of users: called as the table's are, with their results checked, and the missing mode derived.

A rule of the table takes the static parameters by position, and there is one for each input. That of a user takes them
by keyword, may do for all inputs at once, and may be missing: as rules are written in ops, that of the other mode can
be transposed. All errors name the op.
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
from ad.ops.batching import aligned_tangent, lane_count, total, zeros_like
from ad.ops.forms import ALL_VALUES, needed_values
from ad.ops.opaque import Parameters
from ad.ops.table import ops_named
from ad.ops.transposing import NotLinear, apply_transpose

__all__ = ["Results", "elementwise_rules", "jvps_of_pull", "needs_of", "needs_of_input", "pulls_of_vjp",
           "pushes_of_jvp", "slopes_of", "vjps_of_pushes"]

ASTYPE, BROADCAST_TO, SCALE, SUM_TO = ops_named("astype broadcast_to scale sum_to")

_Function = Callable[..., Any]


def needs_of(rule: Any, first: int, inputs: int) -> int:
    """Return the values that a rule of a user needs, as bits; all of them if its parameters are not known."""
    if inspect.isfunction(rule):
        return needed_values(rule, first, inputs)
    return ALL_VALUES if callable(rule) else 0


def needs_of_input(i: int, rule: Any, inputs: int) -> int:
    """Return the values that the rule of an input needs; one for all inputs needs the first: see `_Shared`."""
    if isinstance(rule, tuple):
        return needs_of(rule[i], 1, inputs)
    return needs_of(rule, 1, inputs) | (rule is not None and inputs > 1)


class Results:
    """Checks of what the rules of an op return."""

    def __init__(self, parameters: Parameters, outputs: int) -> None:
        self.name, self.outputs, self.parameters = parameters.name, outputs, parameters

    def cotangent(self, x_bar: Any, x: Any, xs: Sequence[Any], y: Any, what: str = "vjp") -> Array | None:
        """Return the cotangent of an input as an Array; None for zeros."""
        return None if x_bar is None else self._fitted(x_bar, x, what, "a cotangent", "input",
                                                       _is_complex(xs) or _is_complex(self.listed(y)))

    def tangents(self, y_dot: Any, xs: Sequence[Any], y: Any) -> list[Array]:
        """Return the tangents of the outputs."""
        parts: Sequence[Any] = self.listed(y_dot)
        if len(parts) != self.outputs:
            raise ValueError(f"ad: {self.name}: its jvp returned {len(parts)} tangents for {self.outputs} outputs; it "
                             "must return a tuple with one for each")
        return [zeros_like(part) if dot is None else
                self._fitted(dot, part, "jvp", "a tangent", "output", part.dtype.kind == "c")
                for dot, part in zip(parts, self.listed(y))]

    def listed(self, y: Any) -> Sequence[Any]:
        """Return one output, or what belongs to it, in a sequence; several are in one already."""
        if self.outputs == 1:
            return (y,)
        if not isinstance(y, (tuple, list)):
            raise TypeError(f"ad: {self.name}: its jvp returned {kind(y)}; it must return a tuple of {self.outputs} "
                            "tangents, one for each output")
        return y

    def together(self, parts: Sequence[Any]) -> Any:
        """Return what belongs to the outputs as rules have it: alone for one output, else in a tuple."""
        return parts[0] if self.outputs == 1 else tuple(parts)

    def _fitted(self, dot: Any, x: Any, rule: str, what: str, of: str, may_be_complex: bool) -> Array:
        array = dot if isinstance(dot, Array) else self._constant(dot, rule)
        if array.shape != x.shape:
            hint = "; sum over the axes that broadcasting added" if array.ndim > x.ndim else ""
            raise ValueError(f"ad: {self.name}: its {rule} returned {what} of shape {array.shape} for an {of} of shape "
                             f"{x.shape}; they must be the same{hint}")
        if array.dtype.kind == "c" and not may_be_complex:
            raise TypeError(f"ad: {self.name}: its {rule} returned {what} of dtype {array.dtype} for an {of} of dtype "
                            f"{x.dtype}; return its real part")
        if array.dtype.kind in "biu" and x.dtype.kind in "fc":
            array = apply(ASTYPE, (array,), (x.dtype,))
        return array

    def _constant(self, dot: Any, rule: str) -> Array:
        value = np.asarray(dot)
        if value.dtype.kind not in "biufc":
            raise TypeError(f"ad: {self.name}: its {rule} returned {kind(dot)}, which is no array of numbers; return "
                            "an array, or None for zeros")
        return constant(value)


def _is_complex(values: Sequence[Any]) -> bool:
    return any(x is not None and x.dtype.kind == "c" for x in values)


# -- rules as the table has them: one for each input, the static parameters by position -----------------------


def pulls_of_vjp(rule: Any, parameters: Parameters, results: Results, what: str = "vjp",
                 with_output: bool = True) -> tuple[_Function, ...]:
    """Return `vjp(y_bar, *inputs, y, *params)` for each input; without `y` for a transpose."""
    n = parameters.inputs
    names = ["y_bar", *parameters.input_names(), *["y"][:with_output]]
    if isinstance(rule, tuple):
        _check_count(rule, parameters, what)
        pulls = [parameters.adapted(f"its {what}", each, *names) for each in rule]
    else:
        whole = _Shared(parameters.adapted(f"its {what}", rule, *names), parameters, what)
        pulls = [whole.part(i) for i in range(n)]

    def checked(i: int) -> _Function:
        def pull(y_bar: Any, *rest: Any) -> Any:
            xs = rest[:n]
            return results.cotangent(pulls[i](y_bar, *rest), xs[i], xs, y_bar if not with_output else rest[n], what)

        return pull

    return tuple([checked(i) for i in range(n)])


def pushes_of_jvp(rule: Any, parameters: Parameters, results: Results) -> tuple[_Function, ...]:
    """Return `jvp(x_dot, *inputs, y, *params)` for each input: what its tangent adds to the output's."""
    n, tuples = parameters.inputs, isinstance(rule, tuple)
    names = ["x_dot" if tuples or n == 1 else "x_dots", *parameters.input_names(), "y"]
    if tuples:
        _check_count(rule, parameters, "jvp")

    def checked(i: int) -> _Function:
        push = parameters.adapted("its jvp", rule[i] if tuples else rule, *names)

        def jvp(x_dot: Any, *rest: Any) -> Any:
            xs, y = rest[:n], rest[n]
            if not tuples and n > 1:
                x_dot = tuple([x_dot if k == i else zeros_like(x) for k, x in enumerate(xs)])
            return results.together(results.tangents(push(x_dot, *rest), xs, y))

        return jvp

    return tuple([checked(i) for i in range(n)])


def _check_count(rules: tuple[Any, ...], parameters: Parameters, what: str) -> None:
    if len(rules) != parameters.inputs:
        raise TypeError(f"ad: {parameters.name}: it has {parameters.inputs} inputs ("
                        f"{', '.join(parameters.input_names())}) and {len(rules)} rules {what}; give one for each")


class _Shared:
    """A rule for all inputs at once, which a sweep calls once for them.

    The sweep asks for one cotangent after the other with the same Arrays, which nobody else has. The cotangents are
    kept for as long as these live.
    """

    def __init__(self, rule: _Function, parameters: Parameters, what: str) -> None:
        self.rule, self.parameters, self.what = rule, parameters, what
        self.latest = threading.local()

    def part(self, i: int) -> _Function:
        """Return the rule of input i."""
        return lambda y_bar, *rest: self.all(y_bar, rest)[i]

    def all(self, y_bar: Any, rest: tuple[Any, ...]) -> Sequence[Any]:
        """Return the cotangents of all inputs."""
        if self.parameters.inputs == 1 or not isinstance(rest[0], Array):
            return self._parts(self.rule(y_bar, *rest))
        given = [x for x in (*(y_bar if isinstance(y_bar, tuple) else (y_bar,)), *rest) if isinstance(x, Array)]
        known, found, _ = getattr(self.latest, "entry", ((), [], None))
        if not found or len(known) != len(given) or any(ref() is not x for ref, x in zip(known, given)):
            found = [*self._parts(self.rule(y_bar, *rest))]
            drop = weakref.ref(rest[0], functools.partial(_clear, found))
            self.latest.entry = [*map(weakref.ref, given)], found, drop
        return [*found]

    def _parts(self, x_bars: Any) -> Sequence[Any]:
        n = self.parameters.inputs
        if n == 1 and not isinstance(x_bars, (tuple, list)):
            return (x_bars,)
        if not isinstance(x_bars, (tuple, list)) or len(x_bars) != n:
            count = f"{kind(x_bars)} of {len(x_bars)}" if isinstance(x_bars, (tuple, list)) else kind(x_bars)
            raise ValueError(f"ad: {self.parameters.name}: its {self.what} returned {count}; it must return a tuple "
                             f"with the cotangents of its {n} inputs (None for zeros)")
        return x_bars


def _clear(found: list[Any], _: Any) -> None:
    found.clear()


# -- the missing mode -----------------------------------------------------------------------------------------


def jvps_of_pull(pull: _Function, results: Results) -> tuple[_Function, ...]:
    """Return the forward rules that transpose the reverse rule, `pull(i, y_bar, xs, y, params)`, as the core has it."""
    n = results.parameters.inputs

    def of_input(i: int) -> _Function:
        def jvp(x_dot: Any, *rest: Any) -> Any:
            xs, y, params = rest[:n], rest[n], rest[n + 1:]
            ys = results.listed(y)
            found = _transposed(results, "jvp", lambda *y_bars: [pull(i, results.together(y_bars), xs, y, params)],
                                ys, [x_dot])
            return results.together([zeros_like(part) if dot is None else dot for dot, part in zip(found, ys)])

        return jvp

    return tuple([of_input(i) for i in range(n)])


def vjps_of_pushes(pushes: Sequence[_Function], results: Results) -> tuple[_Function, ...]:
    """Return the reverse rules that transpose the forward rules `jvp(x_dot, *inputs, y, *params)`."""

    def of_input(i: int) -> _Function:
        def vjp(y_bar: Any, *rest: Any) -> Any:
            return _transposed(results, "vjp", lambda x_dot: results.listed(pushes[i](x_dot, *rest)), [rest[i]],
                               results.listed(y_bar))[0]

        return vjp

    return tuple([of_input(i) for i in range(len(pushes))])


def _transposed(results: Results, wanted: str, linear: _Function, like: Sequence[Any],
                bars: Sequence[Any]) -> list[Array | None]:
    """Apply the transpose of a rule; raise MissingRule if the rule has no transpose."""
    given, mode = ("vjp", "forward") if wanted == "jvp" else ("jvp", "reverse")
    dot = "y_bar" if wanted == "jvp" else "x_dot"
    message = (f"ad: {results.name} has no rule in {mode} mode, and none can be derived from its {given}, which is not "
               f"made of operations on {dot} that ad differentiates")
    try:
        return apply_transpose(linear, like, bars, checked=True)
    except NotLinear:
        raise MissingRule(f"{message}: its result does not depend on {dot}, and is not zero. Write it in ops of ad and "
                          f"NumPy (without .numpy()), or give {wanted}=") from None
    except Exception as error:
        if not is_untraceable(error):
            raise
        raise MissingRule(f"{message}: {error} Or give {wanted}=") from error


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
        if not isinstance(found, Array) and np.asarray(found).dtype.kind not in "biufc":
            raise TypeError(f"ad: {parameters.name}: its partial returned {kind(found)}, which is no array of numbers")
        known = [x.shape for x in args[:parameters.inputs + 1] if x is not None]
        shape = np.shape(found)
        if shape and known and shape not in known and not _fits(shape, np.broadcast_shapes(*known)):
            raise ValueError(f"ad: {parameters.name}: its partial returned an array of shape {shape}, which does not "
                             f"broadcast to that of the output, {np.broadcast_shapes(*known)}")
        return found

    return slope


def _fits(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    return len(shape) <= len(whole) and all(n in (1, m) for n, m in zip(shape[::-1], whole[::-1]))


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
        lanes = lane_count([x_dots[i] for i in given], [xs[i] for i in given])
        shape = y.shape if lanes is None else (lanes, *y.shape)
        return y_dot if y_dot.shape == shape else apply(BROADCAST_TO, (y_dot,), (shape,))

    return push, pull
