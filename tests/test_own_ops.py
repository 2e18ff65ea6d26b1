"""Ops of users, by ad.ops: every form in every mode, with rules in both modes or in one."""
import functools
import itertools
import threading
import weakref

import numpy as np
import own_ops_samples as samples
import pytest
from own_ops_samples import IN_NUMPY, SAMPLES, total

import ad
from ad.ops import FUNCTIONS, TABLE, UFUNCS

close = np.testing.assert_allclose
X, P = samples.X, samples.P


def argnums(args):
    return tuple(range(len(args)))


@pytest.mark.parametrize("name", SAMPLES)
def test_both_modes_to_second_order(name):
    f, args, _ = SAMPLES[name]
    ad.testing.check_grads(f, args)


@pytest.mark.parametrize("name", IN_NUMPY)
def test_values_and_derivatives_are_those_of_the_function_in_numpy(name):
    f, args, plain = SAMPLES[name]
    for a, b in zip(np.atleast_1d(f(*args)), np.atleast_1d(plain(*args))):
        close(a, b, rtol=1e-14)
    which = argnums(args)
    for transform in (ad.grad, ad.hessian):
        for a, b in zip(transform(total(f), which)(*args), transform(total(plain), which)(*args)):
            for left, right in zip(a, b) if isinstance(a, tuple) else [(a, b)]:
                close(left, right, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", IN_NUMPY)
def test_jacobians_of_all_kinds(name):
    f, args, plain = SAMPLES[name]
    f, plain = ([(lambda *a, g=g: g(*a)[0]) if isinstance(g(*args), (tuple, list)) else g for g in (f, plain)])
    for k in argnums(args):
        close(ad.jacobian(f, k)(*args), ad.jacobian(plain, k)(*args), rtol=1e-12, atol=1e-14)
        if np.ndim(plain(*args)):
            close(ad.jacobian(ad.jacobian(f, k), k)(*args), ad.jacobian(ad.jacobian(plain, k), k)(*args),
                  rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", IN_NUMPY)
def test_lanes(name):
    f, args, plain = SAMPLES[name]
    many = [np.stack([np.asarray(x) * (1 + 0.1 * k) for k in range(3)]) for x in args]
    for g, h in ((total(f), total(plain)), (ad.grad(total(f)), ad.grad(total(plain)))):
        close(ad.vmap(g)(*many), [h(*row) for row in zip(*many)], rtol=1e-12)
        shared = (0,) + (None,) * (len(args) - 1)
        close(ad.vmap(g, shared)(many[0], *args[1:]), [h(row, *args[1:]) for row in many[0]], rtol=1e-12)
    mapped = ad.grad(lambda x: np.sum(ad.vmap(total(f), shared)(x, *args[1:])))
    close(mapped(many[0]), [ad.grad(total(plain))(row, *args[1:]) for row in many[0]], rtol=1e-12)


@pytest.mark.parametrize("name", IN_NUMPY)
def test_tapes_and_duals(name):
    f, args, plain = SAMPLES[name]
    x, *rest = [ad.constant(a) for a in args]
    with ad.GradientTape(persistent=True) as tape:
        tape.watch(x)
        with ad.GradientTape() as inner:
            inner.watch(x)
            y = total(f)(x, *rest)
        slope = inner.gradient(y, x)
    reference = ad.grad(total(plain))
    close(slope.numpy(), reference(*args), rtol=1e-12)
    close(tape.gradient(slope, x).numpy(), ad.grad(lambda x: np.sum(reference(x, *args[1:])))(args[0]), rtol=1e-11)
    dual = total(f)(ad.Dual(args[0], np.ones_like(args[0])), *args[1:])
    close(dual.tangent, np.sum(reference(*args)), rtol=1e-12)
    with ad.ForwardAccumulator(x, np.ones(x.shape)) as accumulator:
        y = total(f)(x, *rest)
    close(accumulator.jvp(y).numpy(), np.sum(reference(*args)), rtol=1e-12)


# -- complex numbers ---------------------------------------------------------------------------------------


def reversed_sums(y_bar, x):
    return np.cumsum(y_bar[::-1])[::-1]


def test_complex_numbers():
    z, w = X + 0.4j, P - 0.2j
    ad.testing.check_grads(samples.cauchy_product, (z, w))
    ad.testing.check_grads(ad.ops.linear(np.cumsum, inputs=1, transpose=reversed_sums), (z,))
    ad.testing.check_grads(samples.scaled_power, (z, w[:, None]))
    ad.testing.check_grads(samples.scaled_power, (X, 1 + 2j))
    for rules in ({"vjp": lambda y_bar, z, y: 2 * y_bar * z}, {"jvp": lambda z_dot, z, y: 2 * z_dot * z},
                  {"vjp": lambda y_bar, z, y: 2 * y_bar * np.conj(z), "conjugates": False}):
        ad.testing.check_grads(ad.ops.custom(lambda z: z * z, **rules), (z,))


def test_a_real_function_of_complex_numbers():
    modulus = ad.ops.custom(np.abs, jvp=lambda z_dot, z, y: np.real(np.conj(z) * z_dot) / y, name="modulus")
    ad.testing.check_grads(modulus, (X + 0.4j,))
    phase = ad.ops.custom(lambda t: np.exp(1j * t), vjp=lambda y_bar, t, y: np.imag(y_bar * y), name="phase")
    ad.testing.check_grads(phase, (X,))


# -- rules -------------------------------------------------------------------------------------------------


def test_a_rule_for_all_inputs_is_called_once_in_a_sweep():
    called = []

    def vjp(y_bar, a, b, y):
        called.append(1)
        return y_bar * b, y_bar * a

    product = ad.ops.custom(lambda a, b: a * b, vjp=vjp)
    gradient = ad.grad(lambda a, b: np.sum(product(a, b) + product(b, a) * product(a, a)), (0, 1))
    a_bar, b_bar = gradient(X, 2 * X)
    assert len(called) == 3
    close(a_bar, 2 * X + 3 * X**2 * 2 * X)
    close(b_bar, X + X**3)


def test_a_rule_for_all_inputs_is_called_once_in_the_mode_that_is_derived():
    called = []

    def vjp(y_bar, a, b, y):
        called.append("vjp")
        return y_bar * b, y_bar * a

    def jvp(dots, a, b, y):
        called.append("jvp")
        return dots[0] * b + a * dots[1]

    for rules in ({"vjp": vjp}, {"jvp": jvp}):
        product = ad.ops.custom(lambda a, b: a * b, **rules)
        close(ad.jvp(product, (X, 2 * X), (np.ones(3), X))[1], 2 * X + X * X)
        close(ad.jvp(functools.partial(product, X), (2 * X,), (X,))[1], X * X)
        for transform in (ad.grad, lambda f, which: ad.compile(ad.grad(f, which))):
            a_bar, b_bar = transform(lambda a, b, product=product: np.sum(product(a, b)), (0, 1))(X, 2 * X)
            close([a_bar, b_bar], [2 * X, X])
        close(ad.grad(lambda b, product=product: np.sum(product(X, b)))(2 * X), X)
        assert called == [*rules] * 5
        called.clear()


def test_what_a_rule_for_all_inputs_returned_is_freed():
    made = []

    def vjp(y_bar, a, b, y):
        x_bars = y_bar * b, y_bar * a
        made.extend(map(weakref.ref, x_bars))
        return x_bars

    product = ad.ops.custom(lambda a, b: a * b, vjp=vjp)
    ad.grad(lambda a: np.sum(product(a, X)))(X)
    assert len(made) == 2 and [ref() for ref in made] == [None, None]


def test_third_derivatives_in_every_nesting():
    modes = {"forward": lambda f: lambda x: ad.jvp(f, (x,), (1.0,))[1], "reverse": ad.grad}
    cube = ad.ops.custom(lambda x: x**3, vjp=lambda y_bar, x, y: 3 * y_bar * x**2)
    other = ad.ops.custom(lambda x: x**3, jvp=lambda x_dot, x, y: 3 * x_dot * y / x)
    for f, nesting in itertools.product((cube, other), itertools.product(modes.values(), repeat=3)):
        for mode in nesting:
            f = mode(f)
        close(f(1.3), 6.0, rtol=1e-13)


def test_a_partial_that_is_a_number():
    thrice = ad.ops.elementwise(lambda a, b: 3 * a - b, partials=(3.0, -1))
    ad.testing.check_grads(thrice, (X, 2.0))
    close(ad.jacobian(thrice)(X, X), 3 * np.eye(3))


@pytest.mark.parametrize("n", [3, 10])
def test_many_inputs(n):
    def weighted(*xs):
        return sum((k + 1) * x**2 for k, x in enumerate(xs))

    xs = tuple([X + k for k in range(n)])
    partials = tuple([lambda *rest, k=k: 2 * (k + 1) * rest[k] for k in range(n)])
    ad.testing.check_grads(ad.ops.elementwise(weighted, inputs=n, partials=partials), xs)
    together = ad.ops.custom(weighted, inputs=n, vjp=lambda y_bar, *rest: tuple(
        [2 * (k + 1) * y_bar * rest[k] for k in range(n)]))
    ad.testing.check_grads(together, xs)


def test_views_and_memory_orders():
    doubled = ad.ops.custom(lambda a: np.asfortranarray(a) * 2, vjp=lambda y_bar, a, y: 2 * y_bar)
    transposed = ad.ops.custom(lambda a: a.T, vjp=lambda y_bar, a, y: y_bar.T)
    a = np.arange(6.0).reshape(2, 3)
    for f, plain in ((lambda a: doubled(a).T @ doubled(a), lambda a: 4 * a.T @ a),
                     (lambda a: doubled(a)[::-1] + doubled(a), lambda a: 2 * a[::-1] + 2 * a),
                     (lambda a: transposed(a) * 1.0, lambda a: a.T), (transposed, lambda a: a.T)):
        compiled = ad.compile(f)
        for k in range(3):
            close(compiled(a + k), plain(a + k))
        close(ad.jacobian(f)(a), ad.jacobian(plain)(a))
    assert ad.grad(lambda x: np.sum(doubled(x)))(np.zeros((0, 3))).shape == (0, 3)
    assert ad.vmap(doubled)(np.zeros((0, 3))).shape == (0, 3)


def test_what_a_rule_does_not_read_is_not_kept():
    reads_output = ad.ops.custom(np.exp, vjp=lambda y_bar, _x, y: y_bar * y, name="f")
    reads_input = ad.ops.custom(lambda a, b: a * b, vjp=(lambda g, _a, b, _y: g * b, lambda g, _a, b, _y: g * b))
    reads_nothing = ad.ops.elementwise(lambda x: 2 * x, partials=lambda _x, _y: 2.0)
    for op, bits in ((reads_output, 1 << 31), (reads_input, 2), (reads_nothing, 0)):
        assert op.op.needs_of(0) == bits
    close(ad.grad(lambda x: np.sum(reads_nothing(reads_output(x))))(X), 2 * np.exp(X))


def test_none_is_a_cotangent_and_a_tangent_of_zeros():
    first = ad.ops.custom(lambda a, b: 2 * a, vjp=lambda y_bar, a, b, y: (2 * y_bar, None))
    close(ad.grad(lambda a, b: np.sum(first(a, b) + b), (0, 1))(X, X), [np.full(3, 2.0), np.ones(3)])
    ad.testing.check_grads(first, (X, X))
    steps = ad.ops.custom(np.floor, jvp=lambda x_dot, x, y: None, name="steps", inputs=1)
    close(ad.grad(lambda x: np.sum(steps(x) * x))(X + 1), np.floor(X + 1))
    assert ad.jvp(steps, (X,), (X,))[1].tolist() == [0, 0, 0]


def test_a_static_parameter_that_a_rule_does_not_take_must_have_its_default():
    @ad.ops.custom(vjp=lambda y_bar, x, y: y_bar * 2 * x)
    def power(x, n=2, *, how="fast"):
        return x**n

    close(ad.grad(lambda x: np.sum(power(x, 2, how="fast")))(X), 2 * X)
    close(power(X, n=3), X**3)
    with pytest.raises(ad.MissingRule, match="ad: power has no rule for n=3: its vjp takes no parameter 'n', and so "
                                             "holds for n=2 only"):
        ad.grad(lambda x: np.sum(power(x, 3)))(X)


# -- what the table sees of it -----------------------------------------------------------------------------


def test_nothing_is_registered():
    before = [dict(table) for table in (TABLE, UFUNCS, FUNCTIONS)]
    sin = ad.ops.elementwise(np.sin, partials=lambda x, y: 7.0)
    other = ad.ops.elementwise(np.sin, partials=lambda x, y: 8.0)
    assert [TABLE, UFUNCS, FUNCTIONS] == before
    assert sin.__name__ == other.__name__ == "sin"
    both = ad.compile(ad.grad(lambda x: np.sum(sin(x) + 10 * other(x) + 100 * np.sin(x) + 1000 * ad.sin(x))))
    for x in (X, 2 * X):
        close(both(x), 87 + 1100 * np.cos(x))


def test_an_op_stands_for_a_ufunc_if_that_is_asked_for(own_entries):
    op = ad.ops.elementwise(lambda x: 2 * x, partials=2.0, name="thrice", stands_for=(np.spacing,))
    close(ad.grad(lambda x: np.sum(np.spacing(x)))(X), np.full(3, 2.0))
    assert np.spacing(1.0) < 1e-15 and op(1.0) == 2
    for taken in (np.spacing, np.sin, np.sum):
        with pytest.raises(ValueError, match=f"again: {taken.__name__} has an op already"):
            ad.ops.elementwise(lambda x: x, partials=1, name="again", stands_for=taken)
    with pytest.raises(TypeError, match="stands_for takes ufuncs and functions of NumPy"):
        ad.ops.elementwise(lambda x: x, partials=1, stands_for=samples.erf)


def test_a_composite_stands_for_a_function_of_numpy(own_entries):
    @ad.ops.composite(stands_for=np.unwrap)
    def unwrap(p):
        jumps = np.round(np.diff(p) / (2 * np.pi))
        return p - 2 * np.pi * np.concatenate([np.zeros(1), np.cumsum(jumps)])

    angles = np.array([0.0, 3.0, 6.0, 0.5, 3.5])
    close(unwrap(ad.constant(angles)).numpy(), np.unwrap(angles))
    close(ad.grad(lambda p: np.sum(np.unwrap(p) * angles))(angles), angles)
    assert type(np.unwrap(angles)) is np.ndarray
    with pytest.raises(ValueError, match="sum has an op already"):
        ad.ops.composite(unwrap, stands_for=np.sum)
    assert ad.ops.composite(lambda x: 2 * x)([1.0]) == [1.0, 1.0]


# -- what the function may do ------------------------------------------------------------------------------


def test_the_function_may_differentiate():
    """Its derivatives are no concern of those around it."""

    @ad.ops.custom(vjp=lambda y_bar, x, y: -y_bar * np.sin(x))
    def slope_of_sine(x):
        slope = ad.vmap(ad.grad(np.sin))(x)
        assert type(slope) is np.ndarray
        jacobian = ad.jacobian(ad.compile(np.sin))(x)
        assert type(ad.hessian(lambda x: np.sum(x**3))(x)) is np.ndarray
        return np.diag(jacobian) + 0 * slope

    ad.testing.check_grads(slope_of_sine, (X,))
    ad.testing.check_grads(ad.vmap(slope_of_sine), (np.stack([X, 2 * X]),))
    compiled = ad.compile(ad.hessian(lambda x: np.sum(slope_of_sine(x))))
    for x in (X, 2 * X):
        close(compiled(x), -np.diag(np.cos(x)))


@pytest.mark.parametrize("use", [lambda x, w: x * w, lambda x, w: x * float(w), lambda x, w: x * np.asarray(w),
                                 lambda x, w: [w * part for part in x]])
@pytest.mark.parametrize("transform", [ad.grad, lambda f: lambda w: ad.jvp(f, (w,), (1.0,))])
def test_a_value_that_is_differentiated_but_no_input_is_no_constant(use, transform):
    def loss(w):
        captures = ad.ops.custom(lambda x: use(x, w), vjp=lambda y_bar, x, y: y_bar, name="captures")
        return np.sum(captures(w * X))

    with pytest.raises(TypeError, match="captures: the function returned a value that depends on|would make a const|"
                                        "captures: the function returned a list"):
        transform(loss)(2.0)


def test_a_captured_value_of_a_recording_is_guarded():
    @ad.compile
    def f(x, k):
        factor = k * 2
        scaled = ad.ops.custom(lambda x: x * float(factor), vjp=lambda y_bar, x, y: y_bar)
        return scaled(x)

    for k in (1.0, 3.0, 1.0):
        close(f(X, k), X * 2 * k)


def test_threads():
    """Each has a gradient of a rule for all inputs under way."""
    product = ad.ops.custom(lambda a, b: a * b, vjp=lambda y_bar, a, b, y: (y_bar * b, y_bar * a))
    wrong = []

    def work(seed):
        for k in range(200):
            a, b = np.full(4, seed + k / 7), np.full(4, seed - k / 3)
            found = ad.grad(lambda a, b: np.sum(product(a, b)), (0, 1))(a, b)
            if not (np.array_equal(found[0], b) and np.array_equal(found[1], a)):
                wrong.append((seed, k))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not wrong
