"""The rows to hold out of training."""

import numpy as np

from sklearn_ae.tables._rows import cell_blocks, weighted_mean

# Fewer rows than this to judge by decide little; more cost time and change nothing.
MIN_MONITORED = 50
MAX_MONITORED = 5_000
# Rows trained on that are judged by, where none is held out: a tenth, or this many.
MIN_WATCHED = 1_000
# Share of a column's variance that a row may have and still be held out.
MAX_SHARE = 0.1


def n_held_out(n_rows, fraction):
    """How many of the rows to judge by and not to train on."""
    share = min(round(fraction * n_rows), MAX_MONITORED, n_rows - 2)
    return max(share, min(n_rows // 4, MIN_MONITORED))


def n_in_sample_monitor(n_rows):
    """How many of the rows that are trained on to judge by, where none is held out."""
    return min(n_rows, max(n_rows // 10, MIN_WATCHED), MAX_MONITORED)


def move_influential_rows_last(matrix, weight):
    """Put the rows that a column hangs on at the end, in place; return the order.

    Rows are held out from the front. A row that holds more than ``MAX_SHARE`` of a
    column's variance is trained on: PCA, fitted on all rows, draws an axis to it, and
    without it the column would be all but constant in training. Held out, it would be
    PCA's to reproduce and nobody's to learn, and would speak for the start alone.
    """
    mean = matrix.mean(axis=0)
    total = weight.sum() * weighted_mean(matrix, weight, lambda x: np.square(x - mean))
    total = np.where(total > 0, total, np.inf)
    share = np.concatenate(
        [
            (np.square(matrix[b] - mean) * weight[b, None] / total).max(axis=1)
            for b in cell_blocks(matrix)
        ]
    )
    hangs = share > MAX_SHARE
    first, last = np.flatnonzero(~hangs), np.flatnonzero(hangs)
    if len(last):
        at_the_end = matrix[last]
        # No block takes what an earlier one has written over: rows only move forward.
        for block in cell_blocks(matrix[: len(first)]):
            matrix[block] = matrix[first[block]]
        matrix[len(first) :] = at_the_end
    return np.concatenate([first, last])
