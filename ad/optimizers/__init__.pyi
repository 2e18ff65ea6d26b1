from ad.optimizers import schedules as schedules
from ad.optimizers.base import Optimizer
from ad.optimizers.methods import SGD, Adagrad, Adam, AdamW, Nadam, RMSprop

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Nadam", "Optimizer", "RMSprop", "schedules"]
