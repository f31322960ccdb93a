"""Which training rows to leave out of training, where some may be outliers."""

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.utils import gen_batches

from sklearn_ae.detection._neighbors import BLOCK, QueryRows
from sklearn_ae.detection._tail_probability import median_and_range, quantile

# Share of the rows that the covariance is of at the start and in the end, and steps.
START, CORE, MAX_STEPS = 0.5, 0.75, 10
# Logarithm of the volume that tells one start's covariance from another's.
SMALLER = 0.1
N_BINS = 20
# The most that a measure can speak for a row, in interquartile ranges.
CREDIT = 0.5
# Share of the rows from which on copies of one are no outliers.
MODE = 0.1
# Of the trace: a covariance of fewer rows than columns can be inverted.
RIDGE = 1e-6
TINY = 1e-9


def without_copies(weight):
    """Weights of distinct rows by which outliers do not become normal by repetition.

    Where most rows weigh the least that one does, so does every row: copies do not
    count. Else repetition is the rule and tells what is normal, and weights stay as
    they are. A row that is a tenth of all or more keeps its weight anyhow.

    Parameters
    ----------
    weight : ndarray of shape (n,)
        Above 0.

    Returns
    -------
    weight : ndarray of shape (n,)
    """
    often = weight >= MODE * weight.sum()
    others = weight[~often]
    if often.all() or quantile(others, others, 0.5) > others.min():
        return weight
    return np.where(often, weight, others.min())


def outlyingness(X, weight, neighbors, scaled):
    """How much each training row looks like an outlier, by classical measures.

    Distance to the nearest 5 % of the rows, in each scaling; Mahalanobis distance under
    the covariance of the three quarters of the rows that are closest by it; and how
    rare the row's cells are, by histograms. Each is in robust units of its own: the
    logarithm's distance from its median in interquartile ranges, and half a range less
    at the least: a tight cluster of outliers is not the more normal for being tight.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    weight : ndarray of shape (n,)
    neighbors : list of Neighbors
    scaled : ndarray of shape (n, d)
        In the first of the scalings, standard columns by default.

    Returns
    -------
    suspicion : ndarray of shape (n,)

    References
    ----------
    Rousseeuw, P. J. and Van Driessen, K. (1999). A fast algorithm for the minimum
    covariance determinant estimator. Technometrics 41(3). Goldstein, M. and Dengel, A.
    (2012). Histogram-based outlier score (HBOS). KI.
    """
    measures = []
    for near in neighbors:
        distances = [
            near.wide_mean_distances(QueryRows(X[block]))
            for block in gen_batches(len(X), BLOCK)
        ]
        measures.append(np.log(np.concatenate(distances) + TINY))
    measures.append(np.log(trimmed_mahalanobis(scaled, weight) + TINY))
    measures.append(rarity(scaled, weight))
    return sum(_robust_units(values, weight) for values in measures)


def _robust_units(values, weight):
    median, spread = median_and_range(values, weight)
    return np.maximum((values - median) / (spread if spread > 0 else 1), -CREDIT)


def trimmed_mahalanobis(X, weight):
    """Mahalanobis distance (n,) under the covariance of the closest three quarters.

    It is found from all rows; or, if that leads to a covariance of far smaller volume,
    from the half that is closest to the columns' medians: a cluster of outliers among
    all rows has set the covariance by which it is judged.
    """
    median = np.array([quantile(column, weight, 0.5) for column in X.T])
    middle = lowest(np.square(X - median).sum(axis=1), weight, START)
    volume, distances = _concentrated(X, weight, np.ones(len(X), dtype=bool))
    other_volume, other_distances = _concentrated(X, weight, middle)
    return other_distances if other_volume < volume - SMALLER else distances


def _concentrated(X, weight, core):
    """Distances (n,) by the covariance that a core (n,) leads to, after its volume.

    The volume is half the logarithm of the determinant.
    """
    for _ in range(MAX_STEPS):
        mean = np.average(X[core], axis=0, weights=weight[core])
        centred = X - mean
        covariance = _covariance(centred[core], weight[core])
        # |L^-1 u|, for u of each row.
        lower = np.linalg.cholesky(covariance)
        whitened = solve_triangular(lower, centred.T, lower=True, check_finite=False)
        squares = np.square(whitened).sum(axis=0)
        before, core = core, lowest(squares, weight, CORE)
        if np.array_equal(before, core):
            break
    return np.log(np.diag(lower)).sum(), np.sqrt(squares)


def _covariance(centred, weight):
    d = centred.shape[1]
    covariance = (centred.T * (weight / weight.sum())) @ centred
    return covariance + (RIDGE * np.trace(covariance) / d + TINY) * np.eye(d)


def rarity(X, weight):
    """Sum over the columns of -log of the share of rows in the cell's bin: (n,)."""
    total = np.zeros(len(X))
    for column in X.T:
        low, high = column.min(), column.max()
        if low < high:
            bins = np.minimum((column - low) / (high - low) * N_BINS, N_BINS - 1)
            bins = bins.astype(int)
            counts = np.bincount(bins, weights=weight, minlength=N_BINS)
            total -= np.log((counts + 0.5) / (weight.sum() + N_BINS / 2))[bins]
    return total


def lowest(values, weight, share, least=2):
    """Mask (n,) of the rows with the lowest values that hold ``share`` of the weight.

    ``least`` rows at the least, should a few weigh as much.
    """
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weight[order])
    # A sum of weights may exceed a round number by its last bits.
    n = np.searchsorted(total, share * total[-1] * (1 - 1e-12), side="left") + 1
    mask = np.zeros(len(values), dtype=bool)
    mask[order[: max(n, least)]] = True
    return mask
