"""Run the campaign: ``python -m tests.campaign [section ...] [--quick]``.

Each section prints a line for each failure and a summary; the exit status is 1 if
anything is bad. ``--quick`` takes a share of each section.
"""

import argparse
import gc
import os
import resource
import sys
import time
import warnings

import numpy as np

from tests.campaign import _parameters, _streams, _threads
from tests.campaign._common import METHODS, attempt, faults, make, target
from tests.campaign._hostile import hostile_tables

# Resident memory wavers by some MB; a table or network that is kept takes 0.2 MB a fit.
GROWTH = 16 * 2**20


def tables(quick, seed):
    """Fit each estimator to 170 hostile tables, and send them to fitted ones."""
    ordinary = np.random.default_rng(seed).normal(size=(60, 5))
    fitted = {
        kind: make(kind).fit(ordinary, target(kind, ordinary)) for kind in METHODS
    }
    for name, X in list(hostile_tables(seed).items())[:: 8 if quick else 1]:
        before = X.tobytes() if isinstance(X, np.ndarray) else None
        for kind in METHODS:
            y = target(kind, X)
            estimator, fault = attempt(make(kind).fit, X, y)
            if estimator is not None:
                found = faults(kind, estimator, X, y) or _lost_rows(kind, estimator, X)
            else:
                found = [f"fit: {fault}"] if fault else []
            yield f"{kind}, fitted to {name}", found
            found = faults(kind, fitted[kind], X, y)
            if before is not None and before != X.tobytes():
                found.append("the table was changed")
            yield f"{kind}, new rows {name}", found


def _lost_rows(kind, estimator, X):
    if kind != "transformer" or not np.ptp(np.asarray(X, dtype=float), axis=0).any():
        return []
    codes = np.asarray(estimator.transform(X))
    return [] if np.ptp(codes, axis=0).any() else ["rows differ, their codes do not"]


def growth(quick, seed):
    """Fit 200 times: memory, threads and open files stay as they are."""
    n_fits = 60 if quick else 200
    rows = np.random.default_rng(seed).normal(size=(2_000, 10))
    for i in range(n_fits):
        if i == n_fits // 2:  # caches and pools are full by now
            before = _held()
        kind = list(METHODS)[i % 5]
        y = target(kind, rows)
        found = faults(
            kind, make(kind).fit(rows, y), rows[:100], None if y is None else y[:100]
        )
        yield f"fit {i} of {kind}", found
    for name, held in _held().items():
        grown = held - before[name]
        allowed = GROWTH if name == "bytes of memory" else 0
        yield name, [f"{grown:,} more"] if grown > allowed else []


def _held():
    gc.collect()
    with open("/proc/self/statm") as file:
        n_pages = int(file.read().split()[1])
    return {
        "bytes of memory": n_pages * resource.getpagesize(),
        "threads": len(os.listdir("/proc/self/task")),
        "open files": len(os.listdir("/proc/self/fd")),
    }


SECTIONS = {
    "tables": tables,
    "threads": _threads.run,
    "streams": _streams.run,
    "parameters": _parameters.run,
    "growth": growth,
}


def main():
    """Return 1 if anything is bad, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign")
    parser.add_argument("section", nargs="*", help=f"of {', '.join(SECTIONS)}; all")
    parser.add_argument("--quick", action="store_true", help="a share of each section")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not set(options.section) <= set(SECTIONS):
        parser.error(f"sections are {', '.join(SECTIONS)}")
    warnings.simplefilter("ignore")  # hostile tables do not converge
    bad = 0
    for section in options.section or SECTIONS:
        start, results = time.perf_counter(), []
        for name, found in SECTIONS[section](options.quick, options.seed):
            results.append(bool(found))
            for fault in found:
                print(f"BAD {section}: {name}: {fault}", flush=True)
        seconds = time.perf_counter() - start
        print(f"{section}: {len(results)} tried, {sum(results)} bad, {seconds:.0f} s")
        bad += sum(results)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
