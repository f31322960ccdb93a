"""Rows of a table: merged, weighted, sampled, held out, and worked on in blocks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import gen_batches

Floats = NDArray[np.floating]

CELLS_PER_BLOCK = 2**18  # float64 copies of a block stay in the processor's cache
# A gain has to exceed its standard error on the held-out rows: of 50 rows that is a
# seventh of the standard deviation of a row's gain, of 5,000 a seventieth.
MIN_HELD_OUT, MAX_HELD_OUT = 50, 5_000
MIN_IN_SAMPLE_MONITOR = (
    1_000  # rows of the training loss are cheaper than held-out ones
)
MAX_VARIANCE_SHARE = 0.1  # a row above it would decide a column's held-out loss alone
# Rows that float32 may take for others, in a table that is ordered as its copy in it.
MAX_ROUNDED_SHARE = 0.1
# An odd 64-bit constant: 2**64 divided by the golden ratio (Fibonacci hashing; Knuth,
# D. E., 1998. The art of computer programming 3, 6.4).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


# -- blocks and views ----------------------------------------------------------------


class RowView:
    """Some rows of a table in some order, gathered only when they are used.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    rows : ndarray of shape (n,)
        Indices into X.
    """

    def __init__(self, X: Floats, rows: NDArray[np.intp]) -> None:
        self.X, self.rows = X, rows
        self.shape = (len(rows), X.shape[1])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, some: slice | NDArray[np.intp]) -> Floats:
        return self.X[self.rows[some]]


def cell_blocks(X: Floats | RowView) -> Iterator[slice]:
    """Slices over the rows of a table: copies of one are small beside the table."""
    return gen_batches(len(X), max(1, CELLS_PER_BLOCK // X.shape[1]))


# -- equal rows ----------------------------------------------------------------------


def merge_equal_rows(
    X: Floats, sample_weight: NDArray[np.float64] | None, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Index of each distinct row, in a random order, and its summed weight.

    The order is that of a seeded hash of the rows: random, but a function of the rows
    and the seed alone. A model trained on the merged rows depends neither on their
    order nor on whether a row is repeated or weighted; and no row can stand on both
    sides of a validation split. Rows of weight zero are left out. Rows are hashed in
    float32: a table and its copy in float32 have one order, unless float32 takes more
    than a tenth of the rows for others.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    sample_weight : ndarray of shape (n_samples,) or None
    seed : int

    Returns
    -------
    rows : ndarray of shape (n_distinct,)
        Indices into X.
    weight : ndarray of shape (n_distinct,)
    """
    if sample_weight is None:
        sample_weight = np.ones(len(X))
    # Equal rows by weight: the last bit of a sum depends on its order.
    keys = [sample_weight, _row_hash(X, seed, np.float32)]
    if X.dtype == np.float64:
        # Rows that float32 can't tell apart have an order, too.
        keys.insert(1, _row_hash(X, seed, np.float64))
    order = np.lexsort(keys)
    if X.dtype == np.float64:
        equal, equal_in_float32 = (k[order[1:]] == k[order[:-1]] for k in keys[1:])
        if np.sum(equal_in_float32 & ~equal) > MAX_ROUNDED_SHARE * len(X):
            # They would be held out together: neighbours, as those of one hour.
            order = np.lexsort(keys[:2])
    order = order[sample_weight[order] > 0]
    key = keys[1]
    same_hash = np.flatnonzero(key[order[1:]] == key[order[:-1]])
    same = same_hash[(X[order[same_hash]] == X[order[same_hash + 1]]).all(axis=1)]
    starts = np.delete(np.arange(len(order)), same + 1)
    return order[starts], np.add.reduceat(sample_weight[order], starts)


def _row_hash(X: Floats, seed: int, dtype: type) -> NDArray[np.uint64]:
    """Hash (n,) of each row of X, of its values in a dtype."""
    bits = np.dtype(f"u{np.dtype(dtype).itemsize}")
    key = np.full(len(X), seed, dtype=np.uint64) * _GOLDEN
    for column in X.T:
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(column, dtype=dtype)
        # Adding zero turns -0.0 into 0.0: equal numbers need equal bits.
        key ^= (values + dtype(0)).view(bits)
        # Twice: one round leaves the orders of two seeds correlated.
        for shift in (np.uint64(32), np.uint64(29)):
            key *= _GOLDEN
            key ^= key >> shift
    return key


def value_hash(X: Floats) -> NDArray[np.uint64]:
    """Hash (n,) of the values in each row of X: the same in float32 and in float64."""
    return _row_hash(X, 0, np.float64)


def systematic_sample(weight: NDArray[np.float64], max_rows: int) -> NDArray[np.intp]:
    """Indices in proportion to weight, evenly spaced: each row once if all are one."""
    total = np.cumsum(weight)
    n_rows = min(max(len(weight), round(total[-1])), max_rows)
    targets = (np.arange(n_rows) + 0.5) / n_rows * total[-1]
    return np.searchsorted(total, targets)


# -- moments -------------------------------------------------------------------------


class ColumnMoments(NamedTuple):
    """Weighted moments and the range of columns, each of shape (n_features,)."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    low: Floats
    high: Floats

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviations."""
        return np.sqrt(self.variance)


def column_moments(X: Floats, weight: NDArray[np.float64]) -> ColumnMoments:
    """Moments of the columns of X (n, d) under the rows' weights (n,)."""
    total = weight.sum()
    mean = sum(_summed(X[b], weight[b]) for b in cell_blocks(X)) / total
    variance = (
        sum(_summed(np.square(X[b] - mean), weight[b]) for b in cell_blocks(X)) / total
    )
    return ColumnMoments(mean, variance, X.min(axis=0), X.max(axis=0))


def _summed(values: Floats, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    return (values * weight[:, None]).sum(axis=0)


# -- training data and its split -----------------------------------------------------


@dataclass
class TrainingData:
    """Distinct rows of a table, scaled; the first ``n_held_out`` are held out.

    Attributes
    ----------
    matrix : ndarray of shape (n, n_features), float32
    weight : ndarray of shape (n,), float64
        Sum of the weights of the rows that were merged into each.
    rows : ndarray of shape (n,)
        Index of each in the table.
    n_held_out : int
        Rows, from the front, that are not trained on.
    """

    matrix: NDArray[np.float32]
    weight: NDArray[np.float64]
    rows: NDArray[np.intp]
    n_held_out: int = 0

    def __len__(self) -> int:
        return len(self.matrix)

    def hold_out(
        self, fraction: float | None, moments: ColumnMoments
    ) -> "TrainingData":
        """Order the rows for a split, in place; hold out a fraction, or with None none.

        Influential rows move to the end: a row with more than ``MAX_VARIANCE_SHARE`` of
        a column's variance is trained on. PCA, fitted to all rows, has a component
        along it, and without it the column would be all but constant in training. Held
        out, it would count for PCA's start alone.
        """
        mean, total = moments.mean, self.weight.sum() * moments.variance
        total = np.where(total > 0, total, np.inf)
        share = np.concatenate(
            [
                np.max(
                    np.square(self.matrix[b] - mean) * self.weight[b, None] / total,
                    axis=1,
                )
                for b in cell_blocks(self.matrix)
            ]
        )
        is_influential = share > MAX_VARIANCE_SHARE
        first, last = np.flatnonzero(~is_influential), np.flatnonzero(is_influential)
        if 0 < len(last) < len(self):
            influential = self.matrix[last]
            # Rows only move forward: no block reads what an earlier one overwrote.
            for block in cell_blocks(self.matrix[: len(first)]):
                self.matrix[block] = self.matrix[first[block]]
            self.matrix[len(first) :] = influential
        order = np.concatenate([first, last])
        self.weight, self.rows = self.weight[order], self.rows[order]
        self.n_held_out = 0 if fraction is None else n_held_out(len(order), fraction)


def n_held_out(n_rows: int, fraction: float) -> int:
    """Number of rows to hold out; of fewer than four rows none."""
    share = min(round(fraction * n_rows), MAX_HELD_OUT, n_rows - 2)
    return max(share, min(n_rows // 4, MIN_HELD_OUT))


def n_in_sample_monitor(n_rows: int) -> int:
    """Number of training rows to monitor the loss on where none is held out."""
    return min(n_rows, max(n_rows // 10, MIN_IN_SAMPLE_MONITOR), MAX_HELD_OUT)
