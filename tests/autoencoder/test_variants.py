"""The variants: denoising, sparse, contractive, each off at strength 0."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ae import (
    AEOutlierDetector,
    AutoencoderClassifier,
    AutoencoderCompressor,
)
from sklearn_ae.autoencoder._base import fit_to_the_end
from tests import helpers
from tests.helpers import drawn, tensor

DIGITS, LABELS = load_digits(return_X_y=True)
TRAIN, TEST, Y_TRAIN, Y_TEST = train_test_split(DIGITS, LABELS, random_state=0)
REPLACING = ["masking", "swap", "salt_and_pepper"]
STRENGTHS = ["corruption_level", "sparsity_weight", "contraction_weight"]
KINDS = [
    {"corruption": "gaussian", "corruption_level": 0.5},
    {"corruption": "masking", "corruption_level": 0.3},
    {"corruption": "swap", "corruption_level": 0.3},
    {"corruption": "salt_and_pepper", "corruption_level": 0.1},
    {"sparsity": "kl", "sparsity_weight": 0.1},
    {"sparsity": "l1", "sparsity_weight": 0.1},
    {"contraction_weight": 0.1},
]


def transformer(n_components=8, **params):
    shared = {"hidden_layer_sizes": (64, 64), "max_iter": 15}
    return helpers.transformer(n_components, **(shared | params))


def scaled(X, train=TRAIN):
    """Rows as a network is given them, by columns standardised on ``train``."""
    return tensor(StandardScaler().fit(train).transform(X)).float()


def mean_jacobian_norm(ae, X):
    """Mean squared Frobenius norm of the encoder's Jacobian, from torch.func."""
    x = scaled(X)
    jacobian = torch.func.vmap(torch.func.jacrev(ae.module_.encoder))(x)
    return jacobian.square().sum(dim=(1, 2)).mean().item()


IDLE = [
    ({"corruption": "masking"}, "corruption='masking' .* corruption_level above 0"),
    ({"corruption": lambda x, level, generator: x}, "corruption=.* corruption_level"),
    ({"sparsity": "l1"}, "sparsity='l1' .* sparsity_weight above 0"),
    ({"sparsity_target": 0.2}, "sparsity_target=0.2 .* sparsity_weight above 0"),
    (
        {"sparsity": "l1", "sparsity_weight": 0.1, "sparsity_target": 0.2},
        "sparsity_target=0.2 .* sparsity='kl'",
    ),
    ({"beta": 2.0}, "beta=2.0 .* latent='gaussian'"),
]


@pytest.mark.parametrize(("params", "advice"), IDLE)
def test_a_setting_that_does_nothing_is_warned_of(params, advice):
    with pytest.warns(UserWarning, match=advice) as caught:
        transformer(max_iter=1, **params).fit(TRAIN)
    assert len(caught) == 1


@pytest.mark.parametrize(
    "estimator",
    [AEOutlierDetector, AutoencoderClassifier, AutoencoderCompressor],
)
def test_every_estimator_warns_of_a_given_autoencoder(estimator):
    given = transformer(max_iter=1, hidden_layer_sizes=(4,), corruption="swap")
    with pytest.warns(UserWarning, match="corruption='swap' does nothing"):
        estimator(autoencoder=given).fit(TRAIN[:60], np.arange(60) % 2)


# -- off ---------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*does nothing without")
@pytest.mark.parametrize("params", KINDS)
def test_at_strength_0_a_kind_changes_nothing(params):
    off = {name: 0.0 for name in params if name in STRENGTHS}
    plain = transformer(max_iter=3).fit(TRAIN)
    other = transformer(max_iter=3, **(params | off)).fit(TRAIN)
    np.testing.assert_array_equal(other.transform(TEST), plain.transform(TEST))


@pytest.mark.parametrize("params", KINDS)
def test_above_0_it_does_and_what_is_fitted_is_deterministic(params):
    plain = transformer().fit(TRAIN)
    ae = transformer(**params).fit(TRAIN)
    codes = ae.transform(TEST)
    assert np.abs(codes - plain.transform(TEST)).max() > 1e-3
    np.testing.assert_array_equal(ae.transform(TEST), codes)
    np.testing.assert_array_equal(clone(ae).fit(TRAIN).transform(TEST), codes)
    # Scores are of the clean rows, and of the reconstruction alone.
    scaler = StandardScaler().fit(TRAIN)
    residual = scaler.transform(TEST) - scaler.transform(ae.reconstruct(TEST))
    np.testing.assert_allclose(ae.score_samples(TEST), -(residual**2).mean(axis=1))


# -- denoising -----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*does nothing without")
def test_the_target_is_the_clean_row():
    # A masked cell can be restored from its copies; a network that was shown the
    # corrupted rows as its target would restore the mask.
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(600, 2)), 5, axis=1)
    X += 0.01 * rng.normal(size=X.shape)
    masked = np.where(rng.random(X.shape) < 0.2, 0.0, X)
    params = {"corruption": "masking", "max_iter": 60, "scale": None}
    plain = transformer(2, **params).fit(X)
    denoising = transformer(2, corruption_level=0.2, **params).fit(X)
    errors = [np.mean((ae.reconstruct(masked) - X) ** 2) for ae in (plain, denoising)]
    assert errors[1] < 0.6 * errors[0]


def test_codes_of_noisy_rows_are_better_after_training_with_noise():
    rng = np.random.default_rng(0)
    noisy = TEST + TRAIN.std(axis=0) * rng.normal(size=TEST.shape)
    accuracies = []
    for level in (0.0, 1.0):
        ae = transformer(16, corruption_level=level, max_iter=60).fit(TRAIN)
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        classifier.fit(ae.transform(TRAIN), Y_TRAIN)
        accuracies.append(classifier.score(ae.transform(noisy), Y_TEST))
    assert accuracies[1] > accuracies[0] + 0.05


def test_a_corruption_of_ones_own():
    calls = []

    def halve(x, level, generator):
        calls.append((tuple(x.shape[1:]), level, type(generator)))
        return x * (1 - level)

    plain = transformer(max_iter=2).fit(TRAIN)
    ae = transformer(max_iter=2, corruption=halve, corruption_level=0.5).fit(TRAIN)
    assert set(calls) == {((64,), 0.5, torch.Generator)}
    n_calls = len(calls)
    assert not np.allclose(ae.transform(TEST), plain.transform(TEST))
    assert len(calls) == n_calls


def test_a_corruption_of_the_wrong_shape_is_refused_and_nothing_is_fitted():
    ae = transformer(
        corruption=lambda x, level, generator: x[:, 1:], corruption_level=1
    )
    with pytest.raises(ValueError, match="corruption must return a tensor of shape"):
        ae.fit(TRAIN)
    assert not hasattr(ae, "module_")


@pytest.mark.parametrize("corruption", REPLACING)
def test_a_probability_above_1_is_refused(corruption):
    ae = transformer(corruption=corruption, corruption_level=1.5)
    with pytest.raises(ValueError, match=f"corruption_level.*{corruption}.*1.5"):
        ae.fit(TRAIN)
    transformer(corruption_level=1.5, max_iter=1).fit(TRAIN)


# -- a range of levels ---------------------------------------------------------------

RANGE = (0.05, 2.0)


def conditional(n_components=8, **params):
    return transformer(n_components, **({"corruption_level": RANGE} | params))


def restored(ae, X, level, train=TRAIN):
    """Mean squared error of rows after noise of a level was added and taken off."""
    x, varies = scaled(X, train), tensor(np.ptp(train, axis=0) > 0)
    noise = drawn(*x.shape) * varies
    with torch.no_grad():
        levels = torch.full((len(x), 1), level)
        back = ae.module_.denoise(x + level * noise, levels)
    return (back - x).square().mean().item()


@pytest.mark.parametrize(
    "params",
    [
        *({"corruption": kind, "corruption_level": (0.05, 0.6)} for kind in REPLACING),
        {"corruption": lambda x, level, generator: x * (1 - level / 3)},
        {"latent": "gaussian"},
        {"sparsity_weight": 0.1},
        {"sparsity": "l1", "sparsity_weight": 0.1},
        {"contraction_weight": 0.01},
        {"prior": "mixture"},
        {"init": "random"},
        {"loss": "absolute_error"},
        {"scale": "minmax"},
        {"scale": None, "early_stopping": False},
        {"hidden_layer_sizes": ()},
    ],
)
def test_a_range_of_levels_goes_with_each_kind(params):
    ae = conditional(max_iter=4, **params).fit(TRAIN)
    assert np.isfinite(ae.validation_curve_).all()
    codes = ae.transform(TEST)
    assert codes.shape == (450, 8)
    assert codes.std() > 0
    np.testing.assert_array_equal(clone(ae).fit(TRAIN).transform(TEST), codes)
    ae.partial_fit(TRAIN[:100])
    assert np.isfinite(ae.transform(TEST)).all()


@pytest.mark.parametrize("n_components", [3, 64, 70])
def test_with_a_range_there_may_be_any_number_of_components(n_components):
    ae = conditional(n_components, max_iter=3).fit(TRAIN)
    assert ae.transform(TEST).shape == (450, n_components)
    assert (ae.score(TEST) > 0.95) == (n_components >= 64)


@pytest.mark.parametrize(
    ("params", "is_told"),
    [
        ({}, True),
        ({"sparsity": "l1", "sparsity_weight": 0.1}, True),
        ({"init": "random"}, False),
        ({"latent": "gaussian"}, False),
        ({"sparsity_weight": 0.1}, False),
        ({"corruption": "swap", "corruption_level": (0.1, 0.5)}, False),
        ({"corruption_level": 0.5}, False),
    ],
)
def test_only_around_pca_of_normal_noise_is_the_encoder_told_levels(params, is_told):
    ae = conditional(**params, max_iter=1).fit(TRAIN)
    assert ae.module_.is_noise_conditional == is_told


def test_a_told_network_starts_at_the_linear_answer_to_each_level():
    # Independent columns of variance 1: all shrink by 1 / (1 + s^2), which leaves an
    # error of s^2 / (1 + s^2).
    X = np.random.default_rng(0).normal(size=(5_000, 4)) * [1, 2, 3, 4] + 5
    ae = conditional(4, learning_rate_init=1e-30, max_iter=1).fit(X)
    for level in (0.05, 0.5, 2.0):
        expected = level**2 / (1 + level**2)
        assert restored(ae, X, level, train=X) == pytest.approx(expected, rel=0.03)


def test_and_its_loss_there_counts_each_level_as_much():
    # The error s^2 / (1 + s^2), weighted by its inverse.
    X = np.random.default_rng(0).normal(size=(20_000, 4))
    ae = conditional(4, learning_rate_init=1e-30, max_iter=1).fit(X)
    s = np.geomspace(*RANGE, 10_001)
    expected = 1 / np.mean(1 + s**-2)
    assert ae.validation_curve_[0] == pytest.approx(expected, rel=0.03)
    assert ae.loss_curve_[0] == pytest.approx(expected, rel=0.03)


def test_a_told_network_takes_off_little_and_much_noise():
    one, of_range = (
        transformer(64, corruption_level=level, max_iter=40).fit(TRAIN)
        for level in (0.3, RANGE)
    )
    for level in (0.05, 2.0):
        assert restored(of_range, TEST, level) < 0.5 * restored(one, TEST, level)
    # The mean in each column would leave 1.
    assert restored(of_range, TEST, 2.0) < 0.8


def test_a_told_network_learns_more_than_the_linear_answer():
    start = conditional(64, learning_rate_init=1e-30, max_iter=1).fit(TRAIN)
    ae = conditional(64, max_iter=40).fit(TRAIN)
    for level in (0.2, 0.5, 1.0):
        assert restored(ae, TEST, level) < 0.97 * restored(start, TEST, level)


@pytest.mark.parametrize(
    "level",
    [
        (0, 1),
        (1, 1),
        (2, 1),
        (1,),
        (1, 2, 3),
        ("a", 1),
        (0.1, np.inf),
        (0.1, np.nan),
        (True, 2),
        [[0.1], [0.2]],
        "0.5",
    ],
)
def test_what_is_no_range_of_levels_is_refused(level):
    ae = transformer(corruption_level=level)
    with pytest.raises(ValueError, match="corruption_level"):
        ae.fit(TRAIN)
    assert not hasattr(ae, "module_")


@pytest.mark.parametrize("corruption", REPLACING)
def test_a_range_of_probabilities_ends_at_1(corruption):
    ae = transformer(corruption=corruption, corruption_level=(0.5, 2.0))
    with pytest.raises(ValueError, match=f"corruption_level.*{corruption}.*2.0"):
        ae.fit(TRAIN)
    ae.set_params(corruption_level=(0.5, 1.0), max_iter=1).fit(TRAIN)


def test_a_range_may_be_a_list_and_of_any_numbers():
    codes = [
        transformer(corruption_level=level, max_iter=2).fit(TRAIN).transform(TEST)
        for level in ((0.5, 2.0), [0.5, 2.0], (0.5, 2), tuple(np.array([0.5, 2])))
    ]
    for others in codes[1:]:
        np.testing.assert_array_equal(codes[0], others)


def test_a_range_cannot_change_while_training_goes_on():
    ae = conditional(max_iter=2, warm_start=True).fit(TRAIN)
    ae.set_params(corruption_level=list(RANGE)).fit(TRAIN)
    for other in ((0.05, 1.0), 0.5, 0.0):
        with pytest.raises(ValueError, match="corruption_level can't change"):
            ae.set_params(corruption_level=other).fit(TRAIN)
        with pytest.raises(ValueError, match="corruption_level can't change"):
            ae.partial_fit(TRAIN)


def test_a_told_network_survives_a_pickle():
    ae = conditional(max_iter=2).fit(TRAIN)
    again = pickle.loads(pickle.dumps(ae))
    np.testing.assert_array_equal(again.transform(TEST), ae.transform(TEST))
    assert restored(again, TEST, 0.5) == restored(ae, TEST, 0.5)


def test_rows_as_they_are_have_the_lowest_level():
    ae = conditional(max_iter=3).fit(TRAIN)
    x = scaled(TEST)
    with torch.no_grad():
        codes = ae.module_.encoder(x, torch.full((len(x), 1), RANGE[0]))
    np.testing.assert_allclose(ae.transform(TEST), codes, rtol=1e-5, atol=1e-5)


# -- rows that are not trusted -------------------------------------------------------


def test_with_early_stopping_a_fit_to_the_end_is_a_fit():
    one, other = conditional(max_iter=2), conditional(max_iter=2).fit(TRAIN)
    fit_to_the_end(one, TRAIN, None)
    np.testing.assert_array_equal(one.transform(TEST), other.transform(TEST))


def test_without_early_stopping_a_fit_to_the_end_keeps_the_last_weights():
    # A rate that is far too high: the start has the lowest loss.
    settings = {"early_stopping": False, "learning_rate_init": 0.3, "max_iter": 3}
    best, last = (transformer(corruption_level=0.0, **settings) for _ in range(2))
    fit_to_the_end(last, TRAIN, None)
    assert last.score(TRAIN) < best.fit(TRAIN).score(TRAIN)
    assert len(best.loss_curve_) == len(last.loss_curve_) == 3


# -- sparse --------------------------------------------------------------------------


def test_with_rising_weight_the_mean_activity_goes_to_the_target():
    fits = [
        transformer(16, sparsity_weight=w, sparsity_target=0.1, max_iter=40).fit(TRAIN)
        for w in (1e-2, 1e-1, 1.0)
    ]
    codes = [ae.transform(TRAIN) for ae in fits]
    assert all((z > 0).all() and (z < 1).all() for z in codes)
    off_target = [np.abs(z.mean(axis=0) - 0.1).mean() for z in codes]
    assert sorted(off_target, reverse=True) == off_target
    assert off_target[-1] < 0.01 < 0.05 < off_target[0]
    scores = [ae.score(TEST) for ae in fits]
    assert sorted(scores, reverse=True) == scores


@pytest.mark.filterwarnings("ignore:.*does nothing without")
def test_with_rising_weight_the_mean_absolute_code_falls():
    fits = [
        transformer(sparsity="l1", sparsity_weight=w, max_iter=30).fit(TRAIN)
        for w in (0.0, 0.01, 0.1, 1.0)
    ]
    size = [np.abs(ae.transform(TRAIN)).mean() for ae in fits]
    assert sorted(size, reverse=True) == size
    assert size[-1] < 0.1 * size[0]


def test_a_sigmoid_code_starts_near_pca():
    start = {"learning_rate_init": 1e-30, "max_iter": 1}
    pca = transformer(**start).fit(TRAIN).score(TRAIN)
    squashed = transformer(**start, sparsity_weight=1e-9).fit(TRAIN)
    assert pca - 0.02 < squashed.score(TRAIN) < pca
    np.testing.assert_allclose(squashed.transform(TRAIN).mean(axis=0), 0.5, atol=0.01)


def test_a_sparsity_of_ones_own():
    params = {"sparsity_weight": 10.0, "max_iter": 20}
    ae = transformer(sparsity=lambda z: (z - 3).square().mean(dim=1), **params)
    assert np.abs(ae.fit(TRAIN).transform(TRAIN) - 3).mean() < 1.5


# -- contractive ---------------------------------------------------------------------


@pytest.mark.parametrize("n_components", [2, 8])
def test_with_rising_weight_the_jacobian_shrinks(n_components):
    fits = [
        transformer(n_components, contraction_weight=w).fit(TRAIN)
        for w in (0.0, 1e-2, 1e-1)
    ]
    norms = [mean_jacobian_norm(ae, TEST) for ae in fits]
    assert sorted(norms, reverse=True) == norms
    assert norms[-1] < 0.1 * norms[0]


# -- variational ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def linear_gaussian():
    """Rows to fit and to test on from a factor model, and its PCA."""
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=(3, 10)) * [[3.0], [2.0], [1.0]]
    X = rng.normal(size=(1500, 3)) @ loadings + 0.5 * rng.normal(size=(1500, 10)) + 1
    return X[:1000], X[1000:], PCA(3).fit(X[:1000])


def scaled_log_likelihood(pca, X, train):
    """Probabilistic PCA's mean log-likelihood of X, in units of a column of train."""
    return pca.score(X) + X.shape[1] * np.log(train.var(axis=0).mean()) / 2


@pytest.mark.parametrize(("init", "rel"), [("pca", 0.02), ("random", 0.05)])
def test_on_linear_gaussian_data_the_bound_is_the_likelihood(
    linear_gaussian, init, rel
):
    train, test, pca = linear_gaussian
    ae = transformer(3, latent="gaussian", scale=None, init=init, max_iter=100)
    ae.fit(train)
    exact = scaled_log_likelihood(pca, test, train)
    assert ae.score_samples(test).mean() == pytest.approx(exact, rel=rel)
    assert ae.n_active_components_ == 3


def test_it_starts_at_probabilistic_pca(linear_gaussian):
    train, test, pca = linear_gaussian
    start = {"learning_rate_init": 1e-30, "max_iter": 1, "scale": None}
    ae = transformer(3, latent="gaussian", prior="normal", **start).fit(train)
    # With the exact posterior each importance weight is the likelihood itself.
    scores = ae.score_samples(test) - ae.score_samples(test).mean()
    exact = pca.score_samples(test) - pca.score_samples(test).mean()
    np.testing.assert_allclose(scores, exact, atol=0.3)
    exact = scaled_log_likelihood(pca, test, train)
    assert ae.score_samples(test).mean() == pytest.approx(exact, rel=0.005)
    covariance = np.cov(ae.transform(train), rowvar=False)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=0.01)


@pytest.mark.parametrize("beta", [1.0, 20.0])
def test_components_in_use_are_counted(linear_gaussian, beta):
    train, _, _ = linear_gaussian
    ae = transformer(8, latent="gaussian", beta=beta, max_iter=40).fit(train)
    in_use = (ae.transform(train).var(axis=0) > 0.01).sum()
    assert ae.n_active_components_ == in_use
    assert (in_use < 8) == (beta > 1)
    assert not hasattr(transformer(8, max_iter=1).fit(train), "n_active_components_")


def test_beta_trades_the_code_for_the_prior():
    fits = [
        transformer(latent="gaussian", beta=beta, max_iter=30).fit(TRAIN)
        for beta in (0.1, 1.0, 10.0)
    ]
    scores = [ae.score(TEST) for ae in fits]
    assert sorted(scores, reverse=True) == scores
    assert scores[-1] < scores[0] - 0.1
    active = [ae.n_active_components_ for ae in fits]
    assert active[0] == 8 > active[-1]


def test_samples_have_the_moments_of_the_data(linear_gaussian):
    train, _, _ = linear_gaussian
    ae = transformer(3, latent="gaussian", max_iter=60).fit(train)
    samples = ae.sample(20_000, random_state=0)
    np.testing.assert_allclose(samples.mean(axis=0), train.mean(axis=0), atol=0.3)
    np.testing.assert_allclose(samples.std(axis=0), train.std(axis=0), rtol=0.08)
    clean = ae.sample(20_000, noise=False, random_state=0)
    spectrum = PCA().fit(clean).explained_variance_ratio_
    # Without the likelihood's noise they lie where the decoder can reach.
    assert (
        spectrum[:3].sum() > 0.99 > PCA(3).fit(samples).explained_variance_ratio_.sum()
    )


def test_samples_repeat_for_an_int_and_differ_otherwise():
    ae = transformer(2, latent="gaussian", max_iter=2).fit(TRAIN)
    first, again = ae.sample(3, random_state=1), ae.sample(3, random_state=1)
    assert first.shape == (3, 64)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, ae.sample(3, random_state=2))
    assert not np.array_equal(ae.sample(3), ae.sample(3))


@pytest.mark.parametrize("scale", ["standard", "minmax", "quantile", None])
def test_a_constant_column_is_constant_in_samples(linear_gaussian, scale):
    train = linear_gaussian[0].copy()
    train[:, 4] = 3.3
    ae = transformer(3, latent="gaussian", scale=scale, max_iter=3).fit(train)
    samples = ae.sample(50, random_state=0)
    assert (samples[:, 4] == 3.3).all()
    assert samples[:, 3].std() > 0


def test_rows_that_are_all_equal_have_one_sample():
    ae = transformer(1, latent="gaussian", max_iter=2).fit(np.full((20, 3), 7.0))
    assert (ae.sample(4) == 7).all()
    assert ae.n_active_components_ == 0


def test_what_was_fitted_decides_whether_there_are_samples():
    ae = transformer(2, latent="gaussian", max_iter=1).fit(TRAIN)
    assert ae.set_params(latent="deterministic").sample(2).shape == (2, 64)
    ae = transformer(2, max_iter=1).fit(TRAIN).set_params(latent="gaussian")
    assert not hasattr(ae, "sample")


def test_a_deterministic_code_has_nothing_to_sample_and_says_why():
    ae = transformer().fit(TRAIN)
    assert not hasattr(ae, "sample")
    with pytest.raises(AttributeError, match="Set latent='gaussian', or prior='mix"):
        ae.sample(3)


def test_noise_is_a_switch():
    ae = transformer(2, latent="gaussian", max_iter=1).fit(TRAIN)
    with pytest.raises(TypeError, match="noise"):
        ae.sample(2, noise="yes")


@pytest.mark.parametrize("n_samples", [0, 2.5])
def test_a_number_of_samples_that_is_none_is_refused(n_samples):
    ae = transformer(2, latent="gaussian", max_iter=1).fit(TRAIN)
    with pytest.raises((ValueError, TypeError), match="n_samples"):
        ae.sample(n_samples)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"sparsity_weight": 0.1}, "sparsity='kl'.*latent='gaussian'"),
        ({"loss": "huber"}, "latent='gaussian'.*loss='huber'"),
        (
            {"prior": "normal", "latent": "deterministic"},
            "prior='normal'.*latent='deterministic'",
        ),
    ],
)
def test_what_cannot_go_together_is_refused_by_both_names(params, message):
    ae = transformer(**({"latent": "gaussian"} | params))
    with pytest.raises(ValueError, match=message):
        ae.fit(TRAIN)


# -- what rows are drawn from ---------------------------------------------------------


@pytest.fixture(scope="module")
def clusters():
    """Rows around three corners of a square."""
    rng = np.random.default_rng(0)
    corners = np.array([[0.0, 0, 0, 0], [9, 9, 0, 0], [0, 0, 9, 9]])
    return corners[rng.integers(3, size=900)] + rng.normal(size=(900, 4))


@pytest.mark.parametrize(
    ("latent", "scale"), [("deterministic", "standard"), ("gaussian", "quantile")]
)
def test_columns_are_made_normal_for_a_normal_likelihood(latent, scale):
    by_default = transformer(latent=latent, max_iter=2).fit(TRAIN)
    same = transformer(latent=latent, scale=scale, max_iter=2).fit(TRAIN)
    np.testing.assert_array_equal(by_default.transform(TEST), same.transform(TEST))
    # And it is no change to say so.
    by_default.set_params(warm_start=True, scale=scale).fit(TRAIN)


def nearest_corner(X):
    """Share of rows by the corner that they are near, the fourth one empty."""
    return np.bincount((X[:, ::2] > 4.5) @ [1, 2], minlength=4) / len(X)


@pytest.mark.parametrize("latent", ["deterministic", "gaussian"])
def test_a_mixture_leaves_empty_what_is_empty(clusters, latent):
    model = transformer(2, latent=latent, prior="mixture", scale="standard")
    samples = model.fit(clusters).sample(3_000, random_state=0)
    np.testing.assert_allclose(
        nearest_corner(samples), nearest_corner(clusters), atol=0.04
    )
    np.testing.assert_allclose(samples.std(axis=0), clusters.std(axis=0), rtol=0.05)


def test_a_standard_normal_does_not(clusters):
    ae = transformer(2, latent="gaussian", prior="normal", scale="standard")
    samples = ae.fit(clusters).sample(3_000, random_state=0)
    inside = np.abs(samples[:, ::2] - 4.5).min(axis=1) < 2
    assert (
        inside.mean() > 0.02 > (np.abs(clusters[:, ::2] - 4.5).min(axis=1) < 2).mean()
    )


@pytest.mark.parametrize("latent", ["deterministic", "gaussian"])
def test_few_values_are_drawn_as_often_as_they_are(latent):
    rng = np.random.default_rng(0)
    share = [0.1, 0.3, 0.5]
    # 2,000 rows, eight of them distinct.
    X = (rng.random((2_000, 3)) < share).astype(float)
    ae = transformer(latent=latent, prior="mixture", max_iter=40).fit(X)
    seen = (ae.sample(4_000, random_state=0) > 0.5).mean(axis=0)
    np.testing.assert_allclose(seen, share, atol=0.06)


def test_a_value_beyond_what_was_seen_is_unlikely(clusters):
    ae = transformer(2, latent="gaussian").fit(clusters)
    far = np.repeat(clusters[:1], 3, axis=0)
    far[:, 0] = clusters[:, 0].max(), 30.0, 1e9
    scores = ae.score_samples(far)
    assert scores[2] < scores[1] < scores[0] - 10


@pytest.mark.parametrize("latent", ["deterministic", "gaussian"])
def test_a_mixture_does_not_change_the_code(clusters, latent):
    shared = {"latent": latent, "scale": "standard", "max_iter": 3}
    codes = [
        transformer(2, prior=prior, **shared).fit_transform(clusters)
        for prior in ("mixture", "normal" if latent == "gaussian" else "auto")
    ]
    np.testing.assert_array_equal(*codes)


def test_a_mixture_makes_held_out_rows_likelier(clusters):
    shared = {"latent": "gaussian", "scale": "standard"}
    normal, mixture = (
        transformer(2, prior=prior, **shared).fit(clusters[:600]).score_samples
        for prior in ("normal", "mixture")
    )
    assert mixture(clusters[600:]).mean() > normal(clusters[600:]).mean() + 0.1


@pytest.mark.parametrize("prior", ["normal", "mixture"])
def test_score_is_the_integral_over_the_code(clusters, prior):
    ae = transformer(1, latent="gaussian", prior=prior, scale="standard")
    ae.fit(clusters[:600])
    scaler = StandardScaler().fit(clusters[:600])
    rows = scaler.transform(clusters[600:650])
    grid = np.linspace(-8, 8, 20_001)[:, None]
    decoded = scaler.transform(ae.inverse_transform(grid))
    variance = ae.module_.noise_variance.item()
    squares = ((rows[:, None] - decoded) ** 2).sum(axis=2)
    log_joint = ae._inference.prior.log_density(grid) - 0.5 * squares / variance
    exact = np.log(np.exp(log_joint).sum(axis=1) * (grid[1] - grid[0]))
    exact -= 2 * np.log(2 * np.pi * variance)
    scores = ae.score_samples(clusters[600:650])
    assert np.corrcoef(scores, exact)[0, 1] > 0.97
    assert scores.mean() == pytest.approx(exact.mean(), abs=0.1)


def test_partial_fit_leaves_the_prior_as_it_is(clusters):
    ae = transformer(2, latent="gaussian", scale="standard", max_iter=5).fit(clusters)
    mixture = ae._inference.prior
    assert ae.partial_fit(clusters[:50])._inference.prior is mixture
    # Without a fit there is the one of training, or none.
    new = transformer(2, latent="gaussian").partial_fit(clusters)
    assert new.sample(3).shape == (3, 4)
    assert not hasattr(transformer(2, prior="mixture").partial_fit(clusters), "sample")


def test_a_prior_may_change_in_a_warm_start(clusters):
    ae = transformer(2, latent="gaussian", warm_start=True, max_iter=2).fit(clusters)
    ae.set_params(prior="normal").fit(clusters)
    assert type(ae._inference.prior).__name__ == "StandardNormal"


def test_samples_survive_a_pickle(clusters):
    ae = transformer(2, prior="mixture", max_iter=2).fit(clusters)
    again = pickle.loads(pickle.dumps(ae))
    np.testing.assert_array_equal(
        ae.sample(5, random_state=0), again.sample(5, random_state=0)
    )


# -- together ------------------------------------------------------------------------


def test_all_combine():
    ae = transformer(
        corruption_level=0.3, sparsity_weight=0.05, contraction_weight=0.05, max_iter=30
    ).fit(TRAIN)
    plain = transformer(sparsity_weight=1e-9, max_iter=30).fit(TRAIN)
    assert ae.best_loss_ < ae.validation_curve_[0]
    assert mean_jacobian_norm(ae, TEST) < 0.5 * mean_jacobian_norm(plain, TEST)
    assert ae.transform(TEST).mean() < 0.7 * plain.transform(TEST).mean()
    assert 0.5 < ae.score(TEST) < plain.score(TEST)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("corruption", lambda x, level, generator: x / 0 * 0),
        ("sparsity", lambda z: z.mean(dim=1) / 0 * 0),
    ],
)
def test_nan_from_a_users_function_is_an_error_that_names_it(name, function):
    strength = {"corruption_level": 0.1, "sparsity_weight": 0.1}
    with pytest.raises(ValueError, match=f"{name} must return numbers, got NaN"):
        transformer(**strength, **{"sparsity": "l1"} | {name: function}).fit(TRAIN)


@pytest.mark.parametrize("warm", [True, False])
def test_partial_fit_and_warm_start_go_on_with_it(warm):
    calls = []

    def corrupt(x, level, generator):
        calls.append("corrupt")
        return x

    def penalty(z):
        calls.append("penalty")
        return z.square().mean(dim=1)

    ae = transformer(
        corruption=corrupt,
        corruption_level=0.5,
        sparsity=penalty,
        sparsity_weight=0.1,
        batch_size=64,
        max_iter=2,
        warm_start=True,
    ).fit(TRAIN)
    calls.clear()
    if warm:
        ae.fit(TRAIN)
    else:
        ae.partial_fit(TRAIN)
    assert calls.count("corrupt") == calls.count("penalty") > 10


@pytest.mark.parametrize("params", KINDS)
def test_a_strength_cannot_change_while_training_goes_on(params):
    ae = transformer(max_iter=2, warm_start=True, **params).fit(TRAIN)
    (name,) = set(params) & set(STRENGTHS)
    with pytest.raises(ValueError, match=f"{name} can't change"):
        ae.set_params(**{name: 0.9}).fit(TRAIN)


def test_a_kind_that_is_off_may_change():
    ae, twin = (transformer(max_iter=2, warm_start=True).fit(TRAIN) for _ in range(2))
    twin.fit(TRAIN)
    ae.set_params(corruption="swap", sparsity="l1", sparsity_target=0.2).fit(TRAIN)
    # It goes on as one whose settings stayed, from what the first fit learnt.
    np.testing.assert_array_equal(ae.transform(TEST), twin.transform(TEST))
    assert ae.validation_curve_ == twin.validation_curve_
    again = transformer(max_iter=2).fit(TRAIN)
    assert ae.validation_curve_[0] < again.validation_curve_[0]


@pytest.mark.parametrize("params", KINDS)
def test_a_strength_may_be_a_number_of_numpys(params):
    (name,) = set(params) & set(STRENGTHS)
    codes = [
        transformer(max_iter=2, **(params | {name: kind(params[name])}))
        .fit(TRAIN)
        .transform(TEST)
        for kind in (float, np.float64)
    ]
    np.testing.assert_array_equal(*codes)


@pytest.mark.parametrize(
    ("penalty", "message"),
    [
        (lambda z: z.detach().numpy().mean(axis=1), "got ndarray"),
        (lambda z: (z > 0).sum(dim=1), "gradient"),
        (lambda z: z.detach().mean(dim=1), "gradient"),
    ],
)
def test_a_penalty_that_cannot_be_trained_for_is_refused(penalty, message):
    with pytest.raises(ValueError, match=f"sparsity must return a tensor .*{message}"):
        transformer(sparsity=penalty, sparsity_weight=0.1).fit(TRAIN)


def test_a_corruption_is_not_trained():
    class Scale(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = torch.nn.Parameter(torch.tensor(0.5))

        def forward(self, x, level, generator):
            return self.factor * x

    scale = Scale()
    ae = transformer(max_iter=3, corruption=scale, corruption_level=1.0).fit(TRAIN)
    assert scale.factor == 0.5
    plain = transformer(max_iter=1).fit(TRAIN)
    assert len(list(ae.module_.parameters())) == len(list(plain.module_.parameters()))


def test_corruption_is_in_units_of_the_weighted_columns():
    # Nine tenths of the rows are one row: merged, it would be one of 101.
    X = np.vstack([TRAIN[:100], np.repeat(TRAIN[100:101], 900, axis=0)])
    weight = np.r_[np.ones(100), 900.0]
    for rows, w in ((X, None), (X[:101], weight)):
        ae = transformer(max_iter=1, corruption_level=0.5).fit(rows, sample_weight=w)
        columns = ae._inference.corruption.columns
        varies = np.ptp(X, axis=0) > 0
        np.testing.assert_allclose(columns.mean, 0, atol=1e-5)
        np.testing.assert_allclose(columns.std[varies], 1, rtol=1e-4)


def test_a_code_that_is_no_distribution_any_more_has_no_active_components():
    ae = transformer(latent="gaussian", max_iter=1).fit(TRAIN)
    assert ae.n_active_components_ >= 0
    ae.set_params(latent="deterministic").fit(TRAIN)
    assert not hasattr(ae, "n_active_components_")
