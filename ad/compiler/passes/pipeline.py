"""Passes: functions from a graph to a graph that computes the same in fewer or cheaper instructions.

A pass that finds nothing to do returns the graph that it was given. Outputs keep their number and order, so that the
guards and results of a program, which refer to outputs by position, hold for any graph that a pass makes of its graph.
With AD_PRINT_PASSES=1 in the environment, `simplify` prints the graph after each pass.
"""
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ad.compiler.ir import printing
from ad.compiler.ir.graph import Graph, Instruction, Slots
from ad.compiler.ir.keys import frozen
from ad.compiler.passes.algebra import algebra
from ad.compiler.passes.outer_products import outer_products
from ad.compiler.passes.rewriting import fold
from ad.ops.traits import traits_of

__all__ = ["algebra", "common_subexpressions", "dead_code", "fold_constants", "outer_products", "renumber", "simplify"]

ROUNDS = 8  # one pass makes work for another; two or three rounds are the rule
SPARSE = 8  # slots for each one in use, beyond which they are renumbered before the other passes, too


def dead_code(graph: Graph) -> Graph:
    """Remove the instructions and constants that no output depends on."""
    live, kept = set(graph.outputs), []
    for instruction in reversed(graph.instructions):
        outputs = instruction.outputs
        if outputs[0] in live or (len(outputs) > 1 and not live.isdisjoint(outputs)):
            kept.append(instruction)
            live.update(instruction.inputs)
    constants = {slot: value for slot, value in graph.constants.items() if slot in live}
    if len(kept) == len(graph.instructions) and len(constants) == len(graph.constants):
        return graph
    return replace(graph, instructions=tuple(kept[::-1]), constants=constants)


def common_subexpressions(graph: Graph) -> Graph:
    """Keep one of several equal instructions, and one of several equal constants."""
    seen: dict[Any, Any] = {}
    same: dict[int, int] = {}
    for slot, value in graph.constants.items():
        first = seen.setdefault(frozen(value), slot)
        if first != slot:
            same[slot] = first
    kept = []
    for instruction in graph.instructions:
        op, params, inputs, outputs, line = instruction
        for slot in inputs:
            if slot in same:
                inputs = tuple([same.get(slot, slot) for slot in inputs])
                instruction = Instruction(op, params, inputs, outputs, line)
                break
        operands = tuple(sorted(inputs)) if traits_of(op).commutative else inputs
        first = seen.setdefault((op, operands, frozen(params) if params else None), outputs)
        if first is outputs:
            kept.append(instruction)
        else:
            same.update(zip(outputs, first))
    if not same:
        return graph
    return replace(graph, outputs=tuple([same.get(slot, slot) for slot in graph.outputs]), instructions=tuple(kept))


def fold_constants(graph: Graph) -> Graph:
    """Evaluate the instructions whose inputs are constants, unless that makes large constants of small ones."""
    known, kept = graph.constants, []
    for instruction in graph.instructions:
        inputs, values = instruction.inputs, None
        if inputs and inputs[0] in known and all(slot in known for slot in inputs):
            values = fold(instruction, known, graph.avals)
        if values is None:
            kept.append(instruction)
        else:
            known = {**known} if known is graph.constants else known
            known.update(zip(instruction.outputs, values))
    if known is graph.constants:
        return graph
    return replace(graph, instructions=tuple(kept), constants=known)


def renumber(graph: Graph) -> Graph:
    """Number the slots without gaps: inputs, constants, then the others in the order they are computed."""
    slots = {slot: i for i, slot in enumerate(dict.fromkeys((*graph.inputs, *graph.constants)))}
    for instruction in graph.instructions:
        for slot in instruction.outputs:
            slots[slot] = len(slots)
    if all(slot == i for slot, i in slots.items()) and len(slots) == len(graph.avals):
        return graph

    def renumbered(group: Slots) -> Slots:
        return tuple([slots[slot] for slot in group])

    return replace(
        graph, inputs=renumbered(graph.inputs), outputs=renumbered(graph.outputs),
        instructions=tuple([Instruction(op, params, renumbered(inputs), renumbered(outputs), line)
                            for op, params, inputs, outputs, line in graph.instructions]),
        constants={slots[slot]: value for slot, value in graph.constants.items()},
        avals=tuple([graph.avals[slot] for slot in slots]),
    )


def simplify(graph: Graph) -> Graph:
    """Run all passes, round after round until nothing changes.

    The result is the same to rounding; an intermediate result that over- or underflows may not do so any more.
    """
    run = _run_and_print if os.environ.get("AD_PRINT_PASSES") == "1" else _run
    graph = run(dead_code, graph)
    if len(graph.avals) > SPARSE * (len(graph.instructions) + len(graph.constants)):  # a segment of a long trace
        graph = run(renumber, graph)
    for _ in range(ROUNDS):
        before = graph = run(common_subexpressions, graph)
        graph = run(algebra, run(fold_constants, graph))
        if graph is before:
            break
        graph = run(dead_code, graph)
    graph = run(outer_products, graph)
    return run(renumber, dead_code(graph))


def _run(function: Callable[[Graph], Graph], graph: Graph) -> Graph:
    return function(graph)


def _run_and_print(function: Callable[[Graph], Graph], graph: Graph) -> Graph:
    graph = function(graph)
    print(f"-- after {function.__name__}", printing.text(graph), sep="\n")
    return graph
