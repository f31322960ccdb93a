"""Explanation of outlier scores by the contributions of cells."""

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils import check_scalar

from sklearn_ae.detection._score_components import Explanation


class ExplanationMixin:
    """Explanations of a detector's scores.

    The detector has ``_check(X)`` and ``_scorers.explain(X)``.
    """

    def explain(self, X):
        """Contribution of each cell to the scores, and the value expected in it.

        Each component of the score is divided among the cells: a distance by their
        parts in it, the error of a network by how much less it is with the conditional
        mean in the cell. That is the mean given the row's other cells, under a Gaussian
        of up to 1,000 training rows in the last scaling (normal scores by default): a
        cell that holds a usual value is found, too, if it does not fit the others. Of a
        row's cells the 32 farthest from it, in standard deviations, have a part in
        the error. Components weigh by their part in the score. With
        ``method="reconstruction"`` a cell contributes its error.

        Expected, in the cell that contributes most, is the conditional mean; in the
        others the mean of the three nearest trusted training rows by all cells but that
        one (of all training rows with ``contamination=0``). With
        ``method="reconstruction"`` it is the reconstruction.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        contributions : ndarray or DataFrame of shape (n_samples, n_features)
            Those of a row sum to its ``score_samples``: the lowest are what makes it an
            outlier. float64, with X's labels if it is a pandas DataFrame.
        expected : ndarray or DataFrame of shape (n_samples, n_features)
            Expected values in input units, of the same type. Both are in a named tuple.
        """
        rows = self._check(X)
        explanation = self._scorers.explain(rows)
        if not isinstance(X, pd.DataFrame):
            return explanation
        labels = {"index": X.index, "columns": X.columns}
        return Explanation(*(pd.DataFrame(part, **labels) for part in explanation))

    def top_features(self, X, k=1):
        """Columns that contribute most to each row's being an outlier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.
        k : int, default=1
            Number of columns; all of them, if there are fewer.

        Returns
        -------
        features : ndarray of shape (n_samples, k)
            The column that contributes most first: labels if X is a pandas DataFrame,
            else ``feature_names_in_`` if there are any, else indices.
        """
        check_scalar(k, "k", Integral, min_val=1)
        contributions = self.explain(X).contributions
        order = np.argsort(np.asarray(contributions), axis=1, kind="stable")
        names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))
        if isinstance(contributions, pd.DataFrame):
            names = np.asarray(contributions.columns)
        return names[order[:, :k]]
