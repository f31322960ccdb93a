"""Radius of the adversarial perturbations."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from sklearn_ae.semi_supervised._consistency import consistency_radius


def test_the_radius_is_half_of_the_median_distance_to_the_nearest_row():
    matrix = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    nearest = NearestNeighbors(n_neighbors=2).fit(matrix).kneighbors(matrix)[0][:, 1]
    assert consistency_radius(matrix) == pytest.approx(np.median(nearest) / 2)
    assert consistency_radius(matrix[:1]) == 0
    # Copies of a row do not count as its neighbours.
    twice = np.repeat(matrix, 2, axis=0)
    assert consistency_radius(twice) == pytest.approx(consistency_radius(matrix))
