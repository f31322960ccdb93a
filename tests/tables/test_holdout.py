import numpy as np
import pytest

from sklearn_ae.autoencoder import _initialization
from sklearn_ae.tables import _rows
from sklearn_ae.tables._rows import (
    MAX_VARIANCE_SHARE,
    move_influential_rows_last,
    n_in_sample_monitor,
)


@pytest.mark.parametrize("cells", [9, 2**20])
@pytest.mark.parametrize("rare", [[], [0], [19], [0, 7, 8, 19]])
def test_rows_that_a_column_hangs_on_go_to_the_end(rare, cells, monkeypatch):
    monkeypatch.setattr(_rows, "CELLS_PER_BLOCK", cells)
    rng = np.random.default_rng(0)
    X, weight = rng.choice([-1.0, 1.0], size=(60, 3)), rng.uniform(0.5, 1, 60)
    X[rare, 1] = 100
    share = np.square(X - X.mean(axis=0)) * weight[:, None]
    share = (share / share.sum(axis=0)).max(axis=1)
    expected = np.argsort(share > MAX_VARIANCE_SHARE, kind="stable")
    assert set(expected[60 - len(rare) :]) == set(rare)
    moved = X.copy()
    order = move_influential_rows_last(moved, weight)
    np.testing.assert_array_equal(order, expected)
    np.testing.assert_array_equal(moved, X[expected])


@pytest.mark.parametrize("cells", [28, 2**20])
def test_centre_and_spread_are_numpys_whatever_the_block(cells, monkeypatch):
    monkeypatch.setattr(_rows, "CELLS_PER_BLOCK", cells)
    X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    X[:, 2] = 5
    centre, spread = _initialization._centre_and_spread(X)
    np.testing.assert_allclose(centre, X.mean(axis=0, dtype=np.float64), rtol=1e-6)
    expected = X.std(axis=0, dtype=np.float64)
    expected[2] = np.inf
    np.testing.assert_allclose(spread, expected)


@pytest.mark.parametrize(
    ("n_rows", "expected"),
    [(100, 100), (5_000, 1_000), (12_000, 1_200), (10**6, 5_000)],
)
def test_a_tenth_of_the_rows_is_watched_where_none_is_held_out(n_rows, expected):
    assert n_in_sample_monitor(n_rows) == expected
