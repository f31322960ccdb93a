"""Reasons, contributions and labels, by contributions that are given."""

import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sklearn_ae import AEOutlierDetector, AutoencoderTransformer
from sklearn_ae.detection._explanation import Explanation, ExplanationMixin

X = np.arange(12.0).reshape(4, 3)
# The second row has no outlying cell; in the third a cell makes the score higher.
CONTRIBUTIONS = np.array([[1.0, 5.0, 2.0], [0, 0, 0], [6, -3, 2], [2, 1, 1]])
EXPECTED = 100 - X
SHARES = [5 / 8, 2 / 8, 6 / 8, 2 / 8, 2 / 4, 1 / 4]
ROWS, COLUMNS = [0, 0, 2, 2, 3, 3], [1, 2, 0, 2, 0, 1]


class Explained(ExplanationMixin):
    """A detector whose scorer explains any rows by the numbers above."""

    n_features_in_ = 3

    class _scorer:
        @staticmethod
        def explain(cells):
            return Explanation(CONTRIBUTIONS, EXPECTED)

    def _check(self, X, min_rows=1):
        return np.asarray(X, dtype=np.float64)


def frame(index=("a", "b", "c", "d"), columns=("x", "y", "z")):
    return pd.DataFrame(X, index=index, columns=columns)


def test_reasons_are_the_largest_shares_of_the_positive_contributions():
    reasons = Explained().reasons(X, k=2)
    expected = pd.DataFrame(
        {
            "row": ROWS,
            "column": COLUMNS,
            "value": X[ROWS, COLUMNS],
            "expected": EXPECTED[ROWS, COLUMNS],
            "share": SHARES,
        }
    )
    pd.testing.assert_frame_equal(reasons, expected)


def test_shares_of_all_reasons_sum_to_one_where_there_are_any():
    for k in (3, 99):
        reasons = Explained().reasons(X, k)
        assert (reasons["share"] > 0).all()
        sums = reasons.groupby("row")["share"].sum()
        assert sums.index.tolist() == [0, 2, 3]
        np.testing.assert_allclose(sums, 1)
    # The cell that makes the third row's score higher is no reason.
    assert reasons.query("row == 2")["column"].tolist() == [0, 2]
    assert Explained().reasons(X).equals(Explained().reasons(X, k=3))


def test_rounding_errors_are_no_reasons(monkeypatch):
    # 1e-15 beside 1 is a rest of a subtraction; a thousandth is a share.
    cells = np.array([[1.0, 1e-15, 1e-3]] * 4)
    monkeypatch.setattr(sys.modules[__name__], "CONTRIBUTIONS", cells)
    assert Explained().reasons(X)["column"].tolist() == [0, 2] * 4


def test_without_outlying_cells_there_are_no_reasons_but_their_columns(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "CONTRIBUTIONS", np.zeros((4, 3)))
    for table in (X, frame(), pl.DataFrame(X)):
        reasons = Explained().reasons(table)
        assert reasons.shape == (0, 5)


@pytest.mark.parametrize(
    "index",
    [
        pd.Index(list("abcd")),
        pd.Index([7, 7, 8, 9]),
        pd.date_range("2026-01-01", periods=4, tz="Europe/Berlin"),
        pd.MultiIndex.from_product([["pump", "fan"], [1, 2]]),
    ],
    ids=["text", "repeated", "times", "levels"],
)
def test_rows_and_columns_of_pandas_are_its_labels(index):
    reasons = Explained().reasons(frame(index), k=2)
    assert reasons["row"].tolist() == index[ROWS].tolist()
    assert reasons["column"].tolist() == list("yzxzxy")
    if not isinstance(index, pd.MultiIndex):
        assert reasons["row"].dtype == index.dtype
    numbers = Explained().reasons(X, k=2)
    for name in ("value", "expected", "share"):
        np.testing.assert_array_equal(reasons[name], numbers[name])
    assert reasons.index.tolist() == list(range(6))


def test_of_polars_reasons_and_explanations_are_polars():
    table = pl.DataFrame(X.astype(int), schema=list("xyz"))
    reasons = Explained().reasons(table, k=2)
    assert reasons.schema == {
        "row": pl.Int64,
        "column": pl.String,
        "value": pl.Float64,
        "expected": pl.Float64,
        "share": pl.Float64,
    }
    labels = np.array(list("xyz"))[COLUMNS]
    expected = Explained().reasons(X, k=2).assign(column=labels)
    assert reasons.rows() == list(expected.itertuples(index=False, name=None))
    contributions, expected = Explained().explain(table)
    for part, numbers in ((contributions, CONTRIBUTIONS), (expected, EXPECTED)):
        assert isinstance(part, pl.DataFrame)
        assert part.columns == list("xyz")
        np.testing.assert_array_equal(part.to_numpy(), numbers)
    assert Explained().top_features(table, 2).tolist()[0] == ["y", "z"]


def test_the_first_line_of_everybody_names_the_column_that_contributes_most():
    contributions = Explained().explain(frame()).contributions
    assert contributions.idxmax(axis=1).tolist() == ["y", "x", "x", "x"]
    assert Explained().top_features(frame())[:, 0].tolist() == ["y", "x", "x", "x"]


def test_an_array_has_the_names_of_fit_or_positions():
    named = Explained()
    assert named.top_features(X, 2).tolist()[0] == [1, 2]
    named.feature_names_in_ = np.array(list("uvw"), dtype=object)
    assert named.top_features(X, 2).tolist()[0] == ["v", "w"]
    reasons = named.reasons(X, 1)
    assert reasons["column"].tolist() == ["v", "u", "u"]
    assert reasons["row"].tolist() == [0, 2, 3]


@pytest.mark.parametrize("method", ["reasons", "top_features"])
@pytest.mark.parametrize("k", [0, -1, 1.5, "all", None])
def test_another_number_of_reasons_is_refused(method, k):
    with pytest.raises((ValueError, TypeError), match="k"):
        getattr(Explained(), method)(X, k)


def test_reasons_of_a_fit_name_a_cell_that_is_far():
    table = pd.DataFrame(
        np.random.default_rng(0).normal(size=(100, 3)), columns=[*"xyz"]
    )
    autoencoder = AutoencoderTransformer(2, hidden_layer_sizes=(4,), max_iter=2)
    detector = AEOutlierDetector(0, autoencoder=autoencoder, random_state=0).fit(table)
    odd = table[3:6].copy()
    odd.loc[4, "y"] = 99
    first = detector.reasons(odd, 1).set_index("row").loc[4]
    assert first["column"] == "y"
    assert first["value"] == 99
    assert abs(first["expected"]) < 3
    assert first["share"] > 0.9


@pytest.mark.parametrize("settings", [{}, {"method": "reconstruction"}])
def test_no_rows_have_no_reasons(settings):
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=list("abc"))
    fitted = AEOutlierDetector(random_state=0, **settings).fit(X)
    reasons = fitted.reasons(X[:0])
    assert len(reasons) == 0
    assert list(reasons) == ["row", "column", "value", "expected", "share"]
    assert fitted.explain(X[:0]).contributions.shape == (0, 3)
    assert fitted.top_features(X[:0], 2).shape == (0, 2)
