"""numpy.polynomial, whose functions do not dispatch: each is right with a value of ours, or raises."""
import inspect

import numpy as np
import pytest
from numpy import polynomial

import ad
from ad._core import Array

X, Y, Z = np.array([0.3, -0.6]), np.array([0.2, 0.5]), np.array([0.1, -0.4])
SERIES, OTHER, ROOTS = np.array([0.7, -0.3, 0.5]), np.array([0.4, 1.2]), np.array([0.5, 3.0, -1.2])
PLANE, SPACE = np.arange(6.0).reshape(2, 3) / 5 + 0.1, np.arange(12.0).reshape(2, 3, 2) / 7 - 0.2
KNOTS = np.linspace(-0.9, 0.9, 6)
ARGUMENTS = {  # of the function of this name, after the prefix of its basis
    "val": (X, SERIES), "val2d": (X, Y, PLANE), "val3d": (X, Y, Z, SPACE), "grid2d": (X, Y, PLANE),
    "grid3d": (X, Y, Z, SPACE), "add": (SERIES, OTHER), "sub": (SERIES, OTHER), "mul": (SERIES, OTHER),
    "div": (SERIES, OTHER), "pow": (SERIES, 3), "der": (SERIES,), "int": (SERIES,), "mulx": (SERIES,),
    "fromroots": (ROOTS,), "roots": (SERIES,), "companion": (SERIES,), "line": (0.5, 0.7), "vander": (X, 3),
    "vander2d": (X, Y, [1, 2]), "vander3d": (X, Y, Z, [1, 2, 1]), "fit": (KNOTS, np.sin(KNOTS), 2), "trim": (SERIES,),
    "valfromroots": (X, ROOTS), "weight": (X,),
}
NUMBERS = {"gauss", "interpolate", "pts1", "pts2"}  # of what takes numbers, or a function
BASES = {"polynomial": "poly", "chebyshev": "cheb", "legendre": "leg", "laguerre": "lag", "hermite": "herm",
         "hermite_e": "herme"}


def functions():
    """The functions of each basis, with their arguments."""
    for basis, prefix in BASES.items():
        module = getattr(polynomial, basis)
        for name in module.__all__:
            function, rest = getattr(module, name), name.removeprefix(prefix)
            if inspect.isroutine(function) and rest not in NUMBERS:
                yield pytest.param(function, (SERIES,) if "2" in name and rest not in ARGUMENTS else ARGUMENTS[rest],
                                   id=f"{basis}.{name}")


def joined(y):
    """All that a function returns, in one vector."""
    return np.concatenate([np.ravel(part) for part in (y if isinstance(y, tuple) else (y,))])


def slope(f, x, v, h=1e-6):
    return (f(x + h * v) - f(x - h * v)) / (2 * h)


@pytest.mark.parametrize(("function", "args"), [*functions()])
def test_each_function_is_right_or_raises(function, args):
    for i, x in enumerate(args):
        if isinstance(x, (np.ndarray, float)):
            check_right_or_refused(lambda x, i=i: joined(function(*args[:i], x, *args[i + 1 :])), x)


def check_right_or_refused(f, x):
    """That a function of x is right in each mode, or raises where x would be made a constant."""
    v = 0.3 * np.arange(1.0, 1.0 + np.size(x)).reshape(np.shape(x))
    y = f(ad.constant(x))
    np.testing.assert_allclose(y.numpy() if isinstance(y, Array) else y, f(x), rtol=1e-12)
    for run, expected in (
        (lambda: ad.jvp(f, (x,), (v,))[1], slope(f, x, v)),
        (lambda: ad.jacobian(f)(x).reshape(-1, np.size(x)) @ v.ravel(), slope(f, x, v)),
        (lambda: ad.compile(f)(x), f(x)),
        (lambda: ad.vmap(f)(np.stack([x, 2 * x]))[1], f(2 * x)),
    ):
        try:
            found = run()
        except (TypeError, ad.MissingRule):
            continue
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("basis", BASES)
def test_values_are_differentiated(basis):
    """What has no coefficients or roots of ours, and is a polynomial in x, does not raise."""
    module, prefix = getattr(polynomial, basis), BASES[basis]
    value, grid = (getattr(module, prefix + name) for name in ("val", "grid2d"))
    table = np.stack([SERIES, 2 * SERIES], axis=-1)
    for f in (lambda x: value(x, SERIES), lambda x: value(x, table), lambda x: value(x, table, tensor=False),
              getattr(module, basis.replace("hermite_e", "hermiteE").title().replace("ee", "eE"))(SERIES, [-2, 2])):
        np.testing.assert_allclose(ad.jvp(f, (X,), (Y,))[1], slope(f, X, Y), rtol=1e-7)
        assert f(ad.constant(X)).shape == f(X).shape
    if basis != "polynomial":  # which dispatches it
        np.testing.assert_allclose(ad.jvp(lambda y: grid(X, y, PLANE), (Y,), (X,))[1],
                                   slope(lambda y: grid(X, y, PLANE), Y, X), rtol=1e-7)


def test_values_from_roots():
    def f(x):
        return polynomial.polynomial.polyvalfromroots(x, ROOTS)

    derivative = sum(np.prod([X - r for r in np.delete(ROOTS, i)], axis=0) for i in range(3))
    np.testing.assert_allclose(ad.vjp(f, X)[1](np.ones(2))[0], derivative)
    np.testing.assert_allclose(ad.hvp(lambda x: np.sum(f(x)))(X, np.ones(2)), 6 * X - 2 * ROOTS.sum())


def test_a_value_of_ours_is_an_ndarray_to_numpy_polynomial_only():
    x = ad.constant(X)
    asks = eval("lambda x: isinstance(x, kind)", {"__name__": "numpy.polynomial.chebyshev", "kind": np.ndarray})
    assert asks(x)
    assert not isinstance(x, np.ndarray)
    assert x.__class__ is type(x) is Array
    assert ad.Variable(1.0).__class__ is ad.Variable
