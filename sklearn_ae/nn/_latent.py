"""A Gaussian code."""

import torch
from torch import Tensor, nn


class GaussianEncoder(nn.Module):
    """Approximate posterior q(z | x): a normal with diagonal covariance.

    Calling the module returns its mean.

    Parameters
    ----------
    network : nn.Module
        Maps (n, n_features) to (n, 2 n_components): means, then log-variances.

    References
    ----------
    Kingma, D. P. and Welling, M. (2014). Auto-encoding variational Bayes. ICLR.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log-variances (n, n_components) of x (n, n_features)."""
        mean, log_variance = self.network(x).chunk(2, dim=-1)
        # The variance stays between 2e-9 and 5e8: its exponential does not overflow.
        return mean, log_variance.clamp(-20.0, 20.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean (n, n_components) of x (n, n_features)."""
        return self.moments(x)[0]


def draw(mean: Tensor, log_variance: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one z per row by the reparametrisation trick."""
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
    return torch.addcmul(mean, (0.5 * log_variance).exp(), noise.to(mean.device))
