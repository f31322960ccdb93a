"""Distance to the nearest of the training rows."""

from functools import cached_property

import numpy as np
import torch
from sklearn.metrics import euclidean_distances
from sklearn.utils import gen_batches

from sklearn_ae.tables._rows import float32_hash, systematic_sample

# Of so many rows drawn at random the nearest ones tell as much (Sugiyama and Borgwardt,
# 2013. Rapid distance-based outlier detection via sampling. NeurIPS).
MAX_REFERENCES = 4_000
# Rows that are best judged at once, by a thread.
BLOCK = 4_096
# The wide neighbourhood of a row, as a share of the rows, and of how many at the most.
WIDE, MIN_WIDE, MAX_WIDE_REFERENCES = 0.05, 5, 1_000
# Cells gathered at once.
_BLOCK = 2**21
# Rows at once that are compared with all references, and references in a group: the
# nearest are looked for in the groups whose nearest is nearest.
_ROWS, _GROUP = 256, 8
# Beyond, squares are past float64, and past float32.
_FAR, _FAR32 = 1e100, 1e15
# Copies of a row that are more than so many times the usual row's are among its
# neighbours: there repetition tells what is normal.
_OFTEN = 3
# What float32's products are taken to be wrong by, in units of its last digit.
_ERRORS = 4


class QueryRows:
    """Rows to be judged, and what several judges ask of them, computed once.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        In input units.
    known : bool or ndarray of shape (n,), bool
        Whether a row is one of those of training.
    own : float or ndarray of shape (n,)
        The weight that a row has in calibrations and should not have in its own.
    """

    def __init__(self, X, is_training_row=False, self_weight=0.0):
        self.X = X
        self.is_training_row = np.broadcast_to(is_training_row, len(X))
        self.self_weight = np.broadcast_to(self_weight, len(X))
        self._scaled = {}

    def __getitem__(self, some):
        return QueryRows(
            self.X[some], self.is_training_row[some], self.self_weight[some]
        )

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
        rows = QueryRows(X[systematic_sample(weight, MAX_REFERENCES)])
        # By which large numbers do not hide small differences.
        self.centre = np.median(rows.scaled(columns), axis=0)
        self.references = self._scaled(rows)
        self._hashes = rows.hashes
        _, place, copies = np.unique(
            self._hashes, return_inverse=True, return_counts=True
        )
        self._is_often = (copies > _OFTEN * np.median(copies))[place]
        self._likeness = self._likeness_matrix()
        step = -(-len(self.references) // MAX_WIDE_REFERENCES)
        self._wide_references = self.references[::step]
        self._wide_halves = np.square(self._wide_references).sum(axis=1) / 2
        n_wide = max(MIN_WIDE, int(WIDE * len(self._wide_references)))
        self._n_wide = min(n_wide, len(self._wide_references))

    def mean_distances(self, rows, k):
        """Mean distance (n,) of rows to the k nearest.

        A known row, one of those of training, is not among its own neighbours, nor are
        copies of it, unless it has many more than usual; where there are no others, the
        distance is 0.
        """
        parts = []
        for _, _, squares in self._blocks(rows, k):
            others = np.isfinite(squares)
            total = np.sqrt(np.where(others, squares, 0)).sum(axis=1)
            parts.append(total / np.maximum(others.sum(axis=1), 1))
        return np.concatenate(parts)

    def wide_mean_distances(self, rows):
        """Mean distance (n,) to the nearest 5 % of the references, 5 at the least.

        Of 1,000 references at the most. A row may be among its own neighbours.
        """
        k, parts, all_scaled = self._n_wide - 1, [], self._scaled(rows)
        for block in gen_batches(len(all_scaled), _ROWS):
            scaled = all_scaled[block]
            halves = self._half_squares(scaled)
            halves.partition(k, axis=1)
            norms = np.square(scaled).sum(axis=1, keepdims=True)
            squares = 2 * halves[:, : k + 1] + norms
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
        parts = []
        for scaled, nearest, squares in self._blocks(rows, k):
            others = np.isfinite(squares)
            differences = scaled[:, None] - self.references[nearest]
            differences = np.where(others[:, :, None], differences, 0)
            share = np.maximum(others.mean(axis=1, keepdims=True), 1 / others.shape[1])
            parts.append(_parts(differences) / share)
        return np.concatenate(parts)

    def mean(self, rows, k, aside):
        """Mean (n, d) of the k nearest, in input units.

        The cell ``aside`` (n,) of each row is left out of the distance. A known row is
        not among its own neighbours, unless there are no others.
        """
        scaled, parts = self._scaled(rows), []
        scaled[np.arange(len(scaled)), aside] = 0
        k = min(k, len(self.references))
        for block in gen_batches(len(scaled), max(1, _BLOCK // len(self.references))):
            squares = euclidean_distances(scaled[block], self.references, squared=True)
            squares -= np.square(self.references.T[aside[block]])
            self_weight = self._own(rows, block)
            self_weight &= (
                self_weight.sum(axis=1, keepdims=True) <= len(self.references) - k
            )
            squares[self_weight] = np.inf
            nearest = np.argpartition(squares, k - 1, axis=1)[:, :k]
            parts.append(self.references[nearest].mean(axis=1))
        return self.columns.inverse_transform(np.concatenate(parts) + self.centre)

    def _own(self, rows, block):
        """Whether a reference is the known row itself: (n, number of references)."""
        return rows.is_training_row[block, None] & (
            rows.hashes[block, None] == self._hashes
        )

    def _blocks(self, rows, k):
        """Scaled rows, indices (n, k) of the nearest references, squared distances.

        Infinite is the distance of a known row to itself, should there be no others.
        """
        all_scaled, k = self._scaled(rows), max(1, min(k, len(self.references) - 1))
        for block in gen_batches(len(all_scaled), _ROWS):
            scaled, self_weight = all_scaled[block], None
            if rows.is_training_row[block].any():
                self_weight = self._own(rows, block) & ~self._is_often
            yield scaled, *self._nearest(scaled, k, self_weight)

    def _nearest(self, scaled, k, self_weight):
        """Indices (n, k) of the nearest references, and squared distances.

        Found among the nearest by float32; where these cannot be told from the others
        by it, among the nearest by float64.
        """
        some, likeness = self._candidates(scaled, 2 * k, self_weight)
        nearest, squares = self._lowest(scaled, some, k, self_weight)
        norms, farthest = np.square(scaled).sum(axis=1), squares.max(axis=1)
        error = _ERRORS * np.finfo(np.float32).eps * (norms + farthest)
        doubtful = np.flatnonzero(~(farthest + error < norms - 2 * likeness))
        if len(doubtful) and some.shape[1] < len(self.references):
            scaled, self_weight = (
                scaled[doubtful],
                None if self_weight is None else self_weight[doubtful],
            )
            exact = euclidean_distances(scaled, self.references, squared=True)
            if self_weight is not None:
                exact[self_weight] = np.inf
            some = np.argpartition(exact, 2 * k - 1, axis=1)[:, : 2 * k]
            nearest[doubtful], squares[doubtful] = self._lowest(
                scaled, some, k, self_weight
            )
        return nearest, squares

    def _lowest(self, scaled, some, k, self_weight):
        """Those k of some references (n, m) that are nearest, and squared distances."""
        differences = scaled[:, None] - self.references[some]
        squares = np.einsum("ijk,ijk->ij", differences, differences)
        if self_weight is not None:
            squares[np.take_along_axis(self_weight, some, axis=1)] = np.inf
        order = np.argpartition(squares, k - 1, axis=1)[:, :k]
        return tuple(np.take_along_axis(a, order, axis=1) for a in (some, squares))

    def _candidates(self, scaled, n, self_weight):
        """Indices of n references that are near; no other is more like than so much."""
        rows = np.clip(scaled, -_FAR32, _FAR32)
        rows = np.column_stack([rows, np.ones(len(rows))]).astype(np.float32)
        n_groups = self._likeness.shape[1] // _GROUP
        likeness = torch.from_numpy(rows) @ self._likeness
        if self_weight is not None:
            # Farther than all others, but for those that only fill a group.
            lowest = torch.finfo(torch.float32).min
            likeness[:, : self_weight.shape[1]].masked_fill_(
                torch.from_numpy(self_weight), lowest / 2
            )
        groups = likeness.view(len(rows), _GROUP, n_groups).amax(dim=1)
        best, groups = groups.topk(min(n, n_groups))
        indices = (groups[:, None] + n_groups * torch.arange(_GROUP)[:, None]).flatten(
            1
        )
        near, places = likeness.gather(1, indices).topk(min(n, len(self.references)))
        most = torch.maximum(near[:, -1], best[:, -1])
        return indices.gather(1, places).numpy(), most.double().numpy()

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
        products = scaled @ self._wide_references.T
        return np.subtract(self._wide_halves, products, out=products)

    def _scaled(self, rows):
        with np.errstate(over="ignore"):
            scaled = rows.scaled(self.columns) - self.centre
            return np.clip(scaled, -_FAR, _FAR)


def _parts(differences):
    """Mean distance (n,) of differences (n, k, d) by cell (n, d)."""
    squares = np.square(differences)
    distances = np.sqrt(squares.sum(axis=2, keepdims=True))
    return (squares / np.where(distances > 0, distances, 1)).mean(axis=1)
