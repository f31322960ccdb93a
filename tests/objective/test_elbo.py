import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from sklearn_ae.objective import (
    Objective,
    gaussian_kl,
    gaussian_nll,
    importance_weights,
    noise_variance,
)
from tests.helpers import generator


def tensors(n, *shape, seed=0):
    g = generator(seed)
    return torch.randn(n, *shape, dtype=torch.float64, generator=g)


def test_kl_is_that_of_torch_distributions():
    mean, log_variance = tensors(2, 7, 3)
    q = Normal(mean, (0.5 * log_variance).exp())
    expected = kl_divergence(q, Normal(torch.zeros(3), torch.ones(3))).sum(dim=1)
    torch.testing.assert_close(gaussian_kl(mean, log_variance), expected)


def test_nll_is_that_of_torch_distributions():
    x, x_hat = tensors(2, 7, 4)
    variance = torch.tensor(0.3, dtype=torch.float64)
    expected = -Normal(x_hat, variance.sqrt()).log_prob(x).sum(dim=1)
    torch.testing.assert_close(gaussian_nll(x, x_hat, variance), expected)


def test_noise_variance_is_the_best_one():
    x, x_hat = tensors(2, 7, 4)
    weight = tensors(1, 7)[0].square()

    def nll(variance):
        return (weight * gaussian_nll(x, x_hat, variance)).sum()

    best = noise_variance(x, x_hat, weight).requires_grad_()
    (slope,) = torch.autograd.grad(nll(best), best)
    assert abs(slope) < 1e-10
    assert nll(best) < min(nll(0.9 * best), nll(1.1 * best))
    assert noise_variance(x, x, weight) > 0


def test_importance_weights_are_the_ratio_of_densities():
    x, x_hat = tensors(2, 7, 4)
    mean, log_variance, noise = tensors(3, 7, 2, seed=1)
    deviation, variance = (0.5 * log_variance).exp(), torch.tensor(0.3).double()
    z = mean + deviation * noise
    log_prior = Normal(torch.tensor(1.0).double(), 2.0).log_prob(z).sum(dim=1)
    expected = (
        Normal(x_hat, variance.sqrt()).log_prob(x).sum(dim=1)
        + log_prior
        - Normal(mean, deviation).log_prob(z).sum(dim=1)
    )
    weights = importance_weights(x, x_hat, variance, log_variance, log_prior, noise)
    torch.testing.assert_close(weights, expected)


@pytest.mark.parametrize(("beta", "kl_warmup"), [(1.0, 1.0), (4.0, 0.5), (0.0, 1.0)])
def test_objective_is_the_negative_bound(beta, kl_warmup):
    x, x_hat = tensors(2, 7, 4)
    mean, log_variance = tensors(2, 7, 2, seed=1)
    weight = torch.ones(7, dtype=torch.float64)
    objective = Objective("squared_error", beta=beta)
    loss = objective(
        x, x_hat, x, mean, log_variance, weight, torch.Generator(), kl_warmup=kl_warmup
    )
    variance = (x - x_hat).square().mean()
    # At the best variance the quadratic term is half a nat a cell.
    nll = 0.5 * 4 * (math.log(2 * math.pi) + variance.log() + 1)
    kl = gaussian_kl(mean, log_variance).mean()
    torch.testing.assert_close(loss.mean(), nll + kl_warmup * beta * kl)
