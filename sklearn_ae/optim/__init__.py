"""The optimiser's side of training."""

from sklearn_ae.optim._flat import FlatParameters, flat_vector
from sklearn_ae.optim._schedule import one_cycle

__all__ = ["FlatParameters", "flat_vector", "one_cycle"]
