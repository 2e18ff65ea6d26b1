"""The plan of a replay: works gathered into steps, and a place in memory for every value.

Steps are runs of scalar code, groups of vectors of one length that are gone through block by block, and calls. Works
are put into steps so that as many as possible share one; whatever a work reads must be finished by an earlier step,
but for two cases: scalar code is in order, and in a group a vector may be read element by element where it is made.

Places are told by base and offset (in elements). Base REGISTERS holds single numbers; BUFFERS the vectors that outlive
their step, reused when their last reader is done; SCRATCH the block of a vector that does not outlive it. Every other
base is an ndarray: an input, a constant, what a call reads or makes, an output.
"""
import heapq
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from ad._vm import SCALARS
from ad.lowering import FLOAT64, Lowering, View, Work, contiguous

__all__ = ["Array", "Call", "Group", "Layout", "Ref", "Scalars", "VectorOp", "lay_out"]

REGISTERS, BUFFERS, SCRATCH, ARRAYS = range(4)
CACHE = 3072  # elements in the blocks of a group, which should stay in the first-level cache
MAX_LAG = 64  # elements that the seam between two threads may take
PADDING = 16  # elements between blocks and buffers: equal addresses modulo 4096 slow each other down


class Array(NamedTuple):
    """A base that is an ndarray: an "input" (its number), a "constant" (the value), "fresh" (float64), or "made" by a call."""

    kind: str
    value: object
    shape: tuple


class Ref(NamedTuple):
    """Where operand i of a loop is: element offset + i * step of a base."""

    base: int
    offset: int
    step: int


class VectorOp(NamedTuple):
    """One loop over a block.

    A "gather" reads `view`, an "add_into" adds to it: (base, offset, shape, strides). `op` is the Op of a "loop", the
    number of a "sum", and the lag of an "add_part" (see `_loops.h`).
    """

    name: str
    op: object
    out: Ref
    inputs: tuple
    view: tuple = None


class Scalars(NamedTuple):
    """Instructions (name, out, a, b, c, op), as `_loops.h` has them; `zeros` is what to clear first: (base, offset, n)."""

    zeros: list
    code: list


class Group(NamedTuple):
    """Loops over n elements, `block` at a time; `sums` gives the place of each sum: (base, offset, 1)."""

    zeros: list
    n: int
    block: int
    ops: list
    sums: list
    is_parallel: bool


class Call(NamedTuple):
    """op.fn(*args, *params). Arguments and results: see `_vm.Machine`."""

    op: object
    params: tuple
    args: list
    results: list


class Layout(NamedTuple):
    """All of the plan.

    Attributes
    ----------
    registers : int
    presets : list of (int, float)
        Registers that hold constants.
    inputs : list
        For each input its base, or its register: ("array", base) or ("register", register).
    arrays : list of Array
        By base, from ARRAYS on.
    room, scratch : int
        Elements of the buffers and of the blocks.
    steps : list
    begins, ends : list of list of int
        For each step the arrays to allocate before it and to let go of after it.
    outputs : list
        ("register", register), ("array", base) for a fresh one, ("value", base) for one to copy unless nobody else has it.
    """

    registers: int
    presets: list
    inputs: list
    arrays: list
    room: int
    scratch: int
    steps: list
    begins: list
    ends: list
    outputs: list


def lay_out(program):
    """The plan of a program's replay."""
    lowering = Lowering(program)
    steps = _schedule(lowering)
    return _Places(program, lowering, steps).layout()


# -- the order -------------------------------------------------------------------------------------


def _producers(works):
    producers = defaultdict(list)
    for i, work in enumerate(works):
        for slot in work.outputs:
            producers[slot].append(i)
    return producers


def _key(work, i):
    return (work.kind, {"scalar": 0, "call": i}[work.kind] if work.kind != "vector" else work.n)


def _is_soft(work, maker, view):
    """Whether a work may share the step of the work that makes what it reads."""
    if work.kind == "call" or work.kind != maker.kind:
        return False
    if work.kind == "scalar":
        return True
    return maker.name not in ("sum", "add_into") and maker.n == work.n and view.is_flat and view.size == maker.n


class _Graph:
    """Which works wait for which."""

    def __init__(self, lowering):
        works = lowering.works
        producers = _producers(works)
        self.hard, self.soft = defaultdict(list), defaultdict(list)
        self.waiting = [0] * len(works)
        for i, work in enumerate(works):
            for view, root in zip(work.inputs, lowering.roots_of(work)):
                for j in producers.get(root, ()):
                    followers = self.soft if _is_soft(work, works[j], view) else self.hard
                    followers[j].append(i)
                    self.waiting[i] += 1

    def release(self, followers, i):
        """The works that wait for nothing more."""
        for j in followers.get(i, ()):
            self.waiting[j] -= 1
            if self.waiting[j] == 0:
                yield j


def _schedule(lowering):
    """Steps: lists of works of one kind (and length), each in order."""
    works, graph = lowering.works, _Graph(lowering)
    keys = [_key(work, i) for i, work in enumerate(works)]
    ready = defaultdict(list)
    for i, key in enumerate(keys):
        if graph.waiting[i] == 0:
            ready[key].append(i)
    steps = []
    while ready:
        key = min(ready, key=lambda key: ("scalar call vector".split().index(key[0]), ready[key][0]))
        heap, step = ready.pop(key), []
        heapq.heapify(heap)
        while heap:
            i = heapq.heappop(heap)
            step.append(i)
            for j in graph.release(graph.soft, i):
                heapq.heappush(heap, j)
        for i in step:
            for j in graph.release(graph.hard, i):
                heapq.heappush(ready[keys[j]], j)
        steps.append([works[i] for i in step])
    return steps


def _fused(step, readers):
    """a * b + c, a * b - c and c - a * b as one work each, where nothing else reads the product."""
    products, works = {}, []
    for work in step:
        if work.name in ("add", "subtract"):
            for k, view in enumerate(work.inputs):
                if readers[view.root] == 1 and view.root in products:
                    at = products.pop(view.root)
                    name = "multiply_add" if work.name == "add" else ("multiply_subtract", "subtract_multiply")[k]
                    factors = works[at].inputs * (2 if works[at].name == "square" else 1)
                    work = work._replace(name=name, inputs=(*factors, work.inputs[1 - k]))
                    works[at] = None
                    break
        elif work.name in ("multiply", "square"):
            products[work.outputs[0]] = len(works)
        works.append(work)
    return [work for work in works if work]


# -- the places ------------------------------------------------------------------------------------


class _Room:
    """Addresses that are taken and given back: the first gap that is large enough."""

    def __init__(self):
        self.gaps, self.size = [], 0

    def take(self, n):
        for k, (start, length) in enumerate(self.gaps):
            if length >= n:
                self.gaps[k : k + 1] = [(start + n, length - n)] if length > n else []
                return start
        self.size += n
        return self.size - n

    def give(self, start, n):
        gaps = []
        for gap in sorted([*self.gaps, (start, n)]):
            if gaps and sum(gaps[-1]) == gap[0]:
                gap = (gaps[-1][0], gaps.pop()[1] + gap[1])
            gaps.append(gap)
        self.gaps = gaps


class _Places:
    """Where every value is, and the steps written down with that."""

    def __init__(self, program, lowering, steps):
        self.lowering, self.steps = lowering, steps
        self.inputs = {slot: i for i, slot in enumerate(program.inputs)}
        self.called = {slot for step in steps for work in step if work.kind == "call" for slot in work.outputs}
        self.arrays, self.base_of = [], {}
        self.registers, self.presets, self.n_registers = {}, [], 0
        self.begun, self.scratch = set(), 0
        self._find_lives()
        self.steps = [_fused(step, self.readers) for step in steps]
        self._make_buffers()

    def _find_lives(self):
        """The first step that writes each slot, and the last that writes or reads it."""
        self.first, self.last, self.readers = {}, {}, defaultdict(int)
        for t, step in enumerate(self.steps):
            for work in step:
                for slot in work.outputs:
                    self.first.setdefault(slot, t)
                    self.last[slot] = t
                for root in self.lowering.roots_of(work):
                    self.readers[root] += 1
                    self.last[root] = t
        for slot in self.lowering.outputs:
            self.readers[self.lowering.root_of(slot)] += 1
            self.last[self.lowering.root_of(slot)] = len(self.steps)

    def outlives(self, root, t):
        """Whether something beyond step t reads a root, or it must be in one piece at the end of it."""
        return self.last[root] > t or self.is_array(root)

    def _make_buffers(self):
        """Offsets for the vectors that outlive their step."""
        room, self.buffers, dying = _Room(), {}, defaultdict(list)
        for t, step in enumerate(self.steps):
            for work in step:
                for slot in work.outputs if work.kind != "call" else ():
                    outlives = self.last[slot] > t or work.name == "add_into"
                    size = self.lowering.views[slot].size
                    if outlives and size != 1 and slot not in self.buffers and not self.is_array(slot):
                        self.buffers[slot] = room.take(size + PADDING)
                        dying[self.last[slot]].append((self.buffers[slot], size + PADDING))
            for gap in dying[t]:
                room.give(*gap)
        self.room = room.size

    def is_array(self, root):
        """Whether a native root lives in an ndarray."""
        lowering = self.lowering
        if lowering.shapes[root] == ():
            return False
        return root in lowering.boxed or root in self.inputs or root in lowering.constants

    def array(self, slot):
        """The base of a slot that is an ndarray."""
        if slot not in self.base_of:
            self.base_of[slot] = ARRAYS + len(self.arrays)
            self.arrays.append(self._describe(slot))
        return self.base_of[slot]

    def _describe(self, slot):
        shape = self.lowering.shape(slot)
        if slot in self.inputs:
            return Array("input", self.inputs[slot], shape)
        if slot in self.lowering.constants:
            return Array("constant", np.ascontiguousarray(self.lowering.constants[slot], FLOAT64), shape)
        return Array("made" if slot in self.called else "fresh", None, shape)

    def new_register(self):
        self.n_registers += 1
        return self.n_registers - 1

    def _register(self, root):
        if root not in self.registers:
            self.registers[root] = self.new_register()
            if root in self.lowering.constants:
                self.presets.append((self.registers[root], float(self.lowering.constants[root])))
        return self.registers[root]

    def place(self, root):
        """Base and offset of a root."""
        if self.is_array(root):
            return self.array(root), 0
        if root in self.buffers:
            return BUFFERS, self.buffers[root]
        return REGISTERS, self._register(root)

    # -- the whole -------------------------------------------------------------------------------

    def layout(self):
        lowering = self.lowering
        inputs = [self._input(slot) for slot in self.inputs]
        make = {"scalar": self._scalars, "vector": self._group, "call": self._call}
        steps = [make[step[0].kind](t, step) for t, step in enumerate(self.steps)]
        code = []
        outputs = [self._output(slot, code) for slot in lowering.outputs]
        if code:
            steps.append(Scalars([], code))
        begins, ends = self._allocations(len(steps))
        return Layout(self.n_registers, self.presets, inputs, self.arrays, self.room, self.scratch, steps, begins, ends,
                      outputs)

    def _input(self, slot):
        if self.lowering.dtype(slot) == FLOAT64 and self.lowering.shape(slot) == ():
            return "register", self._register(slot)
        return "array", self.array(slot)

    def _output(self, slot, code):
        lowering = self.lowering
        if slot not in lowering.views or lowering.dtype(slot) != FLOAT64:
            if slot in lowering.constants:
                return "constant", lowering.constants[slot]
            return "value", self.array(slot)
        view = lowering.views[slot]
        if view.shape == ():
            return "register", self.operand(view, code, {})
        base = self.array(view.root)
        return ("array" if self.arrays[base - ARRAYS].kind == "fresh" else "value"), base

    def _allocations(self, n_steps):
        """For each step, the arrays to make before it (all that are made up to the next call at once), and those of no use after it."""
        begins, ends = [[] for _ in range(n_steps)], [[] for _ in range(n_steps)]
        for slot, base in self.base_of.items():
            kind = self.arrays[base - ARRAYS].kind
            if kind == "fresh":
                t = self.first[slot]
                while t and self.steps[t - 1][0].kind != "call":
                    t -= 1
                begins[t].append(base)
            if kind in ("fresh", "made") and self.last[slot] < len(self.steps):
                ends[self.last[slot]].append(base)
        return begins, ends

    # -- scalar code -----------------------------------------------------------------------------

    def operand(self, view, code, loaded):
        """The register of one number, loaded by `code` if it is not in one."""
        base, offset = self.place(view.root)
        if base == REGISTERS:
            return offset
        place = base, offset + view.offset
        if place not in loaded:
            loaded[place] = self.new_register()
            code.append(("load", loaded[place], base, 0, place[1], None))
        return loaded[place]

    def _scalars(self, _t, step):
        zeros, code, loaded, circular = [], [], {}, {}
        for work in step:
            operands = [self.operand(view, code, loaded) for view in work.inputs]
            (slot,) = work.outputs
            base, offset = self.place(slot)
            if work.name == "add_into":
                if slot not in self.begun:
                    self.begun.add(slot)
                    zeros.append((base, offset, self.lowering.views[slot].size))
                code.append(("accumulate", 0, base, operands[0], offset + work.target.offset, None))
                continue
            out = offset if base == REGISTERS else self.new_register()
            name = work.op.name if work.name == "loop" and work.op.name in SCALARS else work.name
            if not _joined(name, out, operands[0], code, circular):
                code.append((name, out, *(operands + [0, 0])[:3], work.op))
            if base != REGISTERS:
                code.append(("store", 0, base, out, offset, None))
        return Scalars(zeros, code)

    # -- calls -----------------------------------------------------------------------------------

    def _call(self, _t, step):
        (work,) = step
        return Call(work.op, work.params, [self._argument(slot) for slot in work.inputs],
                    [self._result(slot) for slot in work.outputs])

    def _argument(self, slot):
        lowering = self.lowering
        if slot in lowering.constants:
            return "constant", lowering.constants[slot]
        if slot not in lowering.views:
            return "array", self.array(slot)
        view = lowering.views[slot]
        base, offset = self.place(view.root)
        if base == REGISTERS:
            return "register", offset, view.shape
        if view == contiguous(view.root, lowering.shapes[view.root]):
            return "array", base
        return "view", base, view.offset, view.shape, view.strides

    def _result(self, slot):
        if slot in self.lowering.views and self.lowering.shape(slot) == ():
            return "register", self._register(slot)
        return "array" if slot in self.lowering.views else "value", self.array(slot)

    def _group(self, t, step):
        return _Group(self, t, step).group()


class _Group:
    """One group, written down: first with numbered temporaries, then with their places in the scratch."""

    def __init__(self, places, t, step):
        self.places, self.t, self.step = places, t, step
        self.n = step[0].n
        self.ops, self.sums, self.zeros = [], [], []
        self.temps = {}                # root, or View where it had to be gathered -> number
        self.n_temps = 0
        self.made = {}                 # where -> the number of the op that makes it
        self.parts = defaultdict(list)
        for work in step:
            if work.name == "add_into":
                self.parts[work.outputs[0]].append(work)
        self.first_parts = {slot: self._begin(slot, parts) for slot, parts in self.parts.items()}
        self.starts = {slot: max(work.target.offset for work in parts) for slot, parts in self.parts.items()}
        self.waiting = defaultdict(list)
        self.is_parallel = True

    def group(self):
        for work in self.step:
            if work.name == "add_into":
                self._add_part(work)
            elif work.name == "sum":
                self.ops.append(VectorOp("sum", len(self.sums), None, (self._block(work.inputs[0]),)))
                self.sums.append((*self.places.place(work.outputs[0]), 1))
            else:
                inputs = tuple([self._ref(view) for view in work.inputs])
                out = self._out(work.outputs[0])
                self.made[out] = len(self.ops)
                self.ops.append(VectorOp(work.name, work.op, out, inputs))
        return self._with_scratch()

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
        """Where nothing else reads what is stored, it is made in its place."""
        view, target = work.inputs[0], self._target(work)
        made = self.temps.get(view.root)
        if made is not None and self.places.readers[view.root] == 1:
            k = self.made[made]
            self.ops[k] = self.ops[k]._replace(out=target)
        else:
            self.ops.append(VectorOp("copy", None, target, (self._ref(view),)))

    def _accumulate(self, work):
        if work.target.is_flat:
            target = self._target(work)
            lag = self.starts[work.outputs[0]] - work.target.offset
            self.ops.append(VectorOp("add_part", lag, target, (target, self._ref(work.inputs[0]))))
            self.is_parallel &= lag <= MAX_LAG
        else:
            self.is_parallel = False
            base, offset = self.places.place(work.outputs[0])
            block = self._block(work.inputs[0])
            self.ops.append(VectorOp("add_into", None, None, (block,), _merged(base, offset, work.target)))

    # -- scratch ---------------------------------------------------------------------------------

    def _with_scratch(self):
        """Places for the temporaries: one whose last reader is done makes room, for that reader's output too."""
        last = {}
        for k, op in enumerate(self.ops):
            for ref in (*op.inputs, op.out):
                if ref is not None and ref.base == SCRATCH:
                    last[ref.offset] = k
        free, lanes, n_lanes = [], {}, 0
        for k, op in enumerate(self.ops):
            free += [lanes[i] for i in {ref.offset for ref in op.inputs if ref.base == SCRATCH} if last[i] == k]
            if op.out is not None and op.out.base == SCRATCH:
                if not free:
                    free.append(n_lanes)
                    n_lanes += 1
                lanes[op.out.offset] = free.pop()
                if last[op.out.offset] == k:
                    free.append(lanes[op.out.offset])
        block = max(64, min(1024, CACHE // max(n_lanes, 1) // 64 * 64))
        width = block + PADDING
        self.places.scratch = max(self.places.scratch, n_lanes * width)

        def placed(ref):
            return ref and (ref._replace(offset=lanes[ref.offset] * width) if ref.base == SCRATCH else ref)

        ops = [op._replace(out=placed(op.out), inputs=tuple(map(placed, op.inputs))) for op in self.ops]
        return Group(self.zeros, self.n, block, ops, self.sums, self.is_parallel)


def _joined(name, out, a, code, circular):
    """Whether a sine or cosine could be had together with the other, which the code has of the same number."""
    if name not in ("sin", "cos"):
        return False
    if (name, a) in circular:
        at = circular[name, a]
        other = code[at][1]
        code[at] = ("sin_cos", *((out, a, other) if name == "sin" else (other, a, out)), 0, None)
        return True
    circular["cos" if name == "sin" else "sin", a] = len(code)
    return False


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
