"""Elements that an index picks, and the transpose: what is added where they were."""
import numpy as np
import pytest

import ad
from ad.engine.kernels import add_rows
from ad.ops.indexing import put_zeros


def some_index(rng, shape):
    """An index of integer arrays for the first axes, or some of them."""
    picked = tuple(rng.integers(0, 4, rng.integers(0, 3)))
    low = rng.random() < 0.3
    parts = [np.asarray(rng.integers(-n * low, n, picked)) for n in shape[:rng.integers(1, len(shape) + 1)]]
    parts[0] = parts[0] if rng.random() < 0.8 else np.array(0)
    parts = [part.astype(np.int32) if rng.random() < 0.2 else part for part in parts]
    return parts[0] if len(parts) == 1 and rng.random() < 0.5 else tuple(parts)


def test_what_repeated_elements_get_is_added_up_whatever_picks_them(rng):
    for _ in range(1000):
        shape = tuple(rng.integers(1, 5, rng.integers(1, 4)))
        index = some_index(rng, shape)
        x = np.array(rng.random(np.zeros(shape)[index].shape), rng.choice([np.float64, np.float32]),
                     order=rng.choice(["C", "F"]))
        expected = np.zeros(shape, x.dtype)
        np.add.at(expected, index, x)
        found = put_zeros(ad.constant(x), index, shape).numpy()
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("index", [np.array([0, 5]), np.array([-6]), np.array([1 << 40]), (np.array(0), np.array(2))])
def test_an_index_out_of_bounds_raises_and_adds_nothing(index):
    target = np.zeros((5, 2))
    assert not (isinstance(index, np.ndarray) and add_rows(target, index, np.ones((len(index), 2))))
    assert not target.any()
    with pytest.raises(IndexError):
        put_zeros(ad.constant(1.0), index, (5, 2))


def test_a_gradient_by_rows_agrees_with_differences(rng):
    weights, index, target = rng.random((6, 3)), np.array([4, 0, 4, -1, 0]), rng.random((5, 3))
    for f in (lambda w: np.sum((w[index] - target) ** 3), lambda w: np.sum(np.sin(w[index, [0, 1, 0, 2, 1]]))):
        ad.testing.check_grads(f, (weights,), order=2)
