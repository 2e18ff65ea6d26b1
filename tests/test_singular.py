"""The derivatives at the singular points that the op table lists, in every nesting of the modes and way of running."""
import importlib.util
import itertools

import numpy as np
import pytest

import ad
from ad.ops import TABLE

if importlib.util.find_spec("scipy"):
    importlib.import_module("ad.ops.special")

POINTS = [pytest.param(entry, point, id=f"{entry.name}-{point}") for entry in TABLE.values() for point in entry.points]
MODES = ("forward", "reverse")


def arguments(point):
    """The inputs as arrays; those that are not differentiated, which the point gives as integers, as they are."""
    return [x if isinstance(x, int) else np.asarray(x, np.float64) for x in point.inputs]


def of_variables(entry, point):
    """The sum of the outputs as a function of the inputs that are differentiated, and these."""
    args = arguments(point)
    places = [i for i, x in enumerate(args) if not isinstance(x, int)]

    def function(*xs):
        given = dict(zip(places, xs))
        y = entry.function(*[given.get(i, x) for i, x in enumerate(args)], **point.params)
        return sum(np.sum(part) for part in (y if isinstance(y, tuple) else (y,)))

    return function, [args[i] for i in places]


def expected(point, order, n):
    """The derivatives of an order for all elements of the inputs."""
    value = np.asarray(point.derivatives[order - 1], np.float64)
    return np.broadcast_to(value if value.ndim in (0, order) else value.reshape((n,) * order), (n,) * order)


def derivative(f, place, mode):
    """The partial derivative with respect to an element of an input."""
    i, index = place
    if mode == "reverse":
        return lambda *xs: ad.grad(f, i)(*xs)[index]

    def pushed(*xs):
        dots = [np.zeros(x.shape) for x in xs]
        dots[i][index] = 1.0
        return ad.jvp(f, xs, tuple(dots))[1]

    return pushed


def check(found, value, *what):
    np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-12, err_msg=str(what))


@pytest.mark.parametrize("entry, point", POINTS)
def test_derivatives_of_elements(entry, point):
    """One number after the other: for elementwise ops, numbers and arrays of them have code of their own."""
    function, xs = of_variables(entry, point)
    places = [(i, index) for i, x in enumerate(xs) for index in np.ndindex(x.shape)]
    forms = [(xs, places)]
    if entry.form == "elementwise":
        forms.append(([np.full(3, x) for x in xs], [(i, (0,)) for i, _ in places]))
    for order in range(1, len(point.derivatives) + 1):
        values = expected(point, order, len(places))
        for inputs, elements in forms:
            for modes in itertools.product(MODES, repeat=order):
                for chosen in itertools.product(range(len(elements)), repeat=order):
                    f = function
                    for mode, k in zip(modes, chosen):
                        f = derivative(f, elements[k], mode)
                    check(f(*inputs), values[chosen], modes, chosen)


@pytest.mark.parametrize("entry, point", POINTS)
def test_derivatives_in_lanes_and_programs(entry, point):
    """All elements at once: eagerly, compiled and under vmap."""
    function, xs = of_variables(entry, point)
    whole = np.concatenate([x.ravel() for x in xs])
    ends = np.cumsum([x.size for x in xs])

    def f(v):
        return function(*[v[end - 1] if not x.ndim else np.reshape(v[end - x.size : end], x.shape)
                          for x, end in zip(xs, ends)])

    for order in range(1, len(point.derivatives) + 1):
        values = expected(point, order, whole.size)
        for modes in itertools.product(MODES, repeat=order):
            d = f
            for mode in modes:
                d = ad.jacobian(d, mode=mode)
            check(d(whole), values, modes)
            if order < 3 or modes == ("reverse", "reverse", "forward"):
                check(ad.compile(d)(whole), values, modes, "compiled")
                check(ad.vmap(d)(np.stack([whole, whole]))[1], values, modes, "vmap")
        if order == 2:
            check(ad.hessian(f)(whole), values, "hessian")


def test_what_a_point_says():
    """The documentation of a function has the points that the tests hold it to."""
    assert "Singular points: 0 at 0, second 0, third 0" in ad.absolute.__doc__
    assert str(ad.ops.documentation.point(0.0, (1.0, 2.0), first=(0.5, np.inf), second=0, ord=3)) == (
        "(0.5, inf) at (0, (1, 2), ord=3), second 0")


def test_entries_with_singular_points_have_some_listed():
    listed = {entry.name for entry in TABLE.values() if entry.points}
    assert {"absolute", "hypot", "power", "sqrt", "norm", "maximum", "std", "prod"} <= listed


COMPLEX = {
    "absolute": lambda z: np.sum(np.abs(z)), "norm": np.linalg.norm, "norm of order 1": lambda z: np.linalg.norm(z, 1),
    "norm of order 3": lambda z: np.linalg.norm(z, 3), "largest": lambda z: np.linalg.norm(z, np.inf),
    "std": np.std,
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_numbers_at_zero(name):
    """As for real numbers: 0, with all derivatives."""
    def f(t):
        return COMPLEX[name](t * np.array([1 + 0.5j, -2j]))

    for order in (1, 2, 3):
        for modes in itertools.product(MODES, repeat=order):
            d = f
            for mode in modes:
                d = derivative(d, (0, ()), mode)
            check(d(np.asarray(0.0)), 0.0, modes)
            check(ad.compile(d)(np.asarray(0.0)), 0.0, modes, "compiled")


@pytest.mark.parametrize("order", [1, 2, 3])
def test_complex_elements_that_are_zero_beside_others(order):
    """The norm of real and imaginary parts, against a formula in real numbers in which the zero element is left out."""
    def f(v):
        return np.linalg.norm(v[:2] + 1j * v[2:], order)

    def by_hand(v):
        squares = v[:2] ** 2 + v[2:] ** 2
        return squares[1] ** 0.5 if order != 2 else np.sum(squares) ** 0.5

    v = np.array([0.0, 2.0, 0.0, 1.0])
    check(ad.grad(f)(v), ad.grad(by_hand)(v))
    check(ad.hessian(f)(v), ad.hessian(by_hand)(v))
