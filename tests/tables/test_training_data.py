import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from sklearn_ae.tables import _rows
from sklearn_ae.tables._rows import (
    MAX_VARIANCE_SHARE,
    TrainingData,
    column_moments,
    n_in_sample_monitor,
)


@pytest.mark.parametrize("cells", [28, 2**20])
def test_moments_are_scikit_learns_whatever_the_block(cells, monkeypatch):
    monkeypatch.setattr(_rows, "CELLS_PER_BLOCK", cells)
    rng = np.random.default_rng(0)
    X, weight = rng.normal(3, 2, size=(30, 4)).astype(np.float32), rng.uniform(size=30)
    moments = column_moments(X, weight)
    reference = StandardScaler().fit(X.astype(float), sample_weight=weight)
    np.testing.assert_allclose(moments.mean, reference.mean_)
    np.testing.assert_allclose(moments.variance, reference.var_)
    np.testing.assert_allclose(moments.std, np.sqrt(reference.var_))
    np.testing.assert_array_equal(moments.low, X.min(axis=0))
    np.testing.assert_array_equal(moments.high, X.max(axis=0))


@pytest.mark.parametrize("cells", [9, 2**20])
@pytest.mark.parametrize("rare", [[], [0], [19], [0, 7, 8, 19]])
def test_influential_rows_go_to_the_end(rare, cells, monkeypatch):
    monkeypatch.setattr(_rows, "CELLS_PER_BLOCK", cells)
    rng = np.random.default_rng(0)
    X, weight = rng.choice([-1.0, 1.0], size=(60, 3)), rng.uniform(0.5, 1, 60)
    X[rare, 1] = 100
    mean = np.average(X, axis=0, weights=weight)
    share = np.square(X - mean) * weight[:, None]
    share = (share / share.sum(axis=0)).max(axis=1)
    expected = np.argsort(share > MAX_VARIANCE_SHARE, kind="stable")
    assert set(expected[60 - len(rare) :]) == set(rare)
    data = TrainingData(X.copy(), weight, np.arange(100, 160))
    data.hold_out(0.1, column_moments(X, weight))
    np.testing.assert_array_equal(data.matrix, X[expected])
    np.testing.assert_array_equal(data.weight, weight[expected])
    np.testing.assert_array_equal(data.rows, 100 + expected)
    assert data.n_held_out == 15
    data.hold_out(None, column_moments(data.matrix, data.weight))
    assert data.n_held_out == 0


def test_rows_stay_where_all_are_influential():
    X = np.diag(np.arange(1.0, 6))
    data = TrainingData(X.copy(), np.ones(5), np.arange(5))
    data.hold_out(0.1, column_moments(X, np.ones(5)))
    np.testing.assert_array_equal(data.matrix, X)
    assert data.n_held_out == 1


@pytest.mark.parametrize(
    ("n_rows", "expected"),
    [(100, 100), (5_000, 1_000), (12_000, 1_200), (10**6, 5_000)],
)
def test_a_tenth_of_the_rows_is_monitored_where_none_is_held_out(n_rows, expected):
    assert n_in_sample_monitor(n_rows) == expected
