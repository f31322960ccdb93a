import numpy as np
import pytest
import torch
from scipy.stats import kstest, multivariate_normal
from sklearn.mixture import GaussianMixture

from sklearn_ae import _prior
from sklearn_ae._data import Rows
from sklearn_ae._prior import Mixture, StandardNormal, drawn_codes, fitted_prior
from sklearn_ae.nn import Autoencoder


def random():
    return np.random.RandomState(0)


def two_clusters(n, k=2):
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(n, k)) * 0.2
    codes[: n // 3, 0] += 5.0
    return codes


def test_standard_normal_is_scipys():
    Z = random().normal(size=(6, 3))
    expected = multivariate_normal(np.zeros(3)).logpdf(Z)
    np.testing.assert_allclose(StandardNormal(3).log_density(Z), expected)
    draws = StandardNormal(3).sample(2_000, random())
    assert kstest(draws.ravel(), "norm").pvalue > 0.01


def test_density_of_a_mixture_is_in_the_units_of_the_codes():
    codes = two_clusters(400) * [10.0, 0.1] + [7.0, 0.0]
    # Of one normal it is the fitted normal's own density.
    mixture = Mixture(codes, 1, random())
    covariance = np.cov(codes, rowvar=False, ddof=0)
    covariance += _prior.REGULARISATION * np.diag(codes.var(axis=0))
    expected = multivariate_normal(codes.mean(axis=0), covariance).logpdf(codes)
    np.testing.assert_allclose(mixture.log_density(codes), expected, rtol=1e-6)


def test_samples_of_a_mixture_follow_its_density_in_random_order():
    mixture = Mixture(two_clusters(3_000), 2, random())
    draws = mixture.sample(3_000, random())
    far = draws[:, 0] > 2.5
    assert far.mean() == pytest.approx(1 / 3, abs=0.03)
    # scikit-learn's own come component by component.
    assert far[:1_500].mean() == pytest.approx(far[1_500:].mean(), abs=0.05)
    entropy = -mixture.log_density(draws).mean()
    expected = -mixture.log_density(two_clusters(3_000)).mean()
    assert entropy == pytest.approx(expected, abs=0.1)
    # And leave the fitted mixture as it was.
    np.testing.assert_array_equal(draws, mixture.sample(3_000, random()))


def test_a_standard_normal_stays_where_the_codes_are_one():
    codes = random().normal(size=(60, 8))
    assert isinstance(fitted_prior(codes, random()), StandardNormal)


@pytest.mark.parametrize("n_clusters", [2, 8])
def test_clusters_are_found(n_clusters):
    rng = np.random.default_rng(1)
    centres = 10 * rng.normal(size=(n_clusters, 3))
    codes = centres[rng.integers(n_clusters, size=2_000)] + rng.normal(size=(2_000, 3))
    prior = fitted_prior(codes, random())
    assert prior.model.n_components >= n_clusters
    own = GaussianMixture(n_clusters, random_state=0).fit(codes)
    mean = prior.log_density(codes).mean()
    assert mean == pytest.approx(own.score(codes), abs=0.1)


@pytest.mark.parametrize("n", [1, 3, 4, 10])
def test_few_codes_do(n):
    prior = fitted_prior(two_clusters(n), random())
    assert np.isfinite(prior.sample(5, random())).all()


def test_codes_that_are_all_equal_do():
    prior = fitted_prior(np.full((50, 2), 3.0), random())
    np.testing.assert_allclose(prior.sample(20, random()), 3, atol=0.1)


def network(code):
    generator = torch.Generator().manual_seed(0)
    return Autoencoder.random((3, 8, 2), "silu", code=code, generator=generator)


def test_codes_are_drawn_where_they_are_random():
    rows = Rows(torch.randn(40, 3, generator=torch.Generator()), torch.ones(40))
    plain, gaussian = network("plain"), network("gaussian")
    with torch.no_grad():
        codes, means = plain.encoder(rows.x).numpy(), gaussian.encoder(rows.x).numpy()
    np.testing.assert_array_equal(drawn_codes(plain, rows, random()), codes)
    assert np.abs(drawn_codes(gaussian, rows, random()) - means).min() > 0


def test_rows_are_taken_as_often_as_they_weigh(monkeypatch):
    monkeypatch.setattr(_prior, "MAX_ROWS", 30)
    rows = Rows(torch.tensor([[0.0] * 3, [1.0] * 3]), torch.tensor([1.0, 29.0]))
    codes = drawn_codes(network("plain"), rows, random())
    assert len(codes) == 2
    rows = Rows(torch.arange(120.0).reshape(40, 3), torch.ones(40))
    assert len(drawn_codes(network("plain"), rows, random())) == 30
