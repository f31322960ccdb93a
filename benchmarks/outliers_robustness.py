"""How outlier detection bears worse rows: contamination, irrelevant columns, copies."""

import numpy as np

from benchmarks import _detectors
from benchmarks._measure import seeds
from benchmarks._tables import anomaly_tasks, one_class

FIGURE, OURS = "auroc", "AEOutlierDetector"
NAMES = OURS, "textbook autoencoder", "IsolationForest", "kNN"
METHODS = {name: _detectors.METHODS[name] for name in NAMES}
KEYS, ROWS = ["change", "level", "method"], ["change", "level"]
MEASURED = ("auroc", "ap", "seconds")


def contaminated(table, share, rng, seed):
    """S with outliers among the training rows."""
    train, test, truth = one_class(table, seed)
    n_added = round(share / (1 - share) * len(train))
    added = table.X[rng.choice(np.flatnonzero(table.y == 1), n_added)]
    return np.vstack([train, added]), test, truth


def with_noise(table, share, rng, seed):
    """U with irrelevant columns."""
    n_columns = table.X.shape[1]
    n_noise = round(share / (1 - share) * n_columns)
    like = table.X[:, rng.integers(n_columns, size=n_noise)]
    noise = rng.uniform(like.min(axis=0), like.max(axis=0), size=like.shape)
    return np.hstack([table.X, noise]), None, table.y


def repeated(table, n_copies, rng, seed):
    """U with every outlier that often."""
    rows = np.repeat(np.arange(len(table.X)), np.where(table.y == 1, n_copies, 1))
    return table.X[rows], None, table.y[rows]


CHANGES = {  # (table, level, generator, seed) -> training rows, test rows, truth
    "contamination": (contaminated, (0, 0.05, 0.1, 0.2, 0.3)),
    "columns": (with_noise, (0, 0.1, 0.25, 0.5)),
    "copies": (repeated, (1, 3, 6)),
}


def cases(options):
    """Every table, change, level, seed and method."""
    found = anomaly_tasks(options)
    _detectors.burn_in(METHODS)
    return [
        {"table": t, "change": change, "level": level, "method": method, "seed": seed}
        for t in found
        for change, (_, levels) in CHANGES.items()
        for level in levels
        for seed in seeds(options)
        for method in METHODS
    ]


def measure(table, change, level, method, seed):
    """Change the table and fit one method to it."""
    rows = CHANGES[change][0](table, level, np.random.default_rng(seed), seed)
    return _detectors.detect(METHODS[method], *rows, seed)
