"""The graph: what a thread is doing, ops, and the nodes that record them.

A `Node` is one recorded op; a `Recorder` an interval of recording; a `Level` one forward
differentiation under way. Nothing here knows of arrays that carry nodes: `_core` has those.
"""
cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from libc.stdint cimport UINT64_MAX

cimport numpy as cnp
from ad.engine.kernels cimport find_loop, find_native, is_contiguous, release_to_pool

from contextvars import ContextVar
from importlib import import_module
from weakref import WeakKeyDictionary

import numpy as np

cnp.import_array()

cdef extern from "Python.h":
    PyObject *PyThreadState_GetDict()
    unsigned long PyThread_get_thread_ident()
    ctypedef void (*destructor)(PyObject *) noexcept
    ctypedef struct PyTypeObject:
        destructor tp_dealloc

cdef extern from *:
    """
    #if defined(_MSC_VER)
    static __declspec(thread) PyObject *ad_state, *ad_context;
    #elif defined(__GLIBC__)
    static __thread PyObject *ad_state __attribute__((tls_model("initial-exec")));
    static __thread PyObject *ad_context __attribute__((tls_model("initial-exec")));
    #elif defined(__GNUC__)
    static __thread PyObject *ad_state, *ad_context;
    #else
    static _Thread_local PyObject *ad_state, *ad_context;
    #endif
    static inline PyObject *ad_context_now(void) { return PyThreadState_Get()->context; }
    #ifndef AD_DEBUG
    #define AD_DEBUG 0
    #endif
    """
    PyObject *ad_state    # of the thread, and of the context that it is in
    PyObject *ad_context  # borrowed; that a later one may have its address does no harm
    PyObject *ad_context_now()
    const bint DEBUG "AD_DEBUG"

cdef type FLOAT64_TYPE = np.float64
cdef object FLOAT64_DTYPE = np.dtype(np.float64)
# The low bits of a sequence number are the number of a thread, the owner; so moments are multiples of `MOMENT`.
cdef uint64_t FOREVER = UINT64_MAX - (MOMENT - 1)
cdef uint64_t clock = MOMENT
cdef uint32_t OUTPUT_NEEDED = <uint32_t>1 << 31
cdef long nodes_alive = 0
cdef long last_level = FIRST_LEVEL


def live_objects():
    """How many nodes are alive: kept by a debug build (AD_DEBUG=1) only."""
    if not DEBUG:
        raise RuntimeError("live objects are counted in a debug build only: build with AD_DEBUG=1")
    return {"nodes": nodes_alive}


# -- what a thread is doing ----------------------------------------------------------------

# Coroutines take turns in a thread, each in a context of its own: so what is said of threads here is meant of contexts.
cdef object STATE = ContextVar("ad.state")

cdef list NONE = []
cdef uint64_t n_owners = 1    # the numbers from here on have no thread yet
cdef list free_owners = []    # of those below, the ones whose threads are gone
cdef PyObject *states = NULL  # of all threads, borrowed: a list by their `next`
cdef int n_states = 0
cdef int n_recording = 0
cdef int n_entered = 0        # recorders open now, in all threads
cdef uint64_t entered = 0     # how often one was opened, likewise
cdef int n_levels = 0         # forward levels open now, likewise
cdef int n_tracing = 0        # threads that have a tracer


cdef class State:
    """The open recorders and forward levels of one thread."""

    def __cinit__(self):
        global states, n_states
        n_states += 1
        self.recorders = []
        self.levels = []
        self.floor = self.horizon = FOREVER
        self.owner, self.thread = new_owner(), PyThread_get_thread_ident()
        self.next, states = states, <PyObject *>self

    def __dealloc__(self):
        global ad_state, states, n_states
        cdef PyObject *other = states
        if ad_state == <PyObject *>self:  # a thread of C's may come back with another thread state
            ad_state = NULL
        if other == <PyObject *>self:
            states = self.next
        else:
            while (<State>other).next != <PyObject *>self:
                other = (<State>other).next
            (<State>other).next = self.next
        n_states -= 1
        if self.owner != ANYONE:
            free_owners.append(self.owner)

    cdef bint serves(self, PyObject *context):
        """Whether this is the state of a context, or of one that was copied inside a derivative of it."""
        if self.context == context:
            return True
        return self.thread == PyThread_get_thread_ident() and (len(self.recorders) > 0 or len(self.levels) > 0)

    cdef void trace(self, Recorder tracer):
        """Have this tracer, or None."""
        global n_tracing
        n_tracing += (tracer is not None) - (self.tracer is not None)
        self.tracer = tracer

    cdef bint wants(self, Node node, uint64_t horizon):
        """Whether an op on this node has to be recorded for this thread, if another one runs it."""
        cdef Recorder recorder
        cdef uint64_t owner = owner_of(<NodePtr>node)
        if owner != ANYONE and owner != self.owner:
            return False
        for recorder in self.recorders:
            if recorder.recording and recorder.start < horizon:
                if recorder.sees(node) if node.op != NULL else owner == self.owner or recorder.shares(node):
                    return True
        return False


cdef uint64_t new_owner():
    """A number for a thread: `ANYONE` in the end, of whom less is known."""
    global n_owners
    if free_owners:
        return free_owners.pop()
    if n_owners == MOMENT:
        return ANYONE
    n_owners += 1
    return n_owners - 1


cdef inline State here():
    """`current`, for those who open nothing: while there is but one state, it is that."""
    if ad_state == NULL or n_states > 1 and ad_context_now() != ad_context:
        switch()
    return <State>ad_state


cdef State current():
    if ad_state == NULL or ad_context_now() != ad_context:
        switch()
    return <State>ad_state


cdef int switch() except -1:
    """Find the state of the context that the thread is in now.

    A copied context has that of another, and keeps it as long as something is open there: a coroutine that was started
    inside a tape is. A thread has to have one of its own, for a state is changed while an op runs.
    """
    global ad_state, ad_context
    state = STATE.get(None)
    if state is None or not (<State>state).serves(ad_context_now()):
        state = State()
        STATE.set(state)
        (<State>state).context = ad_context_now()
    (<dict>PyThreadState_GetDict())[State] = state  # which holds it for `ad_state`
    ad_state, ad_context = <PyObject *>state, ad_context_now()
    return 0


cdef uint64_t now() noexcept:
    """A new moment: later than every node so far."""
    global clock
    clock += MOMENT
    return clock


# -- what other threads are doing ------------------------------------------------------------

# A thread that was started inside a function that another one differentiates is told of nothing, and may have been
# there before. What an op needs to know is in its operands: a node says for which thread it was made, and each thread's
# recorders whether they are still open. So an op on a node of another thread is recorded for that thread.

cdef void share_leaf(Node leaf) noexcept:
    """Give a leaf to anyone if it belongs to another thread, which may use its value for something else."""
    if owner_of(<NodePtr>leaf) != current().owner:
        leaf.seq = FOREVER | ANYONE


cdef int owner_elsewhere(State mine, NodePtr node):
    """The number of the other thread for which an op on this node has to be recorded; -1 if there is none."""
    cdef State state
    cdef PyObject *other = states
    if owner_of(node) == mine.owner != ANYONE:
        return -1
    while other != NULL:
        state = <State>other
        if state is not mine and state.wants(<Node>node, mine.horizon):
            return owner_of(node)
        other = state.next
    return -1


cdef bint is_live_elsewhere(NodePtr node):
    """Whether another thread differentiates with respect to what this node depends on.

    What depends on variables only does not count: this thread may use them for something else.
    """
    cdef State mine = current()
    return is_busy_elsewhere(mine) and owner_elsewhere(mine, node) > ANYONE


cdef int owner_among(State mine, Operand *operands, int n):
    """The number of the thread for which an op on these is recorded."""
    cdef int i, found, owner = -1
    for i in range(n):
        if operands[i].node != NULL:
            found = owner_elsewhere(mine, operands[i].node)
            if found > ANYONE:
                return found
            owner = max(owner, found)
    return mine.owner if mine.recording or owner < 0 else owner


cdef list recorders_elsewhere():
    """Those of other threads that record."""
    cdef State mine = current(), state
    cdef Recorder recorder
    cdef PyObject *other = states
    cdef list found = []
    while other != NULL:
        state = <State>other
        if state is not mine:
            for recorder in state.recorders:
                if recorder.recording:
                    found.append(recorder)
        other = state.next
    return found


cdef list tracers_elsewhere():
    """The tracers of other threads."""
    cdef Recorder recorder
    if n_tracing == (current().tracer is not None):
        return NONE
    return [recorder for recorder in recorders_elsewhere() if recorder is recorder.state.tracer]


cdef Recorder tracer_of(NodePtr node):
    """The tracer, of whichever thread, whose program computes the value of a node; or None."""
    cdef State mine = current()
    cdef Recorder recorder
    if node == NULL:
        return None
    if mine.tracer is not None and mine.tracer.knows(node):
        return mine.tracer
    for recorder in tracers_elsewhere():
        if recorder.knows(node):
            return recorder
    return None


cdef class Recorder:
    """An interval of recording, with pauses: a node belongs to it by its sequence number."""

    def __cinit__(self):
        self.start = self.end = FOREVER

    cdef void enter(self):
        global entered, n_entered
        cdef State state = current()
        self.state = state
        self.alone = n_entered == 0
        n_entered += 1
        entered += 1
        self.entered = entered
        state.recorders.append(self)
        self.resume()
        state.floor = min(state.floor, self.start)

    cdef void leave(self):
        global n_entered
        cdef State state = self.state
        cdef Recorder other
        self.pause()
        n_entered -= 1
        state.recorders.remove(self)
        state.floor = FOREVER
        for other in state.recorders:
            state.floor = min(state.floor, other.start)

    cdef bint had_all(self) noexcept:
        """Whether no recorder of any thread but this one has seen its nodes."""
        return self.alone and self.entered == entered

    cdef void resume(self):
        global n_recording
        if self.start == FOREVER:
            self.start = now()
        else:
            if self.pauses is None:
                self.pauses = []
            self.pauses.append((self.end, now()))
        self.end = FOREVER
        self.recording = True
        self.state.recording += 1
        self.state.n_recording += 1
        n_recording += 1

    cdef void pause(self):
        global n_recording
        if self.recording:
            self.end = now()
            self.recording = False
            self.state.recording -= 1
            self.state.n_recording -= 1
            n_recording -= 1

    cdef bint sees(self, Node node) noexcept:
        if not self.start <= node.seq < self.end:
            return False
        if self.pauses is not None:
            for start, end in self.pauses:
                if start <= node.seq < end:
                    return False
        return True

    cdef bint shares(self, Node leaf):
        """Whether this is a leaf that anyone may have, and this recorder wants to know of ops on it."""
        return False

    cdef bint is_source(self, Node node) except -1:
        """Whether there may be derivatives with respect to this node.

        A transform's are aliases, made since it began, or leaves; but not what a program has for inputs.
        """
        cdef Recorder recorder
        if node.op != NULL:
            return op_of(node).is_alias and self.sees(node)
        for recorder in self.state.recorders:
            if recorder.knows(<NodePtr>node):
                return False
        return True

    cdef bint watches(self, Node node) except -1:
        """Whether a source is this node, or lies below it."""
        cdef list stack
        cdef set seen
        cdef Input *inputs
        cdef int i
        if self.is_source(node):
            return True
        stack, seen = [node], set()
        while stack:
            node = stack.pop()
            if self.is_source(node):
                return True
            if node.op == NULL or op_of(node).nondifferentiable or node in seen or not self.sees(node):
                continue
            seen.add(node)
            inputs = inputs_of(<NodePtr>node)
            for i in range(node.n):
                if inputs[i].node != NULL:
                    stack.append(<Node>inputs[i].node)
        return False

    cdef int keep_rule(self, Op op, object rule) except -1:
        """Keep the object that an op's rule belongs to, for as long as there are both the op and this recorder."""
        if self.rules is None:
            self.rules = WeakKeyDictionary()
        self.rules[op] = rule
        return 0

    cdef void access(self, object variable):
        """A variable has been read while this recorder was open."""

    # What follows is for the thread's tracer, which `compiler.tracing.tracer` has.

    cdef int note(self, Node node, Op op, Operand *operands, int n, object params, Operand *output) except -1:
        """This op has been recorded."""

    cdef int note_pick(self, Node pick, Node node, int k) except -1:
        """`pick` stands for output k of an op with several."""

    cdef bint knows(self, NodePtr node) noexcept:
        """Whether the node's value depends on the inputs of the program."""

    cdef int guard(self, NodePtr node, str kind, object answer) except -1:
        """Python has been given this answer about the value of a node."""

    cdef int escape(self, NodePtr node, str what) except -1:
        """The value of a node has been handed out and cannot be followed any further."""

    cdef int fail(self, NodePtr node) except -1:
        """An op on the value of a node has raised."""

    cdef object read(self, object variable, object snapshot):
        """What ops see of a variable."""

    cdef object lift_constant(self, object value):
        """An Array of an ndarray that is a constant of the program, ops on which belong to the program too."""


cdef class Level:
    """One forward differentiation under way; tangents carry its tag."""

    cdef void enter(self):
        global last_level, n_levels
        if self.tag == 0:
            last_level += 1
            self.tag = last_level
        n_levels += 1
        self.start = now()
        self.state = current()
        self.state.levels.append(self)

    cdef void leave(self):
        global n_levels
        n_levels -= 1
        self.state.levels.remove(self)


cdef Level find_level(State mine, long tag):
    """The open level of a tag, of this thread or another: the value that carries the tag was made for it."""
    cdef PyObject *other = states
    cdef Level level
    for level in mine.levels:
        if level.tag == tag:
            return level
    if n_levels != len(mine.levels):
        while other != NULL:
            for level in (<State>other).levels:
                if level.tag == tag:
                    return level
            other = (<State>other).next
    return None


cdef set open_levels():
    """The tags of the levels that are open now, in all threads."""
    cdef PyObject *other = states
    cdef set found = set()
    while other != NULL:
        found.update([level.tag for level in (<State>other).levels])
        other = (<State>other).next
    return found


cdef bint is_level_live(State mine, long tag):
    """Whether a value with this tag is being differentiated, for all that this thread knows.

    An accumulator gives tangents to values that other threads may use for something else.
    """
    cdef Level level
    if tag < FIRST_LEVEL:
        return True
    level = find_level(mine, tag)
    return level is not None and (level.state is mine or level.private)


cdef int recording_outside(State state, Level level):
    """How many recorders record that were opened before the level."""
    cdef Recorder recorder
    cdef int count = 0
    for recorder in state.recorders:
        count += recorder.recording and recorder.start < level.start
    return count


# -- ops -----------------------------------------------------------------------------------

@cython.final
cdef class Op:
    """One entry of the table, in the shape the core works with.

    `fn(*values, *params)` computes on raw values. An elementwise op has `partials`, one for
    each input: a number, or a callable of `(*inputs, output)`. Every other form has
    `jvp(x_dots, xs, y, params)` and `vjp(i, y_bar, xs, y, params)`. `needs[i]` tells which
    values the cotangent of input i needs: bit k for input k, bit 31 for the output. `dots` are the
    inputs whose partial is itself a (co)tangent. A reduction may have `fold`, the ufunc and its
    neutral element, for the case that reduces to one number.
    """

    def __init__(self, name, form, fn, *, partials=(), jvp=None, vjp=None, needs=(0,),
                 parameters=(), outputs=1, fold=None, dots=()):
        cdef int i
        self.name, self.form, self.fn = name, form, fn
        self.partials, self.jvp, self.vjp = tuple(partials), jvp, vjp
        self.elementwise, self.nondifferentiable = form == "elementwise", form == "nondifferentiable"
        self.arity = len(self.partials)
        self.parameters, self.outputs = tuple(parameters), outputs
        for i in range(8):
            self.needs[i] = needs[min(i, len(needs) - 1)]
        for i, partial in enumerate(self.partials[:2]):
            self.constant[i] = isinstance(partial, (int, float))
            self.factor[i] = partial if self.constant[i] else 0
        for i in dots:
            self.dots |= 1 << i
        find_loop(fn, &self.loop)
        find_loop(None if fold is None else fold[0], &self.reduction_loop)
        self.reduction_identity = 0 if fold is None else fold[1]

    def set_power(self, exponent=None, radicand=None, carry=None):
        """Say of what the op computes a power: see `ops/forms.py`."""
        self.radicand, self.carry = radicand, carry
        if isinstance(exponent, str):
            self.power = {"operand": BY_OPERAND, "itself": BY_ITSELF}[exponent]
        elif exponent:
            self.power, self.exponent = FIXED, exponent
        elif radicand is not None:
            self.power = BY_RADICAND
        elif carry is not None:
            self.power = CARRIES

    def set_joins(self):
        """Say that the two operands are one value, computed in two ways: see `engine.powers`."""
        self.joins = True

    def needs_of(self, int i):
        """The values that the rule of input i needs, as bits: see `needs`."""
        return self.needs[min(max(i, 0), 7)]

    def __repr__(self):
        return f"<ad op {self.name}>"

    def __getattr__(self, name):
        # pickle knows a built-in function as an attribute of what it is bound to
        if self.public is None or name != self.name:
            raise AttributeError(f"{self!r} has no attribute {name!r}")
        return self.public[2]

    def __reduce__(self):
        if self.public is None:
            raise TypeError(f"ad: cannot pickle {self!r}")
        return op_named, (self.name,)


def op_named(str name):
    """The op of an entry of the table."""
    from ad.ops.table import TABLE

    if name not in TABLE:
        import_module("ad.ops.special")
    return TABLE[name].op


@cython.nonecheck(True)
def bind_natives(list ops):
    """Give elementwise ops of the table the native kernels that have their names."""
    cdef Op op
    for op in ops:
        encoded = op.name.encode()
        op.native = find_native(encoded)
        if op.native != NULL and op.native.loop != NULL:
            op.numpy_loop = op.loop
            op.loop.run, op.loop.data = op.native.loop, &op.numpy_loop


def keep_rule(Op op, rule):
    """Keep the object that the rule of `op` belongs to in the recorders that see the op, and nowhere else.

    Nodes and Arrays are not tracked by the garbage collector. If a node owned the rule of `custom_gradient`, then a
    function that keeps its own result would never be freed. A recorder is tracked, and no sweep outlives it.
    """
    cdef Recorder recorder
    for recorder in current().recorders:
        if recorder.recording:
            recorder.keep_rule(op, rule)
    for recorder in recorders_elsewhere():  # another thread may have started this one
        recorder.keep_rule(op, rule)


cdef Op PICK = Op("pick", "pick", None, outputs=1)


# -- nodes ---------------------------------------------------------------------------------

@cython.final
cdef class Aval:
    """What is known of a value that was dropped: its shape and dtype."""

    def __init__(self, tuple shape, dtype=FLOAT64_DTYPE):
        self.shape = shape
        self.dtype = np.dtype(dtype)

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def size(self):
        size = 1
        for n in self.shape:
            size *= n
        return size

    def __repr__(self):
        return f"Aval(shape={self.shape}, dtype={self.dtype})"


cdef inline void forget(Content *value, uint8_t kind) noexcept:
    if kind == ARRAY:
        release_to_pool(value.object)
        Py_DECREF(<object>value.object)
    elif kind == SHAPE:
        Py_DECREF(<object>value.object)


cdef void forget_values(NodePtr node) noexcept:
    """Let go of what a node keeps for its sweep."""
    cdef Input *inputs = inputs_of(node)
    cdef uint8_t *kinds = kinds_of(node)
    cdef int i
    for i in range((<Node>node).n):
        forget(&inputs[i].value, kinds[i])
        kinds[i] = NOTHING
    forget(&(<Node>node).output, (<Node>node).output_kind)
    (<Node>node).output_kind = NOTHING


# Nodes whose last holder is going wait here, so that a chain of a million of them is freed in
# a loop and not by recursion.
cdef PyObject **dying = NULL
cdef size_t n_dying = 0, dying_room = 0
cdef bint burying = False


cdef bint enlarge_dying() noexcept:
    global dying, dying_room
    cdef size_t room = max(<size_t>1024, 2 * dying_room)
    cdef PyObject **larger = <PyObject **>PyMem_Realloc(dying, room * sizeof(PyObject *))
    if larger == NULL:
        return False
    dying, dying_room = larger, room
    return True


cdef inline void release(PyObject *node) noexcept:
    """Give up a reference; if it was the last, the outermost `__dealloc__` frees the node.

    Where there is no memory for the list, the node is freed here, by recursion.
    """
    global n_dying
    if node.ob_refcnt == 1 and (n_dying < dying_room or enlarge_dying()):
        dying[n_dying] = node
        n_dying += 1
    else:
        Py_DECREF(<object>node)


@cython.no_gc
cdef class Node:
    """One recorded op: what a sweep needs of it, and what running it again needs."""


@cython.final
@cython.no_gc
cdef class TangentNode(Node):
    """A node whose inputs carried tangents, which its sweep must carry on."""


cdef destructor free_node = (<PyTypeObject *>Node).tp_dealloc
cdef destructor free_tangent_node = (<PyTypeObject *>TangentNode).tp_dealloc

# Nodes come and go with every op. Those given back last wait here as they are, which is cheaper
# than Cython's own free lists: nothing is cleared twice.
cdef enum:
    SPARE = 4096
cdef PyObject *spare_nodes[4096]
cdef int n_spare_nodes = 0


cdef void dealloc_node(NodePtr node) noexcept:
    """Let go of what a node holds, without recursion into its inputs.

    It stands in the type's slot itself, since a `__dealloc__` costs as much again as all this.
    """
    global burying, n_dying, n_spare_nodes, nodes_alive
    cdef bint outermost = not burying
    cdef Input *inputs = inputs_of(node)
    cdef uint8_t *kinds = kinds_of(node)
    cdef int i
    burying = True
    for i in range((<Node>node).n):
        forget(&inputs[i].value, kinds[i])
        if inputs[i].node != NULL:
            release(inputs[i].node)
    forget(&(<Node>node).output, (<Node>node).output_kind)
    Py_XDECREF((<Node>node).op)
    Py_XDECREF((<Node>node).params)
    if (<Node>node).n > 2:
        PyMem_Free(inputs)
    if DEBUG:
        nodes_alive -= 1
    if type(<object>node) is TangentNode:
        free_tangent_node(node)
    elif n_spare_nodes < SPARE:
        spare_nodes[n_spare_nodes] = node
        n_spare_nodes += 1
    else:
        free_node(node)
    if outermost:
        while n_dying:
            n_dying -= 1
            Py_DECREF(<object>dying[n_dying])
        burying = False


(<PyTypeObject *>Node).tp_dealloc = dealloc_node
(<PyTypeObject *>TangentNode).tp_dealloc = dealloc_node


cdef tuple tangents_of(Node node):
    return (<TangentNode>node).tangents if type(node) is TangentNode else None


cdef inline Node new_node(bint has_tangents):
    """A node with no op and no inputs; its caller sets all else that it uses."""
    global n_spare_nodes, nodes_alive
    cdef NodePtr node
    if DEBUG:
        nodes_alive += 1
    if has_tangents:
        return TangentNode.__new__(TangentNode)
    if n_spare_nodes == 0:
        return Node.__new__(Node)
    n_spare_nodes -= 1
    node = spare_nodes[n_spare_nodes]
    node.ob_refcnt = 0  # the cast below counts the first reference
    (<Node>node).op = (<Node>node).params = NULL
    (<Node>node).n = 0
    (<Node>node).narrow[0].node = (<Node>node).narrow[1].node = NULL
    (<Node>node).kinds[0] = (<Node>node).kinds[1] = (<Node>node).output_kind = NOTHING
    return <Node>node


cdef object raw(Operand *operand):
    """The operand as NumPy takes it; a Python number stays weak in promotion."""
    return FLOAT64_TYPE(operand.x) if operand.value == NULL else <object>operand.value


cdef Node new_leaf(bint shared=False):
    """A node of no op; `shared` if it belongs to a value that any thread may use."""
    cdef Node node = new_node(False)
    node.seq = FOREVER | (ANYONE if shared else current().owner)
    return node


cdef Saved dropped(Operand *operand):
    """What is kept of a value whose cotangent needs its shape and dtype only."""
    cdef Saved saved
    cdef PyObject *array = operand.value
    if operand.kind == SCALAR:
        saved.kind = SHAPE_SCALAR
    elif cnp.PyArray_NDIM(<cnp.ndarray>array) == 1 and is_contiguous(array):
        saved.kind = SHAPE_VECTOR
        saved.of.n = cnp.PyArray_DIM(<cnp.ndarray>array, 0)
    else:
        aval = Aval((<object>array).shape, (<object>array).dtype)
        Py_INCREF(aval)
        saved.kind = SHAPE
        saved.of.object = <PyObject *>aval
    return saved


cdef inline Saved kept(Operand *operand) noexcept:
    cdef Saved saved
    saved.kind = operand.kind
    if operand.kind == SCALAR:
        saved.of.x = operand.x
    else:
        saved.of.object = operand.value
        Py_INCREF(<object>operand.value)
    return saved


cdef inline bint same_aval(Operand *a, Operand *b) noexcept:
    cdef int i, nd
    if a.kind == SCALAR or b.kind == SCALAR:
        return a.kind == b.kind
    nd = cnp.PyArray_NDIM(<cnp.ndarray>a.value)
    if (nd != cnp.PyArray_NDIM(<cnp.ndarray>b.value)
            or cnp.PyArray_TYPE(<cnp.ndarray>a.value) != cnp.PyArray_TYPE(<cnp.ndarray>b.value)):
        return False
    for i in range(nd):
        if (cnp.PyArray_DIM(<cnp.ndarray>a.value, i)
                != cnp.PyArray_DIM(<cnp.ndarray>b.value, i)):
            return False
    return True


cdef inline bint is_recorded(State mine, Operand *operand):
    """Whether a recorder is to see an op on this operand."""
    if operand.node == NULL:
        return False
    if mine.recording and (<Node>operand.node).seq >= mine.floor:
        return True
    return is_busy_elsewhere(mine) and owner_elsewhere(mine, operand.node) >= 0


cdef inline bint is_any_recorded(State mine, Operand *operands, int n):
    cdef int i
    for i in range(n):
        if is_recorded(mine, &operands[i]):
            return True
    return False


cdef inline uint64_t owner_for(State mine, Operand *operands, int n):
    """Whose node an op on these gets."""
    return owner_among(mine, operands, n) if is_busy_elsewhere(mine) else mine.owner


cdef inline Node begin(Op op, int n, bint has_tangents, uint64_t owner):
    """A node without values, which can be freed as it is: what follows may be interrupted."""
    cdef Node node = new_node(has_tangents)
    if n > 2:
        node.narrow[0].node = <PyObject *>PyMem_Calloc(n, sizeof(Input) + 1)
        if node.narrow[0].node == NULL:
            raise MemoryError
    Py_INCREF(op)
    node.op = <PyObject *>op
    node.seq = now() | owner
    node.n = n
    return node


cdef Node traced(State mine, Op op, Operand *operands, int n, object params, Operand *output):
    """A node for the tracer alone: no sweep will come to it, so it keeps nothing."""
    cdef Node node = new_node(False)
    node.seq = now() | mine.owner
    mine.tracer.note(node, op, operands, n, params, output)
    return node


cdef int tell_tracers(State mine, Node node, Op op, Operand *operands, int n, object params, Operand *output) except -1:
    """Tell the tracers of all threads of an op: a program has it if it computes an operand."""
    cdef Recorder recorder
    if mine.tracer is not None:
        mine.tracer.note(node, op, operands, n, params, output)
    for recorder in tracers_elsewhere():
        recorder.note(node, op, operands, n, params, output)
    return 0


cdef Node make_node(Op op, Operand *operands, int n, object params, Operand *output, bint has_tangents):
    """A node for this op, which keeps only the values that its rule will need; None if no recorder is to see it."""
    cdef Node node
    cdef Input *inputs
    cdef uint8_t *kinds
    cdef uint32_t needs = 0
    cdef Saved saved
    cdef int i
    cdef State mine
    if n_recording == 0:
        return None
    mine = here()
    if not is_any_recorded(mine, operands, n):
        return None
    if mine.tracer is not None or is_busy_elsewhere(mine):
        if mine.recording == 1 and not has_tangents and not is_busy_elsewhere(mine):
            return traced(mine, op, operands, n, params, output)
        node = begin(op, n, has_tangents, owner_for(mine, operands, n))
        tell_tracers(mine, node, op, operands, n, params, output)
    else:
        node = begin(op, n, has_tangents, mine.owner)
    inputs = inputs_of(<NodePtr>node)
    kinds = kinds_of(<NodePtr>node)
    if params is not None:
        Py_INCREF(params)
        node.params = <PyObject *>params
    for i in range(n):
        if is_recorded(mine, &operands[i]):
            inputs[i].node = operands[i].node
            Py_INCREF(<object>operands[i].node)
            needs |= op.needs[i if i < 7 else 7]
        elif operands[i].tangents != NULL:  # a sweep finds the output's tangents anew, by this input's rule too
            needs |= op.needs[i if i < 7 else 7]
    node.broadcast = broadcast_class(op, n, inputs, operands, output)
    for i in range(n):
        if inputs[i].node == NULL or needs >> i & 1:
            saved = kept(&operands[i])
        elif node.broadcast == BROADCASTS:
            saved = dropped(&operands[i])
        else:
            continue
        inputs[i].value = saved.of
        kinds[i] = saved.kind
    if needs & OUTPUT_NEEDED:
        saved = kept(output)
    elif node.broadcast == BROADCASTS and op.outputs == 1:
        saved = dropped(output)
    else:
        return node
    node.output = saved.of
    node.output_kind = saved.kind
    return node


cdef Node make_scalar_node(Op op, Operand *operands, int n, double y):
    """`make_node` for an elementwise op on float64 scalars: every value is kept, it costs nothing."""
    cdef Node node
    cdef bint first, second
    cdef State mine
    if n_recording == 0:
        return None
    mine = here()
    first, second = is_recorded(mine, &operands[0]), n == 2 and is_recorded(mine, &operands[1])
    if not (first or second):
        return None
    node = begin(op, n, False, owner_for(mine, operands, n))
    node.broadcast = SCALARS
    node.output_kind = node.kinds[0] = node.kinds[1] = SCALAR
    node.output.x = y
    node.narrow[0].value.x = operands[0].x
    if first:
        node.narrow[0].node = operands[0].node
        Py_INCREF(<object>operands[0].node)
    if n == 2:
        node.narrow[1].value.x = operands[1].x
        if second:
            node.narrow[1].node = operands[1].node
            Py_INCREF(<object>operands[1].node)
    if mine.tracer is not None or is_busy_elsewhere(mine):
        tell_numbers(mine, node, op, operands, n, y)
    return node


cdef int tell_numbers(State mine, Node node, Op op, Operand *operands, int n, double y) except -1:
    """`tell_tracers` of an elementwise op on float64 scalars."""
    cdef Operand output
    output.kind, output.x, output.value = SCALAR, y, NULL
    hold(operands, n)
    try:
        return tell_tracers(mine, node, op, operands, n, None, &output)
    finally:
        let_go(operands, n)


cdef inline BroadcastClass broadcast_class(Op op, int n, Input *inputs, Operand *operands, Operand *output) noexcept:
    cdef int i
    if not op.elementwise:
        return BROADCASTS
    for i in range(n):
        if (operands[i].kind == SCALAR and inputs[i].node == NULL and operands[i].tangents == NULL
                and output.kind == ARRAY):
            continue
        if not same_aval(&operands[i], output):
            return BROADCASTS
    return SAME_AVAL if output.kind == ARRAY else SCALARS


cdef tuple shape_of(Saved saved):
    if saved.kind == SCALAR or saved.kind == SHAPE_SCALAR:
        return ()
    if saved.kind == SHAPE_VECTOR:
        return (saved.of.n,)
    return (<object>saved.of.object).shape


cdef Node new_pick(Node node, int k):
    """Output k of a node with several: a node whose input is that node."""
    cdef Recorder recorder
    cdef State mine = current()
    cdef Node pick = new_node(False)
    Py_INCREF(PICK)
    pick.op = <PyObject *>PICK
    params = (k,)
    Py_INCREF(params)
    pick.params = <PyObject *>params
    pick.seq = now() | owner_of(<NodePtr>node)
    pick.n = 1
    pick.narrow[0].node = <PyObject *>node
    Py_INCREF(node)
    if mine.tracer is not None:
        mine.tracer.note_pick(pick, node, k)
    for recorder in tracers_elsewhere():
        recorder.note_pick(pick, node, k)
    return pick


current()  # of the main context, which others are copied from: so that a coroutine never has the only one
