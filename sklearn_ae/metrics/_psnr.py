"""Peak signal-to-noise ratio."""

import numpy as np
from scipy.special import logsumexp

from sklearn_ae._input_shape import folded_shape
from sklearn_ae.metrics._checks import blocks, mean_or_each, two_tables, value_range


def peak_signal_noise_ratio(
    X_true, X_pred, *, input_shape=None, data_range, average=True
):
    """Peak signal-to-noise ratio (PSNR) of reconstructed rows, in dB.

    The PSNR of a row is 10 log10(range² / mean squared error); higher is better. The
    mean over rows is taken in dB; scorers pool the squared errors instead, see
    :func:`~sklearn_ae.metrics.make_reconstruction_scorer`.

    Parameters
    ----------
    X_true : array-like of shape (n_samples, n_features)
        Original rows, numeric and finite.
    X_pred : array-like of shape (n_samples, n_features)
        Reconstructed rows.
    input_shape : tuple of int, default=None
        Shape that rows were flattened from. It is validated, but PSNR does not depend
        on it.
    data_range : float or pair of float
        Range of possible values, (low, high) or its width, such as 255 for bytes. It is
        not inferred from the rows.
    average : bool, default=True
        If True, return the mean over rows, else one value per row.

    Returns
    -------
    psnr : float or ndarray of shape (n_samples,), float64
        PSNR in dB. It is inf for a row that equals its reconstruction; the mean is then
        inf too.

    Raises
    ------
    TypeError
        If a parameter is of the wrong type.
    ValueError
        If X_true and X_pred are not two finite tables of the same shape, if
        ``data_range`` is not of positive width, or if ``input_shape`` does not multiply
        to n_features.

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
    errors, width = _log_errors(X_true, X_pred, input_shape, data_range)
    return mean_or_each(_decibels(errors, width), average)


def pooled_psnr(X_true, X_pred, *, input_shape=None, data_range):
    """Return the PSNR of the mean squared error of all rows, in dB.

    It is finite: an error of zero counts as float64's smallest number.
    """
    errors, width = _log_errors(X_true, X_pred, input_shape, data_range)
    pooled = logsumexp(errors) - np.log(len(errors))
    smallest = 2 * np.log(np.finfo(float).smallest_subnormal)
    return float(_decibels(max(pooled, smallest), width))


def _log_errors(X_true, X_pred, input_shape, data_range):
    """Return the natural logarithm of each row's mean squared error; range's width."""
    X_true, X_pred = two_tables(X_true, X_pred)
    width = psnr_width(X_true.shape[1], input_shape=input_shape, data_range=data_range)
    errors = [_log_mse(*pair) for pair in blocks(X_true, X_pred)]
    return np.concatenate(errors), width


def _log_mse(X_true, X_pred):
    # Halves of finite numbers have a finite difference; in units of a row's largest,
    # squares neither overflow nor vanish.
    error = np.abs(X_true / 2 - X_pred / 2)
    largest = error.max(axis=1)
    unit = np.where(largest > 0, largest, 1)
    # A row without an error has the logarithm -inf.
    with np.errstate(divide="ignore"):
        mean_square = np.log(np.square(error / unit[:, None]).mean(axis=1))
    return mean_square + 2 * (np.log(unit) + np.log(2))


def _decibels(log_mse, width):
    return 10 / np.log(10) * (2 * np.log(width) - log_mse)


def psnr_width(n_features, *, input_shape=None, data_range):
    """Validate the parameters; return the width of the range of values."""
    if input_shape is not None:
        folded_shape(input_shape, n_features)
    low, high = value_range(data_range)
    return high - low
