"""Transforms of plain functions: a function in, its derivative out.

Every transform takes functions of arrays, numbers and nested containers of them, and can be applied to the
result of any other. Conventions they share:

- Plain in, plain out: derivatives with respect to ndarrays and numbers are ndarrays and NumPy scalars that share
  memory with nothing. With respect to an Array of ours, or where an outer transform or tape is watching, they are
  Arrays.
- `argnums` says which positional arguments to differentiate with respect to: an int, or a tuple of ints for a
  tuple of derivatives. The rest of the arguments, and keyword arguments, reach the function as they are.
- Integers (not bools) among the differentiated arguments count as float64.
- With `has_aux` the function returns a pair, the second part of which is passed on undifferentiated.
- Complex numbers follow TensorFlow: the gradient of a real function is the direction of steepest ascent.
"""
import functools
import math

import numpy as np

from ad import _calls, _sweep, trees
from ad._core import Array, is_tracing
from ad._leaves import Variable
from ad.errors import CALLS, kind, not_a_function, not_argnums

__all__ = ["batch_jacobian", "grad", "hessian", "hvp", "jacobian", "jvp", "linearize", "value_and_grad", "vjp"]

# How many numbers the tangents of one value may hold when many directions go through a function at once.
LANE_ROOM = 1 << 16


# -- one call, taken apart -------------------------------------------------------------------


class _Call:
    """A call of `f`: the leaves it is differentiated with respect to, and what it returned."""

    def __init__(self, transform, f, args, kwargs, argnums, has_aux):
        self.transform, self.f, self.args, self.kwargs, self.has_aux = transform, f, args, kwargs, has_aux
        self.single = not isinstance(argnums, tuple)
        self.positions = [self._position(i) for i in ((argnums,) if self.single else argnums)]
        if len(set(self.positions)) < len(self.positions):
            raise ValueError(f"ad.{transform}: argnums={argnums} names an argument twice")
        leaves, self.structure = trees.flatten(tuple([args[i] for i in self.positions]))
        self.xs = [_calls.argument(leaf) for leaf in leaves]
        self.ours = [isinstance(leaf, Array) for leaf in leaves]
        self.any_ours = any(self.ours)
        self.returned = self.aux = None
        if any(x is None for x in self.xs):
            self._refuse(leaves)

    def _position(self, argnum):
        n = len(self.args)
        if not -n <= argnum < n:
            raise TypeError(
                f"ad.{self.transform}: no positional argument {argnum} to differentiate with respect to; the function "
                f"was called with {n} positional and {len(self.kwargs)} keyword arguments. Pass that argument by "
                "position, or choose another by argnums"
            )
        return argnum % n

    def _refuse(self, leaves):
        for leaf, x, path in zip(leaves, self.xs, self.structure.paths()):
            if x is None:
                what = f"an array of dtype {leaf.dtype}" if isinstance(leaf, np.ndarray) else kind(leaf)
                where = f"argument {self.positions[path[0]]}" + "".join(f"[{key!r}]" for key in path[1:])
                raise TypeError(
                    f"ad.{self.transform}: {where} is {what}, with respect to which there is no derivative; "
                    "choose others by argnums, or pass it by keyword"
                )

    def run(self, *leaves):
        """Call the function at these leaves; the leaves of what it returns."""
        args = list(self.args)
        for position, value in zip(self.positions, self.structure(leaves)):
            args[position] = value
        y = self.f(*args, **self.kwargs)
        if self.has_aux:
            y, self.aux = self._pair(y)
        leaves, self.returned = trees.flatten(y)
        return leaves

    def outputs(self, *leaves):
        """Call the function at these leaves; what it returns, as a list of Arrays."""
        returned = self.run(*leaves)
        ys = [_calls.output(leaf) for leaf in returned]
        bad = [kind(leaf) for leaf, y in zip(returned, ys) if y is None]
        if bad:
            raise TypeError(f"ad.{self.transform}: the function returned {bad[0]}; it must return arrays or numbers, "
                            "or containers of them (with has_aux=True: a pair of that and anything else)")
        return ys

    def _pair(self, y):
        if not isinstance(y, tuple) or len(y) != 2:
            raise TypeError(f"ad.{self.transform}: with has_aux=True the function must return a pair "
                            f"(output, aux), not {kind(y)}")
        return y

    def record(self):
        """Call the function with a recorder on: a plan from what it returned to the leaves, and what it returned."""
        recorder, sources, ys = _sweep.record(self.outputs, self.xs)
        return _sweep.Plan(recorder, ys, sources), ys

    def gradient(self, *leaves):
        """The function's value, which must be a real scalar, and the cotangents of the leaves."""
        recorder, sources, returned = _sweep.record(self.run, list(leaves))
        if self.returned is not trees.LEAF:
            raise TypeError(
                f"ad.{self.transform}: the function returned {self.returned!r}; it must return one scalar. Pick or sum "
                "them, or use ad.jacobian; to return something beside the scalar use has_aux=True"
            )
        y = _calls.scalar(returned[0], self.transform)
        return y, _calls.pull_scalar(recorder, y, sources)

    def gradient_at(self, *leaves):
        """The gradient alone, with zeros where it is unconnected: a function to differentiate again."""
        _, x_bars = self.gradient(*leaves)
        return [_calls.zeros_like(x, True) if x_bar is None else x_bar for x, x_bar in zip(leaves, x_bars)]

    # -- from Arrays to what the caller gets

    def values(self, ys):
        """The function's value."""
        return self.returned([_calls.hand_over(y, self.any_ours) for y in ys])

    def tangents(self, y_dots, ys):
        """A tangent of the value, with its structure."""
        return self.returned([self._derivative(y_dot, y, self.any_ours) for y_dot, y in zip(y_dots, ys)])

    def cotangents(self, x_bars):
        """Derivatives for the leaves, in the structure of the differentiated arguments."""
        parts = self.structure(map(self._derivative, x_bars, self.xs, self.ours))
        return parts[0] if self.single else parts

    def blocks(self, y, row, batch=0):
        """Parts of a matrix of derivatives, one for each leaf, in the structure of the differentiated arguments."""
        parts = self.structure([self._block(block, y.shape + x.shape[batch:], x) for block, x in zip(row, self.xs)])
        return parts[0] if self.single else parts

    def _block(self, block, shape, x):
        if block is None:
            block = np.zeros(shape, x.dtype)
        if isinstance(block, np.ndarray) and not shape:
            block = block[()]
        return _calls.output(block) if self.any_ours else block

    @staticmethod
    def _derivative(dot, x, ours):
        return _calls.zeros_like(x, ours) if dot is None else _calls.hand_over_new(dot, ours)

    def with_aux(self, *results):
        """The results, and aux if the function gives one: what the transform returns."""
        if self.has_aux:
            results += (trees.map(self._plain, self.aux),)
        return results[0] if len(results) == 1 else results

    def _plain(self, leaf):
        ours = not isinstance(leaf, Array) or isinstance(leaf, Variable)
        return leaf if ours else _calls.hand_over(leaf, self.any_ours)

    # -- from what the caller gave to Arrays

    def directions(self, tree, what):
        """The leaves of tangents (or cotangents) for the differentiated arguments."""
        structure, n = self.structure.children[0] if self.single else self.structure, len(self.positions)
        if not self.single and isinstance(tree, tuple) and len(tree) != n:
            raise TypeError(f"ad.{self.transform}: {what} has {len(tree)} parts for {n} arguments; give one for each")
        return self._fitted(trees.flatten_like(structure, tree, what), self.xs, what)

    def seeds(self, tree, ys):
        """The leaves of cotangents for what the function returned."""
        return self._fitted(trees.flatten_like(self.returned, tree, "the cotangent"), ys, "the cotangent")

    def _fitted(self, leaves, xs, what):
        return [self._fit(leaf, x, what) for leaf, x in zip(leaves, xs)]

    def _fit(self, leaf, x, what):
        dot = _calls.argument(leaf)
        if dot is None:
            raise TypeError(f"ad.{self.transform}: {what} has {kind(leaf)} in it; it must be made of "
                            "arrays or numbers")
        if dot.shape != x.shape:
            raise ValueError(f"ad.{self.transform}: {what} has shape {dot.shape} where the value has {x.shape}")
        if dot.dtype.kind == "c" and x.dtype.kind != "c":
            raise TypeError(f"ad.{self.transform}: {what} is complex where the value is real ({x.dtype})")
        if dot.dtype != x.dtype and x.dtype.kind in "fc":
            dot = _astype(dot, x.dtype)
        return dot


def _astype(x, dtype):
    from ad.ops.shaping import astype  # not at the top: `ops` may be the one importing

    return astype(x, dtype)


def _check(transform, f, argnums=0):
    """Refuse what cannot be transformed; most likely it was meant for the function that the transform returns."""
    if not callable(f):
        raise not_a_function(transform, f)
    if type(argnums) is int:
        return
    positions = argnums if isinstance(argnums, tuple) else (argnums,)
    if not all(isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in positions):
        raise not_argnums(transform, argnums)


def _named(function, transform, f, argnums):
    """Give a derivative the name, documentation and signature of the function it is made from."""
    _check(transform, f, argnums)
    functools.update_wrapper(function, f, ("__module__", "__doc__"), ())
    name = getattr(f, "__name__", type(f).__name__)
    function.__name__ = function.__qualname__ = f"{transform}({name})"
    return function


# -- gradients -------------------------------------------------------------------------------


def _quick_positions(argnums, has_aux):
    """Where the arguments of a call stand that `_calls.gradient` may take; none that it may not."""
    if has_aux:
        return ()
    if type(argnums) is int:
        return (argnums,)
    return argnums if type(argnums) is tuple and all(type(i) is int for i in argnums) and len({*argnums}) == len(
        argnums) else ()


def _gradient_of(transform, f, argnums, has_aux, with_value):
    """What `grad` and `value_and_grad` return: by `_calls.gradient` where that can, else by a `_Call`."""
    quick, single = _quick_positions(argnums, has_aux), type(argnums) is int

    def gradient(*args, **kwargs):
        if quick:
            found = _calls.gradient(f, args, kwargs, quick, single, with_value)
            if found is not None:
                return found
        call = _Call(transform, f, args, kwargs, argnums, has_aux)
        y, x_bars = call.gradient(*call.xs)
        if with_value:
            return call.with_aux(_calls.hand_over(y, call.any_ours)), call.cotangents(x_bars)
        return call.with_aux(call.cotangents(x_bars))

    return _named(gradient, transform, f, argnums)


def grad(f, argnums=0, has_aux=False):
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

    Examples
    --------
    >>> ad.grad(lambda x: (x ** 2).sum())(np.arange(3.0))
    array([0., 2., 4.])
    """
    return _gradient_of("grad", f, argnums, has_aux, with_value=False)


def value_and_grad(f, argnums=0, has_aux=False):
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
    return _gradient_of("value_and_grad", f, argnums, has_aux, with_value=True)


def vjp(f, *primals, has_aux=False):
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
    _check("vjp", f)
    call = _Call("vjp", f, _kept(primals), {}, tuple(range(len(primals))), has_aux)
    plan, ys = call.record()

    def pullback(y_bar):
        return call.cotangents(_calls.pull(plan, call.seeds(y_bar, ys)))

    return call.with_aux(call.values(ys), pullback)


# -- tangents --------------------------------------------------------------------------------


def jvp(f, primals, tangents, has_aux=False):
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
    _check("jvp", f)
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, (tuple, list)):
            raise TypeError(f"ad.jvp: {name} is a tuple with one entry for each argument, not {kind(given)}: "
                            f"write {CALLS['jvp']}")
    call = _Call("jvp", f, tuple(primals), {}, tuple(range(len(primals))), has_aux)
    ys, y_dots = _calls.push_level(call.outputs, call.xs, call.directions(tuple(tangents), "tangents"))
    return call.with_aux(call.values(ys), call.tangents(y_dots, ys))


def linearize(f, *primals, has_aux=False):
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
    _check("linearize", f)
    call = _Call("linearize", f, _kept(primals), {}, tuple(range(len(primals))), has_aux)
    plan, ys = call.record()

    def f_jvp(*tangents):
        return call.tangents(_calls.push(plan, call.directions(tangents, "tangents")), ys)

    return call.with_aux(call.values(ys), f_jvp)


def _kept(primals):
    """The arguments, safe from what the caller does to arrays after the call."""
    return trees.map(lambda leaf: leaf.copy() if isinstance(leaf, np.ndarray) else leaf, primals)


# -- matrices of derivatives -----------------------------------------------------------------


def jacobian(f, argnums=0, mode=None, has_aux=False):
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


def batch_jacobian(f, argnums=0, mode=None, has_aux=False):
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


def _matrix(transform, f, argnums, mode, has_aux, batch):
    """What `jacobian` returns, and `batch_jacobian` (batch=1: the first axis is one of rows)."""
    if mode not in (None, "forward", "reverse"):
        raise ValueError(f"ad.{transform}: mode is 'forward', 'reverse' or None, not {mode!r}")

    def derivative(*args, **kwargs):
        call = _Call(transform, f, args, kwargs, argnums, has_aux)
        plan, ys = call.record()
        if batch:
            _check_rows(call.xs, ys)
        way = mode or _cheaper(call.xs, ys)
        _check_complex(transform, way, call.xs, ys)
        blocks = (_by_columns if way == "forward" else _by_rows)(plan, call.xs, ys, batch)
        return call.with_aux(call.returned([call.blocks(y, row, batch) for y, row in zip(ys, blocks)]))

    return _named(derivative, transform, f, argnums)


def _check_rows(xs, ys):
    shapes = [value.shape for value in (*xs, *ys)]
    if any(shape[:1] != shapes[0][:1] or not shape for shape in shapes):
        raise ValueError(f"ad.batch_jacobian: arguments and outputs have shapes {', '.join(map(str, shapes))}; the "
                         "first axis must be one of rows, the same in all. For anything else use ad.jacobian")


def hvp(f, argnums=0, has_aux=False):
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

    def product(*args, **kwargs):
        if len(args) < 2:
            raise TypeError("ad.hvp: call it with the arguments of the function and, after them, the vector: "
                            f"write {CALLS['hvp']}")
        call = _Call("hvp", f, args[:-1], kwargs, argnums, has_aux)
        _, products = _calls.push_level(call.gradient_at, call.xs, call.directions(args[-1], "the vector"))
        return call.with_aux(call.cotangents(products))

    return _named(product, "hvp", f, argnums)


def hessian(f, argnums=0, has_aux=False):
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

    def derivative(*args, **kwargs):
        call = _Call("hessian", f, args, kwargs, argnums, has_aux)
        recorder, sources, x_bars = _sweep.record(call.gradient_at, call.xs)
        _check_real("hessian", call.xs)
        blocks = _by_lanes(_sweep.Plan(recorder, x_bars, sources), call.xs, x_bars)
        rows = call.structure([call.blocks(x, row) for x, row in zip(call.xs, blocks)])
        return call.with_aux(rows[0] if call.single else rows)

    return _named(derivative, "hessian", f, argnums)


def _cheaper(xs, ys):
    """The mode that costs less; forward where complex numbers leave no choice."""
    if any(value.dtype.kind == "c" for value in (*xs, *ys)):
        return "forward"
    # All directions go forward at once, and a row of the matrix takes a sweep of its own: a direction is cheaper.
    return "forward" if _size(xs) <= 2 * _size(ys) else "reverse"


def _size(values):
    return sum(value.size for value in values)


def _check_real(transform, values):
    if any(value.dtype.kind == "c" for value in values):
        raise TypeError(f"ad.{transform}: not for complex numbers; write the function in real and imaginary parts")


def _check_complex(transform, mode, xs, ys):
    """Refuse what has no matrix of complex derivatives."""
    if mode == "reverse" and any(value.dtype.kind == "c" for value in (*xs, *ys)):
        raise TypeError(f"ad.{transform}: reverse mode is for real numbers; use mode='forward', or ad.vjp")
    if any(x.dtype.kind == "c" for x in xs) and any(y.dtype.kind != "c" for y in ys):
        raise TypeError(f"ad.{transform}: a real output of a complex input has no complex derivative; use ad.grad, "
                        "ad.vjp")


def _by_lanes(plan, xs, ys, batch=0):
    """`blocks[i][k]`, of shape `xs[i].shape[batch:] + ys[k].shape`: by forward sweeps in many directions at once."""
    blocks = []
    for i, x in enumerate(xs):
        pieces = [_push_chunk(plan, xs, i, _one_hot(x, start, stop, batch)) for start, stop in _chunks(x, ys, batch)]
        blocks.append([_joined([piece[k] for piece in pieces], x.shape[batch:] + y.shape) for k, y in enumerate(ys)])
    return blocks


def _push_chunk(plan, xs, i, x_dots):
    """The outputs' tangents for lanes of tangents of input i."""
    seeds = [None] * len(xs)
    seeds[i] = x_dots
    return _calls.push(plan, seeds)


def _one_hot(x, start, stop, batch=0):
    """A lane for each of some elements of x (of a row, if the first `batch` axes hold rows) with a 1 in that place."""
    lanes = np.zeros((stop - start, math.prod(x.shape[:batch]), math.prod(x.shape[batch:])), x.dtype)
    lanes[np.arange(stop - start), :, np.arange(start, stop)] = 1
    return lanes.reshape(stop - start, *x.shape)


def _chunks(x, ys, batch=0):
    """Ranges that together cover the elements of x (of a row of it)."""
    n, step = math.prod(x.shape[batch:]), max(1, LANE_ROOM // max(x.size, *[y.size for y in ys], 1))
    return [(start, min(start + step, n)) for start in range(0, n, step)]


def _by_columns(plan, xs, ys, batch=0):
    """`blocks[k][i]`, of shape `ys[k].shape + xs[i].shape[batch:]`, by forward sweeps."""
    lanes = _by_lanes(plan, xs, ys, batch)
    return [[_turned(lanes[i][k], x.ndim - batch, y.ndim) for i, x in enumerate(xs)] for k, y in enumerate(ys)]


def _turned(block, m, n):
    """With the first m axes behind the n others."""
    if block is None or not m or not n:
        return block
    return np.transpose(block, (*range(m, m + n), *range(m)))


def _by_rows(plan, xs, ys, batch=0):
    """`blocks[k][i]`, of shape `ys[k].shape + xs[i].shape[batch:]`, by reverse sweeps."""
    blocks = []
    for k, y in enumerate(ys):
        lanes = _lanes_of_rows(plan, xs, ys, k, batch)
        found = [_joined(pieces, y.shape[batch:] + x.shape) for pieces, x in zip(lanes, xs)]
        blocks.append([_batch_first(block, y, x) if batch else block for block, x in zip(found, xs)])
    return blocks


def _batch_first(block, y, x):
    """From `y.shape[1:] + x.shape` to `y.shape + x.shape[1:]`."""
    return None if block is None else np.moveaxis(block, y.ndim - 1, 0)


def _lanes_of_rows(plan, xs, ys, k, batch):
    """For each input the cotangents of it, in pieces: a lane for each element (of a row) of output k.

    It takes a sweep for each lane; what is being recorded is one sweep over lanes, which is quicker to replay and far
    shorter, but not worth a recording by itself.
    """
    y, pieces = ys[k], []
    if y.dtype.kind != "f" or not y.size:
        return [[]] * len(xs)
    for start, stop in _chunks(y, xs, batch):
        seeds = _one_hot(y, start, stop, batch)
        found = _pull_lanes(plan, seeds, k, len(ys)) if is_tracing() else None
        pieces.append(found or _stacked_rows([_pull_row(plan, seed, k, len(ys)) for seed in seeds], xs))
    return [[] if all(piece is None for piece in lanes) else list(lanes) for lanes in zip(*pieces)]


def _pull_lanes(plan, seeds, k, n):
    # Not at the top: lanes are made by recordings, whose programs call transforms.
    from ad.programs.lanes import pull_lanes

    return pull_lanes(lambda seed: _pull_row(plan, seed, k, n), seeds)


def _pull_row(plan, y_bar, k, n):
    """The inputs' cotangents for that of output k of n."""
    seeds = [None] * n
    seeds[k] = y_bar
    return _calls.pull(plan, seeds)


def _stacked_rows(rows, xs):
    return [_stacked([row[i] for row in rows], x) for i, x in enumerate(xs)]


def _joined(pieces, shape):
    """Lanes from several chunks as one block; an Array where one is live."""
    if not pieces or pieces[0] is None:
        return None
    if any(isinstance(piece, Array) and _calls.live(piece) for piece in pieces):
        return _shaped(pieces[0] if len(pieces) == 1 else np.concatenate(pieces), shape)
    pieces = [_calls.hand_over_new(piece, False) if isinstance(piece, Array) else piece for piece in pieces]
    return _shaped(pieces[0] if len(pieces) == 1 else np.concatenate(pieces), shape)


def _stacked(rows, x):
    """Cotangents as lanes; an Array where one is live."""
    if all(row is None for row in rows):
        return None
    if any(_calls.live(row) for row in rows):
        return np.stack(rows)
    block = np.empty((len(rows), *x.shape), x.dtype)
    for j, row in enumerate(rows):
        block[j] = row.numpy()
    return block


def _shaped(block, shape):
    return block if block.shape == shape else np.reshape(block, shape)
