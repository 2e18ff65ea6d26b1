"""The instructions of a program, as data.

A graph is in static single assignment form: its values live in numbered slots, and each instruction reads some and
writes others that no other instruction writes. Nothing changes a graph after it is made; a pass makes another one.
"""
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from ad.engine.graph import Aval, Op

__all__ = ["Graph", "Instruction", "Slots"]

Slots: TypeAlias = tuple[int, ...]


class Instruction(NamedTuple):
    """One op: `outputs = op.fn(*inputs, *params)`, with inputs and outputs given by slot."""

    op: Op
    params: tuple[Any, ...]
    inputs: Slots
    outputs: Slots
    line: str = ""  # the line of the function's source that called the op: "file.py:12"


@dataclass(frozen=True, eq=False, slots=True)
class Graph:
    """Instructions in order, and what is known of their slots.

    A pass maps a graph to another with the same inputs and with as many outputs, in the same order. Whoever refers to
    inputs and outputs by their position (the trees and the guards of a `Program`) therefore needs no pass to know it.

    Parameters
    ----------
    inputs, outputs : tuple of int
        Slots. An output may be an input, a constant, or another output again.
    instructions : tuple of Instruction
    constants : dict
        Slot -> ndarray or number; a Python number is weak in promotion, as it was in the function.
    avals : tuple of Aval
        The shape and dtype of the value in each slot.
    """

    inputs: Slots
    outputs: Slots
    instructions: tuple[Instruction, ...]
    constants: dict[int, Any]
    avals: tuple[Aval, ...]

    def __repr__(self) -> str:
        return (f"<graph of {len(self.instructions)} instructions, {len(self.inputs)} inputs, "
                f"{len(self.outputs)} outputs>")
