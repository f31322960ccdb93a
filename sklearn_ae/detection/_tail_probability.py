"""Tail probabilities of measures of outlyingness, and weighted quantiles."""

import numpy as np

# Least mean excess over the median: a thousandth of a distance or error.
MIN_MEAN_EXCESS = 1e-3
# Scores that differ by a smaller share, beside a thousandth, are equal: their last
# digits are rounding errors.
SCORE_TIE = 1e-9


class LogLogisticTail:
    """-log of the tail probability of a measure under a log-logistic distribution.

    The logarithm of the measure is logistic, with the median of the calibration rows
    and their mean excess over it. The function is smooth, has no largest value, and
    ties of the calibration rows make no steps in it.

    Parameters
    ----------
    logs : ndarray of shape (n,)
        Logarithms of the measure of calibration rows, higher is more abnormal.
    weight : ndarray of shape (n,)

    References
    ----------
    Johnson, N. L., Kotz, S. and Balakrishnan, N. (1995). Continuous univariate
    distributions 2, chapter 23.
    """

    def __init__(self, logs, weight):
        self._median = quantile(logs, weight, 0.5)
        excess = np.average(np.maximum(logs - self._median, 0), weights=weight)
        # The mean excess over the median of a logistic distribution of scale 1 is
        # log(2), rows below the median counted as zeros.
        self._scale = max(excess, MIN_MEAN_EXCESS) / np.log(2)

    def __call__(self, logs):
        """-log p (n,), above 0, of rows with logarithms (n,) of the measure."""
        return np.logaddexp(0, (logs - self._median) / self._scale)


def quantile(values, weight, share):
    """Weighted quantile: numpy's "averaged_inverted_cdf", for 0 < share < 1."""
    order = np.argsort(values, kind="stable")
    values, total = values[order], np.cumsum(weight[order])
    # Rounding may put a sum of weights above or below a round number.
    before = np.searchsorted(total, share * total[-1] * (1 - 1e-12), side="left")
    after = np.searchsorted(total, share * total[-1] * (1 + 1e-12), side="right")
    return (values[before] + values[min(after, len(values) - 1)]) / 2


def just_below(scores):
    """Scores less a rounding error: equal scores are not below it, others are."""
    return scores - SCORE_TIE * (np.abs(scores) + 1e-3)


def median_and_iqr(values, weight):
    """Weighted median and interquartile range."""
    q1, q2, q3 = (quantile(values, weight, q) for q in (0.25, 0.5, 0.75))
    return q2, q3 - q1
