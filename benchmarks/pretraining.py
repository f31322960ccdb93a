"""What rows without a label are worth: accuracy by the share that has one.

Scikit-learn's tables with classes; with ``--data DIR`` also ``DIR/tabular`` and MNIST
from ``DIR/images``. 30 % of the rows are held out. Labels are drawn at random, but two
of each class at the least; scaling and PCA see all training rows. "supervised only" is
our network without phase 1 and without anything asked of unlabelled rows.
"""

import warnings
from functools import lru_cache, partial

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC

from benchmarks._judge import timed
from benchmarks._labelled import load
from benchmarks._report import number, one_legend
from sklearn_ae import AutoencoderClassifier

HELD_OUT, N_EACH, N_PCA = 0.3, 2, 32  # share; labels of each class; components
SHARES = {"1 %": 0.01, "5 %": 0.05, "100 %": 1.0}
COUNTS = {"100 labels": 100, "1,000 labels": 1_000, "100 %": 1.0}  # of MNIST
TOO_SLOW = ("boosting", "self-training")  # for pictures: minutes a fit
SHAPES = {"MNIST": (28, 28)}


def logistic(X, y, seed, table):
    """Logistic regression on standardised columns."""
    return _on_labelled(LogisticRegression(max_iter=2_000), StandardScaler(), X, y)


def boosting(X, y, seed, table):
    """Gradient boosting."""
    return _on_labelled(HistGradientBoostingClassifier(random_state=seed), None, X, y)


def svc(X, y, seed, table):
    """A support vector machine on the axes of PCA."""
    return _on_labelled(SVC(), _axes(X, seed, table), X, y)


def self_training(X, y, seed, table):
    """A support vector machine that learns from its own answers."""
    model = SelfTrainingClassifier(SVC(probability=True, random_state=seed))
    return _on_all(model, None if table.name in SHAPES else StandardScaler(), X, y)


def spreading(X, y, seed, table):
    """Labels spread along the nearest neighbours on the axes of PCA."""
    model = LabelSpreading(kernel="knn", alpha=0.2, max_iter=100)
    answers = _on_all(model, _axes(X, seed, table), X, y)

    # Of a row that no label reaches it knows nothing.
    def known(X):
        with np.errstate(invalid="ignore"):
            return np.nan_to_num(answers(X), nan=1 / len(model.classes_))

    return known


def ours(X, y, seed, table, **params):
    """By its defaults."""
    return AutoencoderClassifier(random_state=seed, **params).fit(X, y).predict_proba


def conv(X, y, seed, table):
    """With convolutions."""
    shape = SHAPES[table.name]
    return ours(X, y, seed, table, architecture="conv", input_shape=shape)


def supervised(X, y, seed, table, **params):
    """Our network from PCA, on the labelled rows alone."""
    default = AutoencoderClassifier(**params)._default(X)
    untrained = default.set_params(max_iter=1, learning_rate_init=1e-9)
    return ours(X, y, seed, table, autoencoder=untrained, consistency_weight=0)


METHODS = {
    "logistic": logistic,
    "boosting": boosting,
    "SVC on PCA": svc,
    "self-training": self_training,
    "label spreading": spreading,
    "ours": ours,
    "ours, supervised only": supervised,
    "ours, conv": conv,
    "ours, conv, supervised only": partial(
        supervised, architecture="conv", input_shape=(28, 28)
    ),
}
SPREADS = ("self-training", "label spreading")
FORMATS = {
    **dict.fromkeys(("table", "share", "method"), str),
    **dict.fromkeys(("seed", "labels"), "{:.0f}".format),
    **dict.fromkeys(("accuracy", "log_loss"), number),
    "seconds": "{:.2f}".format,
}


def _axes(X, seed, table):
    scaler = None if table.name in SHAPES else StandardScaler()
    scaled = X if scaler is None else scaler.fit_transform(X)
    pca = PCA(min(N_PCA, *scaled.shape), random_state=seed).fit(scaled)
    return _Chain(scaler, pca)


class _Chain:
    """Two transformers, the first of which may be none, already fitted."""

    def __init__(self, scaler, pca):
        self.scaler, self.pca = scaler, pca

    def fit(self, X):
        return self

    def transform(self, X):
        return self.pca.transform(
            X if self.scaler is None else self.scaler.transform(X)
        )


def _on_labelled(model, scaler, X, y):
    prepare = _prepare(scaler, X)
    rows = y >= 0
    model.fit(prepare(X[rows]), y[rows])
    return _answers(model, prepare)


def _on_all(model, scaler, X, y):
    prepare = _prepare(scaler, X)
    with warnings.catch_warnings():
        # Of SVC's probabilities, and of rows that no label reaches.
        warnings.simplefilter("ignore")
        model.fit(prepare(X), y)
    return _answers(model, prepare)


def _prepare(scaler, X):
    return (lambda rows: rows) if scaler is None else scaler.fit(X).transform


def _answers(model, prepare):
    if hasattr(model, "predict_proba"):
        return lambda X: model.predict_proba(prepare(X))
    return lambda X: np.eye(len(model.classes_))[
        np.searchsorted(model.classes_, model.predict(prepare(X)))
    ]


def cases(options):
    """Every table, share, seed and method."""
    return [
        {"table": table, "share": share, "method": method, "seed": seed}
        for table in load(options)
        for seed in range(options.seed, options.seed + options.seeds)
        for share in (COUNTS if table.name in SHAPES else SHARES)
        for method in METHODS
        if _suits(table, share, method)
    ]


def _suits(table, share, method):
    is_picture = table.name in SHAPES
    if ("conv" in method and not is_picture) or (method in TOO_SLOW and is_picture):
        return False
    if "supervised" in method:
        return share == "100 %"
    return method not in SPREADS or share != "100 %"


@lru_cache(maxsize=1)  # the methods share it
def problem(table, share, seed):
    """Training rows, their labels or -1, and rows held out with theirs."""
    X, X_test, y, y_test = train_test_split(
        table.X, table.y, test_size=HELD_OUT, random_state=seed, stratify=table.y
    )
    asked = (COUNTS if table.name in SHAPES else SHARES)[share]
    n = min(asked, len(y)) if asked > 1 else round(asked * len(y))
    order = np.random.default_rng(seed).permutation(len(y))
    first = np.concatenate([order[y[order] == c][:N_EACH] for c in np.unique(y)])
    rows = np.r_[first, order[~np.isin(order, first)]][: max(n, len(first))]
    few = np.full(len(y), -1)
    few[rows] = y[rows]
    return X, few, X_test, y_test


def measure(table, share, method, seed):
    """One method on one table with some labels, judged on the rows held out."""
    X, few, X_test, y_test = problem(table, share, seed)
    seconds, answers = timed(METHODS[method], X, few, seed, table)
    probabilities = answers(X_test)
    # All classes have a label: columns are classes.
    hard = np.isin(probabilities, (0, 1)).all()
    classes = np.arange(probabilities.shape[1])
    return {
        "labels": (few >= 0).sum(),
        "accuracy": np.mean(probabilities.argmax(axis=1) == y_test),
        "log_loss": np.nan if hard else log_loss(y_test, probabilities, labels=classes),
        "seconds": seconds,
    }


def summary(frame, cases):
    """Mean accuracy by share and method, and the tables that ours loses."""
    table = frame.pivot_table(
        "accuracy", ["table", "share"], "method", sort=False, observed=True
    )
    table = table[[m for m in METHODS if m in table.columns]].reset_index()
    return table, [
        *_sentences(frame),
        "accuracy on the rows held out, mean over the seeds; a share is of the "
        "training rows, and two labels of each class are the least.",
    ]


def _sentences(frame):
    lines = []
    tables = frame[~frame["table"].isin(SHAPES)]
    for share, part in tables.groupby("share", sort=False):
        mean = (
            part.groupby(["method", "table"], sort=False)["accuracy"].mean().unstack()
        )
        means = mean.mean(axis=1)
        told = [f"{name} {value:.3f}" for name, value in means.items()]
        lines.append(f"{share}, mean over {mean.shape[1]} tables: {', '.join(told)}.")
        for rival in ("logistic", "boosting"):
            ahead = mean.loc["ours"] - mean.loc[rival]
            lines.append(
                f"{share}, ours less {rival}: {ahead.min():+.3f} ({ahead.idxmin()}) to "
                f"{ahead.max():+.3f} ({ahead.idxmax()})."
            )
    losses = frame.groupby(["share", "method"], sort=False)["log_loss"].mean().dropna()
    told = [f"{m} at {s} {v:.3f}" for (s, m), v in losses.items() if "ours" in m]
    return [*lines, f"log loss of ours: {', '.join(told)}."]


def plot(frame):
    """Draw accuracy by share, a panel a table, a line a method."""
    names = list(dict.fromkeys(frame["table"]))
    n_rows = -(-len(names) // 3)
    figure = Figure(figsize=(9, 2.6 * n_rows + 0.6), layout="constrained")
    panels = figure.subplots(n_rows, 3, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        part = frame[frame["table"] == name]
        shares = list(dict.fromkeys(part["share"]))
        for method in METHODS:
            mean = part[part["method"] == method].groupby("share")["accuracy"].mean()
            at = [i for i, share in enumerate(shares) if share in mean]
            if at:
                heights = [mean[shares[i]] for i in at]
                axes.plot(at, heights, marker="o", label=method)
        axes.set(title=name, xticks=range(len(shares)), xticklabels=shares)
        axes.grid(alpha=0.3)
    one_legend(figure, panels, len(names))
    return figure
