"""How much of a table an autoencoder keeps, beside PCA with as many components."""

from functools import partial

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from benchmarks import _measure
from benchmarks._report import by, dots
from benchmarks._rivals import CappedKernelPCA, MLPAutoencoder
from benchmarks._tables import tables
from sklearn_ae import AutoencoderTransformer

TRUST_ROWS = 1000  # it compares all pairs of rows
EXACT = 1e-8  # an error below this share of the variance is rounding

METHODS = {  # (n_components, random_state=seed) -> estimator
    "PCA": PCA,
    "KernelPCA": CappedKernelPCA,
    "MLPRegressor": lambda k, random_state: MLPAutoencoder(
        hidden_layer_sizes=(128, k, 128), random_state=random_state
    ),
    "ours random": partial(AutoencoderTransformer, init="random"),
    "ours": AutoencoderTransformer,
}
KEYS, FIGURE, OURS, LOWER_IS_BETTER = ["method"], "ratio", "ours", True
MEASURED = ("k", "r2", "ratio", "knn", "logistic", "ari", "trust")
MEASURED += ("fit_s", "transform_s")


def cases(options):
    """Every table with every seed and method."""
    found = tables(options)
    X = np.random.default_rng(0).normal(size=(40, 4))
    _measure.burn_in(
        lambda m=make: m(1, random_state=0).fit(X) for make in METHODS.values()
    )
    return _measure.each(table=found, seed=_measure.seeds(options), method=METHODS)


def measure(table, method, seed):
    """Fit one method on one table and score it on the rows held out."""
    train, test, y_train, y_test = _measure.split(table, seed)
    k = _measure.n_components(train)
    model = METHODS[method](k, random_state=seed)
    fit_s, _ = _measure.timed(model.fit, train)
    transform_s, code = _measure.timed(model.transform, test)
    back, trained = model.inverse_transform(code), model.transform(train)
    figures = {"k": k, "fit_s": fit_s, "transform_s": transform_s}
    figures |= _measure.scores_on_code(trained, code, y_train, y_test, seed)
    figures |= reconstruction(train, test, back, k)
    return figures | {"trust": _trust(method, train, test, seed)}


def reconstruction(train, test, back, k):
    """Share of variance explained, and the squared error over PCA's."""
    pca = PCA(k, random_state=0).fit(train)
    error = ((test - back) ** 2).sum()
    pca_error = ((test - pca.inverse_transform(pca.transform(test))) ** 2).sum()
    # Rounding over rounding says nothing: two exact methods are equal.
    floor = max(EXACT * test.var(axis=0).sum() * len(test), np.finfo(float).tiny)
    ratio = max(error, floor) / max(pca_error, floor)
    return {"r2": _measure.explained(test, back), "ratio": ratio}


def _trust(method, train, test, seed):
    """Share of a two-component picture's neighbours that are the table's."""
    if train.shape[1] < 2:
        return np.nan
    model = METHODS[method](2, random_state=seed).fit(train)
    rows = test[:TRUST_ROWS]  # already in random order
    n_neighbors = min(5, (len(rows) - 1) // 2)
    return trustworthiness(rows, model.transform(rows), n_neighbors=n_neighbors)


def plot(frame):
    """Draw the error ratio to PCA; where PCA is nearly exact, it can be millions."""
    ratio = by(frame, "ratio").drop(columns="PCA").clip(upper=10).sort_values("ours")
    label = "squared error / PCA's on held-out rows (left is better; 10 is 10 or more)"
    return dots({"": ratio}, label, log=True)
