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

    The detector has ``_check(X)``, ``_scorer.scores(X)``,
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

        See Also
        --------
        AEOutlierDetector : ``holdout="last"`` calibrates a fit by its last rows.
        """
        check_is_fitted(self, "autoencoder_")
        minimum = MIN_CALIBRATION_ROWS
        X = checked_table(self, X, dtype=np.float64, reset=False, min_rows=minimum)
        weight = checked_weight(sample_weight, X, min_rows=minimum)
        weight = np.ones(len(X)) if weight is None else weight
        X, weight = X[weight > 0], weight[weight > 0]
        advice = "pass rows that the detector was not fitted on"
        self._calibrate(X, weight, advice, stacklevel=5)
        return self

    def _calibrate(self, X, weight, advice, stacklevel):
        """Set threshold and p-values by rows (n, d) with weights (n,) above zero."""
        self._warn_of_training_rows(
            X, f"too many new rows will be reported: {advice}.", stacklevel
        )
        scores = self._scorer.scores(X), weight / weight.max()
        self._fitted_scores = self._held_out = scores
        self.set_contamination(self.contamination)

    def _warn_of_training_rows(self, X, consequence, stacklevel):
        n_known = np.count_nonzero(self._scorer.are_training_rows(X))
        if 2 * n_known > len(X):
            warnings.warn(
                f"{n_known} of the {len(X)} rows equal rows of fit. Their scores are "
                f"too high, and {consequence}",
                stacklevel=stacklevel,
            )

    def p_values(self, X):
        """Conformal p-values of new rows: small for outliers.

        The p-value of a row is the share of the held-out training rows, or the rows of
        ``calibrate``, that score as low or lower, the row itself counted among them.
        For a row drawn from the same distribution as these, of equal weight and
        distinct, it is at most t with probability t or less. The smallest possible one
        is 1 / (1 + their number).

        It takes the place of ``predict_proba``: how probable it is that a row is an
        outlier depends on how frequent outliers are, too.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            New rows in input units.

        Returns
        -------
        p : ndarray of shape (n_samples,), float64
            In (0, 1].

        Raises
        ------
        ValueError
            If the training table had fewer than four distinct rows: none is held out,
            and ``calibrate`` was not called.

        Warns
        -----
        UserWarning
            If most rows of X are rows of ``fit``, or if p-values are from fewer than 19
            rows, so that none is as low as 0.05.
        """
        p, n_rows = self._p_values(X, stacklevel=4)
        if n_rows < MIN_CALIBRATION_ROWS:
            warnings.warn(
                f"p-values are from {n_rows} rows, and none is below 1 / {1 + n_rows}: "
                f"it takes {MIN_CALIBRATION_ROWS} rows for 0.05. Call calibrate with "
                "as many, or fit on more.",
                stacklevel=2,
            )
        return p

    def _p_values(self, X, stacklevel):
        """p-values (n,), and the number of rows that they are from."""
        X = self._check(X)
        scores, weight = self._held_out
        if len(scores) == 0:
            raise ValueError(
                "p_values needs held-out training rows, and of fewer than 4 distinct "
                "rows none is held out. Fit on more rows, give some to calibrate, or "
                "use score_samples."
            )
        self._warn_of_training_rows(
            X, "p-values are for new rows: use predict for rows of fit.", stacklevel
        )
        new = self._scorer.scores(X)
        return conformal_p_values(new, scores, weight), len(scores)

    @property
    def predict_proba(self):
        """Missing: ``p_values`` says how rare a row's score is among normal rows."""
        raise AttributeError(
            f"{type(self).__name__} has no predict_proba: how probable it is that a "
            "row is an outlier depends on how frequent outliers are, which it does not "
            "learn. p_values(X) says how rare so low a score is among normal rows; "
            "predict(X) gives labels, score_samples(X) scores."
        )

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
            If most rows of X are rows of ``fit``. If no row is selected though some
            score lower than all rows that p-values are from, and are more than by
            chance, or would not be selected at this rate if all rows were outliers. It
            names how many of these would select them.
        """
        check_scalar(
            fdr, "fdr", Real, min_val=0, max_val=1, include_boundaries="neither"
        )
        if np.isnan(fdr):
            raise ValueError("fdr is nan, must be between 0 and 1.")
        p, n_held_out = self._p_values(X, stacklevel=4)
        selected = false_discovery_control(p, method="bh") <= fdr
        n_lowest = np.count_nonzero(p < 1.5 / (1 + n_held_out))
        # Probability that rows of one distribution have so many of the lowest scores.
        chance = (len(p) / (len(p) + n_held_out)) ** n_lowest
        is_hopeless = n_lowest > 0 and fdr * (1 + n_held_out) < 1
        if not selected.any() and (is_hopeless or chance < 0.05):
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
