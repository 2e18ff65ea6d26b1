"""Optimizers that change variables by their gradients, with Keras' names and arguments."""
from ad.optimizers import schedules
from ad.optimizers.base import Optimizer
from ad.optimizers.methods import SGD, Adagrad, Adam, AdamW, Nadam, RMSprop

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Nadam", "Optimizer", "RMSprop", "schedules"]
