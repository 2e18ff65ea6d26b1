"""Interpreters of a graph, which run one instruction after the other.

`interpret` and `interpret_graph` apply the ops to Arrays, so that they are recorded and differentiated as any others;
`evaluate` calls NumPy.
"""
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ad._core import apply, constant
from ad.compiler.ir.graph import Graph, Instruction

__all__ = ["evaluate", "initial_slots", "interpret", "interpret_graph"]


def initial_slots(graph: Graph, values: Sequence[Any]) -> dict[int, Any]:
    """Return the constants and inputs of a graph by slot, as `interpret` takes them.

    Parameters
    ----------
    graph : Graph
    values : sequence
        One for each input.

    Returns
    -------
    dict
    """
    slots = {slot: constant(value) if isinstance(value, np.ndarray) else value
             for slot, value in graph.constants.items()}
    slots.update(zip(graph.inputs, values))
    return slots


def interpret(instructions: Iterable[Instruction], slots: dict[int, Any]) -> None:
    """Run instructions as ops on Arrays; `slots` holds their inputs, and receives their outputs."""
    for op, params, inputs, outputs, _ in instructions:
        y = apply(op, tuple([slots[slot] for slot in inputs]), params)
        slots.update(zip(outputs, y if op.outputs > 1 else (y,)))


def interpret_graph(graph: Graph, values: Sequence[Any]) -> list[Any]:
    """Run a graph as ops on Arrays, and return its outputs.

    Parameters
    ----------
    graph : Graph
    values : sequence
        One for each input.

    Returns
    -------
    list
    """
    slots = initial_slots(graph, values)
    interpret(graph.instructions, slots)
    return [slots[slot] for slot in graph.outputs]


def evaluate(graph: Graph, values: Sequence[Any]) -> list[Any]:
    """Run a graph by NumPy: the reference for any faster way to run it.

    Parameters
    ----------
    graph : Graph
    values : sequence of ndarray or float
        One for each input.

    Returns
    -------
    list
        The outputs.
    """
    slots = {**graph.constants, **dict(zip(graph.inputs, values))}
    for op, params, inputs, outputs, _ in graph.instructions:
        y = op.fn(*[slots[slot] for slot in inputs], *params)
        slots.update(zip(outputs, y if op.outputs > 1 else (y,)))
    return [slots[slot] for slot in graph.outputs]
