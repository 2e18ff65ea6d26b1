"""The tree of all recordings of one signature.

A recording is divided at its guards into segments. Recordings that agree up to a guard share the segments before it,
and part there by the answer that Python got. A replay follows one branch from the root to a leaf.
"""
import collections
import functools
import itertools
import sys
import threading
from collections.abc import Sequence
from typing import Any, Optional

from ad.compiler.ir.graph import Graph, Instruction
from ad.compiler.ir.guards import KEYS
from ad.compiler.ir.keys import frozen
from ad.compiler.machine import machine_for
from ad.compiler.machine.vm import Machine
from ad.compiler.passes.pipeline import simplify
from ad.compiler.tracing.recording import GuardSite, Recording

__all__ = ["RAISED", "TraceNode", "TraceSegment", "TraceTree"]

RAISED: tuple[None, tuple[()]] = (None, ())  # the outcome of a replay in which an op raised


class TraceSegment:
    """The instructions between two guards. The last segment of a recording ends with the outputs and has no guard."""

    def __init__(self, recording: Recording, begin: int, end: int, site: GuardSite | None) -> None:
        self.recording, self.instructions = recording, recording.instructions[begin:end]
        self.guard = site.guard if site else None
        self.results = (site.slot,) if site else recording.outputs  # slots: what the guard checks, or the outputs
        self.written = {slot for instruction in self.instructions for slot in instruction.outputs}
        self.effect_roots = tuple([slot for slot in recording.effect_roots if slot in self.written])
        read = {slot for instruction in self.instructions for slot in instruction.inputs}.union(self.results)
        self.read = read - self.written - recording.constants.keys()
        self.variables = [(variable, slot) for variable, slot in recording.variables if slot in self.read]

    def is_like(self, other: "TraceSegment") -> bool:
        """Return whether both do the same up to the guard. The segments before them must be alike."""
        return (len(self.instructions) == len(other.instructions) and self.results == other.results
                and (self.guard and self.guard.kind) == (other.guard and other.guard.kind)
                and all(map(functools.partial(_are_alike, self.recording, other.recording),
                            self.instructions, other.instructions)))


def _segments(recording: Recording) -> list[TraceSegment]:
    """Divide a recording at its guards."""
    bounds = [0, *[site.position for site in recording.guards], len(recording.instructions)]
    return [TraceSegment(recording, begin, end, site)
            for (begin, end), site in zip(itertools.pairwise(bounds), [*recording.guards, None])]


def _are_alike(recording: Recording, other: Recording, a: Instruction, b: Instruction) -> bool:
    """Return whether two instructions do the same. The instructions before them must be alike."""
    if a.op is not b.op or a.outputs != b.outputs or a.inputs != b.inputs or not _are_equal(a.params, b.params):
        return False
    return all(_are_equal(recording.constants[slot], other.constants.get(slot))
               for slot in a.inputs if slot in recording.constants)


def _are_equal(a: Any, b: Any) -> bool:
    return a is b or bool(frozen(a, sys.maxsize) == frozen(b, sys.maxsize))


class TraceNode:
    """A segment in the tree, the machine that runs it, and the nodes that follow it.

    Nodes are immutable: a replay continues in the tree in which it began, whatever is inserted meanwhile.

    Parameters
    ----------
    segment : TraceSegment
    children : dict
        Key of the guard's answer -> the node that follows.
    old : TraceNode, optional
        The node that this one replaces, whose machine serves again if it computes the same slots.
    """

    needed: set[int]  # the slots that this segment and later ones read, and that are written before it
    kept: tuple[int, ...]  # the slots that this segment writes and later ones read
    inputs: tuple[int, ...]
    machine: Machine

    def __init__(self, segment: TraceSegment, children: dict[Any, "TraceNode"],
                 old: Optional["TraceNode"] = None) -> None:
        self.segment, self.children = segment, children
        read_later: set[int] = set().union(*[node.needed for node in children.values()])
        self.needed = segment.read | (read_later - segment.written)
        self.kept = tuple(sorted(read_later & segment.written))
        if old is not None and old.kept == self.kept:
            self.inputs, self.machine = old.inputs, old.machine
            return
        recording = segment.recording
        self.inputs = tuple(sorted(segment.read))
        outputs = (*segment.results, *self.kept, *segment.effect_roots)
        graph = Graph(self.inputs, outputs, tuple(segment.instructions), recording.constants, recording.avals)
        self.machine = machine_for(simplify(graph))

    def run(self, slots: dict[int, Any]) -> list[Any]:
        """Run the segment and return its results; write to `slots` what later segments read."""
        for variable, slot in self.segment.variables:
            slots[slot] = variable.numpy()
        found = self.machine.run([slots[slot] for slot in self.inputs])
        if self.kept:
            slots.update(zip(self.kept, found[len(self.segment.results):]))
        return found


class TraceTree:
    """All recordings of one signature.

    Attributes
    ----------
    root : TraceNode or None
    variants : int
        The number of recordings, those included that were counted but not inserted.
    """

    def __init__(self) -> None:
        self.root: TraceNode | None = None
        self.variants, self.lock = 0, threading.Lock()

    def replay(self, values: Sequence[Any]) -> tuple[Recording, list[Any]] | tuple[None, tuple[()]] | None:
        """Run the branch that these values take.

        Returns
        -------
        tuple or None
            The recording and its outputs; `RAISED` if an op raised; None if no recording continues the branch.
        """
        node = self.root
        if node is None:
            return None
        slots = dict(zip(node.segment.recording.inputs, values))
        while node is not None:
            try:
                found = node.run(slots)
            except Exception:
                return RAISED
            guard = node.segment.guard
            if guard is None:
                return node.segment.recording, found
            node = node.children.get(KEYS[guard.kind](found[0]))
        return None

    def insert(self, recording: Recording) -> bool:
        """Add a recording, sharing its first segments with those that are there.

        Returns
        -------
        bool
            False if the recording contradicts the tree: after the same answers, it has other instructions.
        """
        with self.lock:
            segments = _segments(recording)
            old: list[TraceNode | None] = []
            node = self.root
            for segment in segments:
                if node is not None and not node.segment.is_like(segment):
                    return False
                old.append(node)
                node = node.children.get(segment.guard.key()) if node is not None and segment.guard else None
            node = None
            for segment, there in zip(reversed(segments), reversed(old)):
                children = {} if there is None else there.children
                if node is not None and segment.guard is not None:
                    children = {**children, segment.guard.key(): node}
                node = TraceNode(segment if there is None else there.segment, children, there)
            self.root = node
            self.variants += 1
            return True

    def count_untraced(self) -> None:
        """Count a variant that is not inserted."""
        with self.lock:
            self.variants += 1

    def hottest_branch(self) -> str:
        """Return the line of the guards that have the most answers."""
        counts: collections.Counter[str] = collections.Counter()
        nodes = [self.root] if self.root else []
        while nodes:
            node = nodes.pop()
            if node.segment.guard:
                counts[node.segment.guard.line] += len(node.children) - 1
            nodes += node.children.values()
        return counts.most_common(1)[0][0]
