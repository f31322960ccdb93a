"""Seconds until the held-out error is 10 % below PCA's."""

from functools import partial
from time import perf_counter

import numpy as np
from sklearn.decomposition import PCA

from benchmarks import _measure
from benchmarks._rivals import MLPAutoencoder
from benchmarks._tables import tables
from sklearn_ae import AutoencoderTransformer

SHARE = 0.9  # relative to PCA's squared error
MAX_SECONDS = 60.0  # then training is stopped
OURS, HIDDEN = "ours", 128  # units, as ours have by default
KEYS, FIGURE, LOWER_IS_BETTER, HOW = ["method"], "seconds", True, "median"
MEASURED = ("k", "iterations", "seconds", "fit_s", "plain_s", "ratio")


class StopWatch:
    """Seconds of training, and how many there were when the target was reached."""

    def __init__(self, error, target, max_seconds):
        self.error, self.target, self.max_seconds = error, target, max_seconds
        self.seconds, self.reached, self.iterations = 0.0, np.inf, 0
        self._since = perf_counter()

    def stop(self):
        """Stop the clock."""
        self.seconds += perf_counter() - self._since

    def score(self, reconstruct):
        """Score with the clock stopped; True if the budget is spent."""
        self.iterations += 1
        if self.reached == np.inf and self.error(reconstruct) <= self.target:
            self.reached = self.seconds
        self._since = perf_counter()
        return self.seconds >= self.max_seconds


class _Stop:
    """The first callback: scikit-learn then copies the estimator for the second."""

    def __init__(self, watch):
        self.watch = watch

    def setup(self, estimator, context):
        pass

    teardown = on_fit_task_begin = setup

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "iteration":
            self.watch.stop()


class _Score(_Stop):
    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        if context.task_name == "iteration":
            return self.watch.score(fitted_estimator.reconstruct)


def ours(train, k, seed, watch=None, **params):
    """By its defaults; scored are the averaged weights, one of which it keeps."""
    model = AutoencoderTransformer(k, random_state=seed, **params)
    if watch:
        model.set_callbacks(_Stop(watch), _Score(watch))
    return model.fit(train).reconstruct


class _WatchedMLP(MLPAutoencoder):
    def _update_no_improvement_count(self, *args):
        super()._update_no_improvement_count(*args)
        self.watch.stop()
        if self.watch.score(self.reconstruct):
            self._no_improvement_count = np.inf


def _mlp(train, k, seed, watch):
    model = _WatchedMLP(hidden_layer_sizes=(HIDDEN, k, HIDDEN), random_state=seed)
    model.watch = watch
    return model.fit(train).reconstruct


METHODS = {  # (train, n_components, seed, watch) -> function that reconstructs rows
    OURS: ours,
    "ours random": partial(ours, init="random"),
    "MLPRegressor": _mlp,
}


def cases(options):
    """Every table with every seed and method."""
    found = tables(options)
    X = np.random.default_rng(0).normal(size=(40, 4))
    watch = StopWatch(partial(error, X), 0.0, max_seconds=0)
    with _measure.held_to(1):
        _measure.burn_in(partial(fit, X, 1, 0, watch) for fit in METHODS.values())
    seeds = _measure.seeds(options)
    return _measure.each(table=found, seed=seeds, method=METHODS)


def error(X, reconstruct):
    """Mean squared error."""
    return np.square(reconstruct(X) - X).mean()


def measure(table, method, seed):
    """Train once under the stop watch; ours a second time, not scored."""
    # Networks compute in float32: all get it.
    train, test = (X.astype(np.float32) for X in _measure.split(table, seed)[:2])
    k, fit, plain_s = _measure.n_components(train), METHODS[method], np.nan
    pca = PCA(k, random_state=0).fit(train)
    of_pca = error(test, lambda X: pca.inverse_transform(pca.transform(X)))
    with _measure.held_to(1):
        watch = StopWatch(partial(error, test), SHARE * of_pca, MAX_SECONDS)
        reconstruct = fit(train, k, seed, watch)
        watch.stop()
        if method.startswith(OURS) and watch.seconds < MAX_SECONDS:
            plain_s, _ = _measure.timed(fit, train, k, seed)
    figures = k, watch.iterations, watch.reached, watch.seconds, plain_s
    ratio = error(test, reconstruct) / of_pca
    return dict(zip(MEASURED, (*figures, ratio), strict=True))
