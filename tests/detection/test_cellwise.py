"""Cells that do not fit the others of their row, and the values that would."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from sklearn_ae import AEOutlierDetector
from sklearn_ae.detection._cellwise import CUTOFF, NOISE_SHARE, CellwiseGaussian
from sklearn_ae.detection._nearest_distance import Sample
from sklearn_ae.tables._column_scaler import ColumnScaler


def correlated(n=300, d=6, rank=2, seed=0):
    mixing = np.random.default_rng(99).normal(size=(rank, d)) * np.arange(1, d + 1)
    random = np.random.default_rng(seed)
    return random.normal(size=(n, rank)) @ mixing + 0.3 * random.normal(size=(n, d)) + 5


def gaussian(X, scale="standard"):
    return CellwiseGaussian(ColumnScaler(scale).fit(X, np.ones(len(X))), Sample(X))


@pytest.mark.parametrize("n", [300, 4], ids=["tall", "wide"])
def test_means_are_predictions_of_ridge_regression_on_the_other_columns(n):
    X = correlated(n)
    # Rows of training, as none of their cells is left out.
    inside = X[: n // 2 + 1]
    columns = ColumnScaler("standard").fit(X, np.ones(n))
    means, deviations = gaussian(X)(inside)
    assert deviations.max() < CUTOFF
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


def test_bad_cells_are_left_out_of_what_the_others_are_compared_with():
    X = correlated()
    rows = X[:20].copy()
    rows[:, :2] = -1e3
    columns = ColumnScaler("standard").fit(X, np.ones(len(X)))
    means, deviations = gaussian(X)(rows)
    assert (deviations[:, :2] > CUTOFF).all()
    # The regression of each good column on the other good ones alone.
    Z, z, expected = columns.transform(X), columns.transform(rows), means[:, 2:].copy()
    covariance = Z.T @ Z / len(Z) + NOISE_SHARE * np.eye(6)
    for j in range(2, 6):
        others = [i for i in range(2, 6) if i != j]
        slopes = np.linalg.solve(covariance[np.ix_(others, others)], covariance[others])
        expected[:, j - 2] = z[:, others] @ slopes[:, j]
    np.testing.assert_allclose(columns.transform(means)[:, 2:], expected, atol=1e-9)
    # Regression of each bad column on the good ones.
    slopes = np.linalg.solve(covariance[2:, 2:], covariance[2:, :2])
    np.testing.assert_allclose(columns.transform(means)[:, :2], z[:, 2:] @ slopes)


@pytest.mark.parametrize("scale", ["standard", "minmax", "quantile", None])
def test_a_wrong_cell_is_farthest_and_its_right_value_expected(scale):
    X, rows = correlated(600), correlated(300, seed=1)
    every, cells = np.arange(300), np.arange(300) % 6
    was, std = rows[every, cells].copy(), X.std(axis=0)[cells]
    cellwise = gaussian(X, scale)
    for wrong in (was + 5 * std, was - 5 * std, 1e15 * std, np.median(X, 0)[cells]):
        rows[every, cells] = wrong
        means, deviations = cellwise(rows)
        is_wrong = np.abs(wrong - was) > std
        found = (deviations.argmax(axis=1) == cells)[is_wrong]
        assert found.mean() > 0.85
        error = np.abs(means[every, cells] - was) / std
        assert np.median(error[is_wrong]) < 0.2


def test_an_offset_changes_nothing():
    X, rows = correlated(), correlated(10, seed=1)
    expected = gaussian(X)(rows)
    means, deviations = gaussian(X + 1e6)(rows + 1e6)
    np.testing.assert_allclose(means - 1e6, expected.means, atol=1e-6)
    np.testing.assert_allclose(deviations, expected.deviations, atol=1e-6)


@pytest.mark.parametrize("scale", ["standard", "minmax", "quantile", None])
def test_the_constant_is_expected_in_a_constant_column(scale):
    X = correlated()
    X[:, 2] = 7
    rows = correlated(10, seed=1)
    rows[:, 2] = 9
    means, deviations = gaussian(X, scale)(rows)
    np.testing.assert_allclose(means[:, 2], 7)
    assert (deviations[:, 2] > 1).all()
    constant = np.full((4, 3), 2.0)
    means, deviations = gaussian(constant, scale)(constant)
    np.testing.assert_array_equal(means, constant)
    np.testing.assert_array_equal(deviations, 0)


def stones(n, seed):
    """Carat, depth, price, x, y, z: lengths follow from the carat, to 1 %."""
    random = np.random.default_rng(seed)
    carat = np.exp(random.normal(-0.4, 0.5, n))
    x = 6.5 * np.cbrt(carat) * np.exp(random.normal(0, 0.01, n))
    y = x * np.exp(random.normal(0, 0.005, n))
    depth = random.normal(61.7, 1.4, n)
    price = 4_400 * carat**1.7 * np.exp(random.normal(0, 0.2, n))
    cells = [carat, depth, price, x, y, depth / 100 * (x + y) / 2]
    names = ["carat", "depth", "price", "x", "y", "z"]
    return pd.DataFrame(dict(zip(names, cells, strict=True)))


def test_all_wrong_cells_of_a_row_are_reasons_with_the_values_the_others_imply():
    odd = stones(1_000, 1).query("1.9 < carat < 2.6")
    right = odd[[*"xyz"]].to_numpy(copy=True)
    odd.loc[:, [*"xyz"]] = 0.0
    for contamination in ("auto", 0):
        detector = AEOutlierDetector(contamination, random_state=0)
        reasons = detector.fit(stones(800, 0)).reasons(odd)
        reasons = reasons.sort_values(["row", "column"])
        assert reasons["column"].tolist() == [*"xyz"] * len(odd)
        expected = reasons["expected"].to_numpy().reshape(-1, 3)
        np.testing.assert_allclose(expected, right, rtol=0.06)


def parts(n, seed):
    """Two measurements, dummies of three kinds that follow, a flag of two kinds."""
    random = np.random.default_rng(seed)
    kind = random.choice(3, size=n, p=[0.1, 0.5, 0.4])
    size = kind + 0.5 * random.normal(size=(2, n))
    return np.column_stack([*size, np.eye(3)[kind], kind < 2, np.ones(n)])


@pytest.mark.parametrize("contamination", ["auto", 0])
def test_an_absent_flag_an_unseen_kind_and_a_changed_constant_are_found(contamination):
    # The rarest kind is among the reference rows, too.
    detector = AEOutlierDetector(contamination, random_state=0).fit(parts(300, 0))
    for columns in ([5], [2, 3, 4], [6]):
        rows = parts(200, 1)
        rows = rows[rows[:, columns].any(axis=1)]
        rows[:, columns] = 0
        found = np.isin(detector.top_features(rows)[:, 0], columns)
        assert found.mean() >= 0.9


@pytest.mark.parametrize("shape", [(30, 1), (30, 2), (12, 40)])
def test_explanations_are_finite_and_sum_to_minus_the_score(shape):
    X = np.random.default_rng(0).normal(size=shape)
    rows = X[:8].copy()
    rows[0], rows[1], rows[2], rows[3, 0], rows[4, -1] = 1e308, -1e308, 0, 1e308, 1e20
    detector = AEOutlierDetector(0, random_state=0).fit(X)
    contributions, expected = detector.explain(rows)
    assert np.isfinite(expected).all()
    assert (contributions >= 0).all()
    np.testing.assert_allclose(
        contributions.sum(axis=1), -detector.score_samples(rows), rtol=1e-9
    )
