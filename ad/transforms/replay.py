"""Ops of functions that a program calls again in each replay, because it cannot record what they do.

Such an op evaluates by calling a Python function while no program is recorded. Its derivatives call the function again,
within a reverse sweep or a forward level. They are ops of the same kind, so derivatives of any order exist.
"""
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ad._core import Array, apply, constant
from ad.engine import boundary, sweep
from ad.engine.array import public_value
from ad.engine.graph import Op
from ad.engine.inspection import Untraced
from ad.engine.variable import Variable
from ad.errors import MissingRule
from ad.ops.batching import over_lanes
from ad.ops.forms import ALL_VALUES
from ad.ops.own_rules import OnceASweep

__all__ = ["Rerun", "Reruns", "refuse_tangents"]


def refuse_tangents(name: str, variables: Mapping[int, Variable], x_dots: Sequence[Any]) -> None:
    """Raise MissingRule if variables that a function reads by itself, inputs of its op, have tangents."""
    for i, variable in variables.items():
        if x_dots[i] is not None:
            raise MissingRule(f"ad: {name} has no forward rule for variable {variable.name!r}, which is not among its "
                              "arguments")


class Rerun:
    """The op of a function that every replay calls again.

    Parameters
    ----------
    name : str
    function : callable
        Takes and returns lists of Arrays.
    variables : dict
        Position of an input -> the Variable that it is the value of, which the function reads by itself.
    outputs : int or list
        How many there are; or the values of the first evaluation, which the caller has computed already.
    """

    def __init__(self, name: str, function: Callable[[list[Any]], list[Any]], variables: Mapping[int, Variable],
                 outputs: int | list[Any]) -> None:
        self.name, self.function, self.variables = name, function, variables
        self.n_outputs = outputs if isinstance(outputs, int) else len(outputs)
        self.first = None if isinstance(outputs, int) else outputs
        self.op = Op(name, "custom", self.evaluate, jvp=self.jvp, vjp=self.vjp, needs=(ALL_VALUES,),
                     outputs=self.n_outputs)
        self.pullback: Rerun | None = None
        self.once = OnceASweep(2)  # every call of the pullback is one of the function
        self.pushforwards: dict[tuple[int, ...], Rerun] = {}

    def __call__(self, inputs: Sequence[Any]) -> list[Array]:
        """Apply the op; return its outputs as a list of Arrays."""
        found = apply(self.op, tuple(inputs), ())
        return list(found) if self.n_outputs > 1 else [found]

    def evaluate(self, *values: Any) -> Any:
        """Evaluate the op on raw values."""
        found, self.first = self.first, None
        if found is None:
            with Untraced():
                found = [public_value(y) for y in self.function([constant(x) for x in values])]
        return tuple(found) if self.n_outputs > 1 else found[0]

    # -- reverse

    def vjp(self, i: int, y_bar: Any, xs: tuple[Any, ...], y: Any, params: tuple[Any, ...]) -> Any:
        return self.once.cotangents(self.all_pulled, y_bar, xs, y, params)[i]

    def all_pulled(self, y_bar: Any, xs: tuple[Any, ...], y: Any, params: tuple[Any, ...]) -> list[Array]:
        if self.pullback is None:
            self.pullback = Rerun(f"{self.name}_vjp", self.pulled, self.variables, len(xs))
        return self.pullback([*xs, *(y_bar if self.n_outputs > 1 else [y_bar])])

    def pulled(self, inputs: list[Any]) -> list[Any]:
        """Compute the inputs' cotangents from the inputs and the outputs' cotangents."""
        xs, y_bars = inputs[:-self.n_outputs], inputs[-self.n_outputs:]
        recorder, sources, ys = sweep.run_recorded(lambda *xs: self.function(list(xs)), xs)
        sources = [self.variables.get(i, x) for i, x in enumerate(sources)]
        x_bars = sweep.pull_back(recorder, ys, sources, y_bars)
        return [boundary.zeros_like(x, True) if x_bar is None else x_bar for x, x_bar in zip(xs, x_bars)]

    # -- forward

    def jvp(self, x_dots: tuple[Any, ...], xs: tuple[Any, ...], y: Any, params: tuple[Any, ...]) -> Any:
        refuse_tangents(self.name, self.variables, x_dots)
        given = tuple([i for i, x_dot in enumerate(x_dots) if x_dot is not None])
        if given not in self.pushforwards:
            self.pushforwards[given] = Rerun(f"{self.name}_jvp", lambda inputs: self.pushed(given, inputs),
                                             self.variables, self.n_outputs)

        def push(*dots: Any) -> Any:
            found = self.pushforwards[given]([*xs, *[dots[i] for i in given]])
            return tuple(found) if self.n_outputs > 1 else found[0]

        return over_lanes(push, x_dots, xs)

    def pushed(self, given: tuple[int, ...], inputs: list[Any]) -> list[Any]:
        """Compute the outputs' tangents from the inputs and the tangents of the inputs `given`."""
        n = len(inputs) - len(given)
        x_dots = dict(zip(given, inputs[n:]))
        ys, y_dots = boundary.push_level(lambda *xs: self.function(list(xs)), inputs[:n],
                                         [x_dots.get(i) for i in range(n)])
        return [boundary.zeros_like(y, True) if y_dot is None else y_dot for y, y_dot in zip(ys, y_dots)]


class Reruns:
    """The ops of the calls of one function: equal calls have one, so that a program computes it once."""

    def __init__(self) -> None:
        self.ops: dict[Any, Rerun] = {}

    def known(self, fixed: Sequence[Any], op: Rerun) -> Rerun:
        """Return the op of an earlier call that had the same things in common with all its replays; or this one."""
        key = tuple([(type(x), repr(x) if isinstance(x, (float, complex)) else x) for x in fixed])  # 1 is not True
        try:
            found = self.ops.setdefault((key, op.n_outputs), op)
        except TypeError:  # unhashable
            return op
        found.first = op.first
        return found
