"""Sums of outer products become one product of matrices.

The cotangent of a matrix that is used at each step of a recurrence (a recurrent network, a linear filter, a time loop
`x = A @ x`) is a sum of one outer product for each step. k of them read and write an n x m matrix k times; the product
of an n x k with a k x m matrix does so once, by BLAS.
"""
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ad.compiler.ir.graph import Graph, Instruction, Slots
from ad.engine.graph import Aval, Op
from ad.ops.table import ops_named

__all__ = ["outer_products"]

LEAST = 4        # outer products in a sum
WORTH = 256      # elements of each of them
ADD, MULTIPLY, RESHAPE, CONCATENATE, TRANSPOSE, MATMUL = ops_named(
    "add multiply reshape concatenate transpose matmul")


def outer_products(graph: Graph) -> Graph:
    """Replace every sum of u v^T over several u and v by U^T V, whose rows are those vectors."""
    stacking = _Stacking(graph)
    for instruction in reversed(graph.instructions):
        if instruction.op is ADD and instruction.outputs[0] not in stacking.inner:
            stacking.look_at(instruction)
    return stacking.graph() if stacking.found else graph


class _Stacking:
    """The sums of a graph, and which of them are replaced."""

    def __init__(self, graph: Graph) -> None:
        self.old, self.avals = graph, list(graph.avals)
        self.made = {instruction.outputs[0]: instruction for instruction in graph.instructions}
        self.uses: Counter[int] = Counter(graph.outputs)
        for instruction in graph.instructions:
            self.uses.update(instruction.inputs)
        self.instructions: list[Instruction] = []
        self.inner: set[int] = set()  # sums that are part of a larger one
        self.found: dict[int, tuple[list[Slots], list[int]]] = {}  # the slot of a sum -> (outer products, other terms)

    def look_at(self, instruction: Instruction) -> None:
        """Note the sum that ends here, if enough of its terms are outer products."""
        (slot,) = instruction.outputs
        y = self.avals[slot]
        if len(y.shape) != 2 or y.size < WORTH or y.dtype.kind not in "fc":
            return
        products: list[Slots] = []
        others, waiting = [], list(instruction.inputs)
        while waiting:
            term = waiting.pop()
            made = self.made.get(term) if self.uses[term] == 1 and self._is_like(term, y) else None
            if made and made.op is ADD:
                self.inner.add(term)
                waiting += made.inputs
            elif made and (vectors := self._vectors(made, y)):
                products.append(vectors)
            else:
                others.append(term)
        if len(products) >= LEAST:
            self.found[slot] = products[::-1], others

    def _is_like(self, slot: int, y: Aval) -> bool:
        return self.avals[slot].shape == y.shape and self.avals[slot].dtype == y.dtype

    def _vectors(self, made: Instruction, y: Aval) -> Slots | None:
        """Return the slots of u and v, if this is their outer product."""
        if made.op is not MULTIPLY or any(self.avals[x].dtype != y.dtype for x in made.inputs):
            return None
        n, m = y.shape
        for u, v in (made.inputs, made.inputs[::-1]):
            if self.avals[u].shape == (n, 1) and self.avals[v].shape in ((m,), (1, m)):
                return u, v
        return None

    def graph(self) -> Graph:
        """Return the graph with the sums replaced."""
        for instruction in self.old.instructions:
            slot = instruction.outputs[0]
            if slot in self.found:
                self._emit_sum(slot, *self.found[slot], instruction.line)
            else:
                self.instructions.append(instruction)
        return replace(self.old, instructions=tuple(self.instructions), avals=tuple(self.avals))

    def _emit_sum(self, slot: int, products: list[Slots], others: list[int], line: str) -> None:
        y = self.avals[slot]
        us, vs = (self._stacked(vectors, line) for vectors in zip(*products))
        columns = self._emit(TRANSPOSE, (us,), self.avals[us].shape[::-1], y, line, (None,))
        op, inputs = MATMUL, (columns, vs)
        for term in others:
            op, inputs = ADD, (self._emit(op, inputs, y.shape, y, line), term)
        self.instructions.append(Instruction(op, (), inputs, (slot,), line))

    def _stacked(self, vectors: Sequence[int], line: str) -> int:
        """Emit the matrix whose rows are these vectors."""
        y, n, k = self.avals[vectors[0]], self.avals[vectors[0]].size, len(vectors)
        flat = tuple([self._flat(x, line) for x in vectors])
        ends = tuple([n * (i + 1) for i in range(k)])
        return self._emit(RESHAPE, (self._emit(CONCATENATE, flat, (n * k,), y, line, (0, ends)),), (k, n), y, line,
                          ((k, n), "C"))

    def _flat(self, x: int, line: str) -> int:
        y = self.avals[x]
        if len(y.shape) == 1:
            return x
        made = self.made.get(x)
        if made and made.op is RESHAPE and self.avals[made.inputs[0]].shape == (y.size,):
            return made.inputs[0]
        return self._emit(RESHAPE, (x,), (y.size,), y, line, ((y.size,), "C"))

    def _emit(
        self, op: Op, inputs: Slots, shape: tuple[int, ...], like: Aval, line: str, params: tuple[Any, ...] = ()
    ) -> int:
        self.avals.append(Aval(shape, like.dtype))
        self.instructions.append(Instruction(op, params, inputs, (len(self.avals) - 1,), line))
        return len(self.avals) - 1
