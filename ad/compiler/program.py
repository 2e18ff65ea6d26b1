"""Programs: what a function did, as a list of instructions that can be run again without it.

A program is in static single assignment form. Its values live in numbered slots; each instruction reads some
and writes others that no other writes. It is a value: nothing changes one after it is made, a pass makes another.
"""
import operator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ad._core import Array, concrete, is_traced, is_watched, public_value
from ad.compiler.ir import costs, printing
from ad.compiler.ir.interpreting import initial_slots, interpret
from ad.compiler.ir.keys import frozen
from ad.engine.variable import Variable, stop_gradient
from ad.errors import another_argument, another_call, another_input, cannot_write, lost_guard, lost_rule
from ad.trees import PartialTree

__all__ = ["Cost", "Program"]

NUMBERS = (float, complex)  # whose zeros differ by their sign, and whose nan is like another


class Cost(NamedTuple):
    """What one run of a program does."""

    operations: int  # of floating point, on single elements
    bytes: int       # read and written, were every instruction to fetch its inputs from memory and store its outputs


@dataclass(frozen=True, eq=False, repr=False, slots=True, weakref_slot=True)
class Program:
    """Instructions in order, and what their slots hold.

    `len(program)` is the number of instructions.

    Parameters
    ----------
    inputs, outputs : tuple of int
        Slots. An output may be an input, a constant, or another output again.
    instructions : tuple of Instruction
    constants : dict
        Slot -> ndarray or number; a Python number is weak in promotion, as it was in the function.
    avals : tuple of Aval
        For every slot the shape and dtype of its value.
    arguments, results : PartialTree or None
        How a call's arguments `(args, kwargs)` hold the inputs, and how what it returns holds the outputs; None for
        flat lists.
    guards : tuple of Guard
        What Python saw of the last so many outputs, which are no results: the program holds for those answers only.
    relays : bool
        Whether a function under `custom_gradient` was recorded: its ops are in the program, its rule is not.
    """

    inputs: tuple
    outputs: tuple
    instructions: tuple
    constants: dict
    avals: tuple
    arguments: PartialTree = None
    results: PartialTree = None
    guards: tuple = ()
    relays: bool = False
    _machine: object = field(default=None, init=False)
    _derivatives: dict = field(default_factory=dict, init=False)

    def __len__(self):
        return len(self.instructions)

    def __bool__(self):
        return True  # without instructions, too

    def __repr__(self):
        return (f"<program of {len(self.instructions)} instructions, {len(self.inputs)} inputs, "
                f"{len(self.outputs)} outputs>")

    def __str__(self):
        return printing.text(self)

    @property
    def machine(self):
        """What runs it; made at the first run."""
        if self._machine is None:
            from ad.compiler.machine.vm import Machine

            object.__setattr__(self, "_machine", Machine(self))
        return self._machine

    def __call__(self, *args, out=None, **kwargs):
        """Run the program, from any thread.

        Parameters
        ----------
        *args, **kwargs
            As the function was called with when it was recorded, with other values. An argument that is being
            differentiated makes the ops of the program run one by one, recorded as any others.
        out : optional
            A tree of ndarrays like the results, to be written into. They are as they were where the call is refused;
            where an op raises (a matrix is singular), something may have been written.

        Returns
        -------
        object
            What the function returned, with these values.

        Raises
        ------
        ValueError
            If a value has another shape or dtype than was recorded, or Python would have gone another way.
        TypeError
            If `out` is given and an argument is being differentiated, or a dtype in it is none to cast a result to.
        MissingRule
            If an argument is being differentiated and the rule of a `custom_gradient` was lost.
        """
        values, targets = self.values(args, kwargs), None
        if out is not None:
            values, targets = [*map(_without_derivative, values)], self._targets(out)
        if any(isinstance(value, Array) for value in values):
            self._check(values)
            if self.relays and any(isinstance(x, Array) and is_watched(x) for x in values):
                raise lost_rule()
            found = self.interpreted(values)
        else:
            found = self.machine.run(values, None if self.guards else targets)
        count = len(found) - len(self.guards)
        for guard, value in zip(self.guards, found[count:]):
            value = concrete(value) if guard.kind == "array" else stop_gradient(value)
            if not guard.holds(value):
                raise lost_guard(guard, public_value(value) if isinstance(value, Array) else value)
        if self.guards and targets:
            found = [*map(_written, targets, found)]  # not before the guards are known to hold
        return found[:count] if self.results is None else self.results(found[:count])

    def values(self, args, kwargs):
        """The inputs among the arguments of a call.

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
        return self.arguments.values((args, kwargs), "the call of a program", as_before)

    def _targets(self, out):
        found = list(out) if self.results is None else self.results.values(out, "out")
        found += [None] * len(self.guards)
        self.machine.check(found)
        return found

    def _check(self, values):
        if len(values) != len(self.inputs):
            raise ValueError(f"ad: this program takes {len(self.inputs)} values, not {len(values)}")
        for i, (slot, value) in enumerate(zip(self.inputs, values)):
            aval, dtype = self.avals[slot], getattr(value, "dtype", type(value))
            if np.shape(value) != aval.shape or not np.can_cast(dtype, aval.dtype):
                raise another_input(i, aval, np.shape(value), dtype)

    def interpreted(self, values):
        """The outputs, each instruction run as an op on Arrays: recorded, and with tangents, as any other.

        Parameters
        ----------
        values : sequence
            One for each input.

        Returns
        -------
        list
        """
        slots = self.given(values)
        interpret(self.instructions, slots)
        return [slots[slot] for slot in self.outputs]

    def given(self, values):
        """The constants and inputs by slot, for `interpret`.

        Parameters
        ----------
        values : sequence
            One for each input.

        Returns
        -------
        dict
        """
        return initial_slots(self, values)

    def jvp(self, primals, tangents):
        """What the program gives, and its derivative in a direction; recorded at the first call, then replayed.

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
        return self._derivative("jvp")(tuple(primals), tuple(tangents))

    def vjp(self, primals, y_bar):
        """What the program gives, and the cotangents of its arguments; recorded at the first call, then replayed.

        Parameters
        ----------
        primals : tuple or list
            The positional arguments of a call.
        y_bar
            A cotangent with the structure and shapes of what the program gives.

        Returns
        -------
        y
            What the program gives.
        x_bars : tuple
            One cotangent for each primal.
        """
        return self._derivative("vjp")(tuple(primals), y_bar)

    def hvp(self, primals, v):
        """The Hessian of a program that gives one real number, times a vector; recorded at the first call.

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
        return self._derivative("hvp")(tuple(primals), tuple(v))

    def _derivative(self, name):
        found = self._derivatives.get(name)
        if found is None:
            from ad.compiler.compile import derivative

            found = self._derivatives[name] = derivative(self, name)
        return found

    def __reduce__(self):
        from ad.compiler import serialization

        return serialization.from_bytes, (serialization.to_bytes(self),)

    def cost(self):
        """Operations and bytes of one run, counted by instruction; no fusion is assumed.

        An elementwise op counts one operation for each element of its result, a reduction one for each element
        that goes into it, a product of matrices two for each pair of factors, a factorization of an n x n matrix n^3,
        and what only moves elements none.

        Returns
        -------
        Cost
            A named tuple `(operations, bytes)`.
        """
        return Cost(sum([costs.operations(self, i) for i in self.instructions]),
                    sum([costs.bytes_moved(self, i) for i in self.instructions]))

    def save(self, path):
        """Write the program to a file, from which `ad.load` reads it.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        TypeError
            If it has an op that is not in the table: one of a function under `custom_gradient`.
        """
        from ad.compiler import serialization

        serialization.save(self, path)


def _without_derivative(x):
    """An argument of a call that writes into ndarrays, plain."""
    if not isinstance(x, Array):
        return x
    if is_watched(x) or is_traced(x):
        raise cannot_write("a program")
    return public_value(x)


def _written(target, y):
    """The array that an output goes to, with the output in it."""
    if target is None:
        return y
    np.copyto(target, y, casting="same_kind")
    return target


def as_before(fixed, leaf):
    """Refuse another argument where the recording depends on the one that it was made for."""
    if isinstance(fixed, Variable) and isinstance(leaf, (Variable, np.ndarray)):
        return  # it was not read
    equal = np.array_equal if isinstance(fixed, np.ndarray) else _alike if type(fixed) in NUMBERS else operator.eq
    if fixed is not leaf and not (type(fixed) is type(leaf) and equal(fixed, leaf)):
        raise another_argument(fixed, leaf)


def _alike(a, b):
    return frozen(a) == frozen(b)
