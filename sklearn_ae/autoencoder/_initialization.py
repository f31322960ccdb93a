"""Where training starts: the rows to hold out, and a network around PCA."""

from numbers import Integral

import numpy as np
import torch

from sklearn_ae._runtime import torch_generator
from sklearn_ae.nn import Autoencoder, Corruption
from sklearn_ae.tables._rows import cell_blocks, weighted_mean
from sklearn_ae.tables._weighted_pca import PrincipalAxes, principal_axes

# A code's smallest scale, as a share of the largest: what a correction divides by.
MIN_SCALE = 1e-2
# A likelihood's smallest variance at the start, as a share of a feature's.
MIN_NOISE = 1e-4


def initial_autoencoder(
    matrix,
    weight,
    n_held_out,
    *,
    n_components,
    architecture,
    init,
    code,
    noise_conditional,
    common,
    random,
):
    """An untrained autoencoder for the rows of a matrix.

    Parameters
    ----------
    matrix : ndarray of shape (n_rows, n_features), float32
        Scaled rows, those to hold out first.
    weight : ndarray of shape (n_rows,)
    n_held_out : int
    n_components : int, float in (0, 1), None or PrincipalAxes
        As PCA's; None is 0.95; or the axes, where they are known.
    architecture : callable
        Of a torch generator, the ``nn.Architecture``.
    init : {"pca", "random"}
    code : {"plain", "sigmoid", "gaussian"}
    told : Corruption or None
        Noise whose level the encoder is told; needs ``init="pca"`` and a plain code.
    common : bool
        Whether all columns have one unit.
    random : numpy.random.RandomState

    Returns
    -------
    Autoencoder
    """
    pca = n_components if isinstance(n_components, PrincipalAxes) else None
    n_components = 0.95 if n_components is None else n_components
    if pca is None and (init == "pca" or not isinstance(n_components, Integral)):
        pca = principal_axes(matrix, weight, n_components, random)
    if pca is not None:
        n_components = len(pca.components)
    networks = architecture(torch_generator(random))
    if init == "random":
        return Autoencoder.random(networks, n_components, code=code)
    centre, spread = _centre_and_spread(matrix[n_held_out:])
    if common:
        varies = np.isfinite(spread)
        spread = np.where(varies, _root_mean_square(spread[varies]), spread)
    floor = MIN_SCALE * pca.component_std[0] if pca.component_std[0] > 0 else 1.0
    around = {
        "mean": torch.from_numpy(pca.mean),
        "centre": torch.from_numpy(centre),
        "spread": torch.from_numpy(spread),
        "components": torch.from_numpy(pca.components),
        "component_std": torch.from_numpy(np.maximum(pca.component_std, floor)),
    }
    if noise_conditional is not None:
        noise, levels = noise_conditional.noise_std(), noise_conditional.level
        return Autoencoder.around_wiener(networks, noise=noise, levels=levels, **around)
    noise = _noise_variance(matrix, weight, pca) if code == "gaussian" else 0.0
    return Autoencoder.around_linear(
        networks, code=code, noise_variance=noise, **around
    )


def fit_corruption(kind, level, matrix, weight, *, common):
    """``nn.Corruption`` in units of the columns, or of all of them; None at level 0."""
    if level == 0:
        return None
    centre = weighted_mean(matrix, weight, lambda x: x)
    variance = weighted_mean(matrix, weight, lambda x: np.square(x - centre))
    spread = np.sqrt(variance)
    if common:
        spread = np.full_like(spread, _root_mean_square(spread))
    columns = centre, spread, matrix.min(axis=0), matrix.max(axis=0)
    names = ("mean", "std", "low", "high")
    tensors = map(torch.from_numpy, columns)
    return Corruption(kind, level, **dict(zip(names, tensors, strict=True)))


def _noise_variance(matrix, weight, pca):
    """Mean variance along the directions that PCA leaves out; a little if none is."""
    squares = [
        np.square(matrix[block] - pca.mean).mean(axis=1, dtype=np.float64)
        for block in cell_blocks(matrix)
    ]
    squares, n_features = np.concatenate(squares), matrix.shape[1]
    total = n_features * np.average(squares, weights=weight)
    n_left = n_features - len(pca.component_std)
    rest = total - np.square(pca.component_std).sum()
    least = max(MIN_NOISE * total / n_features, np.finfo(np.float32).tiny)
    return float(max(rest / n_left if n_left > 0 else 0.0, least))


def _centre_and_spread(matrix):
    """Mean and standard deviation of the columns; its value and inf if it has one."""
    lowest, highest = matrix.min(axis=0), matrix.max(axis=0)
    constant = lowest == highest
    mean = matrix.mean(axis=0, dtype=np.float64)
    variance = weighted_mean(
        matrix, np.ones(len(matrix)), lambda x: np.square(x - mean)
    )
    spread = np.sqrt(variance)
    return np.where(constant, lowest, mean), np.where(constant, np.inf, spread)


def _root_mean_square(spread):
    return np.sqrt(np.mean(np.square(spread))) if len(spread) else 1.0
