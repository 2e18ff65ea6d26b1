"""Passes: each a pure function from a program to one that computes the same, in fewer or cheaper instructions.

A pass that finds nothing to do returns the very program it was given. The rewrites of `algebra` are in a module
of their own. With AD_PRINT_PASSES=1 in the environment, `simplify` prints the program after each pass.
"""
import dataclasses
import os

from ad.compiler.ir.graph import Instruction
from ad.compiler.ir.keys import frozen
from ad.compiler.passes.algebra import algebra
from ad.compiler.passes.outer_products import outer_products
from ad.compiler.passes.rewriting import fold
from ad.compiler.program import Program
from ad.ops.forms import TABLE

__all__ = ["algebra", "common_subexpressions", "constants", "dead_code", "outer_products", "renumber", "simplify"]

ROUNDS = 8  # one pass makes work for another; two or three rounds are the rule
SPARSE = 8  # slots for each one in use, beyond which they are numbered anew before and not only after
_COMMUTATIVE = {TABLE[name].op for name in ("add", "multiply", "maximum", "minimum", "hypot", "logaddexp")}


def dead_code(program):
    """Without the instructions, and the constants, that no output depends on."""
    live, kept = set(program.outputs), []
    for instruction in reversed(program.instructions):
        outputs = instruction[3]
        if outputs[0] in live or (len(outputs) > 1 and not live.isdisjoint(outputs)):
            kept.append(instruction)
            live.update(instruction[2])
    constants = {slot: value for slot, value in program.constants.items() if slot in live}
    if len(kept) == len(program.instructions) and len(constants) == len(program.constants):
        return program
    return Program(program.inputs, program.outputs, tuple(kept[::-1]), constants, program.avals)


def common_subexpressions(program):
    """What an earlier instruction has computed already is taken from there; equal constants become one."""
    seen, same = {}, {}
    for slot, value in program.constants.items():
        first = seen.setdefault(frozen(value), slot)
        if first != slot:
            same[slot] = first
    kept = []
    for instruction in program.instructions:
        op, params, inputs, outputs, line = instruction
        for slot in inputs:
            if slot in same:
                inputs = tuple([same.get(slot, slot) for slot in inputs])
                instruction = Instruction(op, params, inputs, outputs, line)
                break
        operands = tuple(sorted(inputs)) if op in _COMMUTATIVE else inputs
        first = seen.setdefault((op, operands, frozen(params) if params else None), outputs)
        if first is outputs:
            kept.append(instruction)
        else:
            same.update(zip(outputs, first))
    if not same:
        return program
    outputs = tuple([same.get(slot, slot) for slot in program.outputs])
    return Program(program.inputs, outputs, tuple(kept), program.constants, program.avals)


def constants(program):
    """With instructions on nothing but constants run now, where that does not make large constants of small ones."""
    known, kept = program.constants, []
    for instruction in program.instructions:
        inputs, values = instruction[2], None
        if inputs and inputs[0] in known and all(slot in known for slot in inputs):
            values = fold(instruction, known, program.avals)
        if values is None:
            kept.append(instruction)
        else:
            known = {**known} if known is program.constants else known
            known.update(zip(instruction.outputs, values))
    if known is program.constants:
        return program
    return Program(program.inputs, program.outputs, tuple(kept), known, program.avals)


def renumber(program):
    """With slots numbered without gaps: inputs, constants, then the others as they are computed."""
    slots = {slot: i for i, slot in enumerate(dict.fromkeys((*program.inputs, *program.constants)))}
    for instruction in program.instructions:
        for slot in instruction[3]:
            slots[slot] = len(slots)
    if all(slot == i for slot, i in slots.items()) and len(slots) == len(program.avals):
        return program

    def moved(group):
        return tuple([slots[slot] for slot in group])

    return Program(
        moved(program.inputs), moved(program.outputs),
        tuple([Instruction(op, params, moved(inputs), moved(outputs), line)
               for op, params, inputs, outputs, line in program.instructions]),
        {slots[slot]: value for slot, value in program.constants.items()},
        tuple([program.avals[slot] for slot in slots]),
    )


def simplify(program):
    """All passes, round after round until nothing changes.

    Outputs keep their number and order. The result is the same to rounding; a value that over- or underflows
    halfway, in an intermediate result, may not do so any more.
    """
    given = program
    show = _show if os.environ.get("AD_PRINT_PASSES") == "1" else _quiet
    program = show(dead_code, dead_code(program))
    if len(program.avals) > SPARSE * (len(program) + len(program.constants)):  # a stretch of a long recording
        program = show(renumber, renumber(program))
    for _ in range(ROUNDS):
        before = program = show(common_subexpressions, common_subexpressions(program))
        program = show(constants, constants(program))
        program = show(algebra, algebra(program))
        if program is before:
            break
        program = show(dead_code, dead_code(program))
    program = show(outer_products, outer_products(program))
    program = show(renumber, renumber(dead_code(program)))
    if program is given:
        return program
    return dataclasses.replace(program, arguments=given.arguments, results=given.results, guards=given.guards,
                               relays=given.relays)


def _quiet(_function, program):
    return program


def _show(function, program):
    print(f"-- after {function.__name__}", program, sep="\n")
    return program
