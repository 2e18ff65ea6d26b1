"""The layout of a program: its works in steps, and a place in memory for every value."""
from bisect import bisect
from collections import Counter, defaultdict

import numpy as np

from ad.compiler.machine.execution_plan import ARRAYS, BUFFERS, REGISTERS, Array, Call, Layout, Matrix, Product, Scalars
from ad.compiler.machine.grouping import PADDING, GroupMaker
from ad.compiler.machine.kernels import SCALAR_CODES
from ad.compiler.machine.lowered_ops import CallOp, LoopOp, MatmulOp, ScalarOp, contiguous
from ad.compiler.machine.lowering import Lowering
from ad.compiler.machine.scheduling import fused, schedule
from ad.compiler.machine.slot_table import FLOAT64_DTYPE

__all__ = ["lay_out"]


def lay_out(program):
    """The plan of a program's replay."""
    lowering = Lowering(program)
    steps = schedule(lowering)
    return _Places(program, lowering, steps).layout()


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
        gaps, k = self.gaps, bisect(self.gaps, (start, n))
        if k < len(gaps) and gaps[k][0] == start + n:
            n += gaps.pop(k)[1]
        if k and sum(gaps[k - 1]) == start:
            k -= 1
            before, length = gaps.pop(k)
            start, n = before, length + n
        gaps.insert(k, (start, n))


class _Places:
    """Where every value is, and the steps written down with that.

    Attributes
    ----------
    first, last : dict
        Slot -> the first step that writes it; root -> the last that writes or reads it, or one beyond all if the root
        is an output.
    readers : Counter
        Root -> how often works read it, and outputs.
    buffers, registers : dict
        Root -> offset, or register. `presets` are the registers that hold constants, with the constants.
    arrays : list of Array
        The ndarrays, from base ARRAYS on; `base_of` gives the base of a slot.
    called : set of int
        Slots that calls make: their ndarrays come from outside.
    begun : set of int
        Slots whose memory an earlier step, or this one, has cleared or stored: further parts are added.
    scratch : int
        Elements that the largest group needs for its blocks.
    """

    def __init__(self, program, lowering, steps):
        self.program, self.lowering, self.steps = program, lowering, steps
        self.inputs = {slot: i for i, slot in enumerate(program.inputs)}
        self.called = {slot for step in steps for work in step if isinstance(work, CallOp) for slot in work.outputs}
        self.arrays, self.base_of = [], {}
        self.registers, self.presets, self.n_registers = {}, [], 0
        self.begun, self.scratch = set(), 0
        self._find_lives()
        readers = self._count_readers()
        self.steps = [fused(step, readers) for step in steps]
        self.readers = self._count_readers()
        self._make_buffers()

    def _find_lives(self):
        """Sets `first` and `last`."""
        self.first, self.last = {}, {}
        for t, step in enumerate(self.steps):
            for work in step:
                for slot in work.outputs:
                    self.first.setdefault(slot, t)
                    self.last[slot] = t
                for root in self.lowering.roots_of(work):
                    self.last[root] = t
        for slot in self.lowering.outputs:
            self.last[self.lowering.root_of(slot)] = len(self.steps)

    def _count_readers(self):
        """How often each root is read, by the works as they are now and as an output."""
        roots = [root for step in self.steps for work in step for root in self.lowering.roots_of(work)]
        return Counter(roots + [self.lowering.root_of(slot) for slot in self.lowering.outputs])

    def outlives(self, root, t):
        """Whether something beyond step t reads a root, or it must be in one piece at the end of it."""
        return self.last[root] > t or self.is_array(root)

    def _make_buffers(self):
        """Offsets for the vectors that outlive their step."""
        room, self.buffers, dying = _Room(), {}, defaultdict(list)
        for t, step in enumerate(self.steps):
            for work in step:
                for slot in () if isinstance(work, CallOp) else work.outputs:
                    outlives = self.last[slot] > t or isinstance(work, MatmulOp) or work.name == "add_into"
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
            return Array("constant", np.ascontiguousarray(self.lowering.constants[slot], FLOAT64_DTYPE), shape)
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
        steps = [self._written(t, step) for t, step in enumerate(self.steps)]
        code = []
        outputs = [self._output(slot, code) for slot in lowering.outputs]
        if code:
            steps.append(Scalars([], code))
        begins, ends = self._allocations(len(steps))
        return Layout(self.n_registers, self.presets, inputs, self.arrays, self.room, self.scratch, steps, begins, ends,
                      outputs, self._avals(self.program.inputs), self._avals(self.program.outputs))

    def _avals(self, slots):
        return [self.program.avals[slot] for slot in slots]

    def _written(self, t, step):
        """Step t as the machine follows it."""
        if isinstance(step[0], LoopOp):
            return GroupMaker(self, t, step).group()
        if isinstance(step[0], ScalarOp):
            return self._scalars(step)
        return self._product(*step) if isinstance(step[0], MatmulOp) else self._call(*step)

    def _input(self, slot):
        if self.lowering.dtype(slot) == FLOAT64_DTYPE and self.lowering.shape(slot) == ():
            return "register", self._register(slot)
        return "array", self.array(slot)

    def _output(self, slot, code):
        lowering = self.lowering
        if slot not in lowering.views or lowering.dtype(slot) != FLOAT64_DTYPE:
            if slot in lowering.constants:
                return "constant", lowering.constants[slot]
            return "value", self.array(slot)
        view = lowering.views[slot]
        if view.shape == ():
            return "register", self.operand(view, code, {})
        base = self.array(view.root)
        return ("array" if self.arrays[base - ARRAYS].kind == "fresh" else "value"), base

    def _allocations(self, n_steps):
        """For each step, the arrays to make before it (all up to the next call), and those of no use after it."""
        begins, ends = [[] for _ in range(n_steps)], [[] for _ in range(n_steps)]
        for slot, base in self.base_of.items():
            kind = self.arrays[base - ARRAYS].kind
            if kind == "fresh":
                t = self.first[slot]
                while t and not isinstance(self.steps[t - 1][0], CallOp):
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

    def _scalars(self, step):
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
            name = SCALAR_CODES.get(work.op, "loop") if work.name == "loop" else work.name
            if not _joined(name, out, operands[0], code, circular):
                code.append((name, out, *(operands + [0, 0])[:3], work.op))
            if base != REGISTERS:
                code.append(("store", 0, base, out, offset, None))
        return Scalars(zeros, code)

    # -- products --------------------------------------------------------------------------------

    def _product(self, work):
        n = work.sizes[2]
        places = [(*self.place(view.root), view) for view in work.inputs]
        a, b = [Matrix(base, offset + view.offset, *view.strides) for base, offset, view in places]
        return Product([], work.sizes, a, b, Matrix(*self.place(work.outputs[0]), n, 1))

    # -- calls -----------------------------------------------------------------------------------

    def _call(self, work):
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


def _joined(name, out, a, code, circular):
    """Whether a sine or cosine could be had together with the other, which the code has of the same number."""
    if name not in ("sin", "cos"):
        return False
    at = circular.pop((name, a), None)
    if at is not None:
        other = code[at][1]
        code[at] = ("sin_cos", *((out, a, other) if name == "sin" else (other, a, out)), 0, None)
        return True
    circular["cos" if name == "sin" else "sin", a] = len(code)
    return False
