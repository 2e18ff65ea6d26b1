"""What the table's cases do not say of Fourier transforms: bins without effect, errors, lanes, recordings."""
import numpy as np
import pytest

import ad
from ad.ops import FUNCTIONS
from ad.ops.fourier import __all__ as NAMES

X = np.random.default_rng(6).normal(size=(3, 6))
Z = X + 1j * np.random.default_rng(7).normal(size=(3, 6))


def assert_near(found, expected):
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)


def test_every_function_of_an_array_has_an_entry():
    assert set(NAMES) == set(np.fft.__all__) - {"fftfreq", "rfftfreq"}
    assert all(FUNCTIONS[getattr(np.fft, name)] is getattr(ad.fft, name) for name in NAMES)


# -- against what is known ------------------------------------------------------------------------


def matrix(n):
    """The transform of n points as a matrix."""
    return np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n)


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_the_jacobian_is_the_matrix(n):
    z = np.exp(1j * np.arange(n))
    assert_near(ad.jacobian(np.fft.fft)(z), matrix(n))
    assert_near(ad.jacobian(np.fft.ifft)(z), matrix(n).conj() / n)
    assert_near(ad.jacobian(np.fft.rfft, mode="forward")(z.real), matrix(n)[: n // 2 + 1])


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_a_product_of_spectra_is_a_circular_convolution(mode):
    def convolved(x):
        return np.fft.irfft(np.fft.rfft(x) * np.fft.rfft(X[1]), 6)

    circulant = np.stack([np.roll(X[1], k) for k in range(6)], 1)
    assert_near(ad.jacobian(convolved, mode=mode)(X[0]), circulant)


@pytest.mark.parametrize(("n", "without"), [(5, [0, 3]), (6, [0, 3]), (4, [0, 2, 3]), (None, [0, 3]), (9, [0])])
@pytest.mark.parametrize("function", [np.fft.irfft, np.fft.hfft])
def test_the_imaginary_part_of_a_bin_without_mirror_image_has_no_effect(function, n, without):
    slope = ad.grad(lambda z: np.sum(function(z, n) ** 3))(Z[0, :4])
    assert list(np.flatnonzero(slope.imag == 0)) == without


@pytest.mark.parametrize("function", [np.fft.fft, np.fft.rfft, np.fft.fft2, np.fft.ihfft])
def test_the_gradient_of_a_real_input_is_real(function):
    slope = ad.grad(lambda x: np.sum(np.abs(function(x)) ** 2))
    assert slope(X).dtype == np.float64
    assert slope(X.astype("f4")).dtype == np.float32


# -- what is refused ------------------------------------------------------------------------------


REFUSED = [
    lambda x: np.fft.fft(x, 0), lambda x: np.fft.fft(x, -1), lambda x: np.fft.rfft(x[:0]),
    lambda x: np.fft.irfft(x[:1]), lambda x: np.fft.fft2(x), lambda x: np.fft.fft(x, axis=1),
    lambda x: np.fft.fft(x, norm="none"), lambda x: np.fft.hfft(x, norm="none"),
    lambda x: np.fft.fft(x, x.size + 0.5), lambda x: np.fft.fft(x[0]), lambda x: np.fft.rfft(1j * x),
    lambda x: np.fft.ihfft(1j * x), lambda x: np.fft.fftn(x, (2, 3), axes=(0,)), lambda x: np.fft.rfftn(x, axes=()),
    lambda x: np.fft.irfftn(x, axes=()), lambda x: np.fft.fftshift(x, 1), lambda x: np.fft.fftshift(x[0]),
]


@pytest.mark.parametrize("call", REFUSED)
def test_what_numpy_refuses_raises_the_same_error(call):
    with pytest.raises(Exception) as plain:  # noqa: PT011
        call(X[0])
    for run in (call, ad.compile(call)):
        with pytest.raises(plain.type):
            run(ad.constant(X[0]))


@pytest.mark.filterwarnings("ignore:ad.compile")
@pytest.mark.parametrize("call", REFUSED)
def test_what_is_refused_raises_where_it_is_called_although_large_ops_wait(call):
    def f(x):
        with pytest.raises(plain.type):
            call(x)
        return x

    x = np.resize(X[0], 1 << 15)
    with pytest.raises(Exception) as plain:  # noqa: PT011
        call(x)
    ad.compile(f)(x)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"fftshift", "ifftshift"}))
def test_out(name):
    function = getattr(np.fft, name)
    want = function(X)
    out = np.empty_like(want)
    assert function(ad.constant(X), out=out) is out
    assert_near(out, want)
    with pytest.raises(TypeError, match=rf"np\.fft\.{name} cannot write a value that is being differentiated"):
        ad.vjp(lambda x: function(x, out=out), X)
    assert function(ad.constant(X), out=None).shape == want.shape


@pytest.mark.filterwarnings("ignore:.*NumPy 2.0:DeprecationWarning")
@pytest.mark.parametrize("name", ["fftn", "rfftn", "irfftn"])
@pytest.mark.parametrize("arguments", [{"s": (4,)}, {"s": (None, 5), "axes": (1, 0)}, {"s": (-1,), "axes": (-1,)}])
def test_lengths_are_found_as_numpy_finds_them(name, arguments):
    function = getattr(np.fft, name)
    assert_near(function(ad.constant(X), **arguments).numpy(), function(X, **arguments))


# -- lanes and recordings -------------------------------------------------------------------------


def names(program):
    return [instruction.op.name for instruction in program.instructions]


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("transform", [
    ad.vmap, ad.hessian, ad.jacobian, lambda f: ad.jacobian(f, mode="reverse"), lambda f: ad.vmap(ad.grad(f)),
])
def test_lanes_go_through_one_transform(transform, axis):
    def f(x):
        return np.sum(np.abs(np.fft.fft(np.abs(np.fft.irfft(np.fft.rfft(x, axis=axis), 5, axis)), 7, axis)) ** 4)

    x = np.stack([X, -X])
    found = names(ad.record(transform(f))(x))
    assert all(found.count(name) <= 4 for name in ("fft", "ifft", "rfft", "irfft"))
    assert_near(ad.compile(transform(f))(x), transform(f)(x))


def test_a_saved_program_transforms(tmp_path):
    program = ad.record(ad.grad(lambda x: np.sum(np.abs(np.fft.rfftn(x, (np.int64(4), 7), axes=(0, 1))) ** 2)))(X)
    program.save(tmp_path / "program")
    assert_near(ad.load(tmp_path / "program")(2 * X), 2 * program(X))


def test_a_large_transform_waits_for_the_program():
    calls = []

    def f(x):
        y = np.fft.irfft(np.fft.rfft(x) * 2, x.size)
        calls.append(y.shape)
        return y

    x = np.resize(X, 1 << 15)
    assert_near(ad.compile(f)(x), 2 * x)
    assert calls == [x.shape]
