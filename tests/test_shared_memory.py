"""Arrays whose elements share memory: copied and searched as what they hold, and to everybody else as any other."""
import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from ad.compiler.ir import strided

LINE = np.where(np.arange(9) % 4 == 0, np.arange(9.0) + 1, 0)
ARRAYS = {
    "identity": as_strided(np.array([0.0, 0, 0, 1, 0, 0, 0])[3:], (4, 4), (-8, 8)),
    "windows": sliding_window_view(LINE, 4), "windows backwards": sliding_window_view(LINE, 4)[::-1, ::-1],
    "broadcast": np.broadcast_to(LINE, (3, 9)), "broadcast along": np.broadcast_to(LINE[:, None], (9, 3)),
    "a number": np.broadcast_to(2.0, (3, 4)), "plain": np.outer(LINE, LINE), "turned": np.outer(LINE, LINE[:3]).T,
    "slices of an identity": as_strided(np.eye(1, 20, 9)[0, 9:], (6, 2, 5), (-8, 0, 8))[1:, :, :-1],
    "complex": np.broadcast_to(1j * LINE, (2, 9)), "integers": sliding_window_view(np.arange(7), 3),
    "empty": np.zeros((0, 3)), "0-d": np.array(3.0), "unaligned": np.zeros(33, np.int8)[1:].view(np.float64)[::2],
    "steps within": np.zeros(5, [("a", "f8"), ("b", "i2")])["a"],
    "not a number": np.broadcast_to([np.nan, 0.0], (2, 2)),
}
of_arrays = pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)


@of_arrays
def test_a_copy_is_the_same_and_apart(array):
    copy = strided.copied(array)
    np.testing.assert_array_equal(copy, array)
    assert (copy.shape, copy.dtype) == (array.shape, array.dtype)
    assert not np.shares_memory(copy, array)
    assert strided.held(copy) == strided.held(array) <= array.size


def test_copies_hold_no_more_than_there_is():
    assert strided.held(ARRAYS["identity"]) == 7
    assert strided.held(ARRAYS["broadcast"]) == 9
    assert strided.held(ARRAYS["a number"]) == 1
    assert strided.held(ARRAYS["plain"]) == 81
    assert strided.held(2.5) == 1


@of_arrays
def test_nonzeros_are_those_of_numpy(array):
    np.testing.assert_array_equal(strided.nonzeros(array), np.flatnonzero(np.array(array)))


def test_nonzeros_of_random_views(rng):
    for _ in range(300):
        line = np.where(rng.random(40) < 0.1, rng.random(40), 0)
        shape = tuple(rng.integers(1, 5, rng.integers(1, 4)))
        strides = [int(s) for s in rng.integers(-3, 4, len(shape))]
        start = sum(-s * (n - 1) for s, n in zip(strides, shape) if s < 0)
        view = as_strided(line[start:], shape, [8 * s for s in strides])
        np.testing.assert_array_equal(strided.nonzeros(view), np.flatnonzero(np.array(view)))
        np.testing.assert_array_equal(strided.copied(view), view)


def test_objects_are_the_same_if_they_are_one():
    array = np.array([None, "a", 1.5], object)
    assert strided.same(array, strided.copied(array))
    assert not strided.same(array, np.array([None, "a", 2.5], object))


@of_arrays
def test_same_looks_at_every_bit(array):
    assert strided.same(array, strided.copied(array))
    assert strided.same(array, np.array(array))
    assert not strided.same(array, np.array(array)[..., None])
    if array.size:
        other = np.array(array)
        other.flat[-1] += 1
        assert not strided.same(array, other) or np.isnan(other.flat[-1])
