"""p-values of score components, by the values of calibration rows."""

import numpy as np

# Peaks over threshold: beyond this quantile the tail is taken to be exponential.
TAIL_QUANTILE = 0.8
# Least mean excess over the threshold, in nats: a thousandth of a distance or error.
MIN_MEAN_EXCESS = 1e-3
# Values that differ by less, in nats, are equal: their last digits are rounding errors
# and depend on the rows that they were computed with.
TIE = 1e-6
# So are scores that differ by a smaller share, beside a thousandth.
SCORE_TIE = 1e-9


class TailLogPValue:
    """-log p of a row; p is the share of calibration rows that are as far or farther.

    It is interpolated between their values; equal values share a step. Beyond their
    80 % quantile the excess is taken to be exponential, as extreme value theory has it
    for a large class of distributions: rows farther than all calibration rows differ in
    p, too.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Of the calibration rows, higher is more abnormal: logarithms of distances or
        errors.
    weight : ndarray of shape (n,)

    References
    ----------
    Pickands, J. (1975). Statistical inference using extreme order statistics. Annals of
    Statistics 3(1).
    """

    def __init__(self, values, weight):
        order = np.argsort(values, kind="stable")
        values, weight = values[order], weight[order]
        below = np.concatenate([[0.0], np.cumsum(weight)])
        first = np.flatnonzero(np.diff(values, prepend=-np.inf) > TIE)
        last = np.append(first[1:], len(values)) - 1
        self._values = np.stack([values[first], values[last]], axis=1).ravel()
        # Share of the rows with each value or a higher one.
        self._shares = np.repeat(1 - below[first] / below[-1], 2)
        self._total = below[-1]
        first = np.searchsorted(below[1:], TAIL_QUANTILE * below[-1], side="right")
        first = min(first, len(values) - 1)
        self._threshold = values[first]
        excess = values[first:] - self._threshold
        weight = weight[first:].copy()
        # The row at the threshold is in the tail with a part of its weight.
        weight[0] = below[first + 1] - TAIL_QUANTILE * below[-1]
        mean = np.average(excess, weights=weight) if weight.sum() > 0 else 0.0
        self._mean_excess = max(mean, MIN_MEAN_EXCESS)

    def __call__(self, values, self_weight=0.0):
        """-log p (n,) in nats, at least 0, of rows with ``values`` (n,).

        Rows that are calibration rows, with weight ``self_weight`` (n,) among them, are
        compared with the others.
        """
        share = np.interp(values, self._values, self._shares)
        share = (share * self._total - self_weight) / np.maximum(
            self._total - self_weight, self_weight
        )
        body = -np.log(np.maximum(share, 1 - TAIL_QUANTILE))
        excess = np.maximum(values - self._threshold, 0)
        tail = (1 - TAIL_QUANTILE) * self._total
        with np.errstate(invalid="ignore"):
            mean = (tail * self._mean_excess - self_weight * excess) / np.maximum(
                tail - self_weight, self_weight
            )
        # A row with half of the tail's weight has too few others there to compare with.
        has_others = (self_weight > 0) & (tail > 2 * self_weight)
        mean = np.where(has_others, mean, self._mean_excess)
        beyond = excess / np.maximum(mean, MIN_MEAN_EXCESS) - np.log(1 - TAIL_QUANTILE)
        return np.where(values > self._threshold + TIE, beyond, body)


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
