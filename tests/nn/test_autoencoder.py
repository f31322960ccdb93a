import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import scale
from torch import nn

from sklearn_ae.nn import Autoencoder, Path


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def tensor(array):
    return torch.from_numpy(np.asarray(array))


def around(pca, hidden=(16, 16), activation="silu", n_extra=0):
    """An autoencoder around a fitted PCA, with ``n_extra`` axes of zeros."""
    k, d = pca.components_.shape
    return Autoencoder.around_linear(
        (d, *hidden, k + n_extra),
        activation,
        mean=tensor(pca.mean_),
        axes=tensor(np.pad(pca.components_, ((0, n_extra), (0, 0)))),
        scales=tensor(np.pad(pca.singular_values_, (0, n_extra), constant_values=1.0)),
        generator=generator(),
    )


@pytest.fixture
def X():
    # Off centre, so that a forgotten mean shows.
    return scale(load_wine().data) + 3.0


@pytest.mark.parametrize("hidden", [(), (7,), (16, 16)])
@pytest.mark.parametrize("activation", ["silu", "relu", "logistic"])
@pytest.mark.parametrize("n_extra", [0, 2])
def test_around_linear_starts_at_pca(X, hidden, activation, n_extra):
    pca = PCA(4).fit(X)
    model = around(pca, hidden, activation, n_extra)
    with torch.no_grad():
        x_hat, z = model(tensor(X).float())
    code = pca.transform(X)
    np.testing.assert_allclose(z[:, :4], code, atol=2e-5)
    np.testing.assert_allclose(x_hat, pca.inverse_transform(code), atol=2e-5)
    assert not z[:, 4:].any()


def test_around_linear_has_a_gradient_for_both_paths(X):
    model = around(PCA(3).fit(X))
    x = tensor(X).float()
    (model(x)[0] - x).square().sum().backward()
    moved = {n for n, p in model.named_parameters() if p.grad.any()}
    for path in ("encoder", "decoder"):
        assert f"{path}.linear.weight" in moved
        assert f"{path}.nonlinear.layers.2.weight" in moved


def test_no_two_parameters_share_memory(X):
    model = around(PCA(3).fit(X))
    parameters = list(model.parameters())
    assert len({p.untyped_storage().data_ptr() for p in parameters}) == len(parameters)


def test_random_is_the_mirrored_mlp_without_a_linear_path():
    model = Autoencoder.random((5, 4, 3, 2), "tanh", generator=generator())
    shapes = [tuple(layer.weight.shape) for layer in model.encoder.nonlinear.layers]
    back = [tuple(layer.weight.shape) for layer in model.decoder.nonlinear.layers]
    assert shapes == [(4, 5), (3, 4), (2, 3)]
    assert back == [(3, 2), (4, 3), (5, 4)]
    assert model.encoder.linear is None
    assert model.decoder.linear is None
    assert model.n_components == 2
    first, last = model.encoder.nonlinear.layers[0], model.decoder.nonlinear.layers[-1]
    # Each path draws its own weights.
    assert not torch.equal(first.weight, last.weight.T)


def test_forward_is_the_decoder_of_the_encoder(X):
    model = Autoencoder.random((13, 6, 2), "tanh", generator=generator())
    x = tensor(X).float()
    with torch.no_grad():
        x_hat, z = model(x)
        assert torch.equal(z, model.encoder(x))
        assert torch.equal(x_hat, model.decoder(z))


def test_path_is_linear_plus_scaled_nonlinear():
    linear = nn.Linear(2, 3)
    x = torch.tensor([[1.0, -2.0], [0.5, 4.0]])
    scale_in, scale_out = torch.tensor([2.0, 0.5]), torch.tensor([1.0, 10.0, 100.0])

    class Cubes(nn.Module):
        def forward(self, x):
            return torch.stack([x[:, 0] ** 3, x[:, 1] ** 3, x.prod(dim=1)], dim=1)

    path = Path(linear, Cubes(), scale_in=scale_in, scale_out=scale_out)
    u = x / scale_in
    expected = linear(x) + scale_out * torch.stack(
        [u[:, 0] ** 3, u[:, 1] ** 3, u[:, 0] * u[:, 1]], dim=1
    )
    torch.testing.assert_close(path(x), expected)
    torch.testing.assert_close(Path(linear, Cubes())(x), linear(x) + Cubes()(x))
    torch.testing.assert_close(Path(None, Cubes())(x), Cubes()(x))


@pytest.mark.parametrize("kind", ["pca", "random"])
def test_gradient_is_that_of_finite_differences(X, kind):
    X = X[:4, :3]
    if kind == "pca":
        model = around(PCA(2).fit(X), hidden=(3, 3))
    else:
        model = Autoencoder.random((3, 4, 2), "silu", generator=generator())
    model = model.double()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(generator=generator(p.numel()))
    names, values = zip(*model.named_parameters(), strict=True)

    def function(*values):
        state = dict(zip(names, values, strict=True))
        return torch.func.functional_call(model, state, tensor(X))

    assert torch.autograd.gradcheck(function, values)


def test_building_leaves_torchs_global_generator_alone(X):
    before = torch.get_rng_state()
    around(PCA(3).fit(X))
    Autoencoder.random((5, 4, 2), "tanh", generator=generator())
    assert torch.equal(torch.get_rng_state(), before)
