"""custom_gradient: in reverse, in forward mode, and differentiated again."""
import functools
import pickle

import numpy as np
import pytest

import ad

close = np.testing.assert_allclose


@ad.custom_gradient
def log1pexp(x):
    e = np.exp(x)
    return np.log(1 + e), lambda y_bar: y_bar * (1 - 1 / (1 + e))


@ad.custom_gradient
def product(x, y):
    """With a factor of ten in the gradient, to tell it from the derivative."""
    return x * y, lambda z_bar: (10 * z_bar * y, 10 * z_bar * x)


@ad.custom_gradient
def sin_cos(x):
    s, c = np.sin(x), np.cos(x)
    return (s, c), lambda s_bar, c_bar: s_bar * np.cos(x) - c_bar * np.sin(x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# -- reverse ----------------------------------------------------------------------------------


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
    with pytest.raises(ValueError, match=f"wrong returned {count} gradients for 2 arguments"):
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
    with pytest.raises(ValueError, match=r"shape \(3,\) for an argument of shape \(2,\)"):
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


# -- higher orders and forward mode -----------------------------------------------------------


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


def test_a_function_that_returns_no_gradient_function():
    f = ad.custom_gradient(lambda x: x * x)
    with pytest.raises(TypeError, match=r"must return \(y, grad_fn\)"):
        ad.grad(f)(1.0)


class Model:
    """Methods of every kind, each with a rule that is told by its factor."""

    scale = 7.0

    def __init__(self, weight=1.0):
        self.weight = weight

    @ad.custom_gradient
    def plain(self, x):
        return x * self.weight, lambda dy: dy * self.scale

    @ad.custom_gradient
    def told_of_itself(self, x):
        return x * self.weight, lambda dy: (None, dy * self.scale)

    @ad.custom_gradient
    @staticmethod
    def static(x):
        return x * 1.0, lambda dy: dy * 7.0

    @staticmethod
    @ad.custom_gradient
    def static_within(x):
        return x * 1.0, lambda dy: dy * 7.0

    @ad.custom_gradient
    @classmethod
    def of_class(cls, x):
        return x * 1.0, lambda dy: dy * cls.scale

    @classmethod
    @ad.custom_gradient
    def of_class_within(cls, x):
        return x * 1.0, lambda dy: dy * cls.scale

    @ad.custom_gradient
    def forward(self, x):
        return x * self.weight, lambda dy: dy * self.scale

    @forward.defjvp
    def _(self, primals, tangents):
        return tangents[0] * self.scale * 2


@pytest.mark.parametrize("name", "plain told_of_itself static static_within of_class of_class_within".split())
def test_methods_of_every_kind(name):
    x = ad.Variable(2.0)
    with ad.GradientTape() as tape:
        y = getattr(Model(), name)(x)
    assert (y.numpy(), tape.gradient(y, x).numpy()) == (2.0, 7.0)
    assert ad.grad(lambda x: getattr(Model(3.0), name)(x))(2.0) == 7.0
    assert ad.compile(ad.grad(lambda x: getattr(Model(3.0), name)(x)))(2.0) == 7.0
    assert ad.jvp(getattr(Model(), name), (2.0,), (1.0,))[1] == 7.0
    np.testing.assert_array_equal(ad.vmap(getattr(Model(), name))(np.ones(2)), np.ones(2))


def test_forward_rules_of_methods_get_the_object():
    assert ad.jvp(Model().forward, (2.0,), (1.0,))[1] == 14.0
    assert ad.grad(Model().forward)(2.0) == 7.0


def test_by_class_the_object_is_an_argument():
    assert Model.plain.__name__ == "plain"
    assert Model.__dict__["plain"].__get__(Model(2.0))(3.0) == 6.0


def test_functions_are_pickled_by_name():
    assert pickle.loads(pickle.dumps(sin_cos)) is sin_cos


# -- how a call may be written --------------------------------------------------------------------------


@ad.custom_gradient
def weighted(x, y, factor=1.0, *, shift=0.0):
    """With a rule that is not the derivative, so that it shows whether it was asked."""
    return x * y * factor + shift, lambda y_bar: [y_bar * k for k in (10.0, 20.0, 30.0)[:2 + (factor is not UNIT)]]


UNIT = weighted.__wrapped__.__defaults__[0]


def through(method):
    """A decorator as others write it."""
    @functools.wraps(method)
    def called(*args, **kwargs):
        return method(*args, **kwargs)
    return called


class Scaled:
    @ad.custom_gradient
    def product(self, x, y, factor=UNIT):
        return weighted.__wrapped__(x, y, factor)


    @through
    @ad.custom_gradient
    def decorated(self, x, y):
        return weighted.__wrapped__(x, y, UNIT)


Scaled.given_later = ad.custom_gradient(lambda self, x, y: weighted.__wrapped__(x, y, UNIT))


class Rescaled(Scaled):
    @ad.custom_gradient
    def product(self, x, y, factor=UNIT):
        return Scaled.product(self, x, y), lambda y_bar: (y_bar * 1.0, y_bar * 2.0)


SPELLINGS = {
    "by keyword": (lambda x: weighted(2.0, y=x), 20), "both by keyword": (lambda x: weighted(y=x, x=x), 30),
    "beside another": (lambda x: weighted(ad.constant(2.0), y=x), 20),
    "a default": (lambda x: weighted(x, 2.0, factor=x), 40),
    "of a method": (lambda x: Scaled().product(2.0, y=x), 20),
    "of a class": (lambda x: Scaled.product(Scaled(), 2.0, y=x), 20),
    "under a decorator": (lambda x: Scaled().decorated(x, 2.0), 10),
    "under a decorator, by keyword": (lambda x: Scaled().decorated(2.0, y=x), 20),
    "of a function given to the class": (lambda x: Scaled.given_later(Scaled(), x, x), 30),
    "of a base class": (lambda x: Scaled.product(Rescaled(), x, x), 30),
    "over a base": (lambda x: Rescaled().product(x, x), 3),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_the_rule_is_that_of_all_spellings_of_a_call(name):
    f, slope = SPELLINGS[name]
    for g in (ad.grad(f), ad.compile(ad.grad(f)), ad.grad(ad.compile(f)), lambda x: ad.jvp(f, (x,), (1.0,))[1]):
        assert g(3.0) == slope
    np.testing.assert_array_equal(ad.vmap(ad.grad(f))(np.array([3.0, 4.0])), [slope, slope])


def test_a_keyword_without_a_place_is_refused_where_it_is_differentiated():
    assert weighted(ad.constant(1.0), 2.0, shift=ad.constant(3.0)) == 5.0
    with pytest.raises(TypeError, match=r"weighted, under custom_gradient, has no gradient for its keyword 'shift'"):
        ad.grad(lambda x: weighted(x, 2.0, shift=x))(3.0)
    assert ad.grad(lambda x: weighted(x, 2.0, shift=ad.stop_gradient(x)))(3.0) == 10.0


class Doubled:
    def __call__(self, x):
        return x * 2.0, lambda y_bar: y_bar * 7.0


def test_objects_that_are_called_like_functions():
    for f in (Doubled(), Doubled().__call__, functools.partial(Doubled.__call__, None)):
        assert ad.grad(ad.custom_gradient(f))(3.0) == 7.0
    with pytest.raises(TypeError, match="takes a function, not a float"):
        ad.custom_gradient(3.0)
