"""How sure it is that rows are outliers: p-values by rows held out, and selection."""

from numbers import Real

import numpy as np
from scipy.stats import false_discovery_control
from sklearn.utils import check_scalar


class ConformalMixin:
    """Conformal p-values of a detector that has held training rows out.

    It has ``_check(X)``, ``_scorers.scores_of_new(X)`` and, of the rows held out,
    scores and weights as ``_held_out``.

    References
    ----------
    Bates, S., et al. (2023). Testing for outliers with conformal p-values. Annals of
    Statistics 51(1).
    """

    def p_values(self, X):
        """Conformal p-values of new rows: small for outliers.

        A row's is the share of the held-out training rows that score as low as it or
        lower, itself counted among them. If it was drawn like these, distinct rows of
        equal weight, its p-value is at most t with probability t or less, whatever the
        distribution. The smallest there can be is 1 / (1 + their number).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units that were not in the training table. (Those that were
            are taken for new ones.)

        Returns
        -------
        p : ndarray of shape (n_samples,), float64
            In (0, 1].

        Raises
        ------
        ValueError
            Where the training table had fewer than four distinct rows, of which none
            is held out.
        """
        X = self._check(X)
        scores, weight = self._held_out
        if len(scores) == 0:
            raise ValueError(
                "p_values compares with training rows that were held out, and of fewer "
                "than 4 distinct rows none is. Fit on more rows, or use score_samples."
            )
        new = self._scorers.scores_of_new(X)
        return conformal_p_values(new, scores, weight)

    def select_outliers(self, X, *, fdr=0.1):
        """Which rows to report, so that few of the reported are none.

        Benjamini and Hochberg's procedure on ``p_values``: of the rows that it selects,
        the expected share that are no outliers is ``fdr`` at most. It can select
        only if there are many outliers in X or many rows held out: the smallest p-value
        has to be below ``fdr`` times the share of the rows selected.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New rows in input units, all those among which is to be selected.
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


def conformal_p_values(scores, is_training_row, weight):
    """Share (n,) of the known scores that are as low as a row's or lower, itself one.

    For a row drawn as the known ones were, it is at most t with probability t or less
    (Vovk, Gammerman and Shafer, 2005. Algorithmic learning in a random world). It
    counts as much as a known one on average.
    """
    order = np.argsort(is_training_row, kind="stable")
    below = np.concatenate([[0.0], np.cumsum(weight[order] / weight.mean())])
    place = np.searchsorted(is_training_row[order], scores, side="right")
    return (below[place] + 1) / (below[-1] + 1)
