"""The linear autoencoder in closed form: principal axes of weighted rows."""

from numbers import Integral
from typing import NamedTuple

import numpy as np
from sklearn.utils.extmath import randomized_svd, svd_flip

from sklearn_ae._data import cell_blocks

# Up to this side, the exact eigenvectors of a square matrix cost little.
_MAX_EXACT = 1_000


class PrincipalAxes(NamedTuple):
    """PCA's solution.

    Attributes
    ----------
    mean : ndarray of shape (n_features,)
    axes : ndarray of shape (n_components, n_features)
        Orthonormal rows; rows of zeros past the rank of the data.
    scales : ndarray of shape (n_components,)
        Standard deviation along each axis.
    """

    mean: np.ndarray
    axes: np.ndarray
    scales: np.ndarray


def principal_axes(X, weight, n_components, random):
    """Leading principal axes of the rows of X under their weights.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    weight : ndarray of shape (n_samples,)
    n_components : int, or float in (0, 1)
        Number of axes, or the share of the variance that they have to explain.
    random : numpy.random.RandomState
        For the randomised solver (Halko et al., 2011. SIAM Review 53(2)), used where
        both sides of X are large and few axes are wanted.

    Returns
    -------
    PrincipalAxes
        In float64.
    """
    root = np.sqrt(weight / weight.sum())
    mean = _weighted_mean(X, root**2)
    variances, axes = _spectrum(X, mean, root, n_components, random)
    n_kept = n_components
    if not isinstance(n_components, Integral):
        share = np.cumsum(variances) / max(variances.sum(), np.finfo(float).tiny)
        n_below = np.searchsorted(share, n_components, side="right")
        n_kept = 1 + min(n_below, len(share) - 1)
    # Rounding, of the largest variance and of the mean that was taken off.
    noise = np.finfo(float).eps * (variances[:1] + np.finfo(float).eps * mean @ mean)
    real = variances > noise * max(X.shape)
    axes = np.where(real[:, None], axes, 0.0)[:n_kept]
    variances = np.where(real, variances, 0.0)[:n_kept]
    missing = n_kept - len(axes)
    return PrincipalAxes(
        mean,
        np.pad(axes, ((0, missing), (0, 0))),
        np.pad(np.sqrt(variances), (0, missing)),
    )


def _weighted_mean(X, share):
    return sum(share[rows] @ X[rows] for rows in cell_blocks(X))


def _spectrum(X, mean, root, n_components, random):
    """Variances in falling order and their axes, by the solver that suits the shape."""
    n, d = X.shape
    few = isinstance(n_components, Integral) and n_components < 0.8 * min(n, d)
    randomised = few and min(n, d) > _MAX_EXACT
    if d <= n and not randomised:
        covariance = np.zeros((d, d))
        for rows in cell_blocks(X):
            part = (X[rows] - mean) * root[rows, None]
            covariance += part.T @ part
        variances, axes = np.linalg.eigh(covariance)
        variances, axes = variances[::-1], axes.T[::-1]
    else:
        centred = (X - mean) * root[:, None]
        if randomised:
            _, s, axes = randomized_svd(centred, n_components, random_state=random)
        else:
            _, s, axes = np.linalg.svd(centred, full_matrices=False)
        variances = s**2
    # A sign that does not depend on the solver: the largest entry is positive.
    _, axes = svd_flip(None, axes, u_based_decision=False)
    return np.maximum(variances, 0), axes
