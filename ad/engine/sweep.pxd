"""Contract of the sweeps: a plan of the nodes between targets and sources, and runs over it."""
from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from ad.engine.array cimport Array
from ad.engine.graph cimport Node, NodePtr
from ad.engine.recorder cimport Recorder, State
from ad.engine.types cimport Saved


# One node of a plan; the slots of its inputs begin at `edges`, -1 for a leaf.
cdef struct Step:
    NodePtr node
    int edges
    bint source


cdef class SweepPlan:
    cdef Recorder recorder
    cdef readonly list targets, sources
    cdef list roots                  # the targets' nodes; an `out=` may rebind a target during the sweep
    cdef Step *steps
    cdef int *edges
    cdef Step few_steps[16]          # the memory of a small plan
    cdef int few_edges[32]
    cdef int n, n_edges, capacity, edge_capacity
    cdef uint32_t stamp
    cdef uint64_t start, end         # the interval of the recorder
    cdef bint tangents               # whether a node has tangents
    cdef bint foreign                # whether a node was made for another thread
    cdef State state                 # the state of the thread that made the plan
    cdef uint64_t owner              # the number of that thread
    cdef list between                # sources that may lie on the first way to a value that `engine.powers` has joined
    cdef uint64_t *below             # which of them each step is or depends on; NULL if there are none
    cdef bint bypassed               # whether one of them does lie there, or there are too many to tell
    cdef int *target_slots
    cdef int *source_slots
    cdef int visit(self, NodePtr root) except -1
    cdef int finish(self, NodePtr node) except -1
    cdef int choose_way(self, int *edges) except -1
    cdef int note_below(self, NodePtr node, int edges) except -1
    cdef int add_step(self, NodePtr node, int edges) except -1
    cdef bint is_general(self)
    cpdef bint is_independent(self)
    cdef list pull(self, list seeds, bint consume=*)
    cdef int seed(self, Saved *slots, list seeds, bint general) except -1
    cdef int run_back(self, Saved *slots, bint general, bint consume) except -1
    cdef list collect(self, Saved *slots, list seeds)
    cdef list push(self, list x_dots)
    cdef object cleared(self, object dot, list given)


cdef list plans_of(Recorder recorder, list targets, list sources)
cdef list pull_plans(list plans, list sources, list seeds)


# Adds the cotangents of a node's inputs to their slots without the op's rule; false if it cannot.
ctypedef bint (*NativePull)(Node node, Saved *y_bar, int *edges, Saved *slots) except -1

# The output's tangent from the input's, which may have a lane axis in front; None if it cannot.
ctypedef object (*NativePush)(Node node, Array x_dot)

cpdef long begin() except -1
cpdef tuple independent(SweepPlan plan, long begun)
