# cython: nonecheck=True
"""The replay loop: a machine runs a program again and again, by its layout.

The layout (`plans.py`) says what is done and where every value is; it becomes C structs once. A run takes a workspace,
points its bases at the inputs, and goes through the steps: scalar code and groups without the GIL where
they are worth it, calls with it. Runs share nothing that they change, so many threads may run one machine, and a call
may run it again.
"""
cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_RawCalloc, PyMem_RawFree
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_New, PyTuple_SET_ITEM

cimport numpy as cnp
from ad.engine.graph cimport Op
from ad.engine.pool cimport PyArray_NewFromDescr, empty, has_shape, is_contiguous, release_to_pool, track_result
from ad.engine.types cimport FLOAT64_DTYPE

import operator
import os

import numpy as np

from ad.compiler.machine import execution_plan

cnp.import_array()

cdef extern from "loops.h":
    enum:
        REGISTERS "AD_REGISTERS"
        BUFFERS "AD_BUFFERS"
        SCRATCH "AD_SCRATCH"
        ARRAYS "AD_ARRAYS"
        N_KERNELS "AD_N_KERNELS"
        CODES "AD_CODES"
        HALT "AD_CODE_halt"
        LOOP_COST "AD_LOOP_COST"
    int kernel_arities "ad_kernel_arities"[]
    int kernel_is_speculative "ad_kernel_is_speculative"[]
    int kernel_costs "ad_kernel_costs"[]
    const char *code_names "ad_code_names"[]
    Kernel find_kernel "ad_kernel_of"(int op, int scalars) noexcept nogil
    void choose_kernels "ad_choose_kernels"() noexcept nogil

cdef extern from "workers.h":
    enum:
        MAX_WORKERS "AD_MAX_WORKERS"
    void spawn_workers "ad_spawn_workers"(int n)
    void reset_pool "ad_reset_pool"()
    void run_step "ad_run_step"(
        const Step *step, double **bases, Total *totals, int n_threads, int n_bases, size_t scratch) noexcept nogil

choose_kernels()

# The ops that have kernels, with the number of their operands; of them, those whose output must not be an operand; and
# those that scalar code has.
SIMPLE = {code_names[i].decode(): kernel_arities[i] for i in range(N_KERNELS)}
LOOKING = {code_names[i].decode() for i in range(N_KERNELS) if kernel_is_speculative[i]}
SCALARS = {code_names[i].decode(): i for i in range(CODES)}
cdef dict KERNELS = {name: i for i, name in enumerate(SIMPLE)}

cdef extern from "Python.h":
    bint PyFloat_Check(object)
    double PyFloat_AS_DOUBLE(PyObject *)

cdef extern from "numpy/arrayobject.h":
    object PyArray_Scalar(void *data, cnp.dtype descr, object base)


cdef enum:
    SPARE = 8          # workspaces kept
    WORTH = 4000       # element operations for which it is worth to let other threads have the GIL
    SHARED_WORK = 200_000  # for which it is worth to wake workers


def has_loop(Op op):
    """Whether an op is elementwise and has an inner loop on float64."""
    return op.loop.run != NULL


# -- threads -------------------------------------------------------------------------------------

cdef int n_threads


def get_num_threads():
    """How many threads a large group of elementwise ops is split over."""
    return n_threads


def set_num_threads(n):
    """Split large groups of elementwise ops in compiled functions over this many threads.

    Parameters
    ----------
    n : int
        At least 1; above 64 is as 64. It begins as AD_NUM_THREADS or OMP_NUM_THREADS in the environment say, or else
        as the number of processors this process may use.

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it is less than 1.
    """
    global n_threads
    try:
        count = None if isinstance(n, bool) else operator.index(n)
    except TypeError:
        count = None
    if count is None:
        raise TypeError(f"ad: set_num_threads takes an integer, not {n!r}")
    if count < 1:
        raise ValueError(f"ad: set_num_threads takes a number from 1 on, not {n}")
    n_threads = min(count, MAX_WORKERS + 1)


cdef int default_threads() except -1:
    for name in ("AD_NUM_THREADS", "OMP_NUM_THREADS"):
        number = os.environ.get(name, "").split(",")[0].strip().lstrip("0")
        if number.isdecimal():
            return int(number[:9])  # what is left out makes no difference
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _reset_pool():
    reset_pool()


set_num_threads(default_threads())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_pool)


# -- the layout in C -----------------------------------------------------------------------------

cdef void *room(size_t n, size_t size) except NULL:
    cdef void *memory = PyMem_Calloc(n or 1, size)
    if memory == NULL:
        raise MemoryError
    return memory


cdef Ref ref_of(object ref):
    cdef Ref out
    out.base, out.offset, out.step = ref
    return out


cdef Span *spans_of(list places) except NULL:
    cdef Span *spans = <Span *>room(len(places), sizeof(Span))
    cdef int i
    for i, place in enumerate(places):
        spans[i].base, spans[i].offset, spans[i].n = place
    return spans


cdef int *numbers_of(list numbers) except NULL:
    cdef int *out = <int *>room(len(numbers), sizeof(int))
    cdef int i
    for i in range(len(numbers)):
        out[i] = numbers[i]
    return out


cdef int fill_view(View *view, object description) except -1:
    cdef int i
    view.base, view.offset, shape, strides = description
    view.nd = len(shape)
    view.shape = <ptrdiff_t *>room(2 * view.nd, sizeof(ptrdiff_t))
    view.strides = view.shape + view.nd
    for i in range(view.nd):
        view.shape[i], view.strides[i] = shape[i], strides[i]
    return 0


cdef int cost_of(Vector *vector, str name) except -1:
    """What an element of a loop counts as, in element operations."""
    if vector.kind == NUMPY:
        return LOOP_COST
    return kernel_costs[KERNELS[name]] if vector.kind == KERNEL else 1


cdef int fill_vector(Vector *vector, object op) except -1:
    """One loop of a group, from a `plans.VectorOp`."""
    cdef int i, numbers = 0
    vector.arity = len(op.inputs)
    for i, ref in enumerate(op.inputs):
        vector.input[i] = ref_of(ref)
        numbers |= (ref.step == 0 and ref.base != SCRATCH) << i
    if op.out is not None:
        vector.out = ref_of(op.out)
    if op.view is not None:
        fill_view(&vector.view, op.view)
    if op.name == "gather":
        vector.kind = GATHER
    elif op.name == "add_into":
        vector.kind = ADD_INTO
    elif op.name in ("take", "add_at"):
        vector.kind = TAKE if op.name == "take" else ADD_AT
        vector.indices = <const int32_t *>cnp.PyArray_DATA(op.op)
    elif op.name == "sum":
        vector.kind, vector.sum = SUM, op.op
    elif op.name == "loop":
        vector.kind = NUMPY
        vector.loop, vector.data = (<Op>op.op).loop.run, (<Op>op.op).loop.data
    else:
        vector.kind, name = KERNEL, op.name
        if op.name == "add_part":
            vector.kind, vector.halo, name = ADD_SLICE, op.op, ("add", "multiply_add")[vector.arity - 2]
        vector.run = find_kernel(KERNELS[name], numbers)
    return 0


cdef int fill_group(Step *step, object group) except -1:
    cdef int i
    step.n, step.block = group.n, group.block
    step.n_ops = len(group.ops)
    step.ops = <Vector *>room(step.n_ops, sizeof(Vector))
    for i, op in enumerate(group.ops):
        fill_vector(&step.ops[i], op)
        step.ops[i].spill_start = step.spill_size
        step.spill_size += step.ops[i].halo
        step.work += <double>step.n * cost_of(&step.ops[i], op.name)
    step.align = group.align
    step.is_parallel = 2 * group.align <= group.n and step.work > SHARED_WORK
    step.n_sums = len(group.sums)
    step.sums = spans_of(group.sums)
    return 0


cdef int fill_scalars(Step *step, list code) except -1:
    cdef int i, n_loops = 0
    step.n_ops = len(code)
    step.code = <Scalar *>room(step.n_ops + 1, sizeof(Scalar))
    step.loops = <ScalarLoop *>room(step.n_ops, sizeof(ScalarLoop))
    for i, (name, out, a, b, c, op) in enumerate(code):
        if name == "loop":
            c = n_loops
            step.loops[c].run, step.loops[c].data = (<Op>op).loop.run, (<Op>op).loop.data
            step.loops[c].arity = op.fn.nin
            n_loops += 1
        step.code[i].code, step.code[i].out = SCALARS[name], out
        step.code[i].a, step.code[i].b, step.code[i].c = a, b, c
    step.code[step.n_ops].code = HALT
    return 0


cdef Matrix matrix_of(object plan):
    cdef Matrix out
    out.base, out.offset, out.row, out.column = plan
    return out


cdef int fill_product(Step *step, object plan) except -1:
    step.product = <Product *>room(1, sizeof(Product))
    step.product.m, step.product.k, step.product.n = plan.shape
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


@cython.final
cdef class CallStep:
    """A call of an op's own function, from a `plans.Call`."""

    def __cinit__(self, step):
        cdef int i
        self.op, self.n_args, self.n_results = step.op, len(step.args), len(step.results)
        self.given = (*[known_of(arg) for arg in step.args], *step.params)
        self.args = <Argument *>room(self.n_args, sizeof(Argument))
        self.results = <Place *>room(self.n_results, sizeof(Place))
        for i in range(self.n_args):
            fill_argument(&self.args[i], step.args[i])
        for i, (kind, at) in enumerate(step.results):
            self.results[i].kind = {"register": NUMBER, "array": ARRAY, "value": OTHER}[kind]
            self.results[i].at = at if kind == "register" else at - ARRAYS

    def __dealloc__(self):
        cdef int i
        for i in range(self.n_args if self.args != NULL else 0):
            PyMem_Free(self.args[i].view.shape)
        PyMem_Free(self.args)
        PyMem_Free(self.results)


cdef object known_of(tuple arg):
    """What is known beforehand of an argument: an object, or the shape that a number is spread over."""
    return arg[1] if arg[0] == "constant" else arg[2] if arg[0] == "register" else None


cdef int fill_argument(Argument *argument, tuple arg) except -1:
    cdef int i
    argument.kind = {"constant": GIVEN, "register": REGISTER, "array": WHOLE, "view": PART}[arg[0]]
    if argument.kind == REGISTER:
        argument.at = arg[1]
    elif argument.kind != GIVEN:
        argument.at = arg[1] - ARRAYS
    if argument.kind == PART:
        fill_view(&argument.view, arg[1:])
        for i in range(argument.view.nd):
            argument.view.strides[i] *= sizeof(double)
    return 0


# -- the machine ---------------------------------------------------------------------------------

@cython.final
cdef class Machine:
    """Runs an execution plan.

    Parameters
    ----------
    layout : Layout
        The plan it follows.
    """

    def __cinit__(self, layout):
        self.layout = layout
        self.fill_arrays()
        self.fill_steps()
        self.fill_ends()

    def __dealloc__(self):
        cdef int i
        for i in range(self.n_spare):
            free_workspace(self.spare[i], self.n_arrays)
        for i in range(self.n_steps if self.steps != NULL else 0):
            free_step(&self.steps[i])
        for i in range(self.n_segments if self.segments != NULL else 0):
            PyMem_Free(self.segments[i].begins)
            PyMem_Free(self.segments[i].ends)
        for i in range(self.n_arrays if self.arrays != NULL else 0):
            PyMem_Free(self.arrays[i].shape)
        PyMem_Free(self.steps)
        PyMem_Free(self.segments)
        PyMem_Free(self.arrays)
        PyMem_Free(self.inputs)
        PyMem_Free(self.outputs)

    cdef int fill_arrays(self) except -1:
        """What is known of each ndarray beforehand."""
        cdef ArrayPlan *array
        cdef int i, k
        self.n_arrays, self.scratch = len(self.layout.arrays), self.layout.scratch
        self.arrays = <ArrayPlan *>room(self.n_arrays, sizeof(ArrayPlan))
        for i, plan in enumerate(self.layout.arrays):
            array = &self.arrays[i]
            array.nd, array.size, array.out = len(plan.shape), 1, -1
            array.shape = <npy_intp *>room(array.nd, sizeof(npy_intp))
            for k in range(array.nd):
                array.shape[k] = plan.shape[k]
                array.size *= plan.shape[k]

    cdef int fill_steps(self) except -1:
        """Steps, in segments that each end with a call, or with the last step."""
        cdef int i, start = 0
        self.n_steps = len(self.layout.steps)
        self.steps = <Step *>room(self.n_steps, sizeof(Step))
        self.segments = <Segment *>room(self.n_steps, sizeof(Segment))
        self.calls = []
        for i, step in enumerate(self.layout.steps):
            is_call = isinstance(step, execution_plan.Call)
            if not is_call:
                self.fill_step(&self.steps[i], step)
            if is_call or i == self.n_steps - 1:
                self.n_segments += 1
                self.calls.append(CallStep(step) if is_call else None)
                self.fill_segment(&self.segments[self.n_segments - 1], start, i if is_call else i + 1, i + 1)
                start = i + 1

    cdef int fill_segment(self, Segment *segment, int start, int end, int stop) except -1:
        """Steps start, ..., end - 1 without Python, and a call if `stop` is beyond."""
        cdef double work = 0
        cdef int i
        segment.start, segment.end = start, end
        for i in range(start, end):
            work += self.steps[i].work
            segment.is_parallel |= self.steps[i].is_parallel
        segment.is_worth = work > WORTH
        begins = [base for bases in self.layout.begins[start:stop] for base in bases]
        ends = [base for bases in self.layout.ends[start:stop] for base in bases]
        segment.n_begins, segment.n_ends = len(begins), len(ends)
        segment.begins, segment.ends = numbers_of(begins), numbers_of(ends)

    cdef int fill_step(self, Step *step, object part) except -1:
        step.n_zeros = len(part.zeros)
        step.zeros = spans_of(part.zeros)
        if isinstance(part, execution_plan.Scalars):
            fill_scalars(step, part.code)
            step.work = step.n_ops
        elif isinstance(part, execution_plan.Product):
            fill_product(step, part)
        else:
            fill_group(step, part)
            self.totals = max(self.totals, 2 * step.n_sums * sizeof(Total) + <size_t>step.spill_size * sizeof(double))

    cdef int fill_ends(self) except -1:
        """Where inputs go and outputs come from."""
        cdef int i
        self.n_inputs, self.n_outputs = len(self.layout.inputs), len(self.layout.outputs)
        self.inputs = <Place *>room(self.n_inputs, sizeof(Place))
        self.outputs = <Place *>room(self.n_outputs, sizeof(Place))
        for i, (kind, at) in enumerate(self.layout.inputs):
            self.inputs[i].at = at
            self.inputs[i].kind = (NUMBER if kind == "register" else
                                   ARRAY if self.layout.input_avals[i].dtype == FLOAT64_DTYPE else OTHER)
        for i, (kind, at) in enumerate(self.layout.outputs):
            self.outputs[i].kind = {"register": NUMBER, "array": ARRAY, "value": OTHER, "constant": CONSTANT}[kind]
            self.outputs[i].at = -1 if kind == "constant" else at
            if kind == "array":
                self.arrays[at - ARRAYS].out = i

    # -- workspaces ------------------------------------------------------------------------------

    cdef Workspace *take_workspace(self) except NULL:
        if self.n_spare:
            self.n_spare -= 1
            return self.spare[self.n_spare]
        return self.new_workspace()

    cdef Workspace *new_workspace(self) except NULL:
        """Memory for one run: the pointers and totals, then the registers, buffers and blocks."""
        cdef size_t pointers = self.n_arrays * sizeof(PyObject *) + (ARRAYS + self.n_arrays) * sizeof(double *)
        cdef size_t registers = (self.layout.registers + 7) // 8 * 8, buffers = (self.layout.room + 7) // 8 * 8
        cdef Workspace *space = <Workspace *>room(1, sizeof(Workspace) + pointers + self.totals)
        cdef int i
        space.memory = PyMem_RawCalloc(registers + buffers + self.layout.scratch + 8, sizeof(double))
        if space.memory == NULL:
            PyMem_Free(space)
            raise MemoryError
        space.totals = <Total *>(space + 1)
        space.arrays = <PyObject **>(<char *>space.totals + self.totals)
        space.bases = <double **>(space.arrays + self.n_arrays)
        space.bases[REGISTERS] = <double *>((<size_t>space.memory + 63) // 64 * 64)
        space.bases[BUFFERS] = space.bases[REGISTERS] + registers
        space.bases[SCRATCH] = space.bases[BUFFERS] + buffers
        for at, number in self.layout.presets:
            space.bases[REGISTERS][<int>at] = number
        for i, plan in enumerate(self.layout.arrays):
            if plan.kind == "constant":
                space.bases[ARRAYS + i] = <double *>cnp.PyArray_DATA(plan.value)
        return space

    cdef int give_back(self, Workspace *space) except -1:
        """Let go of the arrays of a run that is over, and keep the rest for another."""
        cdef int i
        for i in range(self.n_arrays):
            self.drop(space, i)
        if self.n_spare < SPARE:
            self.spare[self.n_spare] = space
            self.n_spare += 1
        else:
            free_workspace(space, self.n_arrays)
        return 0

    cdef int drop(self, Workspace *space, int i) except -1:
        cdef PyObject *array = space.arrays[i]
        if array != NULL:
            space.arrays[i] = NULL
            release_to_pool(array)
            Py_DECREF(<object>array)
        return 0

    cdef int put(self, Workspace *space, int i, object array) except -1:
        """Make an ndarray array i of a run."""
        Py_INCREF(array)
        space.arrays[i] = <PyObject *>array
        if cnp.PyArray_Check(array):
            space.bases[ARRAYS + i] = <double *>cnp.PyArray_DATA(<cnp.ndarray>array)
        return 0

    # -- a run -----------------------------------------------------------------------------------

    def run(self, values, out=None):
        """The outputs, from the inputs.

        Parameters
        ----------
        values : sequence of ndarray or float
            One for each input of the program, of its shape and dtype.
        out : sequence of ndarray or None, optional
            Arrays to write outputs into, of their shapes. They may be inputs as well.

        Returns
        -------
        list
            ndarrays, and `np.float64` for numbers: each with memory of its own, but for those in `out`.
        """
        cdef PyObject *few[16]
        cdef PyObject **pointers = few
        cdef int i
        values = list(values)
        if len(values) != self.n_inputs:
            raise ValueError(f"ad: this program takes {self.n_inputs} values, not {len(values)}")
        if out is not None:
            self.check(out)
        if self.n_inputs > 16:
            pointers = <PyObject **>room(self.n_inputs, sizeof(PyObject *))
        try:
            for i in range(self.n_inputs):
                pointers[i] = <PyObject *>values[i]
            return self.replay(pointers, None if out is None else self.placed(list(out), values))
        finally:
            if pointers != few:
                PyMem_Free(pointers)

    def check(self, out):
        """Raise where an output cannot be written into what `out` has for it; `run` does so before it begins.

        Parameters
        ----------
        out : sequence of ndarray or None
        """
        if len(out) != self.n_outputs:
            raise ValueError(f"ad: out= takes {self.n_outputs} arrays (or None), one an output, not {len(out)}")
        for i, array in enumerate(out):
            aval = self.layout.output_avals[i]
            if array is None:
                continue
            if not isinstance(array, np.ndarray) or array.shape != aval.shape or not array.flags.writeable:
                raise ValueError(f"ad: out[{i}] must be a writeable ndarray of shape {aval.shape}")
            if not np.can_cast(aval.dtype, array.dtype, "same_kind"):
                raise TypeError(f"ad: out[{i}] has dtype {array.dtype}, to which a result of dtype {aval.dtype} cannot "
                                "be cast")

    cdef list placed(self, list out, list values):
        """For each output the array that it can be written into at once, or (array,) to copy it into at the end."""
        cdef list seen = list(values)
        for i, array in enumerate(out):
            if array is None:
                continue
            if self.outputs[<int>i].kind != ARRAY or not is_contiguous(<PyObject *>array) or not is_apart(array, seen):
                out[i] = (array,)
            seen.append(array)
        return out

    cdef list replay(self, PyObject **values, list out):
        """`run`, on borrowed inputs; `out` as `placed` gives it."""
        cdef Workspace *space = self.take_workspace()
        cdef int i
        try:
            for i in range(self.n_inputs):
                self.bind(space, i, values[i])
            for i in range(self.n_segments):
                self.run_segment(space, i, out)
            return self.collect(space, out)
        finally:
            self.give_back(space)

    cdef int bind(self, Workspace *space, int i, PyObject *value) except -1:
        """Put input i in its place."""
        cdef Place *place = &self.inputs[i]
        cdef ArrayPlan *array
        if place.kind == NUMBER:
            if PyFloat_Check(<object>value):
                space.bases[REGISTERS][place.at] = PyFloat_AS_DOUBLE(value)
            else:
                space.bases[REGISTERS][place.at] = self.fitting(i, <object>value)
            return 0
        array = &self.arrays[place.at - ARRAYS]
        if place.kind == ARRAY and is_contiguous(value) and has_shape(value, array.nd, array.shape):
            return self.put(space, place.at - ARRAYS, <object>value)
        return self.put(space, place.at - ARRAYS, self.fitting(i, <object>value))

    cdef object fitting(self, int i, object value):
        """Input i in the shape, dtype and order that the loops take."""
        aval = self.layout.input_avals[i]
        array = np.asarray(value)
        if array.shape != aval.shape or not np.can_cast(
                array.dtype, aval.dtype, "same_kind" if type(value) in (int, float, complex) else "safe"):
            raise ValueError(f"ad: input {i} of this program has shape {aval.shape} and dtype {aval.dtype}, not "
                             f"{array.shape} and {array.dtype}")
        if self.inputs[i].kind == OTHER:
            array = array.astype(aval.dtype, copy=False)
            return array if isinstance(value, np.ndarray) else array[()]
        return np.require(array, FLOAT64_DTYPE, ["C", "ALIGNED"]).view(np.ndarray)

    cdef int run_segment(self, Workspace *space, int i, list out) except -1:
        cdef Segment *segment = &self.segments[i]
        cdef int k, base
        for k in range(segment.n_begins):
            base = segment.begins[k]
            self.put(space, base - ARRAYS, self.fresh(&self.arrays[base - ARRAYS], out))
        if segment.is_parallel:
            spawn_workers(n_threads - 1)
        if segment.is_worth:
            with nogil:
                self.run_steps(segment, space)
        else:
            self.run_steps(segment, space)
        if self.calls[i] is not None:
            self.call(space, <CallStep>self.calls[i])
        for k in range(segment.n_ends):
            self.drop(space, segment.ends[k] - ARRAYS)
        return 0

    cdef void run_steps(self, Segment *segment, Workspace *space) noexcept nogil:
        cdef int k
        for k in range(segment.start, segment.end):
            run_step(&self.steps[k], space.bases, space.totals, n_threads, ARRAYS + self.n_arrays, self.scratch)

    cdef object fresh(self, ArrayPlan *array, list out):
        if out is not None and array.out >= 0 and type(out[array.out]) is np.ndarray:
            return out[array.out]
        return empty(array.nd, array.shape, array.size)

    # -- calls -----------------------------------------------------------------------------------

    cdef int call(self, Workspace *space, CallStep step) except -1:
        """Run an op by its own function, and keep what it returns."""
        cdef tuple args = PyTuple_New(len(step.given))
        cdef int i
        for i in range(len(step.given)):
            arg = <object>PyTuple_GET_ITEM(step.given, i)
            if i < step.n_args and step.args[i].kind != GIVEN:
                arg = self.argument(space, &step.args[i], arg)
            Py_INCREF(arg)  # SET_ITEM steals it
            PyTuple_SET_ITEM(args, i, arg)
        results = step.op.fn(*args)
        if step.op.outputs == 1:
            return self.keep(space, step, 0, results)
        for i in range(step.n_results):
            self.keep(space, step, i, results[i])
        return 0

    cdef object argument(self, Workspace *space, Argument *arg, object given):
        """What a call is given where that is not known beforehand."""
        if arg.kind == REGISTER:
            number = PyArray_Scalar(&space.bases[REGISTERS][arg.at], FLOAT64_DTYPE, None)
            return number if len(<tuple>given) == 0 else np.full(given, number)
        array = self.layout.arrays[arg.at].value if space.arrays[arg.at] == NULL else <object>space.arrays[arg.at]
        return array if arg.kind == WHOLE else strided(array, &arg.view)

    cdef int keep(self, Workspace *space, CallStep step, int i, object result) except -1:
        """Put result i of a call in its place."""
        cdef Place *place = &step.results[i]
        cdef ArrayPlan *plan
        if place.kind == NUMBER:
            space.bases[REGISTERS][place.at] = result
            return 0
        if place.kind == ARRAY:
            plan, result = &self.arrays[place.at], as_plain(result)
            if not has_shape(<PyObject *>result, plan.nd, plan.shape):
                shape = self.layout.arrays[place.at].shape
                raise ValueError(f"ad: {step.op.name} gave an array of shape {result.shape}, and {shape} when it was "
                                 "recorded: its shape must not depend on values")
        return self.put(space, place.at, result)

    # -- outputs ---------------------------------------------------------------------------------

    cdef list collect(self, Workspace *space, list out):
        """The outputs. All are had before any is copied: a target may be what another output is read from."""
        cdef list found = [self.output(space, i) for i in range(self.n_outputs)]
        for i, target in enumerate(out or ()):
            if type(target) is tuple:
                np.copyto(target[0], found[i], casting="same_kind")
                found[i] = target[0]
        return found

    cdef object output(self, Workspace *space, int i):
        cdef Place *place = &self.outputs[i]
        if place.kind == NUMBER:
            return PyArray_Scalar(&space.bases[REGISTERS][place.at], FLOAT64_DTYPE, None)
        if place.kind == CONSTANT:
            value = self.layout.outputs[i][1]
            if isinstance(value, np.ndarray):
                return value.copy() if value.ndim else value[()]
            return value
        cdef PyObject *array = space.arrays[place.at - ARRAYS]
        if place.kind == ARRAY:
            track_result(array)
            return <object>array
        if not cnp.PyArray_Check(<object>array) or self.is_free(array, place.at):
            return <object>array
        return (<object>array).copy()

    cdef bint is_free(self, PyObject *array, int base):
        """Whether nobody but this run has what a call made."""
        return (array.ob_refcnt == 1 and self.layout.arrays[base - ARRAYS].kind == "made"
                and cnp.PyArray_CHKFLAGS(<cnp.ndarray>array, cnp.NPY_ARRAY_OWNDATA))


cdef bint is_apart(cnp.ndarray array, list others):
    """Whether a plain array shares no memory with any of the others."""
    cdef char *start = <char *>cnp.PyArray_DATA(array)
    cdef char *end = start + cnp.PyArray_NBYTES(array)
    cdef char *data
    for other in others:
        if is_contiguous(<PyObject *>other):
            data = <char *>cnp.PyArray_DATA(other)
            if data < end and start < data + cnp.PyArray_NBYTES(other):
                return False
        elif np.may_share_memory(array, other):
            return False
    return True


cdef object strided(object array, View *view):
    """A view of the elements of a float64 array in C order."""
    Py_INCREF(FLOAT64_DTYPE)  # NewFromDescr steals it
    part = PyArray_NewFromDescr(cnp.ndarray, FLOAT64_DTYPE, view.nd, <npy_intp *>view.shape, <npy_intp *>view.strides,
                                <double *>cnp.PyArray_DATA(array) + view.offset, 0, None)
    cnp.set_array_base(part, array)
    return part


cdef object as_plain(object result):
    """A float64 result of a call as loops can read it."""
    if is_contiguous(<PyObject *>result):
        return result
    return np.require(result, FLOAT64_DTYPE, ["C", "ALIGNED"]).view(np.ndarray)


cdef void free_workspace(Workspace *space, int n_arrays) noexcept:
    PyMem_RawFree(space.memory)
    PyMem_Free(space)
