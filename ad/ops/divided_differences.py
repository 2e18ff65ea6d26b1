"""Divided differences of a function on all tuples of given points, equal and close ones among them.

The mathematics is in docs/theory/linalg.md. Everything here works on ndarrays of float64.
"""
from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

__all__ = ["divided_differences"]

FINE, COARSE = 10, 8  # Gauss points in each direction; what the two rules differ by is the error of the coarse one
EPS = np.finfo(float).eps
GOOD = 4 * EPS  # a quotient with a relative error below this is not improved on
SLACK = 1e4  # how many times its rounding error a quotient may be off, before the integral is called wrong
CHUNK = 1 << 18  # values of the derivative that are computed at once


def divided_differences(derivative: Any, w: Any, order: Any) -> Any:
    """The divided differences `f[w_i, w_j, ...]` for all tuples of `order + 1` indices.

    Parameters
    ----------
    derivative : callable
        `derivative(x, m)` is the derivative of order m of f, element by element.
    w : ndarray
        Points, of shape (..., n), in rising order along the last axis.
    order : int

    Returns
    -------
    ndarray
        Of shape (..., n, n, ...) with `order + 1` axes of length n; symmetric in these.
    """
    n = w.shape[-1]
    values = np.asarray(derivative(w, 0), float)
    errors = EPS * np.abs(values)
    for m in range(1, order + 1):
        tuples = np.indices((n,) * (m + 1)).reshape(m + 1, -1)
        rising = tuples[:, np.all(tuples[1:] >= tuples[:-1], axis=0)]
        found = _of_next_order(derivative, w[..., rising], _ends(values, rising), _ends(errors, rising), m)
        values, errors = (_scattered(x, rising, n) for x in found)
    if order < 2:
        return values if order == 0 else values + np.swapaxes(np.triu(values, 1), -1, -2)
    return values[(..., *np.sort(np.indices((n,) * (order + 1)), axis=0))]


def _ends(values: Any, rising: Any) -> tuple[Any, Any]:
    """The values without the first index of each tuple, and without the last."""
    return values[(..., *rising[1:])], values[(..., *rising[:-1])]


def _scattered(x: Any, rising: Any, n: Any) -> Any:
    """An array with x at the tuples of rising indices, and 0 elsewhere."""
    out = np.zeros((*x.shape[:-1], *(n,) * len(rising)))
    out[(..., *rising)] = x
    return out


def _of_next_order(derivative: Any, points: Any, values: Any, errors: Any, m: Any) -> tuple[Any, Any]:
    """Differences of order m and their errors: quotients of those of order m - 1, or integrals where these are better.

    `points` has shape (..., m + 1, tuples).
    """
    gaps = points[..., -1, :] - points[..., 0, :]
    closed = gaps == 0
    with np.errstate(all="ignore"):
        gaps = np.where(closed, 1.0, gaps)
        y = np.where(closed, 0.0, (values[0] - values[1]) / gaps)
        error = np.where(closed, np.inf, (errors[0] + errors[1]) / gaps + EPS * np.abs(y))
        doubtful = ~(error <= GOOD * np.abs(y))
        integral, deviation = _integrals(derivative, np.moveaxis(points, -2, 0)[:, doubtful], m)
        better = (deviation < error[doubtful]) & (np.abs(integral - y[doubtful]) <= SLACK * error[doubtful])
    better |= closed[doubtful]
    y[doubtful] = np.where(better, integral, y[doubtful])
    error[doubtful] = np.where(better, deviation, error[doubtful])
    return y, error


def _integrals(derivative: Any, points: Any, m: Any) -> Any:
    """Differences of order m by the formula of Hermite and Genocchi, and bounds for their errors."""
    out = np.empty((2, points.shape[1]))
    size = max(1, CHUNK // FINE**m)
    for start in range(0, points.shape[1], size):
        part = points[:, start : start + size]
        (fine, whole), (coarse, _) = (_integral(derivative, part, m, count) for count in (FINE, COARSE))
        out[:, start : start + size] = fine, np.abs(fine - coarse) + EPS * whole
    return out


def _integral(derivative: Any, points: Any, m: Any, count: Any) -> tuple[Any, Any]:
    """The mean of the derivative of order m over the simplex that the points span, over m!; and that of its modulus."""
    steps, weights = _simplex_rule(count, m)
    x = points[0] + np.tensordot(steps, np.diff(points, axis=0), 1)
    x = np.clip(x, points[0], points[-1])  # rounding leads nowhere where f may be undefined
    y = derivative(x, m)
    return weights @ y, weights @ np.abs(y)


@functools.lru_cache(maxsize=16)
def _simplex_rule(count: Any, m: Any) -> tuple[Any, Any]:
    """Points 1 >= t_1 >= ... >= t_m >= 0 and weights that sum to 1 / m!: the product rule for t_k = u_1 ... u_k."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    nodes, weights = (nodes + 1) / 2, weights / 2
    u = np.stack(np.meshgrid(*[nodes] * m, indexing="ij"), -1).reshape(-1, m)
    jacobian = np.prod(u ** np.arange(m - 1, -1, -1), axis=1)
    whole = jacobian * functools.reduce(np.multiply.outer, [weights] * m).ravel()
    return np.cumprod(u, axis=1), whole / (math.factorial(m) * np.sum(whole))
