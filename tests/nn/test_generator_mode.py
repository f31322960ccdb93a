"""Random operations draw from the generator of a GeneratorMode, and from no other."""

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sklearn_ae.nn import GeneratorMode
from tests.helpers import generator

X = torch.arange(12.0).reshape(3, 4)
DRAWS = {
    "rand": lambda: torch.rand(3),
    "no generator": lambda: torch.rand(3, generator=None),
    "randn": lambda: torch.randn(3, dtype=torch.float64),
    "randint": lambda: torch.randint(5, 9, (3,)),
    "randperm": lambda: torch.randperm(9),
    "rand_like": lambda: torch.rand_like(X),
    "randint_like": lambda: torch.randint_like(X, 2, 9),
    "bernoulli": lambda: torch.bernoulli(torch.full((9,), 0.5)),
    "multinomial": lambda: torch.multinomial(torch.ones(9), 4),
    "normal": lambda: torch.normal(X, 1.0),
    "in place": lambda: torch.empty(3).exponential_(),
    "distribution": lambda: torch.distributions.Gamma(1.0, 1.0).sample((3,)),
    "layer": lambda: nn.Conv1d(2, 3, 2).weight,
    "dropout": lambda: F.dropout(torch.ones(20)),
    "dropout of channels": lambda: F.dropout2d(torch.ones(1, 20, 2, 2)),
    "GPU's dropout": lambda: torch.native_dropout(torch.ones(20), 0.5, True)[0],
    "LSTM": lambda: nn.LSTM(4, 8, 2, dropout=0.5)(X[None])[0],
    "attention": lambda: F.scaled_dot_product_attention(X, X, X, dropout_p=0.5),
    "transformer": lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.5)(X[None]),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_draws_come_from_the_generator_and_move_no_other(draw):
    before = torch.get_rng_state()
    results = []
    for seed in (0, 0, 1):
        with GeneratorMode(generator(seed)):
            results.append(draw())
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_a_draw_is_what_the_operation_gives_for_that_generator():
    expected = (
        torch.empty(4).uniform_(generator=generator()),
        torch.rand(4, generator=(g := generator(5))),
    )
    with GeneratorMode(generator()):
        drawn = torch.empty(4).uniform_(), torch.rand(4, generator=generator(5))
    assert torch.equal(expected[0], drawn[0])
    # One that is given is used.
    assert torch.equal(expected[1], drawn[1])
    assert g.initial_seed() == 5


def test_dropout_of_gpus_keeps_the_mean_and_returns_its_mask():
    x = torch.ones(10_000)
    with GeneratorMode(generator()):
        kept, mask = torch.native_dropout(x, 0.25, True)
        all_kept, _ = torch.native_dropout(x, 0.25, False)
        none_kept, _ = torch.native_dropout(x, 1.0, True)
    assert mask.double().mean() == pytest.approx(0.75, abs=0.02)
    torch.testing.assert_close(kept, mask / 0.75)
    assert torch.equal(all_kept, x)
    assert not none_kept.any()


def test_another_thread_draws_from_torchs_generator():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    drawn = []
    with GeneratorMode(generator(7)):
        thread = threading.Thread(target=lambda: drawn.append(torch.rand(3)))
        thread.start()
        thread.join()
    assert torch.equal(drawn[0], expected)


def test_tensors_of_another_device_have_a_generator_there():
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    results = []
    for _ in range(2):
        with GeneratorMode(generator()):
            results.append(torch.rand(3, device="cuda"))
    assert torch.equal(*results)
