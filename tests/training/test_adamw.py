import copy
import math
import pickle

import pytest
import torch

from sklearn_ae.training._weights import AdamW
from tests.helpers import float64_by_default

SETTINGS = {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}


def start():
    values = torch.linspace(-1, 1, 7)
    return torch.nn.Parameter(values.clone())


def descend(optimizer, n_steps, first=0):
    """Steps down a curve that bends, at a rate of their own each."""
    (group,) = optimizer.param_groups
    (p,) = group["params"]
    for t in range(first, first + n_steps):
        group["lr"] = 0.05 / (1 + t)
        p.grad = None
        (p.sin() * torch.arange(7)).sum().backward()
        optimizer.step()
    return p.detach()


def torchs(**settings):
    return torch.optim.AdamW([start()], fused=True, **(SETTINGS | settings))


def ours(**settings):
    return AdamW([{"params": [start()]}], **(SETTINGS | settings))


@pytest.mark.parametrize("amsgrad", [False, True])
def test_its_steps_are_torchs_to_the_bit(amsgrad):
    ended, expected = (descend(make(amsgrad=amsgrad), 20) for make in (ours, torchs))
    assert torch.equal(ended, expected)
    assert (ended - start()).abs().max() > 0.1


def test_its_count_of_steps_is_in_float32_whatever_the_default():
    # A kernel may read it as that without looking.
    optimizer = ours()
    with float64_by_default():
        descend(optimizer, 1)
    (state,) = optimizer.state.values()
    assert state["step"].dtype == torch.float32


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))]
)
def test_a_copy_goes_on(again):
    optimizer = ours()
    descend(optimizer, 5)
    expected = descend(torchs(), 20)
    assert torch.equal(descend(again(optimizer), 15, first=5), expected)


def test_its_state_is_torchs():
    optimizer, other = ours(), torchs()
    descend(optimizer, 5)
    with torch.no_grad():
        other.param_groups[0]["params"][0].copy_(optimizer.param_groups[0]["params"][0])
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert torch.equal(descend(optimizer, 5, first=5), descend(other, 5, first=5))


def test_after_its_state_is_forgotten_it_starts_again():
    optimizer = ours()
    descend(optimizer, 5)
    (p,) = optimizer.param_groups[0]["params"]
    with torch.no_grad():
        p.copy_(start())
    optimizer.state.clear()
    assert torch.equal(descend(optimizer, 5), descend(ours(), 5))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", -1.0),
        ("eps", math.nan),
        ("weight_decay", -0.1),
        ("betas", (0.9, 1.0)),
        ("betas", (0.9,)),
    ],
)
def test_bad_settings_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        AdamW([{"params": [start()]}], **{name: value})
