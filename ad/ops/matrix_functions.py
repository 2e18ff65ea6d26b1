"""Functions of Hermitian matrices: square root, power, logarithm, exponential, and any function of the eigenvalues.

Their derivatives are right at equal eigenvalues, to all orders: they are sums over divided differences of the function
(docs/theory/linalg.md), and not derivatives of eigenvectors.
"""
from __future__ import annotations

import itertools
import math
import string
from collections.abc import Callable
from typing import Any

import numpy as np

from ad._core import Array
from ad.engine.array import is_traced
from ad.engine.variable import stop_gradient
from ad.errors import kind
from ad.ops.batching import total
from ad.ops.divided_differences import divided_differences
from ad.ops.domains import REAL, SPD, SYMMETRIC
from ad.ops.factorisations import eigh_parts
from ad.ops.forms import case, composite, custom
from ad.ops.matrix_products import adjoint, operand
from ad.ops.shaping import reshape
from ad.ops.structure import NOTHING, Mixing
from ad.ops.traits import Batching

__all__ = ["expmh", "funmh", "logmh", "powmh", "spectral_sum", "sqrtmh"]

MOST = 31  # inputs of an op of which a rule can say whether it needs their values


def _hermitian_part(x: Any) -> Any:
    return (x + adjoint(x)) / 2


# -- the op: a matrix function, and its derivatives of all orders --------------------------------------
#
# Its inputs are a, w, v and k directions, where w (as a row) and v are the eigenvalues and eigenvectors of a. They are
# inputs so that they are computed once for all orders; the derivative is that of a function of a alone.


def _push_matrix(a_dot: Any, *rest: Any) -> Any:
    """The derivative with respect to the matrix: its direction comes in every place between the others."""
    a, w, v, *directions, _, function = rest
    a_dot = _hermitian_part(a_dot)
    return total(spectral_sum((a, w, v, *directions[:k], a_dot, *directions[k:]), function)
                 for k in range(len(directions) + 1))


def _pull_matrix(y_bar: Any, *rest: Any) -> Any:
    a, w, v, *directions, _, function = rest
    return _hermitian_part(total(
        spectral_sum((a, w, v, *_turned(directions[:k]), y_bar, *_turned(directions[k:])), function)
        for k in range(len(directions) + 1)
    ))


def _turned(directions: Any) -> list[Any]:
    """The adjoint of a product, factor by factor."""
    return [adjoint(direction) for direction in reversed(directions)]


def _push_direction(k: Any) -> Callable[..., Any]:
    def push(x_dot: Any, *rest: Any) -> Any:
        a, w, v, *directions, _, function = rest
        return spectral_sum((a, w, v, *directions[:k], x_dot, *directions[k + 1 :]), function)

    return push


def _pull_direction(k: Any) -> Callable[..., Any]:
    def pull(y_bar: Any, *rest: Any) -> Any:
        a, w, v, *directions, _, function = rest
        return spectral_sum((a, w, v, *_turned(directions[:k]), y_bar, *_turned(directions[k + 1 :])), function)

    return pull


_DIRECTIONS = range(MOST - 3)


@custom(inputs=None, batching=Batching(broadcasts=True, tangents=2), domain=REAL,
        structure=lambda i, *_: NOTHING if i in (1, 2) else Mixing((-2, -1), (-2, -1)),
        jvp=(_push_matrix, None, None, *map(_push_direction, _DIRECTIONS)),
        vjp=(_pull_matrix, None, None, *map(_pull_direction, _DIRECTIONS)), conjugates=False,
        cases=tuple(case([np.diag([1, 2]), np.array([[1, 2]]), np.eye(2, dtype=int), *directions],
                         function=("power", 0.5)) for directions in ([(2, 2)], [(2, 2), (2, 2)])))
def spectral_sum(arrays: Any, function: Any) -> Any:
    """V M V^H, where M sums f[w_i, w_j, ...] x_ij y_jk ... over inner indices; X is V^H E_1 V, and so on.

    Without directions E_k that is f(a), with one of them the derivative of f(a) along it (docs/theory/linalg.md).
    """
    _, w, v, *directions = arrays
    differences = _differences(function, w[..., 0, :], len(directions))
    vh = np.conjugate(np.swapaxes(v, -1, -2))
    if directions:
        return v @ _contracted(differences, [vh @ direction @ v for direction in directions]) @ vh
    y = (v * differences[..., None, :]) @ vh
    return (y + np.conjugate(np.swapaxes(y, -1, -2))) / 2


def _differences(function: Any, w: Any, order: Any) -> Any:
    """The divided differences, computed in double precision, in that of w."""
    name, *parameters = function
    y = divided_differences(lambda x, m: _DERIVATIVES[name](x, m, *parameters), np.asarray(w, float), order)
    return y.astype(np.result_type(w, np.float32), copy=False)


def _contracted(differences: Any, parts: Any) -> Any:
    """The sum over all but the first and the last index of the differences times a product along the indices."""
    if len(parts) > 1 and np.all(np.isfinite(differences)):
        labels = string.ascii_letters[: len(parts) + 1]
        pairs = ",".join(f"...{a}{b}" for a, b in itertools.pairwise(labels))
        return np.einsum(f"...{labels},{pairs}->...{labels[0]}{labels[-1]}", differences, *parts)
    product, *rest = parts
    for k, part in enumerate(rest, 1):
        product = product[..., None] * part[(..., *(None,) * k, slice(None), slice(None))]
    with np.errstate(invalid="ignore"):
        terms = np.where(product == 0, 0, differences * product)  # 0 times an infinite derivative is 0
    return np.sum(terms, axis=tuple(range(-len(parts), -1)), dtype=terms.dtype)


# -- functions of numbers, with derivatives of all orders ----------------------------------------------


def _derivative_of_power(x: Any, m: Any, exponent: Any) -> Any:
    factor = math.prod(exponent - k for k in range(m))
    if factor == 0:
        return np.zeros_like(x)
    return factor * (np.sqrt(x) if exponent - m == 0.5 else x ** (exponent - m))


def _derivative_of_log(x: Any, m: Any) -> Any:
    if m == 0:
        return np.log(x)
    return (-1.0) ** (m - 1) * math.factorial(m - 1) * np.where(x < 0, np.nan, x) ** -float(m)


def _derivative_of_exp(x: Any, m: Any) -> Any:
    return np.exp(x)


def _derivative_of_any(x: Any, m: Any, function: Any) -> Any:
    """By forward mode in forward mode."""
    from ad.transforms import jvp  # which imports the table

    if m == 0:
        return _checked(function(np.ravel(x)), x.size).reshape(x.shape)
    for _ in range(m):
        function = _slope(function, jvp)
    return np.broadcast_to(function(np.ravel(x)), x.size).reshape(x.shape)


def _slope(function: Any, jvp: Any) -> Callable[..., Any]:
    return lambda x: jvp(function, (x,), (np.ones(x.shape),))[1]


def _checked(y: Any, size: Any) -> Any:
    """What a user's function returned, as an ndarray."""
    if isinstance(y, Array) and (is_traced(y) or not y.is_constant):
        raise TypeError(
            "ad.linalg.funmh: the function uses a value that is being differentiated or recorded, and its derivative "
            "would be lost. Put it into the matrix or the result, as in expmh(t * a), or cut it off on purpose with "
            "ad.stop_gradient; where all eigenvalues are distinct, w, v = np.linalg.eigh(a) and (v * function(w)) @ "
            "v.conj().T keep its derivative"
        )
    is_constant = type(y) in (bool, int, float)
    y = np.asarray(y.numpy() if isinstance(y, Array) else y)
    if y.dtype.kind not in "biuf":
        raise TypeError(
            f"ad.linalg.funmh: the function must return real numbers, and returned {y.dtype}. Give its real and its "
            "imaginary part one by one: funmh(a, np.cos) + 1j * funmh(a, np.sin) for exp(1j * x)"
        )
    if y.shape != (size,) and not is_constant:
        raise ValueError(
            f"ad.linalg.funmh: the function must work element by element; of {size} eigenvalues in an array of shape "
            f"{(size,)} it made one of shape {y.shape}"
        )
    return np.broadcast_to(y, size)


_DERIVATIVES: dict[str, Callable[..., Any]] = {
    "exp": _derivative_of_exp, "function": _derivative_of_any, "log": _derivative_of_log, "power": _derivative_of_power,
}


# -- what people call ----------------------------------------------------------------------------------


def _of_matrix(a: Any, function: Any, UPLO: str) -> Any:
    a = operand(a)
    w, v = eigh_parts(stop_gradient(a), UPLO)
    return spectral_sum((a, reshape(w, (*w.shape[:-1], 1, w.shape[-1])), v), function)


_HERMITIAN = "one triangle is read, and the derivative is that of the function of the Hermitian part"
_CASES = (case((3, 3)), case((2, 2, 2)), case((3, 3), UPLO="U"), case((1, 1)), case((0, 0)))


@composite(domain=SPD, cases=_CASES, singular=_HERMITIAN + "; inf or nan where an eigenvalue is 0, nan below")
def sqrtmh(a: Any, UPLO: str = "L") -> Any:
    """The square root of Hermitian positive definite matrices.

    The Hermitian positive definite matrix `b` with `b @ b = a`. `powmh(a, -0.5)` is its inverse.

    Parameters
    ----------
    a : array_like
        Matrices of shape (..., n, n).
    UPLO : {'L', 'U'}
        The triangle that is read, as for `np.linalg.eigh`.

    Returns
    -------
    Array, or ndarray for plain `a`
        Of the shape of `a`. NaN for matrices with a negative eigenvalue. An eigenvalue of 0 may be computed as a
        negative one; add a small multiple of the identity to a matrix that is singular.
    """
    return _of_matrix(a, ("power", 0.5), UPLO)


@composite(domain=SPD, cases=_CASES, singular=_HERMITIAN + "; inf or nan where an eigenvalue is 0, nan below")
def logmh(a: Any, UPLO: str = "L") -> Any:
    """The logarithm of Hermitian positive definite matrices: the Hermitian matrix `b` with `expmh(b) = a`.

    Parameters
    ----------
    a : array_like
        Matrices of shape (..., n, n).
    UPLO : {'L', 'U'}
        The triangle that is read, as for `np.linalg.eigh`.

    Returns
    -------
    Array, or ndarray for plain `a`
        Of the shape of `a`. NaN for matrices with a negative eigenvalue.
    """
    return _of_matrix(a, ("log",), UPLO)


@composite(domain=SYMMETRIC, cases=_CASES, singular=_HERMITIAN)
def expmh(a: Any, UPLO: str = "L") -> Any:
    """The exponential of Hermitian matrices.

    Parameters
    ----------
    a : array_like
        Matrices of shape (..., n, n).
    UPLO : {'L', 'U'}
        The triangle that is read, as for `np.linalg.eigh`.

    Returns
    -------
    Array, or ndarray for plain `a`
        Of the shape of `a`.
    """
    return _of_matrix(a, ("exp",), UPLO)


@composite(domain=SPD, singular=_HERMITIAN + "; an exponent that is an Array needs positive eigenvalues",
           cases=(*(case((3, 3), exponent=p) for p in (-0.5, 1.7, -1.0, 2, 0)), case((2, 2, 2), exponent=-0.3)))
def powmh(a: Any, exponent: Any, UPLO: str = "L") -> Any:
    """Real powers of Hermitian matrices.

    Parameters
    ----------
    a : array_like
        Matrices of shape (..., n, n).
    exponent : float, or Array
        A number. An Array is differentiated too: the power is then `expmh(exponent * logmh(a))`, which is for positive
        definite matrices only. It may be one number for each matrix, of shape (...), or broadcast to that.
    UPLO : {'L', 'U'}
        The triangle that is read, as for `np.linalg.eigh`.

    Returns
    -------
    Array, or ndarray for plain arguments
        Of the shape of `a`. NaN for matrices with a negative eigenvalue, unless the exponent is an integer.
    """
    if isinstance(exponent, Array) or np.ndim(exponent):
        exponent = operand(exponent)
        if exponent.dtype.kind == "c":
            raise TypeError("ad.linalg.powmh: the exponent must be real")
        return expmh(reshape(exponent, (*exponent.shape, 1, 1)) * logmh(a, UPLO))
    return _of_matrix(a, ("power", float(exponent)), UPLO)


@composite(domain=SYMMETRIC, singular=_HERMITIAN,
           cases=(case((3, 3), function=np.sin), case((2, 2, 2), function=np.tanh),
                  case((3, 3), function=lambda x: np.exp(-x) * x**2, UPLO="U"), case((3, 3), function=lambda x: 2.0)))
def funmh(a: Any, function: Any, UPLO: str = "L") -> Any:
    """A function of Hermitian matrices: of their eigenvalues, with the eigenvectors as they are.

    For a matrix `v @ diag(w) @ v^H` that is `v @ diag(function(w)) @ v^H`.

    Parameters
    ----------
    a : array_like
        Matrices of shape (..., n, n).
    function : callable
        A real function of real numbers, written with NumPy or `ad`, that works element by element on an array in
        double precision. Its derivatives are those that `ad` computes.
    UPLO : {'L', 'U'}
        The triangle that is read, as for `np.linalg.eigh`.

    Returns
    -------
    Array, or ndarray for plain `a`
        Of the shape of `a`.

    Raises
    ------
    TypeError
        If `function` uses a value that is being differentiated or recorded, besides its argument; or returns complex
        numbers.

    Examples
    --------
    >>> ad.linalg.funmh(np.array([[2.0, 1.0], [1.0, 2.0]]), lambda x: 1 / x)
    array([[ 0.66666667, -0.33333333],
           [-0.33333333,  0.66666667]])
    """
    if not callable(function):
        raise TypeError(f"ad.linalg.funmh takes a function of numbers, not {kind(function)}")
    return _of_matrix(a, ("function", function), UPLO)
