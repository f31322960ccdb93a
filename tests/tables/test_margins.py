import pickle

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import ks_2samp

from sklearn_ae.tables import _margins
from sklearn_ae.tables._margins import MAX_ATOMS, N_QUANTILES, Margins

RNG = np.random.default_rng(0)


def fitted(x, weight=None):
    """The distribution of a table of one column."""
    X = np.reshape(x, (-1, 1))
    weight = np.ones(len(X)) if weight is None else np.asarray(weight, dtype=float)
    return Margins().fit(X, np.arange(len(X)), weight)


def values(margins, shares):
    """Values of a single column at shares of the rows."""
    (column,) = margins.quantiles([ndtri(np.asarray(shares, dtype=float))])
    return column


def drawn(margins, n=20_000):
    """Values at evenly spread ranks."""
    return values(margins, (np.arange(n) + 0.5) / n)


def test_few_values_are_drawn_as_often_as_they_are():
    x = np.repeat([0.1, 1 / 3, 7.25], [1_000, 971, 29])
    again, counts = np.unique(drawn(fitted(x), 2_000), return_counts=True)
    np.testing.assert_array_equal(again, [0.1, 1 / 3, 7.25])
    np.testing.assert_allclose(counts, [1_000, 971, 29], atol=1)


def test_a_weight_is_that_many_rows():
    x = [0.0, 1.0, 5.0]
    once, repeated = fitted(x, [0.5, 0.25, 1.25]), fitted(np.repeat(x, [2, 1, 5]))
    np.testing.assert_array_equal(drawn(once), drawn(repeated))
    tiny = fitted(x, np.array([0.5, 0.25, 1.25]) * 1e-200)
    np.testing.assert_array_equal(drawn(tiny), drawn(repeated))


@pytest.mark.parametrize(
    "x",
    [
        RNG.normal(size=3_000),
        RNG.exponential(size=300),
        RNG.standard_t(3, size=3_000),
        RNG.random(3_000),
        np.where(RNG.random(3_000) < 0.8, 0.0, RNG.exponential(size=3_000)),
        RNG.poisson(1_000, 3_000).astype(float),
    ],
    ids=["normal", "exponential", "t", "uniform", "many zeros", "counts"],
)
def test_many_values_keep_their_distribution(x):
    y = drawn(fitted(x))
    assert ks_2samp(x, y).statistic < 0.03
    assert y.std() == pytest.approx(x.std(), rel=0.02)
    assert y.min() >= x.min()
    assert y.max() <= x.max()


def test_a_frequent_value_among_many_keeps_its_share():
    x = np.concatenate([np.zeros(800), RNG.exponential(size=1_200)])
    assert (drawn(fitted(x)) == 0).mean() == pytest.approx(0.4, abs=1e-3)


def test_frequent_values_among_their_neighbours_keep_their_frequency():
    # More values than are kept, every third ten times as frequent as the others.
    x = np.repeat(np.arange(300.0), np.where(np.arange(300) % 3 == 0, 10, 1))
    assert (drawn(fitted(x)) % 3 == 0).mean() == pytest.approx(10 / 12, abs=0.06)


@pytest.mark.parametrize(
    ("decimals", "dtype"), [(0, "float64"), (2, "float64"), (0, "float32"), (1, "f4")]
)
def test_interpolated_values_have_the_decimals_of_the_column(decimals, dtype):
    x = np.round(RNG.normal(size=5_000) * 300, decimals).astype(dtype)
    y = drawn(fitted(x))
    assert len(np.unique(y)) > 3 * MAX_ATOMS
    assert np.isin(y, np.round(y.astype(dtype), decimals)).all()


def test_columns_beyond_float32_are_exact():
    x = 1e9 + RNG.integers(0, 5, 400)
    assert np.isin(drawn(fitted(x)), x).all()
    far = drawn(fitted(1e9 + RNG.normal(size=3_000)))
    assert far.std() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("unit", [1e-300, 1e300])
def test_the_ends_of_the_range_are_finite(unit):
    x = RNG.normal(size=1_000)
    y, same = drawn(fitted(x * unit)), drawn(fitted(x))
    np.testing.assert_allclose(y / unit, same, rtol=1e-9)


def test_a_constant_is_a_constant():
    assert (drawn(fitted(np.full(7, 0.1))) == 0.1).all()


def test_of_many_rows_a_sample_is_read(monkeypatch):
    x, weight = np.repeat([0.0, 1.0], 500), np.repeat([3.0, 1.0], 500)
    monkeypatch.setattr(_margins, "MAX_MARGIN_ROWS", 100)
    assert drawn(fitted(x, weight)).mean() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(("dtype", "per_value"), [("float64", 16), ("float32", 12)])
def test_a_column_takes_little_memory(dtype, per_value):
    X = RNG.normal(size=(2_000, 300)).astype(dtype)
    X[:, ::2] = X[:, ::2] > 1
    margins = Margins().fit(X, np.arange(len(X)), np.ones(len(X)))
    size = len(pickle.dumps(margins))
    assert size < 150 * (N_QUANTILES + 2) * per_value + 4_000
