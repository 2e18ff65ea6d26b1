"""Contract of the graph: ops, and the nodes that are their records."""
from cpython.ref cimport PyObject, Py_XDECREF, Py_XINCREF
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from ad.engine.kernels cimport Loop, Native
from ad.engine.types cimport Content, FreeList, Kind, NOTHING, Operand, Saved

cdef extern from *:
    """
    #ifndef AD_DEBUG
    #define AD_DEBUG 0
    #endif
    """
    const bint DEBUG "AD_DEBUG"

# Whether an op computes a power of its first operand, and where the exponent comes from.
cdef enum Power:
    NO_POWER
    FIXED        # the op's own `exponent`
    BY_OPERAND   # the second operand, if it is a constant number
    BY_ITSELF    # 2, where both operands are one Array
    BY_RADICAND  # the op's `radicand` tells
    CARRIES      # it computes no power; a power of its output is a power of its first operand, moved or scaled

cdef struct Input:
    PyObject *node     # owned; NULL for a constant
    Content value


cdef class Aval:
    cdef readonly tuple shape
    cdef readonly object dtype


cdef class Op:
    cdef readonly str name, form
    cdef readonly object fn          # the NumPy callable, on raw values and params
    cdef readonly tuple partials     # elementwise only: a callable or number an input
    cdef readonly object jvp, vjp    # other forms: see `ops/forms.py`
    cdef readonly tuple parameters   # names of the static params, for printing
    cdef public object shape_rule    # shape and dtype of the output: see `ops/shape_rules.py`; or None
    cdef Power power                 # see `engine.powers`
    cdef double exponent
    cdef bint joins                  # its operands are one value, computed in two ways: see `engine.powers`
    cdef readonly object radicand    # what the output is a root of: see `engine.powers`; or None
    cdef readonly object carry       # a power of the output from that of an operand: see `engine.powers`; or None
    cdef public object write         # of an op whose output is a view: see `ops/traits.py`; or None
    cdef readonly int outputs, arity
    cdef bint elementwise
    cdef bint nondifferentiable      # nothing flows through it
    cdef bint is_alias               # whether it is the table's `identity`, of which sources are made
    cdef uint32_t needs[8]           # the values that input i's cotangent needs; bit 31: the output
    cdef bint constant[2]            # elementwise: whether partial i is a number, `factor[i]`
    cdef double factor[2]
    cdef uint8_t dots                # elementwise: bit i: partial i is itself a (co)tangent
    cdef Loop loop, reduction_loop, numpy_loop
    cdef double reduction_identity
    cdef const Native *native
    cdef void *pull                  # a NativePull of `engine.sweep`, or NULL
    cdef void *push                  # a NativePush, likewise
    cdef tuple public                # C's name and doc of the public function, and the function
    cdef object __weakref__


# A million nodes may be alive at once: the fields are packed, and references are counted by hand.
cdef class Node:
    cdef PyObject *op                # owned; NULL for a leaf
    cdef PyObject *params            # owned; NULL or a tuple
    cdef uint64_t seq
    cdef Content output
    cdef Input narrow[2]             # the inputs; narrow[0].node points to them if there are more than two
    cdef uint8_t kinds[2]            # the Kinds of the inputs' values; behind the inputs if there are more than two
    cdef uint8_t output_kind
    cdef uint8_t broadcast
    cdef int n
    cdef int slot                    # its place in the plan of the sweep that `stamp` names
    cdef uint32_t stamp


cdef class TangentNode(Node):
    cdef tuple tangents              # of each input


cdef inline Op op_of(Node node):
    return <Op>node.op

# A borrowed Node. A cast to Node counts a reference, which is too slow in a loop.
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
    """Take references to what operands have borrowed.

    Another thread, or Python code that an op runs, can rebind an Array to another value (`out=`). An op that releases
    the GIL or runs Python code therefore holds its operands, and gives up the references by `let_go`.
    """
    cdef int i
    for i in range(n):
        Py_XINCREF(operands[i].value)
        Py_XINCREF(operands[i].node)
        Py_XINCREF(operands[i].tangents)


cdef inline void let_go(Operand *operands, int n) noexcept:
    """Give up the references that `hold` took."""
    cdef int i
    for i in range(n):
        Py_XDECREF(operands[i].value)
        Py_XDECREF(operands[i].node)
        Py_XDECREF(operands[i].tangents)


cdef Op PICK

# Nodes that wait to be used again, and in a debug build how many are alive.
cdef struct NodeStore:
    FreeList spare
    long alive

cdef NodeStore nodes


cdef inline Node new_node(bint has_tangents):
    """Return a node with no op and no inputs; its caller sets all else that it uses."""
    cdef NodePtr node
    if DEBUG:
        nodes.alive += 1
    if has_tangents or nodes.spare.n == 0:
        return allocate_node(has_tangents)
    nodes.spare.n -= 1
    node = nodes.spare.objects[nodes.spare.n]
    node.ob_refcnt = 0  # the cast below counts the first reference
    (<Node>node).op = (<Node>node).params = NULL
    (<Node>node).n = 0
    (<Node>node).narrow[0].node = (<Node>node).narrow[1].node = NULL
    (<Node>node).kinds[0] = (<Node>node).kinds[1] = (<Node>node).output_kind = NOTHING
    return <Node>node


cdef Node allocate_node(bint has_tangents)
cdef object raw(Operand *operand)
cdef object set_output(Operand *output, object value)
cdef void forget_values(NodePtr node) noexcept
cdef tuple tangents_of(Node node)
cdef tuple shape_of(Saved saved)
