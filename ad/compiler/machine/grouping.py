"""Groups: the loops of a step over vectors of one length, written down for one block after the other."""
import math
from collections import Counter, defaultdict

from ad.compiler.machine.execution_plan import SCRATCH, Group, Ref, VectorOp
from ad.compiler.machine.sparse_blocks import ScatterIndex
from ad.compiler.machine.vm import LOOKING

__all__ = ["PADDING", "GroupMaker"]

CACHE = 3072  # elements in the blocks of a group, which should stay in the first-level cache
MAX_LAG = 64  # elements that the seam between two threads may take
PADDING = 16  # elements between blocks and buffers: equal addresses modulo 4096 slow each other down


class GroupMaker:
    """One group, written down: first with numbered temporaries, then with their places in the scratch.

    Attributes
    ----------
    temps : dict
        Root, or View where it had to be gathered -> the Ref of a block that no other step reads; its offset is a number
        of its own until `_with_scratch` gives it a place.
    made : dict
        Ref -> the number of the op that makes it.
    parts, first_parts : dict
        Slot -> the works that add to it in this step, and the one of them that is stored instead, or None.
    starts : dict
        Slot -> the largest offset among those works: how far others begin before it is their lag.
    waiting : dict
        Slot -> the works that come before what is stored, to be added after it.
    align : int
        Threads may begin at multiples of it.
    """

    def __init__(self, places, t, step):
        self.places, self.t, self.step = places, t, step
        self.n = step[0].n
        self.ops, self.sums, self.zeros = [], [], []
        self.temps, self.n_temps, self.made = {}, 0, {}
        self.parts = defaultdict(list)
        for work in step:
            if work.name == "add_into":
                self.parts[work.outputs[0]].append(work)
        self.first_parts = {slot: self._begin(slot, parts) for slot, parts in self.parts.items()}
        self.starts = {slot: max(work.target.offset for work in parts) for slot, parts in self.parts.items()}
        self.waiting = defaultdict(list)
        self.align = 64

    def group(self):
        for work in self.step:
            if work.name == "add_into":
                self._add_part(work)
            elif work.name == "sum":
                self.ops.append(VectorOp("sum", len(self.sums), None, (self._block(work.inputs[0]),)))
                self.sums.append((*self.places.place(work.outputs[0]), 1))
            elif work.name == "take":
                root = self.places.place(work.inputs[0].root)
                self._make(work, VectorOp("take", work.indices, None, (), (*root, (), ())))
            else:
                inputs = tuple([self._ref(view) for view in work.inputs])
                self._make(work, VectorOp(work.name, work.op, None, inputs))
        self._fuse_products()
        return self._with_scratch()

    def _make(self, work, op):
        out = self._out(work.outputs[0])
        self.made[out] = len(self.ops)
        self.ops.append(op._replace(out=out))

    # -- operands --------------------------------------------------------------------------------

    def _new_temp(self, key):
        self.temps[key] = Ref(SCRATCH, self.n_temps, 0)
        self.n_temps += 1
        return self.temps[key]

    def _out(self, root):
        if not self.places.outlives(root, self.t):
            return self._new_temp(root)
        return Ref(*self.places.place(root), 1)

    def _ref(self, view):
        if view.root in self.temps:
            return self.temps[view.root]
        if view in self.temps:
            return self.temps[view]
        base, offset = self.places.place(view.root)
        if view.is_number:
            return Ref(base, offset + view.offset, 0)
        if view.is_flat:
            return Ref(base, offset + view.offset, 1)
        out = self._new_temp(view)
        self.ops.append(VectorOp("gather", None, out, (), _merged(base, offset, view)))
        return out

    def _block(self, view):
        """A ref that is a block in any case, not one number."""
        ref = self._ref(view)
        if ref.step == 0 and ref.base != SCRATCH:
            out = self._new_temp(view)
            self.ops.append(VectorOp("copy", None, out, (ref,)))
            return out
        return ref

    # -- adding into parts of an array -----------------------------------------------------------
    # Blocks run forwards. The part that starts last is stored, the others are added to it: what they add to has
    # been stored, in this block or an earlier one. What no block stores is cleared first.

    def _begin(self, slot, parts):
        """The part that is stored; None if all are added."""
        if slot in self.places.begun:
            return None
        self.places.begun.add(slot)
        base, offset = self.places.place(slot)
        size = self.places.lowering.views[slot].size
        if not all(work.target.is_flat for work in parts):
            self.zeros.append((base, offset, size))
            return None
        first = max(parts, key=lambda work: work.target.offset)
        start, end = first.target.offset, first.target.offset + self.n
        self.zeros += [(base, offset, start), (base, offset + end, size - end)]
        return first

    def _add_part(self, work):
        (slot,) = work.outputs
        first = self.first_parts[slot]
        if work is first:
            self._store(work)
            self.first_parts[slot] = None
            for other in self.waiting.pop(slot, ()):
                self._accumulate(other)
        elif first is not None:
            self.waiting[slot].append(work)
        else:
            self._accumulate(work)

    def _target(self, work):
        base, offset = self.places.place(work.outputs[0])
        return Ref(base, offset + work.target.offset, 1)

    def _store(self, work):
        """Where all that reads what is stored comes before, it is made in its place, and read there."""
        view, target = work.inputs[0], self._target(work)
        made = self.temps.get(view.root)
        if made is not None:
            k = self.made[made]
            reading = [i for i in range(k + 1, len(self.ops)) if made in self.ops[i].inputs]
            if sum(self.ops[i].inputs.count(made) for i in reading) + 1 == self.places.readers[view.root]:
                self.ops[k] = self.ops[k]._replace(out=target)
                for i in reading:
                    inputs = tuple([target if ref == made else ref for ref in self.ops[i].inputs])
                    self.ops[i] = self.ops[i]._replace(inputs=inputs)
                return
        self.ops.append(VectorOp("copy", None, target, (self._ref(view),)))

    def _accumulate(self, work):
        if work.target.is_flat:
            target = self._target(work)
            lag = self.starts[work.outputs[0]] - work.target.offset
            self.ops.append(VectorOp("add_part", lag, target, (self._ref(work.inputs[0]), target)))
            self._align(1 if lag <= MAX_LAG else self.n)
        elif isinstance(work.target, ScatterIndex):
            values, root = (self._block(work.inputs[0]),), self.places.place(work.outputs[0])
            self.ops.append(VectorOp("add_at", work.target.indices, None, values, (*root, (), ())))
            self._align(self.n)
        else:
            base, offset = self.places.place(work.outputs[0])
            view = _merged(base, offset, work.target)
            self._align(self._independent(work, view))
            self.ops.append(VectorOp("add_into", None, None, (self._block(work.inputs[0]),), view))

    def _fuse_products(self):
        """A product that is only added to a part is made and added in one loop, if its factors are still there then."""
        readers = Counter(ref for op in self.ops for ref in op.inputs)
        products, written = {}, {}  # by its Ref and by base the number of the op that makes it, or wrote there last
        for k, op in enumerate(self.ops):
            if op.name == "multiply" and op.out.base == SCRATCH:
                products[op.out] = k
            elif op.name == "add_part" and op.inputs[0] in products and readers[op.inputs[0]] == 1:
                at = products[op.inputs[0]]
                factors = self.ops[at].inputs
                if all(ref.base == SCRATCH or written.get(ref.base, -1) < at for ref in factors):
                    self.ops[k], self.ops[at] = op._replace(inputs=(*factors, op.inputs[1])), None
            written[_written(op)] = k
        self.ops = [op for op in self.ops if op]

    def _align(self, n):
        self.align = math.lcm(self.align, max(n, 1))

    def _independent(self, work, view):
        """How many elements in a row add into the same places, which no others add into."""
        _, _, shape, strides = view
        alone = all(other.target == work.target for other in self.parts[work.outputs[0]])
        reach = sum(abs(stride) * (n - 1) for n, stride in zip(shape[1:], strides[1:]))
        return self.n // shape[0] if alone and abs(strides[0]) > reach else self.n

    # -- scratch ---------------------------------------------------------------------------------

    def _with_scratch(self):
        """Places for the temporaries: one whose last reader is done makes room, mostly for that reader's output too."""
        last = {}
        for k, op in enumerate(self.ops):
            for ref in (*op.inputs, op.out):
                if ref is not None and ref.base == SCRATCH:
                    last[ref.offset] = k
        free, blocks, n_blocks = [], {}, 0
        for k, op in enumerate(self.ops):
            done = [blocks[i] for i in {ref.offset for ref in op.inputs if ref.base == SCRATCH} if last[i] == k]
            if op.name not in LOOKING:
                free, done = free + done, []
            if op.out is not None and op.out.base == SCRATCH:
                if not free:
                    free.append(n_blocks)
                    n_blocks += 1
                blocks[op.out.offset] = free.pop()
                if last[op.out.offset] == k:
                    free.append(blocks[op.out.offset])
            free += done
        block = max(64, min(1024, CACHE // max(n_blocks, 1) // 64 * 64))
        width = block + PADDING
        self.places.scratch = max(self.places.scratch, n_blocks * width)

        def placed(ref):
            return ref and (ref._replace(offset=blocks[ref.offset] * width) if ref.base == SCRATCH else ref)

        ops = [op._replace(out=placed(op.out), inputs=tuple(map(placed, op.inputs))) for op in self.ops]
        return Group(self.zeros, self.n, block, ops, self.sums, self.align)


def _written(op):
    """The base that a loop writes to."""
    return op.view[0] if op.name in ("add_into", "add_at") else op.out and op.out.base


def _merged(base, offset, view):
    """(base, offset, shape, strides) of a view, with as few axes as it can have."""
    axes = []
    for n, stride in zip(view.shape, view.strides):
        if n == 1:
            continue
        if axes and axes[-1][1] == n * stride:
            axes[-1] = (axes[-1][0] * n, stride)
        else:
            axes.append((n, stride))
    shape, strides = zip(*axes) if axes else ((1,), (0,))
    return base, offset + view.offset, shape, strides
