"""Peak signal-to-noise ratio."""

import numpy as np

from sklearn_ae._input_shape import folded_shape
from sklearn_ae.metrics._checks import (
    mean_or_each,
    optional_module,
    row_pairs,
    two_tables,
    value_range,
)


def peak_signal_noise_ratio(
    X_true, X_pred, *, input_shape=None, data_range, average=True
):
    """Peak signal-to-noise ratio (PSNR) of rows and their reconstruction, in dB.

    A row's is 10 log10(range² / mean squared error), as scikit-image computes it:
    higher is better. The mean over rows is that of their decibels, not that of their
    squared errors.

    Parameters
    ----------
    X_true : array-like of shape (n_samples, n_features)
        Rows, numeric and finite.
    X_pred : array-like of shape (n_samples, n_features)
        Their reconstruction.
    input_shape : tuple of int, default=None
        Shape that a row is folded to. The ratio does not depend on it: it is checked
        where it is given.
    data_range : float or pair of float
        Range of values that there can be, (low, high) or its width: 255 of bytes.
        It is not guessed from the rows.
    average : bool, default=True
        Whether to return the mean over rows or one number for each.

    Returns
    -------
    psnr : float or ndarray of shape (n_samples,), float64
        In dB; inf of a row that equals its reconstruction, and then the mean is inf.

    Raises
    ------
    ImportError
        If scikit-image is not installed.
    TypeError
        If a parameter is of the wrong type.
    ValueError
        If X_true and X_pred are not two finite tables of the same shape, or if
        ``data_range`` is no range or ``input_shape`` does not fit.

    References
    ----------
    Huynh-Thu, Q. and Ghanbari, M. (2008). Scope of validity of PSNR in image/video
    quality assessment. Electronics Letters 44(13).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ae.metrics import peak_signal_noise_ratio
    >>> X = np.full((2, 4), 100.0)
    >>> peak_signal_noise_ratio(X, X + [[1], [10]], data_range=100, average=False)
    array([40., 20.])
    """
    X_true, X_pred = two_tables(X_true, X_pred)
    width = psnr_width(X_true.shape[1], input_shape=input_shape, data_range=data_range)
    psnr = optional_module("skimage.metrics", "PSNR").peak_signal_noise_ratio
    # Without an error the ratio is infinite: that is no accident.
    with np.errstate(divide="ignore"):
        values = [
            psnr(one, other, data_range=width)
            for one, other in row_pairs(X_true, X_pred, -1)
        ]
    return mean_or_each(np.array(values), average)


def psnr_width(n_features, *, input_shape=None, data_range):
    """Width of the range of values; parameters are checked."""
    if input_shape is not None:
        folded_shape(input_shape, n_features)
    low, high = value_range(data_range)
    return high - low
