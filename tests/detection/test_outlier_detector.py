"""The outlier detector: scores, threshold, p-values, explanations, edge cases."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
)
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ae import AEOutlierDetector, AutoencoderTransformer
from sklearn_ae.detection import _scorer
from sklearn_ae.detection._denoiser import default_autoencoder

KINDS = {
    "auto": {},
    "clean": {"contamination": 0},
    "reconstruction": {"method": "reconstruction"},
}
QUICK = {"hidden_layer_sizes": (16,), "max_iter": 5}
DENOISER = {
    "n_components": 0.999,
    "corruption_level": (0.05, 2.0),
    "early_stopping": False,
    "batch_size": 512,
    "alpha": 0.1,
}


def detector(kind="auto", **params):
    """A detector with a small autoencoder, which gets the parameters of none of its."""
    params = {"random_state": 0} | KINDS[kind] | params
    names = set(AEOutlierDetector().get_params(deep=False)) & set(params)
    top = {name: params.pop(name) for name in names}
    denoises = top.get("method", "auto") == "auto"
    settings = QUICK | (DENOISER if denoises else {}) | params
    return AEOutlierDetector(autoencoder=AutoencoderTransformer(**settings), **top)


def normal(n=200, d=4, seed=0):
    """Correlated normal rows."""
    mixing = np.random.RandomState(99).normal(size=(d, d))
    return np.random.RandomState(seed).normal(size=(n, d)) @ mixing


@pytest.fixture(scope="module", params=KINDS)
def fitted(request):
    return detector(request.param).fit(normal())


# -- scores and labels -----------------------------------------------------------------


def test_far_rows_score_lower_than_near_ones(fitted):
    near, far = normal(50, seed=1), 5 * normal(50, seed=2)
    scores = np.r_[fitted.score_samples(near), fitted.score_samples(far)]
    assert roc_auc_score(np.repeat([1, 0], 50), scores) > 0.8
    assert (fitted.predict(100 * far) == -1).all()


def test_decision_is_the_score_above_the_threshold(fitted):
    X = normal(50, seed=3) * 2
    decision = fitted.decision_function(X)
    np.testing.assert_array_equal(decision, fitted.score_samples(X) - fitted.offset_)
    np.testing.assert_array_equal(fitted.predict(X), np.where(decision < 0, -1, 1))


@pytest.mark.parametrize("kind", ["auto", "clean"])
def test_a_score_is_the_logarithm_of_a_mean_of_p_values(kind):
    scores = detector(kind).fit(normal()).score_samples(normal(500, seed=1))
    assert scores.dtype == np.float64
    assert (scores <= 0).all()
    # About half are below 1/2.
    assert 0.3 < (np.exp(scores) < 0.5).mean() < 0.75


def test_a_reconstruction_score_is_minus_the_error_of_the_scaled_columns():
    X = normal()
    fitted = detector("reconstruction", n_components=2).fit(X)
    network = fitted.autoencoder_
    deviation = network._inference.columns.scale_  # of the rows not held out
    np.testing.assert_allclose(deviation, X.std(axis=0), rtol=0.2)
    error = np.square((X - network.reconstruct(X)) / deviation).mean(axis=1)
    np.testing.assert_allclose(fitted.score_samples(X), -error, rtol=1e-5)


def test_the_default_of_reconstruction_has_a_bottleneck_and_stops_early():
    X = load_breast_cancer().data[:200]
    fitted = AEOutlierDetector(method="reconstruction", random_state=0).fit(X)
    network = fitted.autoencoder_
    assert network.n_components_ < X.shape[1] / 2
    assert network.n_iter_ < 200
    assert network.corruption_level == 0


@pytest.mark.parametrize("kind", KINDS)
def test_rows_in_float32_score_as_their_values_in_float64(kind):
    X = normal(60).astype(np.float32)
    same = X.astype(np.float64)
    scores = detector(kind).fit(same).score_samples(same)
    for A in (X, same):
        fitted = detector(kind).fit(A)
        for rows in (X, same):
            again = fitted.score_samples(rows)
            assert again.dtype == np.float64
            np.testing.assert_allclose(again, scores, rtol=1e-6, atol=1e-9)


def whole_numbers(seed=0):
    """Rows that repeat, with ties of distances and losses."""
    return np.random.default_rng(seed).integers(0, 3, size=(100, 4)).astype(float)


@pytest.mark.parametrize("kind", KINDS)
def test_a_score_does_not_depend_on_the_other_rows(kind):
    X = whole_numbers()
    fitted = detector(kind, contamination=0.1 if kind == "auto" else 0).fit(X)
    rows = np.r_[np.unique(X, axis=0), X[:6] + 0.5, X[:4] + 1e-9]
    scores, labels = fitted.score_samples(rows), fitted.predict(rows)
    order = np.random.default_rng(1).permutation(len(rows))
    for same in (
        np.concatenate([fitted.score_samples(row[None]) for row in rows]),
        fitted.score_samples(np.asfortranarray(rows)),
        fitted.score_samples(rows[order])[np.argsort(order)],
        fitted.score_samples(np.repeat(rows, 3, axis=0))[1::3],
    ):
        np.testing.assert_allclose(same, scores, rtol=1e-9, atol=1e-9)
    alone = np.concatenate([fitted.predict(row[None]) for row in rows])
    np.testing.assert_array_equal(alone, labels)
    rows = rows[::6]
    parts, expected = fitted.explain(rows)
    each = [fitted.explain(row[None]) for row in rows]
    np.testing.assert_allclose(np.concatenate([e[0] for e in each]), parts, atol=1e-6)
    np.testing.assert_allclose(
        np.concatenate([e[1] for e in each]), expected, atol=1e-9
    )


@pytest.mark.parametrize(
    ("contamination", "n_rare"), [("auto", 10), ("auto", 1), (0, 10), (0.3, 10)]
)
def test_of_two_values_the_usual_one_is_no_outlier(contamination, n_rare):
    X = np.r_[np.ones((1_000 - n_rare, 1)), -np.ones((n_rare, 1))]
    fitted = AEOutlierDetector(contamination, random_state=0).fit(X)
    usual, rare = fitted.score_samples([[1.0], [-1.0]])
    assert rare < usual
    for rows in (X, X[:7], X[:1]):
        assert (fitted.predict(rows) == 1)[rows[:, 0] == 1].all()
    assert (fitted.predict(X[-n_rare:]) == -1).all()


@pytest.mark.filterwarnings("ignore:No row is selected")
@pytest.mark.parametrize("kind", ["auto", "clean"])
@pytest.mark.parametrize(("offset", "spread"), [(0, 1), (1e9, 1), (10, 3e-8)])
def test_an_offset_takes_nothing_from_scores_and_p_values(kind, offset, spread):
    X, new = (spread * normal(300, 2, seed) for seed in (0, 1))
    X[:8] *= 8
    fitted = detector(kind).fit(X + offset)
    is_outlier = np.arange(300) < 8
    assert roc_auc_score(is_outlier, -fitted.score_samples(X + offset)) > 0.95
    assert np.mean(fitted.p_values(new + offset) <= 0.1) < 0.2
    assert fitted.select_outliers(new + offset, fdr=0.1).sum() < 10


def test_a_fit_repeats_itself_whatever_the_order_of_the_rows():
    X = normal()
    scores = detector().fit(X).score_samples(X)
    order = np.random.RandomState(1).permutation(len(X))
    for rows in (slice(None), order):
        again = detector().fit(X[rows]).score_samples(X)
        np.testing.assert_array_equal(again, scores)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_count_as_copies(kind):
    X, new = normal(120), normal(20, seed=5)
    weight = np.random.RandomState(0).randint(0, 4, len(X))
    weighted = detector(kind).fit(X, sample_weight=weight)
    repeated = detector(kind).fit(X.repeat(weight, axis=0))
    np.testing.assert_allclose(weighted.score_samples(new), repeated.score_samples(new))
    np.testing.assert_allclose(weighted.p_values(new), repeated.p_values(new))
    assert weighted.offset_ == pytest.approx(repeated.offset_)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weight", [0.01, 4])
def test_only_ratios_of_weights_count(kind, weight):
    X, new = normal(90), normal(50, seed=1)
    ratios = np.random.default_rng(0).permutation(np.repeat([1.0, 2.0, 5.0], 30))
    for each in (np.ones(90), ratios):
        weighted, plain = (
            detector(kind).fit(X, sample_weight=w) for w in (weight * each, each)
        )
        scores = plain.score_samples(new)
        np.testing.assert_allclose(weighted.score_samples(new), scores, rtol=0.05)
        np.testing.assert_allclose(weighted.p_values(new), plain.p_values(new))
        assert weighted.offset_ == pytest.approx(plain.offset_)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("block", [7, 64])
def test_rows_are_scored_in_blocks_by_threads(fitted, block, n_threads, monkeypatch):
    X = np.r_[normal(100), normal(100, seed=1)][
        np.random.RandomState(0).permutation(200)
    ]
    scores, p = fitted.score_samples(X), fitted.p_values(X)
    monkeypatch.setattr(_scorer, "ROWS_PER_BLOCK", block)
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        np.testing.assert_allclose(fitted.score_samples(X), scores, atol=1e-9)
        np.testing.assert_array_equal(fitted.p_values(X), p)
        contributions = fitted.explain(X).contributions
        np.testing.assert_allclose(contributions.sum(axis=1), -scores)
        assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)


def test_an_error_in_a_block_is_raised(fitted, monkeypatch):
    monkeypatch.setattr(_scorer, "ROWS_PER_BLOCK", 8)
    broken = clone(fitted).fit(normal())
    broken._scorer._score = None
    with pytest.raises(AttributeError):
        broken.score_samples(normal(50, seed=1))


def test_a_pickled_detector_scores_the_same(fitted):
    X = normal(20, seed=4)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.score_samples(X), fitted.score_samples(X))


@pytest.mark.parametrize("spread", [0.01, 0.5])
@pytest.mark.parametrize("size", [6, 12, 20])
def test_a_clump_among_the_training_rows_is_found(size, spread):
    clump = 6 + spread * np.random.RandomState(0).normal(size=(size, 4))
    # Up to 9 % of the rows.
    X, y = np.r_[normal(), clump], np.repeat([0, 1], [200, size])
    scores = AEOutlierDetector(random_state=0).fit(X).score_samples(X)
    assert roc_auc_score(y, -scores) > 0.95


def test_a_training_row_that_stands_alone_amid_the_others_is_found():
    X = np.random.RandomState(0).normal(size=(600, 3))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    X[0] = 0
    assert AEOutlierDetector(random_state=0).fit(X).score_samples(X).argmin() == 0


def test_repeated_outliers_are_found():
    outliers = 3 * np.random.RandomState(0).normal(size=(8, 4))
    X, y = np.r_[normal(), outliers.repeat(10, axis=0)], np.repeat([0, 1], [200, 80])
    once = roc_auc_score(y, -detector().fit(X[:208]).score_samples(X))
    often = roc_auc_score(y, -detector().fit(X).score_samples(X))
    assert often > once - 0.05


@pytest.mark.parametrize("kind", ["auto", "clean"])
def test_an_outlier_among_the_training_rows_is_not_its_own_neighbour(kind):
    X = normal(100)
    X[7] = [30, -30, 30, 30]
    assert detector(kind).fit(X).score_samples(X).argmin() == 7


def test_it_scales_columns_itself():
    # But for other rows being held out: their order comes from the values.
    X = normal(1_000)
    Y = (X + 5) * np.array([1e-6, 1.0, 1e3, 1e9])
    scores, other = (detector(max_iter=30).fit(Z).score_samples(Z) for Z in (X, Y))
    assert stats.spearmanr(other, scores).statistic > 0.95


def test_in_a_pipeline_training_rows_are_recognized():
    X = normal()
    X[3] = 25
    pipeline = make_pipeline(StandardScaler(), detector(contamination=0.1))
    assert (pipeline.fit(X).predict(X) == -1).mean() == 0.1
    np.testing.assert_array_equal(pipeline.fit_predict(X), pipeline.predict(X))


def test_rows_stay_as_they_are():
    X = normal()
    before = X.copy()
    detector(random_state=None).fit(X).explain(X)
    np.testing.assert_array_equal(X, before)


# -- the models ------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["auto", "reconstruction"])
@pytest.mark.parametrize(
    "params",
    [
        {"latent": "gaussian"},
        {"corruption": "masking", "corruption_level": 0.2},
        {"corruption": "swap", "corruption_level": (0.1, 0.5)},
        {"corruption_level": 0.3},
        {"corruption_level": 0},
        {"sparsity_weight": 0.1},
        {"contraction_weight": 0.1},
        {"init": "random"},
        {"n_components": 2, "loss": "huber"},
        {"scale": "minmax"},
        {"scale": "quantile"},
        {"scale": None},
        {"early_stopping": True},
    ],
)
def test_any_autoencoder_will_do(method, params):
    X, far = normal(), 6 * normal(50, seed=2)
    fitted = detector(method=method, **params).fit(X)
    scores = np.r_[fitted.score_samples(normal(50, seed=1)), fitted.score_samples(far)]
    assert roc_auc_score(np.repeat([1, 0], 50), scores) > 0.7
    contributions, expected = fitted.explain(far)
    np.testing.assert_allclose(contributions.sum(axis=1), -scores[50:])
    assert np.isfinite(expected).all()


# -- threshold -------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.05, 0.1, 0.31, 0.5])
@pytest.mark.parametrize("kind", ["auto", "reconstruction"])
def test_that_share_of_the_training_rows_is_outlying(kind, share):
    fitted = detector(kind, contamination=share).fit(normal())
    assert (fitted.predict(normal()) == -1).mean() == share


def test_the_automatic_threshold_is_two_interquartile_ranges_from_the_median(fitted):
    scores = fitted.score_samples(normal())
    q1, q2, q3 = np.quantile(scores, [0.25, 0.5, 0.75], method="averaged_inverted_cdf")
    assert fitted.offset_ == pytest.approx(q2 - 2 * (q3 - q1))


def test_the_threshold_moves_without_a_new_fit(fitted):
    moved, X = pickle.loads(pickle.dumps(fitted)), normal()
    assert moved.set_contamination(0.2) is moved
    assert moved.contamination == 0.2
    assert (moved.predict(X) == -1).mean() == 0.2
    np.testing.assert_array_equal(moved.score_samples(X), fitted.score_samples(X))
    assert moved.set_contamination("auto").offset_ == fitted.offset_
    assert moved.set_contamination(0).offset_ == fitted.offset_


@pytest.mark.parametrize("bad", [-0.1, 0.6, "some", None, np.nan])
def test_another_contamination_is_refused_and_nothing_changes(bad):
    with pytest.raises(ValueError, match="'contamination' parameter"):
        detector(contamination=bad).fit(normal())
    fitted = detector("reconstruction", max_iter=1).fit(normal())
    before = fitted.offset_
    with pytest.raises(ValueError, match="'contamination' parameter"):
        fitted.set_contamination(bad)
    assert (fitted.offset_, fitted.contamination) == (before, "auto")


# -- p-values and selection ------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_p_values_of_normal_rows_are_uniform(kind):
    # One row for each of many fits: the p-values of one fit share its held-out rows.
    p = [
        detector(kind, max_iter=1, random_state=seed)
        .fit(normal(80, seed=seed))
        .p_values(normal(1, seed=1_000 + seed))[0]
        for seed in range(60)
    ]
    for level in (0.25, 0.5, 0.75):
        below = int((np.array(p) <= level).sum())
        assert stats.binomtest(below, len(p), level).pvalue > 0.01


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("clean", {}),
        ("clean", {"scale": "quantile"}),
        ("reconstruction", {"n_components": 3}),
        ("reconstruction", {"n_components": 3, "scale": "quantile"}),
    ],
)
def test_the_lowest_p_values_are_uniform_where_tails_are_heavy(kind, params):
    # Held-out rows have no part in the scaling that they are compared in.
    lowest = []
    for seed in range(40):
        X = np.random.RandomState(seed).standard_t(1.5, size=(180, 20))
        fitted = detector(kind, max_iter=1, random_state=seed, **params)
        # The lowest of 21 possible p-values, each of probability 1/21.
        lowest.append((fitted.fit(X[:80]).p_values(X[80:]) < 1.5 / 21).mean())
    assert np.mean(lowest) < 1 / 21 + 3 * np.std(lowest) / np.sqrt(len(lowest))


def test_held_out_rows_are_not_compared_with_themselves():
    # 50 rows are held out: 10 of them make up the tail beyond the 80 % quantile.
    below = []
    for seed in range(60):
        fitted = detector("clean", max_iter=1, random_state=seed)
        fitted.fit(normal(200, seed=seed))
        p = fitted.p_values(normal(200, seed=1_000 + seed))
        below.append((p < 5.5 / 51).mean())
    standard_error = np.std(below) / np.sqrt(len(below))
    assert np.mean(below) == pytest.approx(5 / 51, abs=3 * standard_error)


def test_p_values_rank_as_scores_do(fitted):
    X = normal(100, seed=6) * 1.5
    p, scores = fitted.p_values(X), fitted.score_samples(X)
    assert ((p > 0) & (p <= 1)).all()
    assert (np.diff(p[np.argsort(scores)]) >= 0).all()
    # 200 rows, of which 50 are held out.
    np.testing.assert_allclose(p * 51, np.round(p * 51))


def test_selection_holds_the_false_discovery_rate():
    false, n_found = [], 0
    for seed in range(8):
        fitted = detector("clean", max_iter=2, random_state=seed)
        fitted.fit(normal(1_500, seed=seed))
        X = np.r_[normal(200, seed=100 + seed), 6 * normal(100, seed=200 + seed)]
        selected = fitted.select_outliers(X, fdr=0.2)
        assert selected.dtype == bool
        n_found += selected[200:].sum()
        false.append(selected[:200].sum() / max(selected.sum(), 1))
    assert np.mean(false) < 0.25
    assert n_found / 800 > 0.5


def test_selection_is_benjamini_and_hochbergs(fitted):
    X = normal(40, seed=7) * np.linspace(0.5, 10, 40)[:, None]
    p = fitted.p_values(X)
    for fdr in (0.05, 0.2, 0.5):
        below = np.sort(p) <= fdr * np.arange(1, 41) / 40
        n = np.flatnonzero(below)[-1] + 1 if below.any() else 0
        assert fitted.select_outliers(X, fdr=fdr).sum() == n


@pytest.mark.parametrize("bad", [0, 1, -0.1, np.nan, "some"])
def test_another_fdr_is_refused(fitted, bad):
    with pytest.raises((ValueError, TypeError), match="fdr"):
        fitted.select_outliers(normal(), fdr=bad)


def test_two_rows_are_left_to_train_on():
    fitted = detector("clean", validation_fraction=0.999).fit(normal(30))
    assert len(np.unique(fitted.p_values(normal(100, seed=1)))) > 10


def test_without_rows_held_out_there_are_no_p_values():
    fitted = detector().fit(normal(3))
    with pytest.raises(ValueError, match="fewer than 4 distinct rows"):
        fitted.p_values(normal(3))


# -- calibration by other rows ---------------------------------------------------------


def drifted(n=300, seed=0):
    """Rows that vary by half more than the training rows do."""
    return 1.5 * normal(n, seed=seed)


@pytest.fixture(scope="module")
def calibrated(fitted):
    return pickle.loads(pickle.dumps(fitted)).calibrate(drifted(seed=1))


def test_p_values_hold_for_rows_like_those_that_calibrate(fitted, calibrated):
    X = drifted(1_000, seed=2)
    for level in (0.05, 0.1, 0.3):
        # Three standard errors of 300 rows.
        error = 3 * np.sqrt(level * (1 - level) / 300)
        assert (calibrated.p_values(X) <= level).mean() < level + error
    assert (fitted.p_values(X) <= 0.1).mean() > 0.2
    p = calibrated.p_values(drifted(seed=1))
    np.testing.assert_allclose(p * 301, np.round(p * 301))


def test_the_threshold_is_by_the_scores_of_the_rows_that_calibrate(calibrated):
    scores = calibrated.score_samples(drifted(seed=1))
    q1, q2, q3 = np.quantile(scores, [0.25, 0.5, 0.75], method="averaged_inverted_cdf")
    assert calibrated.offset_ == pytest.approx(q2 - 2 * (q3 - q1))
    moved = pickle.loads(pickle.dumps(calibrated)).set_contamination(0.1)
    assert (moved.predict(drifted(seed=1)) == -1).mean() == 0.1
    assert (moved.predict(drifted(1_000, seed=2)) == -1).mean() < 0.17
    # A contamination that is a number stays one.
    assert moved.calibrate(drifted(seed=3)).contamination == 0.1
    assert (moved.predict(drifted(seed=3)) == -1).mean() == 0.1


def test_calibration_leaves_scores_and_networks(fitted, calibrated):
    X = np.r_[normal(), drifted(seed=1)]
    np.testing.assert_array_equal(fitted.score_samples(X), calibrated.score_samples(X))
    assert calibrated.get_params()["contamination"] == fitted.contamination
    assert calibrated.calibrate(drifted(seed=1)) is calibrated


def test_a_new_fit_forgets_the_rows_that_calibrated():
    X = normal(80, seed=5)
    fitted = detector(max_iter=1).fit(normal()).calibrate(drifted()).fit(X)
    expected = detector(max_iter=1).fit(X)
    assert fitted.offset_ == expected.offset_
    np.testing.assert_array_equal(
        fitted.p_values(drifted()), expected.p_values(drifted())
    )
    with pytest.raises(NotFittedError):
        clone(fitted).calibrate(drifted())


@pytest.mark.parametrize("size", [1, 1e-300, 1e305])
def test_a_weight_counts_as_copies_in_calibration(fitted, size):
    one, other = (pickle.loads(pickle.dumps(fitted)) for _ in range(2))
    X, weight = drifted(40), np.arange(40) % 3
    one.calibrate(X, sample_weight=size * weight)
    other.calibrate(X.repeat(weight, axis=0))
    assert one.offset_ == other.offset_
    X = drifted(100, seed=2)
    # The row itself has the mean weight: its part in the p-value differs.
    np.testing.assert_allclose(one.p_values(X), other.p_values(X), atol=0.04)


@pytest.mark.parametrize(
    ("X", "weight", "match"),
    [
        (drifted(18), None, "minimum of 19"),
        (drifted(40), np.arange(40) < 18, "above zero for 18 .* minimum of 19"),
        (drifted(40), -np.ones(40), "negative|Negative"),
        (drifted(40)[:, :3], None, "3 features"),
        (np.where(np.arange(160).reshape(40, 4), drifted(40), np.nan), None, "NaN"),
    ],
    ids=["few", "few_weights", "negative", "columns", "missing"],
)
def test_a_failed_calibration_changes_nothing(calibrated, X, weight, match):
    before = dict(vars(calibrated))
    with pytest.raises(ValueError, match=match):
        calibrated.calibrate(X, sample_weight=weight)
    assert all(vars(calibrated)[name] is before[name] for name in before)
    assert len(vars(calibrated)) == len(before)


def test_a_calibration_with_another_contamination_that_is_refused_changes_nothing():
    fitted = detector(max_iter=1).fit(normal()).set_params(contamination=0.9)
    before = fitted._held_out, fitted._fitted_scores
    with pytest.raises(ValueError, match="'contamination' parameter"):
        fitted.calibrate(drifted())
    assert (fitted._held_out, fitted._fitted_scores) == before


def test_of_few_training_rows_there_are_p_values_by_others():
    fitted = detector().fit(normal(3)).calibrate(normal(19, seed=1))
    assert fitted.p_values(99 * normal(1, seed=2))[0] == pytest.approx(1 / 20)


def test_a_selection_that_needs_more_rows_names_their_number(fitted):
    X = np.r_[normal(48, seed=3), 90 * normal(2, seed=4)]
    few = pickle.loads(pickle.dumps(fitted)).calibrate(normal(200, seed=5))
    # Two of 50: their lowest p-value has to be 0.1 * 2 / 50.
    with pytest.warns(
        UserWarning, match="2 of 50 .* all 200 rows .* with 249 of these"
    ):
        assert not few.select_outliers(X).any()
    enough = few.calibrate(normal(249, seed=5))
    np.testing.assert_array_equal(np.flatnonzero(enough.select_outliers(X)), [48, 49])


# -- explanations ----------------------------------------------------------------------


def test_contributions_of_a_row_sum_to_minus_its_score(fitted):
    for X in (normal(), normal(50, seed=8) * 3):
        contributions, expected = fitted.explain(X)
        sums = contributions.sum(axis=1)
        np.testing.assert_allclose(sums, -fitted.score_samples(X), atol=1e-12)
        assert expected.shape == X.shape


def test_explanations_of_a_frame_are_frames():
    X = pd.DataFrame(normal(), columns=list("abcd")).set_index(np.arange(200) + 7)
    fitted = detector().fit(X)
    for part in fitted.explain(X):
        pd.testing.assert_index_equal(part.index, X.index)
        pd.testing.assert_index_equal(part.columns, X.columns)
    assert set(fitted.top_features(X, 2).ravel()) <= set("abcd")
    assert fitted.top_features(X, 9).shape == (200, 4)
    unnamed = detector("reconstruction").fit(X.to_numpy())
    assert set(unnamed.top_features(X.to_numpy()).ravel()) <= {0, 1, 2, 3}
    labelled = X.set_axis([10, 20, 30, 40], axis=1)
    expected = unnamed.explain(labelled).contributions.idxmax(axis=1)
    np.testing.assert_array_equal(unnamed.top_features(labelled)[:, 0], expected)


BUNDLED = [load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine]


@pytest.mark.parametrize("load", BUNDLED)
def test_a_corrupted_cell_is_found_and_its_value_expected(load):
    X = load().data
    X = StandardScaler().fit_transform(X[:, X.std(axis=0) > 0])
    random = np.random.RandomState(0)
    X = random.permutation(X)[:360]
    train, rows = X[60:], X[:60].copy()
    fitted = AEOutlierDetector(contamination=0, random_state=0).fit(train)
    every, cells = np.arange(60), random.randint(X.shape[1], size=60)
    was = rows[every, cells].copy()
    rows[every, cells] += random.choice([-5, 5], 60)
    hits = (fitted.top_features(rows)[:, 0] == cells).mean()
    assert hits > 0.9
    # PCA's error is often in other columns.
    pca = PCA(0.95).fit(train)
    rest = np.square(rows - pca.inverse_transform(pca.transform(rows)))
    assert hits >= (rest.argmax(axis=1) == cells).mean()
    expected = fitted.explain(rows).expected[every, cells]
    assert np.abs(expected - was).mean() < 1


@pytest.mark.parametrize("contamination", ["auto", 0])
def test_a_cell_that_is_stuck_at_its_median_is_found_and_its_value_expected(
    contamination,
):
    # Two causes, eight columns: each follows from the others but for its noise.
    random = np.random.default_rng(3)
    mixing = random.normal(size=(2, 8))
    X = random.normal(size=(1_000, 2)) @ mixing + 0.2 * random.normal(size=(1_000, 8))
    train, rows = X[:500], X[500:].copy()
    every, cells = np.arange(500), np.arange(500) % 8
    was, median = rows[every, cells].copy(), np.median(train, axis=0)[cells]
    rows[every, cells] = median
    std = train.std(axis=0)[cells]
    is_wrong = np.abs(was - median) > 1.5 * std
    fitted = AEOutlierDetector(contamination, random_state=0).fit(train)
    contributions, expected = fitted.explain(rows[is_wrong])
    found = contributions.argmax(axis=1) == cells[is_wrong]
    # Regression of each column on the others finds all of them.
    assert found.mean() > 0.95
    errors = (expected[every[: len(found)], cells[is_wrong]] - was[is_wrong]) / std[
        is_wrong
    ]
    assert np.abs(errors[found]).mean() < 0.35


def test_explanations_of_more_columns_than_rows_are_finite():
    random = np.random.default_rng(0)
    X = random.standard_t(1, size=(40, 60))
    X[:, 0] = 3
    rows = np.r_[X[:3], 1e12 * X[3:6], np.full((1, 60), 3.0)]
    fitted = detector().fit(X)
    contributions, expected = fitted.explain(rows)
    assert np.isfinite(contributions).all()
    np.testing.assert_allclose(contributions.sum(axis=1), -fitted.score_samples(rows))
    low, high = X.min(axis=0), X.max(axis=0)
    spread = 3 * (high - low) + 1e-9
    assert ((expected > low - spread) & (expected < high + spread)).all()


# -- what may happen on the way --------------------------------------------------------


def test_callbacks_reach_the_network():
    calls = []

    class Counter(ProgressBar):
        def on_fit_task_end(self, *args, **kwargs):
            calls.append(1)
            return False

    fitted = detector(max_iter=2).set_callbacks(Counter())
    fitted.fit(normal(50))
    # Two iterations, the network's fit and the detector's.
    assert len(calls) == 4


def test_a_monitor_sees_the_threshold_of_its_fit():
    X, y = normal(), np.repeat([-1, 1], [5, 195])
    monitor = ScoringMonitor(scoring="balanced_accuracy")
    fitted = detector(contamination=0.3).set_callbacks(monitor).fit(X, y)
    for contamination in (0.3, 0.05):
        fitted.set_params(contamination=contamination).fit(X, y)
        logged = monitor.get_logs().data_as_pandas["balanced_accuracy"].iloc[-1]
        assert logged == balanced_accuracy_score(y, fitted.predict(X))


def test_verbose_prints_each_iteration(capsys):
    fitted = AEOutlierDetector(method="reconstruction", verbose=1).fit(normal(50))
    assert len(capsys.readouterr().out.splitlines()) == fitted.n_iter_


def interrupting(after):
    """A corruption that is interrupted, once, after so many mini-batches."""
    calls = []

    def corrupt(x, level, generator):
        calls.append(1)
        if len(calls) == after:
            raise KeyboardInterrupt
        return x

    return corrupt, calls


def test_an_interrupted_fit_keeps_what_it_has_and_ends_soon():
    corrupt, calls = interrupting(after=6)
    fitted = detector(corruption=corrupt, corruption_level=0.1, max_iter=50)
    with pytest.warns(ConvergenceWarning, match="Interrupted"):
        fitted.fit(normal())
    assert len(calls) < 40
    assert np.isfinite(fitted.score_samples(normal(seed=1))).all()


def test_a_failed_fit_leaves_the_detector_as_it_was():
    def broken(x, level, generator):
        return x[:1]

    unfitted = detector(corruption=broken, corruption_level=0.1)
    with pytest.raises(ValueError, match="corruption must return"):
        unfitted.fit(normal())
    with pytest.raises(NotFittedError):
        unfitted.score_samples(normal())
    fitted = detector(max_iter=1).fit(normal())
    scores = fitted.score_samples(normal())
    with pytest.raises(ValueError, match="corruption must return"):
        fitted.set_params(autoencoder=unfitted.autoencoder).fit(normal(d=2))
    np.testing.assert_array_equal(fitted.score_samples(normal()), scores)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("method", "mahalanobis"),
        ("max_iter", 0),
        ("alpha", -1),
        ("corruption_level", (2.0, 1.0)),
        ("validation_fraction", 1.0),
        ("scale", "robust"),
        ("device", 3),
    ],
)
def test_bad_parameters_are_named(name, bad):
    with pytest.raises(ValueError, match=name):
        detector(**{name: bad}).fit(normal())


# -- the autoencoder -------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("early_stopping", [True, False])
def test_settings_of_a_given_autoencoder_are_those_of_the_network(kind, early_stopping):
    given = AutoencoderTransformer(
        3, hidden_layer_sizes=(8, 4), loss="huber", alpha=0.2
    )
    given.set_params(scale="minmax", max_iter=3, n_iter_no_change=2, random_state=7)
    given.set_params(early_stopping=early_stopping)
    before = given.get_params()
    fitted = detector(kind).set_params(autoencoder=given).fit(normal())
    network = fitted.autoencoder_
    assert network is not given
    settings = network.get_params()
    assert settings.pop("random_state") != 7
    assert settings == {k: v for k, v in before.items() if k != "random_state"}
    # Without held-out rows no iteration is without a gain.
    assert early_stopping or network.n_iter_ == 3
    assert given.get_params() == before
    assert not hasattr(given, "module_")


def test_device_and_verbose_of_the_detector_count_for_more(capsys):
    given = AutoencoderTransformer(2, **QUICK, random_state=0)
    with pytest.raises(ValueError, match="device='one' can't be used"):
        detector(device="one").set_params(autoencoder=given).fit(normal())
    given.set_params(device="one")
    detector(device="cpu", verbose=1).set_params(autoencoder=given).fit(normal())
    assert "Iteration 1" in capsys.readouterr().out


def test_a_fitted_autoencoder_is_not_modified():
    X = normal()
    given = AutoencoderTransformer(2, **QUICK, random_state=0).fit(X)
    codes, attributes = given.transform(X), dict(vars(given))
    fitted = detector().set_params(autoencoder=given).fit(X[:100])
    assert vars(given) == attributes
    np.testing.assert_array_equal(given.transform(X), codes)
    assert not np.array_equal(fitted.autoencoder_.transform(X), codes)


def test_without_early_stopping_it_is_trained_for_all_its_iterations():
    fitted = detector("clean", max_iter=50, n_iter_no_change=2).fit(normal())
    assert fitted.n_iter_ == 50


@pytest.mark.parametrize(("scale", "n"), [("auto", 2), ("quantile", 1), (None, 1)])
def test_distances_are_in_its_scale_if_that_is_named(scale, n):
    fitted = detector("clean", scale=scale).fit(normal())
    *distances, _ = fitted._scorer._score._measures
    scalings = [distance._columns.scale for distance in distances]
    assert scalings == (["minmax", "quantile"] if n == 2 else [scale])


def test_it_is_an_axis_of_a_grid():
    X, y = normal(), np.repeat([-1, 1], [20, 180])
    X[:20] *= 5
    grid = {"autoencoder__latent": ["deterministic", "gaussian"]}
    order = np.random.RandomState(0).permutation(200)
    search = GridSearchCV(detector(), grid, cv=2, scoring="roc_auc")
    search.fit(X[order], y[order])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    network = search.best_estimator_.autoencoder_
    assert network.latent == search.best_params_["autoencoder__latent"]
    assert clone(search.best_estimator_).autoencoder.latent == network.latent


@pytest.mark.parametrize("bad", [PCA(), "mlp", AutoencoderTransformer])
def test_another_estimator_is_refused(bad):
    with pytest.raises(
        TypeError, match=r"'autoencoder' .*AutoencoderTransformer' or None"
    ):
        AEOutlierDetector(autoencoder=bad).fit(normal())


@pytest.mark.parametrize("more", [{"architecture": "conv"}, {"input_shape": (2, 2)}])
def test_settings_of_the_default_are_refused_beside_it(more):
    with pytest.raises(ValueError, match=r"architecture=.* set them in it instead"):
        detector(**more).fit(normal())


def test_the_default_is_a_denoiser_without_a_bottleneck():
    X = normal(1_000)  # of which 150 are held out
    fitted = [AEOutlierDetector(c, random_state=0).fit(X) for c in (0, "auto")]
    network = fitted[0].autoencoder_
    expected = {
        "n_components": 4,
        "hidden_layer_sizes": (64, 64, 64),
        "corruption_level": (0.05, 2.0),
        "alpha": pytest.approx(30 / 850),
        "batch_size": 512,
        "scale": "standard",
        "early_stopping": False,
    }
    assert network.get_params().items() >= expected.items()
    # 600 mini-batches of 850 rows, two an iteration, whatever the contamination.
    assert [each.n_iter_ for each in fitted] == [300, 300]
    assert fitted[1].autoencoder_.get_params() == network.get_params()


@pytest.mark.parametrize(("n_features", "n_components"), [(64, 64), (5_000, 1_024)])
def test_the_default_of_images_has_the_transformers_layers_and_rate(
    n_features, n_components
):
    images = AEOutlierDetector(architecture="conv")
    expected = AutoencoderTransformer(
        n_components,
        architecture="conv",
        validation_fraction=0.15,
        corruption_level=(0.05, 2.0),
        alpha=0.3,
        scale=None,
        early_stopping=False,
        max_iter=24,  # of 25 mini-batches
    )
    default = default_autoencoder(images, n_features, n_rows=10_000)
    assert default.set_params(alpha=0.3).get_params() == expected.get_params()
    images.set_params(method="reconstruction")
    default = default_autoencoder(images, n_features, n_rows=10_000)
    expected = AutoencoderTransformer(architecture="conv", validation_fraction=0.15)
    assert default.get_params() == expected.get_params()


# -- corners ---------------------------------------------------------------------------


def corner(name):
    X = normal(40)
    if name == "constant columns":
        X[:, 1:3] = 5
    elif name == "a large value":
        X[0, 0] = 1e30
    elif name == "a large offset":
        X += 1e9
    elif name == "two values":
        X = np.sign(X)
    return {
        "identical": np.ones((30, 3)),
        "two rows": X[:2],
        "three rows": X[:3],
        "nine rows": X[:9],
        "one column": X[:, :1],
        "wide": normal(12, 30),
        "copies": np.repeat(X[:3], 20, axis=0),
    }.get(name, X)


CORNERS = ["identical", "two rows", "three rows", "nine rows", "one column", "wide"]
CORNERS += ["copies", "constant columns", "a large value", "a large offset"]
CORNERS += ["two values"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CORNERS)
def test_in_corners_there_are_finite_scores_and_no_warnings(name, kind):
    X = corner(name)
    new = np.r_[X, 2 * X + 1, np.full((1, X.shape[1]), 1e30), 0 * X[:1] - 1e30]
    for contamination in ("auto", 0.5):
        if kind == "clean":
            contamination = 0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fitted = detector(kind, max_iter=2, contamination=contamination).fit(X)
            assert np.isfinite(fitted.score_samples(new)).all()
            contributions, expected = fitted.explain(new)
        assert np.isfinite(contributions).all()
        assert np.isfinite(expected).all()
        assert np.isfinite(fitted.offset_)
        # A network with as many components as columns restores whatever it is given.
        if kind != "reconstruction" or name != "one column":
            assert (fitted.predict(new[-2:]) == -1).all()


@pytest.mark.parametrize("value", [1e155, 1e300])
def test_rows_whose_squares_overflow_are_far(fitted, value):
    far = np.full((1, 4), value)
    assert (fitted.predict(far) == -1).all()
    assert np.isfinite(fitted.score_samples(far)).all()


@pytest.mark.parametrize("params", [{}, {"latent": "gaussian"}])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_at_the_end_of_float64_are_far(kind, params):
    fitted = detector(kind, max_iter=1, **params).fit(normal())
    far = np.full((1, 4), 1.7e308)
    assert (fitted.score_samples(far) < fitted.score_samples(normal()).min()).all()
    assert all(np.isfinite(part).all() for part in fitted.explain(far))


@pytest.mark.parametrize("params", [{}, {"latent": "gaussian"}])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [1e300, -1.7e308])
def test_so_are_they_beside_a_column_of_tiny_numbers(kind, params, value):
    # In its units they are past float64, and so are the units of a density.
    X = normal() * [1, 1e-30, 1, 1]
    fitted = detector(kind, max_iter=1, **params).fit(X)
    far = np.full((1, 4), value)
    assert fitted.score_samples(X).min() > fitted.score_samples(far)[0] > -np.inf
    assert all(np.isfinite(part).all() for part in fitted.explain(far))


def test_columns_that_cannot_be_scaled_are_named():
    X = normal()
    X[:2, 2] = -1.7e308, 1.7e308
    with pytest.raises(ValueError, match="Column 2 of X"):
        detector().fit(X)


@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_rows_are_refused(rows):
    with pytest.raises(ValueError, match=f"{rows} sample"):
        detector().fit(normal()[:rows])
    weight = np.arange(200) < rows
    with pytest.raises(ValueError, match=r"(?i)sample.weight"):
        detector().fit(normal(), sample_weight=weight.astype(float))


class Scores:
    """A callback that scores rows by the network as it is."""

    def __init__(self):
        self.scores = []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
        self.scores.append(fitted_estimator.score_samples(X[:5]))
        return False

    def teardown(self, estimator, context):
        pass

    def __deepcopy__(self, memo):
        return self


@pytest.mark.parametrize("early_stopping", [True, False])
def test_callbacks_of_the_given_autoencoder_get_it_fitted(early_stopping):
    callback = Scores()
    given = AutoencoderTransformer(2, latent="gaussian", **QUICK)
    given.set_params(early_stopping=early_stopping).set_callbacks(callback)
    AEOutlierDetector(0, autoencoder=given, random_state=0).fit(normal())
    assert np.isfinite(callback.scores).all()
    # Each iteration, and the fit as a whole.
    assert len(callback.scores) == QUICK["max_iter"] + 1


def test_rows_of_fit_cannot_calibrate_in_silence(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    with pytest.warns(UserWarning, match="200 of the 200 rows equal rows of fit"):
        again.calibrate(normal())


def test_clean_rows_are_not_warned_of(fitted):
    # By chance some are below all rows held out; warnings are errors.
    for seed in range(10, 15):
        fitted.select_outliers(normal(500, seed=seed), fdr=0.05)
