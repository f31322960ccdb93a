"""How well outliers are ranked above normal rows, beside the detectors in use."""

from functools import partial

import numpy as np
import pandas as pd

from benchmarks._detectors import METHODS, SEEDLESS, burn_in, detect, ours
from benchmarks._measure import seeds
from benchmarks._report import by, dots
from benchmarks._tables import (
    all_rows,
    anomaly_tasks,
    contaminated_halves,
    one_class,
)

OURS = "AEOutlierDetector"
CLEAN = {  # with normal training rows alone, both settings are compared
    OURS: partial(ours, contamination=0),
    "AEOutlierDetector auto": ours,
}
SPLITS = {  # (table, seed) -> training rows, test rows (None: the same), truth
    "S": one_class,
    "U": all_rows,
    "V": contaminated_halves,
}
TITLES = {
    "S": "S: fit on normal rows",
    "U": "U: fit on all rows",
    "V": "V: fit on contaminated rows, new rows scored",
}
FIGURE, ROWS = "auroc", ["protocol", "table"]
MEASURED = ("auroc", "ap", "seconds")


def cases(options):
    """Every table, protocol, seed and method, but what would be the same again."""
    found = anomaly_tasks(options)
    burn_in(METHODS)
    return [
        {"table": table, "protocol": protocol, "method": method, "seed": seed}
        for table in found
        for protocol in SPLITS
        for seed in seeds(options)
        for method in methods(protocol)
        if protocol != "U" or seed == options.seed or method not in SEEDLESS
    ]


def methods(protocol):
    """Every method of a protocol by its name."""
    # CLEAN replaces entries, from the right; from the left it puts ours first.
    return CLEAN | METHODS | CLEAN if protocol == "S" else METHODS


def measure(table, protocol, method, seed):
    """Fit one method and score the rows that its protocol says."""
    return detect(methods(protocol)[method], *SPLITS[protocol](table, seed), seed)


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
        "rank": ranks(auroc).mean(),
        "ap rank": ranks(ap).mean(),
        "ours ahead": auroc.apply(lambda rival: _ahead(auroc[OURS] - rival)),
        "ap ahead": ap.apply(lambda rival: _ahead(ap[OURS] - rival)),
        "median s": seconds.median(),
        "max s": seconds.max(),
    }
    return pd.DataFrame(columns, index=auroc.columns)


def ranks(figures):
    """Rank of each method on each table, 1 is the best; a failure is last."""
    return figures.rank(axis=1, ascending=False, na_option="bottom")


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
    panels = {TITLES[p]: table.loc[p] for p in table.index.unique("protocol")}
    return dots(panels, "mean over the tables (right is better)")
