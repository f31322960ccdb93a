"""Validation of the metrics' input, and their mean."""

from numbers import Real

import numpy as np
from sklearn.utils import check_array

from sklearn_ae._validation import refuse_masked

# Cells of a block of rows: twice as many take a third longer in SSIM.
CELLS = 2**15
INSTALL = 'pip install "sklearn-ae[images]"'


def two_tables(X_true, X_pred):
    """Validate both tables; return arrays (n_samples, n_features), dtypes kept.

    Raises
    ------
    TypeError
        If one is sparse.
    ValueError
        If one is empty, masked, or not 2-D, numeric and finite, or if their shapes
        differ.
    """
    X_true = _table(X_true, "X_true")
    X_pred = _table(X_pred, "X_pred")
    if X_true.shape != X_pred.shape:
        raise ValueError(
            "X_true and X_pred must have the same shape, got "
            f"{X_true.shape} and {X_pred.shape}. Pass rows and their reconstruction."
        )
    return X_true, X_pred


def _table(X, name):
    refuse_masked(X, name)
    X = check_array(
        X,
        input_name=name,
        allow_nd=True,
        ensure_all_finite=False,
        ensure_min_samples=0,
        ensure_min_features=0,
    )
    if X.ndim > 2:
        raise ValueError(
            f"{name} of shape {X.shape} must be 2-D, one flat row per image: pass "
            f"{name}.reshape(len({name}), -1), with the channels first."
        )
    if X.size == 0:
        raise ValueError(
            f"{name} of shape {X.shape} is empty: there is no row to score."
        )
    # A longdouble can be beyond float64, in which metrics are computed.
    with np.errstate(over="ignore"):
        X = X.astype(float) if X.dtype == np.longdouble else X
    _refuse_infinite(X, name)
    return X


def _refuse_infinite(X, name):
    is_finite = np.isfinite(X)
    if is_finite.all():
        return
    row, column = np.argwhere(~is_finite)[0]
    found = "NaN" if np.isnan(X[row, column]) else X[row, column]
    raise ValueError(
        f"{name} contains {found} in row {row}, column {column}: metrics compare "
        "finite numbers. Leave out such rows, in both tables, or impute their cells."
    )


def blocks(X_true, X_pred):
    """Yield pairs of blocks of rows as float64 arrays that stay in the cache."""
    n_rows = max(1, CELLS // X_true.shape[1])
    for start in range(0, len(X_true), n_rows):
        rows = slice(start, start + n_rows)
        yield tuple(X[rows].astype(float, order="C") for X in (X_true, X_pred))


def value_range(data_range):
    """Return ``data_range`` as two floats (low, high).

    Parameters
    ----------
    data_range : float or pair of float
        A number is the width of a range that starts at 0.

    Raises
    ------
    TypeError
        If it is neither a number nor a pair of numbers.
    ValueError
        If it is None, or if its width is not positive and finite.
    """
    if data_range is None:
        raise ValueError(
            "data_range=None: the range of values is not inferred from the rows, since "
            "scores of two tables would not be comparable. Pass the range that values "
            "can have, such as 255, (-1, 1) or (X.min(), X.max()) of the training rows."
        )
    low, high = _ends(data_range)
    if not np.isfinite([low, high]).all() or not 0 < high - low < np.inf:
        raise ValueError(
            f"data_range={data_range!r} must be finite, and above 0 or an increasing "
            "pair (low, high): such as 255 or (-1, 1)."
        )
    return low, high


def _ends(data_range):
    pair = data_range if _is_sequence(data_range) else (0.0, data_range)
    if len(pair) == 2 and all(map(_is_number, pair)):
        return _float(pair[0]), _float(pair[1])
    raise TypeError(
        "data_range must be a number, the width of the range, or a pair (low, high), "
        f"got {data_range!r}."
    )


def _float(number):
    try:
        return float(number)
    except OverflowError:  # a Python integer above 1.8e308
        return np.inf


def _is_sequence(value):
    return isinstance(value, tuple | list) or (
        isinstance(value, np.ndarray) and value.ndim > 0
    )


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool)


def mean_or_each(values, average):
    """Return the mean as a float if ``average``, else ``values`` (n_samples,)."""
    return float(np.mean(values)) if average else values
