"""What a fitted autoencoder takes to code, restore and score rows, beside PCA."""

from functools import cache

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils import gen_batches
from torch import nn

from benchmarks._measure import held_to, timed, with_peak
from benchmarks._report import over
from benchmarks._tables import curved_sheet
from sklearn_ae import AutoencoderTransformer

N_TRAIN, N_COLUMNS, N_COMPONENTS = 10_000, 50, 10
N_ROUNDS, N_CALLS = 5, 200
BLOCK = 1024  # rows of a floor's products

N_ROWS, QUICK_ROWS = 1_000_000, 20_000

PCA_CODE = "PCA.transform"
ENCODER, ALL = "encoder's products", "all products"
OURS = "transform", "reconstruct", "score_samples"
METHODS = ENCODER, ALL, *OURS, PCA_CODE
SINGLE = ("transform", "score_samples", PCA_CODE)  # also called for one row
KEYS, HOW = ["method", "rows"], "median"
MEASURED = ("seconds", "rows_s", "memory_mb")


def cases(options):
    """Every round and method, with many rows and with one."""
    many = QUICK_ROWS if options.quick else N_ROWS
    return [
        {"method": method, "rows": rows, "round": i}
        for i in range(1 if options.quick else N_ROUNDS)
        for method in METHODS
        for rows in (many, *[1] * (method in SINGLE))
    ]


def measure(method, rows, round):
    """Time one call; of a single row the median of many."""
    with held_to(1):
        call, X = _methods()[method], _table(rows)
        call(_table(100))  # pays for the first call
        n_calls = N_CALLS if rows == 1 else 1
        peak, seconds = with_peak(lambda: [timed(call, X)[0] for _ in range(n_calls)])
    seconds = np.median(seconds)
    return {"seconds": seconds, "rows_s": rows / seconds, "memory_mb": peak / 1e6}


@cache
def _table(n):
    return curved_sheet(N_TRAIN + n, N_COLUMNS)[N_TRAIN:]


@cache
def _methods():
    X = curved_sheet(N_TRAIN, N_COLUMNS)
    # Few iterations: its quality does not matter here.
    ours = AutoencoderTransformer(N_COMPONENTS, max_iter=5, random_state=0).fit(X)
    return {
        ENCODER: products(ours.module_.encoder),
        ALL: products(ours.module_),
        "transform": ours.transform,
        "reconstruct": ours.reconstruct,
        "score_samples": ours.score_samples,
        PCA_CODE: PCA(N_COMPONENTS).fit(X).transform,
    }


def products(module):
    """The floor: rows are read once, and go through the layers' products alone."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    weights = [layer.weight.detach().numpy().T for layer in layers]
    # Inputs and outputs by width: a product can't be written over its factor.
    inputs, outputs = (
        {n: np.ones((BLOCK, n), np.float32) for w in weights for n in w.shape}
        for _ in range(2)
    )

    def multiply(X):
        for rows in gen_batches(len(X), BLOCK):
            n = rows.stop - rows.start
            inputs[X.shape[1]][:n] = X[rows]
            for w in weights:
                np.matmul(inputs[len(w)][:n], w, out=outputs[w.shape[1]][:n])

    return multiply


def derived(frame):
    """Time a row over PCA's and over the floor's, within a round."""
    frame, of = frame.assign(us_a_row=1e6 / frame["rows_s"]), ["round", "rows"]
    ratios = {f"/ {PCA_CODE}": over(frame, "us_a_row", PCA_CODE, of)}
    floors = (over(frame, "us_a_row", floor, of) for floor in (ENCODER, ALL))
    floor = next(floors).where(frame["method"] == "transform", next(floors))
    ratios["/ floor"] = floor.where(frame["method"].isin(OURS))
    return frame.assign(**ratios)
