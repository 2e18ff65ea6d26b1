"""custom_gradient in forward mode, and differentiated again."""

import numpy as np
import pytest
from custom_functions import log1pexp, product, sin_cos

import ad

close = np.testing.assert_allclose


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_second_derivative_flows_through_what_grad_fn_closes_over():
    x = ad.Variable(0.3)
    with ad.GradientTape() as outer:
        with ad.GradientTape() as inner:
            y = log1pexp(x)
        g = inner.gradient(y, x)
    s = sigmoid(0.3)
    close(g.numpy(), s)
    close(outer.gradient(g, x).numpy(), s * (1 - s))


def test_forward_mode_transposes_grad_fn():
    x, y, x_dot, y_dot = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 10.0], [100.0, 1000.0]])
    x, y = ad.constant(x), ad.constant(y)
    with ad.ForwardAccumulator([x, y], [x_dot, y_dot]) as acc:
        z = product(x, y)
    close(acc.jvp(z).numpy(), 10 * (x_dot * y.numpy() + y_dot * x.numpy()))


def test_forward_mode_of_several_outputs():
    x = ad.constant(0.7)
    with ad.ForwardAccumulator(x, 2.0) as acc:
        s, c = sin_cos(x)
    close(acc.jvp(s).numpy(), 2 * np.cos(0.7))
    close(acc.jvp(c).numpy(), -2 * np.sin(0.7))


def test_second_derivatives_in_every_mixture():
    x = ad.Variable(0.3)
    s = sigmoid(0.3)
    expected = s * (1 - s)
    with ad.ForwardAccumulator(x, 1.0) as outer, ad.ForwardAccumulator(x, 1.0) as inner:
        y = log1pexp(x)
    close(inner.jvp(y).numpy(), s)
    close(outer.jvp(inner.jvp(y)).numpy(), expected)
    assert inner.jvp(outer.jvp(y)) is None
    assert inner.jvp(inner.jvp(y)) is None
    with ad.ForwardAccumulator(x, 1.0) as acc:
        with ad.GradientTape() as tape:
            y = log1pexp(x)
        g = tape.gradient(y, x)
    close(acc.jvp(g).numpy(), expected)
    with ad.GradientTape() as tape:
        with ad.ForwardAccumulator(x, 1.0) as acc:
            y = log1pexp(x)
        y_dot = acc.jvp(y)
    close(tape.gradient(y_dot, x).numpy(), expected)


def test_third_derivative_forward():
    x = ad.constant(0.3)
    with ad.ForwardAccumulator(x, 1.0) as a, ad.ForwardAccumulator(x, 1.0) as b, ad.ForwardAccumulator(x, 1.0) as c:
        y = log1pexp(x)
    s = sigmoid(0.3)
    close(a.jvp(b.jvp(c.jvp(y))).numpy(), s * (1 - s) * (1 - 2 * s))


def test_a_forward_rule_of_its_own():
    @ad.custom_gradient
    def cube(x, scale):
        return scale * x**3, lambda y_bar: (y_bar * 3 * scale * x**2, None)

    @cube.defjvp
    def _(primals, tangents):
        (x, scale), (x_dot, scale_dot) = primals, tangents
        return 1000 * (3 * scale * x**2 * x_dot + x**3 * scale_dot)

    x = ad.constant(2.0)
    with ad.ForwardAccumulator(x, 1.0) as outer, ad.ForwardAccumulator(x, 1.0) as inner:
        y = cube(x, 5.0)
    assert inner.jvp(y).numpy() == 60000.0
    assert outer.jvp(inner.jvp(y)).numpy() == 60000.0
    assert inner.jvp(inner.jvp(y)) is None
    with ad.GradientTape() as tape:
        tape.watch(x)
        y = cube(x, 5.0)
    assert tape.gradient(y, x).numpy() == 60.0


def test_a_forward_rule_with_a_wrong_number_of_tangents():
    @ad.custom_gradient
    def double(x):
        return 2 * x, lambda y_bar: 2 * y_bar

    double.defjvp(lambda primals, tangents: (tangents[0], tangents[0]))
    x = ad.constant(2.0)
    with ad.ForwardAccumulator(x, 1.0), pytest.raises(ValueError, match="2 tangents for 1 outputs"):
        double(x)


def test_duals_and_lanes():
    y = log1pexp(ad.Dual(np.array([0.3, 0.5]), np.eye(2)))
    close(y.tangent, np.diag(sigmoid(np.array([0.3, 0.5]))))
    s, c = sin_cos(ad.Dual(0.7, 1.0))
    close([s.tangent, c.tangent], [np.cos(0.7), -np.sin(0.7)])


def test_transposing_needs_only_arguments_with_tangents():
    v, x = ad.Variable(3.0), ad.Variable(2.0)

    @ad.custom_gradient
    def times(x):
        return x * v, lambda y_bar, variables: (y_bar * v, [y_bar * x])

    with ad.ForwardAccumulator(v, 1.0), pytest.raises(NotImplementedError, match="not among its arguments"):
        times(x)
