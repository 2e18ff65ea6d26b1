"""Inverses, linear systems and determinants of stacks of matrices."""
from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from ad.errors import MissingRule
from ad.ops.contractions import einsum
from ad.ops.costs import of_matrix
from ad.ops.domains import FULL_RANK, INVERTIBLE, REAL
from ad.ops.forms import case, composite, custom
from ad.ops.matrix_products import adjoint, matmul, matrix_transpose, operand
from ad.ops.products import widened
from ad.ops.shaping import broadcast_to, reshape
from ad.ops.structure import NOTHING, Mixing, inverse_mask, mixes_last_axes
from ad.ops.traits import BROADCASTS, Batching
from ad.ops.ufuncs import conjugate, imag, real

__all__ = [
    "SMALL", "det", "inv", "is_complex", "matrix_power", "pinv", "slogdet", "solve", "solve_matrix",
    "substituted", "tensorinv", "tensorsolve",
]

_Slogdet = type(np.linalg.slogdet(np.eye(1)))


def is_complex(x: Any) -> Any:
    return x.dtype.kind == "c"


def _scalars(x: Any) -> Any:
    """One number for each matrix, as its factor."""
    return reshape(x, (*x.shape, 1, 1))


# -- inverses and systems ------------------------------------------------------------------------


@custom(np.linalg.inv, domain=INVERTIBLE, cases=(case((3, 3)), case((2, 2, 2)), case((0, 0))),
        batching=BROADCASTS, jvp=lambda a_dot, _a, y: -matmul(matmul(y, a_dot), y),
        vjp=lambda y_bar, _a, y: -matmul(matmul(matrix_transpose(y), y_bar), matrix_transpose(y)),
        operations=of_matrix, may_raise=True, structure=mixes_last_axes(2, 2))
def inv(a: Any) -> Any:
    return np.linalg.inv(a)


def _push_matrix(a_dot: Any, a: Any, _b: Any, y: Any) -> Any:
    return -solve_matrix(a, matmul(a_dot, y))


def _push_right(b_dot: Any, a: Any, _b: Any, _y: Any) -> Any:
    return solve_matrix(a, b_dot)


def _pull_matrix(y_bar: Any, a: Any, _b: Any, y: Any) -> Any:
    return -matmul(solve_matrix(matrix_transpose(a), y_bar), matrix_transpose(y))


def _pull_right(y_bar: Any, a: Any, _b: Any, _y: Any) -> Any:
    return solve_matrix(matrix_transpose(a), y_bar)


def _structure_of_solution(i: int, xs: Any, y: Any) -> Mixing:
    """The whole matrix, and a column of the right-hand side; of a constant matrix, what its inverse takes of it."""
    return Mixing((-2, -1), (-2, -1)) if i == 0 else Mixing((-2,), (-2,), inverse_mask(xs[0]))


@custom(inputs=2, domain=(INVERTIBLE, REAL), cases=(case((3, 3), (3, 2)), case((2, 2, 2), (1, 2, 3))),
        batching=Batching(broadcasts=True, tangents=(2, 2)),
        jvp=(_push_matrix, _push_right), vjp=(_pull_matrix, _pull_right),
        operations=of_matrix, may_raise=True, structure=_structure_of_solution)
def solve_matrix(a: Any, b: Any) -> Any:
    """a^-1 b, for operands with the same number of axes; b may also have a lane axis more."""
    if math.prod(a.shape[:-2]) == 1 and a.ndim <= b.ndim > 2 and b.size and a.shape[-2:] == 2 * b.shape[-2:-1]:
        return _solved_at_once(a.reshape(a.shape[-2:]), b)
    if a.ndim == 2 and len(a) > SMALL:
        for order, triangle in ((1, a), (-1, a[::-1, ::-1])):
            if _is_lower(triangle):
                return substituted(triangle, b[::order])[::order]
    return np.linalg.solve(a, b)


def _solved_at_once(a: Any, b: Any) -> Any:
    """a^-1 b for many b: their columns are joined in one matrix, so that a is factorised once."""
    columns = np.moveaxis(b, -2, 0)
    x = solve_matrix.op.fn(a, columns.reshape(len(a), -1))
    return np.ascontiguousarray(np.moveaxis(x.reshape(columns.shape), 0, -2))


SMALL = 128  # rows up to which splitting a matrix into blocks does not pay


def _is_lower(a: Any) -> bool:
    """Whether all elements above the diagonal are zero; cheap if they are not."""
    k = len(a) // 2
    if len(a) <= SMALL:
        return not np.triu(a, 1).any()
    return not a[:k, k:].any() and _is_lower(a[:k, :k]) and _is_lower(a[k:, k:])


def substituted(a: Any, b: Any) -> Any:
    """a^-1 b for a lower triangular matrix."""
    k = len(a) // 2
    if len(a) <= SMALL:
        return np.linalg.solve(a, b)
    first = substituted(a[:k, :k], b[:k])
    return np.concatenate([first, substituted(a[k:, k:], b[k:] - a[k:, :k] @ first)])


@composite(np.linalg.solve, domain=(INVERTIBLE, REAL),
           cases=(case((3, 3), (3,)), case((3, 3), (3, 2)), case((2, 2, 2), (2,)), case((2, 2), (3, 2, 1))))
def solve(a: Any, b: Any) -> Any:
    a, b = operand(a), operand(b)
    if a.ndim < 2 or b.ndim < 1:
        raise np.linalg.LinAlgError("ad.solve: the arguments have too few axes")
    if b.ndim == 1:
        x = solve(a, reshape(b, (*b.shape, 1)))
        return reshape(x, x.shape[:-1])
    ndim = max(a.ndim, b.ndim)
    return solve_matrix(widened(a, ndim), widened(b, ndim))


@composite(np.linalg.tensorsolve, domain=REAL, cases=(case((2, 3, 6), (2, 3)), case((4, 2, 2), (4,))))
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    if axes is not None:
        raise MissingRule("ad.tensorsolve has no rule for the argument axes: move the axes of a first")
    a, b = operand(a), operand(b)
    return reshape(solve(reshape(a, (b.size, -1)), reshape(b, (-1,))), a.shape[-(a.ndim - b.ndim) :])


@composite(np.linalg.tensorinv, domain=REAL, cases=(case((2, 3, 6)), case((4, 2, 2), ind=1)))
def tensorinv(a: Any, ind: Any = 2) -> Any:
    a = operand(a)
    if ind <= 0:
        raise ValueError("ad.tensorinv: ind must be positive")
    rows = math.prod(a.shape[:ind])
    return reshape(inv(reshape(a, (rows, -1))), a.shape[ind:] + a.shape[:ind])


def _push_pinv(a_dot: Any, a: Any, y: Any, *_: Any) -> Any:
    left, right = _null_parts(a, y)
    ah_dot, yh = adjoint(a_dot), adjoint(y)
    return matmul(matmul(y, yh), matmul(ah_dot, left)) + matmul(matmul(right, ah_dot), matmul(yh, y)) - matmul(
        matmul(y, a_dot), y
    )


def _pull_pinv(y_bar: Any, a: Any, y: Any, *_: Any) -> Any:
    left, right = _null_parts(a, y)
    yh_bar, yh = adjoint(y_bar), adjoint(y)
    return matmul(left, matmul(yh_bar, matmul(y, yh))) + matmul(matmul(yh, y), matmul(yh_bar, right)) - matmul(
        matmul(yh, y_bar), yh
    )


def _null_parts(a: Any, y: Any) -> tuple[Any, Any]:
    """The projections on the complement of the range of `a`, and on its null space."""
    return np.eye(a.shape[-2]) - matmul(a, y), np.eye(a.shape[-1]) - matmul(y, a)


@custom(np.linalg.pinv, domain=FULL_RANK, cases=(case((3, 2)), case((2, 3)), case((2, 2, 2))),
        batching=BROADCASTS, jvp=_push_pinv, vjp=_pull_pinv, conjugates=False,
        singular="right along directions that keep the rank",
        operations=of_matrix, may_raise=True, structure=mixes_last_axes(2, 2))
def pinv(a: Any, rcond: Any = None, hermitian: bool = False) -> Any:
    return np.linalg.pinv(a, rcond, hermitian)


@composite(np.linalg.matrix_power, domain=INVERTIBLE,
           cases=(case((2, 2), n=3), case((2, 2), n=-2), case((2, 2), n=0), case((2, 2, 2), n=6)))
def matrix_power(a: Any, n: Any) -> Any:
    n = operator.index(n)
    if a.shape[-2] != a.shape[-1]:
        raise ValueError("ad.matrix_power: the matrices must be square")
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


def _cofactors(a: Any, y: Any) -> Any:
    """The derivative of det: y a^-T; by the minors where a matrix is singular."""
    singular = y == 0
    if not (np.any(singular) if y.ndim else singular):
        return _scalars(y) * matrix_transpose(inv(a))
    n = a.shape[-1]
    others = np.array([[k for k in range(n) if k != i] for i in range(n)], dtype=int).reshape(n, n - 1)
    minors = det(a[..., others[:, None, :, None], others[None, :, None, :]])
    return minors * (-1.0) ** np.add.outer(np.arange(n), np.arange(n))


@custom(np.linalg.det, domain=INVERTIBLE, cases=(case((3, 3)), case((2, 2, 2)), case((1, 1))),
        batching=BROADCASTS, jvp=lambda a_dot, a, y: einsum("...ij,...ij->...", _cofactors(a, y), a_dot),
        vjp=lambda y_bar, a, y: _scalars(y_bar) * _cofactors(a, y),
        singular="right at a singular matrix too, to all orders; there at a cost of n^5 operations",
        operations=of_matrix, structure=mixes_last_axes(2, 0))
def det(a: Any) -> Any:
    return np.linalg.det(a)


def _push_slogdet(a_dot: Any, a: Any, y: Any) -> tuple[Any, Any]:
    trace = einsum("...ij,...ji->...", inv(a), a_dot)
    if is_complex(a):
        return y[0] * 1j * imag(trace), real(trace)
    return 0 * trace, trace


def _pull_slogdet(y_bar: Any, a: Any, y: Any) -> Any:
    sign_bar, log_bar = y_bar
    if is_complex(a):
        log_bar = log_bar - 1j * imag(conjugate(sign_bar) * y[0])
    return _scalars(log_bar) * adjoint(inv(a))


def _structure_of_slogdet(_i: int, xs: Any, _y: Any) -> tuple[Any, Any]:
    """The sign is constant, unless it is complex."""
    whole = Mixing((-2, -1), ())
    return whole if is_complex(xs[0]) else NOTHING, whole


@custom(outputs=2, domain=INVERTIBLE, cases=(case((3, 3)), case((2, 2, 2))),
        batching=BROADCASTS, jvp=_push_slogdet,
        vjp=_pull_slogdet, conjugates=False, singular="a singular matrix raises LinAlgError, as inv does",
        operations=of_matrix, structure=_structure_of_slogdet)
def slogdet_parts(a: Any) -> Any:
    """The sign of det(a), and log |det(a)|."""
    return tuple(np.linalg.slogdet(a))


@composite(np.linalg.slogdet, domain=INVERTIBLE, cases=(case((3, 3)),))
def slogdet(a: Any) -> Any:
    return _Slogdet(*slogdet_parts(a))
