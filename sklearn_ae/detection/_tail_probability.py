"""What a score is worth: beside the scores of rows that are known."""

import numpy as np

# From here on up the scores of known rows are few: their tail is taken for exponential.
TAIL = 0.8
# Least mean excess over the tail's start, of the logarithm of a distance or an error.
MIN_EXCESS = 1e-3


class TailLogPValue:
    """-log p of a row, p the share of known rows that are as abnormal as it or more.

    Between two of them p is interpolated.
    Beyond the 80 % quantile of theirs the values' excess is taken to be exponential,
    as extreme value theory has it for a large class of distributions: a row beyond all
    that are known is not as surprising as the last of them, but more.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Of the known rows, higher is more abnormal: the logarithm of a positive measure.
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
        self._values, place = np.unique(values, return_index=True)
        # Of rows as abnormal as each or more.
        self._shares = 1 - below[place] / below[-1]
        self._total = below[-1]
        first = np.searchsorted(below[1:], TAIL * below[-1], side="right")
        first = min(first, len(values) - 1)
        self._start = values[first]
        tail = values[first:] - self._start
        # Of the row at the start, the weight that is in the tail.
        weight = weight[first:].copy()
        weight[0] = below[first + 1] - TAIL * below[-1]
        excess = np.average(tail, weights=weight) if weight.sum() > 0 else 0.0
        self._excess = max(excess, MIN_EXCESS)

    def __call__(self, values, self_weight=0.0):
        """Surprise (n,) in nats, at least 0, of rows with ``values`` (n,).

        ``self_weight`` (n,) is the weight of those that are themselves among the known
        rows: each is compared with the others.
        """
        share = np.interp(values, self._values, self._shares)
        share = (share * self._total - self_weight) / np.maximum(
            self._total - self_weight, self_weight
        )
        body = -np.log(np.maximum(share, 1 - TAIL))
        beyond = np.maximum(values - self._start, 0)
        tail = (1 - TAIL) * self._total
        with np.errstate(invalid="ignore"):
            excess = (tail * self._excess - self_weight * beyond) / np.maximum(
                tail - self_weight, self_weight
            )
        # Where there are next to no others in the tail, they tell nothing.
        excess = np.where(
            (self_weight > 0) & (tail > 2 * self_weight), excess, self._excess
        )
        beyond = beyond / np.maximum(excess, MIN_EXCESS) - np.log(1 - TAIL)
        return np.where(values > self._start, beyond, body)


def quantile(values, weight, share):
    """The number that ``share`` of the values, above 0, lie below.

    Between two of them where the share ends there.
    """
    order = np.argsort(values, kind="stable")
    values, total = values[order], np.cumsum(weight[order])
    # A sum of weights may miss a round number by its last bits.
    before = np.searchsorted(total, share * total[-1] * (1 - 1e-12), side="left")
    after = np.searchsorted(total, share * total[-1] * (1 + 1e-12), side="right")
    return (values[before] + values[min(after, len(values) - 1)]) / 2


def median_and_range(values, weight):
    """Median and interquartile range."""
    q1, q2, q3 = (quantile(values, weight, q) for q in (0.25, 0.5, 0.75))
    return q2, q3 - q1
