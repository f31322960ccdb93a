import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from sklearn_ae.training._weights import FlatParameters, flat_vector


@pytest.fixture
def model():
    torch.random.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 5), nn.Linear(5, 2))


@pytest.fixture
def data():
    rows = torch.Generator().manual_seed(1)
    x = torch.randn(20, 16, 3, generator=rows)
    return x, torch.randn(20, 16, 2, generator=rows)


@pytest.fixture(autouse=True)
def _own_generator():
    with torch.random.fork_rng():
        yield


def own_storage(p):
    return p.untyped_storage().nbytes() == p.numel() * p.element_size()


def train_flat(model, x, y, optimizer, flat):
    for x_i, y_i in zip(x, y, strict=True):
        flat.grad.zero_()
        (model(x_i) - y_i).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("fused", [False, True])
def test_adamw_on_the_vector_is_adamw_on_the_parameters(model, data, fused):
    x, y = data
    settings = {"lr": 0.01, "weight_decay": 0.1, "fused": fused}
    separate = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(separate.parameters(), **settings)
    for x_i, y_i in zip(x, y, strict=True):
        optimizer.zero_grad()
        (separate(x_i) - y_i).square().mean().backward()
        optimizer.step()

    vector = flat_vector(model)
    before = vector.detach().clone()
    with FlatParameters(model, vector) as flat:
        train_flat(model, x, y, torch.optim.AdamW([vector], **settings), flat)

    assert (flat_vector(model) - before).abs().max() > 0.05
    for a, b in zip(model.parameters(), separate.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_vector_is_the_parameters_in_order(model):
    expected = torch.cat([p.flatten() for p in model.parameters()])
    vector = flat_vector(model)
    assert torch.equal(vector, expected)
    vector.data.zero_()
    assert all(p.any() for p in model.parameters())


def test_inside_parameters_and_gradients_are_views(model, data):
    vector = flat_vector(model)
    with FlatParameters(model, vector) as flat:
        model(data[0][0]).sum().backward()
        grads = torch.cat([p.grad.flatten() for p in model.parameters()])
        assert grads.any()
        assert torch.equal(flat.grad, grads)
        vector.data.fill_(7.0)
        assert all((p == 7.0).all() for p in model.parameters())


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_outside_the_module_has_ordinary_parameters(model, data, error):
    vector = flat_vector(model)
    try:
        with FlatParameters(model, vector):
            model(data[0][0]).sum().backward()
            vector.data.add_(1.0)
            if error:
                raise error
    except (RuntimeError, KeyboardInterrupt):
        pass
    assert all(p.grad is None and own_storage(p) for p in model.parameters())
    assert all(p.is_leaf and p.requires_grad for p in model.parameters())
    assert vector.grad is None
    kept = flat_vector(model).detach().clone()
    assert torch.equal(kept, vector)
    vector.data.zero_()
    assert torch.equal(flat_vector(model), kept)


def test_entering_again_takes_the_modules_values_not_the_vectors(model):
    vector = flat_vector(model)
    with FlatParameters(model, vector):
        pass
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(2.0)
    with FlatParameters(model, vector):
        assert (vector == 2.0).all()
        assert all((p == 2.0).all() for p in model.parameters())


def test_a_module_pickles_to_its_own_size_afterwards(model):
    size = len(pickle.dumps(model.state_dict()))
    with FlatParameters(model, flat_vector(model)):
        pass
    assert len(pickle.dumps(model.state_dict())) == size


@pytest.mark.parametrize("max_norm", [1e-3, 0.5, 1e3])
def test_clip_is_torchs(model, data, max_norm):
    separate = copy.deepcopy(model)
    separate(data[0][0]).sum().backward()
    clip_grad_norm_(separate.parameters(), max_norm)
    with FlatParameters(model, flat_vector(model)) as flat:
        model(data[0][0]).sum().backward()
        flat.clip_grad_norm_(max_norm)
        for a, b in zip(model.parameters(), separate.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad)


def test_clip_leaves_a_zero_gradient_at_zero(model):
    with FlatParameters(model, flat_vector(model)) as flat:
        flat.clip_grad_norm_(1.0)
        assert not flat.grad.any()
