import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from sklearn_ae.nn import (
    Autoencoder,
    ConvArchitecture,
    ConvDecoder,
    ConvEncoder,
    ConvFilter,
    MLPArchitecture,
    cost,
)
from tests.helpers import generator

SHAPES = [(1, 8, 8), (3, 9, 13), (2, 1, 9), (1, 1, 1), (1, 3, 2)]


def plan(shape, channels=(4, 6), activation="silu", seed=0):
    return ConvArchitecture(shape, channels, activation, generator(seed))


def rows(shape, n=5):
    return torch.randn(n, math.prod(shape), generator=generator(9))


@pytest.mark.parametrize("channels", [(3,), (2, 3, 4, 5)])
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_any_shape_are_mapped_to_codes_and_back(shape, channels):
    networks, x = plan(shape, channels), rows(shape)
    noise_features = torch.ones(5, 4)
    with torch.no_grad():
        assert ConvEncoder(networks, 7, at_zero=False)(x).shape == (5, 7)
        assert ConvDecoder(networks, 7, at_zero=False)(x[:, :1].expand(5, 7)).shape == (
            5,
            networks.n_features,
        )
        both = torch.cat([x, noise_features], dim=1)
        filtered = ConvFilter(networks, n_noise_features=4, at_zero=False)(both)
        assert filtered.shape == x.shape


def test_sides_are_halved_and_rounded_up():
    assert plan((3, 29, 1), (1, 1, 1, 1)).sides == [
        (29, 1),
        (15, 1),
        (8, 1),
        (4, 1),
        (2, 1),
    ]
    assert plan((1, 28, 28), (16, 32)).n_lowest == 32 * 7 * 7


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 1, 9)])
@pytest.mark.parametrize("at_zero", [True, False])
def test_only_what_is_to_start_at_zero_does(shape, at_zero):
    networks, x = plan(shape), rows(shape)
    for network, given in (
        (ConvEncoder(networks, 3, at_zero=at_zero), x),
        (ConvDecoder(networks, 3, at_zero=at_zero), x[:, :3]),
        (ConvFilter(networks, at_zero=at_zero), x),
    ):
        with torch.no_grad():
            assert (network(given).abs().max() == 0) == at_zero


def test_the_first_stage_is_torchs_convolution_of_the_picture():
    encoder = ConvEncoder(plan((2, 9, 11), (4,)), 3, at_zero=False).double()
    x = rows((2, 9, 11)).double()
    half, residual = encoder.down.halves[0], encoder.down.residuals[0]
    with torch.no_grad():
        h = functional.conv2d(
            x.reshape(-1, 2, 9, 11), half.weight, half.bias, stride=2, padding=2
        )
        inner = functional.conv2d(
            functional.silu(h), residual.first.weight, residual.first.bias, padding=1
        )
        h = h + functional.conv2d(
            functional.silu(inner),
            residual.second.weight,
            residual.second.bias,
            padding=1,
        )
        code = functional.silu(h).reshape(5, -1) @ encoder.last.weight.T
        torch.testing.assert_close(encoder(x), code + encoder.last.bias)


def test_a_signal_is_convolved_in_one_dimension():
    encoder = ConvEncoder(plan((2, 1, 9), (4,)), 3, at_zero=False).double()
    x = rows((2, 1, 9)).double()
    half = encoder.down.halves[0]
    seen = []
    half.register_forward_hook(lambda part, args, y: seen.append(y))
    with torch.no_grad():
        encoder(x)
        signal = functional.conv1d(
            x.reshape(-1, 2, 9), half.weight[:, :, 0], half.bias, stride=2, padding=2
        )
    torch.testing.assert_close(seen[0][:, :, 0], signal)


@pytest.mark.parametrize("axis", [1, 2])
def test_a_picture_on_its_side_gives_the_code_of_one_upright(axis):
    # An image of height 1 and one of width 1 are the same signal.
    wide, tall = plan((1, 1, 9)), plan((1, 9, 1))
    x = rows((1, 1, 9))
    with torch.no_grad():
        one = ConvEncoder(wide, 3, at_zero=False)(x)
        other = ConvEncoder(tall, 3, at_zero=False)(x)
    torch.testing.assert_close(one, other)


def test_a_filter_moves_with_the_picture():
    # By a whole step of the lowest resolution, and away from the edges.
    shape = (1, 1, 64)
    network = ConvFilter(plan(shape, (3, 4)), at_zero=False).double()
    x = torch.zeros(1, 64, dtype=torch.float64)
    x[0, 28:33] = torch.arange(5.0)
    with torch.no_grad():
        still, moved = network(x), network(x.roll(4, dims=1))
    torch.testing.assert_close(moved[0, 20:50], still.roll(4, dims=1)[0, 20:50])
    assert (still[0, 20:46] - still[0, 0]).abs().max() > 1e-4


@pytest.mark.parametrize("network", [ConvFilter, lambda p, **k: ConvEncoder(p, 3, **k)])
def test_what_is_told_of_a_row_counts_at_each_place(network):
    shape = (1, 8, 8)
    noise_features = torch.zeros(1, 2, requires_grad=True)
    out = network(plan(shape), n_noise_features=2, at_zero=False)(
        torch.cat([rows(shape, 1), noise_features], dim=1)
    )
    for cell in out[0, :3]:
        (slope,) = torch.autograd.grad(cell, noise_features, retain_graph=True)
        assert (slope != 0).all()


def test_weights_are_the_generators_and_the_global_one_stays():
    before = torch.get_rng_state()
    one, same, other = (
        ConvFilter(plan((1, 8, 8), seed=seed), at_zero=False).state_dict()
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    weights = [name for name in one if name.endswith("weight")]
    assert not any(torch.equal(one[name], other[name]) for name in weights)


# -- around PCA ----------------------------------------------------------------------


def start(X, n_components, **more):
    pca = PCA(n_components).fit(X)
    component_std = np.sqrt(pca.explained_variance_)
    parts = {
        "pca_mean": pca.mean_,
        "components": pca.components_,
        "component_std": component_std,
    }
    parts |= {"mean": X.mean(axis=0), "std": np.full(X.shape[1], X.std())}
    return pca, {k: torch.from_numpy(v) for k, v in (parts | more).items()}


@pytest.mark.parametrize("n_components", [3, 64])
def test_it_starts_at_pca(n_components):
    X = rows((1, 8, 8), 100).double().numpy() * np.linspace(0.5, 3, 64) + 5
    pca, parts = start(X, n_components)
    module = Autoencoder.around_linear(plan((1, 8, 8)), **parts).double()
    with torch.no_grad():
        x_hat, z = module(torch.from_numpy(X))
    np.testing.assert_allclose(z, pca.transform(X), atol=1e-4)
    back = pca.inverse_transform(pca.transform(X))
    np.testing.assert_allclose(x_hat, back, atol=1e-4)
    # A code of all there is leaves nothing for the decoder to correct.
    assert isinstance(module.decoder, nn.Linear) == (n_components == 64)


@pytest.mark.parametrize("n_components", [3, 64])
def test_it_starts_at_wieners_filter(n_components):
    X = rows((1, 8, 8), 100).double().numpy() * np.linspace(0.5, 3, 64) + 5
    pca, parts = start(X, n_components, noise=np.ones(64))
    module = Autoencoder.around_wiener(plan((1, 8, 8)), levels=(0.1, 2.0), **parts)
    level = 0.7
    with torch.no_grad():
        levels = torch.full((100, 1), level, dtype=torch.float64)
        x_hat = module.double().denoise(torch.from_numpy(X), levels)
    share = pca.explained_variance_ / (pca.explained_variance_ + level**2)
    filtered = pca.inverse_transform(pca.transform(X) * share)
    np.testing.assert_allclose(x_hat, filtered, atol=1e-4)


def test_every_parameter_learns_from_where_it_starts():
    X = rows((1, 8, 8), 80).double().numpy()
    for n_components in (3, 64):
        _, parts = start(X, n_components)
        module = Autoencoder.around_linear(plan((1, 8, 8)), **parts)
        optimizer = torch.optim.SGD(module.parameters(), 0.1)
        x = torch.from_numpy(X).float()
        before = [p.clone() for p in module.parameters()]
        # Layers behind a layer of zeros move once that has moved.
        for _ in range(3):
            optimizer.zero_grad()
            (module(x + 0.1)[0] - x).square().mean().backward()
            optimizer.step()
        for p, old in zip(module.parameters(), before, strict=True):
            assert not torch.equal(p, old)


# -- cost ------------------------------------------------------------------------------


def counted(module, n_features):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, n_features))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 13), (2, 1, 30)])
def test_cost_is_that_of_torchs_counter(shape):
    networks = plan(shape)
    for module in (
        Autoencoder.random(networks, 3),
        Autoencoder.random(
            MLPArchitecture(networks.n_features, (5,), "relu", generator()), 3
        ),
    ):
        biases = sum(p.numel() for p in module.parameters() if p.dim() == 1)
        found = cost(module, networks.n_features)
        assert found.n_multiplications - biases == counted(module, networks.n_features)


def test_a_number_alone_has_no_width():
    module = Autoencoder.random(MLPArchitecture(3, (5,), "relu", generator()), 2)
    module.encoder.gain = nn.Parameter(torch.tensor(1.0))
    assert cost(module, 3).width == 5


def test_the_widest_output_is_that_of_the_first_stage():
    module = Autoencoder.random(plan((1, 28, 28), (16, 32)), 3)
    assert cost(module, 784).width == 16 * 14 * 14
    assert not any(part._forward_hooks for part in module.modules())
