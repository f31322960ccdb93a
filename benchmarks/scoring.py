"""What a fitted autoencoder takes to code, restore and score rows, beside others.

All are fitted on the same rows of a drawn table and held to one thread. Those that are
slow get fewer rows, and all are judged by rows a second. Each round asks every method
once, for many rows and for a single one; ratios are within a round.
"""

from functools import cache

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.utils import gen_batches
from torch import nn

from benchmarks._judge import held_to, timed
from benchmarks._memory import with_peak
from benchmarks._tables import curved_sheet
from sklearn_ae import AutoencoderTransformer

N_TRAIN, N_COLUMNS, N_COMPONENTS = 10_000, 50, 10
N_ROUNDS, N_CALLS = 5, 200
BLOCK = 1024  # rows of a floor's products

PCA_CODE, FOREST, LOF = "PCA.transform", "IsolationForest", "LocalOutlierFactor"
THERE, BACK_TOO = "encoder's products", "all products"
OURS = "transform", "reconstruct", "score_samples"
ROWS = {  # how many, and with --quick
    **dict.fromkeys((THERE, BACK_TOO, *OURS, PCA_CODE), (1_000_000, 20_000)),
    FOREST: (20_000, 2_000),
    LOF: (2_000, 500),
    "KNN": (2_000, 500),
}
FLOORS = dict(zip(OURS, (THERE, BACK_TOO, BACK_TOO), strict=True))
SINGLE = ("transform", "score_samples", PCA_CODE, FOREST)  # asked for one row, too

FORMATS = {
    "method": str,
    "rows": "{:,.0f}".format,
    "round": "{:.0f}".format,
    "seconds": "{:.3g}".format,
    "rows_s": "{:,.0f}".format,
    "memory_mb": "{:.1f}".format,
}


def cases(options):
    """Every round and method, with many rows and with one."""
    return [
        {"method": method, "rows": rows, "round": i}
        for i in range(1 if options.quick else N_ROUNDS)
        for method in ROWS
        for rows in _sizes(method, options.quick)
    ]


def _sizes(method, quick):
    """How many rows a method is asked for: many, and one."""
    many = ROWS[method][1 if quick else 0]
    return (many, 1) if method in SINGLE else (many,)


def measure(method, rows, round):
    """Time one call; of a single row the median of many."""
    with held_to(1):
        call, X = _methods()[method], _table(rows)
        call(_table(100))  # what only the first call costs
        n_calls = N_CALLS if rows == 1 else 1
        peak, seconds = with_peak(_seconds, call, X, n_calls)
    return {"seconds": seconds, "rows_s": rows / seconds, "memory_mb": peak / 1e6}


def _seconds(call, X, n_calls):
    return np.median([timed(call, X)[0] for _ in range(n_calls)])


@cache
def _table(n):
    """Rows of the table that follow those for training."""
    return curved_sheet(N_TRAIN + n, N_COLUMNS)[N_TRAIN:]


@cache
def _methods():
    """Each method as a function of rows, all fitted on the same."""
    X = curved_sheet(N_TRAIN, N_COLUMNS)
    # How good it is does not matter here.
    ours = AutoencoderTransformer(N_COMPONENTS, max_iter=5, random_state=0).fit(X)
    neighbors = NearestNeighbors(n_neighbors=5).fit(X)
    return {
        THERE: products(ours.module_.encoder),
        BACK_TOO: products(ours.module_),
        "transform": ours.transform,
        "reconstruct": ours.reconstruct,
        "score_samples": ours.score_samples,
        PCA_CODE: PCA(N_COMPONENTS).fit(X).transform,
        FOREST: IsolationForest(random_state=0).fit(X).score_samples,
        LOF: LocalOutlierFactor(novelty=True).fit(X).score_samples,
        "KNN": lambda X: neighbors.kneighbors(X)[0].mean(axis=1),
    }


def products(module):
    """The floor: rows are read once, and go through the layers' products alone."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    weights = [layer.weight.detach().numpy().T for layer in layers]

    def scratch():
        return {n: np.ones((BLOCK, n), np.float32) for w in weights for n in w.shape}

    # By width, and apart: a product can't be written over its own factor.
    inputs, outputs = scratch(), scratch()

    def multiply(X):
        for rows in gen_batches(len(X), BLOCK):
            n = rows.stop - rows.start
            inputs[X.shape[1]][:n] = X[rows]
            for w in weights:
                np.matmul(inputs[len(w)][:n], w, out=outputs[w.shape[1]][:n])

    return multiply


def summary(frame, cases):
    """Judge each method by its time a row, over the floor's and our score's."""
    many, one = frame[frame["rows"] > 1], frame[frame["rows"] == 1]
    table = many.groupby("method", sort=False)[["rows", "rows_s", "memory_mb"]].median()
    table["/ floor"] = _ratios(many, FLOORS)
    table["/ score_samples"] = _ratios(many, dict.fromkeys(ROWS, "score_samples"))
    table["one row us"] = 1e6 * one.groupby("method")["seconds"].median()
    table["one row / PCA"] = _ratios(one, dict.fromkeys(SINGLE, PCA_CODE))
    return table.reset_index(), [*_sentences(many, one), *NOTES]


def _ratios(frame, rivals):
    """Time a row over that of each method's rival: the median over rounds."""
    a_row = 1 / frame.pivot(index="round", columns="method", values="rows_s")
    ratios = {m: (a_row[m] / a_row[rival]).median() for m, rival in rivals.items()}
    return pd.Series(ratios)


def _sentences(many, one):
    for method, ratio in _ratios(many, FLOORS).items():
        yield f"{method} takes {ratio:.2f} times its floor's seconds."
    rivals = {"transform": PCA_CODE}
    rivals |= dict.fromkeys((FOREST, LOF, "KNN"), "score_samples")
    for method, ratio in _ratios(many, rivals).items():
        yield f"{method} takes {ratio:.3g} times as long a row as {rivals[method]}."
    rivals = {"transform": PCA_CODE, "score_samples": FOREST}
    for method, ratio in _ratios(one, rivals).items():
        yield f"One row: {method} takes {ratio:.3g} times as long as {rivals[method]}."


NOTES = [
    f"Fitted on {N_TRAIN:,} rows of {N_COLUMNS} columns, {N_COMPONENTS} components; "
    f"medians of {N_ROUNDS} rounds, and of {N_CALLS} calls for one row. X is float32.",
    "/ floor: seconds over those of the products of the same layers, alone, in numpy, "
    f"by blocks of {BLOCK:,} rows, each copied first: the encoder's for transform, "
    "else all. / score_samples: seconds a row over ours. Medians within a round.",
    "memory_mb: peak beyond what was held before the call, its result included.",
]


def plot(frame):
    """Draw the rows a second of each method, a dot a round."""
    frame = frame[frame["rows"] > 1]
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(frame["rows_s"], frame["method"], "o", alpha=0.6)
    axes.set(xscale="log", xlabel="rows a second (right is better)")
    axes.invert_yaxis()
    axes.grid(alpha=0.3)
    return figure
