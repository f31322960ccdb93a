"""Rates, and the level of water that they come to."""

import numpy as np
import pytest

from sklearn_ae.compression._rate_target import Rate, level_of_bits, level_of_error

VARIANCES = np.array([16.0, 4.0, 1.0, 0.25, 0.0])
NOTHING = Rate()


def level(allowed=None, peak=10.0, **asked):
    rate = NOTHING._replace(**asked)
    return rate.level(VARIANCES, lambda psnr: peak**2 * 10 ** (-psnr / 10), allowed)


@pytest.mark.parametrize(
    ("error", "expected"), [(1.0, 0.25), (2.0, 7 / 12), (4.25, 1.5), (21.25, 16.0)]
)
def test_level_of_an_error_by_hand(error, expected):
    # What is lost is min(variance, level): 3 x 7/12 + 1/4 is 2, for one.
    assert level_of_error(VARIANCES, error) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("bits", [0.5, 1.0, 3.0, 20.0])
def test_level_of_bits_spends_them(bits):
    water = level_of_bits(VARIANCES, bits)
    spent = 0.5 * np.log2(np.maximum(VARIANCES / water, 1)).sum()
    assert spent == pytest.approx(bits, rel=1e-6)


def test_more_than_can_be_lost_and_less_than_can_be_kept():
    assert level_of_error(VARIANCES, 1e9) == 16
    assert level_of_error(VARIANCES, 0) == pytest.approx(16e-18)
    assert level_of_bits(VARIANCES, 1e9) == pytest.approx(16e-18)
    assert level_of_error(np.zeros(3), 1.0) == 0


def test_a_psnr_is_the_error_of_a_cell_in_units_of_the_range():
    water, k = level(target_psnr=20.0)
    # An error of 10**2 / 100 a cell, 5 in all five: 16 and 4 lose 1.875 each.
    assert water == pytest.approx(1.875, rel=1e-6)
    # Worth a component: 16, 4 and 1, that is all above a quarter of the level.
    assert k == 3


def test_bits_are_of_each_component_that_is_asked_for():
    water, k = level(bits_per_component=2.0, n_components=2)
    assert k == 2
    assert 0.5 * np.log2(16 / water) + 0.5 * np.log2(4 / water) == pytest.approx(4)
    # A share of the variance is as many components as PCA needs for it.
    assert level(bits_per_component=2.0, n_components=0.9)[1] == 2


def test_components_alone_stop_where_the_last_is_just_worth_storing():
    assert level(n_components=3) == (1.0, 3)
    assert level(n_components=0.5)[1] == 1
    water, k = level(n_components=7)
    assert k == 7
    assert water == pytest.approx(16e-6)


def test_without_a_rate_it_is_what_is_made_good_elsewhere():
    assert level(allowed=2.0) == (2.0, 3)


def test_there_is_always_a_component_and_a_level():
    water, k = NOTHING._replace(target_psnr=30.0).level(
        np.zeros(4), lambda psnr: 0.0, None
    )
    assert k == 1
    assert water > 0


def test_a_level_that_is_given_is_the_level():
    assert level(water=3.0, allowed=1.0) == (3.0, 3)
    assert level(water=3.0, n_components=1) == (3.0, 1)


@pytest.mark.parametrize("name", ["target_psnr", "bits_per_component", "water"])
def test_components_alone(name):
    few = NOTHING._replace(n_components=2)
    assert few.is_of_components_alone
    assert not NOTHING.is_of_components_alone
    assert not few._replace(**{name: 2}).is_of_components_alone
