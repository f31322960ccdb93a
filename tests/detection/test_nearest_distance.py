"""Mean distances to the nearest reference rows, and columns by arcsinh."""

import pickle

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.datasets import load_wine

from sklearn_ae.detection._nearest_distance import (
    MIN_DISTANCE,
    ArcsinhColumns,
    Nearest,
    NearestDistances,
    Sample,
)
from sklearn_ae.tables._column_scaler import ColumnScaler

WINE = load_wine().data
TRAIN, NEW = WINE[::2], WINE[1::2]
SCALINGS = ["standard", "minmax", "quantile", None]


def scaler(X, scale="standard"):
    return ColumnScaler(scale).fit(X, np.ones(len(X)))


def nearest(X=TRAIN, k=3, scale="standard"):
    return NearestDistances(scaler(X, scale), Sample(X), [Nearest(k)])


def by_hand(X, rows, k, scale="standard", n_left_out=0):
    """Means of the k smallest of all distances, but the n smallest."""
    columns = scaler(X, scale)
    distances = cdist(columns.transform(rows), columns.transform(X), "cityblock")
    return np.sort(distances, axis=1)[:, n_left_out : n_left_out + k].mean(axis=1)


def few_values(n=80):
    """Whole numbers from 1: rows that repeat, and equal distances."""
    return np.random.default_rng(0).integers(1, 4, size=(n, 4)).astype(float)


# -- distances -----------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 20])
@pytest.mark.parametrize("scale", SCALINGS)
def test_a_new_row_has_all_neighbours_and_a_training_row_all_but_itself(scale, k):
    near = nearest(k=k, scale=scale)
    expected = by_hand(TRAIN, NEW, k, scale)
    np.testing.assert_allclose(np.exp(near.logs(NEW)[0]), expected, rtol=1e-12)
    expected = by_hand(TRAIN, TRAIN, k, scale, n_left_out=1)
    np.testing.assert_allclose(np.exp(near.logs(TRAIN)[0]), expected, rtol=1e-12)


@pytest.mark.parametrize("scale", SCALINGS)
@pytest.mark.parametrize("size", ["float32", 1e-9, "1e-6 std"])
def test_a_copy_that_was_moved_a_little_leaves_the_row_out_too(size, scale):
    noise = np.random.default_rng(0).uniform(-1, 1, size=TRAIN.shape)
    if size == "float32":
        moved = TRAIN.astype(np.float32).astype(np.float64)
    elif size == 1e-9:
        moved = TRAIN * (1 + size * noise)
    else:
        moved = TRAIN + 1e-6 * TRAIN.std(axis=0) * noise
    near = nearest(scale=scale)
    assert not np.array_equal(moved, TRAIN)
    np.testing.assert_allclose(near.logs(moved)[0], near.logs(TRAIN)[0], atol=1e-4)


def test_exactly_one_copy_is_left_out():
    X = np.r_[TRAIN, TRAIN[:1], TRAIN[:2]]  # the first row three times, one twice
    near, rows = nearest(X), TRAIN[:3]
    expected = np.exp(near.logs(rows)[0])
    for moved in (rows, rows * (1 + 1e-9)):
        np.testing.assert_allclose(np.exp(near.logs(moved)[0]), expected, rtol=1e-6)
    np.testing.assert_allclose(expected, by_hand(X, rows, 3, n_left_out=1))
    # Two of the three nearest of the first row are at distance zero, one of the next.
    columns = scaler(X)
    far = np.sort(
        cdist(columns.transform(rows), columns.transform(TRAIN), "cityblock"), axis=1
    )
    np.testing.assert_allclose(3 * expected[0], far[0, 1])
    np.testing.assert_allclose(3 * expected[1], far[1, 1] + far[1, 2])


@pytest.mark.parametrize("levels", [2, 4])
def test_a_row_with_many_copies_is_as_near_if_it_is_jittered(levels):
    # Few different rows have more copies each than there are neighbours.
    X = np.random.default_rng(0).integers(1, levels, size=(300, 2)).astype(float)
    X[:10] += 7
    near = nearest(X)
    jittered = X * (1 + 1e-9 * np.random.default_rng(1).uniform(-1, 1, size=X.shape))
    np.testing.assert_allclose(near.logs(jittered)[0], near.logs(X)[0], atol=1e-6)


def test_a_new_row_that_is_near_another_keeps_it_as_a_neighbour():
    X = np.arange(20.0)[:, None]
    near = nearest(X, k=2, scale=None)
    step = near._columns.transform(X)[1, 0] - near._columns.transform(X)[0, 0]
    beside = np.exp(near.logs(np.array([[5.01], [5.0]]))[0])
    np.testing.assert_allclose(beside, step * np.array([0.5, 1]), rtol=1e-12)


@pytest.mark.parametrize("X", [TRAIN, few_values()], ids=["wine", "ties"])
@pytest.mark.parametrize("scale", SCALINGS)
def test_a_distance_does_not_depend_on_the_other_rows(X, scale):
    near, rows = nearest(X, scale=scale), np.r_[X[:30], X[:30] + 0.5]
    logs = near.logs(rows)[0]
    order = np.random.default_rng(1).permutation(len(rows))
    np.testing.assert_array_equal(near.logs(rows[order])[0], logs[order])
    np.testing.assert_array_equal(near.logs(np.r_[rows + 1, rows])[0][-60:], logs)
    alone = np.concatenate([near.logs(row[None])[0] for row in rows])
    np.testing.assert_allclose(alone, logs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", SCALINGS)
@pytest.mark.parametrize("offset", [1.7e9, 2.0**40])
def test_an_offset_changes_no_distance(scale, offset):
    # Eighths near the offset are exact in float64; float32 has them as one number.
    rng = np.random.default_rng(0)
    X, new = (np.round(8 * rng.normal(4, 3, size=(n, 3))) / 8 for n in (60, 90))
    near, moved = nearest(X, scale=scale), nearest(X + offset, scale=scale)
    for rows in (X, new):
        np.testing.assert_allclose(
            moved.logs(rows + offset)[0], near.logs(rows)[0], rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("scale", SCALINGS)
def test_far_rows_are_far_and_finite(scale):
    near = nearest(scale=scale)
    rows = np.repeat(TRAIN[:1], 5, axis=0)
    rows[1:, 2] = 1e10, 1e100, 1e300, -1e300
    logs = near.logs(rows)[0]
    assert np.isfinite(logs).all()
    assert (np.diff(logs[:3]) > 10).all()
    assert (logs[3:] > logs[2] - 1).all()


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        # The other of two rows; equal ones are as near as distances get.
        ([[0.0], [2.0]], 2.0),
        ([[3.0], [3.0]], MIN_DISTANCE),
        ([[0.0], [2.0], [2.0]], 2.0),
    ],
)
def test_with_fewer_rows_than_neighbours_all_others_are_neighbours(X, expected):
    X = np.array(X)
    near = nearest(X, k=5, scale=None)
    unit = 1 / near._columns.scale_[0] if len(np.unique(X)) > 1 else 1.0
    np.testing.assert_allclose(np.exp(near.logs(X[:1])[0]), expected * unit)


def test_measures_of_some_of_the_rows_share_the_distances():
    is_even = np.arange(len(TRAIN)) % 2 == 0
    columns, sample = scaler(TRAIN), Sample(TRAIN)
    both = NearestDistances(columns, sample, [Nearest(3), Nearest(5, is_even)])
    logs, farthest = both.logs(NEW), both.farthest(NEW)
    distances = cdist(columns.transform(NEW), columns.transform(TRAIN), "cityblock")
    for i, (k, some) in enumerate([(3, distances), (5, distances[:, is_even])]):
        ordered = np.sort(some, axis=1)
        np.testing.assert_allclose(np.exp(logs[i]), ordered[:, :k].mean(axis=1))
        np.testing.assert_allclose(farthest[i], ordered[:, k])


def test_a_pickle_has_the_rows_once_and_gives_the_same():
    X = np.random.default_rng(0).normal(size=(500, 20))
    sample = Sample(X)
    several = [
        NearestDistances(scaler(X, scale), sample, [Nearest(3)])
        for scale in ("standard", "minmax")
    ]
    size = len(pickle.dumps(several))
    assert X.nbytes < size < 1.2 * X.nbytes
    restored = pickle.loads(pickle.dumps(several))
    for one, other in zip(several, restored, strict=True):
        np.testing.assert_array_equal(one.logs(X)[0], other.logs(X)[0])
        np.testing.assert_array_equal(one.logs(X + 0.1)[0], other.logs(X + 0.1)[0])


# -- columns by arcsinh --------------------------------------------------------------


def test_columns_are_arcsinh_of_robust_units():
    columns = ArcsinhColumns(scaler(TRAIN), TRAIN)
    # By the weighted quantiles' definition, of columns in any unit.
    q1, q2, q3 = np.percentile(
        TRAIN, (25, 50, 75), axis=0, method="averaged_inverted_cdf"
    )
    expected = np.arcsinh(1.349 * (NEW - q2) / (q3 - q1))
    np.testing.assert_allclose(columns.transform(NEW), expected, atol=1e-12)


def test_without_an_interquartile_range_the_unit_is_the_standard_deviation():
    X = np.c_[np.zeros(100), np.arange(100.0)]
    X[80:, 0] = np.arange(20)
    columns = ArcsinhColumns(scaler(X), X)
    np.testing.assert_allclose(
        columns.transform(X)[:, 0], np.arcsinh(X[:, 0] / X[:, 0].std()), atol=1e-12
    )


def test_a_constant_column_is_at_zero():
    X = np.c_[np.full(50, 7.0), np.arange(50.0)]
    columns = ArcsinhColumns(scaler(X), X)
    np.testing.assert_array_equal(columns.transform(X)[:, 0], 0)
    # One that differs is far, whatever its unit.
    assert columns.transform(np.array([[9.0, 3.0]]))[0, 0] > 1


def test_distances_may_be_of_them():
    columns = ArcsinhColumns(scaler(TRAIN), TRAIN)
    near = NearestDistances(columns, Sample(TRAIN), [Nearest(4)])
    distances = cdist(columns.transform(NEW), columns.transform(TRAIN), "cityblock")
    expected = np.sort(distances, axis=1)[:, :4].mean(axis=1)
    np.testing.assert_allclose(np.exp(near.logs(NEW)[0]), expected, rtol=1e-12)
    far = np.full((1, TRAIN.shape[1]), 1e300)
    assert np.isfinite(near.logs(far)[0]).all()
