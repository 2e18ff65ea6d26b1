"""A call with a rule of its own: its ops compute the outputs, and its rule their derivatives.

`custom_gradient` makes a rule in each call. The ops of the call are seen by whoever records a program, and the
outputs pass an op that changes no value, the boundary, whose rule is that of the call.
"""
from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, Protocol

from ad._core import Array, apply, constant, is_traced, public_value
from ad.engine.graph import Op
from ad.engine.recorder import keep_rule
from ad.engine.variable import stop_gradient
from ad.errors import lost_recording
from ad.ops.forms import ALL_VALUES
from ad.ops.opaque import numbers_in

__all__ = ["CallRules", "with_rules_of_call"]


class CallRules(Protocol):
    """The rules of a call, as the core calls them; what they get for the outputs are further inputs."""

    def jvp(self, x_dots: Sequence[Any], xs: Sequence[Any], y: Any, params: tuple[Any, ...]) -> Any: ...

    def vjp(self, i: int, y_bar: Any, xs: Sequence[Any], y: Any, params: tuple[Any, ...]) -> Any: ...


def with_rules_of_call(name: str, inputs: Sequence[Any], outputs: Sequence[Any], rules: CallRules) -> list[Array]:
    """Return the outputs of a call with its own rules as their derivatives.

    Parameters
    ----------
    name : str
        Of the op, for messages.
    inputs : sequence of Array
        What the outputs have derivatives with respect to.
    outputs : sequence
        What the call computed from them: Arrays, ndarrays or numbers. They are the last inputs of the op.
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
    found = apply(op, (*inputs, *[_without_derivative(name, y) for y in outputs]), ())
    return list(found) if n > 1 else [found]


def _without_derivative(name: str, y: Any) -> Any:
    """Return an output as a constant, or as a value of the program that computes it."""
    if not isinstance(y, Array):
        return constant(numbers_in(y, f"{name}: the function", "it must return arrays and numbers"))
    return stop_gradient(y) if is_traced(y) else public_value(y)
