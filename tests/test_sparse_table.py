"""Every entry of the op table: its sparse derivatives against dense ones, and how many entries the patterns have."""
import numpy as np
import pytest
from test_table import CALLS, FIRST_CALLS, arrays, flat, of_calls, takes_complex

import ad

pytest.importorskip("scipy.sparse")
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::ad.IndependentWarning")

POINTS = 40  # at most, to find all entries that are not zero everywhere
COMPLEX = "of a real input, the real or the imaginary part of some bins is zero: patterns are those of complex numbers"
# Entries that are zero at all points and that a pattern has: the most that a case of the entry may have, and why.
ALLOWED = {
    "heaviside": (6, "its derivative by the second argument is not zero where the first one is"),
    "astype": (6, "of a real input cast to complex, the imaginary part is zero"),
    "cummax": (10, "the place of the largest element so far is computed: any along the axis"),
    "cummin": (10, "the place of the smallest element so far is computed: any along the axis"),
    "gradient": (10, "equal distances cancel the middle of three elements"),
    "interp": (20, "the knots next to a point are computed, and the cases give the points"),
    "cross": (4, "vectors of two components get a third one, which is zero"),
    "powmh": (81, "a power 0 is constant"), "funmh": (81, "the function may be constant"),
    "matrix_norm": (12, "the sampled matrices have the same row or column with the largest sum"),
    "spectral_sum": (16, "the eigenvectors of the cases are unit vectors"),
    "softmax": (1, "of one number it is constant"), "log_softmax": (1, "of one number it is constant"),
    **{name: (most, COMPLEX) for name, most in [
        ("fft", 20), ("ifft", 20), ("rfft", 16), ("irfft", 8), ("hfft", 8), ("ihfft", 16), ("fft2", 80), ("ifft2", 80),
        ("rfft2", 60), ("irfft2", 16), ("fftn", 96), ("ifftn", 96), ("rfftn", 96), ("irfftn", 16)]},
}
METHODS = ("terms", "colors")


def differentiated(calls):
    return [call for call in calls if arrays(call.sample(np.random.default_rng(0)))]


def real_parts(ys):
    """One vector of all elements, complex ones as their real and imaginary parts."""
    parts = [part.ravel() for y in ys for part in ([y.real, y.imag] if y.dtype.kind == "c" else [y])]
    return np.concatenate(parts)


def on_vector(call, args):
    """The call as a function of one real vector that returns such a one, and the vector at these arguments."""
    xs, function = arrays(args), flat(call, args)
    sizes = [x.size * (2 if x.dtype.kind == "c" else 1) for x in xs]

    def part(v, x):
        return (v[: x.size] + 1j * v[x.size :] if x.dtype.kind == "c" else v).reshape(x.shape)

    def of_vector(v):
        parts = np.split(v, np.cumsum(sizes)[:-1]) if len(xs) > 1 else [v]
        return real_parts(function(*map(part, parts, xs)))

    return of_vector, real_parts(xs)


def points(call):
    """The call on vectors, and vectors: sampled, or random ones where a case gives its arguments as arrays."""
    first = None
    for seed in range(POINTS):
        rng = np.random.default_rng(seed)
        f, x = on_vector(call, call.sample(rng))
        is_given = first is not None and np.array_equal(x, first, equal_nan=True)
        first = x if first is None else first
        yield f, rng.uniform(0.5, 2.0, x.shape) if is_given else x


def largest(x):
    return np.max(np.abs(x), initial=0, where=np.isfinite(x))


def value_of(derivative, x):
    """The value of a sparse derivative, by colors if terms cost too much."""
    try:
        return derivative(x).toarray()
    except ValueError as error:
        if "leave out method='terms'" not in str(error):
            raise
    derivative.method = None
    return derivative(x).toarray()


def assert_covers(pattern, dense):
    """The pattern has all entries that differ from zero by more than rounding."""
    assert not np.any((np.abs(dense) > 1e-11 * largest(dense)) & ~pattern), "the pattern lacks entries"


@of_calls(differentiated(CALLS))
def test_jacobian(call):
    """The values are those of dense derivatives; the pattern has no entries that are zero at all points."""
    extra = None
    for f, x in points(call):
        pattern, dense = ad.sparse.jacobian_pattern(f, x).todense(), ad.jacobian(f)(x)
        assert_covers(pattern, dense)
        if extra is None:
            for method in METHODS:
                found = value_of(ad.sparse.jacobian(f, method=method), x)
                np.testing.assert_allclose(found, dense, rtol=1e-9, atol=1e-12)
        extra = (pattern if extra is None else extra) & (dense == 0)
        if not extra.any():
            return
    assert np.count_nonzero(extra) <= ALLOWED.get(call.entry.name, (0,))[0]


@of_calls(differentiated(FIRST_CALLS))
def test_jacobian_of_complex_numbers(call):
    args = call.sample(np.random.default_rng(0), np.complex128)
    if not takes_complex(call, args):
        pytest.skip("NumPy has it for real arguments only")
    f, x = on_vector(call, args)
    dense = ad.jacobian(f)(x)
    assert_covers(ad.sparse.jacobian_pattern(f, x).todense(), dense)
    np.testing.assert_allclose(value_of(ad.sparse.jacobian(f, method="terms"), x), dense, rtol=1e-8, atol=1e-11)


@of_calls(differentiated(FIRST_CALLS))
def test_hessian(call):
    f, x = next(points(call))

    def total(x):
        return np.sum(np.sin(f(x)))

    dense = ad.hessian(total)(x)
    assert_covers(ad.sparse.hessian_pattern(total, x).todense(), dense)
    for method in METHODS:
        found = value_of(ad.sparse.hessian(total, method=method), x)
        np.testing.assert_allclose(found, dense, rtol=1e-7, atol=1e-9 * max(1, largest(dense)))
