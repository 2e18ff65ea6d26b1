"""Lifting a graph over lanes: the same instructions for many values of the inputs at once.

An instruction that depends on an input with lanes is run once for all lanes, which are a leading axis of its operands;
any other instruction stays as it is. How an op runs over lanes is in its entry in the table; an op without such an
entry runs on one lane after the other.
"""
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ad._core import Array, apply
from ad.compiler.ir.graph import Graph, Instruction, Slots
from ad.compiler.ir.interpreting import interpret_graph
from ad.compiler.tracing.one_by_one import one_by_one
from ad.compiler.tracing.tracer import slot_of, trace
from ad.engine.graph import Aval, Op
from ad.engine.inspection import lift_constant
from ad.ops.table import ops_named
from ad.ops.traits import traits_of

__all__ = ["LaneLifting", "pull_lanes", "with_lanes"]

BROADCAST_TO, IDENTITY, RESHAPE = ops_named("broadcast_to identity reshape")


def with_lanes(graph: Graph, k: int, has_lanes: Sequence[bool]) -> Graph:
    """Lift a graph over k lanes.

    Parameters
    ----------
    graph : Graph
    k : int
    has_lanes : sequence of bool
        For each input whether it has lanes: a leading axis of length k.

    Returns
    -------
    Graph
        An output has lanes if it depends on an input with lanes.
    """
    return LaneLifting(graph, k, has_lanes).finished()


class LaneLifting:
    """A graph that is being lifted over lanes. Slots keep their numbers.

    Attributes
    ----------
    lane_slots : set of int
        The slots whose values have lanes, as far as instructions have been lifted.
    """

    def __init__(self, graph: Graph, k: int, has_lanes: Sequence[bool]) -> None:
        self.graph, self.k = graph, k
        self.avals, self.constants = list(graph.avals), dict(graph.constants)
        self.instructions: list[Instruction] = []
        self.lane_slots: set[int] = set()
        self._line, self._position = "", 0
        for slot, has in zip(graph.inputs, has_lanes):
            if has:
                self._add_lanes(slot)

    def finished(self) -> Graph:
        """Return the lifted graph."""
        self.lift_up_to(len(self.graph.instructions))
        return Graph(self.graph.inputs, self.graph.outputs, tuple(self.instructions), self.constants,
                     tuple(self.avals))

    def lift_up_to(self, position: int) -> int:
        """Lift the instructions before a position; return the corresponding position in the lifted graph."""
        for instruction in self.graph.instructions[self._position:position]:
            self._lift(instruction)
        self._position = position
        return len(self.instructions)

    def _add_lanes(self, slot: int) -> None:
        aval = self.graph.avals[slot]
        self.avals[slot] = Aval((self.k, *aval.shape), aval.dtype)
        self.lane_slots.add(slot)

    def _lift(self, instruction: Instruction) -> None:
        """Append what takes the place of an instruction."""
        op, params, inputs, outputs, self._line = instruction
        if self.lane_slots.isdisjoint(inputs):
            self.instructions.append(instruction)
            return
        for slot in outputs:
            self._add_lanes(slot)
        batching = traits_of(op).batching
        if batching.broadcasts:
            ndim = max([self.graph.avals[slot].ndim for slot in inputs])
            self._append(op, [self._aligned(slot, ndim) for slot in inputs], outputs, params)
        elif batching.params and (shifted := batching.params(self.graph.avals[inputs[0]].ndim, *params)) is not None:
            self._append(op, [self._with_lanes(slot) for slot in inputs], outputs, shifted)
        elif not (batching.rule and self._lift_by_rule(batching.rule, inputs, outputs, params)):
            self._lift_one_by_one(op, inputs, outputs, params)

    def _append(self, op: Op, inputs: Sequence[int], outputs: Slots, params: tuple[Any, ...] = ()) -> None:
        self.instructions.append(Instruction(op, params, tuple(inputs), tuple(outputs), self._line))

    def _append_new(self, op: Op, x: int, shape: tuple[int, ...], params: tuple[Any, ...]) -> int:
        """Append an op that changes the shape of `x`; return the slot of the result."""
        slot = self._new_slot(shape, self.avals[x].dtype)
        self._append(op, (x,), (slot,), params)
        return slot

    def _new_slot(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
        self.avals.append(Aval(shape, dtype))
        return len(self.avals) - 1

    def _aligned(self, slot: int, ndim: int) -> int:
        """Return an operand with axes of length 1 behind the lanes, so that its axes meet those of `ndim` others."""
        aval = self.graph.avals[slot]
        if slot not in self.lane_slots or aval.ndim == ndim:
            return slot
        shape = self.k, *(1,) * (ndim - aval.ndim), *aval.shape
        return self._append_new(RESHAPE, slot, shape, (shape, "C"))

    def _with_lanes(self, slot: int) -> int:
        """Return an operand broadcast to all lanes, unless it has lanes."""
        if slot in self.lane_slots:
            return slot
        shape = self.k, *self.graph.avals[slot].shape
        return self._append_new(BROADCAST_TO, slot, shape, (shape,))

    def _lift_by_rule(self, rule: Callable[..., Any], inputs: Slots, outputs: Slots, params: tuple[Any, ...]) -> bool:
        """Append the ops of a batching rule, traced on zeros, as it uses only shapes; return False if it declines."""
        zeros = [np.broadcast_to(np.zeros((), self.avals[slot].dtype), self.avals[slot].shape) for slot in inputs]
        avals = [self.graph.avals[slot] for slot in inputs]
        tracer, y = trace(lambda *values: rule(values, avals, self.graph.avals[outputs[0]], *params), zeros, None)
        result, y = None if y is None else slot_of(tracer, y), None
        tracer.close()  # no reference to a value is left, so that none is evaluated
        if result is None:
            return False
        slots = dict(zip(tracer.inputs, inputs))  # slot of the tracer -> slot here
        for slot, aval in enumerate(tracer.avals):
            if slot not in slots:
                slots[slot] = self._new_slot(aval.shape, aval.dtype)
        self.constants.update({slots[slot]: value for slot, value in tracer.constants.items()})
        for op, op_params, xs, ys, _ in tracer.instructions:
            self._append(op, [slots[slot] for slot in xs], tuple([slots[slot] for slot in ys]), op_params)
        self._append(IDENTITY, (slots[result],), outputs)
        return True

    def _lift_one_by_one(self, op: Op, inputs: Slots, outputs: Slots, params: tuple[Any, ...]) -> None:
        if self.k:
            has_lanes = tuple([slot in self.lane_slots for slot in inputs])
            self._append(one_by_one(op, has_lanes), inputs, outputs, params)
        else:
            self.constants.update({slot: np.zeros(self.avals[slot].shape, self.avals[slot].dtype) for slot in outputs})


def pull_lanes(pull: Callable[[Any], Sequence[Any]], seeds: np.ndarray[Any, Any]) -> list[Any] | None:
    """Apply a linear map to many seeds at once, by one recording of the map.

    Parameters
    ----------
    pull : callable
        `pull(seed)` returns a list of Arrays, or of None.
    seeds : ndarray
        With a leading axis for the lanes.

    Returns
    -------
    list or None
        The results of `pull`, with lanes; None if Python saw a value in `pull`, which may differ between lanes.
    """
    tracer, parts = trace(pull, [seeds[0]], None, True)
    slots = [slot_of(tracer, part) for part in parts if part is not None]
    tracer.close()
    if tracer.guards or tracer.failed:
        return None
    inputs = (*tracer.inputs, *[slot for _, slot in tracer.lifted])
    graph = Graph(inputs, tuple(slots), tuple(tracer.instructions), tracer.constants, tuple(tracer.avals))
    lifted = with_lanes(graph, len(seeds), [True] + [False] * len(tracer.lifted))
    found = iter(interpret_graph(lifted, [lift_constant(seeds), *[x for x, _ in tracer.lifted]]))
    return [None if part is None else _broadcast(next(found), (len(seeds), *part.shape)) for part in parts]


def _broadcast(y: Array, shape: tuple[int, ...]) -> Any:
    return y if y.shape == shape else apply(BROADCAST_TO, (y,), (shape,))
