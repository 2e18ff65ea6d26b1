"""Powers of the radicands of roots and moduli: see `ad/engine/powers.pyx`."""
from __future__ import annotations

from typing import Any

import numpy as np

from ad._core import Array
from ad.ops.domains import REAL
from ad.ops.forms import case, linear
from ad.ops.selection import where
from ad.ops.structure import ELEMENTWISE
from ad.ops.traits import SAME_PARAMS
from ad.ops.ufuncs import absolute, positive, power

__all__ = ["either", "smooth_power"]


@linear(transpose=(lambda y_bar, _x1, _x2: y_bar, lambda *_: None), inputs=2, batching=SAME_PARAMS, domain=REAL,
        structure=ELEMENTWISE, cases=(case((3,), (3,)), case((2, 3), (2, 3))))
def either(x1: Any, x2: Any) -> Any:
    """The first of two Arrays that are one value, computed in two ways."""
    return x1


either.op.set_joins()


def smooth_power(base: Any, exponent: Any, modulus: Any) -> Any:
    """base ** exponent, or that power of its modulus.

    A function in the place of the base computes one that is not negative. Without a modulus, a negative base is under
    a root, and gives nan.
    """
    if not isinstance(base, Array):
        base = base()
    elif modulus:
        base = base if exponent % 2 == 0 else absolute(base)
    elif base.dtype.kind != "c":
        base = base * where(base >= 0, base.dtype.type(1), np.nan)
    return positive(base) if exponent == 1 else power(base, exponent)
