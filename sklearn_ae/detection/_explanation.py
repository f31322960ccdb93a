"""Explanation of outlier scores by the contributions of cells."""

from numbers import Integral
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.utils import check_scalar
from sklearn.utils._dataframe import is_polars_df

# Share of a row's contributions below which one is a rounding error.
MIN_SHARE = 1e-9


class Explanation(NamedTuple):
    """Contributions of cells to scores.

    Attributes
    ----------
    contributions : ndarray or DataFrame of shape (n_samples, n_features)
        Contribution of each cell, positive where it makes the row an outlier; those of
        a row sum to minus its ``score_samples``.
    expected : ndarray or DataFrame of shape (n_samples, n_features)
        Values that the model expects in place of the cells, in input units.
    """

    contributions: np.ndarray
    expected: np.ndarray


class ExplanationMixin:
    """Explanations of a detector's scores.

    The detector has ``_check(X, min_rows)`` and ``_scorer.explain(X)``.
    """

    def explain(self, X):
        """Contribution of each cell to the scores, and the value expected in it.

        Minus the score is divided among the cells by the mean of two shares. One is the
        cell's squared distance, in conditional standard deviations, from its mean given
        the row's other cells, under a Gaussian of up to 700 training rows in the last
        scaling, normal scores by default. So a cell that holds a usual value is found,
        too, if it does not fit the others. The other is the fall of the network's loss
        with that mean in the cell; of a row's cells the 32 farthest from their means
        are tried. Cells that do not fit are left out of what the others are compared
        with: several wrong cells of a row are found, each with the value that the right
        ones imply. Where just two cells contradict each other, either may be blamed.

        Expected is the conditional mean. With ``method="reconstruction"`` a cell
        contributes its error, and expected is the reconstruction.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.

        Returns
        -------
        contributions : ndarray or DataFrame of shape (n_samples, n_features)
            Positive where a cell makes the row an outlier, else 0; those of a row sum
            to minus its ``score_samples``. With ``method="reconstruction"`` and a
            log-density some may be negative. ``contributions.idxmax(axis=1)`` of a
            pandas DataFrame names the column that contributes most. float64; a
            DataFrame with X's labels if X is one of pandas or polars.
        expected : ndarray or DataFrame of shape (n_samples, n_features)
            Expected values in input units, of the same type. Both are in a named tuple.

        See Also
        --------
        reasons : The cells that contribute most as lines of a table.
        """
        return Explanation(
            *(_like(X, part) for part in self._explain(self._check(X, min_rows=0)))
        )

    def reasons(self, X, k=3):
        """Cells that make rows outliers, with their values and the expected ones.

        The share of a cell is its contribution (see ``explain``) divided by the sum of
        the positive contributions of its row: it is above 0 and at most 1, and with all
        columns the shares of a row sum to 1. Shares below 1e-9, which are rounding
        errors, are no reasons. It says where in the row the score comes
        from, but not whether the row is an outlier: ask for the reasons of the rows
        that ``predict`` reports. A row without a positive contribution has none, as one
        with the highest possible score, 0.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in input units.
        k : int, default=3
            Number of cells of a row; fewer, if fewer have a share.

        Returns
        -------
        reasons : DataFrame
            A line for each row and reason, the rows in the order of X and the largest
            share of a row first, with the columns

            * row: label in the index if X is a pandas DataFrame, else position;
            * column: label of the cell's column if X is a DataFrame, else its name in
              ``feature_names_in_`` if there are any, else its position;
            * value, expected: in input units, float64;
            * share: float64.

            It is one of polars if X is, else one of pandas.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_ae import AEOutlierDetector
        >>> X = np.random.default_rng(0).normal(size=(200, 3))
        >>> detector = AEOutlierDetector(random_state=0).fit(X)
        >>> detector.reasons([[0.1, -7.0, 0.2]], k=1)[["row", "column", "value"]]
           row  column  value
        0    0       1   -7.0
        """
        check_scalar(k, "k", Integral, min_val=1)
        cells = self._check(X, min_rows=0)
        contributions, expected = self._explain(cells)
        positive = np.maximum(contributions, 0)
        total = positive.sum(axis=1, keepdims=True)
        shares = positive / np.where(total > 0, total, 1)
        shares[shares < MIN_SHARE] = 0
        columns = _largest_first(shares)[:, :k]
        # Lines in the order of the rows, each row's largest share first.
        rows, rank = np.nonzero(np.take_along_axis(shares, columns, axis=1))
        columns = columns[rows, rank]
        table = {
            "row": X.index[rows] if isinstance(X, pd.DataFrame) else rows,
            "column": self._labels(X)[columns],
            "value": cells[rows, columns],
            "expected": expected[rows, columns],
            "share": shares[rows, columns],
        }
        return type(X)(table) if is_polars_df(X) else pd.DataFrame(table)

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
            The column that contributes most first: labels if X is a DataFrame, else
            ``feature_names_in_`` if there are any, else indices.
        """
        check_scalar(k, "k", Integral, min_val=1)
        contributions = self._explain(self._check(X, min_rows=0)).contributions
        return np.asarray(self._labels(X))[_largest_first(contributions)[:, :k]]

    def _explain(self, cells):
        # No row to explain is no error: none was reported.
        if len(cells) == 0:
            return Explanation(cells, cells)
        return Explanation(*self._scorer.explain(cells))

    def _labels(self, X):
        """Labels (n_features,) of the columns of X."""
        if isinstance(X, pd.DataFrame):
            return X.columns
        if is_polars_df(X):
            return np.array(X.columns)
        return getattr(self, "feature_names_in_", np.arange(self.n_features_in_))


def _like(X, cells):
    """Cells (n, d) as a DataFrame with the labels of X, if that is one."""
    if isinstance(X, pd.DataFrame):
        return pd.DataFrame(cells, index=X.index, columns=X.columns)
    return type(X)(cells, schema=X.columns) if is_polars_df(X) else cells


def _largest_first(contributions):
    """Columns (n, d) of each row, the largest contribution first."""
    return np.argsort(-contributions, axis=1, kind="stable")
