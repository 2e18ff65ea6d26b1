"""Index maps of sparse terms: inverses, and shapes in which places are views."""
import numpy as np
import pytest

from ad.sparse.index_maps import folded_shape, inverse_of, view_of

NUMBERS = np.arange(24, dtype=np.int32).reshape(4, 3, 2)

FOLDED = [
    (NUMBERS, (24,)),
    (NUMBERS[:, ::-1], (4, 3, 2)),
    (NUMBERS[1:, :, 1], (9,)),
    (NUMBERS[:, ::2], (4, 2, 2)),
    (np.broadcast_to(NUMBERS[:, None, 0], (4, 2, 2)), (4, 2, 2)),
    (np.repeat(np.arange(6), 3), (6, 3)),
    (np.full(7, 3), (7,)),
    (np.array([5]), (1,)),
    (np.array([], int), (0,)),
    (np.array([0, 1, 0, 1, 2]), (5,)),
    (np.array([0, 1, 4, 9, 16]), (5,)),
    (np.array([3, 1, 2, 0]), (2, 2)),
    (np.array([3, 1, 2, 5]), (4,)),
]


@pytest.mark.parametrize("places, shape", FOLDED)
def test_folded_shape(places, shape):
    flat = np.ascontiguousarray(places, np.int32).reshape(-1)
    assert folded_shape(flat) == shape
    steps = np.unique(flat).size > 1 and shape != flat.shape
    if steps:  # along each axis the distance is the same everywhere
        for axis in range(len(shape)):
            distances = np.diff(flat.reshape(shape), axis=axis)
            assert (distances == distances.flat[0]).all()


def test_folded_places_are_a_view():
    flat = np.broadcast_to(NUMBERS[:, None, 0], (4, 2, 2)).reshape(-1)
    assert view_of(flat, NUMBERS.shape) is None
    view = view_of(flat.reshape(folded_shape(flat)), NUMBERS.shape)
    assert view is not None
    assert view.shape == (4, 1, 2)


@pytest.mark.parametrize("source, inverse", [
    ([2, 0, 3], [1, -1, 0, 2]), ([-1, 1, -1], [-1, 1, -1, -1]), ([0, 0, 1], None), ([], [-1, -1, -1, -1]),
])
def test_inverse(source, inverse):
    found = inverse_of(np.array(source, np.int32), (4,))
    assert (found is None) if inverse is None else found.tolist() == inverse
