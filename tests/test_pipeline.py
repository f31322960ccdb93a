"""The promise of the README: better than PCA where PCA stood, by a search."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ae import AutoencoderTransformer


@pytest.fixture(scope="module")
def search():
    pipeline = Pipeline(
        [
            ("scale", StandardScaler()),
            ("reduce", "passthrough"),
            ("clf", LogisticRegression(max_iter=1_000)),
        ]
    )
    reducers = [PCA(4), AutoencoderTransformer(4, random_state=0)]
    search = GridSearchCV(pipeline, {"reduce": reducers}, cv=3, n_jobs=2)
    return search.fit(*load_digits(return_X_y=True))


def test_a_grid_search_prefers_it_to_pca_by_five_points(search):
    pca, ours = search.cv_results_["mean_test_score"]
    assert ours > pca + 0.05
    assert isinstance(search.best_params_["reduce"], AutoencoderTransformer)


def test_the_best_pipeline_predicts_and_its_parts_are_the_same_at_any_n_jobs(search):
    X, y = load_digits(return_X_y=True)
    assert search.score(X, y) > search.cv_results_["mean_test_score"][0]
    Z = StandardScaler().fit_transform(X)
    expected = AutoencoderTransformer(4, random_state=0).fit(Z).transform(Z)
    np.testing.assert_array_equal(search.best_estimator_[:-1].transform(X), expected)
