"""`ad.numpy`: arrays of values that are being differentiated, in every mode, beside NumPy and differences."""
import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ad
import ad.numpy as np

POINT = numpy.array([0.7, 1.3, 2.1])

# Functions of three numbers, as arrays or numbers, that make arrays of them.
FUNCTIONS = {
    "array": lambda a, b, c: np.array([a, b * c, 1.0]),
    "array of nested lists": lambda a, b, c: np.array([[a, 0], [b, c]]) @ np.array([a, 1.0]),
    "array of tuples": lambda a, b, c: np.array(((a, b), (b, c))),
    "array of a single element": lambda a, b, c: np.array([[a * b]]) + c,
    "array of arrays": lambda a, b, c: np.array([np.array([a, b]), [c, 1]]),
    "array with ndmin": lambda a, b, c: np.array([a, b, c], ndmin=3),
    "array of float32": lambda a, b, c: np.array([a, b, c], dtype=np.float64) ** 2,
    "asarray": lambda a, b, c: np.asarray([a, [b, c][0], c]),
    "asanyarray": lambda a, b, c: np.asanyarray((a, b), dtype=float) * c,
    "asarray_chkfinite": lambda a, b, c: np.asarray_chkfinite([a, b * c]),
    "fromiter": lambda a, b, c: np.fromiter((a * k for k in range(4)), float) + np.fromiter([b, c], float, 1),
    "full": lambda a, b, c: np.full((2, 2), a) * np.full(2, [b, c]),
    "full_like": lambda a, b, c: np.full_like([1.0, 2.0], a) + np.full_like(np.array([a, b]), c),
    "arange": lambda a, b, c: np.arange(a, 3 * b, 0.37) * c,
    "arange with a step": lambda a, b, c: np.arange(0, b, 0.3 * a) + np.arange(c)[:1],
    "linspace": lambda a, b, c: np.linspace(a, b, 5) * c,
    "linspace of lists": lambda a, b, c: np.linspace([a, b], [b, c], 3),
    "logspace": lambda a, b, c: np.logspace(a, b, 4) + c,
    "meshgrid": lambda a, b, c: np.meshgrid(np.array([a, b]), [1.0, 2.0, 3.0])[0] * c,
    "meshgrid, sparse": lambda a, b, c: np.prod(np.meshgrid([a, b], np.array([b, c]), sparse=True, indexing="ij")[1]),
    "fromfunction": lambda a, b, c: np.fromfunction(lambda i, j: a * i + b * j ** c, (2, 3)),
    "r_": lambda a, b, c: np.r_[a, np.array([b, c]), 0, 1:3, [2.0, 3.0]],
    "r_ with ranges": lambda a, b, c: np.r_[a:b:4j, 0:c:0.5],
    "r_ along an axis": lambda a, b, c: np.r_["0,2", np.array([a, b]), [c, 1.0]],
    "r_ of columns": lambda a, b, c: np.r_["1,2,0", np.array([a, b]), [c, 1.0]],
    "c_": lambda a, b, c: np.c_[np.array([a, b]), [1.0, 2.0], np.array([[c], [a]])],
    "concatenate": lambda a, b, c: np.concatenate([[a], [b, c], np.zeros(2)]),
    "concat": lambda a, b, c: np.concatenate(([[a, b]], [[c, 1]]), axis=1),
    "stack": lambda a, b, c: np.stack([[a, b], [c, 1.0]], axis=1),
    "vstack": lambda a, b, c: np.vstack([[a, b], [c, 1.0]]),
    "hstack": lambda a, b, c: np.hstack(([a], [b, c])),
    "dstack": lambda a, b, c: np.dstack([[a, b], [c, a]]),
    "column_stack": lambda a, b, c: np.column_stack([[a, b], [c, 1.0]]),
    "block": lambda a, b, c: np.block([[np.eye(2) * a, np.zeros((2, 1))], [np.array([[b, c, 1.0]])]]),
    "append": lambda a, b, c: np.append([a, b], [c]),
    "insert": lambda a, b, c: np.insert([a, b], 1, c),
    "diag": lambda a, b, c: np.diag([a, b, c]),
    "outer": lambda a, b, c: np.outer([a, b], [c, 1.0]),
    "tile": lambda a, b, c: np.tile([a, b * c], 2),
    "sum": lambda a, b, c: np.sum([a * b, c]) + np.mean([a, b, c]) + np.max([a, b]),
    "sum by name": lambda a, b, c: np.sum(a=[a * b, c], axis=0),
    "stack by name": lambda a, b, c: np.stack(arrays=[[a, b], [c, 1.0]], axis=1),
    "argmax": lambda a, b, c: np.array([a, b, c])[np.argmax([a, b, c])] * np.size([a, b]),
    "dot": lambda a, b, c: np.dot([a, b], [c, 2.0]),
    "where": lambda a, b, c: np.where([True, False], [a, b], [c, 1.0]),
    "norm": lambda a, b, c: np.linalg.norm([a, b, c]),
    "solve": lambda a, b, c: np.linalg.solve([[a, 0.3], [0.1, b]], [c, 1.0]),
    "fft": lambda a, b, c: np.abs(np.fft.fft([a, b, c])) ** 2,
    "vectorize": lambda a, b, c: np.vectorize(lambda x, y: x * y if x > y else x + y)(np.array([a, b, c]), 1.0),
    "vectorize, two results": lambda a, b, c: np.vectorize(lambda x: (x, a * x))(np.array([b, c]))[1],
    "vectorize, signature": lambda a, b, c: np.vectorize(np.dot, signature="(n),(n)->()")([[a, b], [b, c]], [1.0, 2]),
    "vectorize, options": lambda a, b, c: np.vectorize(lambda x, p, q: p[0] * x + q, excluded=["p"], otypes=[float])(
        [1, 2], p=[a], q=np.array([[b], [c]])),
    "apply_along_axis": lambda a, b, c: np.apply_along_axis(lambda v: v[::-1] * v[0], 0, np.array([[a, b], [c, 1.0]])),
    "apply_along_axis, plain": lambda a, b, c: np.apply_along_axis(lambda v: np.sum(v) * a, 1, numpy.ones((2, 3))),
    "apply_over_axes": lambda a, b, c: np.apply_over_axes(np.sum, np.array([[a, b], [c, 1.0]]), [0, -1]),
    "ndenumerate": lambda a, b, c: sum(v ** (1 + i) for (i,), v in np.ndenumerate(np.array([a, b, c]))),
    "float64": lambda a, b, c: np.float64(a) * np.float64([b, c]),
}


def numpy_of(f):
    """The function with NumPy's own functions: those of `ad.numpy`, outside."""
    return lambda x: numpy.asarray(f(*numpy.asarray(x)), float)


def flat(f):
    """The function of a vector, with a number for a result."""
    def scalar(x):
        y = np.ravel(f(x[0], x[1], x[2]))
        return np.sum(y * np.cos(1.0 + np.arange(y.size)))
    return scalar


def differences(f, x, h=1e-6):
    return numpy.array([(f(x + step) - f(x - step)) / (2 * h) for step in h * numpy.eye(3)])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_are_numpys(name):
    f = FUNCTIONS[name]
    want, kinds = numpy_of(f)(POINT), []
    y, _ = ad.jvp(lambda x: kinds.append(f(x[0], x[1], x[2])) or np.asarray(kinds[0]) * 1.0, (POINT,), (POINT,))
    assert isinstance(kinds[0], ad.Array)
    assert y.shape == want.shape and numpy.allclose(y, want, rtol=1e-14)
    assert kinds[0].dtype == numpy.asarray(f(*POINT)).dtype


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives(name):
    f = flat(FUNCTIONS[name])
    want = differences(f, POINT)
    gradient = ad.grad(f)
    assert numpy.allclose(gradient(POINT), want, rtol=1e-7, atol=1e-7)
    assert numpy.allclose([ad.jvp(f, (POINT,), (v,))[1] for v in numpy.eye(3)], want, rtol=1e-7, atol=1e-7)
    second = numpy.array([differences(lambda x, i=i: gradient(x)[i], POINT) for i in range(3)])
    assert numpy.allclose(ad.hessian(f)(POINT), second, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled_and_batched(name):
    f = flat(FUNCTIONS[name])
    gradient = ad.grad(f)
    compiled = ad.compile(gradient)
    points = POINT * (1 + 0.02 * numpy.random.default_rng(1).normal(size=(3, 3)))
    want = numpy.array([gradient(x) for x in points])
    assert numpy.allclose([compiled(x) for x in points], want, rtol=1e-12)
    if "arange" not in name and "r_ with" not in name:  # the number of elements is that of one lane
        assert numpy.allclose(ad.vmap(gradient)(points), want, rtol=1e-12)


# -- shapes and dtypes of lists ------------------------------------------------------------------

LEAVES = st.one_of(
    st.sampled_from([1, 2.5, True, 1j]),
    st.sampled_from("?ibhefdF").map(lambda char: numpy.ones((), char)),
    st.sampled_from("efdD").map(lambda char: ad.constant(numpy.full((), 3, char))),
)


@st.composite
def nested(draw, depth=3):
    shape = draw(st.lists(st.integers(1, 2), min_size=1, max_size=depth))

    def build(shape):
        if not shape or draw(st.integers(0, 9)) == 0:
            return draw(LEAVES) if not shape else ad.constant(numpy.full(shape, 2.0))
        return draw(st.sampled_from([list, tuple]))([build(shape[1:]) for _ in range(shape[0])])

    return build(shape)


@settings(max_examples=200, deadline=None)
@given(nested(), st.sampled_from([None, "f", "d", "D", "i"]), st.integers(0, 4))
def test_an_array_of_lists_is_as_numpys(data, dtype, ndmin):
    want = numpy.array(data, ndmin=ndmin)  # which asks each Array for its value
    if dtype in ("f", "d", "i") and want.dtype.kind == "c":
        return  # NumPy refuses some of these
    want = want if dtype is None else want.astype(dtype)
    with ad.GradientTape():
        got = np.array(data, dtype, ndmin=ndmin)
    got = got.numpy() if isinstance(got, ad.Array) else got
    assert numpy.shape(got) == want.shape and got.dtype == want.dtype and numpy.array_equal(got, want)


# -- errors --------------------------------------------------------------------------------------

REFUSED = {
    "ragged": lambda np, x: np.array([[x, x], [x]]),
    "a number beside an array": lambda np, x: np.array([[x], 1.0]),
    "a wrong dtype": lambda np, x: np.array([x], dtype="no"),
    "a wrong dtype of zeros": lambda np, x: np.zeros(3, dtype="no"),
    "a negative size": lambda np, x: np.zeros(-1),
    "a fill that does not broadcast": lambda np, x: np.full(3, [x, x]),
    "too few elements": lambda np, x: np.fromiter([x], float, 2),
    "num": lambda np, x: np.linspace(x, 1, -1),
    "an unknown argument": lambda np, x: np.zeros(3, no_such=1),
    "lengths that differ": lambda np, x: np.stack([[x], [x, x]]),
    "r_ of different lengths": lambda np, x: np.r_["0,2", [x], [x, x]],
    "a directive": lambda np, x: np.r_["no", x],
    "a late directive": lambda np, x: np.r_[x, "0,2"],
    "nan": lambda np, x: np.asarray_chkfinite([x, float("nan")]),
    "an axis": lambda np, x: np.apply_along_axis(lambda v: v, 2, np.array([x])),
    "no elements": lambda np, x: np.vectorize(lambda v: v * x)([]),
    "arguments of a signature": lambda np, x: np.vectorize(lambda v: v, signature="(n),(n)->()")([x]),
    "an indexing": lambda np, x: np.meshgrid([x], [x], indexing="no"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_numpy_refuses(name):
    with pytest.raises(Exception) as want:  # noqa: B017
        REFUSED[name](numpy, 1.0)
    with pytest.raises(want.type) as got:
        ad.grad(lambda x: np.sum(REFUSED[name](np, x)))(1.0)
    assert str(got.value) == str(want.value)


def test_arrays_of_objects_are_not_made():
    with pytest.raises(TypeError, match="would make a constant"):
        ad.grad(lambda x: np.array([x, x], dtype=object)[0])(1.0)
    with pytest.raises(TypeError):
        ad.grad(lambda x: np.array([x, "a"]))(1.0)
    with pytest.raises(TypeError, match="matrix"):
        ad.grad(lambda x: np.r_["r", x])(1.0)


# -- truths and integers that a recording computes --------------------------------------------------

RECORDED = {
    "array of truths": lambda x: np.sum(np.array(x > 1) * x),
    "list of truths": lambda x: np.sum(np.array([x[0] > 1, x[1] > 1, True]) * x),
    "truths as numbers": lambda x: np.sum(np.array([x[0] > 1, x[1] > 1, 1], dtype=float) * x ** 2),
    "copy": lambda x: np.sum(np.where(np.copy(x > 1), x, x ** 2)),
    "full": lambda x: np.sum(np.full(3, x[0] > 1) * x),
    "indices": lambda x: np.sum(x[np.array([np.argmax(x), np.argmin(x)])] ** 2),
    "an index": lambda x: x[np.array(np.argmax(x))] ** 2,
    "stack": lambda x: np.sum(np.stack([x > 1, x < 2]) * x),
    "zeros_like": lambda x: np.sum(np.zeros_like(x > 1) + np.ones_like(np.argsort(x)) * x),
    "where a list": lambda x: np.sum(np.where([x[0] > 1, False, True], x, 0.0)),
    "r_": lambda x: np.sum(np.r_[np.argmax(x), 1] * x[:2]),
}


@pytest.mark.parametrize("name", RECORDED)
def test_truths_and_integers_of_a_recording(name):
    f, points = RECORDED[name], numpy.random.default_rng(2).uniform(0.5, 2.5, (6, 3))
    gradient = ad.grad(f)
    compiled, value = ad.compile(gradient), ad.compile(f)
    for x in points:
        want = differences(f, x)
        assert numpy.allclose(gradient(x), want, rtol=1e-6, atol=1e-6)
        assert numpy.array_equal(compiled(x), gradient(x)) and numpy.allclose(value(x), f(x), rtol=1e-14)
    if name not in ("indices", "an index", "r_"):
        assert numpy.allclose(ad.vmap(gradient)(points), [gradient(x) for x in points])
