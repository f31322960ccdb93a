"""Validation, shapes and value ranges of the displays."""

import numpy as np
from sklearn.utils import check_array

from sklearn_ae._input_shape import folded_shape
from sklearn_ae._validation import refuse_masked


def checked_rows(X, name):
    """Validate rows; return an array (n_samples, n_features) of finite numbers."""
    refuse_masked(X, name)
    return check_array(X, input_name=name)


def range_of(X):
    """Return minimum and maximum of X; they differ by 1 if X is constant."""
    low, high = float(np.min(X)), float(np.max(X))
    return (low, high) if low < high else (low, low + 1)


def scale_for(value_range, X):
    """Return ``value_range``, or the range of X if it is None."""
    return range_of(X) if value_range is None else value_range


def shape_for(estimator, input_shape):
    """Return ``input_shape``, or the estimator's parameter if it is None."""
    if input_shape is not None:
        return input_shape
    return getattr(estimator, "input_shape", None)


def drawn_shape(input_shape, n_features):
    """Return (C, L) of curves or (C, H, W) of an image; None is one curve.

    Raises
    ------
    ValueError
        If the shape does not multiply to n_features, or if an image has neither 1 nor 3
        channels.
    """
    input_shape = (n_features,) if input_shape is None else input_shape
    shape = folded_shape(input_shape, n_features)
    if len(shape) == 3 and shape[0] not in (1, 3):
        raise ValueError(
            f"input_shape={input_shape!r} is an image of {shape[0]} channels: only 1 "
            "(grey) or 3 (colour) can be drawn. Construct the display from the columns "
            "of one or three channels."
        )
    return shape


def pictures(rows, shape, scale):
    """Return images for ``imshow``: (n, H, W), or (n, H, W, 3) between 0 and 1.

    Parameters
    ----------
    rows : ndarray of shape (n, C * H * W)
    shape : (C, H, W)
    scale : (float, float)
        Values drawn black and white.
    """
    images = rows.reshape(-1, *shape)
    if shape[0] == 1:
        return images[:, 0]
    low, high = scale
    return np.moveaxis(np.clip((images - low) / (high - low), 0, 1), 1, -1)
