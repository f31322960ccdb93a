"""Rate-distortion training, against closed forms."""

import numpy as np
import pytest
import torch

from sklearn_ae import AutoencoderTransformer
from sklearn_ae.compression._rate_distortion import fit_rate_distortion
from sklearn_ae.compression._rate_target import Rate

RNG = np.random.default_rng(0)
X = RNG.normal(size=(500, 2)) @ RNG.normal(size=(2, 6))
X += 0.1 * RNG.normal(size=X.shape)


def fitted(X=X, **params):
    params = {"scale": None, "max_iter": 2, "random_state": 0} | params
    rate = Rate(target_psnr=25.0)
    return fit_rate_distortion(AutoencoderTransformer(**params), X, None, rate)


def test_the_loss_of_a_row_is_its_nats_and_its_error():
    fit = fitted()
    module = fit.net.module_
    x = torch.from_numpy(fit.trained.columns.transform_float32(X))
    draws = [torch.Generator().manual_seed(3) for _ in range(2)]
    with torch.no_grad():
        losses = fit.net._row_losses((x, torch.ones(len(x))), draws[0])
        noise = torch.rand(len(x), module.n_components, generator=draws[1]) - 0.5
        z = module.encoder(x) + fit.step * noise
        error = (x - module.decoder(z)).square().mean(dim=1)
        expected = module.prior(z) / 6 + error / (2 * fit.distortion)
    torch.testing.assert_close(losses, expected)
    assert fit.step == pytest.approx(np.sqrt(12 * fit.distortion))


def test_it_starts_at_pca_and_keeps_the_start():
    fit = fitted()
    scaled = fit.start.columns.transform(X)
    _, s, components = np.linalg.svd(scaled - scaled.mean(axis=0), full_matrices=False)
    k = fit.start.module.n_components
    projected = scaled @ components[:k].T @ components[:k]
    np.testing.assert_allclose(fit.start.scaled(X)[1], projected, atol=1e-4)
    assert not np.allclose(fit.trained.scaled(X)[1], fit.start.scaled(X)[1], atol=1e-4)
    std = fit.trained.encode(X)[:, 0].std()
    assert std == pytest.approx(s[0] / np.sqrt(500), rel=0.2)


def test_rows_are_each_distinct_row_once_the_held_out_ones_first():
    data = fitted().data
    assert sorted(data.rows) == list(range(500))
    assert data.n_held_out == 50


def test_psnr_is_in_units_of_the_range_of_all_columns_or_of_each():
    common, separate = fitted(), fitted(scale="minmax")
    assert separate.data_range == 1
    span = (X.max() - X.min()) / common.trained.columns.scale_[0]
    assert common.data_range == pytest.approx(span)
    assert common.psnr_of(common.error_of(17.0)) == pytest.approx(17)
    assert common.psnr_of(0.0) == np.inf


@pytest.mark.parametrize(
    ("n_features", "params", "expected"),
    [
        (6, {}, 0.01),
        (784, {}, 0.08 / 28),
        (784, {"learning_rate_init": 0.005}, 0.005),
    ],
)
def test_the_learning_rate_is_bounded_by_the_columns(n_features, params, expected):
    wide = RNG.normal(size=(600, n_features))
    net = fitted(wide, max_iter=1, hidden_layer_sizes=(4,), **params).net
    # After the last step of one cycle the peak is known from the rate that it had.
    n_steps = len(net.loss_curve_) * -(-540 // 128)
    done = (n_steps - 0.5) / n_steps
    share = 0.5 * (1 + np.cos(np.pi * (done - 0.1) / 0.9))
    rate = net.optimizer_.param_groups[0]["lr"]
    assert rate == pytest.approx(expected * share, rel=1e-6)


def test_training_lowers_the_loss():
    curve = fitted(max_iter=60).net.validation_curve_
    assert min(curve) < curve[0]
