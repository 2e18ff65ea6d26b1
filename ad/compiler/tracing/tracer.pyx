# cython: nonecheck=True
"""Tracing: a function is run once, and every op on its arguments becomes an instruction of a program.

The function runs eagerly, on real values. What Python asks of a traced value (a truth, a number) is answered, and
kept as a guard: the program holds only where the answer is the same.
"""
cimport cython
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t

cimport numpy as cnp
from ad._core cimport Array, is_live, new_array, roles, raw_value, wrap
from ad.engine.deferred cimport Deferred, begin, force_deferred
from ad.engine.graph cimport (
    FIRST_LEVEL, NUMBER, Aval, Node, NodePtr, Op, Operand, Recorder, current, is_live_elsewhere, new_leaf, open_levels,
    raw,
)
from ad.engine.kernels cimport heeds_errors
from ad.engine.variable cimport Variable

import sys
from threading import get_ident

import numpy as np

from ad.ops.traits import traits_of
from ad.compiler.ir.strided import copied, same
from ad.compiler.ir.graph import Instruction

cnp.import_array()

cdef object FLOAT64 = np.dtype(np.float64)
cdef dict ours = {}  # code object -> whether it is the library's own


@cython.final
cdef class Tracer(Recorder):
    """What a function did, so far.

    Attributes
    ----------
    instructions : list of Instruction
    inputs : list of int
        A slot for each argument.
    variables : list of (Variable, int)
        Those the function has read, which are inputs too.
    has_custom_rules : bool
        Whether a function under `custom_gradient` was among it, whose rule is not in the program.
    lifted : list of (Array, int)
        With `lifts`, captured Arrays that others may be differentiating or recording: inputs too.
    constants : dict
        Slot -> value. Captured ndarrays are copied, so that later changes do not reach the program.
    guards : list of (int, int, str, object, str)
        How many instructions had been recorded, the slot of a value, what Python asked of it, the answer, where.
    captures : bool
        Whether, without `lifts`, a value was captured that another thread is differentiating, or recording.
    risky : bool
        Whether there is an instruction among them that raises for some values.
    failed : str
        Where an op on a traced value raised last, if the function went on from there, or may raise by np.errstate,
        which a replay would not; "" where none did.
    """

    cdef readonly list instructions, avals, guards, inputs, variables, lifted
    cdef readonly dict constants
    cdef object warn
    cdef bint lifts
    cdef readonly bint has_custom_rules, risky, captures
    cdef Deferred deferred
    cdef readonly str failed
    cdef Recorder outer   # the tracer around this one, which answers for what is deferred; or None
    cdef set levels       # tags of the forward levels around it
    cdef dict slots       # key of a node -> the slot of its value
    cdef list alive       # what the addresses in use as keys belong to
    cdef dict captured    # address of an ndarray -> its slot
    cdef dict copies      # address of an ndarray that is a parameter -> the copy that is kept
    cdef list caught      # the calls under way that may be run anew, if a value leaves them
    cdef dict stand_ins   # serial of a variable -> the Array read in its place

    def __init__(self, warn, lifts):
        self.lifts, self.lifted = lifts, []
        self.levels = open_levels()
        self.instructions, self.avals, self.guards, self.inputs, self.variables = [], [], [], [], []
        self.constants, self.slots, self.captured, self.stand_ins = {}, {}, {}, {}
        self.alive, self.copies, self.caught = [], {}, []
        self.warn, self.failed = warn, ""

    cdef void enter(self):
        self.outer = current().tracer
        self.deferred = begin() if self.outer is None else (<Tracer>self.outer).deferred
        Recorder.enter(self)
        self.state.trace(self)  # the last step: other threads find it from here on

    cdef void leave(self):
        self.state.trace(self.outer)
        Recorder.leave(self)

    @property
    def waits(self):
        """Whether it has left all that is large to the program, so that this had better compute the result, too."""
        return self.outer is None and not self.deferred.stopped and len(self.deferred.waiting) > 0

    def close(self):
        """Evaluate what somebody still has of what was deferred, and end with that."""
        if self.outer is None:
            self.deferred.close()

    # -- slots

    cdef long new_slot(self, tuple shape, object dtype):
        self.avals.append(Aval(shape, dtype))
        return len(self.avals) - 1

    cdef long slot_of(self, NodePtr node) noexcept:
        if node == NULL:
            return -1
        return self.slots.get(key_of(node), -1)

    cdef int enrol(self, Node node, long slot) except -1:
        self.slots[key_of(<NodePtr>node)] = slot
        if node.op == NULL:
            self.alive.append(node)
        return 0

    cdef Array input(self, object value):
        """An Array of an argument, which stands in the program for the argument itself."""
        cdef Array x = wrap(value, new_leaf())
        cdef long slot = self.new_slot(x.shape, x.dtype)
        self.enrol(x.node, slot)
        self.inputs.append(slot)
        return x

    cdef Array read_variable(self, object variable, Array snapshot):
        cdef Array stand_in = self.stand_ins.get(variable.serial)
        if stand_in is not None:
            return stand_in
        stand_in = new_array(snapshot.array, snapshot.number, snapshot.node or new_leaf(), None)
        cdef long slot = self.new_slot(stand_in.shape, stand_in.dtype)
        self.enrol(stand_in.node, slot)
        self.stand_ins[variable.serial] = stand_in
        self.variables.append((variable, slot))
        return stand_in

    cdef long constant(self, object value):
        """The slot of a value that does not depend on the inputs."""
        cdef size_t address = <size_t><PyObject *>value
        cdef long slot
        if not isinstance(value, cnp.ndarray):
            slot = self.new_slot((), FLOAT64 if type(value) is float else np.asarray(value).dtype)
            self.constants[slot] = value
            return slot
        force_deferred(<PyObject *>value)
        found = self.captured.get(address)
        if found is not None and same(self.constants[found], value):
            return found
        slot = self.new_slot((<object>value).shape, (<object>value).dtype)
        self.constants[slot] = copied(value)
        self.captured[address] = slot
        self.alive.append(value)
        return slot

    cdef object kept(self, object part):
        """A parameter, or part of one, as it is now: arrays may change later."""
        if type(part) is tuple or type(part) is list:
            for inner in part:
                if isinstance(inner, (tuple, list, cnp.ndarray)):
                    return type(part)([self.kept(each) for each in part])
        if not isinstance(part, cnp.ndarray):
            return part
        cdef size_t address = <size_t><PyObject *>part
        copy = self.copies.get(address)
        if copy is None or not same(copy, part):
            copy = self.copies[address] = copied(part)
            self.alive.append(part)
        return copy

    cdef object lift_constant(self, object value):
        cdef Array x = new_array(value, 0, new_leaf(), None)
        self.enrol(x.node, self.constant(value))
        return x

    cdef long lift(self, Array x):
        """The slot of a captured value, with what is to be known of it outside."""
        cdef long slot = self.new_slot(x.shape, x.dtype)
        if x.tangents is not None:
            x.tangents = tuple([pair for pair in x.tangents if pair[0] < FIRST_LEVEL or pair[0] in self.levels]) or None
        self.lifted.append((x, slot))
        if x.node is not None:
            self.enrol(x.node, slot)
        return slot

    # -- what the core tells

    cdef int note(self, Node node, Op op, Operand *operands, int n, object params, Operand *output) except -1:
        with self.deferred.lock:  # ops of other threads come here too
            return self.append(node, op, operands, n, params, output)

    cdef int append(self, Node node, Op op, Operand *operands, int n, object params, Operand *output) except -1:
        cdef long slot
        cdef int i
        cdef bint traced = False, waits
        for i in range(n):
            traced |= self.slot_of(operands[i].node) >= 0
        if not traced:
            return 0 if self.outer is None else self.outer.note(node, op, operands, n, params, output)
        waits = self.deferred.is_fresh(output)  # asked first: copies of constants let a signal handler run ops between
        inputs = []
        for i in range(n):
            slot = self.slot_of(operands[i].node)
            if slot < 0 and self.lifts and (operands[i].node != NULL or operands[i].tangents != NULL):
                slot = self.lift(new_array(
                    None if operands[i].value == NULL else <object>operands[i].value, operands[i].x,
                    None if operands[i].node == NULL else <Node>operands[i].node,
                    None if operands[i].tangents == NULL else <tuple>operands[i].tangents))
            if slot < 0:
                self.captures |= is_captured(&operands[i])
                slot = self.constant(raw(&operands[i]))
            inputs.append(slot)
        for call in self.calls_caught():
            call.read.update(inputs)
        if waits:
            values = [self.constants[slot] if slot in self.constants else raw(&operands[i])
                      for i, slot in enumerate(inputs)]
            self.deferred.add(op, values, params, <object>output.value)
        if output.kind == NUMBER:
            outputs = (self.new_slot((), FLOAT64),)
        elif op.outputs > 1:
            outputs = tuple([self.new_slot(part.shape, part.dtype) for part in <tuple>output.value])
        else:
            outputs = (self.new_slot((<object>output.value).shape, (<object>output.value).dtype),)
        self.enrol(node, outputs[0])
        if op.form == "relay":
            self.has_custom_rules = True
            for i in range(op.outputs):
                self.instructions.append(Instruction(roles["identity"], (), (inputs[n - op.outputs + i],),
                                                     (outputs[i],), where()))
            return 0
        if traits_of(op).may_raise:
            self.risky = True
        if heeds_errors():
            self.failed = where()
        self.instructions.append(Instruction(op, self.kept(params or ()), tuple(inputs), outputs, where()))
        return 0

    cdef int note_pick(self, Node pick, Node node, int k) except -1:
        cdef long slot = self.slot_of(<NodePtr>node)
        if slot >= 0:
            self.enrol(pick, slot + k)
        elif self.outer is not None:
            self.outer.note_pick(pick, node, k)
        return 0

    cdef bint is_source(self, Node node) except -1:
        return False  # a guard tells a program of what Python is given

    cdef bint knows(self, NodePtr node) noexcept:
        return self.slot_of(node) >= 0 or (self.outer is not None and self.outer.knows(node))

    cdef object read(self, object variable, object snapshot):
        return self.read_variable(variable, snapshot)

    cdef int guard(self, NodePtr node, str kind, object answer) except -1:
        cdef long slot = self.slot_of(node)
        if slot < 0:
            return self.outer.guard(node, kind, answer)
        self.guards.append((len(self.instructions), slot, kind, answer, where()))
        for call in self.calls_caught():
            call.guards.append(self.guards[len(self.guards) - 1])
        return 0

    cdef int escape(self, NodePtr node, str what) except -1:
        if self.slot_of(node) < 0:
            return self.outer.escape(node, what)
        calls = self.calls_caught()
        if calls:
            calls[len(calls) - 1].leaks.append((self.slot_of(node), what, where()))
        else:
            self.warn(what, where())
        return 0

    cdef list calls_caught(self):
        """The calls of this thread that may be run anew."""
        return [call for call in self.caught if call.thread == get_ident()] if self.caught else self.caught

    cdef bint shares(self, Node leaf):
        return self.slot_of(<NodePtr>leaf) >= 0

    def catch(self, xs):
        """Note what leaves the program until `release`, without telling of it: a call on `xs` may be run anew."""
        slots = {self.slot_of(NULL if (<Array?>x).node is None else <NodePtr>(<Array?>x).node) for x in xs}
        caught = Caught(slots, len(self.avals), self.failed)
        self.caught.append(caught)
        return caught

    def release(self, caught):
        """Tell from now on of what leaves the program; whether anything has, in a call that can be run anew.

        It can where it depends on nothing in the program but the values that it is called on, and on variables: then
        what Python has been told in it is forgotten. Otherwise all that has left is told of.
        """
        cdef long slot
        self.caught.remove(caught)
        if not caught.leaks:
            return False
        free = caught.slots.union(self.constants, [slot for _, slot in self.variables])
        caught.read.update([slot for slot, _, _ in caught.leaks], [slot for _, slot, *_ in caught.guards])
        if any([slot < caught.avals and slot not in free for slot in caught.read]):
            for _, what, line in caught.leaks:
                self.warn(what, line)
            return False
        forgotten = set(map(id, caught.guards))
        self.guards = [guard for guard in self.guards if id(guard) not in forgotten]
        self.failed = caught.failed
        return True

    cdef int fail(self, NodePtr node) except -1:
        if self.slot_of(node) >= 0:
            self.failed = where()
        return 0 if self.outer is None else self.outer.fail(node)


cdef bint is_captured(Operand *operand):
    """Whether an operand is what another thread differentiates or records: in this one nothing is but the program."""
    if operand.node != NULL and is_live_elsewhere(operand.node):
        return True
    return operand.tangents != NULL and is_live(new_array(None, 0, None, <tuple>operand.tangents))


class Caught:
    """A call during which values may leave a program.

    Attributes
    ----------
    slots : set of int
        Of the values that the call was given.
    avals : int
        How many slots there were before.
    failed : str
        As the tracer's, before.
    read : set of int
        What its ops have read.
    leaks, guards : list of tuple
        What left, and what Python was told.
    """

    def __init__(self, slots, avals, failed):
        self.slots, self.avals, self.failed, self.thread = slots, avals, failed, get_ident()
        self.read, self.leaks, self.guards = set(), [], []


cdef inline int64_t key_of(NodePtr node) noexcept:
    """A number of the node's own: for a leaf its address; for another, which may die while others are recorded, and the
    values that it keeps with it, its place in the sequence, below zero."""
    return <int64_t>node if (<Node>node).op == NULL else -<int64_t>(<Node>node).seq


cdef str where():
    """The innermost line that is not the library's: "file.py:12"."""
    frame = sys._getframe()
    while frame is not None:
        code = frame.f_code
        own = ours.get(code)
        if own is None:
            own = ours[code] = frame.f_globals.get("__name__", "").split(".")[0] == "ad"
        if not own:
            return f"{code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def trace(f, list values, warn, lifts=False):
    """Call `f` with an Array for each value, recorded.

    Parameters
    ----------
    f : callable
    values : list of ndarray or float
    warn : callable
        `warn(what, where)` is told of a value that leaves and will not be replayed.
    lifts : bool
        Whether captured Arrays with a node or tangents become inputs, and not constants.

    Returns
    -------
    tracer : Tracer
        To be closed: until then large values may not be there.
    y
        What `f` returned.
    """
    cdef Tracer tracer = Tracer(warn, lifts)
    tracer.enter()
    try:
        xs = [tracer.input(value) for value in values]
        y = f(*xs)
    except BaseException:
        tracer.close()
        raise
    finally:
        tracer.leave()
    return tracer, y


def slot_of(Tracer tracer, y):
    """The slot of a value that a traced function returned."""
    cdef Array x
    if isinstance(y, Array):
        x = (<Array>y).read()
        if isinstance(y, Variable):
            x = tracer.read_variable(y, x)
        slot = tracer.slot_of(NULL if x.node is None else <NodePtr>x.node)
        if slot < 0 and tracer.lifts and (x.node is not None or x.tangents is not None):
            return tracer.lift(new_array(x.array, x.number, x.node, x.tangents))
        tracer.captures |= slot < 0 and is_live(x)
        return tracer.constant(raw_value(x)) if slot < 0 else slot
    return tracer.constant(y)


def is_strict():
    """Whether np.errstate asks to raise, call, print or log, as ops do and a replay does not."""
    return heeds_errors()


def is_watching():
    """Whether a tape, a transform or a forward level of this thread is open."""
    return current().recording > 0 or len(current().levels) > 0
