"""Terms of the negative evidence lower bound, in nats: one per row, shape (n,)."""

import math

from torch import Tensor


def noise_variance(x: Tensor, x_hat: Tensor, weight: Tensor) -> Tensor:
    """Maximum likelihood variance of the decoder: the weighted mean squared residual.

    Rybkin, O., Daniilidis, K. and Levine, S. (2021). Simple and effective VAE training
    with calibrated decoders. ICML.
    """
    squares = (x_hat - x).square().mean(dim=1)
    # Rows that are reconstructed exactly would have an infinite likelihood.
    return (weight @ squares / weight.sum()).clamp(min=1e-8)


def gaussian_nll(x: Tensor, x_hat: Tensor, variance: Tensor) -> Tensor:
    """``-log N(x; x_hat, variance I)``."""
    squares = (x_hat - x).square().sum(dim=1)
    log_volume = x.shape[1] * (2 * math.pi * variance).log()
    return 0.5 * (log_volume + squares / variance)


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """``KL(N(mean, exp(log_variance)) || N(0, I))`` for moments (n, n_components)."""
    kl = mean.square() + log_variance.exp() - log_variance - 1
    return 0.5 * kl.sum(dim=1)


def importance_weights(
    x: Tensor,
    x_hat: Tensor,
    variance: Tensor,
    log_variance: Tensor,
    log_prior: Tensor,
    noise: Tensor,
) -> Tensor:
    """Log importance weight ``log p(x | z) + log p(z) - log q(z | x)`` of each draw z.

    The draw is ``z = mean + std * noise``. The weights' mean over draws is unbiased for
    p(x); the expectation of its logarithm is a lower bound of log p(x) that tightens
    with the number of draws (Burda, Y., Grosse, R. and Salakhutdinov, R., 2016.
    Importance weighted autoencoders. ICLR).
    """
    posterior = noise.square() + log_variance + math.log(2 * math.pi)
    log_posterior = -0.5 * posterior.sum(dim=1)
    return log_prior - log_posterior - gaussian_nll(x, x_hat, variance)
