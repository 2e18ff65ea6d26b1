"""Patterns by what is known of a function: constants, indices, axes, and elements that are zero."""
import numpy as np
import pytest

import ad

sparse = pytest.importorskip("scipy.sparse")

N = 6
MASK = np.array([True, False, True, True, False, False])
EYE, NONE = np.eye(N, dtype=bool), np.zeros((N, N), bool)
LOWER = np.tril(np.ones((N, N), bool))
BLOCKS = np.kron(np.eye(2, dtype=bool), np.ones((3, 3), bool))  # rows of a matrix of shape (2, 3)
ARROW = np.diag([2.0, 3, 4, 5, 6, 7]) + np.tril(np.eye(N, k=-2))


def rows(x):
    return x.reshape(2, 3)


def diagonal(mask):
    return np.diag(np.asarray(mask, bool))


JACOBIANS = {
    "where, of a constant condition": (lambda x: np.where(MASK, x, 0.0), diagonal(MASK)),
    "where, in both branches": (lambda x: np.where(MASK, x, x[::-1]), MASK[:, None] & EYE | ~MASK[:, None] & EYE[::-1]),
    "a product with zeros": (lambda x: x * MASK, diagonal(MASK)),
    "a quotient of zeros": (lambda x: MASK / (1 + x * x), diagonal(MASK)),
    "a product with a value that has zeros": (lambda x: np.exp(x) * np.where(MASK, x[::-1], 0.0),
                                              (EYE | EYE[::-1]) & MASK[:, None]),
    "a product with a value that is padded": (lambda x: np.sin(x) * np.pad(x[:2], (2, 2)),
                                              diagonal([0, 0, 1, 1, 0, 0]) | np.eye(N, k=-2, dtype=bool)
                                              & np.array([[0], [0], [1], [1], [0], [0]], bool)),
    "steps": (lambda x: np.floor(x) * x, EYE),
    "signs": (lambda x: np.sign(x), NONE),
    "a triangular system": (lambda x: np.linalg.solve(np.tril(np.ones((N, N))) + np.eye(N), x), LOWER),
    "a system of two": (lambda x: np.linalg.solve(np.kron(np.eye(2), np.ones((3, 3)) + np.eye(3)), x), BLOCKS),
    "a sparse triangular system": (lambda x: np.linalg.solve(ARROW, x), np.linalg.inv(ARROW) != 0),
    "a product with a sparse matrix": (lambda x: ARROW @ x, ARROW != 0),
    "a transform of rows": (lambda x: np.fft.irfft(np.fft.rfft(rows(x), axis=1), 3, axis=1), BLOCKS),
    "what a transform cuts off": (lambda x: np.abs(np.fft.fft(x, 4)), np.ones((4, 1), bool) & (np.arange(N) < 4)),
    "sorted rows": (lambda x: np.sort(rows(x), axis=1), BLOCKS),
    "running sums of rows": (lambda x: np.cumsum(rows(x), 1), BLOCKS & LOWER),
    "norms of rows": (lambda x: np.linalg.norm(rows(x), axis=1), BLOCKS[::3]),
    "products of rows, kept": (lambda x: np.prod(rows(x), axis=-1, keepdims=True), BLOCKS[::3]),
    "a convolution": (lambda x: np.convolve(x, [1.0, 0.0, 2.0], "valid"), (EYE | np.eye(N, k=2, dtype=bool))[:4]),
    "the determinant of a matrix of a stack": (lambda x: np.linalg.det(x[:4].reshape(1, 2, 2)), np.arange(N)[None] < 4),
    "columns of q": (lambda x: np.linalg.qr(x[:4].reshape(2, 2))[0][:, 0],
                     np.isin(np.arange(N), [0, 2]) & np.ones((2, 1), bool)),
    "elements that are written over": (lambda x: _written(x), diagonal([1, 0, 0, 1, 1, 1])),
    "a constant": (lambda x: 0 * x + np.ones(N), NONE),
}


def _written(x):
    y = x * 2
    y[1:3] = 0.5
    return y


def point():
    return np.random.default_rng(3).uniform(0.5, 1.5, N)


@pytest.mark.parametrize("name", JACOBIANS)
def test_jacobian(name):
    f, expected = JACOBIANS[name]
    assert np.array_equal(ad.sparse.jacobian_pattern(f, point()).todense(), expected)
    for method in (None, "colors"):
        found = ad.sparse.jacobian(f, method=method)(point()).toarray()
        np.testing.assert_allclose(found, ad.jacobian(f)(point()).reshape(found.shape), atol=1e-13)


HESSIANS = {
    "of a part": (lambda x: np.sum(np.exp(x)[2:4] ** 2), diagonal([0, 0, 1, 1, 0, 0])),
    "of a masked product": (lambda x: np.sum(np.where(MASK, np.exp(x), x)), diagonal(MASK)),
    "of what is linear": (lambda x: x @ ARROW @ np.ones(N) + 3 * np.max(x[:1]), NONE),
    "of a diagonal": (lambda x: np.trace(np.outer(x, x[::-1])), EYE[::-1]),
    "of a bilinear form": (lambda x: x[:3] @ ARROW[:3, :3] @ x[3:], np.kron([[0, 1], [0, 0]], ARROW[:3, :3] != 0) != 0),
}


@pytest.mark.parametrize("name", HESSIANS)
def test_hessian(name):
    f, expected = HESSIANS[name]
    assert np.array_equal(ad.sparse.hessian_pattern(f, point()).todense(), expected | expected.T)
    np.testing.assert_allclose(ad.sparse.hessian(f)(point()).toarray(), ad.hessian(f)(point()), atol=1e-13)


def test_computed_indices_are_any_along_their_axis():
    """An index that is an argument may have other values in the next call."""
    index = np.array([1, 0])
    f = ad.sparse.jacobian(lambda x, i: rows(x)[:, i] ** 2)
    assert np.array_equal(f.pattern(point(), index).todense(), BLOCKS[[0, 0, 3, 3]])
    for i in (index, np.array([2, 2])):
        dense = ad.jacobian(lambda x, i=i: rows(x)[:, i] ** 2)(point()).reshape(4, N)
        np.testing.assert_allclose(f(point(), i).toarray(), dense)


def test_computed_indices_of_the_gradient():
    f = ad.sparse.hessian(lambda x, i: np.sum(x[:3][i] ** 3))
    assert np.array_equal(f.pattern(point(), np.array([1, 1])).todense(), np.kron([[1, 0], [0, 0]], np.ones((3, 3))))
    for i in ([1, 1], [0, 2]):
        dense = ad.hessian(lambda x, i=i: np.sum(x[:3][np.array(i)] ** 3))(point())
        np.testing.assert_allclose(f(point(), np.array(i)).toarray(), dense)


@pytest.mark.parametrize("f", [
    lambda x: np.fft.fft(x), lambda x: x * 1j, lambda x: {"a": x, "b": x + 1j},
], ids=["fft", "product", "container"])
def test_complex_results_are_refused(f):
    with pytest.raises(TypeError, match="returns complex numbers"):
        ad.sparse.jacobian(f)(point())


def test_a_branch_that_is_not_taken_may_be_nan():
    x = np.array([1.3, -0.7])
    for f in (lambda x: np.where(x > 0, np.sqrt(x), x * x), lambda x: np.abs(x) ** x):
        np.testing.assert_allclose(ad.sparse.jacobian(f, method="terms")(x).toarray(), ad.jacobian(f)(x))
    np.testing.assert_allclose(ad.sparse.hessian(lambda x: x[0] ** x[1], method="terms")(x).toarray(),
                               ad.hessian(lambda x: x[0] ** x[1])(x))


def test_chains_of_dense_maps_stay_small():
    """Entries of the same place are summed up on the way."""
    a = np.random.default_rng(0).uniform(-1, 1, (N, N))

    def chain(x):
        for _ in range(8):
            x = np.tanh(a @ x)
        return x

    found = ad.sparse.jacobian(chain, method="terms")(point()).toarray()
    np.testing.assert_allclose(found, ad.jacobian(chain)(point()))
