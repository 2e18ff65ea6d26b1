"""Machines and threads: many threads run one, and the threads of a group."""
import os
import signal
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from machines import (
    at_once,
    check,
    has_loop,
    matrix_program,
    random_program,
    stencil_program,
    sums_program,
    vector_program,
)
from programs import Builder

import ad
from ad.compiler.ir.interpreting import evaluate
from ad.compiler.machine import machine_for
from ad.compiler.machine.execution_plan import AddAtLoop, AddViewLoop, LoopGroup, TakeLoop
from ad.compiler.machine.loops import get_num_threads, set_num_threads


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
from test_vm_threads import machine_for, np, set_num_threads, stencil_program
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
