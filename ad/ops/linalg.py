"""Linear algebra on stacks of matrices: the last two axes are the matrix, the others a batch.

Functions of a Hermitian matrix read one triangle of it, as NumPy's do; their derivative is that of the
function of the Hermitian part (JAX's and PyTorch's convention), so that the gradient is Hermitian.
"""
from __future__ import annotations

# Least squares and norms are made here; the rest comes from `solvers`, `factorisations` and `matrix_functions`.
import math
from typing import Any

import numpy as np

from ad.ops.axes import kept_shape, reduced_shape_rule
from ad.ops.contractions import einsum
from ad.ops.costs import of_matrix
from ad.ops.domains import FULL_RANK, NONZERO, REAL
from ad.ops.factorisations import cholesky, eigh, eigvalsh, qr, svd, svdvals
from ad.ops.forms import case, composite, custom, point
from ad.ops.matrix_functions import expmh, funmh, logmh, powmh, sqrtmh
from ad.ops.matrix_products import adjoint, matmul, operand
from ad.ops.nondifferentiable import evaluate
from ad.ops.reductions import sum as sum_
from ad.ops.shaping import reshape
from ad.ops.solvers import det, inv, is_complex, matrix_power, pinv, slogdet, solve, tensorinv, tensorsolve
from ad.ops.structure import NOTHING, Mixing, reduces
from ad.ops.traits import BROADCASTS, Batching
from ad.ops.ufuncs import absolute, conjugate, phase, quotient, real, scale

__all__ = [
    "cholesky", "det", "eigh", "eigvalsh", "expmh", "funmh", "inv", "logmh", "lstsq", "matrix_norm", "matrix_power",
    "norm", "pinv", "powmh", "qr", "slogdet", "solve", "sqrtmh", "svd", "svdvals", "tensorinv", "tensorsolve",
    "vector_norm",
]


# -- least squares -------------------------------------------------------------------------------


def _least_squares_parts(a: Any, b: Any, y: Any) -> tuple[Any, Any, Any, Any]:
    inverse = pinv(a)
    return inverse, adjoint(inverse), b - matmul(a, y), np.eye(a.shape[-1]) - matmul(inverse, a)


def _push_least_squares(a_dot: Any, a: Any, b: Any, y: Any, *_: Any) -> Any:
    inverse, inverse_h, residual, right = _least_squares_parts(a, b, y)
    ah_dot = adjoint(a_dot)
    return (
        matmul(matmul(inverse, inverse_h), matmul(ah_dot, residual))
        + matmul(right, matmul(ah_dot, matmul(inverse_h, y))) - matmul(inverse, matmul(a_dot, y))
    )


def _pull_least_squares(y_bar: Any, a: Any, b: Any, y: Any, *_: Any) -> Any:
    inverse, inverse_h, residual, right = _least_squares_parts(a, b, y)
    back = matmul(inverse_h, y_bar)
    return (
        matmul(residual, adjoint(matmul(inverse, back))) + matmul(matmul(inverse_h, y), adjoint(matmul(right, y_bar)))
        - matmul(back, adjoint(y))
    )


@custom(inputs=2, domain=(FULL_RANK, REAL), cases=(case((3, 2), (3, 2)), case((2, 3), (2, 1))),
        batching=Batching(tangents=(2, 2)),
        jvp=(_push_least_squares, lambda b_dot, a, _b, _y, *_: matmul(pinv(a), b_dot)),
        vjp=(_pull_least_squares, lambda y_bar, a, _b, _y, *_: matmul(adjoint(pinv(a)), y_bar)),
        conjugates=False,
        singular="right along directions that keep the rank",
        operations=of_matrix, may_raise=True,
        structure=lambda i, *_: Mixing((0,), (0,)) if i else Mixing((0, 1), (0, 1)))
def least_squares(a: Any, b: Any, rcond: Any = None) -> Any:
    """The solution of least norm of the least squares problem a x = b, for matrices."""
    return np.linalg.lstsq(a, b, rcond)[0]


@composite(np.linalg.lstsq, domain=(FULL_RANK, REAL), cases=(case((4, 2), (4,)), case((3, 2), (3, 2))))
def lstsq(a: Any, b: Any, rcond: Any = None) -> tuple[Any, Any, Any, Any]:
    a, b = operand(a), operand(b)
    x = least_squares(a, b if b.ndim == 2 else reshape(b, (-1, 1)), rcond)
    x = x if b.ndim == 2 else reshape(x, (-1,))
    _, residuals, rank, _ = evaluate(np.linalg.lstsq, (a, b, rcond), {})
    if residuals.size:
        residuals = reshape(sum_(absolute(b - matmul(a, x)) ** 2, axis=0), residuals.shape)
    return x, residuals, rank, svdvals(a)


# -- norms ---------------------------------------------------------------------------------------


def _norm_direction(x: Any, y: Any, order: Any, axis: Any) -> Any:
    """The gradient of a vector norm; 0 where the norm is 0."""
    y = reshape(y, kept_shape(x.shape, axis))
    if order == 0:
        return np.zeros(x.shape)
    if order == 1:
        return phase(x)
    if order == 2:
        return quotient(x, y)
    if abs(order) == math.inf:
        reached = absolute(x) == y
        return phase(x) * (reached / np.sum(reached, axis=axis, keepdims=True))
    size = quotient(absolute(x), y)  # to a power that may be infinite where it is 0
    if order > 1:
        return scale(quotient(x, y), size ** (order - 2))
    return scale(phase(x) * (y != 0), size ** (order - 1))


def _norm_radicand(x: Any, order: Any, axis: Any, keepdims: bool) -> Any:
    """The sum of powers of which the norm is a root."""
    if not 1 < order < math.inf:
        return None
    return (lambda: sum_(absolute(x) ** order, axis=axis, keepdims=keepdims)), 1 / order


def _push_norm(x_dot: Any, x: Any, y: Any, order: Any, axis: Any, keepdims: bool) -> Any:
    product = scale(x_dot, conjugate(_norm_direction(x, y, order, axis)))
    return sum_(real(product) if is_complex(x) else product, axis=axis, keepdims=keepdims)


def _pull_norm(y_bar: Any, x: Any, y: Any, order: Any, axis: Any, keepdims: bool) -> Any:
    return scale(reshape(y_bar, kept_shape(x.shape, axis)), _norm_direction(x, y, order, axis))


@custom(domain=NONZERO, batching=BROADCASTS, jvp=_push_norm, vjp=_pull_norm, conjugates=False,
        cases=(case((4,), order=2, axis=(-1,), keepdims=False), case((2, 3), order=1, axis=(-2,), keepdims=True),
               case((2, 3), order=math.inf, axis=(-1,), keepdims=False),
               case((2, 3), order=3, axis=(-2, -1), keepdims=False), case((3,), order=0, axis=(-1,), keepdims=False)),
        singular="0 at 0; elements tied for the largest share the gradient of the inf-norm",
        shape_rule=lambda x, _order, axis, keepdims: reduced_shape_rule(x.real, axis, keepdims),
        radicand=_norm_radicand,
        structure=lambda i, xs, y, order, *axes: reduces(i, xs, y, *axes) if order != 0 else NOTHING)
def norm_along(x: Any, order: Any, axis: Any, keepdims: bool) -> Any:
    """The p-norm over axes counted from the last one."""
    return np.linalg.vector_norm(x, ord=order, axis=axis, keepdims=keepdims)


def _from_last(axis: Any, ndim: int) -> Any:
    axes = range(ndim) if axis is None else np.lib.array_utils.normalize_axis_tuple(axis, ndim)
    return tuple(a - ndim for a in axes)


def _axis_of_norm(axis: Any) -> Any:
    """An axis as NumPy's norms want it: None, a tuple, or anything that is an integer."""
    return axis if axis is None or isinstance(axis, tuple) else int(axis)


def _check_order(order: Any) -> None:
    """One norm at a time: NumPy takes a sequence of one order, and gives the result one more axis."""
    if isinstance(order, (tuple, list, np.ndarray)):
        raise TypeError(f"ad: the order of a norm is a number, not {order!r}")


_AT_ZERO = "0 at 0, and for the elements that are 0"
_POINTS = tuple(
    point((0.0, 0.0), first=0, second=0, third=0, ord=order) for order in (0.5, 1, 1.5, 2, 3, math.inf)
) + tuple(
    point((0.0, 2.0), first=(0, 1), second=0, third=0, ord=order) for order in (0.5, 1, 3, 4, math.inf)
) + (
    point((0.0, 2.0), first=(0, 1), second=((0.5, 0), (0, 0)), ord=2),
    point((0.0, 2.0), first=(0, 1), second=((math.inf, 0), (0, 0)), ord=1.5),
    point((0.0, 2.0), first=0, second=0, ord=-1), point((2.0, -2.0), first=(0.5, -0.5), second=0, ord=math.inf),
)


@composite(np.linalg.vector_norm, domain=NONZERO, singular=_AT_ZERO, points=_POINTS,
           cases=(case((4,)), case((2, 3)), case((2, 3), axis=0, ord=1), case((2, 3), axis=1, ord=-math.inf),
                  case((2, 3, 2), axis=(0, 2), ord=2.5, keepdims=True)))
def vector_norm(x: Any, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    _check_order(ord)
    x = operand(x)
    return norm_along(x, ord, _from_last(_axis_of_norm(axis), x.ndim), keepdims)


def _norm_of_matrices(x: Any, order: Any, axis: Any, keepdims: bool) -> Any:
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
def matrix_norm(x: Any, keepdims: bool = False, ord: Any = "fro") -> Any:
    return norm(x, ord, (-2, -1), keepdims)


@composite(np.linalg.norm, domain=NONZERO, singular=_AT_ZERO, points=_POINTS,
           cases=(case((4,)), case((2, 3)), case((3,), ord=1), case((3,), ord=math.inf), case((3,), ord=3),
                  case((2, 3), axis=1), case((2, 3), ord="nuc"), case((3, 2), ord=1),
                  case((2, 3, 2), axis=(2, 0), ord=1),
                  case((2, 3, 2), axis=(0, 2), ord=math.inf), case((2, 3, 2), axis=(0, -1), keepdims=True),
                  case((2, 3, 2), axis=(2, 0), ord=2), case((2, 2, 2)), case(())))
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    _check_order(ord)
    x = operand(x)
    if axis is None and (ord is None or x.ndim == 0):
        x, keepdims = (reshape(x, (1,)), False) if x.ndim == 0 else (x, keepdims)
        return norm_along(x, 2, _from_last(None, x.ndim), keepdims)
    axis = _from_last(_axis_of_norm(axis), x.ndim)
    if len(axis) == 1:
        return norm_along(x, 2 if ord is None else ord, axis, keepdims)
    if len(axis) != 2:
        raise ValueError("ad.norm: a norm is over one axis (of vectors) or two (of matrices)")
    return _norm_of_matrices(x, ord, axis, keepdims)
