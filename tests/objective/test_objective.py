import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sklearn_ae.objective import (
    RECONSTRUCTION_LOSSES,
    Objective,
    contraction,
    kl_sparsity,
    l1_sparsity,
)
from tests.helpers import generator

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
    losses = Objective(loss).reconstruction(
        torch.from_numpy(x), torch.from_numpy(x_hat)
    )
    np.testing.assert_allclose(losses, NUMPY[loss](x - x_hat).mean(axis=1))


@pytest.mark.parametrize("loss", TORCH)
def test_mean_over_rows_is_torchs_loss(loss, pair):
    x, x_hat = map(torch.from_numpy, pair)
    torch.testing.assert_close(
        Objective(loss).reconstruction(x, x_hat).mean(), TORCH[loss](x_hat, x)
    )


@pytest.mark.parametrize("loss", NUMPY)
def test_gradient_is_that_of_finite_differences(loss, pair):
    x, x_hat = map(torch.from_numpy, pair)
    objective = Objective(loss).reconstruction
    x_hat.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x_hat: objective(x, x_hat), x_hat)


@pytest.mark.parametrize("loss", NUMPY)
def test_the_gradient_by_hand_is_autograds(loss, pair):
    x, x_hat = map(torch.from_numpy, pair)
    weight = torch.linspace(0, 2, len(x)).double()
    objective = Objective(loss)
    x_hat.requires_grad_(True)
    expected = (objective.reconstruction(x, x_hat) * weight).mean()
    expected.backward()
    loss, manual = objective.with_gradient(x, x_hat.detach(), weight)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(manual, x_hat.grad)


@pytest.mark.parametrize(
    ("penalty", "plain"),
    [
        ({}, True),
        ({"sparsity": "l1", "sparsity_weight": 0.1}, False),
        ({"contraction_weight": 0.1}, False),
    ],
)
def test_a_penalty_is_more_than_the_reconstruction(penalty, plain):
    assert Objective("huber", **penalty).has_no_penalties == plain


@pytest.mark.parametrize("loss", NUMPY)
def test_an_exact_reconstruction_costs_nothing(loss, pair):
    x = torch.from_numpy(pair[0])
    assert not Objective(loss).reconstruction(x, x.clone()).any()


def batch(seed=0):
    """Rows x, as given, as restored and their sigmoid code, and weights."""
    g = generator(seed)
    x, x_in, x_hat = torch.randn(3, 6, 5, dtype=torch.float64, generator=g)
    x_in.requires_grad_()
    z = torch.sigmoid(x_in[:, :2] * 2)
    return x, x_hat, x_in, z, torch.rand(6, dtype=torch.float64, generator=g)


def total(objective, rows):
    *rows, weight = rows
    return objective(*rows, None, weight, generator()).detach()


def test_without_weights_there_is_the_reconstruction_alone():
    rows = batch()
    expected = F.mse_loss(rows[0], rows[1], reduction="none").mean(dim=1)
    torch.testing.assert_close(total(Objective("squared_error"), rows), expected)


def test_penalties_are_added_by_their_weights():
    rows = x, x_hat, x_in, z, weight = batch()
    objective = Objective(
        "huber",
        sparsity="kl",
        sparsity_weight=0.3,
        sparsity_target=0.2,
        contraction_weight=0.7,
    )
    expected = (
        objective.reconstruction(x, x_hat)
        + 0.3 * kl_sparsity(z, weight, 0.2)
        + 0.7 * contraction(x_in, z, torch.Generator())
    )
    torch.testing.assert_close(total(objective, rows), expected.detach())


def test_sparsity_is_chosen_by_name_or_given():
    rows = batch()
    plain = total(Objective("huber"), rows)
    z = rows[3].detach()
    penalties = {
        "l1": l1_sparsity(z),
        lambda z: z.square().sum(dim=1): z.square().sum(1),
    }
    for sparsity, penalty in penalties.items():
        objective = Objective("huber", sparsity=sparsity, sparsity_weight=2.0)
        torch.testing.assert_close(total(objective, rows), plain + 2 * penalty)


@pytest.mark.parametrize("wrong", [lambda z: z, lambda z: z.sum(), lambda z: 1.0])
def test_a_sparsity_of_the_wrong_shape_is_refused(wrong):
    objective = Objective("huber", sparsity=wrong, sparsity_weight=1.0)
    with pytest.raises(ValueError, match=r"sparsity must return .* shape \(6,\)"):
        total(objective, batch())
