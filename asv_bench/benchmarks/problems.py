"""What several benchmarks differentiate, and how they take times for a ratio."""
import timeit

import numpy as np


def rosen(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def best(call, repeat=5):
    """The best time of one call, in seconds."""
    timer = timeit.Timer(call)
    number = max(1, timer.autorange()[0] // 4)
    return min(timer.repeat(repeat, number)) / number
