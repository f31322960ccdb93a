"""Validation of ``error_bound`` and of the cells that it is to hold for."""

from numbers import Integral

import numpy as np
import pandas as pd


def bounds_of_columns(error_bound, names, n_features):
    """Return bounds, float64, of shape () or (n_features,), of any value.

    Parameters
    ----------
    error_bound : float, array-like of shape (n_features,) or Series
        A Series is aligned with the names of the columns, if they have names.
    names : ndarray of shape (n_features,) or None
    n_features : int

    Raises
    ------
    ValueError
        For other than numbers, another shape, or other names.
    """
    bound = error_bound
    if isinstance(bound, pd.Series) and names is not None:
        if set(bound.index) != set(names):
            raise ValueError(
                f"error_bound is a Series of {list(bound.index)}, but the columns of X "
                f"are {list(names)}."
            )
        bound = bound[names]
    try:
        bound = np.asarray(bound, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            "error_bound must be one number or one for each column of X, got "
            f"{error_bound!r}."
        ) from error
    if bound.shape not in ((), (n_features,)):
        raise ValueError(
            f"error_bound must be one number or {n_features}, one for each column of "
            f"X, got an array of shape {bound.shape}."
        )
    return bound


def refuse_rounded(X, given):
    """Refuse integers that were rounded in the conversion to X (n, d), float64.

    ``given`` is X before it: floats of up to 64 bits have not been rounded.
    """
    large = (np.abs(X) > 2**53).any(axis=0)
    rounded = large & ~_were_float64(given) if large.any() else large
    if rounded.any():
        raise ValueError(
            f"Column {int(np.argmax(rounded))} of X has integers beyond 2**53, which "
            "float64 rounds: no error_bound can be kept. Divide it, or leave it out."
        )


def _were_float64(given):
    """Return True for columns that float64 holds, of shape (d,), or () if all do."""
    if hasattr(given, "dtypes") and object not in list(given.dtypes):
        return np.array([_is_float64(dtype) for dtype in given.dtypes])
    if hasattr(given, "dtype") and given.dtype != object:
        return np.array(_is_float64(given.dtype))
    cells = np.asarray(given, dtype=object)
    return np.array([not any(map(_is_large_integer, c)) for c in cells.T])


def _is_large_integer(cell):
    return isinstance(cell, Integral) and abs(cell) > 2**53


def _is_float64(dtype):
    """Return True for floats of up to 64 bits, of numpy, pandas or polars."""
    is_long = getattr(dtype, "itemsize", 8) > 8
    return "float" in str(dtype).lower() and not is_long
