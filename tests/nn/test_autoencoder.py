import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import scale
from torch import nn

from sklearn_ae.nn import Autoencoder, CorrectedLinear, MLPArchitecture
from tests.helpers import generator, tensor


def around(
    pca, hidden=(16, 16), activation="silu", n_extra=0, centre=None, constant=None
):
    """An autoencoder around a fitted PCA, with ``n_extra`` axes of zeros."""
    d = pca.components_.shape[1]
    spread = np.linspace(0.5, 2.0, d)
    if constant is not None:
        spread[constant] = np.inf
    return Autoencoder.around_linear(
        MLPArchitecture(d, hidden, activation, generator()),
        pca_mean=tensor(pca.mean_),
        mean=tensor(np.linspace(-1.0, 3.0, d)) if centre is None else centre,
        std=tensor(spread),
        components=tensor(np.pad(pca.components_, ((0, n_extra), (0, 0)))),
        component_std=tensor(
            np.pad(pca.singular_values_, (0, n_extra), constant_values=1.0)
        ),
    )


@pytest.fixture
def X():
    # Off centre, so that a forgotten mean shows.
    return scale(load_wine().data) + 3.0


@pytest.mark.parametrize("hidden", [(), (7,), (16, 16)])
@pytest.mark.parametrize("n_extra", [0, 2])
def test_around_linear_starts_at_pca(X, hidden, n_extra):
    pca = PCA(4).fit(X)
    # An activation that is not zero at zero.
    model = around(pca, hidden, "logistic", n_extra)
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
        assert f"{path}.correction.layers.2.weight" in moved


def test_a_feature_at_its_centre_has_no_gradient_and_is_not_seen_by_the_correction(X):
    X = X.copy()
    X[:, 4] = 7.0
    model = around(PCA(3).fit(X), centre=tensor(X.mean(axis=0)), constant=4)
    x = tensor(X).float()
    (model(x)[0] - x).square().sum().backward()
    assert not model.encoder.linear.weight.grad[:, 4].any()
    assert model.encoder.linear.weight.grad[:, 3].any()
    with torch.no_grad():
        model.encoder.correction.layers[-1].weight.normal_(generator=generator())
        off = x + 1e3 * torch.eye(13)[4]
        moved = model.encoder(off) - model.encoder(x)
        linear = (off - x) @ model.encoder.linear.weight.T
    torch.testing.assert_close(moved, linear, rtol=1e-3, atol=1e-2)


def test_no_two_parameters_share_memory(X):
    model = around(PCA(3).fit(X))
    parameters = list(model.parameters())
    assert len({p.untyped_storage().data_ptr() for p in parameters}) == len(parameters)


def test_random_is_the_mirrored_mlp_without_a_linear_path():
    model = Autoencoder.random(MLPArchitecture(5, (4, 3), "tanh", generator()), 2)
    shapes = [tuple(layer.weight.shape) for layer in model.encoder.layers]
    back = [tuple(layer.weight.shape) for layer in model.decoder.layers]
    assert shapes == [(4, 5), (3, 4), (2, 3)]
    assert back == [(3, 2), (4, 3), (5, 4)]
    assert model.n_components == 2
    first, last = model.encoder.layers[0], model.decoder.layers[-1]
    # Each draws its own weights.
    assert not torch.equal(first.weight, last.weight.T)


def test_forward_is_the_decoder_of_the_encoder(X):
    model = Autoencoder.random(MLPArchitecture(13, (6,), "tanh", generator()), 2)
    x = tensor(X).float()
    with torch.no_grad():
        x_hat, z = model(x)
        assert torch.equal(z, model.encoder(x))
        assert torch.equal(x_hat, model.decoder(z))


class Cubes(nn.Module):
    def forward(self, x):
        return torch.stack([x[:, 0] ** 3, x[:, 1] ** 3, x.prod(dim=1)], dim=1)


def test_the_correction_is_added_in_its_own_units():
    linear = nn.Linear(2, 3)
    x = torch.tensor([[1.0, -2.0], [0.5, 4.0]])
    shift_in, scale_in = torch.tensor([0.5, -1.0]), torch.tensor([2.0, 0.5])
    scale_out = torch.tensor([1.0, 10.0, 100.0])
    path = CorrectedLinear(
        linear, Cubes(), shift_in=shift_in, scale_in=scale_in, scale_out=scale_out
    )
    from_centre = x - shift_in
    u = (from_centre / scale_in).numpy()
    added = np.stack([u[:, 0] ** 3, u[:, 1] ** 3, u[:, 0] * u[:, 1]], axis=1)
    expected = linear(from_centre).detach().numpy() + scale_out.numpy() * added
    np.testing.assert_allclose(path(x).detach().numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["pca", "random"])
def test_gradient_is_that_of_finite_differences(X, kind):
    X = X[:4, :3]
    if kind == "pca":
        model = around(PCA(2).fit(X), hidden=(3, 3))
    else:
        model = Autoencoder.random(MLPArchitecture(3, (4,), "silu", generator()), 2)
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
    Autoencoder.random(MLPArchitecture(5, (4,), "tanh", generator()), 2)
    assert torch.equal(torch.get_rng_state(), before)
