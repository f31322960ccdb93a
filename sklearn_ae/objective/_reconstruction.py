"""Reconstruction losses of a cell, by its residual x_hat - x; a row has the mean."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class ReconstructionLoss(NamedTuple):
    """A loss of the residual, as the product of two factors.

    Attributes
    ----------
    slope : float
        This times the first factor is the loss's derivative.
    factors : callable
        Of residuals of any shape; two tensors of that shape.
    """

    slope: float
    factors: Callable[[Tensor], tuple[Tensor, Tensor]]


def _squared(residual: Tensor) -> tuple[Tensor, Tensor]:
    return residual, residual


def _absolute(residual: Tensor) -> tuple[Tensor, Tensor]:
    return residual.sign(), residual


def _huber(residual: Tensor) -> tuple[Tensor, Tensor]:
    """Huber's loss with its corner at 1: ``r^2 / 2`` inside, ``|r| - 1/2`` outside.

    Huber, P. J. (1964). Robust estimation of a location parameter. Annals of
    Mathematical Statistics 35(1).
    """
    clipped = residual.clamp(-1, 1)
    return clipped, torch.sub(residual, clipped, alpha=0.5)


RECONSTRUCTION_LOSSES = {
    "squared_error": ReconstructionLoss(2.0, _squared),
    "absolute_error": ReconstructionLoss(1.0, _absolute),
    "huber": ReconstructionLoss(1.0, _huber),
}
