"""Validation of the metrics' input, and their mean."""

import importlib
from numbers import Real

import numpy as np
from sklearn.utils import check_array

from sklearn_ae._validation import refuse_masked

INSTALL = 'pip install "sklearn-ae[images]"'


def optional_module(name, metric):
    """Import a module of the optional extra.

    Raises
    ------
    ImportError
        If it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{metric} needs {name}: {INSTALL}") from error


def two_tables(X_true, X_pred):
    """Validate both tables; return arrays (n_samples, n_features), dtypes kept.

    Raises
    ------
    ValueError
        If one is not 2-D, numeric and finite, or if their shapes differ.
    """
    refuse_masked(X_true, "X_true")
    refuse_masked(X_pred, "X_pred")
    X_true = check_array(X_true, input_name="X_true")
    X_pred = check_array(X_pred, input_name="X_pred")
    if X_true.shape != X_pred.shape:
        raise ValueError(
            "X_true and X_pred must have the same shape, got "
            f"{X_true.shape} and {X_pred.shape}. Pass rows and their reconstruction."
        )
    return X_true, X_pred


def row_pairs(X_true, X_pred, shape):
    """Yield each row and its reconstruction as float64 arrays of ``shape``."""
    for one, other in zip(X_true, X_pred, strict=True):
        yield one.astype(float).reshape(shape), other.astype(float).reshape(shape)


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
            "can have, such as 255, (-1, 1) or X.max() - X.min() of the training rows."
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
        return float(pair[0]), float(pair[1])
    raise TypeError(
        "data_range must be a number, the width of the range, or a pair (low, high), "
        f"got {data_range!r}."
    )


def _is_sequence(value):
    return isinstance(value, tuple | list) or (
        isinstance(value, np.ndarray) and value.ndim > 0
    )


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool)


def mean_or_each(values, average):
    """Return the mean as a float if ``average``, else ``values`` (n_samples,)."""
    return float(np.mean(values)) if average else values
