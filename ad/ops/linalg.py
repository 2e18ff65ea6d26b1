"""Linear algebra on stacks of matrices: the last two axes are the matrix, the others a batch.

An op with several outputs is followed by the function that gives them NumPy's named tuple. Functions
of a Hermitian matrix read one triangle of it, as NumPy's do; their derivative is that of the
function of the Hermitian part (JAX's and PyTorch's convention), so that the gradient is Hermitian.
"""
import math

import numpy as np

from ad.errors import MissingRule
from ad.ops.domains import FULL_RANK, INVERTIBLE, NONZERO, REAL, SPD, SYMMETRIC
from ad.ops.elementwise import absolute, conjugate, imag, real
from ad.ops.forms import BROADCASTS, case, composite, custom
from ad.ops.plain import evaluate
from ad.ops.products import adjoint, einsum, matmul, matrix_transpose, operand, widened
from ad.ops.reductions import kept_shape
from ad.ops.reductions import sum as sum_
from ad.ops.shaping import broadcast_to, reshape

__all__ = [
    "cholesky", "det", "eigh", "eigvalsh", "inv", "lstsq", "matrix_norm", "matrix_power", "norm", "pinv", "qr",
    "slogdet", "solve", "svd", "svdvals", "tensorinv", "tensorsolve", "vector_norm",
]

_NAMED = {
    name: type(getattr(np.linalg, name)(np.eye(1))) for name in ("eigh", "qr", "slogdet", "svd")
}


def _is_complex(x):
    return x.dtype.kind == "c"


def _hermitian_part(x):
    return (x + adjoint(x)) / 2


def _diagonal(x):
    return einsum("...ii->...i", x)


def _real_diagonal(x):
    return real(_diagonal(x)) if _is_complex(x) else _diagonal(x)


def _on_diagonal(x):
    """Diagonal matrices."""
    return _columns(x) * np.eye(x.shape[-1])


def _columns(x):
    """A vector's elements as factors of a matrix's columns."""
    return reshape(x, (*x.shape[:-1], 1, x.shape[-1]))


def _rows(x):
    return reshape(x, (*x.shape, 1))


def _scalars(x):
    """One number for each matrix, as its factor."""
    return reshape(x, (*x.shape, 1, 1))


def _strictly_lower(x):
    return x * np.tril(np.ones(x.shape[-2:]), -1)


def _imaginary_diagonal(x):
    """The imaginary part of the diagonal, as a diagonal matrix: 0 for a real x."""
    return 1j * _on_diagonal(imag(_diagonal(x))) if _is_complex(x) else 0


# -- inverses and systems ------------------------------------------------------------------------


@custom(np.linalg.inv, domain=INVERTIBLE, cases=(case((3, 3)), case((2, 2, 2)), case((0, 0))),
        batches=True, lanes=BROADCASTS, jvp=lambda a_dot, _a, y: -matmul(matmul(y, a_dot), y),
        vjp=lambda y_bar, _a, y: -matmul(matmul(adjoint(y), y_bar), adjoint(y)))
def inv(a):
    return np.linalg.inv(a)


def _pull_matrix(y_bar, a, _b, y):
    return -matmul(solve_matrix(adjoint(a), y_bar), adjoint(y))


@custom(inputs=2, domain=(INVERTIBLE, REAL), cases=(case((3, 3), (3, 2)), case((2, 2, 2), (1, 2, 3))),
        batches=True, lanes=BROADCASTS, jvp=(lambda a_dot, a, _b, y: -solve_matrix(a, matmul(a_dot, y)),
             lambda b_dot, a, _b, _y: solve_matrix(a, b_dot)),
        vjp=(_pull_matrix, lambda y_bar, a, _b, _y: solve_matrix(adjoint(a), y_bar)))
def solve_matrix(a, b):
    """a^-1 b, for operands with as many axes."""
    if a.ndim == 2 and len(a) > SMALL:
        for order, triangle in ((1, a), (-1, a[::-1, ::-1])):
            if _is_lower(triangle):
                return _substituted(triangle, b[::order])[::order]
    return np.linalg.solve(a, b)


SMALL = 128  # rows up to which a matrix is not worth to be taken apart


def _is_lower(a):
    """Whether there is nothing but zeros above the diagonal; at little cost where there is."""
    k = len(a) // 2
    if len(a) <= SMALL:
        return not np.triu(a, 1).any()
    return not a[:k, k:].any() and _is_lower(a[:k, :k]) and _is_lower(a[k:, k:])


def _substituted(a, b):
    """a^-1 b for a lower triangular matrix."""
    k = len(a) // 2
    if len(a) <= SMALL:
        return np.linalg.solve(a, b)
    first = _substituted(a[:k, :k], b[:k])
    return np.concatenate([first, _substituted(a[k:, k:], b[k:] - a[k:, :k] @ first)])


@composite(np.linalg.solve, domain=(INVERTIBLE, REAL),
           cases=(case((3, 3), (3,)), case((3, 3), (3, 2)), case((2, 2, 2), (2,)), case((2, 2), (3, 2, 1))))
def solve(a, b):
    a, b = operand(a), operand(b)
    if b.ndim == 1:
        x = solve(a, reshape(b, (*b.shape, 1)))
        return reshape(x, x.shape[:-1])
    ndim = max(a.ndim, b.ndim)
    return solve_matrix(widened(a, ndim), widened(b, ndim))


@composite(np.linalg.tensorsolve, domain=REAL, cases=(case((2, 3, 6), (2, 3)), case((4, 2, 2), (4,))))
def tensorsolve(a, b, axes=None):
    if axes is not None:
        raise MissingRule("ad.tensorsolve has no rule for the argument axes: move the axes of a first")
    a, b = operand(a), operand(b)
    return reshape(solve(reshape(a, (b.size, -1)), reshape(b, (-1,))), a.shape[b.ndim :])


@composite(np.linalg.tensorinv, domain=REAL, cases=(case((2, 3, 6)), case((4, 2, 2), ind=1)))
def tensorinv(a, ind=2):
    a = operand(a)
    rows = math.prod(a.shape[:ind])
    return reshape(inv(reshape(a, (rows, -1))), a.shape[ind:] + a.shape[:ind])


def _push_pinv(a_dot, a, y, *_):
    left, right = _null_parts(a, y)
    ah_dot, yh = adjoint(a_dot), adjoint(y)
    return matmul(matmul(y, yh), matmul(ah_dot, left)) + matmul(matmul(right, ah_dot), matmul(yh, y)) - matmul(
        matmul(y, a_dot), y
    )


def _pull_pinv(y_bar, a, y, *_):
    left, right = _null_parts(a, y)
    yh_bar, yh = adjoint(y_bar), adjoint(y)
    return matmul(left, matmul(yh_bar, matmul(y, yh))) + matmul(matmul(yh, y), matmul(yh_bar, right)) - matmul(
        matmul(yh, y_bar), yh
    )


def _null_parts(a, y):
    """The projections on what `a` does not reach, and on what it maps to 0."""
    return np.eye(a.shape[-2]) - matmul(a, y), np.eye(a.shape[-1]) - matmul(y, a)


@custom(np.linalg.pinv, domain=FULL_RANK, cases=(case((3, 2)), case((2, 3)), case((2, 2, 2))),
        batches=True, lanes=BROADCASTS, jvp=_push_pinv, vjp=_pull_pinv,
        singular="right along directions that keep the rank")
def pinv(a, rcond=None, hermitian=False):
    return np.linalg.pinv(a, rcond, hermitian)


@composite(np.linalg.matrix_power, domain=INVERTIBLE,
           cases=(case((2, 2), n=3), case((2, 2), n=-2), case((2, 2), n=0), case((2, 2, 2), n=6)))
def matrix_power(a, n):
    if n < 0:
        return matrix_power(inv(a), -n)
    power = broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape) + 0 * a if n == 0 else None
    while n:
        n, bit = divmod(n, 2)
        if bit:
            power = a if power is None else matmul(power, a)
        if n:
            a = matmul(a, a)
    return power


# -- determinants --------------------------------------------------------------------------------


def _cofactors(a, y):
    """The derivative of det: y a^-T; by the minors where a matrix is singular."""
    singular = y == 0
    if not (np.any(singular) if y.ndim else singular):
        return _scalars(y) * matrix_transpose(inv(a))
    n = a.shape[-1]
    others = np.array([[k for k in range(n) if k != i] for i in range(n)], dtype=int).reshape(n, n - 1)
    minors = det(a[..., others[:, None, :, None], others[None, :, None, :]])
    return minors * (-1.0) ** np.add.outer(np.arange(n), np.arange(n))


@custom(np.linalg.det, domain=INVERTIBLE, cases=(case((3, 3)), case((2, 2, 2)), case((1, 1))),
        batches=True, lanes=BROADCASTS, jvp=lambda a_dot, a, y: einsum("...ij,...ij->...", _cofactors(a, y), a_dot),
        vjp=lambda y_bar, a, y: _scalars(y_bar) * conjugate(_cofactors(a, y)),
        singular="right at a singular matrix too, to all orders; there at a cost of n^5 operations")
def det(a):
    return np.linalg.det(a)


def _push_slogdet(a_dot, a, y):
    trace = einsum("...ij,...ji->...", inv(a), a_dot)
    if _is_complex(a):
        return y[0] * 1j * imag(trace), real(trace)
    return 0 * trace, trace


def _pull_slogdet(y_bar, a, y):
    sign_bar, log_bar = y_bar
    if _is_complex(a):
        log_bar = log_bar - 1j * imag(conjugate(sign_bar) * y[0])
    return _scalars(log_bar) * adjoint(inv(a))


@custom(outputs=2, domain=INVERTIBLE, cases=(case((3, 3)), case((2, 2, 2))),
        batches=True, lanes=BROADCASTS, jvp=_push_slogdet,
        vjp=_pull_slogdet, singular="a singular matrix raises LinAlgError, as inv does")
def slogdet_parts(a):
    """The sign of det(a), and log |det(a)|."""
    return tuple(np.linalg.slogdet(a))


@composite(np.linalg.slogdet, domain=INVERTIBLE, cases=(case((3, 3)),))
def slogdet(a):
    return _NAMED["slogdet"](*slogdet_parts(a))


# -- factorisations ------------------------------------------------------------------------------


def _half_lower(x):
    """The lower triangle with half of the diagonal."""
    return x * (np.tril(np.ones(x.shape[-2:])) - np.eye(x.shape[-1]) / 2)


def _push_cholesky(a_dot, _a, y):
    inverse = inv(y)
    return matmul(y, _half_lower(matmul(matmul(inverse, _hermitian_part(a_dot)), adjoint(inverse))))


def _pull_cholesky(y_bar, _a, y):
    return cholesky_cotangent(y_bar, y)


def _by_inverse(l_bar, factor):
    """The inverse of the factor; and what the cotangent of its matrix is the Hermitian part of."""
    inverse = inv(factor)
    return inverse, matmul(matmul(adjoint(inverse), _half_lower(matmul(adjoint(factor), l_bar))), inverse)


def _push_cotangent(l_dot, l_bar, factor, _y):
    inverse, whole = _by_inverse(l_bar, factor)
    turn = matmul(l_dot, inverse)
    inner = matmul(matmul(adjoint(inverse), _half_lower(matmul(adjoint(l_dot), l_bar))), inverse)
    return _hermitian_part(inner - matmul(adjoint(turn), whole) - matmul(whole, turn))


def _pull_cotangent(y_bar, l_bar, factor, _y):
    inverse, whole = _by_inverse(l_bar, factor)
    right = matmul(_hermitian_part(y_bar), adjoint(inverse))
    return matmul(l_bar, adjoint(_half_lower(matmul(inverse, right)))) - 2 * matmul(_hermitian_part(whole), right)


@custom(inputs=2, domain=(REAL, INVERTIBLE), cases=(case((3, 3), (3, 3)), case((2, 2, 2), (2, 2, 2))), batches=True,
        jvp=(lambda l_bar_dot, _l_bar, factor, _y: cholesky_cotangent(l_bar_dot, factor), _push_cotangent),
        vjp=(lambda y_bar, _l_bar, factor, _y: _push_cholesky(y_bar, None, factor), _pull_cotangent))
def cholesky_cotangent(l_bar, factor):
    """The cotangent of a Hermitian matrix, from that of its lower Cholesky factor."""
    if factor.ndim > 2 or l_bar.ndim > 2 or len(factor) <= SMALL or _is_complex(factor):
        return _hermitian_part(_by_inverse(l_bar, factor)[1])
    return _symmetric_cotangent(l_bar, factor) / 2


def _symmetric_cotangent(l_bar, factor):
    """Twice that, for a real matrix taken apart (I. Murray, arXiv:1602.07527, section 4, with blocks of halves)."""
    k = len(factor) // 2
    if len(factor) <= SMALL:
        whole = _by_inverse(l_bar, factor)[1]
        return whole + whole.T
    corner, left = factor[:k, :k], factor[k:, :k]
    last = _symmetric_cotangent(l_bar[k:, k:], factor[k:, k:])
    below = _substituted(corner.T[::-1, ::-1], (l_bar[k:, :k] - last @ left).T[::-1])[::-1]
    first = _symmetric_cotangent(l_bar[:k, :k] - below @ left, corner)
    return np.block([[first, below], [below.T, last]])


_HERMITIAN = "one triangle is read; the derivative is that of the function of the Hermitian part"


@custom(domain=SPD, cases=(case((3, 3)), case((2, 2, 2))),
        batches=True, lanes=BROADCASTS, jvp=_push_cholesky, vjp=_pull_cholesky,
        singular=_HERMITIAN)
def cholesky_lower(a):
    """The lower Cholesky factor of the matrices whose lower triangle this is."""
    return np.linalg.cholesky(a)


@composite(np.linalg.cholesky, domain=SPD, cases=(case((3, 3)), case((3, 3), upper=True)), singular=_HERMITIAN)
def cholesky(a, upper=False):
    return adjoint(cholesky_lower(adjoint(a))) if upper else cholesky_lower(a)


def _inverse_gaps(gaps):
    """1 / gaps, and 0 where there is none: rotations among equal values are left out."""
    closed = gaps == 0
    return (1 - closed) / (gaps + closed)


def _push_eigh(a_dot, _a, y, _UPLO):
    w, v = y
    turned = matmul(matmul(adjoint(v), _hermitian_part(a_dot)), v)
    return _real_diagonal(turned), matmul(v, _inverse_gaps(_columns(w) - _rows(w)) * turned)


def _pull_eigh(y_bar, _a, y, _UPLO):
    (w_bar, v_bar), (w, v) = y_bar, y
    inner = _on_diagonal(w_bar) + _inverse_gaps(_columns(w) - _rows(w)) * matmul(adjoint(v), v_bar)
    return _hermitian_part(matmul(matmul(v, inner), adjoint(v)))


_EIGENVALUES = "; equal eigenvalues: that of their eigenvectors leaves out the rotations among them"


@custom(outputs=2, domain=SYMMETRIC, cases=(case((3, 3)), case((2, 2, 2))),
        batches=True, lanes=BROADCASTS, jvp=_push_eigh,
        vjp=_pull_eigh, singular=_HERMITIAN + _EIGENVALUES)
def eigh_parts(a, UPLO="L"):
    """Eigenvalues in rising order, and eigenvectors as columns."""
    return tuple(np.linalg.eigh(a, UPLO))


@composite(np.linalg.eigh, domain=SYMMETRIC, cases=(case((3, 3)), case((3, 3), UPLO="U")),
           singular=_HERMITIAN + _EIGENVALUES)
def eigh(a, UPLO="L"):
    return _NAMED["eigh"](*eigh_parts(a, UPLO))


@composite(np.linalg.eigvalsh, domain=SYMMETRIC, cases=(case((3, 3)), case((2, 2, 2))), singular=_HERMITIAN)
def eigvalsh(a, UPLO="L"):
    return eigh_parts(a, UPLO)[0]


def _svd_factors(s):
    """Inverse gaps between the squares of singular values, and their inverses (0 and 1 where there is none)."""
    gaps = (_columns(s) - _rows(s)) * (_columns(s) + _rows(s))
    return _inverse_gaps(gaps), 1 / (s + (s == 0))


def _push_svd(a_dot, a, y):
    u, s, vh = y
    uh, v = adjoint(u), adjoint(vh)
    gaps, inverses = _svd_factors(s)
    core = matmul(matmul(uh, a_dot), v)
    by_columns, by_rows = core * _columns(s), core * _rows(s)
    u_dot = matmul(u, gaps * (by_columns + adjoint(by_columns)) + _imaginary_diagonal(core) * _columns(inverses))
    v_dot = matmul(v, gaps * (by_rows + adjoint(by_rows)))
    if a.shape[-2] > a.shape[-1]:
        along = matmul(a_dot, v)
        u_dot = u_dot + (along - matmul(u, matmul(uh, along))) * _columns(inverses)
    if a.shape[-2] < a.shape[-1]:
        along = matmul(adjoint(a_dot), u)
        v_dot = v_dot + (along - matmul(v, matmul(vh, along))) * _columns(inverses)
    return u_dot, _real_diagonal(core), adjoint(v_dot)


def _skew(x):
    return x - adjoint(x)


def _pull_svd(y_bar, a, y):
    (u_bar, s_bar, vh_bar), (u, s, vh) = y_bar, y
    uh, v = adjoint(u), adjoint(vh)
    gaps, inverses = _svd_factors(s)
    of_u, of_v = matmul(uh, u_bar), matmul(vh, adjoint(vh_bar))
    core = (
        _on_diagonal(s_bar) + gaps * _skew(of_u) * _columns(s) + _rows(s) * gaps * _skew(of_v)
        + _imaginary_diagonal(of_u) * _columns(inverses)
    )
    a_bar = matmul(matmul(u, core), vh)
    if a.shape[-2] > a.shape[-1]:
        a_bar = a_bar + matmul((u_bar - matmul(u, of_u)) * _columns(inverses), vh)
    if a.shape[-2] < a.shape[-1]:
        a_bar = a_bar + matmul(u, _rows(inverses) * (vh_bar - matmul(matmul(vh_bar, v), vh)))
    return a_bar


_SINGULAR_VALUES = "equal or zero singular values: right for the values; the vectors' leaves out what is not determined"


@custom(outputs=3, domain=FULL_RANK, cases=(case((3, 3)), case((3, 2)), case((2, 3)), case((2, 2, 2))),
        batches=True, lanes=BROADCASTS, jvp=_push_svd, vjp=_pull_svd, singular=_SINGULAR_VALUES)
def svd_parts(a):
    """The thin singular value decomposition."""
    return tuple(np.linalg.svd(a, full_matrices=False))


@composite(np.linalg.svd, domain=FULL_RANK, singular=_SINGULAR_VALUES,
           cases=(case((3, 3)), case((3, 2), full_matrices=False), case((2, 3), compute_uv=False)))
def svd(a, full_matrices=True, compute_uv=True, hermitian=False):
    if hermitian:
        raise MissingRule("ad.svd has no rule for hermitian=True: use np.linalg.eigh, or leave it out")
    if full_matrices and compute_uv and a.shape[-2] != a.shape[-1]:
        raise MissingRule(
            f"ad.svd: the full factors of matrices of shape {a.shape[-2:]} have columns that are not determined, "
            "and no derivative: call np.linalg.svd(a, full_matrices=False)"
        )
    u, s, vh = svd_parts(a)
    return _NAMED["svd"](u, s, vh) if compute_uv else s


@composite(np.linalg.svdvals, domain=FULL_RANK, cases=(case((3, 2)), case((2, 3, 3))), singular=_SINGULAR_VALUES)
def svdvals(x):
    return svd_parts(x)[1]


def _push_qr(a_dot, _a, y):
    q, r = y
    scaled = _over(a_dot, r)
    core = matmul(adjoint(q), scaled)
    turn = _skew(_strictly_lower(core)) + _imaginary_diagonal(core)
    return matmul(q, turn - core) + scaled, matmul(core - turn, r)


def _pull_qr(y_bar, _a, y):
    (q_bar, r_bar), (q, r) = y_bar, y
    inner = matmul(adjoint(q), q_bar) - matmul(r_bar, adjoint(r))
    turn = _strictly_lower(inner) - _strictly_lower(adjoint(inner)) + _imaginary_diagonal(inner)
    return _over(matmul(q, turn - inner) + q_bar, adjoint(r))


def _over(x, r):
    """x r^-1."""
    return adjoint(solve(adjoint(r), adjoint(x)))


@custom(outputs=2, domain=FULL_RANK, cases=(case((3, 3)), case((3, 2)), case((2, 3, 2))),
        batches=True, lanes=BROADCASTS, jvp=_push_qr,
        vjp=_pull_qr, singular="columns that are not independent raise LinAlgError, as solve does")
def qr_parts(a):
    """The thin QR decomposition of matrices with no more columns than rows."""
    return tuple(np.linalg.qr(a))


@composite(np.linalg.qr, domain=FULL_RANK, cases=(case((3, 3)), case((3, 2)), case((2, 3)), case((3, 2), mode="r")),
           singular="the first columns must be independent")
def qr(a, mode="reduced"):
    rows, columns = a.shape[-2:]
    if mode not in ("reduced", "r") and not (mode == "complete" and rows <= columns):
        raise MissingRule(f"ad.qr has no rule for mode={mode!r} and matrices of shape {(rows, columns)}: use 'reduced'")
    if rows >= columns:
        q, r = qr_parts(a)
    else:
        q, _ = qr_parts(a[..., :rows])
        r = matmul(adjoint(q), a) * np.triu(np.ones((rows, columns), a.dtype))
    return r if mode == "r" else _NAMED["qr"](q, r)


def _least_squares_parts(a, b, y):
    inverse = pinv(a)
    return inverse, adjoint(inverse), b - matmul(a, y), np.eye(a.shape[-1]) - matmul(inverse, a)


def _push_least_squares(a_dot, a, b, y, *_):
    inverse, inverse_h, residual, right = _least_squares_parts(a, b, y)
    ah_dot = adjoint(a_dot)
    return (
        matmul(matmul(inverse, inverse_h), matmul(ah_dot, residual))
        + matmul(right, matmul(ah_dot, matmul(inverse_h, y))) - matmul(inverse, matmul(a_dot, y))
    )


def _pull_least_squares(y_bar, a, b, y, *_):
    inverse, inverse_h, residual, right = _least_squares_parts(a, b, y)
    back = matmul(inverse_h, y_bar)
    return (
        matmul(residual, adjoint(matmul(inverse, back))) + matmul(matmul(inverse_h, y), adjoint(matmul(right, y_bar)))
        - matmul(back, adjoint(y))
    )


@custom(inputs=2, domain=(FULL_RANK, REAL), cases=(case((3, 2), (3, 2)), case((2, 3), (2, 1))), batches=True,
        jvp=(_push_least_squares, lambda b_dot, a, _b, _y, *_: matmul(pinv(a), b_dot)),
        vjp=(_pull_least_squares, lambda y_bar, a, _b, _y, *_: matmul(adjoint(pinv(a)), y_bar)),
        singular="right along directions that keep the rank")
def least_squares(a, b, rcond=None):
    """The solution of least norm of the least squares problem a x = b, for matrices."""
    return np.linalg.lstsq(a, b, rcond)[0]


@composite(np.linalg.lstsq, domain=(FULL_RANK, REAL), cases=(case((4, 2), (4,)), case((3, 2), (3, 2))))
def lstsq(a, b, rcond=None):
    a, b = operand(a), operand(b)
    x = least_squares(a, b if b.ndim == 2 else reshape(b, (-1, 1)), rcond)
    x = x if b.ndim == 2 else reshape(x, (-1,))
    _, residuals, rank, _ = evaluate(np.linalg.lstsq, (a, b, rcond), {})
    if residuals.size:
        residuals = reshape(sum_(absolute(b - matmul(a, x)) ** 2, axis=0), residuals.shape)
    return x, residuals, rank, svdvals(a)


# -- norms ---------------------------------------------------------------------------------------


def _norm_direction(x, y, order, axis):
    """The gradient of a vector norm; 0 where the norm is 0."""
    size = absolute(x)
    size = size + (size == 0)
    phase = x / size
    y = reshape(y, kept_shape(x.shape, axis))
    if order == 0:
        return np.zeros(x.shape)
    if order == 1:
        return phase
    if abs(order) == math.inf:
        reached = absolute(x) == y
        return phase * (reached / np.sum(reached, axis=axis, keepdims=True))
    y = y + (y == 0)
    return x / y if order == 2 else phase * (size / y) ** (order - 1)


def _push_norm(x_dot, x, y, order, axis, keepdims):
    product = conjugate(_norm_direction(x, y, order, axis)) * x_dot
    return sum_(real(product) if _is_complex(x) else product, axis=axis, keepdims=keepdims)


def _pull_norm(y_bar, x, y, order, axis, keepdims):
    return reshape(y_bar, kept_shape(x.shape, axis)) * _norm_direction(x, y, order, axis)


@custom(domain=NONZERO, batches=True, lanes=BROADCASTS, jvp=_push_norm, vjp=_pull_norm,
        cases=(case((4,), order=2, axis=(-1,), keepdims=False), case((2, 3), order=1, axis=(-2,), keepdims=True),
               case((2, 3), order=math.inf, axis=(-1,), keepdims=False),
               case((2, 3), order=3, axis=(-2, -1), keepdims=False), case((3,), order=0, axis=(-1,), keepdims=False)),
        singular="0 at 0; elements tied for the largest share the gradient of the inf-norm")
def norm_along(x, order, axis, keepdims):
    """The p-norm over axes counted from the last one."""
    return np.linalg.vector_norm(x, ord=order, axis=axis, keepdims=keepdims)


def _from_last(axis, ndim):
    axes = range(ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    return tuple(a if a < 0 else a - ndim for a in axes)


_AT_ZERO = "0 at 0, and for the elements that are 0"


@composite(np.linalg.vector_norm, domain=NONZERO, singular=_AT_ZERO,
           cases=(case((4,)), case((2, 3)), case((2, 3), axis=0, ord=1), case((2, 3), axis=1, ord=-math.inf),
                  case((2, 3, 2), axis=(0, 2), ord=2.5, keepdims=True)))
def vector_norm(x, axis=None, keepdims=False, ord=2):
    x = operand(x)
    return norm_along(x, ord, _from_last(axis, x.ndim), keepdims)


def _norm_of_matrices(x, order, axis, keepdims):
    """Norms of the matrices in two axes."""
    row, column = axis
    if order in (None, "fro", "f"):
        return norm_along(x, 2, axis, keepdims)
    if order in (2, -2, "nuc"):
        rest = [i for i in range(x.ndim) if i - x.ndim not in axis]
        matrices = einsum(x, list(range(x.ndim)), [*rest, row + x.ndim, column + x.ndim])
        y = norm_along(svdvals(matrices), {2: math.inf, -2: -math.inf, "nuc": 1}[order], (-1,), False)
    elif order in (1, -1, math.inf, -math.inf):
        inner, outer = (row, column) if abs(order) == 1 else (column, row)
        y = norm_along(sum_(absolute(x), axis=inner), math.copysign(math.inf, order), (outer + (inner > outer),), False)
    else:
        raise ValueError(f"ad.norm: {order!r} is no norm order for matrices")
    return reshape(y, kept_shape(x.shape, axis)) if keepdims else y


@composite(np.linalg.matrix_norm, domain=FULL_RANK, singular=_AT_ZERO,
           cases=tuple(case((2, 3), ord=o) for o in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf))
           + (case((2, 3, 3), ord=1, keepdims=True),))
def matrix_norm(x, keepdims=False, ord="fro"):
    return norm(x, ord, (-2, -1), keepdims)


@composite(np.linalg.norm, domain=NONZERO, singular=_AT_ZERO,
           cases=(case((4,)), case((2, 3)), case((3,), ord=1), case((3,), ord=math.inf), case((3,), ord=3),
                  case((2, 3), axis=1), case((2, 3), ord="nuc"), case((3, 2), ord=1),
                  case((2, 3, 2), axis=(2, 0), ord=1),
                  case((2, 3, 2), axis=(0, 2), ord=math.inf), case((2, 3, 2), axis=(0, -1), keepdims=True),
                  case((2, 3, 2), axis=(2, 0), ord=2), case((2, 2, 2)), case(())))
def norm(x, ord=None, axis=None, keepdims=False):
    x = operand(x)
    if axis is None and (ord is None or x.ndim == 0):
        x, keepdims = (reshape(x, (1,)), False) if x.ndim == 0 else (x, keepdims)
        return norm_along(x, 2, _from_last(None, x.ndim), keepdims)
    axis = _from_last(axis, x.ndim)
    if len(axis) == 1:
        return norm_along(x, 2 if ord is None else ord, axis, keepdims)
    if len(axis) != 2:
        raise ValueError("ad.norm: a norm is over one axis (of vectors) or two (of matrices)")
    return _norm_of_matrices(x, ord, axis, keepdims)
