"""Distance to the nearest of the training rows."""

import numpy as np
from sklearn.metrics import euclidean_distances
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import gen_batches

from sklearn_ae._data import float32_hash, systematic_sample

# Of so many rows drawn at random the nearest ones tell as much (Sugiyama and Borgwardt,
# 2013. Rapid distance-based outlier detection via sampling. NeurIPS).
MAX_REFERENCES = 4_000
# The wide neighbourhood of a row, as a share of the rows: more than the copies that an
# anomaly has.
WIDE, MIN_WIDE = 0.05, 5
# Cells gathered at once.
_BLOCK = 2**21
# Beyond, squares are past float64.
_FAR = 1e100


class Neighbors:
    """Nearest rows among a sample of the training rows, in scaled columns.

    Parameters
    ----------
    columns : Columns
        Fitted scaling.
    X : ndarray of shape (n, d)
    weight : ndarray of shape (n,)
        A row of weight w counts as w rows.
    """

    def __init__(self, columns, X, weight):
        self.columns = columns
        rows = systematic_sample(weight, MAX_REFERENCES)
        if len(rows) == 1:
            rows = rows.repeat(2)
        self.references = self._scaled(X[rows])
        self._hashes = float32_hash(X[rows])
        self._index = NearestNeighbors().fit(self.references)
        n_wide = max(MIN_WIDE, int(WIDE * len(self.references)))
        self._n_wide = min(n_wide, len(self.references))

    def mean_distances(self, X, k, known):
        """Mean distance (n,) of rows (n, d) to the k nearest.

        A ``known`` row, one of those of training, is not among its own neighbours.
        """
        parts = []
        for differences in self._blocks(X, k, known):
            distances = np.sqrt(np.square(differences).sum(axis=2))
            parts.append(distances.mean(axis=1))
        return np.concatenate(parts)

    def wide_mean_distances(self, X):
        """Mean distance (n,) to the nearest 5 % of the references, 5 at the least.

        A row may be among its own neighbours.
        """
        parts = []
        for rows in gen_batches(len(X), max(1, _BLOCK // len(self.references))):
            distances = euclidean_distances(self._scaled(X[rows]), self.references)
            k = self._n_wide - 1
            nearest = np.partition(distances, k, axis=1)[:, : k + 1]
            parts.append(nearest.mean(axis=1))
        return np.concatenate(parts)

    def wide_parts(self, X):
        """Parts (n, d) of ``wide_mean_distances`` by cell."""
        k, parts = self._n_wide, []
        for rows in gen_batches(len(X), max(1, _BLOCK // (k * X.shape[1]))):
            scaled = self._scaled(X[rows])
            distances = euclidean_distances(scaled, self.references)
            nearest = np.argpartition(distances, k - 1, axis=1)[:, :k]
            parts.append(_parts(scaled[:, None] - self.references[nearest]))
        return np.concatenate(parts)

    def parts(self, X, k, known):
        """Parts (n, d) of ``mean_distances`` by cell."""
        return np.concatenate([_parts(d) for d in self._blocks(X, k, known)])

    def mean(self, X, k, aside):
        """Mean (n, d) of the k nearest, in input units.

        The cell ``aside`` (n,) of each row is left out of the distance.
        """
        scaled, parts = self._scaled(X), []
        scaled[np.arange(len(X)), aside] = 0
        k = min(k, len(self.references))
        for rows in gen_batches(len(X), max(1, _BLOCK // len(self.references))):
            squares = euclidean_distances(scaled[rows], self.references, squared=True)
            squares -= np.square(self.references.T[aside[rows]])
            nearest = np.argpartition(squares, k - 1, axis=1)[:, :k]
            parts.append(self.references[nearest].mean(axis=1))
        return self.columns.inverse_transform(np.concatenate(parts))

    def _blocks(self, X, k, known):
        """Differences (n, k, d) of scaled rows from the nearest references."""
        k = min(k, len(self.references) - 1)
        size = max(1, _BLOCK // ((k + 1) * X.shape[1]))
        for rows in gen_batches(len(X), size):
            scaled = self._scaled(X[rows])
            nearest = self._index.kneighbors(scaled, k + 1, return_distance=False)
            # Once more, and exactly: the index's distances are of large numbers' tiny
            # differences.
            differences = scaled[:, None] - self.references[nearest]
            squares = np.square(differences).sum(axis=2)
            # One copy of a known row is the row itself.
            same = self._hashes[nearest] == float32_hash(X[rows])[:, None]
            same &= known[rows, None]
            itself = same.any(axis=1)
            drop = np.where(itself, same.argmax(axis=1), squares.argmax(axis=1))
            keep = np.arange(k + 1) != drop[:, None]
            yield differences[keep].reshape(len(scaled), k, -1)

    def _scaled(self, X):
        with np.errstate(over="ignore"):
            return np.clip(self.columns.transform(X), -_FAR, _FAR)


def _parts(differences):
    """Mean distance (n,) of differences (n, k, d) by cell (n, d)."""
    squares = np.square(differences)
    distances = np.sqrt(squares.sum(axis=2, keepdims=True))
    return (squares / np.where(distances > 0, distances, 1)).mean(axis=1)
