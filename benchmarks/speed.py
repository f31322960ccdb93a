"""What an autoencoder's training costs, beside a bare loop and other libraries.

The same network and budget for all, on drawn tables of four shapes, with one thread
and with all cores. Each round runs every method once; ratios are within a round.
"""

import os
from functools import cache
from itertools import product

import numpy as np
from matplotlib.figure import Figure

from benchmarks._judge import held_to, timed
from benchmarks._loops import LOOPS
from benchmarks._report import number
from benchmarks._tables import curved_sheet

SHAPES = (20_000, 50), (2_000, 20), (100_000, 30), (5_000, 500)
N_EPOCHS, N_ROUNDS = 10, 5
FLOOR, OURS = "matrix products", "ours"
SAME = 0.02  # share by which a training loss may be above the bare loop's

FORMATS = {
    **dict.fromkeys(("shape", "method"), str),
    **dict.fromkeys(("threads", "round"), "{:.0f}".format),
    "seconds": "{:.3f}".format,
    "rows_s": "{:,.0f}".format,
    "loss": number,
}


def cases(options):
    """Every shape, number of threads, round and method."""
    shapes = SHAPES[1:2] if options.quick else SHAPES
    return [
        {"shape": _name(*shape), "threads": threads, "round": i, "method": name}
        for shape, threads in product(shapes, sorted({1, os.cpu_count()}))
        for i in range(1 if options.quick else N_ROUNDS)
        for name in LOOPS
    ]


def _name(n, d):
    return f"{n:,} x {d}"


@cache
def _burn_in(method):
    """Pay for what only the first call costs."""
    LOOPS[method](curved_sheet(1_000, 20), 0, 1)


def measure(shape, threads, round, method):
    """Train once, and what the training rows are worth to the result."""
    _burn_in(method)
    n, d = shape.replace(",", "").split(" x ")
    X = curved_sheet(int(n), int(d))
    with held_to(threads):
        seconds, reconstruct = timed(LOOPS[method], X, round, N_EPOCHS)
    loss = np.nan if reconstruct is None else np.square(reconstruct(X) - X).mean()
    return {"seconds": seconds, "rows_s": N_EPOCHS * len(X) / seconds, "loss": loss}


def summary(frame, cases):
    """Judge each method by its ratio to the floor, and to ours, within a round."""
    table = _over_rounds(frame)
    return table.reset_index(), [*_losses(table), *NOTES]


def _over_rounds(frame):
    keys = ["shape", "threads"]
    seconds = frame.pivot_table("seconds", [*keys, "round"], "method", sort=False)
    by = frame.groupby([*keys, "method"], sort=False)
    table = by[["seconds", "rows_s", "loss"]].median()
    for name, rival in (("floor", FLOOR), ("ours", OURS)):
        ratio = seconds.div(seconds[rival], axis=0).groupby(keys, sort=False).median()
        table[f"/ {name}"] = ratio.stack().reindex(table.index)
    return table


def _losses(table):
    loss = table["loss"].unstack("method")
    above = loss.div(loss["bare torch"], axis=0) - 1
    lines = []
    for method, values in above.drop(columns=FLOOR).items():
        if values.max() > SAME:
            shape, threads = values.idxmax()
            lines.append(
                f"{method}: its training loss is {values.max():.1%} above the bare "
                f"loop's on {shape}, threads: {threads}."
            )
    return lines or [f"No training loss is {SAME:.0%} above the bare loop's."]


NOTES = [
    f"d-64-16-64-d, ReLU, Adam, batches of 256, {N_EPOCHS} epochs; medians of "
    f"{N_ROUNDS} rounds after a burn-in.",
    "/ floor: seconds over those of the matrix products alone, forward and backward, "
    "in numpy; / ours: over ours. Medians of the ratios within a round.",
]


def plot(frame):
    """Draw each method's seconds over the floor's, a panel a shape."""
    table = _over_rounds(frame).reset_index()
    shapes = list(dict.fromkeys(table["shape"]))
    figure = Figure(figsize=(4 * len(shapes), 4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(shapes), sharey=True))
    for axes, shape in zip(panels, shapes, strict=True):
        for threads, part in table[table["shape"] == shape].groupby("threads"):
            label = f"threads: {threads}"
            axes.plot(part["/ floor"], part["method"], "o", label=label)
        axes.set(xscale="log", title=shape, xlabel="seconds / matrix products'")
        axes.grid(alpha=0.3)
    panels[0].legend()
    panels[0].invert_yaxis()
    return figure
