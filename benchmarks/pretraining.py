"""What rows without a label are worth: accuracy by the share that has one."""

import warnings
from functools import lru_cache

import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC

from benchmarks import _tables
from benchmarks._measure import seeds, timed
from sklearn_ae import AutoencoderClassifier, AutoencoderTransformer

HELD_OUT, N_EACH, N_PCA = 0.3, 2, 32  # share; labels of each class; components
SHARES = {"1 %": 0.01, "5 %": 0.05, "100 %": 1.0}
COUNTS = {f"{n:,} labels": n for n in (100, 1_000, 7_000)}  # for MNIST
ALL = "100 %", "7,000 labels"
TOO_SLOW = ("boosting", "self-training")  # for MNIST: minutes a fit
SPREADS = ("self-training", "label spreading")  # they learn from unlabelled rows

RIVALS = {  # name -> (seed -> classifier), preparation of the columns
    "logistic": (lambda s: LogisticRegression(max_iter=2_000), "standardised"),
    "boosting": (lambda s: HistGradientBoostingClassifier(random_state=s), ""),
    "SVC on PCA": (lambda s: SVC(), "PCA"),
    "self-training": (
        lambda s: SelfTrainingClassifier(SVC(probability=True, random_state=s)),
        "standardised",
    ),
    "label spreading": (
        lambda s: LabelSpreading(kernel="knn", alpha=0.2, max_iter=100),
        "PCA",
    ),
}
OURS, CONV = "ours", "ours, conv"
METHODS = [m for ours in (OURS, CONV) for m in (ours, f"{ours}, supervised only")]
METHODS = [*RIVALS, *METHODS]
KEYS, ROWS = ["share", "method"], ["table", "share"]
FIGURE = "accuracy"
MEASURED = ("labels", "accuracy", "log_loss", "seconds")


def _is_mnist(table):
    return table.name == "MNIST"


def fit(method, X, y, seed, table):
    """Fit a method to rows, of which some have a label and the others -1."""
    if method in RIVALS:
        return _fit_rival(method, X, y, seed, _is_mnist(table))
    is_conv = "conv" in method
    conv = {"architecture": "conv", "input_shape": table.shape} if is_conv else {}
    if "supervised" not in method:
        return AutoencoderClassifier(random_state=seed, **conv).fit(X, y)
    # The classifier's recipe, from PCA and not trained.
    scale = None if table.shape else "auto"
    params = {"scale": scale, "max_iter": 1, "learning_rate_init": 1e-9, **conv}
    untrained = AutoencoderTransformer(0.99, alpha=1.0, **params)
    params = {"autoencoder": untrained, "consistency_weight": 0}
    return AutoencoderClassifier(random_state=seed, **params).fit(X, y)


def _fit_rival(method, X, y, seed, columns_look_like_pixels):
    make, preparation = RIVALS[method]
    steps, Z = [], X
    if preparation and not (columns_look_like_pixels and method != "logistic"):
        steps.append(StandardScaler().fit(X))
        Z = steps[0].transform(X)
    if preparation == "PCA":
        steps.append(PCA(min(N_PCA, *X.shape), random_state=seed).fit(Z))
    rows = slice(None) if method in SPREADS else y >= 0
    return make_pipeline(*map(FrozenEstimator, steps), make(seed)).fit(X[rows], y[rows])


def cases(options):
    """Every table, share, seed and method."""
    sources = _tables.bundled(("digits", "breast_cancer", "wine", "iris"))
    files = _tables.CSV_FILES | _tables.MNIST_FILES
    found = _tables.load(options, sources | _tables.present(options.data, files))
    if without := [table.name for table in found if table.y is None]:
        raise _tables.BadInput(f"no classes in {', '.join(without)}")
    return [
        {"table": table, "share": share, "method": method, "seed": seed}
        for table in found
        for seed in seeds(options)
        for share in (COUNTS if _is_mnist(table) else SHARES)
        for method in METHODS
        if suits(table, share, method)
    ]


def suits(table, share, method):
    """True if a method is run: convolutions on pictures, spreading on few labels."""
    if method in TOO_SLOW if _is_mnist(table) else "conv" in method:
        return False
    if "supervised" in method:
        return share in ALL
    return method not in SPREADS or share not in ALL


@lru_cache(maxsize=1)  # the methods share it
def problem(table, share, seed):
    """Training rows, their labels or -1, and rows held out with theirs."""
    X, X_test, y, y_test = train_test_split(
        table.X, table.y, test_size=HELD_OUT, random_state=seed, stratify=table.y
    )
    number = (COUNTS if _is_mnist(table) else SHARES)[share]
    n = min(number, len(y)) if number > 1 else round(number * len(y))
    order = np.random.default_rng(seed).permutation(len(y))
    first = np.concatenate([order[y[order] == c][:N_EACH] for c in np.unique(y)])
    rows = np.r_[first, order[~np.isin(order, first)]][: max(n, len(first))]
    few = np.full(len(y), -1)
    few[rows] = y[rows]
    return X, few, X_test, y_test


def measure(table, share, method, seed):
    """Fit one method with some labels, and score it on the rows held out."""
    X, few, X_test, y_test = problem(table, share, seed)
    # Probabilities of SVC, and rows that no label reaches.
    with warnings.catch_warnings(action="ignore"):
        seconds, model = timed(fit, method, X, few, seed, table)
        n_classes = len(model.classes_)  # all have a label
        if hasattr(model, "predict_proba"):
            p = np.nan_to_num(model.predict_proba(X_test), nan=1 / n_classes)
        else:
            p = np.eye(n_classes)[model.predict(X_test)]
    loss = np.nan  # predictions without probabilities have none
    if not np.isin(p, (0, 1)).all():
        loss = log_loss(y_test, p, labels=range(n_classes))
    accuracy = np.mean(p.argmax(axis=1) == y_test)
    figures = (few >= 0).sum(), accuracy, loss, seconds
    return dict(zip(MEASURED, figures, strict=True))
