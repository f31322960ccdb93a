"""Reconstruction losses, averaged over a row's features: shape (n,)."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def squared_error(x: Tensor, x_hat: Tensor) -> Tensor:
    """Mean of ``(x - x_hat) ** 2`` over the features."""
    return (x_hat - x).square().mean(dim=1)


def absolute_error(x: Tensor, x_hat: Tensor) -> Tensor:
    """Mean of ``|x - x_hat|`` over the features."""
    return (x_hat - x).abs().mean(dim=1)


def huber(x: Tensor, x_hat: Tensor) -> Tensor:
    """Huber's loss with its corner at 1: ``r^2 / 2`` inside, ``|r| - 1/2`` outside.

    Huber, P. J. (1964). Robust estimation of a location parameter. Annals of
    Mathematical Statistics 35(1).
    """
    return F.huber_loss(x_hat, x, reduction="none").mean(dim=1)


RECONSTRUCTION_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "squared_error": squared_error,
    "absolute_error": absolute_error,
    "huber": huber,
}

# Derivatives of each by x_hat, times the number of features: of the residual x_hat - x.
RECONSTRUCTION_GRADIENTS: dict[str, Callable[[Tensor], Tensor]] = {
    "squared_error": lambda residual: 2 * residual,
    "absolute_error": torch.sign,
    "huber": lambda residual: residual.clamp(-1, 1),
}
