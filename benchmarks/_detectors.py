"""Outlier detectors by name, and how one is run: its split, its time, its figures.

A detector is a function of training rows, test rows (None: score the training rows) and
a seed; it returns a number a row, higher is more abnormal. Scaling is learnt from the
training rows. Those of PyOD, at their defaults, join where it is installed.
"""

import signal
import warnings
from contextlib import contextmanager, suppress
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
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import OneClassSVM

from benchmarks._judge import timed
from sklearn_ae import AEOutlierDetector

SECONDS = 120  # a detector that is not done by then has failed


def _model(make, train, test, seed):
    model = make(seed).fit(train)
    return -model.score_samples(train if test is None else test)


def _standardised(make, train, test, seed):
    def pipeline(seed):
        return make_pipeline(StandardScaler(), make(seed))

    return _model(pipeline, train, test, seed)


def _ours(train, test, seed, **params):
    return _model(
        lambda seed: AEOutlierDetector(random_state=seed, **params), train, test, seed
    )


def _told_clean(train, test, seed):
    """Where only normal rows train, say so."""
    clean = {} if test is None else {"contamination": 0}
    return _ours(train, test, seed, **clean)


def _scaled(train, test, scaler=StandardScaler):
    scaler = scaler().fit(train)
    return scaler.transform(train), None if test is None else scaler.transform(test)


def _lof(train, test, seed):
    train, test = _scaled(train, test)
    if test is None:
        return -LocalOutlierFactor().fit(train).negative_outlier_factor_
    return -LocalOutlierFactor(novelty=True).fit(train).score_samples(test)


def _knn(train, test, seed, scaler=StandardScaler):
    """Mean distance to 5 neighbours; a training row is not its own."""
    train, test = _scaled(train, test, scaler)
    return NearestNeighbors(n_neighbors=5).fit(train).kneighbors(test)[0].mean(axis=1)


def _pca(train, test, seed):
    """Squared error of a quarter as many components as columns."""
    train, test = _scaled(train, test)
    pca = PCA(min(max(1, train.shape[1] // 4), len(train)), random_state=seed)
    pca.fit(train)
    rows = train if test is None else test
    back = pca.inverse_transform(pca.transform(rows))
    return ((rows - back) ** 2).sum(axis=1)


def _pyod(module, name, train, test, seed):
    make = getattr(import_module(f"pyod.models.{module}"), name)
    train, test = _scaled(train, test)
    ours = {"random_state": seed, "verbose": 0, "n_features": train.shape[1]}
    taken = signature(make).parameters
    model = make(**{key: ours[key] for key in ours if key in taken}).fit(train)
    return model.decision_scores_ if test is None else model.decision_function(test)


METHODS = {
    "AEOutlierDetector": _told_clean,
    "AEOutlierDetector auto": _ours,
    "textbook autoencoder": partial(_ours, method="reconstruction"),
    "IsolationForest": partial(_model, lambda s: IsolationForest(random_state=s)),
    "LocalOutlierFactor": _lof,
    "OneClassSVM": partial(_standardised, lambda s: OneClassSVM()),
    "EllipticEnvelope": partial(
        _standardised, lambda s: EllipticEnvelope(random_state=s)
    ),
    "kNN": _knn,
    "kNN min-max": partial(_knn, scaler=MinMaxScaler),
    "PCA error": _pca,
    "GaussianMixture": partial(
        _standardised, lambda s: GaussianMixture(5, reg_covar=1e-3, random_state=s)
    ),
}
PYOD = {  # module -> class
    "ecod": "ECOD",
    "copod": "COPOD",
    "hbos": "HBOS",
    "inne": "INNE",
    "cblof": "CBLOF",
    "auto_encoder": "AutoEncoder",
    "vae": "VAE",
    "deep_svdd": "DeepSVDD",
    "lunar": "LUNAR",
}
if find_spec("pyod"):
    METHODS |= {f"PyOD {c}": partial(_pyod, m, c) for m, c in PYOD.items()}
SEEDLESS = ("LocalOutlierFactor", "OneClassSVM", "kNN", "kNN min-max", "PCA error")
SEEDLESS += ("PyOD ECOD", "PyOD COPOD", "PyOD HBOS")


def one_class(table, seed):
    """Half of the normal rows to train; the others and all abnormal ones to test."""
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(table.y == 0))
    half = len(rows) // 2
    test = np.r_[rows[half:], np.flatnonzero(table.y == 1)]
    return table.X[rows[:half]], table.X[test], table.y[test]


def detect(method, train, test, truth, seed):
    """How well a detector ranks rows, and the seconds to fit and to score."""
    with warnings.catch_warnings(), _limited():
        warnings.simplefilter("ignore")  # a rival's are not our news
        seconds, scores = timed(method, train, test, seed)
    if not np.isfinite(scores).all():
        raise ArithmeticError("a score is not finite")
    return {
        "auroc": roc_auc_score(truth, scores),
        "ap": average_precision_score(truth, scores),
        "seconds": seconds,
    }


@contextmanager
def _limited():
    """Raise where a method takes too long, and again should it catch that."""

    def stop(*_):
        raise TimeoutError(f"not done after {SECONDS} s")

    if not hasattr(signal, "setitimer"):  # Windows
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def burn_in(methods):
    """Pay for first calls before anything is timed; failures show in the cases."""
    X = np.random.default_rng(0).normal(size=(60, 4))
    for method in methods.values():
        with suppress(Exception):
            detect(method, X, None, np.arange(60) % 2, 0)
