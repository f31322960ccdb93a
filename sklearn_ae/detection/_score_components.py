"""Components of an outlier score, and how they are combined."""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, softmax

from sklearn_ae.detection._tail_probability import TailLogPValue

# With five, mean AUROC on 20 tables of ADBench is within 0.002.
N_NEIGHBORS = 3
# Cells of a row, the farthest from their conditional means, that take part in what a
# network's error is divided among. With all of them, one pass through the network for
# each column, as many wrong cells are found.
MAX_OCCLUDED = 32
# Distances and errors, in scaled columns, below which they are equal to zero.
MIN_DISTANCE = 1e-9
# Share of a loss below which its fall is a rounding error.
MIN_GAIN = 1e-9


class Explanation(NamedTuple):
    """Contributions of cells to scores.

    Attributes
    ----------
    contributions : ndarray or DataFrame of shape (n_samples, n_features)
        Contribution of each cell, positive where it makes the row an outlier; those of
        a row sum to minus its ``score_samples``.
    expected : ndarray or DataFrame of shape (n_samples, n_features)
        Values that the model expects in place of the cells, in input units.
    """

    contributions: np.ndarray
    expected: np.ndarray


class Noise(NamedTuple):
    """Draws (m, d) of noise in scaled columns, and its level."""

    draws: np.ndarray
    level: float


class NearestDistance:
    """Mean distance to the three nearest training rows.

    Like every score component it has ``values(rows)``, one number (n,) for each row,
    higher for outliers, and ``shares(rows, expectation)``, the share (n, d) of each
    cell in it.
    """

    def __init__(self, neighbors):
        self.neighbors = neighbors

    def values(self, rows):
        """Logarithm (n,) of the distance."""
        return _log(self.neighbors.mean_distances(rows, N_NEIGHBORS))

    def shares(self, rows, expectation):
        """Share (n, d) of each cell in the distance."""
        return _shares(self.neighbors.parts(rows, N_NEIGHBORS))


class NeighbourhoodDistance:
    """Mean distance to the nearest 5 % of the training rows."""

    def __init__(self, neighbors):
        self.neighbors = neighbors

    def values(self, rows):
        """Logarithm (n,) of the distance."""
        return _log(self.neighbors.neighbourhood_distances(rows))

    def shares(self, rows, expectation):
        """Share (n, d) of each cell in the distance."""
        return _shares(self.neighbors.neighbourhood_parts(rows))


class DenoisingError:
    """Loss of an autoencoder in restoring rows from noise.

    With a normal latent it is minus the log-density instead.

    Parameters
    ----------
    autoencoder : FittedAutoencoder
    noise : Noise
        Added to the rows.
    median : ndarray of shape (d,)
        Median of the columns, in input units.
    """

    def __init__(self, autoencoder, noise, median):
        self.autoencoder = autoencoder
        self.noise = noise
        self.median = median

    def values(self, rows):
        """Logarithm (n,) of the mean loss, or minus the bound of the log-density."""
        values = self._values(rows.X)
        return -_finite(-values) if self.autoencoder.is_random else _log(values)

    def shares(self, rows, expectation):
        """Share (n, d) of each cell: the loss that its conditional mean in it removes.

        The loss of the cell itself would not do: networks copy values far from those
        they were trained on, and the loss is then in other columns. Nor would the
        column's median, as a wrong cell may hold it. Only the 32 cells farthest from
        their conditional means are tried; shares are equal where none lowers the loss.

        References
        ----------
        Zeiler, M. D. and Fergus, R. (2014). Visualizing and understanding convolutional
        networks. ECCV (occlusion).
        """
        X = rows.X
        values, gains = self._values(X), np.zeros_like(X)
        farthest = np.argsort(-expectation.deviations, axis=1, kind="stable")
        for columns in farthest[:, :MAX_OCCLUDED].T:
            cells = np.arange(len(X)), columns
            occluded = X.copy()
            occluded[cells] = expectation.means[cells]
            with np.errstate(invalid="ignore"):
                gains[cells] = values - self._values(occluded)
        # A gain of a rounding error is none.
        least = MIN_GAIN * np.minimum(np.abs(values), 1e300)[:, None]
        return _shares(np.where(gains <= least, 0, gains))

    def _values(self, X):
        if self.autoencoder.is_random:
            return -self.autoencoder.log_densities(X)
        return self.autoencoder.denoising_losses(X, self.noise)


class HarmonicMeanPValue:
    """Score of several components: the weighted harmonic mean of their p-values.

    The smallest p-value dominates the mean of 1/p: one extreme component is enough.

    Parameters
    ----------
    components : list of (component, TailLogPValue)
    typical : Neighbors
        Of rows that are trusted to be no outliers.
    conditional_means : ConditionalMeans
        Of all training rows.
    weights : sequence of float, optional
        Of the components, above 0; equal by default.

    References
    ----------
    Wilson, D. J. (2019). The harmonic mean p-value for combining dependent tests. PNAS
    116(4).
    """

    def __init__(self, components, typical, conditional_means, weights=None):
        self.components = components
        self.typical = typical
        self.conditional_means = conditional_means
        weights = np.ones(len(components)) if weights is None else np.array(weights)
        self._log_weights = np.log(weights / weights.sum())[:, None]

    def scores(self, rows):
        """Logarithm (n,) of the harmonic mean p-value: at most 0."""
        return -logsumexp(self._terms(rows), axis=0)

    def explain(self, rows):
        """Explanation of the scores: components by their part in the mean of 1/p.

        Expected is the mean of the nearest typical rows by all cells but the one that
        contributes most, and there its conditional mean: a network that restores a row
        copies its bad cell.
        """
        terms, expectation = self._terms(rows), self.conditional_means(rows)
        shares = sum(
            part[:, None] * component.shares(rows, expectation)
            for part, (component, _) in zip(
                softmax(terms, axis=0), self.components, strict=True
            )
        )
        worst = shares.round(9).argmax(axis=1)
        expected = self.typical.mean_of_nearest(rows, N_NEIGHBORS, without=worst)
        cells = np.arange(len(worst)), worst
        expected[cells] = expectation.means[cells]
        return Explanation(-logsumexp(terms, axis=0)[:, None] * shares, expected)

    def _terms(self, rows):
        """Logarithms of the terms (n_components, n) of the mean of 1/p."""
        minus_log_p = [
            tail(component.values(rows), rows.self_weight)
            for component, tail in self.components
        ]
        return np.stack(minus_log_p) + self._log_weights


class ReconstructionScore:
    """Score of one autoencoder: minus a row's loss, or its log-density."""

    def __init__(self, component):
        self.component = component

    def scores(self, rows):
        """Scores (n,): higher is more normal."""
        autoencoder = self.component.autoencoder
        if autoencoder.is_random:
            return _finite(autoencoder.log_densities(rows.X))
        return _finite(-autoencoder.row_losses(rows.X))

    def explain(self, rows):
        """Explanation of the scores by the losses of cells.

        For a log-density they are squared errors over twice the likelihood's variance;
        the remainder, which belongs to no single cell, is divided equally.
        """
        autoencoder, scores = self.component.autoencoder, self.scores(rows)
        cells, expected = autoencoder.denoised(rows.X, self.component.noise)
        # A reconstruction past float64 is NaN.
        expected = np.where(np.isnan(expected), self.component.median, expected)
        contributions = _finite(-cells)
        if autoencoder.is_random:
            contributions /= 2 * autoencoder.module.noise_variance.item()
        else:
            contributions /= cells.shape[1]
        rest = scores - contributions.sum(axis=1)
        return Explanation(contributions + rest[:, None] / cells.shape[1], expected)


def calibrated(component, rows, weight):
    """Return the component and its ``TailLogPValue`` by training rows."""
    return component, TailLogPValue(component.values(rows), weight)


def _finite(values):
    """Scores of up to 1e280, that sums and units of them are finite; NaN is lowest."""
    return np.clip(np.nan_to_num(values, nan=-np.inf), -1e280, 1e280)


def _log(values):
    """Logarithm of numbers from 0 on; infinity and NaN count as far."""
    with np.errstate(invalid="ignore"):
        logs = np.log(np.maximum(values, MIN_DISTANCE))
    # The logarithm of float64's largest number is below 710.
    return np.nan_to_num(logs, nan=710.0, posinf=710.0)


def _shares(cells):
    """Cells (n, d) divided by the sum of their row; equal shares of a sum of zero."""
    cells = np.minimum(np.nan_to_num(cells, nan=1e300), 1e300 / cells.shape[1])
    total = cells.sum(axis=1, keepdims=True)
    equal = 1 / cells.shape[1]
    return np.where(total > 0, cells / np.where(total > 0, total, 1), equal)
