"""Tables, weights and rows at the ends of the number range: finite in, finite out."""

import numpy as np
import pytest
from sklearn.metrics import r2_score

from sklearn_ae.autoencoder._base import explained_variance
from tests import helpers

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 8)) + 0.1 * rng.normal(size=(60, 8))
ONE_COLUMN = np.arange(8) == 3
LARGEST = X / np.abs(X).max()
TABLES = {
    "small": 1e-170 * X,
    "a small column": np.where(ONE_COLUMN, 1e-170 * X, X),
    "large": 1e160 * X,
    "a large column": np.where(ONE_COLUMN, 1e160 * X, X),
    "next to the largest": 8e307 * LARGEST,
    "denormal": 1e-320 * X,
    "an offset": 1e15 + X,
    "constants": np.where(ONE_COLUMN, 1e300, X),
    "a cell": np.where(ONE_COLUMN & (np.arange(60) == 7)[:, None], 1e300, X),
    "float32": (3.3e38 * LARGEST).astype(np.float32),
    "denormal float32": (1e-41 * X).astype(np.float32),
    "float16": (65_504 * LARGEST).astype(np.float16),
}
SETTINGS = [
    {},
    {"scale": "minmax", "early_stopping": False},
    {"latent": "gaussian"},
    {"scale": None, "prior": "mixture"},
    {"architecture": "conv"},
    {"corruption_level": (0.05, 2.0), "init": "pca"},
    {"init": "random", "sparsity_weight": 0.1},
]


def transformer(n_components=2, **params):
    return helpers.transformer(n_components, **({"hidden_layer_sizes": (8,)} | params))


CASES = [(name, {}) for name in TABLES]
CASES += [(name, p) for name in ("a small column", "large") for p in SETTINGS[1:]]
CASES += [("float32", p) for p in SETTINGS[1:]]


@pytest.mark.parametrize(("name", "params"), CASES)
def test_tables_at_the_ends_of_the_range(name, params):
    table = TABLES[name]
    ae = transformer(**params).fit(table)
    codes = ae.transform(table)
    assert codes.std(axis=0).max() > 0
    results = [codes, ae.score_samples(table), ae.loss_curve_, ae.validation_curve_]
    results += [ae.reconstruct(table), ae.inverse_transform(codes)]
    if hasattr(ae, "sample"):
        results.append(ae.sample(9, random_state=0))
    results.append(transformer(**params).partial_fit(table).transform(table))
    assert all(np.isfinite(result).all() for result in results)
    assert -1 < ae.score(table) <= 1


@pytest.mark.parametrize("scale", ["standard", "minmax", "quantile", None])
@pytest.mark.parametrize("power", [-1000, -565, 531, 1000])
def test_the_unit_of_the_table_changes_nothing(power, scale):
    large = np.ldexp(X, power)
    plain, other = (transformer(scale=scale).fit(t) for t in (X, large))
    np.testing.assert_allclose(other.transform(large), plain.transform(X), atol=1e-6)
    back = np.ldexp(other.reconstruct(large), -power)
    np.testing.assert_allclose(back, plain.reconstruct(X), atol=1e-6)
    assert other.score(large) == pytest.approx(plain.score(X))


# -- rows that are far from those of fit ---------------------------------------------


@pytest.fixture(scope="module")
def fitted():
    return transformer(init="random").fit(X)


@pytest.mark.parametrize("method", ["transform", "reconstruct", "score"])
def test_a_row_whose_result_is_past_the_range_is_named(method, fitted):
    table = X.copy()
    table[5] = 1.7e308
    table[5, 2] = -1.7e308
    with pytest.raises(ValueError, match=r"Row 5 of X is too far .*Clip the column"):
        getattr(fitted, method)(table)


def test_a_code_whose_row_is_past_the_range_is_named():
    fitted = transformer(8).fit(X)
    codes = np.array([[1.0] * 8, [1.7e308] * 8])
    with pytest.raises(ValueError, match=r"Row 1 of X is too far .* Column 0 has 1.7e"):
        fitted.inverse_transform(codes)


@pytest.mark.parametrize("latent", ["deterministic", "gaussian"])
def test_far_rows_have_the_lowest_finite_score(latent):
    ae = transformer(latent=latent, scale="standard").fit(X)
    table = X.copy()
    table[:2] = [[1e160], [1e300]]
    scores = ae.score_samples(table)
    assert np.isfinite(scores).all()
    assert scores[:2].max() < scores[2:].min()


@pytest.mark.parametrize("size", [1e100, 1e160, 1e200, 1e300])
def test_the_score_of_a_far_row_is_that_of_its_direction(size):
    # Beside a cell of 1e100 all others are lost: a larger one changes no share.
    ae = transformer().fit(X)
    tables = np.stack([X, X])
    tables[:, 3, 2] = 1e100, size
    scores = [ae.score(table) for table in tables]
    assert scores[1] == pytest.approx(scores[0])


@pytest.mark.parametrize("weight", [None, rng.integers(0, 3, 60).astype(float)])
def test_explained_variance_is_the_weighted_r2(weight):
    table = np.where(ONE_COLUMN, 2.0, X)
    x_hat = X + 0.3 * rng.normal(size=X.shape)
    expected = r2_score(
        table, x_hat, sample_weight=weight, multioutput="variance_weighted"
    )
    assert explained_variance(table, x_hat, weight) == pytest.approx(expected)


def test_explained_variance_of_constants():
    table = np.full((4, 2), 3.0)
    assert explained_variance(table, table, None) == 1.0
    assert explained_variance(table, table + np.arange(2), None) == 0.5


# -- weights -----------------------------------------------------------------------


@pytest.mark.parametrize("params", [SETTINGS[i] for i in (0, 1, 3, 4)])
def test_weights_of_very_different_sizes(params):
    weight = np.where(np.arange(60) < 40, 1e300, 1.0)
    ae = transformer(**params).fit(X, sample_weight=weight)
    part = transformer(**params).fit(X[:40])
    np.testing.assert_allclose(ae.transform(X), part.transform(X), atol=1e-5)
    assert ae.score(X, sample_weight=weight) == pytest.approx(ae.score(X[:40]))


def test_weights_times_a_power_of_two_give_the_same_bits():
    weight = rng.random(60)
    one, other = (
        transformer().fit(X, sample_weight=np.ldexp(weight, power)).transform(X)
        for power in (0, 40)
    )
    np.testing.assert_array_equal(one, other)


# -- a user's network ----------------------------------------------------------------


def test_a_network_that_is_not_finite_at_its_start_is_refused():
    class Logarithm(helpers.nn.Linear):
        def forward(self, x):
            return super().forward(x.log())

    def networks(n_features, n_components):
        encoder = Logarithm(n_features, n_components)
        return encoder, helpers.nn.Linear(n_components, n_features)

    with pytest.raises(ValueError, match=r"encoder that .* gives NaN"):
        transformer(architecture=networks).fit(X)


def test_networks_without_parameters_need_a_linear_path():
    def networks(n_features, n_components):
        pad = helpers.nn.ConstantPad1d((0, n_features - n_components), 0.0)
        return helpers.nn.ConstantPad1d((0, n_components - n_features), 0.0), pad

    with pytest.raises(ValueError, match="networks without parameters"):
        transformer(architecture=networks, init="random").fit(X)
    transformer(architecture=networks).fit(X)


@pytest.mark.parametrize("settings", [{}, {"latent": "gaussian"}, {"prior": "mixture"}])
def test_a_later_batch_too_far_off_is_refused_and_leaves_the_model(settings):
    X = np.random.default_rng(0).normal(size=(60, 3))
    ae = transformer(warm_start=True, **settings).fit(X)
    before, far = ae.score_samples(X), X.copy()
    far[7, 1] = 1e25
    for method in (ae.partial_fit, ae.fit):
        with pytest.raises(ValueError, match=r"Row 7 of X is too far .* column 1"):
            method(far)
    np.testing.assert_array_equal(ae.score_samples(X), before)
