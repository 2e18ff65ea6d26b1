"""Lanes: a program over many values of its inputs at once, and `vmap`, which makes such a program of a function.

What depends on an input with lanes is computed for all of them by one instruction, with a leading axis; the rest
once. How an op does that is in its entry (`traits.Batching`); one that does not say is run lane by lane.
"""
import functools

import numpy as np

from ad import trees
from ad._core import Array, apply, concrete, constant, is_watched, lift_constant
from ad.compiler.compile import MAX_SIGNATURES, Compiled
from ad.compiler.fast_path import CacheEntry, FastPath
from ad.compiler.ir.graph import Graph, Instruction
from ad.compiler.ir.interpreting import initial_slots, interpret, interpret_graph
from ad.compiler.machine import machine_for
from ad.compiler.passes.pipeline import simplify
from ad.compiler.tracing.call_signature import CallSignature
from ad.compiler.tracing.recording import Recording, warn_of_escape
from ad.compiler.tracing.tracer import is_strict, is_watching, slot_of, trace
from ad.engine import boundary
from ad.engine.graph import Aval, Op
from ad.errors import conversion_error, kind, lost_lanes, not_a_function
from ad.ops.batching import over_lanes, total
from ad.ops.table import TABLE
from ad.ops.traits import traits_of
from ad.transforms.replay import ALL_VALUES

__all__ = ["Mapped", "pull_lanes", "vmap", "with_lanes"]

SHOWN = ("repr()", "str()", "format()")  # what takes a value out of a recording to be read by people
BROADCAST_TO, IDENTITY, RESHAPE = [TABLE[name].op for name in ("broadcast_to", "identity", "reshape")]


# -- a program over lanes --------------------------------------------------------------------------


def with_lanes(graph, k, batched):
    """The graph over k lanes.

    Parameters
    ----------
    graph : Graph
    k : int
    batched : sequence of bool
        For each input whether it has lanes: a leading axis of length k.

    Returns
    -------
    Graph
        An output that depends on an input with lanes has them too, the others do not.
    """
    return _Widening(graph, k, batched).finished()


class _Widening:
    """A program on its way to lanes: which slots have them, and the instructions so far. Slots keep their numbers."""

    def __init__(self, graph, k, batched):
        self.old, self.one, self.k = graph, graph.avals, k
        self.avals, self.constants = list(graph.avals), dict(graph.constants)
        self.instructions, self.line, self.wide, self.done = [], "", set(), 0
        for slot, has_lanes in zip(graph.inputs, batched):
            if has_lanes:
                self._widen(slot)

    def finished(self):
        """The graph over lanes."""
        self.visit_up_to(len(self.old.instructions))
        return Graph(self.old.inputs, self.old.outputs, tuple(self.instructions), self.constants, tuple(self.avals))

    def visit_up_to(self, position):
        """Go on to this position in the program; the one in the program over lanes."""
        for instruction in self.old.instructions[self.done:position]:
            self._visit(instruction)
        self.done = position
        return len(self.instructions)

    def _widen(self, slot):
        aval = self.one[slot]
        self.avals[slot] = Aval((self.k, *aval.shape), aval.dtype)
        self.wide.add(slot)

    def _visit(self, instruction):
        """What takes the place of an instruction."""
        op, params, inputs, outputs, self.line = instruction
        if self.wide.isdisjoint(inputs):
            self.instructions.append(instruction)
            return
        for slot in outputs:
            self._widen(slot)
        batching = traits_of(op).batching
        if batching.broadcasts:
            ndim = max([self.one[slot].ndim for slot in inputs])
            self._emit(op, [self._aligned(slot, ndim) for slot in inputs], outputs, params)
        elif batching.params and (shifted := batching.params(self.one[inputs[0]].ndim, *params)) is not None:
            self._emit(op, [self._whole(slot) for slot in inputs], outputs, shifted)
        elif not (batching.rule and self._by_rule(batching.rule, inputs, outputs, params)):
            self._one_by_one(op, inputs, outputs, params)

    def _emit(self, op, inputs, outputs, params=()):
        self.instructions.append(Instruction(op, params, tuple(inputs), tuple(outputs), self.line))

    def _new(self, op, x, shape):
        """The slot of `x` in another shape."""
        slot = self._slot(shape, self.avals[x].dtype)
        self._emit(op, (x,), (slot,), (shape, "C") if op is RESHAPE else (shape,))
        return slot

    def _slot(self, shape, dtype):
        self.avals.append(Aval(shape, dtype))
        return len(self.avals) - 1

    def _aligned(self, slot, ndim):
        """With axes of length 1 behind that of the lanes, so that the others meet those of an operand of `ndim`."""
        aval = self.one[slot]
        if slot not in self.wide or aval.ndim == ndim:
            return slot
        return self._new(RESHAPE, slot, (self.k, *(1,) * (ndim - aval.ndim), *aval.shape))

    def _whole(self, slot):
        """With lanes, whether it depends on them or not."""
        return slot if slot in self.wide else self._new(BROADCAST_TO, slot, (self.k, *self.one[slot].shape))

    def _by_rule(self, rule, inputs, outputs, params):
        """The ops of a rule, which needs no values but only their shapes; False if the rule passes."""
        zeros = [np.broadcast_to(np.zeros((), self.avals[slot].dtype), self.avals[slot].shape) for slot in inputs]
        avals = [self.one[slot] for slot in inputs]
        tracer, y = trace(lambda *values: rule(values, avals, self.one[outputs[0]], *params), zeros, None)
        last, y = None if y is None else slot_of(tracer, y), None
        tracer.close()  # nobody has a value any more, so that none is evaluated
        if last is None:
            return False
        moved = dict(zip(tracer.inputs, inputs))
        for slot, aval in enumerate(tracer.avals):
            if slot not in moved:
                moved[slot] = self._slot(aval.shape, aval.dtype)
        self.constants.update({moved[slot]: value for slot, value in tracer.constants.items()})
        for op, given, xs, ys, _ in tracer.instructions:
            self._emit(op, [moved[slot] for slot in xs], [moved[slot] for slot in ys], given)
        self._emit(IDENTITY, (moved[last],), outputs)
        return True

    def _one_by_one(self, op, inputs, outputs, params):
        if not self.k:
            self.constants.update({slot: np.zeros(self.avals[slot].shape, self.avals[slot].dtype) for slot in outputs})
            return
        self._emit(_looped(op, tuple([slot in self.wide for slot in inputs])), inputs, outputs, params)


@functools.cache
def _looped(op, wide):
    """The op on one lane after the other; `wide` tells which inputs have lanes."""
    first = wide.index(True)

    def lanes_in(values):
        return [[None if x is None else x[lane] if has else x for x, has in zip(values, wide)]
                for lane in range(values[first].shape[0])]

    def loop(*args):
        values, params = args[:len(wide)], args[len(wide):]
        return _stacked(np.stack, [op.fn(*xs, *params) for xs in lanes_in(values)])

    def pull(i, y_bar, xs, y, params):
        rows = [op.vjp(i, _lane(y_bar, lane), tuple(values), _lane(y, lane), params)
                for lane, values in enumerate(lanes_in(xs))]
        if rows[0] is None:
            return None
        return TABLE["stack"].function(rows) if wide[i] else total(rows)

    def push(x_dots, xs, y, params):
        given = [i for i, dot in enumerate(x_dots) if dot is not None]

        def along(*dots):
            whole = [None] * len(xs)
            for i, dot in zip(given, dots):
                whole[i] = dot
            rows = [op.jvp(tuple([None if d is None else d[lane] if has else d for d, has in zip(whole, wide)]),
                           tuple(values), _lane(y, lane), params) for lane, values in enumerate(lanes_in(xs))]
            return _stacked(TABLE["stack"].function, rows)

        return over_lanes(along, [x_dots[i] for i in given], [xs[i] for i in given])

    form, jvp, vjp = ("nondifferentiable", op.jvp, op.vjp) if op.form == "nondifferentiable" else ("custom", push, pull)
    return Op(f"{op.name}_by_lanes", form, loop, jvp=jvp, vjp=vjp, needs=(ALL_VALUES,), parameters=op.parameters,
              outputs=op.outputs)


def _lane(y, lane):
    """One lane of an output, or of each of several."""
    return tuple([None if part is None else part[lane] for part in y]) if isinstance(y, tuple) else y[lane]


def _stacked(stack, rows):
    return tuple([stack(parts) for parts in zip(*rows)]) if isinstance(rows[0], tuple) else stack(rows)


def pull_lanes(pull, seeds):
    """Linear maps of many seeds at once, by one recording of the map.

    Parameters
    ----------
    pull : callable
        `pull(seed)` returns a list of Arrays, or of None.
    seeds : ndarray
        With a leading axis for the lanes.

    Returns
    -------
    list or None
        What `pull` returns, with lanes; None where Python saw values, which may not be the same in all lanes.
    """
    tracer, parts = trace(pull, [seeds[0]], None, True)
    slots = [slot_of(tracer, part) for part in parts if part is not None]
    tracer.close()
    if tracer.guards or tracer.failed:
        return None
    inputs = (*tracer.inputs, *[slot for _, slot in tracer.lifted])
    graph = Graph(inputs, tuple(slots), tuple(tracer.instructions), tracer.constants, tuple(tracer.avals))
    wide = with_lanes(graph, len(seeds), [True] + [False] * len(tracer.lifted))
    found = iter(interpret_graph(wide, [lift_constant(seeds), *[x for x, _ in tracer.lifted]]))
    return [None if part is None else _broadcast(next(found), (len(seeds), *part.shape)) for part in parts]


def _broadcast(y, shape):
    return y if y.shape == shape else apply(BROADCAST_TO, (y,), (shape,))


# -- vmap ------------------------------------------------------------------------------------------


def vmap(f, in_axes=0, out_axes=0):
    """A function that applies `f` to many lanes of its arguments at once.

    Parameters
    ----------
    f : callable
        A function of arrays, numbers and containers of them, for one lane; also what a transform returned.
    in_axes : int, None, or a tuple or list with one such for each positional argument
        The axis of the arrays that runs over the lanes, None for what all lanes share. For an argument that is a
        container, a container like it may be given, with an axis for each part. Keyword arguments have the lanes on
        axis 0.
    out_axes : int, None, or a container of them like the output
        Where the axis of the lanes is in the output; None for what does not depend on them.

    Returns
    -------
    callable
        Takes the arguments of `f` with that axis added to them; returns what `f` returns with that axis added.

    Raises
    ------
    ValueError
        If the arguments differ in the number of lanes, or none has lanes; or `out_axes` has None for an output with
        lanes.
    TypeError
        If an axis is site of something that is no array.

    Notes
    -----
    `f` is recorded on the first lane, once for each signature, and the recording is run over all lanes; what
    `ad.compile` says of recordings holds. Where Python saw a value (`if x > 0`), the lanes must agree; if they do not,
    `f` is called for one lane after the other. The names and the meaning are those of `jax.vmap`.

    Examples
    --------
    >>> ad.vmap(np.dot, in_axes=(0, None))(np.eye(2), np.array([3.0, 4.0]))
    array([3., 4.])
    """
    if not callable(f):
        raise not_a_function("vmap", f)
    return Mapped(f, in_axes, out_axes)


class Mapped(FastPath):
    """A function over lanes, and the programs of its signatures: what `ad.vmap` returns."""

    def __init__(self, f, in_axes, out_axes):
        functools.update_wrapper(self, f, ("__module__", "__doc__"), ())
        self.__name__ = self.__qualname__ = f"vmap({getattr(f, '__name__', type(f).__name__)})"
        self.f, self.in_axes, self.out_axes = f, in_axes, out_axes
        self.each, self.programs = Compiled(f, False, _refuse_escape), {}

    def __repr__(self):
        return f"<{self.__name__}, {len(self.programs)} signatures>"

    def general(self, args, kwargs):
        """The call, by the program of its signature."""
        lanes = _Lanes(args, kwargs, self.in_axes)
        watched = is_watching() or any(isinstance(x, Array) and boundary.live(x) for x in lanes.leaves)
        if is_strict() and lanes.k:
            found = None
        else:
            found = (self._interpreted if watched or not lanes.k else self._replayed)(lanes)
        if found is None:
            results, outputs = self._one_by_one(lanes)
        else:
            results, outputs = found
        return self._returned(lanes, results, outputs)

    def _replayed(self, lanes):
        """The outputs by the machine; None where the lanes part, or one of them may raise what the others do not."""
        signature = lanes.signature()
        key = signature.key, lanes.flags, lanes.k
        program = self.programs.get(key)
        if program is None:
            recording = Recording(self.f, signature, escape=_refuse_escape)
            if recording.failed:
                return None
            if recording.captures:
                return self._interpreted(lanes)
            program = self._kept(key, recording, signature, lanes)
        values = [x.numpy() if isinstance(x, Array) else x for x in lanes.values(signature)]
        try:
            return program.replay(values)
        except Exception:
            return None  # the function has to say, for each lane, what follows

    def _kept(self, key, recording, signature, lanes):
        if len(self.programs) >= MAX_SIGNATURES:
            self.programs.pop([*self.programs][0], None)
        program = self.programs[key] = _Wide(recording, signature, lanes)
        args = lanes.structure(lanes.leaves)[0]
        if self.out_axes == 0 and program.is_simple() and lanes.flat and CacheEntry.accepts(args, program.variables):
            single = program.results.structure is trees.LEAF
            self.remember(CacheEntry(args, program.machine, range(len(program.graph.inputs)), program.variables,
                                   program.results, single))
        return program

    def _interpreted(self, lanes):
        """The outputs by ops, which others can record and differentiate; None as for `_replayed`."""
        signature = lanes.signature()
        recording = Recording(self.f, signature, lifts=True, escape=_refuse_escape)
        if lanes.k and (recording.has_custom_rules or recording.failed):
            return None
        wide = _Wide(recording, signature, lanes)
        try:
            return wide.interpreted(recording, lanes.values(signature))
        except Exception:
            if not lanes.k:
                raise
            return None  # as in `_replayed`

    def _one_by_one(self, lanes):
        """What the function returns for each lane, stacked."""
        rows = []
        for lane in range(lanes.k):
            args, kwargs = lanes.lane(lane)
            leaves, structure = trees.flatten(self.each(*args, **kwargs))
            rows.append(leaves)
        outputs = [(_stack(parts), True) if _is_value(parts[0]) else (parts[0], False) for parts in zip(*rows)]
        return structure, outputs

    def _returned(self, lanes, results, outputs):
        """What the caller gets, the axis of the lanes where `out_axes` says."""
        axes = trees.broadcast_prefix(self.out_axes, results(range(results.size)), "vmap: out_axes")
        return results([_placed(y, has_lanes, axis, lanes.k, lanes.ours)
                        for (y, has_lanes), axis in zip(outputs, axes)])


class _Lanes:
    """The arguments of a call: the leaves with their lanes in front, and how many those are."""

    def __init__(self, args, kwargs, in_axes):
        if isinstance(in_axes, (tuple, list)) and len(in_axes) != len(args):
            raise ValueError(f"ad.vmap: in_axes has {len(in_axes)} entries for {len(args)} positional arguments; give "
                             "one for each")
        axes = trees.broadcast_prefix(tuple(in_axes) if isinstance(in_axes, list) else in_axes, args, "vmap: in_axes")
        leaves, self.structure = trees.flatten((args, kwargs))
        axes += [0] * (len(leaves) - len(axes))
        self.ours = any(isinstance(leaf, Array) for leaf in leaves)
        self.flags = tuple([axis is not None for axis in axes])
        self.leaves = [leaf if axis is None else _in_front(leaf, axis) for leaf, axis in zip(leaves, axes)]
        self.flat = not (kwargs or self.ours) and [*map(id, self.leaves)] == [*map(id, args)]  # nothing was moved
        sizes = dict.fromkeys([leaf.shape[0] for leaf, has_lanes in zip(self.leaves, self.flags) if has_lanes])
        if len(sizes) != 1:
            raise ValueError("ad.vmap: " + (
                f"the arguments have {', '.join(map(str, sizes))} lanes along the axes of in_axes; they must be as many"
                if sizes else "no argument has lanes; in_axes must name an axis of at least one"))
        (self.k,) = sizes

    def lane(self, lane):
        """The arguments of one lane."""
        return self.structure([leaf[lane] if has_lanes else leaf for leaf, has_lanes in zip(self.leaves, self.flags)])

    def signature(self):
        """That of a call with the first lane; of ones, if there is none, in matrices that have an inverse."""
        if self.k:
            return CallSignature(*self.lane(0))
        leaves = [_example(leaf) if has_lanes else leaf for leaf, has_lanes in zip(self.leaves, self.flags)]
        return CallSignature(*self.structure(leaves))

    def traced(self, signature):
        return [i for i in range(len(self.leaves)) if i not in signature.arguments.fixed]

    def values(self, signature):
        """The leaves that are inputs of the recording."""
        return [self.leaves[i] for i in self.traced(signature)]


class _Wide:
    """A recording of one lane, over all of them."""

    def __init__(self, recording, signature, lanes):
        self.guards, self.results = [site.guard for site in recording.guards], recording.results
        self.variables = [variable for variable, _ in recording.variables]
        self.captured = [*self.variables, *[x for x, _ in recording.lifted]]  # what may be watched
        inputs = (*recording.inputs, *[slot for _, slot in (*recording.variables, *recording.lifted)])
        outputs = (*recording.outputs, *recording.effect_roots, *[site.slot for site in recording.guards])
        one = Graph(inputs, outputs, tuple(recording.instructions), recording.constants, recording.avals)
        flags = [lanes.flags[i] for i in lanes.traced(signature)]
        widening = _Widening(one, lanes.k, flags + [False] * len(self.captured))
        self.bounds = [widening.visit_up_to(site.position) for site in recording.guards]
        self.graph, self.slots = widening.finished(), widening.wide
        self.has_lanes = [slot in self.slots for slot in outputs]

    @functools.cached_property
    def machine(self):
        return machine_for(simplify(self.graph))

    def is_simple(self):
        """Whether a run of the machine is all that a call takes."""
        return not self.guards and all(self.has_lanes) and not self.results.fixed

    def replay(self, values):
        """What the function returns; None where a lane would have gone another way."""
        found = self.machine.run([*values, *[variable.numpy() for variable in self.variables]])
        count = len(found) - len(self.guards)
        if all(map(_holds, self.guards, found[count:], self.has_lanes[count:])):
            return self.returned(found[:count])
        return None

    def interpreted(self, recording, values):
        """What `replay` gives, by ops.

        It asks what Python site, when Python site it: what is recorded from here depends on the answers.
        """
        slots, begin = initial_slots(self.graph, [*values, *self.captured]), 0
        for (_, slot, guard), end in zip(recording.guards, self.bounds):
            interpret(self.graph.instructions[begin:end], slots)
            if not _holds(guard, slots[slot], slot in self.slots):
                return None
            begin = end
        interpret(self.graph.instructions[begin:], slots)
        return self.returned([slots[slot] for slot in recording.outputs])

    def returned(self, found):
        """The structure of what the function returns, and its leaves, each with whether it has lanes."""
        fixed, outputs = self.results.fixed, zip(found, self.has_lanes)
        leaves = [(fixed[i], False) if i in fixed else next(outputs) for i in range(self.results.structure.size)]
        return self.results.structure, leaves


def _holds(guard, value, has_lanes):
    """Whether the value gives the answer of a guard, in every lane; a recording around this one gets guards for it."""
    if guard.kind in ("float", "complex") and isinstance(value, Array) and is_watched(value):
        raise conversion_error(guard.kind)
    if guard.kind != "bool":
        value = concrete(value)
        return all(guard.holds(part) for part in value) if has_lanes else guard.holds(value)
    if has_lanes and len(value) and bool(value[0]) != guard.answer:
        return False
    return bool(np.all((value if guard.answer else np.logical_not(value)) != 0))


def _refuse_escape(what, line):
    """Refuse to make of a value a plain one, unless that is only shown."""
    if what in SHOWN:
        warn_of_escape(what, line)
    else:
        raise lost_lanes(what, line)


def _in_front(x, axis):
    """An argument with the axis of its lanes in front."""
    if not isinstance(x, (np.ndarray, np.generic, Array)) or x.dtype.kind not in "biufc":
        raise TypeError(f"ad.vmap: an argument is {kind(x)}, which has no lanes; give None for it in in_axes")
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"ad.vmap: in_axes asks for axis {axis} of an argument of shape {x.shape}; give None for what "
                         "all lanes share")
    return x if axis % x.ndim == 0 else np.moveaxis(x, axis, 0)


def _example(x):
    """One lane of an array without any."""
    y = np.ones(x.shape[1:], x.dtype)
    return y + np.eye(*y.shape[-2:], dtype=y.dtype) if y.ndim > 1 else y


def _is_value(y):
    return isinstance(y, (np.ndarray, np.generic, Array, int, float, complex))


def _stack(parts):
    return TABLE["stack"].function(parts) if any(isinstance(y, Array) for y in parts) else np.stack(parts)


def _placed(y, has_lanes, axis, k, ours):
    """An output with its lanes at `axis`."""
    if not _is_value(y):
        return y
    if isinstance(y, Array):
        y = boundary.hand_over(y, ours)
    elif ours:
        y = constant(y)
    if axis is None:
        if has_lanes:
            raise ValueError("ad.vmap: out_axes has None for an output that depends on the lanes; give it an axis")
        return y
    if not has_lanes:
        y = np.broadcast_to(y, (k, *np.shape(y)))
        y = y if isinstance(y, Array) else y.copy()
    if not -y.ndim <= axis < y.ndim:
        raise ValueError(f"ad.vmap: out_axes asks for axis {axis} of an output of shape {y.shape[1:]} with lanes")
    return y if axis == 0 else np.moveaxis(y, 0, axis)
