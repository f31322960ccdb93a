import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.manifold import Isomap
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ae import AutoencoderTransformer
from sklearn_ae.metrics import peak_signal_noise_ratio
from sklearn_ae.plots import ReconstructionDisplay

N, SIDES = 30, (8, 9)
RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 4, size=(N, 72))
NOISY = X + RNG.normal(size=X.shape)
PRED = X + RNG.normal(scale=0.1, size=X.shape)
RANGE = X.max() - X.min()
PCA_3 = PCA(3).fit(X)
from_predictions = ReconstructionDisplay.from_predictions
from_estimator = ReconstructionDisplay.from_estimator


def arrays(axes):
    """Of the one image in each axes."""
    (images,) = zip(*(ax.images for ax in axes), strict=True)
    return np.array([image.get_array() for image in images])


def curves(ax):
    return [line.get_ydata() for line in ax.lines]


def texts(axes):
    return [ax.get_xlabel() for ax in axes]


def decibels(rows, data_range=RANGE, n=8):
    values = peak_signal_noise_ratio(
        X[:n], rows[:n], data_range=data_range, average=False
    )
    return [f"{value:.1f} dB" for value in values]


def test_originals_and_below_them_reconstructions_with_their_psnr():
    display = from_predictions(X, PRED, input_shape=SIDES)
    assert display.axes_.shape == (2, 8)
    np.testing.assert_array_equal(arrays(display.axes_[0]), X[:8].reshape(-1, *SIDES))
    np.testing.assert_array_equal(
        arrays(display.axes_[1]), PRED[:8].reshape(-1, *SIDES)
    )
    assert texts(display.axes_[0]) == [""] * 8
    assert texts(display.axes_[1]) == decibels(PRED)
    labels = [[ax.get_ylabel() for ax in axes] for axes in display.axes_]
    assert labels == [["original"] + [""] * 7, ["reconstruction"] + [""] * 7]


def test_between_them_noisy_inputs_with_theirs():
    display = from_predictions(X, PRED, X_noisy=NOISY, input_shape=SIDES)
    _, noisy, restored = display.axes_
    np.testing.assert_array_equal(arrays(noisy), NOISY[:8].reshape(-1, *SIDES))
    np.testing.assert_array_equal(arrays(restored), PRED[:8].reshape(-1, *SIDES))
    assert texts(noisy) == decibels(NOISY)
    assert texts(restored) == decibels(PRED)
    labels = [axes[0].get_ylabel() for axes in display.axes_]
    assert labels == ["original", "noisy", "reconstruction"]


def test_all_images_are_at_the_scale_of_the_clean_rows():
    # The last row has the range of all, and is not drawn.
    low_high = X.copy()
    low_high[-1, :2] = -5, 20
    display = from_predictions(low_high, PRED, X_noisy=NOISY, input_shape=SIDES)
    clims = {ax.images[0].get_clim() for ax in display.axes_.ravel()}
    assert clims == {(-5, 20)}
    assert texts(display.axes_[1]) == decibels(NOISY, data_range=25)


def test_the_peak_can_be_named_and_the_scale_stays():
    display = from_predictions(X, PRED, input_shape=SIDES, data_range=100)
    assert texts(display.axes_[1]) == decibels(PRED, data_range=100)
    assert display.axes_[1, 0].images[0].get_clim() == (X.min(), X.max())
    display = from_predictions(X, PRED, data_range=(-50, 50))
    assert texts(display.axes_[1]) == decibels(PRED, data_range=100)
    with pytest.raises(ValueError, match="data_range"):
        from_predictions(X, PRED, data_range=-1)


def test_perfect_and_constant_rows():
    display = from_predictions(X, X, input_shape=SIDES)
    assert texts(display.axes_[1]) == ["inf dB"] * 8
    constant = np.full((2, 64), 3.0)
    display = from_predictions(constant, constant - 0.1, input_shape=(8, 8))
    assert texts(display.axes_[1]) == ["20.0 dB"] * 2
    assert display.axes_[0, 0].images[0].get_clim() == (3, 4)


@pytest.mark.parametrize("shape", [(1, *SIDES), [8, 9]])
def test_one_channel_is_grey(shape):
    display = from_predictions(X, PRED, input_shape=shape)
    np.testing.assert_array_equal(arrays(display.axes_[0]), X[:8].reshape(-1, *SIDES))
    assert display.axes_[0, 0].images[0].get_cmap().name == "gray"


def test_three_channels_are_colours_at_the_scale_of_the_clean_rows(caplog):
    display = from_predictions(X, PRED, X_noisy=NOISY, input_shape=(3, 4, 6))
    low, high = X.min(), X.max()
    for axes, rows in zip(display.axes_, (X, NOISY, PRED), strict=True):
        expected = (rows[:8].reshape(8, 3, 4, 6) - low) / (high - low)
        expected = np.clip(expected.transpose(0, 2, 3, 1), 0, 1)
        np.testing.assert_allclose(arrays(axes), expected)
    assert caplog.records == []  # matplotlib tells of colours that it has to clip.


def test_images_of_other_channels_are_not_guessed_at():
    with pytest.raises(ValueError, match=r"\(2, 4, 9\) is an image of 2 channels"):
        from_predictions(X, PRED, input_shape=(2, 4, 9))
    assert plt.get_fignums() == []


@pytest.mark.parametrize("shape", [None, (72,)])
def test_rows_without_a_picture_are_curves_before_the_original(shape):
    display = from_predictions(X, PRED, X_noisy=NOISY, input_shape=shape)
    for j in range(8):
        expected = [[X[j]], [X[j], NOISY[j]], [X[j], PRED[j]]]
        for ax, lines in zip(display.axes_[:, j], expected, strict=True):
            np.testing.assert_array_equal(curves(ax), lines)
    behind, before = display.axes_[2, 0].lines
    assert behind.get_color() == "0.8"
    assert same_color(before.get_color(), "C0")
    assert same_color(display.axes_[0, 0].lines[0].get_color(), "C0")
    assert texts(display.axes_[2]) == decibels(PRED)


def test_channels_are_lines_of_their_own():
    display = from_predictions(X, PRED, input_shape=(3, 24))
    original, reconstruction = display.axes_[:, 5]
    signals = X[5].reshape(3, 24), PRED[5].reshape(3, 24)
    np.testing.assert_array_equal(curves(original), signals[0])
    np.testing.assert_array_equal(curves(reconstruction), np.concatenate(signals))
    colours = [line.get_color() for line in reconstruction.lines]
    assert same_color(colours, ["0.8"] * 3 + ["C0", "C1", "C2"])


def test_curves_are_at_one_scale_that_holds_all():
    display = from_predictions(X, PRED, X_noisy=NOISY)
    ((low, high),) = {ax.get_ylim() for ax in display.axes_.ravel()}
    drawn = np.array([X[:8], NOISY[:8], PRED[:8]])
    assert low < drawn.min() < drawn.max() < high
    assert high - low == pytest.approx(1.1 * np.ptp(drawn))


def test_only_curves_have_ticks_and_of_values_alone():
    for ax in from_predictions(X, PRED, input_shape=SIDES).axes_.ravel():
        assert len(ax.get_xticks()) == len(ax.get_yticks()) == 0
    display = from_predictions(X, PRED)
    display.figure_.canvas.draw()
    for (_, j), ax in np.ndenumerate(display.axes_):
        assert len(ax.get_xticks()) == 0
        shown = [label.get_visible() for label in ax.get_yticklabels()]
        assert any(shown) == (j == 0)


@pytest.mark.parametrize("shape", [None, SIDES, (24, 3), (3, 4, 6)])
def test_no_texts_overlap(shape):
    figure = from_predictions(X, PRED, X_noisy=NOISY, input_shape=shape).figure_
    figure.canvas.draw()
    axes = figure.axes
    labels = [ax.xaxis.label for ax in axes] + [ax.yaxis.label for ax in axes]
    labels = [label for label in labels if label.get_text()]
    boxes = [label.get_window_extent() for label in labels]
    for i, box in enumerate(boxes):
        assert box.count_overlaps(boxes[:i]) == 0
        assert box.count_overlaps([ax.bbox for ax in axes]) == 0
        assert figure.bbox.count_contains([box.min + 0.5, box.max - 0.5]) == 2


def test_the_first_rows_are_drawn_or_all_if_there_are_fewer():
    assert from_predictions(X, PRED, n_samples=3).axes_.shape == (2, 3)
    assert from_predictions(X[:2], PRED[:2]).axes_.shape == (2, 2)
    assert from_predictions(X, PRED, n_samples=1).X_true.shape == (1, 72)
    for wrong, error in ((0, ValueError), (2.0, TypeError)):
        with pytest.raises(error, match="n_samples"):
            from_predictions(X, PRED, n_samples=wrong)
        with pytest.raises(error, match="n_samples"):
            from_estimator(PCA_3, X, n_samples=wrong)


def test_matplotlibs_own_parameters():
    kw = {"cmap": "viridis", "vmax": 9, "interpolation": "nearest"}
    display = from_predictions(X, PRED, input_shape=SIDES, im_kw=kw)
    image = display.axes_[1, 2].images[0]
    assert image.get_cmap().name == "viridis"
    assert image.get_clim() == (X.min(), 9)
    display.plot(cmap="magma")
    assert display.axes_[1, 2].images[0].get_cmap().name == "magma"
    display = from_predictions(X, PRED, line_kw={"c": "red", "lw": 3})
    behind, before = display.axes_[1, 2].lines
    assert before.get_color() == "red"
    assert before.get_linewidth() == 3
    assert behind.get_color() == "0.8"


def test_axes_can_be_given():
    figure, axes = plt.subplots(2, 3)
    display = from_predictions(X, PRED, n_samples=3, ax=axes, input_shape=SIDES)
    assert display.figure_ is figure
    assert (display.axes_ == axes).all()
    np.testing.assert_array_equal(axes[1, 2].images[0].get_array().ravel(), PRED[2])
    with pytest.raises(ValueError, match=r"shape \(2, 4\).*got shape \(2, 3\)"):
        from_predictions(X, PRED, n_samples=4, ax=axes)
    with pytest.raises(ValueError, match=r"ax must be .* got shape \(\)"):
        from_predictions(X, PRED, n_samples=1, ax=axes[0, 0])


def test_a_display_can_be_made_by_hand_and_drawn_again():
    display = ReconstructionDisplay(X[:2], PRED[:2], psnr=[1, 2], input_shape=SIDES)
    assert display.plot() is display
    first = display.figure_
    assert display.plot().figure_ is not first
    assert texts(display.axes_[1]) == ["1.0 dB", "2.0 dB"]
    assert display.axes_[1, 1].images[0].get_clim() == (X[:2].min(), X[:2].max())


MODELS = {
    "PCA": PCA_3,
    "pipeline": make_pipeline(StandardScaler(), PCA(2)).fit(X),
    "autoencoder": AutoencoderTransformer(2, max_iter=2, random_state=0).fit(X),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_models_reconstruct_the_first_rows(model):
    def reconstructed(rows):
        return model.inverse_transform(model.transform(rows))

    display = from_estimator(model, X, input_shape=SIDES, n_samples=5)
    np.testing.assert_allclose(display.X_pred, reconstructed(X)[:5], rtol=1e-6)
    np.testing.assert_array_equal(
        arrays(display.axes_[1]), display.X_pred.reshape(-1, *SIDES)
    )
    display = from_estimator(model, X, X_noisy=NOISY, n_samples=5)
    np.testing.assert_allclose(display.X_pred, reconstructed(NOISY)[:5], rtol=1e-6)
    np.testing.assert_array_equal(display.X_true, X[:5])
    assert texts(display.axes_[1]) == decibels(NOISY, n=5)
    assert texts(display.axes_[2]) == decibels(reconstructed(NOISY), n=5)


class Halving:
    """A model that reconstructs, and can tell the shape of a row."""

    input_shape = SIDES

    def reconstruct(self, X):
        return X / 2

    def transform(self, X):
        raise AssertionError


def test_reconstruct_and_input_shape_are_the_estimators_own():
    display = from_estimator(Halving(), X)
    np.testing.assert_array_equal(
        arrays(display.axes_[1]), X[:8].reshape(-1, *SIDES) / 2
    )
    display = from_estimator(Halving(), X, input_shape=(3, 24))
    assert len(display.axes_[0, 0].lines) == 3


def test_the_autoencoder_tells_its_shape():
    ae = AutoencoderTransformer(2, input_shape=SIDES, max_iter=1, random_state=0)
    display = from_estimator(ae.fit(X), X, n_samples=2)
    assert arrays(display.axes_[1]).shape == (2, *SIDES)


def test_without_a_shape_there_are_curves():
    class Unshaped(Halving):
        input_shape = None

    assert len(from_estimator(Unshaped(), X).axes_[0, 0].lines) == 1
    assert len(from_estimator(PCA_3, X).axes_[0, 0].lines) == 1


def test_data_frames_keep_their_names_and_arrays_their_values():
    table = pd.DataFrame(X).add_prefix("x")
    noisy = pd.DataFrame(NOISY, index=range(100, 130)).add_prefix("x")
    model = make_pipeline(StandardScaler(), PCA(2)).set_output(transform="pandas")
    model.fit(table)
    copy, noisy_copy = table.copy(), noisy.copy()
    display = from_estimator(model, table, X_noisy=noisy)
    np.testing.assert_array_equal(display.X_true, X[:8])
    np.testing.assert_array_equal(display.X_noisy, NOISY[:8])
    pd.testing.assert_frame_equal(table, copy)
    pd.testing.assert_frame_equal(noisy, noisy_copy)


@pytest.mark.parametrize("shape", [None, (8, 8)])
def test_whole_numbers_do_not_overflow(shape):
    bytes_ = RNG.integers(0, 256, size=(4, 64), dtype=np.uint8)
    display = from_predictions(bytes_, 255 - bytes_, data_range=255, input_shape=shape)
    expected = peak_signal_noise_ratio(
        bytes_.astype(float), 255.0 - bytes_, data_range=255, average=False
    )
    np.testing.assert_allclose(display.psnr, expected)


def test_rows_that_are_not_of_a_shape():
    with pytest.raises(ValueError, match=r"X_noisy has shape \(30, 71\).*X .*\(30, 72"):
        from_estimator(PCA_3, X, X_noisy=NOISY[:, 1:])
    with pytest.raises(ValueError, match=r"X_pred has .*\(29, 72\).*X_true .*\(30, 72"):
        from_predictions(X, PRED[1:])
    with pytest.raises(ValueError, match=r"X_noisy has shape \(29, 72\).*X_true"):
        from_predictions(X, PRED, X_noisy=NOISY[1:])
    with pytest.raises(ValueError, match=r"input_shape=\(8, 8\) holds 64"):
        from_predictions(X, PRED, input_shape=(8, 8))

    class Narrow(Halving):
        def reconstruct(self, X):
            return X[:, 1:]

    with pytest.raises(ValueError, match=r"reconstruction has shape \(8, 71\)"):
        from_estimator(Narrow(), X)


@pytest.mark.parametrize("name", ["X_true", "X_pred", "X_noisy"])
def test_missing_values_are_named(name):
    rows = {"X_true": X, "X_pred": PRED, "X_noisy": NOISY}
    rows[name] = np.where(X > 3, np.nan, X)
    with pytest.raises(ValueError, match=f"{name} contains NaN"):
        from_predictions(**rows)


def test_estimators_that_cannot():
    with pytest.raises(TypeError, match=r"LinearRegression\(\).*from_predictions"):
        from_estimator(LinearRegression(), X)
    with pytest.raises(TypeError, match="must have reconstruct"):
        from_estimator(Isomap(), X)


def test_a_model_that_is_not_fitted():
    with pytest.raises(NotFittedError):
        from_estimator(PCA(2), X)


def test_without_matplotlib_the_names_are_there_and_say_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (lambda: from_predictions(X, PRED), lambda: from_estimator(PCA_3, X)):
        with pytest.raises(ImportError, match=r"from_.* requires matplotlib"):
            draw()
    with pytest.raises(ImportError, match="plot requires matplotlib"):
        ReconstructionDisplay(X, PRED, psnr=X[:, 0]).plot()
