"""Marginal distributions of the columns of a table, by few numbers each."""

import itertools

import numpy as np
from scipy.special import ndtr, ndtri

from sklearn_ae.tables._rows import systematic_sample

# 16 bytes a value (12 of float32): half a kilobyte for a column without frequent
# values, 2.6 at most. A classifier tells drawn rows apart as well with 1,000 of each.
MAX_ATOMS, N_QUANTILES = 128, 33
MAX_MARGIN_ROWS = 100_000  # as of the quantiles of ``ColumnScaler``
MAX_DECIMALS = 6
# Without them 7 % of rows are drawn between two states of a machine, where none is.
MAX_REFINEMENTS = 5


class Margins:
    """Quantile function of each column, from ranks to values.

    A column of at most 128 distinct values has exactly these, each as often as in the
    table. Of any other column, values of more than 1.5 times the mean frequency, 128 of
    them at most, keep it; between them and 33 quantiles, whose normal scores are evenly
    spaced, values are interpolated, and rounded to the decimals of the column: whole
    numbers stay whole. No value is outside of the column's range.
    """

    def fit(self, X, rows, weight):
        """Fit to rows (n,) of X (n_samples, n_features) with weights (n,)."""
        if len(rows) > MAX_MARGIN_ROWS:
            rows = rows[systematic_sample(weight, MAX_MARGIN_ROWS)]
            weight = np.ones(len(rows))
        share = weight / weight.sum()
        knots = [_knots(X[rows, j], share) for j in range(X.shape[1])]
        self._ends = np.cumsum([len(values) for values, _ in knots])[:-1]
        self._values = np.concatenate([values for values, _ in knots])
        self._shares = np.concatenate([shares for _, shares in knots])
        return self

    def quantiles(self, columns):
        """Yield the values (n,) of each column at normal scores (n,) of ranks."""
        values = np.split(self._values, self._ends)
        shares = np.split(self._shares, self._ends)
        for scores, *knots in zip(columns, values, shares, strict=True):
            yield _interpolated(scores, *knots)


def _knots(x, share):
    """Return values (m,), and the shares (m, 2) of rows below and not above each."""
    values, place = np.unique(x, return_inverse=True)
    frequency = np.bincount(place, share)
    last = np.cumsum(frequency)
    shares = np.stack([np.append(0, last[:-1]), last], axis=1).astype(np.float32)
    if len(values) <= MAX_ATOMS:
        return values, shares
    most = np.argsort(-frequency, kind="stable")[:MAX_ATOMS]
    atoms = most[frequency[most] > 1.5 / len(values)]
    extreme = ndtri(0.5 / len(x))
    ranks = ndtr(np.linspace(extreme, -extreme, N_QUANTILES))
    ends = [0, len(values) - 1]
    knots = np.unique(np.concatenate([atoms, np.searchsorted(last, ranks), ends]))
    # The standard error of the share of rows below the median.
    tolerance = 0.5 / np.sqrt(len(x))
    knots = _refined(knots, values, shares.astype(np.float64), tolerance)
    return values[knots], shares[knots]


def _refined(knots, values, shares, tolerance):
    """Add knots where interpolation misses a share by more than the tolerance.

    A gap that no row is in has a knot at both ends then.
    """
    for _ in range(MAX_REFINEMENTS):
        with np.errstate(over="ignore", invalid="ignore"):
            scores = _scores(shares[knots]).ravel()
            error = ndtr(np.interp(values, values[knots].repeat(2), scores))
            error = np.abs(np.nan_to_num(error) - shares[:, 1])
        error[knots] = 0
        between = itertools.pairwise(knots)
        worst = np.array([low + error[low:high].argmax() for low, high in between])
        worst = worst[error[worst] > tolerance]
        if not len(worst):
            break
        # The value above: it is the other end of a gap.
        knots = np.unique(np.concatenate([knots, worst, worst + 1]))
    return knots


def _scores(shares):
    """Return normal scores of shares of rows, finite also for 0 and 1."""
    tiny = np.finfo(np.float64).eps / 2
    return ndtri(np.clip(shares, tiny, 1 - tiny))


def _interpolated(scores, values, shares):
    """Return the values (n,) at normal scores (n,), from knots as of ``_knots``."""
    knots = _scores(shares.astype(np.float64)).ravel()
    # Each value is at two knots. A slope in its unit might be past float64.
    place = np.interp(scores, knots, np.arange(len(knots)))
    low = place.astype(np.intp)
    high = np.minimum(low + 1, len(knots) - 1)
    exact = values.astype(np.float64)
    below, above = exact[low // 2], exact[high // 2]
    between = below + (place - low) * (above - below)
    decimals = _decimals(values)
    if decimals is None:
        return between
    return np.round(between.astype(values.dtype), decimals)


def _decimals(values):
    """Return the fewest decimals that all values have; None above ``MAX_DECIMALS``."""
    with np.errstate(over="ignore", invalid="ignore"):
        for decimals in range(MAX_DECIMALS + 1):
            if np.array_equal(np.round(values, decimals), values):
                return decimals
    return None
