"""From the instructions of a program to the works of a replay.

A value that a replay can hold in its own memory is `native`: float64, or the truth of a comparison that only
arithmetic reads, which is then 1.0 or 0.0. A native value is a `View` of the elements of a root slot, so that slices,
reshapes, transposes and broadcasts are no work at all. What is left are four kinds of `Work`: arithmetic on one
number, on n elements, products of small matrices, and calls of an op's own function for everything else.

The ops that appear here are shortcuts: any other is an inner loop or a call.
"""
import math

import numpy as np

from ad.compiler.ir.keys import frozen
from ad.compiler.machine.kernels import COMPARISONS, KERNELS, has_loop
from ad.compiler.machine.lowered_ops import CallOp, LoopOp, MatmulOp, ScalarOp, View, contiguous, regular
from ad.compiler.machine.sparse_blocks import MANY, Part, Scattered, are_apart, nonzeros, seen_in
from ad.ops import TABLE, shape_rules
from ad.ops.indexing import is_basic
from ad.ops.traits import TRAITS

__all__ = ["NATIVE", "Lowering"]

FLOAT64_DTYPE = np.dtype(np.float64)
NUMBER = np.dtype(np.int32)  # of an element in memory, where it is picked out
(ADD, CLIP, CONCATENATE, FABS, GETITEM, MATMUL, MULTIPLY, NEGATIVE, POWER, PUT_ZEROS, SCALE, SCALE_DOTS, SUBTRACT,
 SUM, SUM_TO) = [TABLE[name].op for name in (
     "add clip concatenate fabs getitem matmul multiply negative power put_zeros scale scale_dots subtract "
     "sum sum_to").split()]
SAME = {op for op, traits in TRAITS.items() if traits.keeps_reals}
VIEWS = SAME | {GETITEM}
VIEWS |= {entry.op for entry in TABLE.values() if entry.op and entry.op.shape_rule is shape_rules.view}
NATIVE = VIEWS | {CONCATENATE, MATMUL, PUT_ZEROS, SUM, SUM_TO}  # ops, if not elementwise, that may be no call
SMALL_PRODUCT = 4096  # multiplications
VAST = 1 << 22  # elements that NumPy had better clear: it leaves pages to the system until they are written to
POWERS = {2.0: "square", 3.0: "cube", 0.5: "sqrt", -1.0: "reciprocal"}


def _picked(array, index):
    """array[index] as a view, also where that is one element."""
    parts = index if isinstance(index, tuple) else (index,)
    return array[parts if any(part is Ellipsis for part in parts) else (*parts, ...)]


class Lowering:
    """The works of a program, and where its values are to be found.

    Attributes
    ----------
    works : list of LoweredOp
    views : dict
        Slot -> View, for every native slot.
    shapes : dict
        Root slot -> shape.
    constants : dict
        Slot -> the value, as the program or this has it.
    boxed : set
        Native roots that must be ndarrays: calls read or make them, or they are outputs.
    outputs : list of int
        One slot for each output of the program; no array among them is another, an input or a constant.
    """

    def __init__(self, program):
        self.program = program
        self.works, self.views, self.shapes, self.boxed = [], {}, {}, set()
        self.constants = dict(program.constants)
        self._avals = {slot: (aval.shape, aval.dtype) for slot, aval in enumerate(program.avals)}
        self._shadows = {}  # slot -> an ndarray with its strides: NumPy tells what views of it look like
        self._picked = {}  # a view without its root, and an index of it -> numbers of elements
        self._parts = {}  # slot -> its Parts
        self._flushed, self._whole = set(), set()  # those in parts that are there as a whole, too; those in no parts
        self._uses = _count_uses(program)
        self._truths = _numeric_truths(program)
        for slot in program.inputs:
            if self._avals[slot][1] == FLOAT64_DTYPE:
                self._add_root(slot)
        for instruction in program.instructions:
            self._lower(instruction)
        self.outputs = self._finish(program.outputs)

    def dtype(self, slot):
        return self._avals[slot][1]

    def shape(self, slot):
        return self._avals[slot][0]

    def root_of(self, slot):
        """The slot whose memory a slot is seen in."""
        return self.views[slot].root if slot in self.views else slot

    def roots_of(self, work):
        """The root of each input of a work."""
        return [self.root_of(slot) if isinstance(work, CallOp) else slot.root for slot in work.inputs]

    # -- slots -----------------------------------------------------------------------------------

    def _new_slot(self, shape):
        slot = len(self._avals)
        self._avals[slot] = (shape, FLOAT64_DTYPE)
        self._add_root(slot)
        return slot

    def _new_constant(self, value):
        slot = self._new_slot(value.shape)
        self.constants[slot] = value
        return slot

    def _add_root(self, slot):
        shape = self._avals[slot][0]
        self.shapes[slot] = shape
        self.views[slot] = contiguous(slot, shape)

    def _is_native(self, slot):
        """Whether arithmetic can read a slot; a real constant of no higher precision becomes float64, as in NumPy."""
        if slot not in self.views and slot in self.constants:
            dtype = np.asarray(self.constants[slot]).dtype
            if dtype.kind in "biuf" and dtype.itemsize <= FLOAT64_DTYPE.itemsize:
                self._add_root(slot)
        return slot in self.views

    def _read(self, slot):
        """The view of a slot that arithmetic reads."""
        if slot in self._parts and slot not in self._flushed:
            self._flush(slot)
        return self.views[slot]

    def _number(self, slot):
        """The value of a constant number, or None."""
        value = self.constants.get(slot)
        return float(value) if value is not None and np.ndim(value) == 0 else None

    def _shadow(self, slot):
        """An array that stands for the slot's in shape, strides and place in its root; its elements mean nothing."""
        if slot not in self._shadows:
            view = self._read(slot)
            memory, strides = np.empty(self.shapes[view.root]), [8 * stride for stride in view.strides]
            self._shadows[slot] = np.ndarray(view.shape, FLOAT64_DTYPE, memory, 8 * view.offset, strides)
        return self._shadows[slot]

    # -- instructions ----------------------------------------------------------------------------

    def _lower(self, instruction):
        op, params, inputs, outputs, *_ = instruction
        if op.outputs == 1 and (self.dtype(outputs[0]) == FLOAT64_DTYPE or outputs[0] in self._truths):
            if all(map(self._is_native, inputs)):
                for rule in (self._as_view, self._as_take, self._as_put, self._as_concatenation, self._as_join,
                             self._as_product, self._as_scaled, self._as_sum, self._as_arithmetic):
                    if rule(op, params, inputs, outputs[0]):
                        return
        self._call(op, params, inputs, outputs)

    def _as_view(self, op, params, inputs, out):
        if op not in VIEWS or op is GETITEM and not is_basic(*params):
            return False
        (x,) = inputs
        view = self._read(x)
        if op in SAME:
            self.views[out] = view
            return True
        before = self._shadow(x)
        after = _picked(before, *params) if op is GETITEM else op.fn(before, *params)
        if after.size and not np.may_share_memory(before, after):  # a reshape that copies
            if "F" in params:  # what is copied here is in C order
                return False
            self._add_root(out)
            self._add("copy", (view,), out)
            return True
        offset = (_address(after) - _address(before)) // 8 if after.size else 0
        self._shadows[out] = after
        self.views[out] = View(view.root, view.offset + offset, after.shape, tuple(s // 8 for s in after.strides))
        return True

    def _as_take(self, op, params, inputs, out):
        """Elements by an array of indices that is known: by their numbers in memory."""
        view = self._read(inputs[0]) if op is GETITEM else None
        found = None if view is None else self._numbers(view, math.prod(self.shapes[view.root]), params[0])
        if found is None:
            return False
        seen = regular(view.root, found)
        if seen:
            self.views[out] = seen
        else:
            self._add_root(out)
            self.works.append(LoopOp((view,), (out,), "take", numbers=found.reshape(-1)))
        return True

    def _numbers(self, view, size, index):
        """The numbers of the elements that an index picks from a view, in memory of this size.

        None where there are no elements, or too many in memory. A program that takes some mostly adds to the same ones,
        for each chunk of lanes: the numbers are kept once.
        """
        if size > np.iinfo(NUMBER).max:
            return None
        key = view[1:], frozen(index)
        if key not in self._picked:
            numbers, strides = np.arange(size, dtype=NUMBER), [NUMBER.itemsize * stride for stride in view.strides]
            memory = np.ndarray(view.shape, NUMBER, numbers, NUMBER.itemsize * view.offset, strides)
            self._picked[key] = np.asarray(memory[index], order="C")
        return self._picked[key] if self._picked[key].size else None

    # Arrays that are zeros for the most part stay in parts as long as they are only moved, added and scaled. A scaled
    # zero is zero whatever the factor, and so is a product with a finite number.

    def _parts_of(self, slot):
        """The parts of a slot's array; None if it has none, or is better read as a whole."""
        if slot in self._parts and (self._uses[slot] == 1 or len(self._parts[slot]) <= MANY):
            return self._parts[slot]
        if slot in self._whole:
            return None
        value = self.constants.get(slot)
        found = nonzeros(value) if isinstance(value, np.ndarray) and value.ndim else None
        if found is None:
            self._whole.add(slot)
            return None
        start, step, values = found
        view = self._read(self._new_constant(values))
        self._parts[slot] = [Part(view, View(slot, start, view.shape, (step,)))]
        self._flushed.add(slot)  # the constant itself is there for those who read the whole
        return self._parts[slot]

    def _as_put(self, op, params, inputs, out):
        if op is not PUT_ZEROS:
            return False
        (x,) = inputs
        if not is_basic(params[0]):
            return self._as_scatter(params, x, out)
        whole = np.empty(params[1])
        part = _picked(whole, params[0])
        offset = (_address(part) - _address(whole)) // 8 if part.size else 0
        target = View(out, offset, part.shape, tuple(stride // 8 for stride in part.strides))
        moved = self._moved(self._parts_of(x), target) if self.shape(x) == part.shape else None
        self._add_root(out)
        self._parts[out] = [Part(self._read(x).broadcast(part.shape), target)] if moved is None else moved
        return True

    def _as_scatter(self, params, x, out):
        index, shape = params
        size = math.prod(shape)
        numbers = self._numbers(contiguous(out, shape), size, index)
        if numbers is None or size > VAST and size > 16 * numbers.size:
            return False
        view = self._read(x).broadcast(numbers.shape)
        self._add_root(out)
        self._parts[out] = [Part(view, regular(out, numbers) or Scattered(numbers.reshape(-1)))]
        return True

    def _moved(self, parts, target):
        """The parts of an array that is itself put at `target`; None if they do not lie regularly there."""
        moved = []
        for part in parts or ():
            seen = seen_in(part.target, target.shape, target.strides)
            if seen is None:
                return None
            moved.append(Part(part.view, View(target.root, target.offset + seen[0], part.target.shape, seen[1])))
        return moved or None

    def _as_concatenation(self, op, params, inputs, out):
        """Of arrays in parts: their parts, moved."""
        if op is not CONCATENATE or not all(map(self._parts_of, inputs)):
            return False
        whole, axis = contiguous(out, self.shape(out)), params[0]
        start, joined = 0, []
        for slot in inputs:
            moved = self._moved(self._parts_of(slot), whole._replace(offset=start, shape=self.shape(slot)))
            if moved is None:
                return False
            joined += moved
            start += self.shape(slot)[axis] * whole.strides[axis]
        self._add_root(out)
        self._parts[out] = joined
        return True

    def _as_join(self, op, _params, inputs, out):
        """A sum of arrays in parts, and perhaps of one that is not: all are added into one."""
        if op not in (ADD, SUBTRACT) or any(self.shape(slot) != self.shape(out) for slot in inputs):
            return False
        if op is SUBTRACT and inputs[0] == inputs[1]:
            return False  # which is zero, and not what rounding leaves of parts that overlap
        first, second = map(self._parts_of, inputs)
        if op is SUBTRACT:
            negative = second and first and self._scaled(NEGATIVE, second, ())
            second = negative or None
        if first is None or second is None:
            return op is ADD and self._as_join_with_whole(inputs, out)
        self._add_root(out)
        if op is ADD and self._uses[inputs[0]] == 1 and inputs[0] not in self._flushed:
            first += second
            self._parts[out] = self._parts.pop(inputs[0])
        else:
            self._parts[out] = [*first, *second]
        return True

    def _as_join_with_whole(self, inputs, out):
        for slot, other in (inputs, inputs[::-1]):
            if slot in self._parts and slot not in self._flushed and self._uses[slot] == 1:
                self._add_root(out)
                whole = Part(self._read(other).broadcast(self.shape(out)), contiguous(out, self.shape(out)))
                self._parts[out] = [*self._parts.pop(slot), whole]
                return True
        return False

    def _as_scaled(self, op, params, inputs, out):
        """What makes zeros of zeros is done to the parts alone."""
        if op not in (NEGATIVE, SCALE, SCALE_DOTS, MULTIPLY) or params:
            return False
        (x, *factors) = inputs
        if op is MULTIPLY:
            if self._number(x) is not None:
                x, factors = factors[0], [x]
            if not math.isfinite(math.nan if self._number(factors[0]) is None else self._number(factors[0])):
                return False
        parts = self._parts_of(x) if self.shape(x) == self.shape(out) else None
        scaled = parts and are_apart(parts) and self._scaled(op, parts, factors, self.shape(out))
        if not scaled:
            return False
        self._add_root(out)
        self._parts[out] = scaled
        return True

    def _scaled(self, op, parts, factors, shape=()):
        """The parts with an op done to their values; None if a factor's elements do not lie regularly there."""
        operands = []
        for part in parts:
            views = [part.view]
            for slot in factors:
                factor = self._read(slot).broadcast(shape)
                seen = seen_in(part.target, shape, factor.strides)
                if seen is None:
                    return None
                views.append(View(factor.root, factor.offset + seen[0], part.target.shape, seen[1]))
            operands.append(tuple(views))
        scaled = []
        for part, views in zip(parts, operands):
            slot = self._new_slot(part.view.shape)
            kernel, _ = self._kernel(op, factors and (None, *factors))
            self._add(kernel, views, slot, op)
            scaled.append(Part(self._read(slot), part.target))
        return scaled

    def _as_product(self, op, _params, inputs, out):
        """Of small matrices, where calling BLAS takes longer than to multiply."""
        if op is not MATMUL or any(len(self.shape(slot)) not in (1, 2) for slot in inputs):
            return False
        a, b = [self._read(slot) for slot in inputs]
        if len(a.shape) == 1:
            a = a._replace(shape=(1, *a.shape), strides=(0, *a.strides))
        if len(b.shape) == 1:
            b = b._replace(shape=(*b.shape, 1), strides=(*b.strides, 0))
        size = *a.shape, b.shape[1]
        if not 0 < math.prod(size) <= SMALL_PRODUCT:
            return False
        self._add_root(out)
        self.works.append(MatmulOp((a, b), (out,), size))
        return True

    def _as_sum(self, op, params, inputs, out):
        if op is SUM:
            keep = np.sum(np.broadcast_to(0.0, self.shape(inputs[0])), params[0], keepdims=True).shape
        elif op is SUM_TO:
            keep = params[0]
        else:
            return False
        shape = self.shape(inputs[0])
        keep = (1,) * (len(shape) - len(keep)) + keep
        if math.prod(keep) == 1:
            return self._as_total(self._read(inputs[0]), out)
        strides = tuple(0 if k == 1 else stride for k, stride in zip(keep, contiguous(out, keep).strides))
        target = View(out, 0, shape, strides)
        parts = self._moved(self._parts_of(inputs[0]), target) or [Part(self._read(inputs[0]), target)]
        self._add_root(out)
        self._parts[out] = parts
        return True

    def _as_total(self, view, out):
        if view.size == 1:
            self.views[out] = View(view.root, view.offset, self.shape(out), (0,) * len(self.shape(out)))
        else:
            self._add_root(out)
            self.works.append(LoopOp((view,), (out,), "sum"))
        return True

    def _as_arithmetic(self, op, params, inputs, out):
        if params:
            return False
        name, inputs = self._kernel(op, inputs)
        if op is CLIP:
            bounded = self._new_slot(np.broadcast_shapes(*map(self.shape, inputs[:2])))
            self._add("maximum", self._views(inputs[:2], bounded), bounded)
            name, inputs = "minimum", (bounded, inputs[2])
        if name is None:
            if not _has_loop(op, [self.dtype(slot) for slot in inputs]):
                return False
            name = "loop"
        self._add_root(out)
        self._add(name, self._views(inputs, out), out, op)
        return True

    def _kernel(self, op, inputs):
        """The kernel of an op, or a simpler one where an operand is a known number; None if there is none."""
        if op is FABS:
            return "absolute", inputs
        if op in (SCALE, SCALE_DOTS) and any(c and math.isfinite(c) for c in map(self._number, inputs)):
            return "multiply", inputs
        if op is POWER and self._number(inputs[1]) in POWERS:
            return POWERS[self._number(inputs[1])], inputs[:1]
        return KERNELS.get(op), inputs

    def _views(self, inputs, out):
        return tuple([self._read(slot).broadcast(self.shape(out)) for slot in inputs])

    def _add(self, name, views, out, op=None, target=None):
        kind = ScalarOp if views[0].size == 1 else LoopOp
        self.works.append(kind(views, (out,), name, op, target))

    def _flush(self, slot):
        """Add up the parts of a slot, now that something reads the whole."""
        self._flushed.add(slot)
        for view, target in self._parts[slot]:
            moved = target if isinstance(target, Scattered) else target._replace(root=slot)
            self._add("add_into", (view,), slot, target=moved)

    def _call(self, op, params, inputs, outputs):
        for slot in inputs:
            if slot in self.views and slot not in self.constants:
                self._box(self._read(slot).root)
        for slot in outputs:
            if self.dtype(slot) == FLOAT64_DTYPE:
                self._add_root(slot)
                self._box(slot)
        self.works.append(CallOp(tuple(inputs), tuple(outputs), op, params))

    def _box(self, root):
        if self.shapes[root] != ():
            self.boxed.add(root)

    # -- outputs ---------------------------------------------------------------------------------

    def _finish(self, outputs):
        taken = {*self.program.inputs, *self.constants}
        return [self._own(slot, taken) for slot in outputs]

    def _own(self, slot, taken):
        """A slot with the value of an output and memory of its own."""
        if slot not in self.views or self.dtype(slot) != FLOAT64_DTYPE:
            return slot
        view = self._read(slot)
        if view.shape == ():
            return slot
        if view.root == slot and slot not in taken:
            taken.add(slot)
            self._box(slot)
            return slot
        copy = self._new_slot(view.shape)
        self._add("copy", (view,), copy)
        self._box(copy)
        return copy


def _address(array):
    return array.__array_interface__["data"][0]


def _count_uses(program):
    uses = [0] * len(program.avals)
    for instruction in program.instructions:
        for slot in instruction.inputs:
            uses[slot] += 1
    for slot in program.outputs:
        uses[slot] += 2  # it must be an array of its own
    return uses


def _numeric_truths(program):
    """Slots of comparisons that nothing but arithmetic reads: numbers 1.0 and 0.0 serve there as well."""
    truths = set()
    needed = set(program.outputs)
    for op, params, inputs, outputs, *_ in program.instructions[::-1]:
        (out, *more) = outputs
        is_truth = not more and op in COMPARISONS and program.avals[out].dtype == bool and out not in needed
        if is_truth:
            truths.add(out)
        elif more or params or program.avals[out].dtype != FLOAT64_DTYPE or not _reads_numbers(op, program, inputs):
            needed.update(inputs)
    return truths


def _reads_numbers(op, program, inputs):
    return op in KERNELS or _has_loop(op, [program.avals[slot].dtype for slot in inputs])


def _has_loop(op, dtypes):
    """Whether an op on these, taken as float64, may be done by its inner loop.

    A ufunc that is not of the table might do something else with other dtypes.
    """
    ours = op.form == "elementwise" or all(dtype == FLOAT64_DTYPE for dtype in dtypes)
    return ours and has_loop(op) and len(dtypes) <= 2
