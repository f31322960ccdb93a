"""An encoder with a linear head: by hand, and what is frozen of it."""

import copy
import pickle

import pytest
import torch
from torch import nn

from sklearn_ae.nn import MLP, CorrectedLinear, Head, early_layers, freeze, thaw
from tests.helpers import generator

G = generator()


def encoder():
    one = torch.ones
    return CorrectedLinear(
        nn.Linear(5, 3),
        MLP([5, 7, 7, 3], "silu", generator=G, residual=True),
        shift_in=0 * one(5),
        scale_in=one(5),
        scale_out=one(3),
    )


def test_a_head_by_hand():
    coef, intercept = torch.randn(4, 3, generator=G), torch.randn(4, generator=G)
    inner = encoder()
    x = torch.randn(6, 5, generator=G)
    expected = inner(x) @ coef.T + intercept
    torch.testing.assert_close(Head(inner, coef, intercept)(x), expected)


@pytest.mark.parametrize(
    ("n_last", "frozen"), [(True, []), (1, [0, 1]), (2, [0]), (3, []), (9, [])]
)
def test_early_layers(n_last, frozen):
    inner = encoder()
    layers = inner.correction.layers
    assert early_layers(inner, n_last) == [layers[i] for i in frozen]


def test_no_last_layers_are_all_layers():
    inner = encoder()
    assert set(early_layers(inner, 0)) == {*inner.correction.layers, inner.linear}


def test_what_is_frozen_is_no_parameter_until_it_is_thawed():
    inner = encoder()
    names = dict(inner.named_parameters())
    before = copy.deepcopy(inner.state_dict())
    x = torch.randn(6, 5, generator=G)
    out = inner(x)
    freeze(early_layers(inner, 1))
    left = {name for name, _ in inner.named_parameters()}
    last = ("linear.", "correction.layers.2.")
    assert left == {name for name in names if name.startswith(last)}
    torch.testing.assert_close(inner(x), out)
    copied = pickle.loads(pickle.dumps(inner))
    for one in (inner, copied):
        thaw(one)
        assert [name for name, _ in one.named_parameters()] == list(names)
        assert all(p.requires_grad for p in one.parameters())
        assert one.state_dict().keys() == before.keys()
        assert all(torch.equal(v, before[k]) for k, v in one.state_dict().items())
