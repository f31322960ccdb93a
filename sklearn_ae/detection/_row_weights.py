"""Weights of distinct rows, where some may be outliers."""

import numpy as np

from sklearn_ae.detection._tail_probability import quantile

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
