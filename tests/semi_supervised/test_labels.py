"""What is a label, and which labelled rows are held out."""

import numpy as np
import pandas as pd
import pytest

from sklearn_ae.semi_supervised._labels import (
    encode_classes,
    encode_numbers,
    merge_rows,
    stratified_holdout,
)


@pytest.mark.parametrize(
    ("y", "target", "classes"),
    [
        ([0, 1, -1, 1], [0, 1, -1, 1], [0, 1]),
        ([3.0, np.nan, 5.0], [0, -1, 1], [3, 5]),
        ([-1, 1, 1], [0, 1, 1], [-1, 1]),
        ([-1, 0, 2], [-1, 0, 1], [0, 2]),
        (["b", None, "a"], [1, -1, 0], ["a", "b"]),
        (["b", np.nan, "a"], [1, -1, 0], ["a", "b"]),
        (["b", -1, "a"], [1, -1, 0], ["a", "b"]),
        (np.array(["b", np.nan, "a", -1], dtype=object), [1, -1, 0, -1], ["a", "b"]),
        (np.array([2, None, 1], dtype=object), [1, -1, 0], [1, 2]),
        ([True, False], [1, 0], [False, True]),
        (np.array(["-1", "1"]), [0, 1], ["-1", "1"]),
        (pd.Series([1, pd.NA, 2], dtype="Int64"), [0, -1, 1], [1, 2]),
        (pd.Categorical(["x", None, "y"]), [0, -1, 1], ["x", "y"]),
    ],
)
def test_classes(y, target, classes):
    found, names = encode_classes(y)
    assert found.tolist() == target
    assert names.tolist() == classes
    assert found.dtype == np.int64


def test_known_classes():
    found, names = encode_classes([2, -1, 0], np.array([0, 1, 2]))
    assert found.tolist() == [2, -1, 0]
    assert names.tolist() == [0, 1, 2]
    # Where it was named a class, it is one.
    assert encode_classes([-1, 2, -1], np.array([-1, 1, 2]))[0].tolist() == [0, 2, 0]


def test_numbers():
    y = np.array([1, None, 2.5, np.nan], dtype=object)
    np.testing.assert_array_equal(encode_numbers(y), [1, np.nan, 2.5, np.nan])


def test_judges_are_each_class_by_its_share():
    target = np.repeat([0, 1, 2, 3], [40, 20, 4, 1])
    target = np.random.default_rng(0).permutation(target)
    rows = stratified_holdout(target, 16)
    assert np.bincount(target[rows], minlength=4).tolist() == [10, 5, 1, 0]
    # From the front of each class.
    for one in range(3):
        of_it = np.flatnonzero(target == one)
        n = (target[rows] == one).sum()
        assert np.isin(of_it[:n], rows).all()


def test_the_last_row_of_a_class_is_not_held_out():
    target = np.array([0, 0, 1, 1, 2])
    assert stratified_holdout(target, 5).tolist() == [0, 2]


def test_merged_rows_by_hand():
    X = np.array([[1.0], [1], [1], [2], [2], [3]])
    target = np.array([0, 0, 1, 0, -1, -1])
    known, others = merge_rows(
        X, target, target >= 0, np.array([1, 2, 1, 1, 4, 0.0]), 0
    )
    found = sorted(zip(known.X[:, 0], known.target, known.weight, strict=True))
    assert found == [(1, 0, 3), (1, 1, 1), (2, 0, 1)]
    assert (others.X.tolist(), others.weight.tolist()) == ([[2]], [4])
