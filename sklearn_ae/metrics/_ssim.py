"""Structural similarity."""

from functools import partial
from numbers import Integral

import numpy as np

from sklearn_ae._input_shape import folded_shape
from sklearn_ae.metrics._checks import (
    mean_or_each,
    optional_module,
    row_pairs,
    two_tables,
    value_range,
)

# Side of the window and its standard deviation, in pixels (Wang et al., 2004).
WIN_SIZE, SIGMA = 11, 1.5
MIN_WIN_SIZE = 3
# scikit-image truncates the Gaussian at 3.5 sigma: a larger window would be cut.
MAX_WIN_SIZE = 43


def structural_similarity(
    X_true, X_pred, *, input_shape, data_range, win_size=None, average=True
):
    """Structural similarity (SSIM) of reconstructed rows.

    SSIM compares means, variances and covariance within a sliding window; it is 1 for
    equal images, and higher is better. It is scikit-image's
    ``structural_similarity(gaussian_weights=True, use_sample_covariance=False)``, with
    the paper's window: Gaussian, 11 x 11 pixels, with a standard deviation of 1.5
    pixels. It is averaged over channels and over the pixels at which the window lies
    inside the image.

    Parameters
    ----------
    X_true : array-like of shape (n_samples, n_features)
        Original rows, numeric and finite.
    X_pred : array-like of shape (n_samples, n_features)
        Reconstructed rows.
    input_shape : tuple of int
        (H, W) or (C, H, W) of an image, (L,) or (C, L) of a signal; rows are flattened
        in C order. Two numbers are (C, L) if the first is below 8. The window of a
        signal is 1-D.
    data_range : float or pair of float
        Range of possible values, (low, high) or its width, such as 255 for bytes. It is
        not inferred from the rows.
    win_size : int, default=None
        Side of the window in pixels, odd, from 3 to 43; its standard deviation is
        proportional to it. None is 11, or the largest odd number that fits the shortest
        side.
    average : bool, default=True
        If True, return the mean over rows, else one value per row.

    Returns
    -------
    ssim : float or ndarray of shape (n_samples,), float64
        SSIM, from -1 to 1.

    Raises
    ------
    ImportError
        If scikit-image is not installed.
    TypeError
        If a parameter is of the wrong type.
    ValueError
        If X_true and X_pred are not two finite tables of the same shape, if
        ``data_range`` is not of positive width, if ``input_shape`` does not multiply to
        n_features or has a side below 3, or if ``win_size`` is not odd or does not fit.

    References
    ----------
    Wang, Z., Bovik, A. C., Sheikh, H. R. and Simoncelli, E. P. (2004). Image quality
    assessment: from error visibility to structural similarity. IEEE Transactions on
    Image Processing 13(4).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from sklearn_ae.metrics import structural_similarity
    >>> X = load_digits().data
    >>> pca = PCA(n_components=16).fit(X[:900])
    >>> restored = pca.inverse_transform(pca.transform(X[900:]))
    >>> ssim = structural_similarity(
    ...     X[900:], restored, input_shape=(8, 8), data_range=16
    ... )
    >>> print(f"{ssim:.2f}")
    0.93
    """
    X_true, X_pred = two_tables(X_true, X_pred)
    shape, similarity = ssim_of_pair(
        X_true.shape[1],
        input_shape=input_shape,
        data_range=data_range,
        win_size=win_size,
    )
    values = [similarity(one, other) for one, other in row_pairs(X_true, X_pred, shape)]
    return mean_or_each(np.array(values), average)


def ssim_of_pair(n_features, *, input_shape, data_range, win_size=None):
    """Validate the parameters; return the rows' shape and the SSIM of two rows."""
    channels, *sides = folded_shape(input_shape, n_features)
    low, high = value_range(data_range)
    win_size = _window(min(sides), win_size, input_shape)
    settings = {"data_range": high - low, "win_size": win_size}
    return (channels, *sides), partial(_similarity, **settings)


def _similarity(one, other, *, data_range, win_size):
    return optional_module("skimage.metrics", "SSIM").structural_similarity(
        one,
        other,
        data_range=data_range,
        # With Gaussian weights scikit-image derives the window from sigma.
        sigma=SIGMA * win_size / WIN_SIZE,
        gaussian_weights=True,
        use_sample_covariance=False,
        channel_axis=0,
    )


def _window(side, win_size, input_shape):
    """Return the side of the window for images whose shortest side is ``side``."""
    if side < MIN_WIN_SIZE:
        raise ValueError(
            f"input_shape={input_shape!r} has a side of {side}, too short for a window "
            f"of {MIN_WIN_SIZE}: SSIM needs sides of {MIN_WIN_SIZE} or more."
        )
    if win_size is None:
        return min(WIN_SIZE, side - 1 + side % 2)
    if not isinstance(win_size, Integral) or isinstance(win_size, bool):
        raise TypeError(f"win_size must be an odd integer or None, got {win_size!r}.")
    if win_size % 2 == 0 or not MIN_WIN_SIZE <= win_size <= min(side, MAX_WIN_SIZE):
        raise ValueError(
            f"win_size={win_size!r} must be odd and from {MIN_WIN_SIZE} to "
            f"{min(side, MAX_WIN_SIZE)} for input_shape={input_shape!r}, or None."
        )
    return int(win_size)
