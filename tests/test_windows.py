"""Windows: values and derivatives of views in which an element occurs several times, however they lie in memory."""
import numpy as np
import pytest
from numpy.lib import stride_tricks
from numpy.lib.stride_tricks import sliding_window_view

import ad
from ad.compiler.machine.lowered_ops import View
from ad.compiler.machine.sparse_blocks import SparseBlock, disjoint
from ad.engine.deferred import set_limits
from ad.engine.kernels import add_to_view, strided_view
from ad.ops.windows import add_strided, as_strided
from ad.testing import check_grads

WINDOWS = [
    ((9,), 3, None), ((5, 6), (2, 3), None), ((2, 5, 6), (2, 2), (1, 2)), ((3, 6), 4, -1), ((8,), (3, 2), (0, 0)),
    ((4,), 4, None), ((3, 4), (2, 1), (1, 0)),
]
LAYOUTS = {
    "C": lambda x: x, "F": lambda x: np.asarray(x, order="F"), "transposed": lambda x: x.T,
    "reversed": lambda x: x[::-1], "every other": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
}


def energy(windows):
    """A function of windows that tells each of their elements from the others."""
    return np.sum(np.sin(windows) * np.cos(np.arange(windows.size)).reshape(windows.shape))


def numerical_gradient(f, x, step=1e-6):
    slopes = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        shift = np.zeros(x.shape)
        shift[index] = step
        slopes[index] = (f(x + shift) - f(x - shift)) / (2 * step)
    return slopes


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape, window, axis", WINDOWS)
def test_windows_of_every_layout(shape, window, axis, layout, rng):
    x = LAYOUTS[layout](rng.normal(size=shape[::-1] if layout == "transposed" else shape))

    def f(x):
        return energy(sliding_window_view(x * x, window, axis))

    expected = numerical_gradient(f, np.array(x))
    np.testing.assert_allclose(ad.grad(f)(x), expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(ad.compile(ad.grad(f))(x), expected, rtol=1e-6, atol=1e-8)
    check_grads(f, (x,))


@pytest.mark.parametrize("shape, window, axis", WINDOWS)
def test_windows_in_lanes_and_programs(shape, window, axis, rng):
    def f(x):
        return energy(sliding_window_view(x, window, axis))

    xs = rng.normal(size=(3, *shape))
    slopes = np.stack([numerical_gradient(f, x) for x in xs])
    compiled = ad.compile(ad.vmap(ad.grad(f)))
    for batch, expected in ((xs, slopes), (xs[::-1], slopes[::-1])):
        np.testing.assert_allclose(compiled(batch), expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(ad.vmap(f)(xs), [f(x) for x in xs])
    (x, v, _), numbers = xs, sliding_window_view(np.arange(xs[0].size).reshape(shape), window, axis)
    weights = np.bincount(numbers.ravel(), np.cos(np.arange(numbers.size)), x.size).reshape(shape)
    second = -np.sin(x) * weights  # each element is alone in a term: the Hessian is diagonal
    np.testing.assert_allclose(ad.hessian(f)(x).reshape(x.size, -1), np.diag(second.ravel()), atol=1e-12)
    np.testing.assert_allclose(ad.compile(ad.hvp(f))(x, v), second * v, atol=1e-12)


def test_the_value_is_numpys_view(rng):
    x = rng.random((5, 6))[:, ::-1]
    found, expected = strided_view(x, (4, 4, 2, 3), (0, 1, 0, 1), (1,) * 4, (0, 0)), sliding_window_view(x, (2, 3))
    assert found.strides == expected.strides and np.shares_memory(found, x) and not found.flags.writeable
    np.testing.assert_array_equal(found, expected)
    x = ad.Variable(x) * 1.0
    assert np.shares_memory(sliding_window_view(x, (2, 3)).numpy(), x.numpy())


def test_windows_are_one_op():
    program = ad.record(lambda x: sliding_window_view(x, 3))(np.arange(6.0))
    assert [instruction.op.name for instruction in program.graph.instructions] == ["strided"]
    program = ad.record(ad.grad(lambda x: np.sum(sliding_window_view(x, 3) ** 2)))(np.arange(6.0))
    assert [instruction.op.name for instruction in program.graph.instructions].count("add_strided") == 1


@pytest.mark.parametrize("dtype", ["float32", "complex128", "complex64", "longdouble"])
def test_other_dtypes(dtype, rng):
    x = rng.normal(size=8).astype(dtype)
    gradient = ad.grad(lambda x: np.sum(np.abs(sliding_window_view(x, 3)) ** 2))(x)
    assert gradient.dtype == x.dtype
    np.testing.assert_allclose(gradient, 2 * np.conj(x) * [1, 2, 3, 3, 3, 3, 2, 1], rtol=1e-5)


def test_windows_of_values_that_are_computed_later(rng):
    before = set_limits(4, 1 << 30)
    try:
        compiled = ad.compile(ad.grad(lambda x: energy(sliding_window_view(np.exp(x), 3))))
        x = rng.normal(size=20)
        expected = numerical_gradient(lambda x: energy(sliding_window_view(np.exp(x), 3)), x)
        for _ in range(2):
            np.testing.assert_allclose(compiled(x), expected, rtol=1e-6, atol=1e-8)
    finally:
        set_limits(*before)


@pytest.mark.parametrize("threads", [1, 2])
def test_overlapping_windows_in_several_threads(threads, rng):
    before = ad.get_num_threads()
    ad.set_num_threads(threads)
    try:
        x, weights = rng.normal(size=50000), np.array([1.0, -2.0, 0.5])
        compiled = ad.compile(ad.grad(lambda x: np.sum(np.sin(np.sum(sliding_window_view(x * x, 3) * weights, -1)))))
        compiled(x)
        outer = np.cos(np.convolve(x * x, weights[::-1], "valid"))
        np.testing.assert_allclose(compiled(x), 2 * x * np.convolve(outer, weights), rtol=1e-9, atol=1e-12)
    finally:
        ad.set_num_threads(before)


def test_windows_that_are_not_there():
    def gradient(*args, **kwargs):
        return ad.grad(lambda x: np.sum(sliding_window_view(x, *args, **kwargs)))(np.ones((3, 4)))

    with pytest.raises(ValueError, match="cannot be larger"):
        gradient((4, 1))
    with pytest.raises(ValueError, match="must provide window_shape"):
        gradient(2)
    with pytest.raises(np.exceptions.AxisError):
        gradient(2, axis=5)
    with pytest.raises(ValueError, match="negative"):
        gradient((-1, 1))
    with pytest.raises(ad.MissingRule, match="read only"):
        gradient((1, 1), writeable=True)


# -- as_strided ---------------------------------------------------------------------------------------


VIEWS = (
    lambda x: x, lambda x: x.T, lambda x: x[::-1], lambda x: x[..., ::2], lambda x: x[1:],
    lambda x: np.transpose(x)[::-2],
)


def numbers_read(x, shape, strides):
    """The flat indices of the elements that a view of a view reads, -1 where there is none; None if outside of it."""
    reaches = [[s // 8 * (n - 1) for s, n in zip(steps, ns)] for steps, ns in ((x.strides, x.shape), (strides, shape))]
    (low, high), (lowest, highest) = [(sum(min(r, 0) for r in rs), sum(max(r, 0) for r in rs)) for rs in reaches]
    if x.size == 0 or lowest < low or highest > high:
        return None
    line = np.full(high - low + 1, -1)
    stride_tricks.as_strided(line[-low:], x.shape, x.strides)[...] = np.arange(x.size).reshape(x.shape)
    return stride_tricks.as_strided(line[-low:], shape, strides)


def test_strides_at_random(rng):
    outcomes = []
    for _ in range(800):
        x = rng.normal(size=tuple(rng.integers(1, 5, rng.integers(1, 4))))
        view = VIEWS[rng.integers(len(VIEWS))]
        shape = tuple(rng.integers(1, 4, rng.integers(0, 4)).tolist())
        strides = tuple((8 * rng.integers(-2, 5, len(shape))).tolist())
        numbers = numbers_read(view(x), shape, strides)
        outcomes.append(numbers is not None and (numbers >= 0).all())

        def f(x, view=view, to=(shape, strides)):
            return as_strided(view(x), *to)

        if not outcomes[-1]:
            with pytest.raises(ValueError, match="as_strided with shape"):
                ad.vjp(f, x)
            continue
        y, pull = ad.vjp(f, x)
        np.testing.assert_array_equal(np.asarray(y), stride_tricks.as_strided(view(x), shape, strides))
        y_bar = rng.normal(size=shape)
        of_view, expected = np.zeros(view(x).size), np.zeros(x.shape)
        np.add.at(of_view, numbers.ravel(), y_bar.ravel())
        view(expected)[...] = of_view.reshape(view(x).shape)
        np.testing.assert_allclose(pull(y_bar)[0], expected, atol=1e-14)
    assert 200 < sum(outcomes) < 600


def test_strides_of_the_array_itself(rng):
    def diagonal_sums(x):
        n = x.shape[0]
        windows = as_strided(x, (n - 1, 2), (x.strides[0] + x.strides[1], x.strides[1]))
        return energy(windows)

    for x in (rng.normal(size=(4, 4)), np.asfortranarray(rng.normal(size=(4, 4))), rng.normal(size=(4, 4)).T):
        expected = numerical_gradient(lambda x: energy(np.stack([np.diag(x)[:-1], np.diag(x, 1)], 1)), np.array(x))
        for f in (ad.grad(diagonal_sums), ad.compile(ad.grad(diagonal_sums))):
            np.testing.assert_allclose(f(x), expected, rtol=1e-6, atol=1e-9)
        check_grads(diagonal_sums, (x,))
    xs = rng.normal(size=(3, 4, 4))
    np.testing.assert_allclose(ad.vmap(ad.grad(diagonal_sums))(xs), [ad.grad(diagonal_sums)(x) for x in xs])


def test_what_as_strided_refuses():
    x = np.arange(6.0)
    for given, shape, strides, what in (
        (x, (4, 4), (8, 8), "reads outside"), (x, (2,), (-8,), "reads outside"), (x, (3,), (4,), "reads parts of"),
        (x[::2], (3,), (8,), "reads between"), (x[:0], (1,), (8,), "reads outside"), (x[1:5], (5,), (8,), "outside"),
    ):
        with pytest.raises(ValueError, match=rf"{what}.*sliding_window_view"):
            ad.grad(lambda x, to=(shape, strides): np.sum(as_strided(x, *to)))(given)
        with pytest.raises(ValueError, match=what):
            as_strided(ad.constant(given) if given.flags.c_contiguous else ad.constant(x)[::2], shape, strides)
    with pytest.raises(ValueError, match="mismatch"):
        ad.grad(lambda x: np.sum(as_strided(x, (2, 2), (8,))))(x)
    with pytest.raises(TypeError, match="as_strided of ad.numpy"):
        ad.grad(lambda x: np.sum(stride_tricks.as_strided(x, (2, 2), (8, 8))))(x)


def test_plain_arrays_are_numpys():
    x = np.arange(6.0)
    y = as_strided(x, (2, 3), (8, 8))
    y[0, 0] = 7.0
    assert x[0] == 7.0 and type(y) is np.ndarray
    assert as_strided([1.0, 2.0], (2, 2), (8, 0)).tolist() == [[1.0, 1.0], [2.0, 2.0]]


def test_of_ad_numpy():
    def first_differences(x, stride_tricks):
        pairs = stride_tricks.as_strided(x, (3, 2), (8, 8))
        return np.sum((pairs[:, 1] - pairs[:, 0]) ** 2)

    x = np.array([1.0, 2.0, 4.0, 7.0])
    assert first_differences(x, ad.numpy.lib.stride_tricks) == first_differences(x, stride_tricks) == 14.0
    gradient = ad.grad(lambda x: first_differences(x, ad.numpy.lib.stride_tricks))(x)
    np.testing.assert_array_equal(gradient, [-2.0, -2.0, -2.0, 6.0])


# -- the kernels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape, axes, steps, start", [
    ((4, 4), (0, 0), (1, 1), (0,)), ((4,), (0,), (1,), (3,)), ((2,), (0,), (-1,), (0,)), ((2,), (1,), (1,), (0,)),
    ((2**62, 2), (0, 0), (2**62, 1), (0,)), ((1,), (0,), (1,), (-1,)), ((-1,), (0,), (1,), (0,)),
    ((2,), (0, 0), (1,), (0,)), ((2,), (0,), (1,), ()), ((2,), (-1,), (1,), (0,)),
    ((2**62, 2**62), (0, 0), (0, 0), (0,)),
])
def test_views_outside_of_the_array_are_refused(shape, axes, steps, start):
    with pytest.raises(ValueError, match=r"."):
        strided_view(np.ones(6), shape, axes, steps, start)


def test_sums_into_views_by_the_native_loop_and_by_numpy(rng):
    place = ((0, 1, 0), (1, -1, 2), (0, 3))
    for y in (rng.normal(size=(2, 3, 2)), rng.normal(size=(2, 2, 3)).swapaxes(1, 2), rng.normal(size=(4, 3, 2))[::2]):
        out, numbers = np.zeros((5, 4)), strided_view(np.arange(20).reshape(5, 4), y.shape, *place)
        assert add_to_view(out, y, *place)
        expected = np.bincount(numbers.ravel(), y.ravel(), 20).reshape(5, 4)
        np.testing.assert_allclose(out, expected, rtol=1e-14)
        np.testing.assert_allclose(add_strided(y.astype(np.longdouble), (5, 4), *place), expected, rtol=1e-14)
    for other in (np.zeros((5, 4), np.float32), np.zeros((4, 5)).T, np.zeros((5, 8))[:, :4]):
        assert not add_to_view(other, y, *place) and not other.any()
    assert not add_to_view(out, y.astype(">f8"), *place)


@pytest.mark.parametrize("strides, once", [
    ((4, 1), True), ((1, 1), False), ((2, 1), False), ((3, 1), True), ((-3, 1), True), ((1, 0), False), ((1, 4), True),
])
def test_targets_that_overlap_themselves(strides, once):
    target = View(0, 0, (4, 3), strides)
    numbers = np.add.outer(*[np.arange(n) * s for n, s in zip(target.shape, strides)])
    assert (len(np.unique(numbers)) == numbers.size) == once
    assert disjoint([SparseBlock(target, target)]) == once
