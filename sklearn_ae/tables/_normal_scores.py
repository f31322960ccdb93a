"""Normal scores: a rank-based transformation of columns and its inverse."""

import numpy as np
from scipy.special import ndtr, ndtri

# As many as QuantileTransformer's n_quantiles.
MAX_QUANTILES = 1_000


class NormalScores:
    """Rank-based inverse normal transformation of each column, and its inverse.

    Tied values share their mean rank, and the inverse maps the whole range of their
    ranks back to them: the inverse of normal draws has each value as often as the
    column. Values in between are interpolated: one just beside a frequent value is near
    it. A value outside the column's range gets the extreme score plus the distance in
    standard deviations; the inverse never leaves the range. A column of more than 1,000
    distinct values is represented by 1,000 quantiles, and the values beside frequent
    ones.

    scikit-learn's ``QuantileTransformer`` maps a column's minimum and maximum to -5.2
    and 5.2, however frequent they are.

    References
    ----------
    van der Waerden, B. L. (1952). Order tests for the two-sample problem and their
    power. Indagationes Mathematicae 14.
    """

    def fit(self, X):
        """Store the quantiles of the columns of X (n, d), finite."""
        self._columns = [_knots(np.sort(x)) for x in X.T]
        std = X.std(axis=0)
        self._std = np.where(std > 0, std, 1.0)
        return self

    def __reduce__(self):
        # Each value once.
        columns = [(values[::2], ranks) for values, ranks in self._columns]
        return _restored, (columns, self._std)

    def transform(self, X):
        """Return scores (n, d), float64, of X (n, d)."""
        columns = zip(X.T, self._columns, self._std, strict=True)
        scores = [
            ndtri(_mean_ranks(x, values, ranks)) + _beyond(x, values) / std
            for x, (values, ranks), std in columns
        ]
        return np.stack(scores, axis=1)

    def inverse_transform(self, Z):
        """Return values (n, d), float64, of scores (n, d)."""
        columns = zip(ndtr(Z.T), self._columns, strict=True)
        values = [np.interp(u, ranks, values) for u, (values, ranks) in columns]
        return np.stack(values, axis=1)


def _restored(columns, std):
    """Return the scores of columns of distinct values and ranks."""
    scores = NormalScores()
    scores._columns = [(np.repeat(values, 2), ranks) for values, ranks in columns]
    scores._std = std
    return scores


def _knots(ordered):
    """Return values, each twice, and their first and last ranks as shares of rows."""
    values, n = np.unique(ordered), len(ordered)
    if len(values) > MAX_QUANTILES:
        quantiles = np.linspace(0, n - 1, MAX_QUANTILES).round().astype(int)
        quantiles, hits = np.unique(ordered[quantiles], return_counts=True)
        # Ranks rise steeply from a frequent value to the next, and no farther.
        place = np.searchsorted(values, quantiles[hits > 1])
        beside = np.clip([place - 1, place + 1], 0, len(values) - 1)
        values = np.union1d(quantiles, values[beside])
    first = np.searchsorted(ordered, values, side="left")
    last = np.searchsorted(ordered, values, side="right") - 1
    ranks = np.stack([first, last], axis=1).ravel()
    return np.repeat(values, 2), (ranks + 0.5) / n


def _mean_ranks(x, values, ranks):
    """Return mean ranks of x, as shares of rows; interpolated between the values."""
    return np.interp(x, values[::2], (ranks[::2] + ranks[1::2]) / 2)


def _beyond(x, values):
    """Return the signed distance of x from the range of the values; 0 within."""
    return x - np.clip(x, values[0], values[-1])
