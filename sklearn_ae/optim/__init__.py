"""The optimiser's side of training."""

from sklearn_ae.optim._adamw import AdamW
from sklearn_ae.optim._average import RunningAverage
from sklearn_ae.optim._flat import FlatParameters, flat_vector
from sklearn_ae.optim._schedule import one_cycle

__all__ = ["AdamW", "FlatParameters", "RunningAverage", "flat_vector", "one_cycle"]
