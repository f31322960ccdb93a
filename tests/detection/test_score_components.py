import numpy as np
import pytest
import torch
from scipy.stats import hmean
from sklearn.datasets import load_wine

from sklearn_ae import AutoencoderTransformer
from sklearn_ae.detection._conditional_means import ConditionalMeans, Expectation
from sklearn_ae.detection._neighbors import Neighbors, QueryRows
from sklearn_ae.detection._score_components import (
    MAX_OCCLUDED,
    N_NEIGHBORS,
    DenoisingError,
    HarmonicMeanPValue,
    NearestDistance,
    NeighbourhoodDistance,
    Noise,
    ReconstructionScore,
    _log,
    _shares,
    calibrated,
)
from sklearn_ae.detection._tail_probability import TAIL_QUANTILE, TailLogPValue
from sklearn_ae.tables._column_scaler import ColumnScaler

WINE = load_wine().data
TRAIN, NEW = WINE[::2], WINE[1::2]
D = WINE.shape[1]
ONE = np.ones(len(TRAIN))


def distance(scale="standard", X=TRAIN):
    weight = np.ones(len(X))
    return NearestDistance(Neighbors(ColumnScaler(scale).fit(X, weight), X, weight))


TYPICAL = distance().neighbors
CONDITIONAL_MEANS = ConditionalMeans(TYPICAL.columns, TRAIN, ONE)
EXPECTATION = CONDITIONAL_MEANS(QueryRows(NEW))


def noise(level=0.3, n_draws=3):
    return Noise(level * np.random.default_rng(0).normal(size=(n_draws, D)), level)


MEDIAN = np.median(TRAIN, axis=0)
SILENCE = Noise(np.zeros((3, D)), 0.0)
KINDS = {
    "plain": {},
    "noise_conditional": {"corruption_level": (0.05, 2.0)},
    "absolute": {"loss": "absolute_error"},
    "quantile": {"scale": "quantile", "corruption_level": (0.05, 2.0)},
    "gaussian": {"latent": "gaussian"},
}


def fitted(kind):
    shared = {"hidden_layer_sizes": (16,), "max_iter": 3, "random_state": 0}
    return AutoencoderTransformer(4, **(shared | KINDS[kind])).fit(TRAIN)


@pytest.fixture(scope="module")
def transformers():
    return {kind: fitted(kind) for kind in KINDS}


def components(transformers):
    kinds = [distance(), distance("minmax"), distance("quantile")]
    kinds.append(NeighbourhoodDistance(TYPICAL))
    kinds.append(
        DenoisingError(transformers["noise_conditional"]._inference, noise(), MEDIAN)
    )
    kinds.append(DenoisingError(transformers["gaussian"]._inference, SILENCE, MEDIAN))
    return [calibrated(kind, QueryRows(TRAIN, True), ONE) for kind in kinds]


def harmonic_mean(some, weights=None):
    return HarmonicMeanPValue(some, TYPICAL, CONDITIONAL_MEANS, weights)


# -- components ----------------------------------------------------------------------


def test_a_distance_is_the_logarithm_of_the_mean_distance():
    component = distance()
    expected = component.neighbors.mean_distances(QueryRows(NEW), N_NEIGHBORS)
    np.testing.assert_allclose(np.exp(component.values(QueryRows(NEW))), expected)
    shares = component.shares(QueryRows(NEW), EXPECTATION)
    cells = component.neighbors.parts(QueryRows(NEW), N_NEIGHBORS)
    np.testing.assert_allclose(shares * expected[:, None], cells)


def test_a_neighbourhood_distance_is_too_for_training_rows_and_new_ones():
    component = NeighbourhoodDistance(TYPICAL)
    expected = TYPICAL.neighbourhood_distances(QueryRows(NEW))
    shares = component.shares(QueryRows(NEW), EXPECTATION)
    np.testing.assert_allclose(
        shares * expected[:, None], TYPICAL.neighbourhood_parts(QueryRows(NEW))
    )
    for is_training_row in (False, True):
        np.testing.assert_allclose(
            np.exp(component.values(QueryRows(NEW, is_training_row))), expected
        )


def restored(ae, one):
    """Scaled rows, and what the network makes of them and noise."""
    x = torch.from_numpy(ae._columns.transform(NEW))
    module = ae._inference._parts_for(x.numpy().dtype).module
    levels = torch.full((len(x), 1), one.level, dtype=torch.float64)
    draws = [*torch.from_numpy(one.draws), *-torch.from_numpy(one.draws)]
    with torch.no_grad():
        return x, torch.stack([module.denoise(x + draw, levels) for draw in draws])


@pytest.mark.parametrize("n_draws", [1, 4])
@pytest.mark.parametrize("kind", ["plain", "noise_conditional", "absolute", "quantile"])
def test_a_denoising_error_is_the_mean_over_the_draws_and_their_opposites(
    kind, n_draws, transformers
):
    ae, one = transformers[kind], noise(n_draws=n_draws)
    x, x_hat = restored(ae, one)
    assert len(x_hat) == 2 * n_draws
    cells = (x_hat - x).abs() if kind == "absolute" else (x_hat - x).square()
    cells = cells.mean(dim=0).numpy()
    error = DenoisingError(ae._inference, one, MEDIAN)
    np.testing.assert_allclose(
        np.exp(error.values(QueryRows(NEW))), cells.mean(axis=1), rtol=1e-6
    )
    mean = ae._columns.inverse_transform(x_hat.mean(dim=0).numpy())
    losses, expected = ae._inference.denoised(NEW, one)
    np.testing.assert_allclose(losses, cells, rtol=1e-6)
    np.testing.assert_allclose(expected, mean, rtol=1e-6)


def test_without_noise_it_is_the_reconstruction_error(transformers):
    ae = transformers["plain"]
    error = DenoisingError(ae._inference, SILENCE, MEDIAN)
    expected = -ae.score_samples(NEW)
    np.testing.assert_allclose(
        np.exp(error.values(QueryRows(NEW))), expected, rtol=1e-6
    )
    _, expected = ae._inference.denoised(NEW, SILENCE)
    np.testing.assert_allclose(expected, ae.reconstruct(NEW), rtol=1e-6)


def test_with_a_normal_latent_it_is_minus_the_log_density(transformers):
    ae = transformers["gaussian"]
    values = DenoisingError(ae._inference, SILENCE, MEDIAN).values(QueryRows(NEW))
    np.testing.assert_allclose(values, -ae.score_samples(NEW))


@pytest.mark.parametrize("kind", ["noise_conditional", "absolute", "gaussian"])
def test_shares_of_an_error_are_by_occlusion_with_conditional_means(kind, transformers):
    error = DenoisingError(transformers[kind]._inference, noise(), MEDIAN)
    shares = error.shares(QueryRows(NEW), EXPECTATION)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    losses = (lambda v: v) if kind == "gaussian" else np.exp
    whole = losses(error.values(QueryRows(NEW)))
    gains = np.empty_like(NEW)
    for j in range(D):
        X = NEW.copy()
        X[:, j] = EXPECTATION.means[:, j]
        gains[:, j] = np.maximum(whole - losses(error.values(QueryRows(X))), 0)
    # Only the cells farthest from their conditional means take part.
    rank = np.argsort(np.argsort(-EXPECTATION.deviations, axis=1), axis=1)
    expected = _shares(np.where(rank < MAX_OCCLUDED, gains, 0))
    np.testing.assert_allclose(shares, expected, atol=1e-9)
    # Nothing is gained where each cell is as expected.
    as_expected = Expectation(NEW, np.zeros_like(NEW))
    np.testing.assert_allclose(error.shares(QueryRows(NEW), as_expected), 1 / D)


class Rounding:
    """An autoencoder whose losses differ by rounding errors, but for one column."""

    is_random = False

    def denoising_losses(self, X, noise):
        return 0.3 + 1e-16 * X.sum(axis=1) + np.where(X[:, 0] > 100, 1, 0)


def test_a_gain_of_a_rounding_error_is_none():
    error = DenoisingError(Rounding(), noise(), np.zeros(4))
    X = np.array([[3.0, 1, 0, 7], [101, 9, 5, 0]])
    shares = error.shares(QueryRows(X))
    np.testing.assert_array_equal(shares, [[0.25] * 4, [1, 0, 0, 0]])


def test_an_error_is_the_same_for_training_rows_and_new_ones(transformers):
    error = DenoisingError(
        transformers["noise_conditional"]._inference, noise(), MEDIAN
    )
    np.testing.assert_array_equal(
        error.values(QueryRows(NEW, True)), error.values(QueryRows(NEW))
    )


def test_a_component_is_calibrated_by_training_rows():
    component, tail = calibrated(distance(), QueryRows(TRAIN, True), ONE)
    values = component.values(QueryRows(TRAIN, True))
    grid = np.linspace(values.min() - 1, values.max() + 1, 50)
    np.testing.assert_array_equal(tail(grid), TailLogPValue(values, ONE)(grid))
    # The mean of -log p is 1 where p is uniform.
    assert tail(values).mean() == pytest.approx(1, abs=0.15)


# -- combined ------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, (1, 1, 0.1), (2, 2, 0.2)])
def test_a_score_is_the_logarithm_of_the_harmonic_mean_p_value(weights):
    kinds = [distance(), distance("minmax"), distance("quantile")]
    calibrated_kinds = [calibrated(kind, QueryRows(TRAIN, True), ONE) for kind in kinds]
    scorer = harmonic_mean(calibrated_kinds, weights)
    values = np.array([kind.values(QueryRows(TRAIN, True)) for kind in kinds])
    p = np.array([(v >= v[:, None]).mean(axis=1) for v in values])
    body = (p > 1.1 * (1 - TAIL_QUANTILE)).all(axis=0)
    assert body.sum() > 40
    scores = scorer.scores(QueryRows(TRAIN, True))
    given = None if weights is None else np.reshape(weights, (3, 1)) * np.ones_like(p)
    np.testing.assert_allclose(
        scores[body], np.log(hmean(p, axis=0, weights=given))[body]
    )


def test_of_one_component_the_score_is_its_log_p_value(transformers):
    for component, tail in components(transformers):
        scores = harmonic_mean([(component, tail)]).scores(QueryRows(NEW))
        expected = -tail(component.values(QueryRows(NEW)))
        np.testing.assert_allclose(scores, expected, atol=1e-12)


def test_the_smallest_p_value_dominates(transformers):
    all_components = components(transformers)
    X = NEW.copy()
    X[:, 3] += np.linspace(0, 300, len(X))
    log_p = np.array([s(e.values(QueryRows(X))) for e, s in all_components])
    scores = harmonic_mean(all_components).scores(QueryRows(X))
    assert (scores <= 0).all()
    # The harmonic mean of six is six times the least at the most.
    most = log_p.max(axis=0)
    assert (-scores <= most + 1e-9).all()
    assert (-scores >= most - np.log(6) - 1e-9).all()
    np.testing.assert_array_less(np.log(0.01), scores[0])
    assert scores[-1] < -20


@pytest.mark.parametrize("weights", [np.ones(6), (1, 0.1, 2, 1, 1, 0.5)])
def test_contributions_sum_to_scores(weights, transformers):
    all_components = components(transformers)
    scorer = harmonic_mean(all_components, weights)
    contributions, _ = scorer.explain(QueryRows(NEW))
    scores = scorer.scores(QueryRows(NEW))
    np.testing.assert_allclose(contributions.sum(axis=1), scores, atol=1e-12)
    assert (contributions <= 0).all()
    p = np.array([np.exp(-s(e.values(QueryRows(NEW)))) for e, s in all_components])
    parts = np.reshape(weights, (6, 1)) / p
    parts /= parts.sum(axis=0)
    shares = [
        component.shares(QueryRows(NEW), EXPECTATION) for component, _ in all_components
    ]
    means = sum(part[:, None] * s for part, s in zip(parts, shares, strict=True))
    np.testing.assert_allclose(contributions, scores[:, None] * means, atol=1e-12)


def test_a_wrong_cell_contributes_most(transformers):
    X = NEW.copy()
    wrong = np.arange(len(X)) % D
    X[np.arange(len(X)), wrong] += 20 * TRAIN.std(axis=0)[wrong]
    contributions, _ = harmonic_mean(components(transformers)).explain(QueryRows(X))
    assert (contributions.argmin(axis=1) == wrong).mean() > 0.9


@pytest.mark.parametrize("value", [1e30, 1e160, 1e200, 1e300])
def test_scores_and_explanations_of_far_rows_are_finite(value, transformers):
    X = TRAIN[:3].copy()
    X[1, 0] = value
    X[2] = -value
    is_training_row = np.zeros(3, dtype=bool)
    scorers = [harmonic_mean(components(transformers))]
    scorers += [
        ReconstructionScore(DenoisingError(ae._inference, SILENCE, MEDIAN))
        for ae in transformers.values()
    ]
    for scorer in scorers:
        scores = scorer.scores(QueryRows(X, is_training_row))
        contributions, expected = scorer.explain(QueryRows(X, is_training_row))
        for values in (scores, contributions, expected):
            assert np.isfinite(values).all()
        assert (scores[1:] < scores[0] - 1).all()
        np.testing.assert_allclose(contributions.sum(axis=1), scores)


# -- reconstruction score -----------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_reconstruction_scores_are_the_autoencoders_and_contributions_sum_to_them(
    kind, transformers
):
    ae = transformers[kind]
    scorer = ReconstructionScore(DenoisingError(ae._inference, SILENCE, MEDIAN))
    scores = scorer.scores(QueryRows(NEW))
    np.testing.assert_allclose(scores, ae.score_samples(NEW))
    contributions, expected = scorer.explain(QueryRows(NEW))
    np.testing.assert_allclose(contributions.sum(axis=1), scores)
    # A noise-conditional encoder reconstructs as from its lowest level.
    tolerance = 0.02 if ae.module_.is_noise_conditional else 1e-6
    np.testing.assert_allclose(expected, ae.reconstruct(NEW), rtol=tolerance)


@pytest.mark.parametrize("kind", ["plain", "absolute"])
def test_a_cell_contributes_its_loss(kind, transformers):
    ae = transformers[kind]
    x, x_hat = ae._inference.scaled(NEW)
    cells = np.abs(x - x_hat) ** (1 if kind == "absolute" else 2)
    contributions, _ = ReconstructionScore(
        DenoisingError(ae._inference, SILENCE, MEDIAN)
    ).explain(QueryRows(NEW))
    np.testing.assert_allclose(contributions, -cells / D, atol=1e-9)


def test_cells_of_a_density_differ_by_their_squares_in_the_likelihoods_units(
    transformers,
):
    autoencoder = transformers["gaussian"]._inference
    x, x_hat = autoencoder.scaled(NEW)
    expected = -0.5 * np.square(x - x_hat) / autoencoder.module.noise_variance.item()
    contributions, _ = ReconstructionScore(
        DenoisingError(autoencoder, SILENCE, MEDIAN)
    ).explain(QueryRows(NEW))
    rest = contributions - expected
    np.testing.assert_allclose(rest, rest[:, :1] * np.ones(D), rtol=1e-5)


# -- numbers past float64 ------------------------------------------------------------


def test_logarithms_have_a_least_distance():
    values = np.array([0.0, 1e-300, 1e-9, 1.0, np.e])
    expected = [np.log(1e-9)] * 3 + [0, 1]
    np.testing.assert_allclose(_log(values), expected)


def test_logarithms_of_numbers_past_float64_are_finite():
    values = _log(np.array([1.0, 1e150, np.inf, np.nan]))
    assert np.isfinite(values).all()
    assert values[2] == values[3] > values[1] > values[0]


def test_nothing_is_farther():
    values = _log(np.array([1e308, np.inf]))
    assert values[1] >= values[0]


def test_shares_are_parts_of_the_sum():
    cells = np.array([[1.0, 3.0], [0, 5], [1e-300, 1e-300], [2e154, 1e154]])
    expected = [[0.25, 0.75], [0, 1], [0.5, 0.5], [2 / 3, 1 / 3]]
    np.testing.assert_allclose(_shares(cells), expected)


def test_shares_of_zero_are_equal():
    np.testing.assert_array_equal(_shares(np.zeros((2, 4))), np.full((2, 4), 0.25))


@pytest.mark.parametrize("value", [np.inf, np.nan, 1.7e308])
def test_cells_past_float64_have_the_whole_share(value):
    cells = np.array([[value, 1.0, 0], [value, value, 1], [value, value, value]])
    expected = [[1, 0, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(_shares(cells), expected, atol=1e-12)
