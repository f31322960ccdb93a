"""What a fitted outlier detector takes to score and to explain rows, beside others."""

from functools import cache

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from benchmarks._measure import held_to, timed, with_peak
from benchmarks._report import over
from benchmarks._tables import curved_sheet
from sklearn_ae import AEOutlierDetector

N_TRAIN, N_ROUNDS, N_CALLS = 5_000, 5, 100


class KNN(NearestNeighbors):
    """Minus the mean distance to the neighbours, as a score."""

    def score_samples(self, X):
        """Score rows (n, d)."""
        return -self.kneighbors(X)[0].mean(axis=1)


OURS, FOREST = "AEOutlierDetector", "IsolationForest"
METHODS = {
    OURS: AEOutlierDetector(random_state=0),
    "textbook autoencoder": AEOutlierDetector(method="reconstruction", random_state=0),
    FOREST: IsolationForest(random_state=0),
    "LocalOutlierFactor": LocalOutlierFactor(novelty=True),
    "kNN": KNN(n_neighbors=5),
}
CALLS = [  # method of the estimator, columns, rows
    ("score_samples", 30, 20_000),
    ("score_samples", 30, 1),
    ("score_samples", 480, 1),
    ("explain", 1_600, 3),
]
QUICK = [("score_samples", 30, 500), ("score_samples", 30, 1), ("explain", 30, 3)]
ROWS = ["call", "columns", "rows"]
KEYS, HOW = [*ROWS, "method"], "median"
FIGURE, LOWER_IS_BETTER = "seconds", True
MEASURED = ("seconds", "rows_s", "memory_mb")


def cases(options):
    """Every round, call and method that has such a call."""
    return [
        {"call": call, "columns": d, "rows": n, "method": method, "round": i}
        for i in range(1 if options.quick else N_ROUNDS)
        for call, d, n in (QUICK if options.quick else CALLS)
        for method, model in METHODS.items()
        if hasattr(model, call)
    ]


def measure(call, columns, rows, method, round):
    """Time one call; of a single row the median of many."""
    with held_to(1):
        call = getattr(_fitted(method, columns), call)
        X = _table(columns, rows)[N_TRAIN:]
        call(X[:1])  # pays for the first call
        n_calls = N_CALLS if rows == 1 else 1
        peak, seconds = with_peak(lambda: [timed(call, X)[0] for _ in range(n_calls)])
    seconds = np.median(seconds)
    return {"seconds": seconds, "rows_s": rows / seconds, "memory_mb": peak / 1e6}


@cache
def _table(d, n):
    """Training rows and n others, with a cell wrong by 5 standard deviations each."""
    X = curved_sheet(N_TRAIN + n, d).astype(np.float64)
    X[np.arange(N_TRAIN, len(X)), np.arange(n) % d] += 5
    return X


@cache
def _fitted(method, d):
    return clone(METHODS[method]).fit(_table(d, 1)[:N_TRAIN])


def derived(frame):
    """Add the seconds over the forest's, within a round."""
    return frame.assign(
        **{f"/ {FOREST}": over(frame, "seconds", FOREST, ["round", *ROWS])}
    )
