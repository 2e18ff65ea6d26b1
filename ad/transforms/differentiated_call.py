"""The call that a transform differentiates: arguments and outputs as lists of Arrays, and back to their containers."""
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from ad import trees
from ad._core import Array
from ad.engine import boundary, sweep
from ad.engine.variable import Variable
from ad.errors import kind, name_of, no_derivative, not_a_function, not_argnums, warn_independent
from ad.ops.shaping import astype

__all__ = ["DifferentiatedCall", "check", "named"]

# What a transform returns takes the arguments of `f`, but ndarrays and numbers where `f` itself is given Arrays, and
# returns what it is given: the types of `f` are therefore not those of its derivative.
Function: TypeAlias = Callable[..., Any]


class DifferentiatedCall:
    """A call of `f`, and the leaves of its arguments that it is differentiated with respect to.

    `warns` tells whether to warn where `f` does not depend on these leaves, and to refuse integers as its value.
    """

    returned: trees.TreeDef  # the structure of the function's value, once it has been called
    aux: Any

    def __init__(self, transform: str, f: Function, args: tuple[Any, ...], kwargs: dict[str, Any], argnums: Any,
                 has_aux: bool, warns: bool = False) -> None:
        self.warns = warns
        self.transform, self.f, self.args, self.kwargs, self.has_aux = transform, f, args, kwargs, has_aux
        self.single = not isinstance(argnums, tuple)
        self.positions = [self._position(i) for i in ((argnums,) if self.single else argnums)]
        if len(set(self.positions)) < len(self.positions):
            raise ValueError(f"ad.{transform}: argnums={argnums} names an argument twice")
        leaves, self.structure = trees.flatten(tuple([args[i] for i in self.positions]))
        self.xs: list[Any] = [boundary.argument(leaf) for leaf in leaves]
        self.are_arrays = [isinstance(leaf, Array) for leaf in leaves]
        self.any_array = any(self.are_arrays)
        if any(x is None for x in self.xs):
            self._refuse(leaves)

    def _position(self, argnum: int) -> int:
        n = len(self.args)
        if not -n <= argnum < n:
            raise TypeError(
                f"ad.{self.transform}: no positional argument {argnum} to differentiate with respect to; the function "
                f"was called with {n} positional and {len(self.kwargs)} keyword arguments. Pass that argument by "
                "position, or choose another by argnums"
            )
        return argnum % n

    def _refuse(self, leaves: list[Any]) -> None:
        for leaf, x, path in zip(leaves, self.xs, self.structure.paths()):
            if x is None:
                what = f"an array of dtype {leaf.dtype}" if isinstance(leaf, np.ndarray) else kind(leaf)
                where = f"argument {self.positions[path[0]]}" + "".join(f"[{key!r}]" for key in path[1:])
                raise TypeError(
                    f"ad.{self.transform}: {where} is {what}, with respect to which there is no derivative; "
                    "choose others by argnums, or pass it by keyword"
                )

    def run(self, *leaves: Any) -> list[Any]:
        """Call the function at these leaves; return the leaves of its value."""
        args = list(self.args)
        for position, value in zip(self.positions, self.structure(leaves)):
            args[position] = value
        y = self.f(*args, **self.kwargs)
        if self.has_aux:
            y, self.aux = self._pair(y)
        found, self.returned = trees.flatten(y)
        return found

    def outputs(self, *leaves: Any) -> list[Array]:
        """Call the function at these leaves; return its value as a list of Arrays."""
        returned = self.run(*leaves)
        ys: list[Any] = [boundary.output(leaf) for leaf in returned]
        bad = [kind(leaf) for leaf, y in zip(returned, ys) if y is None]
        if bad:
            raise TypeError(f"ad.{self.transform}: the function returned {bad[0]}; it must return arrays or numbers, "
                            "or containers of them (with has_aux=True: a pair of that and anything else)")
        if self.warns:
            self._refuse_integers(returned, ys)
        return ys

    def _refuse_integers(self, returned: list[Any], ys: list[Array]) -> None:
        """Refuse integers and truths, which some function returned; a Python int may be the constant of a branch."""
        for leaf, y in zip(returned, ys):
            if y.dtype.kind in "biu" and type(leaf) is not int:
                raise no_derivative(self.transform, y.dtype)

    def _pair(self, y: Any) -> tuple[Any, Any]:
        if not isinstance(y, tuple) or len(y) != 2:
            raise TypeError(f"ad.{self.transform}: with has_aux=True the function must return a pair "
                            f"(output, aux), not {kind(y)}")
        return y

    def record(self) -> tuple[sweep.SweepPlan, list[Array]]:
        """Call the function under a recorder; return the plan of a sweep to the leaves, and the outputs."""
        return self._recorded(self.outputs, self.xs)

    def _recorded(self, run: Callable[..., list[Array]],
                  leaves: list[Array]) -> tuple[sweep.SweepPlan, list[Array]]:
        """Call `run`, which returns the outputs, at these leaves under a recorder."""
        begun = sweep.begin()
        recorder, sources, ys = sweep.run_recorded(run, leaves)
        plan = sweep.SweepPlan(recorder, ys, sources)
        if self.warns and plan.is_independent():
            warn_independent(self.transform, *sweep.independent(plan, begun))
        return plan, ys

    def gradient(self, *leaves: Any) -> tuple[Array, list[Array | None]]:
        """Return the value, which must be a real scalar, and the cotangents of the leaves."""
        plan, (y,) = self._recorded(lambda *leaves: self._scalar(self.run(*leaves)), list(leaves))
        return y, boundary.pull_scalar(plan)

    def _scalar(self, returned: list[Any]) -> list[Array]:
        """Return the value of a function that must return a real scalar, in a list."""
        if self.returned is not trees.LEAF:
            raise TypeError(
                f"ad.{self.transform}: the function returned {self.returned!r}; it must return one scalar. Pick or sum "
                "them, or use ad.jacobian; to return something beside the scalar use has_aux=True"
            )
        return [boundary.scalar(returned[0], self.transform)]

    def gradient_at(self, *leaves: Any) -> list[Array]:
        """Return the gradient alone, with zeros where it is unconnected, so that it can be differentiated again."""
        _, x_bars = self.gradient(*leaves)
        return [boundary.zeros_like(x, True) if x_bar is None else x_bar for x, x_bar in zip(leaves, x_bars)]

    # -- Arrays to the containers that the caller gets

    def values(self, ys: list[Array]) -> Any:
        """Return the function's value in its container."""
        return self.returned([boundary.hand_over(y, self.any_array) for y in ys])

    def tangents(self, y_dots: Sequence[Array | None], ys: list[Array]) -> Any:
        """Return a tangent of the value in the value's container."""
        return self.returned([self._derivative(y_dot, y, self.any_array) for y_dot, y in zip(y_dots, ys)])

    def cotangents(self, x_bars: Sequence[Array | None]) -> Any:
        """Return cotangents of the leaves in the containers of the differentiated arguments."""
        parts = self.structure(map(self._derivative, x_bars, self.xs, self.are_arrays))
        return parts[0] if self.single else parts

    def blocks(self, y: Array, row: Sequence[Any], batch: int = 0) -> Any:
        """Return one block of the Jacobian for each leaf, in the containers of the differentiated arguments."""
        parts = self.structure([self._block(block, y.shape + x.shape[batch:], x) for block, x in zip(row, self.xs)])
        return parts[0] if self.single else parts

    def _block(self, block: Any, shape: tuple[int, ...], x: Array) -> Any:
        if block is None:
            block = np.zeros(shape, x.dtype)
        if isinstance(block, np.ndarray) and not shape:
            block = block[()]
        return boundary.output(block) if self.any_array else block

    @staticmethod
    def _derivative(dot: Array | None, x: Array, as_array: bool) -> Any:
        return boundary.zeros_like(x, as_array) if dot is None else boundary.hand_over_new(dot, as_array)

    def with_aux(self, *results: Any) -> Any:
        """Return the results, with aux if the function returns one: the value of the transform."""
        if self.has_aux:
            results += (trees.map(self._aux_leaf, self.aux),)
        return results[0] if len(results) == 1 else results

    def _aux_leaf(self, leaf: Any) -> Any:
        if isinstance(leaf, Array) and not isinstance(leaf, Variable):
            return boundary.hand_over(leaf, self.any_array)
        return leaf

    # -- containers that the caller gave to Arrays

    def directions(self, tree: Any, what: str) -> list[Any]:
        """Return the leaves of a tangent of the differentiated arguments."""
        structure, n = self.structure.children[0] if self.single else self.structure, len(self.positions)
        if not self.single and isinstance(tree, tuple) and len(tree) != n:
            raise TypeError(f"ad.{self.transform}: {what} has {len(tree)} parts for {n} arguments; give one for each")
        return self._fitted(trees.flatten_like(structure, tree, what), self.xs, what)

    def seeds(self, tree: Any, ys: list[Array]) -> list[Any]:
        """Return the leaves of a cotangent of the function's value."""
        return self._fitted(trees.flatten_like(self.returned, tree, "the cotangent"), ys, "the cotangent")

    def _fitted(self, leaves: list[Any], xs: list[Array], what: str) -> list[Any]:
        return [self._fit(leaf, x, what) for leaf, x in zip(leaves, xs)]

    def _fit(self, leaf: Any, x: Array, what: str) -> Array:
        dot = boundary.argument(leaf)
        if dot is None:
            raise TypeError(f"ad.{self.transform}: {what} has {kind(leaf)} in it; it must be made of "
                            "arrays or numbers")
        if dot.shape != x.shape:
            raise ValueError(f"ad.{self.transform}: {what} has shape {dot.shape} where the value has {x.shape}")
        if dot.dtype.kind == "c" and x.dtype.kind != "c":
            raise TypeError(f"ad.{self.transform}: {what} is complex where the value is real ({x.dtype})")
        if dot.dtype != x.dtype and x.dtype.kind in "fc":
            dot = astype(dot, x.dtype)
        return dot


def check(transform: str, f: Any, argnums: Any = 0) -> None:
    """Raise if `f` is not a function or `argnums` no positions, which were probably meant for the derivative."""
    if not callable(f):
        raise not_a_function(transform, f)
    if type(argnums) is int:
        return
    positions = argnums if isinstance(argnums, tuple) else (argnums,)
    if not all(isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in positions):
        raise not_argnums(transform, argnums)


def named(function: Function, transform: str, f: Function, argnums: Any) -> Function:
    """Give a derivative the name, documentation and signature of the function it is made from."""
    check(transform, f, argnums)
    functools.update_wrapper(function, f, ("__module__", "__doc__"), ())
    function.__name__ = function.__qualname__ = f"{transform}({name_of(f)})"
    return function
