import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.covariance import MinCovDet
from sklearn.preprocessing import scale

from sklearn_ae.detection._neighbors import Neighbors
from sklearn_ae.detection._trimming import (
    CORE_SHARE,
    in_copies,
    lowest,
    outlyingness,
    rarity,
    trimmed_mahalanobis,
    without_copies,
)
from sklearn_ae.tables._column_scaler import ColumnScaler


def random():
    return np.random.default_rng(0)


def correlated(n, d):
    """Normal rows with one strong common factor."""
    rng = random()
    return rng.normal(size=(n, 1)) + 0.5 * rng.normal(size=(n, d))


def outlyingness_of(X, weight=None):
    weight = np.ones(len(X)) if weight is None else weight.astype(float)
    columns = [
        ColumnScaler(s).fit(X, weight) for s in ("standard", "minmax", "quantile")
    ]
    neighbors = [Neighbors(c, X, weight) for c in columns]
    return outlyingness(X, weight, neighbors, columns[0].transform(X))


def distances_of(X, weight=None):
    return trimmed_mahalanobis(X, np.ones(len(X)) if weight is None else weight)


# -- together ------------------------------------------------------------------------


def scattered(X, rng):
    return 6 * rng.normal(size=X.shape)


def one_cell(X, rng):
    X = X.copy()
    X[np.arange(len(X)), rng.integers(X.shape[1], size=len(X))] = 8
    return X


def against_the_factor(X, rng):
    # Each cell in its usual range.
    signs = np.where(np.arange(X.shape[1]) % 2, 1, -1)
    return 1.5 * signs + 0.3 * rng.normal(size=X.shape)


def clump(X, rng):
    return 5 + 0.05 * rng.normal(size=X.shape)


@pytest.mark.parametrize(
    ("kind", "n_most"),
    [(scattered, 15), (one_cell, 15), (against_the_factor, 40), (clump, 30)],
)
def test_planted_outliers_are_the_most_outlying(kind, n_most):
    X = correlated(400, 6)
    X[:12] = kind(X[:12], random())
    order = np.argsort(-outlyingness_of(X))
    assert (order[:n_most] < 12).sum() == 12
    # None of them is among the rows that networks train on.
    trusted = lowest(outlyingness_of(X), np.ones(len(X)), 0.3)
    assert not trusted[:12].any()


def test_outlyingness_is_in_robust_units():
    # The sum has five measures; one row does not set the unit of the others.
    X = correlated(400, 6)
    plain = outlyingness_of(X)
    X[0] = 1e6
    spoilt = outlyingness_of(X)
    assert abs(np.median(plain)) < 1
    assert spoilt.argmax() == 0
    assert spearmanr(plain[1:], spoilt[1:]).statistic > 0.9


def test_outlyingness_of_rows_of_one_weight_is_that_of_repeated_rows():
    X = correlated(200, 3)
    weighted = outlyingness_of(X, np.full(200, 2))
    repeated = outlyingness_of(np.repeat(X, 2, axis=0))
    np.testing.assert_allclose(weighted, repeated[::2], atol=1e-6)


def test_so_it_is_with_any_weights_but_for_the_rows_at_the_quantiles():
    X, weight = correlated(200, 3), random().integers(1, 4, size=200)
    weighted = np.repeat(outlyingness_of(X, weight), weight)
    repeated = outlyingness_of(np.repeat(X, weight, axis=0))
    assert spearmanr(weighted, repeated).statistic > 0.999
    np.testing.assert_allclose(weighted, repeated, atol=0.2)


# -- copies --------------------------------------------------------------------------


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


# -- trimmed Mahalanobis distance ----------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 6])
def test_the_core_is_what_is_close(d):
    rng = random()
    n = 400
    core = np.arange(n) < CORE_SHARE * n
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
    X[~core] = 50 * X[~core] / np.linalg.norm(X[~core], axis=1, keepdims=True)
    centred = X - X[core].mean(axis=0)
    inverse = np.linalg.inv(np.atleast_2d(np.cov(X[core], rowvar=False, ddof=0)))
    expected = np.sqrt(np.einsum("ij,jk,ik->i", centred, inverse, centred))
    np.testing.assert_allclose(distances_of(X), expected, rtol=1e-3)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.15])
def test_distances_rank_rows_as_sklearns_minimum_covariance_determinant(share):
    rng = random()
    X = correlated(500, 4)
    outlying = rng.random(500) < share
    X[outlying] = 5 * rng.normal(size=(outlying.sum(), 4))
    theirs = (
        MinCovDet(support_fraction=CORE_SHARE, random_state=0).fit(X).mahalanobis(X)
    )
    assert spearmanr(distances_of(X), theirs).statistic > 0.98


def test_an_outlying_tenth_moves_the_distances_of_the_others_little():
    clean = correlated(500, 4)
    spoilt = np.r_[clean, 10 + random().normal(size=(55, 4)) * [1, 5, 1, 5]]
    before, after = distances_of(clean), distances_of(spoilt)
    ratio = after[:500] / before
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=0.15)
    assert 0.8 < np.median(ratio) < 1
    assert after[500:].min() > after[:500].max()
    # Distances by the variances of all rows are moved much.
    plain = [np.sum(scale(X)[:500] ** 2, axis=1) for X in (clean, spoilt)]
    assert np.std(plain[1] / plain[0]) > 0.3


def test_distances_do_not_change_with_a_linear_map_of_the_columns():
    X = correlated(300, 4)
    mixed = X @ random().normal(size=(4, 4)) + 9
    np.testing.assert_allclose(distances_of(mixed), distances_of(X), rtol=1e-2)


@pytest.mark.parametrize("weights", [[2], [1, 2, 3]])
def test_in_distances_weights_count_as_repetition(weights):
    X = correlated(400, 3)
    weight = random().choice(weights, size=400)
    weighted = distances_of(X, weight.astype(float))
    repeated = distances_of(np.repeat(X, weight, axis=0))
    # All copies of the row at the core's border are out of it.
    tolerance = 1e-9 if weights == [2] else 0.05
    np.testing.assert_allclose(np.repeat(weighted, weight), repeated, rtol=tolerance)


# -- rarity --------------------------------------------------------------------------


def test_rarity_by_hand():
    X = np.array([[0.0, 5.0], [0.0, 6.0], [0.2, 5.0], [10.0, 5.0]])
    # Half a row more in each of 20 bins, 14 altogether.
    three, one = -np.log(3.5 / 14), -np.log(1.5 / 14)
    expected = [2 * three, three + one, 2 * three, one + three]
    np.testing.assert_allclose(rarity(X, np.ones(4)), expected)


def test_rarity_is_by_numpys_histogram():
    X = random().exponential(size=(300, 3))
    expected = np.zeros(300)
    for column in X.T:
        counts, edges = np.histogram(column, bins=20)
        place = np.clip(np.searchsorted(edges, column, side="right") - 1, 0, 19)
        expected -= np.log((counts + 0.5) / 310)[place]
    np.testing.assert_allclose(rarity(X, np.ones(300)), expected)


def test_in_rarity_weights_count_as_repetition():
    X, weight = correlated(100, 3), random().integers(1, 5, size=100)
    weighted = np.repeat(rarity(X, weight.astype(float)), weight)
    repeated = np.repeat(X, weight, axis=0)
    np.testing.assert_allclose(weighted, rarity(repeated, np.ones(len(repeated))))


# -- lowest --------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.3, 0.75, 1])
def test_the_lowest_hold_the_share(share):
    values = random().normal(size=40)
    mask = lowest(values, np.ones(40), share)
    assert mask.sum() == share * 40
    assert share == 1 or values[mask].max() < values[~mask].min()


def test_the_lowest_hold_the_share_of_the_weight_and_no_row_more():
    values, weight = random().normal(size=(2, 100))
    weight = np.exp(weight)
    for share in (0.1, 0.3, 0.75):
        mask = lowest(values, weight, share)
        last = np.flatnonzero(mask)[values[mask].argmax()]
        held = weight[mask].sum() / weight.sum()
        assert held - weight[last] / weight.sum() < share <= held


def test_the_lowest_are_not_fewer_than_least():
    mask = lowest(np.array([3.0, 1, 2]), np.ones(3), 0.01)
    np.testing.assert_array_equal(mask, [False, True, True])
    assert lowest(np.array([3.0]), np.ones(1), 0.3).all()
    heavy = lowest(np.arange(9.0), np.r_[100, np.ones(8)], 0.3, least=4)
    np.testing.assert_array_equal(heavy, np.arange(9) < 4)


def test_of_equal_values_the_first_are_the_lowest():
    mask = lowest(np.zeros(10), np.ones(10), 0.3)
    np.testing.assert_array_equal(mask, np.arange(10) < 3)


# -- corners -------------------------------------------------------------------------

TABLES = {
    "constant columns": np.c_[np.ones(50), correlated(50, 2), np.zeros(50)],
    "all constant": np.full((30, 3), 7.0),
    "wide": correlated(12, 40),
    "one column": correlated(50, 1),
    "one column of two values": np.arange(40.0)[:, None] % 2,
    "copies of a column": np.repeat(correlated(50, 1), 4, axis=1),
    "two rows": np.array([[0.0, 1], [2, 3]]),
    "three rows": np.array([[0.0, 1], [2, 3], [2, 4]]),
    "mostly one row": np.r_[np.zeros((90, 2)), correlated(10, 2)],
    "a far row": np.r_[correlated(50, 2), [[1e150, 0]]],
}


@pytest.mark.parametrize("name", TABLES)
def test_measures_are_finite(name):
    X = TABLES[name]
    weight = np.ones(len(X))
    scaled = ColumnScaler("standard").fit(X, weight).transform(X)
    for values in (
        outlyingness_of(X),
        trimmed_mahalanobis(scaled, weight),
        rarity(scaled, weight),
    ):
        assert values.shape == (len(X),)
        assert np.isfinite(values).all()


def test_a_row_off_the_others_plane_is_far_even_if_there_are_few():
    X = np.repeat(correlated(20, 1), 30, axis=1)
    X[3, 5] += 3
    assert distances_of(scale(X)).argmax() == 3


def test_constant_columns_change_nothing():
    X = correlated(100, 3)
    more = np.c_[X, np.zeros((100, 2))]
    np.testing.assert_array_equal(rarity(more, np.ones(100)), rarity(X, np.ones(100)))
    np.testing.assert_allclose(distances_of(more), distances_of(X), rtol=1e-4)
