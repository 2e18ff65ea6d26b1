"""Linear maps written in ops, and their transposes: a rule of one mode from that of the other."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ad._core import Array, constant
from ad.engine import sweep
from ad.engine.array import public_value

__all__ = ["NotLinear", "apply_transpose"]


class NotLinear(Exception):
    """A result of a map that should be linear is a constant other than zero."""


def apply_transpose(linear: Callable[..., Sequence[Array | None]], like: Sequence[Any], bars: Sequence[Any],
                    checked: bool = False) -> list[Array | None]:
    """Apply the transpose of a linear map: run the map under a recorder, and sweep back.

    Parameters
    ----------
    linear : callable
        `linear(*dots)` returns a sequence of Arrays, or of None for zeros.
    like : sequence
        Values with the shapes and dtypes of `dots`.
    bars : sequence
        A cotangent for each result, or None.
    checked : bool
        Whether to check that each result depends on `dots`, unless it is zero.

    Returns
    -------
    list
        The cotangents of `dots`; None where no result depends on one.

    Raises
    ------
    NotLinear
    """
    ones: list[Any] = [constant(np.ones(x.shape, x.dtype if x.dtype.kind in "fc" else float)) for x in like]
    recorder, dots, found = sweep.run_recorded(linear, ones)
    used = [(y, bar) for y, bar in zip(found, bars) if y is not None and bar is not None]
    if checked:
        for y, _ in used:
            if sweep.SweepPlan(recorder, [y], dots).is_independent() and np.any(public_value(y)):
                raise NotLinear
    return sweep.pull_back(recorder, [y for y, _ in used], dots, [bar for _, bar in used])
