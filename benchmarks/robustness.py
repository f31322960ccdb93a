"""How outlier detection bears worse rows: contamination, irrelevant columns, copies.

contamination: outliers, drawn with replacement, are added to the training rows of
``outliers``' S until they are that share of them; what is scored stays the same, the
added outliers among it. columns: that share of the columns is uniform noise, each
between the lowest and the highest value of a column drawn; copies: every outlier is
there so often; both in U. After ADBench: Han et al., 2022. ADBench: anomaly detection
benchmark. NeurIPS.
"""

import numpy as np
from matplotlib.figure import Figure

from benchmarks import _detectors
from benchmarks._detectors import burn_in, detect, one_class
from benchmarks._report import number
from benchmarks._tables import anomaly_tasks

METHODS = {  # by its defaults: it is not told how many outliers there are
    "AEOutlierDetector": _detectors.METHODS["AEOutlierDetector auto"],
    "IsolationForest": _detectors.METHODS["IsolationForest"],
    "kNN": _detectors.METHODS["kNN"],
}
FORMATS = {
    **dict.fromkeys(("table", "change"), str),
    "level": "{:g}".format,
    "method": str,
    "seed": "{:.0f}".format,
    **dict.fromkeys(("auroc", "ap"), number),
    "seconds": "{:.2f}".format,
}


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
    tables = anomaly_tasks(options)
    burn_in(METHODS)
    keys = ("table", "change", "level", "method", "seed")
    return [
        dict(zip(keys, (table, change, level, method, seed), strict=True))
        for table in tables
        for change, (_, levels) in CHANGES.items()
        for level in levels
        for seed in range(options.seed, options.seed + options.seeds)
        for method in METHODS
    ]


def measure(table, change, level, method, seed):
    """Change the table and fit one method to it."""
    rng = np.random.default_rng(seed)
    train, test, truth = CHANGES[change][0](table, level, rng, seed)
    return detect(METHODS[method], train, test, truth, seed)


def curves(frame):
    """Mean AUROC over the tables without a failure, (change, level) x methods."""
    kept = frame["auroc"].notna().groupby([frame["table"], frame["change"]])
    rows = frame[kept.transform("all")]
    keys = ["change", "level", "method"]
    return rows.groupby(keys, sort=False)["auroc"].mean().unstack(sort=False)


def summary(frame, cases):
    """The curves, and how far each method falls from their first point to the last."""
    mean = curves(frame)
    lines = []
    for change in mean.index.unique("change"):
        curve = mean.loc[change]
        falls = (curve.iloc[0] - curve.iloc[-1]).items()
        told = ", ".join(f"{method} {fall:.3f}" for method, fall in falls)
        first, last = curve.index[[0, -1]]
        lines.append(f"{change}, AUROC lost from {first:g} to {last:g}: {told}.")
    tables = frame["table"].nunique()
    return mean.reset_index(), [
        *lines,
        f"{tables} tables, seed {', '.join(map(str, frame['seed'].unique()))}; means "
        "over the tables where no method failed.",
        "contamination: share of the training rows that are outliers, scored again "
        "with the rows held out. columns: share of them that is noise. copies: of "
        "each outlier. AEOutlierDetector is by its defaults.",
    ]


def plot(frame):
    """Draw mean AUROC by level, a panel a change and a line a method."""
    mean = curves(frame)
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    panels = figure.subplots(1, len(CHANGES), sharey=True)
    for axes, change in zip(panels, mean.index.unique("change"), strict=False):
        for method, line in mean.loc[change].items():
            axes.plot(line.index, line, marker="o", label=method)
        axes.set(title=change)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("mean AUROC")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=3)
    return figure
