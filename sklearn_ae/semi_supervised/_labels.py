"""Labels: missing ones, encoded classes, stratified hold-out, merging of equal rows."""

import math
import warnings
from numbers import Integral, Real
from textwrap import shorten
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.utils import _safe_indexing, column_or_1d
from sklearn.utils._param_validation import Options, StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from sklearn_ae._validation import LARGEST_WEIGHT, refuse_masked
from sklearn_ae.tables._rows import merge_equal_rows

UNLABELLED = -1
# Text that numpy makes of a missing label beside text.
MISSING_AS_TEXT = {"-1", "nan", "None", "<NA>"}
# A million rows of this weight count for a millionth of the heaviest row.
MIN_WEIGHT_RATIO = 1e-12
MISSING_LABELS = [StrOptions({"auto"}), Options(Integral, {UNLABELLED}), None]


class Labels(NamedTuple):
    """Labels of some rows.

    Attributes
    ----------
    labelled : ndarray of shape (n_samples,), bool
        True for a row with a label.
    values : ndarray of shape (n_labelled,)
        Labels of these rows, in the dtype that they have without missing ones.
    missing_as : set
        ``UNLABELLED`` if a label is missing as -1, None if as None, NaN or NA.
    """

    labelled: np.ndarray
    values: np.ndarray
    missing_as: set


def read_labels(y, missing_label, classes=None):
    """Return the ``Labels`` of y.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
    missing_label : {"auto", -1, None}
        As of ``AutoencoderClassifier``.
    classes : ndarray of shape (n_classes,), optional
        With "auto", -1 is a class if it is among them.
    """
    labelled, values = _present(y)
    missing_as = set() if labelled.all() else {None}
    marked = _are_minus_one(values)
    if marked.any() and not _is_class(values[~marked], missing_label, classes):
        missing_as.add(UNLABELLED)
        labelled[labelled] = ~marked
        values = values[~marked]
    return Labels(labelled, _of_one_kind(values, y), missing_as)


def encode_classes(y, classes=None, missing_label="auto"):
    """Encode labels as class indices, with -1 for a missing label.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
    classes : ndarray of shape (n_classes,), optional
        Sorted classes; None takes those of y.
    missing_label : {"auto", -1, None}
        As of ``AutoencoderClassifier``.

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
    labels = read_labels(y, missing_label, classes)
    values = labels.values
    if values.dtype.kind == "f":
        refuse_infinite(values)
    if len(values):
        check_classification_targets(values)
    found, counts = np.unique(values, return_counts=True)
    if classes is None:
        classes = found
        _warn_of_two_readings(labels, found, counts, missing_label)
        if len(classes) < 2:
            raise ValueError(
                "y must have labels of two classes or more; it has "
                f"{len(classes)} class(es): {classes.tolist()}. Rows without a label: "
                f"{len(labels.labelled) - len(values)} of {len(labels.labelled)} "
                f"(None, NaN, NA{_minus_one(missing_label)}). In cross-validation, "
                "SemiSupervisedSplit gives each fold its share of the labels; in "
                "partial_fit, pass all classes."
            )
    elif unknown := sorted(set(found.tolist()) - set(classes.tolist()), key=str):
        raise ValueError(
            f"y has the label {unknown[0]!r}, which is not one of the classes "
            f"{classes.tolist()}: pass all in classes at the first partial_fit, and "
            f"mark missing labels by None, NaN, NA{_minus_one(missing_label)}."
        )
    target = np.full(len(labels.labelled), UNLABELLED, dtype=np.int64)
    target[labels.labelled] = np.searchsorted(classes, values)
    return target, classes


def read_classes(classes, missing_label):
    """Return sorted classes (n_classes,) from the argument of ``partial_fit``."""
    labels = read_labels(classes, None)
    if labels.missing_as:
        raise ValueError("classes has None, NaN or NA, which are no class.")
    if missing_label == UNLABELLED and UNLABELLED in labels.values.tolist():
        raise ValueError(
            "classes has -1, but with missing_label=-1 it is no label: leave it out "
            "or set missing_label=None."
        )
    return np.unique(labels.values)


def all_classes(fitted, classes, missing_label):
    """Return the classes of the first ``partial_fit`` or of its argument, or None."""
    if classes is None:
        return fitted
    classes = read_classes(classes, missing_label)
    if fitted is not None and not np.array_equal(classes, fitted):
        raise ValueError(
            f"classes={classes.tolist()} are not those of the first call: "
            f"{fitted.tolist()}."
        )
    if len(classes) < 2:
        raise ValueError(f"classes={classes.tolist()} must have two classes or more.")
    return classes


def refuse_empty_class(classes, target):
    """Raise ValueError if no row has the index of a class as its target."""
    empty = np.setdiff1d(np.arange(len(classes)), target)
    if len(empty):
        name = classes.tolist()[empty[0]]
        raise ValueError(
            f"sample_weight is zero for all rows of class {name!r}, or nothing "
            "beside the largest: give them weight, or leave them out."
        )


def encode_numbers(y):
    """Return y as float64 (n_samples,), with NaN for missing numbers."""
    present, values = _present(y)
    numbers = np.full(len(present), np.nan)
    try:
        if values.dtype.kind in "mM":
            raise TypeError("dates are no numbers")
        with np.errstate(over="ignore"):
            numbers[present] = values.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"y must be numbers, NaN where missing; got {shorten(repr(y), 80)}."
        ) from error
    refuse_infinite(numbers)
    if not present.any():
        raise ValueError("y has no numbers: all rows are unlabelled (NaN).")
    return numbers


def safe_exponent(y):
    """Return n for which y / 2**n has finite squares above zero; 0 for ordinary y."""
    exponent = math.frexp(np.abs(y).max())[1]
    # The square root of float64's range, and its square root again for sums.
    return exponent if abs(exponent) > 256 else 0


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


# -- missing labels ------------------------------------------------------------------


def _present(y):
    """Return a mask of the rows that are not None, NaN or NA, and their values."""
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    refuse_masked(y, "y")
    if hasattr(y, "columns"):
        # As of an array, but the column of a frame keeps its dtype.
        column_or_1d(np.broadcast_to(0, y.shape), warn=True)
        y = _safe_indexing(y, 0, axis=1)
    is_pandas = isinstance(y, pd.Series | pd.Index | pd.api.extensions.ExtensionArray)
    if is_pandas:
        # numpy would turn integers beside NA into floats.
        present = ~np.asarray(pd.isna(y))
        values = np.asarray(y[present])
    else:
        if hasattr(y, "to_list"):  # of polars
            y = y.to_list()
        # As objects, the items of a list keep their types beside None, NaN and -1.
        values = np.asarray(y, dtype=None if hasattr(y, "dtype") else object)
        present = np.ones(len(values), dtype=bool)
    values = column_or_1d(values, warn=True)
    if values.dtype.kind not in "biufUSOmM":
        values = values.astype(object)
    is_missing = pd.isna(values)
    present[present] = ~is_missing
    return present, values[~is_missing]


def _are_minus_one(values):
    if values.dtype.kind in "if":
        return values == UNLABELLED
    if values.dtype.kind != "O":
        return np.zeros(len(values), dtype=bool)
    # The text "-1" is a label.
    return np.array(
        [isinstance(v, Real) and v == UNLABELLED for v in values], dtype=bool
    )


def _is_class(others, missing_label, classes):
    """Return True if -1, beside other values, is a class."""
    if missing_label != "auto":
        return missing_label is None
    if classes is not None:
        return UNLABELLED in classes.tolist()
    return len(others) > 0 and np.all(others == 1)


def _minus_one(missing_label):
    return "" if missing_label is None else " and -1"


def _of_one_kind(values, y):
    """Return objects, all numbers or all text, in the dtype of such a y."""
    if values.dtype != object:
        return values
    is_text = np.array([isinstance(v, str) for v in values], dtype=bool)
    if is_text.any() and not is_text.all():
        raise ValueError(
            f"y has labels of two kinds, such as {values[is_text][0]!r} and "
            f"{values[~is_text][0]!r}: use text or numbers, and None for no label."
        )
    are_numbers = all(isinstance(v, Real | np.bool_) for v in values)
    # An array of text as objects stays one, as in scikit-learn's classifiers.
    is_plain = are_numbers or (is_text.all() and not hasattr(y, "dtype"))
    return np.array(values.tolist()) if is_plain and len(values) else values


def _warn_of_two_readings(labels, found, counts, missing_label):
    """Warn if the classes found would be others by another reading of y."""
    is_number = found.dtype.kind in "if"
    text = MISSING_AS_TEXT & set(found.tolist() if found.dtype.kind in "OU" else ())
    if text and missing_label is not None:
        reading = (
            f"y has the text {min(text)!r}, which is taken as a class: numpy makes "
            "text of -1, NaN and None beside text. Set missing_label=None if it is a "
            "class, else use an array of objects, with None for no label."
        )
    elif missing_label != "auto" or not is_number:
        return
    elif found.tolist() == [UNLABELLED, 1]:
        reading = (
            "y has the labels -1 and 1 alone, which are taken as two classes. Set "
            "missing_label=None if they are, or missing_label=-1 if -1 means no label."
        )
    elif beside := _doubtful_neighbour(labels, found, counts):
        reading = (
            f"y has -1 beside {beside}, and it is taken as no label. Set "
            "missing_label=-1 if that is right, or missing_label=None if it is a class."
        )
    else:
        return
    warnings.warn(reading, UserWarning, stacklevel=2)


def _doubtful_neighbour(labels, found, counts):
    """Return the labels beside which -1, taken as no label, may be a class."""
    if UNLABELLED not in labels.missing_as:
        return ""
    if None in labels.missing_as:
        return "None, NaN or NA"
    if (found < 0).any():
        return f"the class {found[0]}"
    n_unlabelled = len(labels.labelled) - len(labels.values)
    is_rare = found.tolist() == [0, 1] and n_unlabelled <= counts.max()
    return "0 and 1, one of them as frequent" if is_rare else ""


# -- rows ----------------------------------------------------------------------------


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
    # Leave-one-out residuals divide by one minus a row's share of the weight.
    mass = np.maximum(mass, MIN_WEIGHT_RATIO * mass.max())
    # Ratios alone count. With a median of one, penalties have the strength that they
    # have without weights, unless most rows repeat.
    unit = np.median(mass)
    with_label = MergedRows(X[rows[distinct]], mass / unit, target[rows[distinct]])
    rows = np.flatnonzero(~labelled & (weight > 0))
    if not len(rows):
        return with_label, MergedRows(X[:0], np.ones(0))
    distinct, mass = merge_equal_rows(X[rows], weight[rows], seed)
    return with_label, MergedRows(X[rows[distinct]], mass / unit)


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
    bad = ~((weights >= 0) & np.isfinite(weights))
    if bad.any() or not weights.any():
        i = bad.argmax()
        raise ValueError(
            f"class_weight has {weights[i]!s} for class {classes.tolist()[i]!r}; class "
            "weights must be finite, 0 or above, and not all 0."
        )
    if not 1 / LARGEST_WEIGHT <= weights.max() <= LARGEST_WEIGHT:
        weights = np.ldexp(weights, -math.frexp(weights.max())[1])
    # The logarithm is taken, and a class may have weight 0.
    return np.maximum(weights, weights.max() * np.finfo(np.float32).tiny)
