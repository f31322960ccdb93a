"""Each knob is of use: at a good strength it wins, off or at a wrong one it loses.

Each is measured on held-out rows by the purpose of its parameter.
"""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests import helpers

SEED = 0


def transformer(n_components=32, **params):
    shared = {
        "hidden_layer_sizes": 32,
        "scale": None,
        "batch_size": 32,
        "learning_rate_init": 0.01,
        "max_iter": 15,
    }
    return helpers.transformer(n_components, **(shared | params))


def classifier():
    # Standardised: a code gains nothing by its size alone.
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


# -- rows: to train on, to test on, and what is known of each --------------------------


def labelled(load, train_size):
    X, y = load(return_X_y=True)
    return train_test_split(X, y, train_size=train_size, random_state=SEED, stratify=y)


def digits():
    return labelled(load_digits, 400)


def cancer():
    return labelled(load_breast_cancer, 300)


def mixtures(n_sources=12, n_features=20):
    """Rows that a few of the sources make up, and what they have of each source."""
    rng = np.random.default_rng(SEED)
    sources = rng.exponential(size=(1800, n_sources))
    sources *= rng.random(sources.shape) < 0.15
    directions = rng.normal(size=(n_sources, n_features))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    X = sources @ directions + 0.02 * rng.normal(size=(1800, n_features))
    return train_test_split(X, sources, train_size=800, random_state=SEED)


def noisy(X, seed=0):
    """X with as much noise in each column as it varies."""
    return X + X.std(axis=0) * np.random.default_rng(seed).normal(size=X.shape)


# -- judges: of the held-out rows, higher is better ------------------------------------


def r2_of_restored_rows(ae, train, test, *_):
    restored = ae.reconstruct(noisy(test))
    return r2_score(test, restored, multioutput="variance_weighted")


def r2_of_filled_cells(ae, train, test, *_):
    missing = np.random.default_rng(0).random(test.shape) < 0.3
    means = np.broadcast_to(train.mean(axis=0), test.shape)
    filled = ae.reconstruct(np.where(missing, means, test))
    error = np.sum((filled - test)[missing] ** 2)
    return 1 - error / np.sum((means - test)[missing] ** 2)


def accuracy_on_noisy_rows(ae, train, test, y_train, y_test):
    classifier_ = classifier().fit(ae.transform(train), y_train)
    return classifier_.score(ae.transform(noisy(test)), y_test)


def sources_found(ae, train, test, _, sources):
    """Correlation of a source with the component most like it, mean over sources."""
    correlation = np.corrcoef(sources, ae.transform(test), rowvar=False)
    n = sources.shape[1]
    return np.abs(correlation[:n, n:]).max(axis=1).mean()


def log_likelihood(ae, train, test, *_):
    return ae.score_samples(test).mean()


# -- one knob at a time ----------------------------------------------------------------

KNOBS = {  # name -> score, rows, knob, strengths (off, good, bad), margin, the rest
    "gaussian": (
        *(r2_of_restored_rows, digits, "corruption_level", (0.0, 1.0, 5.0), 0.2),
        {},
    ),
    "masking": (
        *(r2_of_filled_cells, digits, "corruption_level", (0.0, 0.4, 0.9), 0.15),
        {"corruption": "masking"},
    ),
    # From a random start: the way is longer from PCA, whose components each mix all
    # the sources.
    "kl": (
        *(sources_found, mixtures, "sparsity_weight", (0.0, 0.2, 30.0), 0.08),
        {"n_components": 12, "init": "random", "max_iter": 20},
    ),
    "l1": (
        *(sources_found, mixtures, "sparsity_weight", (0.0, 2.0, 30.0), 0.15),
        {"n_components": 12, "sparsity": "l1"},
    ),
    "contraction": (
        *(accuracy_on_noisy_rows, digits, "contraction_weight", (0.0, 1.0, 300.0)),
        *(0.05, {}),
    ),
    # The first is too weak: there is no bound without a divergence.
    "beta": (
        *(log_likelihood, cancer, "beta", (0.01, 1.0, 20.0), 5),
        {"n_components": 10, "latent": "gaussian", "scale": "standard"},
    ),
}


@pytest.mark.filterwarnings("ignore:.*does nothing without")
@pytest.mark.parametrize("name", KNOBS)
def test_a_good_strength_wins(name):
    score, load, knob, strengths, margin, params = KNOBS[name]
    rows = load()
    fits = [transformer(**params, **{knob: s}).fit(rows[0]) for s in strengths]
    off, good, bad = (score(ae, *rows) for ae in fits)
    assert good > max(off, bad) + margin


# -- all at once -----------------------------------------------------------------------


def accuracy_under_other_noise(pipeline, X, y):
    return pipeline.score(noisy(X, seed=1), y)


@pytest.mark.filterwarnings("ignore:.*does nothing without")
def test_a_search_over_all_knobs_beats_the_plain_setting():
    # Trained on few clean rows, used on noisy ones: only a code that was taught to stay
    # put does so where no row was. The search judges its folds of the training rows
    # under noise as well, but of its own: of the test rows it sees nothing.
    train, test, y_train, y_test = digits()
    plain = make_pipeline(transformer(sparsity="l1"), *classifier())
    knobs = {
        "corruption_level": [0.0, 1.0],
        "sparsity_weight": [0.0, 0.1],
        "contraction_weight": [0.0, 0.1],
    }
    grid = {f"autoencodertransformer__{name}": knobs[name] for name in knobs}
    search = GridSearchCV(plain, grid, scoring=accuracy_under_other_noise, cv=2)
    best = search.fit(train, y_train).best_estimator_
    accuracies = [
        pipeline.score(noisy(test), y_test)
        for pipeline in (clone(plain).fit(train, y_train), best)
    ]
    assert accuracies[1] > accuracies[0] + 0.05
