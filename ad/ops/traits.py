"""Traits of ops: what other layers know of an op. They are given at its definition and found by the op itself."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from ad.engine.graph import Op
from ad.ops import shape_rules

__all__ = ["BROADCASTS", "ONE_BY_ONE", "OWN_TRAITS", "SAME_PARAMS", "TRAITS", "Batching", "Traits", "traits_of"]


class Batching(NamedTuple):
    """How an op runs over lanes, a leading axis of its inputs.

    Attributes
    ----------
    broadcasts : bool
        The op works on inputs with lanes as it is: it broadcasts leading axes of its inputs.
    params : callable, optional
        `params(ndim, *params)` returns the params with which the op works on inputs that all have lanes; `ndim` is that
        of the first input, without lanes. None where there are no such params.
    rule : callable, optional
        `rule(values, xs, y, *params)` computes the output with lanes from `values`, of which some have one axis more
        than the inputs `xs` of one lane. None where the rule does not apply. A linear op gives it tangents that all
        have lanes.
    tangents : bool, int, tuple or callable
        Of `bilinear` and `custom`: whether the forward rule works on a tangent with lanes. Where the op broadcasts
        leading axes of several inputs: how many trailing axes of each input it does not broadcast, as a number, a
        tuple, or a function of the params.
    """

    broadcasts: bool = False
    params: Callable[..., tuple[Any, ...] | None] | None = None
    rule: Callable[..., Any] | None = None
    tangents: Any = False


ONE_BY_ONE = Batching()  # no rule: the op is run once for each lane
BROADCASTS = Batching(broadcasts=True, tangents=True)
SAME_PARAMS = Batching(params=lambda _ndim, *params: params, tangents=True)


class Traits(NamedTuple):
    """What other layers know of an op.

    Attributes
    ----------
    batching : Batching
        How it runs over lanes; elementwise ops broadcast.
    may_raise : bool
        It raises for some values of valid shape and dtype: a recording keeps it even if its result is not used.
    commutative : bool
        Its two operands may change places.
    moves : bool
        It computes nothing: it views, copies or casts elements.
    keeps_reals : bool
        Its output is its input, if that is real.
    operations : callable, optional
        `operations(xs, ys, *params)` counts operations on single elements, from the shapes of inputs and outputs.
        By default there is one for each element of the largest of them.
    exponent : number, "operand" or "itself", optional
        The op is a power of its first input (of its modulus, if the exponent is 1 or even). The exponent is this
        number, or the second input; or the op is the square of an input that is given twice. See
        `ad/engine/powers.pyx`.
    radicand : callable, optional
        The op is a root: `radicand(*inputs, *params)` returns a function that computes the radicand, and the exponent;
        or None. The radicand is not negative, or its root is not nan.
    carry : callable or "moved", optional
        The op moves or scales: `carry(power, i, p, inputs, params)` computes its output to the power p from input i to
        that power, or returns None. "moved": the op on that power.
    write : callable, optional
        The output is a view of the first input, in NumPy's sense: `write(x, y, *params)` writes the elements of `y` to
        `x`, an Array, where the view has them.
    structure : str or callable, optional
        Which elements of the output depend on which elements of an input: see `ad/ops/structure.py`.
    annihilates : tuple of int
        Inputs of an elementwise op: where one of these is zero, so is the output.
    dots : tuple of int
        The inputs of an elementwise op whose partial is itself a (co)tangent: where it is zero, the product with it is.
    """

    batching: Batching = ONE_BY_ONE
    may_raise: bool = False
    commutative: bool = False
    moves: bool = False
    keeps_reals: bool = False
    operations: Callable[..., int] | None = None
    exponent: float | str | None = None
    radicand: Callable[..., Any] | None = None
    carry: Any = None
    write: Callable[..., None] | None = None
    structure: str | Callable[..., Any] | None = None
    annihilates: tuple[int, ...] = ()
    dots: tuple[int, ...] = ()


TRAITS: dict[Op, Traits] = {}
OWN_TRAITS: WeakKeyDictionary[Op, Traits] = WeakKeyDictionary()  # of ops of users, which come and go
_DEFAULT, _BROADCASTING = Traits(), Traits(BROADCASTS)


def traits_of(op: Op) -> Traits:
    """The traits of an op, also of one that is in no table."""
    traits = TRAITS.get(op) or OWN_TRAITS.get(op)
    if traits is not None:
        return traits
    return _BROADCASTING if shape_rules.is_elementwise(op.fn) and not op.parameters else _DEFAULT
