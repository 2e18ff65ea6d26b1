"""The order of a replay: works gathered into steps, as many as possible in each.

A step has works of one kind, and of one length where they are vectors. Whatever a work reads must be finished by an
earlier step, but for two cases: scalar code is in order, and in a group a vector may be read where it is made, element
by element.
"""
import heapq
from collections import defaultdict
from dataclasses import replace

from ad.compiler.machine.lowered_ops import CallOp, ElementwiseOp, LoopOp, MatmulOp, ScalarOp

__all__ = ["fused", "schedule"]

ORDER = (ScalarOp, MatmulOp, CallOp, LoopOp)


def _producers(works):
    producers = defaultdict(list)
    for i, work in enumerate(works):
        for slot in work.outputs:
            producers[slot].append(i)
    return producers


def _key(work, i):
    """Works of one key may share a step: scalar ones, vectors of one length; a product or a call is alone."""
    return type(work), work.n if isinstance(work, LoopOp) else 0 if isinstance(work, ScalarOp) else i


def _is_soft(work, maker, view):
    """Whether a work may share the step of the work that makes what it reads."""
    if not isinstance(work, ElementwiseOp) or type(work) is not type(maker) or work.name == "take":
        return False
    if isinstance(work, ScalarOp):
        return True
    return maker.name not in ("sum", "add_into") and maker.n == work.n and view.is_flat and view.size == maker.n


class _Graph:
    """Which works wait for which: `soft` gives those that may follow a work in its step, `hard` those that may not.

    `waiting` counts, for each work, the others that it still waits for.
    """

    def __init__(self, lowering):
        works = lowering.ops
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


def schedule(lowering):
    """Steps: lists of works of one kind (and length), each in order.

    Of what is ready, scalar code comes first, then products, then calls, then vectors: these wait until nothing else
    could bring more of their length, so that groups are large.
    """
    works, graph = lowering.ops, _Graph(lowering)
    keys = [_key(work, i) for i, work in enumerate(works)]
    ready = defaultdict(list)
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
            for j in graph.release(graph.soft, i):
                heapq.heappush(heap, j)
        for i in step:
            for j in graph.release(graph.hard, i):
                heapq.heappush(ready[keys[j]], j)
        steps.append([works[i] for i in step])
    return steps


def fused(step, readers):
    """Two works as one where nothing else reads what the first makes: a * b + c, (a + b) * c and the like."""
    makers, works = {}, []
    for work in step:
        for k, view in enumerate(work.inputs if isinstance(work, ElementwiseOp) else ()):
            at = makers.get(view.root) if readers.get(view.root) == 1 else None
            joined = _joined(works[at], work, k) if at is not None else None
            if joined:
                work, works[at] = joined, None
                break
        for slot in work.outputs:
            makers[slot] = len(works)
        works.append(work)
    return [work for work in works if work]


# Of two works, the first and the second with what it reads as its input 0 or 1.
_PAIRS = {
    ("add", "multiply"): ("add_times", "add_times"),
    ("subtract", "multiply"): ("subtract_times", "subtract_times"),
    ("multiply", "add"): ("multiply_add", "multiply_add"),
    ("multiply", "subtract"): ("multiply_subtract", "subtract_multiply"),
    ("square", "add"): ("multiply_add", "multiply_add"),
    ("square", "subtract"): ("multiply_subtract", "subtract_multiply"),
    ("scale", "add"): ("scale_add", "scale_add"),
    ("scale_dots", "add"): ("scale_dots_add", "scale_dots_add"),
}


def _joined(first, second, k):
    """One work for two of which the second reads the first as input k; None if there is none."""
    if not isinstance(first, ElementwiseOp) or (first.name, second.name) not in _PAIRS:
        return None
    names = _PAIRS[first.name, second.name]
    operands = first.inputs * (2 if first.name == "square" else 1)
    return replace(second, name=names[k], inputs=(*operands, second.inputs[1 - k]))
