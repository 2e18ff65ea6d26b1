"""Recordings: what one call of a function did, as instructions and guards, and the result that it returned."""
import enum
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ad import trees
from ad._core import Array, constant
from ad.compiler.ir.guards import Guard
from ad.compiler.tracing.call_signature import CallSignature, is_value
from ad.compiler.tracing.lanes import pull_lanes
from ad.compiler.tracing.tracer import Tracer, slot_of, trace
from ad.engine.array import public_value
from ad.engine.variable import Variable
from ad.errors import kind
from ad.ops.traits import traits_of
from ad.transforms import jacobians

__all__ = ["GuardSite", "Recording", "is_output", "visible_value", "warn_of_escape"]

# Types of results that are constants of a recording.
CONSTANT_TYPES = (str, bytes, int, complex, np.generic, np.dtype, type, slice, range, enum.Enum)

jacobians.set_lane_mapper(pull_lanes)  # a Jacobian in a function that is recorded maps its sweep over lanes


class GuardSite(NamedTuple):
    """A guard in a recording: the number of instructions before it, the slot whose value it checks, and the guard."""

    position: int
    slot: int
    guard: Guard


class Recording:
    """One call of a function: its instructions, its guards and its result.

    Parameters
    ----------
    f : callable
    signature : CallSignature
        Of the call.
    lifts : bool
        Make inputs, and not constants, of captured Arrays that others may be differentiating or recording.
    keep : bool
        The caller uses the result, and must call `drop` when done with it.
    escape : callable, optional
        `escape(what, line)` is called for each value that leaves the recording; by default, `warn_of_escape`.
    """

    def __init__(self, f: Callable[..., Any], signature: CallSignature, lifts: bool = False, keep: bool = False,
                 escape: Callable[[str, str], None] | None = None) -> None:
        def run(*values: Any) -> Any:
            args, kwargs = signature.arguments(values)
            return f(*args, **kwargs)

        values = [visible_value(x) for x in signature.values]
        tracer, self.result = trace(run, values, escape or warn_of_escape, lifts)
        self._tracer: Tracer | None = tracer
        try:
            self._read_trace(tracer, f, signature)
        except BaseException:
            self.drop()
            raise
        if not keep:
            self.drop()

    def _read_trace(self, tracer: Tracer, f: Callable[..., Any], signature: CallSignature) -> None:
        leaves, structure = trees.flatten(self.result)
        self.results = trees.PartialTree(structure, {i: y for i, y in enumerate(leaves) if not is_output(y)})
        _check_constant_results(f, self.results.fixed.values(), signature)
        values = [y for y in leaves if is_output(y)]
        self.outputs = tuple([slot_of(tracer, y) for y in values])
        self._is_wrapped = [isinstance(y, Array) for y in values]
        self.instructions, self.constants, self.avals = tracer.instructions, tracer.constants, tuple(tracer.avals)
        self.guards = [GuardSite(position, slot, Guard(*guard)) for position, slot, *guard in tracer.guards]
        self.inputs, self.variables, self.lifted = tuple(tracer.inputs), tracer.variables, tracer.lifted
        self.has_custom_rules, self.failed, self.captures = tracer.has_custom_rules, tracer.failed, tracer.captures
        self.effect_roots = self._effect_roots() if tracer.may_raise else ()

    @property
    def is_pending(self) -> bool:
        """Return whether large values of the result are not computed yet, so that a replay can compute them."""
        return self._tracer is not None and self._tracer.is_pending

    def evaluated_result(self) -> Any:
        """Compute what is pending, and return the result of the function."""
        if self._tracer is not None:
            self._tracer.close()
        return self.result

    def drop(self) -> None:
        """Release the result of the function, which may hold arguments."""
        tracer, self._tracer, self.result = self._tracer, None, None
        if tracer is not None:
            tracer.close()

    def _effect_roots(self) -> tuple[int, ...]:
        """Return the slots that are dead but must be computed, because their ops may raise and `f` would handle it."""
        live, roots = {*self.outputs, *[site.slot for site in self.guards]}, []
        for instruction in reversed(self.instructions):
            if not live.isdisjoint(instruction.outputs):
                live.update(instruction.inputs)
            elif traits_of(instruction.op).may_raise:
                roots.append(instruction.outputs[0])
                live.update(instruction.inputs)
        return tuple(roots)

    def wrapped_outputs(self, values: Sequence[Any]) -> list[Any]:
        """Wrap as Arrays the outputs that the function itself returned as Arrays."""
        return [constant(value) if is_wrapped else value for value, is_wrapped in zip(values, self._is_wrapped)]


def _check_constant_results(f: Callable[..., Any], fixed: Iterable[Any], signature: CallSignature) -> None:
    """Raise if a result holds values that a replay would not compute: a closure, an object."""
    given = set(map(id, signature.arguments.fixed.values()))
    for leaf in fixed:
        if not isinstance(leaf, CONSTANT_TYPES) and id(leaf) not in given:
            raise TypeError(f"ad.compile: {getattr(f, '__qualname__', repr(f))} returns {kind(leaf)}, which a replay "
                            "cannot make anew; return arrays, numbers and text, in dicts, lists, tuples or dataclasses")


def is_output(y: Any) -> bool:
    """Return whether a leaf of a result is a value that a replay computes."""
    return is_value(y) or isinstance(y, Variable)


def visible_value(x: Any) -> Any:
    """Return the value of an Array, read-only, as ops see it; return anything else unchanged."""
    return public_value(x) if isinstance(x, Array) else x


def warn_of_escape(what: str, line: str) -> None:
    """Warn that a value leaves a recording: `what` takes it, at `line` of the function's source."""
    warnings.warn(f"ad.compile: {line}: {what} takes a value out of the recording; what is done with it will not be "
                  "replayed", stacklevel=2)
