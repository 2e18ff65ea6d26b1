"""Sums of outer products, as steps of a recurrence leave them, become one product of matrices."""
import collections
from dataclasses import replace

from ad.compiler.ir.graph import Graph, Instruction
from ad.compiler.ir.table import ops_named
from ad.engine.graph import Aval

__all__ = ["outer_products"]

LEAST = 4        # terms
WORTH = 256      # elements of each
ADD, MULTIPLY, RESHAPE, CONCATENATE, TRANSPOSE, MATMUL = ops_named(
    "add multiply reshape concatenate transpose matmul")


def outer_products(graph: Graph) -> Graph:
    """With every sum of u v^T over several u and v as U^T V, whose rows are those vectors."""
    stacking = _Stacking(graph)
    for instruction in reversed(graph.instructions):
        if instruction.op is ADD and instruction.outputs[0] not in stacking.inner:
            stacking.look_at(instruction)
    return stacking.graph() if stacking.found else graph


class _Stacking:
    """What a program adds up, and the sums that are taken together."""

    def __init__(self, graph):
        self.old, self.avals = graph, list(graph.avals)
        self.made = {instruction.outputs[0]: instruction for instruction in graph.instructions}
        self.uses = collections.Counter(graph.outputs)
        for instruction in graph.instructions:
            self.uses.update(instruction.inputs)
        self.inner = set()  # sums that are part of a larger one
        self.found = {}     # the last slot of a sum -> (outer products, other terms)

    def look_at(self, instruction):
        """Note the sum that ends here, if enough of its terms are outer products."""
        (slot,) = instruction.outputs
        y = self.avals[slot]
        if len(y.shape) != 2 or y.size < WORTH or y.dtype.kind not in "fc":
            return
        products, others, waiting = [], [], list(instruction.inputs)
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

    def _is_like(self, slot, y):
        return self.avals[slot].shape == y.shape and self.avals[slot].dtype == y.dtype

    def _vectors(self, made, y):
        """The slots of u and v, if this is their outer product."""
        if made.op is not MULTIPLY or any(self.avals[x].dtype != y.dtype for x in made.inputs):
            return None
        n, m = y.shape
        for u, v in (made.inputs, made.inputs[::-1]):
            if self.avals[u].shape == (n, 1) and self.avals[v].shape in ((m,), (1, m)):
                return u, v
        return None

    def graph(self):
        self.instructions = []
        for instruction in self.old.instructions:
            slot = instruction.outputs[0]
            if slot in self.found:
                self._emit_sum(slot, *self.found[slot], instruction.line)
            else:
                self.instructions.append(instruction)
        return replace(self.old, instructions=tuple(self.instructions), avals=tuple(self.avals))

    def _emit_sum(self, slot, products, others, line):
        y = self.avals[slot]
        us, vs = (self._stacked(vectors, line) for vectors in zip(*products))
        columns = self._emit(TRANSPOSE, (us,), self.avals[us].shape[::-1], y, line, (None,))
        op, inputs = MATMUL, (columns, vs)
        for term in others:
            op, inputs = ADD, (self._emit(op, inputs, y.shape, y, line), term)
        self.instructions.append(Instruction(op, (), inputs, (slot,), line))

    def _stacked(self, vectors, line):
        """Vectors as the rows of a matrix."""
        y, n, k = self.avals[vectors[0]], self.avals[vectors[0]].size, len(vectors)
        flat = tuple([self._flat(x, line) for x in vectors])
        ends = tuple([n * (i + 1) for i in range(k)])
        return self._emit(RESHAPE, (self._emit(CONCATENATE, flat, (n * k,), y, line, (0, ends)),), (k, n), y, line,
                          ((k, n), "C"))

    def _flat(self, x, line):
        y = self.avals[x]
        if len(y.shape) == 1:
            return x
        made = self.made.get(x)
        if made and made.op is RESHAPE and self.avals[made.inputs[0]].shape == (y.size,):
            return made.inputs[0]
        return self._emit(RESHAPE, (x,), (y.size,), y, line, ((y.size,), "C"))

    def _emit(self, op, inputs, shape, like, line, params=()):
        self.avals.append(Aval(shape, like.dtype))
        self.instructions.append(Instruction(op, params, inputs, (len(self.avals) - 1,), line))
        return len(self.avals) - 1
