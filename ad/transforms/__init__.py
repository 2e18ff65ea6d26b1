"""Transforms of functions: each takes a function and returns a derivative of it.

Every transform takes functions of arrays, numbers and nested containers of them, and can be applied to the
result of any other. Conventions they share:

- Derivatives with respect to ndarrays and numbers are ndarrays and NumPy scalars that share memory with nothing. With
  respect to an Array, or where an outer transform or tape is watching, they are Arrays.
- `argnums` says which positional arguments to differentiate with respect to: an int, or a tuple of ints for a
  tuple of derivatives. The rest of the arguments, and keyword arguments, reach the function as they are.
- Integers (not bools) among the differentiated arguments count as float64.
- With `has_aux` the function returns a pair, the second part of which is passed on undifferentiated.
- Complex numbers follow TensorFlow: the gradient of a real function is the direction of steepest ascent.
"""
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, overload

import numpy as np

from ad import trees
from ad.engine import boundary, sweep
from ad.errors import CALLS, kind
from ad.transforms.differentiated_call import DifferentiatedCall, Function, check, named
from ad.transforms.jacobians import by_lanes, check_real, matrix

__all__ = ["batch_jacobian", "grad", "hessian", "hvp", "jacobian", "jvp", "linearize", "value_and_grad", "vjp"]

Argnums: TypeAlias = int | tuple[int, ...]
Arguments: TypeAlias = tuple[Any, ...] | list[Any]
Pullback: TypeAlias = Callable[[Any], tuple[Any, ...]]
Mode: TypeAlias = Literal["forward", "reverse"] | None

# -- gradients -------------------------------------------------------------------------------


def _quick_positions(argnums: Argnums, has_aux: bool) -> tuple[int, ...]:
    """Return `argnums` as the positions that `boundary.gradient` takes; empty if it does not take such calls."""
    if has_aux:
        return ()
    if type(argnums) is int:
        return (argnums,)
    return argnums if type(argnums) is tuple and all(type(i) is int for i in argnums) and len({*argnums}) == len(
        argnums) else ()


def gradient_of(transform: str, f: Function, argnums: Argnums, has_aux: bool, with_value: bool,
                warns: bool) -> Function:
    """Return the derivative that `grad` and `value_and_grad` return.

    It goes by `boundary.gradient`, the fast path, where that serves the call, and else by a `DifferentiatedCall`.
    `warns` tells whether to warn where `f` does not depend on its argument.
    """
    quick, single = _quick_positions(argnums, has_aux), type(argnums) is int

    def gradient(*args: Any, **kwargs: Any) -> Any:
        if quick:
            found = boundary.gradient(f, args, kwargs, quick, single, with_value, warns)
            if found is not None:
                return found
        call = DifferentiatedCall(transform, f, args, kwargs, argnums, has_aux, warns)
        y, x_bars = call.gradient(*call.xs)
        if with_value:
            return call.with_aux(boundary.hand_over(y, call.any_array)), call.cotangents(x_bars)
        return call.with_aux(call.cotangents(x_bars))

    return named(gradient, transform, f, argnums)


def grad(f: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """The gradient of a scalar function.

    Parameters
    ----------
    f : callable
        Returns a real scalar; with `has_aux` a pair of that and anything else.
    argnums : int or tuple of int
        Which positional arguments to differentiate with respect to.
    has_aux : bool

    Returns
    -------
    callable
        Takes the arguments of `f`; returns the gradient, in the structure, shapes and dtypes of the argument (a tuple
        of them for a tuple of argnums); with `has_aux` a pair of that and the second part of what `f` returned.

    Raises
    ------
    ValueError
        When `f` returns an array with axes.
    TypeError
        When `f` returns something else, or an argument has no derivative (a bool, a string, ...).

    Warns
    -----
    IndependentWarning
        When what `f` returns does not depend on any of these arguments: the gradient is zero.

    Examples
    --------
    >>> ad.grad(lambda x: (x ** 2).sum())(np.arange(3.0))
    array([0., 2., 4.])
    """
    return gradient_of("grad", f, argnums, has_aux, with_value=False, warns=True)


def value_and_grad(f: Function, argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., tuple[Any, Any]]:
    """The value of a scalar function together with its gradient, in one evaluation.

    Parameters
    ----------
    f, argnums, has_aux
        As in `grad`.

    Returns
    -------
    callable
        Takes the arguments of `f`; returns `(value, gradient)`, with `has_aux` `((value, aux), gradient)`, where the
        gradient is that of `grad`.

    Raises
    ------
    ValueError, TypeError
        As in `grad`.

    Examples
    --------
    >>> value, gradient = ad.value_and_grad(lambda x: (x ** 2).sum())(np.arange(3.0))
    >>> value, gradient
    (np.float64(5.0), array([0., 2., 4.]))
    """
    return gradient_of("value_and_grad", f, argnums, has_aux, with_value=True, warns=True)


@overload
def vjp(f: Function, *primals: Any, has_aux: Literal[False] = False) -> tuple[Any, Pullback]: ...
@overload
def vjp(f: Function, *primals: Any, has_aux: Literal[True]) -> tuple[Any, Pullback, Any]: ...
def vjp(f: Function, *primals: Any, has_aux: bool = False) -> Any:
    """The value of `f(*primals)`, and the function that pulls its cotangents back to the arguments.

    Parameters
    ----------
    f : callable
    *primals : array_like or containers of them
    has_aux : bool

    Returns
    -------
    y
        What `f` returned.
    pullback : callable
        `pullback(y_bar)` takes a cotangent with the structure and shapes of `y`, and returns a tuple with one
        cotangent for each primal: zeros where `y` does not depend on it. It can be called many times.
    aux
        Only with `has_aux`.
    """
    check("vjp", f)
    call = DifferentiatedCall("vjp", f, _kept(primals), {}, tuple(range(len(primals))), has_aux)
    plan, ys = call.record()

    def pullback(y_bar: Any) -> Any:
        return call.cotangents(boundary.pull(plan, call.seeds(y_bar, ys)))

    return call.with_aux(call.values(ys), pullback)


# -- tangents --------------------------------------------------------------------------------


@overload
def jvp(f: Function, primals: Arguments, tangents: Arguments, has_aux: Literal[False] = False) -> tuple[Any, Any]: ...
@overload
def jvp(f: Function, primals: Arguments, tangents: Arguments, has_aux: Literal[True]) -> tuple[Any, Any, Any]: ...
def jvp(f: Function, primals: Arguments, tangents: Arguments, has_aux: bool = False) -> Any:
    """The value of `f(*primals)` and its tangent, in one forward evaluation.

    Parameters
    ----------
    f : callable
    primals : tuple or list
        The arguments.
    tangents : tuple or list
        One for each primal, with its structure and shapes.
    has_aux : bool

    Returns
    -------
    y, y_dot
        What `f` returned, and its derivative in the direction of `tangents`, in the same structure.
    aux
        Only with `has_aux`.
    """
    check("jvp", f)
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, (tuple, list)):
            raise TypeError(f"ad.jvp: {name} is a tuple with one entry for each argument, not {kind(given)}: "
                            f"write {CALLS['jvp']}")
    call = DifferentiatedCall("jvp", f, tuple(primals), {}, tuple(range(len(primals))), has_aux)
    ys, y_dots = boundary.push_level(call.outputs, call.xs, call.directions(tuple(tangents), "tangents"))
    return call.with_aux(call.values(ys), call.tangents(y_dots, ys))


@overload
def linearize(f: Function, *primals: Any, has_aux: Literal[False] = False) -> tuple[Any, Function]: ...
@overload
def linearize(f: Function, *primals: Any, has_aux: Literal[True]) -> tuple[Any, Function, Any]: ...
def linearize(f: Function, *primals: Any, has_aux: bool = False) -> Any:
    """The value of `f(*primals)`, and its derivative there as a linear function of tangents.

    `f` is evaluated and recorded once; the linear function runs over the recording.

    Parameters
    ----------
    f : callable
    *primals : array_like or containers of them
    has_aux : bool

    Returns
    -------
    y
        What `f` returned.
    f_jvp : callable
        `f_jvp(*tangents)` takes one tangent for each primal and returns the tangent of `y`.
    aux
        Only with `has_aux`.
    """
    check("linearize", f)
    call = DifferentiatedCall("linearize", f, _kept(primals), {}, tuple(range(len(primals))), has_aux)
    plan, ys = call.record()

    def f_jvp(*tangents: Any) -> Any:
        return call.tangents(boundary.push(plan, call.directions(tangents, "tangents")), ys)

    return call.with_aux(call.values(ys), f_jvp)


def _kept(primals: tuple[Any, ...]) -> Any:
    """Copy the ndarrays among the arguments, which the caller may change after the call."""
    return trees.map(lambda leaf: leaf.copy() if isinstance(leaf, np.ndarray) else leaf, primals)


# -- matrices of derivatives -----------------------------------------------------------------


def jacobian(f: Function, argnums: Argnums = 0, mode: Mode = None, has_aux: bool = False) -> Function:
    """The dense Jacobian of a function.

    Parameters
    ----------
    f : callable
    argnums : int or tuple of int
    mode : {"forward", "reverse"}, optional
        Forward pushes all directions of the input through the function at once, in chunks of bounded memory; reverse
        runs one sweep for each element of the output. By default the cheaper one by the sizes of input and
        output. Complex inputs and outputs go forward: an analytic function has its complex derivative.
    has_aux : bool

    Returns
    -------
    callable
        Takes the arguments of `f`; returns an array of shape `y.shape + x.shape`. Where the output or the
        argument is a container, such a block for each pair of leaves: the output's structure, with the argument's
        structure at each leaf.
    """
    return _matrix("jacobian", f, argnums, mode, has_aux, 0)


def batch_jacobian(f: Function, argnums: Argnums = 0, mode: Mode = None, has_aux: bool = False) -> Function:
    """The Jacobian of each row of a function's output with respect to the same row of its argument.

    Row i of the output must depend on row i of the argument alone; what it depends on otherwise is not seen.

    Parameters
    ----------
    f : callable
        Takes and returns arrays of shapes (k, ...) with the same k, or containers of them.
    argnums : int or tuple of int
    mode : {"forward", "reverse"}, optional
        As in `jacobian`, by the sizes of a row.
    has_aux : bool

    Returns
    -------
    callable
        Takes the arguments of `f`; returns an array of shape `y.shape + x.shape[1:]`. Where the output or the argument
        is a container, such a block for each pair of leaves, as `jacobian` does.

    Raises
    ------
    ValueError
        When an argument that is differentiated, or an output, has no axis of rows, or they differ in their number.

    Examples
    --------
    >>> ad.batch_jacobian(lambda x: x ** 2)(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[[2., 0.],
            [0., 4.]],
    <BLANKLINE>
           [[6., 0.],
            [0., 8.]]])
    """
    return _matrix("batch_jacobian", f, argnums, mode, has_aux, 1)


def _matrix(transform: str, f: Function, argnums: Argnums, mode: Mode, has_aux: bool, batch: int) -> Function:
    """Return the derivative that `jacobian` and `batch_jacobian` (batch=1: the first axis is one of rows) return."""
    if mode not in (None, "forward", "reverse"):
        raise ValueError(f"ad.{transform}: mode is 'forward', 'reverse' or None, not {mode!r}")

    def derivative(*args: Any, **kwargs: Any) -> Any:
        call = DifferentiatedCall(transform, f, args, kwargs, argnums, has_aux, warns=True)
        return call.with_aux(matrix(call, *call.record(), mode, batch))

    return named(derivative, transform, f, argnums)


def hvp(f: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """Products of the Hessian of a scalar function with vectors, without the Hessian.

    `ad.hvp(f)(x, v)` is the Hessian of `f` at `x` times `v`: the derivative of the gradient in the direction `v`,
    forward over reverse, at a small multiple of the cost of `f`.

    Parameters
    ----------
    f : callable
        Returns a real scalar; with `has_aux` a pair of that and anything else.
    argnums : int or tuple of int
    has_aux : bool

    Returns
    -------
    callable
        Takes the arguments of `f` and after them `v`, with the structure and shapes of the differentiated argument
        (a tuple of such for a tuple of argnums); returns the product in the same structure.
    """

    def product(*args: Any, **kwargs: Any) -> Any:
        if len(args) < 2:
            raise TypeError("ad.hvp: call it with the arguments of the function and, after them, the vector: "
                            f"write {CALLS['hvp']}")
        call = DifferentiatedCall("hvp", f, args[:-1], kwargs, argnums, has_aux, warns=True)
        _, products = boundary.push_level(call.gradient_at, call.xs, call.directions(args[-1], "the vector"))
        return call.with_aux(call.cotangents(products))

    return named(product, "hvp", f, argnums)


def hessian(f: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """The dense Hessian of a scalar function, forward over reverse.

    All directions go through the recorded gradient at once, in chunks of bounded memory.

    Parameters
    ----------
    f : callable
        Returns a real scalar; with `has_aux` a pair of that and anything else.
    argnums : int or tuple of int
    has_aux : bool

    Returns
    -------
    callable
        Takes the arguments of `f`; returns an array of shape `x.shape + x.shape`. Where the argument is a container
        (or argnums a tuple), such a block for each pair of leaves: the argument's structure, with the same structure
        at each leaf.
    """

    return hessian_of(f, argnums, has_aux, warns=True)


def hessian_of(f: Function, argnums: Argnums, has_aux: bool, warns: bool) -> Function:
    """Return the derivative that `hessian` returns; `warns`: where `f` does not depend on its argument."""

    def derivative(*args: Any, **kwargs: Any) -> Any:
        call = DifferentiatedCall("hessian", f, args, kwargs, argnums, has_aux, warns)
        recorder, sources, x_bars = sweep.run_recorded(call.gradient_at, call.xs)
        check_real("hessian", call.xs)
        blocks = by_lanes(sweep.SweepPlan(recorder, x_bars, sources), call.xs, x_bars)
        rows = call.structure([call.blocks(x, row) for x, row in zip(call.xs, blocks)])
        return call.with_aux(rows[0] if call.single else rows)

    return named(derivative, "hessian", f, argnums)
