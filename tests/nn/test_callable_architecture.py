import pytest
import torch
from torch import nn

from sklearn_ae.nn import CallableArchitecture
from tests.helpers import float64_by_default, generator


def built(*parts, n_components=2):
    own = CallableArchitecture(lambda d, k: parts, 3, generator())
    encoder = own.encoder(n_components, at_zero=False)
    return encoder, own.decoder(n_components, at_zero=False)


def linear(n_features, n_components):
    return nn.Linear(n_features, n_components), nn.Linear(n_components, n_features)


def test_the_encoder_is_the_first_and_the_decoder_the_second():
    own = CallableArchitecture(linear, 5, generator())
    assert own.encoder(2, at_zero=False).weight.shape == (2, 5)
    assert own.decoder(2, at_zero=False).weight.shape == (5, 2)


def test_numbers_are_single_whatever_torchs_default():
    with float64_by_default():
        part = CallableArchitecture(linear, 5, generator()).encoder(2, at_zero=True)
    assert {p.dtype for p in part.parameters()} == {torch.float32}


def test_a_gate_starts_at_zero_and_learns():
    own = CallableArchitecture(linear, 5, generator())
    part = own.encoder(2, at_zero=True)
    x = torch.randn(4, 5, generator=generator())
    assert (part(x) == 0).all()
    part(x).sum().backward()
    assert (part.gate.grad != 0).all()


def test_weights_are_of_the_generator_and_the_global_one_stays():
    before = torch.get_rng_state()
    one, same = (
        CallableArchitecture(linear, 5, generator()).encoder(2, at_zero=False)
        for _ in "ab"
    )
    assert torch.equal(one.weight, same.weight)
    assert torch.equal(torch.get_rng_state(), before)
    own = CallableArchitecture(linear, 5, generator())
    first, second = (own.encoder(2, at_zero=False) for _ in "ab")
    assert not torch.equal(first.weight, second.weight)


def test_double_networks_become_single():
    encoder, _ = built(nn.Linear(3, 2).double(), nn.Linear(2, 3).double())
    assert encoder.weight.dtype == torch.float32


@pytest.mark.parametrize("bad", [None, nn.Linear(3, 2), (nn.Linear(3, 2),), (1, 2)])
def test_what_is_no_pair_of_modules_is_refused(bad):
    own = CallableArchitecture(lambda d, k: bad, 3, generator())
    with pytest.raises(
        ValueError, match="architecture must return an encoder and a de"
    ):
        own.encoder(2, at_zero=True)


def test_networks_of_another_shape_are_refused():
    with pytest.raises(
        ValueError, match=r"encoder .* maps .*\(3, 3\) to \(3, 4\), .*2"
    ):
        built(nn.Linear(3, 4), nn.Linear(2, 3))
    with pytest.raises(ValueError, match=r"decoder .* fails on rows of shape \(3, 2\)"):
        built(nn.Linear(3, 2), nn.Linear(4, 3))


def test_running_statistics_are_refused():
    part = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    with pytest.raises(ValueError, match=r"BatchNorm1d.*Use LayerNorm or GroupNorm"):
        built(part, nn.Linear(2, 3))
    # Without them a row's code is a matter of the rows beside it.
    free = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, track_running_stats=False))
    with pytest.raises(ValueError, match=r"BatchNorm1d: a row's code would depend"):
        built(free, nn.Linear(2, 3))
    built(nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)), nn.Linear(2, 3))


def test_a_module_is_no_function():
    own = CallableArchitecture(nn.Linear(3, 2), 3, generator())
    with pytest.raises(ValueError, match=r"must be a function .*got the module Linear"):
        own.encoder(2, at_zero=True)


def test_an_output_that_is_no_tensor_is_refused():
    with pytest.raises(ValueError, match=r"\('tuple',\), which has to be \(3, 2\)"):
        built(nn.LSTM(3, 2), nn.Linear(2, 3))


class Cast(nn.Linear):
    def __init__(self, n_in, n_out, cast):
        super().__init__(n_in, n_out)
        self.cast = cast

    def forward(self, x):
        return self.cast(super().forward(x))


def as_complex(x):
    return torch.complex(x, x)


@pytest.mark.parametrize("cast", [torch.Tensor.double, torch.Tensor.half, as_complex])
def test_an_output_of_another_dtype_is_refused(cast):
    with pytest.raises(ValueError, match=r"encoder .* has to be torch.float32"):
        built(Cast(3, 2, cast), nn.Linear(2, 3))


def test_an_array_is_no_output():
    with pytest.raises(ValueError, match=r"decoder .* to \('ndarray',\)"):
        built(nn.Linear(3, 2), Cast(2, 3, lambda x: x.detach().numpy()))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_no_numbers_are_refused(value):
    decoder = nn.Linear(2, 3)
    nn.init.constant_(decoder.bias, value)
    with pytest.raises(ValueError, match=r"decoder .* NaN or infinity in 'bias'"):
        built(nn.Linear(3, 2), decoder)


def test_tied_weights_are_refused():
    encoder, decoder = nn.Linear(3, 2, bias=False), nn.Linear(2, 3, bias=False)
    decoder.weight = encoder.weight
    with pytest.raises(ValueError, match=r"encoder and the decoder .* share a para"):
        built(encoder, decoder)
