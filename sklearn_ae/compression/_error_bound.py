"""How far a cell may be off: the bounds of columns, and cells that have none."""

import numpy as np
import pandas as pd


def bounds_of_columns(error_bound, names, n_features):
    """Bounds, float64, of shape () or (n_features,); not yet held to their range.

    Parameters
    ----------
    error_bound : float, array-like of shape (n_features,) or Series
        A Series goes by the names of the columns, where there are any.
    names : ndarray of shape (n_features,) or None
    n_features : int

    Raises
    ------
    ValueError
        For what is no numbers, another number of them, or other names.
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
    except (TypeError, ValueError) as error:
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
    """Refuse integers that X (n, d), float64, has rounded.

    ``given`` is what X was made of: only columns that were no floats there can be so.
    """
    rounded = ~_were_floats(given) & (np.abs(X) > 2**53).any(axis=0)
    if rounded.any():
        raise ValueError(
            f"Column {int(np.argmax(rounded))} of X has integers beyond 2**53, which "
            "float64 rounds: no error_bound can be kept. Divide it, or leave it out."
        )


def _were_floats(given):
    """Of each column, (d,), or of all, ()."""
    if hasattr(given, "dtypes"):
        return np.array(["float" in str(dtype).lower() for dtype in given.dtypes])
    return np.array(np.asarray(given).dtype.kind == "f")
