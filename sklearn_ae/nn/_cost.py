"""What a pass of a network costs."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from sklearn_ae.nn._autoencoder import Autoencoder


class Cost(NamedTuple):
    """Of a row.

    Attributes
    ----------
    width : int
        Numbers in the widest output of a part.
    n_multiplications : int
    """

    width: int
    n_multiplications: int


def cost(module: Autoencoder, n_features: int) -> Cost:
    """Cost of a row's pass through encoder and decoder.

    That of convolutions, which use a weight at many places, is seen in a trial.
    """
    width = max(p.shape[0] for p in module.parameters() if p.dim())
    n_multiplications = sum(p.numel() for p in module.parameters())
    for part, x, y in _convolved(module, n_features):
        width = max(width, y.numel())
        places = math.prod((x if isinstance(part, _ConvTransposeNd) else y).shape[2:])
        n_multiplications += part.weight.numel() * (places - 1)
    return Cost(width, n_multiplications)


def _convolved(
    module: Autoencoder, n_features: int
) -> list[tuple[_ConvNd, Tensor, Tensor]]:
    """Convolutions with what goes in and comes out of them for a row."""
    seen: list[tuple[_ConvNd, Tensor, Tensor]] = []

    def see(part: Any, args: tuple[Tensor, ...], y: Tensor) -> None:
        seen.append((part, args[0], y))

    parts = [part for part in module.modules() if isinstance(part, _ConvNd)]
    if not parts:
        return seen
    hooks = [part.register_forward_hook(see) for part in parts]
    try:
        # Dropout would draw.
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            device = module.noise_variance.device
            module(torch.zeros(1, n_features, dtype=torch.float32, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return seen
