"""What a call borrows from torch and numpy's global state, it gives back."""

import ctypes
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from skorch.callbacks import Callback
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_ae import _runtime
from sklearn_ae._runtime import (
    MIN_FLOPS_FOR_THREADS,
    enable_gradients,
    limit_threads,
    n_threads_outside,
    random_generator,
    resolve_device,
    torch_generator,
)
from tests import helpers
from tests.helpers import SharedCallback, float64_by_default

X = load_wine().data
N_THREADS = 3
# Without its cache.
undecorated_mkl = _runtime._mkl_set_num_threads_local.__wrapped__


pytestmark = pytest.mark.usefixtures("several_threads")


def global_state():
    kind, keys, *position = np.random.get_state()  # noqa: NPY002
    return {
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "torch": torch.get_rng_state().tolist(),
        "numpy": (kind, keys.tolist(), *position),
        "python": random.getstate(),
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "printing": np.get_printoptions(),
        "errors": np.geterr(),
    }


@contextmanager
def unchanged():
    before = global_state()
    yield
    assert global_state() == before


class Seen(SharedCallback):
    """Remembers the number of threads during training."""

    threads = None

    def on_batch_end(self, net, **kwargs):
        self.threads = torch.get_num_threads()


class Fails(Callback):
    def on_batch_end(self, net, **kwargs):
        raise RuntimeError("in training")


def transformer(**params):
    return helpers.transformer(**({"max_iter": 2, "random_state": None} | params))


@pytest.mark.parametrize(
    ("random_state", "init", "scale"),
    [(None, "random", "standard"), (0, "pca", "quantile")],
)
def test_fit_and_inference_leave_the_global_state_as_it_was(random_state, init, scale):
    with unchanged():
        ae = transformer(init=init, random_state=random_state, scale=scale).fit(X)
        ae.partial_fit(X)
        Z = ae.transform(X)
        ae.inverse_transform(Z)
        ae.score(X)
        ae.score_samples(X)
        ae.fit_transform(X)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_fit_that_fails_leaves_the_global_state_as_it_was(method):
    with unchanged():
        ae = transformer(net_params={"callbacks": [Fails()]})
        with pytest.raises(RuntimeError, match="in training"):
            getattr(ae, method)(X)


@pytest.mark.parametrize(
    "context", [float64_by_default, torch.no_grad, torch.inference_mode]
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_the_callers_torch_settings_change_nothing(context, method):
    expected = getattr(transformer(random_state=0), method)(X)
    with context(), unchanged():
        ae = getattr(transformer(random_state=0), method)(X)
        np.testing.assert_array_equal(ae.transform(X), expected.transform(X))
    assert ae.loss_curve_ == expected.loss_curve_
    # A model fitted in there trains on out here.
    ae.partial_fit(X)


def test_the_callers_seeds_change_nothing():
    results = []
    for seed in (0, 1):
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        results.append(transformer(random_state=0).fit(X).loss_curve_)
    assert results[0] == results[1]


def test_a_small_network_trains_on_one_thread():
    seen = Seen()
    transformer(net_params={"callbacks": [seen]}).fit(X)
    assert seen.threads == 1


# -- limit_threads -----------------------------------------------------------------


def test_large_work_gets_the_callers_threads():
    with limit_threads():
        assert torch.get_num_threads() == 1
        with limit_threads(2 * MIN_FLOPS_FOR_THREADS):
            assert torch.get_num_threads() == N_THREADS
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == N_THREADS


class Worker:
    """A thread that runs functions, one after another, as in a pool."""

    def __init__(self):
        self._pool = ThreadPoolExecutor(1)

    def __call__(self, function, *args):
        return self._pool.submit(function, *args).result(timeout=60)


@pytest.mark.parametrize("first_out", [0, 1])
@pytest.mark.parametrize("flops", [0, 2 * MIN_FLOPS_FOR_THREADS])
def test_overlapping_contexts_of_two_threads_leave_each_its_number(first_out, flops):
    workers = [Worker(), Worker()]
    contexts = [limit_threads(), limit_threads(flops)]
    # torch gives a thread its number at its first use.
    assert workers[0](torch.get_num_threads) == N_THREADS
    workers[1](torch.set_num_threads, 2)
    for worker, context in zip(workers, contexts, strict=True):
        worker(context.__enter__)
    # A thread that begins meanwhile has the number that torch gives to new ones.
    assert Worker()(torch.get_num_threads) == 2
    inside = [worker(torch.get_num_threads) for worker in workers]
    assert inside == [1, 2 if flops else 1]
    for i in (first_out, 1 - first_out):
        workers[i](contexts[i].__exit__, None, None, None)
    assert [worker(torch.get_num_threads) for worker in workers] == [3, 2]
    assert torch.get_num_threads() == N_THREADS
    assert Worker()(torch.get_num_threads) == 2


def test_products_take_one_thread_after_torch_was_given_a_number():
    # torch.set_num_threads fixes the number of MKL, too.
    try:
        library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
        n_mkl = ctypes.CDLL(str(library)).MKL_Get_Max_Threads
    except (OSError, AttributeError):
        pytest.skip("torch has no MKL here, or hides it")
    assert n_mkl() == N_THREADS
    with limit_threads():
        assert n_mkl() == 1
        with limit_threads(2 * MIN_FLOPS_FOR_THREADS):
            assert n_mkl() == N_THREADS
        assert n_mkl() == 1
    assert n_mkl() == N_THREADS


def blas_threads():
    return [i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"]


@pytest.mark.parametrize("first_out", [0, 1])
@pytest.mark.parametrize("also", [True, False])
def test_of_overlapping_contexts_the_last_restores_blas(first_out, also):
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        assert max(before) == 2
        with limit_threads(blas=False):
            assert blas_threads() == before
        workers = [Worker(), Worker()]
        contexts = [limit_threads(blas=also), limit_threads()]
        for worker, context in zip(workers, contexts, strict=True):
            worker(context.__enter__)
        assert max(blas_threads()) == 1
        for i in (first_out, 1 - first_out):
            workers[i](contexts[i].__exit__, None, None, None)
        assert blas_threads() == before


def test_an_error_inside_restores():
    with pytest.raises(KeyboardInterrupt), limit_threads():
        raise KeyboardInterrupt
    assert torch.get_num_threads() == N_THREADS


def test_ctrl_c_at_any_line_before_the_block_restores():
    # A line of limit_threads itself: Python enters and leaves a lock as one step.
    def interrupt_at(n):
        """Raise at the n-th line; return True if there are as many."""
        left = n

        def trace(frame, event, arg):
            nonlocal left
            if frame.f_code is not limit_threads.__wrapped__.__code__:
                return None
            if event == "line":
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            with limit_threads():
                sys.settrace(before)
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False

    with threadpool_limits(limits=2, user_api="blas"):
        before, n = blas_threads(), 1
        while interrupt_at(n):
            assert (torch.get_num_threads(), blas_threads()) == (N_THREADS, before)
            assert n_threads_outside() == N_THREADS
            n += 1
    assert n > 10


def test_without_mkl_openmps_number_is_limited(monkeypatch):
    def not_there(path):
        raise OSError(path)

    monkeypatch.setattr(ctypes, "CDLL", not_there)
    monkeypatch.setattr(_runtime, "_mkl_set_num_threads_local", undecorated_mkl)
    with limit_threads():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == N_THREADS


def test_threads_outside_are_the_callers():
    with limit_threads(), limit_threads():
        assert torch.get_num_threads() == 1
        assert n_threads_outside() == N_THREADS
    assert n_threads_outside() == N_THREADS


def test_gradients_are_on_inside_a_callers_context():
    with torch.inference_mode(), enable_gradients():
        x = torch.ones(2, requires_grad=True)
        x.sum().backward()
    assert torch.equal(x.grad, torch.ones(2))


# -- generators and devices ------------------------------------------------------


def test_no_random_state_is_fresh_entropy_and_leaves_numpys_generator_alone():
    with unchanged():
        draws = {random_generator(None).randint(2**31) for _ in range(5)}
    assert len(draws) == 5


def test_no_random_state_does_not_follow_numpys_seed():
    codes = []
    for _ in range(2):
        np.random.seed(0)  # noqa: NPY002
        codes.append(transformer(init="random").fit_transform(X))
    assert not np.allclose(*codes)


def test_an_int_seeds_and_an_instance_is_used():
    assert random_generator(3).randint(2**31) == random_generator(3).randint(2**31)
    given = np.random.RandomState(0)
    assert random_generator(given) is given


def test_torch_generators_differ_from_draw_to_draw():
    source = np.random.RandomState(0)
    seeds = {torch_generator(source).initial_seed() for _ in range(5)}
    assert len(seeds) == 5
    again = torch_generator(np.random.RandomState(0)).initial_seed()
    assert again in seeds


@pytest.mark.parametrize("device", ["nope", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there_is_an_error_that_names_the_parameter(device):
    with pytest.raises(ValueError, match=rf"device='{device}' can't be used.*'auto'"):
        transformer(device=device).fit(X)


def test_auto_is_cuda_where_there_is_one(monkeypatch):
    assert resolve_device("cpu") == torch.device("cpu")
    for available, name in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda a=available: a)
        assert resolve_device("auto") == torch.device(name)
