"""What each thread records and differentiates, and the making of nodes.

A `Recorder` is an interval of recording, a `Level` one forward differentiation under way; a `State` has those that are
open in one thread. An op becomes a node if some recorder of any thread is to see it.
"""
from cpython.mem cimport PyMem_Calloc
from cpython.ref cimport Py_INCREF
from libc.stdint cimport UINT64_MAX, uint8_t, uint32_t

cimport numpy as cnp
from ad.engine.graph cimport Aval, Input, PICK, hold, inputs_of, kinds_of, let_go, new_node, op_of
from ad.engine.pool cimport is_contiguous
from ad.engine.types cimport (
    ARRAY, BROADCASTS, BroadcastClass, SAME_AVAL, SCALAR, SCALARS, SHAPE, SHAPE_SCALAR, SHAPE_VECTOR, Saved,
)

from contextvars import ContextVar, copy_context
from weakref import WeakKeyDictionary

cnp.import_array()

cdef extern from "Python.h":
    PyObject *PyThreadState_GetDict()
    unsigned long PyThread_get_thread_ident()

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
    """
    PyObject *ad_state    # of the thread, and of the context that it is in
    PyObject *ad_context  # borrowed; that a later one may have its address does no harm
    PyObject *ad_context_now()

# The low bits of a sequence number are the number of a thread, the owner; so moments are multiples of `MOMENT`.
cdef uint64_t FOREVER = UINT64_MAX - (MOMENT - 1)
cdef uint64_t clock = MOMENT
cdef uint32_t OUTPUT_NEEDED = <uint32_t>1 << 31
cdef long last_level = FIRST_LEVEL


# -- what a thread is doing ----------------------------------------------------------------

# Coroutines take turns in one thread, each in its own context. Where this module says "thread", it means a context.
cdef object STATE = ContextVar("ad.state")

cdef list NONE = []
cdef uint64_t n_owners = 1    # owner numbers from here on have never been given out
cdef list free_owners = []    # smaller numbers whose threads are gone
cdef PyObject *states = NULL  # the states of all threads, borrowed: a list linked by `next`
cdef int n_states = 0
cdef int n_recording = 0
cdef int n_entered = 0        # recorders that are open now, in all threads
cdef uint64_t entered = 0     # how many recorders have been opened so far, in all threads
cdef int n_levels = 0         # forward levels that are open now, in all threads
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
        if ad_state == <PyObject *>self:  # a thread that C code made may come back with another thread state
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
        """Whether this is the state of `context`, or of one that it was copied from inside a derivative."""
        if self.context == context:
            return True
        return self.thread == PyThread_get_thread_ident() and (len(self.recorders) > 0 or len(self.levels) > 0)

    cdef void trace(self, Recorder tracer):
        """Set the tracer of this thread, or remove it with None."""
        global n_tracing
        n_tracing += (tracer is not None) - (self.tracer is not None)
        self.tracer = tracer

    cdef bint wants(self, Node node, uint64_t horizon):
        """Whether an op on this node that another thread runs has to be recorded for this thread."""
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
    """Return an owner number for a thread, or `ANYONE` if there is no number left."""
    global n_owners
    if free_owners:
        return free_owners.pop()
    if n_owners == MOMENT:
        return ANYONE
    n_owners += 1
    return n_owners - 1


cdef inline State here():
    """Return what `current` does, for callers that open nothing: while there is one state alone, it is that."""
    if ad_state == NULL or n_states > 1 and ad_context_now() != ad_context:
        switch()
    return <State>ad_state


cdef State current():
    """Return the state of the thread that runs."""
    if ad_state == NULL or ad_context_now() != ad_context:
        switch()
    return <State>ad_state


cdef int switch() except -1:
    """Make the state of the context that the thread is in now the current one.

    A copied context has the state of the context that it was copied from, and keeps it while a recorder or a level is
    open there: a coroutine that was started inside a tape is recorded by that tape. Each thread needs its own state,
    because an op changes it while it runs.
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


def call_apart(f, xs, params):
    """Return f(*xs, **params), called where the recorders and levels of this thread are those of another thread.

    What `f` differentiates is then of no concern to them, and gives plain values. A value that `f` captures and that
    they follow is followed there too: it cannot become a constant unnoticed.
    """
    cdef State state = current()
    if not state.recorders and not state.levels:
        return f(*xs, **params)
    return copy_context().run(_call_in_new_state, f, xs, params)


def _call_in_new_state(f, xs, params):
    STATE.set(None)  # of this context alone; the first use of it makes one
    return f(*xs, **params)


cdef dict unjoined = {}


cdef inline int join_since(State state, uint64_t since) except -1:
    """Join elements that were written since then: what saw their ops sees no others soon."""
    if unjoined:
        join_unjoined(state, since)
    return 0


cdef uint64_t moment_of(State state) noexcept:
    """Return the moment of the last node or interval, with the number of a thread."""
    return clock | state.owner


cdef uint64_t now() noexcept:
    """Return a new moment, later than the sequence number of every node so far."""
    global clock
    clock += MOMENT
    return clock


# -- what other threads are doing ------------------------------------------------------------

# A function that one thread differentiates may have its ops run by another thread, even by one that was started before.
# The operands tell who wants them: a node has the number of the thread that it was made for, and each thread's
# recorders say whether they are still open. So an op on a node of another thread is recorded for that thread.

cdef void share_leaf(Node leaf) noexcept:
    """Mark a leaf of another thread as anyone's: that thread may use its value for something else."""
    if owner_of(<NodePtr>leaf) != current().owner:
        leaf.seq = FOREVER | ANYONE


cdef int owner_elsewhere(State mine, NodePtr node):
    """Return the number of the other thread that an op on this node has to be recorded for; -1 if there is none."""
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

    A node that depends on variables alone does not count: this thread may use them for something else.
    """
    cdef State mine = current()
    return is_busy_elsewhere(mine) and owner_elsewhere(mine, node) > ANYONE


cdef int owner_among(State mine, Operand *operands, int n):
    """Return the number of the thread that an op on these operands is recorded for."""
    cdef int i, found, owner = -1
    for i in range(n):
        if operands[i].node != NULL:
            found = owner_elsewhere(mine, operands[i].node)
            if found > ANYONE:
                return found
            owner = max(owner, found)
    return mine.owner if mine.recording or owner < 0 else owner


cdef list recorders_elsewhere():
    """Return the recorders of other threads that record now."""
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
    """Return the tracers of other threads."""
    cdef Recorder recorder
    if n_tracing == (current().tracer is not None):
        return NONE
    return [recorder for recorder in recorders_elsewhere() if recorder is recorder.state.tracer]


cdef Recorder tracer_of(NodePtr node):
    """Return the tracer, of any thread, whose program computes the value of a node; or None."""
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


cdef int tell_failure(Operand *operands, int n) except -1:
    """Tell the program that is being recorded, if any, that an op raised: on other values it may not."""
    cdef Recorder tracer
    cdef int i
    for i in range(n):
        tracer = tracer_of(operands[i].node)
        if tracer is not None:
            tracer.fail(operands[i].node)
    return 0


cdef class Recorder:
    """An interval of recording, with pauses. The nodes whose sequence numbers lie in it belong to it."""

    def __cinit__(self):
        self.start = self.end = FOREVER

    cdef void enter(self):
        """Begin to record in this thread."""
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
        """End recording; the recorder is no longer open."""
        try:
            self.pause()
        finally:
            self.shut()

    cdef void shut(self):
        global n_entered
        cdef State state = self.state
        cdef Recorder other
        n_entered -= 1
        state.recorders.remove(self)
        state.floor = FOREVER
        for other in state.recorders:
            state.floor = min(state.floor, other.start)

    cdef bint had_all(self) noexcept:
        """Whether no other recorder, of any thread, has seen the nodes of this one."""
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
        if self.recording:
            try:
                join_since(self.state, self.start)
            finally:
                self.stop()

    cdef void stop(self):
        global n_recording
        if self.recording:
            self.end = now()
            self.recording = False
            self.state.recording -= 1
            self.state.n_recording -= 1
            n_recording -= 1

    cdef bint sees(self, Node node) noexcept:
        """Whether a node was made while this recorder recorded."""
        if not self.start <= node.seq < self.end:
            return False
        if self.pauses is not None:
            for start, end in self.pauses:
                if start <= node.seq < end:
                    return False
        return True

    cdef bint shares(self, Node leaf):
        """Whether this recorder wants ops on a leaf that belongs to no thread."""
        return False

    cdef bint is_source(self, Node node) except -1:
        """Whether there may be derivatives with respect to this node.

        The sources of a transform are aliases that were made since it began, or leaves, but not a program's inputs.
        """
        cdef Recorder recorder
        if node.op != NULL:
            return op_of(node).is_alias and self.sees(node)
        for recorder in self.state.recorders:
            if recorder.knows(<NodePtr>node):
                return False
        return True

    cdef bint watches(self, Node node) except -1:
        """Whether this node is a source, or depends on one."""
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
        """Keep the object that owns an op's rule for as long as both the op and this recorder exist."""
        if self.rules is None:
            self.rules = WeakKeyDictionary()
        self.rules[op] = rule
        return 0

    cdef void access(self, object variable):
        """Note that a variable was read while this recorder was open."""

    # Only the tracer, a Recorder of `compiler.tracing.tracer`, does anything in the methods below.

    cdef int note(self, Node node, Op op, Operand *operands, int n, object params, Operand *output) except -1:
        """Note that an op was recorded."""

    cdef int note_pick(self, Node pick, Node node, int k) except -1:
        """Note that `pick` stands for output k of an op with several outputs."""

    cdef bint knows(self, NodePtr node) noexcept:
        """Whether the node's value depends on the inputs of the program."""

    cdef int guard(self, NodePtr node, str kind, object answer) except -1:
        """Note that Python was given this answer about the value of a node."""

    cdef int escape(self, NodePtr node, str what) except -1:
        """Note that the value of a node was handed out and cannot be followed any further."""

    cdef int fail(self, NodePtr node) except -1:
        """Note that an op on the value of a node raised."""

    cdef object read(self, object variable, object snapshot):
        """Return the Array that ops see in place of a variable."""

    cdef object lift_constant(self, object value):
        """Return an Array of an ndarray that is a constant of the program, so that ops on it belong to the program."""


cdef class Level:
    """One forward differentiation that is under way; its tangents carry its tag."""

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
        try:
            join_since(self.state, self.start)
        finally:
            n_levels -= 1
            self.state.levels.remove(self)


cdef Level find_level(State mine, long tag):
    """Return the open level with this tag, of this thread or another one; None if there is none."""
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
    """Return the tags of the levels that are open now, in all threads."""
    cdef PyObject *other = states
    cdef set found = set()
    while other != NULL:
        found.update([level.tag for level in (<State>other).levels])
        other = (<State>other).next
    return found


cdef bint is_level_live(State mine, long tag):
    """Whether a value with this tag is being differentiated, as far as this thread knows.

    A level of another thread counts only if it is private: an accumulator gives tangents to values that this thread
    may use for something else.
    """
    cdef Level level
    if tag < FIRST_LEVEL:
        return True
    level = find_level(mine, tag)
    return level is not None and (level.state is mine or level.private)


cdef int recording_outside(State state, Level level):
    """Return the number of recorders that record and were opened before the level."""
    cdef Recorder recorder
    cdef int count = 0
    for recorder in state.recorders:
        count += recorder.recording and recorder.start < level.start
    return count


def keep_rule(Op op, rule):
    """Keep the object that owns the rule of `op` in the recorders that see the op, and nowhere else.

    The garbage collector does not track nodes and Arrays. If a node owned the rule of `custom_gradient`, a function
    that keeps its own result would never be freed. It does track recorders, and no sweep outlives its recorder.
    """
    cdef Recorder recorder
    for recorder in current().recorders:
        if recorder.recording:
            recorder.keep_rule(op, rule)
    for recorder in recorders_elsewhere():  # another thread may have started this one
        recorder.keep_rule(op, rule)


# -- nodes ---------------------------------------------------------------------------------

cdef Node new_leaf(bint shared=False):
    """Return a node without an op; `shared` if any thread may use its value."""
    cdef Node node = new_node(False)
    node.seq = FOREVER | (ANYONE if shared else current().owner)
    return node


cdef Saved dropped(Operand *operand):
    """Return what is kept of a value whose cotangent needs only its shape and dtype."""
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
    """Return a value with a reference of its own."""
    cdef Saved saved
    saved.kind = operand.kind
    if operand.kind == SCALAR:
        saved.of.x = operand.x
    else:
        saved.of.object = operand.value
        Py_INCREF(<object>operand.value)
    return saved


cdef inline bint same_aval(Operand *a, Operand *b) noexcept:
    """Whether two operands have the same shape and dtype."""
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
    """Return the number of the thread that a node for an op on these operands belongs to."""
    return owner_among(mine, operands, n) if is_busy_elsewhere(mine) else mine.owner


cdef inline Node begin(Op op, int n, bint has_tangents, uint64_t owner):
    """Return a node without values. It can be freed as it is, so the steps that fill it in may be interrupted."""
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
    """Return a node for the tracer alone; no sweep will use it, so it keeps no values."""
    cdef Node node = new_node(False)
    node.seq = now() | mine.owner
    mine.tracer.note(node, op, operands, n, params, output)
    return node


cdef int tell_tracers(State mine, Node node, Op op, Operand *operands, int n, object params, Operand *output) except -1:
    """Tell the tracers of all threads about an op; a program that computes an operand records it."""
    cdef Recorder recorder
    if mine.tracer is not None:
        mine.tracer.note(node, op, operands, n, params, output)
    for recorder in tracers_elsewhere():
        recorder.note(node, op, operands, n, params, output)
    return 0


cdef inline uint32_t link_inputs(State mine, NodePtr node, Op op, Operand *operands, int n):
    """Link a node to the operands that are recorded; return the values that its rule will need, as bits."""
    cdef Input *inputs = inputs_of(node)
    cdef uint32_t needs = 0
    cdef int i
    for i in range(n):
        if is_recorded(mine, &operands[i]):
            inputs[i].node = operands[i].node
            Py_INCREF(<object>operands[i].node)
            needs |= op.needs[i if i < 7 else 7]
        elif operands[i].tangents != NULL:  # a sweep finds the output's tangents anew, by this input's rule too
            needs |= op.needs[i if i < 7 else 7]
    return needs


cdef inline int keep_inputs(NodePtr node, uint32_t needs, Operand *operands) except -1:
    """Keep constants and needed inputs; of other inputs the shapes, if they may differ from the output's."""
    cdef Input *inputs = inputs_of(node)
    cdef uint8_t *kinds = kinds_of(node)
    cdef Saved saved
    cdef int i
    for i in range((<Node>node).n):
        if inputs[i].node == NULL or needs >> i & 1:
            saved = kept(&operands[i])
        elif (<Node>node).broadcast == BROADCASTS:
            saved = dropped(&operands[i])
        else:
            continue
        inputs[i].value = saved.of
        kinds[i] = saved.kind
    return 0


cdef inline int keep_output(NodePtr node, Op op, uint32_t needs, Operand *output) except -1:
    """Keep the output if it is needed; else its shape, if the inputs' may differ from it."""
    cdef Saved saved
    if needs & OUTPUT_NEEDED:
        saved = kept(output)
    elif (<Node>node).broadcast == BROADCASTS and op.outputs == 1:
        saved = dropped(output)
    else:
        return 0
    (<Node>node).output = saved.of
    (<Node>node).output_kind = saved.kind
    return 0


cdef Node make_node(Op op, Operand *operands, int n, object params, Operand *output, bint has_tangents):
    """Return a node for an op, which keeps only what its rule will need; None if no recorder is to see it."""
    cdef Node node
    cdef uint32_t needs
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
    if params is not None:
        Py_INCREF(params)
        node.params = <PyObject *>params
    needs = link_inputs(mine, <NodePtr>node, op, operands, n)
    node.broadcast = broadcast_class(op, n, inputs_of(<NodePtr>node), operands, output)
    keep_inputs(<NodePtr>node, needs, operands)
    keep_output(<NodePtr>node, op, needs, output)
    return node


cdef Node make_scalar_node(Op op, Operand *operands, int n, double y):
    """`make_node` for an elementwise op on float64 scalars; it keeps every value, since that costs nothing."""
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
    """`tell_tracers` about an elementwise op on float64 scalars."""
    cdef Operand output
    output.kind, output.x, output.value = SCALAR, y, NULL
    hold(operands, n)
    try:
        return tell_tracers(mine, node, op, operands, n, None, &output)
    finally:
        let_go(operands, n)


cdef inline BroadcastClass broadcast_class(Op op, int n, Input *inputs, Operand *operands, Operand *output) noexcept:
    """Return how the operands of an op relate in shape to its output."""
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


cdef Node new_pick(Node node, int k):
    """Return a node for output k of a node with several outputs, which is its input."""
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


current()  # makes the main context's state, so that the state of a coroutine is never the only one (see `here`)
