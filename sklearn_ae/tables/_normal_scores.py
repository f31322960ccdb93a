"""Columns to normal scores of their ranks, and back."""

import numpy as np
from scipy.special import ndtr, ndtri

_MAX_KNOTS = 1_000


class NormalScores:
    """Each column made standard normal by its ranks, and undone.

    Equal values share the middle of their ranks, and every rank of theirs leads back to
    them: what is drawn from a normal distribution comes back as frequent values as
    often as the column has them. A value between two known ones is interpolated. One
    beyond them is as many standard deviations beyond the last score, but no score leads
    beyond the last value. Of a column of more than 1,000 values as many quantiles are
    known, the most frequent values among them.

    scikit-learn's ``QuantileTransformer`` puts a column's least and greatest value at
    -5.2 and 5.2, however frequent they are.

    References
    ----------
    van der Waerden, B. L. (1952). Order tests for the two-sample problem and their
    power. Indagationes Mathematicae 14.
    """

    def fit(self, X):
        """Learn from X (n, d), finite."""
        self._columns = [_knots(np.sort(x)) for x in X.T]
        self._steps = [_steps(*knots) for knots in self._columns]
        spread = X.std(axis=0)
        self._spread = np.where(spread > 0, spread, 1.0)
        return self

    def transform(self, X):
        """Scores (n, d), float64, of X (n, d)."""
        columns = zip(X.T, self._steps, self._columns, self._spread, strict=True)
        scores = [
            ndtri(np.interp(x, *steps)) + _beyond(x, values) / spread
            for x, steps, (values, _), spread in columns
        ]
        return np.stack(scores, axis=1)

    def inverse_transform(self, Z):
        """Values (n, d), float64, of scores (n, d)."""
        columns = zip(ndtr(Z.T), self._columns, strict=True)
        values = [np.interp(u, ranks, values) for u, (values, ranks) in columns]
        return np.stack(values, axis=1)


def _knots(ordered):
    """Values, each twice, and its first and its last rank as shares of the rows."""
    values, n = np.unique(ordered), len(ordered)
    if len(values) > _MAX_KNOTS:
        known = np.linspace(0, n - 1, _MAX_KNOTS).round().astype(int)
        values = np.unique(ordered[known])
    first = np.searchsorted(ordered, values, side="left")
    last = np.searchsorted(ordered, values, side="right") - 1
    ranks = np.stack([first, last], axis=1).ravel()
    return np.repeat(values, 2), (ranks + 0.5) / n


def _steps(values, ranks):
    """Knots of the rank of a value: the mean of its first and its last one.

    A value is what it is up to float32's rounding: such are given, too.
    """
    values, first, last = values[::2], ranks[::2], ranks[1::2]
    # But nearer to it than to another one, unless both are past float32.
    gaps = np.diff(values) / 4
    near = np.minimum(np.append(gaps, np.inf), np.append(np.inf, gaps))
    near = np.minimum(near, np.finfo(np.float32).eps * np.abs(values))
    near += np.finfo(np.float64).tiny
    low, high, middle = values - near, values + near, (first + last) / 2
    knots = np.stack([low, low, high, high], axis=1).ravel()
    ranks = np.stack([first, middle, middle, last], axis=1).ravel()
    return np.maximum.accumulate(knots), ranks


def _beyond(x, values):
    """How far x is below the least or above the greatest of the values, else 0."""
    return x - np.clip(x, values[0], values[-1])
