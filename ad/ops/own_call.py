"""A call that brings its own rule, as those under `custom_gradient`: its inputs, and its outputs as those of an op.

A program that is recorded has the ops of the call. Its outputs pass an op that changes no value, the boundary, whose
rule is the call's.
"""
from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ad._core import Array, apply
from ad.engine.array import is_traced, is_watched, public_value
from ad.engine.graph import Op
from ad.engine.recorder import keep_rule
from ad.engine.variable import stop_gradient
from ad.errors import lost_recording, name_of, no_place
from ad.ops.forms import ALL_VALUES
from ad.trees import flatten

__all__ = ["CallRules", "with_inputs_in_places", "with_rules_of_call"]


def with_inputs_in_places(f: Callable[..., Any], args: tuple[Any, ...],
                          kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a call, with keywords that have a gradient, and those before them, by position."""
    if not any(isinstance(x, Array) for x in flatten(tuple(kwargs.values()))[0]):
        return args, kwargs
    signature = inspect.signature(f)
    places = [name for name, p in signature.parameters.items()
              if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    n = 0
    for name, value in kwargs.items():
        if _has_gradient(value, signature.parameters.get(name)):
            if name not in places:
                raise no_place(name_of(f), name)
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


class CallRules(Protocol):
    """The rules of a call, as the core calls them; what they get for the outputs are further inputs."""

    def jvp(self, x_dots: Sequence[Any], xs: Sequence[Any], y: Any, params: tuple[Any, ...]) -> Any: ...

    def vjp(self, i: int, y_bar: Any, xs: Sequence[Any], y: Any, params: tuple[Any, ...]) -> Any: ...


def with_rules_of_call(name: str, inputs: Sequence[Any], outputs: Sequence[Array], rules: CallRules) -> list[Array]:
    """Return the outputs of a call with its own rules as their derivatives.

    Parameters
    ----------
    name : str
        Of the op, for messages.
    inputs : sequence of Array
        What the outputs have derivatives with respect to.
    outputs : sequence of Array
        What the call computed from them. Their values are the last inputs of the op.
    rules : CallRules
        Recorders that see the call keep them, and the op does not: see `keep_rule`.
    """
    n, given = len(outputs), weakref.ref(rules)

    def of_call() -> CallRules:
        found = given()
        if found is None:
            raise lost_recording()
        return found

    op = Op(name, "custom_boundary", lambda *values: values[-n:] if n > 1 else values[-1],
            jvp=lambda *args: of_call().jvp(*args), vjp=lambda *args: of_call().vjp(*args), needs=(ALL_VALUES,),
            outputs=n)
    keep_rule(op, rules)
    found = apply(op, (*inputs, *[stop_gradient(y) if is_traced(y) else public_value(y) for y in outputs]), ())
    return list(found) if n > 1 else [found]
