from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.special import erf, expit

from sklearn_ae.nn import ACTIVATIONS, MLP
from tests.helpers import float64_by_default, generator

NUMPY = {
    "identity": lambda x: x,
    "logistic": expit,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "silu": lambda x: x * expit(x),
}
SIZES = [(3, 2), (5, 7, 2), (4, 6, 5, 5, 5, 3)]


def random_module(sizes, activation, residual):
    """An MLP in double precision, none of whose parameters is zero."""
    module = MLP(sizes, activation, generator=generator(), residual=residual).double()
    with torch.no_grad():
        for p in module.parameters():
            p.normal_(generator=generator(p.numel()))
    return module


def numpy_layers(module):
    return [
        (layer.weight.detach().numpy(), layer.bias.detach().numpy())
        for layer in module.layers
    ]


def numpy_mlp(module, act, x):
    (w, b), *others = numpy_layers(module)
    x = x @ w.T + b
    for w, b in others:
        x = act(x) @ w.T + b
    return x


def numpy_residual_mlp(module, act, x):
    (w, b), *hidden = numpy_layers(module)
    x = x @ w.T + b
    if not hidden:
        return x
    *hidden, (w_out, b_out) = hidden
    for w, b in hidden:
        x = (x if w.shape[0] == w.shape[1] else 0) + act(x) @ w.T + b
    return act(x) @ w_out.T + b_out


def test_the_activations_are_those_of_the_reference():
    assert set(ACTIVATIONS) == set(NUMPY)


@pytest.mark.parametrize(
    ("activation", "sizes"),
    [*((name, SIZES[-1]) for name in NUMPY), *(("silu", sizes) for sizes in SIZES)],
)
@pytest.mark.parametrize(
    ("residual", "reference"), [(False, numpy_mlp), (True, numpy_residual_mlp)]
)
def test_forward_is_the_numpy_forward(residual, reference, activation, sizes):
    module = random_module(sizes, activation, residual)
    x = np.random.default_rng(0).normal(size=(11, sizes[0]))
    expected = reference(module, NUMPY[activation], x)
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(x)), expected, rtol=1e-10)


def test_an_output_as_wide_as_the_last_hidden_layer_is_not_added_to():
    module = random_module((4, 3, 3), "tanh", residual=True)
    x = np.ones((2, 4))
    with torch.no_grad():
        out = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(out, numpy_residual_mlp(module, np.tanh, x))
    np.testing.assert_allclose(out, numpy_mlp(module, np.tanh, x))


@pytest.mark.parametrize("sizes", SIZES)
def test_residual_mlp_starts_at_zero(sizes):
    module = MLP(sizes, "silu", generator=generator(), residual=True)
    x = torch.randn(9, sizes[0], generator=generator())
    assert torch.count_nonzero(module(x)) == 0
    # Its hidden layers don't: from there a gradient could not move it.
    assert all(layer.weight.any() for layer in module.layers[:-1])


def test_weights_start_at_glorots_uniform_distribution_and_biases_at_zero():
    module = MLP((200, 300, 100), "relu", generator=generator())
    for layer, (n_in, n_out) in zip(
        module.layers, pairwise((200, 300, 100)), strict=True
    ):
        bound = np.sqrt(6 / (n_in + n_out))
        weight = layer.weight.detach().numpy()
        assert np.abs(weight).max() <= bound
        assert weight.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
        assert not layer.bias.any()


@pytest.mark.parametrize("residual", [False, True])
def test_weights_come_from_the_given_generator_alone(residual):
    def made(seed):
        random = generator(seed)
        return MLP((3, 5, 2), "silu", generator=random, residual=residual)

    before = torch.get_rng_state()
    first = made(1)
    assert torch.equal(torch.get_rng_state(), before)
    again = made(1)
    other = made(2)
    assert torch.equal(first.layers[0].weight, again.layers[0].weight)
    assert not torch.equal(first.layers[0].weight, other.layers[0].weight)


def test_parameters_are_float32_whatever_the_default():
    with float64_by_default():
        module = MLP((3, 5, 2), "silu", generator=generator())
    assert {p.dtype for p in module.parameters()} == {torch.float32}
