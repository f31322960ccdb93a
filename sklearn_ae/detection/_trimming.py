"""Training rows to leave out of training, where some may be outliers."""

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.utils import gen_batches

from sklearn_ae.detection._neighbors import ROWS_PER_BLOCK, QueryRows
from sklearn_ae.detection._score_components import MIN_DISTANCE
from sklearn_ae.detection._tail_probability import TIE, median_and_iqr, quantile

# Share of the rows that the trimmed covariance is of, which Rousseeuw and Van Driessen
# (1999) advise for fewer outliers than a quarter.
CORE_SHARE = 0.75
# Gain in volume, half the log-determinant, that a second start has to bring. With one
# start the AUROC of a cluster of 20 % outliers falls from 0.99 to 0.16.
MIN_LOG_VOLUME_GAIN = 0.1
# Interquartile ranges below the median at which a measure is clipped. Without it the
# AUROC of a tight cluster of 6 % outliers falls from 1.0 to 0.2.
MAX_INLYING_IQRS = 0.5
# Share of the weight from which on copies of one row are no outliers. Without it a row
# repeated 100 times, apart from 200 others, scores below all of these, and not above.
FREQUENT_ROW_SHARE = 0.1
# Copies of the lightest row by which fractions may be whole numbers.
MAX_COPIES_OF_LIGHTEST = 12


def in_copies(weight):
    """Weights of distinct rows in numbers of copies, by their ratios alone.

    They are the smallest whole numbers in these ratios: twice a table is the table, and
    whole weights are repetition. Fractions whose smallest would be above
    ``MAX_COPIES_OF_LIGHTEST`` are in units of their median.

    Parameters
    ----------
    weight : ndarray of shape (n,)
        Above 0.

    Returns
    -------
    weight : ndarray of shape (n,)
    """
    if (weight < 2**53).all() and not np.mod(weight, 1).any():
        return weight / np.gcd.reduce(weight.astype(np.int64))
    if weight.max() / 2**53 < weight.min():
        ratios = weight / weight.min()
        for copies in range(1, MAX_COPIES_OF_LIGHTEST + 1):
            whole = np.round(copies * ratios)
            if np.allclose(copies * ratios, whole, rtol=1e-9, atol=0):
                return whole
    return weight / np.median(weight)


def without_copies(weight):
    """Weights of distinct rows by which outliers do not become normal by repetition.

    If most rows have the smallest weight, every row is given it: copies do not count.
    Otherwise repetition is usual, and weights stay as they are. A row with a tenth of
    the weight or more keeps its weight in either case.

    Parameters
    ----------
    weight : ndarray of shape (n,)
        Above 0.

    Returns
    -------
    weight : ndarray of shape (n,)
    """
    is_frequent = weight >= FREQUENT_ROW_SHARE * weight.sum()
    others = weight[~is_frequent]
    if is_frequent.all() or quantile(others, others, 0.5) > others.min():
        return weight
    return np.where(is_frequent, weight, others.min())


def outlyingness(X, weight, neighbors, scaled):
    """Outlyingness of each training row by a sum of classical measures.

    These are the distance to the nearest 5 % of the rows, in each scaling; the
    Mahalanobis distance under the covariance of the closest three quarters of the rows;
    and the rarity of the row's cells in histograms. Each is centred at its median and
    divided by its interquartile range, distances after taking logarithms. It is clipped
    half a range below the median: a tight cluster of outliers would otherwise pass for
    normal by its short distances.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    weight : ndarray of shape (n,)
    neighbors : list of Neighbors
        One for each scaling.
    scaled : ndarray of shape (n, d)
        X in the first of the scalings.

    Returns
    -------
    outlyingness : ndarray of shape (n,)

    References
    ----------
    Rousseeuw, P. J. and Van Driessen, K. (1999). A fast algorithm for the minimum
    covariance determinant estimator. Technometrics 41(3). Goldstein, M. and Dengel, A.
    (2012). Histogram-based outlier score (HBOS). KI.
    """
    measures = []
    for near in neighbors:
        distances = [
            near.neighbourhood_distances(QueryRows(X[block]))
            for block in gen_batches(len(X), ROWS_PER_BLOCK)
        ]
        measures.append(np.log(np.concatenate(distances) + MIN_DISTANCE))
    measures.append(np.log(trimmed_mahalanobis(scaled, weight) + MIN_DISTANCE))
    measures.append(rarity(scaled, weight))
    return sum(_robust_units(values, weight) for values in measures)


def _robust_units(values, weight):
    median, iqr = median_and_iqr(values, weight)
    # A range of rounding errors is none.
    units = (values - median) / (iqr if iqr > TIE else 1)
    return np.maximum(units, -MAX_INLYING_IQRS)


def trimmed_mahalanobis(X, weight):
    """Mahalanobis distance (n,) under the covariance of the closest three quarters.

    The search starts from all rows and, as a cluster of outliers among these may hide
    itself by its effect on their covariance, also from the half that is closest to the
    columns' medians: its result is taken if that covariance has far less volume.
    """
    median = np.array([quantile(column, weight, 0.5) for column in X.T])
    middle = lowest(np.square(X - median).sum(axis=1), weight, 0.5)
    volume, distances = _concentrated(X, weight, np.ones(len(X), dtype=bool))
    other_volume, other_distances = _concentrated(X, weight, middle)
    return other_distances if other_volume < volume - MIN_LOG_VOLUME_GAIN else distances


def _concentrated(X, weight, core):
    """Concentrate from a core (n,): half the log-determinant, and distances (n,)."""
    # It mostly converges in fewer than ten steps.
    for _ in range(10):
        mean = np.average(X[core], axis=0, weights=weight[core])
        centred = X - mean
        covariance = _covariance(centred[core], weight[core])
        lower = np.linalg.cholesky(covariance)
        whitened = solve_triangular(lower, centred.T, lower=True, check_finite=False)
        squares = np.square(whitened).sum(axis=0)
        before, core = core, lowest(squares, weight, CORE_SHARE)
        if np.array_equal(before, core):
            break
    return np.log(np.diag(lower)).sum(), np.sqrt(squares)


def _covariance(centred, weight):
    d = centred.shape[1]
    covariance = (centred.T * (weight / weight.sum())) @ centred
    # The ridge makes it positive definite, even for fewer rows than columns.
    return covariance + (1e-6 * np.trace(covariance) / d + MIN_DISTANCE) * np.eye(d)


def rarity(X, weight, n_bins=20):
    """Sum over the columns of -log of the share of rows in the cell's bin: (n,)."""
    total = np.zeros(len(X))
    for column in X.T:
        low, high = column.min(), column.max()
        if low < high:
            bins = (column - low) / (high - low) * n_bins
            bins = np.minimum(bins, n_bins - 1).astype(int)
            counts = np.bincount(bins, weights=weight, minlength=n_bins)
            total -= np.log((counts + 0.5) / (weight.sum() + n_bins / 2))[bins]
    return total


def lowest(values, weight, share, least=2):
    """Mask (n,) of the rows with the lowest values that hold ``share`` of the weight.

    It has ``least`` rows at least, even if fewer hold that share.
    """
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weight[order])
    # Rounding may put a sum of weights above a round number.
    n = np.searchsorted(total, share * total[-1] * (1 - 1e-12), side="left") + 1
    mask = np.zeros(len(values), dtype=bool)
    mask[order[: max(n, least)]] = True
    return mask
