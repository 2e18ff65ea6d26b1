"""Checks of a program that a file describes: every shape and dtype in it is computed again.

The machine reads and writes memory by the shapes and dtypes of a program's slots, so a wrong one would take it out of
bounds. Ops of the table are applied to zeros of the inputs' shapes; nothing else is run.
"""

import numpy as np

from ad.compiler.ir.guards import KEYS
from ad.compiler.machine import lowering
from ad.ops.shape_rules import ALIASES_INPUT

__all__ = ["validate"]

SMALL = 1 << 14  # elements of all inputs together up to which any op is evaluated
NUMBERS = (bool, int, float, complex, np.generic, np.ndarray)  # what constants may be


def validate(program):
    """Check that a program is consistent.

    Parameters
    ----------
    program : Program

    Raises
    ------
    ValueError
        For a slot that is read before it is written, and for a shape or dtype that is not that of the slot's value.
    """
    for aval in program.avals:
        if not all(type(n) is int and n >= 0 for n in aval.shape):
            raise ValueError(f"there is no shape {aval.shape}")
    known = set()
    _define(program, known, program.inputs)
    _define(program, known, tuple(program.constants))
    for slot, value in program.constants.items():
        _check_constant(program.avals[slot], slot, value)
    with np.errstate(all="ignore"):
        for instruction in program.instructions:
            _check_instruction(program, known, instruction)
    require(known.issuperset(program.outputs), "an output is not there")
    require(all(guard.kind in KEYS for guard in program.guards), "a guard asks for what cannot be asked")
    results = len(program.outputs) - len(program.guards)
    for frame, count in ((program.arguments, len(program.inputs)), (program.results, results)):
        require(frame is None or frame.structure.size - len(frame.fixed) == count, "a tree has not as many leaves")


def require(truth, message):
    """Raise ValueError unless a condition holds.

    Parameters
    ----------
    truth : bool
    message : str
    """
    if not truth:
        raise ValueError(message)


def _define(program, known, slots):
    for slot in slots:
        require(type(slot) is int and 0 <= slot < len(program.avals) and slot not in known, f"no slot can be %{slot}")
        known.add(slot)


def _check_constant(aval, slot, value):
    require(isinstance(value, NUMBERS), f"constant %{slot} is no number")
    require(np.shape(value) == aval.shape, f"constant %{slot} has another shape than it should")
    require(np.asarray(value).dtype == aval.dtype, f"constant %{slot} has another dtype than it should")


def _check_instruction(program, known, instruction):
    op, params, inputs, outputs, line = instruction
    require(known.issuperset(inputs), f"{op.name} reads what is not there")
    require(len(outputs) == op.outputs and type(params) is tuple and type(line) is str, f"{op.name} is not complete")
    _define(program, known, outputs)
    values = [program.constants[slot] if slot in program.constants else _zeros(program.avals[slot]) for slot in inputs]
    found = _described(op, params, values)
    for slot, (shape, dtype) in zip(outputs, found or ()):
        aval = program.avals[slot]
        require(shape == aval.shape, f"{op.name} has another shape than it should")
        require(dtype is None or dtype == aval.dtype, f"{op.name} has another dtype than it should")


def _zeros(aval):
    """A value like those of a slot. The memory of zeros is not there before somebody writes to it."""
    return np.zeros(aval.shape, aval.dtype) if aval.shape else aval.dtype.type(0)


def _described(op, params, values):
    """The shape and dtype of each output; None for an op of which the machine checks them at each call."""
    if op.form == "elementwise" or isinstance(op.fn, np.ufunc) and op.fn.signature is None:
        return _elementwise(op, params, values)
    told = _shape_rule(op, params, values)
    if told is ALIASES_INPUT or op in lowering.NATIVE and (told is None or op.form == "linear"):
        found = _of(op.fn(*values, *params), op.outputs)
        require(told in (None, ALIASES_INPUT) or told[0] == found[0][0], f"{op.name} has parameters that do not fit")
        return found
    if told is not None:
        return [told]
    return _evaluated(op, params, values) if sum(map(np.size, values)) <= SMALL else None


def _shape_rule(op, params, values):
    """What the op's shape rule says; None where it says nothing."""
    if op.shape_rule is None:
        return None
    try:
        told = op.shape_rule(*values, *params)
    except (IndexError, TypeError, ValueError):
        return None  # the evaluation says what is wrong
    return told if told is None or told is ALIASES_INPUT else (tuple(told[0]), np.dtype(told[1]))


def _elementwise(op, params, values):
    """The shape that the inputs have together, and the dtypes that the op gives on one element of each."""
    arity = op.arity if op.form == "elementwise" else op.fn.nin
    require(len(values) == arity and params == (), f"{op.name} takes {arity} inputs")
    shape = np.broadcast_shapes(*map(np.shape, values))
    one = op.fn(*[x[(slice(0, 1),) * x.ndim] if isinstance(x, np.ndarray) else x for x in values])
    return [(shape, dtype) for _, dtype in _of(one, op.outputs)]


def _evaluated(op, params, values):
    """What the op gives on these shapes; None if it raises, as it does on other values too."""
    try:
        return _of(op.fn(*map(_regular, values), *params), op.outputs)
    except Exception:
        return None


def _regular(x):
    """Square matrices that are not singular, in the place of zeros."""
    if np.ndim(x) < 2 or x.shape[-1] != x.shape[-2] or x.dtype.kind not in "fc" or np.any(x):
        return x
    return x + np.eye(x.shape[-1], dtype=x.dtype)


def _of(y, outputs):
    parts = (y,) if outputs == 1 else y
    require(len(parts) == outputs, "an op has not as many outputs")
    return [(np.shape(part), np.asarray(part).dtype) for part in parts]
