# cython: nonecheck=True
"""Tracing: a function is run once, and every op on its arguments becomes an instruction.

The function runs eagerly, on real values. Where Python converts a traced value to a bool or a number, it gets the
answer, and the tracer records a guard: the recording holds only for values that give the same answer.
"""
cimport cython
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t

cimport numpy as cnp
from ad.engine.array cimport Array, is_live, new_array, raw_value, settle, wrap
from ad.engine.deferred cimport Deferred, begin, force_deferred
from ad.engine.graph cimport Aval, Node, NodePtr, Op, raw
from ad.engine.kernels cimport heeds_errors
from ad.engine.recorder cimport FIRST_LEVEL, Recorder, current, is_live_elsewhere, new_leaf, open_levels
from ad.engine.types cimport FLOAT64_DTYPE, Operand, SCALAR
from ad.engine.roles cimport roles
from ad.engine.variable cimport Variable

import sys
from threading import get_ident

import numpy as np

from ad import trees
from ad.ops.traits import traits_of
from ad.compiler.ir.strided import copied, same
from ad.compiler.ir.graph import Instruction

cnp.import_array()

cdef dict is_internal = {}  # code object -> whether it is the library's own


@cython.final
cdef class Tracer(Recorder):
    """The recorder of a function's ops as instructions.

    Attributes
    ----------
    instructions : list of Instruction
    avals : list of Aval
        The shape and dtype of the value in each slot.
    inputs : list of int
        A slot for each argument.
    variables : list of (Variable, int)
        The variables that the function has read, which are inputs too.
    has_custom_rules : bool
        Whether a function under `custom_gradient` was called, whose rule is not among the instructions.
    lifted : list of (Array, int)
        With `lifts`, captured Arrays that others may be differentiating or recording: inputs too.
    constants : dict
        Slot -> value. Captured ndarrays are copied, so that later changes do not reach the recording.
    guards : list of (int, int, str, object, str)
        The number of instructions before it, the slot of the value, the kind of conversion, the answer, the line.
    captures : bool
        Whether, without `lifts`, a value was captured that another thread is differentiating or recording.
    may_raise : bool
        Whether an instruction raises for some values.
    failed : str
        The line of the last op on a traced value that raised, if the function handled the exception, or that
        np.errstate lets raise, unlike in a replay; "" if there is none.
    """

    cdef readonly list instructions, avals, guards, inputs, variables, lifted
    cdef readonly dict constants
    cdef object warn
    cdef bint lifts
    cdef readonly bint has_custom_rules, may_raise, captures
    cdef Deferred deferred
    cdef readonly str failed
    cdef Recorder outer   # the tracer around this one, whose queue of deferred ops this one shares; or None
    cdef set levels       # tags of the forward levels around it
    cdef dict slots       # key of a node -> the slot of its value
    cdef list alive       # the objects whose addresses are keys, so that no other object gets such an address
    cdef dict captured    # address of an ndarray -> its slot
    cdef dict copies      # address of an ndarray that is a parameter -> the copy in the recording
    cdef list caught      # the calls under way that may be run again, if a value escapes from them
    cdef dict placeholders   # serial of a variable -> the Array read in its place

    def __init__(self, warn, lifts):
        self.lifts, self.lifted = lifts, []
        self.levels = open_levels()
        self.instructions, self.avals, self.guards, self.inputs, self.variables = [], [], [], [], []
        self.constants, self.slots, self.captured, self.placeholders = {}, {}, {}, {}
        self.alive, self.copies, self.caught = [], {}, []
        self.warn, self.failed = warn, ""

    cdef void enter(self):
        self.outer = current().tracer
        self.deferred = begin() if self.outer is None else (<Tracer>self.outer).deferred
        Recorder.enter(self)
        self.state.trace(self)  # the last step: other threads find it from here on

    cdef void leave(self):
        try:
            Recorder.leave(self)  # first: it may join elements, by ops of the program
        finally:
            self.state.trace(self.outer)

    @property
    def is_pending(self):
        """Whether every large op is still deferred: running the program then avoids computing the result twice."""
        return self.outer is None and not self.deferred.stopped and len(self.deferred.waiting) > 0

    def close(self):
        """Evaluate those deferred values that are still referenced, and defer no more."""
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

    cdef int bind_slot(self, Node node, long slot) except -1:
        self.slots[key_of(<NodePtr>node)] = slot
        if node.op == NULL:
            self.alive.append(node)
        return 0

    cdef Array input(self, object value):
        """Return an Array of an argument; the slot of the Array is an input."""
        cdef Array x = wrap(value, new_leaf())
        cdef long slot = self.new_slot(x.shape, x.dtype)
        self.bind_slot(x.node, slot)
        self.inputs.append(slot)
        return x

    cdef Array read_variable(self, object variable, Array snapshot):
        cdef Array placeholder = self.placeholders.get(variable.serial)
        if placeholder is not None:
            return placeholder
        placeholder = new_array(snapshot.array, snapshot.number, snapshot.node or new_leaf(), None)
        cdef long slot = self.new_slot(placeholder.shape, placeholder.dtype)
        self.bind_slot(placeholder.node, slot)
        self.placeholders[variable.serial] = placeholder
        self.variables.append((variable, slot))
        return placeholder

    cdef long constant(self, object value):
        """Return the slot of a value that does not depend on the inputs."""
        cdef size_t address = <size_t><PyObject *>value
        cdef long slot
        if not isinstance(value, cnp.ndarray):
            slot = self.new_slot((), FLOAT64_DTYPE if type(value) is float else np.asarray(value).dtype)
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

    cdef object param_copy(self, object part):
        """Return a parameter with copies of the arrays in it, which may change later."""
        if type(part) is tuple or type(part) is list:
            for inner in part:
                if isinstance(inner, (tuple, list, cnp.ndarray)):
                    return type(part)([self.param_copy(each) for each in part])
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
        self.bind_slot(x.node, self.constant(value))
        return x

    cdef long lift(self, Array x):
        """Return the slot of a captured value that becomes an input; it keeps only the tangents of enclosing levels."""
        cdef long slot = self.new_slot(x.shape, x.dtype)
        if x.tangents is not None:
            x.tangents = tuple([pair for pair in x.tangents if pair[0] < FIRST_LEVEL or pair[0] in self.levels]) or None
        self.lifted.append((x, slot))
        if x.node is not None:
            self.bind_slot(x.node, slot)
        return slot

    # -- calls from the core

    cdef int note(self, Node node, Op op, Operand *operands, int n, object params, Operand *output) except -1:
        with self.deferred.lock:  # ops of other threads come here too
            return self.append(node, op, operands, n, params, output)

    cdef int append(self, Node node, Op op, Operand *operands, int n, object params, Operand *output) except -1:
        cdef int i
        cdef bint traced = False, is_deferred
        for i in range(n):
            traced |= self.slot_of(operands[i].node) >= 0
        if not traced:
            return 0 if self.outer is None else self.outer.note(node, op, operands, n, params, output)
        # Checked before any constant is copied: meanwhile a signal handler may run ops.
        is_deferred = self.deferred.is_fresh(output)
        inputs = self.input_slots(operands, n)
        for call in self.calls_caught():
            call.read.update(inputs)
        if is_deferred:
            values = [self.constants[slot] if slot in self.constants else raw(&operands[i])
                      for i, slot in enumerate(inputs)]
            self.deferred.add(op, values, params, <object>output.value)
        outputs = self.output_slots(op, output)
        self.bind_slot(node, outputs[0])
        if op.form == "custom_boundary":
            self.append_boundary(op, inputs, outputs)
            return 0
        if traits_of(op).may_raise:
            self.may_raise = True
        if heeds_errors():
            self.failed = user_line()
        self.instructions.append(Instruction(op, self.param_copy(params or ()), tuple(inputs), outputs, user_line()))
        return 0

    cdef list input_slots(self, Operand *operands, int n):
        """Return the slots of operands; captured values get new ones, as constants or, with `lifts`, as inputs."""
        cdef long slot
        cdef int i
        cdef list inputs = []
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
        return inputs

    cdef tuple output_slots(self, Op op, Operand *output):
        """Return new slots for the outputs of an op."""
        if output.kind == SCALAR:
            return (self.new_slot((), FLOAT64_DTYPE),)
        if op.outputs > 1:
            return tuple([self.new_slot(part.shape, part.dtype) for part in <tuple>output.value])
        return (self.new_slot((<object>output.value).shape, (<object>output.value).dtype),)

    cdef int append_boundary(self, Op op, list inputs, tuple outputs) except -1:
        """Append the end of a call with a custom rule: its last inputs are its outputs, computed without the rule."""
        self.has_custom_rules = True
        identity = roles.identity
        for slot, y in zip(inputs[len(inputs) - op.outputs:], outputs):
            self.instructions.append(Instruction(identity, (), (slot,), (y,), user_line()))
        return 0

    cdef int note_pick(self, Node pick, Node node, int k) except -1:
        cdef long slot = self.slot_of(<NodePtr>node)
        if slot >= 0:
            self.bind_slot(pick, slot + k)
        elif self.outer is not None:
            self.outer.note_pick(pick, node, k)
        return 0

    cdef bint is_source(self, Node node) except -1:
        return False  # a value that Python gets is a guard, not a source

    cdef bint knows(self, NodePtr node) noexcept:
        return self.slot_of(node) >= 0 or (self.outer is not None and self.outer.knows(node))

    cdef object read(self, object variable, object snapshot):
        return self.read_variable(variable, snapshot)

    cdef int guard(self, NodePtr node, str kind, object answer) except -1:
        cdef long slot = self.slot_of(node)
        if slot < 0:
            return self.outer.guard(node, kind, answer)
        self.guards.append((len(self.instructions), slot, kind, answer, user_line()))
        for call in self.calls_caught():
            call.guards.append(self.guards[len(self.guards) - 1])
        return 0

    cdef int escape(self, NodePtr node, str what) except -1:
        if self.slot_of(node) < 0:
            return self.outer.escape(node, what)
        calls = self.calls_caught()
        if calls:
            calls[len(calls) - 1].escapes.append((self.slot_of(node), what, user_line()))
        else:
            self.warn(what, user_line())
        return 0

    cdef list calls_caught(self):
        """Return the calls of this thread that may be run again."""
        return [call for call in self.caught if call.thread == get_ident()] if self.caught else self.caught

    cdef bint shares(self, Node leaf):
        return self.slot_of(<NodePtr>leaf) >= 0

    def catch(self, xs):
        """Collect the values that escape, without warnings, until `release`: a call on `xs` may be run again."""
        slots = {self.slot_of(NULL if (<Array?>x).node is None else <NodePtr>(<Array?>x).node) for x in xs}
        caught = Caught(slots, len(self.avals), self.failed)
        self.caught.append(caught)
        return caught

    def release(self, caught):
        """End a call; return whether values have escaped from it, and it can be run again.

        The call can be run again if it depends on no traced values but its arguments and variables: then its guards are
        removed. Otherwise a warning is given for each value that escaped.
        """
        cdef long slot
        self.caught.remove(caught)
        if not caught.escapes:
            return False
        free = caught.slots.union(self.constants, [slot for _, slot in self.variables])
        caught.read.update([slot for slot, _, _ in caught.escapes], [slot for _, slot, *_ in caught.guards])
        if any([slot < caught.avals and slot not in free for slot in caught.read]):
            for _, what, line in caught.escapes:
                self.warn(what, line)
            return False
        removed = set(map(id, caught.guards))
        self.guards = [guard for guard in self.guards if id(guard) not in removed]
        self.failed = caught.failed
        return True

    cdef int fail(self, NodePtr node) except -1:
        if self.slot_of(node) >= 0:
            self.failed = user_line()
        return 0 if self.outer is None else self.outer.fail(node)


cdef bint is_captured(Operand *operand):
    """Return whether another thread differentiates or records an operand."""
    if operand.node != NULL and is_live_elsewhere(operand.node):
        return True
    return operand.tangents != NULL and is_live(new_array(None, 0, None, <tuple>operand.tangents))


class Caught:
    """A call that may be run again, if values escape from it.

    Attributes
    ----------
    slots : set of int
        The slots of its arguments.
    avals : int
        The number of slots before the call.
    failed : str
        `Tracer.failed` before the call.
    read : set of int
        The slots that its ops have read.
    escapes : list of (int, str, str)
        The values that escaped: slot, what took the value, line.
    guards : list of tuple
        The guards recorded in the call, as in `Tracer.guards`.
    """

    def __init__(self, slots, avals, failed):
        self.slots, self.avals, self.failed, self.thread = slots, avals, failed, get_ident()
        self.read, self.escapes, self.guards = set(), [], []


cdef inline int64_t key_of(NodePtr node) noexcept:
    """Return a number that no other node has: the address of a leaf, and otherwise the negative sequence number.

    A leaf is kept alive. Other nodes, with the values that they hold, may be freed during the recording, and another
    node may then get the address.
    """
    return <int64_t>node if (<Node>node).op == NULL else -<int64_t>(<Node>node).seq


cdef str user_line():
    """Return the innermost line of a frame outside the library: "file.py:12"."""
    frame = sys._getframe()
    while frame is not None:
        code = frame.f_code
        internal = is_internal.get(code)
        if internal is None:
            internal = is_internal[code] = frame.f_globals.get("__name__", "").split(".")[0] == "ad"
        if not internal:
            return f"{code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def trace(f, list values, warn, lifts=False):
    """Call `f` with an Array for each value, and record its ops.

    Parameters
    ----------
    f : callable
    values : list of ndarray or float
    warn : callable
        `warn(what, line)` is called for each value that escapes.
    lifts : bool
        Make inputs, and not constants, of captured Arrays with a node or tangents.

    Returns
    -------
    tracer : Tracer
        To be closed: until then large values may be deferred.
    y
        The result of `f`.
    """
    cdef Tracer tracer = Tracer(warn, lifts)
    tracer.enter()
    try:
        xs = [tracer.input(value) for value in values]
        y = f(*xs)
        for part in trees.flatten(y)[0]:
            if isinstance(part, Array):
                settle(<Array>part)
    except BaseException:
        tracer.close()
        raise
    finally:
        tracer.leave()
    return tracer, y


def slot_of(Tracer tracer, y):
    """Return the slot of a value in the result of a traced function."""
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
    """Return whether np.errstate is set to raise, call, print or log: ops do so, a replay does not."""
    return heeds_errors()


def is_watching():
    """Return whether a tape, a transform or a forward level of this thread is open."""
    return current().recording > 0 or len(current().levels) > 0
