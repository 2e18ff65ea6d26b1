"""The machine runs random programs of every kind of step as plain NumPy evaluates them."""
import array
import os
import signal
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from numpy.lib.array_utils import byte_bounds

import ad
from ad.compiler.ir.graph import Graph, Instruction
from ad.compiler.ir.interpreting import evaluate
from ad.compiler.machine import machine_for
from ad.compiler.machine.execution_plan import (
    BUFFERS,
    AddAtLoop,
    AddSliceLoop,
    AddViewLoop,
    KernelLoop,
    LoopGroup,
    MatrixProduct,
    OpaqueCall,
    SumLoop,
    TakeLoop,
)
from ad.compiler.machine.loops import get_num_threads, set_num_threads
from ad.compiler.machine.lowering import Lowering
from ad.compiler.program import Instruction, evaluate
from ad.engine.graph import Aval, Op
from ad.ops.nondifferentiable import nondifferentiable_op
from ad.ops.table import TABLE

SIZES = (0, 1, 2, 7, 511, 512, 513, 2049)
UNARY = ("negative", "square", "sin", "cos", "tanh", "absolute", "exp", "identity", "arctan", "sqrt", "reciprocal")
BINARY = ("add", "subtract", "multiply", "divide", "scale", "maximum", "minimum", "arctan2")
COMPARISONS = (np.less, np.greater_equal, np.equal)


class Builder:
    """Writes a program down, evaluating it on the way to learn the shapes."""

    def __init__(self):
        self.values, self.inputs, self.instructions, self.constants = [], [], [], {}

    def _slot(self, value):
        self.values.append(value)
        return len(self.values) - 1

    def input(self, value):
        self.inputs.append(self._slot(value))
        return self.inputs[-1]

    def constant(self, value):
        slot = self._slot(value)
        self.constants[slot] = value
        return slot

    def do(self, op, *inputs, params=()):
        op = TABLE[op].op if isinstance(op, str) else op
        with np.errstate(all="ignore"):
            y = op.fn(*[self.values[slot] for slot in inputs], *params)
        outputs = tuple([self._slot(part) for part in (y if op.outputs > 1 else (y,))])
        self.instructions.append(Instruction(op, params, inputs, outputs))
        return outputs[0] if op.outputs == 1 else outputs

    def shape(self, slot):
        return np.shape(self.values[slot])

    def of_shape(self, shape, dtype=np.float64):
        return [slot for slot, value in enumerate(self.values)
                if np.shape(value) == shape and np.asarray(value).dtype == dtype and type(value) is not int]

    def program(self, *outputs):
        avals = [Aval(np.shape(value), np.asarray(value).dtype) for value in self.values]
        return Graph(tuple(self.inputs), outputs, tuple(self.instructions), self.constants, tuple(avals))


def check(program, values, rtol=1e-12, **kwargs):
    """Two runs of one machine, against plain evaluation."""
    machine = machine_for(program)
    with np.errstate(all="ignore"):
        wanted = evaluate(program, values)
        for _ in range(2):
            found = machine.run(values, **kwargs)
            assert len(found) == len(wanted)
            for y, want in zip(found, wanted):
                scale = np.max(np.abs(want), initial=0, where=np.isfinite(want)) if np.size(want) else 0
                assert np.shape(y) == np.shape(want)
                assert np.asarray(y).dtype == np.asarray(want).dtype
                np.testing.assert_allclose(y, want, rtol=rtol, atol=1e-13 * scale)
    return machine


def has_loop(step, kind):
    """Whether a step is a group with a loop of this class."""
    return isinstance(step, LoopGroup) and any(isinstance(loop, kind) for loop in step.loops)


def at_once(work, n):
    """`work(k)` for k below n, each in a thread of its own."""
    threads = [threading.Thread(target=work, args=(k,)) for k in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# -- random programs -------------------------------------------------------------------------------


def _random_slice(rng, n):
    """A slice of n - 1 elements, or of every element backwards, or of a stride."""
    return [slice(1, None), slice(None, -1), slice(None, None, -1), slice(None, None, 2), slice(2, None, -1),
            slice(1, None, 3), slice(n // 2, None)][rng.integers(7)]


def pick_sparse(rng, b, shape):
    """What put_zeros made, or a constant with few nonzeros, scaled."""
    made = [i.outputs[0] for i in b.instructions if i.op.name == "put_zeros" and b.shape(i.outputs[0]) == shape]
    if not made or rng.random() < 0.5:
        constant = np.zeros(shape)
        constant.reshape(-1)[rng.integers(3) :: rng.integers(4, 9)] = rng.uniform(0.5, 1.5)
        made.append(b.constant(constant))
    slot = int(rng.choice(made[-3:]))
    return b.do("multiply", b.constant(-1.5), slot) if rng.random() < 0.3 else slot


def random_step(rng, b, shapes):
    """One more instruction, of a kind drawn at random; none depends on the sign of a zero."""
    shape = shapes[rng.integers(len(shapes))]
    pick = lambda shape: int(rng.choice(b.of_shape(shape)))
    kind = rng.integers(14)
    x = pick(shape)
    if kind < 3:
        name = UNARY[rng.integers(len(UNARY))]
        slot = b.do(name, b.do("cosh", x) if name == "reciprocal" else x)
    elif kind < 6:
        other = pick(shape if rng.random() < 0.7 else ())
        first, second = (x, other) if rng.random() < 0.5 else (other, x)
        name = BINARY[rng.integers(len(BINARY))]
        slot = b.do(name, first, b.do("cosh", second) if name in ("divide", "arctan2") else second)
    elif kind == 6:
        axis = None if rng.random() < 0.5 or not shape else int(rng.integers(len(shape)))
        slot = b.do("sum", x, params=(axis, bool(rng.random() < 0.3)))
    elif kind == 7 and len(shape) == 1:
        index = _random_slice(rng, shape[0])
        piece = b.do("getitem", x, params=(index,))
        slot = b.do("put_zeros", b.do("sin", piece), params=(index, shape))
        slot = b.do("add", slot, pick(shape))
    elif kind == 7 and shape:
        slot = b.do("transpose", x, params=(None,)) if rng.random() < 0.5 else b.do("reshape", x, params=((-1,),))
    elif kind == 8 and shape and shape[0]:
        index = int(rng.integers(shape[0]))
        slot = b.do("put_zeros", b.do("getitem", x, params=(index,)), params=(index, shape))
    elif kind == 9:
        truth = b.do(nondifferentiable_op(COMPARISONS[rng.integers(3)]), x, pick(()))
        slot = b.do("where", truth, x, pick(()))
    elif kind == 10:
        slot = b.do("broadcast_to", pick(()), params=(shape,))
    elif kind == 11 and len(shape) == 2 and shape[1]:
        index = (slice(None), [slice(1, None), slice(None, -1), slice(None, None, 2)][rng.integers(3)])
        slot = b.do("put_zeros", b.do("scale", b.do("getitem", x, params=(index,)), pick(())), params=(index, shape))
    elif kind == 12:
        sparse = pick_sparse(rng, b, shape)
        slot = b.do(("add", "subtract", "scale", "multiply")[rng.integers(4)], sparse, pick(shape))
    elif kind == 13:
        slot = b.do("subtract", pick_sparse(rng, b, shape), b.do("scale", pick_sparse(rng, b, shape), x))
    else:
        power = [2, 3, 0.5, -1][rng.integers(4)]
        slot = b.do("cumsum", x, params=(0,)) if shape else b.do("power", x, b.constant(power))
    return slot


def random_program(seed):
    rng = np.random.default_rng(seed)
    n = SIZES[rng.integers(len(SIZES))]
    b = Builder()
    shapes = [(n,), (), (3, n), (max(n - 1, 0),)]
    values = [rng.uniform(0.5, 1.5, shape)[()] for shape in shapes]
    for value in values:
        b.input(value)
    b.constant(rng.uniform(0.5, 1.5, (n,)))
    b.constant(rng.uniform(0.5, 1.5, (3, n)))
    b.constant(0.75)
    made = [random_step(rng, b, shapes) for _ in range(rng.integers(1, 40))]
    outputs = rng.choice(made, rng.integers(1, 5)).tolist() + rng.choice(b.inputs, 1).tolist()
    return b.program(*outputs), values


@pytest.mark.parametrize("first", range(0, 400, 40))
def test_random_programs(first):
    for seed in range(first, first + 40):
        program, values = random_program(seed)
        check(program, values)


def vector_program(n):
    """A group with a sum, slices that add up, and a scalar that depends on the sum."""
    b = Builder()
    x = b.input(np.random.default_rng(n).random(n))
    low, high = b.do("getitem", x, params=(slice(None, -1),)), b.do("getitem", x, params=(slice(1, None),))
    d = b.do("subtract", high, b.do("square", low))
    total = b.do("sum", b.do("square", d), params=(None, False))
    scaled = b.do("scale", b.do("exp", b.do("negative", total)), d)
    put = b.do("put_zeros", scaled, params=(slice(1, None), (n,)))
    back = b.do("put_zeros", b.do("multiply", scaled, low), params=(slice(None, -1), (n,)))
    return b.program(b.do("add", put, back), total), [b.values[x]]


@pytest.mark.parametrize("n", [*SIZES, 100_003])
def test_sizes(n):
    check(*vector_program(n))


# -- inputs and outputs ----------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [
    lambda x: x[::-1], lambda x: np.repeat(x, 2)[::2], lambda x: np.asarray(x, ">f8"),
    lambda x: np.frombuffer(b"0" + x.tobytes(), np.uint8)[1:].view(np.float64),
])
def test_input_of_any_layout(layout):
    program, (x,) = vector_program(700)
    check(program, [layout(x)])


def test_number_input_as_float_or_array():
    b = Builder()
    x = b.input(0.5)
    program = b.program(b.do("sin", x), x)
    for value in (0.5, np.float64(0.5), np.array(0.5)):
        found = machine_for(program).run([value])
        assert found == [np.sin(0.5), 0.5]
        assert all(type(y) is np.float64 for y in found)


def test_wrong_inputs_are_named():
    machine = machine_for(vector_program(7)[0])
    with pytest.raises(ValueError, match="input 0 of this program has shape"):
        machine.run([np.ones(8)])
    with pytest.raises(ValueError, match="takes 1 values, not 2"):
        machine.run([np.ones(7), 1.0])


@pytest.mark.parametrize("dtype", [np.float32, np.complex128, np.int64, bool])
def test_other_dtypes_are_calls(dtype):
    b = Builder()
    x = b.input(np.arange(5).astype(dtype))
    y = b.do("multiply", x, x)
    z = b.do("multiply", b.input(np.arange(5.0)), x)
    check(b.program(y, z, x, y), [b.values[slot] for slot in b.inputs])


def test_outputs_own_their_memory():
    b = Builder()
    x, c = b.input(np.arange(6.0)), b.constant(np.arange(3.0))
    view = b.do("getitem", x, params=(slice(1, 4),))
    y = b.do("add", view, c)
    sorted_ = b.do("cumsum", y, params=(0,))
    program = b.program(x, c, view, y, y, b.do("reshape", y, params=((1, 3),)), sorted_, sorted_, b.constant(2.5))
    machine = check(program, [b.values[x]])
    found = machine.run([b.values[x]]) + machine.run([b.values[x]]) + [b.values[x], b.values[c]]
    arrays = [y for y in found if isinstance(y, np.ndarray)]
    assert not any(np.may_share_memory(a, other) for i, a in enumerate(arrays) for other in arrays[:i])


def test_out():
    program, (x,) = vector_program(1000)
    machine = machine_for(program)
    wanted = evaluate(program, [x])
    out, total = np.empty(1000), np.empty(())
    found = machine.run([x], out=[out, total])
    assert found[0] is out and found[1] is total
    np.testing.assert_allclose(out, wanted[0], rtol=1e-12)
    np.testing.assert_allclose(total, wanted[1], rtol=1e-12)
    machine.run([x], out=[x, None])  # an input itself
    np.testing.assert_allclose(x, wanted[0], rtol=1e-12)
    strided = np.empty(2000)[::2]
    machine.run([out], out=[strided, None])
    np.testing.assert_allclose(strided, evaluate(program, [out])[0], rtol=1e-12)
    with pytest.raises(ValueError, match=r"out\[0\] must be a writeable ndarray of shape"):
        machine.run([x], out=[np.empty(3), None])


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, 0.0])
def test_special_values(special):
    b = Builder()
    x, y = b.input(np.array([special, 1.0, -1.0, special] * 5)), b.input(special)
    outputs = [b.do(name, x, y) for name in BINARY] + [b.do(name, y, x) for name in BINARY]
    outputs += [b.do(name, slot) for name in UNARY for slot in (x, y)]
    outputs += [b.do(name, y, b.constant(float(k))) for name in BINARY for k in (0, 2)]
    outputs += [b.do("sum", x, params=(None, False))]
    check(b.program(*outputs), [b.values[x], b.values[y]])


@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_zeros_beside_what_is_not_finite(special):
    b = Builder()
    w = b.input(np.array([special, 2.0, 3.0, special, 1.0]))
    put = b.do("put_zeros", b.input(np.array([1.0, 0.0, 2.0])), params=(slice(1, 4), (5,)))
    both = b.do("add", put, b.do("put_zeros", b.input(np.array([-1.0, 3.0])), params=(slice(1, 3), (5,))))
    diagonal = b.constant(np.eye(5) * 2)
    outputs = [b.do(name, x, w) for name in ("scale", "multiply") for x in (put, both, diagonal)]
    outputs += [b.do("multiply", put, b.constant(special)), b.do("subtract", both, b.do("negative", put))]
    check(b.program(*outputs), [b.values[slot] for slot in b.inputs])


def test_truth_that_something_else_reads():
    b = Builder()
    x = b.input(np.arange(-2.0, 3.0))
    truth = b.do(nondifferentiable_op(np.less), x, b.constant(0.5))
    check(b.program(b.do("where", truth, x, b.constant(0)), truth), [b.values[x]])


def test_sum_is_accurate():
    x = np.full(1_000_001, 0.1)
    b = Builder()
    program = b.program(b.do("sum", b.input(x), params=(None, False)))
    np.testing.assert_allclose(machine_for(program).run([x])[0], 100000.1, rtol=2e-15)


# -- calls -----------------------------------------------------------------------------------------


def test_matrices():
    rng = np.random.default_rng(3)
    b = Builder()
    a, x = b.input(rng.random((4, 5))), b.input(rng.random(5))
    y = b.do("tanh", b.do("matmul", a, x))
    back = b.do("matmul", b.do("matrix_transpose", a), y)
    row = b.do("multiply", b.do("reshape", y, params=((4, 1),)), b.do("reshape", x, params=((1, 5),)))
    scaled = b.do("sum_to", b.do("add", row, a), params=((5,),))
    check(b.program(back, row, scaled, b.do("sum", row, params=((0,), True))), [b.values[a], b.values[x]])


class Failing:
    """An op that fails, when told to."""

    def __init__(self):
        self.fail = False
        self.op = Op("failing", "plain", self.run)

    def run(self, x):
        if self.fail:
            raise ZeroDivisionError("told to")
        return x + 1


def test_exception_in_a_call():
    failing = Failing()
    b = Builder()
    x = b.input(np.arange(4.0))
    program = b.program(b.do("sin", b.do(failing.op, b.do("square", x))))
    machine = machine_for(program)
    failing.fail = True
    for _ in range(20):
        with pytest.raises(ZeroDivisionError, match="told to"):
            machine.run([b.values[x]])
    failing.fail = False
    np.testing.assert_allclose(machine.run([b.values[x]])[0], evaluate(program, [b.values[x]])[0], rtol=1e-14)


def test_call_runs_the_machine_again():
    machines, depth = [], [1]

    def again(x):
        if depth:
            return x
        depth.append(1)
        return machines[0].run([x * 2])[0]

    b = Builder()
    x = b.input(np.arange(4.0))
    program = b.program(b.do("add", b.do(Op("again", "plain", again), b.do("square", x)), x))
    depth.clear()
    machines.append(machine_for(program))
    found = machines[0].run([b.values[x]])[0]
    x = b.values[x]
    np.testing.assert_allclose(found, (2 * x**2) ** 2 + 2 * x**2 + x)


def test_call_that_keeps_or_returns_its_argument():
    kept = []

    def keep(x):
        kept.append(x)
        return x[::-1]

    b = Builder()
    x = b.input(np.arange(1.0, 5.0))
    y = b.do(Op("keep", "plain", keep), b.do("square", x))
    program = b.program(y, b.do("add", b.do("square", y), y))
    machine = machine_for(program)
    kept.clear()
    first, _ = machine.run([b.values[x]])
    machine.run([b.values[x] + 1])
    np.testing.assert_array_equal(kept[0], [1, 4, 9, 16])
    np.testing.assert_array_equal(first, [16, 9, 4, 1])


# -- threads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [50, 30_000])
def test_many_threads_run_one_machine(n):
    program, (x,) = vector_program(n)
    machine, failed = machine_for(program), []

    def work(k):
        wanted = evaluate(program, [x + k])
        for _ in range(50):
            found = machine.run([x + k])
            failed.extend(k for y, want in zip(found, wanted) if not np.allclose(y, want, rtol=1e-12))

    at_once(work, 12)
    assert not failed


@pytest.fixture(params=[1, 2, 4])
def workers(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield request.param
    set_num_threads(before)


def stencil_program(n):
    """Three slices whose cotangents overlap, and a sum."""
    b = Builder()
    x = b.input(np.random.default_rng(n).random(n))
    slices = [slice(2, None), slice(1, -1), slice(None, -2)]
    parts = [b.do("getitem", x, params=(part,)) for part in slices]
    bend = b.do("add", b.do("subtract", parts[0], b.do("multiply", b.constant(2.0), parts[1])), parts[2])
    total = b.do("sum", b.do("square", bend), params=(None, False))
    puts = [b.do("put_zeros", b.do("multiply", b.constant(k), b.do("exp", bend)), params=(part, (n,)))
            for k, part in zip((2.0, -4.0, 2.0), slices)]
    slope = b.do("add", b.do("add", puts[1], puts[0]), puts[2])
    return b.program(slope, total, b.do("multiply", slope, x)), [b.values[x]]


def matrix_program(n):
    """Rows that are normalised: broadcast operands, and sums along the last axis."""
    b = Builder()
    x, w = b.input(np.random.default_rng(n).random((n // 40, 40))), b.input(np.random.default_rng(0).random(40))
    y = b.do("exp", b.do("multiply", x, w))
    total = b.do("sum", y, params=(1, True))
    p = b.do("divide", y, total)
    spread = b.do("multiply", b.do("transpose", p, params=(None,)), b.do("sum", p, params=(1, False)))
    return b.program(p, total, b.do("sum", p, params=(0, False)), spread), [b.values[x], b.values[w]]


def sums_program(n):
    b = Builder()
    x = b.input(np.random.default_rng(n).normal(size=n))
    made = [b.do(name, x) for name in ("sin", "cos", "exp", "tanh", "square")]
    return b.program(*[b.do("sum", y, params=(None, False)) for y in made]), [b.values[x]]


@pytest.mark.parametrize("make", [vector_program, stencil_program, matrix_program])
@pytest.mark.parametrize("n", [30_001, 200_003])
def test_groups_over_threads(make, n, workers):
    program, values = make(n)
    machine = check(program, values)
    assert 2 * machine.plan.steps[0].align <= n  # it can be split
    first = machine.run(values)
    for _ in range(30):
        for y, want in zip(machine.run(values), first):
            np.testing.assert_array_equal(y, want)


def test_many_threads_share_the_workers(workers):
    program, (x,) = stencil_program(60_000)
    machine, wanted, failed = machine_for(program), evaluate(program, [x]), []

    def work(_):
        for _ in range(30):
            failed.extend(1 for y, want in zip(machine.run([x]), wanted) if not np.allclose(y, want, rtol=1e-10))

    at_once(work, 4)
    assert not failed


@pytest.mark.parametrize("workers", [3], indirect=True)
@pytest.mark.parametrize("make", [sums_program, stencil_program, matrix_program])
def test_who_finds_the_workers_busy_gets_the_same_bits(make, workers):
    program, values = make(300_000)
    machine, failed = machine_for(program), []
    wanted = machine.run(values)

    def work(_):
        for _ in range(20):
            failed.extend(1 for y, want in zip(machine.run(values), wanted) if not np.array_equal(y, want))

    at_once(work, 4)
    assert not failed


def test_number_of_threads():
    with pytest.raises(ValueError, match="set_num_threads takes a number from 1 on, not 0"):
        set_num_threads(0)
    code = "from ad.compiler.machine.loops import get_num_threads; print(get_num_threads())"
    others = {key: value for key, value in os.environ.items() if key not in ("AD_NUM_THREADS", "OMP_NUM_THREADS")}
    for name, value, found in [("AD_NUM_THREADS", "3", "3"), ("OMP_NUM_THREADS", " 3,2", "3"),
                               ("OMP_NUM_THREADS", "1" + 5000 * "0", "64")]:
        done = subprocess.run([sys.executable, "-c", code], env={**others, name: value}, capture_output=True, text=True)
        assert done.stdout.strip() == found, done.stderr


@pytest.mark.parametrize("workers", [2], indirect=True)
def test_number_of_threads_is_an_integer(workers):
    for n in (2.5, "2", True, None, np.float64(3), np.array([3.0])):
        with pytest.raises(TypeError, match="set_num_threads takes an integer, not"):
            set_num_threads(n)
        assert get_num_threads() == workers
    set_num_threads(np.int64(3))
    assert get_num_threads() == 3
    set_num_threads(10**20)
    assert get_num_threads() == 64


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("workers", [2], indirect=True)
def test_fork(workers):
    program, values = vector_program(200_000)
    machine = machine_for(program)
    wanted = machine.run(values)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.allclose(machine.run(values)[0], wanted[0], rtol=1e-12) else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("workers", [3], indirect=True)
def test_forks_while_other_threads_share_the_workers(workers):
    program, values = stencil_program(60_000)
    machine = machine_for(program)
    wanted, done = machine.run(values), threading.Event()

    def work():
        while not done.is_set():
            machine.run(values)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    children = []
    try:
        for _ in range(6):
            children.append(os.fork())
            if children[-1] == 0:
                signal.alarm(30)
                os._exit(0 if np.array_equal(machine.run(values)[0], wanted[0]) else 1)
    finally:
        done.set()
    assert [os.waitpid(child, 0)[1] for child in children] == 6 * [0]
    for thread in threads:
        thread.join()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits threads by a limit of Linux")
def test_threads_that_cannot_be_had():
    """A limit on memory leaves no room for the stack of a thread."""
    code = """
import resource, threading
from test_vm import machine_for, evaluate, np, set_num_threads, stencil_program
program, values = stencil_program(60_000)
machine = machine_for(program)
set_num_threads(1)
wanted = machine.run(values)
set_num_threads(8)
threading.stack_size(1 << 32)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 28), used + (1 << 28)))
for _ in range(100):
    assert np.allclose(machine.run(values)[0], wanted[0], rtol=1e-12)
"""
    tests = os.path.dirname(os.path.abspath(__file__))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, os.path.dirname(tests), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# -- memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_no_memory_grows(seed):
    program, values = random_program(seed)
    machine = machine_for(program)

    def run():
        for _ in range(300):
            machine.run(values)

    with np.errstate(all="ignore"):
        run()
        tracemalloc.start()
        try:
            run()
            before = tracemalloc.get_traced_memory()[0]
            run()
            assert tracemalloc.get_traced_memory()[0] - before < 2000
        finally:
            tracemalloc.stop()


# -- recorded functions ----------------------------------------------------------------------------


def rosen(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def scalar_loop(x):
    y, z = x[0], x[1]
    for _ in range(20):
        y, z = np.sin(y) * z + 0.1 * np.cos(y), y * z - np.exp(-y) * z
    return y + z


@pytest.mark.parametrize("f", [rosen, scalar_loop])
@pytest.mark.parametrize("transform", [lambda f: f, ad.grad, ad.hessian])
def test_recorded(f, transform):
    g = transform(f)
    x = np.linspace(0.2, 0.9, 7)
    found = machine_for(ad.record(g)(x)).run([x + 0.125])[0]
    np.testing.assert_allclose(found, g(x + 0.125), rtol=1e-11, atol=1e-12)


def test_empty_program_and_no_instructions():
    assert machine_for(Graph((), (), (), {}, ())).run([]) == []
    program = Graph((0,), (0, 0), (), {}, (Aval((3,)),))
    x = np.arange(3.0)
    found = machine_for(program).run([x])
    np.testing.assert_array_equal(found, [x, x])
    assert found[0] is not x and found[0] is not found[1]


def test_the_gradient_of_rosenbrock_takes_five_loops():
    """Products and sums are one loop, and what is stored in a part of the result is made there and read there."""
    program = ad.record(ad.grad(rosen))(np.arange(5000.0))
    (group,) = program.machine.plan.steps
    kernels = [loop.kernel for loop in group.loops if isinstance(loop, KernelLoop)]
    assert sorted(kernels) == sorted(["subtract_multiply", "subtract", "multiply", "scale_add"])
    assert [type(loop) for loop in group.loops if not isinstance(loop, KernelLoop)] == [AddSliceLoop]


@pytest.mark.parametrize("f", [
    lambda a, b, c: (a + b) * c, lambda a, b, c: c * (a - b), lambda a, b, c: (a - b) * (b + c),
    lambda a, b, c: (a + b) ** 2 - (a - b) * c, lambda a, b, c: 2.0 * (a + b) * (a + b) + c,
])
def test_products_of_sums(f, rng):
    a, b, c = rng.normal(size=(3, 1030))
    program = ad.record(f)(a, b, c)
    np.testing.assert_array_equal(program(b, c, a), evaluate(program, [b, c, a])[0])


@pytest.mark.parametrize("from_scratch", [False, True])
@pytest.mark.parametrize("adds", [False, True])
def test_scale_keeps_its_zeros_in_every_strip(from_scratch, adds):
    """Of a cotangent or a partial of zero comes zero, whatever the other; NaN beside anything else stays NaN."""
    special = [0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan]
    x, y = np.ones((2, 3000))
    at = 7 * np.arange(0, 3000 // 7, 40)  # in some strips there is nothing to see
    for k, i in enumerate(at):
        x[i : i + 7], y[i : i + 7] = special[k % 7], special
    b = Builder()
    slots = [b.input(x), b.input(y), b.input(np.full(3000, 0.5))]
    left, right = [b.do("subtract", slot, b.constant(0.0)) if from_scratch else slot for slot in slots[:2]]
    scaled = b.do("scale", left, right)
    y = b.do("add", scaled, slots[2]) if adds else scaled
    check(b.program(b.do("negative", y) if from_scratch else y), [b.values[slot] for slot in slots])


@pytest.mark.parametrize("offset", range(8))
def test_blocks_begin_on_lines_of_the_cache_wherever_the_input_does(offset, rng):
    x = rng.normal(size=5008)[offset : offset + 5000]
    program = ad.record(ad.grad(rosen))(x)
    np.testing.assert_allclose(program(x), ad.grad(rosen)(x), rtol=1e-12)


def test_a_product_is_made_before_another_part_is_added_to_where_its_factor_is_stored():
    b = Builder()
    x, y = b.input(np.linspace(0.5, 1.5, 100)), b.input(np.linspace(1.0, 2.0, 100))

    def sum_of_parts(early, late):
        return b.do("add", *[b.do("put_zeros", slot, params=(slice(k, k + 100), (101,)))
                             for k, slot in enumerate([early, late])])

    factor = b.do("sin", x)
    product = b.do("multiply", factor, y)
    stored, later = sum_of_parts(b.do("square", y), factor), sum_of_parts(product, b.do("cos", y))
    machine = check(b.program(stored, later), [b.values[slot] for slot in b.inputs])
    (group,) = machine.plan.steps
    assert [loop.kernel for loop in group.loops if isinstance(loop, KernelLoop)].count("multiply") == 1


@pytest.mark.parametrize("axis", [0, 1])
def test_arrays_in_parts_are_joined_in_parts(axis, rng):
    b = Builder()
    x, y = b.input(rng.normal(size=(40, 3))), b.input(rng.normal(size=(3, 40)))
    pieces = [b.do("put_zeros", x, params=((slice(2, 42), slice(1, 4)), (60, 60))),
              b.do("put_zeros", b.do("getitem", x, params=((slice(None), 1),)), params=((7, slice(3, 43)), (60, 60))),
              b.do("put_zeros", y, params=((slice(None, None, 20), slice(10, 50)), (60, 60)))]
    ends = (60, 120, 180)
    parts = b.do("concatenate", *pieces, params=(axis, ends))
    scaled = b.do("multiply", b.do("concatenate", *pieces, params=(axis, ends)), b.constant(2.0))
    mixed = b.do("concatenate", pieces[0], b.do("add", pieces[1], b.constant(1.0)), pieces[2], params=(axis, ends))
    machine = check(b.program(parts, scaled, mixed), [b.values[x], b.values[y]])
    calls = [step for step in machine.plan.steps if isinstance(step, OpaqueCall)]
    assert len(calls) == 1  # of NumPy's function, for the mixed ones
@pytest.mark.parametrize("names", ["sin cos cos", "cos sin sin", "sin sin cos cos", "cos sin cos sin cos"])
def test_sines_and_cosines_of_one_number_are_all_there(names):
    b = Builder()
    x = b.input(0.3)
    same = [x, b.do("reshape", x, params=((1,),)), b.do("reshape", x, params=((1, 1),))]
    made = [b.do(name, same[i % 3]) for i, name in enumerate(names.split())]
    check(b.program(*made), [1.1])


def test_value_that_is_squared_stored_in_a_part_and_read_once_more():
    b = Builder()
    x, y, z = [b.input(np.linspace(low, 2, 100)) for low in (0.5, 1.0, 0.0)]
    product = b.do("multiply", x, y)
    norm = b.do("add", b.do("square", product), z)
    part = b.do("sin", b.do("put_zeros", product, params=(slice(1, 101), (102,))))
    total = b.do("sum", b.do("sin", product), params=(None, False))
    check(b.program(norm, part, total), [b.values[slot] for slot in b.inputs])


def test_shadows_of_reversed_views_lie_in_their_memory():
    """A reshape that copies reads them."""
    b = Builder()
    x = b.do("square", b.input(np.ones((20, 30))))
    back = b.do("getitem", x, params=(slice(None, None, -1),))
    b.do("reshape", b.do("identity", back), params=((-1,),))
    shadows = Lowering(b.program()).view_lowering.shadows.values()
    assert any(shadow.strides == (-240, 8) for shadow in shadows)
    for shadow in shadows:
        owner = shadow
        while owner.base is not None:
            owner = owner.base
        low, high = byte_bounds(owner)
        assert low <= byte_bounds(shadow)[0] <= byte_bounds(shadow)[1] <= high


def test_constant_of_higher_precision_is_compared_as_it_is():
    b = Builder()
    x, above = b.input(np.array([1.0, 2.0])), b.constant(np.longdouble(1) + np.finfo(np.longdouble).eps)
    truth = b.do(nondifferentiable_op(np.less), x, above)
    check(b.program(b.do("where", truth, x, b.constant(0.0))), [b.values[x]])


def test_out_over_an_input_that_is_an_output_too():
    b = Builder()
    x = b.input(np.arange(5))
    program = b.program(b.do("add", x, b.constant(1)), x)
    values = np.arange(5)
    first, second = machine_for(program).run([values], out=[values, None])
    assert first is values
    np.testing.assert_array_equal(first, [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(second, [0, 1, 2, 3, 4])


def test_out_over_the_memory_of_an_input_that_is_no_ndarray():
    b = Builder()
    x = b.input(np.arange(5.0))
    program = b.program(b.do("add", b.do("getitem", x, params=(slice(None, None, -1),)), x))
    values = array.array("d", [0, 1, 2, 3, 5])
    (found,) = machine_for(program).run([values], out=[np.frombuffer(values)])
    np.testing.assert_array_equal(found, [5, 4, 4, 4, 5])


def test_out_of_a_dtype_that_loses_something_is_refused_before_anything_is_written():
    b = Builder()
    x = b.input(np.arange(5.0))
    machine, first = machine_for(b.program(b.do("square", x), b.do("cos", x))), np.zeros(5)
    with pytest.raises(TypeError, match=r"out\[1\] has dtype int64, to which a result of dtype float64 cannot be cast"):
        machine.run([b.values[x]], out=[first, np.zeros(5, int)])
    np.testing.assert_array_equal(first, 0)
    found = machine.run([b.values[x]], out=[None, np.zeros(5, np.float32)])[1]
    np.testing.assert_allclose(found, np.cos(b.values[x]), rtol=1e-6)


def test_list_for_an_input_of_integers_becomes_an_array():
    b = Builder()
    x = b.input(np.arange(3))
    single = b.input(np.int64(2))
    values = [1, 2, 3]
    found, number, product = machine_for(b.program(x, single, b.do("multiply", x, single))).run([values, 5])
    assert type(found) is type(product) is np.ndarray and type(number) is np.int64
    np.testing.assert_array_equal(found, values)
    np.testing.assert_array_equal(product, [5, 10, 15])


def test_call_whose_result_has_another_shape_is_refused():
    b = Builder()
    x, keep = b.input(np.arange(5.0)), b.input(np.ones(5, bool))
    chosen = b.do(Op("chosen", "plain", lambda x, keep: x[keep]), x, keep)
    machine = machine_for(b.program(b.do("square", chosen)))
    with pytest.raises(ValueError, match=r"chosen gave an array of shape \(2,\), and \(5,\) when it was recorded"):
        machine.run([np.arange(5.0), np.arange(5) < 2])


INDICES = [np.array([5, 0, 0, -1]), np.array([[3, 1], [4, 1]]), (slice(None), np.array([2, 0, 2])), np.arange(3, 6),
           np.array([0, 5, 10]), np.array([7]), np.array([9, 7, 5]), np.zeros(4, int), np.arange(11) % 3 == 0,
           (np.array([0, 3]), np.array([[1], [2]])), (np.array([8, 8, 2]), None, slice(None, None, -1)),
           np.zeros(0, int)]


@pytest.mark.parametrize("index", INDICES, ids=repr)
@pytest.mark.parametrize("seen", [lambda x: x, lambda x: x[::-1], lambda x: x[:, ::-2]])
def test_elements_by_indices_that_are_known(index, seen, rng):
    def f(x):
        y = seen(x)[index]
        return np.sum(np.sin(y) * y) + np.sum(seen(x)[index] ** 3)

    for x in rng.normal(size=(2, 11, 7)):
        for g in (f, ad.grad(f), ad.value_and_grad(f), ad.hessian(f)):
            wanted, found = g(x), ad.record(g)(x / 2)(x)
            for y, want in zip(found, wanted) if isinstance(wanted, tuple) else [(found, wanted)]:
                np.testing.assert_allclose(y, want, rtol=1e-11, atol=1e-12)


def test_a_few_elements_of_a_vast_array_are_not_worth_to_clear_it(rng):
    x, i = rng.normal(size=(90_000, 50)), rng.integers(90_000, size=20)
    program = ad.record(ad.grad(lambda x: np.sum(x[i] ** 3)))(x)
    np.testing.assert_allclose(program(2 * x), ad.grad(lambda x: np.sum(x[i] ** 3))(2 * x), rtol=1e-12)
    assert any(isinstance(step, OpaqueCall) for step in program.machine.plan.steps)


@pytest.mark.parametrize("workers", [1, 3], indirect=True)
def test_many_elements_by_indices(workers, rng):
    """Across blocks, and where threads share the work: an element is added to as often as it was taken."""
    i, j = rng.integers(3000, size=(2, 200_000))
    m = rng.integers(50, size=(100, 3000))

    def f(x):
        return np.sum((x[i] - x[j]) ** 2) + np.sum(np.cos(x.reshape(60, 50)[:, m[0, :40]])) + np.sum(x[1:] * x[:-1])

    x = rng.normal(size=3000)
    np.testing.assert_allclose(ad.record(ad.grad(f))(x)(2 * x), ad.grad(f)(2 * x), rtol=1e-9, atol=1e-9)
    groups = [step for step in ad.record(ad.grad(f))(x).machine.plan.steps if isinstance(step, LoopGroup)]
    kinds = [type(loop) for group in groups for loop in group.loops]
    assert kinds.count(TakeLoop) == 3 and kinds.count(AddAtLoop) == 3
    assert all(group.align >= group.n for group in groups if has_loop(group, AddAtLoop))


def _turned(b, slot, how):
    """A matrix as a view of one, its rows or columns apart, backwards or in each other's place."""
    shape = b.shape(slot)
    if how == "plain" or len(shape) == 1 and how == "turned":
        return slot
    if how == "turned":
        return b.do("transpose", b.input(np.ascontiguousarray(b.values[slot].T)), params=(None,))
    big = np.zeros([2 * n for n in shape])
    part = (slice(None, None, -2),) * len(shape)
    big[part] = b.values[slot]
    return b.do("getitem", b.input(big), params=(part,))


@pytest.mark.parametrize("shapes", [
    ((3, 4), (4, 5)), ((1, 1), (1, 1)), ((2, 30), (30, 2)), ((16, 16), (16, 16)), ((7,), (7,)), ((7,), (7, 9)),
    ((9, 7), (7,)), ((1, 300), (300, 13)), ((2, 17), (17, 1)), ((4, 1), (1, 4)), ((0, 3), (3, 2)), ((2, 0), (0, 2)),
    ((17, 16), (16, 16)), ((2, 3, 4), (4, 2)),
], ids=repr)
@pytest.mark.parametrize("first", ["plain", "turned", "apart"])
@pytest.mark.parametrize("second", ["plain", "turned", "apart"])
def test_products_of_small_matrices(shapes, first, second, rng):
    if len(shapes[0]) > 2 and "turned" in (first, second):
        pytest.skip("one transpose of matrices is enough")
    b = Builder()
    a, c = [_turned(b, b.input(rng.normal(size=shape)), how) for shape, how in zip(shapes, (first, second))]
    product = b.do("matmul", a, c)
    twice = b.do("add", product, product)
    machine = check(b.program(product, twice, b.do("sin", a)), [b.values[slot] for slot in b.inputs], rtol=1e-11)
    small = len(shapes[0]) < 3 and 0 < np.prod([*shapes[0], *shapes[1][1:]]) <= 4096
    assert small != any(isinstance(step, OpaqueCall) for step in machine.plan.steps)


def test_products_of_products_are_steps_one_after_another(rng):
    b = Builder()
    a, c = b.input(rng.normal(size=(3, 3))), b.input(rng.normal(size=(3, 3)))
    product = b.do("matmul", a, c)
    machine = check(b.program(b.do("matmul", product, b.do("matmul", c, product))), [b.values[a], b.values[c]])
    assert [type(step).__name__ for step in machine.plan.steps] == 3 * ["MatrixProduct"]


def test_products_keep_nan_and_infinity():
    b = Builder()
    a = b.input(np.array([[np.nan, 0.0, 1.0], [0.0, 2.0, np.inf]]))
    c = b.input(np.array([[0.0, 1.0], [np.inf, 2.0], [3.0, 4.0]]))
    check(b.program(b.do("matmul", a, c), b.do("matmul", c, a)), [b.values[a], b.values[c]])


@pytest.mark.parametrize("axis", [1, 0, None])
def test_sums_do_not_depend_on_where_an_input_begins(axis, rng):
    x = rng.normal(size=(5, 3000))
    program = ad.record(lambda x: np.sum(np.sin(x), axis))(x)
    memory = np.empty(x.size + 8)
    for start in range(8):
        moved = memory[start : start + x.size].reshape(x.shape)
        moved[...] = x
        np.testing.assert_array_equal(program(moved), program(x))


# -- elements by known indices ------------------------------------------------------------------------

CHOSEN = np.array([3, 0, 7, 7, 2, 9])


def test_elements_that_are_taken_and_stored_in_a_part():
    b = Builder()
    x = b.input(np.arange(10.0))
    taken = b.do("getitem", x, params=(CHOSEN,))
    late = b.do("put_zeros", taken, params=(slice(1, 7), (8,)))
    early = b.do("put_zeros", b.do("sin", taken), params=(slice(0, 6), (8,)))
    check(b.program(late, b.do("add", late, early)), [b.values[x]])


def test_numbers_of_elements_are_kept_once(rng):
    """Those of one index and one view: where they are taken and where they are added to."""
    b = Builder()
    x = b.input(rng.normal(size=(5, 5)))
    turned, chosen = b.do("transpose", x, params=(None,)), np.array([4, 0, 4])
    columns = slice(None), chosen
    places = [(x, chosen), (b.do("sin", x), chosen), (turned, chosen), (x, chosen // 2), (x, columns), (x, columns)]
    taken = [b.do("getitem", slot, params=(index,)) for slot, index in places]
    put = b.do("put_zeros", taken[0], params=(chosen, (5, 5)))
    machine = check(b.program(*taken, put), [b.values[x]])
    loops = [loop for step in machine.plan.steps for loop in step.loops]
    tables = [loop.indices for loop in loops if isinstance(loop, TakeLoop | AddAtLoop)]
    assert len(tables) == 7 and len({table.ctypes.data for table in tables}) == 4


def test_parts_that_cancel_are_added_before_they_are_scaled():
    """Of their sum, zero, comes zero; of each, infinity."""
    b = Builder()
    x, factor = b.input(np.arange(1.0, 7.0)), b.input(np.full(10, np.inf))
    late, early = [b.do("put_zeros", slot, params=(slice(k, k + 6), (10,)))
                   for k, slot in [(2, x), (0, b.do("getitem", x, params=([2, 3, 0, 1, 2, 3],)))]]
    check(b.program(b.do("scale", b.do("subtract", late, early), factor)), [b.values[x], b.values[factor]])


def test_parts_of_one_array_that_are_not_the_same_are_added_by_one_thread(rng):
    b = Builder()
    x = b.input(rng.normal(size=(300, 400)))
    parts = [b.do("put_zeros", x, params=(index, (303, 404))) for index in
             [(slice(0, 300), slice(0, 400)), (slice(3, 303), slice(4, 404))]]
    alike = b.do("add", *[b.do("put_zeros", b.do(name, x), params=((slice(3, 303), slice(4, 404)), (303, 404)))
                          for name in ("sin", "cos")])
    for out, align in ((b.do("add", *parts), 120_000), (alike, 1600)):
        machine = check(b.program(out), [b.values[x]])
        assert [group.align for group in machine.plan.steps if has_loop(group, AddViewLoop)] == [align]


def test_scattered_elements_are_subtracted():
    b = Builder()
    x = b.input(np.arange(1.0, 7.0))
    part = b.do("put_zeros", x, params=(slice(1, 7), (10,)))
    scattered = b.do("put_zeros", b.do("sin", x), params=(CHOSEN, (10,)))
    check(b.program(b.do("subtract", part, scattered), b.do("subtract", scattered, part)), [b.values[x]])


def test_product_that_nothing_reads_has_memory():
    b = Builder()
    x = b.input(np.arange(36.0).reshape(6, 6))
    b.do("matmul", x, x)
    total = b.do("sum", x, params=(None, False))
    program = b.program(b.do("sin", total), b.do("cos", total))
    plan = machine_for(program).plan
    (product,) = [step for step in plan.steps if isinstance(step, MatrixProduct)]
    assert product.out.base == BUFFERS and plan.arena_size >= 36
    check(program, [b.values[x]])


def test_parts_that_overlap_minus_themselves_are_zero(rng):
    b = Builder()
    x = b.input(rng.normal(size=60))
    low, high = b.do("put_zeros", x, params=(slice(1, 61), (64,))), b.do("put_zeros", x, params=(slice(2, 62), (64,)))
    both = b.do("add", low, b.do("add", high, b.do("put_zeros", x, params=(slice(0, 60), (64,)))))
    (found,) = machine_for(b.program(b.do("sqrt", b.do("subtract", both, both)))).run([b.values[x]])
    np.testing.assert_array_equal(found, 0.0)


@pytest.mark.parametrize("function", [np.sin, np.cos])
@pytest.mark.parametrize("reach", [1e-300, 1e-8, 1e-3, 1.0, 3.0, 100.0, 1e4, 9e5, 1e9, 1e300])
def test_sines_of_many_numbers_are_right_to_the_last_place(function, reach, rng):
    x = rng.uniform(-reach, reach, 5000)
    if reach < 1e9:
        quarters = np.rint(x[::3] * 2 / np.pi) * (np.pi / 2)
        x[::3] = np.nextafter(quarters, rng.choice([-np.inf, 0.0, np.inf], quarters.size))
    found, exact = ad.compile(function)(x), function(x.astype(np.longdouble))
    assert np.max(np.abs(found - exact) / np.spacing(np.abs(exact).astype(float))) < 1


@pytest.mark.parametrize("function", [np.sin, np.cos])
def test_sines_of_what_is_not_finite_or_far_leave_their_neighbours_alone(function):
    odd = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, -1e-310, 1e6, -1e6, np.nextafter(1e6, 2e6), 1e22])
    x = np.linspace(-20, 20, 1000)
    x[::90][:len(odd)] = odd[:len(x[::90])]
    found, expected = ad.compile(function)(x), function(x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-16)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
    for n in (1, 2, 15, 16, 17, 255, 256, 257):
        np.testing.assert_allclose(ad.compile(function)(x[:n]), expected[:n], rtol=0, atol=3e-16)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, (0, 2), (1, 2), (0, 1, 2), None])
def test_sums_of_an_array_in_parts_are_sums_of_its_parts(axis, keepdims, rng):
    b = Builder()
    x, y = b.input(rng.normal(size=(2, 3, 4))), b.input(rng.normal(size=5))
    pieces = [b.do("put_zeros", x, params=((slice(1, 5, 3), slice(0, 3), slice(None, None, 2)), (6, 5, 8))),
              b.do("put_zeros", y, params=((2, slice(None), 7), (6, 5, 8))),
              b.do("put_zeros", y, params=((2, slice(None, None, -1), 7), (6, 5, 8)))]
    joined = b.do("add", b.do("add", *pieces[:2]), pieces[2])
    total = b.do("sum", joined, params=(axis, keepdims))
    check(b.program(total, b.do("square", total)), [b.values[x], b.values[y]])
    check(b.program(total, joined), [b.values[x], b.values[y]])


def test_a_sum_over_the_lanes_of_an_identity_reads_no_zeros(rng):
    x = rng.random(300)
    program = ad.record(ad.hessian(lambda x: np.log(np.sum(np.exp(x)))))(x)
    read = [loop for step in program.machine.plan.steps if isinstance(step, LoopGroup) and step.n == x.size ** 2
            for loop in step.loops if isinstance(loop, SumLoop | AddViewLoop)]
    assert not read
    np.testing.assert_allclose(program(x), ad.hessian(lambda x: np.log(np.sum(np.exp(x))))(x), atol=1e-15)
