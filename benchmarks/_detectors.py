"""Outlier detectors by name, and how one is run: its time, its time limit, its scores.

A detector is a function of training rows, test rows (None: score the training rows) and
a seed; it returns a number a row, higher is more abnormal.
"""

import signal
import warnings
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from inspect import signature

import numpy as np
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import OneClassSVM

from benchmarks import _measure
from sklearn_ae import AEOutlierDetector

SECONDS = 120  # a detector that is not done by then has failed


def scaled(train, test, scaler=StandardScaler):
    """Both parts, scaled by the training rows."""
    scaler = scaler().fit(train)
    return scaler.transform(train), None if test is None else scaler.transform(test)


def _fitted(make, train, test, seed):
    model = make(seed).fit(train)
    return -model.score_samples(train if test is None else test)


def _standardised(make, train, test, seed):
    return _fitted(make, *scaled(train, test), seed)


def ours(train, test, seed, **params):
    """AEOutlierDetector with these parameters."""
    make = partial(AEOutlierDetector, **params)
    return _fitted(lambda seed: make(random_state=seed), train, test, seed)


def _lof(train, test, seed):
    if test is None:
        return (
            -LocalOutlierFactor().fit(scaled(train, test)[0]).negative_outlier_factor_
        )
    return _standardised(lambda _: LocalOutlierFactor(novelty=True), train, test, seed)


def _knn(train, test, seed, scaler=StandardScaler):
    """Mean distance to 5 neighbours; a training row is not among its."""
    train, test = scaled(train, test, scaler)
    return NearestNeighbors(n_neighbors=5).fit(train).kneighbors(test)[0].mean(axis=1)


def pca_errors(train, test, seed, n_components=None):
    """Squared error (n, d) by so many components, or a quarter of the columns."""
    if n_components is None:
        n_components = min(max(1, train.shape[1] // 4), len(train))
    train, test = scaled(train, test)
    pca = PCA(n_components, random_state=seed).fit(train)
    rows = train if test is None else test
    return (rows - pca.inverse_transform(pca.transform(rows))) ** 2


def pca_error(*args, **params):
    """Squared error (n,) of standardised rows by PCA."""
    return pca_errors(*args, **params).sum(axis=1)


def _pyod(module, name, train, test, seed):
    make = getattr(import_module(f"pyod.models.{module}"), name)
    train, test = scaled(train, test)
    params = {"random_state": seed, "verbose": 0, "n_features": train.shape[1]}
    taken = signature(make).parameters
    model = make(**{key: params[key] for key in params if key in taken}).fit(train)
    return model.decision_scores_ if test is None else model.decision_function(test)


METHODS = {
    "AEOutlierDetector": ours,
    "textbook autoencoder": partial(ours, method="reconstruction"),
    "IsolationForest": partial(_fitted, lambda s: IsolationForest(random_state=s)),
    "LocalOutlierFactor": _lof,
    "OneClassSVM": partial(_standardised, lambda s: OneClassSVM()),
    "EllipticEnvelope": partial(
        _standardised, lambda s: EllipticEnvelope(random_state=s)
    ),
    "kNN": _knn,
    "kNN min-max": partial(_knn, scaler=MinMaxScaler),
    "PCA error": pca_error,
    "GaussianMixture": partial(
        _standardised, lambda s: GaussianMixture(5, reg_covar=1e-3, random_state=s)
    ),
}
PYOD = "ecod ECOD, copod COPOD, hbos HBOS, inne INNE, cblof CBLOF, lunar LUNAR, "
PYOD += "auto_encoder AutoEncoder, vae VAE, deep_svdd DeepSVDD"
for module, name in map(str.split, PYOD.split(", ") if find_spec("pyod") else ()):
    METHODS[f"PyOD {name}"] = partial(_pyod, module, name)
SEEDLESS = ("LocalOutlierFactor", "OneClassSVM", "kNN", "kNN min-max", "PCA error")
SEEDLESS += ("PyOD ECOD", "PyOD COPOD", "PyOD HBOS")


def detect(method, train, test, truth, seed):
    """Area under the ROC curve, average precision, seconds to fit and to score."""
    with warnings.catch_warnings(action="ignore"), _limited():
        seconds, scores = _measure.timed(method, train, test, seed)
    if not np.isfinite(scores).all():
        raise ArithmeticError("a score is not finite")
    auroc, ap = roc_auc_score(truth, scores), average_precision_score(truth, scores)
    return {"auroc": auroc, "ap": ap, "seconds": seconds}


@contextmanager
def _limited():
    """Raise where a method takes too long, and again should it catch that."""

    def stop(*_):
        raise TimeoutError(f"not done after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)  # Windows has none
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def burn_in(methods):
    """Pay for the first call of each detector."""
    X, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 2
    _measure.burn_in(partial(detect, m, X, None, y, 0) for m in methods.values())
