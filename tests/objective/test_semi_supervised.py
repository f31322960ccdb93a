"""Terms of a prediction: against closed forms, a search, and scipy."""

import math

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.nn.functional import cross_entropy, kl_div

from sklearn_ae.objective import (
    ClassificationObjective,
    RegressionObjective,
    temperature,
    virtual_adversarial,
)
from tests.helpers import generator

G = generator()
OUTPUTS, OTHERS = (torch.randn(40, 3, generator=G).double() for _ in range(2))
TARGET = torch.randint(3, (40,), generator=G)
WEIGHT = torch.rand(40, generator=G).double()
PRIOR = torch.tensor([0.2, 0.3, 0.5]).double()
NONE = torch.zeros(3).double()


def test_divergence_is_torchs():
    log_p, log_q = OUTPUTS.log_softmax(1), OTHERS.log_softmax(1)
    theirs = kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=1)
    torch.testing.assert_close(
        ClassificationObjective(PRIOR, NONE).divergence(OUTPUTS, OTHERS), theirs
    )
    assert (
        ClassificationObjective(PRIOR, NONE).divergence(OUTPUTS, OUTPUTS) == 0
    ).all()


def test_indecision_by_hand():
    p = OUTPUTS.softmax(1)
    mean = (WEIGHT[:, None] * p).sum(0) / WEIGHT.sum()
    apart = sum(q * math.log(q / m) for q, m in zip(PRIOR, mean, strict=True))
    entropy = -(p * p.log()).sum(dim=1)
    ours = ClassificationObjective(PRIOR, NONE).negative_mutual_information(
        OUTPUTS, WEIGHT
    )
    torch.testing.assert_close(ours, entropy + apart)


def test_clear_answers_in_the_right_shares_are_what_is_asked():
    classes = ClassificationObjective(torch.tensor([0.25, 0.75]), torch.zeros(2))
    sure = 50.0 * torch.tensor([[1.0, -1], [-1, 1], [-1, 1], [-1, 1]])
    one = torch.ones(4)
    assert classes.negative_mutual_information(sure, one).abs().max() < 1e-6
    assert classes.negative_mutual_information(0 * sure, one).min() > 0.5
    # All the same.
    assert classes.negative_mutual_information(sure[1:2].expand(4, 2), one).min() > 1


def test_weights_of_classes_shift_what_is_learnt():
    # At the best logits of weighted rows, those of plain rows are the logits less the
    # weights' logarithms: Bayes' rule.
    share, weight = torch.tensor([0.2, 0.8]), torch.tensor([10.0, 1])
    weighted = (share * weight / (share @ weight)).log()[None].requires_grad_()
    losses = ClassificationObjective(share, weight.log()).losses(
        weighted.expand(2, 2), torch.tensor([0, 1])
    )
    (gradient,) = torch.autograd.grad(share @ losses, weighted)
    assert gradient.abs().max() < 1e-6


def test_numbers():
    expected = (OUTPUTS - OTHERS).square().mean(dim=1)
    torch.testing.assert_close(RegressionObjective().losses(OUTPUTS, OTHERS), expected)
    torch.testing.assert_close(
        RegressionObjective().validation_loss(OUTPUTS, OTHERS, WEIGHT), expected
    )
    torch.testing.assert_close(
        RegressionObjective().divergence(OUTPUTS, OTHERS), expected
    )
    assert (
        RegressionObjective().negative_mutual_information(OUTPUTS, WEIGHT) == 0
    ).all()


def rows(n=30, d=6):
    return torch.randn(n, d, generator=G, dtype=torch.float64)


def test_the_direction_is_the_one_that_changes_a_line_most():
    # One linear output has its gradient's direction, whatever the random start.
    x, w = rows(), torch.arange(1.0, 7).double()[:, None]
    change = virtual_adversarial(
        lambda x: x @ w, RegressionObjective().divergence, x, x @ w, 0.5, G
    )
    expected = (0.5 * w.norm()).square().expand(30)
    torch.testing.assert_close(change, expected)


def test_it_is_worse_than_random_directions_and_within_the_radius():
    x = rows()
    weight = torch.randn(6, 3, generator=G).double()
    seen = []

    def function(x):
        seen.append(x)
        return torch.tanh(x @ weight)

    classes = ClassificationObjective(PRIOR, NONE)
    at = function(x)
    found = virtual_adversarial(function, classes.divergence, x, at, 0.3, G)
    torch.testing.assert_close(
        (seen[-1] - x).norm(dim=1), torch.full((30,), 0.3).double()
    )
    drawn = rows()
    drawn = 0.3 * drawn / drawn.norm(dim=1, keepdim=True)
    assert found.mean() > 1.5 * classes.divergence(at, function(x + drawn)).mean()


@pytest.mark.parametrize("size", [0.0, 1e-30])
def test_where_nothing_changes_nothing_is_found(size):
    # Squares of such gradients are zero in float32.
    x = rows().float()
    weight = size * torch.ones(6, 1)
    found = virtual_adversarial(
        lambda x: x @ weight, RegressionObjective().divergence, x, x @ weight, 1.0, G
    )
    assert found.isfinite().all()
    assert found.max() <= 1e-20


def test_gradients_of_parameters_flow():
    # At the origin, where outputs are 0 whatever the parameters.
    x, w = 0 * rows(), torch.ones(6, 1).double().requires_grad_()
    virtual_adversarial(
        lambda x: x @ w, RegressionObjective().divergence, x, x @ w, 0.5, G
    ).mean().backward()
    # d/dw of |0.5 w|^2.
    torch.testing.assert_close(w.grad, 0.5 * w.detach())


def smoothed(t, outputs, target, weight):
    share = 1 / (len(target) + 2)
    logits = outputs / t
    sure = cross_entropy(logits, target, reduction="none")
    any_class = -logits.log_softmax(1).mean(dim=1)
    return float(weight @ ((1 - share) * sure + share * any_class))


@pytest.mark.parametrize("scale", [5, 50])
def test_temperature_is_scipys(scale):
    outputs = scale * (OUTPUTS + torch.eye(3).double()[TARGET])
    best = minimize_scalar(
        smoothed, bounds=(1, 200), args=(outputs, TARGET, WEIGHT), method="bounded"
    )
    assert temperature(outputs, TARGET, WEIGHT) == pytest.approx(best.x, rel=1e-3)
    at_best = ClassificationObjective(PRIOR, NONE).validation_loss(
        outputs, TARGET, WEIGHT
    )
    expected = cross_entropy(outputs / best.x, TARGET, reduction="none")
    torch.testing.assert_close(at_best, expected, rtol=1e-3, atol=1e-5)


def test_it_never_sharpens():
    right = torch.eye(3).double()[TARGET]
    assert temperature(0.1 * right, TARGET, WEIGHT) == 1
    assert temperature(float("nan") * right, TARGET, WEIGHT) == 1
    # All right, and sure of it: of 40 rows one more might have been wrong.
    assert temperature(1e3 * right, TARGET, WEIGHT) > 100
