"""ForwardAccumulator: forward mode alone, nested, and around and inside tapes."""
import threading

import numpy as np
import pytest

import ad

close = np.testing.assert_allclose


def f(x):
    """A function with derivatives of every order."""
    return np.sin(x) * x**3 + np.exp(0.5 * x)


def numerical(f, x, order, h=1e-3):
    """The derivative of this order, by central differences of high order."""
    offsets = np.arange(-4, 5)
    powers = np.vander(offsets * 1.0, increasing=True).T
    wanted = np.zeros(9)
    wanted[order] = np.prod(np.arange(1, order + 1))
    return np.linalg.solve(powers, wanted) @ np.array([f(x + h * k) for k in offsets]) / h**order


# -- one accumulator --------------------------------------------------------------------------


def test_a_tangent_is_looked_up():
    x = ad.constant([2.0, 3.0])
    with ad.ForwardAccumulator(x, [1.0, 10.0]) as acc:
        y = x * x
        z = y.sum()
    np.testing.assert_array_equal(acc.jvp(y).numpy(), [4.0, 60.0])
    assert acc.jvp(z).numpy() == 64.0
    np.testing.assert_array_equal(acc.jvp(x).numpy(), [1.0, 10.0])


def test_it_works_inside_the_block_and_after_it():
    x = ad.Variable(1.3)
    with ad.ForwardAccumulator(x, 2.0) as acc:
        y = f(x)
        inside = acc.jvp(y).numpy()
    assert acc.jvp(y).numpy() == inside
    close(inside, 2 * numerical(f, 1.3, 1), rtol=1e-9)


def test_what_is_computed_outside_has_no_tangent():
    x = ad.constant(2.0)
    before = x * x
    with ad.ForwardAccumulator(x, 1.0) as acc:
        y = x * x
    after = x * y
    assert acc.jvp(before) is None
    assert acc.jvp(after) is None
    assert acc.jvp(after, unconnected_gradients="zero").numpy() == 0.0
    assert acc.jvp(ad.constant(1.0)) is None
    with pytest.raises(ValueError, match="'never'"):
        acc.jvp(y, unconnected_gradients="never")


def test_nested_structures():
    w, b, x = ad.Variable([[1.0, 2.0]]), ad.Variable(3.0), ad.constant([1.0, -1.0])
    with ad.ForwardAccumulator({"w": w, "rest": (b,)}, {"rest": (1.0,), "w": np.ones((1, 2))}) as acc:
        y = (w * x).sum() + b
        z = x * x
    found = acc.jvp({"y": y, "z": [z]})
    assert found["y"].numpy() == 1.0
    assert found["z"] == [None]
    with pytest.raises(TypeError, match="tangents"):
        ad.ForwardAccumulator([w, b], (1.0, 2.0))


def test_variables_lose_their_tangent_at_the_end():
    v = ad.Variable(2.0)
    with ad.ForwardAccumulator(v, 1.0) as one:
        y = v * v
    with ad.ForwardAccumulator(v, 3.0) as other:
        z = v * v
    assert (one.jvp(y).numpy(), other.jvp(z).numpy()) == (4.0, 12.0)
    assert one.jvp(z) is None
    assert other.jvp(y) is None


def test_an_intermediate_as_primal():
    x = ad.constant(3.0)
    with ad.ForwardAccumulator(x, 1.0) as outer:
        y = x * x
        with ad.ForwardAccumulator(y, 1.0) as inner:
            z = y * y
    assert inner.jvp(z).numpy() == 18.0
    assert outer.jvp(z).numpy() == 18.0 * 6.0
    assert outer.jvp(inner.jvp(z)).numpy() == 2.0 * 6.0


def test_a_primal_given_twice():
    x = ad.constant(2.0)
    with pytest.raises(ValueError, match="twice"):
        ad.ForwardAccumulator([x, x], [1.0, 2.0])


def test_entering_inside_itself_is_an_error_and_after_the_end_goes_on():
    x = ad.constant(-2.0)
    with ad.ForwardAccumulator(x, 1.5) as acc:
        y = 4.0 * x
        with pytest.raises(ValueError, match="already"):
            with acc:
                pass
        assert acc.jvp(4.0 * x).numpy() == 6.0
    z = 4.0 * x
    with acc:
        yy = y * y
    assert acc.jvp(z) is None
    assert acc.jvp(yy).numpy() == 2 * -8.0 * 6.0


def test_entering_again_inside_a_younger_one():
    x = ad.constant(2.0)
    acc = ad.ForwardAccumulator(x, 1.0)
    with acc:
        pass
    with ad.ForwardAccumulator(x, 1.0), pytest.raises(ValueError, match="made later"):
        with acc:
            pass


@pytest.mark.parametrize("tangent", [[1.0, 2.0, 3.0], 1.0, ad.constant([1.0, 2.0], np.float32), [1j, 1.0]])
def test_a_tangent_that_does_not_fit(tangent):
    with pytest.raises(ValueError, match="tangent of shape"):
        ad.ForwardAccumulator(ad.constant([1.0, 2.0]), tangent)


def test_something_that_is_no_primal():
    with pytest.raises(ValueError, match="float"):
        ad.ForwardAccumulator(1.0, 1.0)
    n = ad.constant(np.arange(3))
    with pytest.warns(UserWarning, match="int64"):
        acc = ad.ForwardAccumulator(n, np.ones(3, np.int64))
    with acc:
        y = n * 2.0
    assert acc.jvp(y) is None


def test_an_exception_leaves_no_tangents():
    x = ad.constant(2.0)
    with pytest.raises(ZeroDivisionError):
        with ad.ForwardAccumulator(x, 1.0):
            raise ZeroDivisionError
    assert (x * x).is_constant
    with ad.ForwardAccumulator(x, 1.0) as acc:
        y = x * x
    assert acc.jvp(y).numpy() == 4.0


def test_single_precision_and_complex():
    x = ad.constant([1.0, 2.0], np.float32)
    with ad.ForwardAccumulator(x, [1.0, 1.0]) as acc:
        y = np.exp(x)
    assert acc.jvp(y).dtype == np.float32
    z = ad.constant([1.0 + 2.0j])
    with ad.ForwardAccumulator(z, [1j]) as acc:
        y = z * z
    close(acc.jvp(y).numpy(), [2j * (1 + 2j)])


def test_threads_are_independent():
    x = ad.constant(2.0)
    entered, done = threading.Event(), threading.Event()
    found = []

    def other():
        with ad.ForwardAccumulator(x, 10.0) as acc:
            entered.set()
            done.wait(10)
            y = x * x
        found.append(acc.jvp(y).numpy())

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(10)
    assert (x * x).is_constant
    with ad.ForwardAccumulator(x, 1.0) as acc:
        y = x * x
    done.set()
    thread.join()
    assert acc.jvp(y).numpy() == 4.0
    assert found == [40.0]


# -- nested -----------------------------------------------------------------------------------


def test_nested_accumulators_give_second_derivatives():
    x = ad.constant(1.3)
    with ad.ForwardAccumulator(x, 1.0) as outer, ad.ForwardAccumulator(x, 1.0) as inner:
        y = f(x)
    close(inner.jvp(y).numpy(), numerical(f, 1.3, 1), rtol=1e-9)
    close(outer.jvp(y).numpy(), inner.jvp(y).numpy(), rtol=1e-14)
    close(outer.jvp(inner.jvp(y)).numpy(), numerical(f, 1.3, 2), rtol=1e-7)
    assert inner.jvp(outer.jvp(y)) is None


def test_three_levels():
    x = ad.Variable(1.3)
    with ad.ForwardAccumulator(x, 1.0) as a, ad.ForwardAccumulator(x, 1.0) as b, ad.ForwardAccumulator(x, 1.0) as c:
        y = f(x)
    close(a.jvp(b.jvp(c.jvp(y))).numpy(), numerical(f, 1.3, 3), rtol=1e-4)


def test_no_perturbation_confusion():
    """d/dx of x * (d/dy of x + y): the inner derivative is 1, not 2."""
    x, y = ad.constant(1.0), ad.constant(1.0)
    with ad.ForwardAccumulator(x, 1.0) as outer:
        with ad.ForwardAccumulator(y, 1.0) as inner:
            z = x + y
        product = x * inner.jvp(z)
    assert product.numpy() == 1.0
    assert outer.jvp(product).numpy() == 1.0


def test_forward_over_reverse_is_a_hessian_times_a_vector():
    values, direction = np.array([1.0, 2.0, -0.5]), np.array([1.0, -1.0, 3.0])
    x = ad.Variable(values)
    with ad.ForwardAccumulator(x, direction) as acc:
        with ad.GradientTape() as tape:
            y = (x[1:] * x[:-1] ** 3).sum() + (x * x).sum()
        g = tape.gradient(y, x)

    def gradient(v):
        return np.array([3 * v[0] ** 2 * v[1] + 2 * v[0], v[0] ** 3 + 3 * v[1] ** 2 * v[2] + 2 * v[1],
                         v[1] ** 3 + 2 * v[2]])

    close(g.numpy(), gradient(values))
    h = 1e-5
    expected = (gradient(values + h * direction) - gradient(values - h * direction)) / (2 * h)
    close(acc.jvp(g).numpy(), expected, rtol=1e-7)


def test_reverse_over_forward():
    x = ad.Variable(1.3)
    with ad.GradientTape() as tape:
        with ad.ForwardAccumulator(x, 1.0) as acc:
            y = f(x)
        y_dot = acc.jvp(y)
    close(tape.gradient(y_dot, x).numpy(), numerical(f, 1.3, 2), rtol=1e-7)


def test_the_order_of_nesting_decides():
    x = ad.Variable(3.0)
    with ad.ForwardAccumulator(x, 1.0) as acc:
        with ad.GradientTape() as tape:
            y = x * x * x
        assert tape.gradient(acc.jvp(y), x) is None
    with ad.ForwardAccumulator(x, 1.0) as acc:
        with ad.GradientTape() as tape:
            y = x * x * x
    g = tape.gradient(y, x)
    assert g.numpy() == 27.0
    assert acc.jvp(g) is None


def test_third_derivative_by_all_three_mixtures():
    x = ad.Variable(1.3)
    expected = numerical(f, 1.3, 3)
    with ad.ForwardAccumulator(x, 1.0) as acc, ad.GradientTape() as outer:
        with ad.GradientTape() as inner:
            y = f(x)
        g = outer.gradient(inner.gradient(y, x), x)
    close(acc.jvp(g).numpy(), expected, rtol=1e-4)
    with ad.GradientTape() as outer:
        with ad.ForwardAccumulator(x, 1.0) as acc:
            with ad.GradientTape() as inner:
                y = f(x)
            g = inner.gradient(y, x)
        g_dot = acc.jvp(g)
    close(outer.gradient(g_dot, x).numpy(), expected, rtol=1e-4)


def test_tangents_of_output_gradients():
    """The tape's own graph has no tangents; its seed has."""
    a, b = ad.Variable(2.0), ad.Variable(5.0)
    with ad.ForwardAccumulator(b, 1.0) as acc:
        with ad.GradientTape() as tape:
            y = 3.0 * a
        g = tape.gradient(y, a, output_gradients=b * b)
    assert g.numpy() == 75.0
    assert acc.jvp(g).numpy() == 30.0


def test_tangents_that_a_tape_watches():
    x, v = ad.constant([1.0, 2.0]), ad.Variable([3.0, 4.0])
    with ad.GradientTape() as tape:
        with ad.ForwardAccumulator(x, v * 1.0) as acc:
            y = x * x
        y_dot = acc.jvp(y)
    np.testing.assert_array_equal(tape.gradient(y_dot, v).numpy(), [2.0, 4.0])


def test_an_accumulator_that_is_not_open_is_left_without_effect():
    x = ad.constant(2.0)
    acc = ad.ForwardAccumulator(x, 1.0)
    acc.__exit__(None, None, None)  # ended the process
    with acc:
        y = x * x
    acc.__exit__(None, None, None)
    assert acc.jvp(y) == 4.0
    assert ad.jvp(np.square, (3.0,), (1.0,))[1] == 6.0
