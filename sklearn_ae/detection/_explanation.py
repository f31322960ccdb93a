"""Why rows have the scores they have: what each cell contributes, and should be."""

from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils import check_scalar

from sklearn_ae.detection._evidence import Explanation


class ExplanationMixin:
    """Explanations of a detector's scores.

    It has ``_check(X)`` and ``_scorers.explain(X)``.
    """

    def explain(self, X):
        """Why rows have their scores: what each cell contributes, and should have been.

        Each piece of evidence is shared out among the cells, a distance by their part
        in it and a network's error by how much smaller it is with the column's median
        in the cell's place (which takes as many passes as there are columns); the
        pieces count by their part in the score, those below 1 % do not. With
        ``method="reconstruction"`` a cell has its own error.

        What is expected is the mean of the three trusted training rows (of all, with
        ``contamination=0``) that are nearest by all cells but the one that contributes
        most; with ``method="reconstruction"`` it is the reconstruction.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        contributions : ndarray or DataFrame of shape (n_samples, n_features)
            Those of a row sum to its ``score_samples``: the lowest are what makes it an
            outlier.
        expected : ndarray or DataFrame of shape (n_samples, n_features)
            The values that the model expects, in input units.

            Both are float64, in a named tuple; with X's labels if it is a pandas
            DataFrame.
        """
        rows = self._check(X)
        explanation = self._scorers.explain(rows)
        if not isinstance(X, pd.DataFrame):
            return explanation
        labels = {"index": X.index, "columns": X.columns}
        return Explanation(*(pd.DataFrame(part, **labels) for part in explanation))

    def top_features(self, X, k=1):
        """The columns that contribute most to rows being outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.
        k : int, default=1
            How many; all of them, if there are fewer.

        Returns
        -------
        features : ndarray of shape (n_samples, k)
            Labels of the columns if X is a pandas DataFrame, names if the estimator was
            fitted with some, else numbers; the one that contributes most first.
        """
        check_scalar(k, "k", Integral, min_val=1)
        contributions = self.explain(X).contributions
        order = np.argsort(np.asarray(contributions), axis=1, kind="stable")
        names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))
        if isinstance(contributions, pd.DataFrame):
            names = np.asarray(contributions.columns)
        return names[order[:, :k]]
