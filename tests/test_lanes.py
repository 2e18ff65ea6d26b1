"""Programs over lanes and `vmap`: all agrees with a loop over the lanes, every op of the table and compositions."""
import numpy as np
import pytest
from recordings import inverse_or_zeros
from test_recorded_table import gradients_of, tangents, value
from test_table import CALLS, arrays, assert_same, flat, of_calls

import ad
from ad.compiler.ir.interpreting import evaluate
from ad.compiler.tracing.lanes import with_lanes

K = 3
MODES = {"value": value, "gradient": gradients_of, "tangent": tangents}


def stacked(rows):
    return [np.stack([np.asarray(part) for part in parts]) for parts in zip(*rows)]


# -- every op of the table -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@of_calls(CALLS)
def test_every_op_over_lanes(call, mode, rng):
    samples = [call.sample(rng) for _ in range(K)]
    lanes = [arrays(args) for args in samples]
    if not lanes[0]:
        pytest.skip("no floating input")
    function = flat(call, samples[0])

    def one(*xs):
        return MODES[mode](function, xs)

    stacks = stacked(lanes)
    assert_same(ad.vmap(one)(*stacks), stacked([one(*xs) for xs in lanes]), rtol=1e-9, atol=1e-11)
    for i in range(len(stacks)) if len(stacks) > 1 else ():
        axes = tuple([0 if i == j else None for j in range(len(stacks))])
        given = [stack if axis == 0 else stack[0] for stack, axis in zip(stacks, axes)]
        rows = [one(*[x[lane] if axis == 0 else x for x, axis in zip(given, axes)]) for lane in range(K)]
        assert_same(ad.vmap(one, axes)(*given), stacked(rows), rtol=1e-9, atol=1e-11)


@of_calls(CALLS)
def test_every_op_differentiated_through_vmap(call, rng):
    samples = [call.sample(rng) for _ in range(K)]
    lanes = [arrays(args) for args in samples]
    if not lanes[0]:
        pytest.skip("no floating input")
    function = flat(call, samples[0])
    mapped = ad.vmap(function)
    seeds = [np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype) for y in function(*lanes[0])]
    _, pull = ad.vjp(lambda *xs: mapped(*xs), *stacked(lanes))
    rows = [ad.vjp(lambda *xs: function(*xs), *xs)[1](seeds) for xs in lanes]
    assert_same(pull([np.stack([seed] * K) for seed in seeds]), stacked(rows), rtol=1e-9, atol=1e-11)


# -- compositions ----------------------------------------------------------------------------------


def looped(f, *stacks):
    return np.stack([f(*xs) for xs in zip(*stacks)])


def assert_near(found, expected):
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def curve(x):
    return (np.sin(x[1:]) * x[:-1] ** 2).sum() + np.exp(-x @ x)


X = np.random.default_rng(3).normal(size=(5, 4))
W = np.random.default_rng(4).normal(size=(3, 4))


@pytest.mark.parametrize("transform", [ad.grad, ad.hessian, ad.jacobian, ad.compile, lambda f: ad.jacobian(ad.grad(f)),
                                       lambda f: ad.jacobian(ad.grad(f), mode="reverse")])
def test_of_a_transform(transform):
    assert_near(ad.vmap(transform(curve))(X), looped(transform(curve), X))


@pytest.mark.parametrize("transform", [ad.grad, ad.hessian, lambda f: ad.compile(ad.grad(f)),
                                       lambda f: ad.jacobian(ad.grad(f), mode="reverse"),
                                       lambda f: ad.compile(ad.jacobian(ad.grad(f), mode="reverse"))])
def test_in_a_transform(transform):
    found = transform(lambda X: (ad.vmap(curve)(X) ** 2).sum())
    expected = transform(lambda X: sum(curve(x) ** 2 for x in X))
    for stack in (X, X[::-1] + 1.0):
        assert_near(found(stack), expected(stack))


@pytest.mark.parametrize("transform", [ad.grad, ad.hessian, lambda f: ad.compile(ad.grad(f)),
                                       lambda f: ad.compile(ad.hessian(f)),
                                       lambda f: ad.jacobian(ad.grad(f), mode="reverse")])
def test_what_the_function_captures_is_differentiated(transform):
    def total(w):
        return (ad.vmap(lambda x: np.tanh((2 * w) @ x).sum())(X) ** 2).sum() + ad.vmap(lambda x: w)(X).sum()

    def expected(w):
        return (np.tanh(X @ (2 * w).T).sum(1) ** 2).sum() + 5 * w.sum()

    found, wanted = transform(total), transform(expected)
    for w in (W, W + 1.0):
        assert_near(found(w), wanted(w))


def test_within_itself_and_over_gradients_of_what_is_captured():
    assert_near(ad.vmap(ad.vmap(np.multiply, (None, 0)), (0, None))(X[0], W[0]), np.outer(X[0], W[0]))
    assert_near(ad.vmap(lambda x: ad.vmap(lambda w: curve(w * x))(W))(X), [[curve(w * x) for w in W] for x in X])
    assert_near(ad.vmap(lambda x: ad.grad(lambda w: ad.vmap(lambda v: curve(v * w * x))(W).sum())(x))(X),
                [ad.grad(lambda w, x=x: sum(curve(v * w * x) for v in W))(x) for x in X])


def test_a_captured_value_in_a_level_of_its_own():
    def f(w):
        return ad.vmap(lambda x: ad.jvp(lambda v: np.sin(v * x), (w,), (1.0,))[1])(X[0]).sum()

    assert_near(ad.grad(f)(0.3), -(X[0] ** 2 * np.sin(0.3 * X[0])).sum())
    assert_near(ad.jvp(f, (0.3,), (1.0,))[1], -(X[0] ** 2 * np.sin(0.3 * X[0])).sum())


def test_variables_and_tapes():
    w = ad.Variable(W)
    mapped = ad.vmap(lambda x: (w @ x).sum())
    assert_near(mapped(X), (X @ W.T).sum(1))
    w.assign(2 * W)
    assert_near(mapped(X), 2 * (X @ W.T).sum(1))
    x = ad.constant(X)
    with ad.GradientTape() as tape:
        tape.watch(x)
        y = mapped(x)
    by_w, by_x = tape.gradient(y, [w, x])
    assert_near(by_w.numpy(), np.tile(X.sum(0), (3, 1)))
    assert_near(by_x.numpy(), np.tile(2 * W.sum(0), (5, 1)))


# -- what Python sees ------------------------------------------------------------------------------


def branching(x):
    return x.sum() if x[0] > 0 else (x ** 2).sum()


def test_lanes_that_part_are_run_one_by_one():
    assert_near(ad.vmap(branching)(X), looped(branching, X))
    assert_near(ad.vmap(ad.grad(branching))(X), looped(ad.grad(branching), X))
    assert_near(ad.grad(lambda X: ad.vmap(branching)(X).sum())(X), looped(ad.grad(branching), X))
    compiled = ad.compile(ad.vmap(branching))
    for stack in (X, -X, abs(X)):
        assert_near(compiled(stack), looped(branching, stack))


def test_a_function_that_only_some_lanes_can_run():
    def f(a):
        return np.linalg.cholesky(a)[0, 0] if a[0, 0] > 0 else a[0, 1]

    stack = np.stack([np.eye(2), -np.eye(2)])
    assert_near(ad.vmap(f)(stack), [1, 0])
    with pytest.raises(np.linalg.LinAlgError):
        ad.vmap(np.linalg.cholesky)(stack)


def test_the_function_is_called_once_for_each_signature():
    runs = []

    def f(x):
        runs.append(x)
        return x.sum()

    mapped = ad.vmap(f)
    for stack in (X, X + 1, X[:2], X[:, :2], X.astype("f4"), X):
        assert_near(mapped(stack), looped(np.sum, stack))
    assert len(runs) == 4


# -- arguments and results -------------------------------------------------------------------------


def test_axes():
    product = np.matmul
    A, B = np.arange(24.0).reshape(2, 3, 4), np.arange(60.0).reshape(4, 3, 5)
    expected = np.stack([A[:, i] @ B[:, i] for i in range(3)])
    assert_near(ad.vmap(product, in_axes=1)(A, B), expected)
    assert_near(ad.vmap(product, in_axes=(1, -2), out_axes=1)(A, B), np.moveaxis(expected, 0, 1))
    assert_near(ad.vmap(product, in_axes=[1, 1], out_axes=-1)(A, B), np.moveaxis(expected, 0, -1))
    assert_near(ad.vmap(product, in_axes=(None, 2))(A[0], B), np.stack([A[0] @ B[..., i] for i in range(5)]))


def test_containers_and_keywords():
    def f(parts, scale, *, shift):
        return {"a": parts["x"] * scale + shift, "b": (parts["y"], 2, None, "text")}

    parts = {"x": X, "y": X[0]}
    found = ad.vmap(f, in_axes=({"x": 0, "y": None}, None), out_axes={"a": 1, "b": None})(parts, 2.0, shift=X[:, 0])
    assert_near(found["a"], (X * 2 + X[:, :1]).T)
    assert_near(found["b"][0], X[0])
    assert found["b"][1:] == (2, None, "text")
    found = ad.vmap(f, in_axes=({"x": 0, "y": None}, None))(parts, 2.0, shift=X[:, 0])
    assert_near(found["b"][0], np.tile(X[0], (5, 1)))
    assert found["b"][1].tolist() == [2] * 5


def test_plain_in_plain_out():
    assert type(ad.vmap(curve)(X)) is np.ndarray
    assert isinstance(ad.vmap(curve)(ad.constant(X)), ad.Array)
    found = ad.vmap(lambda x: x)(X)
    assert not np.shares_memory(found, X)


def test_no_lanes():
    assert ad.vmap(curve)(X[:0]).shape == (0,)
    assert ad.vmap(ad.hessian(curve))(X[:0]).shape == (0, 4, 4)
    assert ad.vmap(lambda x: np.linalg.lstsq(x, x)[0])(np.ones((0, 3, 2))).shape == (0, 2, 2)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: ad.vmap(3), TypeError, "ad.vmap takes a function"),
    (lambda: ad.vmap(np.add)(X, X[:3]), ValueError, "the arguments have 5, 3 lanes"),
    (lambda: ad.vmap(np.add, (0, None, 0))(X, X), ValueError, "in_axes has 3 entries for 2 positional arguments"),
    (lambda: ad.vmap(np.add, (None, None))(X, X), ValueError, "no argument has lanes"),
    (lambda: ad.vmap(np.add)(X, 1.0), TypeError, "an argument is a float, which has no lanes; give None"),
    (lambda: ad.vmap(np.sin, 2)(X), ValueError, r"asks for axis 2 of an argument of shape \(5, 4\)"),
    (lambda: ad.vmap(np.sin, out_axes=None)(X), ValueError, "None for an output that depends on the lanes"),
    (lambda: ad.vmap(np.add, ({"a": 0}, 0))(X, X), TypeError, r"vmap: in_axes has \{'a': 0\} for \*"),
    (lambda: ad.vmap(np.sin, "a")(X), TypeError, "vmap: in_axes has a str in it"),
    (lambda: ad.vmap(np.sin, out_axes=3)(X), ValueError, r"out_axes asks for axis 3 of an output of shape \(4,\)"),
])
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


# -- matrices of derivatives -----------------------------------------------------------------------


def rows(x):
    return np.stack([x[:, 0] * x[:, 1], np.sin(x[:, 2]), x.sum(1)], -1)


@pytest.mark.parametrize("mode", [None, "forward", "reverse"])
@pytest.mark.parametrize("around", [lambda f: f, ad.compile])
def test_batch_jacobian(mode, around):
    x = X[:, None, :3].transpose(0, 2, 1)  # rows of shape (3, 1)
    found = around(ad.batch_jacobian(lambda x: rows(x[..., 0]), mode=mode))(x)
    assert_near(found, np.stack([ad.jacobian(lambda x: rows(x[None, :, 0])[0])(row) for row in x]))


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_batch_jacobian_of_containers(mode):
    def f(parts, scale):
        return {"p": parts[0] * parts[1] * scale, "q": scale[:, 0] * parts[1].sum(1), "r": 2.0 * scale}

    x, y, scale = X[:, :1], X[:, 1:], X[:, :1]
    found = ad.batch_jacobian(f, (0,), mode=mode)((x, y), scale)
    assert_near(found["p"][0][0], (y * scale)[..., None])
    assert_near(found["p"][0][1], (x * scale)[..., None] * np.eye(3))
    assert_near(found["q"][0][1], scale * np.ones((5, 3)))
    assert found["r"][0][0].shape == (5, 1, 1)
    assert not found["r"][0][1].any()


def test_batch_jacobian_is_that_of_a_tape():
    x = ad.constant(X)
    with ad.GradientTape() as tape:
        tape.watch(x)
        y = rows(x)
    assert_near(ad.batch_jacobian(rows)(X), tape.batch_jacobian(y, x).numpy())


def test_batch_jacobian_needs_rows():
    with pytest.raises(ValueError, match=r"ad.batch_jacobian: .* shapes \(5, 4\), \(\)"):
        ad.batch_jacobian(np.sum)(X)
    with pytest.raises(ValueError, match="first axis must be one of rows"):
        ad.batch_jacobian(lambda x: x[1:])(X)
    assert ad.batch_jacobian(rows)(X[:0]).shape == (0, 3, 4)


@pytest.mark.parametrize("f", [lambda x: np.sin(x) * x[::-1], lambda x: np.linalg.solve(np.outer(x, x) + np.eye(4), x),
                               lambda x: (np.sort(x), x.sum() if x[0] > -9 else x), lambda x: (x[:0], x, 3.0)])
def test_rows_of_a_recorded_jacobian_are_lanes(f):
    compiled, forward = ad.compile(ad.jacobian(f, mode="reverse")), ad.jacobian(f, mode="forward")
    for x in X:
        for found, expected in zip(ad.trees.flatten(compiled(x))[0], ad.trees.flatten(forward(x))[0]):
            assert_near(found, expected)


def test_a_recorded_jacobian_is_as_long_for_any_number_of_rows():
    lengths = {len(ad.record(ad.jacobian(lambda x: np.sin(x) * x[::-1], mode="reverse"))(np.ones(n))) for n in (5, 50)}
    assert len(lengths) == 1


# -- the pass --------------------------------------------------------------------------------------


def test_what_does_not_depend_on_lanes_is_computed_once():
    program = ad.record(lambda x, w: np.exp(w).sum() * np.sin(x))(X[0], W)
    wide = with_lanes(program.graph, 5, [True, False])
    shapes = {wide.avals[i.outputs[0]].shape for i in wide.instructions if i.op.name in ("exp", "sum")}
    assert shapes == {(3, 4), ()}
    assert_near(evaluate(wide, [X, W])[0], np.exp(W).sum() * np.sin(X))


def test_rules_of_ones_own():
    @ad.custom_gradient
    def clipped(x):
        return np.minimum(x, 0.5), lambda y_bar: 10 * y_bar

    assert_near(ad.vmap(lambda x: clipped(x).sum())(X), np.minimum(X, 0.5).sum(1))
    assert_near(ad.vmap(ad.grad(lambda x: clipped(x).sum()))(X), np.full((5, 4), 10.0))
    assert_near(ad.grad(lambda X: ad.vmap(clipped)(X).sum())(X), np.full((5, 4), 10.0))


def test_indices_that_lanes_compute():
    def f(x, w):
        return x[np.argmax(x)] * w[:, np.argmin(x)]

    assert_near(ad.vmap(f, (0, None))(X, W), looped(lambda x: f(x, W), X))
    assert_near(ad.vmap(ad.grad(lambda x: f(x, W).sum()))(X), looped(ad.grad(lambda x: f(x, W).sum()), X))
    assert_near(ad.hessian(lambda X: ad.vmap(lambda x: f(x, W).sum() ** 2)(X).sum())(X),
                ad.hessian(lambda X: sum(f(x, W).sum() ** 2 for x in X))(X))


CUBE = np.random.default_rng(5).normal(size=(4, 3, 4))


@pytest.mark.parametrize("pick", [
    lambda x, a, i: a[i], lambda x, a, i: a[:, i % 3], lambda x, a, i: a[..., i], lambda x, a, i: a[i, :, i],
    lambda x, a, i: a[None, :, 1, np.stack([i, 0 * i])], lambda x, a, i: a[np.argsort(x)],
    lambda x, a, i: a[:, :, np.argsort(x)[:2]], lambda x, a, i: a[np.argsort(x)[:2], :, i],
    lambda x, a, i: a[:, i % 3, np.argsort(x)[:2]], lambda x, a, i: np.take_along_axis(a[:, 0], a[:, 1].argsort(0), 0),
    lambda x, a, i: np.sort(a, 1), lambda x, a, i: a[i][np.array([True, False, True])],
])
@pytest.mark.parametrize("captured", [True, False])
def test_elements_that_lanes_choose(pick, captured):
    def f(x, a):
        picked = pick(x, a, np.argmax(x))
        return (np.cos(picked) * np.arange(picked.size).reshape(picked.shape) * x[0]).sum()

    axes, stack = ((0, None), CUBE) if captured else ((0, 0), np.stack([CUBE + i for i in range(5)]))

    def total(x, a):
        return (ad.vmap(f, axes)(x, a) ** 2).sum()

    def expected(x, a):
        return sum(f(x[i], a if captured else a[i]) ** 2 for i in range(5))

    for transform in (lambda f: f, lambda f: ad.grad(f, 1), lambda f: ad.compile(ad.grad(f, 1))):
        assert_near(transform(total)(X, stack), transform(expected)(X, stack))
    assert_near(ad.vmap(ad.grad(f, 1), axes)(X, stack),
                np.stack([ad.grad(f, 1)(X[i], stack if captured else stack[i]) for i in range(5)]))
    direction = np.cos(stack)
    assert_near(ad.hvp(total, 1)(X, stack, direction), ad.hvp(expected, 1)(X, stack, direction))


def test_sorting_in_lanes_of_lanes():
    found = ad.vmap(ad.vmap(np.sort))(CUBE)
    assert_near(found, np.sort(CUBE))
    names = [i.op.name for i in ad.record(ad.vmap(np.sort))(X).instructions]
    assert "gather" in names
    assert not any(name == "gather_by_lanes" for name in names)


@pytest.mark.parametrize("ask", [
    np.argmax, lambda x: np.argmin(x, 0), lambda x: np.argmax(x, axis=-1, keepdims=True), np.argsort,
    lambda x: np.argsort(x, axis=None, kind="stable"), lambda x: np.argpartition(x, 1, 0), lambda x: np.any(x > 1),
    lambda x: np.all(x > -1, axis=(0, -1)), lambda x: np.count_nonzero(x > 0, 1), lambda x: x.argmax(keepdims=True),
    lambda x: np.isin(x, x[0]), lambda x: np.nanargmin(np.where(x > 0, x, np.nan)),
    lambda x: np.digitize(x, [0.0, 1.0]), lambda x: np.searchsorted(np.arange(3.0), x),
])
def test_functions_without_a_derivative(ask):
    assert_near(ad.vmap(lambda x: ask(x) * 1.0)(CUBE), looped(lambda x: ask(x) * 1.0, CUBE))
    assert_near(ad.vmap(ad.vmap(lambda x: ask(x) * 1.0))(CUBE[None]), looped(lambda x: ask(x) * 1.0, CUBE)[None])


@ad.custom_gradient
def doubled_slope(x):
    return np.sin(x), lambda y_bar: 2 * y_bar * np.cos(x)


@pytest.mark.parametrize(("f", "shape"), [
    (doubled_slope, (3,)), (lambda x: (doubled_slope(x), {"x": x}, 3)[0], (3,)), (np.linalg.inv, (2, 2)),
    (lambda x: np.linalg.solve(x, np.ones(2)), (2, 2)), (lambda x: x if x[0] > 2 else -x, (3,)),
    (inverse_or_zeros, (2, 2)),
], ids=range(6))
def test_without_lanes_the_shapes_are_right(f, shape):
    x, one = np.empty((0, *shape)), np.eye(*shape) if len(shape) > 1 else np.ones(shape)
    y = ad.vmap(f)
    assert y(x).shape == ad.compile(y)(x).shape == (0, *np.shape(f(one)))
    assert ad.grad(lambda x: np.sum(y(x)))(x).shape == x.shape
    assert ad.jacobian(y)(x).shape == y(x).shape + x.shape
    assert ad.vmap(ad.jacobian(f))(x).shape == (0, *np.shape(f(one)), *shape)


def test_without_lanes_what_all_share_may_part_the_ways():
    f = ad.vmap(lambda x, c: x if c > 0 else np.sum(x), in_axes=(0, None))
    assert [f(np.empty((0, 3)), c).shape for c in (1.0, -1.0, 1.0)] == [(0, 3), (0,), (0, 3)]
