"""`ad.numpy`: programs that fill arrays, in every mode, beside the same programs on NumPy's arrays."""
import numpy
import pytest

import ad
import ad.numpy as np

POINT = numpy.array([0.7, 1.3, 2.1])


def filled_one_by_one(x):
    y = np.zeros(5)
    y[0] = x[0]
    for t in range(1, 5):
        y[t] = 0.5 * y[t - 1] * x[1] + np.sin(x[2] + t)
    return np.sum(y ** 2)


def filled_by_masks(x):
    y, mask = np.empty(4), np.array([True, False, True, False])
    y[mask] = x[0]
    y[~mask] = [x[1], x[1] * x[2]]
    return np.sum(y * np.arange(4))


def filled_blocks(x):
    k = np.zeros((4, 4))
    for dof, stiffness in (([0, 1], x[0]), ([1, 2, 3], x[1])):
        k[np.ix_(dof, dof)] += stiffness * np.ones((len(dof), len(dof)))
    k[np.diag_indices(4)] += x[2]
    return np.linalg.solve(k, np.ones(4))[1]


def filled_like(x):
    y = np.zeros_like(x)
    y[1:] = x[:-1]
    z = np.full_like(x, 2.0)
    z += y * x
    z[0] *= x[2]
    return np.sum(z ** 3)


def filled_copies(x):
    y = np.array(numpy.ones(3))
    y[1] = x[0]
    z = np.copy(x)
    z[0] = x[1] * x[2]
    return np.sum(y * z * x)


def filled_grids(x):
    u = np.linspace(0, 1, 5)
    u[0], u[-1] = x[0], x[1]
    r = np.r_[0.0, 1.0, 2.0]
    r[1] = x[2]
    e = np.eye(3)
    e[0, 2] = x[0]
    return np.sum(u ** 2) * np.sum(e @ r)


def filled_by_functions(x):
    k = np.outer([1.0, 2.0, 3.0], np.ones(3))
    np.fill_diagonal(k, x)
    y = np.empty(3)
    np.copyto(y, x ** 2)
    np.multiply(y, x[0], out=y)
    np.add.at(y, [0, 0, 1], x[1])
    return np.sum(k @ y)


def filled_integers(x):
    best = np.zeros(2, int)
    best[0], best[1] = np.argmax(x), np.argmin(x)
    above = np.zeros(3, bool)
    above[1] = x[1] > 1
    return np.sum(x[best] ** 2) + np.sum(x[above] ** 3)


PROGRAMS = [filled_one_by_one, filled_by_masks, filled_blocks, filled_like, filled_copies, filled_grids,
            filled_by_functions, filled_integers]


def differences(f, x, h=1e-6):
    return numpy.array([(f(x + step) - f(x - step)) / (2 * h) for step in h * numpy.eye(3)])


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_programs_that_fill_arrays(f):
    x = POINT.copy()
    value, want = f(x), differences(f, x)
    y, gradient = ad.value_and_grad(f)(x)
    assert y == pytest.approx(value, rel=1e-14) and numpy.allclose(gradient, want, rtol=1e-7, atol=1e-7)
    forward = [ad.jvp(f, (x,), (v,))[1] for v in numpy.eye(3)]
    assert numpy.allclose(forward, want, rtol=1e-7, atol=1e-7)
    second = numpy.array([differences(lambda x, i=i: ad.grad(f)(x)[i], x) for i in range(3)])
    assert numpy.allclose(ad.hessian(f)(x), second, rtol=1e-6, atol=1e-6)
    points = x * (1 + 0.05 * numpy.random.default_rng(1).normal(size=(4, 3)))
    compiled, wanted = ad.compile(ad.grad(f)), [ad.grad(f)(point) for point in points]
    assert numpy.allclose([compiled(point) for point in points], wanted, rtol=1e-12)
    assert numpy.allclose(ad.vmap(ad.grad(f))(points), wanted, rtol=1e-12)
    assert numpy.array_equal(x, POINT)


def test_a_write_into_a_plain_array_is_refused():
    plain = numpy.zeros(3)

    def f(x):
        y = np.asarray(plain)
        y[0] = x
        return y[0]

    with pytest.raises((TypeError, ValueError)) as error:
        ad.grad(f)(1.0)
    assert "plain ndarray" in str(error.value.__cause__ or error.value) and not plain.any()


NUMBER_INDICES = {"true": True, "false": False, "numpy's truth": numpy.True_, "an array": numpy.array(False),
                  "new axis": None, "new axes": (None, None), "truth and axis": (True, None), "dots": (..., None)}


@pytest.mark.parametrize("index", NUMBER_INDICES.values(), ids=NUMBER_INDICES)
def test_an_array_without_axes_keeps_its_shape_when_it_is_written_to(index):
    """An index that gives it axes for the moment does not."""
    def f(x):
        y = np.full((), 5.0)
        y[...] = 5 * x
        y[index] = x * x
        return y

    want = f(numpy.float64(3.0))
    assert want.shape == ()
    slope = (f(numpy.float64(3.0 + 1e-6)) - f(numpy.float64(3.0 - 1e-6))) / 2e-6
    for differentiated in (ad.value_and_grad(f), ad.compile(ad.value_and_grad(f)), lambda x: ad.jvp(f, (x,), (1.0,))):
        value, found = differentiated(3.0)
        assert np.shape(value) == () and value == want and found == pytest.approx(slope)
    value = ad.vmap(f)(numpy.array([3.0, 2.0]))
    assert numpy.array_equal(value, [f(numpy.float64(3.0)), f(numpy.float64(2.0))])


def test_a_new_axis_in_the_index_of_a_write():
    def f(x):
        y = np.zeros(3)
        y[None] = x
        y[None, 1:] *= x[1:]
        return y @ y

    assert numpy.allclose(ad.grad(f)(POINT), [2 * POINT[0], *4 * POINT[1:] ** 3])


def test_the_dtype_of_an_array_without_axes_stays():
    def f(x):
        y = np.zeros(())
        for value in (3, numpy.float32(1.5), numpy.int64(4)):
            y[...] = value
            assert y.dtype == float and y.shape == ()
        return y * x

    assert ad.grad(f)(1.0) == 4.0
