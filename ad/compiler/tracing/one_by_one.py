"""Ops without a batching rule: another op, which runs them on one lane after the other."""
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ad.engine.graph import Op
from ad.ops.batching import over_lanes, total
from ad.ops.forms import ALL_VALUES
from ad.ops.table import TABLE

__all__ = ["one_by_one"]


@functools.cache
def one_by_one(op: Op, has_lanes: tuple[bool, ...]) -> Op:
    """Return the op that runs `op` on one lane after the other.

    Parameters
    ----------
    op : Op
    has_lanes : tuple of bool
        For each input whether it has lanes, a leading axis; at least one has. The outputs have them.

    Returns
    -------
    Op
    """
    rules = OneByOne(op, has_lanes)
    differentiable = op.form != "nondifferentiable"
    return Op(
        f"{op.name}_by_lanes", "custom" if differentiable else op.form, rules.fn,
        jvp=rules.jvp if differentiable else op.jvp, vjp=rules.vjp if differentiable else op.vjp,
        needs=(ALL_VALUES,), parameters=op.parameters, outputs=op.outputs)


class OneByOne:
    """The function and the rules of an op that runs another op on one lane after the other."""

    def __init__(self, op: Op, has_lanes: tuple[bool, ...]) -> None:
        self.op, self.has_lanes, self.first = op, has_lanes, has_lanes.index(True)

    def fn(self, *args: Any) -> Any:
        xs, params = args[:len(self.has_lanes)], args[len(self.has_lanes):]
        return _stacked(np.stack, [self.op.fn(*self._at(lane, xs), *params) for lane in self._lanes(xs)])

    def vjp(self, i: int, y_bar: Any, xs: Sequence[Any], y: Any, params: tuple[Any, ...]) -> Any:
        rule: Any = self.op.vjp
        rows = [rule(i, _lane(y_bar, lane), self._at(lane, xs), _lane(y, lane), params) for lane in self._lanes(xs)]
        if rows[0] is None:
            return None
        return TABLE["stack"].function(rows) if self.has_lanes[i] else total(rows)

    def jvp(self, x_dots: Sequence[Any], xs: Sequence[Any], y: Any, params: tuple[Any, ...]) -> Any:
        rule: Any = self.op.jvp

        def push(*dots: Any) -> Any:
            """Return the output's tangent for tangents in one direction."""
            rows = [rule(self._at(lane, dots), self._at(lane, xs), _lane(y, lane), params) for lane in self._lanes(xs)]
            return _stacked(TABLE["stack"].function, rows)

        return over_lanes(push, x_dots, xs)

    def _lanes(self, xs: Sequence[Any]) -> range:
        return range(xs[self.first].shape[0])

    def _at(self, lane: int, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return one lane of the inputs or of their tangents."""
        return tuple([x[lane] if has and x is not None else x for x, has in zip(values, self.has_lanes)])


def _lane(y: Any, lane: int) -> Any:
    """Return one lane of an output, or of each of several outputs."""
    return tuple([None if part is None else part[lane] for part in y]) if isinstance(y, tuple) else y[lane]


def _stacked(stack: Any, rows: list[Any]) -> Any:
    """Stack the outputs of all lanes, or each of several outputs."""
    return tuple([stack(parts) for parts in zip(*rows)]) if isinstance(rows[0], tuple) else stack(rows)
