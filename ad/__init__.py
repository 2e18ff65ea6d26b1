"""Automatic differentiation of NumPy code.

Reverse mode by `GradientTape` and the transforms (`grad`, `vjp`, ...), forward mode by dual numbers (`jvp`, `Dual`,
`ForwardAccumulator`), both together for Hessians. Every function of the op table has NumPy's name here (`ad.sin`,
`ad.linalg.solve`, `ad.fft.rfft`); those of SciPy are in `ad.special`, and `ad.ops` makes ops of other functions.
`ad.optimize` gives exact derivatives to SciPy's optimizers.
"""
from importlib import import_module

import numpy as np

try:
    from ad._core import Array, constant
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("ad."):
        raise
    raise ImportError(
        f"ad is not built: its compiled module {error.name} is missing in {__path__[0]}. In a checkout run "
        "`python setup.py build_ext --inplace` (CONTRIBUTING.md has the set-up), or install it by `pip install .`"
    ) from error
from ad import ops
from ad.engine.forward import Dual
from ad.engine.variable import Variable, stop_gradient
from ad.errors import IndependentWarning, MissingRule
from ad.ops import protocol  # noqa: F401
from ad.ops.joining import asarray
from ad.ops.table import TABLE
from ad.ops.table import find as _find

__version__ = "0.1.0"

# Imported at the first access: the module that has these names, or that is the one.
_LAZY = {name: module for module, names in {
    "ad.compiler.compile": "compile",
    "ad.compiler.machine.loops": "get_num_threads set_num_threads",
    "ad.compiler.program": "Program load",
    "ad.compiler.record": "record",
    "ad.compiler.vmap": "vmap",
    "ad.fft": "fft",
    "ad.linalg": "linalg",
    "ad.numpy": "numpy",
    "ad.optimize": "optimize",
    "ad.optimizers": "optimizers",
    "ad.scipy": "scipy",
    "ad.sparse": "sparse",
    "ad.special": "special",
    "ad.testing": "testing",
    "ad.transforms": "batch_jacobian grad hessian hvp jacobian jvp linearize value_and_grad vjp",
    "ad.transforms.custom_gradient": "custom_gradient",
    "ad.transforms.gradient_tape": "ForwardAccumulator GradientTape UnconnectedGradients",
}.items() for name in names.split()}
_FUNCTIONS = {
    name: entry.function for name, entry in TABLE.items() if entry.numpy and callable(getattr(np, name, None))
}
globals().update(_FUNCTIONS)  # not by __getattr__, because calls like `ad.sin(x)` are frequent
# NumPy's functions in modules of `ad.ops.table.FAMILIES`, which are imported when one of theirs is first used.
_RARE = (
    "append", "apply_along_axis", "apply_over_axes", "array_split", "block", "convolve", "cross", "diff", "dsplit",
    "ediff1d", "einsum", "gradient", "hsplit", "inner", "insert", "interp", "kron", "linspace", "logspace", "matvec",
    "median", "nanmax", "nanmean", "nanmin", "nanstd", "nansum", "nanvar", "outer", "pad", "partition", "percentile",
    "piecewise", "polyval", "quantile", "sort", "split", "tensordot", "tile", "trapezoid", "unique", "vdot", "vecdot",
    "vecmat", "vsplit",
)

__all__ = [
    "Array", "Dual", "IndependentWarning", "MissingRule", "Variable", "asarray", "constant", "ops", "stop_gradient",
    *_LAZY, *_FUNCTIONS, *_RARE,
]


def __getattr__(name):
    if name in _RARE:
        found = _find(TABLE, name).function
    elif name in _LAZY:
        module = import_module(_LAZY[name])
        found = module if module.__name__ == f"ad.{name}" else getattr(module, name)
    else:
        raise AttributeError(f"module 'ad' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__():
    return sorted({*globals(), *__all__})
