"""Rate-distortion training, against closed forms."""

import numpy as np
import pytest
import torch
from sklearn_ae.compression._rate_autoencoder import RateDistortionAutoencoder

from sklearn_ae.compression._rate_target import Rate

RNG = np.random.default_rng(0)
X = RNG.normal(size=(500, 2)) @ RNG.normal(size=(2, 6)) + 0.1 * RNG.normal(
    size=(500, 6)
)


RATE = Rate(target_psnr=25.0)


def fitted(rate=RATE, **params):
    params = {"scale": None, "max_iter": 2, "random_state": 0} | params
    autoencoder = RateDistortionAutoencoder(**params)
    autoencoder.rate, autoencoder.error_bound = rate, None
    return autoencoder.fit(X)


def test_a_row_costs_its_nats_and_its_error():
    autoencoder = fitted()
    net, module = autoencoder._net, autoencoder._net.module_
    x = torch.from_numpy(autoencoder._columns.transform_float32(X))
    draws = [torch.Generator().manual_seed(3) for _ in range(2)]
    with torch.no_grad():
        losses = net._row_losses((x, torch.ones(len(x))), draws[0])
        noise = torch.rand(len(x), module.n_components, generator=draws[1]) - 0.5
        z = module.encoder(x) + autoencoder.step * noise
        error = (x - module.decoder(z)).square().mean(dim=1)
        expected = module.prior(z) / 6 + error / (2 * autoencoder.level)
    torch.testing.assert_close(losses, expected)
    assert autoencoder.step == pytest.approx(np.sqrt(12 * autoencoder.level))


def test_it_starts_at_pca_and_remembers_it():
    autoencoder = fitted()
    trained, start = autoencoder.trained, autoencoder.start
    scaled = autoencoder._columns.transform(X)
    _, s, axes = np.linalg.svd(scaled - scaled.mean(axis=0), full_matrices=False)
    k = autoencoder.n_components_
    projected = scaled @ axes[:k].T @ axes[:k]
    np.testing.assert_allclose(start.scaled(X)[1], projected, atol=1e-4)
    assert not np.allclose(trained.scaled(X)[1], start.scaled(X)[1], atol=1e-4)
    spread = trained.encode(X)[:, 0].std()
    assert spread == pytest.approx(s[0] / np.sqrt(500), rel=0.2)


def test_rows_have_the_order_of_training():
    autoencoder = fitted()
    assert sorted(autoencoder.rows) == list(range(500))
    assert autoencoder.n_held_out == 50


def test_psnr_is_in_units_of_the_range_of_all_columns_or_of_each():
    common, separate = fitted(), fitted(scale="minmax")
    assert separate.peak == 1
    span = (X.max() - X.min()) / common._columns.scale_[0]
    assert common.peak == pytest.approx(span)
    assert common.psnr_of(common.error_of(17.0)) == pytest.approx(17)
    assert common.psnr_of(0.0) == np.inf


def test_steps_are_shorter_where_there_are_many_columns():
    autoencoder = fitted()
    for n_features, expected in ((6, 0.01), (64, 0.01), (784, 0.08 / 28)):
        autoencoder.n_features_in_ = n_features
        run = autoencoder._run(10_000, 2, 50, schedule=True)
        assert run.learning_rate == pytest.approx(expected)
    autoencoder.learning_rate_init = 0.5
    assert autoencoder._run(10_000, 2, 50, schedule=True).learning_rate == 0.5


def test_training_spends_fewer_bits_or_errs_less():
    autoencoder = fitted(max_iter=60)
    curve = autoencoder.validation_curve_
    assert min(curve) < curve[0]
