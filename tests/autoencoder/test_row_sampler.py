import pickle

import numpy as np
import pytest
from scipy.stats import ks_2samp, multivariate_normal

from tests.helpers import transformer

RNG = np.random.default_rng(0)


def mixed_table(n=2_000):
    """Columns of several kinds: normal, flags, counts, far off, few values, fixed."""
    z, w = RNG.normal(size=(2, n))
    flag = z + 0.5 * RNG.normal(size=n)
    return np.column_stack(
        [
            z + 0.3 * RNG.normal(size=n),
            flag > np.quantile(flag, 0.971),
            RNG.random(n) < 0.005,
            RNG.poisson(np.exp(5 + z)),
            1e9 + np.round(100 * w),
            RNG.choice([0.5, 1.5, 7.25], n),
            np.full(n, 0.1),
        ]
    ).astype(float)


TABLE = mixed_table()


@pytest.mark.parametrize(
    ("dtype", "settings"),
    [
        ("float64", {"latent": "gaussian"}),
        ("float32", {"latent": "gaussian", "prior": "normal", "scale": "standard"}),
        ("float64", {"latent": "gaussian", "prior": "normal", "scale": None}),
        ("float64", {"prior": "mixture", "scale": "minmax", "init": "random"}),
    ],
)
def test_columns_are_drawn_as_they_are(dtype, settings):
    X = TABLE.astype(dtype)
    drawn = transformer(2, **settings).fit(X).sample(5_000, random_state=0)
    assert drawn.dtype == np.float64
    for x, y in zip(X.T, drawn.T, strict=True):
        assert ks_2samp(x, y).statistic < 0.04
    assert drawn[:, 1].mean() == pytest.approx(0.029, abs=0.01)
    assert drawn[:, 2].mean() == pytest.approx(X[:, 2].mean(), abs=0.003)
    # Flags, few values, a constant: no others.
    for j in (1, 2, 5, 6):
        assert np.isin(drawn[:, j], X[:, j]).all()
    # Whole numbers, also where a float32 of the far column has no others.
    assert (drawn[:, [3, 4]] % 1 == 0).all()


def test_a_column_that_the_code_leaves_out_has_its_spread_and_stays_independent():
    together = RNG.normal(size=(2_000, 1)) + 0.1 * RNG.normal(size=(2_000, 4))
    X = np.column_stack([together, RNG.normal(size=2_000)])
    model = transformer(1, latent="gaussian", scale="standard", max_iter=20).fit(X)
    drawn = model.sample(10_000, random_state=0)
    np.testing.assert_allclose(drawn.std(axis=0), X.std(axis=0), rtol=0.03)
    np.testing.assert_allclose(
        np.corrcoef(drawn, rowvar=False), np.corrcoef(X, rowvar=False), atol=0.1
    )


def test_noise_is_by_column_and_the_likelihood_keeps_one_variance():
    X = RNG.normal(size=(500, 4)) * [1, 1, 1, 5] + RNG.normal(size=(500, 1)) * 3
    weight = RNG.integers(1, 4, 500)
    model = transformer(1, prior="mixture", early_stopping=False)
    model.fit(X, sample_weight=weight)
    scaled, back = model._inference.scaled(X)
    by_column = np.average(np.square(scaled - back), axis=0, weights=weight)
    np.testing.assert_allclose(
        np.square(model._inference.sampler.residual_std), by_column, rtol=1e-4
    )
    assert model.module_.noise_variance.item() == pytest.approx(by_column.mean(), 1e-4)


def test_the_dependence_is_the_autoencoders():
    # Normal columns, all components: the copula is Gaussian, and so are the rows.
    covariance = np.array([[1.0, 0.8, 0.0], [0.8, 1, -0.3], [0, -0.3, 1]])
    X = multivariate_normal(cov=covariance).rvs(3_000, random_state=0)
    # Columns to any monotonic scale: ranks stay.
    Y = np.column_stack([np.exp(X[:, 0]), X[:, 1] ** 3, X[:, 2]])
    model = transformer(3, latent="gaussian", prior="normal", max_iter=20).fit(Y)
    drawn = model.sample(10_000, random_state=0)
    back = np.column_stack([np.log(drawn[:, 0]), np.cbrt(drawn[:, 1]), drawn[:, 2]])
    np.testing.assert_allclose(
        np.corrcoef(back, rowvar=False), np.corrcoef(X, rowvar=False), atol=0.04
    )


def test_weights_count_in_the_margins():
    X = np.column_stack([RNG.normal(size=600), np.repeat([0.0, 1], 300)])
    weight = np.repeat([1.0, 9.0], 300)
    model = transformer(1, prior="mixture").fit(X, sample_weight=weight)
    assert model.sample(5_000, random_state=0)[:, 1].mean() == pytest.approx(0.9, 0.03)


def test_a_row_does_not_depend_on_how_many_are_drawn_or_on_a_pickle():
    model = transformer(2, latent="gaussian", prior="normal").fit(TABLE)
    before = pickle.dumps(model._inference.sampler)
    model.sample(1)
    # Quantiles of drawn rows are not pickled: they are drawn again.
    assert len(pickle.dumps(model._inference.sampler)) == len(before)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(
        model.sample(3, random_state=0), again.sample(3, random_state=0)
    )


def test_partial_fit_keeps_the_margins_and_fit_replaces_them():
    first, second = np.split(RNG.normal(size=(400, 3)), 2)
    second = second + 100
    model = transformer(1, prior="mixture", warm_start=True).fit(first)
    model.partial_fit(second)
    assert model.sample(200, random_state=0).max() <= first.max()
    model.fit(second)
    assert model.sample(200, random_state=0).min() >= second.min()
    cold = transformer(1, latent="gaussian").partial_fit(first)
    assert ks_2samp(cold.sample(2_000)[:, 0], first[:, 0]).statistic < 0.1


def test_a_prior_that_was_fitted_is_drawn_from_whatever_is_set_later():
    model = transformer(1, prior="mixture").fit(TABLE)
    model.set_params(prior="auto").partial_fit(TABLE[:100])
    assert np.isin(model.sample(50)[:, 1], [0, 1]).all()


def test_without_noise_rows_are_the_decoders_means():
    model = transformer(2, latent="gaussian", scale="standard").fit(TABLE)
    inference = model._inference
    Z = inference.prior.sample(4, np.random.RandomState(0))
    expected = model.inverse_transform(Z)
    drawn = model.sample(4, noise=False, random_state=0)
    np.testing.assert_allclose(drawn, expected, rtol=1e-12, atol=1e-12)


def test_hardly_any_row_is_drawn_in_a_gap_of_a_column():
    # Two states of a machine.
    rng = np.random.default_rng(0)
    x = np.r_[rng.normal(20, 1, 1_500), rng.normal(70, 3, 1_500)]
    X = np.c_[x, x / 50 + 0.1 * rng.normal(size=3_000)]
    drawn = transformer(prior="mixture").fit(X).sample(3_000, random_state=0)[:, 0]
    assert ((drawn > 30) & (drawn < 55)).mean() < 0.005
    assert ks_2samp(drawn, x).statistic < 0.04


def test_extremes_of_a_wide_table_are_drawn_as_rarely_as_they_are():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2_000, 400))
    X[0] = 50
    drawn = (
        transformer(prior="mixture", max_iter=1).fit(X).sample(4_000, random_state=0)
    )
    assert 1 / 4_000 < (drawn > 40).mean() < 1 / 1_000
