import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from scipy.stats import kstest, multivariate_normal
from sklearn.mixture import GaussianMixture

from sklearn_ae.autoencoder._code_prior import Mixture, StandardNormal, fitted_prior
from sklearn_ae.nn import Autoencoder, GaussianEncoder, MLPArchitecture
from tests.helpers import generator


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
    # One normal has the density of the fitted normal.
    mixture = Mixture(codes, 1, random())
    covariance = np.cov(codes, rowvar=False, ddof=0)
    covariance += 1e-4 * np.diag(np.square(mixture.scale))
    expected = multivariate_normal(codes.mean(axis=0), covariance).logpdf(codes)
    np.testing.assert_allclose(mixture.log_density(codes), expected, rtol=1e-6)
    codes[0, 0], codes[2, 1] = np.inf, np.nan
    np.testing.assert_array_equal(mixture.log_density(codes)[:4:2], -np.inf)
    np.testing.assert_allclose(mixture.log_density(codes)[3:], expected[3:], rtol=1e-6)


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


class Coded:
    """In place of an autoencoder: rows are their own codes, as if it had been trained
    to hold them to the standard normal, or not."""

    def __init__(self, is_normal):
        identity = torch.nn.Identity()
        self.encoder = GaussianEncoder(identity) if is_normal else identity

    def draw_code(self, x, generator):
        return x


def prior_of(codes, weight=None, *, is_normal=True):
    x = torch.from_numpy(codes)
    weight = np.ones(len(codes)) if weight is None else weight
    return fitted_prior(Coded(is_normal), x, weight, random())


def test_a_standard_normal_stays_where_the_codes_are_one():
    assert isinstance(prior_of(random().normal(size=(60, 8))), StandardNormal)


@pytest.mark.parametrize("n_clusters", [2, 8])
def test_clusters_are_found(n_clusters):
    rng = np.random.default_rng(1)
    centres = 10 * rng.normal(size=(n_clusters, 3))
    codes = centres[rng.integers(n_clusters, size=2_000)] + rng.normal(size=(2_000, 3))
    prior = prior_of(codes)
    assert prior.model.n_components >= n_clusters
    own = GaussianMixture(n_clusters, random_state=0).fit(codes)
    mean = prior.log_density(codes).mean()
    assert mean == pytest.approx(own.score(codes), abs=0.1)


@pytest.mark.parametrize("is_normal", [True, False])
@pytest.mark.parametrize("n", [1, 3, 4, 10])
def test_few_codes_do(n, is_normal):
    prior = prior_of(two_clusters(n), is_normal=is_normal)
    assert np.isfinite(prior.sample(5, random())).all()


@pytest.mark.parametrize(("n", "k"), [(2, 1), (12, 20), (200, 300)])
def test_codes_that_nothing_held_to_it_never_get_the_standard_normal(n, k):
    codes = 7 + 0.1 * random().normal(size=(n, k))
    draws = prior_of(codes, is_normal=False).sample(2_000, random())
    # Too few codes for full covariances: their own variances are left.
    np.testing.assert_allclose(draws.mean(), codes.mean(), atol=0.05)
    assert 0.02 < draws.std(axis=0).mean() < 0.15


@pytest.mark.parametrize("is_normal", [True, False])
def test_codes_that_are_all_equal_do(is_normal):
    prior = prior_of(np.full((50, 2), 3.0), is_normal=is_normal)
    np.testing.assert_allclose(prior.sample(20, random()), 3, atol=0.1)


@pytest.mark.parametrize("is_normal", [True, False])
def test_copies_of_all_rows_are_no_clusters(is_normal):
    # Judged by copies of what it was fitted to, a normal on each would win.
    codes, weight = random().normal(size=(300, 2)), np.full(300, 40.0)
    prior = prior_of(codes, weight, is_normal=is_normal)
    fresh = np.random.RandomState(1).normal(size=(1_000, 2))
    expected = StandardNormal(2).log_density(fresh).mean()
    assert prior.log_density(fresh).mean() > expected - 0.3


@pytest.mark.parametrize("is_normal", [True, False])
def test_heavy_rows_are_no_clusters(is_normal):
    codes, weight = random().normal(size=(300, 2)), np.ones(300)
    weight[:30] = 40
    prior = prior_of(codes, weight, is_normal=is_normal)
    fresh = np.random.RandomState(1).normal(size=(1_000, 2))
    expected = StandardNormal(2).log_density(fresh).mean()
    assert prior.log_density(fresh).mean() > expected - 0.3


def test_a_repeated_row_is_drawn_as_often():
    codes, weight = random().normal(size=(1_000, 2)), np.ones(1_000)
    codes[0], weight[0] = 0.5, 500
    draws = prior_of(codes, weight).sample(3_000, random())
    near = np.abs(draws - 0.5).max(axis=1) < 0.1
    assert near.mean() == pytest.approx(1 / 3, abs=0.05)


def test_a_row_counts_as_often_as_it_weighs():
    codes = np.r_[np.zeros((50, 1)), np.full((50, 1), 9.0)]
    codes += 0.1 * random().normal(size=codes.shape)
    weight = np.repeat([1.0, 3.0], 50)
    for w in (weight, 100 * weight):
        draws = prior_of(codes, w).sample(2_000, random())
        assert (draws > 4.5).mean() == pytest.approx(0.75, abs=0.04)


def test_one_far_code_moves_little():
    codes = random().normal(size=(1_000, 2))
    codes[0] = 1e5
    draws = prior_of(codes, is_normal=False).sample(2_000, random())
    low, high = np.percentile(draws, [25, 75], axis=0)
    np.testing.assert_allclose(high - low, 1.349, rtol=0.3)


def test_codes_are_drawn_where_they_are_random():
    source = generator()
    x = torch.randn(400, 3, generator=source)
    for code, is_drawn in (("plain", False), ("gaussian", True)):
        networks = MLPArchitecture(3, (8,), "silu", source)
        module = Autoencoder.random(networks, 1, code=code)
        with torch.no_grad():
            spread = module.encoder(x).std().item()
        drawn = fitted_prior(module, x, np.ones(400), random()).sample(5_000, random())
        # An untrained encoder's own deviation is about one.
        assert (drawn.std() > 1.2 * spread) == is_drawn


def test_it_repeats_and_warns_of_nothing_in_threads(recwarn):
    before = list(warnings.filters)
    codes = two_clusters(300)
    with ThreadPoolExecutor(4) as pool:
        priors = list(pool.map(prior_of, [codes] * 8))
    assert warnings.filters == before
    assert not recwarn
    draws = [prior.sample(5, random()) for prior in priors]
    for other in draws[1:]:
        np.testing.assert_array_equal(draws[0], other)
