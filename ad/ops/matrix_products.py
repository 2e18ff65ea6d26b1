"""The matrix product, and transposes of matrices."""
from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from ad._core import Array
from ad.engine.public_functions import add_method
from ad.engine.writing import assign
from ad.ops.domains import REAL
from ad.ops.forms import case, composite, custom, linear
from ad.ops.joining import asarray
from ad.ops.shape_rules import view
from ad.ops.shaping import reshape
from ad.ops.structure import MOVES, products_of_einsum
from ad.ops.traits import SAME_PARAMS, Batching
from ad.ops.ufuncs import conjugate, multiply

__all__ = ["adjoint", "as_matrices", "dot", "matmul", "matrix_transpose", "operand"]


def operand(x: Any) -> Any:
    """`x` as something with a shape: an Array or an ndarray."""
    return x if isinstance(x, Array) else asarray(x)


def _pull_transpose(y_bar: Any, x: Any) -> Any:
    return matrix_transpose(y_bar)


def _write_transposed(x: Any, y: Any) -> None:
    assign(x, matrix_transpose(y))


@linear(np.matrix_transpose, np.linalg.matrix_transpose, transpose=_pull_transpose,
        batching=SAME_PARAMS, domain=REAL, cases=(case((2, 3)), case((4, 2, 3))), shape_rule=view, structure=MOVES,
        write=_write_transposed)
def matrix_transpose(x: Any) -> Any:
    """The last two axes exchanged."""
    return np.swapaxes(x, -1, -2)


add_method("mT", property(matrix_transpose))


def flipped(x: Any) -> Any:
    """The matrix transpose, at the cost of a view where nothing watches `x`."""
    return np.swapaxes(x.numpy(), -1, -2) if x.is_constant else matrix_transpose(x)


def adjoint(x: Any) -> Any:
    """The conjugate transpose of the matrices in `x`."""
    return matrix_transpose(conjugate(x) if x.dtype.kind == "c" else x)


def _as_rows(x: Any) -> Any:
    return reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


def _pull_first(y_bar: Any, _x1: Any, x2: Any, _y: Any) -> Any:
    if _x1.ndim > 1 and x2.ndim > 1:
        return matmul(y_bar, flipped(x2))
    if x2.ndim == 1:
        return y_bar * x2 if _x1.ndim == 1 else reshape(y_bar, (*y_bar.shape, 1)) * x2
    return matmul(x2, y_bar) if x2.ndim == 2 else _matrix_vector(x2, y_bar)


def _pull_second(y_bar: Any, x1: Any, _x2: Any, _y: Any) -> Any:
    if x1.ndim == 1:
        return y_bar * x1 if _x2.ndim == 1 else reshape(x1, (-1, 1)) * reshape(y_bar, _with_one(y_bar.shape, -1))
    if _x2.ndim == 1:
        return matmul(y_bar, x1) if x1.ndim == 2 else matmul(reshape(y_bar, (-1,)), _as_rows(x1))
    if x1.ndim > 2 == _x2.ndim:  # one product, and no sum over the leading axes afterwards
        return matmul(flipped(_as_rows(x1)), _as_rows(y_bar))
    return matmul(flipped(x1), y_bar)


def _with_one(shape: Any, axis: Any) -> Any:
    return (*shape[:axis], 1, *shape[axis:])


def _matrix_vector(matrix: Any, vector: Any) -> Any:
    """matrix @ vector over leading axes."""
    return reshape(matmul(matrix, reshape(vector, (*vector.shape, 1))), matrix.shape[:-1])


def as_matrices(x: Any, shape: Any, ndim: int) -> Any:
    """Lanes of operands of this shape, as lanes of matrices behind enough axes to broadcast."""
    return reshape(x, (*x.shape[:1], *(1,) * (ndim - len(shape)), *shape))


def _over_lanes(values: Any, xs: Any, y: Any) -> Any:
    """The product of operands like `xs`, of which one or both have lanes.

    Lanes that are rows, or more rows, of one product are that; otherwise vectors become matrices.
    """
    has_lanes = [value.ndim > x.ndim for value, x in zip(values, xs)]
    if has_lanes == [True, False] and xs[1].ndim <= 2:
        return matmul(*values)
    if has_lanes == [False, True] and xs[0].ndim <= 2 and xs[1].ndim == 1:
        return matmul(values[1], values[0] if xs[0].ndim == 1 else matrix_transpose(values[0]))
    k = next(value.shape[0] for value, x in zip(values, xs) if value.ndim > x.ndim)
    shapes = [x.shape if x.ndim > 1 else one for x, one in zip(xs, ((1, *xs[0].shape), (*xs[1].shape, 1)))]
    ndim = builtins.max(map(len, shapes))
    x1, x2 = [as_matrices(value, shape, ndim) if value.ndim > x.ndim else value if x.ndim > 1 else reshape(value, shape)
              for value, x, shape in zip(values, xs, shapes)]
    return reshape(matmul(x1, x2), (k, *y.shape))


def _push_first(x1_dot: Any, _x1: Any, x2: Any, _y: Any) -> Any:
    return matmul(x1_dot, x2) if x1_dot.ndim == _x1.ndim else _over_lanes((x1_dot, x2), (_x1, x2), _y)


def _push_second(x2_dot: Any, x1: Any, _x2: Any, _y: Any) -> Any:
    return matmul(x1, x2_dot) if x2_dot.ndim == _x2.ndim else _over_lanes((x1, x2_dot), (x1, _x2), _y)


def _shape_rule(x1: Any, x2: Any) -> Any:
    """What a product of floating numbers is: vectors are matrices of one row, or one column, that is left out."""
    shape1, shape2, dtype = np.shape(x1), np.shape(x2), np.result_type(x1, x2)
    (*batch1, _, k), (*batch2, also_k, m) = (1,) * (len(shape1) < 2) + shape1, shape2 + (1,) * (len(shape2) < 2)
    if k != also_k or dtype.kind not in "fc":
        return None
    return np.broadcast_shapes(tuple(batch1), tuple(batch2)) + shape1[-2:-1] + (m,) * (len(shape2) > 1), dtype


def _operations(xs: Any, ys: Any) -> int:
    """A product and a sum for each element of a row."""
    return int(2 * ys[0].size * xs[0].shape[-1])


def _structure(_i: int, xs: Any, y: Any) -> Any:
    """Vectors are matrices of one row, or one column, that is left out."""
    row, column = "a" if xs[0].ndim > 1 else "", "c" if xs[1].ndim > 1 else ""
    return products_of_einsum(f"...{row}b,...b{column}->...{row}{column}", xs, y)


@custom(np.matmul, inputs=2, jvp=(_push_first, _push_second), vjp=(_pull_first, _pull_second),
        batching=Batching(rule=_over_lanes, tangents=True), operations=_operations, domain=REAL, structure=_structure,
        shape_rule=_shape_rule,
        cases=(case((2, 3), (3, 4)), case((3,), (3,)), case((2, 3), (3,)), case((3,), (3, 2)), case((2, 2, 3), (3,)),
               case((3,), (2, 3, 4)), case((2, 2, 3), (3, 2)), case((2, 3), (4, 3, 2)),
               case((2, 1, 2, 3), (4, 3, 2)), case((0, 3), (3, 2)), case((2, 0), (0, 3))))
def matmul(x1: Any, x2: Any) -> Any:
    return np.matmul(x1, x2)


@composite(np.dot, domain=REAL, method=True,
           cases=(case((3,), (3,)), case((2, 3), (3,)), case((2, 3), (3, 2)), case((2, 2, 3), (3,)),
                  case((2, 3), (2, 3, 2)), case((), (2, 3)), case((2,), ())))
def dot(a: Any, b: Any) -> Any:
    a, b = operand(a), operand(b)
    if a.ndim == 0 or b.ndim == 0:
        return multiply(a, b)
    return matmul(a, b) if b.ndim <= 2 else np.tensordot(a, b, axes=(-1, -2))
