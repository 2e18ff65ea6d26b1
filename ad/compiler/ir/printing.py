"""Listings of a graph, for people to read."""
import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from ad.compiler.ir.graph import Graph, Instruction, Slots
from ad.compiler.ir.guards import Guard
from ad.engine.graph import Aval

__all__ = ["text"]

WIDTH = 48  # of the column of instructions, before their shapes and lines

_Row: TypeAlias = tuple[str, str, str]  # an instruction, the types of its outputs, its line


def text(graph: Graph, guards: Sequence[Guard] = ()) -> str:
    """Return one line for the inputs, one for each constant array, instruction and guard, one for the outputs.

    Parameters
    ----------
    graph : Graph
    guards : sequence of Guard
        On the last outputs.

    Returns
    -------
    str
    """
    names = {slot: _number(value) for slot, value in graph.constants.items() if np.ndim(value) == 0}
    rows = [("inputs  " + ", ".join(f"%{slot}: {_type(graph.avals[slot])}" for slot in graph.inputs), "", "")]
    rows += [(f"%{slot} = constant {_array(value)}", _type(graph.avals[slot]), "")
             for slot, value in graph.constants.items() if slot not in names]
    rows += [_row(graph, names, instruction) for instruction in graph.instructions]
    outputs = _names(names, graph.outputs)
    results = len(outputs) - len(guards)
    rows += [(f"guard {guard.kind} {name} = {_value(guard.answer)}", "", os.path.basename(guard.line))
             for guard, name in zip(guards, outputs[results:])]
    rows.append(("outputs " + ", ".join(outputs[:results]), "", ""))
    widths = [max([len(row[i]) for row in rows[1:-1] if len(row[i]) <= WIDTH], default=0) for i in (0, 1)]
    return "\n".join(f"{what:{widths[0]}}  {kind:{widths[1]}}  {line}".rstrip() for what, kind, line in rows)


def _row(graph: Graph, names: dict[int, str], instruction: Instruction) -> _Row:
    op, params, inputs, outputs, line = instruction
    labels = op.parameters if len(op.parameters) == len(params) else [""] * len(params)
    words = [*_names(names, inputs), *[_param(label, value) for label, value in zip(labels, params)]]
    kinds = ", ".join(_type(graph.avals[slot]) for slot in outputs)
    return f"{', '.join(_names({}, outputs))} = {op.name} {' '.join(words)}", kinds, os.path.basename(line)


def _names(names: dict[int, str], slots: Slots) -> list[str]:
    return [names.get(slot, f"%{slot}") for slot in slots]


def _type(aval: Aval) -> str:
    return f"{aval.dtype}{list(aval.shape) or ''}".replace(" ", "")


def _param(label: str, value: Any) -> str:
    if label == "index":
        return f"[{', '.join(map(_value, value)) if type(value) is tuple and value else _value(value)}]"
    return f"{label}={_value(value)}" if label else _value(value)


def _value(value: Any) -> str:
    if type(value) is slice:
        parts = ["" if part is None else str(part) for part in (value.start, value.stop, value.step)]
        return ":".join(parts if parts[2] else parts[:2])
    if type(value) in (tuple, list):
        inside = ", ".join(map(_value, value)) + ("," if type(value) is tuple and len(value) == 1 else "")
        return f"({inside})" if type(value) is tuple else f"[{inside}]"
    if isinstance(value, np.ndarray):
        return _array(value)
    return "..." if value is Ellipsis else str(value) if isinstance(value, np.dtype) else repr(value)


def _number(value: Any) -> str:
    """Return a constant scalar as text, with its dtype if that counts in promotion."""
    if isinstance(value, (np.ndarray, np.generic)):
        return f"{value.dtype}({value.item()!r})"
    return repr(value)


def _array(value: Any) -> str:
    """Return the first and last elements in one line."""
    shown = np.array2string(value, threshold=4, edgeitems=2, precision=4, separator=", ", max_line_width=1000)
    return " ".join(shown.split()) if len(shown) < WIDTH else f"{' '.join(shown.split()):.{WIDTH - 20}}..."
