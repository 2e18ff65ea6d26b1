"""What the entries for SciPy's functions share; importing it raises if there is no SciPy."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ad.errors import MissingRule, needs_scipy

try:
    from scipy import special
except ImportError:
    raise needs_scipy("ad.special") from None

__all__ = ["floats", "missing_rule_for", "numbers_from", "real_only", "scipy_special"]


class _Special:
    """`scipy.special` with its ufuncs, which SCIPY_ARRAY_API=1 wraps in functions."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(special, name)
        wrapped = getattr(found, "__wrapped__", None)
        return wrapped if isinstance(wrapped, np.ufunc) else found


scipy_special: Any = _Special()


def numbers_from(low: int) -> Callable[..., Any]:
    """A domain of integers: an argument with respect to which there is no derivative."""
    return lambda rng, shape: rng.integers(low, low + 4, shape)


def missing_rule_for(name: str, argument: str) -> Callable[..., Any]:
    """The partial of an argument for which there is none."""

    def partial(_x1: Any, _x2: Any, _y: Any) -> NoReturn:
        raise MissingRule(
            f"ad: scipy.special.{name} has no rule, in reverse or in forward mode, for its argument {argument}, which "
            "is being differentiated; cut it off on purpose with ad.stop_gradient"
        )

    return partial


def real_only(name: str, x: Any) -> None:
    if x.dtype.kind == "c":
        raise MissingRule(f"ad: no rule for scipy.special.{name} of complex arguments")


def floats(*values: Any) -> list[Any]:
    """The values as arrays of their common floating dtype."""
    dtype = np.result_type(*values, np.float16)
    if dtype.kind == "c":
        raise TypeError("ad.special: of real arguments only")
    return [np.asarray(x, dtype) for x in values]
