"""Listings: a program as lines to be read."""
import os

import numpy as np

__all__ = ["text"]

WIDTH = 48  # of what an instruction does, before its shape and line


def text(program):
    """One line for the inputs, one for each constant array and instruction, one for the outputs."""
    names = {slot: _number(value) for slot, value in program.constants.items() if np.ndim(value) == 0}
    rows = [("inputs  " + ", ".join(f"%{slot}: {_type(program.avals[slot])}" for slot in program.inputs), "", "")]
    rows += [(f"%{slot} = constant {_array(value)}", _type(program.avals[slot]), "")
             for slot, value in program.constants.items() if slot not in names]
    rows += [_row(program, names, instruction) for instruction in program.instructions]
    outputs = _names(names, program.outputs)
    results = len(outputs) - len(program.guards)
    rows += [(f"guard {guard.kind} {name} = {_value(guard.answer)}", "", os.path.basename(guard.line))
             for guard, name in zip(program.guards, outputs[results:])]
    rows.append(("outputs " + ", ".join(outputs[:results]), "", ""))
    widths = [max([len(row[i]) for row in rows[1:-1] if len(row[i]) <= WIDTH], default=0) for i in (0, 1)]
    return "\n".join(f"{what:{widths[0]}}  {kind:{widths[1]}}  {line}".rstrip() for what, kind, line in rows)


def _row(program, names, instruction):
    op, params, inputs, outputs, line = instruction
    labels = op.parameters if len(op.parameters) == len(params) else [""] * len(params)
    words = [*_names(names, inputs), *[_param(label, value) for label, value in zip(labels, params)]]
    kinds = ", ".join(_type(program.avals[slot]) for slot in outputs)
    return f"{', '.join(_names({}, outputs))} = {op.name} {' '.join(words)}", kinds, os.path.basename(line)


def _names(names, slots):
    return [names.get(slot, f"%{slot}") for slot in slots]


def _type(aval):
    return f"{aval.dtype}{list(aval.shape) or ''}".replace(" ", "")


def _param(label, value):
    if label == "index":
        return f"[{', '.join(map(_value, value)) if type(value) is tuple and value else _value(value)}]"
    return f"{label}={_value(value)}" if label else _value(value)


def _value(value):
    if type(value) is slice:
        parts = ["" if part is None else str(part) for part in (value.start, value.stop, value.step)]
        return ":".join(parts if parts[2] else parts[:2])
    if type(value) in (tuple, list):
        inside = ", ".join(map(_value, value)) + ("," if type(value) is tuple and len(value) == 1 else "")
        return f"({inside})" if type(value) is tuple else f"[{inside}]"
    if isinstance(value, np.ndarray):
        return _array(value)
    return "..." if value is Ellipsis else str(value) if isinstance(value, np.dtype) else repr(value)


def _number(value):
    """A constant scalar; with its dtype if it has one that counts in promotion."""
    if isinstance(value, (np.ndarray, np.generic)):
        return f"{value.dtype}({value.item()!r})"
    return repr(value)


def _array(value):
    """The first and last elements, in one line."""
    shown = np.array2string(value, threshold=4, edgeitems=2, precision=4, separator=", ", max_line_width=1000)
    return " ".join(shown.split()) if len(shown) < WIDTH else f"{' '.join(shown.split()):.{WIDTH - 20}}..."
