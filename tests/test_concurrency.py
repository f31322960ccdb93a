"""Threads and processes: each call gives the bits that it gives alone."""

import multiprocessing
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from skorch.callbacks import Callback
from threadpoolctl import threadpool_info
from torch import nn

from sklearn_ae import (
    AEOutlierDetector,
    AutoencoderClassifier,
    AutoencoderCompressor,
    AutoencoderRegressor,
)
from tests.helpers import transformer

N_THREADS = 8
X, Y = load_wine(return_X_y=True)
X = X[::2]
Y = np.where(np.arange(len(X)) % 3, Y[::2], -1)
TARGET = np.where(Y < 0, np.nan, X[:, 0])


def with_dropout(n_features, n_components):
    """A network of a user's: random initial weights, and dropout in training."""
    encoder = nn.Sequential(
        nn.Linear(n_features, 16),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(16, n_components),
    )
    return encoder, nn.Sequential(nn.Dropout(0.1), nn.Linear(n_components, n_features))


def ignores_its_generator(x, level, generator):
    return x + level * torch.randn(x.shape)


ESTIMATORS = {
    "default": lambda: transformer(),
    "gaussian": lambda: transformer(latent="gaussian"),
    "mixture": lambda: transformer(prior="mixture"),
    "dropout": lambda: transformer(architecture=with_dropout, init="random"),
    "corruption": lambda: transformer(
        corruption=ignores_its_generator, corruption_level=0.1
    ),
    "conv": lambda: transformer(architecture="conv", input_shape=(13,)),
    "detector": lambda: AEOutlierDetector(
        autoencoder=transformer(corruption_level=0.1), random_state=0
    ),
    "novelty": lambda: AEOutlierDetector(
        0, autoencoder=transformer(corruption_level=(0.1, 1.0)), random_state=0
    ),
    "classifier": lambda: AutoencoderClassifier(
        transformer(architecture=with_dropout, init="random"),
        max_iter=2,
        random_state=0,
    ),
    "regressor": lambda: AutoencoderRegressor(
        transformer(), max_iter=2, random_state=0
    ),
    "compressor": lambda: AutoencoderCompressor(
        25, autoencoder=transformer(None), random_state=0
    ),
}
CALLS = {
    "transform": lambda estimator: estimator.transform(X),
    "reconstruct": lambda estimator: estimator.reconstruct(X),
    "score_samples": lambda estimator: estimator.score_samples(X),
    "explain": lambda estimator: estimator.explain(X[:5]).contributions,
    "p_values": lambda estimator: estimator.p_values(X + 0.5),
    "predict": lambda estimator: estimator.predict(X),
    "predict_proba": lambda estimator: estimator.predict_proba(X),
    "compress": lambda estimator: estimator.decompress(estimator.compress(X)),
}


def fitted(name):
    target = {"classifier": Y, "regressor": TARGET}.get(name)
    return ESTIMATORS[name]().fit(X, target)


def outputs(estimator):
    return {
        name: call(estimator)
        for name, call in CALLS.items()
        if hasattr(estimator, name)
    }


def assert_equal(results, expected):
    assert results.keys() == expected.keys()
    for name, result in results.items():
        np.testing.assert_array_equal(result, expected[name], err_msg=name)


def process_state():
    return {
        "torch": torch.get_num_threads(),
        "generator": torch.get_rng_state().tolist(),
        "libraries": [i["num_threads"] for i in threadpool_info()],
        "filters": list(warnings.filters),
    }


def at_once(functions):
    """Results of functions that begin together, each in a thread."""
    barrier = threading.Barrier(len(functions))

    def run(function):
        barrier.wait(60)
        return function()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("name", ESTIMATORS)
def test_threads_that_fit_and_score_at_once_give_the_serial_bits(name):
    estimator = fitted(name)
    expected, before = outputs(estimator), process_state()
    score, fit = (lambda: outputs(estimator)), (lambda: outputs(fitted(name)))
    for results in at_once([score, fit] * (N_THREADS // 2)):
        assert_equal(results, expected)
    assert process_state() == before


def test_fits_that_overlap_leave_torchs_generator_and_the_filters():
    # The first fit ends while the second is in the middle.
    inside, go = [threading.Event(), threading.Event()], threading.Event()

    def hold(i, until):
        def corruption(x, level, generator):
            inside[i].set()
            assert until.wait(60)
            return x

        return corruption

    def fit(corruption):
        transformer(corruption=corruption, corruption_level=0.1, prior="mixture").fit(X)

    before = process_state()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    threads = [
        threading.Thread(target=fit, args=(hold(0, inside[1]),)),
        threading.Thread(target=fit, args=(hold(1, go),)),
    ]
    threads[0].start()
    assert inside[0].wait(60)
    threads[1].start()
    drawn = [torch.rand(1)]
    threads[0].join()
    drawn.append(torch.rand(1))
    assert list(warnings.filters) == before["filters"]
    go.set()
    threads[1].join()
    drawn.append(torch.rand(1))
    assert torch.equal(torch.cat(drawn), expected)
    assert process_state()["libraries"] == before["libraries"]


# -- processes -------------------------------------------------------------------


def refit(connection, estimators):
    """Outputs of the estimators and of new fits, in another process."""
    connection.send(
        {
            name: (outputs(estimator), outputs(fitted(name)))
            for name, estimator in estimators.items()
        }
    )


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_another_process_gives_the_same_bits(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    context = multiprocessing.get_context(method)
    estimators = {name: fitted(name) for name in ESTIMATORS}
    # OpenMP's threads of this process are at work before it forks.
    _ = torch.ones(600, 600) @ torch.ones(600, 600)
    ours, theirs = context.Pipe()
    child = context.Process(target=refit, args=(theirs, estimators), daemon=True)
    child.start()
    try:
        assert ours.poll(120), "the process hangs"
        results = ours.recv()
    finally:
        child.kill()
    for name, estimator in estimators.items():
        expected = outputs(estimator)
        for result in results[name]:
            assert_equal(result, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.usefixtures("several_threads")
def test_a_process_forked_beside_a_fit_inherits_none_of_its_limits():
    inside, go = threading.Event(), threading.Event()

    def hold(x, level, generator):
        inside.set()
        assert go.wait(60)
        return x

    def report(connection):
        transformer().fit(X)
        connection.send(process_state())

    before = process_state()
    fit = transformer(corruption=hold, corruption_level=0.1).fit
    thread = threading.Thread(target=fit, args=(X,))
    thread.start()
    assert inside.wait(60)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=report, args=(theirs,), daemon=True)
    child.start()
    try:
        assert ours.poll(60), "the process hangs"
        assert ours.recv() == before
    finally:
        child.kill()
        go.set()
        thread.join()


@pytest.mark.parametrize("name", ["default", "detector", "classifier", "regressor"])
def test_a_refit_is_seen_by_other_threads_when_it_is_done(name):
    estimator, other = fitted(name), 3 * X[::-1] + 1
    target = {"classifier": Y, "regressor": TARGET}.get(name)
    expected = [outputs(estimator)]
    estimator.fit(other, target)
    expected.append(outputs(estimator))
    stop = threading.Event()

    def fit():
        while not stop.is_set():
            estimator.fit(X, target)
            estimator.fit(other, target)

    thread = threading.Thread(target=fit)
    thread.start()
    try:
        for _ in range(3):
            for call, result in outputs(estimator).items():
                assert any(np.array_equal(result, e[call]) for e in expected), call
    finally:
        stop.set()
        thread.join()


def draws_in_the_penalty(z):
    return (z + torch.randn_like(z)).abs().mean(dim=1)


class DrawsInACallback(Callback):
    def on_grad_computed(self, net, named_parameters, **kwargs):
        for _, parameter in named_parameters:
            parameter.grad += 1e-3 * torch.randn_like(parameter)


@pytest.mark.parametrize(
    "settings",
    [
        {"sparsity": draws_in_the_penalty, "sparsity_weight": 0.1},
        {"net_params": {"callbacks": [DrawsInACallback()]}},
    ],
    ids=["penalty", "callback"],
)
def test_random_code_of_users_repeats_and_leaves_torchs_generator(settings):
    curves = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        curves.append(transformer(**settings).fit(X).loss_curve_)
        assert torch.equal(before, torch.get_rng_state())
    assert curves[0] == curves[1]
    assert curves[0] != transformer(**settings, random_state=1).fit(X).loss_curve_
