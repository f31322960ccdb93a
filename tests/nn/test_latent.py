import numpy as np
import torch
from torch import nn

from sklearn_ae.nn import Autoencoder, GaussianEncoder, MLPArchitecture
from tests.helpers import generator


def test_moments_are_the_two_halves_and_the_call_is_the_mean():
    encoder = GaussianEncoder(nn.Identity())
    x = torch.arange(12.0).reshape(2, 6)
    mean, log_variance = encoder.moments(x)
    assert torch.equal(mean, x[:, :3])
    assert torch.equal(log_variance, x[:, 3:])
    assert torch.equal(encoder(x), mean)


def test_a_variance_stays_finite():
    _, log_variance = GaussianEncoder(nn.Identity()).moments(torch.tensor([[0.0, 1e9]]))
    assert log_variance.exp().isfinite().all()


def test_a_draw_has_the_moments_of_the_posterior():
    module = Autoencoder.random(
        MLPArchitecture(3, (4,), "tanh", generator()), 2, code="gaussian"
    )
    module.decoder = nn.Identity()
    x = torch.tensor([[1.0, -2.0, 0.5]]).expand(40_000, 3)
    with torch.no_grad():
        z, mean, log_variance = module.draw(x, generator())
        assert torch.equal(mean, module.encoder(x))
    error = (z - mean).mean(dim=0).abs() / (z.std(dim=0) / 200)
    assert error.max() < 4
    variance = log_variance.exp()[0].numpy()
    np.testing.assert_allclose(z.var(dim=0), variance, rtol=0.03)


def test_a_plain_code_is_not_drawn():
    module = Autoencoder.random(MLPArchitecture(3, (4,), "tanh", generator()), 2)
    x = torch.randn(5, 3, generator=generator())
    with torch.no_grad():
        x_hat, z, log_variance = module.draw(x, generator())
        assert log_variance is None
        assert torch.equal(x_hat, module(x)[0])
        assert torch.equal(z, module.encoder(x))
