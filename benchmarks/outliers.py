"""How well outliers are ranked above normal rows, beside the detectors in use."""

import numpy as np
import pandas as pd

from benchmarks._detectors import METHODS, SEEDLESS, burn_in, detect
from benchmarks._measure import seeds
from benchmarks._report import by, dots
from benchmarks._tables import anomaly_tasks, one_class

OURS, ONLY_S = "AEOutlierDetector", "AEOutlierDetector auto"  # in U they are one
FIGURE, ROWS = "auroc", ["protocol", "table"]
MEASURED = ("auroc", "ap", "seconds")


def cases(options):
    """Every table, protocol, seed and method, but what would be the same again."""
    found = anomaly_tasks(options)
    burn_in(METHODS)
    return [
        {"table": table, "protocol": protocol, "method": method, "seed": seed}
        for table in found
        for protocol in "SU"
        for seed in seeds(options)
        for method in METHODS
        if protocol == "S"
        or (method != ONLY_S and (seed == options.seed or method not in SEEDLESS))
    ]


def measure(table, protocol, method, seed):
    """Fit one method and score the rows that its protocol says."""
    rows = one_class(table, seed) if protocol == "S" else (table.X, None, table.y)
    return detect(METHODS[method], *rows, seed)


def summary(frame):
    """Each method over all tables, and beside ours, kNN and the forest."""
    parts = {p: over_tables(part) for p, part in frame.groupby("protocol", sort=False)}
    return pd.concat(parts, names=["protocol", "method"])


def over_tables(part):
    """Means, ranks, tables won and lost, and ours less each method, by method."""
    auroc, ap = by(part, "auroc"), by(part, "ap")
    seconds = part.groupby("method", sort=False)["seconds"]
    columns = {
        "tables": auroc.count(),
        "auroc": auroc.mean(),
        "ap": ap.mean(),
        "rank": auroc.rank(axis=1, ascending=False, na_option="bottom").mean(),
        "ours ahead": auroc.apply(lambda rival: _ahead(auroc[OURS] - rival)),
        "ap ahead": ap.apply(lambda rival: _ahead(ap[OURS] - rival)),
        "median s": seconds.median(),
        "max s": seconds.max(),
    }
    return pd.DataFrame(columns, index=auroc.columns)


def _ahead(gain):
    if not (gain := gain.dropna()).any():
        return "-"
    low, high = interval(gain)
    return f"{gain.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def interval(values, n_draws=10_000):
    """95 % interval of a mean: tables drawn with replacement, always the same."""
    values = np.asarray(values)
    rows = np.random.default_rng(0).integers(len(values), size=(n_draws, len(values)))
    return np.percentile(values[rows].mean(axis=1), [2.5, 97.5])


def plot(frame):
    """Draw each method's mean AUROC and average precision over the tables."""
    table = summary(frame)[["auroc", "ap"]]
    titles = {"S": "S: fit on normal rows", "U": "U: fit on all rows"}
    panels = {titles[p]: table.loc[p] for p in table.index.unique("protocol")}
    return dots(panels, "mean over the tables (right is better)")
