"""The order of a replay: works gathered into steps, as many as possible in each.

A step has works of one kind, and of one length where they are vectors. Whatever a work reads must be finished by an
earlier step, but for two cases: scalar code is in order, and in a group a vector may be read where it is made, element
by element.
"""
import heapq
from collections import defaultdict

__all__ = ["fused", "schedule"]


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


def schedule(lowering):
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


def fused(step, readers):
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
