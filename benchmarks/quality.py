"""Seconds until the held-out error is 10 % below PCA's.

Each method trains on the same standardised rows, in one go and by its own rule. After
each of its iterations the clock stands still while it is judged on the 25 % of the rows
held out.
"""

from contextlib import suppress
from functools import partial
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from sklearn.decomposition import PCA

from benchmarks._judge import held_to, n_components, split, timed
from benchmarks._report import number
from benchmarks._tables import each, load_tables
from benchmarks._watched import METHODS, OURS, WIDE, Watch

SHARE = 0.9  # of PCA's squared error
MAX_SECONDS = 60.0  # of training, then it is stopped

FORMATS = {
    **dict.fromkeys(("table", "method"), str),
    **dict.fromkeys(("seed", "rows", "columns", "k", "iterations"), "{:.0f}".format),
    **dict.fromkeys(("seconds", "fit_s", "plain_s"), "{:.3f}".format),
    "ratio": number,
}


def cases(options):
    """Every table with every seed and method."""
    tables = load_tables(options)
    _burn_in()
    return each(tables, METHODS, options)


def _burn_in():
    """Pay for first calls before anything is timed; failures show in the cases."""
    X = np.random.default_rng(0).normal(size=(40, 4))
    for fit in METHODS.values():
        with held_to(1), suppress(Exception):
            fit(X, 1, 0, Watch(partial(error, X), 0.0, max_seconds=0))


def error(X, reconstruct):
    """Mean squared error."""
    return np.square(reconstruct(X) - X).mean()


def measure(table, method, seed):
    """Train once under the clock; ours a second time, with nobody looking."""
    # What networks compute in, for all.
    train, test = (X.astype(np.float32) for X in split(table, seed)[:2])
    k, fit, plain_s = n_components(train), METHODS[method], np.nan
    of_pca = _error_of_pca(train, test, k)
    with held_to(1):
        watch = Watch(partial(error, test), SHARE * of_pca, MAX_SECONDS)
        reconstruct = fit(train, k, seed, watch)
        watch.stop()
        if method.startswith(OURS) and not watch.is_over:
            plain_s, _ = timed(fit, train, k, seed)
    return {
        "rows": len(table.X),
        "columns": table.X.shape[1],
        "k": k,
        "iterations": watch.iterations,
        "seconds": watch.reached,
        "fit_s": watch.seconds,
        "plain_s": plain_s,
        "ratio": error(test, reconstruct) / of_pca,
    }


def _error_of_pca(train, test, k):
    pca = PCA(k, random_state=0).fit(train)
    return error(test, lambda X: pca.inverse_transform(pca.transform(X)))


def summary(frame, cases):
    """Seconds by table and method, and how often and how fast each got there."""
    seconds = _over_seeds(frame)
    lines = [*_sentences(seconds), *_lost(frame), *_looks(frame), *_notes(cases)]
    return seconds.reset_index(), lines


def _over_seeds(frame):
    """Median seconds, tables x methods; never is the longest of all."""
    seconds = frame.assign(seconds=frame["seconds"].fillna(np.inf))
    median = seconds.groupby(["table", "method"], sort=False)["seconds"].median()
    return median.replace(np.inf, np.nan).unstack(sort=False)


def _sentences(seconds):
    lines = []
    for method, values in seconds.items():
        line = f"{method}: reached on {values.count()} of {len(values)} tables"
        if values.count():
            line += f", after {values.median():.3f} s at the median"
        ratio = (values / seconds[OURS]).dropna()
        if method != OURS and len(ratio):
            line += f"; {ratio.median():.2f} times ours where both did ({len(ratio)})"
        lines.append(f"{line}.")
    return lines


def _lost(frame):
    """Which fits got there, but ended with other weights."""
    lost = frame[frame["seconds"].notna() & (frame["ratio"] > SHARE)]
    names = [f"{r.method} on {r.table} (seed {r.seed})" for r in lost.itertuples()]
    return [f"Not there any more at the end: {', '.join(names)}."] * bool(names)


def _looks(frame):
    """What a look costs beside the time that the clock stands still."""
    share = (frame["fit_s"] / frame["plain_s"]).median()
    line = f"Ours judged took {share:.2f} times ours alone (fit_s / plain_s, median)."
    return [] if np.isnan(share) else [line]


def _notes(cases):
    drawn = [note for note in dict.fromkeys(c["table"].drawn for c in cases) if note]
    rows = f"Rows drawn with seed {cases[0]['seed']}: {', '.join(drawn)}."
    return [rows] * bool(drawn) + [
        "seconds: of training, set-up included, on one thread, until the error on the "
        f"rows held out is at most {SHARE} of PCA's with k components; - is never. "
        "Medians over seeds, where never is the longest.",
        "Judged after each iteration: an epoch, of ours at most 50 mini-batches.",
        f"fit_s: of the whole fit, which ends after {MAX_SECONDS:g} s; plain_s: of one "
        "that nobody judges. ratio: the fitted model's error over PCA's.",
        f"All by their defaults, but for {WIDE}, k and {WIDE} hidden units of "
        "MLPRegressor and PyOD, and PyOD's epochs: having no rule to stop, it goes on "
        "to the end of the budget.",
    ]


def plot(frame):
    """Draw the seconds, a line a table and a dot a method."""
    seconds = _over_seeds(frame).sort_values(OURS, ascending=False, na_position="first")
    figure = Figure(figsize=(8, 1.6 + 0.26 * len(seconds)), layout="constrained")
    axes, lines = figure.subplots(), range(len(seconds))
    for method, marker in zip(seconds, cycle("o^sD"), strict=False):
        axes.scatter(seconds[method], lines, marker=marker, label=method)
    label = f"seconds of training to {SHARE} of PCA's held-out error (no dot: never)"
    # Limits of its own: a logarithmic axis has none where nobody got there.
    low, high = seconds.min(axis=None) / 1.2, seconds.max(axis=None) * 1.2
    xlim = np.nanmin([0.05, low]), np.nanmax([1, high])
    axes.set(xscale="log", xlabel=label, xlim=xlim)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_yticks(lines, seconds.index)
    axes.grid(alpha=0.3)
    axes.margins(y=0.5 / len(seconds))
    figure.legend(loc="outside upper center", ncols=len(seconds.columns))
    return figure
