"""Conformal p-values by held-out rows, and selection of outliers by them."""

from numbers import Real

import numpy as np
from scipy.stats import false_discovery_control
from sklearn.utils import check_scalar

from sklearn_ae.detection._tail_probability import just_below


class ConformalMixin:
    """Conformal p-values of a detector that has held training rows out.

    The detector has ``_check(X)``, ``_scorers.scores_of_new(X)`` and ``_held_out``, the
    scores and weights of the rows held out.

    References
    ----------
    Bates, S., et al. (2023). Testing for outliers with conformal p-values. Annals of
    Statistics 51(1).
    """

    def p_values(self, X):
        """Conformal p-values of new rows: small for outliers.

        The p-value of a row is the share of the held-out training rows that score as
        low or lower, the row itself counted among them. For a row drawn from the same
        distribution as these, of equal weight and distinct, it is at most t with
        probability t or less. The smallest possible one is 1 / (1 + their number).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New rows in input units. Rows of the training table are taken for new ones.

        Returns
        -------
        p : ndarray of shape (n_samples,), float64
            In (0, 1].

        Raises
        ------
        ValueError
            If the training table had fewer than four distinct rows: none is held out.
        """
        X = self._check(X)
        scores, weight = self._held_out
        if len(scores) == 0:
            raise ValueError(
                "p_values needs held-out training rows, and of fewer than 4 distinct "
                "rows none is held out. Fit on more rows, or use score_samples."
            )
        new = self._scorers.scores_of_new(X)
        return conformal_p_values(new, scores, weight)

    def select_outliers(self, X, *, fdr=0.1):
        """Select outliers at a false discovery rate.

        Benjamini and Hochberg's procedure on ``p_values``: the expected share of false
        discoveries among the selected rows is at most ``fdr``. As the smallest p-value
        has to be below ``fdr`` times the share of the rows selected, few outliers in
        many rows are selected only if many rows were held out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            All new rows to select from, in input units.
        fdr : float, default=0.1
            False discovery rate, in (0, 1).

        Returns
        -------
        selected : ndarray of shape (n_samples,), bool
            True for the outliers.

        Raises
        ------
        ValueError
            As ``p_values``, or for another ``fdr``.
        """
        check_scalar(
            fdr, "fdr", Real, min_val=0, max_val=1, include_boundaries="neither"
        )
        if np.isnan(fdr):
            raise ValueError("fdr is nan, must be between 0 and 1.")
        return false_discovery_control(self.p_values(X), method="bh") <= fdr


def conformal_p_values(scores, calibration_scores, weight):
    """Weighted share (n,) of calibration scores as low or lower, the row included.

    For a row drawn as the calibration rows were, it is at most t with probability t or
    less (Vovk, Gammerman and Shafer, 2005. Algorithmic learning in a random world). The
    row has the mean weight of the calibration rows.
    """
    order = np.argsort(calibration_scores, kind="stable")
    below = np.concatenate([[0.0], np.cumsum(weight[order] / weight.mean())])
    # Scores that only rounding tells apart are equal, and count as low.
    ordered = just_below(calibration_scores[order])
    place = np.searchsorted(ordered, scores, side="right")
    return (below[place] + 1) / (below[-1] + 1)
