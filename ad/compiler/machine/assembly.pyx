# cython: nonecheck=True
"""Assemble an execution plan: translate its steps to C structs, once, for the machine to run many times."""
cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t

cimport numpy as cnp
from ad.compiler.machine.loops cimport (
    ADD_AT, ADD_INTO, ADD_SLICE, ARRAYS, GATHER, KERNEL, NUMPY, SCRATCH, SUM, TAKE, Matrix, Product, Ref, Scalar,
    ScalarLoop, Span, Total, Vector, find_kernel, loop_cost,
)
from ad.engine.graph cimport Op

from ad.compiler.machine import execution_plan
from ad.compiler.machine.loops import OPCODES

cnp.import_array()

cdef enum:
    MIN_WORK_WITHOUT_GIL = 4000  # cost above which a segment releases the GIL, so that other threads can run
    MIN_PARALLEL_WORK = 200_000  # cost above which a group is split over threads: to wake them takes microseconds

cdef dict PLACE_KINDS = {
    execution_plan.Register: NUMBER, execution_plan.Float64Array: ARRAY, execution_plan.OtherValue: OTHER,
    execution_plan.Constant: CONSTANT}
cdef dict ARGUMENT_KINDS = {
    execution_plan.Constant: GIVEN, execution_plan.Register: REGISTER, execution_plan.Float64Array: WHOLE,
    execution_plan.OtherValue: WHOLE, execution_plan.StridedArray: STRIDED}


cdef void *calloc_checked(size_t n, size_t size) except NULL:
    cdef void *memory = PyMem_Calloc(n or 1, size)
    if memory == NULL:
        raise MemoryError
    return memory


# -- operands ------------------------------------------------------------------------------------

cdef Ref ref_of(object ref):
    cdef Ref out
    out.base, out.offset, out.step = ref
    return out


cdef Span *spans_of(list places) except NULL:
    cdef Span *spans = <Span *>calloc_checked(len(places), sizeof(Span))
    cdef int i
    for i, place in enumerate(places):
        spans[i].base, spans[i].offset, spans[i].n = place
    return spans


cdef int *ints_of(list numbers) except NULL:
    cdef int *out = <int *>calloc_checked(len(numbers), sizeof(int))
    cdef int i
    for i in range(len(numbers)):
        out[i] = numbers[i]
    return out


cdef int fill_view(View *view, object plan) except -1:
    cdef int i
    view.base, view.offset, view.nd = plan.base, plan.offset, len(plan.shape)
    view.shape = <ptrdiff_t *>calloc_checked(2 * view.nd, sizeof(ptrdiff_t))
    view.strides = view.shape + view.nd
    for i in range(view.nd):
        view.shape[i], view.strides[i] = plan.shape[i], plan.strides[i]
    return 0


cdef int fill_place(Place *place, object plan) except -1:
    place.kind = PLACE_KINDS[type(plan)]
    place.at = plan.register if place.kind == NUMBER else -1 if place.kind == CONSTANT else plan.base
    return 0


# -- steps ---------------------------------------------------------------------------------------

cdef int fill_loop(Vector *vector, object loop) except -1:
    """Fill in one loop of a group, and return the cost of one element."""
    cdef int i, scalars = 0
    vector.arity = len(loop.inputs)
    for i, ref in enumerate(loop.inputs):
        vector.input[i] = ref_of(ref)
        scalars |= (ref.step == 0 and ref.base != SCRATCH) << i
    if loop.out is not None:
        vector.out = ref_of(loop.out)
    kind = type(loop)
    if kind is execution_plan.KernelLoop:
        vector.kind, vector.run = KERNEL, find_kernel(loop.kernel, scalars)
        return loop_cost(loop.kernel)
    if kind is execution_plan.NumpyLoop:
        vector.kind = NUMPY
        vector.loop, vector.data = (<Op>loop.op).loop.run, (<Op>loop.op).loop.data
        return loop_cost(None)
    if kind is execution_plan.AddSliceLoop:
        vector.kind, vector.halo = ADD_SLICE, loop.halo
        vector.run = find_kernel("add" if vector.arity == 2 else "multiply_then_add", scalars)
    elif kind is execution_plan.SumLoop:
        vector.kind, vector.sum = SUM, loop.total
    elif kind is execution_plan.GatherLoop or kind is execution_plan.AddViewLoop:
        vector.kind = GATHER if kind is execution_plan.GatherLoop else ADD_INTO
        fill_view(&vector.view, loop.view)
    else:
        vector.kind = TAKE if kind is execution_plan.TakeLoop else ADD_AT
        vector.view.base, vector.view.offset = loop.base, loop.offset
        vector.indices = <const int32_t *>cnp.PyArray_DATA(loop.indices)
    return 1


cdef int fill_group(Step *step, object group) except -1:
    cdef int i
    step.n, step.block = group.n, group.block
    step.n_ops = len(group.loops)
    step.ops = <Vector *>calloc_checked(step.n_ops, sizeof(Vector))
    for i, loop in enumerate(group.loops):
        step.work += <double>step.n * fill_loop(&step.ops[i], loop)
        step.ops[i].spill_start = step.spill_size
        step.spill_size += step.ops[i].halo
    step.align = group.align
    step.is_parallel = 2 * group.align <= group.n and step.work > MIN_PARALLEL_WORK
    step.n_sums = len(group.sums)
    step.sums = spans_of(group.sums)
    return 0


cdef int fill_scalars(Step *step, list code) except -1:
    cdef int i, n_loops = 0
    step.work = step.n_ops = len(code)
    step.code = <Scalar *>calloc_checked(step.n_ops + 1, sizeof(Scalar))
    step.loops = <ScalarLoop *>calloc_checked(step.n_ops, sizeof(ScalarLoop))
    for i, (opcode, out, a, b, c, op) in enumerate(code):
        if opcode == "loop":
            c = n_loops
            step.loops[c].run, step.loops[c].data = (<Op>op).loop.run, (<Op>op).loop.data
            step.loops[c].arity = op.fn.nin
            n_loops += 1
        step.code[i].code, step.code[i].out = OPCODES[opcode], out
        step.code[i].a, step.code[i].b, step.code[i].c = a, b, c
    step.code[step.n_ops].code = OPCODES["halt"]
    return 0


cdef Matrix matrix_of(object plan):
    cdef Matrix out
    out.base, out.offset, out.row, out.column = plan
    return out


cdef int fill_product(Step *step, object plan) except -1:
    step.product = <Product *>calloc_checked(1, sizeof(Product))
    step.product.m, step.product.k, step.product.n = plan.sizes
    step.product.a, step.product.b, step.product.out = matrix_of(plan.a), matrix_of(plan.b), matrix_of(plan.out)
    step.work = <double>step.product.m * step.product.k * step.product.n
    return 0


cdef void free_step(Step *step) noexcept:
    cdef int i
    for i in range(step.n_ops if step.ops != NULL else 0):
        PyMem_Free(step.ops[i].view.shape)
    PyMem_Free(step.zeros)
    PyMem_Free(step.code)
    PyMem_Free(step.loops)
    PyMem_Free(step.product)
    PyMem_Free(step.ops)
    PyMem_Free(step.sums)


# -- calls ---------------------------------------------------------------------------------------

cdef object known_of(object arg):
    """Return what is known of an argument beforehand: its value, or the shape to broadcast a number to."""
    if type(arg) is execution_plan.Constant:
        return arg.value
    return arg.shape if type(arg) is execution_plan.Register else None


cdef int fill_argument(Argument *argument, object arg) except -1:
    cdef int i
    argument.kind = ARGUMENT_KINDS[type(arg)]
    if argument.kind == REGISTER:
        argument.at = arg.register
    elif argument.kind != GIVEN:
        argument.at = arg.base - ARRAYS
    if argument.kind == STRIDED:
        fill_view(&argument.view, arg)
        for i in range(argument.view.nd):
            argument.view.strides[i] *= sizeof(double)
    return 0


@cython.final
cdef class CallStep:
    """An `execution_plan.OpaqueCall`."""

    def __cinit__(self, step):
        cdef int i
        self.op, self.n_args, self.n_results = step.op, len(step.args), len(step.results)
        self.given = (*[known_of(arg) for arg in step.args], *step.params)
        self.args = <Argument *>calloc_checked(self.n_args, sizeof(Argument))
        self.results = <Place *>calloc_checked(self.n_results, sizeof(Place))
        for i in range(self.n_args):
            fill_argument(&self.args[i], step.args[i])
        for i, result in enumerate(step.results):
            fill_place(&self.results[i], result)
            if self.results[i].kind != NUMBER:
                self.results[i].at -= ARRAYS

    def __dealloc__(self):
        cdef int i
        for i in range(self.n_args if self.args != NULL else 0):
            PyMem_Free(self.args[i].view.shape)
        PyMem_Free(self.args)
        PyMem_Free(self.results)


# -- the plan ------------------------------------------------------------------------------------

cdef class AssembledPlan:
    """An execution plan in C structs.

    Parameters
    ----------
    plan : ExecutionPlan
    """

    def __cinit__(self, plan):
        self.plan = plan
        self.assemble_arrays()
        self.assemble_steps()
        self.assemble_places()

    def __dealloc__(self):
        cdef int i
        for i in range(self.n_steps if self.steps != NULL else 0):
            free_step(&self.steps[i])
        for i in range(self.n_segments if self.segments != NULL else 0):
            PyMem_Free(self.segments[i].allocate_before)
            PyMem_Free(self.segments[i].free_after)
        for i in range(self.n_arrays if self.arrays != NULL else 0):
            PyMem_Free(self.arrays[i].shape)
        PyMem_Free(self.steps)
        PyMem_Free(self.segments)
        PyMem_Free(self.arrays)
        PyMem_Free(self.inputs)
        PyMem_Free(self.outputs)

    cdef int assemble_arrays(self) except -1:
        cdef ArraySpec *array
        cdef int i, k
        self.n_arrays, self.scratch_size = len(self.plan.arrays), self.plan.scratch_size
        self.arrays = <ArraySpec *>calloc_checked(self.n_arrays, sizeof(ArraySpec))
        for i, spec in enumerate(self.plan.arrays):
            array = &self.arrays[i]
            array.nd, array.size, array.out = len(spec.shape), 1, -1
            array.shape = <cnp.npy_intp *>calloc_checked(array.nd, sizeof(cnp.npy_intp))
            for k in range(array.nd):
                array.shape[k] = spec.shape[k]
                array.size *= spec.shape[k]
        return 0

    cdef int assemble_steps(self) except -1:
        """Assemble the steps, and divide them into segments that end with a call or with the last step."""
        cdef int i, start = 0
        self.n_steps = len(self.plan.steps)
        self.steps = <Step *>calloc_checked(self.n_steps, sizeof(Step))
        self.segments = <Segment *>calloc_checked(self.n_steps, sizeof(Segment))
        self.calls = []
        for i, step in enumerate(self.plan.steps):
            is_call = isinstance(step, execution_plan.OpaqueCall)
            if not is_call:
                self.assemble_step(&self.steps[i], step)
            if is_call or i == self.n_steps - 1:
                self.n_segments += 1
                self.calls.append(CallStep(step) if is_call else None)
                self.assemble_segment(&self.segments[self.n_segments - 1], start, i if is_call else i + 1, i + 1)
                start = i + 1
        return 0

    cdef int assemble_step(self, Step *step, object plan) except -1:
        if isinstance(plan, execution_plan.MatrixProduct):
            return fill_product(step, plan)
        step.n_zeros = len(plan.zeros)
        step.zeros = spans_of(plan.zeros)
        if isinstance(plan, execution_plan.ScalarCode):
            return fill_scalars(step, plan.code)
        fill_group(step, plan)
        # The totals of the group, and the totals and the spill of one chunk.
        self.totals_size = max(
            self.totals_size, 2 * step.n_sums * sizeof(Total) + <size_t>step.spill_size * sizeof(double))
        return 0

    cdef int assemble_segment(self, Segment *segment, int start, int end, int stop) except -1:
        """Assemble steps start, ..., end - 1; if `stop` is larger than `end`, a call follows."""
        cdef double work = 0
        cdef int i
        segment.start, segment.end = start, end
        for i in range(start, end):
            work += self.steps[i].work
            segment.is_parallel |= self.steps[i].is_parallel
        segment.releases_gil = work > MIN_WORK_WITHOUT_GIL
        allocate_before = [base for bases in self.plan.allocate_before[start:stop] for base in bases]
        free_after = [base for bases in self.plan.free_after[start:stop] for base in bases]
        segment.n_allocate, segment.n_free = len(allocate_before), len(free_after)
        segment.allocate_before, segment.free_after = ints_of(allocate_before), ints_of(free_after)
        return 0

    cdef int assemble_places(self) except -1:
        """Note where inputs are put and outputs are found."""
        cdef int i
        self.n_inputs, self.n_outputs = len(self.plan.inputs), len(self.plan.outputs)
        self.inputs = <Place *>calloc_checked(self.n_inputs, sizeof(Place))
        self.outputs = <Place *>calloc_checked(self.n_outputs, sizeof(Place))
        for i, spec in enumerate(self.plan.inputs):
            fill_place(&self.inputs[i], spec.place)
        for i, spec in enumerate(self.plan.outputs):
            fill_place(&self.outputs[i], spec.place)
            if self.outputs[i].kind == ARRAY:
                self.arrays[self.outputs[i].at - ARRAYS].out = i
        return 0
