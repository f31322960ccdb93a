"""Which rows have a label, what their classes are, and which of them to judge by."""

from numbers import Real
from textwrap import shorten
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.utils import _safe_indexing, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from sklearn_ae.tables._rows import merge_equal_rows

UNLABELLED = -1


def encoded_classes(y, classes=None):
    """Number of each row's class, -1 where it has no label, and the classes.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        None, NaN, and -1 in numbers, are no label. Where -1 and 1 are all there is,
        they are two classes: with one class there would be nothing to tell.
    classes : ndarray of shape (n_classes,), optional
        Known before.

    Returns
    -------
    target : ndarray of shape (n_samples,), int64
    classes : ndarray of shape (n_classes,)

    Raises
    ------
    ValueError
        For infinite or continuous labels, fewer than two classes, or a label that is
        not among the known classes.
    """
    y = _one_column(y)
    labelled = _are_labels(y, classes)
    known = _homogeneous(y[labelled])
    if len(known):
        check_classification_targets(known)
    found = np.unique(known)
    if classes is None:
        classes = found
        if len(classes) < 2:
            raise ValueError(
                "y must have labels of two classes or more to be told apart; it has "
                f"{len(classes)} class(es): {classes.tolist()}. None, NaN and the "
                "number -1 are no label. In partial_fit, name all in classes."
            )
    elif unknown := sorted(set(found.tolist()) - set(classes.tolist()), key=str):
        raise ValueError(
            f"y has the label {unknown[0]!r}, which is not one of the classes "
            f"{classes.tolist()}: name all in classes at the first partial_fit."
        )
    target = np.full(len(y), UNLABELLED, dtype=np.int64)
    target[labelled] = np.searchsorted(classes, known)
    return target, classes


def labelled_rows(y, classes=None):
    """Which rows of y have a label (n_samples,), bool; with classes, or a number."""
    return _are_labels(_one_column(y), classes)


def encoded_numbers(y):
    """Numbers (n_samples,), float64, NaN where there is none."""
    y = _one_column(y)
    try:
        y = np.where(pd.isna(y), np.nan, y).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"y must be numbers, NaN where there is none; got {shorten(repr(y), 80)}."
        ) from error
    refuse_infinite(y)
    if np.isnan(y).all():
        raise ValueError("y has no numbers: all rows are unlabelled (NaN).")
    return y


def refuse_infinite(y):
    """Refuse what no label can be."""
    if np.isinf(y).any():
        raise ValueError("Input y contains infinity; rows without a label have NaN.")


def stratified_holdout(target, n):
    """Labelled rows (n,) to hold out: of each class its share, from the front.

    Rows are sorted by their rank within the class over its size. The last row of a
    class is never among them.
    """
    rank, size = np.zeros(len(target)), np.zeros(len(target))
    for one in np.unique(target):
        of_it = np.flatnonzero(target == one)
        rank[of_it], size[of_it] = np.arange(len(of_it)), len(of_it)
    share = np.where(rank < size - 1, (rank + 0.5) / size, np.inf)
    first = np.argsort(share, kind="stable")[:n]
    return np.sort(first[np.isfinite(share[first])])


def _one_column(y):
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    if isinstance(y, pd.Series) and isinstance(y.dtype, pd.CategoricalDtype):
        y = y.astype(object)
    if not hasattr(y, "dtype") and np.asarray(y).dtype.kind in "US":
        # A list of text: None, NaN and -1 in it would become text.
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
    # Not text that says so.
    return np.array([isinstance(v, Real) and v == UNLABELLED for v in y], dtype=bool)


def _are_two_classes(others, marked, classes):
    """Whether -1 is the name of a class."""
    if classes is not None:
        return UNLABELLED in classes.tolist()
    return marked.any() and len(others) > 0 and all(v == 1 for v in others)


def _homogeneous(labels):
    """Labels in the dtype that they would have had without missing ones."""
    return np.array(labels.tolist()) if labels.dtype == object else labels


class MergedRows(NamedTuple):
    """Distinct rows (n, d), their weights (n,) and, of labelled ones, targets (n,)."""

    X: np.ndarray
    weight: np.ndarray
    target: np.ndarray | None = None

    def part(self, rows):
        """Some of the labelled rows."""
        return MergedRows(*(part[rows] for part in self))


def merged(X, target, labelled, weight, seed):
    """Labelled and unlabelled rows, equal ones merged, in an order that is theirs."""
    rows = np.flatnonzero(labelled & (weight > 0))
    if not len(rows):
        raise ValueError(
            "No row of X has a label and a sample_weight above zero: there is nothing "
            "to learn to predict."
        )
    both = np.column_stack([X[rows], target[rows]])
    some, mass = merge_equal_rows(both, weight[rows], seed)
    with_label = MergedRows(X[rows[some]], mass, target[rows[some]])
    others = np.flatnonzero(~labelled & (weight > 0))
    if not len(others):
        return with_label, MergedRows(X[:0], np.ones(0))
    some, mass = merge_equal_rows(X[others], weight[others], seed)
    return with_label, MergedRows(X[others[some]], mass)


def some_rows(rows, *tables):
    """Some rows of each table, of whatever kind; of None, None."""
    return [None if t is None else _safe_indexing(t, rows) for t in tables]
