import numpy as np
import pytest
from scipy.stats import chisquare, norm, rankdata
from sklearn.datasets import load_wine
from sklearn.preprocessing import QuantileTransformer

from sklearn_ae.tables import _normal_scores
from sklearn_ae.tables._normal_scores import NormalScores


def test_scores_are_the_normal_quantiles_of_the_middle_ranks():
    X = load_wine().data
    expected = norm.ppf((rankdata(X, axis=0) - 0.5) / len(X))
    scores = NormalScores().fit(X)
    np.testing.assert_allclose(scores.transform(X), expected, atol=1e-12)
    np.testing.assert_allclose(scores.inverse_transform(expected), X, rtol=1e-12)


def test_between_and_beyond_what_is_known():
    scores = NormalScores().fit(np.array([[0.0], [1.0], [3.0]]))
    spread = np.std([0, 1, 3])
    Z = norm.ppf([[2 / 3], [1 / 6], [5 / 6]])
    Z += np.array([[0], [-7], [6]]) / spread
    new = np.array([[2.0], [-7], [9]])
    np.testing.assert_allclose(scores.transform(new), Z, rtol=1e-6)
    back = scores.inverse_transform(np.array([Z[0], [-9.0], [9.0]]))
    np.testing.assert_allclose(back.ravel(), [2, 0, 3])


def test_beside_a_frequent_value_ranks_go_on_from_its_mean_rank():
    scores = NormalScores().fit(np.array([[0.0]] * 6 + [[1.0]] * 4))
    Z = scores.transform(np.array([[0.0], [1e-9], [0.5], [1.0]]))
    np.testing.assert_allclose(norm.cdf(Z).ravel(), [0.3, 0.3, 0.55, 0.8])


def test_normal_draws_come_back_with_the_values_as_often_as_they_were():
    counts = np.array([1500, 10, 900, 590])
    X = np.repeat([0.0, 1.0, 2.0, 7.0], counts)[:, None]
    scores = NormalScores().fit(X)
    Z = np.random.default_rng(0).normal(size=(30_000, 1))
    drawn = scores.inverse_transform(Z).ravel()
    # Between two values lies one row in n at the most.
    assert np.isin(drawn, [0, 1, 2, 7]).mean() > 0.998
    seen = [(np.abs(drawn - value) < 0.5).sum() for value in (0, 1, 2, 7)]
    expected = counts / counts.sum() * sum(seen)
    assert chisquare(seen, expected).pvalue > 0.001


def test_frequent_ends_are_not_far_out():
    # Nine tenths of a column at its least value, as counts and amounts are.
    X = np.r_[np.zeros(900), np.arange(1.0, 101.0)][:, None]
    Z = NormalScores().fit(X).transform(X)
    assert Z.min() == pytest.approx(norm.ppf(0.45))
    theirs = QuantileTransformer(output_distribution="normal").fit_transform(X)
    assert theirs.min() < -5


@pytest.mark.parametrize("n", [1_000, 20_000])
def test_many_values_are_known_by_quantiles(n):
    X = np.random.default_rng(0).exponential(size=(n, 1))
    X[: n // 5] = 0.25
    scores = NormalScores().fit(X)
    ((values, ranks),) = scores._columns
    assert len(values) == len(ranks) <= 2 * _normal_scores.MAX_QUANTILES
    exact = norm.ppf((rankdata(X, axis=0) - 0.5) / n)
    inner = np.abs(exact) < 2.5
    np.testing.assert_allclose(scores.transform(X)[inner], exact[inner], atol=0.02)
    assert values.min() == X.min()
    assert values.max() == X.max()
    # The frequent value keeps its whole share.
    Z = np.random.default_rng(1).normal(size=(20_000, 1))
    assert (scores.inverse_transform(Z) == 0.25).mean() == pytest.approx(0.2, abs=0.01)


def test_one_value_is_at_zero():
    scores = NormalScores().fit(np.full((5, 1), 3.0))
    assert scores.transform(np.array([[3.0]])) == 0
    assert (scores.inverse_transform(np.array([[-4.0], [4.0]])) == 3).all()


@pytest.mark.parametrize("value", [0.1, -1e6 / 3, 1e-310])
def test_float32_of_a_frequent_value_is_that_value(value):
    X = np.full((100, 1), value)
    X[90:, 0] = value + np.abs(value) * np.arange(1, 11)
    scores = NormalScores().fit(X)
    rounded = X[:1].astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(scores.transform(rounded), scores.transform(X[:1]), 1e-6)
    assert np.isfinite(scores.transform(X)).all()


@pytest.mark.parametrize("offset", [1e6, 1e10])
def test_columns_far_from_zero_keep_their_order(offset):
    X = np.random.default_rng(0).normal(size=(200, 1))
    expected = NormalScores().fit(X).transform(X)
    Z = NormalScores().fit(X + offset).transform(X + offset)
    np.testing.assert_allclose(Z, expected, atol=1e-6)
