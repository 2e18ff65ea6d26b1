"""custom_gradient: methods, and how a call may be written."""
import functools
import pickle

import numpy as np
import pytest
from custom_functions import sin_cos

import ad


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
