"""What noisy codes cost: against the logistic distribution itself."""

import math

import pytest
import torch
from scipy.stats import logistic

from sklearn_ae.nn import LogisticEntropyModel
from tests.helpers import generator

SCALES = torch.tensor([0.5, 2.0, 30.0], dtype=torch.float64)


def prior(step=0.25):
    return LogisticEntropyModel(SCALES, step).double()


def test_nats_are_those_of_the_cell_under_a_logistic_distribution():
    step, z = 0.25, torch.randn(50, 3, dtype=torch.float64) * SCALES
    scale = SCALES * math.sqrt(3) / math.pi
    low, high = z - step / 2, z + step / 2
    cells = logistic.cdf(high, scale=scale) - logistic.cdf(low, scale=scale)
    expected = -torch.from_numpy(cells).log().sum(dim=1)
    torch.testing.assert_close(prior(step)(z), expected, rtol=1e-4, atol=1e-4)


def test_cells_have_a_probability_of_one_in_sum():
    module = prior(step=1.0)
    whole = torch.arange(-400, 401, dtype=torch.float64)[:, None]
    for j in range(3):
        z = torch.zeros(len(whole), 3, dtype=torch.float64)
        others = module(z[:1]).item()
        z[:, j : j + 1] = whole
        own = module(z[400:401]).item() - others
        assert own == pytest.approx(0, abs=1e-9)
        at_zero = LogisticEntropyModel(SCALES[j : j + 1], 1.0).double()
        assert (-at_zero(whole)).exp().sum().item() == pytest.approx(1, abs=1e-6)


def test_what_is_far_out_costs_much_and_not_infinitely():
    far = torch.tensor([[1e6, 1e6, 1e6]], dtype=torch.float64, requires_grad=True)
    nats = prior()(far)
    assert nats.item() == pytest.approx(-3 * math.log(1e-9))
    nats.sum().backward()
    assert far.grad.isfinite().all()


def test_gradients_lead_to_the_distribution_of_the_codes():
    module = LogisticEntropyModel(torch.ones(2), 0.1)
    z = 3 + 0.5 * torch.randn(4_000, 2, generator=generator())
    optimiser = torch.optim.Adam(module.parameters(), lr=0.1)
    before = module(z).mean().item()
    for _ in range(300):
        optimiser.zero_grad()
        module(z).mean().backward()
        optimiser.step()
    assert module(z).mean().item() < before - 1
    torch.testing.assert_close(
        module.mean * 0.1, torch.full((2,), 3.0), atol=0.1, rtol=0
    )


def test_noise_is_uniform_within_half_a_step():
    module, z = prior(step=0.5), torch.zeros(10_000, 3, dtype=torch.float64)
    noise = module.noisy(z, generator())
    assert noise.abs().max() <= 0.25
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.var().item() == pytest.approx(0.5**2 / 12, rel=0.02)
    torch.testing.assert_close(noise, module.noisy(z, generator()), rtol=0, atol=0)
    assert not torch.equal(noise, module.noisy(z, generator(1)))


def test_a_component_without_spread_has_one():
    module = LogisticEntropyModel(torch.zeros(1), 1.0)
    assert module(torch.zeros(1, 1)).isfinite().all()
