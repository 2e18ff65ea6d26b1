"""custom_gradient: what its rules may return, how often they are called, and which of them can be transposed."""
import re

import numpy as np
import pytest

import ad

X = np.array([0.3, 0.7, 1.2])


def identity(grad_fn, forward=None):
    """A function that is called `op`, by its rules."""

    @ad.custom_gradient
    def op(x):
        return x * 1.0, grad_fn

    if forward is not None:
        op.defjvp(forward)
    return op


def reverse(op):
    return ad.grad(lambda x: np.sum(op(x)))(X)


def compiled(op):
    return ad.compile(ad.grad(lambda x: np.sum(op(x))))(X)


def forward(op):
    return ad.jvp(op, (X,), (X,))[1]


def lanes(op):
    return ad.jacobian(op, mode="forward")(X)


def raises(error, message, use, op):
    with pytest.raises(error, match="^ad: op" + re.escape(message)):
        use(op)


@pytest.mark.parametrize("use", [reverse, compiled, forward, lanes])
@pytest.mark.parametrize(("grad_fn", "error", "message"), [
    (lambda y_bar: y_bar * 1j, TypeError, "a cotangent of dtype complex128 for an input of dtype float64; return its"),
    (lambda y_bar: "text", TypeError, "a str, which is no array of numbers; return an array, or None for zeros"),
    (lambda y_bar: np.array([None] * 3), TypeError, "an ndarray, which is no array of numbers"),
    (lambda y_bar: y_bar[:2], ValueError,
     "a cotangent of shape (2,) for an input of shape (3,); they must be the same"),
    (lambda y_bar: np.ones((2, 3)) * y_bar, ValueError,
     "a cotangent of shape (2, 3) for an input of shape (3,); they must be the same; sum over the axes that"),
    (lambda y_bar: [1.0, 2.0, 3.0], ValueError,
     "3 cotangents for 1 arguments; it must return a tuple with one for each"),
])
def test_a_gradient_function_that_returns_something_else(grad_fn, error, message, use):
    raises(error, f": its grad_fn returned {message}", use, identity(grad_fn))


@pytest.mark.parametrize("use", [forward, lanes])
@pytest.mark.parametrize(("rule", "error", "message"), [
    (lambda xs, x_dots: x_dots[0] * 1j, TypeError, "a tangent of dtype complex128 for an output of dtype float64"),
    (lambda xs, x_dots: "text", TypeError, "a str, which is no array of numbers"),
    (lambda xs, x_dots: x_dots[0][:2], ValueError, "a tangent of shape (2,) for an output of shape (3,)"),
    (lambda xs, x_dots: x_dots * 2, ValueError, "2 tangents for 1 outputs"),
])
def test_a_forward_rule_that_returns_something_else(rule, error, message, use):
    raises(error, f": its forward rule returned {message}", use, identity(lambda y_bar: y_bar, rule))


def test_integers_and_none_are_tangents_too_and_a_number_is_one_for_every_element():
    for returned, y_dot in ((np.array([1, 2, 3]), [1.0, 2.0, 3.0]), (None, [0.0] * 3), (2.0, [2.0] * 3)):
        op = identity(lambda y_bar: y_bar, lambda xs, x_dots, returned=returned: returned)
        assert forward(op).dtype == np.float64 and forward(op).tolist() == y_dot
        np.testing.assert_array_equal(lanes(op), np.outer(y_dot, np.ones(3)))


@pytest.mark.parametrize("grad_fn", [
    lambda y_bar: np.array([1.0, 2.0, 3.0]), lambda y_bar: 2.0, lambda y_bar: 2 * y_bar.numpy(),
    lambda y_bar: 2 * np.asarray(y_bar), lambda y_bar: np.array([float(part) for part in y_bar]),
])
def test_a_gradient_function_that_cannot_be_transposed_has_no_forward_mode(grad_fn):
    op = identity(grad_fn)
    for use in (forward, lanes, lambda op: ad.hvp(lambda x: np.sum(op(x) ** 2))(X, X)):
        with pytest.raises(ad.MissingRule, match="ad: op has no rule in forward mode, and none can be derived from its "
                                                 "grad_fn, which is not made of operations on y_bar .*"
                                                 "[Oo]r register a forward rule by defjvp"):
            use(op)
    op.defjvp(lambda xs, x_dots: 5 * x_dots[0])
    np.testing.assert_array_equal(forward(op), 5 * X)


def test_a_gradient_function_of_zeros_can_be_transposed():
    for grad_fn in (lambda y_bar: None, lambda y_bar: np.zeros(3), lambda y_bar: 0 * y_bar):
        assert forward(identity(grad_fn)).tolist() == reverse(identity(grad_fn)).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("returned", "message"), [
    (lambda y_bar, x, v: y_bar * v, "reads variables, its grad_fn must return a pair: .*; not an ad.Array"),
    (lambda y_bar, x, v: (y_bar * v, y_bar * x, None), "must return a pair: .*; not a tuple"),
    (lambda y_bar, x, v: (y_bar * v, [y_bar, y_bar]), "its grad_fn returned 2 cotangents for 1 variables"),
    (lambda y_bar, x, v: (y_bar * v, [y_bar[:1, None]]), r"cotangent of shape \(1, 1\) for an input of shape \(2,\)"),
])
def test_the_cotangents_of_variables(returned, message):
    v = ad.Variable([3.0, 4.0])

    @ad.custom_gradient
    def op(x):
        return x * v, lambda y_bar, variables: returned(y_bar, x, variables[0])

    with ad.GradientTape() as tape:
        y = op(ad.constant([1.0, 2.0]))
    with pytest.raises((TypeError, ValueError), match="^ad: op: .*" + message):
        tape.gradient(y, v)


def test_a_function_that_returns_no_number():
    @ad.custom_gradient
    def op(x):
        return {"y": 2 * x, "unit": "m"}, lambda *y_bars: 2 * y_bars[0]

    with pytest.raises(TypeError, match="ad: op: the function returned a str, which is no array of numbers"):
        ad.grad(lambda x: op(x)["y"])(2.0)


def test_a_buffer_that_the_function_returns_again_and_again():
    buffer = np.zeros(3)

    @ad.custom_gradient
    def exp(x):
        np.exp(x.numpy(), out=buffer)
        return buffer, lambda y_bar: y_bar * np.exp(x)

    gradient = ad.grad(lambda x: np.sum(exp(x) * exp(2 * x)))
    for f in (gradient, ad.compile(gradient)):
        np.testing.assert_allclose(f(X), 3 * np.exp(3 * X))


# -- how often it is called ------------------------------------------------------------------------------------


def counted(calls, plain):
    """A product that notes the calls of the function and of its rule."""

    @ad.custom_gradient
    def product(a, b):
        calls.append("f")
        value = a.numpy() * b.numpy() if plain else a * b

        def grad_fn(y_bar):
            calls.append("grad_fn")
            return y_bar * b, y_bar * a

        return value, grad_fn

    return product


def test_calls_of_the_rule_in_a_sweep_and_in_forward_mode():
    calls = []
    product = counted(calls, plain=False)
    ad.grad(lambda a, b: np.sum(product(a, b)), (0, 1))(X, 2 * X)
    assert calls == ["f", "grad_fn"]
    calls.clear()
    assert ad.jvp(product, (X, 2 * X), (np.ones(3), X))[1].tolist() == (2 * X + X * X).tolist()
    assert calls == ["f", "f", "grad_fn"]
    calls.clear()
    np.testing.assert_array_equal(ad.jacobian(product, mode="forward")(X, 2 * X), np.diag(2 * X))
    assert calls == ["f", "f", *["grad_fn"] * 3]  # the function once for all lanes


def test_a_replay_that_calls_the_function_does_so_once_in_each_sweep():
    calls = []
    product = counted(calls, plain=True)
    gradient = ad.compile(ad.grad(lambda a, b: np.sum(product(a, b) ** 2), (0, 1)))
    gradient(X, X)
    calls.clear()
    for found, wanted in zip(gradient(X, 2 * X), (8 * X**3, 4 * X**3)):
        np.testing.assert_allclose(found, wanted)
    assert calls == ["f", "f", "grad_fn"]  # for the value, and in the sweep
