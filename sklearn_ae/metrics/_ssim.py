"""Structural similarity."""

from numbers import Integral
from typing import NamedTuple

import numpy as np

from sklearn_ae._input_shape import folded_shape
from sklearn_ae.metrics._checks import blocks, mean_or_each, two_tables, value_range

# Side of the window and its standard deviation, in pixels (Wang et al., 2004).
WIN_SIZE, SIGMA = 11, 1.5
MIN_WIN_SIZE = 3
# scikit-image truncates the Gaussian at 3.5 sigma, which would cut a larger window.
MAX_WIN_SIZE = 43
# Constants of the two ratios, in widths of the range (Wang et al., 2004).
K1, K2 = 0.01, 0.03


def structural_similarity(
    X_true, X_pred, *, input_shape=None, data_range, win_size=None, average=True
):
    """Structural similarity (SSIM) of reconstructed rows.

    SSIM compares means, variances and covariance within a sliding window; it is 1 for
    equal images, and higher is better. The window is the paper's: Gaussian, 11 x 11
    pixels, with a standard deviation of 1.5 pixels. SSIM is averaged over channels and
    over the pixels at which the window lies inside the image, as by scikit-image's
    ``structural_similarity(gaussian_weights=True, use_sample_covariance=False)`` of
    pixels less the low end of their range.

    Parameters
    ----------
    X_true : array-like of shape (n_samples, n_features)
        Original rows, numeric and finite.
    X_pred : array-like of shape (n_samples, n_features)
        Reconstructed rows.
    input_shape : tuple of int, default=None
        (H, W) or (C, H, W) of an image, (L,) or (C, L) of a signal; rows are flattened
        in C order. Two numbers are (C, L) if the first is below 8. The window of a
        signal is 1-D. None is a signal, (n_features,).
    data_range : float or pair of float
        Range of possible values, (low, high), or the width of a range that starts at 0,
        such as 255 for bytes. The low end matters: SSIM compares ratios of means above
        it. It is not inferred from the rows.
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
    similarity = ssim_of_rows(
        X_true.shape[1],
        input_shape=input_shape,
        data_range=data_range,
        win_size=win_size,
    )
    values = [similarity(*pair) for pair in blocks(X_true, X_pred)]
    return mean_or_each(np.concatenate(values), average)


def ssim_of_rows(n_features, *, input_shape=None, data_range, win_size=None):
    """Validate the parameters; return a function of two tables, SSIM by row."""
    input_shape = (n_features,) if input_shape is None else input_shape
    shape = folded_shape(input_shape, n_features)
    win_size = _window(min(shape[1:]), win_size, input_shape)
    return _Similarity(shape, *value_range(data_range), _gaussian(win_size))


class _Similarity(NamedTuple):
    """SSIM (n,) of two tables (n, n_features), float64."""

    shape: tuple
    low: float
    high: float
    weights: np.ndarray

    def __call__(self, X_true, X_pred):
        # A power of two for each row, so that squares neither overflow nor round.
        ends = max(abs(self.low), abs(self.high))
        largest = np.maximum(np.abs(X_true), np.abs(X_pred)).max(axis=1)
        exponent = np.frexp(np.maximum(largest, ends))[1]
        x, y = (self._images(X, -exponent) for X in (X_true, X_pred))
        low, width = (np.ldexp(v, -exponent) for v in (self.low, self.high - self.low))
        # Sum and difference have all that SSIM needs of both, and cost two filters:
        # 2 x y = (sum² - difference²) / 2, x² + y² = (sum² + difference²) / 2.
        both = np.stack([(x - low) + (y - low), x - y])
        mean, variance = _local_moments(both, self.weights)
        similarity = _ratio(*np.square(mean), 2 * (K1 * width) ** 2)
        similarity *= _ratio(*variance, 2 * (K2 * width) ** 2)
        # Contiguous: a mean does not depend on the number of rows.
        by_row = np.ascontiguousarray(similarity.reshape(-1, len(X_true)).T)
        return by_row.mean(axis=1)

    def _images(self, X, exponent):
        """Return images (C, H, W, n), or signals (C, L, n), times a power of two."""
        # Rows last in memory: operations run over all rows of a block at once.
        return np.ldexp(X.T, exponent, order="C").reshape(*self.shape, -1)


def _ratio(one, other, constant):
    """Return (one - other + constant) / (one + other + constant), of numbers >= 0."""
    total = one + other + constant
    # If all vanish beside the row's largest number, the images are equal there.
    return 1 - 2 * other / np.where(total > 0, total, 1)


def _local_moments(x, weights):
    """Return mean and variance of x (..., n) in each window of the sides, axes 2 to -2.

    The variance of a window is the mean variance of its rows plus the variance of
    their means, which does not cancel where the mean is large.
    """
    mean, variance = x, None
    for axis in range(2, x.ndim - 1):
        n_windows = mean.shape[axis] - len(weights) + 1
        shifted = [
            (slice(None),) * axis + (slice(i, i + n_windows),)
            for i in range(len(weights))
        ]
        mean, variance = _moments_along(mean, variance, weights, shifted)
    return mean, variance


def _moments_along(mean, variance, weights, shifted):
    centre = weights[0] * mean[shifted[0]]
    term = np.empty_like(centre)  # a temporary array for each would double the time
    for weight, at in zip(weights[1:], shifted[1:], strict=True):
        centre += np.multiply(mean[at], weight, out=term)
    total = np.zeros_like(centre)
    for weight, at in zip(weights, shifted, strict=True):
        np.subtract(mean[at], centre, out=term)
        np.square(term, out=term)
        if variance is not None:
            term += variance[at]
        term *= weight
        total += term
    return centre, total


def _gaussian(win_size):
    sigma = SIGMA * win_size / WIN_SIZE
    weights = np.exp(-0.5 * (np.arange(win_size) - win_size // 2) ** 2 / sigma**2)
    return weights / weights.sum()


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
