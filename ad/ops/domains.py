"""Where the tests, the documentation and the benchmarks sample the inputs of an op."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

__all__ = [
    "AT_LEAST_ONE", "BETWEEN_STEPS", "FULL_RANK", "INVERTIBLE", "NONZERO", "POSITIVE", "REAL", "SPD", "SYMMETRIC",
    "UNIT", "UNIT_INTERVAL",
]


Shape: TypeAlias = tuple[int, ...]
Domain: TypeAlias = Callable[["np.random.Generator", Shape], Any]


def _between(low: float, high: float) -> Domain:
    return lambda rng, shape: rng.uniform(low, high, shape)


REAL = _between(-2.0, 2.0)
POSITIVE = _between(0.3, 3.0)
UNIT = _between(-0.9, 0.9)  # the open interval (-1, 1)
UNIT_INTERVAL = _between(0.1, 0.9)
AT_LEAST_ONE = _between(1.2, 3.0)


def NONZERO(rng: np.random.Generator, shape: Shape) -> Any:
    return rng.uniform(0.3, 2.0, shape) * rng.choice([-1.0, 1.0], shape)


def BETWEEN_STEPS(rng: np.random.Generator, shape: Shape) -> Any:
    """Away from where rounding up, down or to the nearest integer jumps."""
    return rng.integers(-2, 2, shape) + rng.uniform(0.1, 0.4, shape)


def INVERTIBLE(rng: np.random.Generator, shape: Shape) -> Any:
    """Square matrices (..., n, n) far from singular, with distinct singular values."""
    return rng.uniform(-1, 1, shape) + 2.5 * np.eye(shape[-1]) * np.arange(1, shape[-1] + 1)


def FULL_RANK(rng: np.random.Generator, shape: Shape) -> Any:
    """Matrices (..., m, n) of full rank, with distinct singular values."""
    return rng.uniform(-1, 1, shape) + 2.5 * np.eye(shape[-2], shape[-1]) * np.arange(1, shape[-1] + 1)


def SYMMETRIC(rng: np.random.Generator, shape: Shape) -> Any:
    """Symmetric matrices with well separated eigenvalues."""
    noise = rng.uniform(-1, 1, shape)
    return (noise + np.swapaxes(noise, -1, -2)) / 2 + 3 * np.diag(np.arange(1.0, shape[-1] + 1))


def SPD(rng: np.random.Generator, shape: Shape) -> Any:
    """Symmetric positive definite matrices."""
    noise = rng.uniform(-1, 1, shape)
    return noise @ np.swapaxes(noise, -1, -2) + shape[-1] * np.diag(np.arange(1.0, shape[-1] + 1))
