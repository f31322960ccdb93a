"""The value expected in each cell of a row, by its other cells."""

from typing import NamedTuple

import numpy as np

from sklearn_ae.detection._score_components import MIN_DISTANCE
from sklearn_ae.tables._rows import systematic_sample

# Training rows that the Gaussian is fitted to: of 4,000 as many cells are found.
MAX_GAUSSIAN_ROWS = 1_000
# Variance of independent noise beside the columns' mean variance. The covariance of
# fewer rows than columns has no inverse without it.
NOISE_SHARE = 0.01


class Expectation(NamedTuple):
    """Expectation of cells by the other cells of their row.

    Attributes
    ----------
    means : ndarray of shape (n, d)
        Conditional means, in input units.
    deviations : ndarray of shape (n, d)
        Distances of the cells from them, in conditional standard deviations.
    """

    means: np.ndarray
    deviations: np.ndarray


class ConditionalMeans:
    """Mean of each cell given the others, under a Gaussian of the training rows.

    A cell beyond the range of its column counts as the end of it for the others.

    Parameters
    ----------
    columns : ColumnScaler
        Fitted.
    X : ndarray of shape (n, d)
    weight : ndarray of shape (n,)

    References
    ----------
    Cook, R. D. and Weisberg, S. (1982). Residuals and influence in regression, for
    leaving one out by the leverage.
    """

    def __init__(self, columns, X, weight):
        self._columns = columns
        some = systematic_sample(weight, MAX_GAUSSIAN_ROWS)
        scaled = columns.transform(X[some])
        # The median first: beside a large offset float64 loses small differences.
        self._center = np.median(scaled, axis=0)
        self._center += (scaled - self._center).mean(axis=0)
        scaled -= self._center
        self._low, self._high = scaled.min(axis=0), scaled.max(axis=0)
        _, lengths, self._axes = np.linalg.svd(scaled, full_matrices=False)
        variances = np.square(lengths) / len(scaled)
        noise = max(NOISE_SHARE * variances.sum() / X.shape[1], MIN_DISTANCE)
        self._gains = variances / (variances + noise)
        # Each cell's weight in the mean that is given all cells.
        leverage = self._gains @ np.square(self._axes)
        self._leverage, self._std = leverage, np.sqrt(noise / (1 - leverage))

    def __call__(self, rows):
        """Expectation of the cells of rows (n, d)."""
        scaled = rows.scaled(self._columns) - self._center
        cells = np.clip(scaled, self._low, self._high)
        given_all = cells @ self._axes.T * self._gains @ self._axes
        means = (given_all - self._leverage * cells) / (1 - self._leverage)
        deviations = np.abs(scaled - means) / self._std
        means = self._columns.inverse_transform(means + self._center)
        return Expectation(means, deviations)
