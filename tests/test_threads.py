"""Threads and coroutines started inside a differentiated or recorded function, and beside one."""
import asyncio
import contextvars
import gc
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import ad

X = np.array([1.0, 2.0])
LARGE = np.linspace(0.1, 1.0, 20_000)


def over_threads(f, values):
    """The sum of f of the values, each in a thread."""
    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(f, values))


def in_context(f, values):
    """The same, each in a context of its own."""
    return sum(contextvars.copy_context().run(f, value) for value in values)


def in_tasks(f, values):
    """The same, each in a coroutine; they take turns."""
    async def called(value):
        await asyncio.sleep(0)
        found = f(value)
        await asyncio.sleep(0)
        return found

    async def all_of_them():
        return sum(await asyncio.gather(*map(called, values)))

    return asyncio.run(all_of_them())


def one_after_the_other(f, values):
    return sum(map(f, values))


ELSEWHERE = {"threads": over_threads, "contexts": in_context, "tasks": in_tasks}


def powers(spread, x):
    return spread(lambda k: np.sum(x**k), (1, 2, 3))


def inner_gradients(spread, x):
    return spread(lambda k: ad.grad(lambda t: np.sum(x**2) * t**3)(k), (1.0, 2.0))


def inner_products(spread, x):
    return spread(lambda k: ad.hvp(lambda t: np.sum(x**2) * t**3)(k, 1.0), (1.0, 2.0))


def inner_hessians(spread, x):
    return spread(lambda k: np.sum(ad.hessian(lambda t: np.sum(x * t**3))(np.array([k, k]))), (1.0, 2.0))


def inner_jacobians(spread, x):
    return spread(lambda k: np.sum(ad.jacobian(lambda t: x * t**3)(np.array([k, k]))), (1.0, 2.0))


def inner_tangents(spread, x):
    return spread(lambda k: ad.jvp(lambda t: np.sum(x**2) * t**3, (k,), (1.0,))[1], (1.0, 2.0))


def inner_lanes(spread, x):
    return spread(lambda k: np.sum(ad.vmap(lambda t: np.sum(x**2) * t * k)(np.arange(3.0))), (1.0, 2.0))


def inner_compiled(spread, x):
    return spread(ad.compile(lambda k: np.sum(x**2) * k), (1.0, 2.0))


def inner_tapes(spread, x):
    def slope(k):
        t = ad.constant(k)
        with ad.GradientTape() as tape:
            tape.watch(t)
            y = np.sum(x**2) * t**3
        return tape.gradient(y, t)

    return spread(slope, (1.0, 2.0))


def inner_sources(spread, x):
    def slope(k):
        y = x * k
        with ad.GradientTape() as tape:
            tape.watch(y)
            z = np.sum(y**3)
        return np.sum(tape.gradient(z, y)) + np.sum(y)

    return spread(slope, (1.0, 2.0))


@ad.custom_gradient
def cubed(x):
    p = x.numpy()
    return p**3, lambda g: g * 3 * x**2


def custom_rules(spread, x):
    return spread(lambda k: np.sum(cubed(k * x)), (1.0, 2.0))


def several_outputs(spread, x):
    return spread(lambda k: np.linalg.slogdet(np.diag(x) * k)[1], (1.0, 2.0))


def branches(spread, x):
    return spread(lambda k: np.sum(x**2) if x[0] > 0 else np.sum(x) * k, (1.0, 2.0))


def pulled(spread, x):
    _, pull = ad.vjp(lambda t: np.sum(x * t**2), x)
    return spread(lambda k: np.sum(pull(k)[0]), (1.0, 2.0))


PROGRAMS = [powers, inner_gradients, inner_products, inner_hessians, inner_jacobians, inner_tangents, inner_lanes,
            inner_compiled, inner_tapes, inner_sources, several_outputs, branches, pulled, custom_rules]
DERIVATIVES = {
    "grad": ad.grad, "value_and_grad": ad.value_and_grad, "hessian": ad.hessian,
    "jvp": lambda f: lambda x: ad.jvp(f, (x,), (np.ones_like(x),))[1],
    "jacobian": lambda f: ad.jacobian(lambda x: np.stack([f(x), f(2 * x)])),
    "grad of grad": lambda f: ad.grad(lambda x: np.sum(ad.grad(f)(x) ** 2)),
    "vmap": lambda f: lambda x: ad.vmap(f)(np.stack([x, 2 * x])),
    "gradient of vmap": lambda f: lambda x: ad.grad(lambda x: np.sum(ad.vmap(f)(x)))(np.stack([x, 2 * x])),
    "compile": lambda f: replayed(f), "compiled gradient": lambda f: replayed(ad.grad(f)),
    "tape": lambda f: lambda x: taped(f, x), "accumulator": lambda f: lambda x: accumulated(f, x),
}


def replayed(f):
    def call(x):
        compiled = ad.compile(f)
        compiled(x + 1)
        return compiled(x)

    return call


def taped(f, x):
    v = ad.constant(x)
    with ad.GradientTape() as tape:
        tape.watch(v)
        y = f(v)
    return tape.gradient(y, v)


def accumulated(f, x):
    v = ad.constant(x)
    with ad.ForwardAccumulator(v, np.ones_like(x)) as acc:
        y = f(v)
    return acc.jvp(y)


def flat(found):
    return np.concatenate([np.ravel(part) for part in (found if isinstance(found, tuple) else (found,))])


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("derivative", DERIVATIVES.values(), ids=DERIVATIVES)
def test_what_is_computed_elsewhere_is_differentiated(program, derivative):
    if derivative is DERIVATIVES["accumulator"] and program not in (powers, several_outputs, branches):
        return  # an inner derivative in another thread is taken to use a primal, which any thread may have, for itself
    wanted = derivative(lambda x: program(one_after_the_other, x))(X)
    for name, spread in ELSEWHERE.items():
        found = derivative(lambda x, spread=spread: program(spread, x))(X)
        np.testing.assert_allclose(flat(found), flat(wanted), rtol=1e-12, err_msg=name)
        assert type(found) is type(wanted)


def test_the_right_values():
    np.testing.assert_allclose(ad.grad(lambda x: powers(over_threads, x))(X), 1 + 2 * X + 3 * X**2)
    np.testing.assert_allclose(ad.hessian(lambda x: powers(over_threads, x))(X), np.diag(2 + 6 * X))


@pytest.mark.parametrize("spread", ELSEWHERE.values(), ids=ELSEWHERE)
def test_variables_are_watched_and_read_elsewhere(spread):
    v = ad.Variable(X)
    with ad.GradientTape() as tape:
        y = spread(lambda k: np.sum(v**k), (1, 2))
    np.testing.assert_allclose(tape.gradient(y, v), 1 + 2 * X)
    compiled = ad.compile(lambda: spread(lambda k: np.sum(v**k), (1, 2)))
    compiled()
    v.assign(3 * X)
    np.testing.assert_allclose(compiled(), np.sum(3 * X + 9 * X**2))


@pytest.mark.parametrize("spread", ELSEWHERE.values(), ids=ELSEWHERE)
def test_large_arrays_that_wait_in_a_recording(spread):
    def f(x):
        y = 2 * x
        return spread(lambda k: np.sum(y**k), (1, 2))

    for function, wanted in ((f, lambda x: np.sum(2 * x + 4 * x**2)), (ad.grad(f), lambda x: 2 + 8 * x)):
        compiled = ad.compile(function)
        for x in (LARGE, 2 * LARGE):
            np.testing.assert_allclose(compiled(x), wanted(x))


@pytest.mark.parametrize("method", ["BFGS", "L-BFGS-B", "newton-cg"])
def test_minimize_through_threads(method):
    pytest.importorskip("scipy")
    found = ad.optimize.minimize(
        lambda x: over_threads(lambda k: np.sum((x - k) ** 2), (1, 2)), np.zeros(2), method=method)
    np.testing.assert_allclose(found.x, 1.5, atol=1e-5)


def test_a_value_that_is_being_differentiated_is_so_in_every_thread():
    def f(x):
        return over_threads(lambda k: float(x) * k, (1, 2))

    for derivative in (ad.grad(f), lambda x: ad.jvp(f, (x,), (1.0,))):
        with pytest.raises(TypeError, match="being differentiated"):
            derivative(2.0)


# -- beside a derivative -----------------------------------------------------------------------------


class Beside:
    """A block during which another thread is inside `with manager`."""

    def __init__(self, manager):
        self.manager, self.opened, self.done = manager, threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        with self.manager:
            self.opened.set()
            self.done.wait()

    def __enter__(self):
        self.thread.start()
        self.opened.wait()

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


def test_an_unrelated_tape_changes_nothing():
    v = ad.Variable(2.0)
    x = ad.constant(3.0)
    for manager in (ad.GradientTape(), ad.ForwardAccumulator(v, 1.0)):
        with Beside(manager):
            assert float(v * 3) == 6 and isinstance(ad.grad(lambda x: np.sum(x**2) * v)(X), np.ndarray)
            value, slope = ad.value_and_grad(lambda x: x**2 * v)(3.0)
            assert type(value) is np.float64 and type(slope) is np.float64 and (value, slope) == (18, 12)
            assert ad.compile(lambda x: x * 2)(3.0) == 6
            with ad.GradientTape() as tape:
                tape.watch(x)
                y = x * x * v
            assert [float(g) for g in tape.gradient(y, [x, v])] == [12, 9] and float(y) == 18


def test_each_task_has_tapes_of_its_own():
    v, found = ad.Variable(2.0), {}

    async def with_tape(k, turns):
        with ad.GradientTape() as tape:
            y = v**k
            for _ in range(turns):
                await asyncio.sleep(0)
            y = y * v
        await asyncio.sleep(0)
        found["tape", k] = tape.gradient(y, v)

    async def with_accumulator(k, turns):
        with ad.ForwardAccumulator(v, 1.0) as acc:
            y = v**k
            for _ in range(turns):
                await asyncio.sleep(0)
            y = y * v
        found["acc", k] = acc.jvp(y)

    async def plain():
        for _ in range(4):
            await asyncio.sleep(0)
            assert type(ad.grad(lambda x: x**2 * v)(3.0)) is np.float64 and float(v * 3) == 6
            assert isinstance(ad.compile(ad.grad(lambda x: np.sum(x**2)))(X), np.ndarray)

    async def main():
        await asyncio.gather(with_tape(1, 5), with_tape(2, 2), with_accumulator(1, 4), with_accumulator(3, 1), plain(),
                             with_accumulator(2, 6))

    asyncio.run(main())
    assert {key: float(value) for key, value in found.items()} == {
        ("tape", 1): 4, ("tape", 2): 12, ("acc", 1): 4, ("acc", 2): 12, ("acc", 3): 32}


def test_generators_that_stop_inside_a_tape():
    v = ad.Variable(2.0)

    def steps(k):
        with ad.GradientTape() as tape:
            y = v**k
            yield None
            y = y * v
        yield tape.gradient(y, v).numpy()

    for order in ((0, 1), (1, 0)):
        both = [steps(1), steps(2)]
        for one in both:
            next(one)
        assert [next(both[i]) for i in order] == [[4, 12][i] for i in order]


def test_many_contexts_leave_nothing_behind():
    async def one(k):
        await asyncio.sleep(0)
        return ad.grad(lambda x: x**k)(2.0)

    async def main():
        return await asyncio.gather(*[one(2) for _ in range(3000)])

    for _ in range(3):
        assert set(asyncio.run(main())) == {4.0}
    gc.collect()


# -- values that another sweep needs ---------------------------------------------------------------


@pytest.mark.parametrize("compute", [
    lambda x: np.exp(x) * np.sin(x), lambda x: np.outer(x[:150], x[:150]) @ np.ones(150)], ids=["elementwise", "rules"])
def test_a_sweep_leaves_what_a_tape_of_another_thread_needs(compute):
    box, opened, go, used, swept = {}, *[threading.Event() for _ in range(4)]

    def other():
        with ad.GradientTape() as tape:
            opened.set()
            go.wait()
            tape.watch(box["x"])
            z = np.sum(box["y"] * 2.0)
        used.set()
        swept.wait()
        box["g"] = tape.gradient(z, box["x"])

    def f(x):
        box["x"], box["y"] = x, compute(x)
        go.set()
        used.wait()
        return np.sum(box["y"])

    thread = threading.Thread(target=other)
    thread.start()
    opened.wait()
    g = ad.grad(f)(LARGE)
    swept.set()
    thread.join()
    np.testing.assert_allclose(box["g"], 2 * g)


def test_many_derivatives_and_recordings_at_once():
    """Threads that change places often, each with a pool that its functions use."""
    failures, before = [], sys.getswitchinterval()

    def work():
        with ThreadPoolExecutor(2) as pool:
            def f(x):
                return sum(pool.map(lambda k: np.sum(np.sin(x) * k) if x[0] > 0 else np.sum(x**2), (1, 2)))

            for x in (X, -X, LARGE, 2 * X):
                wanted = 3 * np.cos(x) if x[0] > 0 else 4 * x
                for derivative in (ad.grad(f), ad.compile(ad.grad(f)), lambda x: ad.vmap(ad.grad(f))(x[None])[0]):
                    found = derivative(x)
                    if type(found) is not np.ndarray or not np.allclose(found, wanted):
                        failures.append(found)

    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(work) for _ in range(8)]:
                done.result()
    finally:
        sys.setswitchinterval(before)
    assert failures == []


def in_thread(f):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(f).result()


def test_smooth_powers_in_another_thread():
    """A power that undoes a kink, in a thread that records a program of its own."""
    def in_a_recording(work):
        found = []
        ad.record(lambda z: found.append(in_thread(lambda: found.append(work()))) or z)(X)
        return found[0]

    for square in (lambda x: np.abs(x) ** 2, lambda x: np.sqrt(np.abs(x)) ** 4):
        for run in (in_thread, in_a_recording):
            f = lambda x, run=run, square=square: np.sum(run(lambda: square(x)))
            np.testing.assert_array_equal(ad.hessian(f)(np.zeros(2)), 2 * np.eye(2))


def test_rules_of_calls_in_another_thread():
    """The rule of `custom_gradient` is there for as long as the tape of the thread that started the other one."""
    class Layer:
        k = 3.0

        @ad.custom_gradient
        def scaled(self, x):
            return x * self.k, lambda y_bar: y_bar * self.k

        @ad.custom_gradient
        def cut(self, x):
            return np.sin(x.numpy() * self.k), lambda y_bar: y_bar * np.cos(x * self.k) * self.k

    layer = Layer()
    for f, derivative in ((layer.scaled, lambda x: np.full_like(x, 3)), (layer.cut, lambda x: 3 * np.cos(3 * x))):
        total = lambda x, f=f: np.sum(in_thread(lambda: f(x)))
        np.testing.assert_allclose(ad.grad(total)(X), derivative(X))
        compiled = ad.compile(ad.grad(lambda x, f=f: np.sum(f(x))))
        for k in (1, 2):
            np.testing.assert_allclose(compiled(k * X), derivative(k * X))
        with ad.GradientTape() as tape:
            x = ad.constant(X)
            tape.watch(x)
            y = total(x)
        np.testing.assert_allclose(tape.gradient(y, x), derivative(X))
