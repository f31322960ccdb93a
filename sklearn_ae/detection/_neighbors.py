"""Distances to the nearest training rows."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
from sklearn.neighbors import NearestNeighbors

from sklearn_ae.tables._rows import systematic_sample, value_hash

# The nearest rows of a random sample detect outliers as well as those of the whole
# table (Sugiyama and Borgwardt, 2013. Rapid distance-based outlier detection via
# sampling. NeurIPS).
MAX_REFERENCE_ROWS = 4_000
# A neighbourhood: the nearest rows, by their share of a thinner sample.
NEIGHBOURHOOD_SHARE, MAX_NEIGHBOURHOOD_REFERENCE_ROWS = 0.05, 1_000
# Copies beyond this multiple of the median number of copies are neighbours of a row.
# Without it one repeated 100 times, apart from 200 others, scores above 59 % of these
# and not above all.
MAX_COPIES_RATIO = 3
# Matrix products give squared distances to rounding errors of the norms. Where these
# may be a larger share of the distance, it is computed by differences: then a score
# depends on the row alone, to 1e-9.
MAX_ROUNDING = 1e-10
# 16 MB of float64.
CELLS_PER_BLOCK = 2**21
# Rows that are scaled and scored at once.
ROWS_PER_BLOCK = 4_096


class QueryRows:
    """Rows to be scored, with what several score components need of them.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        In input units.
    is_training_row : bool or ndarray of shape (n,), bool, default=False
    self_weight : float or ndarray of shape (n,), default=0.0
        A row's weight among those that calibrate p-values: it is taken out there.
    """

    def __init__(self, X, is_training_row=False, self_weight=0.0):
        self.X = X
        self.is_training_row = np.broadcast_to(is_training_row, len(X))
        self.self_weight = np.broadcast_to(self_weight, len(X))
        self._scaled = {}

    @cached_property
    def hashes(self):
        """A number (n,) for each row, equal for rows of equal values."""
        return value_hash(self.X)

    def scaled(self, columns):
        """The rows in scaled columns (n, d)."""
        if columns not in self._scaled:
            self._scaled[columns] = columns.transform(self.X)
        return self._scaled[columns]


class Sample(NamedTuple):
    """Rows (n, d), in input units, that neighbors in several scalings share."""

    X: np.ndarray


class Neighbors:
    """Nearest rows among a sample of the training rows, in scaled columns.

    Parameters
    ----------
    columns : ColumnScaler
        Fitted.
    X : ndarray of shape (n, d)
    weight : ndarray of shape (n,)
        A row of weight w counts as w rows.
    sample : Sample, optional
        That of neighbors in another scaling of the same rows.
    """

    def __init__(self, columns, X, weight, sample=None):
        if sample is None:
            sample = Sample(X[systematic_sample(weight, MAX_REFERENCE_ROWS)])
        self.columns, self.sample = columns, sample
        rows = QueryRows(sample.X)
        # Around zero: beside a large offset float64 loses small differences.
        self.center = np.median(rows.scaled(columns), axis=0)
        self.references = self._scaled(rows)
        self._search = NearestNeighbors(algorithm="brute").fit(self.references)
        self._hashes = rows.hashes
        _, place, copies = np.unique(
            self._hashes, return_inverse=True, return_counts=True
        )
        is_often = copies > MAX_COPIES_RATIO * np.median(copies)
        self._is_often = is_often[place]
        self._max_copies = copies[~is_often].max()
        step = -(-len(self.references) // MAX_NEIGHBOURHOOD_REFERENCE_ROWS)
        self._thinned = self.references[::step]
        self._half_norms = np.square(self._thinned).sum(axis=1) / 2
        # Five per cent of few rows are fewer than five.
        n_nearest = max(5, int(NEIGHBOURHOOD_SHARE * len(self._thinned)))
        self._n_neighbourhood = min(n_nearest, len(self._thinned))

    def __reduce__(self):
        # A pickle has the rows once, and not in each scaling.
        return Neighbors, (self.columns, None, None, self.sample)

    def mean_distances(self, rows, k):
        """Mean distance (n,) of rows to the k nearest.

        A training row is not among its own neighbours, nor are copies of it, unless it
        has many more than the median row; without any other row the distance is 0.
        """
        parts = []
        for _, _, squares in self._blocks(rows, k):
            is_other = np.isfinite(squares)
            total = np.sqrt(np.where(is_other, squares, 0)).sum(axis=1)
            parts.append(total / np.maximum(is_other.sum(axis=1), 1))
        return np.concatenate(parts)

    def parts(self, rows, k):
        """Parts (n, d) of ``mean_distances`` by cell."""
        parts = []
        for scaled, nearest, squares in self._blocks(rows, k, by_cell=True):
            is_other = np.isfinite(squares)
            differences = scaled[:, None] - self.references[nearest]
            differences = np.where(is_other[:, :, None], differences, 0)
            share = is_other.mean(axis=1, keepdims=True)
            share = np.maximum(share, 1 / is_other.shape[1])
            parts.append(_mean_distance_by_cell(differences) / share)
        return np.concatenate(parts)

    def neighbourhood_distances(self, rows):
        """Mean distance (n,) to the nearest 5 % of the references, five at the least.

        A training row may be among its own neighbours.
        """
        parts, k = [], self._n_neighbourhood
        for scaled in self._scaled_blocks(rows, len(self._thinned)):
            halves = self._half_squares(scaled)
            halves.partition(k - 1, axis=1)
            parts.append(np.sqrt(2 * np.maximum(halves[:, :k], 0)).mean(axis=1))
        return np.concatenate(parts)

    def neighbourhood_parts(self, rows):
        """Parts (n, d) of ``neighbourhood_distances`` by cell."""
        parts, k = [], self._n_neighbourhood
        m, d = self._thinned.shape
        for scaled in self._scaled_blocks(rows, m + k * d):
            nearest = _first_nearest(scaled, self._thinned, k)
            differences = scaled[:, None] - self._thinned[nearest]
            parts.append(_mean_distance_by_cell(differences))
        return np.concatenate(parts)

    def mean_of_nearest(self, rows, k, without):
        """Mean (n, d) of the k nearest, in input units.

        The column ``without`` (n,) of each row is left out of the distance. A training
        row is not among its own neighbours, unless there are no others.
        """
        scaled, parts = self._scaled(rows), []
        k = min(k, len(self.references))
        for block in _row_blocks(len(scaled), len(self.references)):
            is_self = rows.is_training_row[block, None] & (
                rows.hashes[block, None] == self._hashes
            )
            n_others = (~is_self).sum(axis=1, keepdims=True)
            nearest = _first_nearest(
                scaled[block],
                self.references,
                k,
                is_self & (n_others >= k),
                without[block],
            )
            parts.append(self.references[nearest].mean(axis=1))
        return self.columns.inverse_transform(np.concatenate(parts) + self.center)

    def _blocks(self, rows, k, by_cell=False):
        """Scaled rows, indices (n, k) of the nearest references, squared distances.

        The distance of a training row to itself is infinite. ``by_cell``: of equally
        near references the first are taken, not any of them.
        """
        m, d = self.references.shape
        k = max(1, min(k, m - 1))
        # The search ranks by |x|^2 - 2 x.y + |y|^2, whose last digits may be wrong: of
        # twice as many the nearest are found by their differences.
        n_candidates = 2 * k + rows.is_training_row.any() * self._max_copies
        n_candidates = min(int(n_candidates), m)
        all_scaled = self._scaled(rows)
        for block in _row_blocks(len(all_scaled), n_candidates * d):
            scaled, indices = all_scaled[block], np.arange(block.start, block.stop)
            near = self._search.kneighbors(scaled, n_candidates, return_distance=False)
            near.sort(axis=1)
            squares = _squares(scaled, self.references, near)
            farthest = squares.max(axis=1)
            squares[self._is_self(rows, indices, near)] = np.inf
            order = np.argsort(squares, axis=1, kind="stable")[:, :k]
            near, squares = (np.take_along_axis(a, order, 1) for a in (near, squares))
            if n_candidates < m:
                kth, error = squares[:, -1], _rounding_error(scaled, farthest)
                misses = kth >= farthest - 2 * error
                if not by_cell:
                    misses &= (kth > 0) & (error > MAX_ROUNDING * farthest)
                unsure = np.flatnonzero(misses)
                for some in _row_blocks(len(unsure), m):
                    i = unsure[some]
                    is_self = self._is_self(rows, indices[i], np.arange(m))
                    near[i] = _first_nearest(scaled[i], self.references, k, is_self)
                    squares[i] = _squares(scaled[i], self.references, near[i])
                    is_self = self._is_self(rows, indices[i], near[i])
                    squares[i] = np.where(is_self, np.inf, squares[i])
            yield scaled, near, squares

    def _is_self(self, rows, indices, candidates):
        """Mask (n, m) of references that are no neighbours of some rows."""
        is_training_row = rows.is_training_row[indices, None]
        # Hashing takes a tenth of the time of a row's search.
        if not is_training_row.any():
            return np.zeros((len(indices), candidates.shape[-1]), dtype=bool)
        is_equal = rows.hashes[indices, None] == self._hashes[candidates]
        return is_equal & is_training_row & ~self._is_often[candidates]

    def _half_squares(self, scaled):
        """Half the squared distances (n, m) to the thinned references."""
        halves = scaled @ self._thinned.T
        np.subtract(self._half_norms, halves, out=halves)
        halves += np.square(scaled).sum(axis=1, keepdims=True) / 2
        limit = _rounding_error(scaled, 0.0) / MAX_ROUNDING
        is_near = halves < limit[:, None] / 2
        rows = np.flatnonzero(is_near.any(axis=1))
        i, j = np.nonzero(is_near[rows])
        i = rows[i]
        halves[i, j] = _pair_squares(scaled, self._thinned, i, j) / 2
        return halves

    def _scaled_blocks(self, rows, cells_per_row):
        scaled = self._scaled(rows)
        return (scaled[b] for b in _row_blocks(len(scaled), cells_per_row))

    def _scaled(self, rows):
        with np.errstate(over="ignore"):
            scaled = rows.scaled(self.columns) - self.center
            # Squares of what is farther are past float64.
            return np.clip(scaled, -1e100, 1e100)


def _squares(scaled, references, candidates):
    """Squared distances (n, m) of rows (n, d) to some references (n, m)."""
    differences = scaled[:, None] - references[candidates]
    return np.einsum("ijk,ijk->ij", differences, differences)


def _pair_squares(scaled, references, i, j, without=None):
    """Squared distances (m,) of rows i (m,) to references j (m,), without a column."""
    squares = np.empty(len(i))
    for some in _row_blocks(len(i), scaled.shape[1]):
        differences = scaled[i[some]] - references[j[some]]
        if without is not None:
            differences[np.arange(len(differences)), without[i[some]]] = 0
        squares[some] = np.einsum("ij,ij->i", differences, differences)
    return squares


def _rounding_error(scaled, squares):
    """Bound (n,) of the error of squared distances up to ``squares`` by products."""
    norm = np.linalg.norm(scaled, axis=1)
    largest = np.square(norm) + np.square(norm + np.sqrt(squares))
    return (scaled.shape[1] + 4) * np.finfo(np.float64).eps * largest


def _first_nearest(scaled, references, k, is_hidden=False, without=None):
    """Indices (n, k) of the nearest references; of equally near ones the first.

    References that are hidden (n, m) come last. The column ``without`` (n,) of each row
    is left out.
    """
    if without is not None:
        scaled = scaled.copy()
        scaled[np.arange(len(scaled)), without] = 0
    norms = np.square(scaled).sum(axis=1, keepdims=True)
    norms = norms + np.square(references).sum(axis=1)
    squares = norms - 2 * scaled @ references.T
    if without is not None:
        squares -= np.square(references.T[without])
    squares[np.broadcast_to(is_hidden, squares.shape)] = np.inf
    error = (scaled.shape[1] + 4) * np.finfo(np.float64).eps * norms
    kth = np.partition(squares + error, k - 1, axis=1)[:, k - 1 : k]
    i, j = np.nonzero(squares - error <= kth)
    exact = _pair_squares(scaled, references, i, j, without)
    exact[np.isinf(squares[i, j])] = np.inf
    order = np.lexsort((j, exact, i))
    starts = np.searchsorted(i, np.arange(len(scaled)))
    return j[order][starts[:, None] + np.arange(k)]


def _row_blocks(n_rows, cells_per_row):
    size = max(1, CELLS_PER_BLOCK // cells_per_row)
    return (slice(i, min(i + size, n_rows)) for i in range(0, n_rows, size))


def _mean_distance_by_cell(differences):
    """Mean distance (n,) of differences (n, k, d) by cell (n, d)."""
    squares = np.square(differences)
    distances = np.sqrt(squares.sum(axis=2, keepdims=True))
    return (squares / np.where(distances > 0, distances, 1)).mean(axis=1)
