"""Conversion between containers of arrays and the flat vector on which SciPy works."""
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, OptimizeResult

from ad import trees
from ad._core import Array
from ad.errors import kind

__all__ = ["Packing", "keyed"]

Path: TypeAlias = tuple[Any, ...]  # the keys that lead to a leaf


class Packing:
    """`x0` as one flat vector of float64, and the conversion back to its container."""

    def __init__(self, caller: str, f: Any, x0: Any) -> None:
        self.caller = f"ad.optimize.{caller}"
        if not callable(f):
            raise TypeError(f"{self.caller}: the first argument is the function, not {kind(f)}: write {caller}(f, x0)")
        leaves, self.structure = trees.flatten(_as_scipy_takes(x0))
        leaves = [self._numbers(leaf, path) for leaf, path in zip(leaves, self.structure.paths())]
        self.shapes = [leaf.shape for leaf in leaves]
        ends = np.cumsum([leaf.size for leaf in leaves]).tolist()
        self.slices = [slice(end - leaf.size, end) for leaf, end in zip(leaves, ends)]
        self.is_leaf = self.structure is trees.LEAF
        self.is_vector = self.is_leaf and leaves[0].ndim == 1
        self.n = ends[-1] if ends else 0
        if not self.n:
            raise ValueError(f"{self.caller}: x0 is empty; give it at least one number to vary")
        self.flat = np.concatenate([leaf.reshape(-1) for leaf in leaves])

    def _numbers(self, leaf: Any, path: Path) -> NDArray[np.float64]:
        """Return a leaf of x0 as a new array of float64."""
        value = np.asarray(leaf)
        if value.dtype.kind in "iuf":
            return np.array(value, np.float64)
        what = f"an array of dtype {value.dtype}" if hasattr(leaf, "dtype") else kind(leaf)
        remedy = ("give its real and imaginary parts and join them in f" if value.dtype.kind == "c" else
                  "give real numbers, arrays of them, or a container of such")
        raise TypeError(f"{self.caller}: {keyed('x0', path)} is {what}; {remedy}")

    # -- container to vector and back

    def unpack(self, flat: Any) -> Any:
        """Return the container of views of a flat vector, or of recorded slices if it is being differentiated."""
        if self.is_vector:
            return flat
        return self.structure([flat[where] if len(shape) == 1 else np.reshape(flat[where], shape)
                               for where, shape in zip(self.slices, self.shapes)])

    def unpacked_copy(self, flat: Any) -> Any:
        """Return the container for the caller: of copies, with NumPy scalars for leaves without axes."""
        return trees.map(lambda leaf: leaf.copy() if leaf.ndim else leaf[()], self.unpack(flat))

    def pair(self, returned: Any, second: str) -> Any:
        """Return the pair that f must return with jac=True: its value and `second`."""
        if isinstance(returned, (tuple, list)) and len(returned) == 2:
            return returned
        raise TypeError(f"{self.caller}: with jac=True f returns its value and its {second}, in a tuple, not "
                        f"{kind(returned)}; leave out jac for the exact {second}")

    def pack(self, tree: Any, what: str) -> Any:
        """Return the flat vector of a container like `x0`, or of an array or list with as many elements."""
        if isinstance(tree, (np.ndarray, list)) and np.size(tree) == self.n:
            return np.reshape(tree, -1)
        return self.broadcast(trees.flatten_like(self.structure, tree, what), what)

    def broadcast(self, entries: Iterable[Any], what: str) -> Any:
        """Return the flat vector of one entry for each leaf, each broadcast to the shape of its leaf."""
        try:
            return np.concatenate([np.broadcast_to(np.asarray(entry, np.float64), shape).reshape(-1)
                                   for entry, shape in zip(entries, self.shapes)])
        except (TypeError, ValueError):
            shapes = ", ".join(f"{keyed('x0', path)} {shape}"
                               for path, shape in zip(self.structure.paths(), self.shapes))
            raise ValueError(f"{self.caller}: {what} does not fit x0; give a number, or an array of the same shape, "
                             f"for each of {shapes}") from None

    def unpacked_result(self, result: Any) -> Any:
        """Replace x in SciPy's result by the container."""
        result.x = self.unpacked_copy(result.x)
        return result

    def callback(self, callback: Callable[..., Any] | None) -> Callable[..., Any] | None:
        """Return a callback for SciPy that passes the container on, with the signature that SciPy looks for."""
        if callback is None:
            return None
        if set(inspect.signature(callback).parameters) == {"intermediate_result"}:
            return lambda intermediate_result: callback(intermediate_result=self._state(intermediate_result))
        return lambda x, *rest: callback(self.unpacked_copy(x), *map(self._state, rest))

    def _state(self, state: Any) -> Any:
        """Return a copy of a method's state with the container as its x; SciPy keeps using the state itself."""
        if not isinstance(state, OptimizeResult):
            return state
        return self.unpacked_result(OptimizeResult(state))

    def name(self, i: int) -> str:
        """Return the expression for element `i` of the flat vector in terms of `x0`."""
        k = next(k for k, where in enumerate(self.slices) if where.start <= i < where.stop)
        index = ", ".join(map(str, np.unravel_index(i - self.slices[k].start, self.shapes[k])))
        return keyed("x0", self.structure.paths()[k]) + (f"[{index}]" if index else "")

    # -- bounds

    def bounds(self, bounds: Any) -> Any:
        """Return bounds for `minimize`: SciPy's flat forms unchanged, and flattened those with a pair for each leaf."""
        if bounds is None:
            return None
        if isinstance(bounds, Bounds):
            return Bounds(*map(np.ravel, (bounds.lb, bounds.ub, bounds.keep_feasible)))
        if self.is_leaf and len(bounds) == 2 and all(side is None or np.ndim(side) == 0 for side in bounds):
            return self._bounds_of_leaves([bounds])
        if self.is_leaf or self._is_flat(bounds):
            return bounds
        return self._bounds_of_leaves(self._entries(bounds, "bounds"))

    def limits(self, bounds: Any) -> Any:
        """Return bounds for `least_squares`: also a pair of lower and upper ones, numbers or containers like `x0`."""
        if isinstance(bounds, (tuple, list)) and len(bounds) == 2:
            sides = [found for side in bounds if (found := self._side(side)) is not None]
            if len(sides) == 2:
                return tuple([side[0] for side in sides])
        return self.bounds(bounds)

    def _side(self, side: Any) -> tuple[Any] | None:
        """Return lower or upper bounds in a tuple; None if `side` is no number, array or container like `x0`."""
        if np.ndim(side) == 0 and not isinstance(side, dict):
            return (side,)
        if self.is_leaf:
            return (np.ravel(side),)
        try:
            return (self.pack(side, "bounds"),)
        except TypeError:
            return None

    def _is_flat(self, bounds: Any) -> bool:
        """Whether bounds for a container have a pair for each element of the flat vector, not for each leaf."""
        sequence = isinstance(bounds, (list, tuple, np.ndarray))
        return sequence and len(bounds) == self.n != len(self.structure.children)

    def _entries(self, tree: Any, what: str) -> list[Any]:
        """Return the entry of `tree` at the place of each leaf; None if there is None at that place or above."""
        found = []
        for path in self.structure.paths():
            entry = tree
            try:
                for key in path:
                    entry = None if entry is None else _part(entry, key)
            except (AttributeError, IndexError, KeyError, TypeError):
                raise ValueError(f"{self.caller}: {keyed(what, path)} is missing; give a (low, high) pair, or None, "
                                 f"for {keyed('x0', path)}") from None
            found.append(entry)
        return found

    def _bounds_of_leaves(self, pairs: Iterable[Any]) -> Bounds:
        pairs = [(None, None) if pair is None else pair for pair in pairs]
        for pair, path in zip(pairs, self.structure.paths()):
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise ValueError(f"{self.caller}: {keyed('bounds', path)} is {pair!r}; give a (low, high) pair of "
                                 "numbers or arrays, or None")
        low, high = ([bound if pair[side] is None else pair[side] for pair in pairs]
                     for side, bound in enumerate((-np.inf, np.inf)))
        return Bounds(self.broadcast(low, "a lower bound"), self.broadcast(high, "an upper bound"))


def keyed(name: str, path: Path) -> str:
    """Return the expression for the item of `name` that these keys lead to."""
    return name + "".join(f"[{key!r}]" for key in path)


def _part(tree: Any, key: Any) -> Any:
    return getattr(tree, key) if hasattr(type(tree), "__dataclass_fields__") else tree[key]


def _as_scipy_takes(x0: Any) -> Any:
    """Return `x0`, as an array if it is a number or a list or tuple of numbers."""
    if isinstance(x0, (int, float, np.number, np.ndarray, Array)) and not np.ndim(x0):
        return np.reshape(x0, 1)
    if type(x0) in (list, tuple) and x0 and all(isinstance(x, (int, float, complex, np.number)) for x in x0):
        return np.array(x0)
    return x0
