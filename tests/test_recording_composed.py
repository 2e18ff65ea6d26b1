"""Compiled functions inside other things and around them: transforms, tapes, threads, exceptions, memory."""
import gc
import threading
import warnings
import weakref

import numpy as np
import pytest
from test_memory import growth, linux_only
from test_recording import counted

import ad
from ad import _core
from ad.compiler.tracing import tracer
from ad.ops import TABLE
from ad.ops.traits import TRAITS


def rosen(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def curve(x):
    return np.sin(x) * x + np.cumsum(x) ** 2 + x[0]


def branches(x):
    return np.sum(np.exp(x) * x if np.sum(x) > 1.5 else np.cos(x * x))


@ad.custom_gradient
def softplus(x):
    e = np.exp(x)
    return np.log1p(e), lambda y_bar: y_bar * e / (1 + e)


def custom(x):
    return np.sum(softplus(x) * x)


v = np.array([1.0, -2.0, 0.5])


def jvp_of(f):
    return lambda x: ad.jvp(f, (x,), (v,))


def vjp_of(f):
    def g(x):
        y, pull = ad.vjp(f, x)
        return y, pull(np.ones(np.shape(y)))

    return g


def linearize_of(f):
    def g(x):
        y, push = ad.linearize(f, x)
        return y, push(v), push(x)

    return g


def tape_of(f):
    def g(x):
        x = ad.constant(x)
        with ad.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = f(x)
        found = tape.gradient(y, x)
        return found if isinstance(found, np.ndarray) else found * 1.0

    return g


def second_tape_of(f):
    def g(x):
        x = ad.constant(x)
        with ad.GradientTape() as outer:
            outer.watch(x)
            with ad.GradientTape() as inner:
                inner.watch(x)
                y = f(x)
            slope = inner.gradient(y, x)
        return outer.gradient(slope, x) * 1.0

    return g


def accumulator_of(f):
    def g(x):
        x = ad.constant(x)
        with ad.ForwardAccumulator(x, v) as accumulator:
            y = f(x)
        return accumulator.jvp(y) * 1.0

    return g


def dual_of(f):
    def g(x):
        y = f(ad.Dual(x, v))
        return y.primal, y.tangent

    return g


TRANSFORMS = {
    "grad": ad.grad, "value_and_grad": ad.value_and_grad, "hessian": ad.hessian,
    "hvp": lambda f: lambda x: ad.hvp(f)(x, v),
    "forward": lambda f: ad.jacobian(f, mode="forward"), "reverse": lambda f: ad.jacobian(f, mode="reverse"),
    "jvp": jvp_of, "vjp": vjp_of, "linearize": linearize_of, "tape": tape_of, "second tape": second_tape_of,
    "accumulator": accumulator_of, "dual": dual_of, "third": lambda f: ad.jacobian(ad.hessian(f)),
    "grad of compiled grad": lambda f: ad.jacobian(ad.compile(ad.grad(f))), "compiled": lambda f: ad.compile(f),
}
SCALAR_ONLY = {"grad", "value_and_grad", "hessian", "hvp", "third", "grad of compiled grad"}
CASES = [(name, f) for name in TRANSFORMS for f in (rosen, branches, custom, curve)
         if f is not curve or name not in SCALAR_ONLY]


def numbers(result):
    """Its arrays and numbers, plain."""
    return [np.asarray(y.numpy() if isinstance(y, ad.Array) else y) for y in ad.trees.flatten(result)[0]]


def assert_close(found, wanted, rtol=1e-12, atol=1e-12):
    found, wanted = numbers(found), numbers(wanted)
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize(("name", "f"), CASES, ids=lambda part: part if isinstance(part, str) else part.__name__)
def test_transforms_compiled_and_of_compiled_functions(name, f, rng):
    transform = TRANSFORMS[name]
    eager, outside, inside = transform(f), ad.compile(transform(f)), transform(ad.compile(f))
    both = ad.compile(transform(ad.compile(f)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for _ in range(6):
            x = rng.random(3)
            wanted = eager(x)
            for other in (outside, inside, both):
                assert_close(other(x), wanted)


@pytest.mark.parametrize("f", [rosen, branches, custom])
def test_a_transform_compiled_runs_once(f, rng):
    for transform in (ad.grad, ad.hessian, ad.value_and_grad):
        compiled, runs = counted(transform(f))
        for _ in range(8):
            compiled(rng.random(3))
        assert len(runs) <= 2


def test_a_compiled_function_is_seen_by_tapes(rng):
    w = ad.Variable(rng.random(3))
    compiled = ad.compile(lambda x: np.sum(w**2 * x))
    x = rng.random(3)
    for _ in range(3):
        compiled(x)
        with ad.GradientTape() as tape:
            loss = compiled(x)
        np.testing.assert_allclose(tape.gradient(loss, w).numpy(), 2 * w.numpy() * x)
        w.assign(rng.random(3))


def test_a_compiled_gradient_of_variables_trains():
    w, b = ad.Variable(np.zeros(2)), ad.Variable(0.0)
    optimizer = ad.optimizers.SGD(0.1)

    @ad.compile
    def gradients(x, y):
        with ad.GradientTape() as tape:
            loss = np.mean((x @ w + b - y) ** 2)
        return tape.gradient(loss, [w, b])

    x = np.random.default_rng(0).normal(size=(50, 2))
    for _ in range(500):
        optimizer.apply_gradients(zip(gradients(x, x @ [2.0, -1.0] + 3.0), [w, b]))
    np.testing.assert_allclose(w.numpy(), [2.0, -1.0], atol=1e-6)
    np.testing.assert_allclose(b.numpy(), 3.0, atol=1e-6)


def test_gradients_of_containers(rng):
    def loss(params, x):
        return np.sum((np.tanh(x @ params["w"][0]) @ params["w"][1] + params["b"]) ** 2) * params["scale"]

    params = {"w": [rng.random((3, 4)), rng.random(4)], "b": np.float64(0.5), "scale": 2.0}
    compiled, runs = counted(ad.value_and_grad(loss))
    for _ in range(3):
        x = rng.random((5, 3))
        assert_close(compiled(params, x), ad.value_and_grad(loss)(params, x))
        assert list(compiled(params, x)[1]) == ["w", "b", "scale"]
    assert len(runs) == 1


@pytest.mark.parametrize("f", [
    lambda x: tape_of(lambda z: z * float(np.sum(x)))(v * 1.0), lambda x: ad.grad(lambda z: z * float(x[0] * 2))(x[1]),
    lambda x: ad.jvp(lambda z: z * float(np.rint(x[0])), (x,), (x,)), lambda x: ad.vmap(lambda z: z * float(z * 0))(x),
    lambda x: ad.vmap(lambda z: z * float(np.sum(x)))(x)], ids=range(5))
def test_python_may_see_what_is_recorded_and_not_differentiated(f):
    compiled = ad.compile(f)
    for x in (np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.0, 4.0])):
        assert_close(compiled(x), f(x))
        assert_close(compiled(2 * x), f(2 * x))


@pytest.mark.parametrize("name", [name for name in TRANSFORMS if name not in ("dual", "compiled")])
def test_what_is_differentiated_is_not_cut_off(name):
    def f(x):
        return np.sum(x * float(x[0] * 2))

    for g in (f, lambda x: np.sum(ad.vmap(f)(np.stack([x, x]))), ad.compile(f)):
        for call in (TRANSFORMS[name](g), ad.compile(TRANSFORMS[name](g))):
            with pytest.raises(TypeError, match=r"ad: float\(\) would make a constant of a value"):
                call(np.array([1.0, 2.0, 3.0]))


def test_recursion():
    @ad.compile
    def factorial(n, x):
        return x if n == 0 else factorial(n - 1, x * n)

    @ad.compile
    def halved(x):
        return x if abs(x) < 1 else halved(x / 2)

    for _ in range(2):
        for n in (5, 3, 6):
            assert factorial(n, 1.0) == np.prod(np.arange(1.0, n + 1))
        for x in (100.0, 3.0, 0.5, 64.0):
            assert halved(x) == x / 2 ** max(0, np.floor(np.log2(x)) + 1)


# -- exceptions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("wrap", [lambda f: f, ad.grad, lambda f: ad.compile(f)])
def test_an_exception_while_recording_keeps_nothing(error, wrap):
    fails = [True]

    def f(x):
        y = np.sin(x)
        if fails:
            raise error("no")
        return y * 2

    compiled, runs = counted(wrap(f))
    for _ in range(2):
        with pytest.raises(error, match="no"):
            compiled(1.0)
        assert not _core.is_tracing() and not tracer.is_watching()
        assert type(np.sin(ad.constant(1.0)) < 2) is not ad.Array
    fails.clear()
    for _ in range(3):
        compiled(1.0)
    assert len(runs) == 3


def test_an_exception_on_a_new_path_keeps_the_old_one():
    def f(x):
        if x > 0:
            return x * 2
        raise ValueError("negative")

    compiled, runs = counted(f)
    for _ in range(3):
        assert compiled(2.0) == 4.0
        with pytest.raises(ValueError, match="negative"):
            compiled(-1.0)
    assert len(runs) == 4


def test_an_exception_in_a_replay_is_that_of_the_function(rng):
    def f(a, b):
        return np.sum(np.linalg.solve(a, b) ** 2)

    for g in (f, ad.grad(f, argnums=(0, 1))):
        compiled = ad.compile(g)
        a, b = rng.random((3, 3)) + 3 * np.eye(3), rng.random(3)
        compiled(a, b)
        for _ in range(3):
            with pytest.raises(np.linalg.LinAlgError, match="Singular"):
                compiled(np.zeros((3, 3)), b)
            assert_close(compiled(a, b), g(a, b))


def inverse_or_zeros(a):
    try:
        return np.linalg.inv(a) + 1
    except np.linalg.LinAlgError:
        return 0 * a


def is_definite(a):
    try:
        np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        return a * -1.0
    return a * 2.0


def solved(a):
    try:
        x = np.linalg.solve(a, np.ones(2))
    except np.linalg.LinAlgError:
        return a * -1.0
    assert x is not None
    return a * 2.0


def element(a):
    try:
        return np.array([3.0, 4.0])[np.argmax(a)] * a
    except IndexError:
        return -a


def chosen(a):
    try:
        y = np.array([3.0, 4.0])[np.argmax(a)] * a
        y = a
    except IndexError:
        return -a
    return y


def chosen_too(a):
    try:
        y = a[0][np.argmax(a)] * a
        y = a * 1.0
    except IndexError:
        return -a
    return y


def unused(a):
    try:
        y = np.linalg.inv(a)
        y = y * 2
    except np.linalg.LinAlgError:
        return -a
    y = a * 3
    return y


def power(a):
    try:
        return np.arange(2) ** (np.argmax(a) - 2) * a
    except ValueError:
        return -a


def whole(a):
    try:
        return int(a[0, 0]) * a
    except ValueError:
        return -2.0 * a
    except OverflowError:
        return -3.0 * a


def binned(a):
    try:
        return a * np.digitize(0.5, a[0])
    except ValueError:
        return -a


GOOD, BAD = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, 2.0], [0.5, 1.0]])
NOT_WHOLE, UNSORTED = [np.array([[x, 1.0], [1.0, 3.0]]) for x in (np.nan, np.inf)], np.array([[1.0, 3.0], [1.0, 2.0]])


@pytest.mark.parametrize("order", [1, -1], ids=["good first", "bad first"])
@pytest.mark.parametrize(("f", "values"), [
    (inverse_or_zeros, [GOOD, BAD]), (is_definite, [GOOD, BAD]), (solved, [GOOD, BAD]), (element, [GOOD, GOOD[::-1]]),
    (chosen, [GOOD, GOOD[::-1]]), (unused, [GOOD, BAD]), (chosen_too, [GOOD, GOOD[::-1]]),
    (power, [GOOD[::-1], GOOD]), (whole, [GOOD, *NOT_WHOLE]), (binned, [GOOD, UNSORTED])])
def test_exceptions_that_the_function_handles(f, values, order):
    """A replay cannot catch them: the function itself is called, whichever way it was recorded."""
    def total(a):
        return np.sum(f(a) ** 2)

    for g in (f, ad.grad(total), ad.hessian(total)):
        compiled, nested = ad.compile(g), ad.compile(lambda a, g=g: ad.compile(g)(a) * 1.0)
        for a in [*values[::order]] * 3:
            assert_close(compiled(a), g(a))
            assert_close(nested(a), g(a))
            assert_close(compiled(ad.constant(a)), g(a))
    lanes = np.stack(values[::order])
    assert_close(ad.vmap(f)(lanes), np.stack([*map(f, lanes)]))
    assert_close(ad.compile(ad.vmap(f))(lanes), np.stack([*map(f, lanes)]))
    assert_close(ad.vmap(ad.grad(total))(lanes), np.stack([*map(ad.grad(total), lanes)]))


def test_what_a_replay_raises_has_the_traceback_of_the_function():
    compiled, mapped = ad.compile(lambda a: np.linalg.inv(a) * 2), ad.vmap(lambda a: np.linalg.inv(a) * 2)
    compiled(GOOD)
    mapped(np.stack([GOOD, GOOD]))
    for call in (lambda: compiled(BAD), lambda: mapped(np.stack([GOOD, BAD]))):
        with pytest.raises(np.linalg.LinAlgError) as found:
            call()
        assert any(entry.name == "<lambda>" and "inv(a) * 2" in str(entry.statement) for entry in found.traceback)
        assert found.value.__context__ is None


def test_a_function_that_handles_an_exception_each_time():
    """It is traced no longer than it is a hope, and told of once."""
    compiled, runs = counted(inverse_or_zeros)
    with pytest.warns(UserWarning, match=r"test_recording_composed.py:\d+: an op raised here time and again") as told:
        for _ in range(100):
            assert_close(compiled(BAD), 0 * BAD)
    assert len(told) == 1 and len(runs) == 100


def test_a_program_of_a_handled_exception_is_told_of():
    with pytest.warns(UserWarning, match=r"ad.record: .*test_recording_composed.py:\d+: an op raised here, and"):
        ad.record(inverse_or_zeros)(BAD)


def test_ops_that_raise_are_known():
    raising = set()
    for entry in TABLE.values():
        for a in (np.zeros((2, 2)), np.full((2, 2), np.nan), BAD) if entry.op else ():
            for inputs in ((a,), (a, a)):
                try:
                    entry.op.fn(*inputs, *[None] * (len(entry.op.parameters)))
                except np.linalg.LinAlgError:
                    raising.add(entry.op)
                except (TypeError, ValueError, AttributeError, IndexError):
                    pass  # not called so
    assert len(raising) > 4
    assert raising - {TABLE["cholesky_cotangent"].op} <= {op for op, traits in TRAITS.items() if traits.may_raise}


def test_warnings_of_numpy_as_errors():
    compiled = ad.compile(lambda a: np.sum(np.linalg.inv(a)))
    a = np.eye(2)
    compiled(a)
    with np.errstate(all="raise"):
        np.testing.assert_allclose(compiled(2 * a), 1.0)


# -- threads -----------------------------------------------------------------------------------------


def in_threads(work, n=8):
    """Call work(i) in n threads at once; what any of them raised is raised."""
    errors, barrier = [], threading.Barrier(n)

    def run(i):
        barrier.wait()
        try:
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


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
            seen.append((_core.is_tracing(), np.sin(2.0), compiled_other(3.0)))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return np.cos(x)

    compiled_other = ad.compile(lambda x: x + 1)
    program = ad.record(f)(1.0)
    assert seen == [(False, np.sin(2.0), 4.0)]
    assert len(program) == 1


# -- memory ----------------------------------------------------------------------------------------------


@linux_only
def test_replays_keep_nothing():
    x, many = np.random.default_rng(0).random(10), {"a": np.ones(3), "b": 2.0}
    shortcut, guarded = ad.compile(ad.grad(rosen)), ad.compile(branches)
    general = ad.compile(lambda p: [p["a"] * p["b"], np.linalg.inv(np.eye(2) * p["b"])])

    def call():
        shortcut(x)
        guarded(x)
        guarded(x / 10)
        general(many)

    nodes, size = growth(call, repeats=10_000)
    assert not nodes
    assert size < 300_000
    call = lambda: shortcut(x)  # noqa: E731
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


def test_custom_gradients_are_recorded_as_ops(rng, tmp_path):
    @ad.custom_gradient
    def polar(x, y):
        return (np.hypot(x, y), np.arctan2(y, x)), lambda r_bar, t_bar: (2 * r_bar * x, 3 * t_bar * y)

    def f(x, y):
        r, t = polar(x, y)
        return np.sum(r * t)

    x, y = rng.random(3), rng.random(3)
    program = ad.record(ad.grad(f, argnums=(0, 1)))(x, y)
    program.save(tmp_path / "polar.ad")
    x, y = rng.random(3), rng.random(3)
    assert_close(ad.load(tmp_path / "polar.ad")(x, y), ad.grad(f, argnums=(0, 1))(x, y))
    assert_close(ad.compile(f)(x, y), f(x, y))


def test_a_program_without_its_custom_rule_is_not_differentiated(tmp_path):
    @ad.custom_gradient
    def five(x):
        return np.clip(x, -1, 1), lambda y_bar: 5 * y_bar

    x = np.array([0.5, 2.0])
    program = ad.record(five)(x)
    program.save(tmp_path / "five")
    for p in (program, ad.load(tmp_path / "five")):
        np.testing.assert_array_equal(p(2 * x), [1.0, 1.0])
        np.testing.assert_array_equal(ad.compile(p)(x), [0.5, 1.0])
        for differentiate in (lambda p: ad.grad(lambda x: p(x).sum())(x), lambda p: p.vjp((x,), x),
                              lambda p: p.jvp((x,), (x,))):
            with pytest.raises(ad.MissingRule, match="has its ops but not its rule"):
                differentiate(p)
    np.testing.assert_array_equal(ad.record(ad.grad(lambda x: five(x).sum()))(x)(x), [5.0, 5.0])
