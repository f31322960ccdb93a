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
from sklearn_ae.plots import LatentSpaceDisplay

H, W = 8, 9
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2)) @ RNG.normal(size=(2, H * W)) + 3
X += 0.1 * RNG.normal(size=X.shape)
MODELS = {
    "PCA": PCA(2).fit(X),
    "pipeline": make_pipeline(StandardScaler(), PCA(2)).fit(X),
    "autoencoder": AutoencoderTransformer(2, max_iter=2, random_state=0).fit(X),
}
PCA_2 = MODELS["PCA"]
LIMITS = (-3, 5), (10, 40)
from_estimator = LatentSpaceDisplay.from_estimator


def decoded(model, *code):
    return model.inverse_transform(np.array([code], dtype=float))[0]


def pixels(display):
    return np.asarray(display.im_.get_array())


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_pictures_are_at_their_codes(model):
    display = from_estimator(model, limits=LIMITS, n_points=5, input_shape=(H, W))
    picture = pixels(display)
    assert picture.shape == (5 * H, 5 * W)
    # The top of the picture comes first, and has the high codes.
    corners = {
        (5, 40): picture[:H, -W:],
        (-3, 40): picture[:H, :W],
        (5, 10): picture[-H:, -W:],
        (-3, 10): picture[-H:, :W],
        (-1, 32.5): picture[H : 2 * H, W : 2 * W],
    }
    for code, corner in corners.items():
        expected = decoded(model, *code).reshape(H, W)
        np.testing.assert_allclose(corner, expected, rtol=1e-5, atol=1e-5)


def test_ticks_are_codes():
    display = from_estimator(PCA_2, limits=LIMITS, n_points=5, input_shape=(H, W))
    # Half a step beyond the outermost codes, which are the middles of their pictures.
    extent = [-4, 6, 6.25, 43.75]
    assert display.im_.get_extent() == extent
    assert display.im_.origin == "upper"
    assert [*display.ax_.get_xlim(), *display.ax_.get_ylim()] == extent
    labels = display.ax_.get_xlabel(), display.ax_.get_ylabel()
    assert labels == ("component 0", "component 1")


def test_pixels_are_square():
    display = from_estimator(PCA_2, limits=LIMITS, n_points=5, input_shape=(H, W))
    display.figure_.canvas.draw()
    box = display.ax_.get_window_extent()
    assert box.width / box.height == pytest.approx(W / H)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_limits_are_of_the_central_codes(model):
    display = from_estimator(model, X, n_points=3, input_shape=(H, W))
    low, high = np.quantile(model.transform(X), [0.025, 0.975], axis=0)
    np.testing.assert_allclose(display.limits, np.transpose([low, high]))
    np.testing.assert_allclose(
        display.X_decoded[0, 2], decoded(model, high[0], low[1]), rtol=1e-5, atol=1e-5
    )


def test_limits_that_are_given_come_first():
    display = from_estimator(PCA_2, X, limits=LIMITS)
    np.testing.assert_array_equal(display.limits, LIMITS)


def test_the_scale_is_that_of_the_rows_or_else_of_what_is_decoded():
    kw = {"limits": LIMITS, "input_shape": (H, W)}
    display = from_estimator(PCA_2, X, **kw)
    assert display.im_.get_clim() == (X.min(), X.max())
    display = from_estimator(PCA_2, **kw)
    every = display.X_decoded
    assert every.shape == (15, 15, H * W)
    assert display.im_.get_clim() == (every.min(), every.max())


def test_three_channels_are_colours():
    display = from_estimator(PCA_2, X, n_points=2, input_shape=(3, 4, 6))
    picture, (low, high) = pixels(display), (X.min(), X.max())
    assert picture.shape == (8, 12, 3)
    expected = (display.X_decoded[1, 0].reshape(3, 4, 6) - low) / (high - low)
    expected = np.clip(expected.transpose(1, 2, 0), 0, 1)
    np.testing.assert_allclose(picture[:4, :6], expected)
    with pytest.raises(ValueError, match="image of 2 channels"):
        from_estimator(PCA_2, X, input_shape=(2, 4, 9))


def test_signals_are_curves_within_their_cells():
    display = from_estimator(PCA_2, limits=LIMITS, n_points=5)
    assert display.im_ is None
    assert len(display.lines_) == 25
    (left, right), (bottom, top) = display.ax_.get_xlim(), display.ax_.get_ylim()
    assert (left, right, bottom, top) == (-4, 6, 6.25, 43.75)
    low, high = display.X_decoded.min(), display.X_decoded.max()
    for code, line in (((-3, 10), 0), ((5, 10), 4), ((5, 40), -1)):
        x, y = display.lines_[line].get_data()
        assert (x.min() + x.max()) / 2 == pytest.approx(code[0])
        assert np.ptp(x) == pytest.approx(0.85 * 2)
        row = (decoded(PCA_2, *code) - low) / (high - low) - 0.5
        np.testing.assert_allclose(y, code[1] + 0.85 * 7.5 * row)
    ys = np.array([line.get_ydata() for line in display.lines_]).reshape(5, 5, -1)
    middles = np.linspace(10, 40, 5)[:, np.newaxis, np.newaxis]
    assert abs(ys - middles).max() == pytest.approx(0.85 * 7.5 / 2)


def test_channels_are_lines_of_their_own():
    display = from_estimator(PCA_2, X, n_points=2, input_shape=(3, 24))
    colours = [line.get_color() for line in display.lines_]
    assert same_color(colours, ["C0", "C1", "C2"] * 4)
    first, second = (line.get_ydata() for line in display.lines_[:2])
    expected = display.X_decoded[0, 0].reshape(3, 24)
    np.testing.assert_allclose(
        np.corrcoef([first, second, *expected[:2]])[[0, 1], [2, 3]], 1
    )


def test_the_shape_is_the_estimators_own():
    class Shaped(PCA):
        input_shape = (H, W)

    model = Shaped(2).fit(X)
    assert pixels(from_estimator(model, X, n_points=2)).shape == (2 * H, 2 * W)
    assert from_estimator(model, X, n_points=2, input_shape=(3, 24)).im_ is None


def test_matplotlibs_own_parameters():
    kw = {"n_points": 2, "input_shape": (H, W)}
    _, ax = plt.subplots()
    display = from_estimator(PCA_2, X, ax=ax, im_kw={"cmap": "magma", "vmin": 0}, **kw)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert display.im_.get_cmap().name == "magma"
    assert display.im_.get_clim() == (0, X.max())
    assert from_estimator(PCA_2, X, **kw).im_.get_cmap().name == "gray"
    assert display.plot(cmap="viridis") is display
    assert display.im_.get_cmap().name == "viridis"
    display = from_estimator(PCA_2, X, line_kw={"c": "red", "lw": 3})
    assert {line.get_color() for line in display.lines_} == {"red"}
    assert {line.get_linewidth() for line in display.lines_} == {3}


def test_pictures_are_kept_apart():
    display = from_estimator(PCA_2, limits=LIMITS, n_points=5, input_shape=(H, W))
    upright, level = (lines.get_segments() for lines in display.ax_.collections)
    np.testing.assert_allclose([ends[0, 0] for ends in upright], [-2, 0, 2, 4])
    np.testing.assert_allclose(
        [ends[0, 1] for ends in level], [13.75, 21.25, 28.75, 36.25]
    )


def test_tables():
    table = pd.DataFrame(X).add_prefix("x")
    model = make_pipeline(StandardScaler(), PCA(2)).set_output(transform="pandas")
    display = from_estimator(model.fit(table), table)
    plain = from_estimator(MODELS["pipeline"], X)
    np.testing.assert_allclose(display.X_decoded, plain.X_decoded)


def test_codes_are_of_two_components():
    for fitted in (PCA(3).fit(X), AutoencoderTransformer(3, max_iter=1).fit(X)):
        for kw in ({"X": X}, {"limits": LIMITS}):
            with pytest.raises(ValueError, match=r"3 components.*n_components=2"):
                from_estimator(fitted, **kw)


def test_where_to_look_must_be_said():
    with pytest.raises(ValueError, match=r"Give X, .*or limits="):
        from_estimator(PCA_2)


@pytest.mark.parametrize("limits", [(-2, 2), ((0, 1), (0, np.inf)), 1])
def test_limits_must_be_pairs(limits):
    with pytest.raises(
        ValueError, match=r"limits must be finite and of shape \(2, 2\)"
    ):
        from_estimator(PCA_2, limits=limits)


def test_limits_must_ascend():
    with pytest.raises(ValueError, match=r"limits must ascend.*\[5.0, -3.0\]"):
        from_estimator(PCA_2, limits=((5, -3), (0, 1)))
    with pytest.raises(ValueError, match="the same for nearly all rows: give limits"):
        from_estimator(PCA_2, np.tile(X[:1], (9, 1)))


def test_n_points():
    for wrong, error in ((1, ValueError), (2.0, TypeError)):
        with pytest.raises(error, match="n_points"):
            from_estimator(PCA_2, X, n_points=wrong)


def test_estimators_that_cannot():
    with pytest.raises(TypeError, match=r"Isomap.* without inverse_transform"):
        from_estimator(Isomap(), X)
    with pytest.raises(TypeError, match="without transform and inverse_transform"):
        from_estimator(LinearRegression(), X)


def test_a_model_that_is_not_fitted():
    for kw in ({"X": X}, {"limits": LIMITS}):
        with pytest.raises(NotFittedError):
            from_estimator(PCA(2), **kw)
