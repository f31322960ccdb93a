"""Tables, codes and weights that estimators are given, checked in one place."""

import datetime
import math
import os

import numpy as np
import pandas as pd
from sklearn.utils import check_array
from sklearn.utils.validation import _check_sample_weight, validate_data

FLOATS = [np.float64, np.float32]
N_NAMED_COLUMNS = 3  # the longest list of columns that a message can be read with
# Sums and squares of weights between its inverse and itself are in range of float64.
LARGEST_WEIGHT = 2.0**256
# Added to the largest weight, a smaller share of it changes no sum.
SMALLEST_SHARE = np.finfo(np.float64).eps

_IMPUTE = (
    "Impute them first, by sklearn.impute.SimpleImputer or KNNImputer in a Pipeline, "
    "or drop their rows."
)


def checked_table(estimator, X, *, dtype=FLOATS, reset=False, min_rows=1):
    """Return X as an array (n_samples, n_features) of finite numbers.

    scikit-learn's ``validate_data``, but cells that are not finite numbers are named by
    their columns, and the mask of a masked array is not dropped.

    Parameters
    ----------
    estimator : estimator
        It gets ``n_features_in_`` and ``feature_names_in_`` if ``reset``.
    X : array-like of shape (n_samples, n_features)
    dtype : dtype, list of dtype or "numeric"
        As of ``validate_data``.
    reset : bool
        True for the first rows of a fit.
    min_rows : int

    Raises
    ------
    ValueError
        For missing, masked or infinite cells, text, dates and too few rows.
    TypeError
        For sparse input and other objects.
    """
    X = _explained(
        type(estimator).__name__,
        X,
        lambda: validate_data(
            estimator, X, dtype=dtype, reset=reset, ensure_min_samples=min_rows
        ),
    )
    if reset:
        _refuse_ranges(X, getattr(estimator, "feature_names_in_", range(X.shape[1])))
    return X


def _refuse_ranges(X, names):
    """ValueError for a column whose range is past float64: it can't be scaled."""
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64)
        # Cells past float64 in a wider dtype are named where they are converted.
        is_finite = np.isfinite(high - low) | np.isinf(low) | np.isinf(high)
    if not is_finite.all():
        i = int(np.argmin(is_finite))
        raise ValueError(
            f"Column {names[i]!r} of X is too large to scale: its range from "
            f"{low[i]:g} to {high[i]:g} is past float64. Divide it by a constant."
        )


def checked_codes(estimator, Z):
    """Return codes as an array (n_samples, n_components) of finite numbers."""
    return _explained(
        type(estimator).__name__,
        Z,
        lambda: check_array(Z, dtype=FLOATS, input_name="X"),
    )


def checked_weight(sample_weight, X, *, min_rows=0):
    """Sample weights (n_samples,) as non-negative float64; None if there are none.

    Weights that are lost beside the largest are zero. Extreme ones, whose sums would
    overflow or be zero, are divided by their mean.
    ValueError if fewer than ``min_rows`` are above zero.
    """
    if sample_weight is None:
        return None
    refuse_masked(sample_weight, "sample_weight")
    try:
        sample_weight = _check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
    except (TypeError, OverflowError) as error:
        raise ValueError(f"sample_weight must be finite numbers: {error}.") from error
    largest = sample_weight.max(initial=0)
    is_negligible = sample_weight < SMALLEST_SHARE * largest
    if is_negligible.any():
        sample_weight = np.where(is_negligible, 0, sample_weight)
    n_rows = np.count_nonzero(sample_weight)
    if n_rows < min_rows:
        raise ValueError(
            f"sample_weight is above zero for {n_rows} of the rows of X (a share of "
            f"the largest below {SMALLEST_SHARE:.1e} is none), while a minimum of "
            f"{min_rows} is required."
        )
    if largest and not 1 / LARGEST_WEIGHT <= largest <= LARGEST_WEIGHT:
        sample_weight = sample_weight / largest
        sample_weight /= sample_weight.mean()
    return sample_weight


def refuse_masked(values, name):
    """Raise ValueError for an array, or a list of them, with masked elements.

    numpy drops the mask, and with it the knowledge that a value is missing.
    """
    rows = values if isinstance(values, list | tuple) else [values]
    if any(isinstance(row, np.ma.MaskedArray) and np.ma.is_masked(row) for row in rows):
        ways_out = {
            "y": "y.astype(object).filled(None), or drop these rows",
            "sample_weight": "sample_weight.filled(0), or drop these rows",
        }
        filled = f"{name}.astype(float).filled(numpy.nan) and impute, or {name}.data"
        raise ValueError(
            f"{name} is a masked array with masked elements, which numpy would take "
            f"with the values below the mask. Use {ways_out.get(name, filled)}."
        )


def refuse_size(n_bytes, what):
    """ValueError if arrays are larger than the machine's memory.

    Where the system does not say its size, the limit is one TiB.
    """
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        memory = 2**40
    if n_bytes > memory:
        raise ValueError(
            f"{what} takes {n_bytes // 2**30:,} GiB or more; this machine has "
            f"{memory // 2**30:,} GiB. Set smaller numbers."
        )


def _explained(taker, X, convert):
    """``convert()``; errors of cells name columns, and the taker of X."""
    refuse_masked(X, "X")
    if dates := [name for name, dtype in _dtypes(X) if _is_date(dtype)]:
        raise ValueError(_date_message(dates))
    try:
        # scikit-learn's sum over all cells may overflow both ways.
        with np.errstate(over="ignore", invalid="ignore"):
            return convert()
    except (ValueError, TypeError, OverflowError) as error:
        if message := _cells_message(taker, X):
            raise ValueError(message) from None
        if isinstance(error, OverflowError):
            raise ValueError(str(error)) from error
        raise


def _dtypes(X):
    """Name and dtype of each column of a frame, or of an array that has dates."""
    if type(X) is np.ndarray:
        is_table = X.ndim == 2 and X.dtype.kind in "mM"
        return [(i, X.dtype) for i in range(X.shape[1])] if is_table else []
    if hasattr(X, "columns") and hasattr(X, "dtypes"):
        return list(zip(X.columns, X.dtypes, strict=True))
    return []


def _is_date(dtype):
    if hasattr(dtype, "is_temporal"):  # of polars
        return dtype.is_temporal()
    return getattr(dtype, "kind", "") in ("m", "M")


def _cells_message(taker, X):
    """Sentences on cells that are no finite numbers; empty if there are none."""
    missing, infinite, text, dates = {}, {}, [], []
    for name, cells in _columns(X):
        is_missing = _is_missing(cells)
        if is_missing.any():
            missing[name] = is_missing.sum()
        present = cells[~is_missing]
        if n_infinite := _n_infinite(present):
            infinite[name] = n_infinite
        if cells.dtype.kind in "OUSmM":
            if any(isinstance(c, str | bytes) and not _is_number(c) for c in present):
                text.append(name)
            elif any(isinstance(cell, _DATES) for cell in present):
                dates.append(name)
    if text:
        return (
            f"X has text in {_listed(text)}. Encode it first, by sklearn.preprocessing."
            "OneHotEncoder (OrdinalEncoder if it has an order) in a ColumnTransformer."
        )
    if dates:
        return _date_message(dates)
    if missing:
        return (
            f"X contains NaN or other missing cells: {_counted(missing)}. {taker} "
            f"takes none. {_IMPUTE}"
        )
    if infinite:
        return (
            f"X contains infinity, or numbers too large for float64: "
            f"{_counted(infinite)}. Clip them, or drop their rows."
        )
    return ""


def _columns(X):
    """Name and cells of each column of a table; nothing if X is no table."""
    names = getattr(X, "columns", None)
    if names is None or not hasattr(X, "dtypes"):
        try:
            X = X if isinstance(X, np.ndarray) else np.asarray(X, dtype=object)
        except ValueError:
            return
        names = range(X.shape[1]) if X.ndim == 2 else ()
    for i, name in enumerate(names):
        column = X.iloc[:, i] if hasattr(X, "iloc") else X[:, i]
        yield name, np.asarray(column)


_DATES = (
    datetime.date,
    datetime.time,
    datetime.timedelta,
    np.datetime64,
    np.timedelta64,
    pd.Period,
)


def _is_number(cell):
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True


def _is_missing(cells):
    missing = pd.isna(cells)
    if cells.dtype == object:
        missing |= np.array([cell is np.ma.masked for cell in cells], dtype=bool)
    return missing


def _n_infinite(cells):
    """Number of cells that float64 has no finite number for."""
    if cells.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.isinf(cells.astype(np.float64)).sum()
    return sum(map(_is_infinite, cells)) if cells.dtype == object else 0


def _is_infinite(cell):
    try:
        return not isinstance(cell, str | bytes) and math.isinf(cell)
    except OverflowError:  # of an integer
        return True
    except (TypeError, ValueError):
        return False


def _date_message(names):
    return (
        f"X has dates or durations in {_listed(names)}. Turn them into numbers first: "
        "a date into its year, month or weekday, or a duration into seconds."
    )


def _listed(names):
    """Names of some columns and the number of the others."""
    shown = ", ".join(repr(name) for name in names[:N_NAMED_COLUMNS])
    left = len(names) - N_NAMED_COLUMNS
    columns = "column" if len(names) == 1 else "columns"
    return f"{columns} {shown}" + (f" and {left} more" if left > 0 else "")


def _counted(counts):
    """Numbers of cells in columns, and the number of the other columns."""
    shown = list(counts.items())[:N_NAMED_COLUMNS]
    text = ", ".join(f"{n} in column {name!r}" for name, n in shown)
    left = len(counts) - N_NAMED_COLUMNS
    return text + (f", and some in {left} more" if left > 0 else "")
