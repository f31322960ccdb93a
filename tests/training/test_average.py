import numpy as np
import torch

from sklearn_ae.training._weights import RunningAverage


def averaged(values, start=7.0):
    average = RunningAverage(torch.tensor([start], dtype=torch.float64))
    for value in values:
        average.update(torch.tensor([value], dtype=torch.float64))
    return average.value.item()


def test_it_is_the_sum_of_all_steps_with_the_documented_weights():
    values = np.random.default_rng(0).normal(size=40)
    steps = np.arange(1, 41)
    # Step s enters with 1 - (1 - 1/s)^10 and shrinks by (1 - 1/t)^10 at each later t:
    # the product telescopes to (s / 40)^10.
    shares = (1 - (1 - 1 / steps) ** 10) * (steps / 40) ** 10
    np.testing.assert_allclose(shares.sum(), 1)
    np.testing.assert_allclose(averaged(values), shares @ values)


def test_half_of_it_is_of_the_latest_fifteenth_of_the_steps():
    assert 0.49 < averaged(np.repeat([0.0, 1.0], [933, 67])) < 0.51


def test_the_start_is_forgotten_at_the_first_step():
    assert averaged([1.0]) == averaged([1.0], start=-30.0) == 1.0


def test_it_does_not_change_the_weights_and_restarts():
    vector = torch.tensor([1.0, 2.0])
    average = RunningAverage(vector)
    average.update(vector + 2)
    average.update(vector)
    assert vector.tolist() == [1.0, 2.0]
    average.restart(torch.tensor([5.0, 5.0]))
    assert average.value.tolist() == [5.0, 5.0]
    average.update(vector)
    assert average.value.tolist() == [1.0, 2.0]
