import pytest
import torch
from torch import nn

from sklearn_ae.nn import (
    ACTIVATIONS,
    Autoencoder,
    GaussianEncoder,
    MLPArchitecture,
    plain_forward,
)
from tests.helpers import drawn, generator

D, K, N = 5, 3, 7
LEVELS = (0.05, 2.0)


START = {
    "pca_mean": drawn(D, seed=1),
    "mean": drawn(D, seed=2),
    "std": torch.tensor([0.5, 2.0, 1.0, torch.inf, 1.5]),
    "components": torch.linalg.qr(drawn(D, K, seed=3)).Q.T,
    "component_std": torch.tensor([2.0, 1.0, 0.3]),
}


def networks(hidden, activation):
    return MLPArchitecture(D, hidden, activation, generator())


def random(hidden, activation):
    return Autoencoder.random(networks(hidden, activation), K)


def linear(hidden, activation):
    return Autoencoder.around_linear(networks(hidden, activation), **START)


def wiener(hidden, activation, n_components=K):
    start = START
    if n_components == D:
        start = START | {"components": torch.eye(D), "component_std": torch.ones(D)}
    return Autoencoder.around_wiener(
        networks(hidden, activation),
        noise=torch.ones(D),
        levels=LEVELS,
        **start,
    )


def square_wiener(hidden, activation):
    return wiener(hidden, activation, n_components=D)


def moved(module):
    """In double precision, off its start, with gradients to be written over."""
    module = module.double()
    for number, p in enumerate(module.parameters()):
        p.data += 0.3 * drawn(*p.shape, seed=10 + number)
        p.grad = torch.full_like(p, torch.nan)
    return module


# Each activation in one network, and each depth and each kind of network with one.
ONE_BY_ONE = [
    *((random, name, (6, 6)) for name in ACTIVATIONS),
    *((linear, "silu", hidden) for hidden in [(), (6,), (8, 6, 6, 4)]),
    *((make, "tanh", (8, 6, 6, 4)) for make in (random, wiener, square_wiener)),
]


@pytest.mark.parametrize(("make", "activation", "hidden"), ONE_BY_ONE)
@pytest.mark.parametrize("says_levels", [True, False])
def test_output_and_gradients_are_autograds(make, activation, hidden, says_levels):
    module = moved(make(hidden, activation))
    assert module.has_manual_backward
    x, grad = drawn(N, D, seed=4).double(), drawn(N, D, seed=5).double()
    levels = torch.linspace(*LEVELS, N).double()[:, None]
    levels = levels if says_levels and module.is_noise_conditional else None
    with torch.inference_mode():
        mine, back = module.make_forward_backward()(x, levels)
        back(grad)
    manual = [p.grad.clone() for p in module.parameters()]
    x_hat, _, _ = module.draw(x, generator(), levels)
    module.zero_grad()
    x_hat.backward(grad)
    torch.testing.assert_close(mine, x_hat, rtol=1e-12, atol=1e-12)
    for by_p, p in zip(manual, module.parameters(), strict=True):
        torch.testing.assert_close(by_p, p.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("make", "activation", "hidden"), ONE_BY_ONE)
def test_a_plain_function_maps_as_the_part_does(make, activation, hidden):
    module = make(hidden, activation).double()
    x = drawn(N, D, seed=4).double()
    encode, decode = plain_forward(module.encoder), plain_forward(module.decoder)
    assert encode is not module.encoder
    close = {"rtol": 1e-12, "atol": 1e-12}
    with torch.no_grad():
        z = module.encoder(x)
        torch.testing.assert_close(encode(x), z, **close)
        torch.testing.assert_close(decode(z), module.decoder(z), **close)
        if module.is_noise_conditional:
            levels = torch.linspace(*LEVELS, N).double()[:, None]
            at_levels = module.encoder(x, levels)
            torch.testing.assert_close(encode(x, levels), at_levels, **close)
    assert torch.equal(x, drawn(N, D, seed=4).double())


def test_a_part_without_a_manual_backward_is_its_own_function():
    encoder = GaussianEncoder(random((6,), "relu").encoder)
    assert plain_forward(encoder) is encoder


def test_unknown_parts_are_left_to_autograd():
    class Mine(Autoencoder):
        """It may do anything."""

    model = random((6,), "relu")
    assert not Mine(model.encoder, model.decoder, K).has_manual_backward
    for encoder in (
        GaussianEncoder(model.encoder),
        nn.Sequential(model.encoder, nn.Sigmoid()),
        nn.Linear(D, K),
    ):
        assert not Autoencoder(encoder, model.decoder, K).has_manual_backward
        assert not Autoencoder(model.encoder, encoder, K).has_manual_backward
    changed = random((6,), "relu")
    changed.decoder.layers[1] = nn.Sequential(changed.decoder.layers[1], nn.Dropout())
    assert not changed.has_manual_backward
    normed = random((6,), "relu")
    nn.utils.parametrizations.weight_norm(normed.decoder.layers[1])
    assert not normed.has_manual_backward
    conditional = wiener((6,), "relu")
    conditional.encoder.features = nn.Softplus()
    assert not conditional.has_manual_backward
    assert not random((6,), "relu").to("meta").has_manual_backward
    model.decoder.activation = nn.PReLU()
    around = linear((6,), "relu")
    around.encoder.correction.activation = nn.PReLU()
    assert not model.has_manual_backward
    assert not around.has_manual_backward
