"""What could end the process, or leave memory behind: each program runs in a process of its own, with a time limit.

`.ci/run` runs this file a second time with a build under AddressSanitizer, which sees reads and writes that go
unnoticed here.
"""
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

import ad

HERE = Path(__file__).parent
FUZZ = int(os.environ.get("AD_FUZZ", "120"))  # files to be loaded

PROGRAMS = {
    "RecursionError while a program is recorded": """
        import numpy as np, ad
        C = [np.arange(3.0) + i for i in range(4)]
        def f(x, d):
            if d:
                return f(x, d - 1)
            return np.sum(np.where(x > 0, x, C[0]) * np.stack([x, C[1], C[2]])[0]) * ad.sin(x[0] * 2.0)
        for transform in (ad.grad, lambda f: f):
            for d in range(900, 1000):
                try:
                    ad.compile(transform(lambda x: f(x, d)))(np.ones(3))
                except RecursionError:
                    pass
    """,
    "a signal while a program is recorded": """
        import numpy as np, ad, signal
        C = [np.arange(8.0) + i for i in range(6)]
        def stop(*_):
            raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, stop)
        f = lambda x: np.sum(np.stack([x, *C])[0] * x)
        for i in range(200):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-5 + i % 100 * 1e-5)
                ad.compile(ad.grad(f))(np.ones(8))
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                pass
        signal.setitimer(signal.ITIMER_REAL, 0)
    """,
    "out= from another thread": """
        import numpy as np, ad, threading, time
        x, z = ad.constant(np.ones((200, 200))), ad.constant(np.ones((200, 200)))
        done = []
        def writer():
            while not done:
                np.multiply(z, 2.0, out=x)
        threads = [threading.Thread(target=writer) for _ in range(2)]
        for thread in threads:
            thread.start()
        end = time.time() + 1
        while time.time() < end:
            with ad.GradientTape() as tape:
                w = ad.constant(np.eye(200))
                tape.watch(w)
                y = np.sum(x @ w) + np.sum(np.stack([x, w, x])) + np.sum(np.einsum("ij,jk->ik", x, w))
            tape.gradient(y, w)
        done.append(True)
        for thread in threads:
            thread.join()
    """,
    "out= from an element of an object array": """
        import numpy as np, ad
        class Number:
            def __rmul__(self, other):
                np.multiply(ad.constant(np.zeros(3)), 2.0, out=x)
                keep.append(np.full(3, 77.0))
                return 1.0
            __mul__ = __add__ = __radd__ = __rmul__
        keep = []
        numbers = np.array([Number()] * 3, dtype=object)
        for i in range(500):
            for op in (np.multiply, np.add, lambda a, b: np.concatenate([a, b * a]), np.divide):
                x = ad.constant(np.ones(3))
                with ad.GradientTape() as tape:
                    tape.watch(x)
                    try:
                        op(x, numbers)
                    except TypeError:
                        pass
    """,
    "out= from the bound of a slice, a weak reference and a rule": """
        import numpy as np, ad, weakref
        class Bound:
            def __index__(self):
                np.multiply(ad.constant(2.0), 2.0, out=x)
                return 1
        for i in range(200):
            x = ad.constant(np.ones(3))
            try:
                x[Bound():]
            except (IndexError, TypeError):
                pass
            x = ad.constant(np.ones(3))
            refs = [weakref.ref(x.numpy().base, lambda _: repr(x))]
            np.multiply(ad.constant(np.zeros(3)), 2.0, out=x)
        @ad.custom_gradient
        def f(a):
            def rule(y_bar):
                np.multiply(ad.constant(2.0), 2.0, out=x)
                return y_bar
            return a * 2.0, rule
        for i in range(200):
            with ad.GradientTape() as tape:
                x = ad.constant(np.ones(3))
                tape.watch(x)
                y = np.sum(f(x) * x)
            tape.gradient(y, x)
    """,
}


def run(*command, timeout=120, **env):
    """The standard output of a Python process that ends well."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), **env}
    command = [sys.executable, *map(str, command)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env, cwd=HERE)
    assert done.returncode == 0, f"{done.returncode}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_process_lives(name):
    if "signal" in name and not hasattr(signal, "setitimer"):
        pytest.skip("no timer")
    run("-c", textwrap.dedent(PROGRAMS[name]))


def test_wrong_arguments_of_private_functions():
    assert run(HERE / "crash_private_calls.py").splitlines()[-1].startswith("calls ")


@pytest.mark.parametrize("method", ["_watch", "_tangent", "_add"])
def test_none_is_a_type_error(method):
    target = ad.GradientTape() if method == "_watch" else ad.ForwardAccumulator(ad.constant(1.0), 1.0)
    with pytest.raises(TypeError):
        getattr(target, method)(*[None] * (2 if method == "_add" else 1))


def test_files_that_lie():
    assert run(HERE / "crash_saved_programs.py", FUZZ, 1).startswith("ok")


# -- memory ---------------------------------------------------------------------------------------------------


class Holder:
    """A user's object that holds a function with a rule of its own, and what it returned."""

    def __init__(self):
        self.k = 2.0

    def __call__(self, x):
        @ad.custom_gradient
        def f(x):
            return np.exp(x) * self.k, lambda y_bar: y_bar * self.k

        return f(x)


def kept_result():
    holder, x = Holder(), ad.Variable(np.ones(3))
    with ad.GradientTape() as tape:
        holder.y = np.sum(holder(x) * 2.0 + 1.0)
    assert np.all(tape.gradient(holder.y, x).numpy() == 4.0)
    return holder


def kept_persistent_tape():
    holder, x = Holder(), ad.Variable(np.ones(3))
    with ad.GradientTape(persistent=True) as holder.tape:
        holder.y = np.sum(holder(x))
    for _ in range(2):
        holder.x_bar = holder.tape.gradient(holder.y, x)
    return holder


def kept_pullback():
    holder = Holder()
    holder.y, holder.pullback = ad.vjp(holder, np.ones(3))
    holder.pullback(np.ones(3))
    return holder


def kept_in_grad():
    holder = Holder()

    def f(x):
        holder.y = holder(x)
        return np.sum(holder.y)

    holder.slope = ad.grad(ad.grad(lambda t: f(t * np.ones(3))))
    holder.slope(1.0)
    return holder


def kept_linear_map():
    holder = Holder()
    holder.y, holder.map = ad.linearize(holder, np.ones(3))
    holder.map(np.ones(3))
    return holder


def kept_compiled():
    holder = Holder()
    holder.f = ad.compile(ad.grad(lambda x: np.sum(holder(x))))
    holder.f(np.ones(3)), holder.f(np.ones(3))
    return holder


@pytest.mark.parametrize("make", [kept_result, kept_persistent_tape, kept_pullback, kept_in_grad, kept_linear_map,
                                  kept_compiled])
def test_a_cycle_through_custom_gradient_is_collected(make):
    refs = [weakref.ref(make()) for _ in range(3)]
    gc.collect()
    assert [ref() for ref in refs] == [None] * 3


def test_what_a_discarded_custom_gradient_held_is_freed_while_the_tape_records():
    x = ad.Variable(np.ones(3))
    with ad.GradientTape():
        holder = Holder()
        ref = weakref.ref(holder)
        holder(x)
        del holder
        gc.collect()
        assert ref() is None


def test_rules_hold_in_every_recorder_that_sees_them():
    f = Holder()
    x = ad.Variable(1.0)
    with ad.GradientTape() as outer:
        with ad.GradientTape() as inner:
            y = f(x)
        slope = inner.gradient(y, x)
        del inner
        z = slope * y
    assert slope.numpy() == 2.0
    assert outer.gradient(z, x).numpy() == 4.0
    with ad.GradientTape(persistent=True) as tape:
        y = ad.sin(f(x))
        with tape.stop_recording():
            f(x)
    del f
    gc.collect()
    assert tape.gradient(y, x).numpy() == pytest.approx(2 * np.cos(2 * np.e))


@pytest.mark.parametrize("make", [
    lambda: ad.constant(1.0), lambda: ad.constant(np.ones(3)) * 2.0, lambda: ad.Variable(1.0),
    lambda: ad.Dual(1.0, 2.0), ad.GradientTape, lambda: ad.ForwardAccumulator(ad.constant(1.0), 1.0)])
def test_weak_references(make):
    seen = []
    x = make()
    ref = weakref.ref(x, seen.append)
    assert ref() is x
    del x
    assert ref() is None
    assert seen == [ref]
    others = [make() for _ in range(3)]  # which take the memory over
    assert ref() is None
    assert len({id(weakref.ref(other)()) for other in others}) == 3


def test_a_weak_value_dictionary_of_arrays():
    kept = weakref.WeakValueDictionary()
    x = kept["x"] = ad.constant(np.ones(3))
    assert kept["x"] is x
    del x
    assert "x" not in kept


def test_a_rule_of_another_threads_recorder_is_an_error_and_not_a_crash():
    """The other thread's transform is over, and with it the rule."""
    f, box, go, done = Holder(), {}, threading.Event(), threading.Event()
    with ad.GradientTape() as tape:
        def other():
            def inner(x):
                box["x"], box["y"] = x, f(x)
                go.set()
                done.wait()
                return np.sum(box["y"])
            ad.grad(inner)(np.ones(3))
        thread = threading.Thread(target=other)
        thread.start()
        go.wait()
        tape.watch(box["x"])
        z = np.sum(box["y"] * 2.0)
    done.set()
    thread.join()
    try:
        found = tape.gradient(z, box["x"])
    except NotImplementedError as error:
        assert "the rule of a function under custom_gradient is gone" in str(error)
    else:
        assert np.allclose(found.numpy(), 4.0)
