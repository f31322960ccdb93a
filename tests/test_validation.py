"""Tables, codes, targets and weights that no estimator takes, and their errors."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone

from sklearn_ae import (
    AEOutlierDetector,
    AutoencoderClassifier,
    AutoencoderCompressor,
    AutoencoderRegressor,
    AutoencoderTransformer,
)
from sklearn_ae._validation import checked_weight, refuse_size
from sklearn_ae.metrics import peak_signal_noise_ratio

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 4)) + 0.1 * rng.normal(size=(60, 4))
Y = (X[:, 0] > 0).astype(int)
SMALL = AutoencoderTransformer(2, hidden_layer_sizes=(4,), max_iter=1)
DENOISING = clone(SMALL).set_params(corruption_level=0.1, prior="mixture")
METHODS = {
    DENOISING: [
        *("fit", "partial_fit", "transform", "inverse_transform", "reconstruct"),
        *("denoise", "score", "score_samples", "fit_transform"),
    ],
    AEOutlierDetector(method="reconstruction", autoencoder=SMALL): [
        *("fit", "score_samples", "decision_function", "predict", "fit_predict"),
        *("p_values", "select_outliers", "explain", "reasons", "top_features"),
    ],
    AutoencoderClassifier(SMALL, max_iter=1): [
        *("fit", "partial_fit", "transform", "predict", "predict_proba", "score"),
        *("predict_log_proba", "decision_function"),
    ],
    AutoencoderRegressor(SMALL, max_iter=1): [
        *("fit", "partial_fit", "transform", "predict", "score"),
    ],
    AutoencoderCompressor(n_components=2, autoencoder=SMALL): [
        *("fit", "transform", "inverse_transform", "compress"),
    ],
}
ALL = [(estimator, name) for estimator, names in METHODS.items() for name in names]
TAKE_Y = {"fit", "partial_fit", "score"}


def name_of(value):
    return value if isinstance(value, str) else type(value).__name__


@pytest.fixture(scope="module")
def fitted():
    return {estimator: clone(estimator).fit(X, Y) for estimator in METHODS}


def call(fitted, estimator, name, table):
    if name == "inverse_transform":
        table = table[:, :2]
    method = getattr(fitted[estimator], name)
    return method(table, Y) if name in TAKE_Y else method(table)


@pytest.mark.parametrize(("estimator", "name"), ALL, ids=name_of)
def test_missing_cells_are_counted_and_no_estimator_is_recommended(
    estimator, name, fitted
):
    table = X.copy()
    table[:3, 1] = np.nan
    with pytest.raises(ValueError, match=r"NaN .*3 in column 1\..*Imputer") as raised:
        call(fitted, estimator, name, table)
    assert "HistGradientBoosting" not in str(raised.value)


@pytest.mark.parametrize(("estimator", "name"), ALL, ids=name_of)
def test_a_mask_is_not_dropped(estimator, name, fitted):
    masked = np.ma.masked_array(X, X > 1e9)
    masked[4, 1] = np.ma.masked
    with pytest.raises(ValueError, match=r"X is a masked array .*filled\(numpy.nan\)"):
        call(fitted, estimator, name, masked)


@pytest.mark.parametrize("estimator", METHODS, ids=name_of)
def test_an_array_that_masks_nothing_is_taken(estimator, fitted):
    table = np.ma.masked_array(X, mask=False)
    name = "transform" if "transform" in METHODS[estimator] else "score_samples"
    np.testing.assert_array_equal(
        call(fitted, estimator, name, table), call(fitted, estimator, name, X)
    )


@pytest.mark.parametrize("name", ["fit", "partial_fit", "score"])
@pytest.mark.parametrize("estimator", list(METHODS)[2:4], ids=name_of)
def test_masked_targets_are_refused(estimator, name, fitted):
    masked = np.ma.masked_array(Y, np.arange(60) == 3)
    with pytest.raises(ValueError, match=r"y is a masked array .*filled\(None\)"):
        getattr(fitted[estimator], name)(X, masked)


@pytest.mark.parametrize("estimator", METHODS, ids=name_of)
def test_masked_weights_are_refused(estimator):
    masked = np.ma.masked_array(np.ones(60), np.arange(60) == 3)
    with pytest.raises(ValueError, match=r"sample_weight is a masked .*filled\(0\)"):
        clone(estimator).fit(X, Y, sample_weight=masked)


def test_masked_pictures_are_not_compared():
    with pytest.raises(ValueError, match="X_pred is a masked array"):
        peak_signal_noise_ratio(X, np.ma.masked_array(X, X > 1), data_range=1.0)


MISSING = {
    "NaN": np.array([[1.0, np.nan], [2.0, 1.0]]),
    "None": np.array([[1.0, None], [2.0, 1.0]], dtype=object),
    "NA": np.array([[1.0, pd.NA], [2.0, 1.0]], dtype=object),
    "list": [[1.0, None], [2.0, 1.0]],
    "Int64": pd.DataFrame({0: [1, 2], 1: pd.array([None, 1], dtype="Int64")}),
    "boolean": pd.DataFrame({0: [1, 2], 1: pd.array([None, True], dtype="boolean")}),
    "masked rows": [np.ma.masked_array([1.0, 2.0], [False, True]), [1.0, 2.0]],
}


@pytest.mark.parametrize("name", MISSING)
def test_every_kind_of_missing_cell(name):
    match = "masked array" if name == "masked rows" else "NaN .* 1 in column 1"
    with pytest.raises(ValueError, match=match):
        SMALL.fit(MISSING[name])


def test_missing_cells_of_polars():
    with pytest.raises(ValueError, match=r"NaN .* 1 in column 'b'"):
        SMALL.fit(pl.DataFrame({"a": [1, 2], "b": [None, 1.0]}))


def test_many_columns_are_counted_and_a_few_named():
    table = pd.DataFrame(np.full((2, 9), np.nan), columns=list("abcdefghi"))
    with pytest.raises(ValueError, match=r"2 in column 'c', and some in 6 more"):
        SMALL.fit(table)


DAY = datetime.datetime(2026, 1, 1)
OTHERS = [
    (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), "text in column 'b'.*OneHot"),
    (pd.DataFrame({"b": pd.Categorical(["x", "y"])}), "text in column 'b'.*OneHot"),
    (pl.DataFrame({"a": [1, 2], "b": ["x", "y"]}), "text in column 'b'.*OneHot"),
    (np.array([[b"x"], [b"y"]]), "text in column 0.*OneHot"),
    (np.array([[1, "x"], [None, 2]], dtype=object), "text in column 1"),
    (pd.DataFrame({"a": [1, 2], "b": [DAY, DAY]}), "dates .* column 'b'.*numbers"),
    (pl.DataFrame({"b": [DAY, DAY]}), "dates .* column 'b'.*numbers"),
    (np.array([[DAY], [DAY]], dtype="M8[us]"), "dates .* column 0"),
    (np.array([[DAY], [DAY]], dtype=object), "dates .* column 0"),
    (np.array([[1, 2], [3, 4]], dtype="m8[s]"), "durations in columns 0, 1"),
    (np.array([[1.0], [np.inf]]), "infinity, .* 1 in column 0"),
    (np.array([[1.0], [np.inf]], dtype=object), "infinity, .* 1 in column 0"),
    ([[1, 10**400], [2, 3]], "too large for float64: 1 in column 1"),
]


@pytest.mark.parametrize(("table", "match"), OTHERS)
def test_cells_that_are_no_finite_numbers(table, match):
    with pytest.raises(ValueError, match=match):
        SMALL.fit(table)


@pytest.mark.parametrize("estimator", METHODS, ids=name_of)
def test_a_range_past_float64_is_refused_by_its_column(estimator):
    table = pd.DataFrame(X, columns=list("abcd"))
    table["c"] = 1.7e308 * np.sign(X[:, 2])
    with pytest.raises(ValueError, match=r"Column 'c' of X .* from -1.7e\+308 to"):
        clone(estimator).fit(table, Y)


@pytest.mark.parametrize("table", [[[{}, 1], [2, 3]], [[[1]], [[2]]], [[1], [2, 3]]])
def test_other_errors_are_scikit_learns(table):
    with pytest.raises((TypeError, ValueError), match=r"float\(\)|dim|inhomogeneous"):
        SMALL.fit(table)


# -- weights -----------------------------------------------------------------------


@pytest.mark.parametrize("weight", [1.7e308, 5e-324])
def test_equal_weights_of_any_size_are_ones(weight):
    np.testing.assert_array_equal(checked_weight(np.full(60, weight), X), 1.0)


@pytest.mark.parametrize("power", [-1070, -500, 500, 1000])
def test_only_ratios_of_extreme_weights_count(power):
    weight = np.arange(1.0, 61)
    checked = checked_weight(np.ldexp(weight, power), X)
    np.testing.assert_allclose(checked, weight / weight.mean(), rtol=1e-15)
    np.testing.assert_array_equal(checked, checked_weight(np.ldexp(weight, 300), X))


def test_ordinary_weights_stay_as_they_are():
    weight = rng.random(60)
    assert checked_weight(weight, X) is weight


def test_weights_that_are_lost_in_a_sum_are_zero():
    weight = np.array([1.0, 1.0, 1e-17, 1e-15] * 15)
    np.testing.assert_array_equal(checked_weight(weight, X) > 0, weight > 1e-16)
    with pytest.raises(ValueError, match="above zero for 1 of"):
        SMALL.fit(X[:3], sample_weight=[1e300, 1.0, 1.0])


def test_a_missing_weight_is_a_value_error():
    with pytest.raises(ValueError, match="sample_weight must be finite numbers"):
        SMALL.fit(X[:2], sample_weight=np.array([1, pd.NA], dtype=object))


@pytest.mark.parametrize("weight", [1e300, 5e-324])
@pytest.mark.parametrize("estimator", METHODS, ids=name_of)
def test_every_estimator_takes_extreme_weights_as_ones(estimator, weight):
    fits = [
        clone(estimator).set_params(random_state=0).fit(X, Y, sample_weight=w)
        for w in (np.full(60, weight), np.ones(60))
    ]
    name = "transform" if hasattr(fits[0], "transform") else "score_samples"
    one, other = (getattr(fit, name)(X) for fit in fits)
    np.testing.assert_array_equal(one, other)


# -- sizes -------------------------------------------------------------------------


def test_more_than_the_memory_is_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"A table takes .* this machine has"):
        refuse_size(2**60, "A table")
    monkeypatch.delattr("os.sysconf")
    refuse_size(2**40, "A table")
    with pytest.raises(ValueError, match="this machine has 1,024 GiB"):
        refuse_size(2**41, "A table")


@pytest.mark.parametrize("n_samples", [10**12, 10**400])
def test_more_rows_than_the_memory_holds_are_not_drawn(n_samples, fitted):
    with pytest.raises(ValueError, match=f"n_samples={n_samples} rows takes"):
        fitted[DENOISING].sample(n_samples)


@pytest.mark.parametrize("estimator", list(METHODS)[1:], ids=name_of)
def test_a_given_autoencoder_past_the_memory_is_refused(estimator):
    given = clone(SMALL).set_params(hidden_layer_sizes=(10**7, 10**7))
    with pytest.raises(ValueError, match=r"hidden_layer_sizes=\(10000000, "):
        clone(estimator).set_params(autoencoder=given).fit(X, Y)
