"""Predictors with few labels: what they learn, keep and refuse."""

import copy
import pickle
import signal

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.callback import ScoringMonitor
from sklearn.datasets import load_digits, load_wine, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ae import (
    AutoencoderClassifier,
    AutoencoderRegressor,
    AutoencoderTransformer,
)
from tests.helpers import same_state, state

X, Y = load_digits(return_X_y=True)
FEW = np.where(np.random.default_rng(1).random(len(X)) < 0.06, Y, -1)
X_WINE, Y_WINE = load_wine(return_X_y=True)


@pytest.fixture(scope="module")
def autoencoder():
    """An autoencoder of digits that several tests start from."""
    settings = {"corruption_level": 1.0, "alpha": 1.0, "max_iter": 20}
    return AutoencoderTransformer(30, scale=None, random_state=0, **settings).fit(X)


@pytest.fixture(scope="module")
def few_labels(autoencoder):
    """A classifier of digits, most of which have no label."""
    return AutoencoderClassifier(autoencoder, random_state=0).fit(X, FEW)


# It is not fitted: each estimator trains a copy.
SHORT = AutoencoderTransformer(max_iter=2)


def moons(n=400, n_labelled=60, seed=0):
    X, y = make_moons(n, noise=0.08, random_state=seed)
    rows = np.random.default_rng(seed).choice(n, n_labelled, replace=False)
    few = np.full(n, -1)
    few[rows] = y[rows]
    return X, y, few


# -- what is learnt --------------------------------------------------------------


def test_rows_without_a_label_help(autoencoder, few_labels):
    rest, ours = FEW < 0, few_labels
    alone = clone(ours).set_params(autoencoder=autoencoder, consistency_weight=0)
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
    linear.fit(X[~rest], FEW[~rest])
    score = ours.score(X[rest], Y[rest])
    assert score > linear.score(X[rest], Y[rest]) + 0.03
    assert score > alone.fit(X, FEW).score(X[rest], Y[rest]) + 0.01
    assert ours.n_iter_ == autoencoder.n_iter_ + len(ours.loss_curve_)


def test_where_fine_tuning_is_no_better_the_linear_head_stays(autoencoder):
    astray = {"learning_rate_init": 30.0, "max_iter": 2, "random_state": 0}
    ours = AutoencoderClassifier(autoencoder, **astray).fit(X, FEW)
    linear = AutoencoderClassifier(autoencoder, fine_tune=False, random_state=0)
    linear.fit(X, FEW)
    np.testing.assert_array_equal(ours.transform(X), autoencoder.transform(X))
    np.testing.assert_allclose(
        ours.predict_proba(X), linear.predict_proba(X), atol=1e-6
    )
    assert ours.temperature_ == 1
    assert ours.best_loss_ == ours.validation_curve_[0]
    assert len(ours.loss_curve_) == 2


def test_classes_of_one_row_leave_none_to_judge_by(autoencoder):
    ours = AutoencoderClassifier(autoencoder, random_state=0)
    with pytest.warns(UserWarning, match="number of unique classes"):
        ours.fit(X[:60], np.arange(60))
    assert ours.loss_curve_ == []
    np.testing.assert_array_equal(ours.transform(X), autoencoder.transform(X))


def test_without_rows_to_judge_by_it_stops_where_the_loss_does():
    ours = AutoencoderClassifier(
        AutoencoderTransformer(2, max_iter=2),
        early_stopping=False,
        n_iter_no_change=2,
        learning_rate_init=1e-12,
        random_state=0,
    ).fit(X_WINE, Y_WINE)
    assert 3 <= len(ours.loss_curve_) < 12


def test_a_head_alone_is_logistic_regression_on_the_code(autoencoder):
    ours = AutoencoderClassifier(autoencoder, fine_tune=False).fit(X, Y)
    linear = LogisticRegression(max_iter=1_000).fit(autoencoder.transform(X), Y)
    theirs = linear.predict_proba(autoencoder.transform(X))
    np.testing.assert_allclose(ours.predict_proba(X), theirs, atol=1e-3)
    assert (ours.loss_curve_, ours.validation_curve_) == ([], [])


def test_the_penalty_is_the_best_for_rows_left_out():
    noise = np.random.default_rng(0).normal(size=(60, 20))
    y = np.arange(60) % 2
    ours = AutoencoderClassifier(fine_tune=False, random_state=0).fit(noise, y)
    codes = ours.autoencoder_.transform(noise)
    eager = LogisticRegression().fit(codes, y).predict_proba(codes)
    assert ours.predict_proba(noise).max() < 0.6 < eager.max()


def test_a_regressors_head_alone_is_ridge_regression_on_the_code(autoencoder):
    y = X @ np.random.default_rng(0).normal(size=64) + 5
    ours = AutoencoderRegressor(autoencoder, fine_tune=False).fit(X, y)
    codes = autoencoder.transform(X)
    theirs = Ridge(1e-3).fit(codes, y).predict(codes)
    assert np.corrcoef(ours.predict(X), theirs)[0, 1] > 0.999
    assert abs(ours.predict(X).mean() - y.mean()) < 1e-6


def test_a_regressor_learns_what_no_line_does():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = 50 + 20 * np.abs(X[:, 0]) * np.sign(X[:, 1])
    few = np.where(np.arange(400) < 250, y, np.nan)
    given = AutoencoderTransformer(3, corruption_level=0.5, max_iter=5)
    ours = AutoencoderRegressor(given, max_iter=80, random_state=0).fit(X, few)
    linear = AutoencoderRegressor(ours.autoencoder_, fine_tune=False).fit(X, few)
    assert ours.score(X[250:], y[250:]) > linear.score(X[250:], y[250:]) + 0.2
    assert ours.best_loss_ < 0.5 * ours.validation_curve_[0]


def test_probabilities_are_softened_where_answers_are_overconfident(few_labels):
    ours = few_labels
    rest = FEW < 0
    assert ours.temperature_ > 1
    at_one = copy.copy(ours)
    at_one.temperature_ = 1.0
    assert log_loss(Y[rest], ours.predict_proba(X[rest])) < log_loss(
        Y[rest], at_one.predict_proba(X[rest])
    )


def test_all_rows_held_out_have_their_share_of_each_class(autoencoder):
    seen = {}

    class Spy(AutoencoderClassifier):
        def _holdout(self, target, n):
            rows = super()._holdout(target, n)
            seen["target"] = target[rows]
            return rows

    Spy(autoencoder, max_iter=1, random_state=0).fit(X, Y)
    counts = np.bincount(seen["target"])
    np.testing.assert_allclose(counts, 0.1 * np.bincount(Y), atol=1)


# -- unlabelled rows -------------------------------------------------------------


@pytest.mark.parametrize("missing", [None, np.nan, -1])
def test_text_labels(missing):
    names = np.array(["no", "yes", "perhaps"], dtype=object)[Y_WINE]
    names[::2] = missing
    settings = {"fine_tune": False, "random_state": 0}
    ours = AutoencoderClassifier(SHORT, **settings).fit(X_WINE, names)
    assert ours.classes_.tolist() == ["no", "perhaps", "yes"]
    numbers = np.where(np.arange(len(Y_WINE)) % 2 == 0, -1, Y_WINE)
    theirs = AutoencoderClassifier(SHORT, **settings).fit(X_WINE, numbers)
    as_numbers = {"no": 0, "yes": 1, "perhaps": 2}
    predicted = [as_numbers[name] for name in ours.predict(X_WINE)]
    np.testing.assert_array_equal(predicted, theirs.predict(X_WINE))


def test_series_categories_and_missing_numbers():
    y = pd.Series(Y_WINE, dtype="Int64").where(np.arange(len(Y_WINE)) % 2 == 0)
    category = pd.Series(np.array(["a", "b", "c"])[Y_WINE], dtype="category")
    settings = {"fine_tune": False, "random_state": 0}
    ours = AutoencoderClassifier(SHORT, **settings).fit(X_WINE, y)
    assert ours.classes_.tolist() == [0, 1, 2]
    named = AutoencoderClassifier(SHORT, **settings).fit(X_WINE, category)
    assert named.classes_.tolist() == ["a", "b", "c"]


def test_minus_one_beside_one_alone():
    y = np.where(Y_WINE == 0, -1, 1)
    ours = AutoencoderClassifier(SHORT, fine_tune=False, random_state=0)
    with pytest.warns(UserWarning, match="taken as two classes"):
        ours.fit(X_WINE, y)
    assert ours.classes_.tolist() == [-1, 1]
    assert ours.score(X_WINE, y) > 0.9
    three = np.where(Y_WINE == 2, 0, y)
    ours.set_params(missing_label=None).fit(X_WINE, three)
    assert ours.classes_.tolist() == [-1, 0, 1]
    assert ours.score(X_WINE, three) > 0.9
    with pytest.raises(
        ValueError, match=r"1 class\(es\): \[1\]. Rows without a label: "
    ):
        ours.set_params(missing_label=-1).fit(X_WINE, y)


def test_partial_fit_reads_minus_one_by_its_classes():
    y = np.where(Y_WINE == 0, -1, 1)
    ours = AutoencoderClassifier(SHORT, random_state=0)
    ours.partial_fit(X_WINE, y, classes=pd.array([1, -1], dtype="Int64"))
    assert ours.partial_fit(X_WINE, y).classes_.tolist() == [-1, 1]
    ours = clone(ours).partial_fit(X_WINE, y, classes=[0, 1])
    assert ours.score(X_WINE, y) == np.mean(ours.predict(X_WINE)[y == 1] == 1)


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "string", "category"])
def test_predictions_have_the_type_of_the_labels(dtype):
    y = pd.Series(Y_WINE == 1, dtype=dtype).where(np.arange(178) % 3 == 0)
    ours = AutoencoderClassifier(SHORT, fine_tune=False, random_state=0).fit(X_WINE, y)
    assert ours.predict(X_WINE).dtype == ours.classes_.dtype
    assert type(ours.predict(X_WINE)[0]) is type(np.asarray(y.dropna())[0])
    assert ours.score(X_WINE, y) > 0.9


def test_the_labels_of_rows_are_all_that_a_label_changes():
    # Unlabelled rows take part: without them another network is learnt.
    X, _, few = moons()
    known = few >= 0
    settings = {"early_stopping": False, "max_iter": 3, "random_state": 0}
    autoencoder = AutoencoderTransformer(2, random_state=0, max_iter=2).fit(X)
    all_rows = AutoencoderClassifier(autoencoder, **settings).fit(X, few)
    some = AutoencoderClassifier(autoencoder, **settings).fit(X[known], few[known])
    assert not np.allclose(all_rows.predict_proba(X), some.predict_proba(X), atol=1e-3)


@pytest.mark.parametrize("kind", [AutoencoderClassifier, AutoencoderRegressor])
@pytest.mark.parametrize("scale", [1 / 400, 5e-324, 2.0**1000, 1e308])
def test_ratios_of_sample_weights_alone_count(kind, scale):
    X, y, _ = moons()
    y = y * 1.0
    ours = kind(SHORT, early_stopping=False, max_iter=2, random_state=0)
    one, other = clone(ours).fit(X, y), clone(ours)
    other.fit(X, y, sample_weight=np.full(400, scale))
    np.testing.assert_allclose(other._outputs(X), one._outputs(X), rtol=1e-5)
    expected = one.score(X, y)
    assert other.score(X, y, np.full(400, scale)) == pytest.approx(expected)
    for model in (one, other):
        weight = None if model is one else np.full(400, scale)
        model.partial_fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(other._outputs(X), one._outputs(X), rtol=1e-5)


@pytest.mark.parametrize("kind", [AutoencoderClassifier, AutoencoderRegressor])
def test_a_row_of_nearly_all_the_weight_gives_finite_predictions(kind):
    X, y, _ = moons()
    weight = np.r_[1e15, np.ones(399)]
    ours = kind(SHORT, max_iter=2, random_state=0).fit(X, y, sample_weight=weight)
    assert np.isfinite(ours._outputs(X)).all()
    assert ours.predict(X[:1]) == pytest.approx(y[:1], abs=0.1)


def test_class_weights_count_by_their_ratios_at_any_size():
    X, y, _ = moons()
    ours = AutoencoderClassifier(SHORT, max_iter=2, random_state=0)
    plain = clone(ours).fit(X, y).predict_proba(X)
    for weight in (1e-300, 1e300):
        same = clone(ours).set_params(class_weight={0: weight, 1: weight}).fit(X, y)
        np.testing.assert_allclose(same.predict_proba(X), plain, atol=0.05)
    far = clone(ours).set_params(class_weight={0: 1e300, 1: 1e-300}).fit(X, y)
    np.testing.assert_array_equal(far.predict(X), 0)
    assert np.isfinite(far.predict_proba(X)).all()


def test_no_class_has_a_share_of_zero_in_float32():
    ours = AutoencoderClassifier()
    ours.classes_, ours._class_weight = np.array([0, 1]), np.array([1, 1e-38])
    prior = ours._criterion(np.array([0, 1]), np.array([1e12, 1]), "cpu").prior
    assert prior.dtype == torch.float32
    assert (prior > 0).all()


@pytest.mark.parametrize("size", [5e-322, 1e-170, 1e160, 1.7e308])
@pytest.mark.parametrize("fine_tune", [False, True])
def test_numbers_of_any_size(size, fine_tune):
    X = np.random.default_rng(0).normal(size=(200, 3))
    y = np.clip(X @ [0.3, 0.2, 0.1], -1, 1)
    settings = {"fine_tune": fine_tune, "max_iter": 2, "random_state": 0}
    ours = AutoencoderRegressor(SHORT, **settings).fit(X, y * size)
    # Subnormal numbers are multiples of 5e-324.
    np.testing.assert_allclose(ours.predict(X) / size, y, atol=0.15)
    assert np.isfinite(ours.predict(1e3 * X)).all()
    assert 0.95 < ours.score(X, y * size) < 0.999999
    ours.partial_fit(X, y * size)
    assert ours.score(X, y * size) > 0.95


@pytest.mark.parametrize("value", [0.0, 0.1, 5e-324, -1e300])
def test_a_constant_number_is_predicted(value):
    y = np.full(178, value)
    ours = AutoencoderRegressor(SHORT, max_iter=2, random_state=0).fit(X_WINE, y)
    np.testing.assert_allclose(ours.predict(X_WINE), value, rtol=1e-12)
    assert ours.score(X_WINE, y) == 1


def test_float32_numbers_at_the_end_of_their_range():
    y = X_WINE[:, 0] / X_WINE[:, 0].max() * np.finfo(np.float32).max
    ours = AutoencoderRegressor(SHORT, fine_tune=False, random_state=0)
    single = clone(ours).fit(X_WINE, y.astype(np.float32))
    double = clone(ours).fit(X_WINE, y.astype(np.float32).astype(np.float64))
    np.testing.assert_array_equal(single.predict(X_WINE), double.predict(X_WINE))
    assert single.score(X_WINE, y) > 0.8


def test_weights_of_zero_are_rows_that_are_not_there():
    X, _, few = moons()
    weight = np.ones(len(X))
    weight[200:] = 0
    settings = {"max_iter": 3, "random_state": 0}
    ours = AutoencoderClassifier(SHORT, **settings)
    weighted = clone(ours).fit(X, few, sample_weight=weight)
    there = clone(ours).fit(X[:200], few[:200])
    np.testing.assert_allclose(weighted.predict_proba(X), there.predict_proba(X))


def test_class_weights_are_sample_weights():
    y = np.where(Y_WINE == 0, 0, 1)
    by_class = AutoencoderClassifier(
        SHORT, fine_tune=False, class_weight={0: 5, 1: 1}, random_state=0
    ).fit(X_WINE, y)
    plain = AutoencoderClassifier(
        by_class.autoencoder_, fine_tune=False, random_state=0
    )
    plain.fit(X_WINE, y, sample_weight=np.where(y == 0, 5.0, 1.0))
    np.testing.assert_allclose(
        by_class.predict_proba(X_WINE), plain.predict_proba(X_WINE), atol=1e-6
    )


def test_a_class_that_weighs_more_is_told_more_often():
    X, _ = moons()[:2]
    noise = np.random.default_rng(0).integers(2, size=len(X))
    settings = {"early_stopping": False, "consistency_weight": 0, "random_state": 0}
    ours = AutoencoderClassifier(SHORT, class_weight={0: 1e3, 1: 1e-4}, **settings)
    ours.fit(X[:100], noise[:100])
    assert np.mean(ours.predict(X[100:]) == 0) > 0.95


def test_rows_without_a_label_are_not_scored(autoencoder):
    ours = AutoencoderClassifier(autoencoder, fine_tune=False).fit(X, FEW)
    known = FEW >= 0
    expected = ours.score(X[known], FEW[known])
    assert ours.score(X, FEW) == expected
    share = np.mean(ours.predict(X) == FEW) / np.mean(known)
    assert share == pytest.approx(expected)
    names = pd.Series(FEW).astype(object).where(known)
    assert ours.score(pd.DataFrame(X).to_numpy(), names) == expected
    y = np.where(known, Y * 2.0, np.nan)
    numbers = AutoencoderRegressor(autoencoder, fine_tune=False).fit(X, y)
    assert numbers.score(X, y) == numbers.score(X[known], y[known])
    grid = GridSearchCV(ours, {"alpha": [0.1, 1]}, cv=2, error_score="raise")
    assert (
        grid.set_params(estimator__autoencoder=FrozenEstimator(autoencoder))
        .fit(X, FEW)
        .best_score_
        > 0.6
    )


def test_log_probabilities(autoencoder):
    ours = AutoencoderClassifier(autoencoder, fine_tune=False).fit(X, FEW)
    np.testing.assert_allclose(
        np.exp(ours.predict_log_proba(X)), ours.predict_proba(X), rtol=1e-9
    )


def test_weights_of_classes_that_come_later(autoencoder):
    weights = {i: 1.0 for i in range(9)} | {9: 50.0}
    ours = AutoencoderClassifier(autoencoder, class_weight=weights, random_state=0)
    early = Y < 9
    ours.partial_fit(X[early][:200], Y[early][:200], classes=range(10))
    np.testing.assert_allclose(ours._class_weight, [*[1] * 9, 50])


def test_metadata_routing_changes_nothing(autoencoder):
    plain = AutoencoderClassifier(autoencoder, fine_tune=False, random_state=0)
    plain.fit(X, FEW)
    with config_context(enable_metadata_routing=True):
        routed = clone(plain).set_params(autoencoder=autoencoder).fit(X, FEW)
        AutoencoderRegressor(autoencoder, fine_tune=False).fit(X, Y)
    np.testing.assert_array_equal(routed.predict_proba(X), plain.predict_proba(X))


# -- the autoencoder -------------------------------------------------------------


def test_a_fitted_autoencoder_is_taken_and_stays_as_it_is(autoencoder):
    given = copy.deepcopy(autoencoder)
    settings = {"early_stopping": False, "max_iter": 5, "random_state": 0}
    ours = AutoencoderClassifier(given, **settings).fit(X, Y)
    assert same_state(state(ours.autoencoder_), state(autoencoder))
    assert not np.allclose(ours.transform(X), autoencoder.transform(X))
    ours.partial_fit(X[:200], Y[:200])
    assert same_state(state(given), state(autoencoder))
    assert given.n_iter_ == autoencoder.n_iter_


def test_what_becomes_of_the_given_one_does_not_matter(autoencoder):
    given = copy.deepcopy(autoencoder)
    ours, other = (
        AutoencoderClassifier(a, max_iter=2, early_stopping=False, random_state=0)
        for a in (given, autoencoder)
    )
    for one in (ours, other):
        one.fit(X[:300], Y[:300])
    given.set_params(max_iter=1, n_components=3).fit(X[:100] * 7)
    for one in (ours, other):
        one.partial_fit(X[300:400], Y[300:400])
    np.testing.assert_array_equal(ours.predict_proba(X), other.predict_proba(X))


def test_an_old_interruption_of_the_given_one_does_not_matter(autoencoder):
    given = copy.deepcopy(autoencoder)
    given._inference.was_interrupted = True
    ours = AutoencoderClassifier(given, max_iter=2, random_state=0).fit(X, Y)
    assert len(ours.loss_curve_) == 2


def test_an_unfitted_one_gives_its_settings():
    given = AutoencoderTransformer(3, latent="gaussian", max_iter=2)
    ours = AutoencoderClassifier(given, max_iter=2, random_state=0).fit(X_WINE, Y_WINE)
    assert not hasattr(given, "module_")
    assert ours.autoencoder_.n_components_ == 3
    assert ours.autoencoder_.latent == "gaussian"
    assert ours.transform(X_WINE).shape == (178, 3)


def test_a_frozen_one_survives_a_grid_search(autoencoder):
    before = state(autoencoder)
    grid = GridSearchCV(
        AutoencoderClassifier(FrozenEstimator(autoencoder), random_state=0),
        {"fine_tune": [False, 1]},
        cv=2,
    )
    grid.set_params(estimator__max_iter=2).fit(X[:400], Y[:400])
    assert same_state(before, state(grid.best_estimator_.autoencoder_))
    assert same_state(before, state(autoencoder))
    assert grid.best_score_ > 0.7


def test_settings_of_the_autoencoder_are_searched():
    grid = GridSearchCV(
        AutoencoderClassifier(AutoencoderTransformer(max_iter=2), fine_tune=False),
        {"autoencoder__n_components": [1, 8]},
        cv=3,
    ).fit(X_WINE, Y_WINE)
    assert grid.best_params_ == {"autoencoder__n_components": 8}


def test_convolutions():
    ours = AutoencoderClassifier(
        architecture="conv", input_shape=(8, 8), max_iter=3, random_state=0
    ).fit(X[:100], Y[:100])
    assert ours.autoencoder_.architecture == "conv"
    assert ours.score(X[:100], Y[:100]) > 0.8


def test_other_layers_may_be_frozen_later(autoencoder):
    settings = {"early_stopping": False, "max_iter": 1, "random_state": 0}
    ours = AutoencoderClassifier(autoencoder, fine_tune=1, **settings).fit(X, Y)
    before = ours._inference.module.state_dict()
    ours.set_params(fine_tune=np.True_).partial_fit(X[:64], Y[:64])
    after = ours._inference.module.state_dict()
    first = "encoder.correction.layers.0.weight"
    assert torch.equal(before[first], autoencoder.module_.state_dict()[first])
    assert not torch.equal(after[first], before[first])


@pytest.mark.parametrize("latent", ["deterministic", "gaussian"])
@pytest.mark.parametrize("n_layers", [1, 2])
def test_only_the_last_layers_are_fine_tuned(n_layers, latent):
    given = AutoencoderTransformer(4, latent=latent, max_iter=2, random_state=0)
    given.fit(X)
    ours = AutoencoderClassifier(
        given, fine_tune=n_layers, early_stopping=False, max_iter=2, random_state=0
    ).fit(X, Y)
    before, after = state(given), ours._inference.module.state_dict()
    moved = {n for n in before if not torch.equal(before[n], after[n])}
    path = "encoder." if latent == "deterministic" else "encoder.network."
    last = [f"{path}correction.layers.{3 - i}" for i in range(n_layers)]
    parts = [f"{path}linear", *last]
    assert moved == {f"{p}.{end}" for p in parts for end in ("weight", "bias")}


def test_the_default_goes_by_the_units_of_columns():
    default = AutoencoderClassifier()._default_autoencoder
    assert (default(X).scale, default(X).corruption_level) == (None, 1.0)
    assert (default(X_WINE).scale, default(X_WINE).corruption_level) == ("auto", 0.5)


# -- going on, stopping, keeping ------------------------------------------------


def test_partial_fit_goes_on_from_fit(autoencoder):
    ours = AutoencoderClassifier(
        autoencoder, max_iter=2, early_stopping=False, random_state=0
    ).fit(X[:300], Y[:300])
    before = ours.score(X[300:], Y[300:])
    n = ours.n_iter_
    for start in range(300, 1500, 300):
        ours.partial_fit(X[start : start + 300], Y[start : start + 300])
    assert ours.n_iter_ == n + 4
    assert ours.score(X[300:], Y[300:]) > before


def test_partial_fit_alone(autoencoder):
    first = AutoencoderClassifier(autoencoder, random_state=0)
    first.partial_fit(X[:50], np.where(Y[:50] == 1, 1, -1), classes=range(10))
    assert first.classes_.tolist() == list(range(10))
    assert first.predict_proba(X[:9]).shape == (9, 10)
    with pytest.raises(ValueError, match="not those of the first call"):
        first.partial_fit(X[:50], Y[:50], classes=[0, 1])
    with pytest.raises(ValueError, match="must have two classes or more"):
        AutoencoderClassifier().partial_fit(X[:50], Y[:50], classes=[0])
    with pytest.raises(ValueError, match="the label 10"):
        first.partial_fit(X[:50], Y[:50] + 10)
    number = AutoencoderRegressor(max_iter=2, random_state=0)
    number.partial_fit(X_WINE, Y_WINE)
    first_error = np.square(number.predict(X_WINE) - Y_WINE).mean()
    for _ in range(20):
        number.partial_fit(X_WINE, Y_WINE)
    assert np.square(number.predict(X_WINE) - Y_WINE).mean() < first_error


def test_the_same_seed_gives_the_same_bits():
    X, _, few = moons()
    ours = AutoencoderClassifier(SHORT, max_iter=4, random_state=3)
    one, other = (clone(ours).fit(X, few) for _ in range(2))
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    shuffled = np.random.default_rng(0).permutation(len(X))
    third = clone(ours).fit(X[shuffled], few[shuffled])
    np.testing.assert_array_equal(one.predict_proba(X), third.predict_proba(X))


@pytest.mark.usefixtures("several_threads")
def test_global_state_and_the_callers_arrays_stay():
    X, _, few = moons()
    X_before, few_before = X.copy(), few.copy()
    numpy_before, torch_before = np.random.get_state()[1], torch.get_rng_state()  # noqa: NPY002
    n_threads = torch.get_num_threads()
    AutoencoderClassifier(SHORT, max_iter=2).fit(X, few).partial_fit(X, few)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert torch.get_num_threads() == n_threads
    np.testing.assert_array_equal(X, X_before)
    np.testing.assert_array_equal(few, few_before)


def test_a_failing_fit_leaves_what_there_was(autoencoder, monkeypatch):
    ours = AutoencoderClassifier(autoencoder, max_iter=2, random_state=0).fit(X, Y)
    before = dict(vars(ours))

    def fail(*args, **kwargs):
        raise RuntimeError("no memory")

    monkeypatch.setattr(AutoencoderClassifier, "_train", fail)
    for method in (ours.fit, ours.partial_fit):
        with pytest.raises(RuntimeError, match="no memory"):
            method(X, Y)
        assert vars(ours) == before


class Interrupt:
    """A criterion's prior that presses Ctrl-C in the n-th iteration."""

    def __init__(self, monkeypatch, n):
        from sklearn_ae.semi_supervised._head_net import HeadNet

        self.left = 25 * n
        step = HeadNet._loss

        def loss(net, batch):
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)
            return step(net, batch)

        monkeypatch.setattr(HeadNet, "_loss", loss)


def test_ctrl_c_keeps_the_best_weights_so_far(autoencoder, monkeypatch):
    Interrupt(monkeypatch, 6)
    ours = AutoencoderClassifier(autoencoder, random_state=0)
    with pytest.warns(ConvergenceWarning, match="Interrupted after 5 of 40"):
        ours.fit(X, Y)
    assert len(ours.loss_curve_) == 5
    assert ours.best_loss_ == min(ours.validation_curve_)
    assert ours.score(X, Y) > 0.9


def test_ctrl_c_in_phase_one_ends_the_fit_with_a_head(monkeypatch):
    class Ctrl:
        def __call__(self, x, level, generator):
            self.n = getattr(self, "n", 0) + 1
            if self.n == 30:
                signal.raise_signal(signal.SIGINT)
            return x

    given = AutoencoderTransformer(5, corruption=Ctrl(), corruption_level=0.1)
    ours = AutoencoderClassifier(given, random_state=0)
    with pytest.warns(ConvergenceWarning, match="Interrupted"):
        ours.fit(X, Y)
    assert ours.loss_curve_ == []
    assert ours.score(X, Y) > 0.7


@pytest.mark.parametrize("kind", [AutoencoderClassifier, AutoencoderRegressor])
def test_copies_predict_the_same(kind, autoencoder):
    ours = kind(autoencoder, max_iter=2, random_state=0).fit(X, Y)
    for other in (pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours)):
        np.testing.assert_array_equal(other.predict(X), ours.predict(X))
        other.partial_fit(X, Y)


def test_a_fitted_predictor_does_not_hold_its_rows(autoencoder):
    settings = {"early_stopping": False, "max_iter": 2, "random_state": 0}
    few = AutoencoderClassifier(autoencoder, **settings).fit(X[:300], Y[:300])
    many = AutoencoderClassifier(autoencoder, **settings).fit(X, Y)
    assert abs(len(pickle.dumps(many)) - len(pickle.dumps(few))) < 20_000


def test_callbacks_see_each_iteration(autoencoder):
    monitor = ScoringMonitor(scoring="neg_log_loss")
    ours = AutoencoderClassifier(
        autoencoder, max_iter=3, early_stopping=False, random_state=0
    )
    ours.set_callbacks(monitor).fit(X, Y)
    log = monitor.get_logs().data_as_pandas
    scores = log.loc[log.task_name == "iteration", "neg_log_loss"]
    assert len(scores) == len(ours.loss_curve_) == 3
    assert scores.iloc[-1] == pytest.approx(
        -log_loss(Y, ours.predict_proba(X)), rel=0.2
    )
    assert scores.is_unique


@pytest.mark.parametrize("kind", [AutoencoderClassifier, AutoencoderRegressor])
def test_callbacks_score_labelled_rows(kind, autoencoder):
    scoring = "accuracy" if kind is AutoencoderClassifier else "r2"
    monitor = ScoringMonitor(scoring=scoring)
    y = pd.Series(Y, dtype="Int64").where(FEW >= 0)
    ours = kind(autoencoder, max_iter=1, early_stopping=False, random_state=0)
    ours.set_callbacks(monitor).fit(X, y, sample_weight=np.arange(len(X)) % 3)
    log = monitor.get_logs().data_as_pandas
    found = log.loc[log.task_name == "iteration", scoring].iloc[-1]
    assert found == pytest.approx(ours.score(X, y, np.arange(len(X)) % 3), abs=1e-6)


def test_verbose_prints_a_line_an_iteration(autoencoder, capsys):
    AutoencoderClassifier(autoencoder, max_iter=3, verbose=1, random_state=0).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Iteration 1, loss = ")
    assert "monitored loss = " in lines[0]


def test_set_output_and_names(autoencoder):
    ours = AutoencoderClassifier(autoencoder, fine_tune=False).fit(X, Y)
    ours.set_output(transform="pandas")
    assert list(ours.transform(X)[:0]) == [
        f"autoencoderclassifier{i}" for i in range(30)
    ]
    assert ours.predict(X).shape == (len(X),)


def test_float32_codes_are_float32(autoencoder):
    ours = AutoencoderClassifier(autoencoder, fine_tune=False).fit(X, Y)
    assert ours.transform(X.astype(np.float32)).dtype == np.float32
    assert ours.predict_proba(X.astype(np.float32)).dtype == np.float64


# -- wrong input -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (np.full(178, -1), r"0 class\(es\)"),
        (np.where(Y_WINE == 1, 2, -1), r"1 class\(es\): \[2\]"),
        (Y_WINE + 0.5, "continuous"),
        (np.where(Y_WINE == 1, np.inf, 1), "infinity"),
        (Y_WINE[:9], "inconsistent numbers of samples"),
        (None, "requires y to be passed"),
    ],
)
def test_bad_classes(y, match):
    with pytest.raises(ValueError, match=match):
        AutoencoderClassifier().fit(X_WINE, y)


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (np.full(178, np.nan), "no numbers"),
        (np.full(178, "a"), "must be numbers, NaN where missing; got"),
        (np.where(Y_WINE == 1, np.inf, 1), "infinity"),
        (Y_WINE[:9], "inconsistent numbers of samples"),
    ],
)
def test_bad_numbers(y, match):
    with pytest.raises(ValueError, match=match):
        AutoencoderRegressor().fit(X_WINE, y)


def test_bad_autoencoders(autoencoder):
    with pytest.raises(ValueError, match="fitted to 64 columns, but X has 13"):
        AutoencoderClassifier(autoencoder).fit(X_WINE, Y_WINE)
    with pytest.raises(ValueError, match="set them in it"):
        AutoencoderClassifier(autoencoder, architecture="conv").fit(X, Y)
    with pytest.raises(ValueError, match="fit it first"):
        AutoencoderClassifier(FrozenEstimator(AutoencoderTransformer())).fit(X, Y)
    with pytest.raises(TypeError, match="bare or in a FrozenEstimator"):
        AutoencoderClassifier(FrozenEstimator(StandardScaler())).fit(X, Y)
    with pytest.raises(ValueError, match="'loss' parameter of AutoencoderTransformer"):
        AutoencoderRegressor(AutoencoderTransformer(loss="foo")).fit(X_WINE, Y_WINE)
    changed = AutoencoderTransformer(3, max_iter=1).fit(X_WINE)
    changed.set_params(hidden_layer_sizes=(9,), alpha=0.5)
    with pytest.raises(ValueError, match=r"hidden_layer_sizes can't .*Give a clone"):
        AutoencoderClassifier(changed, max_iter=1).fit(X_WINE, Y_WINE)
    AutoencoderClassifier(clone(changed), max_iter=1).fit(X_WINE, Y_WINE)
    named = pd.DataFrame(X_WINE).add_prefix("c")
    other = AutoencoderTransformer(max_iter=1).fit(named.add_prefix("d"))
    with pytest.raises(ValueError, match="fitted to the columns"):
        AutoencoderClassifier(other).fit(named, Y_WINE)


def test_a_batch_far_from_the_first_is_refused():
    ours = AutoencoderRegressor(SHORT, max_iter=1, random_state=0)
    ours.partial_fit(X_WINE, Y_WINE)
    for far in (1e25, 1e300):
        with pytest.raises(ValueError, match=r"y has .*too far from the mean"):
            ours.partial_fit(X_WINE, Y_WINE * far)


def test_a_row_whose_prediction_overflows_is_named():
    ours = AutoencoderClassifier(SHORT, fine_tune=False, random_state=0)
    ours.fit(X_WINE, Y_WINE)
    ours._head = ours._head[0] * 1e300, ours._head[1]
    far = X_WINE.copy()
    far[7, 4] = 1e25
    for method in (ours.predict, ours.predict_proba, ours.decision_function):
        with pytest.raises(ValueError, match=r"Row 7 .* 1e\+25, in column 4"):
            method(far)


def test_the_largest_number_stands_for_larger_ones():
    y = 1.7e308 * ((X_WINE[:, 0] - 13) / 2)
    ours = AutoencoderRegressor(SHORT, fine_tune=False, random_state=0).fit(X_WINE, y)
    found = ours.predict(1e9 * X_WINE)
    assert np.abs(found).max() == np.finfo(np.float64).max


def test_nothing_to_score(autoencoder):
    classifier = AutoencoderClassifier(autoencoder, fine_tune=False).fit(X, Y)
    regressor = AutoencoderRegressor(autoencoder, fine_tune=False).fit(X, Y)
    with pytest.raises(ValueError, match="nothing to score"):
        classifier.score(X, np.full(len(X), -1))
    with pytest.raises(ValueError, match="no numbers"):
        regressor.score(X, np.full(len(X), np.nan))
    few, weight = np.where(np.arange(len(X)) < 9, Y, -1), np.arange(len(X)) >= 9
    with pytest.raises(ValueError, match="nothing to score"):
        classifier.score(X, few, sample_weight=weight)
    for ours in (classifier, regressor):
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            ours.score(X, Y[:9])


def test_bad_weights():
    weight = (Y_WINE != 1).astype(float)
    for all_but_one in (weight, np.maximum(weight * 1e300, 1)):
        with pytest.raises(ValueError, match="zero for all rows of class 1"):
            AutoencoderClassifier().fit(X_WINE, Y_WINE, sample_weight=all_but_one)
    few = np.where(np.arange(178) < 9, Y_WINE, np.nan)
    with pytest.raises(ValueError, match="a sample_weight above zero"):
        AutoencoderRegressor().fit(X_WINE, few, sample_weight=np.arange(178) >= 9)


def test_a_first_batch_of_one_class_predicts_that_class():
    labels, classes = np.full(40, 3), np.arange(5)
    classifier = AutoencoderClassifier(
        AutoencoderTransformer(2, max_iter=1, random_state=0), random_state=0
    ).partial_fit(X[:40], labels, classes=classes)
    np.testing.assert_array_equal(classifier.predict(X[:40]), labels)


def test_a_given_fitted_autoencoder_is_pickled_once():
    given = AutoencoderTransformer(
        2, hidden_layer_sizes=(200, 200), max_iter=1, random_state=0
    ).fit(X)
    classifier = AutoencoderClassifier(given, max_iter=1, random_state=0).fit(
        X, np.arange(len(X)) % 2
    )
    size = len(pickle.dumps(given))
    # The fine-tuned encoder is a second one.
    assert len(pickle.dumps(classifier)) < 1.8 * size
    before = given.transform(X)
    classifier.autoencoder_.set_params(n_components=1).fit(X)
    np.testing.assert_array_equal(given.transform(X), before)
