"""Rows of a table: merged, sampled, and worked on in blocks."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import gen_batches

# Cells of a table that are worked on at once: float64 copies stay in the cache.
_CELLS = 2**18
# An odd 64-bit constant: 2**64 divided by the golden ratio (Fibonacci hashing).
_MIX = np.uint64(0x9E3779B97F4A7C15)


def merge_equal_rows(
    X: NDArray[np.floating], sample_weight: NDArray[np.float64] | None, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Index of each distinct row, in a random order, and its summed weight.

    The order is that of a seeded hash of the rows: random, but a matter of the rows
    and the seed alone. What is trained on the merged rows depends neither on the order
    in which they came nor on whether a row is repeated or weighted; and no row can
    stand on both sides of a validation split. Rows of weight zero are left out.

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
    key = _row_hash(X, seed)
    if sample_weight is None:
        order = np.argsort(key, kind="stable")
        sample_weight = np.ones(len(X))
    else:
        # Equal rows by weight: the last bit of a sum is a matter of its order.
        order = np.lexsort((sample_weight, key))
        order = order[sample_weight[order] > 0]
    same_hash = np.flatnonzero(key[order[1:]] == key[order[:-1]])
    same = same_hash[(X[order[same_hash]] == X[order[same_hash + 1]]).all(axis=1)]
    starts = np.delete(np.arange(len(order)), same + 1)
    return order[starts], np.add.reduceat(sample_weight[order], starts)


class RowView:
    """Some rows of a table in some order, gathered only as they are asked for.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    rows : ndarray of shape (n,)
        Indices into X.
    """

    def __init__(self, X: NDArray[np.floating], rows: NDArray[np.intp]) -> None:
        self.X, self.rows = X, rows
        self.shape = (len(rows), X.shape[1])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, some: slice | NDArray[np.intp]) -> NDArray[np.floating]:
        return self.X[self.rows[some]]


def _row_hash(X: NDArray[np.floating], seed: int) -> NDArray[np.uint64]:
    bits = np.dtype(f"u{X.dtype.itemsize}")
    key = np.full(len(X), seed, dtype=np.uint64) * _MIX
    for column in X.T:
        # Adding zero turns -0.0 into 0.0: equal numbers need equal bits.
        key ^= (np.ascontiguousarray(column) + X.dtype.type(0)).view(bits)
        # Twice: one round leaves the orders of two seeds correlated.
        for shift in (np.uint64(32), np.uint64(29)):
            key *= _MIX
            key ^= key >> shift
    return key


def float32_hash(X: NDArray[np.floating]) -> NDArray[np.uint64]:
    """A number (n,) for each row of X: the same in float32 and in float64."""
    with np.errstate(over="ignore"):
        return _row_hash(X.astype(np.float32), seed=0)


def systematic_sample(weight: NDArray[np.float64], max_rows: int) -> NDArray[np.intp]:
    """Indices in proportion to weight, evenly spaced: each row once if all are one."""
    total = np.cumsum(weight)
    n_rows = min(max(len(weight), round(total[-1])), max_rows)
    targets = (np.arange(n_rows) + 0.5) / n_rows * total[-1]
    return np.searchsorted(total, targets)


def cell_blocks(X: "NDArray[np.floating] | RowView") -> Iterator[slice]:
    """Slices over the rows of a table: copies of one are small beside all of it."""
    return gen_batches(len(X), max(1, _CELLS // X.shape[1]))


def weighted_mean(matrix, weight, function):
    """Weighted mean (d,) of a function of the cells."""
    parts = (function(matrix[b]) * weight[b, None] for b in cell_blocks(matrix))
    return sum(part.sum(axis=0) for part in parts) / weight.sum()
