"""Helpers of several folders' tests: seeded draws, tensors, small estimators."""

import copy
import tracemalloc
from contextlib import contextmanager

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import nn

from sklearn_ae import (
    AEOutlierDetector,
    AutoencoderCompressor,
    AutoencoderTransformer,
)


def memory_until_refused(call):
    """Peak bytes that a call takes before it raises a ValueError, and the message."""
    tracemalloc.start()
    try:
        call()
    except ValueError as error:
        return tracemalloc.get_traced_memory()[1], str(error)
    finally:
        tracemalloc.stop()
    raise AssertionError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(*shape, seed=0, dtype=torch.float32):
    """Standard normal numbers."""
    return torch.randn(*shape, dtype=dtype, generator=generator(seed))


def tensor(array):
    return torch.from_numpy(np.asarray(array))


@contextmanager
def float64_by_default():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def transformer(n_components=2, **params):
    """An estimator of a short training that repeats."""
    shared = {"max_iter": 3, "random_state": 0}
    return AutoencoderTransformer(n_components, **(shared | params))


def detector(autoencoder=None, **params):
    """A detector whose autoencoder has other settings than its recipe's."""
    if autoencoder is not None:
        params["autoencoder"] = AutoencoderTransformer(**autoencoder)
    return AEOutlierDetector(**params)


def compressor(autoencoder=None, **params):
    """A compressor whose autoencoder has other settings than its recipe's."""
    if autoencoder is not None:
        params["autoencoder"] = AutoencoderTransformer(**autoencoder)
    return AutoencoderCompressor(**params)


class SmallNetworks:
    """A user's networks; with a name that is the same in each process."""

    def __repr__(self):
        return "small_networks"

    def __call__(self, n_features, n_components):
        encoder = [nn.Linear(n_features, 5), nn.Dropout(), nn.Linear(5, n_components)]
        decoder = [nn.Linear(n_components, 5), nn.Tanh(), nn.Linear(5, n_features)]
        return nn.Sequential(*encoder), nn.Sequential(*decoder)


class SharedCallback(Callback):
    """A skorch callback that the estimator's copies share with the test."""

    def __deepcopy__(self, memo):
        return self


def state(estimator):
    """A copy of the weights."""
    return copy.deepcopy(estimator.module_.state_dict())


def same_state(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) for name in one
    )
