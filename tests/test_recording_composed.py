"""Compiled functions inside transforms and tapes, and transforms and tapes of compiled functions."""
import warnings

import numpy as np
import pytest
from recordings import assert_close, branches, counted, curve, custom, rosen

import ad

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
