"""Discrete Fourier transforms, under the names of `np.fft`: all linear, so the transpose is the whole rule.

The ops are the transforms along one axis, in two pairs: `fft` and `ifft` are each the other's transpose. `rfft` and
`irfft` are, too, up to weights: a bin of half a spectrum counts once or twice in the whole. The other functions are
written with these.
"""
from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ad.errors import unsupported_argument
from ad.ops.axes import behind_lanes
from ad.ops.costs import transform
from ad.ops.domains import REAL
from ad.ops.forms import case, composite, linear
from ad.ops.indexing import getitem, put_zeros
from ad.ops.joining import roll
from ad.ops.shape_rules import in_order
from ad.ops.structure import Mixing, mixes_axis
from ad.ops.traits import Batching
from ad.ops.ufuncs import conjugate

__all__ = [
    "fft", "fft2", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft", "irfft2",
    "irfftn", "rfft", "rfft2", "rfftn",
]

# The transpose runs the other way by the same factor, which NumPy calls so there.
OTHER_WAY = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}

# -- along one axis -------------------------------------------------------------------------------


BATCHING = Batching(params=lambda ndim, n, axis, norm: (n, *behind_lanes(ndim, axis), norm))


def _whole(n: Any, x: Any, axis: Any) -> Any:
    """How many points a transform of `x` has."""
    return x.shape[axis] if n is None else n


def _halved(n: Any, x: Any, axis: Any) -> Any:
    """How many points there are where `x` is half a spectrum."""
    return 2 * (x.shape[axis] - 1) if n is None else n


def _structure(_i: int, xs: Any, y: Any, n: Any, axis: Any, _norm: Any) -> Mixing:
    """All along the axis, of which some may be cut off."""
    return mixes_axis(axis, xs[0], y, _whole(n, xs[0], axis))


def _structure_of_halves(_i: int, xs: Any, y: Any, n: Any, axis: Any, _norm: Any) -> Mixing:
    return mixes_axis(axis, xs[0], y, _halved(n, xs[0], axis) // 2 + 1)


def _shape_rule(points: Any, dtype: Any, halves: bool = False) -> Callable[..., Any]:
    """The shape rule of a transform: `points` and `dtype` follow from the input; `halves` is for `rfft`."""

    def shape_rule(x: Any, n: Any, axis: Any, norm: Any) -> Any:
        n, axis = operator.index(points(n, x, axis)), range(x.ndim)[axis]
        if n < 1 or norm not in OTHER_WAY or x.dtype.kind not in ("f" if halves else "fc") or not in_order(x):
            return None  # it raises, or the output has the order of the input
        return (*x.shape[:axis], n // 2 + 1 if halves else n, *x.shape[axis + 1 :]), dtype(x.dtype)

    return shape_rule


def _complex(dtype: Any) -> Any:
    return np.result_type(dtype, 1j)


def _real(dtype: Any) -> Any:
    return np.zeros(0, dtype).real.dtype


def _resized(x: Any, like: Any, axis: Any) -> Any:
    """`x` cut off, or followed by zeros, along an axis: the transpose of the same done to `like`."""
    axis, n = axis % x.ndim, like.shape[axis]
    before, lacking = (slice(None),) * axis, n - x.shape[axis]
    if lacking > 0:
        return put_zeros(x, (*before, slice(x.shape[axis])), (*x.shape[:axis], n, *x.shape[axis + 1 :]))
    return getitem(x, (*before, slice(n))) if lacking else x


def _counts(n: Any, x: Any, axis: Any) -> Any:
    """How often a bin of half a spectrum is in the whole: twice, but for the first, and the last of an even number."""
    counts = np.full(n // 2 + 1, 2, x.dtype)
    counts[0] = counts[n - n // 2 :] = 1
    return counts.reshape((-1,) + (1,) * (x.ndim - 1 - axis % x.ndim))


def _pull_rfft(y_bar: Any, x: Any, n: Any, axis: Any, norm: Any) -> Any:
    n = _whole(n, x, axis)
    return _resized(irfft(y_bar * (1 / _counts(n, x, axis)), n, axis, OTHER_WAY[norm]), x, axis)


def _pull_irfft(y_bar: Any, x: Any, n: Any, axis: Any, norm: Any) -> Any:
    n = _halved(n, x, axis)
    return _resized(_counts(n, y_bar, axis) * rfft(y_bar, n, axis, OTHER_WAY[norm]), x, axis)


_CASES = (
    case((4,)), case((5,)), case((2, 3)), case((3, 2), axis=0), case((2, 3, 2), axis=-2), case((4,), n=3),
    case((2, 3), n=5), case((3, 2), n=2, axis=0), case((4,), norm="ortho"), case((5,), norm="forward"),
    case((3,), n=6, norm="backward"), case((1,)), case((0, 2)),
)
_HALVES = (case((2,)), case((3,), n=1), case((3,), n=5), case((3,), n=4), case((2, 2), n=7, axis=0, norm="ortho"))


def _pull_fft(y_bar: Any, x: Any, n: Any, axis: Any, norm: Any) -> Any:
    return _resized(ifft(y_bar, None, axis, OTHER_WAY[norm]), x, axis)


@linear(np.fft.fft, domain=REAL, cases=_CASES, batching=BATCHING, operations=transform(5),
        shape_rule=_shape_rule(_whole, _complex), structure=_structure, transpose=_pull_fft)
def fft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None) -> Any:
    return np.fft.fft(a, n, axis, norm)


@linear(np.fft.ifft, domain=REAL, cases=_CASES, batching=BATCHING, operations=transform(5),
        shape_rule=_shape_rule(_whole, _complex), structure=_structure,
        transpose=lambda y_bar, x, n, axis, norm: _resized(fft(y_bar, None, axis, OTHER_WAY[norm]), x, axis))
def ifft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None) -> Any:
    return np.fft.ifft(a, n, axis, norm)


@linear(np.fft.rfft, domain=REAL, cases=_CASES, batching=BATCHING, operations=transform(2.5),
        transpose=_pull_rfft, structure=_structure,
        shape_rule=_shape_rule(_whole, _complex, halves=True))
def rfft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None) -> Any:
    return np.fft.rfft(a, n, axis, norm)


@linear(np.fft.irfft, domain=REAL, cases=_CASES[:-2] + _HALVES, batching=BATCHING, operations=transform(2.5),
        transpose=_pull_irfft, structure=_structure_of_halves,
        shape_rule=_shape_rule(_halved, _real))
def irfft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None) -> Any:
    return np.fft.irfft(a, n, axis, norm)


# -- written with these ---------------------------------------------------------------------------


def _refuse(name: str, out: Any) -> None:
    if out is not None:
        raise unsupported_argument(name, "out", out, "Use the result instead.")


@composite(np.fft.hfft, domain=REAL, cases=_CASES[:-2] + _HALVES)
def hfft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> Any:
    _refuse("hfft", out)
    return irfft(conjugate(a), n, axis, OTHER_WAY.get(norm, norm))


@composite(np.fft.ihfft, domain=REAL, cases=_CASES)
def ihfft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> Any:
    _refuse("ihfft", out)
    return conjugate(rfft(a, n, axis, OTHER_WAY.get(norm, norm)))


def _steps(a: Any, s: Any, axes: Any, half: bool = False) -> list[Any]:
    """A length and an axis for each transform of one axis; the last of them may be that of half a spectrum."""
    if axes is None:
        axes = range(-(a.ndim if s is None else len(s)), 0)
    if s is None:
        s = [a.shape[axis] for axis in axes]
        if half:
            s[-1] = 2 * (s[-1] - 1)
    if len(s) != len(axes):
        raise ValueError(f"ad.fft: s={tuple(s)} and axes={tuple(axes)} have different lengths")
    return [(a.shape[axis] if n == -1 else n, axis) for n, axis in zip(s, axes)]


def _along(transform: Any, a: Any, steps: Any, norm: Any) -> Any:
    for n, axis in steps:
        a = transform(a, n, axis, norm)
    return a


def _complex_forward(a: Any, s: Any, axes: Any, norm: Any) -> Any:
    return _along(fft, a, _steps(a, s, axes)[::-1], norm)


def _complex_inverse(a: Any, s: Any, axes: Any, norm: Any) -> Any:
    return _along(ifft, a, _steps(a, s, axes)[::-1], norm)


def _real_forward(a: Any, s: Any, axes: Any, norm: Any) -> Any:
    steps = _steps(a, s, axes)[::-1]
    return _along(fft, rfft(a, *steps[0], norm), steps[1:], norm)


def _real_inverse(a: Any, s: Any, axes: Any, norm: Any) -> Any:
    steps = _steps(a, s, axes, half=True)
    return irfft(_along(ifft, a, steps[:-1], norm), *steps[-1], norm)


def _over_axes(numpy: Any, run: Any, default: Any, *cases: Any) -> Any:
    """The function of several axes that NumPy has under this name."""

    def function(a: Any, s: Any = None, axes: Any = default, norm: Any = None, out: Any = None) -> Any:
        _refuse(numpy.__name__, out)
        return run(a, s, axes, norm)

    function.__name__ = numpy.__name__
    return composite(numpy, domain=REAL, cases=cases)(function)


_PLANES = (case((3, 4)), case((2, 3, 2), axes=(0, 1)), case((2, 3), s=(3, 2), norm="ortho"))
_BLOCKS = (case((4,)), case((2, 3, 2)), case((3, 2, 2), axes=(2, 0), norm="ortho"), case((2, 3), axes=(-1,)),
           case((2, 3, 2), s=(4, -1), axes=(1, 2), norm="forward"), case((2, 3), axes=(1, 1)),
           case((3, 2), s=(2, 4), axes=(0, 0)))

fft2 = _over_axes(np.fft.fft2, _complex_forward, (-2, -1), *_PLANES)
ifft2 = _over_axes(np.fft.ifft2, _complex_inverse, (-2, -1), *_PLANES)
rfft2 = _over_axes(np.fft.rfft2, _real_forward, (-2, -1), *_PLANES)
irfft2 = _over_axes(np.fft.irfft2, _real_inverse, (-2, -1), *_PLANES)
fftn = _over_axes(np.fft.fftn, _complex_forward, None, *_BLOCKS, case((2, 3), axes=()))
ifftn = _over_axes(np.fft.ifftn, _complex_inverse, None, *_BLOCKS, case((2, 3), axes=()))
rfftn = _over_axes(np.fft.rfftn, _real_forward, None, *_BLOCKS)
irfftn = _over_axes(np.fft.irfftn, _real_inverse, None, *_BLOCKS)

# -- the order of the bins ------------------------------------------------------------------------

_SHIFTS = (case((4,)), case((3, 5)), case((2, 3, 4), axes=1), case((3, 5), axes=(-1, 0)), case((3,), axes=(0, 0)))


def _shifted(x: Any, axes: Any, way: Any) -> Any:
    """Every axis rolled by half its length, one way or the other."""
    axes = range(x.ndim) if axes is None else (axes,) if isinstance(axes, (int, np.integer)) else axes
    return roll(x, [way * (x.shape[axis] // 2) for axis in axes], tuple(axes))


@composite(np.fft.fftshift, domain=REAL, cases=_SHIFTS)
def fftshift(x: Any, axes: Any = None) -> Any:
    return _shifted(x, axes, 1)


@composite(np.fft.ifftshift, domain=REAL, cases=_SHIFTS)
def ifftshift(x: Any, axes: Any = None) -> Any:
    return _shifted(x, axes, -1)
