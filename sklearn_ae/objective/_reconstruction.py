"""Reconstruction losses of a cell, by its residual x_hat - x; a row has the mean."""

from collections.abc import Callable

import torch
from torch import Tensor


def huber(residual: Tensor) -> Tensor:
    """Huber's loss with its corner at 1: ``r^2 / 2`` inside, ``|r| - 1/2`` outside.

    Huber, P. J. (1964). Robust estimation of a location parameter. Annals of
    Mathematical Statistics 35(1).
    """
    zero = torch.zeros_like(residual)
    return torch.nn.functional.huber_loss(residual, zero, reduction="none")


RECONSTRUCTION_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "squared_error": torch.square,
    "absolute_error": torch.abs,
    "huber": huber,
}
# Their derivatives.
RECONSTRUCTION_GRADIENTS: dict[str, Callable[[Tensor], Tensor]] = {
    "squared_error": lambda residual: 2 * residual,
    "absolute_error": torch.sign,
    "huber": lambda residual: residual.clamp(-1, 1),
}
