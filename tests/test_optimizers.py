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


def test_minimize_takes_a_callable_or_a_tape():
    x = ad.Variable(1.0)
    SGD(0.25).minimize(lambda: x * x, [x])
    assert x.numpy() == 0.5
    with ad.GradientTape() as tape:
        loss = x * x
    SGD(0.25).minimize(loss, [x], tape=tape)
    assert x.numpy() == 0.25
