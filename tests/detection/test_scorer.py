"""Scores of rows: combination of measures, their choice, blocks by threads."""

import pickle
import threading

import numpy as np
import pytest
from scipy.stats import logistic
from sklearn.datasets import load_wine

from sklearn_ae import AEOutlierDetector, AutoencoderTransformer
from sklearn_ae.detection import _scorer
from sklearn_ae.detection._cellwise import CellwiseGaussian
from sklearn_ae.detection._denoiser import DenoisingError, shares_of
from sklearn_ae.detection._nearest_distance import (
    ArcsinhColumns,
    Nearest,
    NearestDistances,
    Sample,
)
from sklearn_ae.detection._scorer import (
    ReconstructionScore,
    Scorer,
    TailProbabilityScore,
    tail_probability_score,
)
from sklearn_ae.tables._column_scaler import ColumnScaler

WINE = load_wine().data
TRAIN, NEW = WINE[::2], WINE[1::2]
N, D = TRAIN.shape
N_HELD_OUT = 20
WEIGHT = np.ones(N)
MEDIAN = np.median(TRAIN, axis=0)
KINDS = {
    "plain": {},
    "noise_conditional": {"corruption_level": (0.05, 2.0)},
    "absolute": {"loss": "absolute_error"},
    "quantile": {"scale": "quantile"},
    "gaussian": {"latent": "gaussian"},
}


def fitted(kind):
    shared = {"hidden_layer_sizes": (16,), "max_iter": 3, "random_state": 0}
    return AutoencoderTransformer(4, **(shared | KINDS[kind])).fit(TRAIN)


@pytest.fixture(scope="module")
def transformers():
    return {kind: fitted(kind) for kind in KINDS}


def columns(scale="standard", X=TRAIN):
    return ColumnScaler(scale).fit(X, np.ones(len(X)))


def score_of(ae, n_held_out=N_HELD_OUT, weight=WEIGHT):
    """Two distances and the error of a network."""
    measures = [
        NearestDistances(columns(scale), Sample(TRAIN), [Nearest(k)])
        for scale, k in [("minmax", 3), ("standard", 20)]
    ]
    measures.append(DenoisingError(ae, TRAIN[: n_held_out or N]))
    cells = CellwiseGaussian(columns(), Sample(TRAIN))
    return TailProbabilityScore(measures, TRAIN, weight, n_held_out, cells)


# -- combination ---------------------------------------------------------------------


def minus_log_p(logs, calibration):
    median = np.median(calibration)
    scale = np.maximum(calibration - median, 0).mean() / np.log(2)
    return -logistic(median, scale).logsf(logs)


@pytest.mark.parametrize("n_held_out", [0, N_HELD_OUT])
@pytest.mark.parametrize("kind", ["noise_conditional", "gaussian"])
def test_a_score_is_the_mean_logarithm_of_the_tail_probabilities(
    kind, n_held_out, transformers
):
    score = score_of(transformers[kind], n_held_out)
    expected = []
    for measure in score._measures:
        # The network was not trained on the rows held out; distances have no network.
        is_error = isinstance(measure, DenoisingError)
        rows = TRAIN[: n_held_out or N] if is_error else TRAIN
        (new,), (calibration,) = measure.logs(NEW), measure.logs(rows)
        expected.append(minus_log_p(new, calibration))
    scores = score.scores(NEW)
    np.testing.assert_allclose(scores, -np.mean(expected, axis=0), rtol=1e-9)
    assert (scores < 0).all()


def test_weights_of_calibration_rows_count_as_copies(transformers):
    ae, copies = transformers["plain"], np.arange(N) % 3 + 1
    weighted = score_of(ae, weight=copies.astype(float))
    n_held_out = copies[:N_HELD_OUT].sum()
    repeated = TailProbabilityScore(
        weighted._measures,
        TRAIN.repeat(copies, axis=0),
        np.ones(copies.sum()),
        n_held_out,
        None,
    )
    np.testing.assert_allclose(weighted.scores(NEW), repeated.scores(NEW), rtol=1e-9)


@pytest.mark.parametrize("kind", ["plain", "gaussian"])
def test_contributions_are_the_mean_of_two_shares(kind, transformers):
    score = score_of(transformers[kind])
    contributions, expected = score.explain(NEW)
    expectation = CellwiseGaussian(columns(), Sample(TRAIN))(NEW)
    np.testing.assert_allclose(expected, expectation.means)
    shares = shares_of(np.square(expectation.deviations))
    shares += DenoisingError(transformers[kind], TRAIN).shares(NEW, expectation)
    scores = score.scores(NEW)
    np.testing.assert_allclose(contributions, -scores[:, None] * shares / 2)
    np.testing.assert_allclose(contributions.sum(axis=1), -scores)
    assert (contributions >= 0).all()


@pytest.mark.parametrize("value", [1e30, 1e160, 1e200, 1e300])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_and_explanations_of_far_rows_are_finite(kind, value, transformers):
    X = TRAIN[:3].copy()
    X[1, 0], X[2] = value, -value
    ae = transformers[kind]
    for score in (score_of(ae), ReconstructionScore(ae, MEDIAN)):
        scorer = Scorer(score, TRAIN)
        scores = scorer.scores(X)
        contributions, expected = scorer.explain(X)
        for values in (scores, contributions, expected):
            assert np.isfinite(values).all()
        assert (scores[1:] < scores[0] - 1).all()
        np.testing.assert_allclose(contributions.sum(axis=1), -scores)


# -- reconstruction ------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_reconstruction_scores_are_the_autoencoders_and_contributions_sum_to_them(
    kind, transformers
):
    ae = transformers[kind]
    score = ReconstructionScore(ae, MEDIAN)
    scores = score.scores(NEW)
    np.testing.assert_allclose(scores, ae.score_samples(NEW))
    contributions, expected = score.explain(NEW)
    np.testing.assert_allclose(contributions.sum(axis=1), -scores)
    # A noise-conditional encoder reconstructs as from its lowest level.
    tolerance = 0.02 if ae.module_.is_noise_conditional else 1e-6
    np.testing.assert_allclose(expected, ae.reconstruct(NEW), rtol=tolerance)


@pytest.mark.parametrize("kind", ["plain", "absolute"])
def test_a_cell_contributes_its_loss(kind, transformers):
    ae = transformers[kind]
    x, x_hat = ae._inference.scaled(NEW)
    cells = np.abs(x - x_hat) ** (1 if kind == "absolute" else 2)
    contributions, _ = ReconstructionScore(ae, MEDIAN).explain(NEW)
    np.testing.assert_allclose(contributions, cells / D, atol=1e-9)


def test_cells_of_a_density_differ_by_their_squares_in_the_likelihoods_units(
    transformers,
):
    ae = transformers["gaussian"]
    x, x_hat = ae._inference.scaled(NEW)
    expected = np.square(x - x_hat) / (2 * ae.module_.noise_variance.item())
    contributions, _ = ReconstructionScore(ae, MEDIAN).explain(NEW)
    rest = contributions - expected
    np.testing.assert_allclose(rest, rest[:, :1] * np.ones(D), rtol=1e-5)


# -- blocks of rows ------------------------------------------------------------------


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("block", [("ROWS", 7), ("CELLS", 2 * D), ("CELLS", 1)])
def test_blocks_and_threads_change_nothing(block, n_threads, transformers, monkeypatch):
    scorer = Scorer(score_of(transformers["plain"]), TRAIN)
    scores, explanation = scorer.scores(NEW), scorer.explain(NEW)
    assert [len(part) for part in (scores, *explanation)] == 3 * [len(NEW)]
    monkeypatch.setattr(_scorer, f"{block[0]}_PER_BLOCK", block[1])
    monkeypatch.setattr(_scorer, "n_threads_outside", lambda: n_threads)
    np.testing.assert_allclose(scorer.scores(NEW), scores, rtol=1e-9)
    for part, expected in zip(scorer.explain(NEW), explanation, strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-6, atol=1e-9)


class Counting:
    """A score by the first column, which keeps the sizes of blocks and its threads."""

    def __init__(self):
        self.sizes, self.threads = [], set()

    def scores(self, X):
        self.sizes.append(len(X))
        self.threads.add(threading.current_thread().name)
        if (X < 0).any():
            raise ArithmeticError("below 0")
        return X[:, 0] * 1e300 * 1e300


@pytest.mark.parametrize("n_threads", [1, 2])
def test_blocks_are_in_order_and_errors_are_raised(n_threads, monkeypatch):
    monkeypatch.setattr(_scorer, "n_threads_outside", lambda: n_threads)
    monkeypatch.setattr(_scorer, "ROWS_PER_BLOCK", 4)
    score = Counting()
    scorer, X = Scorer(score, TRAIN), np.arange(20.0).reshape(10, 2)
    # Overflow in a block is no warning.
    np.testing.assert_array_equal(scorer.scores(X), [0] + 9 * [np.inf])
    assert sorted(score.sizes) == [2, 4, 4]
    main = threading.current_thread().name
    assert (main in score.threads) == (n_threads == 1)
    X[5, 1] = -1
    with pytest.raises(ArithmeticError, match="below 0"):
        scorer.scores(X)


def test_rows_of_training_are_recognised_by_their_values():
    scorer = Scorer(Counting(), TRAIN)
    X = np.r_[NEW[:3], TRAIN[:3], np.nextafter(TRAIN[:3], np.inf)]
    expected = [False] * 3 + [True] * 3 + [False] * 3
    np.testing.assert_array_equal(scorer.are_training_rows(X), expected)
    zeros = Scorer(Counting(), np.zeros((2, 3)))
    assert zeros.are_training_rows(np.full((1, 3), -0.0)).all()
    assert not zeros.are_training_rows(np.full((1, 3), 1e-300)).any()
    largest = Scorer(Counting(), TRAIN[:1]).are_training_rows(NEW)
    assert not largest.any()


def test_a_pickled_scorer_gives_the_same(transformers):
    scorer = Scorer(score_of(transformers["plain"]), TRAIN)
    restored = pickle.loads(pickle.dumps(scorer))
    np.testing.assert_allclose(restored.scores(NEW), scorer.scores(NEW), rtol=1e-12)


# -- choice of measures --------------------------------------------------------------


def chosen(X=TRAIN, n_held_out=N_HELD_OUT, weight=None, **params):
    """Score of a detector with a given autoencoder's scale."""
    settings = {"max_iter": 1, "hidden_layer_sizes": (4,), "random_state": 0}
    settings |= {"corruption_level": 0.1} | params.pop("settings", {})
    given = params.pop("autoencoder", "given")
    new = AutoencoderTransformer(2, **settings)
    detector = AEOutlierDetector(
        autoencoder=new if given == "given" else None, **params
    )
    detector.autoencoder_ = AutoencoderTransformer(2, **settings).fit(X)
    weight = np.ones(len(X)) if weight is None else weight
    return tail_probability_score(detector, X, weight, n_held_out)


def distances(score):
    """Scale or class of columns, number of rows and number of neighbours."""
    *nearest, error = score._measures
    assert isinstance(error, DenoisingError)
    return [
        (
            "arcsinh" if isinstance(columns, ArcsinhColumns) else columns.scale,
            len(sample.X) if rows is None else rows.sum(),
            k,
        )
        for columns, sample, parts in (measure._arguments for measure in nearest)
        for k, rows in parts
    ]


# The nearest tenth of 89 rows is 8 rows, that of the 62 trusted ones 6.
N_TRUSTED = round(0.7 * N)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"contamination": 0}, [("minmax", N, 3), ("quantile", N, 3)]),
        (
            {},
            [
                ("standard", N, 3),
                ("standard", N_TRUSTED, 6),
                ("arcsinh", N_TRUSTED, 6),
            ],
        ),
        ({"contamination": 0, "settings": {"scale": "quantile"}}, [("quantile", N, 3)]),
        (
            {"settings": {"scale": "minmax"}},
            [("minmax", N, 3), ("minmax", N_TRUSTED, 6)],
        ),
        ({"settings": {"scale": None}}, [(None, N, 3), (None, N_TRUSTED, 6)]),
        (
            {"settings": {"scale": "standard"}, "contamination": 0.1},
            [
                ("standard", N, 3),
                ("standard", N_TRUSTED, 6),
                ("arcsinh", N_TRUSTED, 6),
            ],
        ),
        (
            {"autoencoder": None, "architecture": "conv", "input_shape": (D,)},
            [(None, N, 3), (None, N_TRUSTED, 6)],
        ),
        (
            {
                "autoencoder": None,
                "architecture": "conv",
                "input_shape": (D,),
                "contamination": 0,
            },
            [(None, N, 3)],
        ),
    ],
    ids=str,
)
def test_measures_are_by_contamination_and_scale(params, expected):
    assert distances(chosen(**params)) == expected


def test_columns_are_scaled_without_the_rows_held_out():
    score = chosen(settings={"scale": "standard"})
    scaler = score._measures[0]._columns
    np.testing.assert_allclose(scaler.shift_, TRAIN[N_HELD_OUT:].mean(axis=0))


def test_of_many_rows_some_are_references():
    X = np.random.default_rng(0).normal(size=(3_000, 2))
    assert distances(chosen(X, contamination=0)) == [
        ("minmax", 2_000, 3),
        ("quantile", 2_000, 3),
    ]
    # The first 600 of the 700 are ranked; 420 are trusted, and a tenth of them near.
    assert distances(chosen(X)) == [
        ("standard", 700, 3),
        ("standard", 420, 42),
        ("arcsinh", 420, 42),
    ]


def test_the_tails_are_of_all_rows_and_the_errors_of_those_held_out(monkeypatch):
    monkeypatch.setattr(_scorer, "MAX_CALIBRATION_ROWS", 50)
    score = chosen()
    *nearest, error = score._measures
    calibration = [logs for measure in nearest for logs in measure.logs(TRAIN[:50])]
    calibration += list(error.logs(TRAIN[:N_HELD_OUT]))
    grid = np.linspace(-3, 3, 9)
    for logs, tail in zip(calibration, score._tails, strict=True):
        np.testing.assert_allclose(tail(grid), minus_log_p(grid, logs), rtol=1e-9)


@pytest.mark.parametrize("spread", [0.05, 0.3])
@pytest.mark.parametrize("share", [0.02, 0.05, 0.09])
def test_a_cluster_of_less_than_a_tenth_is_not_trusted(share, spread):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 4))
    X[: int(share * 500)] = 8 + spread * rng.normal(size=(int(share * 500), 4))
    X = rng.permutation(X)
    _, sample, (_, (_, is_trusted)) = chosen(X)._measures[0]._arguments
    trusted = sample.X[is_trusted]
    assert len(trusted) == 350
    assert (trusted.mean(axis=1) < 4).all()
    # All rows are references of the nearest three, and where none are outliers.
    assert (sample.X.mean(axis=1) > 4).any()
    for measure in chosen(X, contamination=0)._measures[:-1]:
        assert len(measure._arguments[1].X) == 500


@pytest.mark.parametrize(("heavy", "n_copies"), [(2, 1), (5, 4)])
def test_only_frequent_rows_are_references_as_often_as_they_weigh(heavy, n_copies):
    X = np.arange(40.0).reshape(20, 2)
    weight = np.ones(20)
    weight[3] = heavy  # of 24 five are more than a tenth, two of 21 are not
    sample = chosen(X, 5, weight)._measures[0]._arguments[1]
    assert len(sample.X) == 19 + n_copies
    assert (X[3] == sample.X).all(axis=1).sum() == n_copies


@pytest.mark.parametrize("contamination", ["auto", 0])
def test_two_rows_will_do(contamination):
    X = np.array([[0.0, 1.0], [2.0, 3.0]])
    score = chosen(X, 0, contamination=contamination, settings={"batch_size": 2})
    assert np.isfinite(score.scores(X)).all()
    assert np.isfinite(score.explain(X)[0]).all()
