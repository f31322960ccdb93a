"""What speaks for a row being an outlier, piece by piece, and put together."""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, softmax

from sklearn_ae.detection._tail_probability import TailLogPValue

# Neighbours of a row that its distance is the mean of.
N_NEIGHBORS = 3
# Pieces of evidence with a smaller part in a score are not explained.
LEAST_PART = 0.01
# Logarithms of nothing, and of what is past float64.
TINY, MAX_LOG = 1e-9, 710.0


class Explanation(NamedTuple):
    """Why rows have the scores they have.

    Attributes
    ----------
    contributions : ndarray or DataFrame of shape (n_samples, n_features)
        Of each cell; those of a row sum to its ``score_samples``. The lowest are what
        makes it an outlier.
    expected : ndarray or DataFrame of shape (n_samples, n_features)
        The values that the model expects in their place, in input units.
    """

    contributions: np.ndarray
    expected: np.ndarray


class Noise(NamedTuple):
    """Draws (m, d) of noise in scaled columns, and its level."""

    draws: np.ndarray
    level: float


class NearestDistance:
    """Evidence of the nearest training rows: the mean distance to three of them."""

    def __init__(self, neighbors):
        self.neighbors = neighbors

    def values(self, rows):
        """Logarithm (n,) of the distance."""
        return _log(self.neighbors.mean_distances(rows, N_NEIGHBORS))

    def shares(self, rows):
        """Share (n, d) of each cell in the distance."""
        return _shares(self.neighbors.parts(rows, N_NEIGHBORS))


class NeighbourhoodDistance:
    """Evidence of many training rows: the mean distance to the nearest 5 %."""

    def __init__(self, neighbors):
        self.neighbors = neighbors

    def values(self, rows):
        """Logarithm (n,) of the distance."""
        return _log(self.neighbors.wide_mean_distances(rows))

    def shares(self, rows):
        """Share (n, d) of each cell in the distance."""
        return _shares(self.neighbors.wide_parts(rows))


class DenoisingError:
    """Evidence of a network: the loss of a row's cells when restored from noise.

    Where the code is a distribution, it is how unlikely the row is.

    Parameters
    ----------
    codec : Codec
    noise : Noise
        What a row is restored from.
    usual : ndarray of shape (d,)
        What stands for a cell that is taken out, in input units.
    """

    def __init__(self, autoencoder, noise, usual):
        self.autoencoder = autoencoder
        self.noise = noise
        self.usual = usual

    def values(self, rows):
        """Logarithm (n,) of the mean loss, or minus the bound of the log-density."""
        values = self._values(rows.X)
        return -_finite(-values) if self.autoencoder.is_random else _log(values)

    def shares(self, rows):
        """Share (n, d) of each cell, by how much better the row is without it.

        By its own loss a cell that is far off would be restored, as networks copy what
        they have never seen, and its neighbours blamed. Without any better, evenly.

        References
        ----------
        Zeiler, M. D. and Fergus, R. (2014). Visualizing and understanding convolutional
        networks. ECCV (occlusion).
        """
        X = rows.X
        values, gains = self._values(X), np.empty_like(X)
        for column, usual in enumerate(self.usual):
            without = X.copy()
            without[:, column] = usual
            with np.errstate(invalid="ignore"):
                gains[:, column] = values - self._values(without)
        return _shares(np.maximum(gains, 0))

    def _values(self, X):
        if self.autoencoder.is_random:
            return -self.autoencoder.log_densities(X)
        return self.autoencoder.denoising_losses(X, self.noise)


class HarmonicMeanPValue:
    """Pieces of evidence as one number: their weighted harmonic mean p-value.

    Each piece's surprise is -log p. One that is sure is enough: the mean of 1/p is
    ruled by the smallest p.

    Parameters
    ----------
    pieces : list of (evidence, Surprise)
    typical : Neighbors
        Among rows that are no outliers.
    weights : sequence of float, optional
        Of the pieces, above 0; equal by default.

    References
    ----------
    Wilson, D. J. (2019). The harmonic mean p-value for combining dependent tests. PNAS
    116(4).
    """

    def __init__(self, pieces, typical, weights=None):
        self.pieces = pieces
        self.typical = typical
        weights = np.ones(len(pieces)) if weights is None else np.array(weights)
        self._log_weights = np.log(weights / weights.sum())[:, None]

    def scores(self, rows):
        """Logarithm (n,) of the harmonic mean p-value: at most 0."""
        return -logsumexp(self._terms(rows), axis=0)

    def explain(self, rows):
        """Explanation of the scores: pieces count by their part in the mean.

        What is expected is the mean of the nearest typical rows, by all cells but the
        one that contributes most: a network that restores a row copies its bad cell.
        """
        terms = self._terms(rows)
        parts = softmax(terms, axis=0)
        parts[parts < LEAST_PART] = 0
        parts /= parts.sum(axis=0)
        shares = np.zeros_like(rows.X)
        for part, (evidence, _) in zip(parts, self.pieces, strict=True):
            some = np.flatnonzero(part)
            if len(some):
                shares[some] += part[some, None] * evidence.shares(rows[some])
        expected = self.typical.mean(rows, N_NEIGHBORS, aside=shares.argmax(axis=1))
        return Explanation(-logsumexp(terms, axis=0)[:, None] * shares, expected)

    def _terms(self, rows):
        """Logarithms of the terms (n_pieces, n) of the mean of 1/p."""
        pieces = [
            surprise(e.values(rows), rows.self_weight) for e, surprise in self.pieces
        ]
        return np.stack(pieces) + self._log_weights


class ReconstructionScore:
    """A network's own score: minus a row's loss, or its log-density."""

    def __init__(self, evidence):
        self.evidence = evidence

    def scores(self, rows):
        """Scores (n,): higher is more normal."""
        autoencoder = self.evidence.autoencoder
        if autoencoder.is_random:
            return _finite(autoencoder.log_densities(rows.X))
        return _finite(-autoencoder.row_losses(rows.X))

    def explain(self, rows):
        """Explanation of the scores.

        Of a density, cells differ by their squared errors in units of the likelihood's
        variance; the rest, which no cell alone has, is shared evenly.
        """
        autoencoder, scores = self.evidence.autoencoder, self.scores(rows)
        cells, expected = autoencoder.denoised(rows.X, self.evidence.noise)
        # Of what is past float64.
        expected = np.where(np.isnan(expected), self.evidence.usual, expected)
        contributions = _finite(-cells)
        if autoencoder.is_random:
            contributions /= 2 * autoencoder.module.noise_variance.item()
        else:
            contributions /= cells.shape[1]
        rest = scores - contributions.sum(axis=1)
        return Explanation(contributions + rest[:, None] / cells.shape[1], expected)


def calibrated(evidence, rows, weight):
    """The evidence and its ``TailLogPValue`` by training rows."""
    return evidence, TailLogPValue(evidence.values(rows), weight)


def _finite(values):
    """Scores without infinities; what is not a number is as low as they get."""
    return np.nan_to_num(values, nan=-1e300, posinf=1e300, neginf=-1e300)


def _log(values):
    """Logarithm of positive numbers; what is past float64 counts as far."""
    with np.errstate(invalid="ignore"):
        logs = np.log(np.maximum(values, TINY))
    return np.nan_to_num(logs, nan=MAX_LOG, posinf=MAX_LOG)


def _shares(cells):
    """Cells (n, d) divided by their row's sum; even where there is nothing to share."""
    cells = np.minimum(np.nan_to_num(cells, nan=1e300), 1e300 / cells.shape[1])
    total = cells.sum(axis=1, keepdims=True)
    even = 1 / cells.shape[1]
    return np.where(total > 0, cells / np.where(total > 0, total, 1), even)
