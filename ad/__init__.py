"""Automatic differentiation of NumPy code."""
from ad._core import Dual, Variable, constant, stop_gradient
from ad import ops, protocol
from ad import optimizers
from ad.custom_gradient import custom_gradient
from ad.gradient_tape import ForwardAccumulator, GradientTape, UnconnectedGradients
