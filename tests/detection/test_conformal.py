"""p-values, the rows that they are from, and warnings where they cannot be asked."""

import pickle

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import chisquare
from sklearn.callback import ScoringMonitor
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ae import AEOutlierDetector, AutoencoderTransformer
from sklearn_ae.detection._conformal import conformal_p_values


def random():
    return np.random.default_rng(0)


def unit(values):
    return np.ones(len(values))


def scores_and_weight(n=200):
    """Values, some of them equal, and whole weights."""
    rng = random()
    return rng.normal(size=n).round(1), rng.integers(1, 5, size=n).astype(float)


def test_p_values_are_the_share_as_low_or_lower_counting_the_row_itself():
    calibration, weight = scores_and_weight()
    scores = np.r_[calibration, np.linspace(-5, 5, 37)]
    expected = [
        (1 + (calibration <= one).sum()) / (1 + len(calibration)) for one in scores
    ]
    np.testing.assert_allclose(
        conformal_p_values(scores, calibration, unit(calibration)), expected
    )
    # With weights, as much of their sum; the row itself has the mean weight.
    below = [weight[calibration <= one].sum() / weight.mean() for one in scores]
    expected = (1 + np.array(below)) / (1 + len(calibration))
    for size in (1, 1e-3, 1e3):
        p = conformal_p_values(scores, calibration, size * weight)
        np.testing.assert_allclose(p, expected)


def test_p_values_of_rows_from_the_same_distribution_are_uniform():
    rng = random()
    n, n_tables = 19, 4_000
    p = np.concatenate(
        [
            conformal_p_values(scores[:1], scores[1:], np.ones(n))
            for scores in rng.gumbel(size=(n_tables, n + 1))
        ]
    )
    counts = np.bincount(np.round(p * (n + 1)).astype(int), minlength=n + 2)
    assert counts[0] == 0
    assert chisquare(counts[1:]).pvalue > 0.001


def test_p_values_of_equal_scores_are_never_too_small():
    rng = random()
    scores = rng.integers(3, size=(4_000, 20)).astype(float)
    p = np.array([conformal_p_values(s[:1], s[1:], np.ones(19))[0] for s in scores])
    for t in (0.05, 0.2, 0.4, 0.7):
        assert (p <= t).mean() <= t + 3 * np.sqrt(t * (1 - t) / len(p))


def test_p_values_take_rounded_scores_for_equal():
    calibration = np.full(19, -2.0) + 1e-15 * np.arange(-9, 10)
    p = conformal_p_values(np.array([-2.0 - 1e-14, -2.1]), calibration, np.ones(19))
    np.testing.assert_allclose(p, [1, 0.05])


def test_p_values_lie_above_one_in_n_plus_one_and_up_to_one():
    calibration = random().normal(size=99)
    p = conformal_p_values(np.array([-np.inf, -9, 9, np.inf]), calibration, np.ones(99))
    np.testing.assert_allclose(p, [0.01, 0.01, 1, 1])


# -- a detector and its rows -----------------------------------------------------------

KINDS = {
    "auto": {},
    "share": {"contamination": 0.1},
    "clean": {"contamination": 0},
    "reconstruction": {"method": "reconstruction"},
}


def detector(kind="clean", **params):
    """A detector with a small network."""
    autoencoder = AutoencoderTransformer(2, hidden_layer_sizes=(4,), max_iter=2)
    params = {"random_state": 0, "autoencoder": autoencoder} | KINDS[kind] | params
    return AEOutlierDetector(**params)


def normal(n=200, seed=0):
    """Rows of two causes and noise."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(2, 4))
    return rng.normal(size=(n, 2)) @ mixing + 0.3 * rng.normal(size=(n, 4))


@pytest.fixture(scope="module")
def fitted():
    return detector().fit(normal())


# -- the last rows are held out --------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_weighted", [False, True], ids=["equal", "weighted"])
def test_last_rows_are_held_out_as_if_fit_had_not_got_them(kind, is_weighted):
    X, new = normal(260), normal(50, seed=1)
    X[250:] = X[:10]  # late copies
    weight = np.arange(260.0) % 4 if is_weighted else np.ones(260)
    # 65 rows have no weight: they are not among those that are counted.
    counted = np.flatnonzero(weight)
    earlier, last = np.split(counted, [-round(0.3 * len(counted))])
    one = detector(kind, holdout="last", validation_fraction=0.3)
    one.fit(X, sample_weight=weight if is_weighted else None)
    other = detector(kind, validation_fraction=0.3)
    other.fit(X[earlier], sample_weight=weight[earlier])
    other.calibrate(X[last], sample_weight=weight[last])
    assert one.offset_ == other.offset_
    assert one.n_iter_ == other.n_iter_
    for method in ("score_samples", "decision_function", "predict", "p_values"):
        result, expected = (getattr(d, method)(new) for d in (one, other))
        np.testing.assert_array_equal(result, expected, err_msg=method)
    for part, same in zip(one._held_out, other._held_out, strict=True):
        np.testing.assert_array_equal(part, same)
    moved, calibrated = one.set_contamination(0.2), other.set_contamination(0.2)
    assert moved.offset_ == calibrated.offset_


@pytest.mark.parametrize(("fraction", "enough"), [(0.15, 76), (0.5, 38), (0.9, 21)])
def test_too_few_last_rows_are_refused_with_the_number_it_takes(fraction, enough):
    last = detector(holdout="last", validation_fraction=fraction)
    with pytest.raises(ValueError, match=rf"18 of {enough - 1} rows.* on {enough} row"):
        last.fit(normal(enough - 1))
    assert not hasattr(last, "offset_")
    # Rows without weight are not counted.
    with pytest.raises(ValueError, match=rf"18 of {enough - 1} rows.* on {enough} row"):
        last.fit(normal(enough), sample_weight=np.arange(enough) > 0)
    assert len(last.fit(normal(enough))._held_out[0]) == 19
    before = last.offset_
    with pytest.raises(ValueError, match="holdout='last'"):
        last.fit(normal(enough - 1))
    assert last.offset_ == before


@pytest.mark.parametrize("bad", ["first", None, 0.2])
def test_another_holdout_is_refused(bad):
    with pytest.raises(ValueError, match="'holdout' parameter"):
        detector(holdout=bad).fit(normal())


def test_callbacks_of_a_fit_with_last_rows_see_their_threshold():
    X, y = normal(), np.repeat([-1, 1], [50, 150])
    monitor = ScoringMonitor(scoring="balanced_accuracy")
    last = detector("share", holdout="last").set_callbacks(monitor).fit(X, y)
    logged = monitor.get_logs().data_as_pandas["balanced_accuracy"].tolist()
    # They get all rows, the last ones included.
    assert logged == [balanced_accuracy_score(y, last.predict(X))]


def test_late_copies_are_warned_of_only_if_most_of_the_last_rows_are_some():
    X = normal(200)
    X[150:170] = X[:20]  # 20 of the 50 last rows
    last = detector(holdout="last").fit(X)
    assert len(last._held_out[0]) == 50
    X[170:180] = X[20:30]
    with pytest.warns(UserWarning, match="30 of the 50 rows .* late copies") as caught:
        last.fit(X)
    assert caught[0].filename == __file__


def plant(seed, n_past, n, memory=3, n_sensors=12):
    """Sensors that follow three slow drives; after ``n_past`` rows they are reset."""
    rng = np.random.default_rng(seed)
    keep = np.exp(-1 / memory)
    drives = np.sqrt(1 - keep**2) * rng.normal(size=(n, 3))
    drives = lfilter([1], [1, -keep], drives, axis=0)
    signal = np.tanh(drives @ rng.normal(size=(3, n_sensors)))
    rows = signal * rng.uniform(1, 50, n_sensors) + 0.3 * rng.normal(size=signal.shape)
    rows[n_past:] += rng.normal(size=n_sensors)
    return rows, rng


def test_alarms_on_later_rows_hold_after_calibration_and_after_a_fit_with_last_rows():
    shares = {"fitted": [], "calibrated": [], "last": []}
    for seed in (1, 2):
        X, rng = plant(seed, 1_000, 2_000)
        past, recent, later = np.split(X, [1_000, 1_400])
        faulty = later[::5].copy()
        faulty[np.arange(120), rng.integers(12, size=120)] += 12
        fitted = AEOutlierDetector(random_state=0).fit(past)
        shares["fitted"].append((fitted.p_values(later) <= 0.05).mean())
        last = AEOutlierDetector(
            random_state=0, holdout="last", validation_fraction=400 / 1_400
        )
        for name, each in (
            ("calibrated", fitted.calibrate(recent)),
            ("last", last.fit(X[:1_400])),
        ):
            shares[name].append((each.p_values(later) <= 0.05).mean())
            reported = [(each.predict(rows) == -1).mean() for rows in (later, recent)]
            assert reported[0] < reported[1] + 0.05
            assert (each.p_values(faulty) <= 0.05).mean() > 0.3
    # The bound is the 99 % quantile of the mean of two plants whose scores are one
    # autoregression of this memory, by simulation: rows that follow each other are
    # alike, and 400 of them are worth fewer.
    assert np.mean(shares["calibrated"]) < 0.1
    assert np.mean(shares["last"]) < 0.1
    assert np.mean(shares["fitted"]) > 0.2


# -- questions that have no answer -----------------------------------------------------


@pytest.mark.parametrize("method", ["p_values", "select_outliers", "calibrate"])
def test_rows_of_fit_are_warned_of_if_most_rows_are_some(method):
    each = detector().fit(normal())
    half = np.r_[normal()[:50], normal(50, seed=1)]
    getattr(each, method)(half)
    most = np.r_[normal()[:51], normal(49, seed=1)]
    with pytest.warns(UserWarning, match="51 of the 100 rows equal rows of") as caught:
        getattr(each, method)(most)
    assert [warning.filename for warning in caught] == [__file__]


def test_p_values_of_few_rows_name_how_many_it_takes():
    few = detector().fit(normal(72))
    new = normal(50, seed=1)
    with pytest.warns(UserWarning, match="from 18 rows.* 1 / 19: .*19 rows") as caught:
        few.p_values(new)
    assert [warning.filename for warning in caught] == [__file__]
    # Warnings are errors: at a rate that 18 rows do for there is none.
    few.select_outliers(new, fdr=0.1)
    few.calibrate(normal(19, seed=2)).p_values(new)
    assert detector().fit(normal(76)).p_values(new).min() >= 1 / 20


def test_a_rate_for_which_rows_are_too_few_is_warned_of_if_rows_are_far():
    few, far = detector().fit(normal(76)), 99 * normal(2, seed=1)
    # The lowest p-value of 19 rows is 1 / 20: above 0.04, and below 0.06.
    assert few.select_outliers(far, fdr=0.06).all()
    message = "2 of 2 score lower than all 19 rows .* fdr=0.04 .* with 24 of these"
    with pytest.warns(UserWarning, match=message) as caught:
        assert not few.select_outliers(far, fdr=0.04).any()
    assert [warning.filename for warning in caught] == [__file__]
    assert few.calibrate(normal(24, seed=2)).select_outliers(far, fdr=0.04).all()
    # So many of the lowest scores come by chance, but 19 rows never select any.
    some_far = np.r_[99 * normal(5, seed=1), np.zeros((55, 4))]
    few.calibrate(normal(19, seed=2))
    assert not few.select_outliers(some_far, fdr=0.06).any()
    with pytest.warns(UserWarning, match="5 of 60 score lower .* with 299 of these"):
        few.select_outliers(some_far, fdr=0.04)
    # Rows that are not far are not outliers at any rate.
    assert not few.select_outliers(np.zeros((2, 4)), fdr=0.001).any()


def test_predict_proba_is_missing_and_says_what_to_ask_instead(fitted):
    for each in (fitted, AEOutlierDetector()):
        with pytest.raises(AttributeError, match=r"no predict_proba.*p_values\(X\)"):
            each.predict_proba  # noqa: B018
        assert not hasattr(each, "predict_proba")
    assert not hasattr(make_pipeline(StandardScaler(), fitted), "predict_proba")
    assert not hasattr(pickle.loads(pickle.dumps(fitted)), "predict_proba")
