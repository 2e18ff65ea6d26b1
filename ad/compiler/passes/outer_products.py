"""Sums of outer products, as steps of a recurrence leave them, become one product of matrices."""
import collections

from ad.compiler.ir.graph import Instruction
from ad.compiler.program import Program
from ad.engine.graph import Aval
from ad.ops.forms import TABLE

__all__ = ["outer_products"]

LEAST = 4        # terms
WORTH = 256      # elements of each
ADD, MULTIPLY, RESHAPE, CONCATENATE, TRANSPOSE, MATMUL = [
    TABLE[name].op for name in "add multiply reshape concatenate transpose matmul".split()]


def outer_products(program):
    """With every sum of u v^T over several u and v as U^T V, whose rows are those vectors."""
    stacking = _Stacking(program)
    for instruction in reversed(program.instructions):
        if instruction[0] is ADD and instruction[3][0] not in stacking.inner:
            stacking.look_at(instruction)
    return stacking.program() if stacking.found else program


class _Stacking:
    """What a program adds up, and the sums that are taken together."""

    def __init__(self, program):
        self.old, self.avals = program, list(program.avals)
        self.made = {instruction[3][0]: instruction for instruction in program.instructions}
        self.uses = collections.Counter(program.outputs)
        for instruction in program.instructions:
            self.uses.update(instruction[2])
        self.inner = set()  # sums that are part of a larger one
        self.found = {}     # the last slot of a sum -> (outer products, other terms)

    def look_at(self, instruction):
        """Note the sum that ends here, if enough of its terms are outer products."""
        (slot,), y = instruction[3], self.avals[instruction[3][0]]
        if len(y.shape) != 2 or y.size < WORTH or y.dtype.kind not in "fc":
            return
        products, others, waiting = [], [], list(instruction[2])
        while waiting:
            term = waiting.pop()
            made = self.made.get(term) if self.uses[term] == 1 and self._is_like(term, y) else None
            if made and made[0] is ADD:
                self.inner.add(term)
                waiting += made[2]
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
        if made[0] is not MULTIPLY or any(self.avals[x].dtype != y.dtype for x in made[2]):
            return None
        n, m = y.shape
        for u, v in (made[2], made[2][::-1]):
            if self.avals[u].shape == (n, 1) and self.avals[v].shape in ((m,), (1, m)):
                return u, v
        return None

    def program(self):
        self.instructions = []
        for instruction in self.old.instructions:
            slot, *_ = instruction[3]
            if slot in self.found:
                self._emit_sum(slot, *self.found[slot], instruction.line)
            else:
                self.instructions.append(instruction)
        return Program(self.old.inputs, self.old.outputs, tuple(self.instructions), self.old.constants,
                       tuple(self.avals))

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
        if made and made[0] is RESHAPE and self.avals[made[2][0]].shape == (y.size,):
            return made[2][0]
        return self._emit(RESHAPE, (x,), (y.size,), y, line, ((y.size,), "C"))

    def _emit(self, op, inputs, shape, like, line, params=()):
        self.avals.append(Aval(shape, like.dtype))
        self.instructions.append(Instruction(op, params, inputs, (len(self.avals) - 1,), line))
        return len(self.avals) - 1
