"""Contract of the graph: what a thread is doing, ops, and the nodes that record them."""
from cpython.ref cimport PyObject, Py_XDECREF, Py_XINCREF
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from numpy cimport npy_intp

from ad.engine.kernels cimport Loop, Native

cdef enum:
    # Tags below this belong to `Dual`s, by depth of nesting; they are always live.
    FIRST_LEVEL = 16
    # The owner of what no thread has for itself: a variable, a value that a tape watches.
    ANYONE = 0
    # How many owners there may be: their numbers are the low bits of sequence numbers.
    MOMENT = 1 << 16

# What a Saved holds. The first three are values; the rest is what is left of a dropped value.
cdef enum Kind:
    NOTHING       # dropped, with the output's shape and dtype; or an empty slot
    SCALAR        # a float64 scalar
    ARRAY         # an ndarray; a tuple of values for an op with several outputs
    SHAPE_SCALAR  # dropped: a float64 scalar
    SHAPE_VECTOR  # dropped: float64, one-dimensional, of length n
    SHAPE         # dropped: an Aval
    BOXED         # an Array: a cotangent with a node or tangents of its own (sweeps only)

# How a node's operands relate in shape, which decides the kernels that can serve its sweep.
cdef enum BroadcastClass:
    BROADCASTS    # some operand broadcasts, or the op is not elementwise
    SAME_AVAL    # every operand has the output's shape and dtype, or is a constant number
    SCALARS  # every operand is a float64 scalar

# Whether an op computes a power of its first operand, and where the exponent comes from.
cdef enum Power:
    NO_POWER
    FIXED        # the op's own `exponent`
    BY_OPERAND   # the second operand, if it is a constant number
    BY_ITSELF    # 2, where both operands are one Array
    BY_RADICAND  # the op's `radicand` tells
    CARRIES      # it computes none, but a power of its output is that of its first operand, moved or scaled

cdef union Content:
    double x
    npy_intp n
    PyObject *object   # owned

cdef struct Saved:
    Content of
    Kind kind

cdef struct Input:
    PyObject *node     # owned; NULL for a constant
    Content value

# One operand on its way through `apply`. Its pointers are borrowed from the arguments, but between `hold` and `let_go`.
cdef struct Operand:
    PyObject *value    # what NumPy is given
    PyObject *node
    PyObject *tangents
    double x
    Kind kind          # SCALAR or ARRAY


cdef class Aval:
    cdef readonly tuple shape
    cdef readonly object dtype


cdef class Op:
    cdef readonly str name, form
    cdef readonly object fn          # the NumPy callable, on raw values and params
    cdef readonly tuple partials     # elementwise only: a callable or number an input
    cdef readonly object jvp, vjp    # other forms: see `ops/forms.py`
    cdef readonly tuple parameters   # names of the static params, for printing
    cdef public object shape_rule       # what the output looks like: see `ops/shape_rules.py`; or None
    cdef Power power                 # see `engine.powers`
    cdef double exponent
    cdef bint joins                  # its operands are one value in two ways: see `engine.powers`
    cdef readonly object radicand    # of what the output is a root: see `engine.powers`; or None
    cdef readonly object carry       # a power of the output from that of an operand: see `engine.powers`; or None
    cdef readonly int outputs, arity
    cdef bint elementwise
    cdef bint nondifferentiable      # nothing flows through it
    cdef bint is_alias               # whether it is the table's `identity`, of which sources are made
    cdef uint32_t needs[8]           # values input i's cotangent needs; bit 31: the output
    cdef bint constant[2]            # elementwise: whether partial i is a number, `factor[i]`
    cdef double factor[2]
    cdef uint8_t dots                # elementwise: bit i: partial i is itself a (co)tangent
    cdef Loop loop, reduction_loop, numpy_loop
    cdef double reduction_identity
    cdef const Native *native
    cdef void *pull                  # a NativePull of `engine.sweep`, or NULL
    cdef void *push                  # a NativePush, likewise
    cdef tuple public                # name and doc of the public function, as C has them, and itself
    cdef object __weakref__


# A million of these may be alive at once, so they are packed, and touched by hand.
cdef class Node:
    cdef PyObject *op                # owned; NULL for a leaf
    cdef PyObject *params            # owned; NULL or a tuple
    cdef uint64_t seq
    cdef Content output
    cdef Input narrow[2]             # the inputs; with more than two, narrow[0] points to them
    cdef uint8_t kinds[2]            # of the inputs' values, likewise
    cdef uint8_t output_kind
    cdef uint8_t broadcast
    cdef int n
    cdef int slot                    # of the sweep whose stamp this is
    cdef uint32_t stamp


cdef class TangentNode(Node):
    cdef tuple tangents              # of each input


cdef inline Op op_of(Node node):
    return <Op>node.op

# A borrowed Node: passing a Node as an argument counts a reference, and in a loop that shows.
ctypedef PyObject *NodePtr

cdef inline Input *inputs_of(NodePtr node) noexcept:
    return &(<Node>node).narrow[0] if (<Node>node).n <= 2 else <Input *>(<Node>node).narrow[0].node

cdef inline uint8_t *kinds_of(NodePtr node) noexcept:
    if (<Node>node).n <= 2:
        return &(<Node>node).kinds[0]
    return <uint8_t *>(inputs_of(node) + (<Node>node).n)

cdef inline tuple params_of(Node node):
    return () if node.params == NULL else <tuple>node.params

cdef inline Saved saved_input(Node node, int i) noexcept:
    cdef Saved saved
    saved.of = inputs_of(<NodePtr>node)[i].value
    saved.kind = <Kind>kinds_of(<NodePtr>node)[i]
    return saved

cdef inline Saved saved_output(Node node) noexcept:
    cdef Saved saved
    saved.of = node.output
    saved.kind = <Kind>node.output_kind
    return saved


cdef inline void hold(Operand *operands, int n) noexcept:
    """Own what operands have borrowed.

    An Array can be made to stand for another value (`out=`) by another thread, or by Python code that an op runs. An op
    that lets go of the GIL or runs Python code holds its operands, and lets go of them by `let_go`.
    """
    cdef int i
    for i in range(n):
        Py_XINCREF(operands[i].value)
        Py_XINCREF(operands[i].node)
        Py_XINCREF(operands[i].tangents)


cdef inline void let_go(Operand *operands, int n) noexcept:
    cdef int i
    for i in range(n):
        Py_XDECREF(operands[i].value)
        Py_XDECREF(operands[i].node)
        Py_XDECREF(operands[i].tangents)


cdef class Recorder:
    cdef uint64_t start, end
    cdef State state                 # of the thread that entered it
    cdef bint alone                  # no other was open, in any thread, when it was entered
    cdef uint64_t entered            # how often one had been opened then
    cdef list pauses                 # [(from, to), ...], or None
    cdef object rules                # op -> the object that its rule belongs to, or None: see `keep_rule`
    cdef object __weakref__
    cdef readonly bint recording
    cdef void enter(self)
    cdef void leave(self)
    cdef void resume(self)
    cdef void pause(self)
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
    cdef bint private                # nothing but the call that it differentiates has its tangents
    cdef void enter(self)
    cdef void leave(self)


cdef class State:
    cdef int recording               # recorders recording now, less those that a tangent's ops are none of
    cdef int n_recording             # recorders recording now
    cdef uint64_t floor              # a node older than this is history of no open recorder
    cdef uint64_t horizon            # what a recorder of another thread that began later is not told of
    cdef uint64_t owner              # the thread's number, in the low bits of the nodes that it makes
    cdef list recorders, levels
    cdef Recorder tracer             # the one among them that is told of every node, or None
    cdef str cut                     # how a value was last cut off since a derivative was begun, or None
    cdef object deferred             # what the tracer has not evaluated yet: a Deferred of `engine.deferred`, or None
    cdef PyObject *next              # the state of another thread, borrowed
    cdef PyObject *context           # the one that it is of: its address
    cdef unsigned long thread
    cdef bint wants(self, Node node, uint64_t horizon)
    cdef void trace(self, Recorder tracer)
    cdef bint serves(self, PyObject *context)

cdef uint64_t FOREVER                # later than all nodes but leaves

cdef int n_tracing                   # threads that have a tracer
cdef long last_level                 # the tag of the forward level that was entered last

cdef int n_recording                 # recorders recording now, in all threads

cdef inline bint is_busy_elsewhere(State mine) noexcept:
    """Whether a recorder of another thread records."""
    return n_recording != mine.n_recording

cdef inline uint64_t owner_of(NodePtr node) noexcept:
    """The number of the thread for which a node was made."""
    return (<Node>node).seq & (MOMENT - 1)

cdef State current()
cdef uint64_t now() noexcept
cdef bint is_live_elsewhere(NodePtr node)
cdef list recorders_elsewhere()
cdef Recorder tracer_of(NodePtr node)
cdef void share_leaf(Node leaf) noexcept
cdef Level find_level(State state, long tag)
cdef set open_levels()
cdef bint is_level_live(State state, long tag)
cdef int recording_outside(State state, Level level)

cdef object raw(Operand *operand)
cdef Node make_node(Op op, Operand *operands, int n, object params, Operand *output, bint has_tangents)
cdef Node make_scalar_node(Op op, Operand *operands, int n, double y)
cdef Node new_leaf(bint shared=*)
cdef void forget_values(NodePtr node) noexcept
cdef Node new_pick(Node node, int k)
cdef tuple tangents_of(Node node)
cdef tuple shape_of(Saved saved)
