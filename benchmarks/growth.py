"""How time and memory of a default fit grow with the rows and with the columns.

Drawn tables in float32, one thread, and a process of its own for each fit: its peak of
memory is then that fit's alone. Every error is of further rows of the same table.
"""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score

from benchmarks._judge import held_to, timed
from benchmarks._memory import with_peak
from benchmarks._report import number
from benchmarks._tables import curved_sheet
from sklearn_ae import AutoencoderTransformer
from sklearn_ae.autoencoder._parameters import max_iterations

SHAPES = [
    *((n, 50) for n in (10**3, 10**4, 10**5, 10**6)),
    *((10**4, d) for d in (10, 30, 100, 300, 1000, 2000)),
]
QUICK = [(1000, 10), (3000, 10), (1000, 30)]
# Where ten times the budget is asked for as well.
LONG_SHAPES = {(10**4, 50), (10**5, 50), (10**6, 50), (1000, 10)}
NOISE = 0.1  # little: there is something to learn beyond PCA, all through the budget
N_HELD_OUT = 5000
FROM = 10**4  # rows from which on the budget is the same number of steps
CLOSE = 0.03  # share by which an error may be above that of ten times the budget

OURS, LONG = "ours", "ten times longer"
METHODS = {
    OURS: partial(AutoencoderTransformer, random_state=0),
    LONG: partial(
        AutoencoderTransformer,
        max_iter=10 * max_iterations(AutoencoderTransformer()),
        n_iter_no_change=10**9,  # it is to be ten times longer indeed
        random_state=0,
    ),
    "PCA": partial(PCA, 0.95),  # of the variance, as ours: as many components
}
FORMATS = {
    **dict.fromkeys(("rows", "columns"), "{:,.0f}".format),
    "method": str,
    **dict.fromkeys(("k", "n_iter"), "{:.0f}".format),
    "seconds": "{:.3g}".format,
    "memory": number,
    "unexplained": "{:.5f}".format,
}


def cases(options):
    """Every shape with ours and PCA, and some with ten times the budget."""
    return [
        {"rows": n, "columns": d, "method": method}
        for n, d in (QUICK if options.quick else SHAPES)
        for method in METHODS
        if method != LONG or (n, d) in LONG_SHAPES
    ]


def measure(rows, columns, method):
    """Fit once in a new process; one that is killed for its memory is a failure."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(fit, rows, columns, method).result()


def fit(rows, columns, method):
    """Seconds and memory of one fit, and its error on the rows held out."""
    table = curved_sheet(rows + N_HELD_OUT, columns, NOISE)
    X, held_out, model = table[:rows], table[rows:], METHODS[method]()
    with held_to(1):
        _burn_in()
        peak, (seconds, _) = with_peak(timed, model.fit, X)
        unexplained = _unexplained(model, held_out)
    return {
        "k": model.n_components_,
        "n_iter": getattr(model, "n_iter_", np.nan),
        "seconds": seconds,
        "memory": peak / X.nbytes,
        "unexplained": unexplained,
    }


def _burn_in():
    """Pay for what only the first call costs: imports, above all."""
    X = curved_sheet(500, 10)
    for model in (AutoencoderTransformer(max_iter=2), PCA(0.95)):
        model.fit(X)


def _unexplained(model, X):
    """Share of the variance of rows that their reconstruction leaves: 1 - score."""
    back = model.inverse_transform(model.transform(X))
    return 1 - r2_score(X, back, multioutput="variance_weighted")


def summary(frame, cases):
    """Put each fit beside PCA's, and say what grows how much."""
    table = frame.set_index(["rows", "columns", "method"])
    table = table[["seconds", "memory", "unexplained"]]
    for figure in ("seconds", "unexplained"):
        by_method = table[figure].unstack("method")
        ratio = by_method.div(by_method["PCA"], axis=0)
        table[f"{figure} / PCA"] = ratio.stack().reindex(table.index)
    return table.reset_index(), [*_growth(frame), *_budget(frame), *NOTES]


def _sweeps(frame):
    """The part that differs in rows only, and the part that differs in columns."""
    n, d = frame["rows"].mode()[0], frame["columns"].mode()[0]
    return {
        "rows": frame[frame["columns"] == d].sort_values("rows"),
        "columns": frame[frame["rows"] == n].sort_values("columns"),
    }


def _growth(frame):
    lines = []
    for along, part in _sweeps(frame).items():
        for method in (OURS, "PCA"):
            line = part[part["method"] == method].dropna(subset="seconds")
            if len(line) > 1:
                lines.append(f"{method}: {_grows(line.set_index(along), along)}")
    return lines


def _grows(line, along):
    first, last = FROM if FROM in line.index else line.index[0], line.index[-1]
    times = line.loc[last, "seconds"] / line.loc[first, "seconds"]
    return (
        f"from {first:,} to {last:,} {along}, {last / first:.3g} times as many, its "
        f"seconds grow {times:.1f}-fold, and its memory is then "
        f"{line.loc[last, 'memory']:.2f} times that of X."
    )


def _budget(frame):
    """The budget's error beside that of ten times the budget."""
    errors = frame.pivot(
        index=["rows", "columns"], columns="method", values="unexplained"
    )
    ratio = errors[OURS].div(errors[LONG]).dropna()
    return [
        f"{n:,} x {d}: the error is {r:.3f} times that of a fit ten times longer, "
        f"{'within' if r <= 1 + CLOSE else 'NOT within'} {CLOSE:.0%}."
        for (n, d), r in ratio.items()
    ]


NOTES = [
    "memory: peak beyond what was held before the fit, in units of X, which was held "
    "already. Of small tables it is what a fit takes whatever their size.",
    f"unexplained: 1 - score on {N_HELD_OUT:,} further rows, noise of {NOISE} on each "
    "column. PCA has as many components as ours, for 0.95 of the variance.",
]


def plot(frame):
    """Draw seconds and memory by rows and by columns, a line a method."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    panels = figure.subplots(2, 2, sharex="col", sharey="row")
    for (along, part), column in zip(_sweeps(frame).items(), panels.T, strict=True):
        for values, axes in zip(("seconds", "memory"), column, strict=True):
            for method in (m for m in METHODS if (part["method"] == m).any()):
                line = part[part["method"] == method]
                axes.plot(line[along], line[values], "o-", label=method)
            axes.set_xscale("log")
            if (frame[values] > 0).any():  # else there is no logarithm to draw
                axes.set_yscale("log")
            axes.grid(alpha=0.3)
        column[-1].set_xlabel(along)
    panels[0, 0].set_ylabel("seconds of fit")
    panels[1, 0].set_ylabel("peak memory / that of X")
    panels[0, 0].legend()
    return figure
