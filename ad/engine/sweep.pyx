"""The sweeps over a graph of nodes.

A `SweepPlan` lists the nodes that lie between some targets and some sources, once, in an order in
which inputs come first. The reverse sweep (`pull`) runs over it backwards with cotangents, the
forward sweep (`push`) runs over it forwards with tangents. Building the plan calls no Python,
so a sweep inside a sweep, or in another thread, finds nothing half done.
"""
cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.string cimport memcpy

cimport numpy as cnp
from ad._core cimport alias, apply, apply2, lift
from ad.engine.array cimport new_array, wrap
from ad.engine.forward cimport Dual, dual_depth, find_tangents, output_with, push_rule, scaled, without_duals
from ad.engine.graph cimport (
    Aval, Input, NO_POWER, Op, TangentNode, forget_values, inputs_of, op_of, params_of, saved_input, saved_output,
    shape_of, tangents_of,
)
from ad.engine.kernels cimport (
    Partial, pull_loop, push_loop, scaled as scaled_number, scaled_dots,
)
from ad.engine.pool cimport is_contiguous, is_owned
from ad.engine.recorder cimport State, current, is_busy_elsewhere, last_level, owner_of
from ad.engine.slots cimport (
    add, boxed, clear, factor, hold_slot, number, of_dtype, owned, result, unboxed,
)
from ad.engine.types cimport (
    ARRAY, BOXED, BROADCASTS, FLOAT64_DTYPE, NOTHING, SAME_AVAL, SCALAR, SCALARS, SHAPE, SHAPE_SCALAR, SHAPE_VECTOR,
)
from ad.engine.roles cimport roles

import numpy as np

cnp.import_array()

# Values of a node's `slot` while a plan is being made, before it is the node's place in the list.
cdef enum Mark:
    UNSEEN = -1
    SOURCE = -2         # a source, unseen
    SEEN = -3           # reached; needed only if it depends on a source
    SEEN_SOURCE = -4

cdef struct StackFrame:
    NodePtr node
    int next

cdef uint32_t last_stamp = 0


@cython.final
cdef class SweepPlan:
    """The nodes between `targets` and `sources` that `recorder` saw."""

    @cython.nonecheck(True)
    def __cinit__(self, Recorder recorder, list targets, list sources):
        global last_stamp
        cdef Array x
        cdef int i
        last_stamp += 1
        self.stamp = last_stamp
        self.recorder, self.targets, self.sources = recorder, targets, sources
        self.state = current()
        self.owner = self.state.owner
        self.start, self.end = recorder.start, recorder.end
        self.roots = [x.node for x in targets]
        self.between = []
        self.steps, self.capacity = &self.few_steps[0], 16
        self.edges, self.edge_capacity = &self.few_edges[0], 32
        self.source_slots = <int *>PyMem_Malloc((len(sources) + 1) * sizeof(int))
        self.target_slots = <int *>PyMem_Malloc((len(targets) + 1) * sizeof(int))
        if self.source_slots == NULL or self.target_slots == NULL:
            raise MemoryError
        for x in sources:
            if x.node is not None:
                touch(self, <NodePtr>x.node)
                x.node.slot = SOURCE
                if may_lie_between(x):
                    self.between.append(x.node)
        if self.between:
            self.below = <uint64_t *>PyMem_Malloc(self.capacity * sizeof(uint64_t))
        for x in targets:
            if x.node is not None:
                self.visit(<NodePtr>x.node)
        for i, x in enumerate(sources):
            self.source_slots[i] = slot_of(x.node)
        for i, x in enumerate(targets):
            self.target_slots[i] = slot_of(x.node)

    def __dealloc__(self):
        if self.steps != &self.few_steps[0]:
            PyMem_Free(self.steps)
        if self.edges != &self.few_edges[0]:
            PyMem_Free(self.edges)
        PyMem_Free(self.below)
        PyMem_Free(self.source_slots)
        PyMem_Free(self.target_slots)

    cdef int visit(self, NodePtr root) except -1:
        """Depth first, without recursion; a node is listed after its inputs, if it is needed."""
        cdef StackFrame few[32]
        cdef StackFrame *stack = &few[0]
        cdef StackFrame *top
        cdef int depth = 0, capacity = 32
        cdef NodePtr reached = root
        try:
            while True:
                if reached != NULL and enter(self, reached):
                    if depth == capacity:
                        stack = <StackFrame *>grown(stack, &few[0], depth * sizeof(StackFrame),
                                                    2 * capacity * sizeof(StackFrame))
                        capacity *= 2
                    stack[depth].node = reached
                    stack[depth].next = 0
                    depth += 1
                if depth == 0:
                    return 0
                top = &stack[depth - 1]
                if top.next < (<Node>top.node).n:
                    reached = inputs_of(top.node)[top.next].node
                    top.next += 1
                else:
                    self.finish(top.node)
                    depth -= 1
                    reached = NULL
        finally:
            if stack != &few[0]:
                PyMem_Free(stack)

    cdef int finish(self, NodePtr node) except -1:
        """List a node whose inputs are done, if it is a source or depends on one."""
        cdef Input *inputs = inputs_of(node)
        cdef int i, slot, n = (<Node>node).n
        cdef bint needed = (<Node>node).slot == SEEN_SOURCE
        if self.n_edges + n > self.edge_capacity:
            self.edges = <int *>grown(self.edges, &self.few_edges[0], self.n_edges * sizeof(int),
                                      (2 * self.edge_capacity + n) * sizeof(int))
            self.edge_capacity = 2 * self.edge_capacity + n
        for i in range(n):
            slot = -1 if inputs[i].node == NULL else max(-1, (<Node>inputs[i].node).slot)
            self.edges[self.n_edges + i] = slot
            needed |= slot >= 0
        if n == 2 and op_of(<Node>node).joins:
            self.choose_way(self.edges + self.n_edges)
        if needed:
            self.add_step(node, self.n_edges)
            self.n_edges += n
        return 0

    cdef int choose_way(self, int *edges) except -1:
        """Choose one of two ways to a value: the first, unless only the second leads to a source."""
        cdef bint second = False
        if self.below != NULL and edges[1] >= 0:
            second = self.below[edges[1]] & ~(self.below[edges[0]] if edges[0] >= 0 else 0) != 0
            self.bypassed |= second or len(self.between) > 64
        edges[0] = edges[second]
        edges[1] = -1
        return 0

    cdef int note_below(self, NodePtr node, int edges) except -1:
        """Note which of the sources in `between` the node of the next step is or depends on."""
        cdef uint64_t found = 0
        cdef int i
        for i in range((<Node>node).n):
            if self.edges[edges + i] >= 0:
                found |= self.below[self.edges[edges + i]]
        if (<Node>node).slot == SEEN_SOURCE:
            for i in range(len(self.between)):  # with more than 64, `plans_of` makes a plan for each
                if self.between[i] is <Node>node:
                    found |= <uint64_t>1 << i % 64
        self.below[self.n] = found
        return 0

    cdef int add_step(self, NodePtr node, int edges) except -1:
        """List a node; the slots of its inputs begin at `edges`."""
        cdef Step *step
        if self.n == self.capacity:
            self.steps = <Step *>grown(self.steps, &self.few_steps[0], self.n * sizeof(Step),
                                       2 * self.capacity * sizeof(Step))
            self.capacity *= 2
            if self.below != NULL:
                self.below = <uint64_t *>grown(self.below, NULL, 0, self.capacity * sizeof(uint64_t))
        if self.below != NULL:
            self.note_below(node, edges)
        step = &self.steps[self.n]
        step.node, step.edges = node, edges
        step.source = (<Node>node).slot == SEEN_SOURCE
        self.tangents |= type(<object>node) is TangentNode
        self.foreign |= (<Node>node).op != NULL and owner_of(node) != self.owner
        (<Node>node).slot = self.n
        self.n += 1
        return 0

    cpdef bint is_independent(self):
        """Whether there are sources, and no target depends on any of them."""
        cdef bint found = False
        cdef int k
        for k in range(len(self.sources)):
            if self.source_slots[k] >= 0:
                return False
            found |= (<Array>self.sources[k]).size > 0
        return found

    cdef bint is_general(self):
        """Whether a sweep may itself be differentiated."""
        cdef State state = current()
        return (self.tangents or state.recording > 0 or len(state.levels) > 0
                or (self.foreign or state is not self.state) and is_busy_elsewhere(state))

    cdef list pull(self, list seeds, bint consume=False):
        """Return the sources' cotangents (Arrays, None where unconnected) from the targets'.

        `consume` lets go of each node's values as soon as it is done: for the one sweep over a graph
        that no other will see.
        """
        cdef Saved few[32]
        cdef Saved *slots = &few[0]
        cdef int i
        cdef bint general = self.is_general() or any_tangents(seeds)
        if len(seeds) != len(self.targets):
            raise ValueError(f"ad: {len(seeds)} cotangents for {len(self.targets)} targets")
        if self.n > 32:
            slots = <Saved *>PyMem_Malloc(self.n * sizeof(Saved))
            if slots == NULL:
                raise MemoryError
        for i in range(self.n):
            slots[i].kind = NOTHING
        try:
            self.seed(slots, seeds, general)
            self.run_back(slots, general, consume and not general)
            return self.collect(slots, seeds)
        finally:
            for i in range(self.n):
                clear(&slots[i])
            if slots != &few[0]:
                PyMem_Free(slots)

    cdef int seed(self, Saved *slots, list seeds, bint general) except -1:
        """Add the targets' cotangents to their slots."""
        cdef Saved y_bar
        cdef int k
        for k, seed in enumerate(seeds):
            if self.target_slots[k] >= 0 and seed is not None:
                y_bar = unboxed(lift(seed), general)
                add(&slots[self.target_slots[k]], &y_bar)
        return 0

    cdef int run_back(self, Saved *slots, bint general, bint consume) except -1:
        """Pull the slots' cotangents through all nodes, the last first."""
        cdef Saved y_bar
        cdef Step *step
        cdef Node node
        cdef int i
        for i in range(self.n - 1, -1, -1):
            step = &self.steps[i]
            if slots[i].kind == NOTHING or step.edges < 0:
                continue
            if (slots[i].kind == SCALAR and (<Node>step.node).broadcast == SCALARS and not general
                    and (<Op>(<Node>step.node).op).native != NULL):
                pull_scalars(step.node, slots[i].of.x, self.edges + step.edges, slots)
                continue
            node = <Node>step.node
            y_bar = slots[i]
            if step.source:
                hold_slot(&y_bar)
            else:
                slots[i].kind = NOTHING
            try:
                pull_node(node, &y_bar, self.edges + step.edges, slots, general)
            finally:
                clear(&y_bar)
            if consume:
                forget_values(step.node)
        return 0

    cdef list collect(self, Saved *slots, list seeds):
        """Return the sources' cotangents from their slots."""
        cdef list found = []
        cdef Array x
        cdef int k
        for k, x in enumerate(self.sources):
            found.append(None if self.source_slots[k] < 0 else self.cleared(
                of_dtype(result(&slots[self.source_slots[k]], x), x), seeds))
        return found

    cdef list push(self, list x_dots):
        """Return the targets' tangents (Arrays, None where unconnected) from the sources'."""
        cdef list dots = [None] * self.n
        cdef Node node
        cdef Step *step
        cdef int i, k
        cdef bint general = self.is_general()
        if len(x_dots) != len(self.sources):
            raise ValueError(f"ad: {len(x_dots)} tangents for {len(self.sources)} sources")
        for k, x_dot in enumerate(x_dots):
            i = self.source_slots[k]
            if i >= 0 and x_dot is not None:
                dots[i] = lift(x_dot) if dots[i] is None else apply2(roles.add, dots[i], x_dot)
        for i in range(self.n):
            step = &self.steps[i]
            if step.edges >= 0 and not step.source:
                node = <Node>step.node
                dots[i] = push_node(node, tuple([
                    None if self.edges[step.edges + k] < 0 else dots[self.edges[step.edges + k]]
                    for k in range(node.n)]), general)
        return [None if self.target_slots[k] < 0 else self.cleared(dots[self.target_slots[k]], x_dots)
                for k in range(len(self.targets))]

    cdef object cleared(self, object dot, list given):
        """Return a result without the tangents of `Dual`s that the function made for itself."""
        cdef long depth = 0
        if type(dot) is not Dual:
            return dot
        for x in [*self.targets, *self.sources, *given]:
            if type(x) is Dual:
                depth = max(depth, dual_depth(x))
        return without_duals(dot, depth)


cdef inline bint any_tangents(list xs):
    """Whether an Array among these has tangents."""
    for x in xs:
        if isinstance(x, Array) and (<Array>x).tangents is not None:
            return True
    return False


cdef inline bint may_lie_between(Array x) noexcept:
    """Whether a source may lie between a root and a power of it: it remembers a base, or did before it was changed."""
    if x.node is None or x.node.op == NULL:
        return False
    return op_of(x.node).joins or op_of(x.node).power != NO_POWER and (x.base is not None or x.changes > 0)


cdef list plans_of(Recorder recorder, list targets, list sources):
    """Return one plan, or several with some of the sources each, if these need different ways to a value."""
    cdef SweepPlan plan = SweepPlan(recorder, targets, sources)
    cdef Array x
    if len(sources) == 1 or not plan.bypassed:
        return [plan]
    apart = [[x] for x in sources if may_lie_between(x)]
    others = [x for x in sources if not may_lie_between(x)]
    return [SweepPlan(recorder, targets, group) for group in [*apart, others]]


cdef list pull_plans(list plans, list sources, list seeds):
    """Return the cotangents of all sources."""
    cdef SweepPlan plan
    if len(plans) == 1:
        plan = plans[0]
        return plan.pull(seeds)
    cdef dict found = {}
    for plan in plans:
        for x, x_bar in zip(plan.sources, plan.pull(seeds)):
            found[id(x)] = x_bar
    return [found[id(x)] for x in sources]


cdef void *grown(void *memory, void *few, size_t used, size_t size) except NULL:
    """Return larger memory with the contents of a buffer, which began as the array `few` of its owner."""
    cdef void *more = PyMem_Malloc(size) if memory == few else PyMem_Realloc(memory, size)
    if more == NULL:
        raise MemoryError("ad: no memory for the sweep")
    if memory == few:
        memcpy(more, few, used)
    return more


cdef inline void touch(SweepPlan plan, NodePtr node) noexcept:
    if (<Node>node).stamp != plan.stamp:
        (<Node>node).stamp = plan.stamp
        (<Node>node).slot = UNSEEN


cdef inline int slot_of(Node node) noexcept:
    return -1 if node is None or node.slot < 0 else node.slot


cdef inline bint enter(SweepPlan plan, NodePtr node) except -1:
    """Mark a node as reached; whether its inputs must be visited."""
    touch(plan, node)
    if (<Node>node).slot == UNSEEN:
        (<Node>node).slot = SEEN
    elif (<Node>node).slot == SOURCE:
        (<Node>node).slot = SEEN_SOURCE
    else:
        return False
    if (<Node>node).op != NULL and not (<Op>(<Node>node).op).nondifferentiable and (
            plan.start <= (<Node>node).seq < plan.end) and (
            plan.recorder.pauses is None or plan.recorder.sees(<Node>node)):
        return True
    if (<Node>node).slot == SEEN_SOURCE:
        plan.add_step(node, -1)
    return False


# -- the values that a node has kept, as Arrays --------------------------------------------

cdef object read_saved(Saved saved, Node node, tuple tangents):
    if saved.kind == SCALAR:
        return new_array(None, saved.of.x, node, tangents)
    if saved.kind == ARRAY:
        return new_array(<object>saved.of.object, 0, node, tangents)
    if saved.kind == SHAPE_VECTOR or saved.kind == SHAPE_SCALAR:
        return Aval(shape_of(saved))
    if saved.kind == SHAPE:
        return <object>saved.of.object
    return None


cdef object read_input(Node node, int i):
    """Return input i as the op saw it: an Array; an Aval or None if its value was dropped."""
    cdef Input *input = &inputs_of(<NodePtr>node)[i]
    cdef tuple tangents = tangents_of(node)
    cdef Node maker = <Node>input.node if input.node != NULL else None
    return read_saved(saved_input(node, i), maker, None if tangents is None else tangents[i])


cdef object read_output(Node node):
    """Return the output, as `read_input` does; a tuple of Arrays for an op with several.

    Its tangents are computed again. If they were kept, a tangent whose own node has this node as an
    input would keep itself alive.
    """
    cdef tuple dots = tangents_of(node)
    cdef Op op = op_of(node)
    y = read_saved(saved_output(node), node, None)
    if dots is None or not isinstance(y, Array):
        return y if op.outputs == 1 else output_with(op, y, [])
    xs = [read_input(node, i) for i in range(node.n)]
    return output_with(op, y, find_tangents(op, xs, list(dots), y, params_of(node)))


# -- one node, backwards -------------------------------------------------------------------

cdef int pull_node(Node node, Saved *y_bar, int *edges, Saved *slots, bint general) except -1:
    """Add the cotangents of a node's inputs, computed from its output's, to their slots."""
    if not general and node.broadcast == SAME_AVAL and pull_same_aval(node, y_bar, edges, slots):
        return 0
    # These steps are linear and read no value, so the cotangent of a constant cotangent is constant.
    if op_of(node).pull != NULL and y_bar.kind != BOXED:
        if (<NativePull>op_of(node).pull)(node, y_bar, edges, slots):
            return 0
    if op_of(node).form == "pick":
        return pull_pick(node, y_bar, &slots[edges[0]])
    return pull_rule(node, y_bar, edges, slots, general)


cdef inline void pull_scalars(NodePtr node, double y_bar, int *edges, Saved *slots) noexcept:
    """`pull_node` for an elementwise op on float64 scalars, without Python."""
    cdef const Partial *partial = (<Op>(<Node>node).op).native.partial
    cdef int dots = (<Op>(<Node>node).op).dots
    cdef Input *inputs = &(<Node>node).narrow[0]
    cdef double x_bar
    cdef Saved *slot
    cdef int i
    for i in range((<Node>node).n):
        if edges[i] >= 0:
            slot = &slots[edges[i]]
            x_bar = partial[i](inputs[0].value.x, inputs[1].value.x, (<Node>node).output.x)
            x_bar = scaled_dots(y_bar, x_bar) if dots >> i & 1 else scaled_number(y_bar, x_bar)
            if slot.kind == NOTHING:
                slot.kind, slot.of.x = SCALAR, x_bar
            else:
                slot.of.x += x_bar


cdef bint pull_same_aval(Node node, Saved *y_bar, int *edges, Saved *slots) except -1:
    """`pull_node` for an elementwise op on float64 arrays of one shape, by native loops; false if they cannot."""
    cdef PyObject *y = node.output.object if node.output_kind == ARRAY else NULL
    cdef Saved x_bars[2]
    cdef int i, last = 1 if node.n == 2 and edges[1] >= 0 else 0
    cdef bint overwrite
    if node.n > 2 or not (y_bar.kind == SCALAR or y_bar.kind == ARRAY and is_contiguous(y_bar.of.object)):
        return False
    x_bars[0].kind = x_bars[1].kind = NOTHING
    for i in range(node.n):
        if edges[i] < 0:
            continue
        if op_of(node).constant[i] and op_of(node).factor[i] == 1:
            x_bars[i] = y_bar[0]
            hold_slot(&x_bars[i])
        elif op_of(node).constant[i] and y_bar.kind == SCALAR:
            x_bars[i] = number(op_of(node).factor[i] * y_bar.of.x)
        else:
            overwrite = i == last and y_bar.kind == ARRAY and is_owned(y_bar.of.object)
            value = None if op_of(node).native == NULL else pull_loop(
                op_of(node).native.pullback[i], factor(saved_input(node, 0)),
                factor(saved_input(node, 1)), y, factor(y_bar[0]), overwrite)
            if value is None:
                clear(&x_bars[0])
                return False
            x_bars[i] = number(value) if type(value) is float else owned(value)
    clear(y_bar)  # a cotangent that is passed on as it is should have one holder
    for i in range(node.n):
        if edges[i] >= 0:
            add(&slots[edges[i]], &x_bars[i])
    return True


cdef Array box_whole(Node node, Saved *y_bar):
    """Return the cotangent as an Array, of the output's shape if the rule may depend on that."""
    if y_bar.kind == SCALAR and node.broadcast == BROADCASTS:
        shape = shape_of(saved_output(node))
        if shape != ():
            return wrap(np.broadcast_to(y_bar.of.x, shape))
    return boxed(y_bar)


cdef int pull_rule(Node node, Saved *y_bar, int *edges, Saved *slots, bint general) except -1:
    """`pull_node` by the rule of the table, which applies ops to Arrays."""
    cdef Op op = op_of(node)
    cdef Saved x_bar
    cdef int i
    cotangent = <object>y_bar.of.object if op.outputs > 1 else box_whole(node, y_bar)
    xs = tuple([read_input(node, i) for i in range(node.n)])
    y = read_output(node)
    if op.outputs > 1:
        cotangent = tuple([zeros_for(part) if bar is None else bar for bar, part in zip(cotangent, y)])
    for i in range(node.n):
        if edges[i] < 0:
            continue
        if op.elementwise:
            found = scaled(cotangent, op, i, xs, y, True)
        else:
            found = op.vjp(i, cotangent, xs, y, params_of(node))
        if found is None:
            continue
        x_bar = unboxed(fitted(lift(found), node, i), general)
        add(&slots[edges[i]], &x_bar)
    return 0


cdef Array zeros_for(Array y):
    return wrap(np.zeros(y.shape, y.dtype))


cdef Array fitted(Array x_bar, Node node, int i):
    """Return a cotangent in the shape and dtype of the input, summed over the axes that broadcasting added."""
    cdef Saved x = saved_input(node, i)
    if node.broadcast != BROADCASTS:
        if x.kind != ARRAY or x_bar.array is None:
            return x_bar
        dtype = (<object>x.of.object).dtype
    else:
        shape = shape_of(x)
        if x_bar.shape != shape:
            x_bar = apply(roles.sum_to, (x_bar,), (shape,))
        dtype = (<object>x.of.object).dtype if x.kind == ARRAY or x.kind == SHAPE else FLOAT64_DTYPE
    if x_bar.dtype is not dtype and x_bar.dtype != dtype:
        x_bar = apply(roles.astype, (x_bar,), (dtype,))
    return x_bar


cdef int pull_pick(Node node, Saved *y_bar, Saved *slot) except -1:
    """Collect the cotangents of an op's several outputs in a list."""
    cdef tuple outputs = <tuple>(<Node>node.narrow[0].node).output.object
    cdef list bars
    k = params_of(node)[0]
    bar = boxed(y_bar)
    if y_bar.kind == SCALAR and np.ndim(outputs[k]):
        bar = wrap(np.broadcast_to(y_bar.of.x, outputs[k].shape))
    if slot.kind == NOTHING:
        slot[0] = owned([None] * len(outputs))
    bars = <list>slot.of.object
    bars[k] = bar if bars[k] is None else apply2(roles.add, bars[k], bar)
    return 0


# -- one node, forwards --------------------------------------------------------------------

cdef object push_node(Node node, tuple x_dots, bint general):
    """Return the output's tangent, or a tuple for an op with several outputs, from the inputs'."""
    if not any_given(x_dots):
        return None
    if op_of(node).form == "pick":
        return x_dots[0][params_of(node)[0]]
    if not general:
        y_dot = None
        if node.broadcast == SAME_AVAL:
            y_dot = push_same_aval(node, x_dots)
        elif op_of(node).push != NULL:
            y_dot = (<NativePush>op_of(node).push)(node, x_dots[0])
        if y_dot is not None:
            return y_dot
    xs = tuple([read_input(node, i) for i in range(node.n)])
    return push_rule(op_of(node), x_dots, xs, read_output(node), params_of(node))


cdef bint any_given(tuple x_dots) noexcept:
    for x_dot in x_dots:
        if x_dot is not None:
            return True
    return False


cdef object push_same_aval(Node node, tuple x_dots):
    """`push_node` for an elementwise op on float64 arrays of one shape, by the native loops of the reverse sweep."""
    cdef PyObject *y = node.output.object if node.output_kind == ARRAY else NULL
    cdef Op op = op_of(node)
    cdef Array x_dot, y_dot = None
    cdef int i
    if node.n > 2:
        return None
    for i in range(node.n):
        x_dot = x_dots[i]
        if x_dot is None:
            continue
        if not (op.constant[i] and op.factor[i] == 1):
            value = None if op.native == NULL or x_dot.array is None else push_loop(
                op.native.pullback[i], factor(saved_input(node, 0)), factor(saved_input(node, 1)), y,
                <PyObject *>x_dot.array)
            if value is None:
                return None
            x_dot = wrap(value)
        y_dot = x_dot if y_dot is None else apply2(roles.add, y_dot, x_dot)
    return y_dot


# -- what the transforms call --------------------------------------------------------------

cpdef long begin() except -1:
    """Reset how values were cut off; return how many derivatives have begun so far, in all threads."""
    current().cut = None
    return last_stamp + last_level


cpdef tuple independent(SweepPlan plan, long begun):
    """Return whether the targets of a plan depend on no source, and how a value was cut off on the way, or None.

    `begun` is what `begin` returned before the function was called. If a derivative was taken since then, the result is
    False: the derivative may rightly be constant, as that of a linear function is.
    """
    found = plan.is_independent() and plan.stamp - 1 + last_level == begun
    return found, current().cut


@cython.nonecheck(True)
def run_recorded(f, list xs):
    """Call `f(*aliases)` with a fresh alias of each Array in `xs`, recorded.

    Returns the recorder, the aliases, and what `f` returned.
    """
    cdef Recorder recorder = Recorder.__new__(Recorder)
    cdef list aliases, given
    cdef Array x
    recorder.enter()
    try:
        aliases = [alias(lift(value)) for value in xs]
        # f gets separate Arrays, because an `out=` may rebind them
        given = [new_array(x.array, x.number, x.node, x.tangents) for x in aliases]
        y = f(*given)
    finally:
        recorder.leave()
    return recorder, aliases, y


def pull_back(Recorder recorder, list targets, list sources, list seeds):
    """Return the cotangents of `sources` from those of `targets`; None where they are not connected."""
    return pull_plans(plans_of(recorder, targets, sources), sources, seeds)
