"""NumPy's protocols: from a NumPy function called on an Array to the table's entry.

A derivative is never lost silently: a function without a rule raises if one of its arguments is being
differentiated; otherwise NumPy evaluates it.
"""
from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from ad._core import Array, constant
from ad.engine import roles
from ad.engine.array import is_traced
from ad.engine.inspection import find_tracer, is_tracing
from ad.engine.writing import assign
from ad.errors import cannot_write, missing_rule
from ad.ops import reductions, scans
from ad.ops.nondifferentiable import NONDIFFERENTIABLE, by_numpy, evaluate, is_live, plain_values
from ad.ops.refusals import refuse
from ad.ops.table import FUNCTIONS, TABLE, UFUNCS, find, import_later
from ad.ops.writing import WRITERS, write_at, writes_to_array

__all__ = ["array_function", "array_ufunc"]

_Function: TypeAlias = Callable[..., Any]

REDUCTIONS: dict[_Function, _Function] = {
    np.add: reductions.sum, np.multiply: reductions.prod, np.maximum: reductions.max, np.minimum: reductions.min,
    np.logaddexp: reductions.log_sum_exp,
}
SCANS: dict[_Function, _Function] = {
    np.add: scans.cumsum, np.multiply: scans.cumprod, np.maximum: scans.cummax, np.minimum: scans.cummin,
}


def array_ufunc(ufunc: Any, method: str, inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What `Array.__array_ufunc__` does."""
    try:
        if method == "__call__" and not kwargs:
            function = UFUNCS.get(ufunc)
            if function is not None:
                return function(*inputs)
        return METHODS[method](ufunc, inputs, {key: value for key, value in kwargs.items() if value is not np._NoValue})
    except Exception as error:
        if isinstance(error, TypeError) and _is_for_another(inputs):
            return NotImplemented
        refuse(getattr(ufunc, method), inputs, kwargs)
        raise


def array_function(function: Any, types: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What `Array.__array_function__` does."""
    if function in WRITERS and writes_to_array(function, args, kwargs):
        return _write_by(function, args, kwargs)
    if kwargs.get("out") is not None:
        return _call_into(function, types, args, **kwargs)
    public = FUNCTIONS.get(function)
    if public is None and function not in NONDIFFERENTIABLE:
        public = find(FUNCTIONS, function)
    if public is not None:
        try:
            return public(*args, **kwargs)
        except Exception as refusal:
            return by_numpy(function, args, kwargs, refusal)
    if function in NONDIFFERENTIABLE:
        return evaluate(function, args, kwargs)
    if not is_live((args, kwargs)):  # before the error is made, which looks through the calling frames
        return evaluate(function, args, kwargs, opaque=True)
    error = cannot_write if function in WRITERS else missing_rule
    return by_numpy(function, args, kwargs, error(_name_of_function(function)))


def _call_into(function: Any, types: Any, args: Sequence[Any], *, out: Any, **kwargs: Any) -> Any:
    try:
        y = array_function(function, types, args, kwargs)
        if np.shape(out) != np.shape(y):  # which elementwise functions broadcast to, and others refuse
            refuse(function, args, {**kwargs, "out": out})
        return _write(out, y, _name_of_function(function), "same_kind")
    except Exception:
        refuse(function, args, {**kwargs, "out": out})
        raise


def _write_by(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    try:
        WRITERS[function](*args, **kwargs)
    except Exception:
        refuse(function, args, kwargs)
        raise


def _is_for_another(inputs: Sequence[Any]) -> bool:
    """Whether another operand has `__array_ufunc__`, which NumPy calls if that of Array returns NotImplemented."""
    return any(not isinstance(x, (Array, np.ndarray, np.generic)) and hasattr(x, "__array_ufunc__") for x in inputs)


# -- names and rules ---------------------------------------------------------------------


def _rule(ufunc: Any) -> Any:
    """The table's function for a ufunc, or None; entries that are made later are made when one is first asked for."""
    if ufunc.signature is not None:  # of the families' functions, only generalised ufuncs are ufuncs
        find(UFUNCS, ufunc)
    if ufunc not in UFUNCS and "scipy.special" in sys.modules and _name(ufunc).startswith("scipy"):
        import_later()
    return UFUNCS.get(ufunc)


def _has_derivative(ufunc: Any) -> bool:
    """False for a ufunc whose result is bool: comparisons, logic, isnan, signbit."""
    return not any(types in ufunc.types for types in ("d->?", "dd->?"))


def _calls_python(ufunc: Any) -> bool:
    """Whether it may be one of `np.frompyfunc`: it has one loop, on objects."""
    return len(ufunc.types) == 1 and set(ufunc.types[0]) == {"O", "-", ">"} and ufunc.signature is None


def _name(ufunc: Any, method: str = "__call__") -> str:
    """The expression by which a user calls it: np.add.reduce."""
    home = next(
        (home for home, module in (("np", "numpy"), ("scipy.special", "scipy.special"))
         if ufunc in _unwrapped(getattr(sys.modules.get(module), ufunc.__name__, None))), "the ufunc",
    )
    dot = " " if home == "the ufunc" else "."
    return f"{home}{dot}{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")


def _unwrapped(function: Any) -> tuple[Any, Any]:
    """A function, and the one that it wraps: with SCIPY_ARRAY_API=1 those of scipy.special wrap ufuncs."""
    return function, getattr(function, "__wrapped__", None)


def _name_of_function(function: Any) -> str:
    return f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)


# -- the methods of a ufunc -----------------------------------------------------------------------


def _call(ufunc: Any, inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    function = _rule(ufunc)
    if function is None and not kwargs and _calls_python(ufunc) and is_live(inputs):
        from ad.ops.mapping import call_on_elements  # rare, as its module

        return call_on_elements(ufunc, inputs)
    if function is None:
        return _evaluate(ufunc, "__call__", inputs, kwargs)
    out, where = kwargs.pop("out", None), kwargs.pop("where", True)
    dtype, signature = kwargs.pop("dtype", None), kwargs.pop("signature", kwargs.pop("sig", None))
    casting = kwargs.pop("casting", "same_kind")
    options = dict(kwargs, dtype=dtype, casting=casting) if signature is None else dict(
        kwargs, signature=signature, casting=casting)
    _try_options(ufunc, inputs, options)
    if dtype is not None or signature is not None or casting != "same_kind":
        inputs = _converted(ufunc, inputs, dtype, signature, casting)
    # `order` and `subok` have no meaning here; the axes of a generalised ufunc are left
    y = function(*inputs, **{key: value for key, value in kwargs.items() if key not in ("order", "subok")})
    if where is not True:
        y = _masked(ufunc, y, where, out)
    return y if out is None else _into(out, y, ufunc, "__call__", casting)


def _try_options(ufunc: Any, inputs: Sequence[Any], options: dict[str, Any]) -> None:
    """Raise NumPy's error for options that it refuses, by a call on operands of one element."""
    ones = [np.ones((1,) * x.ndim, x.dtype) if isinstance(x, (Array, np.ndarray)) else x for x in inputs]
    with np.errstate(all="ignore"):
        ufunc(*ones, **options)


def _evaluate(ufunc: Any, method: str, inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """NumPy's result, where that loses no derivative; else raise MissingRule."""
    opaque = _has_derivative(ufunc)
    if opaque and is_live(inputs):
        raise missing_rule(_name(ufunc, method))
    out = kwargs.pop("out", None)
    y = evaluate(ufunc if method == "__call__" else getattr(ufunc, method), inputs, kwargs, opaque)
    return y if out is None else _into(out, y, ufunc, method, kwargs.get("casting", "same_kind"))


def _converted(ufunc: Any, inputs: Sequence[Any], dtype: Any, signature: Any, casting: Any) -> list[Any]:
    """The inputs in the dtypes of the loop that these arguments choose."""
    types = tuple(type(x) if type(x) in (int, float, complex) else getattr(x, "dtype", None) or np.asarray(x).dtype
                  for x in inputs)
    if signature is None:
        signature = (None,) * ufunc.nin + (dtype,) * ufunc.nout
    loop = ufunc.resolve_dtypes(types + (None,) * ufunc.nout, signature=signature, casting=casting)
    astype = TABLE["astype"].function
    return [astype(x, to) if isinstance(x, Array) else np.asarray(x).astype(to) for x, to in zip(inputs, loop)]


def _masked(ufunc: Any, y: Any, where: Any, out: Any) -> Any:
    """The result where the mask is true, and what `out` held elsewhere."""
    if out is None:
        raise ValueError(
            f"ad: {_name(ufunc)} with where= and without out= leaves elements unset, which have no derivative. "
            "Give out=, or use np.where(mask, value, other)."
        )
    parts = y if isinstance(y, tuple) else (y,)
    kept = tuple(part if old is None else np.where(where, part, old) for part, old in zip(parts, out))
    return kept if isinstance(y, tuple) else kept[0]


def _into(out: Any, y: Any, ufunc: Any, method: str, casting: Any = "same_kind") -> Any:
    """Write the results to the targets, and return the targets."""
    targets = out if isinstance(out, tuple) else (out,)
    parts = y if isinstance(y, tuple) else (y,)
    written = tuple(
        part if target is None else _write(target, part, _name(ufunc, method), casting)
        for target, part in zip(targets, parts)
    )
    return written if isinstance(y, tuple) else written[0]


def _write(target: Any, y: Any, name: str, casting: Any) -> Any:
    if not isinstance(target, Array):
        if is_live(y) or isinstance(y, Array) and is_traced(y):
            raise cannot_write(name)
        np.copyto(target, plain_values(y), casting=casting)
        return target
    if not np.can_cast(y.dtype, target.dtype, casting):
        raise TypeError(f"ad: {name} cannot cast its result from {y.dtype} to {target.dtype}, the dtype of out=")
    if y.dtype != target.dtype:
        y = TABLE["astype"].function(y, target.dtype)
    if y.shape != target.shape:
        y = np.broadcast_to(y, target.shape)
    assign(target, y if isinstance(y, Array) else constant(y))
    return target


def _reduce(ufunc: Any, inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    reduction = REDUCTIONS.get(ufunc)
    if reduction is None:
        return _evaluate(ufunc, "reduce", inputs, kwargs)
    x = _as_dtype(inputs[0], kwargs.get("dtype"))
    axis = kwargs.get("axis", 0) if x.ndim else None
    initial = kwargs.get("initial")
    if kwargs.get("where", True) is not True:
        x = np.where(kwargs["where"], x, _neutral(ufunc, initial))
    y = reduction(x, axis=axis, keepdims=kwargs.get("keepdims", False))
    if initial is not None:
        y = UFUNCS[ufunc](y, initial)
    return y if kwargs.get("out") is None else _into(kwargs["out"], y, ufunc, "reduce")


def _neutral(ufunc: Any, initial: Any) -> Any:
    """The value to put where the mask is false, which does not change the reduction."""
    if ufunc.identity is not None:
        return ufunc.identity
    if initial is None:
        raise ValueError(f"ad: {_name(ufunc, 'reduce')} with where= needs initial=, for it has no neutral element")
    return initial


def _accumulate(ufunc: Any, inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    scan = SCANS.get(ufunc)
    if scan is None:
        return _evaluate(ufunc, "accumulate", inputs, kwargs)
    y = scan(_as_dtype(inputs[0], kwargs.get("dtype")), axis=kwargs.get("axis", 0))
    return y if kwargs.get("out") is None else _into(kwargs["out"], y, ufunc, "accumulate")


def _as_dtype(x: Any, dtype: Any) -> Any:
    """The operand of a reduction as an array of this dtype; of its own, if that is None."""
    x = x if isinstance(x, Array) else np.asarray(x)
    return x if dtype is None else TABLE["astype"].function(x, dtype)


def _outer(ufunc: Any, inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The ufunc of each element of the first operand and each element of the second."""
    if _rule(ufunc) is None:
        return _evaluate(ufunc, "outer", inputs, kwargs)
    a, b = (x if isinstance(x, Array) else np.asarray(x) for x in inputs)
    return _call(ufunc, (np.reshape(a, a.shape + (1,) * b.ndim), b), kwargs)


def _reduceat(ufunc: Any, inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    return _evaluate(ufunc, "reduceat", inputs, kwargs)


def _at(ufunc: Any, inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """`ufunc.at`, which writes in place."""
    if isinstance(inputs[0], Array):
        return write_at(ufunc, *inputs)
    if is_live(inputs) or is_tracing() or find_tracer([x for x in inputs if isinstance(x, Array)]):
        raise cannot_write(_name(ufunc, "at"))
    return ufunc.at(*plain_values(inputs), **kwargs)


METHODS = {
    "__call__": _call, "reduce": _reduce, "accumulate": _accumulate, "outer": _outer, "reduceat": _reduceat, "at": _at,
}

roles.install(array_ufunc=array_ufunc, array_function=array_function)
