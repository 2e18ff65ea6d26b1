"""Functions of Hermitian matrices at equal, close and distinct eigenvalues, against mpmath's in many digits."""
import itertools
import pickle

import mpmath as mp
import numpy as np
import pytest

import ad
from ad.ops.divided_differences import divided_differences

linalg = ad.linalg


def logm(a):
    """The logarithm, by eigenvalues in many digits, which is faster than mpmath's own."""
    w, v = mp.eighe(a)
    return v * mp.diag([mp.log(x) for x in w]) * v.H


# name -> ours, and mpmath's
FUNCTIONS = {
    "sqrtmh": (linalg.sqrtmh, mp.sqrtm),
    "inverse root": (lambda a: linalg.powmh(a, -0.5), lambda a: mp.inverse(mp.sqrtm(a))),
    "logmh": (linalg.logmh, logm),
    "expmh": (linalg.expmh, mp.expm),
    "cube": (lambda a: linalg.powmh(a, 3), lambda a: a * a * a),
    "funmh of a ufunc": (lambda a: linalg.funmh(a, np.sqrt), mp.sqrtm),
    "funmh of a ratio": (lambda a: linalg.funmh(a, lambda x: x / (1 + x)),
                         lambda a: mp.inverse(mp.eye(a.rows) + a) * a),
}
SPECTRA = {
    "multiple of the identity": [1.5, 1.5, 1.5], "a pair": [1.0, 1.0, 3.0], "distinct": [0.5, 1.0, 4.0],
    **{f"gap {gap}": [1.0, 1 + gap, 3.0] for gap in (1e-1, 1e-4, 1e-9, 1e-15)},
    "three close": [1.0, 1.0 + 1e-8, 1.0 + 1e-3],
}
functions = pytest.mark.parametrize("name", FUNCTIONS)
spectra = pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA)


def hermitian(x):
    return (x + np.conj(np.swapaxes(x, -1, -2))) / 2


def matrix_of(spectrum, dtype=float):
    rng = np.random.default_rng(len(spectrum))
    noise = rng.normal(size=(2, len(spectrum), len(spectrum)))
    q, _ = np.linalg.qr(noise[0] + (1j * noise[1] if np.dtype(dtype).kind == "c" else 0))
    w = np.array(spectrum)  # the first eigenvalue stays exactly multiple where all of them are equal
    return (w[0] * np.eye(len(w)) + hermitian(q * (w - w[0]) @ q.conj().T)).astype(dtype)


def directions(dtype=float, n=3):
    noise = np.random.default_rng(5).normal(size=(2, 4, n, n))
    return hermitian(noise[0] + (1j * noise[1] if np.dtype(dtype).kind == "c" else 0)).astype(dtype)


def reference(function, a, along):
    """The derivative along all of these directions, by central differences in 55 digits."""
    with mp.workdps(55):
        h = mp.mpf(10) ** -12
        total = mp.zeros(len(a))
        for signs in itertools.product((1, -1), repeat=len(along)):
            moved = mp.matrix(a)
            for sign, direction in zip(signs, along):
                moved += sign * h * mp.matrix(direction)
            total += np.prod(signs, dtype=int).item() * function(moved)
        total /= (2 * h) ** len(along)
        return np.array([[complex(x) for x in row] for row in total.tolist()])


def forward(function, along):
    """The derivative of a function along directions, by forward mode in forward mode."""
    for direction in along:
        function = (lambda f, e: lambda a: ad.jvp(f, (a,), (e,))[1])(function, direction)
    return function


def gradient(function, weights):
    return ad.grad(lambda a: np.sum(np.real(function(a) * weights)))


def assert_near(found, expected, rtol=1e-12):
    found = found.numpy() if isinstance(found, ad.Array) else found
    np.testing.assert_allclose(found, expected, rtol=0, atol=rtol * max(1, np.max(np.abs(expected))))


# -- derivatives of all orders ---------------------------------------------------------------------


@functions
@spectra
def test_derivatives_to_third_order(name, spectrum):
    ours, mpmaths = FUNCTIONS[name]
    a, along = matrix_of(spectrum), directions()
    for order in (1, 2, 3):
        expected = reference(mpmaths, a, along[:order]).real
        assert_near(forward(ours, along[:order])(a), expected)
        inner = gradient(forward(ours, along[1:order]), along[3])  # the same by a reverse sweep on top
        assert_near(np.sum(inner(a) * along[0]), np.sum(expected * along[3]))


@pytest.mark.parametrize("name", ["sqrtmh", "logmh", "funmh of a ratio"])
@pytest.mark.parametrize("spectrum", [[2.0, 2.0, 2.0], [1.0, 1.0, 3.0], [1.0, 2.0, 3.0]])
def test_derivatives_of_complex_matrices(name, spectrum):
    ours, mpmaths = FUNCTIONS[name]
    a, along = matrix_of(spectrum, complex), directions(complex)
    for order in (1, 2):
        expected = reference(mpmaths, a, along[:order])
        assert_near(forward(ours, along[:order])(a), expected)
        inner = gradient(forward(ours, along[1:order]), along[3])
        assert_near(np.sum(np.real(np.conj(inner(a)) * along[0])), np.sum(np.real(expected * along[3])))


@pytest.mark.parametrize("name", ["sqrtmh", "expmh", "funmh of a ratio"])
@pytest.mark.parametrize("spectrum", [[2.0, 2.0], [1.0, 3.0]])
def test_hessian_in_every_nesting(name, spectrum):
    ours, mpmaths = FUNCTIONS[name]
    a, (b, e) = matrix_of(spectrum), directions(n=2)[:2]

    def f(a):
        return np.sum(ours(a) * b)

    basis = np.eye(4).reshape(4, 2, 2)
    expected = np.array([[np.sum(reference(mpmaths, a, [hermitian(x), hermitian(y)]).real * b) for y in basis]
                         for x in basis])
    for hessian in (ad.hessian(f), ad.jacobian(ad.grad(f)), ad.jacobian(ad.grad(f), mode="reverse"),
                    ad.compile(ad.hessian(f))):
        assert_near(np.reshape(hessian(a), (4, 4)), expected)
    assert_near(np.ravel(ad.hvp(f)(a, e)), expected @ e.ravel())


def test_a_negative_integer_power_of_an_indefinite_matrix():
    for spectrum in ([-1.0, -1.0, 2.0], [-1e-3, 1e-3, 1.0], [-2.0, 1.0, 1.0]):
        a, along = matrix_of(spectrum), directions()
        for order in (0, 1, 2):
            expected = reference(mp.inverse, a, along[:order]).real
            assert_near(forward(lambda a: linalg.powmh(a, -1), along[:order])(a), expected)


@pytest.mark.parametrize("spectrum", [[2.0, 2.0, 2.0], [1.0, 1.0, 3.0], [1.0, 2.0, 3.0]])
def test_an_exponent_is_differentiated(spectrum):
    a, e = matrix_of(spectrum), directions()[1]

    def mpmaths(x):
        return lambda a: mp.expm((x + mp.mpf("0.7")) * logm(a))

    with mp.workdps(40):
        h = mp.mpf(10) ** -12
        expected = (reference(mpmaths(h), a, [e]) - reference(mpmaths(-h), a, [e])).real / float(2 * h)

    def slope(p):
        return ad.jvp(lambda a: linalg.powmh(a, p), (a,), (e,))[1]

    assert_near(linalg.powmh(a, ad.constant(0.7)), linalg.powmh(a, 0.7))
    assert_near(ad.jvp(slope, (0.7,), (1.0,))[1], expected, 1e-3)  # the digits that the difference leaves
    ad.testing.check_grads(lambda a, p: linalg.powmh((a + a.T) / 2, p), (a, 0.7))
    stack, exponents = np.stack([a, 2 * a]), np.array([0.5, -0.3])
    ad.testing.check_grads(lambda p: linalg.powmh(stack, p), (exponents,))
    assert_near(linalg.powmh(stack, exponents)[1], linalg.powmh(2 * a, -0.3))
    assert_near(ad.vmap(linalg.powmh)(stack, exponents), linalg.powmh(stack, exponents))


def test_whitening_at_the_identity():
    """The loss of a decorrelation layer, whose covariance starts as a multiple of the identity."""
    x = np.concatenate([np.eye(3), -np.eye(3)])
    ad.testing.check_grads(lambda x: np.sin(x @ linalg.powmh(x.T @ x, -0.5)), (x,))


def test_a_spectral_function_has_its_hessian():
    """tr f(A) where the sum of f over `eigvalsh` has a first derivative only."""
    found = ad.hessian(lambda a: np.trace(linalg.funmh(a, lambda x: x**3)))(2 * np.eye(2))
    both = np.eye(4).reshape(2, 2, 2, 2)
    assert_near(found, 12 * (both + both.transpose(0, 1, 3, 2)) / 2)


# -- what eigh and svd give at equal values ----------------------------------------------------------------


def group_of_eigenvalues(a):
    return np.sum(np.linalg.eigvalsh(hermitian(a))[..., :2])


def projection(a):
    v = np.linalg.eigh(hermitian(a))[1][..., :2]
    return v @ np.conj(v.T)


def scaled_projection(a):
    w, v = np.linalg.eigh(hermitian(a))
    return np.exp(np.mean(w[:2])) * w[2] * (v[:, :2] @ np.conj(v[:, :2].T))


@pytest.mark.parametrize("function", [group_of_eigenvalues, projection, scaled_projection])
@pytest.mark.parametrize("dtype", [float, complex])
def test_eigh_is_right_for_what_does_not_tell_equal_eigenvalues_apart(function, dtype):
    ad.testing.check_grads(function, (matrix_of([1.0, 1.0, 3.0], dtype),), order=1)


def test_the_hessian_of_the_sum_of_equal_eigenvalues():
    ad.testing.check_grads(group_of_eigenvalues, (np.diag([1.0, 1.0, 3.0]),), order=2)


def polar_factor(a):
    u, _, vh = np.linalg.svd(a, full_matrices=False)
    return u @ vh


def truncated(a):
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    return (u[:, :2] * s[:2]) @ vh[:2]


def truncated_by_projection(a):
    u = np.linalg.svd(a, full_matrices=False)[0][:, :2]
    return u @ (np.conj(u.T) @ a)


def nuclear_norm(a):
    return np.linalg.norm(a, "nuc")


def of_singular_values(s, shape, dtype):
    rng = np.random.default_rng(7)
    noise = [rng.normal(size=(2, n, 3)) for n in shape]
    u, v = (np.linalg.qr(x + (1j * y if dtype is complex else 0))[0] for x, y in noise)
    return (u * s) @ v.conj().T


EQUAL = {"all": [2.0, 2.0, 2.0], "a pair": [2.0, 2.0, 1.0], "distinct": [3.0, 2.0, 1.0]}


@pytest.mark.parametrize("function", [polar_factor, nuclear_norm, truncated_by_projection])
@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 4)], ids=str)
@pytest.mark.parametrize("s", EQUAL.values(), ids=EQUAL)
@pytest.mark.parametrize("dtype", [float, complex])
def test_svd_is_right_for_what_does_not_tell_equal_singular_values_apart(function, shape, s, dtype):
    if function is truncated_by_projection and s == EQUAL["all"]:
        pytest.skip("the truncation takes some of the equal values, and not the others")
    ad.testing.check_grads(function, (of_singular_values(s, shape, dtype),), order=1, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("function", [polar_factor, nuclear_norm])
@pytest.mark.parametrize("multiple", [1.0, -2.0])
def test_svd_of_a_multiple_of_the_identity(function, multiple):
    ad.testing.check_grads(function, (multiple * np.eye(3),), order=1)


@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 4)], ids=str)
def test_svd_is_right_at_singular_values_of_zero_that_have_no_part_in_the_result(shape):
    a = of_singular_values([2.0, 1.0, 0.0], shape, float)
    for function in (truncated, truncated_by_projection, lambda a: np.sum(np.linalg.svdvals(a) ** 2)):
        ad.testing.check_grads(function, (a,), order=1, rtol=1e-5, atol=1e-6)


# -- divided differences -----------------------------------------------------------------------------


def test_divided_differences_of_functions_with_kinks_and_steps():
    w = np.array([-1.0, -1e-3, 2.0, 2.0])
    of_abs = divided_differences(lambda x, m: [np.abs, np.sign, np.zeros_like][m](x), w, 1)
    np.testing.assert_allclose(of_abs[0], [-1, (1e-3 - 1) / 0.999, 1 / 3, 1 / 3], rtol=1e-13)
    assert of_abs[2, 3] == 1
    of_sign = divided_differences(lambda x, m: np.sign(x) if m == 0 else np.zeros_like(x), w, 1)
    np.testing.assert_allclose(of_sign[1], [0, 0, 2 / 2.001, 2 / 2.001])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_divided_differences_are_accurate_at_every_gap(order):
    """Of 1 / x: (-1)^k / (x_0 ... x_k)."""
    def reciprocal(x, m):
        return (-1.0) ** m * np.prod(np.arange(1.0, m + 1)) / x ** (m + 1)

    for gap in [0.0, *10.0 ** np.arange(-17, 3), 0.3, 0.5, 0.7]:
        w = 1 + gap * np.array([0.0, 0.0, 0.3, 1.0, 2.2])
        expected = (-1.0) ** order / w
        for _ in range(order):
            expected = np.multiply.outer(expected, 1 / w)
        np.testing.assert_allclose(divided_differences(reciprocal, w, order), expected, rtol=2e-14)


# -- shapes, dtypes, triangles -------------------------------------------------------------------------

CALLS = {
    "sqrtmh": linalg.sqrtmh, "logmh": linalg.logmh, "expmh": linalg.expmh,
    "powmh": lambda a, **how: linalg.powmh(a, -1.3, **how), "funmh": lambda a, **how: linalg.funmh(a, np.cos, **how),
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@calls
def test_single_precision_stays(call):
    for dtype in (np.float32, np.complex64):
        a = matrix_of([1.0, 1.0, 2.0], dtype)
        assert call(a).dtype == dtype
        y, y_dot = ad.jvp(call, (a,), (a,))
        assert y.dtype == y_dot.dtype == dtype
        assert ad.grad(lambda a: np.real(np.sum(call(a))))(a).dtype == dtype
        np.testing.assert_allclose(call(a), call(a.astype(np.result_type(dtype, float))), rtol=1e-5, atol=1e-6)


@calls
def test_one_triangle_is_read(call):
    a = matrix_of([1.0, 1.0, 2.0])
    spoilt = np.triu(a) + np.tril(np.full((3, 3), 9.0), -1)
    assert_near(call(spoilt, UPLO="U"), call(a))
    assert_near(call(spoilt.T), call(a))
    gradient = ad.grad(lambda a: np.sum(call(a, UPLO="U") ** 2))(spoilt)
    assert_near(gradient, gradient.T)
    with pytest.raises(ValueError, match="UPLO"):
        call(ad.constant(a), UPLO="X")


@calls
def test_plain_in_plain_out_and_integers(call):
    a = 2 * np.eye(2, dtype=int)
    assert type(call(a)) is np.ndarray and call(a).dtype == float
    assert type(call(ad.constant(a * 1.0))) is ad.Array
    assert_near(call(a.tolist()), call(a * 1.0))


@calls
def test_empty_batches_and_errors_are_those_of_eigh(call):
    for shape in ((0, 0), (0, 2, 2), (2, 0, 0), (0, 0, 3, 3)):
        assert ad.grad(lambda a: np.sum(call(a)))(np.zeros(shape)).shape == shape
        assert ad.hvp(lambda a: np.sum(call(a)))(np.zeros(shape), np.zeros(shape)).shape == shape
    for wrong in (np.zeros(3), np.zeros((2, 3))):
        with pytest.raises(np.linalg.LinAlgError):
            call(ad.constant(wrong))


def test_the_edge_of_the_domain():
    assert linalg.sqrtmh(np.zeros((1, 1))) == 0
    assert ad.grad(lambda a: np.sum(linalg.sqrtmh(a)))(np.zeros((1, 1))) == np.inf
    assert ad.grad(lambda a: np.sum(linalg.powmh(a, 2)))(np.zeros((1, 1))) == 0
    with np.errstate(invalid="ignore", divide="ignore"):
        assert linalg.logmh(np.zeros((1, 1))) == -np.inf
        assert np.all(np.isnan(linalg.sqrtmh(np.diag([-1.0, 1.0]))))
        assert np.all(np.isnan(linalg.logmh(np.diag([-1.0, 1.0]))))
        assert np.isnan(ad.grad(lambda a: np.trace(linalg.logmh(a)))(np.diag([-1.0, 1.0]))[0, 0])
    # along a direction in which nothing is infinite
    _, y_dot = ad.jvp(linalg.sqrtmh, (np.diag([0.0, 4.0]),), (np.diag([0.0, 1.0]),))
    assert_near(y_dot, np.diag([0, 0.25]))


# -- recorded, saved, over lanes ----------------------------------------------------------------------------


@calls
def test_recorded_and_over_lanes(call):
    matrices = np.stack([matrix_of([1.0, 1.0, 2.0]), 2 * np.eye(3), matrix_of([0.5, 1.0, 3.0])])
    b = directions()[0]
    gradient = ad.grad(lambda a: np.sum(call(a) * b))
    compiled = ad.compile(gradient)
    rows = [gradient(a) for a in matrices]
    for a, expected in zip(matrices, rows):
        assert_near(compiled(a), expected)
    assert_near(ad.vmap(gradient)(matrices), rows)
    assert_near(ad.grad(lambda a: np.sum(ad.vmap(call)(a) * b))(matrices), rows)
    assert_near(ad.grad(lambda a: np.sum(call(a) * b))(matrices), rows)


def test_programs_of_named_functions_are_saved():
    a = matrix_of([1.0, 1.0, 2.0])
    program = ad.record(ad.grad(lambda a: np.sum(linalg.sqrtmh(a) * a)))(a)
    assert_near(pickle.loads(pickle.dumps(program))(a), program(a))
    with pytest.raises(TypeError, match="cannot be saved"):
        pickle.dumps(ad.record(lambda a: linalg.funmh(a, np.cos))(a))


# -- functions that funmh refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize("transform", [ad.grad, ad.compile, lambda f: lambda t: ad.jvp(f, (t,), (1.0,)),
                                       lambda f: lambda t: ad.vmap(f)(np.array([t]))])
def test_a_value_that_is_differentiated_is_not_lost(transform):
    with pytest.raises(TypeError, match="uses a value that is being differentiated"):
        transform(lambda t: np.sum(linalg.funmh(np.eye(2), lambda x: np.exp(t * x))))(1.0)


@pytest.mark.parametrize(("function", "error", "text"), [
    (lambda x: np.exp(1j * x), TypeError, "real numbers, and returned complex128"),
    (lambda x: np.stack([np.sum(x)] * 2), ValueError, "element by element"),
    (np.sum, ValueError, "element by element"), (lambda x: x[:1], ValueError, "element by element"),
    (lambda x: x[:, None] * x, ValueError, "element by element"),
    (3.0, TypeError, "takes a function of numbers, not a float"),
])
def test_functions_that_do_not_work_element_by_element(function, error, text):
    with pytest.raises(error, match=text):
        linalg.funmh(np.eye(3), function)
