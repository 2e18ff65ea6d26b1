"""Lowering of ops whose output consists of elements of their input: views, and elements picked by known indices."""
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ad.compiler.ir.keys import frozen
from ad.compiler.machine.lowered_ops import LoopOp, View, as_strided
from ad.compiler.machine.slot_table import FLOAT64_DTYPE, SlotTable
from ad.engine.graph import Op
from ad.ops import TABLE, shape_rules
from ad.ops.indexing import is_basic
from ad.ops.table import ops_named
from ad.ops.traits import TRAITS

__all__ = ["VIEWS", "ViewLowering", "element_offset", "pick"]

INDEX = np.dtype(np.int32)  # of an element in memory, where it is picked out
(GETITEM,) = ops_named("getitem")
SAME = {op for op, traits in TRAITS.items() if traits.keeps_reals}
VIEWS = SAME | {GETITEM}
VIEWS |= {entry.op for entry in TABLE.values() if entry.op and entry.op.shape_rule is shape_rules.view}


def pick(array: NDArray[Any], index: Any) -> NDArray[Any]:
    """Return array[index] as a view, also where that is one element."""
    parts = index if isinstance(index, tuple) else (index,)
    picked: NDArray[Any] = array[parts if any(part is Ellipsis for part in parts) else (*parts, ...)]
    return picked


def element_offset(array: NDArray[Any], view: NDArray[Any]) -> int:
    """Return how many float64 elements after the first of `array` a view of it begins."""
    if not view.size:
        return 0
    difference: int = view.__array_interface__["data"][0] - array.__array_interface__["data"][0]
    return difference // FLOAT64_DTYPE.itemsize


class ViewLowering:
    """The rules of views.

    Attributes
    ----------
    shadows : dict
        Slot -> an ndarray with the shape and strides of the slot's view, on which NumPy computes views of it.
    """

    def __init__(self, slots: SlotTable) -> None:
        self.slots = slots
        self.shadows: dict[int, NDArray[Any]] = {}
        self._indices: dict[Any, NDArray[np.int32]] = {}  # (view without root, frozen index) -> element indices

    def rules(self) -> dict[Op, Callable[..., bool]]:
        """Return the rule of each op; a rule returns whether it lowered the instruction."""
        return {**dict.fromkeys(VIEWS, self._view), **dict.fromkeys(SAME, self._same), GETITEM: self._getitem}

    def _same(self, _op: Op, _params: tuple[Any, ...], inputs: tuple[int, ...], out: int) -> bool:
        self.slots.views[out] = self.slots.read(inputs[0])
        return True

    def _view(self, op: Op, params: tuple[Any, ...], inputs: tuple[int, ...], out: int) -> bool:
        slots, before = self.slots, self._shadow(inputs[0])
        after = op.fn(before, *params)
        if after.size and not np.may_share_memory(before, after):  # a reshape that copies
            if "F" in params:  # the copy here would be in C order
                return False
            slots.add_root(out)
            slots.emit("copy", (slots.read(inputs[0]),), out)
        else:
            self._add_view(slots.read(inputs[0]), before, after, out)
        return True

    def _getitem(self, _op: Op, params: tuple[Any, ...], inputs: tuple[int, ...], out: int) -> bool:
        view = self.slots.read(inputs[0])
        if not is_basic(*params):
            return self._take(view, params[0], out)
        before = self._shadow(inputs[0])
        self._add_view(view, before, pick(before, *params), out)
        return True

    def _add_view(self, view: View, before: NDArray[Any], after: NDArray[Any], out: int) -> None:
        self.shadows[out] = after
        strides = tuple(s // FLOAT64_DTYPE.itemsize for s in after.strides)
        self.slots.views[out] = View(view.root, view.offset + element_offset(before, after), after.shape, strides)

    def _take(self, view: View, index: Any, out: int) -> bool:
        """Lower the elements at an array of known indices: a view if they are equally spaced in memory."""
        slots = self.slots
        indices = self.element_indices(view, math.prod(slots.shapes[view.root]), index)
        if indices is None:
            return False
        strided = as_strided(view.root, indices)
        if strided:
            slots.views[out] = strided
        else:
            slots.add_root(out)
            slots.ops.append(LoopOp((view,), (out,), "take", indices=indices.reshape(-1)))
        return True

    def element_indices(self, view: View, size: int, index: Any) -> NDArray[np.int32] | None:
        """Return the flat indices, in memory of this size, of the elements that an index picks from a view.

        None if there are no elements, or too many in memory. A program that picks elements usually adds to the same
        ones, once for each chunk of lanes, so the result is cached.
        """
        if size > np.iinfo(INDEX).max:
            return None
        key = view[1:], frozen(index)
        if key not in self._indices:
            all_indices, strides = np.arange(size, dtype=INDEX), [INDEX.itemsize * stride for stride in view.strides]
            memory: NDArray[np.int32] = np.ndarray(
                view.shape, INDEX, all_indices, INDEX.itemsize * view.offset, strides)
            self._indices[key] = np.asarray(memory[index], order="C")
        return self._indices[key] if self._indices[key].size else None

    def _shadow(self, slot: int) -> NDArray[Any]:
        """Return an array of the slot's shape, strides and offset in its root; its elements are not defined."""
        if slot not in self.shadows:
            view = self.slots.read(slot)
            memory = np.empty(self.slots.shapes[view.root])
            strides = [FLOAT64_DTYPE.itemsize * stride for stride in view.strides]
            offset = FLOAT64_DTYPE.itemsize * view.offset
            self.shadows[slot] = np.ndarray(view.shape, FLOAT64_DTYPE, memory, offset, strides)
        return self.shadows[slot]
