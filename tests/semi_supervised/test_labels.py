"""What is a label, and which labelled rows are held out."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.exceptions import DataConversionWarning

from sklearn_ae.semi_supervised._labels import (
    MergedRows,
    class_weights,
    encode_classes,
    encode_numbers,
    merge_rows,
    read_classes,
    read_labels,
    safe_exponent,
    stratified_holdout,
)


@pytest.mark.parametrize(
    ("y", "target", "classes"),
    [
        ([0, 1, -1, -1], [0, 1, -1, -1], [0, 1]),
        ([1, 2, -1, 2], [0, 1, -1, 1], [1, 2]),
        ([3.0, np.nan, 5.0], [0, -1, 1], [3, 5]),
        ([4, np.nan, 5], [0, -1, 1], [4, 5]),
        ([-1, 0, 2], [-1, 0, 1], [0, 2]),
        (["b", None, "a"], [1, -1, 0], ["a", "b"]),
        (["b", np.nan, "a"], [1, -1, 0], ["a", "b"]),
        (["b", -1, "a"], [1, -1, 0], ["a", "b"]),
        (np.array(["b", np.nan, "a", -1], dtype=object), [1, -1, 0, -1], ["a", "b"]),
        (np.array([2, None, 1], dtype=object), [1, -1, 0], [1, 2]),
        ([True, False], [1, 0], [False, True]),
        (pd.Series([1, pd.NA, 2], dtype="Int64"), [0, -1, 1], [1, 2]),
        (pd.Categorical(["x", None, "y"]), [0, -1, 1], ["x", "y"]),
    ],
)
def test_classes(y, target, classes):
    found, names = encode_classes(y)
    assert found.tolist() == target
    assert names.tolist() == classes
    assert found.dtype == np.int64


WORDS = ["b", None, "a"]
CATEGORIES = pd.CategoricalDtype([7, 5, 6])


@pytest.mark.parametrize(
    ("y", "dtype", "kind"),
    [
        (pd.Series([1, None, 0], dtype="Int64"), np.int64, int),
        (pd.Series([1, None, 0], dtype="UInt8"), np.uint8, int),
        (pd.array([1, None, 0], dtype="Int64"), np.int64, int),
        (pd.Index([1, None, 0], dtype="Int64"), np.int64, int),
        (pd.Series([1, None, 0], dtype="Float64"), np.float64, float),
        (pd.Series([True, None, False], dtype="boolean"), bool, bool),
        (pd.Series(WORDS, dtype="string"), object, str),
        (pd.Series(WORDS, dtype="str"), object, str),
        (pd.Series(WORDS, dtype="category"), object, str),
        (pd.Series([7, None, 5], dtype=CATEGORIES), np.int64, int),
        (pd.Categorical([7, None, 5]), np.int64, int),
        (pd.Series([True, None, False]).astype("category"), bool, bool),
        (pl.Series([1, None, 0]), np.int64, int),
        (pl.Series([True, None, False]), bool, bool),
        (pl.Series(WORDS), object, str),
        (pl.Series(WORDS, dtype=pl.Categorical), object, str),
        (np.array(WORDS, np.dtypes.StringDType(na_object=None)), object, str),
        (np.array(WORDS, dtype=object), object, str),
        (np.array([1, None, 0], dtype=object), np.int64, int),
        (np.array([1, pd.NA, 0], dtype=object), np.int64, int),
        (np.array([True, None, False], dtype=object), bool, bool),
        ([1, np.nan, 0], np.int64, int),
        (WORDS, np.dtype("<U1"), str),
    ],
)
def test_a_missing_label_leaves_the_classes_their_type(y, dtype, kind):
    target, classes = encode_classes(y)
    assert target.tolist() == [1, -1, 0]
    assert classes.dtype == dtype
    assert {type(name) for name in classes.tolist()} == {kind}
    # The same from the argument of partial_fit.
    given = read_classes(y[[0, 2]] if hasattr(y, "dtype") else [y[0], y[2]], "auto")
    assert given.dtype == dtype
    assert encode_classes(y, given)[0].tolist() == [1, -1, 0]


@pytest.mark.parametrize(
    "y",
    [
        pd.DataFrame({"y": pd.Series([1, None, 0], dtype="Int64")}),
        pl.DataFrame({"y": [1, None, 0]}),
        np.array([[2], [-1], [1]]),
    ],
)
def test_a_column_of_a_frame_is_taken_with_a_warning(y):
    with pytest.warns(DataConversionWarning, match="column-vector"):
        target, classes = encode_classes(y)
    assert target.tolist() == [1, -1, 0]
    assert classes.dtype == np.int64


def test_two_columns_are_refused():
    with pytest.raises(ValueError, match="1d array"):
        encode_classes(pd.DataFrame(np.eye(3)))


# -- minus one -------------------------------------------------------------------


@pytest.mark.parametrize("kind", [int, float, object])
@pytest.mark.parametrize("others", [[0, 1], [1, 2], [-2, 2]])
def test_a_setting_reads_minus_one_the_same_beside_any_others(others, kind):
    y = np.array([*others, -1, others[0]], dtype=kind)
    for i in (0, 1):  # and in a part with one class alone
        for part in (y, y[[i, 2]]):
            strict = read_labels(part, -1)
            assert strict.values.tolist() == [v for v in part if v != -1]
            assert read_labels(part, None).values.tolist() == part.tolist()
    assert encode_classes(y, None, -1)[1].tolist() == others
    assert encode_classes(y, None, None)[1].tolist() == sorted({*others, -1})
    with pytest.raises(ValueError, match=r"1 class\(es\): \[1\]"):
        encode_classes([1, -1, 1], None, -1)


def test_minus_one_and_one_alone_are_classes_with_a_warning():
    for kind in (int, float, object):
        y = np.array([-1, 1, 1], dtype=kind)
        with pytest.warns(UserWarning, match="taken as two classes. Set missing_label"):
            target, classes = encode_classes(y)
        assert (target.tolist(), classes.tolist()) == ([0, 1, 1], [-1, 1])
    # Where classes are given there is nothing to guess.
    classes = np.array([-1, 1])
    assert encode_classes([-1, 1, 1], classes)[0].tolist() == [0, 1, 1]
    assert encode_classes([-1, 1, 1], np.array([0, 1]))[0].tolist() == [-1, 1, 1]


@pytest.mark.parametrize(
    ("y", "beside"),
    [
        ([-1, -2, 3], "the class -2"),
        ([-1, 0, None, 1], "None, NaN or NA"),
        ([-1, 0, 1, 1, -1, 0], "0 and 1, one of them as frequent"),
    ],
)
def test_minus_one_that_may_be_a_class_warns(y, beside):
    with pytest.warns(UserWarning, match=f"-1 beside {beside}.*taken as no label"):
        assert -1 not in encode_classes(y)[1]
    assert -1 not in encode_classes(y, None, -1)[1]
    assert -1 in encode_classes(y, None, None)[1]


@pytest.mark.parametrize("missing", [-1, np.nan, "None", "<NA>"])
def test_text_that_numpy_made_of_a_missing_label_warns(missing):
    y = np.array(["a", missing, "b"])
    for setting in ("auto", -1):
        with pytest.warns(UserWarning, match="is taken as a class: numpy makes text"):
            assert len(encode_classes(y, None, setting)[1]) == 3
    assert len(encode_classes(y, None, None)[1]) == 3


@pytest.mark.parametrize(
    ("y", "match"),
    [
        ([0, "a", None], "labels of two kinds, such as 'a' and 0"),
        ([1, np.inf, 2], "infinity"),
        (np.ma.masked_equal([1, 0, 9], 9), "masked"),
        (np.array([1, 2j]), "Complex data"),
    ],
)
def test_labels_that_are_refused(y, match):
    with pytest.raises(ValueError, match=match):
        encode_classes(y)


def test_classes_that_are_refused():
    with pytest.raises(ValueError, match="classes has None, NaN or NA"):
        read_classes([0, 1, None], "auto")
    with pytest.raises(ValueError, match="classes has -1, but"):
        read_classes([-1, 1], -1)
    with pytest.raises(ValueError, match=r"label -1, .*None, NaN, NA\."):
        encode_classes([-1, 0], np.array([0, 1]), None)


def test_given_classes():
    found, names = encode_classes([2, -1, 0], np.array([0, 1, 2]))
    assert found.tolist() == [2, -1, 0]
    assert names.tolist() == [0, 1, 2]
    # Where it was named a class, it is one.
    assert encode_classes([-1, 2, -1], np.array([-1, 1, 2]))[0].tolist() == [0, 2, 0]


def test_numbers():
    y = np.array([1, None, 2.5, np.nan], dtype=object)
    np.testing.assert_array_equal(encode_numbers(y), [1, np.nan, 2.5, np.nan])
    for y in (
        [1, None, -1],
        pd.Series([1, None, -1], dtype="Int64"),
        pd.Series([1, None, -1], dtype="Float64"),
        pd.Series([1, None, -1], dtype="category"),
        pl.Series([1, None, -1]),
        np.ma.array([1, np.nan, -1]),
    ):
        np.testing.assert_array_equal(encode_numbers(y), [1, np.nan, -1])


@pytest.mark.parametrize(
    "y",
    [
        ["a", 1],
        [10**400, 1],
        pd.Series(pd.date_range("2020", periods=2)),
        np.array([1, np.inf]),
        np.ma.masked_equal([1, 2], 2),
        np.array([1, 2j]),
        np.array([1, np.finfo(np.longdouble).max]),
    ],
)
def test_no_numbers(y):
    with pytest.raises(ValueError, match=r"must be numbers|infinity|masked|Complex"):
        encode_numbers(y)


@pytest.mark.parametrize("y", [5e-324, 1e-200, 1e-3, 7.0, 1e70, 1e200, 1.7e308])
def test_numbers_and_their_squares_are_finite_after_a_power_of_two(y):
    exponent = safe_exponent(np.array([0, -y]))
    assert (exponent == 0) == (1e-77 < y < 1e77)
    small = np.ldexp(y, -exponent)
    assert 0 < small**2 < 1e200
    assert np.ldexp(small, exponent) == y


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


@pytest.mark.parametrize("scale", [1, 3, 1e-60, 2.0**200])
def test_ratios_of_weights_alone_count(scale):
    X, target = np.array([[1.0], [2], [3], [4]]), np.array([0, 1, 0, -1])
    weight = scale * np.array([2, 2, 6, 4])
    labelled, others = merge_rows(X, target, target >= 0, weight, 0)
    found = dict(zip(labelled.X[:, 0], labelled.weight, strict=True))
    # The median of the labelled ones is one.
    assert found == pytest.approx({1: 1, 2: 1, 3: 3})
    assert others.weight == pytest.approx([2])


def test_one_row_of_all_the_weight_stays_finite():
    X, target = np.array([[1.0], [2], [3]]), np.array([0, 1, 0])
    labelled, _ = merge_rows(X, target, target >= 0, np.array([1, 1e-300, 1e-300]), 0)
    assert sorted(labelled.weight) == pytest.approx([1, 1, 1e12])


@pytest.mark.parametrize("scale", [1e-300, 1, 1e300])
def test_class_weights_of_any_size(scale):
    rows = MergedRows(np.zeros((3, 1)), np.ones(3), np.array([0, 1, 1]))
    classes = np.array(["a", "b"])
    weights = class_weights({"a": scale, "b": 3 * scale}, classes, rows)
    assert weights[1] / weights[0] == pytest.approx(3)
    assert 1e-77 < weights.min() < weights.max() < 1e77
    weights = class_weights({"a": 0, "b": scale}, classes, rows)
    assert 0 < weights[0] < 1e-30 * weights[1]


@pytest.mark.parametrize("bad", [-1, np.nan, np.inf])
def test_class_weights_that_are_refused(bad):
    rows = MergedRows(np.zeros((3, 1)), np.ones(3), np.array([0, 1, 1]))
    match = f"class_weight has {float(bad)} for class 'b'"
    with pytest.raises(ValueError, match=match):
        class_weights({"a": 1, "b": bad}, np.array(["a", "b"]), rows)
    with pytest.raises(ValueError, match="not all 0"):
        class_weights({"a": 0, "b": 0}, np.array(["a", "b"]), rows)
