"""How often the wrong cell is the one that contributes most to a row's score."""

from functools import partial

import numpy as np

from benchmarks._detectors import pca_errors, scaled
from benchmarks._measure import seeds, timed
from benchmarks._tables import tables
from sklearn_ae import AEOutlierDetector

MAX_ROWS, MAX_WRONG = 1500, 200  # to fit on, and with a wrong cell


def _ours(train, rows, seed, **params):
    model = AEOutlierDetector(contamination=0, random_state=seed, **params)
    return model.fit(train).explain(rows).contributions


METHODS = {  # (training rows, rows, seed) -> contributions (n, d), the highest is taken
    "AEOutlierDetector": _ours,
    "autoencoder": partial(_ours, method="reconstruction"),
    "PCA": lambda train, rows, seed: pca_errors(train, rows, seed, 0.95),
    "standard score": lambda train, rows, seed: np.abs(scaled(train, rows)[1]),
}
KEYS, ROWS = ["change", "method"], ["change", "table"]
FIGURE, OURS = "hit", "AEOutlierDetector"
MEASURED = ("hit", "seconds")


def _far(train, values, columns, rng):
    signs = rng.choice([-1, 1], len(values))
    return values + 5 * signs * train.std(axis=0)[columns]


def _turned(train, values, columns, rng):
    """Values of the opposite rank among the column's."""
    ranks = np.count_nonzero(train[:, columns] < values, axis=0)
    opposite = np.maximum(len(train) - 1 - ranks, 0)
    return np.sort(train, axis=0)[opposite, columns]


CHANGES = {"far": _far, "turned": _turned}


def planted(X, change, seed):
    """Rows to fit on, rows with a wrong cell each, and the columns of these."""
    rng = np.random.default_rng(seed)
    X = rng.permutation(X)[: MAX_ROWS + MAX_WRONG]
    n_wrong = min(MAX_WRONG, len(X) // 4)
    rows, train = X[:n_wrong].copy(), X[n_wrong:]
    columns = rng.choice(np.flatnonzero(np.ptp(train, axis=0)), n_wrong)
    cells = np.arange(n_wrong), columns
    right = rows[cells]
    rows[cells] = CHANGES[change](train, right, columns, rng)
    # The opposite of a frequent value may be the value.
    is_wrong = rows[cells] != right
    return train, rows[is_wrong], columns[is_wrong]


def cases(options):
    """Every table of two columns or more with every change, seed and method."""
    return [
        {"table": table, "change": change, "method": method, "seed": seed}
        for table in tables(options)
        if np.count_nonzero(np.ptp(table.X, axis=0)) > 1
        for change in CHANGES
        for seed in seeds(options)
        for method in METHODS
    ]


def measure(table, change, method, seed):
    """Make cells wrong and count those with the largest contribution."""
    is_anomaly_task = table.y is not None and table.y.max() == 1
    X = table.X[table.y == 0] if is_anomaly_task else table.X
    train, rows, columns = planted(X, change, seed)
    seconds, contributions = timed(METHODS[method], train, rows, seed)
    hit = np.mean(np.argmax(contributions, axis=1) == columns)
    return dict(zip(MEASURED, (hit, seconds), strict=True))
