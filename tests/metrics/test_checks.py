import sys

import numpy as np
import pandas as pd
import pytest

from sklearn_ae.metrics import (
    learned_perceptual_image_patch_similarity,
    peak_signal_noise_ratio,
    structural_similarity,
)
from sklearn_ae.metrics._checks import value_range

METRICS = [
    peak_signal_noise_ratio,
    structural_similarity,
    learned_perceptual_image_patch_similarity,
]
X = np.random.default_rng(0).uniform(size=(3, 64))
SETTINGS = {"input_shape": (8, 8), "data_range": 1}


def with_cell(row, column, value):
    changed = X.astype(object if value is None else float)
    changed[row, column] = value
    return changed


@pytest.mark.parametrize(
    ("data_range", "ends"),
    [
        (255, (0, 255)),
        (np.uint8(255), (0, 255)),
        (np.float32(0.5), (0, 0.5)),
        ((-1, 1), (-1, 1)),
        ([0.5, 2], (0.5, 2)),
        (np.array([0, 200], dtype=np.uint8), (0, 200)),
        ((np.int8(-128), np.int8(127)), (-128, 127)),
    ],
)
def test_a_range_is_its_ends_or_its_width(data_range, ends):
    found = value_range(data_range)
    assert found == ends
    assert [type(end) for end in found] == [float, float]


@pytest.mark.parametrize(
    ("data_range", "error", "said"),
    [
        (None, ValueError, r"data_range=None.*training rows"),
        (0, ValueError, "data_range=0 must be finite, and above 0"),
        (-1.0, ValueError, "data_range=-1.0"),
        (np.inf, ValueError, "data_range=inf"),
        (np.nan, ValueError, "data_range=nan"),
        ((1, 1), ValueError, r"data_range=\(1, 1\).*increasing"),
        ((-np.inf, 0), ValueError, "finite"),
        ((-1e308, 1e308), ValueError, "finite"),
        (10**400, ValueError, "must be finite"),
        ((0, -(10**400)), ValueError, "must be finite"),
        (True, TypeError, "data_range must be a number.*True"),
        ((False, True), TypeError, "data_range must be a number"),
        ("255", TypeError, "'255'"),
        ((0, 1, 2), TypeError, r"pair \(low, high\)"),
        (np.ones((2, 2)), TypeError, r"pair \(low, high\)"),
    ],
)
def test_what_is_no_range_is_named(data_range, error, said):
    with pytest.raises(error, match=said):
        value_range(data_range)


@pytest.mark.parametrize("metric", METRICS)
def test_each_metric_checks_its_range(metric):
    with pytest.raises(ValueError, match="data_range=-1"):
        metric(X, X, input_shape=(8, 8), data_range=-1)


@pytest.mark.parametrize("metric", METRICS)
def test_the_range_has_to_be_given(metric):
    with pytest.raises(TypeError, match="data_range"):
        metric(X, X, input_shape=(8, 8))


@pytest.mark.parametrize("metric", METRICS)
def test_tables_have_to_be_two_finite_ones_of_one_shape(metric):
    with pytest.raises(ValueError, match=r"\(3, 64\) and \(2, 64\)"):
        metric(X, X[:2], **SETTINGS)
    with pytest.raises(ValueError, match="X_pred contains NaN in row"):
        metric(X, np.where(X > 0.5, np.nan, X), **SETTINGS)
    with pytest.raises(ValueError, match="Expected 2D array"):
        metric(X[0], X[0], **SETTINGS)
    with pytest.raises(ValueError, match="strings"):
        metric(X.astype(str), X, **SETTINGS)


@pytest.mark.parametrize("metric", METRICS)
def test_rows_have_to_fit_their_shape(metric):
    with pytest.raises(ValueError, match=r"input_shape=\(8, 9\).*64"):
        metric(X, X, input_shape=(8, 9), data_range=1)


@pytest.mark.parametrize("metric", [peak_signal_noise_ratio, structural_similarity])
def test_tables_of_any_numbers_are_taken_and_not_changed(metric):
    whole = (200 * X).astype(np.uint8)
    other = whole[::-1].copy()
    settings = {"input_shape": (8, 8), "data_range": 255}
    expected = metric(whole.astype(float), other.astype(float), **settings)
    before = whole.copy(), other.copy()
    for kind in (
        np.array,
        pd.DataFrame,
        np.float32,
        np.asfortranarray,
        np.ndarray.tolist,
    ):
        assert metric(kind(whole), kind(other), **settings) == expected
    np.testing.assert_array_equal((whole, other), before)


def test_lpips_without_its_extra_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(ImportError, match=r'pip install "sklearn-ae\[images\]"$'):
        learned_perceptual_image_patch_similarity(X, X, **SETTINGS)


@pytest.mark.parametrize("metric", [peak_signal_noise_ratio, structural_similarity])
def test_other_metrics_need_no_extra(metric, monkeypatch):
    for name in ("skimage", "skimage.metrics", "torchmetrics"):
        monkeypatch.setitem(sys.modules, name, None)
    assert np.isfinite(metric(X, 1 - X, **SETTINGS))


@pytest.mark.parametrize("metric", METRICS)
def test_masked_cells_are_refused_rather_than_compared(metric):
    masked = np.ma.array(X, mask=X > 0.9)
    with pytest.raises(ValueError, match="X_true is a masked array"):
        metric(masked, X, **SETTINGS)
    with pytest.raises(ValueError, match="X_true is a masked array"):
        metric(list(masked), X, **SETTINGS)
    with pytest.raises(ValueError, match="X_pred is a masked array"):
        metric(X, masked, **SETTINGS)


def test_a_masked_array_without_masked_cells_is_an_array():
    expected = peak_signal_noise_ratio(X, 1 - X, data_range=1)
    assert peak_signal_noise_ratio(np.ma.array(X), 1 - X, data_range=1) == expected


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (with_cell(1, 5, np.nan), "contains NaN in row 1, column 5.*impute"),
        (with_cell(2, 0, -np.inf), "contains -inf in row 2, column 0"),
        (
            pd.DataFrame(with_cell(1, 5, None)).astype("Float64"),
            "contains NaN in row 1, column 5",
        ),
        (X.astype(np.longdouble) * np.longdouble("1e4000"), "contains inf in row 0"),
        (X[:0], r"shape \(0, 64\) is empty"),
        (X[:, :0], r"shape \(3, 0\) is empty"),
        (X.reshape(3, 8, 8), r"shape \(3, 8, 8\) must be 2-D.*reshape\(len"),
    ],
)
def test_a_table_that_cannot_be_scored_is_named_with_its_cell(metric, rows, message):
    if np.finfo(np.longdouble).max == np.finfo(float).max and "inf in row 0" in message:
        pytest.skip("longdouble is float64 on this platform")
    with pytest.raises(ValueError, match=f"X_true {message}|X_true of {message}"):
        metric(rows, rows, **SETTINGS)
    if "contains" in message:
        with pytest.raises(ValueError, match=f"X_pred {message}"):
            metric(X, rows, **SETTINGS)


RANGES = [5e-324, 1e-200, 1e200, 1.7e308, (-1, 1), (1e8, 1e8 + 1)]
SCALES = [1e-320, 1e-200, 1, 1e200, 1.7e308]


@pytest.mark.parametrize("data_range", RANGES)
@pytest.mark.parametrize("scale", SCALES)
def test_scores_are_finite_wherever_numbers_are(scale, data_range):
    rows, other = scale * X, -scale * X[::-1]
    settings = {"input_shape": (8, 8), "data_range": data_range}
    assert np.isfinite(peak_signal_noise_ratio(rows, other, **settings))
    assert -1 <= structural_similarity(rows, other, **settings) <= 1
    assert structural_similarity(rows, rows, **settings) == 1


def test_no_metric_overflows_in_its_rows_dtype():
    huge = (3e38 * X).astype(np.float32)
    settings = {"input_shape": (8, 8), "data_range": (-3e38, 3e38)}
    scaled = {"input_shape": (8, 8), "data_range": (-1, 1)}
    for metric in (peak_signal_noise_ratio, structural_similarity):
        expected = metric(X, -X, **scaled)
        assert metric(huge, -huge, **settings) == pytest.approx(expected, rel=1e-5)
    whole = np.array([[0, 200, 10], [255, 3, 7]], dtype=np.uint8)
    other = np.array([[255, 0, 11], [0, 4, 8]], dtype=np.uint8)
    for metric in (peak_signal_noise_ratio, structural_similarity):
        expected = metric(whole.astype(float), other.astype(float), data_range=255)
        assert metric(whole, other, data_range=255) == expected
    flags = X > 0.5
    assert peak_signal_noise_ratio(flags, ~flags, data_range=10) == 20
