import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio as of_skimage
from torchmetrics.functional.image import peak_signal_noise_ratio as of_torchmetrics

from sklearn_ae.metrics import peak_signal_noise_ratio


def tables(n_features, width):
    rng = np.random.default_rng(0)
    X = width * rng.uniform(size=(5, n_features))
    return X, X + width * rng.normal(scale=0.1, size=X.shape)


@pytest.mark.parametrize("width", [255, 0.01])
@pytest.mark.parametrize("shape", [(3, 8, 8), (40,)])
def test_psnr_is_that_of_two_libraries(shape, width):
    X, restored = tables(np.prod(shape), width)
    settings = {"input_shape": shape, "data_range": width}
    each = peak_signal_noise_ratio(X, restored, average=False, **settings)
    pairs = list(zip(X, restored, strict=True))
    expected = [of_skimage(*pair, data_range=width) for pair in pairs]
    np.testing.assert_allclose(each, expected, rtol=0, atol=1e-6)
    # Its logarithms are float32.
    expected = [
        of_torchmetrics(*map(torch.tensor, pair[::-1]), data_range=width)
        for pair in pairs
    ]
    np.testing.assert_allclose(each, expected, rtol=1e-6)
    assert (each.dtype, each.shape) == (float, (5,))
    mean = peak_signal_noise_ratio(X, restored, **settings)
    assert isinstance(mean, float)
    assert mean == pytest.approx(each.mean(), abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
def test_of_a_constant_error_it_is_the_ratio_of_range_and_error(dtype):
    X = np.arange(60, dtype=dtype).reshape(5, 12)
    error = np.array([[1], [2], [5], [10], [100]], dtype=dtype)
    expected = 20 * np.log10(255 / error[:, 0].astype(float))
    for one, other in ((X, X + error), (X + error, X)):
        each = peak_signal_noise_ratio(one, other, data_range=255, average=False)
        np.testing.assert_allclose(each, expected, rtol=1e-12)


def test_only_the_width_of_the_range_counts():
    X, restored = tables(12, 2)
    one, other = (
        peak_signal_noise_ratio(X, restored, data_range=r) for r in (2, (-1, 1))
    )
    assert one == other


def test_of_equal_rows_it_is_infinite_and_nobody_warns():
    X, restored = tables(12, 1)
    assert peak_signal_noise_ratio(X, X, data_range=1) == np.inf
    restored[1] = X[1]
    each = peak_signal_noise_ratio(X, restored, data_range=1, average=False)
    np.testing.assert_array_equal(np.isinf(each), [False, True, False, False, False])
    assert peak_signal_noise_ratio(X, restored, data_range=1) == np.inf


@pytest.mark.parametrize("unit", [5e-324, 1e-310, 1e-200, 1e200, 1e307])
@pytest.mark.parametrize("width", [1e-200, 255, 1e200])
def test_squares_of_errors_neither_vanish_nor_overflow(unit, width):
    # Errors of 2 and 4 units: a mean square of 10.
    X = np.array([[2.0, 4.0], [-2.0, 4.0]]) * unit
    expected = 20 * (np.log10(width) - np.log10(unit)) - 10
    found = peak_signal_noise_ratio(X, 0 * X, data_range=width)
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_largest_numbers_have_a_difference():
    X = np.full((1, 4), np.finfo(float).max)
    found = peak_signal_noise_ratio(X, -X, data_range=np.finfo(float).max)
    assert found == pytest.approx(-20 * np.log10(2), rel=1e-9)


def test_a_small_error_beside_a_huge_number_counts():
    X, restored = [[1e300, 1.0]], [[1e300, 1.001]]
    found = peak_signal_noise_ratio(X, restored, data_range=1)
    assert found == pytest.approx(60 + 10 * np.log10(2), rel=1e-9)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_rows_value_does_not_depend_on_the_other_rows(order):
    X, restored = (np.asarray(x, order=order) for x in tables(3000, 1))
    settings = {"data_range": 1, "average": False}
    together = peak_signal_noise_ratio(X, restored, **settings)
    alone = [
        peak_signal_noise_ratio(X[i : i + 1], restored[i : i + 1], **settings)[0]
        for i in range(5)
    ]
    np.testing.assert_array_equal(together, alone)
