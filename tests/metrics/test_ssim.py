import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity as of_skimage
from torchmetrics.functional.image import structural_similarity_index_measure

from sklearn_ae.metrics import structural_similarity
from sklearn_ae.metrics._ssim import MAX_WIN_SIZE, MIN_WIN_SIZE, SIGMA, WIN_SIZE


def tables(shape, width=1, n=4):
    """Smooth rows, and the same with noise."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, *shape)).cumsum(axis=-1)
    X = width * (X - X.min()) / np.ptp(X)
    noisy = X + width * rng.normal(scale=0.1, size=X.shape)
    return X.reshape(n, -1), noisy.reshape(n, -1)


def of_torchmetrics(X, restored, shape, width, win_size):
    images = (torch.tensor(x.reshape(-1, *shape)) for x in (restored, X))
    _, everywhere = structural_similarity_index_measure(
        *images,
        sigma=1.5 * win_size / 11,
        kernel_size=win_size,
        data_range=float(width),
        return_full_image=True,
    )
    # Its mean takes windows in that stick out of the image, over mirrored cells.
    inner = slice(win_size // 2, -(win_size // 2))
    return everywhere[..., inner, inner].mean(dim=(1, 2, 3))


@pytest.mark.parametrize("width", [255, 0.01])
@pytest.mark.parametrize(
    ("shape", "win_size"),
    [((3, 32, 17), 11), ((1, 11, 40), 11), ((3, 10, 12), 9), ((1, 3, 3), 3)],
)
def test_ssim_is_that_of_two_libraries(shape, win_size, width):
    X, restored = tables(shape, width)
    settings = {"input_shape": shape, "data_range": width}
    each = structural_similarity(X, restored, average=False, **settings)
    expected = [
        of_skimage(
            one.reshape(shape),
            other.reshape(shape),
            data_range=width,
            sigma=1.5 * win_size / 11,
            gaussian_weights=True,
            use_sample_covariance=False,
            channel_axis=0,
        )
        for one, other in zip(X, restored, strict=True)
    ]
    np.testing.assert_allclose(each, expected, rtol=0, atol=1e-6)
    expected = of_torchmetrics(X, restored, shape, width, win_size)
    np.testing.assert_allclose(each, expected, rtol=0, atol=1e-6)
    assert (each.dtype, each.shape) == (float, (4,))
    mean = structural_similarity(X, restored, **settings)
    assert isinstance(mean, float)
    assert mean == pytest.approx(each.mean(), abs=1e-12)


@pytest.mark.parametrize("shape", [(40,), (3, 40), (2, 7)])
def test_a_signals_window_is_one_dimensional(shape):
    X, restored = tables(shape)
    win_size = min(11, shape[-1])
    each = structural_similarity(
        X, restored, input_shape=shape, data_range=1, average=False
    )
    channels = [x.reshape(4, -1, shape[-1]) for x in (X, restored)]
    settings = {"gaussian_weights": True, "use_sample_covariance": False}
    settings |= {"data_range": 1, "sigma": 1.5 * win_size / 11}
    expected = [
        np.mean([of_skimage(a, b, **settings) for a, b in zip(*pair, strict=True)])
        for pair in zip(*channels, strict=True)
    ]
    np.testing.assert_allclose(each, expected, rtol=0, atol=1e-12)


def test_a_signal_is_its_formula_where_one_window_fits():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(2, 11))
    weight = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weight /= weight.sum()
    mx, my = weight @ x, weight @ y
    cxx, cyy, cxy = (weight @ c for c in (x * x, y * y, x * y))
    c1, c2 = 0.01**2, 0.03**2
    expected = (2 * mx * my + c1) * (2 * (cxy - mx * my) + c2)
    expected /= (mx**2 + my**2 + c1) * (cxx - mx**2 + cyy - my**2 + c2)
    found = structural_similarity([x], [y], input_shape=(11,), data_range=1)
    assert found == pytest.approx(expected, rel=1e-9)


def test_sides_of_one_make_no_difference():
    X, restored = tables((2, 30))
    shapes = [(2, 30), (2, 1, 30), (2, 30, 1)]
    found = [
        structural_similarity(X, restored, input_shape=s, data_range=1) for s in shapes
    ]
    assert len(set(found)) == 1


def test_of_equal_rows_it_is_one_and_it_is_symmetric():
    X, restored = tables((3, 16, 16))
    settings = {"input_shape": (3, 16, 16), "data_range": 1}
    assert structural_similarity(X, X, **settings) == pytest.approx(1, abs=1e-12)
    flat = np.zeros_like(X)
    assert structural_similarity(flat, flat, **settings) == 1
    one = structural_similarity(X, restored, **settings)
    assert 0 < one < 0.99
    assert structural_similarity(restored, X, **settings) == pytest.approx(one)


def test_pixels_count_from_the_low_end_of_their_range():
    X, restored = tables((16, 16))
    shape = {"input_shape": (16, 16), "average": False}
    expected = structural_similarity(X, restored, data_range=1, **shape)
    for low in (-0.5, 3, 2.0**20):
        found = structural_similarity(
            X + low, restored + low, data_range=(low, low + 1), **shape
        )
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    signed = structural_similarity(
        2 * X - 1, 2 * restored - 1, data_range=(-1, 1), **shape
    )
    np.testing.assert_allclose(signed, expected, rtol=0, atol=1e-12)
    # The same width elsewhere is another score.
    other = structural_similarity(X, restored, data_range=(-1, 0), **shape)
    assert (np.abs(other - expected) > 1e-4).all()


def test_a_negative_is_unlike_its_image():
    X, _ = tables((16, 16))
    shape = {"input_shape": (16, 16), "average": False}
    negative = structural_similarity(2 * X - 1, 1 - 2 * X, data_range=(-1, 1), **shape)
    expected = structural_similarity(X, 1 - X, data_range=1, **shape)
    np.testing.assert_allclose(negative, expected, rtol=0, atol=1e-12)
    assert (negative < 0).all()


def contrasts(X, restored, shape, win_size, width):
    """The factor of variances by definition, window by window."""
    weight = np.exp(-0.5 * ((np.arange(win_size) - win_size // 2) / 1.5) ** 2)
    weight = np.outer(weight, weight) / weight.sum() ** 2
    values = []
    for one, other in zip(X, restored, strict=True):
        x, y = (
            np.lib.stride_tricks.sliding_window_view(a.reshape(shape), (win_size,) * 2)
            for a in (one, other)
        )
        x, y = (a - (weight * a).sum(axis=(2, 3), keepdims=True) for a in (x, y))
        xx, yy, xy = ((weight * p).sum(axis=(2, 3)) for p in (x * x, y * y, x * y))
        c2 = (0.03 * width) ** 2
        values.append(((2 * xy + c2) / (xx + yy + c2)).mean())
    return values


@pytest.mark.parametrize("offset", [1e5, 1e8, -1e12])
def test_variances_do_not_cancel_where_pixels_are_far_from_zero(offset):
    # Whole numbers, so that the offset rounds nothing away.
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, size=(3, 256)).astype(float) + offset
    restored = X + rng.integers(-20, 21, size=X.shape)
    found = structural_similarity(
        X, restored, input_shape=(16, 16), data_range=255, average=False
    )
    # Means far from zero are alike: what is left is the factor of the variances.
    expected = contrasts(X, restored, (16, 16), 11, 255)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_a_huge_pixel_leaves_the_windows_without_it_as_they_are():
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(2, 1024))
    restored = X + rng.normal(scale=0.1, size=X.shape)
    for rows in (X, restored):
        rows[:, 0] = 1e12
    settings = {"input_shape": (32, 32), "data_range": 1, "win_size": 3}
    found = structural_similarity(X, restored, average=False, **settings)
    # The one window of 900 that contains it scores 1.
    without = X.copy(), restored.copy()
    without[0][:, 0] = without[1][:, 0] = 0
    corner = [x.reshape(2, 32, 32)[:, :3, :3].reshape(2, 9) for x in without]
    settings["average"] = False
    rest = 900 * structural_similarity(*without, **settings)
    settings["input_shape"] = (1, 3, 3)
    rest = rest - structural_similarity(*corner, **settings)
    np.testing.assert_allclose(found, (rest + 1) / 900, rtol=0, atol=1e-6)


@pytest.mark.parametrize("unit", [1e-310, 1e-170, 1e200, 1e307])
def test_the_unit_makes_no_difference(unit):
    X, restored = tables((9, 9))
    shape = {"input_shape": (9, 9), "average": False}
    expected = structural_similarity(X, restored, data_range=1, **shape)
    found = structural_similarity(unit * X, unit * restored, data_range=unit, **shape)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_windows_without_any_contrast_are_equal_in_the_narrowest_range():
    # Squares of a range of 1e-200 are zero beside pixels of 1.
    X = np.zeros((1, 81))
    X[0, 0] = 1
    settings = {"input_shape": (9, 9), "data_range": 1e-200, "win_size": 3}
    assert structural_similarity(X, X, **settings) == 1
    # One window of 49 contains the pixel: 0 against 1 scores 0.
    found = structural_similarity(X, 0 * X, **settings)
    assert found == pytest.approx(48 / 49, rel=1e-12)


def test_constant_images_differ_by_their_means_alone():
    X, restored = np.full((2, 64), 0.2), np.full((2, 64), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    for dtype in (np.float64, np.float32):
        found = structural_similarity(
            X.astype(dtype), restored.astype(dtype), input_shape=(8, 8), data_range=1
        )
        assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (3, 9, 40), (200,)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_rows_value_does_not_depend_on_the_other_rows(shape, order):
    X, restored = (np.asarray(x, order=order) for x in tables(shape, n=150))
    settings = {"input_shape": shape, "data_range": 1, "average": False}
    together = structural_similarity(X, restored, **settings)
    alone = [
        structural_similarity(X[i : i + 1], restored[i : i + 1], **settings)[0]
        for i in range(150)
    ]
    np.testing.assert_array_equal(together, alone)


def test_rows_are_signals_by_default():
    X, restored = tables((40,))
    expected = structural_similarity(X, restored, input_shape=(40,), data_range=1)
    assert structural_similarity(X, restored, data_range=1) == expected
    with pytest.raises(ValueError, match=r"input_shape=\(2,\) has a side of 2"):
        structural_similarity(X[:, :2], restored[:, :2], data_range=1)


def test_scikit_image_derives_every_window_from_its_sigma():
    # Its radius is int(3.5 sigma + 0.5): the whole window is filled, and no more.
    for size in range(MIN_WIN_SIZE, MAX_WIN_SIZE + 1, 2):
        assert 2 * int(3.5 * SIGMA * size / WIN_SIZE + 0.5) + 1 == size
    size = MAX_WIN_SIZE + 2
    assert 2 * int(3.5 * SIGMA * size / WIN_SIZE + 0.5) + 1 < size


@pytest.mark.parametrize("win_size", [3, np.int64(7), 13])
def test_a_window_that_is_given_is_taken(win_size):
    X, restored = tables((1, 20, 20))
    found = structural_similarity(
        X,
        restored,
        input_shape=(20, 20),
        data_range=1,
        win_size=win_size,
        average=False,
    )
    expected = of_torchmetrics(X, restored, (1, 20, 20), 1, int(win_size))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "win_size", "error", "said"),
    [
        ((8, 8), 4, ValueError, "win_size=4 must be odd and from 3 to 8"),
        ((8, 8), 9, ValueError, r"win_size=9.*\(8, 8\)"),
        ((8, 8), 1, ValueError, "win_size=1"),
        ((64,), 45, ValueError, "from 3 to 43"),
        ((8, 8), 7.0, TypeError, "win_size must be an odd integer or None, got 7.0"),
        ((8, 8), True, TypeError, "got True"),
        ((32, 2), None, ValueError, r"\(32, 2\) has a side of 2, too short"),
        ((64, 1, 1), None, ValueError, "side of 1"),
        (64, None, TypeError, "input_shape must be a tuple"),
        ((8, 7), None, ValueError, "64 features"),
    ],
)
def test_what_can_not_be_is_named(shape, win_size, error, said):
    X = np.zeros((2, 64))
    with pytest.raises(error, match=said):
        structural_similarity(X, X, input_shape=shape, data_range=1, win_size=win_size)
