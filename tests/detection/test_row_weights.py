"""Weights of distinct rows: copies by ratios, and rows that few copies have."""

import numpy as np
import pytest

from sklearn_ae.detection._row_weights import in_copies, without_copies


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        ([1] * 30, [1] * 30),
        # Outliers that are repeated do not count for more than the others.
        ([1] * 30 + [3, 2, 3], [1] * 33),
        ([0.5] * 30 + [1.5, 1, 1.5], [0.5] * 33),
        # Most rows are: it is how common they are.
        ([1] * 15 + [2] * 8 + [3], [1] * 15 + [2] * 8 + [3]),
        # A tenth of all: zero in every column, perhaps; whether or not others are.
        ([1] * 30 + [2, 4], [1] * 30 + [1, 4]),
        ([1, 1], [1, 1]),
        ([7], [7]),
    ],
)
def test_copies_of_few_rows_do_not_count(weight, expected):
    weight = np.array(weight, dtype=float)
    before = weight.copy()
    np.testing.assert_array_equal(without_copies(weight), expected)
    np.testing.assert_array_equal(weight, before)


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        ([1, 3, 2], [1, 3, 2]),
        ([2, 6, 4], [1, 3, 2]),
        ([40, 50, 61], [40, 50, 61]),
        ([0.2, 0.3, 0.5], [2, 3, 5]),
        ([5e-324, 1, 1], [5e-324, 1, 1]),
        ([1, np.sqrt(2), 5], [1 / np.sqrt(2), 1, 5 / np.sqrt(2)]),
        ([0.1, 0.1, 0.3], [1, 1, 3]),
        ([1e300, 1e300], [1, 1]),
        ([5e-324, 5e-324], [1, 1]),
        ([1.5], [1]),
    ],
)
def test_weights_are_numbers_of_copies_by_their_ratios(weight, expected):
    np.testing.assert_allclose(in_copies(np.array(weight, dtype=float)), expected)
