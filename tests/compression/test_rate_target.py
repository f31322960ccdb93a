"""Target rates, and the distortion of reverse found-filling."""

import numpy as np
import pytest

from sklearn_ae.compression._rate_target import (
    Rate,
    distortion_of_bits,
    distortion_of_error,
)

VARIANCES = np.array([16.0, 4.0, 1.0, 0.25, 0.0])
NOTHING = Rate()


def distortion(allowed=None, data_range=10.0, **target):
    rate = NOTHING._replace(**target)

    def error_of(psnr):
        return data_range**2 * 10 ** (-psnr / 10)

    return rate.reverse_water_filling(VARIANCES, error_of, allowed)


@pytest.mark.parametrize(
    ("error", "expected"), [(1.0, 0.25), (2.0, 7 / 12), (4.25, 1.5), (21.25, 16.0)]
)
def test_distortion_of_an_error_by_hand(error, expected):
    # The errors are min(variance, distortion): 3 x 7/12 + 1/4 is 2, for one.
    assert distortion_of_error(VARIANCES, error) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("bits", [0.5, 1.0, 3.0, 20.0])
def test_distortion_of_bits_spends_them(bits):
    found = distortion_of_bits(VARIANCES, bits)
    spent = 0.5 * np.log2(np.maximum(VARIANCES / found, 1)).sum()
    assert spent == pytest.approx(bits, rel=1e-6)


def test_more_than_can_be_lost_and_less_than_can_be_kept():
    assert distortion_of_error(VARIANCES, 1e9) == 16
    assert distortion_of_error(VARIANCES, 0) == pytest.approx(16e-18)
    assert distortion_of_bits(VARIANCES, 1e9) == pytest.approx(16e-18)
    assert distortion_of_error(np.zeros(3), 1.0) == 0


def test_a_rate_next_to_none_is_solved_whatever_its_logarithm_rounds_to():
    # The exponential of a logarithm may be a little more or less than the number.
    for high in np.random.default_rng(0).uniform(0, 1, 300):
        for bits in (5e-324, 1e-300, 1e-17):
            assert distortion_of_bits(np.array([high]), bits) == pytest.approx(high)


def test_a_psnr_is_the_error_of_a_cell_in_units_of_the_range():
    found, k = distortion(target_psnr=20.0)
    # An error of 10**2 / 100 a cell, 5 in all five: 16 and 4 lose 1.875 each.
    assert found == pytest.approx(1.875, rel=1e-6)
    # Components are those above a quarter of the distortion: 16, 4 and 1.
    assert k == 3


def test_bits_are_of_each_of_n_components():
    found, k = distortion(bits_per_component=2.0, n_components=2)
    assert k == 2
    assert 0.5 * np.log2(16 / found) + 0.5 * np.log2(4 / found) == pytest.approx(4)
    # A share of the variance is as many components as PCA needs for it.
    assert distortion(bits_per_component=2.0, n_components=0.9)[1] == 2


def test_components_alone_stop_where_the_last_is_just_worth_storing():
    assert distortion(n_components=3) == (1.0, 3)
    assert distortion(n_components=0.5)[1] == 1
    found, k = distortion(n_components=7)
    assert k == 7
    assert found == pytest.approx(16e-6)


def test_without_a_rate_it_is_the_allowed_error():
    assert distortion(allowed=2.0) == (2.0, 3)


def test_constant_rows_have_a_component_and_a_distortion():
    found, k = NOTHING._replace(target_psnr=30.0).reverse_water_filling(
        np.zeros(4), lambda psnr: 0.0, None
    )
    assert k == 1
    assert found > 0


def test_a_given_distortion_is_kept():
    assert distortion(distortion=3.0, allowed=1.0) == (3.0, 3)
    assert distortion(distortion=3.0, n_components=1) == (3.0, 1)


@pytest.mark.parametrize("name", ["target_psnr", "bits_per_component", "distortion"])
def test_components_alone(name):
    few = NOTHING._replace(n_components=2)
    assert few.is_of_components_alone
    assert not NOTHING.is_of_components_alone
    assert not few._replace(**{name: 2}).is_of_components_alone
