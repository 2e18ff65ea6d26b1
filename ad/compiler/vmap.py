"""`vmap`: a function over many lanes of its arguments.

The function is recorded on the first lane, and the recording is lifted over all lanes (`compiler.tracing.lanes`).
"""
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from ad import trees
from ad._core import Array, constant
from ad.compiler.compile import MAX_SIGNATURES, Compiled
from ad.compiler.fast_path import CacheEntry, FastPath
from ad.compiler.ir.graph import Graph
from ad.compiler.ir.guards import Guard
from ad.compiler.ir.interpreting import initial_slots, interpret
from ad.compiler.machine import machine_for
from ad.compiler.machine.vm import Machine
from ad.compiler.passes.pipeline import simplify
from ad.compiler.tracing.call_signature import CallSignature
from ad.compiler.tracing.lanes import LaneLifting
from ad.compiler.tracing.recording import Recording, warn_of_escape
from ad.compiler.tracing.tracer import is_strict, is_watching
from ad.engine import boundary
from ad.engine.array import is_watched
from ad.engine.inspection import concrete
from ad.errors import conversion_error, kind, lost_lanes, not_a_function
from ad.ops.table import TABLE

__all__ = ["Mapped", "vmap"]

# Ops of Python that show a value to people: a value that they take out of a recording does no harm.
DISPLAY = ("repr()", "str()", "format()")

Outputs: TypeAlias = list[tuple[Any, bool]]  # the leaves of a result, each with whether it has lanes


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """Return a function that applies `f` to many lanes of its arguments at once.

    Parameters
    ----------
    f : callable
        A function of arrays, numbers and containers of them, for one lane; also what a transform returned.
    in_axes : int, None, or a tuple or list with one such for each positional argument
        The axis of the arrays that runs over the lanes, None for what all lanes share. For an argument that is a
        container, a container like it may be given, with an axis for each part. Keyword arguments have the lanes on
        axis 0.
    out_axes : int, None, or a container of them like the output
        The axis of the lanes in the output; None for what does not depend on them.

    Returns
    -------
    callable
        Takes the arguments of `f` with that axis added to them; returns what `f` returns with that axis added.

    Raises
    ------
    ValueError
        If the arguments differ in the number of lanes, or none has lanes; or `out_axes` has None for an output with
        lanes.
    TypeError
        If `in_axes` has an axis for something that is no array.

    Notes
    -----
    `f` is recorded on the first lane, once for each signature, and the recording is run over all lanes; the notes on
    recordings of `ad.compile` hold. Where Python saw a value (`if x > 0`), the lanes must agree; if they do not, `f`
    is called for one lane after the other. The names and the meaning are those of `jax.vmap`.

    Examples
    --------
    >>> ad.vmap(np.dot, in_axes=(0, None))(np.eye(2), np.array([3.0, 4.0]))
    array([3., 4.])
    """
    if not callable(f):
        raise not_a_function("vmap", f)
    return Mapped(f, in_axes, out_axes)


class Mapped(FastPath):
    """A function over lanes, with the recordings of its signatures: the result of `ad.vmap`."""

    __name__: str

    def __init__(self, f: Callable[..., Any], in_axes: Any, out_axes: Any) -> None:
        functools.update_wrapper(self, f, ("__module__", "__doc__"), ())
        self.__name__ = self.__qualname__ = f"vmap({getattr(f, '__name__', type(f).__name__)})"
        self.f, self.in_axes, self.out_axes = f, in_axes, out_axes
        self.one_lane = Compiled(f, False, _refuse_escape)
        self.recordings: dict[Any, LiftedRecording] = {}

    def __repr__(self) -> str:
        return f"<{self.__name__}, {len(self.recordings)} signatures>"

    def general(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the lifted recording of the call's signature; if it does not hold for all lanes, run them one by one."""
        lanes = LaneArguments(args, kwargs, self.in_axes)
        watched = is_watching() or any(isinstance(x, Array) and boundary.live(x) for x in lanes.leaves)
        if is_strict() and lanes.k:
            found = None
        else:
            found = (self._interpreted if watched or not lanes.k else self._replayed)(lanes)
        structure, outputs = found or self._one_by_one(lanes)
        axes = trees.broadcast_prefix(self.out_axes, structure(range(structure.size)), "vmap: out_axes")
        return structure([_placed(y, has_lanes, axis, lanes.k, lanes.wrapped)
                          for (y, has_lanes), axis in zip(outputs, axes)])

    def _replayed(self, lanes: "LaneArguments") -> tuple[trees.TreeDef, Outputs] | None:
        """Return the outputs by the machine; None if lanes answer a guard differently, or an op raised."""
        signature = lanes.signature()
        key = signature.key, lanes.has_lanes, lanes.k
        lifted = self.recordings.get(key)
        if lifted is None:
            recording = Recording(self.f, signature, escape=_refuse_escape)
            if recording.failed:
                return None
            if recording.captures:
                return self._interpreted(lanes)
            lifted = self._keep(key, recording, signature, lanes)
        values = [x.numpy() if isinstance(x, Array) else x for x in lanes.values(signature)]
        try:
            return lifted.replay(values)
        except Exception:
            return None  # `f` itself tells, lane by lane, whether this exception is one

    def _keep(self, key: Any, recording: Recording, signature: CallSignature,
              lanes: "LaneArguments") -> "LiftedRecording":
        if len(self.recordings) >= MAX_SIGNATURES:
            self.recordings.pop([*self.recordings][0], None)
        lifted = self.recordings[key] = LiftedRecording(recording, signature, lanes)
        args = lanes.structure(lanes.leaves)[0]
        if (self.out_axes == 0 and lifted.is_simple() and lanes.is_unchanged
                and CacheEntry.accepts(args, lifted.variables)):
            single = lifted.results.structure is trees.LEAF
            self.remember(CacheEntry(args, lifted.machine, range(len(lifted.graph.inputs)), lifted.variables,
                                     lifted.results, single))
        return lifted

    def _interpreted(self, lanes: "LaneArguments") -> tuple[trees.TreeDef, Outputs] | None:
        """Return the outputs by ops, which others can record and differentiate; None as for `_replayed`."""
        signature = lanes.signature()
        recording = Recording(self.f, signature, lifts=True, escape=_refuse_escape)
        if lanes.k and (recording.has_custom_rules or recording.failed):
            return None
        lifted = LiftedRecording(recording, signature, lanes)
        try:
            return lifted.interpreted(recording, lanes.values(signature))
        except Exception:
            if not lanes.k:
                raise
            return None  # as in `_replayed`

    def _one_by_one(self, lanes: "LaneArguments") -> tuple[trees.TreeDef, Outputs]:
        """Call the function for each lane, and stack the results."""
        rows = []
        for lane in range(lanes.k):
            args, kwargs = lanes.lane(lane)
            leaves, structure = trees.flatten(self.one_lane(*args, **kwargs))
            rows.append(leaves)
        return structure, [(_stack(parts), True) if _is_value(parts[0]) else (parts[0], False) for parts in zip(*rows)]


class LaneArguments:
    """The arguments of a call over lanes.

    Attributes
    ----------
    leaves : list
        The leaves of the arguments, with the axis of lanes in front.
    has_lanes : tuple of bool
        For each leaf.
    k : int
        The number of lanes.
    wrapped : bool
        Whether an argument is an Array, so that results are Arrays too.
    is_unchanged : bool
        Whether the leaves are the arguments themselves, all positional and none an Array.
    """

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], in_axes: Any) -> None:
        if isinstance(in_axes, (tuple, list)) and len(in_axes) != len(args):
            raise ValueError(f"ad.vmap: in_axes has {len(in_axes)} entries for {len(args)} positional arguments; give "
                             "one for each")
        axes = trees.broadcast_prefix(tuple(in_axes) if isinstance(in_axes, list) else in_axes, args, "vmap: in_axes")
        leaves, self.structure = trees.flatten((args, kwargs))
        axes += [0] * (len(leaves) - len(axes))
        self.wrapped = any(isinstance(leaf, Array) for leaf in leaves)
        self.has_lanes = tuple([axis is not None for axis in axes])
        self.leaves = [leaf if axis is None else _lanes_first(leaf, axis) for leaf, axis in zip(leaves, axes)]
        self.is_unchanged = not (kwargs or self.wrapped) and [*map(id, self.leaves)] == [*map(id, args)]
        sizes = dict.fromkeys([leaf.shape[0] for leaf, has in zip(self.leaves, self.has_lanes) if has])
        if len(sizes) != 1:
            raise ValueError("ad.vmap: " + (
                f"the arguments have {', '.join(map(str, sizes))} lanes along the axes of in_axes; they must be as many"
                if sizes else "no argument has lanes; in_axes must name an axis of at least one"))
        (self.k,) = sizes

    def lane(self, lane: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of one lane."""
        args, kwargs = self.structure([leaf[lane] if has else leaf for leaf, has in zip(self.leaves, self.has_lanes)])
        return args, kwargs

    def signature(self) -> CallSignature:
        """Return the signature of a call with the first lane.

        If there are no lanes, the values are ones, and in matrices ones plus the identity, which has an inverse.
        """
        if self.k:
            return CallSignature(*self.lane(0))
        leaves = [_example(leaf) if has else leaf for leaf, has in zip(self.leaves, self.has_lanes)]
        return CallSignature(*self.structure(leaves))

    def traced(self, signature: CallSignature) -> list[int]:
        """Return the positions of the leaves that are inputs of the recording."""
        return [i for i in range(len(self.leaves)) if i not in signature.arguments.fixed]

    def values(self, signature: CallSignature) -> list[Any]:
        """Return the leaves that are inputs of the recording."""
        return [self.leaves[i] for i in self.traced(signature)]


class LiftedRecording:
    """A recording of one lane, lifted over all lanes."""

    def __init__(self, recording: Recording, signature: CallSignature, lanes: LaneArguments) -> None:
        self.guards, self.results = [site.guard for site in recording.guards], recording.results
        self.variables = [variable for variable, _ in recording.variables]
        self.captured = [*self.variables, *[x for x, _ in recording.lifted]]  # values that may be watched
        inputs = (*recording.inputs, *[slot for _, slot in (*recording.variables, *recording.lifted)])
        outputs = (*recording.outputs, *recording.effect_roots, *[site.slot for site in recording.guards])
        graph = Graph(inputs, outputs, tuple(recording.instructions), recording.constants, recording.avals)
        has_lanes = [lanes.has_lanes[i] for i in lanes.traced(signature)]
        lifting = LaneLifting(graph, lanes.k, has_lanes + [False] * len(self.captured))
        self.bounds = [lifting.lift_up_to(site.position) for site in recording.guards]
        self.graph, self.lane_slots = lifting.finished(), lifting.lane_slots
        self.has_lanes = [slot in self.lane_slots for slot in outputs]

    @functools.cached_property
    def machine(self) -> Machine:
        return machine_for(simplify(self.graph))

    def is_simple(self) -> bool:
        """Return whether the outputs of the machine are the whole result of a call."""
        return not self.guards and all(self.has_lanes) and not self.results.fixed

    def replay(self, values: Sequence[Any]) -> tuple[trees.TreeDef, Outputs] | None:
        """Return the result of the function; None if a lane gives another answer to a guard."""
        found = self.machine.run([*values, *[variable.numpy() for variable in self.variables]])
        count = len(found) - len(self.guards)
        if all(map(_holds, self.guards, found[count:], self.has_lanes[count:])):
            return self._returned(found[:count])
        return None

    def interpreted(self, recording: Recording, values: Sequence[Any]) -> tuple[trees.TreeDef, Outputs] | None:
        """Return what `replay` does, by ops.

        Each guard is checked at its position: a recording around this one depends on the answers from there on.
        """
        slots, begin = initial_slots(self.graph, [*values, *self.captured]), 0
        for (_, slot, guard), end in zip(recording.guards, self.bounds):
            interpret(self.graph.instructions[begin:end], slots)
            if not _holds(guard, slots[slot], slot in self.lane_slots):
                return None
            begin = end
        interpret(self.graph.instructions[begin:], slots)
        return self._returned([slots[slot] for slot in recording.outputs])

    def _returned(self, found: Sequence[Any]) -> tuple[trees.TreeDef, Outputs]:
        """Return the structure of the result and its leaves, each with whether it has lanes."""
        fixed, outputs = self.results.fixed, zip(found, self.has_lanes)
        leaves = [(fixed[i], False) if i in fixed else next(outputs) for i in range(self.results.structure.size)]
        return self.results.structure, leaves


def _holds(guard: Guard, value: Any, has_lanes: bool) -> bool:
    """Return whether a guard holds for a value, in every lane; a recording around this one gets guards for it."""
    if guard.kind in ("float", "complex") and isinstance(value, Array) and is_watched(value):
        raise conversion_error(guard.kind)
    if guard.kind != "bool":
        value = concrete(value)
        return all(guard.holds(part) for part in value) if has_lanes else guard.holds(value)
    if has_lanes and len(value) and bool(value[0]) != guard.answer:
        return False
    return bool(np.all((value if guard.answer else np.logical_not(value)) != 0))


def _refuse_escape(what: str, line: str) -> None:
    """Raise where a value of one lane leaves the recording; warn only if it is displayed."""
    if what not in DISPLAY:
        raise lost_lanes(what, line)
    warn_of_escape(what, line)


def _lanes_first(x: Any, axis: int) -> Any:
    """Move the axis of lanes of an argument to the front."""
    if not isinstance(x, (np.ndarray, np.generic, Array)) or x.dtype.kind not in "biufc":
        raise TypeError(f"ad.vmap: an argument is {kind(x)}, which has no lanes; give None for it in in_axes")
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"ad.vmap: in_axes asks for axis {axis} of an argument of shape {x.shape}; give None for what "
                         "all lanes share")
    array: Any = x
    return x if axis % x.ndim == 0 else np.moveaxis(array, axis, 0)


def _example(x: Any) -> Any:
    """Return a value for one lane of an array that has none."""
    y = np.ones(x.shape[1:], x.dtype)
    return y + np.eye(*y.shape[-2:], dtype=y.dtype) if y.ndim > 1 else y


def _is_value(y: Any) -> bool:
    return isinstance(y, (np.ndarray, np.generic, Array, int, float, complex))


def _stack(parts: Sequence[Any]) -> Any:
    return TABLE["stack"].function(parts) if any(isinstance(y, Array) for y in parts) else np.stack(parts)


def _placed(y: Any, has_lanes: bool, axis: int | None, k: int, wrapped: bool) -> Any:
    """Return an output with its lanes at `axis`."""
    if not _is_value(y):
        return y
    if isinstance(y, Array):
        y = boundary.hand_over(y, wrapped)
    elif wrapped:
        y = constant(y)
    if axis is None:
        if has_lanes:
            raise ValueError("ad.vmap: out_axes has None for an output that depends on the lanes; give it an axis")
        return y
    if not has_lanes:
        y = np.broadcast_to(y, (k, *np.shape(y)))
        y = y if isinstance(y, Array) else y.copy()
    if not -y.ndim <= axis < y.ndim:
        raise ValueError(f"ad.vmap: out_axes asks for axis {axis} of an output of shape {y.shape[1:]} with lanes")
    return y if axis == 0 else np.moveaxis(y, 0, axis)
