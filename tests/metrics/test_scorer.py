import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_config
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ae import AutoencoderTransformer
from sklearn_ae.metrics import (
    learned_perceptual_image_patch_similarity,
    make_reconstruction_scorer,
    peak_signal_noise_ratio,
    structural_similarity,
)
from sklearn_ae.metrics._lpips_net import Backbone
from tests.helpers import generator

X = load_digits().data[:240]
IMAGES = {"input_shape": (8, 8), "data_range": 16}


class Rounded(BaseEstimator):
    """Reconstructs rows by rounding them; its transform would do worse."""

    def fit(self, X, y=None):
        return self

    def reconstruct(self, X):
        return 5 * np.round(np.asarray(X) / 5)

    def transform(self, X):
        raise AssertionError

    inverse_transform = transform


class Fixed(BaseEstimator):
    """Returns the same reconstruction of whatever rows."""

    def __init__(self, restored):
        self.restored = restored

    def reconstruct(self, X):
        return self.restored


class OneWay(BaseEstimator):
    def transform(self, X):
        raise AssertionError


def scaled_pca(n_components=8):
    return make_pipeline(StandardScaler(), PCA(n_components, random_state=0))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    source = generator()
    path = tmp_path_factory.mktemp("weights") / "alex.pth"
    empty = Backbone("alex").state_dict()
    random = {k: torch.randn(w.shape, generator=source) for k, w in empty.items()}
    torch.save(random, path)
    return path


def test_a_score_is_the_metric_of_rows_and_reconstruction(weights):
    pca = scaled_pca().fit(X[:200])
    restored = pca.inverse_transform(pca.transform(X[200:]))
    for metric, function, sign, params in (
        ("ssim", structural_similarity, 1, {"win_size": 5}),
        ("lpips", learned_perceptual_image_patch_similarity, -1, {"weights": weights}),
    ):
        scorer = make_reconstruction_scorer(metric, **IMAGES, **params)
        expected = sign * function(X[200:], restored, **IMAGES, **params)
        assert scorer(pca, X[200:]) == scorer(pca, X[200:], None) == expected
        assert isinstance(expected, float)


def test_psnr_is_that_of_the_mean_squared_error_of_all_rows():
    scorer = make_reconstruction_scorer("psnr", data_range=(-8, 8))
    pca = scaled_pca().fit(X[:200])
    restored = pca.inverse_transform(pca.transform(X[200:]))
    mse = np.mean((X[200:] - restored) ** 2)
    found = scorer(pca, X[200:])
    assert found == pytest.approx(10 * np.log10(16**2 / mse), rel=1e-12)
    assert isinstance(found, float)
    # Decibels are convex in the error: their mean over rows is higher.
    assert found < peak_signal_noise_ratio(X[200:], restored, data_range=16)


def test_psnr_of_exact_rows_is_finite_and_above_any_other():
    scorer = make_reconstruction_scorer("psnr", data_range=16)
    rows = np.eye(4)
    exact = scorer(Fixed(rows), rows)
    smallest = scorer(Fixed(rows), rows + [[0, 0, 0, 5e-324]] * (rows == 0))
    one_wrong = scorer(Fixed(rows), rows + 1e-3 * rows[:, [3]])
    assert one_wrong == pytest.approx(10 * np.log10(16**2 / (1e-6 / 4)), rel=1e-9)
    assert one_wrong < smallest <= exact < np.inf
    assert exact == pytest.approx(20 * (np.log10(16) - np.log10(5e-324)), rel=1e-3)


@pytest.mark.parametrize("n_blank", [20, 240])
def test_a_search_over_blank_images_finds_the_better_reconstruction(n_blank):
    images = X.copy()
    images[:n_blank] = 0
    scoring = make_reconstruction_scorer(["psnr", "ssim"], **IMAGES)
    grid = {"n_components": [2, 16]}
    search = GridSearchCV(PCA(random_state=0), grid, scoring=scoring, refit="psnr")
    with np.errstate(invalid="ignore"):  # PCA of blank images divides by zero
        search.fit(images)
    for metric in scoring:
        assert np.isfinite(search.cv_results_[f"mean_test_{metric}"]).all()
        assert np.isfinite(search.cv_results_[f"std_test_{metric}"]).all()
    if n_blank < len(X):
        assert search.best_params_ == {"n_components": 16}


@pytest.mark.parametrize("data_range", [1e-200, 1e200, (-1e8, 1e8)])
def test_scores_are_finite_in_any_range(data_range):
    params = {"input_shape": (8, 8), "data_range": data_range}
    for scorer in make_reconstruction_scorer(["psnr", "ssim"], **params).values():
        assert np.isfinite(scorer(Rounded(), X))


def test_without_a_shape_rows_are_signals():
    scorer = make_reconstruction_scorer("ssim", data_range=16, win_size=43)
    restored = Rounded().reconstruct(X)
    expected = structural_similarity(
        X, restored, input_shape=(64,), data_range=16, win_size=43
    )
    assert scorer(Rounded(), X) == expected


def test_a_reconstruction_that_is_not_finite_is_named():
    scorer = make_reconstruction_scorer("psnr", data_range=16)
    with pytest.raises(ValueError, match="X_pred contains NaN in row 0, column 0"):
        scorer(Fixed(np.full_like(X, np.nan)), X)


def test_rows_are_reconstructed_directly_where_that_can_be():
    scorer = make_reconstruction_scorer("ssim", **IMAGES)
    expected = structural_similarity(X, 5 * np.round(X / 5), **IMAGES)
    assert scorer(Rounded(), X) == expected
    assert scorer(Rounded(), pd.DataFrame(X)) == expected


def test_tables_with_names_are_taken():
    named = pd.DataFrame(X).add_prefix("cell ")
    pca = scaled_pca().set_output(transform="pandas").fit(named)
    found = make_reconstruction_scorer("ssim", **IMAGES)(pca, named)
    expected = make_reconstruction_scorer("ssim", **IMAGES)(scaled_pca().fit(X), X)
    assert found == pytest.approx(expected)


def test_what_can_not_reconstruct_is_named():
    scorer = make_reconstruction_scorer("psnr", data_range=16)
    for estimator in (OneWay(), BaseEstimator()):
        name = type(estimator).__name__
        with pytest.raises(TypeError, match=f"{name} can't reconstruct rows"):
            scorer(estimator, X)


def test_a_search_by_several_metrics_finds_the_better_reconstruction():
    scoring = make_reconstruction_scorer(["psnr", "ssim"], **IMAGES)
    assert list(scoring) == ["psnr", "ssim"]
    grid = {"pca__n_components": [2, 8, 32]}
    search = GridSearchCV(scaled_pca(), grid, scoring=scoring, refit="ssim", cv=3)
    search.fit(X)
    assert search.best_params_ == {"pca__n_components": 32}
    for metric in scoring:
        assert (np.diff(search.cv_results_[f"mean_test_{metric}"]) > 0).all()
    assert search.score(X) == scoring["ssim"](search, X)
    clone(search)


def test_cross_validation_takes_one_or_several_also_at_once():
    scoring = make_reconstruction_scorer(("psnr", "ssim"), **IMAGES)
    # Processes would take seconds to start; a scorer for them is pickled below.
    with parallel_config("threading", n_jobs=2):
        several = cross_validate(scaled_pca(), X, scoring=scoring, cv=3)
    for metric, scorer in scoring.items():
        one = cross_val_score(scaled_pca(), X, scoring=scorer, cv=3)
        np.testing.assert_allclose(one, several[f"test_{metric}"], rtol=1e-9)


def test_an_autoencoder_is_scored_alone_and_in_a_pipeline():
    scoring = make_reconstruction_scorer(["psnr", "ssim"], **IMAGES)
    ae = AutoencoderTransformer(n_components=8, max_iter=5, random_state=0)
    alone = cross_validate(ae, X, scoring=scoring, cv=2)
    within = cross_validate(make_pipeline(ae), X, scoring=scoring, cv=2)
    for metric in scoring:
        np.testing.assert_allclose(
            alone[f"test_{metric}"], within[f"test_{metric}"], rtol=1e-4
        )
    assert (alone["test_psnr"] > 10).all()


def test_a_scorer_can_be_pickled_and_says_what_it_is():
    scorer = make_reconstruction_scorer("ssim", **IMAGES, win_size=5)
    assert repr(scorer) == (
        "make_reconstruction_scorer('ssim', input_shape=(8, 8), data_range=16, "
        "win_size=5)"
    )
    pca = scaled_pca().fit(X)
    for copied in (pickle.loads(pickle.dumps(scorer)), clone(scorer, safe=False)):
        assert repr(copied) == repr(scorer)
        assert copied(pca, X) == scorer(pca, X)
    scorer = make_reconstruction_scorer("psnr", data_range=(-1, 1))
    assert repr(scorer) == "make_reconstruction_scorer('psnr', data_range=(-1, 1))"


def test_of_several_metrics_each_gets_what_it_takes():
    scorers = make_reconstruction_scorer(
        ["psnr", "ssim", "lpips"], **IMAGES, win_size=3, net="vgg", device="cpu"
    )
    params = {name: scorer.params for name, scorer in scorers.items()}
    assert params["psnr"] == IMAGES
    assert params["ssim"] == IMAGES | {"win_size": 3}
    assert params["lpips"] == IMAGES | {"net": "vgg", "device": "cpu"}


@pytest.mark.parametrize(
    ("metric", "params", "error", "said"),
    [
        ("mse", {}, ValueError, r"\['psnr', 'ssim', 'lpips'\], got 'mse'"),
        ("", {}, ValueError, "got ''"),
        (None, {}, ValueError, "got None"),
        ([], {}, ValueError, r"got \[\]"),
        (["psnr", "mse"], {}, ValueError, "'mse'"),
        ([["psnr"]], {}, ValueError, "metric must be"),
        ("psnr", {"data_range": None}, ValueError, "data_range=None"),
        ("psnr", {"data_range": -1}, ValueError, "data_range=-1"),
        ("psnr", {"input_shape": (0, 8)}, ValueError, r"\(0, 8\)"),
        ("psnr", {"input_shape": (8, "8")}, TypeError, "input_shape must be a tuple"),
        ("psnr", {"input_shape": 8}, TypeError, "input_shape must be a tuple"),
        (
            "psnr",
            {"win_size": 3},
            TypeError,
            r"\['win_size'\] are no parameters of psnr",
        ),
        (
            "ssim",
            {"average": False},
            TypeError,
            r"'average'.*these are: \['win_size'\]",
        ),
        ("ssim", {"input_shape": None, "win_size": 45}, ValueError, "from 3 to 43"),
        ("lpips", {"input_shape": None}, TypeError, "input_shape must be a tuple"),
        ("ssim", {"input_shape": (8, 2)}, ValueError, "side of 2"),
        ("ssim", {"win_size": 4}, ValueError, "win_size=4"),
        ("lpips", {"net": "resnet"}, ValueError, "net must be one of"),
        ("lpips", {"input_shape": (64,)}, ValueError, "LPIPS compares images"),
        (["psnr", "lpips"], {"batch_size": 0}, ValueError, "batch_size"),
        (["psnr", "ssim"], {"net": "vgg"}, TypeError, "no parameters of psnr, ssim"),
    ],
)
def test_what_is_wrong_is_told_when_the_scorer_is_made(metric, params, error, said):
    with pytest.raises(error, match=said):
        make_reconstruction_scorer(metric, **IMAGES | params)


def test_rows_of_another_size_are_named():
    scorer = make_reconstruction_scorer("psnr", input_shape=(8, 9), data_range=16)
    with pytest.raises(ValueError, match="64 features"):
        scorer(Rounded(), X)
