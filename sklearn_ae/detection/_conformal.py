"""Conformal p-values by held-out rows, and selection of outliers by them."""

import math
import warnings
from numbers import Real

import numpy as np
from scipy.stats import false_discovery_control
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from sklearn_ae._runtime import all_or_nothing
from sklearn_ae._validation import checked_table, checked_weight
from sklearn_ae.detection._tail_probability import just_below

# With fewer calibration rows no p-value is as low as 0.05.
MIN_CALIBRATION_ROWS = 19


class ConformalMixin:
    """Conformal p-values of a detector that has held training rows out.

    The detector has ``_check(X)``, ``_scorers.scores_of_new(X)``,
    ``set_contamination(contamination)``, ``_fitted_scores``, the scores and weights
    of the rows that set the threshold, and ``_held_out``, those of the rows held out.

    References
    ----------
    Bates, S., et al. (2023). Testing for outliers with conformal p-values. Annals of
    Statistics 51(1).
    """

    @all_or_nothing
    def calibrate(self, X, sample_weight=None):
        """Set threshold and p-values by rows that are normal today, without refitting.

        The rows of X take the place of the training rows in the threshold, and of the
        rows held out in ``p_values`` and ``select_outliers``: until the next ``fit`` or
        ``calibrate`` these hold for rows that are like X. Scores stay as they are. It
        is for rows that differ from the training rows, as later ones of a machine that
        drifts do: calibrate by recent rows without outliers.

        With ``contamination="auto"`` or 0 the threshold is two interquartile ranges
        below the median score of X. With a number it is that quantile of these scores:
        about this share of normal rows is reported, in addition to the outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            At least 19 normal rows, in input units, that the detector was not fitted
            on. No p-value is below 1 / (1 + n_samples).
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights, above zero for 19 rows at least. p-values hold for
            equal weights; of very unequal ones they are too small.

        Returns
        -------
        self : object
            With its ``offset_`` changed. If it fails, it is as it was before.

        Raises
        ------
        ValueError
            For fewer than 19 rows, and what ``predict`` refuses.

        Warns
        -----
        UserWarning
            If most rows of X are rows of ``fit``.
        """
        check_is_fitted(self, "networks_")
        minimum = MIN_CALIBRATION_ROWS
        X = checked_table(self, X, dtype=np.float64, reset=False, min_rows=minimum)
        weight = checked_weight(sample_weight, X, min_rows=minimum)
        weight = np.ones(len(X)) if weight is None else weight / weight.max()
        X, weight = X[weight > 0], weight[weight > 0]
        n_known = np.count_nonzero(self._scorers.are_training_rows(X))
        if 2 * n_known > len(X):
            warnings.warn(
                f"{n_known} of the {len(X)} rows of X are rows of fit. Their scores "
                "are too high, and too many new rows will be reported: pass rows that "
                "the detector was not fitted on.",
                stacklevel=3,
            )
        scores = self._scorers.scores_of_new(X), weight
        self._fitted_scores = self._held_out = scores
        return self.set_contamination(self.contamination)

    def p_values(self, X):
        """Conformal p-values of new rows: small for outliers.

        The p-value of a row is the share of the held-out training rows, or the rows of
        ``calibrate``, that score as low or lower, the row itself counted among them.
        For a row drawn from the same distribution as these, of equal weight and
        distinct, it is at most t with probability t or less. The smallest possible one
        is 1 / (1 + their number).

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
            If the training table had fewer than four distinct rows: none is held out,
            and ``calibrate`` was not called.
        """
        X = self._check(X)
        scores, weight = self._held_out
        if len(scores) == 0:
            raise ValueError(
                "p_values needs held-out training rows, and of fewer than 4 distinct "
                "rows none is held out. Fit on more rows, give some to calibrate, or "
                "use score_samples."
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

        Warns
        -----
        UserWarning
            If no row is selected though more than by chance score lower than all rows
            that p-values are from. It names how many of these would select them.
        """
        check_scalar(
            fdr, "fdr", Real, min_val=0, max_val=1, include_boundaries="neither"
        )
        if np.isnan(fdr):
            raise ValueError("fdr is nan, must be between 0 and 1.")
        p = self.p_values(X)
        selected = false_discovery_control(p, method="bh") <= fdr
        n_held_out = len(self._held_out[0])
        n_lowest = np.count_nonzero(p < 1.5 / (1 + n_held_out))
        # Probability that rows of one distribution have so many of the lowest scores.
        chance = (len(p) / (len(p) + n_held_out)) ** n_lowest
        if chance < 0.05 and not selected.any():
            n_needed = math.ceil(len(p) / (fdr * n_lowest)) - 1
            warnings.warn(
                f"No row is selected: {n_lowest} of {len(p)} score lower than all "
                f"{n_held_out} rows that p-values are from, and at fdr={fdr} so few "
                f"are selected with {n_needed} of these only. Call calibrate with more "
                "rows, fit on more, or select from fewer.",
                stacklevel=2,
            )
        return selected


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
