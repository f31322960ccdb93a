import numpy as np
import pytest

from sklearn_ae.training._weights import one_cycle

N_STEPS = [20, 100, 1_000]


def curve(n_steps, **kwargs):
    return np.array([one_cycle(i, n_steps, **kwargs) for i in range(n_steps)])


@pytest.mark.parametrize("warm_up", [0.1, 0.3])
@pytest.mark.parametrize("n_steps", N_STEPS)
def test_rises_over_the_warm_up_and_then_falls(n_steps, warm_up):
    rates = curve(n_steps, warm_up=warm_up)
    top = round(warm_up * n_steps)
    assert (np.diff(rates[:top]) > 0).all()
    assert (np.diff(rates[top:]) < 0).all()
    assert abs(rates.argmax() - top) <= 1


@pytest.mark.parametrize("n_steps", N_STEPS)
def test_rise_is_linear_and_fall_is_half_a_cosine(n_steps):
    middles = (np.arange(n_steps) + 0.5) / n_steps
    expected = np.where(
        middles < 0.1, middles / 0.1, (1 + np.cos(np.pi * (middles - 0.1) / 0.9)) / 2
    )
    np.testing.assert_allclose(curve(n_steps), expected, atol=1e-12)


def test_peaks_at_one_and_ends_at_zero():
    rates = curve(10_000)
    assert 0.999 < rates.max() <= 1
    assert rates[-1] < 1e-6


@pytest.mark.parametrize("n_steps", [1, 2, 5])
def test_every_step_of_a_short_run_has_a_rate(n_steps):
    assert (curve(n_steps) > 0).all()


def test_a_step_past_the_end_does_not_rise_again():
    assert one_cycle(150, 100) == 0
