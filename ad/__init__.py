"""Automatic differentiation of NumPy code."""
from ad._core import Dual, Variable, constant, stop_gradient
from ad import ops, protocol
