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

# Window and its standard deviation, in cells, of Wang et al.
WIN_SIZE, SIGMA = 11, 1.5
MIN_WIN_SIZE = 3
# Of a wider window scikit-image, which cuts at 3.5 sigma, would take the middle only.
MAX_WIN_SIZE = 43


def structural_similarity(
    X_true, X_pred, *, input_shape, data_range, win_size=None, average=True
):
    """Structural similarity (SSIM) of rows and their reconstruction.

    It compares mean, variance and covariance within a window that slides over the
    image: 1 where all are equal, higher is better. It is scikit-image's, with the
    paper's window, 11 x 11 cells and Gaussian with a standard deviation of 1.5 cells,
    and with moments that are divided by the weights' sum. Where the window would stick
    out of the image nothing is computed; channels are averaged.

    Parameters
    ----------
    X_true : array-like of shape (n_samples, n_features)
        Rows, numeric and finite.
    X_pred : array-like of shape (n_samples, n_features)
        Their reconstruction.
    input_shape : tuple of int
        (H, W) or (C, H, W) of an image, (L,) or (C, L) of a signal; rows are flattened
        in C order. Two numbers are (C, L) where the first is below 8. The window of a
        signal is 1-D.
    data_range : float or pair of float
        Range of values that there can be, (low, high) or its width: 255 of bytes.
        It is not guessed from the rows.
    win_size : int, default=None
        Side of the window in cells, odd, from 3 to 43; its standard deviation is in
        proportion. None is 11, or the largest that fits in the shortest side.
    average : bool, default=True
        Whether to return the mean over rows or one number for each.

    Returns
    -------
    ssim : float or ndarray of shape (n_samples,), float64
        From -1 to 1.

    Raises
    ------
    ImportError
        If scikit-image is not installed.
    TypeError
        If a parameter is of the wrong type.
    ValueError
        If X_true and X_pred are not two finite tables of the same shape, if
        ``data_range`` is no range, if ``input_shape`` does not fit or has a side below
        3, or if ``win_size`` is not odd or does not fit.

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
    """Shape that rows are folded to, and a function of two such; parameters checked."""
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
        # The window's size follows from it.
        sigma=SIGMA * win_size / WIN_SIZE,
        gaussian_weights=True,
        use_sample_covariance=False,
        channel_axis=0,
    )


def _window(side, win_size, input_shape):
    """Size of a window for images whose shortest side is ``side``."""
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
            f"{min(side, MAX_WIN_SIZE)} for input_shape={input_shape!r}. None chooses."
        )
    return int(win_size)
