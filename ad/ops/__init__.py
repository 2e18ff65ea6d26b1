"""The table of ops. Importing it makes the entries and tells the core which serve its operators.

Those of the rarer functions, the modules of `FAMILIES`, are made when one of these is first used, or when `TABLE`,
`FUNCTIONS` or `UFUNCS` of this package are: here the tables are complete, but for SciPy's functions.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ad.engine import forward as _forward  # noqa: F401 - `apply` calls it by a hook
from ad.engine import graph, native_steps, roles
from ad.engine import powers as _powers  # noqa: F401 - likewise
from ad.engine import writing as _writing  # noqa: F401 - likewise
from ad.ops import (  # noqa: F401
    creation,
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
from ad.ops.forms import bilinear, case, composite, custom, linear, stacked
from ad.ops.reductions import reduction
from ad.ops.refusals import refuse
from ad.ops.table import Entry, op_named, ops_named
from ad.ops.traits import Batching, Traits, traits_of

if TYPE_CHECKING:
    from ad.ops.table import FUNCTIONS, TABLE, UFUNCS

__all__ = [
    "FUNCTIONS", "TABLE", "UFUNCS", "Batching", "Entry", "Traits", "bilinear", "case", "composite", "custom",
    "linear", "reduction", "traits_of",
]

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
    "mapping",
)]
table.LATER.append("ad.ops.special")


def __getattr__(name: str) -> Any:
    if name not in ("FUNCTIONS", "TABLE", "UFUNCS"):
        raise AttributeError(f"module 'ad.ops' has no attribute {name!r}")
    table.import_families()
    return getattr(table, name)
