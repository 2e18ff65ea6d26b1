"""Automatic differentiation of NumPy code.

Reverse mode by `GradientTape` and the transforms (`grad`, `vjp`, ...), forward mode by dual numbers (`jvp`, `Dual`,
`ForwardAccumulator`), both together for Hessians. Every function of the op table has NumPy's name here (`ad.sin`,
`ad.linalg.solve`, `ad.fft.rfft`); those of SciPy are in `ad.special`. `ad.optimize` gives exact derivatives to SciPy's
optimizers.
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
from ad import fft, linalg
from ad.engine.forward import Dual
from ad.engine.variable import Variable, stop_gradient
from ad.errors import IndependentWarning, MissingRule
from ad.ops import TABLE, protocol  # noqa: F401
from ad.ops.joining import asarray
from ad.transforms import batch_jacobian, grad, hessian, hvp, jacobian, jvp, linearize, value_and_grad, vjp
from ad.transforms.custom_gradient import custom_gradient
from ad.transforms.gradient_tape import ForwardAccumulator, GradientTape, UnconnectedGradients

__version__ = "0.1.0"

# Imported at the first access: name -> the module that has it, or that it is.
_LAZY = {
    "Program": "ad.compiler.program", "compile": "ad.compiler.compile", "get_num_threads": "ad.compiler.machine.loops",
    "load": "ad.compiler.program", "optimize": "ad.optimize", "optimizers": "ad.optimizers",
    "record": "ad.compiler.record", "set_num_threads": "ad.compiler.machine.loops", "special": "ad.special",
    "testing": "ad.testing", "vmap": "ad.compiler.vmap",
}
_FUNCTIONS = {
    name: entry.function for name, entry in TABLE.items() if entry.numpy and callable(getattr(np, name, None))
}
globals().update(_FUNCTIONS)  # not by __getattr__, because calls like `ad.sin(x)` are frequent

__all__ = [
    "Array", "Dual", "ForwardAccumulator", "GradientTape", "IndependentWarning", "MissingRule", "UnconnectedGradients",
    "Variable", "asarray", "batch_jacobian", "constant", "custom_gradient", "fft", "grad", "hessian", "hvp", "jacobian",
    "jvp", "linalg", "linearize", "stop_gradient", "value_and_grad", "vjp", *_LAZY, *_FUNCTIONS,
]


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(f"module 'ad' has no attribute {name!r}")
    module = import_module(_LAZY[name])
    found = globals()[name] = getattr(module, name, module)
    return found


def __dir__():
    return sorted({*globals(), *_LAZY})
