"""The radius within which predictions should agree."""

import numpy as np
from sklearn.neighbors import NearestNeighbors

from sklearn_ae.tables._rows import merge_equal_rows

# Rows whose nearest neighbour tells the usual distance to it.
MAX_QUERIES = 1_000


def half_way_to_the_next(matrix):
    """Half of the usual distance (Euclidean) from a row to its nearest neighbour.

    Balls of that radius around rows seldom overlap: within one, what is known of the
    row is not at odds with what is known of others.
    """
    matrix = matrix[merge_equal_rows(matrix, None, seed=0)[0]]
    queries = matrix[:MAX_QUERIES]
    n = min(2, len(matrix))
    distance = NearestNeighbors(n_neighbors=n).fit(matrix).kneighbors(queries)[0]
    return float(np.median(distance[:, -1])) / 2
