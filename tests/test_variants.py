"""The variants: denoising, sparse, contractive, each off at strength 0."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ae import AutoencoderTransformer

DIGITS, LABELS = load_digits(return_X_y=True)
TRAIN, TEST, Y_TRAIN, Y_TEST = train_test_split(DIGITS, LABELS, random_state=0)
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
    shared = {"hidden_layer_sizes": (64, 64), "max_iter": 15, "random_state": 0}
    return AutoencoderTransformer(n_components, **(shared | params))


def mean_jacobian_norm(ae, X):
    """Mean squared Frobenius norm of the encoder's Jacobian, from torch.func."""
    x = torch.from_numpy(ae._columns.matrix(X))
    jacobian = torch.func.vmap(torch.func.jacrev(ae.module_.encoder))(x)
    return jacobian.square().sum(dim=(1, 2)).mean().item()


# -- off ---------------------------------------------------------------------------


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
    residual = ae._columns.transform(TEST) - ae._columns.transform(ae.reconstruct(TEST))
    np.testing.assert_allclose(ae.score_samples(TEST), -(residual**2).mean(axis=1))


# -- denoising -----------------------------------------------------------------------


def test_the_target_is_the_clean_row():
    # What is masked can be told from its copies; a network that was shown the
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
        judge = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        judge.fit(ae.transform(TRAIN), Y_TRAIN)
        accuracies.append(judge.score(ae.transform(noisy), Y_TEST))
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


@pytest.mark.parametrize("corruption", ["masking", "swap", "salt_and_pepper"])
def test_a_probability_above_1_is_refused(corruption):
    ae = transformer(corruption=corruption, corruption_level=1.5)
    with pytest.raises(ValueError, match=f"corruption_level.*{corruption}.*1.5"):
        ae.fit(TRAIN)
    transformer(corruption_level=1.5, max_iter=1).fit(TRAIN)


# -- sparse --------------------------------------------------------------------------


def test_with_rising_weight_the_mean_activity_goes_to_the_target():
    fits = [
        transformer(16, sparsity_weight=w, sparsity_target=0.1, max_iter=40).fit(TRAIN)
        for w in (1e-3, 1e-2, 1e-1, 1.0)
    ]
    codes = [ae.transform(TRAIN) for ae in fits]
    assert all((z > 0).all() and (z < 1).all() for z in codes)
    off_target = [np.abs(z.mean(axis=0) - 0.1).mean() for z in codes]
    assert sorted(off_target, reverse=True) == off_target
    assert off_target[-1] < 0.02 < 0.2 < off_target[0]
    scores = [ae.score(TEST) for ae in fits]
    assert sorted(scores, reverse=True) == scores


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
        transformer(n_components, contraction_weight=w, max_iter=30).fit(TRAIN)
        for w in (0.0, 1e-3, 1e-2, 1e-1)
    ]
    norms = [mean_jacobian_norm(ae, TEST) for ae in fits]
    assert sorted(norms, reverse=True) == norms
    assert norms[-1] < 0.1 * norms[0]


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


@pytest.mark.parametrize("params", KINDS)
def test_partial_fit_and_warm_start_go_on_with_it(params):
    ae = transformer(max_iter=2, warm_start=True, **params).fit(TRAIN)
    before = ae.transform(TEST)
    ae.fit(TRAIN).partial_fit(TRAIN)
    assert not np.array_equal(ae.transform(TEST), before)
    (name,) = set(params) & set(STRENGTHS)
    with pytest.raises(ValueError, match=f"{name} can't change"):
        ae.set_params(**{name: 0.9}).fit(TRAIN)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"corruption": "dropout"}, "corruption"),
        ({"corruption_level": -0.1}, "corruption_level"),
        ({"sparsity": "l2"}, "sparsity"),
        ({"sparsity_weight": -1.0}, "sparsity_weight"),
        ({"sparsity_target": 0.0}, "sparsity_target"),
        ({"sparsity_target": 1.0}, "sparsity_target"),
        ({"contraction_weight": -1.0}, "contraction_weight"),
    ],
)
def test_a_parameter_out_of_its_range_is_named(params, message):
    with pytest.raises(ValueError, match=f"'{message}' parameter"):
        transformer(**params).fit(TRAIN)
