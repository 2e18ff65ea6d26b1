# cython: nonecheck=True
"""The inner loops of the machine: the tables of `loops.h`, and the number of threads for the pool of `workers.h`."""
from ad.engine.graph cimport Op

import operator
import os

cdef extern from "loops.h":
    enum:
        N_KERNELS "AD_N_KERNELS"
        N_OPCODES "AD_CODES"
        LOOP_COST "AD_LOOP_COST"
    int kernel_arities "ad_kernel_arities"[]
    int kernel_is_speculative "ad_kernel_is_speculative"[]
    int kernel_costs "ad_kernel_costs"[]
    const char *code_names "ad_code_names"[]
    Kernel kernel_of "ad_kernel_of"(int op, int scalars) noexcept nogil
    void choose_kernels "ad_choose_kernels"() noexcept nogil

cdef extern from "workers.h":
    enum:
        MAX_WORKERS "AD_MAX_WORKERS"
    void start_workers "ad_spawn_workers"(int n)
    void reset_pool "ad_reset_pool"()
    void run_step "ad_run_step"(
        const Step *step, double **bases, Total *totals, int n_threads, int n_bases, size_t scratch) noexcept nogil

choose_kernels()

# kernel name -> arity
KERNEL_ARITIES = {code_names[i].decode(): kernel_arities[i] for i in range(N_KERNELS)}
# kernels whose output must not alias an input
NO_ALIAS = frozenset({code_names[i].decode() for i in range(N_KERNELS) if kernel_is_speculative[i]})
# opcode of each scalar instruction
OPCODES = {code_names[i].decode(): i for i in range(N_OPCODES)}
cdef dict KERNEL_NUMBERS = {name: i for i, name in enumerate(KERNEL_ARITIES)}


def has_loop(Op op):
    """Whether an op is elementwise and has a NumPy inner loop on float64."""
    return op.loop.run != NULL


cdef Kernel find_kernel(str name, int scalars):
    """Return a kernel; bit k of `scalars` is set if operand k is a scalar."""
    return kernel_of(KERNEL_NUMBERS[name], scalars)


cdef int loop_cost(str name) except -1:
    """Return the cost of a kernel, or of a NumPy loop if it is None."""
    return LOOP_COST if name is None else kernel_costs[KERNEL_NUMBERS[name]]


cdef void run_steps(
        const Step *steps, int n_steps, double **bases, Total *totals, int n_bases, size_t scratch) noexcept nogil:
    cdef int k
    for k in range(n_steps):
        run_step(&steps[k], bases, totals, n_threads, n_bases, scratch)


# -- threads -------------------------------------------------------------------------------------

cdef int n_threads


def get_num_threads():
    """Return the number of threads over which large groups of elementwise ops are split."""
    return n_threads


def set_num_threads(n):
    """Split large groups of elementwise ops in compiled functions over this many threads.

    Parameters
    ----------
    n : int
        At least 1; numbers above 64 are taken as 64. The initial value is that of AD_NUM_THREADS or OMP_NUM_THREADS in
        the environment, or else the number of processors that this process may use.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If `n` is less than 1.
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
            return int(number[:9])  # fits an int, and is above the maximum if digits are cut off
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


cdef void spawn_workers():
    """Start the workers for the current number of threads, if they do not run yet."""
    start_workers(n_threads - 1)


def _reset_pool():
    reset_pool()


set_num_threads(default_threads())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_pool)
