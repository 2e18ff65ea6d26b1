"""Checks of a graph that a file describes: every shape and dtype in it is computed again.

The machine reads and writes memory by the shapes and dtypes of a graph's slots, so that a wrong one would take it out
of bounds. Ops of the table are applied to zeros of the inputs' shapes; nothing else is run.
"""
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from ad.compiler.ir.graph import Graph, Instruction, Slots
from ad.compiler.ir.guards import KEYS, Guard
from ad.compiler.machine import lowering
from ad.engine.graph import Aval, Op
from ad.ops.own_op import is_own
from ad.ops.shape_rules import ALIASES_INPUT
from ad.trees import PartialTree

__all__ = ["check_program", "require", "validate"]

SMALL = 1 << 14  # elements of all inputs together up to which any op is evaluated
NUMBERS = (bool, int, float, complex, np.generic, np.ndarray)  # types of constants

_ShapeAndDtype: TypeAlias = tuple[tuple[int, ...], np.dtype[Any] | None]


def validate(graph: Graph) -> None:
    """Check that a graph is consistent.

    Parameters
    ----------
    graph : Graph

    Raises
    ------
    ValueError
        If a slot is read before it is written, or its shape or dtype is not that of its value.
    """
    for aval in graph.avals:
        if not all(type(n) is int and n >= 0 for n in aval.shape):
            raise ValueError(f"there is no shape {aval.shape}")
    known: set[int] = set()
    _define(graph, known, graph.inputs)
    _define(graph, known, tuple(graph.constants))
    for slot, value in graph.constants.items():
        _check_constant(graph.avals[slot], slot, value)
    with np.errstate(all="ignore"):
        for instruction in graph.instructions:
            _check_instruction(graph, known, instruction)
    require(known.issuperset(graph.outputs), "an output is not there")


def check_program(
    graph: Graph, arguments: PartialTree | None, results: PartialTree | None, guards: Sequence[Guard]
) -> None:
    """Check that a graph is consistent, and that trees and guards fit its inputs and outputs.

    Parameters
    ----------
    graph, arguments, results, guards
        As of a `Program`.

    Raises
    ------
    ValueError
        As `validate` does; and for a guard of an unknown kind, and a tree with another number of leaves.
    """
    validate(graph)
    require(all(guard.kind in KEYS for guard in guards), "a guard asks for what cannot be asked")
    for tree, count in ((arguments, len(graph.inputs)), (results, len(graph.outputs) - len(guards))):
        require(tree is None or tree.structure.size - len(tree.fixed) == count, "a tree has not as many leaves")


def require(truth: bool, message: str) -> None:
    """Raise ValueError unless a condition holds.

    Parameters
    ----------
    truth : bool
    message : str
    """
    if not truth:
        raise ValueError(message)


def _define(graph: Graph, known: set[int], slots: Slots) -> None:
    for slot in slots:
        require(type(slot) is int and 0 <= slot < len(graph.avals) and slot not in known, f"no slot can be %{slot}")
        known.add(slot)


def _check_constant(aval: Aval, slot: int, value: Any) -> None:
    require(isinstance(value, NUMBERS), f"constant %{slot} is no number")
    require(np.shape(value) == aval.shape, f"constant %{slot} has another shape than it should")
    require(np.asarray(value).dtype == aval.dtype, f"constant %{slot} has another dtype than it should")


def _check_instruction(graph: Graph, known: set[int], instruction: Instruction) -> None:
    op, params, inputs, outputs, line = instruction
    require(known.issuperset(inputs), f"{op.name} reads what is not there")
    require(len(outputs) == op.outputs and type(params) is tuple and type(line) is str, f"{op.name} is not complete")
    _define(graph, known, outputs)
    values = [graph.constants[slot] if slot in graph.constants else _zeros(graph.avals[slot]) for slot in inputs]
    found = _abstract_outputs(op, params, values)
    for slot, (shape, dtype) in zip(outputs, found or ()):
        aval = graph.avals[slot]
        require(shape == aval.shape, f"{op.name} has another shape than it should")
        require(dtype is None or dtype == aval.dtype, f"{op.name} has another dtype than it should")


def _zeros(aval: Aval) -> Any:
    """Return a value like those of a slot. The memory of zeros takes no room before it is written."""
    return np.zeros(aval.shape, aval.dtype) if aval.shape else aval.dtype.type(0)


def _abstract_outputs(op: Op, params: tuple[Any, ...], values: list[Any]) -> Sequence[_ShapeAndDtype] | None:
    """Return the shape and dtype of each output, or None for an op whose outputs the machine checks at each call."""
    if is_own(op) and not isinstance(op.fn, np.ufunc):
        return None  # a function of a user is not called before the program is
    if op.form == "elementwise" or isinstance(op.fn, np.ufunc) and op.fn.signature is None:
        return _elementwise(op, params, values)
    told = _shape_rule(op, params, values)
    if told is ALIASES_INPUT or op in lowering.NATIVE and (told is None or op.form == "linear"):
        found = _of(op.fn(*values, *params), op.outputs)
        require(told is None or told is ALIASES_INPUT or told[0] == found[0][0],
                f"{op.name} has parameters that do not fit")
        return found
    if told is not None:
        return [told]
    return _evaluated(op, params, values) if sum(map(np.size, values)) <= SMALL else None


def _shape_rule(op: Op, params: tuple[Any, ...], values: list[Any]) -> Any:
    """Return the result of the op's shape rule; None if it has none, or if that does not apply."""
    if op.shape_rule is None:
        return None
    try:
        told = op.shape_rule(*values, *params)
    except (IndexError, TypeError, ValueError):
        return None  # evaluating the op says what is wrong
    return told if told is None or told is ALIASES_INPUT else (tuple(told[0]), np.dtype(told[1]))


def _elementwise(op: Op, params: tuple[Any, ...], values: list[Any]) -> Sequence[_ShapeAndDtype]:
    """Return the broadcast shape of the inputs, with the dtypes that the op gives on one element of each."""
    arity = op.arity if op.form == "elementwise" else op.fn.nin  # type: ignore[attr-defined]
    require(len(values) == arity and params == (), f"{op.name} takes {arity} inputs")
    shape = np.broadcast_shapes(*map(np.shape, values))
    one = op.fn(*[x[(slice(0, 1),) * x.ndim] if isinstance(x, np.ndarray) else x for x in values])
    return [(shape, dtype) for _, dtype in _of(one, op.outputs)]


def _evaluated(op: Op, params: tuple[Any, ...], values: list[Any]) -> Sequence[_ShapeAndDtype] | None:
    """Return what the op gives on these shapes; None if it raises, as it may on other values too."""
    try:
        return _of(op.fn(*map(_regular, values), *params), op.outputs)
    except Exception:
        return None


def _regular(x: Any) -> Any:
    """Replace zero square matrices by identities, which are not singular."""
    if np.ndim(x) < 2 or x.shape[-1] != x.shape[-2] or x.dtype.kind not in "fc" or np.any(x):
        return x
    return x + np.eye(x.shape[-1], dtype=x.dtype)


def _of(y: Any, outputs: int) -> Sequence[_ShapeAndDtype]:
    """Return the shape and dtype of each of the outputs in what an op returned."""
    parts = (y,) if outputs == 1 else y
    require(len(parts) == outputs, "an op has not as many outputs")
    return [(np.shape(part), np.asarray(part).dtype) for part in parts]
