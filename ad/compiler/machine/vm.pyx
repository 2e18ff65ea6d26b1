# cython: nonecheck=True
"""The machine: runs an execution plan again and again.

A run takes a workspace, points its bases at the inputs, and goes through the segments: scalar code, matrix products and
groups without the GIL where that is worth it, calls with it. Runs share nothing that they change, so any number of
threads may run one machine, and a call may run it again.
"""
cimport cython
from cpython.mem cimport PyMem_Free, PyMem_RawCalloc, PyMem_RawFree
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_New, PyTuple_SET_ITEM

cimport numpy as cnp
from ad.compiler.machine.assembly cimport (
    ARRAY, CONSTANT, GIVEN, NUMBER, OTHER, REGISTER, WHOLE, Argument, ArraySpec, Place, calloc_checked,
)
from ad.compiler.machine.loops cimport ARRAYS, BUFFERS, REGISTERS, SCRATCH, Total, View, run_steps, spawn_workers
from ad.engine.pool cimport PyArray_NewFromDescr, empty, has_shape, is_contiguous, release_to_pool, track_result
from ad.engine.types cimport FLOAT64_DTYPE

import numpy as np

from ad.compiler.machine.execution_plan import Source

cnp.import_array()

cdef extern from "Python.h":
    bint PyFloat_Check(object)
    double PyFloat_AS_DOUBLE(PyObject *)

cdef extern from "numpy/arrayobject.h":
    object PyArray_Scalar(void *data, cnp.dtype descr, object base)

cdef object RETURNED = Source.RETURNED, CONSTANT_ARRAY = Source.CONSTANT

cdef enum:
    FEW = 16  # inputs for which `run` needs no memory


@cython.final
cdef class Machine(AssembledPlan):
    """Runs an execution plan.

    Parameters
    ----------
    plan : ExecutionPlan

    Attributes
    ----------
    plan : ExecutionPlan
    """

    def __dealloc__(self):
        cdef int i
        for i in range(self.n_spare):
            free_workspace(self.spare[i])

    # -- workspaces ------------------------------------------------------------------------------

    cdef Workspace *take_workspace(self) except NULL:
        if self.n_spare:
            self.n_spare -= 1
            return self.spare[self.n_spare]
        return self.new_workspace()

    cdef Workspace *new_workspace(self) except NULL:
        """Allocate the memory of one run: pointers and totals, then registers, buffers and scratch, all from zeros."""
        cdef size_t pointers = self.n_arrays * sizeof(PyObject *) + (ARRAYS + self.n_arrays) * sizeof(double *)
        cdef size_t registers = (self.plan.n_registers + 7) // 8 * 8, buffers = (self.plan.arena_size + 7) // 8 * 8
        cdef Workspace *space = <Workspace *>calloc_checked(1, sizeof(Workspace) + pointers + self.totals_size)
        cdef int i
        space.memory = PyMem_RawCalloc(registers + buffers + self.scratch_size + 8, sizeof(double))
        if space.memory == NULL:
            PyMem_Free(space)
            raise MemoryError
        space.totals = <Total *>(space + 1)
        space.arrays = <PyObject **>(<char *>space.totals + self.totals_size)
        space.bases = <double **>(space.arrays + self.n_arrays)
        space.bases[REGISTERS] = <double *>((<size_t>space.memory + 63) // 64 * 64)
        space.bases[BUFFERS] = space.bases[REGISTERS] + registers
        space.bases[SCRATCH] = space.bases[BUFFERS] + buffers
        for at, number in self.plan.register_constants.items():
            space.bases[REGISTERS][<int>at] = number
        for i, spec in enumerate(self.plan.arrays):
            if spec.source is CONSTANT_ARRAY:
                space.bases[ARRAYS + i] = <double *>cnp.PyArray_DATA(spec.value)
        return space

    cdef int give_back(self, Workspace *space) except -1:
        """Release the arrays of a run that is over, and keep the workspace for another run."""
        cdef int i
        for i in range(self.n_arrays):
            self.drop(space, i)
        if self.n_spare < SPARE_WORKSPACES:
            self.spare[self.n_spare] = space
            self.n_spare += 1
        else:
            free_workspace(space)
        return 0

    cdef int drop(self, Workspace *space, int i) except -1:
        cdef PyObject *array = space.arrays[i]
        if array != NULL:
            space.arrays[i] = NULL
            release_to_pool(array)
            Py_DECREF(<object>array)
        return 0

    cdef int put(self, Workspace *space, int i, object array) except -1:
        """Set array i of a run, which may be any object."""
        Py_INCREF(array)
        space.arrays[i] = <PyObject *>array
        if cnp.PyArray_Check(array):
            space.bases[ARRAYS + i] = <double *>cnp.PyArray_DATA(<cnp.ndarray>array)
        return 0

    # -- a run -----------------------------------------------------------------------------------

    def run(self, values, out=None):
        """Compute the outputs from the inputs.

        Parameters
        ----------
        values : sequence of ndarray or float
            One for each input of the program, with its shape and dtype.
        out : sequence of ndarray or None, optional
            Arrays to write the outputs into, with their shapes. They may overlap the inputs.

        Returns
        -------
        list
            ndarrays, and `np.float64` for numbers. Each has memory of its own, except those in `out`.
        """
        cdef PyObject *few[FEW]
        cdef PyObject **pointers = few
        cdef int i
        values = list(values)
        if len(values) != self.n_inputs:
            raise ValueError(f"ad: this program takes {self.n_inputs} values, not {len(values)}")
        if out is not None:
            self.check(out)
        if self.n_inputs > FEW:
            pointers = <PyObject **>calloc_checked(self.n_inputs, sizeof(PyObject *))
        try:
            for i in range(self.n_inputs):
                pointers[i] = <PyObject *>values[i]
            return self.replay(pointers, None if out is None else self.checked_targets(list(out), values))
        finally:
            if pointers != few:
                PyMem_Free(pointers)

    def check(self, out):
        """Raise if an output cannot be written into its array in `out`; `run` calls this before anything is computed.

        Parameters
        ----------
        out : sequence of ndarray or None
        """
        if len(out) != self.n_outputs:
            raise ValueError(f"ad: out= takes {self.n_outputs} arrays (or None), one an output, not {len(out)}")
        for i, array in enumerate(out):
            aval = self.plan.outputs[i].aval
            if array is None:
                continue
            if not isinstance(array, np.ndarray) or array.shape != aval.shape or not array.flags.writeable:
                raise ValueError(f"ad: out[{i}] must be a writeable ndarray of shape {aval.shape}")
            if not np.can_cast(aval.dtype, array.dtype, "same_kind"):
                raise TypeError(f"ad: out[{i}] has dtype {array.dtype}, to which a result of dtype {aval.dtype} cannot "
                                "be cast")

    cdef list checked_targets(self, list out, list values):
        """Return for each output the array to compute it in, or (array,) to copy it into at the end."""
        cdef list seen = list(values)
        for i, array in enumerate(out):
            if array is None:
                continue
            if self.outputs[<int>i].kind != ARRAY or not (
                    is_contiguous(<PyObject *>array) and is_disjoint(array, seen)):
                out[i] = (array,)
            seen.append(array)
        return out

    cdef list replay(self, PyObject **values, list out):
        """Run on borrowed inputs; `out` is what `checked_targets` returns."""
        cdef Workspace *space = self.take_workspace()
        cdef int i
        try:
            for i in range(self.n_inputs):
                self.bind_input(space, i, values[i])
            for i in range(self.n_segments):
                self.run_segment(space, i, out)
            return self.collect_outputs(space, out)
        finally:
            self.give_back(space)

    cdef int bind_input(self, Workspace *space, int i, PyObject *value) except -1:
        cdef Place *place = &self.inputs[i]
        cdef ArraySpec *array
        if place.kind == NUMBER:
            if PyFloat_Check(<object>value):
                space.bases[REGISTERS][place.at] = PyFloat_AS_DOUBLE(value)
            else:
                space.bases[REGISTERS][place.at] = self.converted(i, <object>value)
            return 0
        array = &self.arrays[place.at - ARRAYS]
        if place.kind == ARRAY and is_contiguous(value) and has_shape(value, array.nd, array.shape):
            return self.put(space, place.at - ARRAYS, <object>value)
        return self.put(space, place.at - ARRAYS, self.converted(i, <object>value))

    cdef object converted(self, int i, object value):
        """Return input i with the dtype and memory order that the loops require, or raise."""
        aval = self.plan.inputs[i].aval
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
        for k in range(segment.n_allocate):
            base = segment.allocate_before[k]
            self.put(space, base - ARRAYS, self.allocated(&self.arrays[base - ARRAYS], out))
        if segment.is_parallel:
            spawn_workers()
        if segment.releases_gil:
            with nogil:
                self.run_native(segment, space)
        else:
            self.run_native(segment, space)
        if self.calls[i] is not None:
            self.call(space, <CallStep>self.calls[i])
        for k in range(segment.n_free):
            self.drop(space, segment.free_after[k] - ARRAYS)
        return 0

    cdef void run_native(self, Segment *segment, Workspace *space) noexcept nogil:
        run_steps(&self.steps[segment.start], segment.end - segment.start, space.bases, space.totals,
                  ARRAYS + self.n_arrays, self.scratch_size)

    cdef object allocated(self, ArraySpec *array, list out):
        if out is not None and array.out >= 0 and type(out[array.out]) is np.ndarray:
            return out[array.out]
        return empty(array.nd, array.shape, array.size)

    # -- calls -----------------------------------------------------------------------------------

    cdef int call(self, Workspace *space, CallStep step) except -1:
        """Call an op's own function, and store its results."""
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
            return self.store_result(space, step, 0, results)
        for i in range(step.n_results):
            self.store_result(space, step, i, results[i])
        return 0

    cdef object argument(self, Workspace *space, Argument *arg, object given):
        """Return an argument that was not known when the plan was made."""
        if arg.kind == REGISTER:
            number = PyArray_Scalar(&space.bases[REGISTERS][arg.at], FLOAT64_DTYPE, None)
            return number if len(<tuple>given) == 0 else np.full(given, number)
        array = self.plan.arrays[arg.at].value if space.arrays[arg.at] == NULL else <object>space.arrays[arg.at]
        return array if arg.kind == WHOLE else strided(array, &arg.view)

    cdef int store_result(self, Workspace *space, CallStep step, int i, object result) except -1:
        cdef Place *place = &step.results[i]
        cdef ArraySpec *spec
        if place.kind == NUMBER:
            space.bases[REGISTERS][place.at] = result
            return 0
        if place.kind == ARRAY:
            spec, result = &self.arrays[place.at], as_contiguous(result)
            if not has_shape(<PyObject *>result, spec.nd, spec.shape):
                shape = self.plan.arrays[place.at].shape
                raise ValueError(f"ad: {step.op.name} gave an array of shape {result.shape}, and {shape} when it was "
                                 "recorded: its shape must not depend on values")
        return self.put(space, place.at, result)

    # -- outputs ---------------------------------------------------------------------------------

    cdef list collect_outputs(self, Workspace *space, list out):
        """Return the outputs. All are read before any is copied to its target, which may overlap another output."""
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
            value = self.plan.outputs[i].place.value
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
        """Whether the array is the result of a call and nothing but this run refers to it."""
        return (array.ob_refcnt == 1 and self.plan.arrays[base - ARRAYS].source is RETURNED
                and cnp.PyArray_CHKFLAGS(<cnp.ndarray>array, cnp.NPY_ARRAY_OWNDATA))


cdef bint is_disjoint(cnp.ndarray array, list others):
    """Whether a contiguous array shares no memory with any of the others."""
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
    """Return a view of a float64 array in C order."""
    Py_INCREF(FLOAT64_DTYPE)  # NewFromDescr steals it
    part = PyArray_NewFromDescr(cnp.ndarray, FLOAT64_DTYPE, view.nd, <npy_intp *>view.shape, <npy_intp *>view.strides,
                                <double *>cnp.PyArray_DATA(array) + view.offset, 0, None)
    cnp.set_array_base(part, array)
    return part


cdef object as_contiguous(object result):
    """Return a float64 result of a call in the memory order that the loops require."""
    if is_contiguous(<PyObject *>result):
        return result
    return np.require(result, FLOAT64_DTYPE, ["C", "ALIGNED"]).view(np.ndarray)


cdef void free_workspace(Workspace *space) noexcept:
    PyMem_RawFree(space.memory)
    PyMem_Free(space)
