"""`check_grads` compares derivatives with central differences, for rules of users and in the library's tests."""
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ad._core import Array, constant
from ad.engine.forward import Dual
from ad.engine.sweep import pull_back, run_recorded
from ad.ops.batching import zeros_like
from ad.ops.ufuncs import identity
from ad.trees import flatten

__all__ = ["check_grads"]

# A function of arrays that returns the differentiable leaves of its value in a list.
_Flat: TypeAlias = Callable[..., list[Any]]

MODES = ("forward", "reverse", "forward-over-reverse", "reverse-over-reverse")
STEP_FACTORS = (1.0, 0.1, 0.01, 1e-3, 1e-4)  # the steps that are tried, as multiples of `eps`


def check_grads(f: Callable[..., Any], args: Sequence[Any], order: Literal[1, 2] = 2, modes: Sequence[str] = MODES,
                rtol: float | None = None, atol: float | None = None, eps: float = 1e-3, directions: int = 2,
                seed: int = 0) -> None:
    """Check the derivatives of `f` at `args` against central differences along random directions.

    The reference is computed in double precision from values of `f` (for second order from values of its gradient,
    which the first order has checked), with one step of Richardson extrapolation. Where a derivative differs from it,
    smaller steps are tried, down to a ten thousandth of `eps`, and then one-sided differences, because a kink may be
    near.

    Parameters
    ----------
    f : callable
        `f(*args)`, of arrays or of lists, tuples and dicts of them. It must not draw random numbers.
    args : sequence
        The point. Real and complex floating arrays in it are differentiated, one at a time; other values are passed to
        `f` unchanged.
    order : 1 or 2
    modes : sequence of str
        Some of "forward", "reverse", "forward-over-reverse" and "reverse-over-reverse"; `order=1` skips the last two.
    rtol, atol : float, optional
        By default 1e-6 and 1e-7 if all arrays are in double precision, else 2e-3 and 2e-3.
    eps : float
        The longer one of the two difference steps that are tried first; it suits arguments of size about 1.
    directions : int
        Number of random directions for each argument.
    seed : int
        Seed of the random numbers.

    Raises
    ------
    AssertionError
        If a derivative is wrong; the message names the mode, the argument, the direction and both values.

    Notes
    -----
    For complex arguments the gradient is TensorFlow's, the conjugate of the holomorphic derivative:
    `f` changes by Re(sum(conj(x_bar) * dx)) along `dx`.
    """
    unknown = set(modes) - set(MODES)
    if unknown:
        raise ValueError(f"ad.testing.check_grads: modes {sorted(unknown)} are none of {', '.join(MODES)}")
    flat, xs, names = _flattened(f, args)
    if not xs:
        raise ValueError("ad.testing.check_grads: none of the arguments is a real or complex floating array")
    rng = np.random.default_rng(seed)
    check = _Check(names, rng, *_tolerances(xs, rtol, atol), eps, directions)
    y_bars = [_direction(rng, y) for y in _values(flat(*xs))]

    def gradient(*xs: Any) -> list[Any]:
        return reverse(flat, xs, y_bars)

    if "forward" in modes:
        check.forward(flat, xs, "forward")
    if "reverse" in modes:
        check.reverse(flat, xs, "reverse")
    if order > 1 and "forward-over-reverse" in modes:
        check.forward(gradient, xs, "forward-over-reverse")
    if order > 1 and "reverse-over-reverse" in modes:
        check.reverse(gradient, xs, "reverse-over-reverse")


# -- the two modes on functions of several arrays that return a list -----------------------------------


def forward(flat: _Flat, xs: Sequence[Any], x_dots: Sequence[Any]) -> list[Any]:
    """Return the tangents of the outputs along `x_dots` (None: a zero tangent)."""
    duals = [x if x_dot is None else Dual(x, x_dot) for x, x_dot in zip(xs, x_dots)]
    ys = [identity(y) for y in flat(*duals)]  # an Array that out= has rebound to a Dual becomes one
    return [y.tangent if isinstance(y, Dual) else np.zeros(y.shape, y.dtype) for y in ys]


def reverse(flat: _Flat, xs: Sequence[Any], y_bars: Sequence[Any]) -> list[Any]:
    """Return the cotangents of `xs` for cotangents of the outputs."""
    xs = [x if isinstance(x, Array) else constant(x) for x in xs]
    recorder, aliases, ys = run_recorded(flat, xs)
    connected = [(y, constant(_cast_like(y_bar, y))) for y, y_bar in zip(ys, y_bars) if isinstance(y, Array)]
    targets, seeds = [list(part) for part in zip(*connected)] or ([], [])
    x_bars = pull_back(recorder, targets, aliases, seeds) if targets else [None] * len(xs)
    return [zeros_like(x) if x_bar is None else x_bar for x, x_bar in zip(xs, x_bars)]


def _cast_like(y_bar: Any, y: Array) -> NDArray[Any]:
    return np.real(y_bar).astype(y.dtype) if y.dtype.kind != "c" else np.asarray(y_bar).astype(y.dtype)


# -- the checks ------------------------------------------------------------------------------


class _Check:
    """Compares derivatives with differences; holds the settings of all comparisons."""

    def __init__(self, names: list[str], rng: np.random.Generator, rtol: float, atol: float, eps: float,
                 directions: int) -> None:
        self.names, self.rng, self.rtol, self.atol = names, rng, rtol, atol
        self.eps, self.directions = eps, directions

    def forward(self, flat: _Flat, xs: Sequence[Any], mode: str) -> None:
        for i, dx, references in self.differences(flat, xs):
            found = _values(forward(flat, xs, [dx if k == i else None for k in range(len(xs))]))
            if len(found) != len(references[0]):
                raise AssertionError(f"{mode}: {len(found)} outputs, {len(references[0])} without derivatives")
            for k, y_dot in enumerate(found):
                expected = (y_dots[k] for y_dots in references)
                self.compare(y_dot, expected, mode, f"output {k} of {len(found)}, ", i, dx)

    def reverse(self, flat: _Flat, xs: Sequence[Any], mode: str) -> None:
        y_bars = [_direction(self.rng, y) for y in _values(flat(*xs))]
        x_bars = _values(reverse(flat, xs, y_bars))
        for x, x_bar, name in zip(xs, x_bars, self.names):
            if np.shape(x) != np.shape(x_bar) or x.dtype != x_bar.dtype:
                raise AssertionError(
                    f"{mode}: the gradient of {name} is {x_bar.dtype}{np.shape(x_bar)}, "
                    f"its argument {x.dtype}{np.shape(x)}"
                )
        for i, dx, references in self.differences(flat, xs):
            size = sum(np.sum(np.abs(y_bar) * np.abs(y_dot)) for y_bar, y_dot in zip(y_bars, references[0]))
            size = size if np.isfinite(size) else 0.0
            expected = (sum(_inner(y_bar, y_dot) for y_bar, y_dot in zip(y_bars, y_dots)) for y_dots in references)
            self.compare(_inner(x_bars[i], dx), expected, mode, "", i, dx, size)

    def differences(self, flat: _Flat, xs: Sequence[Any]) -> "Iterator[tuple[int, NDArray[Any], References]]":
        """Yield (position of an argument, direction, references) for random directions of each argument."""
        for i, x in enumerate(xs):
            for _ in range(self.directions if x.size else 0):
                dx = _direction(self.rng, x)
                yield i, dx, References(flat, xs, i, dx, self.eps)

    def compare(self, found: Any, references: Iterable[Any], mode: str, where: str, i: int, dx: NDArray[Any],
                size: float = 0.0) -> None:
        """Raise if an element of a derivative differs from that of all references."""
        first, good = None, False
        for expected in references:
            first = expected if first is None else first
            if np.shape(found) != np.shape(expected):
                raise AssertionError(
                    f"{mode}: {where}with respect to {self.names[i]}: shape {np.shape(found)}, not {np.shape(expected)}"
                )
            tolerance = self.atol + self.rtol * np.maximum(np.abs(expected), size)
            with np.errstate(invalid="ignore"):
                good = good | (np.abs(np.subtract(found, expected)) <= tolerance)
            if np.all(good):
                return
        raise AssertionError(
            f"{mode}: {where}with respect to {self.names[i]}, along {_one_line(dx)}: "
            f"derivative {_one_line(found)}, central differences {_one_line(first)}"
        )


class References:
    """Derivatives of the outputs along `dx` of argument i by several kinds of differences, computed when asked for."""

    def __init__(self, flat: _Flat, xs: Sequence[Any], i: int, dx: NDArray[Any], eps: float) -> None:
        self.flat, self.xs, self.i, self.dx = flat, [_double(x) for x in xs], i, _double(dx)
        self.kinds = [(self.central, eps * part) for part in STEP_FACTORS]
        self.kinds += [(self.one_sided, sign * eps * STEP_FACTORS[2]) for sign in (1, -1)]
        self.known: list[list[Any]] = []

    def __iter__(self) -> Iterator[list[Any]]:
        return (self[k] for k in range(len(self.kinds)))

    def __getitem__(self, k: int) -> list[Any]:
        if k == len(self.known):
            differences, step = self.kinds[k]
            self.known.append(differences(step))
        return self.known[k]

    def outputs(self, step: float) -> list[Any]:
        xs = list(self.xs)
        xs[self.i] = xs[self.i] + step * self.dx
        return _values(self.flat(*xs))

    def central(self, h: float) -> list[Any]:
        """Compute (4 D(h / 2) - D(h)) / 3, accurate to h^4."""
        coarse, fine = ([(ahead - behind) / (2 * step) for ahead, behind in zip(*map(self.outputs, (step, -step)))]
                        for step in (h, h / 2))
        return [(4 * a - b) / 3 for a, b in zip(fine, coarse)]

    def one_sided(self, h: float) -> list[Any]:
        """Compute (4 f(h) - 3 f(0) - f(2 h)) / 2 h, accurate to h^2."""
        here, near, far = map(self.outputs, (0, h, 2 * h))
        return [(4 * b - 3 * a - c) / (2 * h) for a, b, c in zip(here, near, far)]


def _tolerances(xs: list[NDArray[Any]], rtol: float | None, atol: float | None) -> tuple[float, float]:
    usual = (1e-6, 1e-7) if all(x.dtype in (np.float64, np.complex128) for x in xs) else (2e-3, 2e-3)
    return usual[0] if rtol is None else rtol, usual[1] if atol is None else atol


def _direction(rng: np.random.Generator, x: NDArray[Any]) -> NDArray[Any]:
    """Draw an array of the shape and dtype of x with elements of size about 1."""
    shape = np.shape(x)
    dx = rng.uniform(0.3, 1.0, shape) * rng.choice([-1.0, 1.0], shape)
    if x.dtype.kind == "c":
        dx = dx + 1j * rng.uniform(-1.0, 1.0, shape)
    return np.asarray(dx).astype(x.dtype)


def _double(x: Any) -> NDArray[Any]:
    return np.asarray(x).astype(np.complex128 if x.dtype.kind == "c" else np.float64)


def _inner(a: Any, b: Any) -> Any:
    return np.sum(np.real(np.conj(a) * b))


def _one_line(x: Any) -> str:
    return np.array2string(np.asarray(x), precision=8, threshold=12, separator=", ").replace("\n", "")


# -- arguments and values ------------------------------------------------------------------------


def _is_differentiable(x: Any) -> bool:
    return getattr(x, "dtype", np.asarray(x).dtype if isinstance(x, (float, complex)) else np.dtype(bool)).kind in "fc"


def _flattened(f: Callable[..., Any], args: Sequence[Any]) -> tuple[_Flat, list[NDArray[Any]], list[str]]:
    """Return `f` as a function of its differentiable leaves, the leaves, and their names.

    That function takes the leaves and returns those of the value of `f` that are differentiable, in a list.
    """
    leaves, structure = flatten([arg.numpy() if isinstance(arg, Array) else arg for arg in args])
    chosen = [i for i, leaf in enumerate(leaves) if _is_differentiable(leaf)]

    def flat(*xs: Any) -> list[Any]:
        given = dict(zip(chosen, xs))
        whole = structure([given.get(i, leaf) for i, leaf in enumerate(leaves)])
        return [y for y in flatten(f(*whole))[0] if _is_differentiable(y)]

    names = [f"argument {k}" + "".join(f"[{key!r}]" for key in keys) for k, *keys in structure.paths()]
    return flat, [np.asarray(leaves[i]) for i in chosen], [names[i] for i in chosen]


def _values(ys: Iterable[Any]) -> list[NDArray[Any]]:
    return [np.asarray(y.numpy() if isinstance(y, Array) else y) for y in ys]
