"""Long chains, the size of a tape, and leaks. A debug build (AD_DEBUG=1) counts live nodes exactly."""
import gc
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from ad import Dual, Variable, _core
from ad.engine import graph, sweep

STATM = "/proc/self/statm"
LONG = 1_000_000
linux_only = pytest.mark.skipif(not os.path.exists(STATM), reason="reads /proc")


def nodes_alive():
    """The number of live nodes; None in a release build."""
    try:
        return graph.live_objects()["nodes"]
    except RuntimeError:
        return None


def resident():
    with open(STATM) as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(call, repeats=10_000, warm_up=500):
    """How many (nodes, bytes) more are held after `repeats` calls than before; nodes is None in a release build."""
    for _ in range(warm_up):
        call()
    gc.collect()
    nodes, size = nodes_alive(), resident()
    for _ in range(repeats):
        call()
    gc.collect()
    return None if nodes is None else nodes_alive() - nodes, resident() - size


def gradient_of(f, *xs):
    """The gradient of a scalar function of arrays, from the sweeps themselves."""
    recorder, aliases, y = sweep.run_recorded(f, [_core.constant(x) for x in xs])
    return sweep.pull_back(recorder, [y], aliases, [_core.constant(1.0)])


def chain(x, n=LONG):
    """x after n multiplications: 1.000001^n x."""
    for _ in range(n):
        x = x * 1.000001
    return x


def test_a_chain_of_a_million_ops_differentiates():
    before = nodes_alive()
    (x_bar,) = gradient_of(chain, 1.0)
    np.testing.assert_allclose(x_bar.numpy(), 1.000001**LONG, rtol=1e-9)
    del x_bar
    if before is not None:
        assert nodes_alive() == before


def test_a_chain_of_a_million_vector_ops_is_freed():
    before = nodes_alive()
    recorder, aliases, y = sweep.run_recorded(lambda x: chain(x, 200_000), [_core.constant(np.ones(2))])
    del recorder, aliases, y
    if before is not None:
        assert nodes_alive() == before


def test_a_wide_graph_is_freed():
    """Every node is held twice: by the next and by the last."""

    def f(x):
        xs = [x]
        for _ in range(50_000):
            xs.append(np.sin(xs[-1]) + xs[-1])
        return sum(xs[1:], xs[0])

    before = nodes_alive()
    gradient_of(f, 0.1)
    if before is not None:
        assert nodes_alive() == before


@linux_only
def test_tape_memory_per_scalar_op():
    """At most 200 bytes, measured in a process of its own in which nothing else is freed or reused."""
    code = f"""
        import os
        from ad import _core
        from ad.engine import sweep

        def resident():
            with open({STATM!r}) as statm:
                return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

        def chain(x):
            for _ in range({LONG}):
                x = x * 1.000001
            return x

        x = _core.constant(1.0)
        sweep.run_recorded(lambda x: x * x, [x])
        before = resident()
        held = sweep.run_recorded(chain, [x])
        print((resident() - before) / {LONG})
    """
    command = [sys.executable, "-P", "-c", textwrap.dedent(code)]
    assert 0 < float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) <= 200


def scalars(x, y):
    return np.sin(x) * y + x**2 / y


def mixed(x, y):
    return np.sum(np.exp(-x) * y + np.reshape(x[1:], (-1, 1)) * y)


SCALAR, VECTOR = np.array(0.3), np.linspace(0.1, 1.0, 7)


@linux_only
@pytest.mark.parametrize(
    ("f", "x", "y"), [(scalars, SCALAR, SCALAR + 1), (mixed, VECTOR, VECTOR + 1)], ids=["scalars", "mixed"]
)
def test_repeated_gradients_leak_nothing(f, x, y):
    nodes, size = growth(lambda: gradient_of(f, x, y))
    assert nodes in (None, 0)
    assert size < 1_000_000  # 100 bytes a gradient


@linux_only
def test_repeated_second_order_leaks_nothing():
    def slope(x):
        recorder, (inner,), y = sweep.run_recorded(lambda x: np.exp(np.sin(x)) * x, [x])
        return sweep.pull_back(recorder, [y], [inner], [_core.constant(1.0)])[0]

    nodes, size = growth(lambda: gradient_of(slope, 0.7), repeats=3000)
    assert nodes in (None, 0)
    assert size < 1_000_000


@linux_only
def test_repeated_forward_over_reverse_leaks_nothing():
    def curvature():
        x = Dual(VECTOR, np.eye(len(VECTOR)))
        recorder, (inner,), y = sweep.run_recorded(lambda x: np.sum(np.exp(x) * x), [x])
        return sweep.pull_back(recorder, [y], [inner], [_core.constant(1.0)])[0].tangent

    np.testing.assert_allclose(curvature(), np.diag(np.exp(VECTOR) * (VECTOR + 2)))
    nodes, size = growth(curvature, repeats=3000)
    assert nodes in (None, 0)
    assert size < 1_000_000


@linux_only
def test_assigned_variables_leak_nothing():
    """A training loop by hand; and reads that no one differentiates hold nothing."""
    v = Variable(np.ones(5))

    def step():
        recorder, (x,), y = sweep.run_recorded(lambda x: np.sum(x * x), [v])
        v.assign_sub(0.1 * sweep.pull_back(recorder, [y], [x], [_core.constant(1.0)])[0].numpy())
        return v * 2.0

    nodes, size = growth(step)
    assert nodes in (None, 0)
    assert size < 1_000_000


@linux_only
def test_a_failing_function_leaks_nothing():
    def broken(x):
        np.sin(x) * x
        raise KeyError("on purpose")

    def call():
        with pytest.raises(KeyError):
            gradient_of(broken, VECTOR)

    nodes, size = growth(call, repeats=2000, warm_up=500)
    assert nodes in (None, 0)
    assert size < 1_000_000


def test_live_objects_name_the_remedy_in_a_release_build():
    if nodes_alive() is None:
        with pytest.raises(RuntimeError, match="AD_DEBUG=1"):
            graph.live_objects()
    else:
        before = nodes_alive()
        held = sweep.run_recorded(lambda x: x * x, [_core.constant(1.0)])
        assert nodes_alive() > before
        del held
        assert nodes_alive() == before
