"""Labels: missing ones, encoded classes, stratified hold-out, merging of equal rows."""

from numbers import Real
from textwrap import shorten
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.utils import _safe_indexing, column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from sklearn_ae._validation import refuse_masked
from sklearn_ae.tables._rows import merge_equal_rows

UNLABELLED = -1


def encode_classes(y, classes=None):
    """Encode labels as class indices, with -1 for a missing label.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        None, NaN and the number -1 are missing labels. If the only labels are -1 and 1,
        both are classes.
    classes : ndarray of shape (n_classes,), optional
        Sorted classes; None takes those of y.

    Returns
    -------
    target : ndarray of shape (n_samples,), int64
        Indices into ``classes``.
    classes : ndarray of shape (n_classes,)

    Raises
    ------
    ValueError
        If labels are infinite or continuous, if y has fewer than two classes, or if a
        label is not among ``classes``.
    """
    y = _one_column(y)
    labelled = _are_labels(y, classes)
    labels = _homogeneous(y[labelled])
    if len(labels):
        check_classification_targets(labels)
    found = np.unique(labels)
    if classes is None:
        classes = found
        if len(classes) < 2:
            raise ValueError(
                "y must have labels of two classes or more; it has "
                f"{len(classes)} class(es): {classes.tolist()}. None, NaN and the "
                "number -1 are missing labels. In partial_fit, pass all in classes."
            )
    elif unknown := sorted(set(found.tolist()) - set(classes.tolist()), key=str):
        raise ValueError(
            f"y has the label {unknown[0]!r}, which is not one of the classes "
            f"{classes.tolist()}: pass all in classes at the first partial_fit."
        )
    target = np.full(len(y), UNLABELLED, dtype=np.int64)
    target[labelled] = np.searchsorted(classes, labels)
    return target, classes


def has_label(y, classes=None):
    """Return a mask (n_samples,) of the rows whose label is not missing."""
    return _are_labels(_one_column(y), classes)


def encode_numbers(y):
    """Return y as float64 (n_samples,), with NaN for missing numbers."""
    y = _one_column(y)
    try:
        y = np.where(pd.isna(y), np.nan, y).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"y must be numbers, NaN where missing; got {shorten(repr(y), 80)}."
        ) from error
    refuse_infinite(y)
    if np.isnan(y).all():
        raise ValueError("y has no numbers: all rows are unlabelled (NaN).")
    return y


def refuse_infinite(y):
    """Raise ValueError for infinite labels."""
    if np.isinf(y).any():
        raise ValueError("Input y contains infinity; mark missing labels by NaN.")


def stratified_holdout(target, n):
    """Return sorted indices of at most n rows to hold out, stratified by class.

    Rows are taken in the order of their rank within the class over the class's size.
    The last row of a class is never held out.
    """
    rank, size = np.zeros(len(target)), np.zeros(len(target))
    for label in np.unique(target):
        rows = np.flatnonzero(target == label)
        rank[rows], size[rows] = np.arange(len(rows)), len(rows)
    share = np.where(rank < size - 1, (rank + 0.5) / size, np.inf)
    first = np.argsort(share, kind="stable")[:n]
    return np.sort(first[np.isfinite(share[first])])


def _one_column(y):
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    refuse_masked(y, "y")
    if isinstance(y, pd.Series) and isinstance(y.dtype, pd.CategoricalDtype):
        y = y.astype(object)
    if not hasattr(y, "dtype") and np.asarray(y).dtype.kind in "US":
        # numpy would turn None, NaN and -1 in a list of text into text.
        y = np.asarray(y, dtype=object)
    y = column_or_1d(y, warn=True)
    return y if y.dtype.kind in "biufUSO" else np.asarray(y, dtype=object)


def _are_labels(y, classes):
    labelled = ~pd.isna(y)
    if y.dtype.kind == "f":
        refuse_infinite(y)
    marked = _are_minus_one(y) & labelled
    if not _are_two_classes(y[labelled & ~marked], marked, classes):
        labelled &= ~marked
    return labelled


def _are_minus_one(y):
    if y.dtype.kind in "ifu":
        return y == UNLABELLED
    if y.dtype.kind != "O":
        return np.zeros(len(y), dtype=bool)
    # The text "-1" is a label.
    return np.array([isinstance(v, Real) and v == UNLABELLED for v in y], dtype=bool)


def _are_two_classes(others, marked, classes):
    """Return True if -1 is a class rather than a missing label."""
    if classes is not None:
        return UNLABELLED in classes.tolist()
    return marked.any() and len(others) > 0 and all(v == 1 for v in others)


def _homogeneous(labels):
    """Return labels in the dtype that they would have without missing ones."""
    return np.array(labels.tolist()) if labels.dtype == object else labels


class MergedRows(NamedTuple):
    """Distinct rows (n, d), their weights (n,) and, if labelled, targets (n,)."""

    X: np.ndarray
    weight: np.ndarray
    target: np.ndarray | None = None

    def select(self, rows):
        """Return the labelled rows of these indices."""
        return MergedRows(*(part[rows] for part in self))


def merge_rows(X, target, labelled, weight, seed):
    """Merge equal rows; return labelled and unlabelled ones, in seeded order.

    Rows of weight zero are left out. Rows that are equal but for their label stay
    distinct.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    target : ndarray of shape (n,)
    labelled : ndarray of shape (n,), bool
    weight : ndarray of shape (n,)
    seed : int

    Returns
    -------
    labelled, unlabelled : MergedRows

    Raises
    ------
    ValueError
        If no labelled row has a positive weight.
    """
    rows = np.flatnonzero(labelled & (weight > 0))
    if not len(rows):
        raise ValueError(
            "No row of X has a label and a sample_weight above zero: there is nothing "
            "to learn to predict."
        )
    both = np.column_stack([X[rows], target[rows]])
    distinct, mass = merge_equal_rows(both, weight[rows], seed)
    with_label = MergedRows(X[rows[distinct]], mass, target[rows[distinct]])
    rows = np.flatnonzero(~labelled & (weight > 0))
    if not len(rows):
        return with_label, MergedRows(X[:0], np.ones(0))
    distinct, mass = merge_equal_rows(X[rows], weight[rows], seed)
    return with_label, MergedRows(X[rows[distinct]], mass)


def select_rows(rows, *tables):
    """Return these rows of each array, list or frame; None stays None."""
    return [None if t is None else _safe_indexing(t, rows) for t in tables]


def class_weights(class_weight, classes, rows):
    """Return the weight of each class (n_classes,), all above 0.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        As of scikit-learn's classifiers.
    classes : ndarray of shape (n_classes,)
    rows : MergedRows
        Labelled ones.
    """
    weights = np.ones(len(classes))
    if isinstance(class_weight, dict):
        # A batch may lack some of the classes.
        weights = compute_class_weight(class_weight, classes=classes, y=classes)
    else:
        present = np.unique(rows.target)
        weights[present] = compute_class_weight(
            class_weight,
            classes=classes[present],
            y=classes[rows.target],
            sample_weight=rows.weight,
        )
    if weights.min() < 0:
        raise ValueError(f"class_weight={class_weight!r} has one below 0.")
    # The logarithm is taken, and a class may have weight 0.
    return np.maximum(weights, np.finfo(np.float32).tiny)
