"""Distance to the nearest of the training rows."""

from functools import cached_property

import numpy as np
import torch
from sklearn.metrics import euclidean_distances
from sklearn.utils import gen_batches

from sklearn_ae._data import float32_hash, systematic_sample

# Of so many rows drawn at random the nearest ones tell as much (Sugiyama and Borgwardt,
# 2013. Rapid distance-based outlier detection via sampling. NeurIPS).
MAX_REFERENCES = 4_000
# Rows that are best judged at once.
BLOCK = 16_384
# The wide neighbourhood of a row, as a share of the rows, and of how many at the most.
WIDE, MIN_WIDE, MAX_WIDE_REFERENCES = 0.05, 5, 1_000
# Cells gathered at once.
_BLOCK = 2**21
# Rows at once that are compared with all references, and references in a group: the
# nearest are looked for in the groups whose nearest is nearest.
_ROWS, _GROUP = 128, 8
# Beyond, squares are past float64, and past float32.
_FAR, _FAR32 = 1e100, 1e15


class Rows:
    """Rows to be judged, and what several judges ask of them, computed once.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        In input units.
    known : bool or ndarray of shape (n,), bool
        Whether a row is one of those of training.
    """

    def __init__(self, X, known=False):
        self.X = X
        self.known = np.broadcast_to(known, len(X))
        self._scaled = {}

    @cached_property
    def hashes(self):
        """Of each row (n,), equal where rows are, in float32."""
        return float32_hash(self.X)

    def scaled(self, columns):
        """The rows in scaled columns (n, d)."""
        if columns not in self._scaled:
            self._scaled[columns] = columns.transform(self.X)
        return self._scaled[columns]


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
        # By which large numbers do not hide small differences.
        rows = Rows(X[rows])
        self.centre = np.median(rows.scaled(columns), axis=0)
        self.references = self._scaled(rows)
        self._hashes = rows.hashes
        self._likeness = self._likeness_matrix()
        step = -(-len(self.references) // MAX_WIDE_REFERENCES)
        self._wide_references = self.references[::step]
        n_wide = max(MIN_WIDE, int(WIDE * len(self._wide_references)))
        self._n_wide = min(n_wide, len(self._wide_references))

    def mean_distances(self, rows, k):
        """Mean distance (n,) of rows to the k nearest.

        A known row, one of those of training, is not among its own neighbours.
        """
        blocks = self._blocks(rows, k)
        return np.concatenate(
            [np.sqrt(squares).mean(axis=1) for _, _, squares in blocks]
        )

    def wide_mean_distances(self, rows):
        """Mean distance (n,) to the nearest 5 % of the references, 5 at the least.

        Of 1,000 references at the most. A row may be among its own neighbours.
        """
        k, parts, all_scaled = self._n_wide - 1, [], self._scaled(rows)
        size = max(1, _BLOCK // len(self._wide_references))
        for block in gen_batches(len(all_scaled), size):
            scaled = all_scaled[block]
            near = np.partition(self._half_squares(scaled), k, axis=1)[:, : k + 1]
            squares = 2 * near + np.square(scaled).sum(axis=1, keepdims=True)
            parts.append(np.sqrt(np.maximum(squares, 0)).mean(axis=1))
        return np.concatenate(parts)

    def wide_parts(self, rows):
        """Parts (n, d) of ``wide_mean_distances`` by cell."""
        k, parts, all_scaled = self._n_wide, [], self._scaled(rows)
        size = max(1, _BLOCK // (k * all_scaled.shape[1]))
        for block in gen_batches(len(all_scaled), size):
            scaled = all_scaled[block]
            nearest = np.argpartition(self._half_squares(scaled), k - 1, axis=1)
            nearest = nearest[:, :k]
            parts.append(_parts(scaled[:, None] - self._wide_references[nearest]))
        return np.concatenate(parts)

    def parts(self, rows, k):
        """Parts (n, d) of ``mean_distances`` by cell."""
        blocks = self._blocks(rows, k)
        return np.concatenate(
            [_parts(x[:, None] - self.references[near]) for x, near, _ in blocks]
        )

    def mean(self, rows, k, aside):
        """Mean (n, d) of the k nearest, in input units.

        The cell ``aside`` (n,) of each row is left out of the distance.
        """
        scaled, parts = self._scaled(rows), []
        scaled[np.arange(len(scaled)), aside] = 0
        k = min(k, len(self.references))
        for block in gen_batches(len(scaled), max(1, _BLOCK // len(self.references))):
            squares = euclidean_distances(scaled[block], self.references, squared=True)
            squares -= np.square(self.references.T[aside[block]])
            nearest = np.argpartition(squares, k - 1, axis=1)[:, :k]
            parts.append(self.references[nearest].mean(axis=1))
        return self.columns.inverse_transform(np.concatenate(parts) + self.centre)

    def _blocks(self, rows, k):
        """Scaled rows, indices (n, k) of the nearest references, squared distances."""
        k, all_scaled = min(k, len(self.references) - 1), self._scaled(rows)
        size = max(1, _BLOCK // (2 * (k + 1) * all_scaled.shape[1]))
        for block in gen_batches(len(all_scaled), size):
            scaled = all_scaled[block]
            some = self._candidates(scaled, k + 1)
            differences = scaled[:, None] - self.references[some]
            squares = np.einsum("ijk,ijk->ij", differences, differences)
            # One copy of a known row is the row itself.
            same = self._hashes[some] == rows.hashes[block, None]
            same &= rows.known[block, None]
            itself = np.flatnonzero(same.any(axis=1))
            squares[itself, same[itself].argmax(axis=1)] = np.inf
            nearest = np.argpartition(squares, k - 1, axis=1)[:, :k]
            some, squares = (
                np.take_along_axis(of, nearest, axis=1) for of in (some, squares)
            )
            yield scaled, some, squares

    def _candidates(self, scaled, k):
        """Indices (n, 2 k) of references, the k nearest by float32 among them."""
        rows = np.clip(scaled, -_FAR32, _FAR32)
        rows = np.column_stack([rows, np.ones(len(rows))]).astype(np.float32)
        n_candidates = min(2 * k, len(self.references))
        n_groups = self._likeness.shape[1] // _GROUP
        member = n_groups * torch.arange(_GROUP)[:, None]
        parts = []
        for some in torch.from_numpy(rows).split(_ROWS):
            likeness = some @ self._likeness
            best = likeness.view(len(some), _GROUP, n_groups).amax(dim=1)
            best = best.topk(min(k, n_groups), sorted=False).indices
            indices = (best[:, None] + member).flatten(1)
            nearest = likeness.gather(1, indices).topk(n_candidates, sorted=False)
            parts.append(indices.gather(1, nearest.indices))
        return torch.cat(parts).numpy()

    def _likeness_matrix(self):
        """Matrix A (d + 1, m): (x, 1) A is |x|^2 / 2 minus half the squared distances.

        To the references; and to none, to fill up the groups.
        """
        rows = np.clip(self.references, -_FAR32, _FAR32)
        matrix = np.zeros((rows.shape[1] + 1, -(-len(rows) // _GROUP) * _GROUP))
        matrix[-1] = np.finfo(np.float32).min
        matrix[:-1, : len(rows)] = rows.T
        matrix[-1, : len(rows)] = -np.square(rows).sum(axis=1) / 2
        return torch.from_numpy(matrix.astype(np.float32))

    def _half_squares(self, scaled):
        """Squared distances to the wide references, less |x|^2 and halved."""
        halves = np.square(self._wide_references).sum(axis=1) / 2
        return halves - scaled @ self._wide_references.T

    def _scaled(self, rows):
        with np.errstate(over="ignore"):
            scaled = rows.scaled(self.columns) - self.centre
            return np.clip(scaled, -_FAR, _FAR)


def _parts(differences):
    """Mean distance (n,) of differences (n, k, d) by cell (n, d)."""
    squares = np.square(differences)
    distances = np.sqrt(squares.sum(axis=2, keepdims=True))
    return (squares / np.where(distances > 0, distances, 1)).mean(axis=1)
