"""Programs: what a function did, as a list of instructions that can be run again without it.

A program is in static single assignment form. Its values live in numbered slots; each instruction reads some
and writes others that no other writes. It is a value: nothing changes one after it is made, a pass makes another.
"""
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ad import costs, listing
from ad._graph import Op

__all__ = ["Cost", "Instruction", "Program", "evaluate", "frozen"]

SMALL = 1024


class Instruction(NamedTuple):
    """One op: `outputs = op.fn(*inputs, *params)`, inputs and outputs given by slot."""

    op: Op
    params: tuple
    inputs: tuple
    outputs: tuple
    line: str = ""  # where the function's source had it: "file.py:12"


class Cost(NamedTuple):
    """What one run of a program does."""

    operations: int  # of floating point, on single elements
    bytes: int       # read and written, were every instruction to fetch its inputs from memory and store its outputs


@dataclass(frozen=True, eq=False, repr=False, slots=True, weakref_slot=True)
class Program:
    """Instructions in order, and what their slots hold.

    `len(program)` is the number of instructions.

    Attributes
    ----------
    inputs, outputs : tuple of int
        Slots. An output may be an input, a constant, or another output again.
    instructions : tuple of Instruction
    constants : dict
        Slot -> ndarray or number; a Python number is weak in promotion, as it was in the function.
    avals : tuple of Aval
        For every slot the shape and dtype of its value.
    """

    inputs: tuple
    outputs: tuple
    instructions: tuple
    constants: dict
    avals: tuple

    def __len__(self):
        return len(self.instructions)

    def __bool__(self):
        return True  # without instructions, too

    def __repr__(self):
        return (f"<program of {len(self.instructions)} instructions, {len(self.inputs)} inputs, "
                f"{len(self.outputs)} outputs>")

    def __str__(self):
        return listing.text(self)

    def __reduce__(self):
        from ad import saving

        return saving.from_bytes, (saving.to_bytes(self),)

    def cost(self):
        """Operations and bytes of one run, counted by instruction; no fusion is assumed.

        An elementwise op counts one operation for each element of its result, a reduction one for each element
        that goes into it, a product of matrices two for each pair of factors, a factorization of an n x n matrix n^3,
        and what only moves elements none.

        Returns
        -------
        Cost
            A named tuple `(operations, bytes)`.
        """
        return Cost(sum([costs.operations(self, i) for i in self.instructions]),
                    sum([costs.bytes_moved(self, i) for i in self.instructions]))

    def save(self, path):
        """Write the program to a file, from which `ad.load` reads it.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        TypeError
            If it has an op that is not in the table: one of a function under `custom_gradient`.
        """
        from ad import saving

        saving.save(self, path)


def evaluate(program, values):
    """Run a program by NumPy, one instruction after the other: what any faster way must agree with.

    Parameters
    ----------
    program : Program
    values : sequence of ndarray or float
        One for each input.

    Returns
    -------
    list
        The outputs.
    """
    slots = {**program.constants, **dict(zip(program.inputs, values))}
    for op, params, inputs, outputs, _ in program.instructions:
        y = op.fn(*[slots[slot] for slot in inputs], *params)
        slots.update(zip(outputs, y if op.outputs > 1 else (y,)))
    return [slots[slot] for slot in program.outputs]


def frozen(params):
    """Static parameters in a form that can be hashed: equal for equal values of equal types.

    Arrays of up to `SMALL` bytes are compared by value, larger ones by identity.
    """
    kind = type(params)
    if kind is tuple or kind is list:
        return (kind, *[frozen(part) for part in params])
    if kind is slice:
        return kind, params.start, params.stop, params.step
    if kind is np.ndarray or isinstance(params, np.generic):
        if params.nbytes <= SMALL and not params.dtype.hasobject:
            return kind, params.dtype.str, params.shape, params.tobytes()
        return kind, id(params)
    if kind is float or kind is complex:
        return kind, repr(params)  # zeros differ by their sign, and nan is itself
    if isinstance(params, int):
        return kind, int(params)
    return (kind, params) if params is None or params is Ellipsis or kind is str else (kind, id(params))
