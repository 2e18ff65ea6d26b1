"""Recording functions: `record` gives the program of one call, `compile` keeps a tree of programs and replays them.

A function is run once for each signature (the nesting of its arguments, their shapes and dtypes, and what among them
is no array), with every op traced. Where Python saw a value on the way, the recording has a guard. Recordings that
agree up to a guard share what comes before: together they are a tree of stretches, of which a replay follows one path.
"""
import collections
import dataclasses
import enum
import functools
import inspect
import sys
import threading
import warnings
from typing import NamedTuple

import numpy as np

from ad import transforms, trees
from ad._core import Array, constant, public_value
from ad.compiler.fast_path import Quick, Shortcut, scan
from ad.compiler.ir.graph import Graph
from ad.compiler.ir.guards import KEYS, Guard
from ad.compiler.ir.keys import frozen
from ad.compiler.machine import machine_for
from ad.compiler.passes.pipeline import simplify
from ad.compiler.program import Program
from ad.compiler.tracing.call_signature import CallSignature, is_value
from ad.compiler.tracing.tracer import is_strict, is_watching, slot_of, trace
from ad.engine import boundary
from ad.engine.variable import Variable
from ad.errors import kind
from ad.ops.traits import traits_of

__all__ = ["Compiled", "Recording", "compile", "derivative", "record", "warn_of_escape"]

MAX_PATHS = 64  # of one signature
MAX_SIGNATURES = 256
RAISED = (None, ())  # what a replay gives where an op raised: what follows, the function has to say
PLAIN = (str, bytes, int, complex, np.generic, np.dtype, type, slice, range, enum.Enum)  # results that are constants


def compile(f=None, *, check=False):
    """A function that records `f`, and replays the recording without Python.

    Parameters
    ----------
    f : callable
        A function of arrays, numbers and containers of them; also what a transform returned (`ad.grad(f)`). Without
        it, as in `@ad.compile(check=True)`, what is returned takes the function.
    check : bool
        For debugging: run `f` at every call too, and raise where a replay differs from it.

    Returns
    -------
    Compiled
        To be called as `f`. Plain in, plain out; arguments that are being differentiated, or a call inside a tape,
        a transform or another compiled function, go to `f` itself.

    Notes
    -----
    `f` is called again for every new signature, and where Python takes a way that no recording has. Otherwise nothing
    of it is run but its ops: random numbers it drew, arrays it captured and what it printed are those of the recording.
    Variables are read anew at each call, and must not be assigned to; nor must arguments be changed while it runs.
    Python floats are inputs, unless an argument is of lower precision, to which they would adapt; other numbers,
    strings and objects belong to the signature.
    """
    if f is None:
        return functools.partial(compile, check=check)
    if not callable(f):
        raise TypeError(f"ad.compile takes a function, not {kind(f)}; it returns one: ad.compile(f)(x)")
    if inspect.isgeneratorfunction(f) or inspect.iscoroutinefunction(f):
        raise TypeError(f"ad.compile takes a function that returns its result, not a generator or coroutine: {f!r}")
    return Compiled(f, check)


def record(f):
    """A function that calls `f`, and returns the program of what it did.

    Parameters
    ----------
    f : callable
        As for `compile`.

    Returns
    -------
    callable
        Takes the arguments of `f`; returns a `Program`, simplified.
    """
    if not callable(f):
        raise TypeError(f"ad.record takes a function, not {kind(f)}; the program comes from a call of what "
                        "it returns: ad.record(f)(x)")

    @functools.wraps(f)
    def recorded(*args, **kwargs):
        signature = CallSignature(args, kwargs)
        recording = Recording(f, signature)
        if recording.failed:
            warnings.warn(f"ad.record: {recording.failed}: an op raised here, and the function handled that; the "
                          "program holds only for values on which it raises again", stacklevel=2)
        program = recording.program(signature)
        return dataclasses.replace(program, graph=simplify(program.graph))

    return recorded


def derivative(program, name):
    """What `Program.jvp` and the like call: a function of primals and of tangents or cotangents, compiled."""

    def jvp(primals, tangents):
        return transforms.jvp(program, primals, tangents)

    def vjp(primals, y_bar):
        y, pull = transforms.vjp(program, *primals)
        return y, pull(y_bar)

    def hvp(primals, v):
        return transforms.hvp(program, tuple(range(len(primals))))(*primals, v)

    return compile({"jvp": jvp, "vjp": vjp, "hvp": hvp}[name])


# -- recordings ------------------------------------------------------------------------------------


class Recording:
    """One call of a function: its ops, its guards, and what it returned."""

    def __init__(self, f, signature, lifts=False, keep=False, escape=None):
        """`keep` says that somebody will see to the result, and `drop` it; `escape` is told of values that leave."""
        def run(*values):
            args, kwargs = signature.frame(values)
            return f(*args, **kwargs)

        self.tracer, self.result = trace(run, [_seen(x) for x in signature.values],
                                               escape or warn_of_escape, lifts)
        try:
            self._read(f, signature)
        except BaseException:
            self.drop()
            raise
        if not keep:
            self.drop()

    def _read(self, f, signature):
        """Note what was traced."""
        tracer = self.tracer
        leaves, structure = trees.flatten(self.result)
        self.results = trees.PartialTree(structure, {i: y for i, y in enumerate(leaves) if not _is_output(y)})
        refuse(f, self.results.fixed.values(), signature)
        values = [y for y in leaves if _is_output(y)]
        self.outputs = tuple([slot_of(tracer, y) for y in values])
        self.ours = [isinstance(y, Array) for y in values]
        self.instructions, self.constants, self.avals = tracer.instructions, tracer.constants, tuple(tracer.avals)
        self.guards = [Asked(position, slot, Guard(*asked)) for position, slot, *asked in tracer.guards]
        self.inputs, self.variables, self.lifted = tuple(tracer.inputs), tracer.variables, tracer.lifted
        self.has_custom_rules, self.failed, self.captures = tracer.has_custom_rules, tracer.failed, tracer.captures
        self.tried = self._tried() if tracer.risky else ()

    @property
    def waits(self):
        """Whether a replay computes the result, and nothing has."""
        return self.tracer.waits

    def evaluated(self):
        """What the function returned, with its values."""
        self.tracer.close()
        return self.result

    def drop(self):
        """Let go of what the function returned, which may hold arguments."""
        tracer, self.tracer, self.result = self.tracer, None, None
        if tracer is not None:
            tracer.close()

    def _tried(self):
        """The slots of what would be dead code, but for that it may raise, and the function would handle it."""
        live, tried = {*self.outputs, *[asked.slot for asked in self.guards]}, []
        for instruction in reversed(self.instructions):
            if not live.isdisjoint(instruction.outputs):
                live.update(instruction.inputs)
            elif traits_of(instruction.op).may_raise:
                tried.append(instruction.outputs[0])
                live.update(instruction.inputs)
        return tuple(tried)

    def given(self, values):
        """The outputs to one who works with Arrays: those are Arrays that the function itself returned as such."""
        return [constant(value) if ours else value for value, ours in zip(values, self.ours)]

    def program(self, signature):
        """The whole of it as one program, which holds for the answers that Python was given.

        A variable among the arguments becomes an input, any other a constant.
        """
        structure, fixed = signature.frame.structure, signature.frame.fixed
        slots = dict(zip([i for i in range(structure.size) if i not in fixed], self.inputs))
        read = {id(variable): (variable, slot) for variable, slot in self.variables}
        slots.update({i: read.pop(id(x))[1] for i, x in fixed.items() if id(x) in read})
        arguments = trees.PartialTree(structure, {i: x for i, x in fixed.items() if i not in slots})
        constants = {**self.constants, **{slot: variable.numpy() for variable, slot in read.values()}}
        asked = [asked.slot for asked in self.guards]
        graph = Graph(tuple([slots[i] for i in sorted(slots)]), (*self.outputs, *asked), tuple(self.instructions),
                      constants, self.avals)
        guards = tuple([asked.guard for asked in self.guards])
        return Program(graph, arguments, self.results, guards, self.has_custom_rules)

    def stretches(self):
        """Its instructions, divided at the guards."""
        bounds = [0, *[asked.position for asked in self.guards], len(self.instructions)]
        return [Stretch(self, *part) for part in zip(bounds, bounds[1:], [*self.guards, None])]


def refuse(f, fixed, signature):
    """Raise where a function returns what holds values that a replay would not compute: a closure, an object."""
    given = set(map(id, signature.frame.fixed.values()))
    for leaf in fixed:
        if not isinstance(leaf, PLAIN) and id(leaf) not in given:
            raise TypeError(f"ad.compile: {getattr(f, '__qualname__', repr(f))} returns {kind(leaf)}, which a replay "
                            "cannot make anew; return arrays, numbers and text, in dicts, lists, tuples or dataclasses")


class Asked(NamedTuple):
    """A guard in a recording: after how many instructions, and on which slot."""

    position: int
    slot: int
    guard: Guard


def _is_output(y):
    return is_value(y) or isinstance(y, Variable)


def _apart(y, ours):
    """What the function returned, as a replay would give it: with memory of its own."""
    if isinstance(y, Variable):
        y = constant(y.numpy())
    if isinstance(y, Array):
        return boundary.hand_over(y, ours)
    return np.array(y) if isinstance(y, np.ndarray) else y


def _seen(x):
    """The value as the function's ops see it."""
    return public_value(x) if isinstance(x, Array) else x


def warn_of_escape(what, line):
    warnings.warn(f"ad.compile: {line}: {what} takes a value out of the recording; what is done with it will not be "
                  "replayed", stacklevel=2)


# -- the tree --------------------------------------------------------------------------------------


class Stretch:
    """The instructions between two guards; the last of a recording has no guard but the outputs."""

    def __init__(self, recording, begin, end, asked):
        self.recording, self.instructions = recording, recording.instructions[begin:end]
        self.guard = asked and asked.guard
        self.asked = (asked.slot,) if asked else recording.outputs
        self.written = {slot for instruction in self.instructions for slot in instruction.outputs}
        self.tried = tuple([slot for slot in recording.tried if slot in self.written])
        read = {slot for instruction in self.instructions for slot in instruction.inputs}.union(self.asked)
        self.read = read - self.written - recording.constants.keys()
        self.variables = [(variable, slot) for variable, slot in recording.variables if slot in self.read]

    def is_like(self, other):
        """Whether both do the same up to the guard; then they have the same slots too."""
        return (len(self.instructions) == len(other.instructions) and self.asked == other.asked
                and (self.guard and self.guard.kind) == (other.guard and other.guard.kind)
                and all(map(functools.partial(_alike, self.recording, other.recording),
                            self.instructions, other.instructions)))


def _alike(recording, other, a, b):
    """Whether two instructions are the same, in two recordings that were the same so far."""
    if a.op is not b.op or a.outputs != b.outputs or a.inputs != b.inputs or not _equal(a.params, b.params):
        return False
    return all(_equal(recording.constants[slot], other.constants.get(slot))
               for slot in a.inputs if slot in recording.constants)


def _equal(a, b):
    return a is b or frozen(a, sys.maxsize) == frozen(b, sys.maxsize)


class Node:
    """A stretch in the tree, the nodes that go on from it by the answer to its guard, and the machine that runs it.

    Nothing changes one: a replay that has begun follows the tree it began in.
    """

    def __init__(self, stretch, next, old=None):
        self.stretch, self.next = stretch, next
        wanted = set().union(*[node.needed for node in next.values()])
        self.needed = stretch.read | (wanted - stretch.written)
        self.kept = tuple(sorted(wanted & stretch.written))
        if old is not None and old.kept == self.kept:
            self.inputs, self.machine = old.inputs, old.machine
            return
        recording = stretch.recording
        self.inputs = tuple(sorted(stretch.read))
        outputs = (*stretch.asked, *self.kept, *stretch.tried)
        graph = Graph(self.inputs, outputs, tuple(stretch.instructions), recording.constants, recording.avals)
        self.machine = machine_for(simplify(graph))

    def run(self, slots):
        """Run the stretch, and note in `slots` what those after it need."""
        for variable, slot in self.stretch.variables:
            slots[slot] = variable.numpy()
        found = self.machine.run([slots[slot] for slot in self.inputs])
        if self.kept:
            slots.update(zip(self.kept, found[len(self.stretch.asked):]))
        return found


class Tree:
    """All that has been recorded for one signature."""

    def __init__(self):
        self.root, self.paths, self.lock = None, 0, threading.Lock()

    def replay(self, values):
        """The recording that these values follow, and its outputs; None where no recording goes on, or `RAISED`."""
        node = self.root
        if node is None:
            return None
        slots = dict(zip(node.stretch.recording.inputs, values))
        while node is not None:
            try:
                found = node.run(slots)
            except Exception:
                return RAISED
            guard = node.stretch.guard
            if guard is None:
                return node.stretch.recording, found
            node = node.next.get(KEYS[guard.kind](found[0]))
        return None

    def graft(self, recording):
        """Add a recording: what it shares with those that are there stays one. False if it contradicts them."""
        with self.lock:
            stretches, old, node = recording.stretches(), [], self.root
            for stretch in stretches:
                if node is not None and not node.stretch.is_like(stretch):
                    return False
                old.append(node)
                node = None if node is None or not stretch.guard else node.next.get(stretch.guard.key())
            node = None
            for stretch, there in zip(reversed(stretches), reversed(old)):
                next = {} if there is None else there.next
                if node is not None:
                    next = {**next, stretch.guard.key(): node}
                node = Node(stretch if there is None else there.stretch, next, there)
            self.root = node
            self.paths += 1
            return True

    def leave_out(self):
        """Count a way that is not recorded."""
        with self.lock:
            self.paths += 1

    def busiest(self):
        """The line at which the paths part most often."""
        counts, nodes = collections.Counter(), [self.root]
        while nodes:
            node = nodes.pop()
            if node.stretch.guard:
                counts[node.stretch.guard.line] += len(node.next) - 1
            nodes += node.next.values()
        return counts.most_common(1)[0][0]


# -- the compiled function -------------------------------------------------------------------------


class Compiled(Quick):
    """A function with the recordings of its calls: what `ad.compile` returns."""

    def __init__(self, f, check, escape=None):
        functools.update_wrapper(self, f, ("__module__", "__name__", "__qualname__", "__doc__"), ())
        self.f, self.check, self._escape, self._trees, self._routes = f, check, escape, {}, {}

    def general(self, args, kwargs):
        """The call, by the tree of its signature."""
        if is_watching() or is_strict():
            return self.f(*args, **kwargs)
        key, values = scan(args, kwargs)
        tree, ours = self._routes.get(key, (None, False))
        found = tree and tree.replay(values)
        if found:
            return self._given(found, ours, args, kwargs)
        signature = CallSignature(args, kwargs)
        if signature.live:
            return self.f(*args, **kwargs)
        tree = self._trees.get(signature.key) or self._new_tree(signature.key)
        found = tree.replay(signature.values)
        if found is None:
            return self._recorded(tree, signature, args, kwargs)
        if key:
            self._routes[key] = tree, signature.ours
        return self._given(found, signature.ours, args, kwargs)

    def __reduce__(self):
        """By its name, where it has one; otherwise by the function, without what was recorded."""
        try:
            named = functools.reduce(getattr, self.__qualname__.split("."), sys.modules[self.__module__])
        except (AttributeError, KeyError):
            named = None
        return self.__qualname__ if named is self else (type(self), (self.f, self.check))

    def __repr__(self):
        return f"<compiled {getattr(self.f, '__qualname__', self.f)!r}, {len(self._trees)} signatures>"

    def _new_tree(self, key):
        if len(self._trees) >= MAX_SIGNATURES:
            self._trees.pop([*self._trees][0], None)
            self._routes = {}
        return self._trees.setdefault(key, Tree())

    def _recorded(self, tree, signature, args, kwargs):
        """Call the function, and keep the recording."""
        if tree.paths >= MAX_PATHS:
            return self._called(args, kwargs, signature.ours)
        recording = Recording(self.f, signature, keep=True, escape=self._escape)
        try:
            if self._is_kept(tree, recording, signature, args, kwargs) and recording.waits:
                found = tree.replay(signature.values)
                if found and found is not RAISED:  # a replay may round otherwise, and miss its own guards
                    return self._given(found, signature.ours, args, kwargs)
            return trees.map(functools.partial(_apart, ours=signature.ours), recording.evaluated())
        finally:
            recording.drop()

    def _is_kept(self, tree, recording, signature, args, kwargs):
        """Add a recording to a tree, if it can be replayed; whether it can."""
        if recording.captures:
            return False
        if recording.failed:
            self._leave_out(tree, recording.failed)
            return False
        if not tree.graft(recording):
            tree.paths = MAX_PATHS
            warnings.warn(f"ad.compile: {self!r} does something else each time it is called with the same values; it "
                          "will not be replayed", stacklevel=4)
            return False
        if tree.paths == MAX_PATHS:
            warnings.warn(f"ad.compile: {tree.busiest()}: what Python sees here sends the function a new way each "
                          f"time; {MAX_PATHS} ways are recorded, and any other will run without a recording",
                          stacklevel=4)
        elif not (recording.guards or kwargs or signature.ours or self.check):
            self._shorten(args, tree.root)
        return True

    def _called(self, args, kwargs, ours):
        """The call by the function itself, where no recording can be followed."""
        return trees.map(functools.partial(_apart, ours=ours), self.f(*args, **kwargs))

    def _leave_out(self, tree, line):
        """Keep no recording in which an op raised and the function went on: nothing in it shows when to follow it."""
        tree.leave_out()
        if tree.paths == MAX_PATHS:
            warnings.warn(f"ad.compile: {line}: an op raised here time and again, and the function handled that, which "
                          "no recording can follow; a call that goes another way than those recorded will run without "
                          "a recording", stacklevel=5)

    def _shorten(self, args, node):
        """Remember the way of calls like this one, whose recording is this one stretch."""
        recording, variables = node.stretch.recording, [variable for variable, _ in node.stretch.variables]
        if Shortcut.serves(args, variables):
            slots = [*recording.inputs, *[slot for _, slot in node.stretch.variables]]
            single = recording.results.structure is trees.LEAF and not recording.results.fixed
            self.remember(Shortcut(args, node.machine, [slots.index(slot) for slot in node.inputs], variables,
                                   recording.results, single))

    def _given(self, found, ours, args, kwargs):
        """The result of a replay; if asked, checked to be that of the function."""
        recording, values = found
        if recording is None:
            return self._called(args, kwargs, ours)
        result = recording.results(recording.given(values) if ours else values)
        if not self.check:
            return result
        found, structure = trees.flatten(result)
        wanted = trees.flatten_like(structure, self.f(*args, **kwargs), "what the function returns now")
        for i, (a, b) in enumerate(zip(found, wanted)):
            tolerance = 1e-4 if getattr(b, "dtype", None) in (np.float32, np.complex64) else 1e-8
            if not (np.allclose(_seen(a), _seen(b), rtol=tolerance, equal_nan=True) if _is_output(a) else a == b):
                raise RuntimeError(
                    f"ad.compile: output {i} of {self!r} is {a!r:.60} by replay and {b!r:.60} by the function itself: "
                    "it depends on something that is neither an argument nor a Variable, or draws random numbers")
        return result
