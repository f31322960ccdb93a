import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sklearn_ae.objective import RECONSTRUCTION_LOSSES, Objective

NUMPY = {
    "squared_error": lambda r: r**2,
    "absolute_error": np.abs,
    "huber": lambda r: np.where(np.abs(r) <= 1, r**2 / 2, np.abs(r) - 0.5),
}
TORCH = {
    "squared_error": F.mse_loss,
    "absolute_error": F.l1_loss,
    "huber": F.huber_loss,
}


@pytest.fixture
def pair():
    # Residuals on both sides of Huber's corner, of both signs.
    rng = np.random.default_rng(0)
    return rng.normal(size=(7, 5)), rng.normal(scale=2, size=(7, 5))


def test_every_loss_has_a_reference():
    assert set(RECONSTRUCTION_LOSSES) == set(NUMPY) == set(TORCH)


@pytest.mark.parametrize("loss", NUMPY)
def test_loss_is_the_rows_mean_of_the_closed_form(loss, pair):
    x, x_hat = pair
    losses = Objective(loss)(torch.from_numpy(x), torch.from_numpy(x_hat))
    np.testing.assert_allclose(losses, NUMPY[loss](x - x_hat).mean(axis=1))


@pytest.mark.parametrize("loss", TORCH)
def test_mean_over_rows_is_torchs_loss(loss, pair):
    x, x_hat = map(torch.from_numpy, pair)
    torch.testing.assert_close(Objective(loss)(x, x_hat).mean(), TORCH[loss](x_hat, x))


@pytest.mark.parametrize("loss", NUMPY)
def test_gradient_is_that_of_finite_differences(loss, pair):
    x, x_hat = map(torch.from_numpy, pair)
    objective = Objective(loss)
    x_hat.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x_hat: objective(x, x_hat), x_hat)


@pytest.mark.parametrize("loss", NUMPY)
def test_an_exact_reconstruction_costs_nothing(loss, pair):
    x = torch.from_numpy(pair[0])
    assert not Objective(loss)(x, x.clone()).any()
