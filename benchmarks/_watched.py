"""Autoencoders judged after each iteration of their training, the clock stopped."""

from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from time import perf_counter

import numpy as np
import torch

from benchmarks._loops import NEEDS
from benchmarks._rivals import MLPAutoencoder
from sklearn_ae import AutoencoderTransformer

WIDE = 128  # as ours are by default
OURS = "ours"


class Watch:
    """Seconds of training, and how many there were when an error was reached.

    Parameters
    ----------
    judge : callable
        Error of a function that reconstructs rows.
    target : float
        The error to reach.
    max_seconds : float
        The budget.
    """

    def __init__(self, judge, target, max_seconds):
        self.judge, self.target, self.max_seconds = judge, target, max_seconds
        self.seconds, self.reached, self.iterations = 0.0, np.nan, 0
        self.start()

    def start(self):
        """Let it go on."""
        self._since = perf_counter()

    def stop(self):
        """Let it stand still."""
        self.seconds += perf_counter() - self._since

    def look(self, reconstruct):
        """Judge an iteration while it stands still; True if the budget is spent."""
        self.iterations += 1
        if np.isnan(self.reached) and self.judge(reconstruct) <= self.target:
            self.reached = self.seconds
        self.start()
        return self.is_over

    @property
    def is_over(self):
        """Whether the budget is spent."""
        return self.seconds >= self.max_seconds


class _Callback:
    """All that scikit-learn tells of a fit but the end of an iteration: ignored."""

    def __init__(self, watch):
        self.watch = watch

    def setup(self, estimator, context):
        pass

    teardown = on_fit_task_begin = setup


class _Stop(_Callback):
    """Told first: scikit-learn then copies the estimator while the clock stands."""

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "iteration":
            self.watch.stop()


class _Look(_Callback):
    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        if context.task_name == "iteration":
            return self.watch.look(fitted_estimator.reconstruct)


def ours(train, k, seed, watch=None, **params):
    """By its defaults; judged are the averaged weights, one of which it keeps."""
    model = AutoencoderTransformer(k, random_state=seed, **params)
    if watch:
        model.set_callbacks(_Stop(watch), _Look(watch))
    return model.fit(train).reconstruct


class _WatchedMLP(MLPAutoencoder):
    """Judged where it asks itself, once an epoch, whether it still gets better.

    ``partial_fit`` epoch by epoch would not stop by its rule.
    """

    def _update_no_improvement_count(self, *args):
        super()._update_no_improvement_count(*args)
        self.watch.stop()
        if self.watch.look(self.reconstruct):
            self._no_improvement_count = np.inf

    def reconstruct(self, X):
        return self.inverse_transform(self.transform(X))


def mlp_regressor(train, k, seed, watch):
    """scikit-learn's, by its defaults."""
    model = _WatchedMLP(hidden_layer_sizes=(WIDE, k, WIDE), random_state=seed)
    model.watch = watch
    return model.fit(train).reconstruct


class _Spent(Exception):
    """Ends PyOD's training."""


def pyod(train, k, seed, watch):
    """PyOD's, by its defaults but for the epochs: it has no rule to stop."""
    from pyod.models.auto_encoder import AutoEncoder

    model = AutoEncoder(
        epoch_num=10**9,
        batch_size=min(32, len(train)),  # it drops what is less than a batch
        device="cpu",
        random_state=seed,
        verbose=0,
        hidden_neuron_list=[WIDE, k],
    )

    def reconstruct(X):
        # The scaling inside is left out: that of standardised columns is none.
        with torch.inference_mode():
            X_hat = model.model.eval()(torch.from_numpy(X).float()).numpy()
        model.model.train()
        return X_hat

    def epoch_update():
        watch.stop()
        if watch.look(reconstruct):
            raise _Spent

    model.epoch_update = epoch_update
    with suppress(_Spent):
        model.fit(train)
    return reconstruct


METHODS = {  # (train, n_components, seed, watch) -> function that reconstructs rows
    OURS: ours,
    "ours random": partial(ours, init="random"),
    "MLPRegressor": mlp_regressor,
    "PyOD": pyod,
}
METHODS = {k: f for k, f in METHODS.items() if k not in NEEDS or find_spec(NEEDS[k])}
