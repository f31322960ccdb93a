"""Scores of rows: the measures of a detector, their combination, and blocks of rows."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from sklearn_ae._runtime import limit_threads, n_threads_outside
from sklearn_ae.autoencoder._inference import inference_of
from sklearn_ae.autoencoder._parameters import is_conv
from sklearn_ae.detection._cellwise import CellwiseGaussian
from sklearn_ae.detection._denoiser import (
    DenoisingError,
    Noise,
    finite,
    shares_of,
)
from sklearn_ae.detection._nearest_distance import (
    ArcsinhColumns,
    Nearest,
    NearestDistances,
    Sample,
)
from sklearn_ae.detection._row_weights import FREQUENT_ROW_SHARE
from sklearn_ae.detection._tail_probability import LogLogisticTail
from sklearn_ae.tables._column_scaler import ColumnScaler
from sklearn_ae.tables._rows import systematic_sample, value_hash

# Training rows by which measures are calibrated.
MAX_CALIBRATION_ROWS = 5_000
# Training rows that distances to the nearest few are taken to. With 2,000 for 700 mean
# AUROC on 28 tables of ADBench is 0.003 higher where the training rows are clean, and
# no higher where they are contaminated.
MAX_REFERENCE_ROWS, MAX_CLEAN_REFERENCE_ROWS = 700, 2_000
# With five, mean AUROC on 20 tables of ADBench is within 0.002.
N_NEIGHBORS = 3
# Reference rows among which the trusted ones are found, and distances to these.
MAX_NEIGHBOURHOOD_ROWS = 600
# A neighbourhood: the nearest rows, by their share. Dense clusters of outliers up to
# half of this share are found, and some of up to this share.
NEIGHBOURHOOD_SHARE = 0.1
# Share of the reference rows, the ones with the smallest neighbourhoods, that are
# trusted to be no outliers. With 0.6 mean AUROC on 28 contaminated tables of ADBench
# is 0.797, not 0.800.
TRUSTED_SHARE = 0.7
# 4 MB of distances, in the processor's cache.
ROWS_PER_BLOCK = 256
# 16 MB of float64.
CELLS_PER_BLOCK = 2**21


class Scorer:
    """Scores and explanations of rows, in blocks by threads.

    Parameters
    ----------
    score : TailProbabilityScore or ReconstructionScore
    X : ndarray of shape (n, d)
        Training rows.
    """

    def __init__(self, score, X):
        self._score = score
        self._hashes = np.sort(value_hash(X))

    def scores(self, X):
        """Scores (n,) of rows (n, d): higher is more normal."""
        return np.concatenate(_in_blocks(self._score.scores, X))

    def explain(self, X):
        """Contributions (n, d) of cells to minus the scores, and expected values."""
        parts = _in_blocks(self._score.explain, X)
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def are_training_rows(self, X):
        """Return True for rows (n,) of values that a training row has."""
        hashes = value_hash(X)
        place = np.searchsorted(self._hashes, hashes)
        return self._hashes[np.minimum(place, len(self._hashes) - 1)] == hashes


class TailProbabilityScore:
    """Mean logarithm of the tail probabilities of several measures of a row.

    That is the logarithm of their geometric mean, and Fisher's statistic but for a
    factor.

    Parameters
    ----------
    measures : list of NearestDistances and DenoisingError
        The last one is the error.
    X : ndarray of shape (n, d)
        Calibration rows, those held out first.
    weight : ndarray of shape (n,)
    n_held_out : int
        The network was not trained on these: they calibrate its error.
    cells : CellwiseGaussian
        For explanations.

    References
    ----------
    Fisher, R. A. (1932). Statistical methods for research workers, section 21.1.
    """

    def __init__(self, measures, X, weight, n_held_out, cells):
        self._measures, self._cells, self._tails = measures, cells, []
        for measure in measures:
            is_error = isinstance(measure, DenoisingError)
            rows = slice(n_held_out if is_error and n_held_out else len(X))
            logs = np.concatenate(_in_blocks(measure.logs, X[rows]), axis=1)
            self._tails += [LogLogisticTail(one, weight[rows]) for one in logs]

    def scores(self, X):
        """Scores (n,), below 0."""
        logs = np.concatenate([measure.logs(X) for measure in self._measures])
        parts = [tail(one) for tail, one in zip(self._tails, logs, strict=True)]
        return -np.mean(parts, axis=0)

    def explain(self, X):
        """Contributions and expected values by what a row's other cells predict.

        A cell's share is the mean of two: that of its squared deviation, in conditional
        standard deviations, and that of the network's loss which its conditional mean
        removes.
        """
        expectation = self._cells(X)
        shares = shares_of(np.square(expectation.deviations))
        shares = (shares + self._measures[-1].shares(X, expectation)) / 2
        return -self.scores(X)[:, None] * shares, expectation.means


class ReconstructionScore:
    """Minus a row's loss by one autoencoder, or its log-density.

    Parameters
    ----------
    autoencoder : AutoencoderTransformer
        Fitted.
    median : ndarray of shape (d,)
        Median of the columns, in input units.
    """

    def __init__(self, autoencoder, median):
        self._autoencoder = inference_of(autoencoder)
        self._noise = Noise(np.zeros((1, len(median))), 0.0)
        self._median = median

    def scores(self, X):
        """Scores (n,)."""
        if self._autoencoder.is_random:
            return finite(self._autoencoder.log_densities(X))
        return finite(-self._autoencoder.row_losses(X))

    def explain(self, X):
        """Contributions by the losses of cells, and the reconstruction.

        For a log-density they are squared errors over twice the likelihood's variance;
        the remainder, which belongs to no single cell, is divided equally.
        """
        autoencoder = self._autoencoder
        losses, expected = autoencoder.denoised(X, self._noise)
        # A reconstruction past float64 is NaN.
        expected = np.where(np.isnan(expected), self._median, expected)
        contributions = -finite(-losses)
        if autoencoder.is_random:
            contributions /= 2 * autoencoder.module.noise_variance.item()
        else:
            contributions /= losses.shape[1]
        rest = -self.scores(X) - contributions.sum(axis=1)
        return contributions + rest[:, None] / losses.shape[1], expected


def tail_probability_score(detector, X, weight, n_held_out):
    """Score by distances and the network's error, fitted to training rows.

    Parameters
    ----------
    detector : AEOutlierDetector
        With ``autoencoder_``.
    X : ndarray of shape (n, d)
        Distinct rows in random order, those held out first.
    weight : ndarray of shape (n,)
    n_held_out : int
    """
    # Scaling is without the rows held out, as it is without new ones: p-values.
    # Distances leave a row out of its neighbours.
    fitted_on, local = (X[n_held_out:], weight[n_held_out:]), Nearest(N_NEIGHBORS)
    scalings = [ColumnScaler(scale).fit(*fitted_on) for scale in _scales(detector)]
    if detector.contamination == 0:
        sample = _sample(X, weight, MAX_CLEAN_REFERENCE_ROWS)
        measures = [NearestDistances(c, sample, [local]) for c in scalings]
    else:
        sample, columns = _sample(X, weight, MAX_REFERENCE_ROWS), scalings[0]
        trusted = _trusted(columns, sample)
        k = _n_neighbourhood(trusted.sum())
        measures = [NearestDistances(columns, sample, [local, Nearest(k, trusted)])]
        if columns.scale == "standard":
            robust = ArcsinhColumns(columns, sample.X)
            others = Sample(sample.X[trusted])
            measures.append(NearestDistances(robust, others, [Nearest(k)]))
    # Errors of rows that a network was trained on are too low.
    measures.append(DenoisingError(detector.autoencoder_, X[: n_held_out or len(X)]))
    # Values outside of the range that a scaling was fitted to may be past all others.
    cells = CellwiseGaussian(scalings[-1], _sample(*fitted_on, MAX_REFERENCE_ROWS))
    some = slice(MAX_CALIBRATION_ROWS)
    return TailProbabilityScore(measures, X[some], weight[some], n_held_out, cells)


def _scales(detector):
    """Scalings of the columns: that of the given autoencoder, if it is named."""
    autoencoder = detector.autoencoder
    if autoencoder is not None and autoencoder.scale != "auto":
        return (autoencoder.scale,)
    if is_conv(detector if autoencoder is None else autoencoder):
        # Cells of a picture keep their common unit.
        return (None,)
    return ("minmax" if detector.contamination == 0 else "standard", "quantile")


def _sample(X, weight, n_rows):
    """Distinct rows, by their weight if there are more than ``n_rows``.

    A row that is a tenth of the table is there as often as it weighs, as it is usual.
    Others are there once: with more copies than neighbours their distances would be
    zero, and every new row far.
    """
    rows = np.arange(len(X))
    if len(X) > n_rows:
        rows = np.unique(systematic_sample(weight, n_rows))
    share = weight[rows] / weight.sum()
    copies = np.where(share >= FREQUENT_ROW_SHARE, np.round(share * len(rows)), 1)
    return Sample(X[np.repeat(rows, np.maximum(copies, 1).astype(int))])


def _trusted(columns, sample):
    """Mask (m,) of the reference rows with the smallest neighbourhoods."""
    some = Sample(sample.X[:MAX_NEIGHBOURHOOD_ROWS])
    nearest = Nearest(_n_neighbourhood(len(some.X)))
    # By the farthest neighbour: the mean would trust dense clusters of fewer rows.
    (farthest,) = NearestDistances(columns, some, [nearest]).farthest(some.X)
    order = np.argsort(farthest, kind="stable")
    mask = np.zeros(len(sample.X), dtype=bool)
    mask[order[: max(2, round(TRUSTED_SHARE * len(order)))]] = True
    return mask


def _n_neighbourhood(n_rows):
    # A tenth of few rows is fewer than five.
    return max(5, int(NEIGHBOURHOOD_SHARE * n_rows))


def _in_blocks(function, X):
    """Results of a function of blocks of rows (n, d), by torch's number of threads."""

    def of_some(blocks):
        # Rows whose distance or error is past float64 are far.
        with limit_threads(), np.errstate(over="ignore", invalid="ignore"):
            return [function(X[rows]) for rows in blocks]

    size = min(ROWS_PER_BLOCK, max(1, CELLS_PER_BLOCK // X.shape[1]))
    blocks = [slice(i, i + size) for i in range(0, len(X), size)]
    n_threads = min(n_threads_outside(), len(blocks))
    if n_threads == 1:
        return of_some(blocks)
    # A limit takes as long as some rows: each thread sets one for all of its blocks.
    bounds = np.linspace(0, len(blocks), n_threads + 1).astype(int)
    some = [blocks[i:j] for i, j in pairwise(bounds)]
    with ThreadPoolExecutor(n_threads) as pool:
        return [result for results in pool.map(of_some, some) for result in results]
