"""Programs: what a function did, as a graph of instructions that can be run again without the function."""
import operator
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ad._core import Array
from ad.compiler import serialization
from ad.compiler.compile import derivative
from ad.compiler.ir import costs, printing
from ad.compiler.ir.graph import Graph, Instruction, Slots
from ad.compiler.ir.guards import Guard
from ad.compiler.ir.interpreting import interpret_graph
from ad.compiler.ir.keys import frozen
from ad.compiler.machine import machine_for
from ad.compiler.machine.vm import Machine
from ad.compiler.tracing.recording import visible_value
from ad.engine.array import is_traced, is_watched, public_value
from ad.engine.graph import Aval
from ad.engine.inspection import concrete
from ad.engine.variable import Variable, stop_gradient
from ad.errors import another_argument, another_call, another_input, cannot_write, lost_guard, lost_rule
from ad.trees import PartialTree

__all__ = ["Cost", "Program", "from_bytes", "load", "to_bytes"]

NUMBERS = (float, complex)  # types in which zeros differ by their sign, and nan equals nan


class Cost(NamedTuple):
    """What one run of a program does."""

    operations: int  # floating point operations on single elements
    bytes: int       # read and written, if every instruction fetches its inputs from memory and stores its outputs


@dataclass(frozen=True, eq=False, repr=False)
class Program:
    """A graph, and what a call of it needs: trees of arguments and results, guards, and a machine.

    `len(program)` is the number of instructions.

    Parameters
    ----------
    graph : Graph
        Its last outputs are the values that the guards check, one for each guard; they are no results.
    arguments, results : PartialTree or None
        How a call's arguments `(args, kwargs)` hold the inputs, and how the result holds the outputs; None for flat
        lists.
    guards : tuple of Guard
        The Python values that the function saw while it was traced. The program holds for these values only.
    has_custom_rules : bool
        Whether a function under `custom_gradient` was recorded: its ops are in the graph, its rule is not.
    """

    graph: Graph
    arguments: PartialTree | None = None
    results: PartialTree | None = None
    guards: tuple[Guard, ...] = ()
    has_custom_rules: bool = False
    _machine: Machine | None = field(default=None, init=False)
    _derivatives: dict[str, Callable[..., Any]] = field(default_factory=dict, init=False)

    @property
    def inputs(self) -> Slots:
        return self.graph.inputs

    @property
    def outputs(self) -> Slots:
        return self.graph.outputs

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        return self.graph.instructions

    @property
    def constants(self) -> dict[int, Any]:
        return self.graph.constants

    @property
    def avals(self) -> tuple[Aval, ...]:
        return self.graph.avals

    def __len__(self) -> int:
        return len(self.instructions)

    def __bool__(self) -> bool:
        return True  # without instructions, too

    def __repr__(self) -> str:
        return (f"<program of {len(self.instructions)} instructions, {len(self.inputs)} inputs, "
                f"{len(self.outputs)} outputs>")

    def __str__(self) -> str:
        return printing.text(self.graph, self.guards)

    @property
    def machine(self) -> Machine:
        """The machine that runs the graph; made at the first run."""
        found = self._machine
        if found is None:
            found = machine_for(self.graph)
            object.__setattr__(self, "_machine", found)
        return found

    def __call__(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """Run the program, from any thread.

        Parameters
        ----------
        *args, **kwargs
            Arguments like those that the function was recorded with, of other values. If one is being differentiated,
            the ops of the program run one by one and are recorded as any others.
        out : optional
            A tree of ndarrays like the results, into which they are written. If the call is refused, they are not
            changed; if an op raises (a matrix is singular), some may have been written.

        Returns
        -------
        object
            What the function returns for these values.

        Raises
        ------
        ValueError
            If a value has another shape or dtype than was recorded, or a guard does not hold.
        TypeError
            If `out` is given and an argument is being differentiated, or if a result cannot be cast to a dtype in it.
        MissingRule
            If an argument is being differentiated and the rule of a `custom_gradient` is not in the program.
        """
        values, targets = self.values(args, kwargs), None
        if out is not None:
            values, targets = [*map(_without_derivative, values)], self._targets(out)
        if any(isinstance(value, Array) for value in values):
            self._check(values)
            if self.has_custom_rules and any(isinstance(x, Array) and is_watched(x) for x in values):
                raise lost_rule()
            found = self.interpreted(values)
        else:
            found = self.machine.run(values, None if self.guards else targets)
        count = len(found) - len(self.guards)
        self._check_guards(found[count:])
        if self.guards and targets:
            found = [*map(_written, targets, found)]  # not before the guards are known to hold
        return found[:count] if self.results is None else self.results(found[:count])

    def _check_guards(self, found: Sequence[Any]) -> None:
        for guard, value in zip(self.guards, found):
            value = concrete(value) if guard.kind == "array" else stop_gradient(value)
            if not guard.holds(value):
                raise lost_guard(guard, visible_value(value))

    def values(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """Return the values of the inputs in the arguments of a call.

        Parameters
        ----------
        args : tuple
        kwargs : dict

        Returns
        -------
        list
        """
        if self.arguments is None:
            return list(args)
        positional, named = self.arguments.structure.children
        if len(args) != len(positional.children) or set(kwargs) != set(named.keys):
            raise another_call(positional.children, named.keys, args, kwargs)
        return self.arguments.values((args, kwargs), "the call of a program", check_fixed)

    def _targets(self, out: Any) -> list[Any]:
        """Return the array that each output is written to, None for what guards check."""
        found = list(out) if self.results is None else self.results.values(out, "out")
        found += [None] * len(self.guards)
        self.machine.check(found)
        return found

    def _check(self, values: Sequence[Any]) -> None:
        if len(values) != len(self.inputs):
            raise ValueError(f"ad: this program takes {len(self.inputs)} values, not {len(values)}")
        for i, (slot, value) in enumerate(zip(self.inputs, values)):
            aval, dtype = self.avals[slot], getattr(value, "dtype", type(value))
            if np.shape(value) != aval.shape or not np.can_cast(dtype, aval.dtype):
                raise another_input(i, aval, np.shape(value), dtype)

    def interpreted(self, values: Sequence[Any]) -> list[Any]:
        """Run each instruction as an op on Arrays, which is recorded and has tangents as any other.

        Parameters
        ----------
        values : sequence
            One for each input.

        Returns
        -------
        list
            The outputs.
        """
        return interpret_graph(self.graph, values)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
        """Return the result of the program and its derivative in a direction.

        The derivative is recorded at the first call, and replayed after that.

        Parameters
        ----------
        primals : tuple or list
            The positional arguments of a call.
        tangents : tuple or list
            One for each primal, with its structure and shapes.

        Returns
        -------
        y, y_dot
            As of `ad.jvp`.
        """
        y, y_dot = self._derivative("jvp")(tuple(primals), tuple(tangents))
        return y, y_dot

    def vjp(self, primals: Sequence[Any], y_bar: Any) -> tuple[Any, tuple[Any, ...]]:
        """Return the result of the program and the cotangents of its arguments.

        The derivative is recorded at the first call, and replayed after that.

        Parameters
        ----------
        primals : tuple or list
            The positional arguments of a call.
        y_bar
            A cotangent with the structure and shapes of the result.

        Returns
        -------
        y
            The result of the program.
        x_bars : tuple
            One cotangent for each primal.
        """
        y, x_bars = self._derivative("vjp")(tuple(primals), y_bar)
        return y, x_bars

    def hvp(self, primals: Sequence[Any], v: Sequence[Any]) -> tuple[Any, ...]:
        """Return the Hessian of a program that gives one real number, times a vector.

        The derivative is recorded at the first call, and replayed after that.

        Parameters
        ----------
        primals : tuple or list
            The positional arguments of a call.
        v : tuple or list
            The vector: a part for each primal, with its structure and shapes.

        Returns
        -------
        tuple
            The product, in the same structure.
        """
        return tuple(self._derivative("hvp")(tuple(primals), tuple(v)))

    def _derivative(self, name: str) -> Callable[..., Any]:
        found = self._derivatives.get(name)
        if found is None:
            found = self._derivatives[name] = derivative(self, name)
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return from_bytes, (to_bytes(self),)

    def cost(self) -> Cost:
        """Return the operations and bytes of one run, counted by instruction; no fusion is assumed.

        An elementwise op counts one operation for each element of its result, a reduction one for each element of its
        operand, a product of matrices two for each pair of factors, a factorization of an n x n matrix n^3, and an op
        that only moves elements none.

        Returns
        -------
        Cost
            A named tuple `(operations, bytes)`.
        """
        return Cost(sum([costs.operations(self.graph, i) for i in self.instructions]),
                    sum([costs.bytes_moved(self.graph, i) for i in self.instructions]))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the program to a file, from which `ad.load` reads it.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        TypeError
            If an op of the program is not in the table, such as that of a function under `custom_gradient`; or is one
            by `ad.ops` that no name of a module leads to.
        """
        serialization.save(_contents(self), path)


def load(path: str | os.PathLike[str]) -> Program:
    """Read the program that `Program.save` wrote to a file. Nothing in the file is run.

    Ops by `ad.ops` are taken from the modules that define them, which must be imported before.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    Program

    Raises
    ------
    ValueError
        If the file is no saved program, damaged, cut short, or of a newer version of the format; or if a module that
        it takes an op from is not imported.
    TypeError
        If `path` is no path.
    """
    return Program(*serialization.load(path))


def to_bytes(program: Program) -> bytes:
    """Return the bytes of a file that holds a program."""
    return serialization.to_bytes(_contents(program))


def from_bytes(content: bytes, what: str = "ad: a pickled program") -> Program:
    """Return the program in the bytes of a file; `what` names the source in error messages."""
    return Program(*serialization.from_bytes(content, what, imports=True))


def _contents(program: Program) -> serialization.Contents:
    return serialization.Contents(
        program.graph, program.arguments, program.results, program.guards, program.has_custom_rules)


def _without_derivative(x: Any) -> Any:
    """Return the value of an argument of a call that writes into ndarrays; refuse one that is differentiated."""
    if not isinstance(x, Array):
        return x
    if is_watched(x) or is_traced(x):
        raise cannot_write("a program")
    return public_value(x)


def _written(target: Any, y: Any) -> Any:
    """Write an output into the array that it goes to, if any, and return it."""
    if target is None:
        return y
    np.copyto(target, y, casting="same_kind")
    return target


def check_fixed(fixed: Any, leaf: Any) -> None:
    """Raise unless an argument that is fixed in the recording is the one that it was made for."""
    if isinstance(fixed, Variable) and isinstance(leaf, (Variable, np.ndarray)):
        return  # the function did not read it
    equal = np.array_equal if isinstance(fixed, np.ndarray) else _same_key if type(fixed) in NUMBERS else operator.eq
    if fixed is not leaf and not (type(fixed) is type(leaf) and equal(fixed, leaf)):
        raise another_argument(fixed, leaf)


def _same_key(a: Any, b: Any) -> bool:
    return bool(frozen(a) == frozen(b))
