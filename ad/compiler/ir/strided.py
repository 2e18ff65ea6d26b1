"""Arrays whose elements share memory (broadcast, windows, an identity), copied and searched by what is in memory."""
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

__all__ = ["copied", "held", "nonzeros", "same"]

_Extent: TypeAlias = tuple[NDArray[Any], int, list[int]]


def _extent(array: NDArray[Any]) -> _Extent | None:
    """Return the memory of an array as a vector, the place of its first element there, and its strides in elements.

    Return None if it has no elements, or they do not lie at multiples of their size.
    """
    if array.size == 0 or any(stride % array.itemsize for stride in array.strides):
        return None
    strides = [stride // array.itemsize for stride in array.strides]
    reach = [stride * (n - 1) for stride, n in zip(strides, array.shape)]
    upwards = array[tuple([slice(None, None, -1 if stride < 0 else None) for stride in strides])]
    vector = as_strided(upwards, (1 + sum(map(abs, reach)),), (array.itemsize,), writeable=False)
    return vector, -sum(step for step in reach if step < 0), strides


def _shared(array: NDArray[Any]) -> _Extent | None:
    """Return `_extent` of an array that has more elements than there are in memory, None for any other."""
    found = _extent(array)
    return found if found is not None and found[0].size < array.size else None


def held(array: Any) -> int:
    """Return the number of elements that an array, or number, has in memory."""
    found = _shared(np.asarray(array))
    return np.size(array) if found is None else found[0].size


def copied(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy of an array, whose elements share memory as those of the array do."""
    found = _shared(array)
    if found is None:
        return np.array(array, order="K")
    vector, start, _ = found
    return as_strided(vector.copy()[start:], array.shape, array.strides, writeable=False)


def same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Return whether two arrays are the same to the last bit."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.hasobject:
        return a.tobytes() == b.tobytes()  # the addresses: no other view of them is allowed
    if a.strides == b.strides and (one := _shared(a)) and (other := _shared(b)):
        a, b = one[0], other[0]
    a, b = [np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in (a, b)]
    return np.array_equal(a, b)


def nonzeros(array: NDArray[Any]) -> NDArray[np.intp]:
    """Return the indices, in C order, of the elements of an array that are not zero."""
    found = _shared(array)
    if found is None or array.ndim == 0 or found[2][-1] == 0:
        return np.flatnonzero(array != 0)  # NumPy finds truths five times as quickly as numbers
    vector, start, (*strides, last) = found
    places = np.flatnonzero(vector) - start
    rows = np.zeros(array.shape[:-1], np.intp)
    for axis, (n, stride) in enumerate(zip(array.shape, strides)):
        rows += (np.arange(n) * stride).reshape(-1, *(1,) * (rows.ndim - axis - 1))
    if rows.size * len(places) >= array.size:
        return np.flatnonzero(array != 0)
    columns, rest = np.divmod(places - rows.reshape(-1, 1), last)
    row, place = np.nonzero((rest == 0) & (columns >= 0) & (columns < array.shape[-1]))
    return np.sort(row * array.shape[-1] + columns[row, place])
