"""Estimators on rows that are images or signals, and with a user's own networks."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from sklearn_ae import AEOutlierDetector, AutoencoderTransformer
from sklearn_ae.autoencoder import _parameters
from sklearn_ae.nn import cost
from tests import helpers
from tests.helpers import detector

DIGITS, LABELS = load_digits(return_X_y=True)
X, X_TEST = DIGITS[:300], DIGITS[300:400]


def conv(n_components=4, **params):
    shared = {
        "architecture": "conv",
        "input_shape": (8, 8),
        "hidden_layer_sizes": (6,),
        "max_iter": 4,
    }
    return helpers.transformer(n_components, **(shared | params))


def error(X, reconstruction):
    return np.square(X - reconstruction).mean()


def pca_error(n_components):
    pca = PCA(n_components).fit(X)
    return error(X_TEST, pca.inverse_transform(pca.transform(X_TEST)))


# -- scikit-learn's checks of images ---------------------------------------------------


@pytest.fixture
def squares(monkeypatch):
    """Rows of whatever length are images: the checks' tables are of many widths."""

    def fold(input_shape, n_features):
        height = next(
            h for h in range(math.isqrt(n_features), 0, -1) if n_features % h == 0
        )
        return 1, height, n_features // height

    monkeypatch.setattr(_parameters, "folded_shape", fold)


@pytest.mark.usefixtures("squares")
@parametrize_with_checks(
    [
        conv(2, input_shape=None, corruption_level=0.5, max_iter=2),
        conv(None, input_shape=None, init="random", latent="gaussian", max_iter=2),
    ]
)
def test_estimator_checks_of_images(estimator, check):
    check(estimator)


# -- the shape -------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [conv(), AEOutlierDetector(input_shape=(8, 8))])
def test_a_shape_of_another_size_is_an_error_with_both_numbers(estimator):
    estimator.set_params(input_shape=(8, 9))
    with pytest.raises(ValueError, match=r"input_shape=\(8, 9\) holds 72 .* 64 feat"):
        estimator.fit(X)
    with pytest.raises(TypeError, match=r"input_shape must be a tuple of integers"):
        estimator.set_params(input_shape=(8.0, 8.0)).fit(X)


def test_without_a_shape_a_row_is_a_signal():
    one = conv(input_shape=None).fit(X)
    assert one.module_.encoder.correction.down.shape == (1, 1, 64)
    same = conv(input_shape=(64,)).fit(X)
    np.testing.assert_array_equal(one.transform(X_TEST), same.transform(X_TEST))


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        ((8, 8), (64,)),
        ((28, 28), (16, 32)),
        ((3, 64, 64), (16, 16, 32, 64)),
        ((140,), (32, 32, 64, 64, 64)),
        ((3, 7), (64,)),
        ((16, 16), (32, 64)),
    ],
)
def test_channels_are_by_the_shape(shape, channels):
    ae = conv(input_shape=shape, hidden_layer_sizes="auto")
    found = _parameters.architecture(ae, math.prod(shape), torch.Generator())
    assert found.channels == channels


def test_stages_of_ones_own():
    ae = conv(hidden_layer_sizes=(3, 5)).fit(X)
    down = ae.module_.encoder.correction.down
    assert [half.out_channels for half in down.halves] == [3, 5]
    with pytest.raises(
        ValueError, match="hidden_layer_sizes must name the channels of"
    ):
        conv(hidden_layer_sizes=()).fit(X)


# -- training --------------------------------------------------------------------------


def test_it_starts_at_pca_of_the_pixels_and_gets_better():
    start = conv(learning_rate_init=1e-12, max_iter=1).fit(X)
    assert error(X_TEST, start.reconstruct(X_TEST)) == pytest.approx(
        pca_error(4), rel=1e-3
    )
    trained = conv(max_iter=40, hidden_layer_sizes="auto").fit(X)
    assert error(X_TEST, trained.reconstruct(X_TEST)) < 0.85 * pca_error(4)


@pytest.mark.parametrize(
    "params",
    [
        {"init": "random"},
        {"latent": "gaussian"},
        {"sparsity_weight": 0.1},
        {"contraction_weight": 0.1},
        {"corruption": "masking", "corruption_level": 0.2},
        {"corruption_level": (0.1, 1.0)},
        {"n_components": 64, "corruption_level": (0.1, 1.0)},
        {"n_components": 64, "corruption_level": 0.5},
        {"n_components": 70},
        {"loss": "huber", "scale": "minmax"},
    ],
    ids=str,
)
def test_every_variant_trains_repeats_and_pickles(params):
    before = torch.get_rng_state(), X.copy()
    ae = conv(**params).fit(X)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(X, before[1])
    codes = ae.transform(X_TEST)
    np.testing.assert_array_equal(clone(ae).fit(X).transform(X_TEST), codes)
    again = pickle.loads(pickle.dumps(ae))
    np.testing.assert_array_equal(again.transform(X_TEST), codes)
    # The start is one of the candidates.
    assert ae.best_loss_ <= ae.validation_curve_[0] or ae.init == "random"
    single = ae.reconstruct(X_TEST.astype(np.float32))
    assert single.dtype == np.float32
    spread = X.std(axis=0).max()
    np.testing.assert_allclose(single, ae.reconstruct(X_TEST), atol=1e-3 * spread)


def test_partial_fit_and_warm_start_go_on():
    ae = conv(warm_start=True).fit(X)
    before = copy.deepcopy(ae.module_.state_dict())
    ae.partial_fit(X)
    assert any(
        not torch.equal(before[k], v) for k, v in ae.module_.state_dict().items()
    )
    with pytest.raises(ValueError, match="input_shape can't change"):
        ae.set_params(input_shape=(64,)).fit(X)


def test_large_steps_may_take_threads():
    ae = conv(hidden_layer_sizes=(64, 64)).fit(X)
    # Far more multiplications than weights: these are used at many places.
    n_weights = sum(p.numel() for p in ae.module_.parameters())
    assert cost(ae.module_, 64).n_multiplications > 5 * n_weights


# -- denoising -------------------------------------------------------------------------


UNIT = np.sqrt(X.var(axis=0).mean())


def noisy(level):
    noise = np.random.default_rng(0).normal(size=X_TEST.shape)
    return X_TEST + level * UNIT * noise


def test_noise_has_one_unit_for_all_pixels():
    ae = conv(corruption_level=0.5).fit(X)
    spread = ae._inference.corruption.columns.std.numpy()
    # In scaled columns that is one.
    np.testing.assert_allclose(spread, 1.0, rtol=1e-5)
    assert X.std(axis=0).min() == 0


@pytest.mark.parametrize("n_components", [16, 64])
def test_denoise_takes_noise_off(n_components):
    ae = conv(n_components, corruption_level=1.0, max_iter=30, hidden_layer_sizes=(32,))
    ae.fit(X)
    X_noisy = noisy(1.0)
    denoised = ae.denoise(X_noisy)
    np.testing.assert_array_equal(denoised, ae.reconstruct(X_noisy))
    pca = PCA(8).fit(X)
    by_pca = pca.inverse_transform(pca.transform(X_noisy))
    assert error(X_TEST, denoised) < 0.9 * error(X_TEST, by_pca)
    assert error(X_TEST, denoised) < 0.4 * error(X_TEST, X_noisy)


def test_denoise_is_only_there_where_it_was_learnt():
    for ae in (conv(), conv().fit(X), AutoencoderTransformer()):
        assert not hasattr(ae, "denoise")
    with pytest.raises(AttributeError, match="has corruption_level=0"):
        conv().denoise(X)
    assert hasattr(conv(corruption="swap", corruption_level=0.1), "denoise")


def test_what_was_learnt_counts_and_not_what_is_set_since():
    ae = conv().fit(X).set_params(corruption_level=0.5)
    assert not hasattr(ae, "denoise")
    conditional = conv(64, corruption_level=(0.1, 2.0)).fit(X)
    before = conditional.denoise(X_TEST, level=1)
    for level in (0, 0.5, (1.0, 3.0)):
        conditional.set_params(corruption_level=level)
        np.testing.assert_array_equal(conditional.denoise(X_TEST, level=1.0), before)


def test_an_encoder_that_is_told_levels_is_told_one():
    ae = conv(64, corruption_level=(0.1, 2.0), max_iter=30, hidden_layer_sizes=(32,))
    ae.fit(X)
    errors = [error(X_TEST, ae.denoise(noisy(1.0), level=s)) for s in (0.1, 1.0, 2)]
    assert errors[1] < 0.9 * min(errors[0], errors[2])
    np.testing.assert_array_equal(ae.denoise(X, level=0.1), ae.reconstruct(X))
    for bad in (None, 0.0, 0.05, 2.1, "1", np.nan, True):
        with pytest.raises(ValueError, match=r"between 0.1 and 2.0.*of the noise"):
            ae.denoise(X_TEST, level=bad)


def test_an_encoder_that_is_not_told_levels_refuses_one():
    ae = conv(corruption_level=0.5).fit(X)
    with pytest.raises(ValueError, match=r"level=0.5 is not used.*Leave it out"):
        ae.denoise(X_TEST, level=0.5)


# -- outliers --------------------------------------------------------------------------


def test_the_detector_takes_rows_for_pictures():
    ones = DIGITS[LABELS == 1]
    is_one = LABELS[900:] == 1
    params = {"contamination": 0, "random_state": 0}
    settings = {"corruption_level": (0.05, 2.0), "max_iter": 20}
    aucs = {}
    for name, more in {
        "conv": {"architecture": "conv", "input_shape": (8, 8)},
        "mlp": {},
    }.items():
        model = detector(settings | more, **params).fit(ones[:90])
        aucs[name] = roc_auc_score(is_one, model.score_samples(DIGITS[900:]))
    assert aucs["conv"] > aucs["mlp"]
    assert aucs["conv"] > 0.99


@pytest.mark.parametrize("method", ["auto", "reconstruction"])
def test_the_detectors_network_is_convolutional(method):
    settings = {
        "architecture": "conv",
        "input_shape": (8, 8),
        "hidden_layer_sizes": (4,),
        "max_iter": 2,
    }
    model = detector(settings, method=method, random_state=0).fit(X)
    assert model.autoencoder_.architecture == "conv"
    assert model.autoencoder_._columns.scale is None


# -- a user's own networks -------------------------------------------------------------


class Net:
    def __init__(self, *between):
        self.between = between

    def __call__(self, n_features, n_components):
        encoder = [nn.Linear(n_features, 100), *self.between, nn.SiLU()]
        decoder = [nn.Linear(n_components, 100), nn.SiLU()]
        return (
            nn.Sequential(*encoder, nn.Linear(100, n_components)),
            nn.Sequential(*decoder, nn.Linear(100, n_features)),
        )


def own(*between, **params):
    build = Net(*between)
    defaults = {"max_iter": 20, "random_state": 0, "scale": None, "architecture": build}
    return AutoencoderTransformer(8, **(defaults | params))


def test_ones_own_network_starts_at_pca_and_learns():
    start = own(learning_rate_init=1e-12, max_iter=1).fit(X)
    assert error(X_TEST, start.reconstruct(X_TEST)) == pytest.approx(
        pca_error(8), rel=1e-3
    )
    trained = own(max_iter=200).fit(X)
    assert error(X_TEST, trained.reconstruct(X_TEST)) < 0.9 * pca_error(8)


def test_it_is_the_whole_network_where_the_start_is_random():
    ae = own(init="random").fit(X)
    assert isinstance(ae.module_.encoder, nn.Sequential)
    assert ae.module_.encoder[0].weight.shape == (100, 64)
    assert ae.score(X_TEST) > 0.1


@pytest.mark.parametrize(
    "params", [{"latent": "gaussian"}, {"corruption_level": (0.1, 1.0)}], ids=str
)
def test_ones_own_network_in_the_variants(params):
    ae = own(**params).fit(X)
    assert np.isfinite(ae.reconstruct(X_TEST)).all()
    assert not ae.module_.is_noise_conditional


def test_dropout_is_of_training_alone_and_repeats():
    before = torch.get_rng_state()
    fits = [
        own(nn.Dropout(share), init="random", random_state=seed).fit(X)
        for share, seed in ((0.5, 0), (0.5, 0), (0.5, 1), (0, 0))
    ]
    assert torch.equal(torch.get_rng_state(), before)
    codes = [ae.transform(X_TEST) for ae in fits]
    np.testing.assert_array_equal(codes[0], codes[1])
    np.testing.assert_array_equal(codes[0], fits[0].transform(X_TEST))
    for other in codes[2:]:
        assert not np.allclose(codes[0], other)


def folded_convolutions(n_features, n_components):
    encoder = [nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3, stride=2), nn.Dropout()]
    decoder = [nn.Linear(n_components, n_features)]
    return (
        nn.Sequential(*encoder, nn.Flatten(), nn.Linear(36, n_components)),
        nn.Sequential(*decoder),
    )


def test_rows_are_judged_without_dropout():
    # Weights that stay have the same loss each time.
    still = {"init": "random", "learning_rate_init": 1e-12, "max_iter": 3}
    curve = own(nn.Dropout(0.5), **still).fit(X).validation_curve_
    np.testing.assert_allclose(curve[1:], curve[1], rtol=1e-6)


def test_convolutions_of_ones_own_leave_torchs_generator_alone():
    before = torch.get_rng_state()
    own(architecture=folded_convolutions, max_iter=2).fit(X).partial_fit(X)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_of_ones_own_stays_as_it_is():
    pair = Net()(64, 8)
    before = copy.deepcopy(pair[0].state_dict())
    # The same modules at each call.
    ae = own(architecture=lambda d, k: pair, init="random", max_iter=2)
    codes = ae.fit(X).transform(X_TEST)
    for name, weight in pair[0].state_dict().items():
        assert torch.equal(weight, before[name])
    np.testing.assert_array_equal(ae.fit(X).transform(X_TEST), codes)


def test_a_network_that_does_not_fit_leaves_nothing_behind():
    for build in (lambda d, k: None, Net(nn.BatchNorm1d(100))):
        ae = AutoencoderTransformer(4, architecture=build)
        with pytest.raises(ValueError, match="architecture"):
            ae.fit(X)
        assert not hasattr(ae, "module_")
