import pytest
import torch
from torch import nn
from torch.autograd import gradcheck
from torch.distributions import Bernoulli, kl_divergence
from torch.func import functional_call, jacrev, vmap
from torch.nn.utils import parameters_to_vector

from sklearn_ae.objective import _penalties, contraction, kl_sparsity, l1_sparsity
from tests.helpers import drawn, generator

TARGET = 0.05
# On both sides of where the contraction is no longer exact.
FEW, MANY = _penalties.EXACT_COMPONENTS, _penalties.EXACT_COMPONENTS + 2
N_DRAWS = 4000
SIGMAS = 4


def float64(*shape, seed=0):
    return drawn(*shape, seed=seed, dtype=torch.float64)


def uniform(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=generator(seed))


# -- sparsity ----------------------------------------------------------------------


def test_kl_is_that_between_bernoullis_summed_over_the_units():
    z, weight = uniform(7, 4), uniform(7, seed=1)
    mean = (weight[:, None] * z).sum(dim=0) / weight.sum()
    target = torch.full((4,), TARGET, dtype=torch.float64)
    expected = kl_divergence(Bernoulli(target), Bernoulli(mean)).sum()
    torch.testing.assert_close(kl_sparsity(z, weight, TARGET), expected.expand(7))


def test_kl_counts_a_row_of_weight_w_as_w_rows():
    z, times = uniform(4, 3), torch.tensor([1, 3, 2, 5])
    repeated, ones = z.repeat_interleave(times, dim=0), uniform(11) * 0 + 1
    torch.testing.assert_close(
        kl_sparsity(z, times.double(), TARGET),
        kl_sparsity(repeated, ones, TARGET)[:4],
    )


def test_kl_is_zero_at_the_target_and_above_on_both_sides():
    ones = uniform(6) * 0 + 1
    # On average at the target, though no row is.
    z = torch.tensor([0.5, 1.5] * 3, dtype=torch.float64)[:, None] * TARGET
    torch.testing.assert_close(kl_sparsity(z, ones, TARGET), ones * 0)
    assert (kl_sparsity(z * 0.9, ones, TARGET) > 1e-4).all()
    assert (kl_sparsity(z * 1.1, ones, TARGET) > 1e-4).all()


def test_gradient_of_kl_is_that_of_finite_differences():
    z, weight = uniform(5, 3).requires_grad_(), uniform(5, seed=1)
    assert gradcheck(lambda z: kl_sparsity(z, weight, TARGET), z)


@pytest.mark.parametrize("activity", [0.0, 1e-30, 1e-8, 1 - 1e-7, 1.0])
def test_kl_is_finite_where_units_saturate(activity):
    z = torch.full((256, 3), activity, dtype=torch.float32, requires_grad=True)
    weight = uniform(256).float()
    kl = kl_sparsity(z, weight, TARGET)
    kl.mean().backward()
    assert kl.isfinite().all()
    assert (kl > 0).all()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("target", [TARGET, 0.5])
def test_kl_wakes_a_unit_that_is_all_but_dead(target):
    # Gradient of the sum by the sigmoid's inputs: n (mean activity - target).
    a = torch.full((8, 1), -20.0, dtype=torch.float32, requires_grad=True)
    kl_sparsity(torch.sigmoid(a), torch.ones(8), target).sum().backward()
    torch.testing.assert_close(a.grad, torch.full_like(a, -target))


def test_l1_is_the_rows_mean_absolute_code():
    z = torch.tensor([[1.0, -2.0, 3.0], [0.0, 0.0, -6.0]], requires_grad=True)
    l1 = l1_sparsity(z)
    assert torch.equal(l1, torch.tensor([2.0, 2.0]))
    l1.sum().backward()
    assert torch.equal(z.grad, z.detach().sign() / 3)


# -- contraction -------------------------------------------------------------------


def linear(n_in, n_out):
    """In double precision, with weights that are not small."""
    layer = nn.Linear(n_in, n_out, device="meta").to_empty(device="cpu").double()
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(float64(*p.shape, seed=p.numel()) / 2)
    return layer


def encoder(n_components, activation=nn.SiLU, *, code=nn.Identity):
    layers = linear(5, 7), activation(), linear(7, n_components), code()
    return nn.Sequential(*layers)


def penalty(encode, x, seed=0):
    x = x.detach().requires_grad_()
    return contraction(x, encode(x), generator(seed))


def exactly(encode, x):
    jacobian = vmap(jacrev(lambda row: encode(row[None])[0]))(x)
    return jacobian.square().sum(dim=(1, 2))


def by_parameters(total, encode):
    """Gradient by the encoder's parameters, as one vector."""
    grads = torch.autograd.grad(
        total, encode.parameters(), allow_unused=True, materialize_grads=True
    )
    return parameters_to_vector(grads)


def close_on_average(draws, expected):
    """Whether the mean over the first axis is off by chance only."""
    errors = draws.std(dim=0) / len(draws) ** 0.5
    return ((draws.mean(dim=0) - expected).abs() <= SIGMAS * errors + 1e-12).all()


@pytest.mark.parametrize("n_components", [1, FEW])
@pytest.mark.parametrize("code", [nn.Identity, nn.Sigmoid])
def test_few_components_have_the_exact_norm(code, n_components):
    encode, x = encoder(n_components, code=code), float64(6, 5)
    torch.testing.assert_close(penalty(encode, x), exactly(encode, x))


def test_a_sigmoid_layer_has_the_closed_form():
    # Rifai et al. (2011).
    encode, x = nn.Sequential(linear(5, FEW), nn.Sigmoid()), float64(6, 5)
    h, weight = encode(x), encode[0].weight
    expected = (h * (1 - h)).square() @ weight.square().sum(dim=1)
    torch.testing.assert_close(penalty(encode, x), expected)


def test_many_components_have_it_on_average():
    encode, x = encoder(MANY), float64(6, 5)
    draws = penalty(encode, x.repeat(N_DRAWS, 1)).reshape(N_DRAWS, 6)
    assert close_on_average(draws, exactly(encode, x))
    assert (draws.std(dim=0) > 0).all()


def test_the_estimates_gradient_is_the_exact_ones_on_average():
    encode, x = encoder(MANY, code=nn.Sigmoid), float64(6, 5)
    expected = by_parameters(exactly(encode, x).mean(), encode)
    draws = torch.stack(
        [by_parameters(penalty(encode, x, s).mean(), encode) for s in range(300)]
    )
    assert close_on_average(draws, expected)
    assert expected.abs().max() > 0.01


def test_the_estimate_is_exact_where_the_jacobians_rows_are_orthogonal():
    # With random signs it has no variance there; with normal numbers it would.
    axes = (
        torch.linalg.qr(float64(9, 9)).Q[:MANY] * torch.arange(1.0, MANY + 1)[:, None]
    )
    expected = axes.square().sum().expand(4)
    estimate = penalty(lambda x: x @ axes.T, float64(4, 9))
    torch.testing.assert_close(estimate, expected)


@pytest.mark.parametrize("n_components", [FEW, MANY])
def test_gradient_of_the_contraction_is_that_of_finite_differences(n_components):
    encode, x = encoder(n_components, nn.Tanh, code=nn.Sigmoid), float64(4, 5)
    names, values = zip(*encode.named_parameters(), strict=True)

    def mean_penalty(*values):
        state = dict(zip(names, values, strict=True))
        return penalty(lambda x: functional_call(encode, state, x), x).mean()

    assert gradcheck(mean_penalty, values)


@pytest.mark.parametrize("n_components", [FEW, MANY])
def test_the_contraction_leaves_gradients_as_they_are(n_components):
    encode, x = encoder(n_components), float64(6, 5).requires_grad_()
    for p in encode.parameters():
        p.grad = torch.full_like(p, 3)
    z = encode(x)
    contraction(x, z, generator())
    assert all((p.grad == 3).all() for p in encode.parameters())
    assert x.grad is None
    # The graph of the code is still there for the rest of the objective.
    z.sum().backward()


@pytest.mark.parametrize("n_components", [FEW, MANY])
def test_the_contraction_has_the_codes_dtype(n_components):
    encode = encoder(n_components).float()
    assert penalty(encode, float64(6, 5).float()).dtype == torch.float32


def test_signs_come_from_the_given_generator_alone():
    encode, x = encoder(MANY), float64(6, 5)
    before = torch.get_rng_state()
    assert torch.equal(penalty(encode, x, 1), penalty(encode, x, 1))
    assert not torch.equal(penalty(encode, x, 1), penalty(encode, x, 2))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_exact_norm_draws_nothing():
    x, source = float64(6, 5).requires_grad_(), generator()
    contraction(x, encoder(FEW)(x), source)
    assert torch.equal(source.get_state(), generator().get_state())
