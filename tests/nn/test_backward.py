from functools import partial

import pytest
import torch
from torch import nn

from sklearn_ae.nn import (
    ACTIVATIONS,
    Autoencoder,
    GaussianEncoder,
    MLPArchitecture,
    fused_affine,
    has_rules,
    manual_backward,
)
from sklearn_ae.nn._backward import _RULES
from sklearn_ae.nn._folded import _FOLDED
from tests.helpers import drawn, generator

D, K, N = 5, 3, 7
LEVELS = (0.05, 2.0)


START = {
    "mean": drawn(D, seed=1),
    "centre": drawn(D, seed=2),
    "spread": torch.tensor([0.5, 2.0, 1.0, torch.inf, 1.5]),
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
    assert has_rules(module)
    x, grad = drawn(N, D, seed=4).double(), drawn(N, D, seed=5).double()
    levels = torch.linspace(*LEVELS, N).double()[:, None]
    levels = levels if says_levels and module.is_noise_conditional else None
    with torch.inference_mode():
        mine, back = manual_backward(module)(x, levels)
        back(grad)
    manual = [p.grad.clone() for p in module.parameters()]
    x_hat, _, _ = module.draw(x, generator(), levels)
    module.zero_grad()
    x_hat.backward(grad)
    torch.testing.assert_close(mine, x_hat, rtol=1e-12, atol=1e-12)
    for by_p, p in zip(manual, module.parameters(), strict=True):
        torch.testing.assert_close(by_p, p.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("make", "activation", "hidden"), ONE_BY_ONE)
@pytest.mark.parametrize("by_numpy", [True, False])
def test_a_folded_part_maps_as_the_part_does(make, activation, hidden, by_numpy):
    module = moved(make(hidden, activation))
    x = drawn(N, D, seed=4).double()
    fold = partial(fused_affine, by_numpy=by_numpy)
    with torch.no_grad():
        z = module.encoder(x)
        x_hat = module.decoder(z)
        encode, decode = fold(module.encoder), fold(module.decoder)
        close = {"rtol": 1e-12, "atol": 1e-12}
        torch.testing.assert_close(encode(x), z, **close)
        torch.testing.assert_close(decode(z), x_hat, **close)
        if module.is_noise_conditional:
            levels = torch.linspace(*LEVELS, N).double()[:, None]
            at_levels = module.encoder(x, levels)
            torch.testing.assert_close(encode(x, levels), at_levels, **close)
        # Rows as they were, and weights of its own.
        assert torch.equal(x, drawn(N, D, seed=4).double())
        for p in module.parameters():
            p.add_(0.1)
        torch.testing.assert_close(encode(x), z, **close)
        torch.testing.assert_close(decode(z), x_hat, **close)


def test_what_has_rules_to_train_can_be_folded():
    assert set(_FOLDED) == set(_RULES)


def test_a_part_without_a_rule_is_its_own_pass():
    encoder = GaussianEncoder(random((6,), "relu").encoder)
    assert fused_affine(encoder) is encoder


def test_what_has_no_rules_is_left_to_autograd():
    class Mine(Autoencoder):
        """It may do anything."""

    model = random((6,), "relu")
    assert not has_rules(Mine(model.encoder, model.decoder, K))
    for encoder in (
        GaussianEncoder(model.encoder),
        nn.Sequential(model.encoder, nn.Sigmoid()),
        nn.Linear(D, K),
    ):
        assert not has_rules(Autoencoder(encoder, model.decoder, K))
        assert not has_rules(Autoencoder(model.encoder, encoder, K))
    changed = random((6,), "relu")
    changed.decoder.layers[1] = nn.Sequential(changed.decoder.layers[1], nn.Dropout())
    assert not has_rules(changed)
    normed = random((6,), "relu")
    nn.utils.parametrizations.weight_norm(normed.decoder.layers[1])
    assert not has_rules(normed)
    conditional = wiener((6,), "relu")
    conditional.encoder.features = nn.Softplus()
    assert not has_rules(conditional)
    assert not has_rules(random((6,), "relu").to("meta"))
    around = linear((6,), "relu")
    around.decoder.correction = around.decoder.linear
    assert not has_rules(around)
    model.decoder.activation = nn.PReLU()
    around = linear((6,), "relu")
    around.encoder.correction.activation = nn.PReLU()
    assert not has_rules(model)
    assert not has_rules(around)
