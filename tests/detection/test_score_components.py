import numpy as np
import pytest
import torch
from scipy.stats import hmean
from sklearn.datasets import load_wine

from sklearn_ae import AutoencoderTransformer
from sklearn_ae.detection._score_components import (
    LEAST_PART,
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
from sklearn_ae.detection._neighbors import Neighbors, QueryRows
from sklearn_ae.detection._tail_probability import TAIL, TailLogPValue
from sklearn_ae.tables._column_scaler import ColumnScaler

WINE = load_wine().data
TRAIN, NEW = WINE[::2], WINE[1::2]
D = WINE.shape[1]
ONE = np.ones(len(TRAIN))


def distance(scale="standard", X=TRAIN):
    weight = np.ones(len(X))
    return NearestDistance(Neighbors(ColumnScaler(scale).fit(X, weight), X, weight))


TYPICAL = distance().neighbors


def noise(level=0.3, n_draws=3):
    return Noise(level * np.random.default_rng(0).normal(size=(n_draws, D)), level)


USUAL = np.median(TRAIN, axis=0)
SILENCE = Noise(np.zeros((3, D)), 0.0)
KINDS = {
    "plain": {},
    "told": {"corruption_level": (0.05, 2.0)},
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


def pieces(transformers):
    kinds = [distance(), distance("minmax"), distance("quantile")]
    kinds.append(NeighbourhoodDistance(TYPICAL))
    kinds.append(DenoisingError(transformers["told"]._inference, noise(), USUAL))
    kinds.append(DenoisingError(transformers["gaussian"]._inference, SILENCE, USUAL))
    return [calibrated(kind, QueryRows(TRAIN, True), ONE) for kind in kinds]


# -- pieces --------------------------------------------------------------------------


def test_a_distance_counts_by_its_logarithm():
    evidence = distance()
    expected = evidence.neighbors.mean_distances(QueryRows(NEW), N_NEIGHBORS)
    np.testing.assert_allclose(np.exp(evidence.values(QueryRows(NEW))), expected)
    shares = evidence.shares(QueryRows(NEW))
    cells = evidence.neighbors.parts(QueryRows(NEW), N_NEIGHBORS)
    np.testing.assert_allclose(shares * expected[:, None], cells)


def test_so_does_a_wide_distance_whether_a_row_is_known_or_not():
    evidence = NeighbourhoodDistance(TYPICAL)
    expected = TYPICAL.wide_mean_distances(QueryRows(NEW))
    shares = evidence.shares(QueryRows(NEW))
    np.testing.assert_allclose(
        shares * expected[:, None], TYPICAL.wide_parts(QueryRows(NEW))
    )
    for is_training_row in (False, True):
        np.testing.assert_allclose(
            np.exp(evidence.values(QueryRows(NEW, is_training_row))), expected
        )


def restored(ae, one):
    """Scaled rows, and what the network makes of them and noise."""
    x = torch.from_numpy(ae._columns.transform(NEW))
    module = ae._inference._parts_for(x.numpy().dtype, False).module
    levels = torch.full((len(x), 1), one.level, dtype=torch.float64)
    draws = [*torch.from_numpy(one.draws), *-torch.from_numpy(one.draws)]
    with torch.no_grad():
        return x, torch.stack([module.denoise(x + draw, levels) for draw in draws])


@pytest.mark.parametrize("n_draws", [1, 4])
@pytest.mark.parametrize("kind", ["plain", "told", "absolute", "quantile"])
def test_an_error_is_the_mean_over_the_draws_and_their_opposites(
    kind, n_draws, transformers
):
    ae, one = transformers[kind], noise(n_draws=n_draws)
    x, x_hat = restored(ae, one)
    assert len(x_hat) == 2 * n_draws
    cells = (x_hat - x).abs() if kind == "absolute" else (x_hat - x).square()
    cells = cells.mean(dim=0).numpy()
    error = DenoisingError(ae._inference, one, USUAL)
    np.testing.assert_allclose(
        np.exp(error.values(QueryRows(NEW))), cells.mean(axis=1), rtol=1e-6
    )
    mean = ae._columns.inverse_transform(x_hat.mean(dim=0).numpy())
    losses, expected = ae._inference.denoised(NEW, one)
    np.testing.assert_allclose(losses, cells, rtol=1e-6)
    np.testing.assert_allclose(expected, mean, rtol=1e-6)


def test_without_noise_an_error_is_the_networks_own(transformers):
    ae = transformers["plain"]
    error = DenoisingError(ae._inference, SILENCE, USUAL)
    expected = -ae.score_samples(NEW)
    np.testing.assert_allclose(
        np.exp(error.values(QueryRows(NEW))), expected, rtol=1e-6
    )
    _, expected = ae._inference.denoised(NEW, SILENCE)
    np.testing.assert_allclose(expected, ae.reconstruct(NEW), rtol=1e-6)


def test_of_a_random_code_evidence_is_minus_the_log_density(transformers):
    ae = transformers["gaussian"]
    values = DenoisingError(ae._inference, SILENCE, USUAL).values(QueryRows(NEW))
    np.testing.assert_allclose(values, -ae.score_samples(NEW))


@pytest.mark.parametrize("kind", ["told", "absolute", "gaussian"])
def test_a_cell_counts_by_how_much_better_the_row_is_without_it(kind, transformers):
    error = DenoisingError(transformers[kind]._inference, noise(), USUAL)
    shares = error.shares(QueryRows(NEW))
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    losses = (lambda v: v) if kind == "gaussian" else np.exp
    whole = losses(error.values(QueryRows(NEW)))
    gains = np.empty_like(NEW)
    for j in range(D):
        X = NEW.copy()
        X[:, j] = USUAL[j]
        gains[:, j] = np.maximum(whole - losses(error.values(QueryRows(X))), 0)
    np.testing.assert_allclose(shares, _shares(gains), atol=1e-9)
    # The usual row has nothing to gain.
    np.testing.assert_allclose(error.shares(QueryRows(USUAL[None])), 1 / D)


def test_a_network_does_not_ask_which_rows_are_known(transformers):
    error = DenoisingError(transformers["told"]._inference, noise(), USUAL)
    np.testing.assert_array_equal(
        error.values(QueryRows(NEW, True)), error.values(QueryRows(NEW))
    )


def test_evidence_is_calibrated_by_known_rows():
    evidence, surprise = calibrated(distance(), QueryRows(TRAIN, True), ONE)
    is_training_row = evidence.values(QueryRows(TRAIN, True))
    asked = np.linspace(is_training_row.min() - 1, is_training_row.max() + 1, 50)
    np.testing.assert_array_equal(
        surprise(asked), TailLogPValue(is_training_row, ONE)(asked)
    )
    assert surprise(is_training_row).mean() == pytest.approx(1, abs=0.15)


# -- fused ---------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, (1, 1, 0.1), (2, 2, 0.2)])
def test_a_score_is_the_logarithm_of_the_harmonic_mean_p_value(weights):
    kinds = [distance(), distance("minmax"), distance("quantile")]
    calibrated_kinds = [calibrated(kind, QueryRows(TRAIN, True), ONE) for kind in kinds]
    judge = HarmonicMeanPValue(calibrated_kinds, TYPICAL, weights)
    values = np.array([kind.values(QueryRows(TRAIN, True)) for kind in kinds])
    p = np.array([(v >= v[:, None]).mean(axis=1) for v in values])
    body = (p > 1.1 * (1 - TAIL)).all(axis=0)
    assert body.sum() > 40
    scores = judge.scores(QueryRows(TRAIN, True))
    given = None if weights is None else np.reshape(weights, (3, 1)) * np.ones_like(p)
    np.testing.assert_allclose(
        scores[body], np.log(hmean(p, axis=0, weights=given))[body]
    )


def test_of_one_piece_the_score_is_its_own_surprise(transformers):
    for evidence, surprise in pieces(transformers):
        scores = HarmonicMeanPValue([(evidence, surprise)], TYPICAL).scores(
            QueryRows(NEW)
        )
        expected = -surprise(evidence.values(QueryRows(NEW)))
        np.testing.assert_allclose(scores, expected, atol=1e-12)


def test_one_surprising_piece_decides(transformers):
    all_pieces = pieces(transformers)
    X = NEW.copy()
    X[:, 3] += np.linspace(0, 300, len(X))
    surprises = np.array([s(e.values(QueryRows(X))) for e, s in all_pieces])
    scores = HarmonicMeanPValue(all_pieces, TYPICAL).scores(QueryRows(X))
    assert (scores <= 0).all()
    # The harmonic mean of six is six times the least at the most.
    most = surprises.max(axis=0)
    assert (-scores <= most + 1e-9).all()
    assert (-scores >= most - np.log(6) - 1e-9).all()
    np.testing.assert_array_less(np.log(0.01), scores[0])
    assert scores[-1] < -20


@pytest.mark.parametrize("weights", [np.ones(6), (1, 0.1, 2, 1, 1, 0.5)])
def test_contributions_sum_to_scores(weights, transformers):
    all_pieces = pieces(transformers)
    judge = HarmonicMeanPValue(all_pieces, TYPICAL, weights)
    contributions, _ = judge.explain(QueryRows(NEW))
    scores = judge.scores(QueryRows(NEW))
    np.testing.assert_allclose(contributions.sum(axis=1), scores, atol=1e-12)
    assert (contributions <= 0).all()
    p = np.array([np.exp(-s(e.values(QueryRows(NEW)))) for e, s in all_pieces])
    parts = np.reshape(weights, (6, 1)) / p
    parts /= parts.sum(axis=0)
    parts = np.where(parts < LEAST_PART, 0, parts)
    parts /= parts.sum(axis=0)
    shares = [evidence.shares(QueryRows(NEW)) for evidence, _ in all_pieces]
    means = sum(part[:, None] * s for part, s in zip(parts, shares, strict=True))
    np.testing.assert_allclose(contributions, scores[:, None] * means, atol=1e-12)


def test_a_wrong_cell_contributes_most(transformers):
    X = NEW.copy()
    wrong = np.arange(len(X)) % D
    X[np.arange(len(X)), wrong] += 20 * TRAIN.std(axis=0)[wrong]
    contributions, _ = HarmonicMeanPValue(pieces(transformers), TYPICAL).explain(
        QueryRows(X)
    )
    assert (contributions.argmin(axis=1) == wrong).mean() > 0.9


@pytest.mark.parametrize("value", [1e30, 1e160, 1e200, 1e300])
def test_scores_and_explanations_of_far_rows_are_finite(value, transformers):
    X = TRAIN[:3].copy()
    X[1, 0] = value
    X[2] = -value
    is_training_row = np.zeros(3, dtype=bool)
    judges = [HarmonicMeanPValue(pieces(transformers), TYPICAL)]
    judges += [
        ReconstructionScore(DenoisingError(ae._inference, SILENCE, USUAL))
        for ae in transformers.values()
    ]
    for judge in judges:
        scores = judge.scores(QueryRows(X, is_training_row))
        contributions, expected = judge.explain(QueryRows(X, is_training_row))
        for values in (scores, contributions, expected):
            assert np.isfinite(values).all()
        assert (scores[1:] < scores[0] - 1).all()
        np.testing.assert_allclose(contributions.sum(axis=1), scores)


# -- a network's own score -----------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_plain_scores_are_the_networks_and_contributions_sum_to_them(
    kind, transformers
):
    ae = transformers[kind]
    judge = ReconstructionScore(DenoisingError(ae._inference, SILENCE, USUAL))
    scores = judge.scores(QueryRows(NEW))
    np.testing.assert_allclose(scores, ae.score_samples(NEW))
    contributions, expected = judge.explain(QueryRows(NEW))
    np.testing.assert_allclose(contributions.sum(axis=1), scores)
    # A network that is told levels reconstructs as from its lowest.
    tolerance = 0.02 if ae.module_.is_noise_conditional else 1e-6
    np.testing.assert_allclose(expected, ae.reconstruct(NEW), rtol=tolerance)


@pytest.mark.parametrize("kind", ["plain", "absolute"])
def test_a_cell_contributes_its_loss(kind, transformers):
    ae = transformers[kind]
    x, x_hat = ae._inference.scaled(NEW)
    cells = np.abs(x - x_hat) ** (1 if kind == "absolute" else 2)
    contributions, _ = ReconstructionScore(
        DenoisingError(ae._inference, SILENCE, USUAL)
    ).explain(QueryRows(NEW))
    np.testing.assert_allclose(contributions, -cells / D, atol=1e-9)


def test_cells_of_a_density_differ_by_their_squares_in_the_likelihoods_units(
    transformers,
):
    codec = transformers["gaussian"]._inference
    x, x_hat = codec.scaled(NEW)
    expected = -0.5 * np.square(x - x_hat) / codec.module.noise_variance.item()
    contributions, _ = ReconstructionScore(
        DenoisingError(codec, SILENCE, USUAL)
    ).explain(QueryRows(NEW))
    rest = contributions - expected
    np.testing.assert_allclose(rest, rest[:, :1] * np.ones(D), rtol=1e-5)


# -- numbers past float64 ------------------------------------------------------------


def test_logarithms_are_of_what_is_not_too_near():
    values = np.array([0.0, 1e-300, 1e-9, 1.0, np.e])
    expected = [np.log(1e-9)] * 3 + [0, 1]
    np.testing.assert_allclose(_log(values), expected)


def test_what_is_past_float64_is_far():
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


def test_nothing_is_shared_evenly():
    np.testing.assert_array_equal(_shares(np.zeros((2, 4))), np.full((2, 4), 0.25))


@pytest.mark.parametrize("value", [np.inf, np.nan, 1.7e308])
def test_the_share_of_what_is_past_float64_is_all(value):
    cells = np.array([[value, 1.0, 0], [value, value, 1], [value, value, value]])
    expected = [[1, 0, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(_shares(cells), expected, atol=1e-12)
