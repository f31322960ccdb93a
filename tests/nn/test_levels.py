"""Noise of a level that each row draws, and noise-conditional encoders."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from sklearn_ae.nn import (
    CORRUPTIONS,
    Autoencoder,
    Corruption,
    LevelFeatures,
    MLPArchitecture,
    WienerEncoder,
)
from tests.helpers import generator, tensor

N = 20_000
LEVELS = (0.05, 2.0)
# Levels between, at and beyond those of training.
SOME_LEVELS = [0.01, 0.3, 5.0]
REPLACING = sorted(set(CORRUPTIONS) - {"gaussian"})
P, SIGMAS = 1e-3, 4


def corruption(kind="gaussian", level=LEVELS):
    return Corruption(
        kind,
        level,
        mean=torch.tensor([1.0, -2.0, 30.0]),
        std=torch.tensor([1.0, 0.1, 5.0]),
        low=torch.tensor([-3.0, -2.5, 12.0]),
        high=torch.tensor([6.0, -1.5, 48.0]),
    )


@pytest.fixture(scope="module")
def x():
    noise = torch.randn(N, 3, dtype=torch.float64, generator=generator(99))
    return corruption().columns.mean + corruption().columns.std * noise


def column_of(level, n):
    return torch.full((n, 1), level)


# -- levels of rows ------------------------------------------------------------------


@pytest.mark.parametrize("low_high", [LEVELS, (0.5, 0.6)])
def test_levels_are_log_uniform_between_the_two(low_high, x):
    low, high = low_high
    _, levels = corruption(level=low_high)(x, generator())
    assert levels.shape == (N, 1)
    where = np.log(levels[:, 0].numpy() / low) / np.log(high / low)
    assert stats.kstest(where, "uniform").pvalue > P
    # One row's says nothing of the next one's.
    assert abs(np.corrcoef(where[1:], where[:-1])[0, 1]) < SIGMAS / np.sqrt(N)


def test_noise_is_standard_normal_in_units_of_the_rows_level_times_spread(x):
    corrupt = corruption()
    corrupted, levels = corrupt(x, generator())
    noise = ((corrupted - x) / (levels * corrupt.columns.std)).numpy()
    lowest_first = noise[np.argsort(levels[:, 0].numpy())]
    for some in np.array_split(lowest_first, 4):
        for column in some.T:
            assert stats.kstest(column, "norm").pvalue > P


@pytest.mark.parametrize("kind", REPLACING)
def test_a_cell_changes_with_the_probability_of_its_row(kind, x):
    corrupted, levels = corruption(kind, (0.02, 0.9))(x, generator())
    changed = (corrupted != x).double().sum(dim=1)
    order = levels[:, 0].argsort()
    for rows in order.chunk(5):
        p = levels[rows, 0]
        off = changed[rows].sum() - 3 * p.sum()
        assert off.abs() < SIGMAS * (3 * p * (1 - p)).sum().sqrt()


def test_a_callable_is_given_the_level_of_each_row(x):
    given = []

    def shift(rows, level, source):
        given.append(level)
        return rows + level

    corrupted, levels = corruption(shift)(x, generator())
    assert given[0] is levels
    assert levels.shape == (N, 1)
    assert torch.equal(corrupted, x + levels)


@pytest.mark.parametrize("kind", sorted(CORRUPTIONS))
def test_levels_come_from_the_given_generator_alone(kind, x):
    before = torch.get_rng_state()
    corrupt = corruption(kind, (0.1, 0.9))
    first, again = corrupt(x, generator(1)), corrupt(x, generator(1))
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[1], corrupt(x, generator(2))[1])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("low_high", [LEVELS, (1e-3, 10.0)])
def test_importance_averages_to_one_over_the_levels(low_high):
    low, high = low_high
    middles = (torch.arange(10_000, dtype=torch.float64)[:, None] + 0.5) / 10_000
    importance = corruption(level=low_high).importance(low * (high / low) ** middles)
    assert importance.shape == (10_000,)
    assert importance.mean().item() == pytest.approx(1, rel=1e-4)


def test_importance_makes_up_for_the_error_that_noise_leaves_of_a_normal_column():
    levels = torch.tensor([[0.1], [0.2], [1.0]])
    left = levels**2 / (1 + levels**2)
    importance = corruption().importance(levels)
    torch.testing.assert_close(importance / importance[2], left[2] / left[:, 0])


# -- what a level is to the encoder ----------------------------------------------------


def test_features_tell_levels_apart_and_are_of_order_one():
    levels = torch.logspace(np.log10(0.05), np.log10(2.0), 50)[:, None]
    features = LevelFeatures(*LEVELS)(levels)
    assert features.shape == (50, 4)
    assert features.abs().max() < 1.001
    assert torch.pdist(features).min() > 0.01
    # Equal ratios of levels are equal steps.
    expected = torch.linspace(-1, 1, 50)
    torch.testing.assert_close(features[:, 0], expected, atol=1e-5, rtol=0)


# -- the start ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def normal():
    """Mean and covariance of six columns of one spread, 1.7, and rows of theirs."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(6, 8))
    factors *= 1.7 / np.linalg.norm(factors, axis=1, keepdims=True)
    mean, covariance = rng.normal(size=6) + 3, factors @ factors.T
    return mean, covariance, rng.multivariate_normal(mean, covariance, size=40)


def around(mean, covariance, n_components, hidden=(8, 8), noise=None):
    """An untrained autoencoder around the leading axes of a covariance."""
    variances, components = np.linalg.eigh(covariance)
    variances, components = (
        variances[::-1][:n_components],
        components.T[::-1][:n_components],
    )
    spread = np.sqrt(np.diag(covariance))
    return Autoencoder.around_wiener(
        MLPArchitecture(len(mean), hidden, "silu", generator()),
        pca_mean=tensor(mean),
        mean=tensor(mean),
        std=tensor(spread),
        components=tensor(components.copy()),
        component_std=tensor(np.sqrt(variances)),
        noise=tensor(spread if noise is None else noise),
        levels=LEVELS,
    )


def denoised(module, X, level):
    x = tensor(X).float()
    with torch.no_grad():
        return module.denoise(x, column_of(level, len(x))).numpy()


@pytest.mark.parametrize("hidden", [(), (8, 8)])
@pytest.mark.parametrize("level", SOME_LEVELS)
def test_it_starts_at_the_posterior_mean_of_a_normal(normal, level, hidden):
    mean, covariance, X = normal
    noise = (1.7 * level) ** 2 * np.eye(6)
    gain = covariance @ np.linalg.inv(covariance + noise)
    expected = mean + (X - mean) @ gain.T
    got = denoised(around(mean, covariance, 6, hidden), X, level)
    np.testing.assert_allclose(got, expected, atol=2e-5)


@pytest.mark.parametrize("level", SOME_LEVELS)
def test_of_fewer_components_it_is_the_leading_part(normal, level):
    mean, covariance, X = normal
    variances, components = np.linalg.eigh(covariance)
    v, components = variances[-3:], components[:, -3:]
    share = v / (v + (1.7 * level) ** 2)
    expected = mean + (X - mean) @ components * share @ components.T
    got = denoised(around(mean, covariance, 3), X, level)
    np.testing.assert_allclose(got, expected, atol=2e-5)


@pytest.mark.parametrize("n_components", [3, 6])
def test_without_noise_it_is_pcas_projection(normal, n_components):
    mean, covariance, X = normal
    components = np.linalg.eigh(covariance)[1][:, 6 - n_components :]
    expected = mean + (X - mean) @ components @ components.T
    for level in (0.0, 1e-12, 1e-4):
        got = denoised(around(mean, covariance, n_components), X, level)
        np.testing.assert_allclose(got, expected, atol=2e-5)


def test_noise_of_columns_of_their_own_spread_is_told_apart():
    # Columns apart, of noise that is a share of each: all shrink alike. One noise for
    # all of them shrinks those of small variance most.
    variances, level = np.array([1.0, 4.0, 0.25]), 0.8
    X = np.random.default_rng(0).normal(size=(10, 3))
    covariance, mean = np.diag(variances), np.zeros(3)
    own = around(mean, covariance, 3, noise=np.sqrt(variances))
    shrunk = X / (1 + level**2)
    np.testing.assert_allclose(denoised(own, X, level), shrunk, atol=1e-6)
    one = around(mean, covariance, 3, noise=np.ones(3))
    shrunk = X * variances / (variances + level**2)
    np.testing.assert_allclose(denoised(one, X, level), shrunk, atol=1e-6)


def test_each_row_is_told_its_own_level(normal):
    mean, covariance, X = normal
    module = around(mean, covariance, 6)
    x = tensor(X[: len(SOME_LEVELS)]).float()
    with torch.no_grad():
        together = module.denoise(x, torch.tensor(SOME_LEVELS)[:, None]).numpy()
    for row, level, got in zip(X, SOME_LEVELS, together, strict=False):
        expected = denoised(module, row[None], level)[0]
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_without_a_level_it_is_the_lowest(normal):
    mean, covariance, X = normal
    module = around(mean, covariance, 4)
    with torch.no_grad():
        as_they_are = module(tensor(X).float())[0].numpy()
    np.testing.assert_array_equal(as_they_are, denoised(module, X, LEVELS[0]))


def test_an_encoder_that_is_not_told_leaves_levels_out():
    module = Autoencoder.random(MLPArchitecture(3, (4,), "tanh", generator()), 2)
    x = torch.randn(5, 3, generator=generator())
    with torch.no_grad():
        assert torch.equal(module.denoise(x, column_of(1.0, 5)), module(x)[0])


# -- the correction --------------------------------------------------------------------


class Input(nn.Module):
    """Keeps what it is given, and answers with ones."""

    def forward(self, x):
        self.x = x
        return torch.ones(len(x), 2)


def wiener(correction, variance, noise_variance):
    linear = nn.Linear(2, 2)
    nn.init.eye_(linear.weight)
    nn.init.zeros_(linear.bias)
    return WienerEncoder(
        linear,
        correction,
        LevelFeatures(*LEVELS),
        shift_in=torch.tensor([1.0, -2.0]),
        scale_in=torch.tensor([3.0, 0.5]),
        variance=torch.tensor(variance),
        noise_variance=torch.tensor(noise_variance),
    )


@pytest.mark.parametrize("level", SOME_LEVELS)
def test_the_correction_is_in_units_of_the_posterior(level):
    v, s2 = np.array([4.0, 0.25]), level**2 * np.array([1.0, 9.0])
    encoder = wiener(Input(), [4.0, 0.25], [1.0, 9.0])
    at_centre = encoder(torch.tensor([[1.0, -2.0]]), column_of(level, 1))
    expected = np.sqrt(1 / (1 / v + 1 / s2))
    np.testing.assert_allclose(at_centre[0].detach(), expected, rtol=1e-5)


@pytest.mark.parametrize("level", SOME_LEVELS)
def test_the_correction_sees_cells_of_one_size_and_the_level(level):
    seen = Input()
    encoder = wiener(seen, [9.0, 0.25], [9.0, 0.25])
    rows = torch.randn(N, 2, generator=generator()) * (1 + level**2) ** 0.5
    levels = column_of(level, N)
    encoder(encoder.shift_in + encoder.scale_in * rows, levels)
    assert (seen.x[:, :2].var(dim=0) - 1).abs().max() < SIGMAS * np.sqrt(2 / N)
    torch.testing.assert_close(seen.x[:, 2:], encoder.features(levels))


def test_a_constant_column_is_not_seen(normal):
    mean, covariance, X = normal
    module = around(mean, covariance, 3)
    module.encoder.scale_in[4] = np.inf
    with torch.no_grad():
        module.encoder.correction.layers[-1].weight.normal_(generator=generator())
        x, levels = tensor(X).float(), column_of(0.5, len(X))
        off = x + 1e3 * torch.eye(6)[4]
        nn.init.zeros_(module.encoder.linear.weight)
        assert torch.equal(module.encoder(off, levels), module.encoder(x, levels))


def test_gradient_is_that_of_finite_differences(normal):
    mean, covariance, X = normal
    module = around(mean, covariance, 3, hidden=(3, 3)).double()
    with torch.no_grad():
        for p in module.parameters():
            p.normal_(generator=generator(p.numel()))
    names, values = zip(*module.named_parameters(), strict=True)
    levels = torch.tensor([[0.05], [0.4], [2.0]], dtype=torch.float64)

    def function(*values):
        state = dict(zip(names, values, strict=True))
        arguments = tensor(X[:3]), generator(), levels
        return torch.func.functional_call(Drawn(module), prefixed(state), arguments)

    assert torch.autograd.gradcheck(function, values)


class Drawn(nn.Module):
    """An autoencoder as it is called in training."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *arguments):
        return self.module.draw(*arguments)[:2]


def prefixed(state):
    return {f"module.{name}": value for name, value in state.items()}
