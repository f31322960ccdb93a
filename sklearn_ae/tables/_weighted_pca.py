"""PCA of weighted rows: the linear autoencoder in closed form."""

from numbers import Integral
from typing import NamedTuple

import numpy as np
from sklearn.utils.extmath import randomized_svd, svd_flip

from sklearn_ae.tables._rows import cell_blocks

MAX_EXACT_SIDE = 1_000  # as scikit-learn's PCA: larger matrices may be randomised
# For a share of the variance the randomised solver tries this many components first,
# then four times as many.
N_FIRST_COMPONENTS = 64


class PrincipalAxes(NamedTuple):
    """PCA's solution.

    Attributes
    ----------
    mean : ndarray of shape (n_features,)
    components : ndarray of shape (n_components, n_features)
        Orthonormal rows; rows of zeros past the rank of the data.
    component_std : ndarray of shape (n_components,)
        Standard deviation along each component.
    """

    mean: np.ndarray
    components: np.ndarray
    component_std: np.ndarray

    def leading(self, k):
        """The first k components, padded with zeros."""
        missing = max(0, k - len(self.components))
        return PrincipalAxes(
            self.mean,
            np.pad(self.components[:k], ((0, missing), (0, 0))),
            np.pad(self.component_std[:k], (0, missing)),
        )


def principal_axes(X, weight, n_components, random):
    """Leading principal components of the rows of X under their weights.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    weight : ndarray of shape (n_samples,)
    n_components : int, or float in (0, 1)
        Number of components, or the share of the variance that they explain.
    random : numpy.random.RandomState
        For the randomised solver (Halko et al., 2011. SIAM Review 53(2)), used where
        both sides of X are large and few components are needed.

    Returns
    -------
    PrincipalAxes
        In float64.
    """
    root = np.sqrt(weight / weight.sum())
    share = root**2
    mean = sum(share[rows] @ X[rows] for rows in cell_blocks(X))
    variances, components, total = _spectrum(X, mean, root, n_components, random)
    n_kept = n_components
    if not isinstance(n_components, Integral):
        share = np.cumsum(variances) / max(total, np.finfo(float).tiny)
        n_below = np.searchsorted(share, n_components, side="right")
        n_kept = 1 + min(n_below, len(share) - 1)
    # Rounding error of the largest variance, and of the mean.
    noise = np.finfo(float).eps * (variances[:1] + np.finfo(float).eps * mean @ mean)
    real = variances > noise * max(X.shape)
    components = np.where(real[:, None], components, 0.0)
    component_std = np.sqrt(np.where(real, variances, 0.0))
    return PrincipalAxes(mean, components, component_std).leading(n_kept)


def _spectrum(X, mean, root, n_components, random):
    """Variances in falling order, their components, and the sum of all variances.

    The solver is chosen by the shape, as scikit-learn's PCA does.
    """
    found = None
    if min(X.shape) > MAX_EXACT_SIDE:
        found = _leading(X, mean, root, n_components, random)
    if found is None:
        variances, components = _all(X, mean, root)
        found = variances, components, variances.sum()
    variances, components, total = found
    # The sign is made independent of the solver: the largest entry is positive.
    _, components = svd_flip(None, components, u_based_decision=False)
    return np.maximum(variances, 0), components, total


def _leading(X, mean, root, n_components, random):
    """Leading components by a randomised solver; None if all take less time."""
    is_share = not isinstance(n_components, Integral)
    k = N_FIRST_COMPONENTS if is_share else n_components
    # Sixteen products with k columns, beside a covariance and its eigenvectors.
    short, long = min(X.shape), max(X.shape)
    most = (short + 5 * short**2 / long) / 8
    if k >= most:
        return None
    centred = np.empty_like(X)
    for rows in cell_blocks(X):
        centred[rows] = (X[rows] - mean) * root[rows, None]
    total = sum(np.square(centred[r]).sum(dtype=float) for r in cell_blocks(centred))
    while k < most:
        _, s, components = randomized_svd(centred, k, random_state=random)
        variances = s.astype(float) ** 2
        if not is_share or variances.sum() > n_components * total:
            return variances, components.astype(float), total
        k *= 4
    return None


def _all(X, mean, root):
    if X.shape[1] <= X.shape[0]:
        covariance = np.zeros((X.shape[1], X.shape[1]))
        for rows in cell_blocks(X):
            part = (X[rows] - mean) * root[rows, None]
            covariance += part.T @ part
        variances, components = np.linalg.eigh(covariance)
        return variances[::-1], components.T[::-1]
    _, s, components = np.linalg.svd((X - mean) * root[:, None], full_matrices=False)
    return s**2, components
