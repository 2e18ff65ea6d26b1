"""The structure of ops of users in sparse derivatives: what they say, or all of the input."""
import numpy as np
import pytest

import ad

sparse = pytest.importorskip("scipy.sparse")

WEIGHTS = np.array([1.0, -2.0, 0.5])


def linear(function, matrix, **options):
    return ad.ops.linear(function, transpose=lambda y_bar, x: y_bar @ matrix, **options)


@ad.ops.elementwise(partials=lambda x, y, order: curve(x, order=order + 1))
def curve(x, order=0):
    return [np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)][order % 4](x)


def normalised(x, y):
    return x / np.sqrt(np.sum(x * x, -1, keepdims=True)) * y


rows_alone = ad.ops.custom(
    normalised, inputs=2, structure=-1, name="rows_alone",
    jvp=(lambda x_dot, x, y, z: ad.jvp(lambda x: normalised(x, y), (x,), (x_dot,))[1],
         lambda y_dot, x, y, z: y_dot * x / np.sqrt(np.sum(x * x, -1, keepdims=True))),
)
parts = ad.ops.custom(
    lambda x: (x[:-1] * x[1:], np.cumsum(x)), outputs=2, name="parts",
    jvp=lambda x_dot, x, y: (x_dot[:-1] * x[1:] + x[:-1] * x_dot[1:], np.cumsum(x_dot)),
    structure=lambda x, y: (np.eye(x.size - 1, x.size) + np.eye(x.size - 1, x.size, 1), np.tri(x.size)),
)
weighted = linear(lambda x: x * WEIGHTS, np.diag(WEIGHTS), structure="elementwise", name="weighted")
by_matrix = linear(lambda x: np.diff(x), np.diff(np.eye(4), axis=0), name="by_matrix",
                   structure=lambda x, y: sparse.csr_array(np.diff(np.eye(x.size), axis=0)))
outer = ad.ops.bilinear(np.multiply, name="outer", transposes=(
    lambda y_bar, _a, b: y_bar * b, lambda y_bar, a, _b: y_bar * a), structure=lambda a, b, y: (np.eye(y.size), None))
dense = linear(lambda x: x * WEIGHTS, np.diag(WEIGHTS), name="dense")

X = np.array([0.7, -1.2, 0.4, 1.1])
CASES = [
    (weighted, X[:3], 3), (by_matrix, X, 6), (curve, X, 4), (lambda x: curve(x, order=1), X, 4),
    (lambda x: np.concatenate(parts(x)), X, 6 + 10), (lambda x: outer(x[:2], x[2:]), X, 2 + 4), (dense, X[:3], 9),
    (lambda x: rows_alone(x.reshape(2, 2), x.reshape(2, 2)), X, 8),
    (lambda x: rows_alone(x.reshape(2, 2), np.ones(2)), X, 8),
]


@pytest.mark.parametrize("method", ["terms", "colors"])
@pytest.mark.parametrize("f, x, entries", CASES)
def test_jacobian_and_hessian(f, x, entries, method):
    derivative = ad.sparse.jacobian(f, method=method)
    assert derivative.pattern(x).nnz == entries
    np.testing.assert_allclose(derivative(x).toarray(), ad.jacobian(f)(x).reshape(-1, x.size), atol=1e-12)

    def total(x):
        return np.sum(f(x) ** 3)

    np.testing.assert_allclose(ad.sparse.hessian(total, method=method)(x).toarray(), ad.hessian(total)(x), atol=1e-12)


def wrong(structure, function=lambda x: x[:-1], **options):
    op = ad.ops.custom(function, jvp=lambda x_dot, x, y: x_dot[:-1], structure=structure, name="wrong", **options)
    return ad.sparse.jacobian(op).pattern(X)


def test_structures_that_do_not_fit():
    with pytest.raises(ValueError, match=r"wrong: its structure returned .* of shape \(3, 3\).* must be \(3, 4\)"):
        wrong(lambda x, y: np.eye(3))
    with pytest.raises(ValueError, match="wrong: its structure says that the axes"):
        wrong((0, 1))
    with pytest.raises(ValueError, match="wrong: its structure says that the axes"):
        wrong(())
    with pytest.raises(TypeError, match="wrong: structure is 'elementwise', an axis"):
        wrong("dense")
    with pytest.raises(ValueError, match="a tuple of 2, one for each input"):
        op = ad.ops.bilinear(np.multiply, transposes=(lambda y_bar, _a, b: y_bar * b, lambda y_bar, a, _b: y_bar * a),
                             structure=lambda a, b, y: np.eye(4))
        ad.sparse.jacobian(lambda x: op(x, x)).pattern(X)
    with pytest.raises(TypeError, match="its structure is called with"):
        wrong(lambda x: np.eye(3))
