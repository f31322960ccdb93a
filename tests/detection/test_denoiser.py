"""The network of the detector: its settings, its noise, its error and its shares."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine

from sklearn_ae import AEOutlierDetector, AutoencoderTransformer
from sklearn_ae.detection._cellwise import CUTOFF, Expectation
from sklearn_ae.detection._denoiser import (
    EXPLAINING_NOISE_STDS,
    MAX_OCCLUDED,
    DenoisingError,
    default_autoencoder,
    finite,
    scoring_noise,
    shares_of,
)

WINE = load_wine().data
TRAIN, NEW = WINE[::2], WINE[1::2]
D = WINE.shape[1]
KINDS = {
    "plain": {},
    "noise_conditional": {"corruption_level": (0.05, 2.0)},
    "noisy": {"corruption_level": 0.5},
    "absolute": {"loss": "absolute_error"},
    "quantile": {"scale": "quantile", "corruption_level": (0.05, 2.0)},
    "gaussian": {"latent": "gaussian"},
    "masking": {"corruption": "masking", "corruption_level": 0.3},
}


def fitted(kind):
    shared = {"hidden_layer_sizes": (16,), "max_iter": 3, "random_state": 0}
    settings = shared | {"scale": "standard"} | KINDS[kind]
    return AutoencoderTransformer(4, **settings).fit(TRAIN)


@pytest.fixture(scope="module")
def transformers():
    return {kind: fitted(kind) for kind in KINDS}


# -- settings ------------------------------------------------------------------------


def test_the_default_is_a_denoiser_without_a_bottleneck():
    new = default_autoencoder(AEOutlierDetector(), 7, 1_000)
    assert new.n_components == 7
    assert new.corruption_level == (0.05, 2.0)
    assert new.hidden_layer_sizes == (64, 64, 64)
    assert new.scale == "standard"
    assert not new.early_stopping
    # 300 iterations of two mini-batches of 512.
    assert new.batch_size == 512
    assert new.max_iter == 300
    assert default_autoencoder(AEOutlierDetector(), 500, 1_000).n_components == 128


@pytest.mark.parametrize(
    ("n_rows", "alpha"), [(10, 1), (60, 0.5), (1_000, 0.03), (10**6, 0.01)]
)
def test_the_fewer_rows_the_more_its_weights_are_penalised(n_rows, alpha):
    new = default_autoencoder(AEOutlierDetector(), 7, n_rows)
    assert new.alpha == pytest.approx(alpha)


def test_the_default_of_pictures_keeps_their_unit():
    detector = AEOutlierDetector(architecture="conv", input_shape=(8, 8))
    new = default_autoencoder(detector, 64, 1_000)
    assert new.scale is None
    assert new.input_shape == (8, 8)
    assert new.n_components == 64
    assert new.corruption_level == (0.05, 2.0)
    defaults = AutoencoderTransformer()
    for name in ("hidden_layer_sizes", "batch_size", "learning_rate_init"):
        assert getattr(new, name) == getattr(defaults, name)


def test_the_default_of_reconstruction_has_the_transformers_bottleneck():
    new = default_autoencoder(AEOutlierDetector(method="reconstruction"), 7, 1_000)
    defaults = AutoencoderTransformer()
    for name in ("n_components", "corruption_level", "scale", "early_stopping"):
        assert getattr(new, name) == getattr(defaults, name)
    assert new.hidden_layer_sizes == (64, 64, 64)


# -- noise ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "level"), [("noise_conditional", 0.1), ("noisy", 0.5), ("quantile", 0.1)]
)
def test_every_cell_has_noise_of_one_size(kind, level, transformers):
    noise = scoring_noise(transformers[kind], D)
    assert noise.level == pytest.approx(level)
    std = transformers[kind]._inference.noise_std(level)
    np.testing.assert_allclose(np.abs(noise.draws), np.tile(std, (2, 1)), rtol=1e-6)
    # Noise is in units of columns of variance one.
    np.testing.assert_allclose(std, level, rtol=0.1)
    # The draws differ, also from the opposite of each other.
    first, second = np.sign(noise.draws)
    assert (first != second).any()
    assert (first != -second).any()


@pytest.mark.parametrize("kind", ["plain", "gaussian", "masking"])
def test_no_noise_is_added_where_the_network_did_not_learn_to_remove_it(
    kind, transformers
):
    noise = scoring_noise(transformers[kind], D)
    assert noise.level == 0
    np.testing.assert_array_equal(noise.draws, 0)


@pytest.mark.parametrize(("n_features", "most"), [(1, 1), (2, 2), (4, 4), (30, 1)])
def test_of_few_columns_there_are_more_draws(n_features, most):
    X = np.random.default_rng(0).normal(size=(40, n_features))
    new = AutoencoderTransformer(1, corruption_level=0.1, max_iter=1, random_state=0)
    draws = scoring_noise(new.fit(X), n_features).draws
    assert 1 <= len(draws) <= most
    # None twice, with either sign.
    both = np.sign(np.r_[draws, -draws])
    assert len(np.unique(both, axis=0)) == 2 * len(draws)


# -- error ---------------------------------------------------------------------------


def losses_by_hand(ae, X, absolute=False, *stds):
    """Mean over the draws and their opposites of the losses of scaled cells."""
    noise = scoring_noise(ae, D, *stds)
    scaled = (X - TRAIN.mean(axis=0)) / TRAIN.std(axis=0)
    if ae.scale == "quantile":
        scaled = ae._columns.transform(X)
    x = torch.from_numpy(scaled)
    module = ae._inference._parts_for(scaled.dtype).module
    level = torch.full((len(x), 1), noise.level, dtype=torch.float64)
    draws = torch.from_numpy(np.r_[noise.draws, -noise.draws])
    with torch.no_grad():
        errors = torch.stack([module.denoise(x + draw, level) - x for draw in draws])
    return (errors.abs() if absolute else errors.square()).mean(dim=0).numpy()


def measure(losses, calibration):
    return np.log1p(losses / np.median(calibration, axis=0)).mean(axis=1)


def test_without_noise_the_error_is_that_of_the_reconstruction(transformers):
    ae = transformers["plain"]
    losses, calibration = (
        np.square((X - ae.reconstruct(X)) / TRAIN.std(axis=0)) for X in (NEW, TRAIN)
    )
    logs = DenoisingError(ae, TRAIN).logs(NEW)[0]
    np.testing.assert_allclose(logs, measure(losses, calibration), rtol=1e-5)


@pytest.mark.parametrize("kind", ["noise_conditional", "noisy", "absolute", "quantile"])
def test_the_error_is_the_mean_over_the_draws_and_their_opposites(kind, transformers):
    ae, absolute = transformers[kind], kind == "absolute"
    losses, calibration = (losses_by_hand(ae, X, absolute) for X in (NEW, TRAIN[:40]))
    logs = DenoisingError(ae, TRAIN[:40]).logs(NEW)[0]
    np.testing.assert_allclose(logs, measure(losses, calibration), rtol=1e-5)


def test_with_a_normal_latent_it_is_minus_the_log_density(transformers):
    ae = transformers["gaussian"]
    np.testing.assert_allclose(
        DenoisingError(ae, TRAIN).logs(NEW)[0], -ae.score_samples(NEW)
    )


def test_no_column_decides_alone(transformers):
    # A column with losses 1,000 times as large has a unit as large.
    error = DenoisingError(transformers["plain"], TRAIN)
    before = error.logs(NEW)[0]
    cells, unit = error._losses, error._unit.copy()
    error._losses = lambda X: cells(X) * np.r_[1_000, np.ones(D - 1)]
    error._unit[0] = 1_000 * unit[0]
    np.testing.assert_allclose(error.logs(NEW)[0], before, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [1e30, 1e160, 1e300, -1e300])
def test_errors_and_shares_of_far_rows_are_finite(kind, value, transformers):
    error = DenoisingError(transformers[kind], TRAIN)
    X = np.r_[TRAIN[:1], TRAIN[:2]]
    X[1, 0], X[2] = value, value
    with np.errstate(over="ignore", invalid="ignore"):
        logs = error.logs(X)[0]
        shares = error.shares(X, Expectation(TRAIN[[0, 0, 1]], np.abs(X)))
    assert np.isfinite(logs).all()
    assert (logs[1:] > logs[0] + 1).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares[1].argmax() == 0


# -- shares --------------------------------------------------------------------------


class Chain:
    """An autoencoder that expects in each cell what the one before it holds."""

    is_random = False

    def denoising_losses(self, X, noise):
        return np.square(X - np.roll(X, 1, axis=1))


@pytest.mark.parametrize("n_tried", [MAX_OCCLUDED, 3])
def test_shares_are_by_the_loss_that_conditional_means_remove(
    n_tried, transformers, monkeypatch
):
    monkeypatch.setattr("sklearn_ae.detection._denoiser.MAX_OCCLUDED", n_tried)
    error = DenoisingError(transformers["plain"], TRAIN)
    error._autoencoder = chain = Chain()
    rng = np.random.default_rng(0)
    X, means = rng.normal(size=(20, 6)), rng.normal(size=(20, 6))
    deviations = rng.uniform(0, 6, size=(20, 6))
    shares = error.shares(X, Expectation(means, deviations))
    is_bad = deviations > CUTOFF
    assert is_bad.any()
    assert not is_bad.all()

    def loss(row):
        return chain.denoising_losses(row[None], None).mean()

    gains = np.zeros_like(X)
    for i, j in np.ndindex(X.shape):
        # The other bad cells hold their conditional means.
        with_cell = np.where(is_bad[i], means[i], X[i])
        with_mean = with_cell.copy()
        with_cell[j], with_mean[j] = X[i, j], means[i, j]
        gains[i, j] = max(loss(with_cell) - loss(with_mean), 0)
    # Only the cells farthest from their conditional means take part.
    rank = np.argsort(np.argsort(-deviations, axis=1), axis=1)
    expected = shares_of(np.where(rank < n_tried, gains, 0))
    np.testing.assert_allclose(shares, expected, atol=1e-12)
    # Nothing is gained where each cell is as expected.
    as_expected = Expectation(X, np.zeros_like(X))
    np.testing.assert_allclose(error.shares(X, as_expected), 1 / 6)


def test_shares_are_by_the_noise_of_explanations(transformers):
    for kind in ("noise_conditional", "absolute", "gaussian"):
        error = DenoisingError(transformers[kind], TRAIN)
        means = np.median(TRAIN, axis=0) + np.zeros_like(NEW)
        shares = error.shares(NEW, Expectation(means, np.zeros_like(NEW)))
        np.testing.assert_allclose(shares.sum(axis=1), 1)
        gains = np.empty_like(NEW)
        for j in range(D):
            X = NEW.copy()
            X[:, j] = means[:, j]
            losses = [
                -transformers[kind].score_samples(rows)
                if kind == "gaussian"
                else losses_by_hand(
                    transformers[kind], rows, kind == "absolute", EXPLAINING_NOISE_STDS
                ).mean(axis=1)
                for rows in (NEW, X)
            ]
            gains[:, j] = np.maximum(losses[0] - losses[1], 0)
        np.testing.assert_allclose(shares, shares_of(gains), atol=1e-5)


class Rounding:
    """An autoencoder whose losses differ by rounding errors, but for one column."""

    is_random = False

    def denoising_losses(self, X, noise):
        losses = 0.3 + 1e-16 * X.sum(axis=1) + np.where(X[:, 0] > 100, 1, 0)
        return np.tile(losses[:, None], X.shape[1])


def test_a_gain_of_a_rounding_error_is_none(transformers):
    error = DenoisingError(transformers["plain"], TRAIN)
    error._autoencoder = Rounding()
    X = np.array([[3.0, 1, 0, 7], [101, 9, 5, 0]])
    zero = Expectation(np.zeros_like(X), np.abs(X))
    shares = error.shares(X, zero)
    np.testing.assert_array_equal(shares, [[0.25] * 4, [1, 0, 0, 0]])


def test_shares_are_parts_of_the_sum():
    cells = np.array([[1.0, 3.0], [0, 5], [1e-300, 1e-300], [2e154, 1e154]])
    expected = [[0.25, 0.75], [0, 1], [0.5, 0.5], [2 / 3, 1 / 3]]
    np.testing.assert_allclose(shares_of(cells), expected)


def test_shares_of_zero_are_equal():
    np.testing.assert_array_equal(shares_of(np.zeros((2, 4))), np.full((2, 4), 0.25))


@pytest.mark.parametrize("value", [np.inf, np.nan, 1.7e308])
def test_cells_past_float64_have_the_whole_share(value):
    cells = np.array([[value, 1.0, 0], [value, value, 1], [value, value, value]])
    expected = [[1, 0, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(shares_of(cells), expected, atol=1e-12)


def test_scores_past_float64_are_the_lowest_of_finite_ones():
    values = finite(np.array([np.nan, -np.inf, -1e300, -1e279, 0.5, np.inf]))
    np.testing.assert_array_equal(values, [-1e280, -1e280, -1e280, -1e279, 0.5, 1e280])
    # So are their sums.
    assert np.isfinite(1e6 * values.sum())
