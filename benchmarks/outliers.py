"""How well outliers are told from normal rows, beside the detectors in use.

S, one-class: fit on a random half of the normal rows, score the other half and all
outliers. U, contaminated: fit on all rows, score the same rows. A table is a task as it
is where class 1 of two is the rarer; else one class of it is normal (the largest; of
digits the first and, as a task of its own, the second; of iris the second) and rows of
the others, drawn to be 10 %, are the outliers.
"""

from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks._detectors import METHODS, SECONDS, SEEDLESS, burn_in, detect, one_class
from benchmarks._report import number
from benchmarks._tables import anomaly_tasks

OURS, FOREST, KNN = "AEOutlierDetector", "IsolationForest", ("kNN", "kNN min-max")
ONLY_S = ("AEOutlierDetector auto",)  # in U it is the one above
FAR = 0.1  # a loss of so much AUROC is named

FORMATS = {
    "table": str,
    **dict.fromkeys(("rows", "features"), "{:.0f}".format),
    **dict.fromkeys(("protocol", "method"), str),
    "seed": "{:.0f}".format,
    **dict.fromkeys(("auroc", "ap"), number),
    "seconds": "{:.2f}".format,
}


def cases(options):
    """Every table, protocol, seed and method, but what would be the same again."""
    tables = anomaly_tasks(options)
    burn_in(METHODS)
    return [
        {"table": table, "protocol": protocol, "method": method, "seed": seed}
        for table in tables
        for protocol in "SU"
        for seed in range(options.seed, options.seed + options.seeds)
        for method in METHODS
        if protocol == "S"
        or (method not in ONLY_S and (seed == options.seed or method not in SEEDLESS))
    ]


def measure(table, protocol, method, seed):
    """Fit one method and score the rows that its protocol says."""
    train, test, truth = (
        one_class(table, seed) if protocol == "S" else (table.X, None, table.y)
    )
    return {
        "rows": len(table.X),
        "features": table.X.shape[1],
        **detect(METHODS[method], train, test, truth, seed),
    }


def summary(frame, cases):
    """Judge each method over all tables, and beside ours, kNN and the forest."""
    parts = {p: part for p, part in frame.groupby("protocol", sort=False)}
    table = pd.concat([_over_tables(p, part) for p, part in parts.items()])
    lines = [line for p, part in parts.items() for line in _sentences(p, part)]
    return table, lines + _notes(cases)


def by_table(frame, figure):
    """Tables x methods, the mean over the seeds."""
    mean = frame.groupby(["table", "method"], sort=False)[figure].mean()
    return mean.unstack(sort=False)


def _over_tables(protocol, part):
    auroc, ap = by_table(part, "auroc"), by_table(part, "ap")
    seconds = part.groupby("method", sort=False)["seconds"]
    columns = {
        "tables": auroc.count(),
        "auroc": auroc.mean(),
        "ap": ap.mean(),
        "rank": _rank(auroc),
        "ap rank": _rank(ap),
        "kNN w/l": _record(auroc, _better_knn(auroc)),
        "forest w/l": _record(auroc, FOREST),
        "ours ahead": _ahead(auroc),
        "ap ahead": _ahead(ap),
        "median s": seconds.median(),
        "max s": seconds.max(),
    }
    table = pd.DataFrame(columns, index=auroc.columns).rename_axis("method")
    table.insert(0, "protocol", protocol)
    return table.reset_index()


def _rank(figure):
    """Mean rank, 1 the best; where a method failed it is last."""
    return figure.rank(axis=1, ascending=False, na_option="bottom").mean()


def _better_knn(auroc):
    return max(KNN, key=auroc.mean().get)


def _record(auroc, rival):
    won, lost = (f(auroc[rival], axis=0).sum() for f in (auroc.gt, auroc.lt))
    return won.astype(str) + "/" + lost.astype(str)


def _ahead(figure):
    """Ours minus each, and its 95 % interval."""
    return figure.apply(lambda rival: _interval_text(figure[OURS] - rival))


def _interval_text(gain):
    gain = gain.dropna()
    if gain.empty or gain.name == OURS:
        return "-"
    low, high = interval(gain)
    return f"{gain.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def interval(values, n_draws=10_000):
    """95 % interval of a mean: tables drawn with replacement, always the same."""
    values = np.asarray(values)
    rows = np.random.default_rng(0).integers(len(values), size=(n_draws, len(values)))
    return np.percentile(values[rows].mean(axis=1), [2.5, 97.5])


def _sentences(protocol, part):
    auroc = by_table(part, "auroc")
    knn = _better_knn(auroc)
    seeds = ", ".join(map(str, part["seed"].unique()))
    lines = [f"{protocol}: {len(auroc)} tables, seed {seeds}; the better kNN is {knn}."]
    for rival in (knn, FOREST):
        lost = auroc[auroc[rival] - auroc[OURS] >= FAR]
        names = [f"{t} ({r[OURS]:.2f}, {r[rival]:.2f})" for t, r in lost.iterrows()]
        lines.append(
            f"{protocol}: {OURS} is {FAR} of AUROC or more behind {rival} on "
            f"{len(lost)} of {len(auroc)} tables{': ' * bool(names)}{', '.join(names)}."
        )
    return lines


def _notes(cases):
    drawn = [note for note in dict.fromkeys(c["table"].drawn for c in cases) if note]
    rows = f"Rows drawn with seed {cases[0]['seed']}: {', '.join(drawn)}."
    return [rows] * bool(drawn) + [
        "S: fit on half of the normal rows, score the rest and all outliers. U: fit on "
        "all rows, score the same.",
        "tables: those with a result, over which the means are; a failure ranks last. "
        "w/l: tables won and lost by AUROC against the better kNN and IsolationForest.",
        f"ours, ap ahead: {OURS}'s AUROC and average precision minus the method's, the "
        "mean over the tables and its 95 % interval (10,000 paired bootstrap draws).",
        f"{OURS} is told in S that its rows are clean (contamination=0), auto is not. "
        "All others are at their defaults but for kNN (mean of 5), PCA (a quarter of "
        "the columns) and GaussianMixture (5 normals, reg_covar=0.001), and see "
        "standardised columns, the forest and kNN min-max excepted.",
        f"A method is stopped after {SECONDS} s. What has no seed runs once in U.",
        *([f"PyOD {version('pyod')}."] if find_spec("pyod") else []),
    ]


def details(frame):
    """Every table's AUROC and average precision, a column a method."""
    blocks = [
        by_table(part, figure).assign(protocol=protocol, figure=figure).reset_index()
        for protocol, part in frame.groupby("protocol", sort=False)
        for figure in ("auroc", "ap")
    ]
    table = pd.concat(blocks)
    keys = ["protocol", "figure", "table"]
    return table[keys + [c for c in table if c not in keys]]


def plot(frame):
    """Draw each method's mean AUROC and its interval over the tables."""
    figure = Figure(figsize=(9, 1.2 + 0.3 * frame["method"].nunique()))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(1, 2, sharey=True)
    names = list(dict.fromkeys(frame["method"]))[::-1]
    for axes, (protocol, part) in zip(panels, frame.groupby("protocol"), strict=True):
        for method, values in by_table(part, "auroc").items():
            values = values.dropna()
            if values.empty:
                continue
            line = names.index(method)
            color = "tab:red" if method == OURS else "tab:blue"
            axes.plot(interval(values), [line, line], color=color, alpha=0.5)
            axes.plot(values.mean(), line, "o", color=color)
        title = {"S": "fit on normal rows", "U": "fit on all rows"}[protocol]
        axes.set(title=title, xlabel="mean AUROC, 95 % interval over the tables")
        axes.grid(alpha=0.3)
    panels[0].set_yticks(range(len(names)), names)
    return figure
