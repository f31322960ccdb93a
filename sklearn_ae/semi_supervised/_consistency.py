"""Radius of the perturbations in virtual adversarial training."""

import numpy as np
from sklearn.neighbors import NearestNeighbors

from sklearn_ae.tables._rows import merge_equal_rows


def consistency_radius(matrix):
    """Return half of the median Euclidean distance from a row to its nearest neighbour.

    Balls of that radius around two rows seldom overlap, so that their labels do not
    contradict each other. Equal rows count once.

    Parameters
    ----------
    matrix : ndarray of shape (n, n_features), float32
        Scaled rows.

    Returns
    -------
    radius : float
    """
    matrix = matrix[merge_equal_rows(matrix, None, seed=0)[0]]
    # The rank of the median of a thousand draws has a standard error of 1.6 %.
    queries = matrix[:1_000]
    n = min(2, len(matrix))
    distance = NearestNeighbors(n_neighbors=n).fit(matrix).kneighbors(queries)[0]
    return float(np.median(distance[:, -1])) / 2
