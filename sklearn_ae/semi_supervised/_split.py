"""Cross-validation splits with few labels."""

import numpy as np
from sklearn.model_selection import BaseCrossValidator, check_cv
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import validate_parameter_constraints

from sklearn_ae.semi_supervised._labels import MISSING_LABELS, read_labels


class SemiSupervisedSplit(BaseCrossValidator):
    """Cross-validation with few labels: only labelled rows are tested on.

    The labelled rows are split by ``cv``, and all rows without a label join each
    training set. Any ``scoring`` is then right, and no unlabelled row is lost for
    training. scikit-learn's splitters refuse a y with None or NaN, and take -1 as a
    class, whose rows its scorers count as errors.

    Parameters
    ----------
    cv : int, cross-validation generator or iterable, default=5
        Splits of the labelled rows. An int is a number of folds: of
        :class:`sklearn.model_selection.StratifiedKFold` if labels are whole numbers or
        text, else of ``KFold``. An iterable has indices among the labelled rows.
    missing_label : {"auto", -1, None}, default="auto"
        Meaning of the number -1 in y, as in ``AutoencoderClassifier``. For
        ``AutoencoderRegressor`` set it to None, as -1 is a number.

    See Also
    --------
    AutoencoderClassifier, AutoencoderRegressor

    Examples
    --------
    >>> from sklearn_ae import SemiSupervisedSplit
    >>> y = [0, 1, None, None, 1, 0]
    >>> for train, test in SemiSupervisedSplit(2).split(y, y):
    ...     print(train, test)
    [2 3 4 5] [0 1]
    [0 1 2 3] [4 5]
    """

    def __init__(self, cv=5, *, missing_label="auto"):
        self.cv = cv
        self.missing_label = missing_label

    def split(self, X, y, groups=None):
        """Generate indices of training and test rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; only their number counts.
        y : array-like of shape (n_samples,)
            Labels, some of them missing.
        groups : array-like of shape (n_samples,), default=None
            Groups for ``cv``.

        Yields
        ------
        train : ndarray
            Indices of training rows, all rows without a label among them.
        test : ndarray
            Indices of test rows.

        Raises
        ------
        ValueError
            If y has no labels, or too few for ``cv``.
        """
        labels, rows = self._labels(y)
        unlabelled = np.flatnonzero(~labels.labelled)
        if groups is not None:
            groups = _safe_indexing(groups, rows)
        cv = check_cv(self.cv, labels.values, classifier=True)
        for train, test in cv.split(rows, labels.values, groups):
            yield np.sort(np.concatenate([rows[train], unlabelled])), rows[test]

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of splits.

        Parameters
        ----------
        X, y, groups
            As of ``split``, for a ``cv`` whose number of splits depends on them.

        Returns
        -------
        n_splits : int
        """
        if y is None:
            return check_cv(self.cv).get_n_splits(X, y, groups)
        labels, rows = self._labels(y)
        if groups is not None:
            groups = _safe_indexing(groups, rows)
        cv = check_cv(self.cv, labels.values, classifier=True)
        return cv.get_n_splits(rows, labels.values, groups)

    def _labels(self, y):
        """Return the labels of y and the indices of the rows that have one."""
        validate_parameter_constraints(
            {"missing_label": MISSING_LABELS},
            {"missing_label": self.missing_label},
            caller_name="SemiSupervisedSplit",
        )
        # In continuous labels -1 is a number.
        missing_label = None if _is_continuous(y) else self.missing_label
        labels = read_labels(y, missing_label)
        if not labels.labelled.any():
            raise ValueError("y has no labels to test on: no row has one.")
        return labels, np.flatnonzero(labels.labelled)


def _is_continuous(y):
    """Return True if y has a finite number that is not whole."""
    try:
        y = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return False
    y = y[np.isfinite(y)]
    return bool((y != np.round(y)).any())
