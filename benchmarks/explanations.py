"""How often the cell that is wrong is the one that is blamed.

Of a table's normal rows some are held out, and one cell of each is made wrong: "far" is
moved by 5 standard deviations up or down, "turned" takes the column's value of the
opposite rank, which only the other cells tell to be wrong. What counts is whether the
column that contributes most to the row's score is that of the wrong cell.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from benchmarks._judge import timed
from benchmarks._report import number
from benchmarks._tables import load_tables
from sklearn_ae import AEOutlierDetector

MAX_ROWS, MAX_WRONG = 1500, 200  # to fit on, and with a wrong cell
MOVED_BY = 5.0


def _ours(train, rows, seed, **params):
    params = {"contamination": 0, "random_state": seed} | params
    return AEOutlierDetector(**params).fit(train).explain(rows).contributions


def _textbook(train, rows, seed):
    return _ours(train, rows, seed, method="reconstruction")


def _pca(train, rows, seed):
    """Minus the squared rest of each standardised cell."""
    scaler = StandardScaler().fit(train)
    pca = PCA(0.95, random_state=seed).fit(scaler.transform(train))
    Z = scaler.transform(rows)
    return -np.square(Z - pca.inverse_transform(pca.transform(Z)))


def _standard_score(train, rows, seed):
    return -np.abs(StandardScaler().fit(train).transform(rows))


METHODS = {  # (training rows, rows, seed) -> contributions, the lowest are blamed
    "AEOutlierDetector": _ours,
    "autoencoder": _textbook,
    "PCA": _pca,
    "standard score": _standard_score,
}
FORMATS = {
    **dict.fromkeys(("table", "change", "method"), str),
    **dict.fromkeys(("seed", "rows", "columns"), "{:.0f}".format),
    "hit": number,
    "seconds": "{:.2f}".format,
}


def far(train, rows, cells, rng):
    """Values 5 standard deviations away."""
    deviation = train.std(axis=0)[cells]
    signs = rng.choice([-1, 1], len(rows))
    return rows[np.arange(len(rows)), cells] + MOVED_BY * signs * deviation


def turned(train, rows, cells, rng):
    """Values of the opposite rank among the column's."""
    values = rows[np.arange(len(rows)), cells]
    ranks = np.count_nonzero(train[:, cells] < values, axis=0)
    opposite = np.maximum(len(train) - 1 - ranks, 0)
    return np.sort(train, axis=0)[opposite, cells]


CHANGES = {"far": far, "turned": turned}


def planted(X, change, seed):
    """Rows to fit on, rows with a wrong cell each, and the columns of these."""
    rng = np.random.default_rng(seed)
    X = rng.permutation(X)[: MAX_ROWS + MAX_WRONG]
    n_wrong = min(MAX_WRONG, len(X) // 4)
    rows, train = X[:n_wrong].copy(), X[n_wrong:]
    cells = rng.choice(np.flatnonzero(np.ptp(train, axis=0)), n_wrong)
    rows[np.arange(n_wrong), cells] = CHANGES[change](train, rows, cells, rng)
    return train, rows, cells


def cases(options):
    """Every table of two columns or more with every change, seed and method."""
    return [
        {"table": table, "change": change, "method": method, "seed": seed}
        for table in load_tables(options)
        if np.count_nonzero(np.ptp(table.X, axis=0)) > 1
        for change in CHANGES
        for seed in range(options.seed, options.seed + options.seeds)
        for method in METHODS
    ]


def measure(table, change, method, seed):
    """Make cells wrong and see which are blamed."""
    two_kinds = table.y is not None and table.y.max() == 1
    X = table.X[table.y == 0] if two_kinds else table.X
    train, rows, cells = planted(X, change, seed)
    seconds, contributions = timed(METHODS[method], train, rows, seed)
    return {
        "rows": len(train),
        "columns": X.shape[1],
        "hit": np.mean(np.argmin(contributions, axis=1) == cells),
        "seconds": seconds,
    }


def hits(frame):
    """Share of wrong cells that are blamed, (change, table) x methods."""
    keys = ["change", "table", "method"]
    return frame.groupby(keys, sort=False)["hit"].mean().unstack(sort=False)


def summary(frame, cases):
    """Means over the tables, and on how many nine of ten are found."""
    found = hits(frame)
    means = found.groupby("change", sort=False).mean().reset_index()
    lines = [
        f"{change}: 0.9 or more on "
        + ", ".join(f"{n} by {method}" for method, n in row.items())
        + f" of {len(found.loc[change])} tables."
        for change, row in found.ge(0.9).groupby("change", sort=False).sum().iterrows()
    ]
    return means, [
        *lines,
        "far: a cell is 5 standard deviations off. turned: it has the value of the "
        "opposite rank. PCA: squared rest of standardised columns, 95 % of the "
        "variance kept; autoencoder: the same by method='reconstruction'.",
    ]


def plot(frame):
    """Draw the share that is found, a panel a change, a line a table."""
    found = hits(frame)
    changes = found.index.unique("change")
    tables = found.index.unique("table")
    figure = Figure(figsize=(9, 1.6 + 0.25 * len(tables)), layout="constrained")
    panels = figure.subplots(1, len(changes), sharey=True, squeeze=False)[0]
    for axes, change in zip(panels, changes, strict=True):
        for method, marker in zip(found, "o^v1", strict=False):
            axes.scatter(
                found.loc[change][method], tables, 24, marker=marker, label=method
            )
        axes.set(title=change, xlabel="share of wrong cells that are blamed")
        axes.grid(alpha=0.3)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper center", ncols=4
    )
    return figure
