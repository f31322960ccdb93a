"""Measurements that the questions share: cases, splits, time, memory, codes."""

import ctypes
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import product
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

MAX_COMPONENTS = 16
PROCESS = Path("/proc/self")


def each(**axes):
    """A case, a dictionary, for every combination; the last axis changes fastest."""
    return [dict(zip(axes, case, strict=True)) for case in product(*axes.values())]


def seeds(options):
    """``--seeds`` numbers from ``--seed`` on."""
    return range(options.seed, options.seed + options.seeds)


def n_components(train):
    """A quarter of the columns, as many as there are rows at the most."""
    return min(MAX_COMPONENTS, max(1, train.shape[1] // 4), len(train))


@lru_cache(maxsize=1)  # the methods of a table share it
def split(table, seed, keep_unit=False):
    """Standardised training and held-out rows, and their classes."""
    train, test = train_test_split(
        np.arange(len(table.X)), test_size=0.25, random_state=seed, stratify=table.y
    )
    scaler = StandardScaler().fit(table.X[train])
    if keep_unit and table.shape:  # pixels are divided by one number
        scaler.scale_[:] = np.sqrt(scaler.var_.mean())
    y_train, y_test = (None if table.y is None else table.y[i] for i in (train, test))
    X_train, X_test = (scaler.transform(table.X[i]) for i in (train, test))
    return X_train, X_test, y_train, y_test


def burn_in(calls):
    """Pay for first calls before anything is timed; failures show in the cases."""
    for call in calls:
        with suppress(Exception):
            call()


def timed(function, *args):
    """Seconds of a call, and its result."""
    start = perf_counter()
    result = function(*args)
    return perf_counter() - start, result


@contextmanager
def held_to(n_threads):
    """Hold torch, BLAS and OpenMP to so many threads; then as before."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(n_threads)
        with threadpool_limits(n_threads):
            yield
    finally:
        torch.set_num_threads(before)


def with_peak(function, *args):
    """Bytes of the process (Linux) at the call's peak beyond before, and its result."""
    # Memory that was freed but not given back would be used again, and not be counted.
    with suppress(AttributeError, OSError, TypeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    before = after = np.nan  # a mark that can't be reset may be from before
    with suppress(OSError):
        (PROCESS / "clear_refs").write_text("5")
        before = _high_water_mark()
    result = function(*args)
    with suppress(OSError):
        after = _high_water_mark()
    return after - before, result


def _high_water_mark():
    lines = (PROCESS / "status").read_text().splitlines()
    return 1024 * next(int(x.split()[1]) for x in lines if x.startswith("VmHWM"))


def explained(X, back):
    """Share of the variance of rows that their reconstruction explains."""
    return r2_score(X, back, multioutput="variance_weighted")


def logistic(Z, y):
    """Logistic regression on standardised codes, fitted."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return model.fit(Z, y)


def scores_on_code(Z_train, Z_test, y_train, y_test, seed):
    """Accuracy of two classifiers on the code, and adjusted Rand index of k-means."""
    if y_train is None:
        return {}
    knn = KNeighborsClassifier(5).fit(Z_train, y_train).score(Z_test, y_test)
    kmeans = KMeans(y_train.max() + 1, n_init=4, random_state=seed).fit(Z_train)
    ari = adjusted_rand_score(y_test, kmeans.predict(Z_test))
    accuracy = logistic(Z_train, y_train).score(Z_test, y_test)
    return {"knn": knn, "logistic": accuracy, "ari": ari}
