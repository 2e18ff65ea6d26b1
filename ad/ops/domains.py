"""Where the tests, the documentation and the benchmarks sample the inputs of an op."""
import numpy as np

__all__ = [
    "AT_LEAST_ONE", "BETWEEN_STEPS", "FULL_RANK", "INVERTIBLE", "NONZERO", "POSITIVE", "REAL", "SPD", "SYMMETRIC",
    "UNIT", "UNIT_INTERVAL",
]


def _between(low, high):
    return lambda rng, shape: rng.uniform(low, high, shape)


REAL = _between(-2.0, 2.0)
POSITIVE = _between(0.3, 3.0)
UNIT = _between(-0.9, 0.9)  # the open interval (-1, 1)
UNIT_INTERVAL = _between(0.1, 0.9)
AT_LEAST_ONE = _between(1.2, 3.0)


def NONZERO(rng, shape):
    return rng.uniform(0.3, 2.0, shape) * rng.choice([-1.0, 1.0], shape)


def BETWEEN_STEPS(rng, shape):
    """Away from where rounding up, down or to the nearest integer jumps."""
    return rng.integers(-2, 2, shape) + rng.uniform(0.1, 0.4, shape)


def INVERTIBLE(rng, shape):
    """Square matrices (..., n, n) far from singular, with distinct singular values."""
    return rng.uniform(-1, 1, shape) + 2.5 * np.eye(shape[-1]) * np.arange(1, shape[-1] + 1)


def FULL_RANK(rng, shape):
    """Matrices (..., m, n) of full rank, with distinct singular values."""
    return rng.uniform(-1, 1, shape) + 2.5 * np.eye(*shape[-2:]) * np.arange(1, shape[-1] + 1)


def SYMMETRIC(rng, shape):
    """Symmetric matrices with well separated eigenvalues."""
    noise = rng.uniform(-1, 1, shape)
    return (noise + np.swapaxes(noise, -1, -2)) / 2 + 3 * np.diag(np.arange(1.0, shape[-1] + 1))


def SPD(rng, shape):
    """Symmetric positive definite matrices."""
    noise = rng.uniform(-1, 1, shape)
    return noise @ np.swapaxes(noise, -1, -2) + shape[-1] * np.diag(np.arange(1.0, shape[-1] + 1))
