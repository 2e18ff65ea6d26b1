"""The order of a replay: lowered ops gathered into steps, as many as possible in each.

A step has ops of one kind, and of one length if they are loops. What an op reads must be finished by an earlier step,
with two exceptions: scalar code runs in order, and in a group a loop may read, element by element, what another loop of
the group makes.
"""
import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ad.compiler.machine.kernels import PAIRS
from ad.compiler.machine.lowered_ops import CallOp, ElementwiseOp, LoopOp, LoweredOp, MatmulOp, ScalarOp, View

__all__ = ["fused", "schedule"]

ORDER = (ScalarOp, MatmulOp, CallOp, LoopOp)
Key = tuple[type, int]


def _producers(ops: list[LoweredOp]) -> dict[int, list[int]]:
    producers = defaultdict(list)
    for i, op in enumerate(ops):
        for slot in op.outputs:
            producers[slot].append(i)
    return producers


def _key(op: LoweredOp, i: int) -> Key:
    """Return a key that is equal for ops that may share a step: scalar ops, and loops of one length."""
    return type(op), op.n if isinstance(op, LoopOp) else 0 if isinstance(op, ScalarOp) else i


def _is_same_step(op: LoweredOp, producer: LoweredOp, view: View) -> bool:
    """Return whether an op may share the step of the op that makes what it reads."""
    if isinstance(op, ScalarOp):
        return isinstance(producer, ScalarOp)
    if not isinstance(op, LoopOp) or not isinstance(producer, LoopOp) or op.kernel == "take":
        return False
    if producer.kernel in ("sum", "add_into") or producer.n != op.n:
        return False
    return view.is_flat and view.size == producer.n


class _DependencyGraph:
    """Which ops wait for which.

    `same_step` gives the ops that may follow an op in its step, `cross_step` those that need a later step. `waiting`
    counts, for each op, the ops that it still waits for.
    """

    def __init__(self, lowering: Any) -> None:
        ops = lowering.ops
        producers = _producers(ops)
        self.cross_step: dict[int, list[int]] = defaultdict(list)
        self.same_step: dict[int, list[int]] = defaultdict(list)
        self.waiting = [0] * len(ops)
        for i, op in enumerate(ops):
            for view, root in zip(op.inputs, lowering.roots_of(op)):
                for j in producers.get(root, ()):
                    followers = self.same_step if _is_same_step(op, ops[j], view) else self.cross_step
                    followers[j].append(i)
                    self.waiting[i] += 1

    def release(self, followers: Mapping[int, list[int]], i: int) -> Iterator[int]:
        """Mark op i as done; yield those of its followers that wait for nothing more."""
        for j in followers.get(i, ()):
            self.waiting[j] -= 1
            if self.waiting[j] == 0:
                yield j


def schedule(lowering: Any) -> list[list[Any]]:
    """Return the steps: lists of ops of one kind (and length), each in order.

    Of the ops that are ready, scalar code comes first, then products, calls and loops. Loops wait until nothing else
    could make more loops of their length ready, so that groups are large. The result does not depend on this order.
    """
    ops, graph = lowering.ops, _DependencyGraph(lowering)
    keys = [_key(op, i) for i, op in enumerate(ops)]
    ready: dict[Key, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        if graph.waiting[i] == 0:
            ready[key].append(i)
    steps = []
    while ready:
        key = min(ready, key=lambda key: (ORDER.index(key[0]), ready[key][0]))
        heap, step = ready.pop(key), []
        heapq.heapify(heap)
        while heap:
            i = heapq.heappop(heap)
            step.append(i)
            for j in graph.release(graph.same_step, i):
                heapq.heappush(heap, j)
        for i in step:
            for j in graph.release(graph.cross_step, i):
                heapq.heappush(ready[keys[j]], j)
        steps.append([ops[i] for i in step])
    return steps


def fused(step: list[Any], readers: Mapping[int, int]) -> list[Any]:
    """Return a step with pairs such as a * b + c and (a + b) / c as one op, where nothing else reads the first."""
    makers: dict[int, int] = {}
    ops: list[Any] = []
    for op in step:
        for k, view in enumerate(op.inputs if isinstance(op, ElementwiseOp) else ()):
            if readers.get(view.root) != 1 or view.root not in makers:
                continue
            at = makers[view.root]
            pair = _fuse(ops[at], op, k)
            if pair is not None:
                op, ops[at] = pair, None
                break
        for slot in op.outputs:
            makers[slot] = len(ops)
        ops.append(op)
    return [op for op in ops if op]


def _fuse(first: LoweredOp, second: ElementwiseOp, k: int) -> ElementwiseOp | None:
    """Return one op for two, the second of which reads the first as input k; None if there is no such kernel."""
    if not isinstance(first, ElementwiseOp) or (first.kernel, second.kernel, k) not in PAIRS:
        return None
    kernel = PAIRS[first.kernel, second.kernel, k]
    operands = first.inputs * (2 if first.kernel == "square" else 1)
    return replace(second, kernel=kernel, inputs=(*operands, *second.inputs[:k], *second.inputs[k + 1:]))
