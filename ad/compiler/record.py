"""`record`: the program of one call of a function."""
import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec

from ad import trees
from ad.compiler.ir.graph import Graph
from ad.compiler.passes.pipeline import simplify
from ad.compiler.program import Program
from ad.compiler.tracing.call_signature import CallSignature
from ad.compiler.tracing.recording import Recording
from ad.errors import kind

__all__ = ["program_of", "record"]

P = ParamSpec("P")


def record(f: Callable[P, Any]) -> Callable[P, Program]:
    """Return a function that calls `f`, and returns the program of what `f` did.

    Parameters
    ----------
    f : callable
        As for `compile`.

    Returns
    -------
    callable
        Takes the arguments of `f`; returns a `Program`, simplified.
    """
    if not callable(f):
        raise TypeError(f"ad.record takes a function, not {kind(f)}; the program comes from a call of what "
                        "it returns: ad.record(f)(x)")

    @functools.wraps(f)
    def recorded(*args: P.args, **kwargs: P.kwargs) -> Program:
        signature = CallSignature(args, kwargs)
        recording = Recording(f, signature)
        if recording.failed:
            warnings.warn(f"ad.record: {recording.failed}: an op raised here, and the function handled the exception; "
                          "the program holds only for values for which the op raises again", stacklevel=2)
        program = program_of(recording, signature)
        return dataclasses.replace(program, graph=simplify(program.graph))

    return recorded


def program_of(recording: Recording, signature: CallSignature) -> Program:
    """Return a recording as one program, which holds for the answers that its guards got.

    A variable among the arguments becomes an input, any other variable a constant.
    """
    structure, fixed = signature.arguments.structure, signature.arguments.fixed
    slots = dict(zip([i for i in range(structure.size) if i not in fixed], recording.inputs))
    read = {id(variable): (variable, slot) for variable, slot in recording.variables}
    slots.update({i: read.pop(id(x))[1] for i, x in fixed.items() if id(x) in read})
    arguments = trees.PartialTree(structure, {i: x for i, x in fixed.items() if i not in slots})
    constants = {**recording.constants, **{slot: variable.numpy() for variable, slot in read.values()}}
    outputs = (*recording.outputs, *[site.slot for site in recording.guards])
    graph = Graph(tuple([slots[i] for i in sorted(slots)]), outputs, tuple(recording.instructions), constants,
                  recording.avals)
    guards = tuple([site.guard for site in recording.guards])
    return Program(graph, arguments, recording.results, guards, recording.has_custom_rules)
