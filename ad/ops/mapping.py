"""Functions that call a function of the user for each element or slice of an array, and join its results.

NumPy's function runs on the numbers of the elements: it decides what the function of the user is called with, and where
its results go. The function is given the elements that have these numbers, and its results are numbered in their turn.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ad._core import Array
from ad.engine.inspection import is_differentiated
from ad.errors import MissingRule
from ad.ops.binding import has_array
from ad.ops.domains import REAL
from ad.ops.forms import case, composite, stacked
from ad.ops.indexing import getitem, plain_index
from ad.ops.joining import asarray, concatenate, stack
from ad.ops.shaping import astype, expand_dims, moveaxis, ravel, reshape

__all__ = ["apply_along_axis", "apply_over_axes", "call_on_elements", "ndenumerate", "piecewise", "vectorize"]

_Function = Callable[..., Any]


def _numbers(shape: tuple[int, ...]) -> NDArray[np.intp]:
    """The number, in C order, of each element of an array."""
    return np.arange(math.prod(shape)).reshape(shape)


def _cut(x: Any, core: tuple[int, ...]) -> list[Any]:
    """The parts of an Array that have this shape, one after the other; the only one there is, if it has no elements.

    They are slices of a vector: cotangents of those are added in place, and the derivative costs as much as the parts.
    """
    flat, size = ravel(x), math.prod(core)
    parts = [getitem(flat, slice(k, k + size)) for k in range(0, x.size, size)] if size else [flat]
    return parts if len(core) == 1 else [reshape(part, core) for part in parts]


class _Parts:
    """The elements of an Array, or the parts of it in some trailing axes, by the numbers of their elements."""

    def __init__(self, x: Any) -> None:
        self.x, self.size = x, 1
        self.parts: list[Any] | None = None

    def __getitem__(self, numbers: Any) -> Any:
        if self.parts is None:
            core = self.x.shape[self.x.ndim - np.ndim(numbers):]
            self.parts, self.size = _cut(self.x, core), math.prod(core)
        return self.parts[np.ravel(numbers)[0] // self.size if self.size else 0]


class _Results:
    """What a function of the user returned, call by call.

    Attributes
    ----------
    name, remedy : str
        The function of NumPy, and what to do if its cast of the results loses derivatives.
    parts : list
        The results as arrays; their elements are numbered one after the other.
    """

    def __init__(self, name: str, remedy: str) -> None:
        self.name, self.remedy, self.size = name, remedy, 0
        self.parts: list[Any] = []

    def add(self, result: Any) -> Any:
        """Return the numbers of the elements of a result."""
        part = asarray(result)
        self.parts.append(part)
        self.size += part.size
        return np.arange(self.size - part.size, self.size).reshape(part.shape) if part.ndim else self.size - 1

    def join(self, numbers: Any, dtype: Any) -> Any:
        """Return the array of the elements that have these numbers, in this dtype."""
        parts = [self._cast(part, np.dtype(dtype)) for part in self.parts]
        if any(part.ndim for part in parts):
            flat = concatenate([part if part.ndim == 1 else ravel(part) for part in parts])
        else:
            flat = stack(parts)
        numbers = np.asarray(numbers)
        if numbers.size == self.size and np.array_equal(numbers.reshape(-1), np.arange(self.size)):
            return reshape(flat, numbers.shape)
        return getitem(flat, numbers)

    def _cast(self, part: Any, dtype: np.dtype[Any]) -> Any:
        if part.dtype == dtype:
            return part
        if not np.can_cast(part.dtype, dtype, "same_kind") and is_differentiated(part):
            raise MissingRule(
                f"ad: np.{self.name} casts what the function returns to {dtype} here, and a result of {part.dtype} is "
                f"being differentiated, which would be lost. {self.remedy}"
            )
        return astype(part, dtype)


class _IsOurs(Exception):
    """A function of the user returned an Array."""


def _refusing_ours(function: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if has_array((result,)):
            raise _IsOurs
        return result

    return call


# -- vectorize ------------------------------------------------------------------------------------


_FLOATS = "Give otypes=[float], or make the first result a float"


class vectorize(np.vectorize):  # noqa: N801 - it is NumPy's name
    """As `np.vectorize`, also for arguments that are Arrays, and for a function that returns Arrays.

    The function is called with Arrays without axes, one for each element. What it returns is joined, so that the
    derivative is kept. Without an Array in the call it is NumPy's.

    Parameters
    ----------
    pyfunc, otypes, doc, excluded, cache, signature
        As for `np.vectorize`.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        function: Any = self.pyfunc
        if function is np._NoValue:  # the function to decorate is what this is called with
            return super().__call__(*args, **kwargs)
        if not has_array(args) and not has_array(kwargs.values()):
            try:
                return self._by_numpy(_refusing_ours(function), self.otypes)(*args, **kwargs)
            except _IsOurs:
                pass
        return self._on_numbers(*args, **kwargs)

    def _by_numpy(self, function: Any, otypes: Any) -> np.vectorize:
        return np.vectorize(function, otypes, excluded=self.excluded, cache=self.cache, signature=self.signature)

    def _on_numbers(self, *args: Any, **kwargs: Any) -> Any:
        given: dict[Any, Any] = dict(enumerate(args)) | kwargs
        given |= {key: stacked(x) for key, x in given.items() if key not in self.excluded}
        parts = {key: _Parts(x) for key, x in given.items() if isinstance(x, Array) and key not in self.excluded}
        results: list[_Results] = []
        otypes = None if self.otypes is None else [np.intp] * len(self.otypes)

        def function(*args: Any, **kwargs: Any) -> Any:
            taken = [parts[i][x] if i in parts else x for i, x in enumerate(args)]
            found = self.pyfunc(*taken, **{key: parts[key][x] if key in parts else x for key, x in kwargs.items()})
            several = found if isinstance(found, tuple) else (found,)
            if otypes and isinstance(found, tuple) != (len(otypes) > 1):
                raise ValueError(f"ad: vectorize has {len(otypes)} otypes, and the function returned {found!r}")
            results.extend([_Results("vectorize", _FLOATS) for _ in several[len(results):]])
            numbers = tuple([result.add(part) for result, part in zip(results, several)])
            return numbers if isinstance(found, tuple) else numbers[0]

        numbered = {key: _numbers(x.shape) if key in parts else x for key, x in given.items()}
        numbers = self._by_numpy(function, otypes)(
            *[numbered[i] for i in range(len(args))], **{name: numbered[name] for name in kwargs})
        if not results:  # no element, and NumPy made an array of none
            return self._by_numpy(self.pyfunc, self.otypes)(*map(plain_index, args), **kwargs)
        types = self.otypes or [result.parts[0].dtype for result in results]
        joined = [result.join(n, t) for result, n, t in zip(results, _several(numbers), types)]
        return tuple(joined) if isinstance(numbers, tuple) else joined[0]


def _several(numbers: Any) -> Sequence[Any]:
    return numbers if isinstance(numbers, tuple) else (numbers,)


def call_on_elements(ufunc: Any, inputs: Sequence[Any]) -> Any:
    """The results of a ufunc of `np.frompyfunc`, called with Arrays without axes.

    They are joined to an Array if one of them is one; otherwise they are an array of objects, as NumPy has it.
    """
    found = ufunc(*[_objects(x) if isinstance(x, Array) else np.asarray(x, object)[..., None] for x in inputs])
    parts = found if isinstance(found, tuple) else (found,)
    joined = [_of_objects(part[..., 0]) for part in parts]
    return tuple(joined) if isinstance(found, tuple) else joined[0]


def _objects(x: Any) -> Any:
    """The elements of an Array as an array of objects, with one axis more: a ufunc returns no array without axes."""
    found = np.empty((x.size, 1), object)
    for i, element in enumerate(_cut(x, ())):
        found[i, 0] = element
    return found.reshape(*x.shape, 1)


def _of_objects(objects: Any) -> Any:
    parts = [asarray(part) for part in np.ravel(objects)]
    if not has_array(parts):
        return objects
    return reshape(stack(parts), np.shape(objects))


# -- along axes -----------------------------------------------------------------------------------


def _mean_free(a: Any) -> Any:
    return a * a - np.mean(a)


def _weighted(a: Any, w: Any) -> Any:
    return np.sum(a * a * w)


@composite(np.apply_along_axis, final=True, domain=REAL, cases=(
    case(_mean_free, 0, (3, 2)), case(_weighted, 1, (2, 3), 1.5), case(_mean_free, -1, (3,)),
    case(np.diag, 1, (2, 3, 2)), case(_weighted, 0, (3, 2), w=2.0),
))
def apply_along_axis(func1d: Any, axis: Any, arr: Any, *args: Any, **kwargs: Any) -> Any:
    arr = stacked(arr)
    if not isinstance(arr, Array):
        try:
            return np.apply_along_axis(_refusing_ours(func1d), axis, arr, *args, **kwargs)
        except _IsOurs:
            arr = np.asarray(arr)
    results, rows = _Results("apply_along_axis", "Make the first result a float"), _slices(arr, axis)
    numbers = np.apply_along_axis(
        lambda _numbers: results.add(func1d(next(rows), *args, **kwargs)), axis, np.empty(arr.shape, np.intp))
    return results.join(numbers, results.parts[0].dtype)


def _slices(arr: Any, axis: Any) -> Iterator[Any]:
    """The slices along an axis, in the order in which NumPy calls the function with them."""
    moved = moveaxis(arr, axis, -1)
    *leading, n = moved.shape
    slices = _cut(moved, (n,))
    yield from slices if n else slices * math.prod(leading)


@composite(np.apply_over_axes, final=True, domain=REAL, cases=(
    case(np.sum, (2, 3), [0, 1]), case(np.mean, (2, 3, 2), -1), case(np.cumsum, (2, 3), 1),
))
def apply_over_axes(func: Any, a: Any, axes: Any) -> Any:
    if not isinstance(a, Array):
        return np.apply_over_axes(func, a, axes)
    found = a
    for axis in np.atleast_1d(plain_index(axes)).tolist():
        axis = axis + a.ndim if axis < 0 else axis
        result = func(found, axis)
        found = result if result.ndim == found.ndim else expand_dims(result, axis)
        if found.ndim != a.ndim:
            raise ValueError("function is not returning an array of the correct shape")
    return found


# -- by conditions --------------------------------------------------------------------------------


_PARTS = np.array([[True, False, False], [False, False, True]])


@composite(np.piecewise, final=True, domain=REAL, cases=(
    case((3,), _PARTS, [np.square, np.exp]), case((3,), _PARTS, [np.square, 2.0, np.sin]),
    case((2, 3), [_PARTS], [_weighted], 1.5), case((), [True], [np.square]),
    case(np.arange(6.0), np.arange(6) > 3, [np.exp, np.sin]),
))
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    x, condlist = stacked(x), plain_index(condlist)
    if not isinstance(x, Array):
        if not has_array(funclist):
            functions = [_refusing_ours(f) if callable(f) else f for f in funclist]
            try:
                return np.piecewise(x, condlist, functions, *args, **kw)
            except _IsOurs:
                pass
        x = np.asarray(x)
    results, elements = _Results("piecewise", "Make the array x one of floats"), ravel(x)
    results.add(np.zeros((), x.dtype))  # where no condition holds, the number is 0

    def numbered(function: Any) -> Any:
        if not callable(function):
            return results.add(function)
        return lambda numbers: results.add(function(getitem(elements, numbers - 1), *args, **kw))

    numbers = np.piecewise(_numbers(x.shape) + 1, condlist, [numbered(function) for function in funclist])
    return results.join(numbers, x.dtype)


# -- iteration ------------------------------------------------------------------------------------


class ndenumerate(np.ndenumerate):  # noqa: N801 - it is NumPy's name
    """As `np.ndenumerate`, also of an Array: pairs of an index and an Array without axes.

    Parameters
    ----------
    arr : Array or array_like
    """

    def __init__(self, arr: Any) -> None:
        super().__init__(())
        arr = stacked(arr)
        arr = arr if isinstance(arr, Array) else np.asarray(arr)
        self._pairs: Iterator[Any] = zip(
            np.ndindex(*arr.shape), _cut(arr, ()) if isinstance(arr, Array) else arr.flat)

    def __next__(self) -> Any:
        return next(self._pairs)
