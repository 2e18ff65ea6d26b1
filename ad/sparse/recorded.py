"""Recordings of functions whose derivatives are sparse: the graph of one path, and which of its inputs are x."""
from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ad import trees
from ad._core import Array
from ad.compiler.ir.graph import Graph
from ad.compiler.ir.guards import Guard
from ad.compiler.passes.pipeline import simplify
from ad.compiler.tracing.call_signature import CallSignature
from ad.compiler.tracing.recording import Recording
from ad.engine import boundary
from ad.engine.variable import Variable
from ad.errors import kind, lost_rule
from ad.sparse.patterns import Pattern
from ad.sparse.propagation import Rows, propagate

__all__ = ["Recorded", "record_graph", "record_path", "with_floats"]


@dataclass(frozen=True, eq=False)
class Recorded:
    """One path of a function.

    Attributes
    ----------
    graph : Graph
        Its last inputs are the variables; its last outputs are what the guards check.
    guards : tuple of Guard
    variables : tuple of Variable
        What the function reads beside its arguments.
    results : PartialTree
        How the function's result holds the outputs.
    xs : tuple of int
        The inputs that are differentiated, by position.
    """

    graph: Graph
    guards: tuple[Guard, ...]
    variables: tuple[Variable, ...]
    results: trees.PartialTree
    xs: tuple[int, ...]

    @property
    def outputs(self) -> tuple[int, ...]:
        """The slots of the outputs, without those that guards check."""
        return self.graph.outputs[: len(self.graph.outputs) - len(self.guards)]

    @property
    def n(self) -> int:
        """The number of elements of x."""
        return sum(self.graph.avals[self.graph.inputs[i]].size for i in self.xs)

    @property
    def work(self) -> int:
        """The number of elements that one evaluation computes."""
        return sum(self.graph.avals[slot].size for step in self.graph.instructions for slot in step.outputs)

    def values(self, given: Sequence[Any]) -> list[Any]:
        """Return the values of the inputs, from those of the arguments."""
        return [*given, *[variable.numpy() for variable in self.variables]] if self.variables else list(given)

    def columns(self) -> dict[int, NDArray[np.int32]]:
        """Return for the slot of each leaf of x the columns that its elements are, in its shape."""
        found, start = {}, 0
        for i in self.xs:
            slot = self.graph.inputs[i]
            aval = self.graph.avals[slot]
            found[slot] = np.arange(start, start + aval.size, dtype=np.int32).reshape(aval.shape)
            start += aval.size
        return found

    def pattern(self, skip: int = 0) -> Pattern:
        """Return the pattern of the derivative of the outputs, but the first `skip`, by x."""
        if any(self.graph.avals[slot].dtype.kind == "c" for slot in self.outputs[skip:]):
            raise TypeError("ad.sparse: the function returns complex numbers, and sparse derivatives are real; return "
                            "their real and imaginary parts")
        n, starts = self.n, {}
        for slot, columns in self.columns().items():
            starts[slot] = Rows.identity(columns.size, int(columns.flat[0]) if columns.size else 0, n)
        found = propagate(self.graph, starts)[skip : len(self.outputs)]
        sizes = [self.graph.avals[slot].size for slot in self.outputs[skip:]]
        rows = Rows.stacked([part or Rows.empty(size, n) for part, size in zip(found, sizes)], n)
        return Pattern((sum(sizes), n), rows.indptr, rows.indices)


def record_path(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], argnum: int) -> Recorded:
    """Record the path that a call of a function takes.

    Raises
    ------
    TypeError
        If it uses values that are being differentiated or recorded around it.
    MissingRule
        If a function under `ad.custom_gradient` is called, whose rule no recording has.

    Warns
    -----
    UserWarning
        If an op raised, and the function handled it.
    """
    signature = CallSignature(args, kwargs)
    recording = Recording(f, signature)
    if recording.captures:
        raise TypeError("ad.sparse: the function uses values that are being differentiated or recorded around it; pass "
                        "them as arguments, and differentiate by ad.jacobian or ad.hessian")
    if recording.has_custom_rules:
        raise lost_rule()
    if recording.failed:
        warnings.warn(f"ad.sparse: {recording.failed}: an op raised here, and the function handled the exception; the "
                      "derivative holds only for values for which the op raises again", stacklevel=4)
    start, size = _count_leaves(args[:argnum]), _count_leaves(args[argnum])
    fixed, n = signature.arguments.fixed, signature.arguments.structure.size
    xs = tuple([k for k, i in enumerate([i for i in range(n) if i not in fixed]) if start <= i < start + size])
    outputs = (*recording.outputs, *[site.slot for site in recording.guards])
    inputs = (*recording.inputs, *[slot for _, slot in recording.variables])
    graph = Graph(inputs, outputs, tuple(recording.instructions), recording.constants, recording.avals)
    return Recorded(simplify(graph), tuple([site.guard for site in recording.guards]),
                    tuple([variable for variable, _ in recording.variables]), recording.results, xs)


def record_graph(f: Callable[..., Sequence[Any]], values: Sequence[Any]) -> Graph:
    """Return the graph of a function that takes Arrays, one for each value, and returns a list of Arrays."""
    recording = Recording(f, CallSignature(tuple(values), {}))
    return simplify(Graph(tuple(recording.inputs), recording.outputs, tuple(recording.instructions),
                          recording.constants, recording.avals))


def _count_leaves(tree: Any) -> int:
    return trees.flatten(tree)[1].size


def with_floats(caller: str, args: Sequence[Any], argnum: int) -> tuple[Any, ...]:
    """Return the arguments with the leaves of x as ndarrays of floats, or raise what is wrong with them."""
    if not -len(args) <= argnum < len(args):
        raise TypeError(f"{caller}: no positional argument {argnum} to differentiate with respect to; the function was "
                        f"called with {len(args)}")
    args = list(args)
    args[argnum] = trees.map(lambda leaf: _floats(caller, leaf), args[argnum])
    return tuple(args)


def _floats(caller: str, leaf: Any) -> NDArray[Any]:
    if isinstance(leaf, Array):
        if boundary.live(leaf):
            raise TypeError(f"{caller}: x is being differentiated or recorded, and a sparse matrix has no derivative; "
                            "use ad.jacobian or ad.hessian there")
        leaf = leaf.numpy()
    found = np.asarray(leaf)
    if found.dtype.kind in "iu":
        return found.astype(np.float64)
    if found.dtype.kind != "f":
        what = f"an array of dtype {found.dtype}" if isinstance(leaf, np.ndarray) else kind(leaf)
        raise TypeError(f"{caller}: x has {what} in it; sparse derivatives are by real numbers")
    return found
