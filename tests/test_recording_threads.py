"""Compiled functions: several threads, and memory."""
import gc
import threading
import weakref

import numpy as np
import pytest
from recordings import branches, in_threads, rosen
from test_memory import growth, linux_only

import ad
from ad.engine.inspection import is_tracing

# -- threads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [branches, ad.grad(branches), ad.hessian(branches)], ids=["value", "gradient", "hessian"])
def test_one_function_in_eight_threads(f):
    """Different shapes, both branches, recording and replay at once."""
    for _ in range(5):
        compiled = ad.compile(f)

        def work(i, compiled=compiled):
            rng = np.random.default_rng(i)
            for _ in range(30):
                x = rng.random(2 + rng.integers(3))
                np.testing.assert_allclose(compiled(x), f(x), rtol=1e-12, atol=1e-12)

        in_threads(work)


def test_threads_share_the_recording_of_large_arrays():
    compiled = ad.compile(ad.grad(rosen))
    wanted = {i: ad.grad(rosen)(np.random.default_rng(i).random(20_000)) for i in range(4)}

    def work(i):
        x = np.random.default_rng(i % 4).random(20_000)
        for _ in range(20):
            np.testing.assert_allclose(compiled(x), wanted[i % 4], rtol=1e-12)

    in_threads(work)


def test_another_thread_is_not_recorded():
    seen = []

    def f(x):
        def other():
            seen.append((is_tracing(), np.sin(2.0), compiled_other(3.0)))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return np.cos(x)

    compiled_other = ad.compile(lambda x: x + 1)
    program = ad.record(f)(1.0)
    assert seen == [(False, np.sin(2.0), 4.0)]
    assert len(program) == 1


# -- memory ----------------------------------------------------------------------------------------


@linux_only
def test_replays_keep_nothing():
    x, many = np.random.default_rng(0).random(10), {"a": np.ones(3), "b": 2.0}
    cached, guarded = ad.compile(ad.grad(rosen)), ad.compile(branches)
    general = ad.compile(lambda p: [p["a"] * p["b"], np.linalg.inv(np.eye(2) * p["b"])])

    def call():
        cached(x)
        guarded(x)
        guarded(x / 10)
        general(many)

    nodes, size = growth(call, repeats=10_000)
    assert not nodes
    assert size < 300_000
    call = lambda: cached(x)  # noqa: E731
    nodes, size = growth(call, repeats=1_000_000)
    assert not nodes
    assert size < 300_000


@linux_only
def test_recordings_that_are_dropped_are_freed():
    x = np.random.default_rng(0).random(1000)

    def call():
        compiled = ad.compile(ad.grad(branches))
        compiled(x)
        compiled(x / 1000)
        compiled({"x": x}["x"])
        str(ad.record(branches)(x))

    nodes, size = growth(call, repeats=1000, warm_up=100)
    assert not nodes
    assert size < 2_000_000


def test_arguments_are_not_kept(rng):
    compiled, captured = ad.compile(lambda x: (x * 2, x)), rng.random(5000)
    for f in (compiled, ad.compile(ad.grad(lambda x: np.sum(x**2 * captured))), ad.record(np.sin)):
        for wrap in (lambda x: x, ad.constant):
            for _ in range(2):
                x = rng.random(5000)
                kept, result = weakref.ref(x), f(wrap(x))
                del x
                if kept() is not None:
                    gc.collect()
                assert kept() is None
                del result


def test_signatures_are_bounded():
    compiled = ad.compile(lambda x, n: x * n)
    for n in range(600):
        assert compiled(2.0, n) == 2.0 * n
    assert len(compiled._trees) <= 256
