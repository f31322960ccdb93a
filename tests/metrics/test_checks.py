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
    with pytest.raises(ValueError, match="X_pred contains NaN"):
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


@pytest.mark.parametrize(
    ("metric", "module"),
    [
        (METRICS[0], "skimage.metrics"),
        (METRICS[1], "skimage.metrics"),
        (METRICS[2], "torchmetrics"),
    ],
)
def test_an_extra_that_is_missing_is_named(metric, module, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(ImportError, match=r'pip install "sklearn-ae\[images\]"$'):
        metric(X, X, **SETTINGS)
