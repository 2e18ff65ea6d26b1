"""TensorFlow's interface to reverse and forward mode: `GradientTape` and `ForwardAccumulator`."""
import enum
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias, overload

import numpy as np

from ad._core import Array, constant
from ad.engine.boundary import output
from ad.engine.tape import Accumulator, Tape
from ad.engine.variable import Variable
from ad.errors import kind, shown
from ad.ops.batching import broadcast_if_it_fits
from ad.transforms.jacobians import rows
from ad.trees import TreeDef, flatten, flatten_like, flatten_optional

__all__ = ["ForwardAccumulator", "GradientTape", "UnconnectedGradients"]

TO_WATCH = "make it an ad.Variable(value), or an ad.constant(value) that the tape watches, and use that in the block"


class UnconnectedGradients(enum.Enum):
    """The gradient of a target with respect to a source that it does not depend on."""

    NONE = "none"
    ZERO = "zero"


Unconnected: TypeAlias = Literal["none", "zero"] | UnconnectedGradients

Arrays: TypeAlias = list[Array] | list[Variable]


def _wants_zeros(value: Unconnected) -> bool:
    try:
        return UnconnectedGradients(value) is UnconnectedGradients.ZERO
    except ValueError:
        raise ValueError(f"ad: unknown value for unconnected_gradients: {value!r}; it is 'none' or 'zero'") from None


class GradientTape(Tape):
    """Records the operations of its block, and gives gradients over them.

    Trainable variables are watched when they are read, other values by `watch`.

    Parameters
    ----------
    persistent : bool
        Whether several sets of gradients can be asked for.
    watch_accessed_variables : bool
        False: variables too are watched by `watch` only.

    Examples
    --------
    >>> x = ad.Variable(3.0)
    >>> with ad.GradientTape() as tape:
    ...     y = x ** 2
    >>> print(tape.gradient(y, x))
    6.0
    """

    __slots__ = ()

    def watch(self, tensor: Any) -> None:
        """Watch an Array or Variable, or all of those in a nested structure.

        Parameters
        ----------
        tensor : Array, Variable, or a nested structure of them

        Raises
        ------
        ValueError
            If there is anything else in it.
        """
        for x in flatten(tensor)[0]:
            if not isinstance(x, Array):
                raise ValueError(f"ad: cannot watch {kind(x)}, {shown(x)}; {TO_WATCH}")
            self._watch(x)

    def _gradient(self, target: Any, sources: Any, output_gradients: Any, unconnected_gradients: Unconnected) -> Any:
        """Compute gradients where the fast path of `Tape.gradient` does not serve."""
        zeros = _wants_zeros(unconnected_gradients)
        targets, seeds = _seeded(_targets(target), output_gradients)
        leaves, rebuild = _sources(sources)
        self._begin()
        found = self._pull(targets, leaves, seeds)
        return rebuild([_or_zeros(x_bar, x.shape, x.dtype, zeros) for x_bar, x in zip(found, leaves)])

    # A source that the target does not depend on gets None, which is left out of these types.
    @overload
    def jacobian(self, target: Array, sources: Array, unconnected_gradients: Unconnected = "none",
                 parallel_iterations: int | None = None, experimental_use_pfor: bool = True) -> Array: ...
    @overload
    def jacobian(self, target: Array, sources: Arrays, unconnected_gradients: Unconnected = "none",
                 parallel_iterations: int | None = None, experimental_use_pfor: bool = True) -> list[Array]: ...
    @overload
    def jacobian(self, target: Array, sources: Any, unconnected_gradients: Unconnected = "none",
                 parallel_iterations: int | None = None, experimental_use_pfor: bool = True) -> Any: ...
    def jacobian(self, target: Array, sources: Any, unconnected_gradients: Unconnected = "none",
                 parallel_iterations: int | None = None, experimental_use_pfor: bool = True) -> Any:
        """The derivative of every element of the target.

        Parameters
        ----------
        target : Array or Variable
        sources : Array, Variable, or a nested structure of them
        unconnected_gradients : {'none', 'zero'}
        parallel_iterations, experimental_use_pfor
            Accepted as in TensorFlow's signature, and ignored.

        Returns
        -------
        Array or None, in the nesting of the sources
            Of shape `target.shape + source.shape`; of a complex target, the derivative of the real part.

        Raises
        ------
        RuntimeError
            If the tape is not persistent and has given its gradients.
        """
        zeros = _wants_zeros(unconnected_gradients)
        target = _single(target, "target")
        leaves, rebuild = _sources(sources)
        self._begin()
        zeros = zeros or not target.size
        return rebuild([_or_zeros(block, target.shape + x.shape, x.dtype, zeros)
                        for block, x in zip(self._blocks(target, leaves), leaves)])

    def batch_jacobian(self, target: Array, source: Array, unconnected_gradients: Unconnected = "none",
                       parallel_iterations: int | None = None, experimental_use_pfor: bool = True) -> Array:
        """The derivative of each row of the target with respect to the same row of the source.

        Row i of the target must depend on row i of the source alone.

        Parameters
        ----------
        target, source : Array or Variable
            Of shapes (b, ...) with the same b.
        unconnected_gradients : {'none', 'zero'}
            Checked only: an unconnected source gives zeros, as in TensorFlow.
        parallel_iterations, experimental_use_pfor
            Accepted as in TensorFlow's signature, and ignored.

        Returns
        -------
        Array
            Of shape `target.shape + source.shape[1:]`.

        Raises
        ------
        ValueError
            If either has less than two dimensions, or the first ones differ.
        RuntimeError
            If the tape is not persistent and has given its gradients.
        """
        _wants_zeros(unconnected_gradients)
        target, source = _single(target, "target"), _single(source, "source")
        for what, x in (("target", target), ("source", source)):
            if x.ndim < 2:
                raise ValueError(f"ad: batch_jacobian: the {what}'s shape {x.shape} must have rank at least 2; "
                                 "for anything else use jacobian")
        if target.shape[0] != source.shape[0]:
            raise ValueError(f"ad: batch_jacobian: need first dimension of target shape {target.shape} "
                             f"and source shape {source.shape} to match")
        self._begin()
        block, = self._blocks(target, [source], batch=1)
        found: Array = _or_zeros(block, target.shape + source.shape[1:], source.dtype, True)
        return found

    def _blocks(self, target: Array, sources: list[Array], batch: int = 0) -> list[Any]:
        """Return one block of the Jacobian for each source; None where the target does not depend on it."""
        if not _differentiable(target, 4):
            return [None] * len(sources)
        blocks = rows(self._pullback(target, sources), target, sources, batch)
        return [None if block is None else output(block) for block in blocks]

    @contextmanager
    def stop_recording(self) -> Iterator[None]:
        """Pause recording for a block within the tape's block.

        Raises
        ------
        RuntimeError
            If the tape was never entered, or has given its gradients.
        ValueError
            If it is not recording: after its block, or within another `stop_recording`.
        """
        self._pause()
        try:
            yield
        finally:
            self._resume()


def _targets(target: Any) -> list[Array]:
    if target is None:
        raise TypeError("ad: the target of a gradient is None; it must be an array or a nested structure of arrays")
    return [_as_array(x, "target") for x in flatten(target)[0]]


def _sources(sources: Any) -> tuple[list[Array], TreeDef]:
    leaves, rebuild = flatten(sources)
    for x in leaves:
        if not isinstance(x, Array):
            raise TypeError(f"ad: a source must be an ad.Array or ad.Variable, not {kind(x)}, {shown(x)}; {TO_WATCH}")
    return leaves, rebuild


def _as_array(x: Any, what: str) -> Array:
    if isinstance(x, Array):
        return x
    if isinstance(x, (np.ndarray, np.number, int, float, complex)):
        return constant(x)
    raise TypeError(f"ad: a {what} must be an array, not {kind(x)}, {shown(x)}")


def _single(x: Any, what: str) -> Array:
    leaves = flatten(x)[0]
    if len(leaves) != 1 or leaves[0] is not x:
        raise TypeError(f"ad: the {what} of a Jacobian must be one array, not {kind(x)}")
    return _as_array(x, what)


def _differentiable(target: Array, level: int) -> bool:
    """Whether the target has a gradient; if not, warn the caller `level` frames up."""
    if target.dtype.kind in "fc":
        return True
    warnings.warn(f"ad: the dtype of a target must be floating or complex (e.g. float64), not {target.dtype}; "
                  "it has no gradient", stacklevel=level)
    return False


def _seeded(targets: list[Array], output_gradients: Any) -> tuple[list[Array], list[Array]]:
    """Return the targets that have a gradient, and their cotangents."""
    seeds = [None] * len(targets) if output_gradients is None else flatten_optional(output_gradients)
    if len(seeds) != len(targets):
        raise ValueError(f"ad: output_gradients has {len(seeds)} gradients for {len(targets)} targets; give one for "
                         "each, or None")
    found: tuple[list[Array], list[Array]] = [], []
    for y, y_bar in zip(targets, seeds):
        if _differentiable(y, 4):
            found[0].append(y)
            found[1].append(_seed(y, y_bar))
    return found


def _seed(y: Array, y_bar: Any) -> Array:
    if y_bar is None:
        return constant(np.ones(y.shape, y.dtype))
    seed: Array = broadcast_if_it_fits(_as_array(y_bar, "gradient of a target"), y.shape)
    if seed.shape != y.shape:
        raise ValueError(f"ad: a gradient of shape {seed.shape} in output_gradients for a target of shape {y.shape}")
    return seed


def _or_zeros(x_bar: Any, shape: tuple[int, ...], dtype: Any, zeros: bool) -> Any:
    return constant(np.zeros(shape, dtype)) if x_bar is None and zeros else x_bar


class ForwardAccumulator(Accumulator):
    """Computes Jacobian-vector products by forward mode, along with the operations of its block.

    Accumulators nest, within each other and with tapes: an accumulator around a tape gives
    Hessian-vector products. Derivatives of an inner one's tangents are the outer one's.

    Parameters
    ----------
    primals : Array, Variable, or a nested structure of them
    tangents : array_like, in the same nesting
        Of the primals' shapes and dtypes.

    Raises
    ------
    ValueError
        If a primal is given twice, or a tangent differs from its primal in shape or dtype.

    Examples
    --------
    >>> x = ad.constant([2.0, 3.0])
    >>> with ad.ForwardAccumulator(x, [1.0, 0.0]) as acc:
    ...     y = (x * x).sum()
    >>> print(acc.jvp(y))
    4.0
    """

    __slots__ = ("__weakref__",)

    def __init__(self, primals: Any, tangents: Any) -> None:
        leaves, structure = flatten(primals)
        for x in leaves:
            if not isinstance(x, Array):
                raise ValueError(f"ad: a primal must be an ad.Array or ad.Variable, not {kind(x)}, "
                                 f"{shown(x)}; make it an ad.constant(value), and use that in the block")
        for x, x_dot in zip(leaves, _tangents_of(structure, tangents)):
            self._add(x, _tangent(x, x_dot))

    @overload
    def jvp(self, primals: Array, unconnected_gradients: Unconnected = "none") -> Array: ...
    @overload
    def jvp(self, primals: Arrays, unconnected_gradients: Unconnected = "none") -> list[Array]: ...
    @overload
    def jvp(self, primals: Any, unconnected_gradients: Unconnected = "none") -> Any: ...
    def jvp(self, primals: Any, unconnected_gradients: Unconnected = "none") -> Any:
        """Return the tangents of values computed in the block; None, or zeros, where there is none.

        Parameters
        ----------
        primals : Array, Variable, or a nested structure of them
        unconnected_gradients : {'none', 'zero'}

        Returns
        -------
        Array or None, in the nesting of `primals`
        """
        zeros = _wants_zeros(unconnected_gradients)
        leaves, rebuild = flatten(primals)
        return rebuild([_or_zeros(self._tangent(x), x.shape, x.dtype, zeros)
                        for x in [_as_array(x, "primal") for x in leaves]])


def _tangents_of(structure: TreeDef, tangents: Any) -> list[Any]:
    """Return a tangent for each primal; tangents are array_like, so a list may be the tangent of one primal."""
    if structure.kind is object:
        return [tangents]
    return flatten_like(structure, tangents, "the tangents")


def _tangent(x: Array, x_dot: Any) -> Any:
    if isinstance(x_dot, Array):
        found = x_dot.dtype == x.dtype
    else:
        x_dot = np.asarray(x_dot)
        found = np.can_cast(x_dot.dtype, x.dtype, "same_kind")
        x_dot = constant(x_dot, x.dtype) if found else x_dot
    if not found or x_dot.shape != x.shape:
        raise ValueError(f"ad: a tangent of shape {x_dot.shape} and dtype {x_dot.dtype} for a primal of shape "
                         f"{x.shape} and dtype {x.dtype}; they must be the same")
    return x_dot
