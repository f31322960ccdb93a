import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sklearn_ae.tables import _column_scaler, _rows
from sklearn_ae.tables._column_scaler import ColumnScaler, columns_look_like_pixels
from sklearn_ae.tables._normal_scores import NormalScores

SCALES = ["standard", "minmax", "quantile", None]


@pytest.fixture
def X():
    return load_wine().data


def fit(scale, X, weight=None):
    return ColumnScaler(scale).fit(X, np.ones(len(X)) if weight is None else weight)


def reference(scale, X):
    """scikit-learn's scaler of the same name, fitted."""
    return {
        "standard": StandardScaler(),
        "minmax": MinMaxScaler(),
        "quantile": NormalScores(),
    }[scale].fit(X)


@pytest.mark.parametrize("cells", [7 * 13, 2**20])
@pytest.mark.parametrize("scale", ["standard", "minmax", "quantile"])
def test_scale_is_scikit_learns_scaler(scale, cells, X, monkeypatch):
    monkeypatch.setattr(_rows, "CELLS_PER_BLOCK", cells)
    columns, scaler = fit(scale, X), reference(scale, X)
    Z = scaler.transform(X)
    np.testing.assert_allclose(columns.transform(X), Z, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(
        columns.inverse_transform(Z), scaler.inverse_transform(Z), rtol=1e-9
    )
    np.testing.assert_allclose(columns.transform_float32(X), Z, rtol=1e-5, atol=1e-5)


def test_no_scale_keeps_the_columns_shares_of_the_variance(X):
    Z = fit(None, X).transform(X)
    share = X.var(axis=0) / X.var(axis=0).sum()
    np.testing.assert_allclose(Z.var(axis=0) / Z.var(axis=0).sum(), share)
    # Numbers of order one, whatever the unit.
    assert Z.var(axis=0).mean() == pytest.approx(1)
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(fit(None, 1e-6 * X).transform(1e-6 * X), Z, rtol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_weights_count_as_repetition(scale, X):
    weight = np.arange(len(X)) % 4 + 1
    repeated = np.repeat(X, weight, axis=0)
    weighted = fit(scale, X, weight.astype(float)).transform(X)
    np.testing.assert_allclose(
        weighted, fit(scale, repeated).transform(X), rtol=1e-9, atol=1e-12
    )
    # And they matter: minmax is the one that knows no weights.
    same = np.allclose(weighted, fit(scale, X).transform(X))
    assert same == (scale == "minmax")


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scale", SCALES)
def test_round_trip(scale, dtype, X):
    X = X.astype(dtype)
    columns = fit(scale, X)
    Z = columns.transform(X)
    back = columns.inverse_transform(Z)
    assert Z.dtype == back.dtype == dtype
    rtol = 1e-9 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(back, X, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scale", SCALES)
def test_what_is_given_is_left_as_it_is(scale, dtype, X):
    X = X.astype(dtype)
    weight = np.ones(len(X))
    X.flags.writeable = weight.flags.writeable = False
    columns = fit(scale, X, weight)
    Z = columns.transform(X)
    Z.flags.writeable = False
    columns.inverse_transform(Z)
    assert not np.shares_memory(Z, X)


@pytest.mark.parametrize("scale", ["standard", "minmax", "quantile"])
def test_units_of_1e_minus_12_and_1e12_side_by_side(scale, X):
    units = np.ones(X.shape[1])
    units[[0, 1]] = 1e-12, 1e12
    Z = fit(scale, X * units).transform(X * units)
    np.testing.assert_allclose(Z, fit(scale, X).transform(X), rtol=1e-6, atol=1e-8)
    back = fit(scale, X * units).inverse_transform(Z)
    np.testing.assert_allclose(back / units, X, rtol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("unit", [2.0**-100, 2.0**100])
def test_the_unit_of_the_whole_table_does_not_matter(scale, unit, X):
    Z = fit(scale, X).transform(X)
    np.testing.assert_allclose(fit(scale, unit * X).transform(unit * X), Z, atol=1e-9)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("constant", [0.0, 1e30 / 7])
def test_a_constant_column_comes_back(scale, constant, X):
    X = np.column_stack([X, np.full(len(X), constant)])
    columns = fit(scale, X)
    Z = columns.transform(X)
    assert np.isfinite(Z).all()
    assert np.ptp(Z[:, -1]) == 0
    # Off it by a rounding, a large one would be all the variance there is.
    assert abs(Z[0, -1]) < 1
    np.testing.assert_allclose(columns.inverse_transform(Z)[:, -1], constant)


@pytest.mark.parametrize("scale", SCALES)
def test_a_table_of_constants_is_finite(scale):
    columns = fit(scale, np.full((5, 3), 2.0))
    Z = columns.transform(np.full((5, 3), 2.0))
    assert np.isfinite(Z).all()
    np.testing.assert_allclose(columns.inverse_transform(Z), 2.0)


# Powers of two: the digits stay as they are.
@pytest.mark.parametrize("power", [-1000, -565, -300, 300, 531, 1000])
@pytest.mark.parametrize("scale", ["standard", "minmax", "quantile", None])
def test_the_unit_of_a_table_is_of_no_matter(scale, power, X):
    small = fit(scale, X)
    large = fit(scale, np.ldexp(X, power))
    Z = small.transform(X)
    np.testing.assert_allclose(large.transform(np.ldexp(X, power)), Z, atol=1e-12)
    back = np.ldexp(large.inverse_transform(Z), -power)
    np.testing.assert_allclose(back, small.inverse_transform(Z), atol=1e-12)


@pytest.mark.parametrize("power", [-1000, 1000])
@pytest.mark.parametrize("scale", ["standard", "minmax", "quantile"])
def test_the_unit_of_a_column_is_of_no_matter(scale, power, X):
    expected = fit(scale, X).transform(X)
    X[:, 4] = np.ldexp(X[:, 4], power)
    np.testing.assert_allclose(fit(scale, X).transform(X), expected, atol=1e-12)


@pytest.mark.parametrize("power", [-300, 300])
def test_without_scaling_a_table_has_the_unit_of_its_largest_column(power, X):
    X = X[:, :2] - X[:, :2].mean(axis=0)
    X[:, 1] = np.ldexp(X[:, 1], power)
    Z = fit(None, X).transform(X)
    large, small = (1, 0) if power > 0 else (0, 1)
    # The mean square of two columns, one of which is zero, is half the other's.
    assert Z[:, large].std() == pytest.approx(np.sqrt(2))
    assert np.abs(Z[:, small]).max() < 1e-80


@pytest.mark.parametrize("scale", ["standard", "minmax", "quantile", None])
def test_denormal_numbers(scale):
    X = np.array([[0.0], [5e-324], [1e-323], [3e-323]])
    columns = fit(scale, X)
    Z = columns.transform(X)
    assert np.isfinite(Z).all()
    assert (np.diff(Z[:, 0]) > 0).all()
    np.testing.assert_allclose(columns.inverse_transform(Z), X, atol=1e-323)


def test_an_offset_past_the_squares_of_float64_keeps_the_spread():
    # At 1e15 float64 has eighths: the spread of 1 is 8 of them.
    rng = np.random.default_rng(0)
    X = 1e15 + rng.normal(size=(400_000, 1))
    assert fit("standard", X).scale_ == pytest.approx(1.0, rel=0.01)
    assert fit(None, X).scale_ == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_rounding_errors_are_no_spread(size):
    # 0.1 + 0.2 and 0.3 differ in their last digit.
    X = size * np.array([[0.1 + 0.2], [0.3], [0.3], [0.3]])
    assert np.abs(fit("standard", X).transform(X)).max() < 1e-15


@pytest.mark.parametrize("scale", ["standard", "minmax", "quantile", None])
def test_float32_next_to_its_largest_number(scale):
    rng = np.random.default_rng(0)
    X = (3.4e38 * rng.uniform(-1, 1, size=(50, 2))).astype(np.float32)
    columns = fit(scale, X)
    Z = columns.transform(X)
    np.testing.assert_allclose(Z, fit(scale, X.astype(float)).transform(X), rtol=1e-5)
    # A reconstruction may be past the largest number, as a rounded one.
    assert np.isfinite(columns.inverse_transform(1.1 * Z)).all()


def test_a_range_next_to_the_largest_number():
    X = 1.6e308 * np.random.default_rng(0).random((50, 1))
    Z = fit("quantile", X).transform(X)
    np.testing.assert_allclose(fit("quantile", X).inverse_transform(Z), X)
    assert Z.std() > 0.9


def test_float32_with_a_large_offset_keeps_its_digits():
    rng = np.random.default_rng(0)
    X = (1e4 + rng.normal(size=(500, 2))).astype(np.float32)
    expected = StandardScaler().fit_transform(X.astype(np.float64))
    np.testing.assert_allclose(fit("standard", X).transform(X), expected, atol=1e-5)


@pytest.mark.parametrize("offset", [2.0**17, 1e9, -1.7e9])
@pytest.mark.parametrize("scale", SCALES)
def test_an_offset_changes_nothing(scale, offset):
    # Multiples of 2**-20 beside the offset are exact in float64.
    rng = np.random.default_rng(0)
    X, new = (np.round(2**20 * rng.normal(size=(n, 2))) / 2**20 for n in (300, 90))
    Z = fit(scale, X).transform(new)
    moved = fit(scale, X + offset)
    np.testing.assert_allclose(moved.transform(new + offset), Z, atol=1e-5)
    back = moved.inverse_transform(moved.transform(X + offset))
    np.testing.assert_allclose(back - offset, X, atol=1e-6)


def test_quantiles_of_many_rows_are_those_of_a_sample(monkeypatch):
    monkeypatch.setattr(_column_scaler, "MAX_QUANTILE_ROWS", 200)
    X = np.random.default_rng(0).permutation(5_000.0 * np.arange(5_000))[:, None]
    columns, exact = fit("quantile", X), NormalScores().fit(X).transform(X)
    assert len(columns._quantiles._columns[0][0]) <= 400
    middle = np.abs(exact) < 1.5
    np.testing.assert_allclose(columns.transform(X)[middle], exact[middle], atol=0.3)


def test_columns_with_one_unit():
    digits = load_digits().data
    rng = np.random.default_rng(0)
    assert columns_look_like_pixels(digits)
    assert not columns_look_like_pixels(load_iris().data)
    assert not columns_look_like_pixels(rng.integers(2, size=(50, 9)).astype(float))
    assert not columns_look_like_pixels(np.ones((9, 3)))
    # Constant columns have none.
    assert columns_look_like_pixels(np.c_[np.zeros(len(digits)), digits])
