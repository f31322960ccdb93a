"""What noisy codes cost to be told: a logistic distribution of each component."""

import math

import torch
from torch import Tensor, nn

# A smaller probability counts as this one: its logarithm is finite.
MIN_PROBABILITY = 1e-9
# Smallest spread of a component at the start, in steps.
MIN_SPREAD = 0.05


class LogisticEntropyModel(nn.Module):
    """Nats that a code costs whose components are rounded to steps.

    Rounding is stood in for by uniform noise, of which this is the density: that of a
    logistic variable plus the noise.

    Parameters
    ----------
    scales : Tensor of shape (n_components,)
        Standard deviations of the components to begin with; their means are 0.
    step : float
        Distance of two neighbouring values of a component that is rounded.

    References
    ----------
    Balle, J., Laparra, V. and Simoncelli, E. P. (2017). End-to-end optimized image
    compression. ICLR. NOTE: there the density is piecewise linear.
    """

    def __init__(self, component_std: Tensor, step: float) -> None:
        super().__init__()
        self.step = step
        spread = (component_std / step).clamp(min=MIN_SPREAD).to(torch.float32)
        self.mean = nn.Parameter(torch.zeros_like(spread))
        self.log_scale = nn.Parameter((spread * math.sqrt(3) / math.pi).log())

    def noisy(self, z: Tensor, generator: torch.Generator) -> Tensor:
        """Codes (n, n_components) with noise in place of rounding."""
        drawn = torch.rand(z.shape, generator=generator, dtype=z.dtype) - 0.5
        return z + self.step * drawn.to(z.device)

    def forward(self, z: Tensor) -> Tensor:
        """Nats (n,) of noisy codes (n, n_components)."""
        scale = self.log_scale.exp()
        # In the lower tail, where differences of sigmoids are exact.
        u = -(z / self.step - self.mean).abs() / scale
        half = 0.5 / scale
        probability = torch.sigmoid(u + half) - torch.sigmoid(u - half)
        return -probability.clamp(min=MIN_PROBABILITY).log().sum(dim=1)
