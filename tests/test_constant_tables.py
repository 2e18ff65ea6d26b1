"""Constants indexed by values of a recording, in every way that Python and NumPy index: a guard is kept."""
import numpy as np
import pytest

import ad

TABLE, MATRIX = np.arange(5.0) * 10, np.arange(12.0).reshape(3, 4)
WORDS = {0: 1.5, 1: 2.5, 2: 3.5}

BY_INTEGERS = {
    "array": lambda i: TABLE[i], "computed": lambda i: TABLE[(i + 1) % 4], "rows": lambda i: MATRIX[i % 3],
    "both axes": lambda i: MATRIX[i % 3, i % 4], "columns": lambda i: MATRIX[:, i % 4], "one": lambda i: TABLE[i[0]],
    "one-hot": lambda i: np.eye(5)[i], "np.take": lambda i: np.take(TABLE, i),
    "asarray": lambda i: ad.asarray(TABLE)[i], "ad.take": lambda i: ad.take(TABLE, i),
    "constant": lambda i: np.asarray(ad.constant(TABLE)[i]) if type(i) is np.ndarray else ad.constant(TABLE)[i],
    "with itself": lambda i: TABLE[i] * i, "bincount": lambda i: np.bincount(i, minlength=5),
    "set": lambda i: np.isin(TABLE, TABLE[i]) * 1.0,
}
BY_FLOATS = {
    "mask": lambda x: TABLE[:3][x > 0], "masks": lambda x: TABLE[:3][(x > 0) & (x < 2)],
    "argmax": lambda x: TABLE[np.argmax(x)] * x, "argsort": lambda x: TABLE[np.argsort(x)] * x,
    "searchsorted": lambda x: TABLE[np.searchsorted(TABLE, x)], "astype": lambda x: TABLE[abs(x).astype(int)] * x,
    "int": lambda x: TABLE[int(x[0])] * x, "list": lambda x: [1.0, 2.0, 3.0][np.argmax(x)] * x,
    "dict": lambda x: WORDS[int(np.argmax(x))] * x, "slice": lambda x: TABLE[:np.argmax(x) + 1] * x[0],
    "range": lambda x: sum([x[0] * k for k in range(np.argmax(x) + 1)]), "zeros": lambda x: np.zeros(np.argmax(x) + 1),
    "arange": lambda x: np.arange(np.argmax(x) + 1) * x[0], "split": lambda x: np.split(x, [np.argmax(x)])[0],
    "delete": lambda x: np.delete(TABLE, np.argmax(x)), "nonzero": lambda x: TABLE[np.nonzero(x > 0)],
}
CALLS = [pytest.param(f, [np.array([0, 1]), np.array([2, 4])], id=name) for name, f in BY_INTEGERS.items()] + [
    pytest.param(f, [np.array([0.0, 1.0, 2.0]), np.array([3.0, -1.0, 2.0])], id=name) for name, f in BY_FLOATS.items()]


@pytest.mark.parametrize(("f", "arguments"), CALLS)
def test_compiled(f, arguments):
    compiled = ad.compile(f)
    for x in arguments * 2:
        np.testing.assert_array_equal(compiled(x), f(x))


@pytest.mark.parametrize(("f", "arguments"), CALLS)
def test_over_lanes(f, arguments):
    wanted = [f(x) for x in arguments]
    if len({np.shape(y) for y in wanted}) > 1:
        with pytest.raises(ValueError, match="same shape"):
            ad.vmap(f)(np.stack(arguments))
    else:
        np.testing.assert_array_equal(ad.vmap(f)(np.stack(arguments)), np.stack(wanted))


def test_derivatives():
    def f(x):
        return np.sum(TABLE[:3][x > 0] * x[x > 0]) + TABLE[np.argmax(x)] * x[0]

    compiled = ad.compile(ad.grad(f))
    for x, want in ((np.array([0.0, 1.0, 2.0]), [20, 10, 20]), (np.array([3.0, -1.0, 2.0]), [0, 0, 20])):
        np.testing.assert_array_equal(ad.grad(f)(x), want)
        np.testing.assert_array_equal(compiled(x), want)


def test_floats_are_no_indices_and_no_constants():
    for f in (lambda x: TABLE[x], lambda x: np.asarray(x), lambda x: np.array(x * 2)):
        with pytest.raises(TypeError, match="would make a constant of a value"):
            ad.compile(f)(np.ones(2))
        with pytest.raises(TypeError, match="would make a constant of a value"):
            ad.grad(lambda x, f=f: np.sum(f(x)))(np.ones(2))
    with pytest.raises(TypeError, match="only integer scalar arrays"):
        [1, 2, 3][ad.constant([1.0, 2.0])]


@pytest.mark.parametrize(("f", "guards"), [
    (lambda i: TABLE[i], 1), (lambda i: ad.take(TABLE, i), 0), (lambda i: ad.constant(TABLE)[i], 0),
])
def test_what_needs_a_guard(f, guards):
    assert len(ad.record(f)(np.array([0, 1])).guards) == guards
