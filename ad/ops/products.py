"""Products written with `matmul` and `einsum`; cross products, convolutions and polynomials."""
from __future__ import annotations

import builtins
import itertools
import string
from typing import Any

import numpy as np

from ad._core import Array, apply
from ad.errors import MissingRule
from ad.ops.contractions import contract, einsum, rearrange
from ad.ops.domains import REAL
from ad.ops.forms import bilinear, case, composite, numpy_signature, stacked
from ad.ops.indexing import getitem, put_zeros
from ad.ops.joining import asarray
from ad.ops.matrix_products import matmul, operand
from ad.ops.shaping import reshape
from ad.ops.structure import Products, numbers_of
from ad.ops.traits import Batching
from ad.ops.ufuncs import conjugate, multiply

__all__ = [
    "convolve", "cross", "cross_along", "cross_of_vectors", "inner", "kron", "matvec", "multi_dot", "outer",
    "outer_of_vectors", "polyval", "tensordot", "vdot", "vecdot", "vecmat", "widened",
]

normalize_axis_index = np.lib.array_utils.normalize_axis_index


@composite(np.inner, domain=REAL, cases=(case((3,), (3,)), case((2, 3), (3,)), case((2, 3), (4, 3)), case((), (3,))))
def inner(a: Any, b: Any) -> Any:
    a, b = operand(a), operand(b)
    return multiply(a, b) if a.ndim == 0 or b.ndim == 0 else tensordot(a, b, axes=(-1, -1))


@composite(np.outer, domain=REAL, cases=(case((2,), (3,)), case((2, 2), (3,)), case((), (2,))))
def outer(a: Any, b: Any) -> Any:
    a, b = operand(a), operand(b)
    return multiply(reshape(a, (a.size, 1)), reshape(b, (1, b.size)))


@composite(np.linalg.outer, domain=REAL, cases=(case((2,), (3,)),))
def outer_of_vectors(x1: Any, x2: Any) -> Any:
    """The outer product, as `np.linalg.outer`: of vectors only."""
    x1, x2 = operand(x1), operand(x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError("ad.linalg.outer: the arguments must be vectors")
    return outer(x1, x2)


def _conjugated(x: Any) -> Any:
    """The conjugate, of which NumPy's ufunc would make integers of truths."""
    return conjugate(x) if x.dtype.kind == "c" else x


@composite(np.vdot, domain=REAL, cases=(case((3,), (3,)), case((2, 3), (3, 2))))
def vdot(a: Any, b: Any) -> Any:
    a, b = operand(a), operand(b)
    return matmul(reshape(_conjugated(a), (a.size,)), reshape(b, (b.size,)))


@composite(np.tensordot, np.linalg.tensordot, domain=REAL,
           cases=(case((2, 3, 4), (3, 4, 2)), case((2, 3), (3, 2), axes=1), case((2,), (3,), axes=0),
                  case((2, 3, 4), (4, 3), axes=((1, 2), (1, 0))), case((2, 3), (2, 4), axes=(0, 0))))
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    a, b = operand(a), operand(b)
    try:
        axes_a, axes_b = axes
    except TypeError:
        axes_a, axes_b = range(-axes, 0), range(axes)
    axes_a, axes_b = (list(axes) if np.iterable(axes) else [axes] for axes in (axes_a, axes_b))
    if len({*axes_a}) < len(axes_a) or len({*axes_b}) < len(axes_b):
        raise ValueError("duplicate axes are not allowed in tensordot")
    if [a.shape[i] for i in axes_a] != [b.shape[i] for i in axes_b]:
        raise ValueError(f"ad.tensordot: shapes {a.shape} and {b.shape} do not match along axes {axes_a} and {axes_b}")
    axes_a, axes_b = [axis % a.ndim for axis in axes_a], [axis % b.ndim for axis in axes_b]
    of_a, of_b = string.ascii_letters[: a.ndim], list(string.ascii_letters[a.ndim : a.ndim + b.ndim])
    for i, j in zip(axes_a, axes_b):
        of_b[j] = of_a[i]
    kept = [label for label in (*of_a, *of_b) if label not in of_b or label not in of_a]
    return contract(a, b, f"...{of_a},...{''.join(of_b)}->...{''.join(kept)}")


@composite(np.kron, domain=REAL, cases=(case((2,), (3,)), case((2, 3), (3, 2)), case((2, 3), (2,)), case((), (2,))))
def kron(a: Any, b: Any) -> Any:
    a, b = operand(a), operand(b)
    ndim = builtins.max(a.ndim, b.ndim)
    a, b = widened(a, ndim), widened(b, ndim)
    product = multiply(
        reshape(a, tuple(n for m in a.shape for n in (m, 1))), reshape(b, tuple(n for m in b.shape for n in (1, m)))
    )
    return reshape(product, tuple(m * n for m, n in zip(a.shape, b.shape)))


def widened(x: Any, ndim: int) -> Any:
    """The axes of `x` behind enough of length 1 to make `ndim`."""
    return reshape(x, ((1,) * (ndim - x.ndim) + x.shape)) if x.ndim < ndim else x


def _pull_left(y_bar: Any, _x1: Any, x2: Any) -> Any:
    return cross_of_vectors(x2, y_bar)


def _pull_right(y_bar: Any, x1: Any, _x2: Any) -> Any:
    return cross_of_vectors(y_bar, x1)


def _structure_of_cross(_i: int, xs: Any, y: Any) -> Products:
    """`y[0] = a[1] b[2] - a[2] b[1]`, and so on around."""
    first, second, output = (np.broadcast_to(numbers_of(x), y.shape) for x in (*xs, y))
    turned = [(k, (k + 1) % 3, (k + 2) % 3) for k in range(3)]
    orders = np.array([*turned, *[(k, j, i) for k, i, j in turned]])
    first, second, output = first[..., orders[:, 1]], second[..., orders[:, 2]], output[..., orders[:, 0]]
    signs = np.broadcast_to([1.0, 1.0, 1.0, -1.0, -1.0, -1.0], output.shape)
    return Products(first.reshape(-1), second.reshape(-1), output.reshape(-1), signs.reshape(-1))


@bilinear(batching=Batching(broadcasts=True, tangents=(1, 1)), domain=(REAL, REAL), structure=_structure_of_cross,
          cases=(case((3,), (3,)), case((2, 3), (1, 3))), transposes=(_pull_left, _pull_right))
def cross_of_vectors(x1: Any, x2: Any) -> Any:
    """The cross product along last axes of length 3, of operands with as many axes."""
    return np.cross(x1, x2)


@composite(np.cross, domain=REAL,
           cases=(case((3,), (3,)), case((2, 3), (3,)), case((3, 2), (3, 2), axis=0), case((2, 3), (2,)),
                  case((3, 2), (2, 3), axisa=0, axisc=0)))
def cross(a: Any, b: Any, axisa: Any = -1, axisb: Any = -1, axisc: Any = -1, axis: Any = None) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = _moved(operand(a), axisa, -1), _moved(operand(b), axisb, -1)
    if not {a.shape[-1], b.shape[-1]} <= {2, 3}:
        raise ValueError("ad.cross: the vectors must have 2 or 3 components")
    flat = a.shape[-1] == b.shape[-1] == 2
    ndim = builtins.max(a.ndim, b.ndim)
    product = cross_of_vectors(widened(_in_space(a), ndim), widened(_in_space(b), ndim))
    return product[..., 2] if flat else _moved(product, -1, axisc)


@composite(np.linalg.cross, domain=REAL, cases=(case((3,), (3,)), case((3, 2), (3, 2), axis=0)))
def cross_along(x1: Any, x2: Any, axis: Any = -1) -> Any:
    """The cross product along one axis, as `np.linalg.cross`."""
    x1, x2 = operand(x1), operand(x2)
    if x1.shape[axis] != 3 or x2.shape[axis] != 3:
        raise ValueError("ad.linalg.cross: the vectors must have 3 components")
    return cross(x1, x2, axis=axis)


def _in_space(x: Any) -> Any:
    """Vectors with a third component, 0 where they had two."""
    return x if x.shape[-1] == 3 else put_zeros(x, (..., slice(0, 2)), (*x.shape[:-1], 3))


def _moved(x: Any, source: Any, destination: Any) -> Any:
    order = list(string.ascii_letters[: x.ndim])
    labels = "".join(order)
    source, destination = (normalize_axis_index(axis, x.ndim) for axis in (source, destination))
    order.insert(destination, order.pop(source))
    return x if order == list(labels) else rearrange(x, f"{labels}->{''.join(order)}")


@composite(np.linalg.multi_dot, domain=REAL, sequence=True,
           cases=(case([(2, 3), (3, 4), (4, 2)]), case([(3,), (3, 4), (4, 2), (2,)]), case([(2, 3), (3,)])))
def multi_dot(arrays: Any) -> Any:
    """The matrix product of several arrays in the cheapest order; the first and the last may be vectors."""
    arrays = [operand(x) for x in arrays]
    if len(arrays) < 2:
        raise ValueError("Expecting at least two arrays.")
    if any(a.shape[-1] != b.shape[0] for a, b in itertools.pairwise(arrays)):
        raise ValueError("ad.linalg.multi_dot: the shapes do not match")
    last = len(arrays)
    ends = {
        0: [1] if arrays[0].ndim == 1 else [0, 1],
        last - 1: [last - 1] if arrays[-1].ndim == 1 else [last - 1, last],
    }
    labels = [ends.get(k, [k, k + 1]) for k in range(last)]
    output = ([0] if len(labels[0]) == 2 else []) + ([last] if len(labels[-1]) == 2 else [])
    return einsum(*(part for pair in zip(arrays, labels) for part in pair), output)


# -- NumPy's vector gufuncs, where this NumPy has them --------------------------------------------


def _gufunc(name: str) -> Any:
    return tuple(getattr(module, name) for module in (np, np.linalg) if hasattr(module, name))


def _check_core(n: Any, m: Any) -> None:
    """Refuse core dimensions that differ: a length of 1 is not broadcast there."""
    if n != m:
        raise ValueError(f"ad: vectors of length {m} do not match a core dimension of length {n}")


@composite(*_gufunc("vecdot"), domain=REAL, cases=(case((3,), (3,)), case((2, 3), (3,)), case((3, 2), (3, 2), axis=0)))
def vecdot(x1: Any, x2: Any, axis: Any = -1) -> Any:
    """The inner products along an axis, conjugating the first operand."""
    x1, x2 = _moved(operand(x1), axis, -1), _moved(operand(x2), axis, -1)
    _check_core(x1.shape[-1], x2.shape[-1])
    return einsum("...i,...i->...", _conjugated(x1), x2)


@composite(*_gufunc("matvec"), domain=REAL, cases=(case((2, 3), (3,)), case((2, 2, 3), (3,)), case((2, 3), (2, 3))))
def matvec(x1: Any, x2: Any) -> Any:
    """Matrices times vectors, over leading axes."""
    x1, x2 = operand(x1), operand(x2)
    _check_core(x1.shape[-1], x2.shape[-1])
    return einsum("...ij,...j->...i", x1, x2)


@composite(*_gufunc("vecmat"), domain=REAL, cases=(case((2,), (2, 3)), case((2, 2), (2, 2, 3))))
def vecmat(x1: Any, x2: Any) -> Any:
    """Conjugated vectors times matrices, over leading axes."""
    x1, x2 = operand(x1), operand(x2)
    _check_core(x1.shape[-1], x2.shape[-2])
    return einsum("...i,...ij->...j", _conjugated(x1), x2)


# -- polynomials and convolutions --------------------------------------------------------------------


def _turned(x: Any) -> Any:
    return getitem(x, slice(None, None, -1))


def _pull_longer(y_bar: Any, _a: Any, v: Any, mode: Any) -> Any:
    return _convolve(y_bar, _turned(v), "valid" if mode == "full" else "full")


def _pull_shorter(y_bar: Any, a: Any, _v: Any, mode: Any) -> Any:
    return _convolve(y_bar, _turned(a), "valid") if mode == "full" else _turned(_convolve(a, _turned(y_bar), "valid"))


def _structure_of_convolution(_i: int, xs: Any, y: Any, mode: str) -> Products:
    first, second = np.indices((xs[0].size, xs[1].size)).reshape(2, -1)
    output = first + second - (xs[1].size - 1 if mode == "valid" else 0)
    kept = (output >= 0) & (output < y.size)
    return Products(first[kept], second[kept], output[kept])


@bilinear(transposes=(_pull_longer, _pull_shorter), domain=REAL, structure=_structure_of_convolution)
def _convolve(a: Any, v: Any, mode: Any) -> Any:
    """Of vectors, of which the first is not the shorter one; mode "full" or "valid"."""
    return np.convolve(a, v, mode)


@numpy_signature("convolve", np.convolve, cases=(
    case((4,), (3,)), case((2,), (4,), "same"), case((5,), (2,), "same"), case((3,), (5,), mode="valid"),
    case((4,), ()), case((3,), (3,), "same"),
))
def convolve(a: Any, v: Any, mode: Any = "full") -> Any:
    a, v = stacked(a), stacked(v)
    if not isinstance(a, Array) and not isinstance(v, Array):
        return np.convolve(a, v, mode)
    a, v = (reshape(x, (1,)) if x.ndim == 0 else x for x in (asarray(a), asarray(v)))
    if a.ndim > 1 or v.ndim > 1:
        raise ValueError(f"ad.convolve: the arguments have shapes {a.shape} and {v.shape}; it is for vectors")
    if not a.size or not v.size:
        raise ValueError(f"{'a' if not a.size else 'v'} cannot be empty")
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"mode must be one of 'valid', 'same', or 'full' (got {mode!r})")
    if v.size > a.size:
        a, v = v, a
    y = apply(_convolve.op, (a, v), ("valid" if mode == "valid" else "full",))
    if mode != "same":
        return y
    start = v.size - 1 - v.size // 2
    return getitem(y, slice(start, start + a.size))


@composite(np.polyval, domain=REAL, cases=(
    case((3,), (4,)), case((3,), ()), case([1.0, 0.0, -2.0], (2, 3)), case((1,), (2,)),
))
def polyval(p: Any, x: Any) -> Any:
    if isinstance(x, np.poly1d):
        raise MissingRule("ad.polyval has no rule for a polynomial in the place of x; give it arrays")
    p, x = asarray(p), asarray(x)
    y = np.zeros(x.shape, x.dtype)
    for i in range(p.shape[0]):
        y = y * x + p[i]
    return y
