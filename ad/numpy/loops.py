"""Functions that call a function of the user's for each element or each row, and join what it returns."""
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ad._core import Array
from ad.engine.inspection import is_differentiating
from ad.ops.binding import has_array
from ad.ops.creation import CREATION, as_dtype
from ad.ops.shaping import expand_dims, moveaxis, reshape

__all__ = ["LOOPS", "apply_along_axis", "apply_over_axes", "ndenumerate", "vectorize"]

_Function = Callable[..., Any]

asarray = CREATION[np.asarray]


def _joined(parts: Sequence[Any], shape: tuple[int, ...]) -> Any:
    """The array of these parts, which have one shape, behind axes of the given shape."""
    y = CREATION[np.array](parts)
    return reshape(y, (*shape, *y.shape[1:]))


# -- along axes ----------------------------------------------------------------------------------


def apply_along_axis(func1d: _Function, axis: Any, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """As numpy.apply_along_axis."""
    arr = asarray(arr)
    axis = np.lib.array_utils.normalize_axis_index(axis, arr.ndim)
    rows = moveaxis(arr, axis, -1)
    shape = rows.shape[:-1]
    if 0 in shape:
        raise ValueError("Cannot apply_along_axis when any iteration dimensions are 0")
    y = _joined([asarray(func1d(rows[index], *args, **kwargs)) for index in np.ndindex(shape)], shape)
    found = tuple(range(len(shape), y.ndim))
    return moveaxis(y, found, tuple(range(axis, axis + len(found))))


def apply_over_axes(func: _Function, a: Any, axes: Any) -> Any:
    """As numpy.apply_over_axes."""
    y = asarray(a)
    ndim = y.ndim
    for axis in np.ravel(axes).tolist():
        axis = axis + ndim if axis < 0 else axis
        found = func(y, axis)
        if np.ndim(found) != y.ndim:
            found = expand_dims(found, axis)
            if found.ndim != y.ndim:
                raise ValueError("function is not returning an array of the correct shape")
        y = found
    return y


LOOPS: dict[_Function, _Function] = {
    np.apply_along_axis: apply_along_axis, np.apply_over_axes: apply_over_axes,
}


# -- element by element --------------------------------------------------------------------------


class ndenumerate(np.ndenumerate):
    __doc__ = np.ndenumerate.__doc__
    __signature__ = inspect.signature(np.ndenumerate)

    def __new__(cls, arr: Any) -> Any:
        return super().__new__(cls)

    def __init__(self, arr: Any) -> None:
        self.elements: Iterator[Any] | None = None
        if has_array((arr,)):
            x = asarray(arr)
            self.elements = ((index, x[index]) for index in np.ndindex(x.shape))
        else:
            super().__init__(arr)

    def __next__(self) -> Any:
        return super().__next__() if self.elements is None else next(self.elements)

    def __iter__(self) -> Any:
        return self


class vectorize(np.vectorize):
    __doc__ = np.vectorize.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        pyfunc: Any = self.pyfunc
        if pyfunc is np._NoValue or not is_differentiating(args):
            return super().__call__(*args, **kwargs)
        mapped = {key: value for key, value in [*enumerate(args), *kwargs.items()] if key not in self.excluded}

        def call(*values: Any) -> Any:
            given = dict(zip(mapped, values))
            return pyfunc(*[given.get(i, x) for i, x in enumerate(args)],
                          **{name: given.get(name, x) for name, x in kwargs.items()})

        if not mapped:
            return call()
        return _mapped(call, [asarray(x) for x in mapped.values()], self.signature, self.otypes)


def _mapped(f: _Function, arrays: Sequence[Any], signature: str | None, otypes: Sequence[Any] | None) -> Any:
    """What f returns for each element of the broadcast arrays; with a signature, for each array of its axes."""
    cores = _core_ndims(signature) if signature else [0] * len(arrays)
    if len(cores) != len(arrays):
        raise TypeError(f"wrong number of positional arguments: expected {len(cores)}, got {len(arrays)}")
    outer = [x.shape[:x.ndim - core] for x, core in zip(arrays, cores)]
    shape = np.broadcast_shapes(*outer)
    spread = [np.broadcast_to(x, shape + x.shape[len(own):]) for x, own in zip(arrays, outer)]
    if 0 in shape and (otypes is None or signature):
        raise ValueError("cannot call `vectorize` on size 0 inputs unless `otypes` is set")
    results = [f(*[_element(x, index) for x in spread]) for index in np.ndindex(shape)]
    if results and isinstance(results[0], tuple):
        outputs: Sequence[Any] = list(zip(*results))
    else:
        outputs = [results] * (1 if results or otypes is None else len(otypes))
    joined = [_joined(parts, shape) for parts in outputs]
    if otypes is not None:
        joined = [as_dtype(y, otype) if isinstance(y, Array) else y.astype(otype) for y, otype in zip(joined, otypes)]
    return tuple(joined) if results and isinstance(results[0], tuple) or len(joined) > 1 else joined[0]


def _core_ndims(signature: str) -> list[int]:
    """How many axes of each input belong to one call: [1, 0] for "(n),()->()"."""
    inputs = signature.replace(" ", "").split("->")[0]
    return [len(part.split(",")) if part else 0 for part in inputs.strip("()").split("),(")]


def _element(x: Any, index: tuple[int, ...]) -> Any:
    """What is at an index; of plain numbers, a number of Python, as NumPy gives to the function."""
    part = x[index]
    return part.item() if isinstance(part, np.generic) else part
