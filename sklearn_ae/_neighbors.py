"""Distance to the nearest of the training rows."""

import numpy as np
from sklearn.metrics import euclidean_distances
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import gen_batches

from sklearn_ae._data import float32_hash, systematic_sample

# Of so many rows drawn at random the nearest ones tell as much (Sugiyama and Borgwardt,
# 2013. Rapid distance-based outlier detection via sampling. NeurIPS).
MAX_REFERENCES = 4_000
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

    def mean_distances(self, X, k, known):
        """Mean distance (n,) of rows (n, d) to the k nearest.

        A ``known`` row, one of those of training, is not among its own neighbours.
        """
        parts = []
        for differences in self._blocks(X, k, known):
            distances = np.sqrt(np.square(differences).sum(axis=2))
            parts.append(distances.mean(axis=1))
        return np.concatenate(parts)

    def wide_mean_distances(self, X, share, least):
        """Mean distance (n,) to the nearest ``share`` of the rows.

        ``least`` is their number at the least. A row may be among its own neighbours.
        """
        references = self.references
        k = min(max(least, int(share * len(references))), len(references))
        parts = []
        for rows in gen_batches(len(X), max(1, _BLOCK // len(references))):
            distances = euclidean_distances(self._scaled(X[rows]), references)
            nearest = np.partition(distances, k - 1, axis=1)[:, :k]
            parts.append(nearest.mean(axis=1))
        return np.concatenate(parts)

    def parts(self, X, k, known):
        """Parts (n, d) of ``mean_distances`` by cell."""
        parts = []
        for differences in self._blocks(X, k, known):
            squares = np.square(differences)
            distances = np.sqrt(squares.sum(axis=2, keepdims=True))
            parts.append((squares / np.where(distances > 0, distances, 1)).mean(axis=1))
        return np.concatenate(parts)

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
