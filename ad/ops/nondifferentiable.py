"""NumPy functions without a derivative: they are evaluated on the values, and return ndarrays.

Only in a program that is being recorded each of them becomes an op, through which no derivative flows.
"""
from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ad import trees
from ad._core import Array, apply
from ad.engine.array import is_traced, public_value
from ad.engine.graph import Op
from ad.engine.inspection import concrete, is_any_tracing, is_differentiated, metadata_view, note_failure
from ad.engine.public_functions import add_method
from ad.errors import MissingRule, cannot_write, missing_rule
from ad.ops import shape_rules
from ad.ops.axes import behind_lanes
from ad.ops.plain_results import plain_result
from ad.ops.refusals import refuse
from ad.ops.table import TABLE
from ad.ops.traits import BROADCASTS, TRAITS, Batching, Traits

__all__ = [
    "DETACHED", "FINAL", "NONDIFFERENTIABLE", "Hole", "by_numpy", "call_op", "evaluate", "filled", "is_live",
    "nondifferentiable_op", "opaque_op", "plain_values", "take_out",
]


_Function = Callable[..., Any]

OUTPUT = 1 << 31  # of the bits for the values that a rule needs


def _functions(names: str) -> set[_Function]:
    return {getattr(np, name) for name in names.split() if hasattr(np, name)}


ALONG = _functions(  # reduce or order along one axis, or all, of the first argument
    "all any argmax argmin argpartition argsort count_nonzero nanargmax nanargmin"
)
STATIC = _functions(  # their results depend on shapes and dtypes only
    "can_cast common_type diag_indices_from empty_like full_like iscomplexobj isrealobj may_share_memory ndim "
    "ones_like result_type shape shares_memory size tril_indices_from triu_indices_from zeros_like"
)
WRITING = _functions("copyto fill_diagonal place put put_along_axis putmask")
SHAPED = _functions("argwhere bincount flatnonzero nonzero")  # the shape of their results depends on the values
NONDIFFERENTIABLE = STATIC | SHAPED | _functions(
    "all allclose any argmax argmin argpartition argsort array2string array_equal array_equiv array_repr array_str "
    "count_nonzero digitize in1d isclose iscomplex isin isneginf isposinf isreal lexsort min_scalar_type nanargmax "
    "nanargmin save savetxt savez searchsorted"
) | {np.linalg.matrix_rank} | {
    np.maximum.accumulate, np.minimum.accumulate,  # by which `cummax` and `cummin` find where a record stands
}
FINAL: set[_Function] = set()  # NumPy is not asked about a call of these that raised: they call functions of the user


def plain_values(tree: Any) -> Any:
    """The arguments with ndarrays in the place of Arrays, in lists, tuples and dicts, too."""
    return _replaced(tree, lambda x: x.numpy())


def _replaced(tree: Any, replace: _Function) -> Any:
    """The arguments with `replace(x)` in the place of each Array x."""
    return trees.map_nested(lambda x: replace(x) if isinstance(x, Array) else x, tree)


def is_live(tree: Any) -> bool:
    """Whether a derivative could flow through one of these values."""
    if isinstance(tree, Array):
        return is_differentiated(tree)
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, (list, tuple)):
        return False
    return any(is_live(part) for part in tree)


def by_numpy(function: Any, args: Any, kwargs: Any, refusal: Exception) -> Any:
    """NumPy's result for a call that has no rule, or that raised.

    Raises
    ------
    Exception
        NumPy's own, if it refuses the call. Otherwise `refusal`, where a value in it is being differentiated, or it
        writes into an Array.
    """
    if function in FINAL:
        raise refusal
    if is_live((args, kwargs)) or isinstance(kwargs.get("out"), Array):
        refuse(function, args, kwargs)
        raise refusal
    if not isinstance(refusal, MissingRule):
        refuse(function, args, kwargs)
    return evaluate(function, args, kwargs, opaque=True)


def evaluate(function: Any, args: Any, kwargs: Any, opaque: bool = False) -> Any:
    """`function(*args, **kwargs)` on ndarrays; an op, if a program that is being recorded computes an argument.

    `opaque`: the function has a derivative, but no rule for it. Then the op raises where it is differentiated;
    otherwise no derivative flows through the op.
    """
    if not is_any_tracing():
        return plain_result(function(*plain_values(args), **plain_values(kwargs)), (args, tuple(kwargs.values())))
    if function in SHAPED:
        return function(*_replaced(args, concrete), **_replaced(kwargs, concrete))
    static = function in STATIC
    taken, traced = take_out((args, kwargs), is_traced)
    args, kwargs = plain_values(taken)
    if traced and (function in WRITING or kwargs.get("out") is not None):
        raise cannot_write(f"np.{name_of(function)}")
    if traced and isinstance(function, np.ufunc) and not kwargs and function.nin == len(args):
        op = opaque_op(function, function.nout) if opaque else nondifferentiable_op(function, function.nout)
        return apply(op, tuple([traced[a] if type(a) is Hole else a for a in args]))
    known = [metadata_view(x) if static else public_value(x) for x in traced]
    try:
        found = function(*filled(args, known), **filled(kwargs, known))
    except Exception:
        note_failure(traced)
        raise
    if static or not traced:
        return found
    leaves, structure = trees.flatten(found)
    if not leaves or not all(isinstance(x, (np.ndarray, np.generic, bool, int, float, complex)) for x in leaves):
        plain_values(traced)  # text or a file: the recording is told that the values were read
        return found
    opaque = opaque and any(np.asarray(x).dtype.kind in "fc" for x in leaves)
    y = apply(call_op(function, len(leaves), opaque), tuple(traced), (args, tuple(kwargs.items())))
    return structure(y if len(leaves) > 1 else [y])


class Hole(int):
    """The place of an input in the arguments of a recorded call."""


def take_out(tree: Any, chosen: Callable[[Any], Any]) -> tuple[Any, list[Any]]:
    """The tree with holes in the place of the Arrays for which `chosen` is true, and the list of those Arrays."""
    parts = []

    def replace(x: Any) -> Any:
        if not chosen(x):
            return x
        parts.append(x)
        return Hole(len(parts) - 1)

    return _replaced(tree, replace), parts


def _nothing(*_: Any) -> None:
    """The rule in both modes of an op without a derivative."""


def _refusing(function: Any) -> _Function:
    """The rule in both modes of an op whose derivative is not in the table: it raises."""

    def refuse(*_: Any) -> NoReturn:
        raise missing_rule(f"np.{name_of(function)}")

    return refuse


def nondifferentiable_op(function: Any, outputs: int = 1, parameters: tuple[str, ...] = ()) -> Op:
    """The op of a function without a derivative, of its inputs: always the same op for the same function."""
    return _nondifferentiable_op(function, outputs, parameters)


@functools.cache
def _nondifferentiable_op(function: Any, outputs: int, parameters: tuple[str, ...]) -> Op:
    op = Op(name_of(function), "nondifferentiable", function,
            jvp=_nothing, vjp=_nothing, parameters=parameters, outputs=outputs)
    op.shape_rule = shape_rules.elementwise_shape(function) if shape_rules.is_elementwise(function) else None
    return op


def opaque_op(function: Any, outputs: int) -> Op:
    """The op of a function that NumPy evaluates, and that raises where it is differentiated."""
    return _opaque_op(function, outputs)


@functools.cache
def _opaque_op(function: Any, outputs: int) -> Op:
    rule = _refusing(function)
    return Op(name_of(function), "opaque", function, jvp=rule, vjp=rule, needs=(OUTPUT,), outputs=outputs)


def call_op(function: Any, outputs: int, opaque: bool = False) -> Op:
    """The op of a call that has other arguments than inputs: always the same op for the same function."""
    return _call_op(function, outputs, opaque)


@functools.cache
def _call_op(function: Any, outputs: int, opaque: bool) -> Op:
    def call(*given: Any) -> Any:
        *values, args, kwargs = given
        found = function(*filled(args, values), **{key: filled(value, values) for key, value in kwargs})
        if outputs == 1 and not isinstance(found, (tuple, list)):
            return found
        leaves = [np.asarray(leaf) for leaf in trees.flatten(found)[0]]
        return leaves[0] if outputs == 1 else tuple(leaves)

    form, rule = ("opaque", _refusing(function)) if opaque else ("nondifferentiable", _nothing)
    op = Op(name_of(function), form, call, jvp=rule, vjp=rule, needs=(OUTPUT if opaque else 0,),
            parameters=("args", "kwargs"), outputs=outputs)
    if function in ALONG:
        TRAITS[op] = Traits(Batching(rule=functools.partial(_along_lanes, function)))
    return op


def _along_lanes(function: Any, values: Any, xs: Any, _y: Any, args: Any, kwargs: Any) -> Any:
    """The call with its axes counted behind the lane axis; None if another argument than the first has lanes."""
    signature = inspect.signature(function)
    bound = signature.bind(*args, **dict(kwargs))
    given, axis = bound.arguments, bound.arguments.get("axis", signature.parameters["axis"].default)
    (name, first), x = next(iter(given.items())), values[0]
    if len(values) > 1 or type(first) is not Hole or (axis is None and given.get("keepdims") is True):
        return None
    if not xs[0].ndim and axis is not None:
        return None  # functions differ in which axes of a number they accept
    if axis is None:
        x, axis = TABLE["reshape"].function(x, (x.shape[0], xs[0].size)), 0
    behind = behind_lanes(x.ndim - 1, axis)
    given["axis"] = behind if isinstance(axis, tuple) else behind[0]
    given[name] = x
    return evaluate(function, bound.args, bound.kwargs)


def filled(tree: Any, values: Any) -> Any:
    """The tree with these values in its holes."""
    return trees.map_nested(lambda x: values[x] if type(x) is Hole else x, tree)


def name_of(function: Any) -> str:
    """The expression by which a user calls it, without "np.": "argmax", "linalg.cond", "maximum.accumulate"."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, np.ufunc):
        return f"{owner.__name__}.{function.__name__}"
    module = getattr(function, "__module__", None) or "numpy"
    return f"{module}.{function.__name__}".removeprefix("numpy.")


def _method(name: str) -> _Function:
    function = getattr(np, name)

    def method(x: Any, *args: Any, **kwargs: Any) -> Any:
        return evaluate(function, (x, *args), kwargs)

    method.__name__ = name
    method.__doc__ = f"As ndarray.{name}, of the value: a plain result, through which nothing flows."
    return method


for _name in "all any argmax argmin argpartition argsort nonzero searchsorted".split():
    add_method(_name, _method(_name))


def _tobytes(x: Any, order: Any = "C") -> bytes:
    """As ndarray.tobytes, of the value.

    Parameters
    ----------
    order : {"C", "F", "A"}

    Returns
    -------
    bytes
    """
    return np.asarray(concrete(x)).tobytes(order)


add_method("tobytes", _tobytes)


def _round(x: Any, ndigits: Any = None) -> Any:
    """As for np.float64: rounded to an int, or to `ndigits` digits."""
    return int(np.rint(x)) if ndigits is None else np.round(x, ndigits)


add_method("__round__", _round)

_COMPARISONS = (np.less, np.less_equal, np.equal, np.not_equal, np.greater, np.greater_equal)
_OPERATORS: tuple[Callable[[Any, Any], Any], ...] = (
    operator.lt, operator.le, operator.eq, operator.ne, operator.gt, operator.ge,
)
DETACHED = Op("detached", "nondifferentiable", lambda x: x, jvp=_nothing, vjp=_nothing)
TRAITS[DETACHED] = Traits(BROADCASTS, moves=True, keeps_reals=True)
DETACHED.shape_rule = shape_rules.view


def compare(a: Any, b: Any, how: int) -> Any:
    """A comparison, as an op of a program that is being recorded; `how` is CPython's number of the operator."""
    if not is_any_tracing():
        return plain_result(_OPERATORS[how](*plain_values((a, b))), (a, b))
    if b is None or isinstance(b, (str, bytes)):  # no number is equal to these
        return _OPERATORS[how](public_value(a), b)
    if not isinstance(b, (Array, np.ndarray, np.generic, int, float, complex, list, tuple)):
        return _OPERATORS[how](concrete(a), b)
    return apply(nondifferentiable_op(_COMPARISONS[how]), (a, b))


def detached(x: Any) -> Any:
    """`x` as a constant, in a program that computes it."""
    return apply(DETACHED, (x,))
