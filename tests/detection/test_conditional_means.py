"""Conditional means of cells, by regression of each column on the others."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from sklearn_ae.detection._conditional_means import NOISE_SHARE, ConditionalMeans
from sklearn_ae.detection._neighbors import QueryRows
from sklearn_ae.tables._column_scaler import ColumnScaler


def correlated(n=300, d=6, rank=2, seed=0):
    mixing = np.random.default_rng(99).normal(size=(rank, d)) * np.arange(1, d + 1)
    random = np.random.default_rng(seed)
    return random.normal(size=(n, rank)) @ mixing + 0.3 * random.normal(size=(n, d)) + 5


def conditional_means(X, scale="standard", weight=None):
    weight = np.ones(len(X)) if weight is None else weight
    return ConditionalMeans(ColumnScaler(scale).fit(X, weight), X, weight)


@pytest.mark.parametrize("n", [300, 4], ids=["tall", "wide"])
def test_they_are_the_predictions_of_ridge_regression_on_the_other_columns(n):
    X = correlated(n)
    inside = X[: n // 2 + 1]
    means, deviations = conditional_means(X)(QueryRows(inside))
    columns = ColumnScaler("standard").fit(X, np.ones(n))
    # Noise in the Gaussian is a penalty in the regression; scaled columns have mean 0.
    ridge = Ridge(alpha=NOISE_SHARE * n, fit_intercept=False)
    Z, rows, expected = columns.transform(X), columns.transform(inside), means.copy()
    for j in range(X.shape[1]):
        ridge.fit(np.delete(Z, j, axis=1), Z[:, j])
        expected[:, j] = ridge.predict(np.delete(rows, j, axis=1))
    np.testing.assert_allclose(columns.transform(means), expected, atol=1e-9)
    # By the Gaussian's conditional standard deviations.
    precision = np.linalg.inv(Z.T @ Z / n + NOISE_SHARE * np.eye(X.shape[1]))
    squares = np.square(rows - expected) * np.diag(precision)
    np.testing.assert_allclose(np.square(deviations), squares, atol=1e-8)


@pytest.mark.parametrize("scale", ["standard", "minmax", "quantile", None])
def test_a_wrong_cell_is_farthest_and_its_right_value_expected(scale):
    X, rows = correlated(600), correlated(300, seed=1)
    every, cells = np.arange(300), np.arange(300) % 6
    was = rows[every, cells].copy()
    std = X.std(axis=0)[cells]
    for wrong in (was + 5 * std, was - 5 * std, 1e15 * std, np.median(X, 0)[cells]):
        rows[every, cells] = wrong
        means, deviations = conditional_means(X, scale)(QueryRows(rows))
        is_wrong = np.abs(wrong - was) > std
        found = (deviations.argmax(axis=1) == cells)[is_wrong]
        assert found.mean() > 0.85
        error = np.abs(means[every, cells] - was) / std
        assert np.median(error[is_wrong]) < 0.2


def test_a_weight_counts_as_copies():
    X, rows = correlated(40), QueryRows(correlated(10, seed=1))
    weight = np.arange(40) % 3 + 1.0
    copies = conditional_means(X.repeat(weight.astype(int), axis=0))
    np.testing.assert_allclose(
        conditional_means(X, weight=weight)(rows).means, copies(rows).means
    )


def test_an_offset_changes_nothing():
    X, rows = correlated(), correlated(10, seed=1)
    expected = conditional_means(X)(QueryRows(rows))
    means, deviations = conditional_means(X + 1e6)(QueryRows(rows + 1e6))
    np.testing.assert_allclose(means - 1e6, expected.means, atol=1e-6)
    np.testing.assert_allclose(deviations, expected.deviations, atol=1e-6)


@pytest.mark.parametrize("scale", ["standard", "minmax", "quantile", None])
def test_of_a_constant_column_the_constant_is_expected(scale):
    X = correlated()
    X[:, 2] = 7
    rows = correlated(10, seed=1)
    rows[:, 2] = 9
    means, deviations = conditional_means(X, scale)(QueryRows(rows))
    np.testing.assert_allclose(means[:, 2], 7)
    assert (deviations[:, 2] > 1).all()
    constant = np.full((4, 3), 2.0)
    means, deviations = conditional_means(constant, scale)(QueryRows(constant))
    np.testing.assert_array_equal(means, constant)
    np.testing.assert_array_equal(deviations, 0)
