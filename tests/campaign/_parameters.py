"""95 extreme values: each is refused by a sentence that names it, or works."""

import resource
import time

import numpy as np

from tests.campaign._common import faults, is_refusal, make, spelled, target

NAN, INF = float("nan"), float("inf")
# Address space that a value may take: more would bring down the machine.
MEMORY = 6 * 2**30
SECONDS = 60
WIDE = 10**6, 10**6
VALUES = {
    "transformer": {
        "n_components": [0, -1, 6, 10**9, 10**30, 1.5, NAN, "a", True, 1e-300],
        "hidden_layer_sizes": [(0,), (-1,), (8.5,), "a", WIDE, (10**9,), (10**30,)],
        "max_iter": [0, -1, 1.5, NAN],
        "alpha": [-1, NAN, INF, 1e300, 5e-324],
        "learning_rate_init": [0, -1, NAN, INF, 1e300, 1e-300],
        "batch_size": [0, -1, 1.5, 10**30],
        "tol": [-1, NAN, 1e300],
        "validation_fraction": [0, 1, NAN, 1e-300],
        "n_iter_no_change": [0, 10**30],
        "corruption_level": [-1, NAN, INF, 1e39, (0, 0), (2, 1), (1e-300, 1e300)],
        "sparsity_weight": [-1, NAN, INF, 1e300],
        "contraction_weight": [-1, NAN, 1e300],
        "beta": [-1, NAN, INF, 1e300, 1e-300],
        "random_state": [-1, 2**40, "a"],
        "device": ["nowhere"],
        "input_shape": [(5, 10**9), (-5,), (0,), "a"],
    },
    "detector": {"contamination": [0.6, NAN, -1, 1e-300], "validation_fraction": [0]},
    "classifier": {"consistency_weight": [NAN, 1e300], "class_weight": [{0: 1e300}]},
    "regressor": {"alpha": [1e300]},
    "compressor": {"target_psnr": [NAN, 1e300], "error_bound": [NAN, 1e300, 1e-300]},
}


def run(quick, seed):
    """Yield (name, faults) of each value."""
    rows = np.random.default_rng(seed).normal(size=(60, 5))
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, before[1]))
    try:
        for kind, param, value in list(_trials())[:: 5 if quick else 1]:
            start = time.perf_counter()
            found = _faults_of(kind, param, value, rows)
            if time.perf_counter() - start > SECONDS:
                found.append(f"took {time.perf_counter() - start:.0f} s")
            yield f"{kind}, {param}={value!r}", found
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _trials():
    for kind, extremes in VALUES.items():
        for param, values in extremes.items():
            yield from ((kind, param, value) for value in values)
    # Each weight of a row, of which only ratios matter; the unit of y; rows to draw.
    yield from (("transformer", "sample_weight", w) for w in (1e300, 5e-324, 1 / 60))
    yield from (("regressor", "y", scale) for scale in (1e160, 1e300, 1e-170, 5e-324))
    yield from (("transformer", "sample", n) for n in (10**12, -1))


def _faults_of(kind, param, value, rows):
    y, fit_params, params = target(kind, rows), {}, {}
    if param == "sample_weight":
        fit_params[param] = np.full(60, value)
    elif param == "y":
        y = value * y
    elif param != "sample":
        params[param] = value
    if param in ("beta", "sample"):
        params["latent"] = "gaussian"
    try:
        estimator = make(kind, **params).fit(rows, y, **fit_params)
        if param == "sample":
            estimator.sample(value)
    except Exception as error:
        # sample has one parameter, n_samples.
        named = is_refusal(error) and param in str(error)
        return [] if named else [spelled(error)]
    return faults(kind, estimator, rows, y)
