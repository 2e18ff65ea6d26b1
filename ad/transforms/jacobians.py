"""Jacobians, block by block, by sweeps over the recorded function in many directions at once."""
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from ad._core import Array
from ad.engine import boundary
from ad.engine.inspection import is_tracing, lift_constant
from ad.engine.sweep import SweepPlan
from ad.transforms.differentiated_call import DifferentiatedCall

__all__ = ["by_lanes", "check_real", "matrix", "rows", "set_lane_mapper"]

Pullback: TypeAlias = Callable[[Any], Sequence[Any]]

# The most elements that the tangents of one value may have when many directions go through a function at once. A
# program that is being recorded may have more, because it runs over them in blocks.
MAX_LANE_ELEMENTS = 1 << 16
MAX_RECORDED_ELEMENTS = 1 << 24


# `compiler.tracing.lanes.pull_lanes`, from the time a function can be recorded: the compiler imports the transforms.
_lane_mapper: Callable[[Pullback, NDArray[Any]], Any] | None = None


def set_lane_mapper(function: Callable[[Pullback, NDArray[Any]], Any]) -> None:
    """Set the function that applies a sweep to many seeds at once, in a program that is being recorded."""
    global _lane_mapper
    _lane_mapper = function


def matrix(call: DifferentiatedCall, plan: SweepPlan, ys: list[Array], mode: str | None = None, batch: int = 0) -> Any:
    """Return the Jacobian of a recorded call, in the container of the function's value.

    Parameters
    ----------
    call : DifferentiatedCall
    plan, ys
        The result of `call.record()`.
    mode : {"forward", "reverse"}, optional
    batch : int
        1 if the first axis of inputs and outputs is one of rows.
    """
    if batch:
        _check_rows(call.xs, ys)
    mode = mode or _cheaper(call.xs, ys)
    _check_complex(call.transform, mode, call.xs, ys)
    blocks = (_by_columns if mode == "forward" else _by_rows)(plan, call.xs, ys, batch)
    return call.returned([call.blocks(y, row, batch) for y, row in zip(ys, blocks)])


def _cheaper(xs: list[Array], ys: list[Array]) -> str:
    """Return the mode that costs less; forward for complex numbers, which have no other."""
    if any(value.dtype.kind == "c" for value in (*xs, *ys)):
        return "forward"
    # Forward sweeps share one pass for all directions, and each row takes a reverse sweep: a direction is cheaper.
    return "forward" if _size(xs) <= 2 * _size(ys) else "reverse"


def _size(values: Iterable[Array]) -> int:
    return sum(value.size for value in values)


def check_real(transform: str, values: Iterable[Array]) -> None:
    """Raise if one of the values is complex."""
    if any(value.dtype.kind == "c" for value in values):
        raise TypeError(f"ad.{transform}: not for complex numbers; write the function in real and imaginary parts")


def _check_complex(transform: str, mode: str, xs: list[Array], ys: list[Array]) -> None:
    """Raise if the Jacobian of complex values is not defined, or not by this mode."""
    if mode == "reverse" and any(value.dtype.kind == "c" for value in (*xs, *ys)):
        raise TypeError(f"ad.{transform}: reverse mode is for real numbers; use mode='forward', or ad.vjp")
    if any(x.dtype.kind == "c" for x in xs) and any(y.dtype.kind != "c" for y in ys):
        raise TypeError(f"ad.{transform}: a real output of a complex input has no complex derivative; use ad.grad, "
                        "ad.vjp")


def _check_rows(xs: list[Array], ys: list[Array]) -> None:
    shapes = [value.shape for value in (*xs, *ys)]
    if any(shape[:1] != shapes[0][:1] or not shape for shape in shapes):
        raise ValueError(f"ad.batch_jacobian: arguments and outputs have shapes {', '.join(map(str, shapes))}; the "
                         "first axis must be one of rows, the same in all. For anything else use ad.jacobian")


def by_lanes(plan: SweepPlan, xs: list[Array], ys: Sequence[Any], batch: int = 0) -> list[list[Any]]:
    """Return `blocks[i][k]` of shape `xs[i].shape[batch:] + ys[k].shape`, by forward sweeps in many directions."""
    blocks = []
    for i, x in enumerate(xs):
        pieces = [_push_chunk(plan, xs, i, _one_hot(x, start, stop, batch)) for start, stop in _chunks(x, ys, batch)]
        blocks.append([_joined([piece[k] for piece in pieces], x.shape[batch:] + y.shape) for k, y in enumerate(ys)])
    return blocks


def _push_chunk(plan: SweepPlan, xs: list[Array], i: int, x_dots: NDArray[Any]) -> list[Array | None]:
    """Return the outputs' tangents for lanes of tangents of input i."""
    seeds = [None] * len(xs)
    seeds[i] = lift_constant(x_dots)
    return boundary.push(plan, seeds)


def _one_hot(x: Array, start: int, stop: int, batch: int = 0) -> NDArray[Any]:
    """Return a lane for each element of x (of its rows, with batch=1) from `start` to `stop`: 1 there, 0 elsewhere."""
    shape = k, rows, n = stop - start, math.prod(x.shape[:batch]), math.prod(x.shape[batch:])
    if is_tracing():  # the program keeps them: all lanes are views of one line of zeros with a 1, each shifted by one
        line = np.zeros(k + n, x.dtype)
        line[k + start] = 1
        lanes = as_strided(line[k:], shape, (-line.itemsize, 0, line.itemsize))
    else:
        lanes = np.zeros(shape, x.dtype)
        lanes[np.arange(k), :, np.arange(start, stop)] = 1
    return lanes.reshape(k, *x.shape)


def _chunks(x: Array, ys: Sequence[Any], batch: int = 0) -> list[tuple[int, int]]:
    """Return ranges (start, stop) that together cover the elements of x (of a row of it, with batch=1)."""
    most = MAX_RECORDED_ELEMENTS if is_tracing() else MAX_LANE_ELEMENTS
    n, step = math.prod(x.shape[batch:]), max(1, most // max(x.size, *[y.size for y in ys], 1))
    return [(start, min(start + step, n)) for start in range(0, n, step)]


def _by_columns(plan: SweepPlan, xs: list[Array], ys: list[Array], batch: int = 0) -> list[list[Any]]:
    """Return `blocks[k][i]` of shape `ys[k].shape + xs[i].shape[batch:]`, by forward sweeps."""
    lanes = by_lanes(plan, xs, ys, batch)
    return [[_axes_moved_back(lanes[i][k], x.ndim - batch, y.ndim) for i, x in enumerate(xs)] for k, y in enumerate(ys)]


def _axes_moved_back(block: Any, m: int, n: int) -> Any:
    """Move the first m axes of a block behind the n others."""
    if block is None or not m or not n:
        return block
    return np.transpose(block, (*range(m, m + n), *range(m)))


def _by_rows(plan: SweepPlan, xs: list[Array], ys: list[Array], batch: int = 0) -> list[list[Any]]:
    """Return `blocks[k][i]` of shape `ys[k].shape + xs[i].shape[batch:]`, by reverse sweeps."""
    return [rows(functools.partial(_pull_row, plan, k, len(ys)), y, xs, batch)
            if y.dtype.kind == "f" else [None] * len(xs) for k, y in enumerate(ys)]


def _pull_row(plan: SweepPlan, k: int, n: int, y_bar: Any) -> list[Array | None]:
    """Return the inputs' cotangents for a cotangent of output k of n."""
    seeds: list[Any] = [None] * n
    seeds[k] = y_bar
    return boundary.pull(plan, seeds)


def rows(pull: Pullback, y: Array, xs: Sequence[Array], batch: int = 0) -> list[Any]:
    """Return for each input a block of shape `y.shape + x.shape[batch:]`, or None, by a reverse sweep for each row.

    A program that is being recorded gets one sweep over lanes instead, which is shorter and faster to replay. Outside
    of a program, recording the sweep would cost more than it saves.

    Parameters
    ----------
    pull : callable
        `pull(y_bar)` is a sweep: it returns the cotangents of `xs`, None where unconnected.
    y : Array
    xs : list of Array
    batch : int
        1 if the first axis of `y` and of each x is one of rows, which then share a sweep for each element of a row.
    """
    chunks, pieces = _chunks(y, xs, batch), []
    for start, stop in chunks:
        seeds = _one_hot(y, start, stop, batch)
        found = _lane_mapper(pull, seeds) if _lane_mapper and is_tracing() else None
        pieces.append(found or _stacked_rows([pull(seed) for seed in seeds], xs))
    lanes = [_connected([piece[i] for piece in pieces], chunks, x) for i, x in enumerate(xs)]
    blocks = [_joined(parts, y.shape[batch:] + x.shape) for parts, x in zip(lanes, xs)]
    return [_batch_first(block, y) for block in blocks] if batch else blocks


def _connected(pieces: list[Any], chunks: list[tuple[int, int]], x: Array) -> list[Any]:
    """Replace the chunks that do not depend on x by zeros; return an empty list if no chunk depends on it."""
    if all(piece is None for piece in pieces):
        return []
    return [np.zeros((stop - start, *x.shape), x.dtype) if piece is None else piece
            for piece, (start, stop) in zip(pieces, chunks)]


def _batch_first(block: Any, y: Array) -> Any:
    """Move the axis of rows: from `y.shape[1:] + x.shape` to `y.shape + x.shape[1:]`."""
    return None if block is None else np.moveaxis(block, y.ndim - 1, 0)


def _stacked_rows(rows: list[Sequence[Any]], xs: Sequence[Array]) -> list[Any]:
    return [_stacked([row[i] for row in rows], x) for i, x in enumerate(xs)]


def _joined(pieces: list[Any], shape: tuple[int, ...]) -> Any:
    """Join the lanes of several chunks to a block; an Array if a chunk is being differentiated or recorded."""
    if not pieces or pieces[0] is None:
        return None
    if not any(isinstance(piece, Array) and boundary.live(piece) for piece in pieces):
        pieces = [boundary.hand_over_new(piece, False) if isinstance(piece, Array) else piece for piece in pieces]
    return _shaped(pieces[0] if len(pieces) == 1 else np.concatenate(pieces), shape)


def _stacked(rows: list[Any], x: Array) -> Any:
    """Stack cotangents as lanes; an Array if one of them is being differentiated or recorded."""
    connected = [row for row in rows if row is not None]
    if not connected:
        return None
    if any(boundary.live(row) for row in connected):
        return np.stack([np.zeros(x.shape, x.dtype) if row is None else row for row in rows])
    block = np.empty((len(rows), *x.shape), x.dtype)
    for j, row in enumerate(rows):
        block[j] = 0 if row is None else row.numpy()
    return block


def _shaped(block: Any, shape: tuple[int, ...]) -> Any:
    return block if block.shape == shape else np.reshape(block, shape)
