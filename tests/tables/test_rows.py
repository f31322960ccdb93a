import numpy as np
import pytest

from sklearn_ae.tables import _rows
from sklearn_ae.tables._rows import RowView, merge_equal_rows, systematic_sample


@pytest.fixture(params=[np.float64, np.float32])
def X(request):
    """Twelve rows of which some are equal."""
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype(request.param)
    return rows[[0, 1, 2, 0, 3, 3, 4, 0, 2, 1, 0, 4]]


def as_dict(X, rows, weight):
    return {tuple(X[i]): w for i, w in zip(rows, weight, strict=True)}


def test_rows_of_a_table_are_gathered_when_asked_for(X):
    rows = np.array([7, 0, 11, 3])
    some = RowView(X, rows)
    assert (len(some), some.shape) == (4, (4, 3))
    np.testing.assert_array_equal(some[1:3], X[[0, 11]])
    np.testing.assert_array_equal(some[np.array([3, 0])], X[[3, 7]])


# -- merge_equal_rows ------------------------------------------------------------


def test_equal_rows_become_one_with_their_number_as_weight(X):
    rows, weight = merge_equal_rows(X, None, seed=3)
    distinct, counts = np.unique(X, axis=0, return_counts=True)
    assert len(rows) == len(distinct)
    assert as_dict(X, rows, weight) == as_dict(distinct, range(5), counts)


def test_weights_of_equal_rows_are_summed_and_zeros_left_out(X):
    given = np.arange(len(X), dtype=float)
    given[[6, 11]] = 0  # both copies of row 4
    rows, weight = merge_equal_rows(X, given, seed=3)
    expected = {}
    for row, w in zip(X, given, strict=True):
        if w > 0:
            expected[tuple(row)] = expected.get(tuple(row), 0) + w
    assert as_dict(X, rows, weight) == expected
    assert len(expected) == 4


@pytest.mark.parametrize("weighted", [False, True])
def test_the_order_of_the_rows_does_not_matter(X, weighted):
    # The last bit of a sum of these depends on the order of its terms.
    X = np.tile(X, (3, 1))
    given = np.random.default_rng(1).random(len(X)) if weighted else None
    rows, weight = merge_equal_rows(X, given, seed=3)
    for seed in range(10):
        p = np.random.default_rng(seed).permutation(len(X))
        others, weights = merge_equal_rows(X[p], given[p] if weighted else None, seed=3)
        np.testing.assert_array_equal(X[p][others], X[rows])
        np.testing.assert_array_equal(weights, weight)


def test_the_order_is_random_and_the_seed_decides_it():
    X = np.arange(500.0)[:, None]  # one column and round numbers: hardest to mix
    first, _ = merge_equal_rows(X, None, seed=1)
    again, _ = merge_equal_rows(X, None, seed=1)
    other, _ = merge_equal_rows(X, None, seed=2)
    np.testing.assert_array_equal(first, again)
    for a, b in [(first, np.arange(500)), (first, other), (other, np.arange(500))]:
        # Spearman's rho of two random orders has standard deviation 0.045.
        assert abs(np.corrcoef(np.argsort(a), np.argsort(b))[0, 1]) < 0.25


def test_a_table_and_its_float32_copy_have_one_order():
    X = np.random.default_rng(0).normal(size=(300, 3)) * [1, 1e300, 1e-300]
    with np.errstate(over="ignore"):
        copy = X.astype(np.float32)
    rows, _ = merge_equal_rows(X, None, seed=3)
    of_copy, _ = merge_equal_rows(copy, None, seed=3)
    np.testing.assert_array_equal(rows, of_copy)
    # The same numbers in float64 again.
    np.testing.assert_array_equal(
        rows, merge_equal_rows(copy.astype(float), None, 3)[0]
    )


def test_rows_that_float32_cannot_tell_apart_are_not_held_out_together():
    # float32 takes the seconds of two minutes for one.
    X = 1.7e9 + np.arange(2_000.0)[:, None]
    rows, _ = merge_equal_rows(X, None, seed=1)
    held_out = np.bincount(rows[:400] // 100, minlength=20)
    # Each of 20 random draws has between 8 and 34 but for one in a thousand times.
    assert held_out.min() >= 8
    assert held_out.max() <= 34


def test_rows_that_float32_cannot_tell_apart_are_ordered_by_their_values_alone():
    X = 1e9 + np.arange(50.0)[:, None]
    rows, weight = merge_equal_rows(X, None, seed=3)
    np.testing.assert_array_equal(weight, np.ones(50))
    p = np.random.default_rng(0).permutation(50)
    np.testing.assert_array_equal(
        X[rows], X[p][merge_equal_rows(X[p], None, seed=3)[0]]
    )
    assert not np.array_equal(rows, np.sort(rows))


def test_minus_zero_is_zero():
    X = np.array([[0.0, 1.0], [-0.0, 1.0], [-0.0, -1.0]])
    rows, weight = merge_equal_rows(X, None, seed=0)
    assert as_dict(X, rows, weight) == {(0.0, 1.0): 2, (0.0, -1.0): 1}


def test_columns_do_not_commute_in_the_hash():
    rows, _ = merge_equal_rows(np.array([[1.0, 2.0], [2.0, 1.0], [3.0, 3.0]]), None, 0)
    assert len(rows) == 3


def test_a_collision_of_the_hash_does_not_merge_different_rows(X, monkeypatch):
    monkeypatch.setattr(
        _rows, "_row_hash", lambda X, seed, dtype: np.zeros(len(X), dtype=np.uint64)
    )
    rows, weight = merge_equal_rows(X, None, seed=0)
    total = {}
    for i, w in zip(rows, weight, strict=True):
        total[tuple(X[i])] = total.get(tuple(X[i]), 0) + w
    distinct, counts = np.unique(X, axis=0, return_counts=True)
    assert total == as_dict(distinct, range(5), counts)


# -- Rows ------------------------------------------------------------------------


def test_systematic_sample_is_in_proportion_to_weight():
    weight = np.array([1.0, 5.0, 2.0, 0.5, 1.5])
    rows = systematic_sample(weight, 10)
    assert np.bincount(rows, minlength=5) == pytest.approx(weight, abs=1)
    np.testing.assert_array_equal(systematic_sample(np.ones(7), 100), np.arange(7))
    np.testing.assert_array_equal(
        systematic_sample(np.array([1.0, 3.0, 2.0]), 100), [0, 1, 1, 1, 2, 2]
    )
    # Evenly spaced where there are too many.
    assert np.diff(systematic_sample(np.ones(1_000), 10)).tolist() == [100] * 9
