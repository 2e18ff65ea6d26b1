"""Contract of recording: what each thread records and differentiates, and how nodes are made."""
from cpython.ref cimport PyObject
from libc.stdint cimport uint64_t

from ad.engine.graph cimport Node, NodePtr, Op
from ad.engine.types cimport Operand

cdef enum:
    # Tags below this one belong to `Dual`s, one for each depth of nesting; they are always live.
    FIRST_LEVEL = 16
    # The owner of nodes that belong to no single thread: those of variables and of values that a tape watches.
    ANYONE = 0
    # The number of owners; an owner's number is the low bits of a sequence number.
    MOMENT = 1 << 16


cdef class Recorder:
    cdef uint64_t start, end
    cdef State state                 # of the thread that entered it
    cdef bint alone                  # when it was entered, no other recorder was open in any thread
    cdef uint64_t entered            # how many recorders had been opened by then
    cdef list pauses                 # [(from, to), ...], or None
    cdef object rules                # op -> the object that its rule belongs to, or None: see `keep_rule`
    cdef object __weakref__
    cdef readonly bint recording
    cdef void enter(self)
    cdef void leave(self)
    cdef void resume(self)
    cdef void pause(self)
    cdef void shut(self)
    cdef void stop(self)
    cdef bint sees(self, Node node) noexcept
    cdef bint shares(self, Node leaf)
    cdef bint had_all(self) noexcept
    cdef bint is_source(self, Node node) except -1
    cdef bint watches(self, Node node) except -1
    cdef int keep_rule(self, Op op, object rule) except -1
    cdef void access(self, object variable)
    cdef int note(self, Node node, Op op, Operand *operands, int n, object params, Operand *output) except -1
    cdef int note_pick(self, Node pick, Node node, int k) except -1
    cdef bint knows(self, NodePtr node) noexcept
    cdef int guard(self, NodePtr node, str kind, object answer) except -1
    cdef int escape(self, NodePtr node, str what) except -1
    cdef int fail(self, NodePtr node) except -1
    cdef object read(self, object variable, object snapshot)
    cdef object lift_constant(self, object value)


cdef class Level:
    cdef readonly long tag
    cdef uint64_t start
    cdef State state                 # of the thread that entered it
    cdef bint private                # only the call that it differentiates has its tangents
    cdef void enter(self)
    cdef void leave(self)


cdef class State:
    cdef int recording               # recorders that record now, without those that do not see a tangent's ops
    cdef int n_recording             # all recorders that record now
    cdef uint64_t floor              # no open recorder has seen a node that is older than this
    cdef uint64_t horizon            # a recorder of another thread that began after this is not told of ops here
    cdef uint64_t owner              # the thread's number: the low bits of its nodes' sequence numbers
    cdef list recorders, levels
    cdef Recorder tracer             # the recorder that is told of every node, or None
    cdef str cut                     # how a value was last cut off from its derivatives, or None
    cdef object deferred             # the Deferred of `engine.deferred` whose values are not computed yet, or None
    cdef PyObject *next              # the next of all states, borrowed
    cdef PyObject *context           # the address of the context that it belongs to
    cdef unsigned long thread
    cdef bint wants(self, Node node, uint64_t horizon)
    cdef void trace(self, Recorder tracer)
    cdef bint serves(self, PyObject *context)

cdef uint64_t FOREVER                # the sequence number of leaves, later than that of any other node

cdef int n_tracing                   # the number of threads that have a tracer
cdef long last_level                 # the tag of the forward level that was entered last

cdef int n_recording                 # recorders that record now, in all threads

cdef inline bint is_busy_elsewhere(State mine) noexcept:
    """Whether a recorder of another thread records."""
    return n_recording != mine.n_recording

cdef inline uint64_t owner_of(NodePtr node) noexcept:
    """Return the number of the thread that a node was made for."""
    return (<Node>node).seq & (MOMENT - 1)

# Arrays with elements that wait to be joined, in the order of their last writes: address -> the moment of that write,
# with the thread's number.
cdef dict unjoined
cdef int (*join_unjoined)(State state, uint64_t since) except -1  # set by `engine.writing`

cdef State current()
cdef uint64_t now() noexcept
cdef uint64_t moment_of(State state) noexcept
cdef bint is_live_elsewhere(NodePtr node)
cdef list recorders_elsewhere()
cdef Recorder tracer_of(NodePtr node)
cdef int tell_failure(Operand *operands, int n) except -1
cdef void share_leaf(Node leaf) noexcept
cdef Level find_level(State state, long tag)
cdef set open_levels()
cdef bint is_level_live(State state, long tag)
cdef int recording_outside(State state, Level level)

cdef Node make_node(Op op, Operand *operands, int n, object params, Operand *output, bint has_tangents)
cdef Node make_scalar_node(Op op, Operand *operands, int n, double y)
cdef Node new_leaf(bint shared=*)
cdef Node new_pick(Node node, int k)
