"""Entropy model of a quantised code: one logistic distribution per component."""

import math

import torch
from torch import Tensor, nn


class LogisticEntropyModel(nn.Module):
    """Rate, in nats, of a code whose components are rounded to multiples of a step.

    In training, additive uniform noise replaces rounding. The density of a noisy
    component is that of a logistic variable convolved with the noise.

    Parameters
    ----------
    component_std : Tensor of shape (n_components,)
        Initial standard deviations of the components; the initial means are 0.
    step : float
        Quantisation step.

    References
    ----------
    Balle, J., Laparra, V. and Simoncelli, E. P. (2017). End-to-end optimized image
    compression. ICLR. NOTE: there the density is piecewise linear.
    """

    def __init__(self, component_std: Tensor, step: float) -> None:
        super().__init__()
        self.step = step
        # A constant component would start at a scale whose logarithm is infinite.
        std_in_steps = (component_std / step).clamp(min=0.05).to(torch.float32)
        self.mean = nn.Parameter(torch.zeros_like(std_in_steps))
        self.log_scale = nn.Parameter((std_in_steps * math.sqrt(3) / math.pi).log())

    def noisy(self, z: Tensor, generator: torch.Generator) -> Tensor:
        """Add uniform noise, in place of rounding, to codes (n, n_components)."""
        drawn = torch.rand(z.shape, generator=generator, dtype=z.dtype) - 0.5
        return z + self.step * drawn.to(z.device)

    def forward(self, z: Tensor) -> Tensor:
        """Return the rate in nats (n,) of noisy codes (n, n_components)."""
        scale = self.log_scale.exp()
        # By symmetry in the lower tail, where sigmoids do not round to 1.
        u = -(z / self.step - self.mean).abs() / scale
        half = 0.5 / scale
        probability = torch.sigmoid(u + half) - torch.sigmoid(u - half)
        # Far in the tail the difference underflows to 0: the logarithm stays finite.
        return -probability.clamp(min=1e-9).log().sum(dim=1)
