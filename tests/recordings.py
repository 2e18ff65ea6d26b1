"""Helpers for the tests of recorded functions: functions to record, comparison of results, threads."""
import collections
import dataclasses
import threading

import numpy as np

import ad


def counted(f, **options):
    """Return the compiled function, and a list that grows by one each time `f` itself runs."""
    runs = []

    def counting(*args, **kwargs):
        runs.append(args)
        return f(*args, **kwargs)

    return ad.compile(counting, **options), runs


def assert_equal(found, wanted):
    """Check that values, types and containers are the same."""
    assert type(found) is type(wanted)
    if isinstance(wanted, np.ndarray | np.generic):
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=1e-14 if found.dtype.itemsize >= 8 else 1e-6)
    elif isinstance(wanted, tuple | list):
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted):
            assert_equal(a, b)
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key, part in wanted.items():
            assert_equal(found[key], part)
    else:
        assert found == wanted


Point = collections.namedtuple("Point", "x y")


@dataclasses.dataclass
class Layer:
    weight: object
    bias: object


def rosen(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def curve(x):
    return np.sin(x) * x + np.cumsum(x) ** 2 + x[0]


def branches(x):
    return np.sum(np.exp(x) * x if np.sum(x) > 1.5 else np.cos(x * x))


@ad.custom_gradient
def softplus(x):
    e = np.exp(x)
    return np.log1p(e), lambda y_bar: y_bar * e / (1 + e)


def custom(x):
    return np.sum(softplus(x) * x)


def numbers(result):
    """Return the arrays and numbers in a result as ndarrays."""
    return [np.asarray(y.numpy() if isinstance(y, ad.Array) else y) for y in ad.trees.flatten(result)[0]]


def assert_close(found, wanted, rtol=1e-12, atol=1e-12):
    found, wanted = numbers(found), numbers(wanted)
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def inverse_or_zeros(a):
    try:
        return np.linalg.inv(a) + 1
    except np.linalg.LinAlgError:
        return 0 * a


def in_threads(work, n=8):
    """Call work(i) in n threads at once; raise the first exception of any of them."""
    errors, barrier = [], threading.Barrier(n)

    def run(i):
        barrier.wait()
        try:
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
