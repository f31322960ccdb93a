"""The code as a distribution."""

import torch
from torch import Tensor, nn

# Beyond these, a variance is as good as none or as any: exp of it stays finite.
MIN_LOG_VARIANCE, MAX_LOG_VARIANCE = -20.0, 20.0


class GaussianEncoder(nn.Module):
    """q(z | x), a normal with independent components; as a function, its mean.

    Parameters
    ----------
    network : nn.Module
        (n, n_features) to (n, 2 n_components): means, then logarithms of variances.

    References
    ----------
    Kingma, D. P. and Welling, M. (2014). Auto-encoding variational Bayes. ICLR.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, each (n, n_components), for rows (n, n_features)."""
        mean, log_variance = self.network(x).chunk(2, dim=-1)
        return mean, log_variance.clamp(MIN_LOG_VARIANCE, MAX_LOG_VARIANCE)

    def forward(self, x: Tensor) -> Tensor:
        """Mean (n, n_components) for rows (n, n_features)."""
        return self.moments(x)[0]


def draw(mean: Tensor, log_variance: Tensor, generator: torch.Generator) -> Tensor:
    """One z for each row, as a differentiable function of the moments."""
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
    return torch.addcmul(mean, (0.5 * log_variance).exp(), noise.to(mean.device))
