import pickle

import numpy as np
import pytest

import ad
from ad.optimizers import SGD


def test_descends_a_parabola():
    x = ad.Variable(-1.0)
    optimizer = SGD(learning_rate=0.1)
    for _ in range(100):
        with ad.GradientTape() as tape:
            loss = x**2
        optimizer.apply_gradients(zip(tape.gradient(loss, [x]), [x]))
    np.testing.assert_allclose(x.numpy(), -(0.8**100), rtol=1e-12)
    assert optimizer.iterations == 100


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_is_the_recurrence_of_the_docstring(nesterov):
    x, expected, velocity = ad.Variable([1.0, -2.0]), np.array([1.0, -2.0]), 0.0
    optimizer = SGD(learning_rate=0.1, momentum=0.9, nesterov=nesterov)
    for _ in range(5):
        gradient = 2 * expected
        velocity = 0.9 * velocity - 0.1 * gradient
        expected = expected + (0.9 * velocity - 0.1 * gradient if nesterov else velocity)
        optimizer.apply_gradients([(2 * x.numpy(), x)])
        np.testing.assert_allclose(x.numpy(), expected, rtol=1e-14)


def test_velocities_belong_to_their_variables():
    x, y = ad.Variable(1.0), ad.Variable([1.0, 1.0])
    optimizer = SGD(learning_rate=1.0, momentum=0.5)
    for _ in range(2):
        optimizer.apply_gradients([(1.0, x), (np.array([0.0, 2.0]), y)])
    assert x.numpy() == 1 - 1 - 1.5
    np.testing.assert_array_equal(y.numpy(), [1, 1 - 2 - 3])


def test_keeps_the_dtype():
    x = ad.Variable(np.ones(3, np.float32))
    SGD(0.1, momentum=0.9).apply_gradients([(np.ones(3), x)])
    assert x.dtype == np.float32


def test_missing_gradients_warn_and_none_at_all_raises():
    x, y = ad.Variable(1.0), ad.Variable(2.0, name="unused")
    with pytest.warns(UserWarning, match="unused"):
        SGD(1.0).apply_gradients([(1.0, x), (None, y)])
    assert (x.numpy(), y.numpy()) == (0.0, 2.0)
    with pytest.raises(ValueError, match="no gradients"):
        SGD().apply_gradients([(None, y)])


def test_mistakes_are_named():
    with pytest.raises(TypeError, match="variables, not float"):
        SGD().apply_gradients([(1.0, 2.0)])
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        SGD().apply_gradients([(np.ones(2), ad.Variable(1.0))])
    with pytest.raises(ValueError, match="momentum"):
        SGD(momentum=1.5)
    with pytest.raises(ValueError, match="tape"):
        SGD().minimize(ad.constant(1.0), [ad.Variable(1.0)])


def test_learning_rate_may_change_and_be_callable():
    x = ad.Variable(0.0)
    optimizer = SGD(1.0)
    optimizer.apply_gradients([(1.0, x)])
    optimizer.learning_rate = lambda: 10.0
    optimizer.apply_gradients([(1.0, x)])
    assert x.numpy() == -11.0


@pytest.mark.parametrize(("rate", "error"), [(-1.0, ValueError), (np.nan, ValueError), (None, TypeError)])
def test_a_rate_that_a_callable_gives_is_checked_before_the_step(rate, error):
    x = ad.Variable(1.0)
    optimizer = SGD(lambda: rate)
    with pytest.raises(error, match="ad: the learning_rate of SGD must be"):
        optimizer.apply_gradients([(1.0, x)])
    assert x.numpy() == 1.0 and optimizer.iterations == 0
    optimizer.learning_rate = lambda: np.array(0.5)
    optimizer.apply_gradients([(1.0, x)])
    assert x.numpy() == 0.5


def test_minimize_takes_a_callable_or_a_tape():
    x = ad.Variable(1.0)
    SGD(0.25).minimize(lambda: x * x, [x])
    assert x.numpy() == 0.5
    with ad.GradientTape() as tape:
        loss = x * x
    SGD(0.25).minimize(loss, [x], tape=tape)
    assert x.numpy() == 0.25


def by_formula(name, x, gradients, rate, b1=0.9, b2=0.999, eps=1e-7):
    """The formulas of Keras 3's documentation, written out line by line."""
    m, v, a, v_hat, u = 0 * x, 0 * x, 0 * x, 0 * x, 1.0
    for t, g in enumerate(gradients, 1):
        if name == "AdamW":
            x = x - 0.004 * rate * x
        if name == "RMSprop":
            v, a = 0.9 * v + 0.1 * g**2, 0.9 * a + 0.1 * g
            m = 0.5 * m + rate * g / np.sqrt(v - a**2 + eps)
            x = x - m
        elif name == "Adagrad":
            v = v + g**2
            x = x - rate * g / np.sqrt(0.1 + v + eps)
        else:
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
            v_hat = np.maximum(v_hat, v)
            if name == "Nadam":
                now, following = b1 * (1 - 0.96**t / 2), b1 * (1 - 0.96 ** (t + 1) / 2)
                u = u * now
                n = following * m / (1 - u * following) + (1 - now) * g / (1 - u)
                x = x - rate * n / (np.sqrt(v / (1 - b2**t)) + eps)
            else:
                root = np.sqrt(v_hat if name == "amsgrad" else v) + eps
                x = x - rate * np.sqrt(1 - b2**t) / (1 - b1**t) * m / root
        yield x


METHODS = {
    "RMSprop": lambda rate: ad.optimizers.RMSprop(rate, momentum=0.5, centered=True),
    "Adagrad": ad.optimizers.Adagrad, "Adam": ad.optimizers.Adam, "AdamW": ad.optimizers.AdamW,
    "Nadam": ad.optimizers.Nadam, "amsgrad": lambda rate: ad.optimizers.Adam(rate, amsgrad=True),
}


@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (0,)])
@pytest.mark.parametrize("name", METHODS)
def test_steps_are_those_of_the_published_formulas(name, shape):
    rng = np.random.default_rng(1)
    first, gradients = rng.normal(size=shape), rng.normal(size=(60, *shape))
    x, optimizer = ad.Variable(first), METHODS[name](0.05)
    for gradient, expected in zip(gradients, by_formula(name, first, gradients, 0.05)):
        optimizer.apply_gradients([(gradient, x)])
        np.testing.assert_allclose(x.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_state_goes_on_bit_for_bit(name, tmp_path):
    gradients = np.random.default_rng(2).normal(size=(20, 3))
    x, optimizer = ad.Variable([1.0, 2.0, 3.0]), METHODS[name](0.1)
    for gradient in gradients[:10]:
        optimizer.apply_gradients([(gradient, x)])
    np.savez(tmp_path / "state.npz", **optimizer.state())
    y, restored = ad.Variable(x.numpy()), METHODS[name](0.5)
    restored.load_state(np.load(tmp_path / "state.npz"), [y])
    z, pickled = pickle.loads(pickle.dumps((x, optimizer)))
    for gradient in gradients[10:]:
        for variable, its in ((x, optimizer), (y, restored), (z, pickled)):
            its.apply_gradients([(gradient, variable)])
    np.testing.assert_array_equal(y.numpy(), x.numpy())
    np.testing.assert_array_equal(z.numpy(), x.numpy())
    with pytest.raises(ValueError, match="with 2 variables"):
        restored.load_state(optimizer.state(), [x, y])
    assert restored.iterations == 20


@pytest.mark.parametrize(("option", "expected"), [
    ({"clipvalue": 1.0}, ([1.0, -1.0], 1.0)), ({"clipnorm": 2.5}, ([1.5, -2.0], 2.5)),
    ({"global_clipnorm": 6.5}, ([1.5, -2.0], 6.0)), ({"global_clipnorm": 99.0}, ([3.0, -4.0], 12.0)),
])
def test_clipping(option, expected):
    x, y = ad.Variable([0.0, 0.0]), ad.Variable(0.0)
    SGD(1.0, **option).apply_gradients([([3.0, -4.0], x), (12.0, y)])
    np.testing.assert_allclose(-x.numpy(), expected[0], rtol=1e-15)
    np.testing.assert_allclose(-y.numpy(), expected[1], rtol=1e-15)


def test_an_error_in_one_pair_changes_nothing():
    x, y = ad.Variable(1.0), ad.Variable([1.0, 2.0])
    optimizer = ad.optimizers.Adam()
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        optimizer.apply_gradients([(1.0, x), (np.ones(3), y)])
    assert x.numpy() == 1.0 and list(optimizer.state()) == ["iterations", "learning_rate"]


@pytest.mark.parametrize("name", METHODS)
def test_single_precision_stays_and_nan_passes(name):
    x = ad.Variable(np.ones(2, np.float32))
    METHODS[name](0.1).apply_gradients([(np.array([1.0, np.nan]), x)])
    assert x.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(x.numpy()), [False, True])


@pytest.mark.parametrize(("make", "message"), [
    (lambda: SGD(clipnorm=-1.0), "ad: the clipnorm of SGD must be positive, not be -1.0"),
    (lambda: SGD(clipnorm=1.0, clipvalue=1.0), "ad: SGD clips in one way: give only one of clipnorm and clipvalue"),
    (lambda: ad.optimizers.Adam(beta_1=1.0), r"ad: the beta_1 of Adam must lie in \[0, 1\), not be 1.0"),
    (lambda: ad.optimizers.Adam(lr=1.0), "ad: Adam has no argument 'lr'"),
    (lambda: ad.optimizers.Adam(-1), "learning_rate of Adam must be finite, and zero or positive, not be -1"),
    (lambda: SGD(float("nan")), "learning_rate of SGD must be finite, and zero or positive, not be nan"),
    (lambda: ad.optimizers.Adam(epsilon=np.inf), "epsilon of Adam must be finite, and zero or positive, not be inf"),
    (lambda: SGD("fast"), "ad: the learning_rate of SGD must be a number, not str 'fast'"),
    (lambda: ad.optimizers.AdamW(weight_decay=None), "without one, use Adam"),
    (lambda: ad.optimizers.Adam().build(ad.Variable(1j)), "Adam does not change variables of dtype complex128"),
    (lambda: ad.optimizers.schedules.ExponentialDecay(1.0, 0, 0.5), "decay_steps of ExponentialDecay must be positive"),
])
def test_wrong_arguments_are_named(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


S = ad.optimizers.schedules


# The rates of Keras 3.15.1 at step 17, computed there in single precision.
@pytest.mark.parametrize(("schedule", "expected"), [
    (S.ExponentialDecay(0.1, 7, 0.5), 0.018574928), (S.ExponentialDecay(0.1, 7, 0.5, True), 0.025),
    (S.PiecewiseConstantDecay([5, 12], [1.0, 0.5, 0.1]), 0.1), (S.PolynomialDecay(0.1, 10, 0.01, 2.0), 0.01),
    (S.PolynomialDecay(0.1, 10, 0.01, 0.5, True), 0.044856846), (S.InverseTimeDecay(0.1, 7, 0.5), 0.045161288),
    (S.InverseTimeDecay(0.1, 7, 0.5, True), 0.05), (S.CosineDecay(0.1, 20, 0.1), 0.014904703),
    (S.CosineDecay(0.01, 20, 0.1, warmup_target=0.2, warmup_steps=8), 0.124079108),
    (S.CosineDecayRestarts(0.1, 5, 2.0, 0.9, 0.05), 0.080066897),
    (S.CosineDecayRestarts(0.1, 5, 1.0, 0.9, 0.05), 0.050327968),
    (S.CosineDecayRestarts(0.1, 2, 3.0, 0.9, 0.05), 0.043474998),
])
def test_schedules(schedule, expected):
    np.testing.assert_allclose(schedule(17), expected, rtol=1e-6)
    optimizer = SGD.from_config(SGD(schedule, clipnorm=1.0).get_config())
    assert optimizer.learning_rate == schedule(0) and optimizer.clipnorm == 1.0


def test_a_gradient_without_its_variable():
    with pytest.raises(TypeError) as error:
        ad.optimizers.SGD().apply_gradients([np.ones(2)])
    assert str(error.value) == (
        "ad: apply_gradients takes pairs of a gradient and its variable, not an ndarray: write "
        "optimizer.apply_gradients(zip(gradients, variables))")


def test_a_step_is_not_recorded():
    x = ad.Variable([1.0, 2.0], name="x")
    optimizer = ad.optimizers.SGD()

    def step(scale):
        with ad.GradientTape() as tape:
            loss = np.sum(scale * x * x)
        optimizer.apply_gradients([(tape.gradient(loss, x), x)])

    with pytest.raises(TypeError, match="variable 'x' was assigned to in a function that ad.compile records"):
        ad.compile(step)(1.0)
    assert optimizer.iterations == 0 and x.numpy().tolist() == [1.0, 2.0]
