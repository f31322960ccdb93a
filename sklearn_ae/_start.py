"""Where training starts: the rows to hold out, and a network around PCA."""

from numbers import Integral

import numpy as np
import torch

from sklearn_ae._data import cell_blocks
from sklearn_ae._pca import PrincipalAxes, principal_axes
from sklearn_ae._torch_state import torch_generator
from sklearn_ae.nn import Autoencoder, Corruption

# Fewer rows than this to judge by decide little; more cost time and change nothing.
MIN_MONITORED = 50
MAX_MONITORED = 5_000
# Rows trained on that are judged by, where none is held out: a tenth, or this many.
MIN_WATCHED = 1_000
# Share of a column's variance that a row may have and still be held out.
MAX_SHARE = 0.1
# A code's smallest scale, as a share of the largest: what a correction divides by.
MIN_SCALE = 1e-2
# A likelihood's smallest variance at the start, as a share of a feature's.
MIN_NOISE = 1e-4


def n_held_out(n_rows, fraction):
    """How many of the rows to judge by and not to train on."""
    share = min(round(fraction * n_rows), MAX_MONITORED, n_rows - 2)
    return max(share, min(n_rows // 4, MIN_MONITORED))


def n_watched(n_rows):
    """How many of the rows that are trained on to judge by, where none is held out."""
    return min(n_rows, max(n_rows // 10, MIN_WATCHED), MAX_MONITORED)


def typical_first(matrix, weight):
    """Put the rows that a column hangs on at the end, in place; return the order.

    Rows are held out from the front. A row that holds more than ``MAX_SHARE`` of a
    column's variance is trained on: PCA, fitted on all rows, draws an axis to it, and
    without it the column would be all but constant in training. Held out, it would be
    PCA's to reproduce and nobody's to learn, and would speak for the start alone.
    """
    mean = matrix.mean(axis=0)
    total = weight.sum() * _mean(matrix, weight, lambda x: np.square(x - mean))
    total = np.where(total > 0, total, np.inf)
    share = np.concatenate(
        [
            (np.square(matrix[b] - mean) * weight[b, None] / total).max(axis=1)
            for b in cell_blocks(matrix)
        ]
    )
    hangs = share > MAX_SHARE
    first, last = np.flatnonzero(~hangs), np.flatnonzero(hangs)
    if len(last):
        at_the_end = matrix[last]
        # No block takes what an earlier one has written over: rows only move forward.
        for block in cell_blocks(matrix[: len(first)]):
            matrix[block] = matrix[first[block]]
        matrix[len(first) :] = at_the_end
    return np.concatenate([first, last])


def starting_module(
    matrix,
    weight,
    n_held_out,
    *,
    n_components,
    architecture,
    init,
    code,
    told,
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
        n_components = len(pca.axes)
    networks = architecture(torch_generator(random))
    if init == "random":
        return Autoencoder.random(networks, n_components, code=code)
    centre, spread = _centre_and_spread(matrix[n_held_out:])
    if common:
        varies = np.isfinite(spread)
        spread = np.where(varies, _root_mean_square(spread[varies]), spread)
    floor = MIN_SCALE * pca.scales[0] if pca.scales[0] > 0 else 1.0
    around = {
        "mean": torch.from_numpy(pca.mean),
        "centre": torch.from_numpy(centre),
        "spread": torch.from_numpy(spread),
        "axes": torch.from_numpy(pca.axes),
        "scales": torch.from_numpy(np.maximum(pca.scales, floor)),
    }
    if told is not None:
        noise, levels = told.columns.spread, told.level
        return Autoencoder.around_wiener(networks, noise=noise, levels=levels, **around)
    noise = _noise_variance(matrix, weight, pca) if code == "gaussian" else 0.0
    return Autoencoder.around_linear(
        networks, code=code, noise_variance=noise, **around
    )


def starting_corruption(kind, level, matrix, weight, *, common):
    """``nn.Corruption`` in units of the columns, or of all of them; None at level 0."""
    if level == 0:
        return None
    centre = _mean(matrix, weight, lambda x: x)
    variance = _mean(matrix, weight, lambda x: np.square(x - centre))
    spread = np.sqrt(variance)
    if common:
        spread = np.full_like(spread, _root_mean_square(spread))
    columns = centre, spread, matrix.min(axis=0), matrix.max(axis=0)
    names = ("centre", "spread", "low", "high")
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
    n_left = n_features - len(pca.scales)
    rest = total - np.square(pca.scales).sum()
    least = max(MIN_NOISE * total / n_features, np.finfo(np.float32).tiny)
    return float(max(rest / n_left if n_left > 0 else 0.0, least))


def _centre_and_spread(matrix):
    """Mean and standard deviation of the columns; its value and inf if it has one."""
    lowest, highest = matrix.min(axis=0), matrix.max(axis=0)
    constant = lowest == highest
    mean = matrix.mean(axis=0, dtype=np.float64)
    variance = _mean(matrix, np.ones(len(matrix)), lambda x: np.square(x - mean))
    spread = np.sqrt(variance)
    return np.where(constant, lowest, mean), np.where(constant, np.inf, spread)


def _root_mean_square(spread):
    return np.sqrt(np.mean(np.square(spread))) if len(spread) else 1.0


def _mean(matrix, weight, function):
    """Weighted mean (d,) of a function of the cells."""
    parts = (function(matrix[b]) * weight[b, None] for b in cell_blocks(matrix))
    return sum(part.sum(axis=0) for part in parts) / weight.sum()
