"""What several benchmarks differentiate, and how they take times for a ratio."""
import timeit

import numpy as np


def rosen(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def scalar_loop(m, x, y):
    """900 operations on scalars, with the functions of the module `m`."""
    for _ in range(100):
        x, y = m.sin(x) * y + 0.1 * x, x * y - m.exp(-x) * y
    return x + y


def best(call, repeat=5):
    """The best time of one call, in seconds."""
    timer = timeit.Timer(call)
    number = max(1, timer.autorange()[0] // 4)
    return min(timer.repeat(repeat, number)) / number
