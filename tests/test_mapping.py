"""Functions that call a function of the user: values as NumPy has them, derivatives by differences, in every mode."""
import time

import numpy as np
import pytest

import ad
from ad.ops.mapping import apply_along_axis, ndenumerate, vectorize
from ad.testing import check_grads

X = np.array([[-1.2, 0.3, 0.7], [-0.4, 1.5, 2.0]])
W = np.array([0.5, -2.0, 1.5])


def bent(t, scale=1.0):
    return scale * t**3 if t > 0 else t**2 + np.sin(t)


def both(t):
    return t * t, np.exp(t)


def pick(a, i, *, power=2):
    return a[i] ** power


LOSSES = {
    "vectorize": lambda x, np_: np_.vectorize(bent)(x),
    "two arguments": lambda x, np_: np_.vectorize(bent)(x, x[1]),
    "a keyword": lambda x, np_: np_.vectorize(bent)(x, scale=x[:, :1]),
    "otypes": lambda x, np_: np_.vectorize(bent, otypes=[float])(x, 2.0),
    "cache": lambda x, np_: np_.vectorize(bent, cache=True)(x.T),
    "two results": lambda x, np_: sum(y * k for k, y in enumerate(np_.vectorize(both)(x), 1)),
    "excluded": lambda x, np_: np_.vectorize(pick, excluded={0})(x[1], np.array([[0, 2], [1, 1]])),
    "excluded names": lambda x, np_: np_.vectorize(pick, excluded=["a", "power"])(a=x[1], i=[0, 2], power=3),
    "an excluded list": lambda x, np_: np_.vectorize(pick, excluded={0})([x[0, 1], x[1, 0]], [1, 0, 1]),
    "empty cores": lambda x, np_: np_.vectorize(lambda a, b: a.sum() + b, signature="(n),()->()")(x[:, :0], x[:, 1]),
    "along an empty axis": lambda x, np_: np_.apply_along_axis(lambda row: row.sum() + x[0, 1], 1, x[:, :0]),
    "signature": lambda x, np_: np_.vectorize(lambda a, b: a @ b, signature="(n),(n)->()")(x, x[0]),
    "broadcast cores": lambda x, np_: np_.vectorize(np.outer, signature="(n),(m)->(n,m)")(x[:, None], x),
    "two signatures": lambda x, np_: sum(y.sum() for y in np_.vectorize(both, signature="(n)->(n),(n)")(x)),
    "no loop": lambda x, np_: np_.vectorize(np.cumprod, signature="(n)->(n)", otypes="d")(x[1]),
    "decorated": lambda x, np_: np_.vectorize(otypes=[float])(bent)(x),
    "a captured value": lambda x, np_: np_.vectorize(lambda i: x[1, i] ** 2 * i)(np.arange(3)),
    "a list": lambda x, np_: np_.vectorize(bent)([x[0, 1], x[1, 2], 0.5]),
    "a number": lambda x, np_: np_.vectorize(bent)(x[1, 1]),
    "along an axis": lambda x, np_: np_.apply_along_axis(lambda row: np.cumsum(row) * W[: len(row)], 0, x),
    "along, to a number": lambda x, np_: np_.apply_along_axis(lambda row, w: row @ w, 1, x, W),
    "along, to a list": lambda x, np_: np_.apply_along_axis(lambda row: [row[0] * row[1], row[1]], -1, x),
    "along, to a matrix": lambda x, np_: np_.apply_along_axis(lambda row: np.outer(row, row), 0, x),
    "along a captured value": lambda x, np_: np_.apply_along_axis(lambda row: row * x[0, 1], 0, np.ones((2, 2))),
    "over axes": lambda x, np_: np_.apply_over_axes(np.sum, x * x, (0, -1)),
    "piecewise": lambda x, np_: np_.piecewise(x, [x < 0, x > 1], [np.exp, lambda t: t**3, np.sin]),
    "piecewise, with numbers": lambda x, np_: np_.piecewise(x, [x < 0, x >= 0], [x[1, 1], np.square]),
    "piecewise, overlapping": lambda x, np_: np_.piecewise(x, [x < 1, x < 0], [lambda t, a: a * t, np.maximum], 0.5),
    "piecewise, of a vector as one": lambda x, np_: np_.piecewise(x[1], x[1] > 1, [lambda t: t**2 - t.mean(), x[0, 0]]),
    "piecewise, of rows": lambda x, np_: np_.piecewise(x, [[True, False]], [np.exp]),
    "piecewise, of a number": lambda x, np_: np_.piecewise(x[0, 1], [x[0, 1] > 0, x[0, 1] <= 0], [np.square, np.cos]),
    "select": lambda x, np_: np_.select([x < 0, x > 1], [x**2, np.sin(x)], x[1, 1]),
    "select, a default": lambda x, np_: np_.select([x[0] < 0, [True, False, False]], [1, 2], x),
    "enumerate": lambda x, np_: sum((i + 2 * j + 1) * v**2 for (i, j), v in np_.ndenumerate(x)),
    "flat": lambda x, np_: sum(k * v**2 for k, v in enumerate(x.flat)) + x.flat[4] + np.sum(x.flat[1::2]) * len(x.flat),
    "indices": lambda x, np_: sum(x[i] ** 2 * (1 + i[0]) for i in np.ndindex(x.shape)),
    "frompyfunc": lambda x, np_: np.sum(np.frompyfunc(bent, 1, 1)(x)),
    "frompyfunc, two of each": lambda x, np_: np.sum(np.frompyfunc(lambda a, b: (a * b, a), 2, 2)(x, x[0])[0]),
}


class Ours:
    """The functions that a user calls."""

    vectorize, apply_along_axis, ndenumerate = vectorize, apply_along_axis, ndenumerate
    apply_over_axes, piecewise, select = np.apply_over_axes, np.piecewise, ad.select


def of_losses(test):
    return pytest.mark.parametrize("name", LOSSES)(test)


def functions(name):
    """A loss on our functions, and the same on NumPy's."""
    def ours(x):
        return np.sum(np.sin(LOSSES[name](x, Ours)))

    def numpys(x):
        y = LOSSES[name](x, np)
        return np.sum(np.sin(np.asarray(y, float)))

    return ours, numpys


def numerical_gradient(f, x, step=1e-6):
    shifts = np.eye(x.size).reshape(-1, *x.shape) * step
    return np.array([(f(x + shift) - f(x - shift)) / (2 * step) for shift in shifts]).reshape(x.shape)


@of_losses
def test_values_are_numpys(name):
    f, numpys = functions(name)
    np.testing.assert_allclose(f(X), numpys(X), rtol=1e-14)
    np.testing.assert_allclose(float(f(ad.constant(X))), numpys(X), rtol=1e-14)
    np.testing.assert_allclose(ad.value_and_grad(f)(X)[0], numpys(X), rtol=1e-14)


@of_losses
def test_derivatives(name):
    f, numpys = functions(name)
    expected = numerical_gradient(numpys, X)
    np.testing.assert_allclose(ad.grad(f)(X), expected, rtol=1e-6, atol=1e-8)
    v = np.cos(X)
    np.testing.assert_allclose(ad.jvp(f, (X,), (v,))[1], np.sum(expected * v), rtol=1e-6, atol=1e-8)
    check_grads(f, (X,))
    hessian = np.stack([numerical_gradient(lambda x, i=i: ad.grad(f)(x).flat[i], X, 1e-5) for i in range(X.size)])
    np.testing.assert_allclose(ad.hessian(f)(X).reshape(hessian.shape), hessian, rtol=1e-5, atol=1e-7)


@of_losses
def test_lanes_and_programs(name):
    f, numpys = functions(name)
    xs = np.stack([X, X[::-1], -X])
    np.testing.assert_allclose(ad.vmap(f)(xs), [numpys(x) for x in xs], rtol=1e-12)
    slopes = [numerical_gradient(numpys, x) for x in xs]
    np.testing.assert_allclose(ad.vmap(ad.grad(f))(xs), slopes, rtol=1e-6, atol=1e-8)
    compiled = ad.compile(ad.grad(f))
    for x, expected in [*zip(xs, slopes)] * 2:
        np.testing.assert_allclose(compiled(x), expected, rtol=1e-6, atol=1e-8)
    if "frompyfunc" not in name:  # which a program of values alone calls on arrays
        np.testing.assert_allclose(ad.grad(ad.compile(f))(X), slopes[0], rtol=1e-6, atol=1e-8)


# -- what is not smooth -------------------------------------------------------------------------------


def test_without_ours_it_is_numpys():
    calls = []

    def noted(t):
        calls.append(type(t))
        return t * 2

    for kind in (np, Ours):
        assert kind.vectorize(noted)([1, 2]).dtype == int and len(calls) == 3
        calls.clear()
    assert vectorize(noted, otypes=[object])([1, "a"]).tolist() == [2, "aa"]
    assert isinstance(vectorize(noted), np.vectorize) and vectorize(noted).__name__ == "noted"
    assert vectorize(noted, doc="Twice.").__doc__ == "Twice."
    assert isinstance(apply_along_axis(np.cumsum, 0, np.ma.ones((2, 2))), np.ma.MaskedArray)
    assert list(ndenumerate([[1, 2]])) == list(np.ndenumerate([[1, 2]]))
    assert isinstance(ndenumerate(X), np.ndenumerate)


@pytest.mark.parametrize("call", [
    lambda x: vectorize(bent)(x, x[:, :2]),                               # shapes that do not broadcast
    lambda x: vectorize(lambda a: a, signature="(n,m)->()")(x),           # a result of other axes than its signature
    lambda x: vectorize(lambda a, b: 0.0, signature="(n),(n)->()")(x, x[0, :2]),
    lambda x: vectorize(lambda a: a, signature="(n)->()")(x[0, 0]),
    lambda x: vectorize(lambda a: (a, a), otypes=[float])(x),
    lambda x: vectorize(lambda a: np.stack([a, a]), otypes=[float])(x),
    lambda x: vectorize(bent)(x[:0]),
    lambda x: vectorize(bent)(),
    lambda x: np.apply_along_axis(np.sum, 2, x),
    lambda x: np.apply_along_axis(np.sum, 0, x[:, :0]),
    lambda x: np.apply_along_axis(lambda row: row[: 1 + (row[0] > 0)], 0, x),
    lambda x: np.apply_over_axes(lambda a, axis: a.sum(), x, [0]),
    lambda x: np.piecewise(x, [x < 0], [1, 2, 3]),
    lambda x: np.piecewise(x, [x[0] < 0], [1, 2]),
    lambda x: np.piecewise(x, [x < 5], [lambda t: t[:2]]),
])
def test_what_numpy_refuses(call):
    """The same call on ndarrays raises the same error."""
    with pytest.raises(Exception, match=r"\w") as refusal:  # of NumPy's, whose kinds differ
        call(X) if "vectorize" not in call.__code__.co_names else call_with(np.vectorize, call)
    with pytest.raises(type(refusal.value)):
        ad.grad(lambda x: np.sum(call(x)))(X)


def call_with(function, call):
    """A call on an ndarray, with another function in the place of `vectorize`."""
    return type(call)(call.__code__, {**globals(), "vectorize": function})(X)


def test_errors_of_the_function_arrive_as_they_are():
    class Mine(Exception):
        pass

    calls = []

    def failing(t):
        calls.append(t)
        raise Mine(t.shape)

    for f in (vectorize(failing), lambda x: np.apply_along_axis(failing, 0, x), lambda x: np.apply_over_axes(
            lambda a, axis: failing(a), x, [0]), lambda x: np.piecewise(x, [x > 0], [failing])):
        with pytest.raises(Mine):
            ad.grad(f)(X)
    assert len(calls) == 4  # and not again by NumPy, to see whether it refuses the call
    with pytest.raises(ad.MissingRule, match=r"np\.spacing has no rule"):
        ad.grad(lambda x: np.sum(np.apply_along_axis(lambda row: x[0, 0] * np.spacing(row), 0, x)))(X)


def test_no_derivative_is_lost_in_integers():
    for f in (lambda x: np.sum(vectorize(lambda t: t if t > 0 else 0)(x)),
              lambda x: np.sum(vectorize(bent, otypes=[int])(x)),
              lambda x: np.sum(np.apply_along_axis(lambda row: row[1] if row[0] > 0 else 0, 1, x[:, ::-1] - 1))):
        with pytest.raises(ad.MissingRule, match=r"casts .* int64 here, .*first result a float"):
            ad.grad(f)(X)
    with pytest.raises(ad.MissingRule, match="float64 here, and a result of complex128"):
        ad.grad(lambda x: np.sum(vectorize(lambda t: t if t < 0 else t * 1j)(x)))(X)
    with pytest.raises(ad.MissingRule, match="piecewise casts.*Make the array x one of floats"):
        ad.grad(lambda w: np.sum(ad.piecewise(np.arange(2), [[True, False]], [w, 0])))(2.0)
    assert vectorize(lambda t: t if t > 0 else 0)(ad.constant(X)).tolist() == np.vectorize(
        lambda t: t if t > 0 else 0)(X).tolist()


def test_types_of_results():
    def gradient(dtype, **options):
        return ad.value_and_grad(lambda x: np.sum(vectorize(np.square, **options)(x)))(X.astype(dtype))

    for dtype in ("float32", "float64"):
        value, slope = gradient(dtype)
        assert slope.dtype == dtype and np.asarray(value).dtype == dtype
    assert np.asarray(gradient("float32", otypes="d")[0]).dtype == "float64"
    empty = ad.vjp(lambda x: vectorize(np.square, otypes=[float])(x) + 0 * x, X[:0])[0]
    assert empty.shape == (0, 3)


@pytest.mark.parametrize("call", [
    lambda x: vectorize(bent, otypes=[float])(x), lambda x: np.frompyfunc(bent, 1, 1)(x),
    lambda x: np.apply_along_axis(lambda row: bent(row[0]), 1, x[:, None]),
    lambda x: sum(bent(v) for _, v in ndenumerate(x)),
], ids=["vectorize", "frompyfunc", "apply_along_axis", "ndenumerate"])
def test_the_cost_grows_with_the_number_of_elements(call, rng):
    def seconds(n):
        x = rng.normal(size=n)
        start = time.process_time()
        slope = ad.grad(lambda x: np.sum(call(x)))(x)
        passed = time.process_time() - start
        np.testing.assert_allclose(slope, np.where(x > 0, 3 * x**2, 2 * x + np.cos(x)), rtol=1e-12)
        return passed

    seconds(100)
    assert min(seconds(40000), seconds(40000)) < 20 * min(seconds(4000), seconds(4000), seconds(4000))
