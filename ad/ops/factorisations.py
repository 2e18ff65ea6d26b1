"""Factorisations of stacks of matrices: Cholesky, eigenvalues, singular values, QR.

An op with several outputs is followed by the function that gives them NumPy's named tuple.
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from ad.engine.variable import stop_gradient
from ad.errors import MissingRule
from ad.ops.contractions import einsum
from ad.ops.costs import of_matrix
from ad.ops.domains import FULL_RANK, INVERTIBLE, REAL, SPD, SYMMETRIC
from ad.ops.forms import case, composite, custom
from ad.ops.matrix_products import adjoint, matmul
from ad.ops.reductions import max as largest
from ad.ops.shaping import reshape
from ad.ops.solvers import SMALL, inv, is_complex, solve, substituted
from ad.ops.structure import Mixing, mixes_last_axes
from ad.ops.traits import BROADCASTS, Batching
from ad.ops.ufuncs import absolute, imag, quotient, real

__all__ = ["cholesky", "cholesky_cotangent", "eigh", "eigh_parts", "eigvalsh", "qr", "svd", "svdvals"]

_NAMED = {name: type(getattr(np.linalg, name)(np.eye(1))) for name in ("eigh", "qr", "svd")}


def _hermitian_part(x: Any) -> Any:
    return (x + adjoint(x)) / 2


def _diagonal(x: Any) -> Any:
    return einsum("...ii->...i", x)


def _real_diagonal(x: Any) -> Any:
    return real(_diagonal(x)) if is_complex(x) else _diagonal(x)


def _on_diagonal(x: Any) -> Any:
    """Diagonal matrices."""
    return _columns(x) * np.eye(x.shape[-1])


def _columns(x: Any) -> Any:
    """A vector's elements as factors of a matrix's columns."""
    return reshape(x, (*x.shape[:-1], 1, x.shape[-1]))


def _rows(x: Any) -> Any:
    return reshape(x, (*x.shape, 1))


def _strictly_lower(x: Any) -> Any:
    return x * np.tril(np.ones(x.shape[-2:]), -1)


def _imaginary_diagonal(x: Any) -> Any:
    """The imaginary part of the diagonal, as a diagonal matrix: 0 for a real x."""
    return 1j * _on_diagonal(imag(_diagonal(x))) if is_complex(x) else 0


def _half_lower(x: Any) -> Any:
    """The lower triangle with half of the diagonal."""
    return x * (np.tril(np.ones(x.shape[-2:])) - np.eye(x.shape[-1]) / 2)


def _push_cholesky(a_dot: Any, _a: Any, y: Any) -> Any:
    inverse = inv(y)
    return matmul(y, _half_lower(matmul(matmul(inverse, _hermitian_part(a_dot)), adjoint(inverse))))


def _pull_cholesky(y_bar: Any, _a: Any, y: Any) -> Any:
    return cholesky_cotangent(y_bar, y)


def _by_inverse(l_bar: Any, factor: Any) -> tuple[Any, Any]:
    """The inverse of the factor; and what the cotangent of its matrix is the Hermitian part of."""
    inverse = inv(factor)
    return inverse, matmul(matmul(adjoint(inverse), _half_lower(matmul(adjoint(factor), l_bar))), inverse)


def _push_cotangent(l_dot: Any, l_bar: Any, factor: Any, _y: Any) -> Any:
    inverse, whole = _by_inverse(l_bar, factor)
    turn = matmul(l_dot, inverse)
    inner = matmul(matmul(adjoint(inverse), _half_lower(matmul(adjoint(l_dot), l_bar))), inverse)
    return _hermitian_part(inner - matmul(adjoint(turn), whole) - matmul(whole, turn))


def _pull_cotangent(y_bar: Any, l_bar: Any, factor: Any, _y: Any) -> Any:
    inverse, whole = _by_inverse(l_bar, factor)
    right = matmul(_hermitian_part(y_bar), adjoint(inverse))
    return matmul(l_bar, adjoint(_half_lower(matmul(inverse, right)))) - 2 * matmul(_hermitian_part(whole), right)


def _push_again(l_bar_dot: Any, _l_bar: Any, factor: Any, _y: Any) -> Any:
    return cholesky_cotangent(l_bar_dot, factor)


@custom(inputs=2, domain=(REAL, INVERTIBLE), cases=(case((3, 3), (3, 3)), case((2, 2, 2), (2, 2, 2))),
        batching=Batching(broadcasts=True, tangents=(2, 2)),
        jvp=(_push_again, _push_cotangent),
        vjp=(lambda y_bar, _l_bar, factor, _y: _push_cholesky(y_bar, None, factor), _pull_cotangent), conjugates=False,
        structure=mixes_last_axes(2, 2))
def cholesky_cotangent(l_bar: Any, factor: Any) -> Any:
    """The cotangent of a Hermitian matrix, from that of its lower Cholesky factor."""
    if factor.ndim > 2 or l_bar.ndim > 2 or len(factor) <= SMALL or is_complex(factor):
        return _hermitian_part(_by_inverse(l_bar, factor)[1])
    return _symmetric_cotangent(l_bar, factor) / 2


def _symmetric_cotangent(l_bar: Any, factor: Any) -> Any:
    """Twice that, for a real matrix, by blocks (I. Murray, arXiv:1602.07527, section 4, with blocks of halves)."""
    k = len(factor) // 2
    if len(factor) <= SMALL:
        whole = _by_inverse(l_bar, factor)[1]
        return whole + whole.T
    corner, left = factor[:k, :k], factor[k:, :k]
    last = _symmetric_cotangent(l_bar[k:, k:], factor[k:, k:])
    below = substituted(corner.T[::-1, ::-1], (l_bar[k:, :k] - last @ left).T[::-1])[::-1]
    first = _symmetric_cotangent(l_bar[:k, :k] - below @ left, corner)
    return np.block([[first, below], [below.T, last]])


_HERMITIAN = "one triangle is read; the derivative is that of the function of the Hermitian part"
_ALL = Mixing((-2, -1), (-2, -1))


def _structure_of_cholesky(_i: int, xs: Any, _y: Any) -> Mixing:
    """Element (i, j) of the factor, i >= j, depends on row i and rows 0 to j, up to column j; and on their mirror."""
    i, j, k, m = np.indices((xs[0].shape[-1],) * 4, sparse=True)
    read = (m <= j) & ((k <= j) | (k == i)) | (k <= j) & (m == i)
    return Mixing((-2, -1), (-2, -1), _of_matrices((i >= j) & read))


def _of_matrices(mask: Any) -> Any:
    """A mask of elements (i, j) and elements (k, m) of matrices, as one of flat elements."""
    return mask.reshape(math.prod(mask.shape[:2]), -1)


@custom(domain=SPD, cases=(case((3, 3)), case((2, 2, 2))),
        batching=BROADCASTS, jvp=_push_cholesky, vjp=_pull_cholesky, conjugates=False,
        singular=_HERMITIAN,
        operations=of_matrix, may_raise=True, structure=_structure_of_cholesky)
def cholesky_lower(a: Any) -> Any:
    """The lower Cholesky factor of the matrices whose lower triangle this is."""
    return np.linalg.cholesky(a)


@composite(np.linalg.cholesky, domain=SPD, cases=(case((3, 3)), case((3, 3), upper=True)), singular=_HERMITIAN)
def cholesky(a: Any, upper: bool = False) -> Any:
    return adjoint(cholesky_lower(adjoint(a))) if upper else cholesky_lower(a)


def _inverse_gaps(gaps: Any) -> Any:
    """1 / gaps, and 0 where there is none: rotations among equal values are left out."""
    return quotient(1.0, gaps)


def _gaps(w: Any) -> Any:
    """w_j - w_i, and 0 for values that are equal but for rounding, by 8 n eps max |w| at most."""
    gaps, known = _columns(w) - _rows(w), stop_gradient(w)
    noise = 8 * w.shape[-1] * np.finfo(w.dtype).eps * largest(absolute(known), axis=-1, keepdims=True, initial=0)
    return gaps * (absolute(stop_gradient(gaps)) > _rows(noise))


def _push_eigh(a_dot: Any, _a: Any, y: Any, _UPLO: Any) -> tuple[Any, Any]:
    w, v = y
    turned = matmul(matmul(adjoint(v), _hermitian_part(a_dot)), v)
    return _real_diagonal(turned), matmul(v, _inverse_gaps(_gaps(w)) * turned)


def _pull_eigh(y_bar: Any, _a: Any, y: Any, _UPLO: Any) -> Any:
    (w_bar, v_bar), (w, v) = y_bar, y
    inner = _on_diagonal(w_bar) + _inverse_gaps(_gaps(w)) * matmul(adjoint(v), v_bar)
    return _hermitian_part(matmul(matmul(v, inner), adjoint(v)))


_EIGENVALUES = "; equal eigenvalues: right for what does not tell them apart, wrong for v f(w) v^H (ad.linalg.funmh)"


@custom(outputs=2, domain=SYMMETRIC, cases=(case((3, 3)), case((2, 2, 2))),
        batching=BROADCASTS, jvp=_push_eigh,
        vjp=_pull_eigh, conjugates=False, singular=_HERMITIAN + _EIGENVALUES,
        operations=of_matrix, may_raise=True,
        structure=lambda *_: (Mixing((-2, -1), (-1,)), _ALL))
def eigh_parts(a: Any, UPLO: Any = "L") -> Any:
    """Eigenvalues in rising order, and eigenvectors as columns."""
    return tuple(np.linalg.eigh(a, UPLO))


@composite(np.linalg.eigh, domain=SYMMETRIC, cases=(case((3, 3)), case((3, 3), UPLO="U")),
           singular=_HERMITIAN + _EIGENVALUES)
def eigh(a: Any, UPLO: str = "L") -> Any:
    return _NAMED["eigh"](*eigh_parts(a, UPLO))


@composite(np.linalg.eigvalsh, domain=SYMMETRIC, cases=(case((3, 3)), case((2, 2, 2))),
           singular=_HERMITIAN + "; equal eigenvalues: second derivatives are right for the sum of all of them")
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    return eigh_parts(a, UPLO)[0]


def _svd_factors(s: Any) -> tuple[Any, Any, Any]:
    """Inverse gaps between singular values, inverse sums of two of them, and their inverses (0 for none).

    With H and K the Hermitian and the skew part of U^H a_dot V, a gap divides H, and a sum divides K: at equal singular
    values the latter is determined as everywhere else.
    """
    sums = _columns(s) + _rows(s)
    others = 1 - np.eye(s.shape[-1], dtype=s.dtype)
    return _inverse_gaps(_gaps(s)), others * _inverse_gaps(sums), _inverse_gaps(s)


def _push_svd(a_dot: Any, a: Any, y: Any) -> tuple[Any, Any, Any]:
    u, s, vh = y
    uh, v = adjoint(u), adjoint(vh)
    gaps, sums, inverses = _svd_factors(s)
    core = matmul(matmul(uh, a_dot), v)
    together, apart = gaps * _hermitian_part(core), sums * _skew(core) / 2
    u_dot = matmul(u, together + apart + _imaginary_diagonal(core) * _columns(inverses))
    v_dot = matmul(v, together - apart)
    if a.shape[-2] > a.shape[-1]:
        along = matmul(a_dot, v)
        u_dot = u_dot + (along - matmul(u, matmul(uh, along))) * _columns(inverses)
    if a.shape[-2] < a.shape[-1]:
        along = matmul(adjoint(a_dot), u)
        v_dot = v_dot + (along - matmul(v, matmul(vh, along))) * _columns(inverses)
    return u_dot, _real_diagonal(core), adjoint(v_dot)


def _skew(x: Any) -> Any:
    return x - adjoint(x)


def _pull_svd(y_bar: Any, a: Any, y: Any) -> Any:
    (u_bar, s_bar, vh_bar), (u, s, vh) = y_bar, y
    uh, v = adjoint(u), adjoint(vh)
    gaps, sums, inverses = _svd_factors(s)
    of_u, of_v = matmul(uh, u_bar), matmul(vh, adjoint(vh_bar))
    core = (
        _on_diagonal(s_bar) + (gaps * _skew(of_u + of_v) + sums * _skew(of_u - of_v)) / 2
        + _imaginary_diagonal(of_u) * _columns(inverses)
    )
    a_bar = matmul(matmul(u, core), vh)
    if a.shape[-2] > a.shape[-1]:
        a_bar = a_bar + matmul((u_bar - matmul(u, of_u)) * _columns(inverses), vh)
    if a.shape[-2] < a.shape[-1]:
        a_bar = a_bar + matmul(u, _rows(inverses) * (vh_bar - matmul(matmul(vh_bar, v), vh)))
    return a_bar


_SINGULAR_VALUES = "equal singular values: right for what does not tell them apart; zero: where they have no part in it"


@custom(outputs=3, domain=FULL_RANK, cases=(case((3, 3)), case((3, 2)), case((2, 3)), case((2, 2, 2))),
        batching=BROADCASTS, jvp=_push_svd, vjp=_pull_svd, conjugates=False, singular=_SINGULAR_VALUES,
        operations=of_matrix, may_raise=True,
        structure=lambda *_: (_ALL, Mixing((-2, -1), (-1,)), _ALL))
def svd_parts(a: Any) -> Any:
    """The thin singular value decomposition."""
    return tuple(np.linalg.svd(a, full_matrices=False))


@composite(np.linalg.svd, domain=FULL_RANK, singular=_SINGULAR_VALUES,
           cases=(case((3, 3)), case((3, 2), full_matrices=False), case((2, 3), compute_uv=False)))
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
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
def svdvals(x: Any) -> Any:
    return svd_parts(x)[1]


def _push_qr(a_dot: Any, _a: Any, y: Any) -> tuple[Any, Any]:
    q, r = y
    scaled = _over(a_dot, r)
    core = matmul(adjoint(q), scaled)
    turn = _skew(_strictly_lower(core)) + _imaginary_diagonal(core)
    return matmul(q, turn - core) + scaled, matmul(core - turn, r)


def _pull_qr(y_bar: Any, _a: Any, y: Any) -> Any:
    (q_bar, r_bar), (q, r) = y_bar, y
    inner = matmul(adjoint(q), q_bar) - matmul(r_bar, adjoint(r))
    turn = _strictly_lower(inner) - _strictly_lower(adjoint(inner)) + _imaginary_diagonal(inner)
    return _over(matmul(q, turn - inner) + q_bar, adjoint(r))


def _over(x: Any, r: Any) -> Any:
    """x r^-1."""
    return adjoint(solve(adjoint(r), adjoint(x)))


def _structure_of_qr(_i: int, xs: Any, _y: Any) -> tuple[Mixing, Mixing]:
    """Column j of q depends on columns 0 to j; element (i, j) of r, i <= j, on columns 0 to i and on column j."""
    rows, columns = xs[0].shape[-2:]
    _, j, _, m = np.indices((rows, columns, rows, columns), sparse=True)
    q = np.broadcast_to(m <= j, (rows, columns, rows, columns))
    i, j, _, m = np.indices((columns, columns, rows, columns), sparse=True)
    r = np.broadcast_to((i <= j) & ((m <= i) | (m == j)), (columns, columns, rows, columns))
    return Mixing((-2, -1), (-2, -1), _of_matrices(q)), Mixing((-2, -1), (-2, -1), _of_matrices(r))


@custom(outputs=2, domain=FULL_RANK, cases=(case((3, 3)), case((3, 2)), case((2, 3, 2))),
        batching=BROADCASTS, jvp=_push_qr,
        vjp=_pull_qr, conjugates=False, singular="columns that are not independent raise LinAlgError, as solve does",
        operations=of_matrix, structure=_structure_of_qr)
def qr_parts(a: Any) -> Any:
    """The thin QR decomposition of matrices with no more columns than rows."""
    return tuple(np.linalg.qr(a))


@composite(np.linalg.qr, domain=FULL_RANK, cases=(case((3, 3)), case((3, 2)), case((2, 3)), case((3, 2), mode="r")),
           singular="the first columns must be independent")
def qr(a: Any, mode: str = "reduced") -> Any:
    rows, columns = a.shape[-2:]
    if mode not in ("reduced", "r") and not (mode == "complete" and rows <= columns):
        raise MissingRule(f"ad.qr has no rule for mode={mode!r} and matrices of shape {(rows, columns)}: use 'reduced'")
    if rows >= columns:
        q, r = qr_parts(a)
    else:
        q, _ = qr_parts(a[..., :rows])
        r = matmul(adjoint(q), a) * np.triu(np.ones((rows, columns), a.dtype))
    return r if mode == "r" else _NAMED["qr"](q, r)
