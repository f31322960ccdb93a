"""What the questions share: the split, how a code is judged, how a call is timed."""

from contextlib import contextmanager
from functools import lru_cache
from time import perf_counter

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

MAX_COMPONENTS = 16


def n_components(train):
    """A quarter of the columns, as many as there are rows at the most."""
    return min(MAX_COMPONENTS, max(1, train.shape[1] // 4), len(train))


@lru_cache(maxsize=1)  # the methods of a table share it
def split(table, seed, keep_unit=False):
    """Standardised training and held-out rows, and their classes.

    Columns of one unit may keep it: they are then divided by a number that they share.
    """
    train, test = train_test_split(
        np.arange(len(table.X)), test_size=0.25, random_state=seed, stratify=table.y
    )
    scaler = StandardScaler().fit(table.X[train])
    if keep_unit and table.one_unit:
        scaler.scale_[:] = np.sqrt(scaler.var_.mean())
    y_train, y_test = (None if table.y is None else table.y[i] for i in (train, test))
    X_train, X_test = (scaler.transform(table.X[i]) for i in (train, test))
    return X_train, X_test, y_train, y_test


def timed(function, *args):
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


def on_code(Z_train, Z_test, y_train, y_test, seed):
    """Judge the code by a classifier's accuracy and a clustering's."""
    if y_train is None:
        return {}
    knn = KNeighborsClassifier(5).fit(Z_train, y_train)
    kmeans = KMeans(y_train.max() + 1, n_init=4, random_state=seed).fit(Z_train)
    return {
        "knn": knn.score(Z_test, y_test),
        "logistic": logistic(Z_train, y_train).score(Z_test, y_test),
        "ari": adjusted_rand_score(y_test, kmeans.predict(Z_test)),
    }


def logistic(Z, y):
    """Logistic regression on standardised codes, fitted."""
    judge = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return judge.fit(Z, y)
