"""Concurrent calls and fits: each has to equal the serial one to the bit."""

from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

import numpy as np
import torch

from tests.campaign._common import METHODS, attempt, call, make, small, target
from tests.helpers import SmallNetworks

KINDS = {kind: lambda kind=kind: make(kind) for kind in METHODS} | {
    "network with dropout": lambda: small(2, architecture=SmallNetworks()),
    "variational": lambda: small(2, latent="gaussian", max_iter=3),
    "denoising": lambda: small(2, corruption_level=0.3, max_iter=3),
}


def run(quick, seed):
    """Yield (name, faults) of 272 calls, of 40 fits and of the process."""
    rows = np.random.default_rng(seed).normal(size=(150, 6)).cumsum(axis=1)
    before = _process_state()
    calls = list(_calls(rows))
    yield from _at_once(islice(cycle(calls), 40 if quick else 272))
    fits = [(f"a fit of {kind}", (_fit, kind, rows)) for kind in KINDS]
    yield from _at_once(fits * (2 if quick else 5))
    after = _process_state()
    changed = [f"changed: {name}" for name in before if before[name] != after[name]]
    yield "the state of the process", changed


def _calls(rows):
    for kind, names in METHODS.items():
        y = target(kind, rows)
        estimator = make(kind).fit(rows, y)
        for name in names.split():
            yield f"{kind}.{name}", (_call, estimator, name, rows, y)


def _call(*args):
    return _bits(call(*args))


def _fit(kind, rows):
    estimator = KINDS[kind]().fit(rows, target(kind, rows))
    scored = [
        n for n in ("predict", "transform", "score_samples") if hasattr(estimator, n)
    ]
    return [_bits(getattr(estimator, name)(rows)) for name in scored]


def _bits(result):
    if isinstance(result, tuple):
        return [_bits(part) for part in result]
    return result if isinstance(result, bytes) else np.asarray(result).tobytes()


def _at_once(jobs):
    jobs = list(jobs)
    serial = {name: job[0](*job[1:]) for name, job in jobs}
    with ThreadPoolExecutor(8) as pool:
        futures = [(name, pool.submit(attempt, *job)) for name, job in jobs]
    for name, future in futures:
        result, fault = future.result()
        differs = [] if result == serial[name] else [fault or "not the serial bits"]
        yield name, differs


def _process_state():
    # The filters of warnings are left out: check_array's own catch_warnings moves them.
    state = np.random.get_state()  # noqa: NPY002
    return {
        "torch's generator": torch.get_rng_state().numpy().tobytes(),
        "numpy's generator": (state[1].tobytes(), *state[2:]),
        "number of torch threads": torch.get_num_threads(),
        "mode of gradients": torch.is_grad_enabled(),
    }
