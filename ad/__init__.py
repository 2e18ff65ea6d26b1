"""Automatic differentiation of NumPy code."""
from ad import ops, optimizers, protocol
from ad._core import Dual, Variable, constant, stop_gradient
from ad.custom_gradient import custom_gradient
from ad.gradient_tape import ForwardAccumulator, GradientTape, UnconnectedGradients
from ad.transforms import grad, hessian, hvp, jacobian, jvp, linearize, value_and_grad, vjp
