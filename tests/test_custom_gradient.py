"""custom_gradient in reverse mode."""

import numpy as np
import pytest
from custom_functions import log1pexp, product, sin_cos

import ad

close = np.testing.assert_allclose


def test_stable_where_the_derivative_is_not():
    x = ad.constant(100.0)
    with ad.GradientTape() as tape:
        tape.watch(x)
        y = log1pexp(x)
    assert y.numpy() == 100.0
    assert tape.gradient(y, x).numpy() == 1.0


def test_the_given_gradient_is_used():
    x, y = ad.Variable([1.0, 2.0]), ad.Variable([3.0, 4.0])
    with ad.GradientTape() as tape:
        z = product(x, y)
    with_x, with_y = tape.gradient(z, [x, y])
    np.testing.assert_array_equal(with_x.numpy(), [30.0, 40.0])
    np.testing.assert_array_equal(with_y.numpy(), [10.0, 20.0])


def test_plain_arguments_give_plain_results():
    assert type(log1pexp(0.0)) is np.float64
    np.testing.assert_array_equal(product(np.ones(2), 3.0), [3.0, 3.0])


def test_an_argument_may_be_a_number():
    x = ad.Variable(2.0)
    with ad.GradientTape() as tape:
        z = product(x, 5.0)
    assert tape.gradient(z, x).numpy() == 50.0


def test_grad_fn_is_called_once_a_sweep():
    calls = []

    @ad.custom_gradient
    def add(x, y):
        def grad_fn(z_bar):
            calls.append(1)
            return z_bar, z_bar

        return x + y, grad_fn

    x, y = ad.Variable(2.0), ad.Variable(3.0)
    with ad.GradientTape(persistent=True) as tape:
        z = add(x, y)
    tape.gradient(z, [x, y])
    assert len(calls) == 1
    tape.gradient(z, x)
    tape.gradient(z, [x, y])
    assert len(calls) == 3


def test_none_for_an_argument():
    @ad.custom_gradient
    def first(x, y):
        return x * 1.0, lambda z_bar: (z_bar, None)

    x, y = ad.Variable(2.0), ad.Variable(3.0)
    with ad.GradientTape() as tape:
        z = first(x, y)
    with_x, with_y = tape.gradient(z, [x, y])
    assert with_x.numpy() == 1.0
    assert with_y is None


@pytest.mark.parametrize("returned, count", [(lambda b: b, 1), (lambda b: [b, b, b], 3)])
def test_a_wrong_number_of_gradients(returned, count):
    @ad.custom_gradient
    def wrong(x, y):
        return x * y, returned

    x, y = ad.Variable(2.0), ad.Variable(3.0)
    with ad.GradientTape() as tape:
        z = wrong(x, y)
    with pytest.raises(ValueError, match=f"wrong: its grad_fn returned {count} cotangents for 2 arguments"):
        tape.gradient(z, x)


def test_a_scalar_gradient_stands_for_every_element():
    @ad.custom_gradient
    def total(x):
        return x.sum(), lambda y_bar: y_bar

    x = ad.Variable([1.0, 2.0])
    with ad.GradientTape() as tape:
        y = total(x)
    np.testing.assert_array_equal(tape.gradient(y, x).numpy(), [1.0, 1.0])


def test_a_gradient_of_a_wrong_shape():
    @ad.custom_gradient
    def wrong(x):
        return x.sum(), lambda y_bar: np.ones(3)

    x = ad.Variable([1.0, 2.0])
    with ad.GradientTape() as tape:
        y = wrong(x)
    with pytest.raises(ValueError, match=r"cotangent of shape \(3,\) for an input of shape \(2,\)"):
        tape.gradient(y, x)


def test_an_exception_in_it_propagates_and_leaves_nothing_behind():
    @ad.custom_gradient
    def breaks(x):
        def grad_fn(y_bar):
            raise ZeroDivisionError("in the gradient")

        return x * x, grad_fn

    x = ad.Variable(2.0)
    with ad.GradientTape() as tape:
        y = breaks(x)
    with pytest.raises(ZeroDivisionError, match="in the gradient"):
        tape.gradient(y, x)

    @ad.custom_gradient
    def breaks_at_once(x):
        raise ZeroDivisionError("in the function")

    with pytest.raises(ZeroDivisionError, match="in the function"):
        with ad.GradientTape():
            breaks_at_once(x)
    assert (x * x).is_constant


def test_several_outputs_and_nested_arguments():
    x = ad.Variable(0.7)
    with ad.GradientTape(persistent=True) as tape:
        s, c = sin_cos(x)
        y = 2 * s + 3 * c
    close(tape.gradient(y, x).numpy(), 2 * np.cos(0.7) - 3 * np.sin(0.7))
    close(tape.gradient(c, x).numpy(), -np.sin(0.7))

    @ad.custom_gradient
    def pair(parts):
        return {"sum": parts["a"] + parts["b"]}, lambda y_bar: {"a": y_bar, "b": 2 * y_bar}

    a, b = ad.Variable(1.0), ad.Variable(2.0)
    with ad.GradientTape() as tape:
        y = pair({"a": a, "b": b})["sum"]
    assert [g.numpy() for g in tape.gradient(y, [a, b])] == [1.0, 2.0]


def test_keywords_are_passed_on():
    @ad.custom_gradient
    def scaled(x, *, by):
        return x * by, lambda y_bar: y_bar * by

    x = ad.Variable(2.0)
    with ad.GradientTape() as tape:
        y = scaled(x, by=5.0)
    assert tape.gradient(y, x).numpy() == 5.0


def test_variables_that_are_no_arguments():
    v, x = ad.Variable(3.0), ad.Variable(2.0)

    @ad.custom_gradient
    def times(x):
        return x * v, lambda y_bar, variables: (y_bar * v, [y_bar * x])

    with ad.GradientTape() as tape:
        y = times(x)
    assert [g.numpy() for g in tape.gradient(y, [x, v])] == [3.0, 2.0]

    @ad.custom_gradient
    def forgets(x):
        return x * v, lambda y_bar: y_bar * v

    with ad.GradientTape(), pytest.raises(TypeError, match="variables"):
        forgets(x)
    assert forgets(2.0).numpy() == 6.0


def test_a_variable_assigned_to_between_function_and_gradient():
    x = ad.Variable(2.0)
    with ad.GradientTape() as tape:
        y = product(x, x)
        x.assign(100.0)
    assert tape.gradient(y, x).numpy() == 40.0


def test_methods():
    class Scale:
        def __init__(self, by):
            self.by = by

        @ad.custom_gradient
        def times(self, x):
            return x * self.by, lambda y_bar: (None, y_bar * self.by)

    x = ad.Variable(2.0)
    with ad.GradientTape() as tape:
        y = Scale(3.0).times(x)
    assert tape.gradient(y, x).numpy() == 3.0


def test_decorator_with_parentheses_keeps_the_name():
    @ad.custom_gradient()
    def named(x):
        """What it does."""
        return x, lambda y_bar: y_bar

    assert (named.__name__, named.__doc__) == ("named", "What it does.")
