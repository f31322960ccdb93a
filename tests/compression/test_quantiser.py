"""Uniform quantisation of codes."""

import numpy as np

from sklearn_ae.compression._entropy_coding import MAX_SYMBOL
from sklearn_ae.compression._quantiser import Quantiser

Z = np.random.default_rng(0).normal(size=(2_000, 3)) * (5.0, 1.0, 0.01)


def test_rounded_codes_are_the_nearest_multiples_of_the_step():
    quantiser = Quantiser(0.25)
    rounded = quantiser.rounded(Z)
    assert np.abs(rounded - Z).max() <= 0.125
    np.testing.assert_array_equal(rounded / 0.25, np.rint(rounded / 0.25))
    np.testing.assert_array_equal(quantiser.rounded(rounded), rounded)
    assert quantiser.symbols(Z).dtype == np.int64


def test_whatever_a_code_is_it_has_a_symbol():
    strange = np.array([[np.inf, -np.inf, np.nan], [1e300, -1e300, 0.0]])
    symbols = Quantiser(0.25).symbols(strange)
    expected = [[MAX_SYMBOL, -MAX_SYMBOL, 0], [MAX_SYMBOL, -MAX_SYMBOL, 0]]
    np.testing.assert_array_equal(symbols, expected)
    assert Quantiser(1e-9).symbols(np.array([[1.7e308]])) == MAX_SYMBOL


def test_bits_are_near_the_entropy_of_a_normal_variable():
    quantiser = Quantiser(0.25).fit(Z, np.ones(len(Z)))
    bits = quantiser.models.bits(quantiser.symbols(Z)).mean()
    # log2(sd sqrt(2 pi e) / step) for the first two; the third is always zero.
    normal = np.log2(np.array([5.0, 1.0]) * np.sqrt(2 * np.pi * np.e) / 0.25)
    assert abs(bits - normal.sum()) < 0.15
