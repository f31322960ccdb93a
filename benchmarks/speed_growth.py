"""How time and memory of a default fit grow with the rows and with the columns."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
from sklearn.decomposition import PCA

from benchmarks._measure import explained, held_to, timed, with_peak
from benchmarks._report import over
from benchmarks._tables import curved_sheet
from sklearn_ae import AutoencoderTransformer

SHAPES = [(10**n, 50) for n in (3, 4, 5, 6)]
SHAPES += [(10**4, d) for d in (10, 30, 100, 300, 1000, 2000)]
QUICK = [(1000, 10), (3000, 10), (1000, 30)]
LONG_SHAPES = SHAPES[1:4]  # also fitted with ten times the budget
NOISE, N_HELD_OUT = 0.1, 5000  # so little noise leaves something to learn beyond PCA
OURS, LONG = "ours", "ten times longer"
LONGER = {"max_iter": 2000, "n_iter_no_change": 10**9}  # 200 by default
METHODS = {
    OURS: partial(AutoencoderTransformer, random_state=0),
    LONG: partial(AutoencoderTransformer, random_state=0, **LONGER),
    "PCA": partial(PCA, 0.95),  # share of variance, as ours: as many components
}
KEYS = ["rows", "columns", "method"]
MEASURED = ("k", "n_iter", "seconds", "memory", "unexplained")


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
        for first in (AutoencoderTransformer(max_iter=2), PCA(0.95)):
            first.fit(curved_sheet(500, 10))  # pays for imports, above all
        peak, (seconds, _) = with_peak(timed, model.fit, X)
        back = model.inverse_transform(model.transform(held_out))
    n_iter = getattr(model, "n_iter_", np.nan)
    unexplained = 1 - explained(held_out, back)
    figures = model.n_components_, n_iter, seconds, peak / X.nbytes, unexplained
    return dict(zip(MEASURED, figures, strict=True))


def derived(frame):
    """Seconds and error over PCA's."""
    of, figures = ["rows", "columns"], ("seconds", "unexplained")
    ratios = {f"{f} / PCA": over(frame, f, "PCA", of) for f in figures}
    return frame.assign(**ratios)
