"""The table of ops. Importing it makes the entries and tells the core which serve its operators.

Those of the rarer functions, the modules of `FAMILIES`, are made when one of these is first used, or when `TABLE`,
`FUNCTIONS` or `UFUNCS` of this package are: here the tables are complete, but for SciPy's functions.

`elementwise`, `linear`, `bilinear`, `custom` and `composite` make ops of a user's own: see `ad/ops/own_forms.py`. The
modules of the table take the forms of these names from `ad.ops.forms`.
"""
from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ad.engine import forward as _forward  # noqa: F401 - `apply` calls it by a hook
from ad.engine import graph, native_steps, roles
from ad.engine import powers as _powers  # noqa: F401 - likewise
from ad.engine import writing as _writing  # noqa: F401 - likewise
from ad.ops import (  # noqa: F401
    indexing,
    joining,
    matrix_products,
    nondifferentiable,
    powers,
    reductions,
    scans,
    selection,
    shaping,
    standard,
    table,
    ufuncs,
    writing,
)
from ad.ops.forms import case, stacked
from ad.ops.reductions import reduction
from ad.ops.refusals import refuse
from ad.ops.table import Entry, op_named, ops_named
from ad.ops.traits import Batching, Traits, traits_of

if TYPE_CHECKING:
    from ad.ops.own_forms import bilinear, composite, custom, elementwise, linear
    from ad.ops.table import FUNCTIONS, TABLE, UFUNCS

__all__ = [
    "FUNCTIONS", "TABLE", "UFUNCS", "Batching", "Entry", "Traits", "bilinear", "case", "composite", "custom",
    "elementwise", "linear", "reduction", "traits_of",
]

_OF_USERS = ("bilinear", "composite", "custom", "elementwise", "linear")  # imported at the first access

_SERVING = (
    "add subtract multiply divide power floor_divide remainder negative positive absolute identity scale scale_dots "
    "conjugate getitem setitem reshape broadcast_to stack sum_to astype"
)
graph.bind_natives([entry.op for entry in table.TABLE.values() if entry.form == "elementwise" and entry.op])
native_steps.specialise(*ops_named("getitem setitem put_zeros sum"))
roles.install(
    **{name: table.TABLE[name].op for name in _SERVING.split()}, getitem_function=indexing.getitem,
    either=table.TABLE["either"].function, smooth_power=powers.smooth_power,
    asarray=joining.asarray, stacked=stacked, matmul_function=matrix_products.matmul, compare=nondifferentiable.compare,
    detached=nondifferentiable.detached, refuse=refuse, plain_index=indexing.plain_index,
    prepare_write=writing.prepare_write,
)
graph.install_lookup(op_named)
table.FAMILIES += [f"ad.ops.{name}" for name in (
    "filling", "splitting", "differences", "nan_reductions", "products", "sorting", "linalg", "fourier", "windows",
    "mapping", "creation",
)]
table.LATER.append("ad.ops.special")


def __getattr__(name: str) -> Any:
    if name in ("FUNCTIONS", "TABLE", "UFUNCS"):
        table.import_families()
        return getattr(table, name)
    if name not in _OF_USERS:
        raise AttributeError(f"module 'ad.ops' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module("ad.ops.own_forms"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_OF_USERS})
