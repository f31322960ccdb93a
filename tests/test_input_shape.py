import math

import pytest

from sklearn_ae._input_shape import folded_shape


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((64,), (1, 64)),
        ((5,), (1, 5)),
        ((8, 8), (1, 8, 8)),
        ([9, 31], (1, 9, 31)),
        ((8, 2), (1, 8, 2)),
        ((7, 9), (7, 9)),
        ((2, 140), (2, 140)),
        ((3, 16, 8), (3, 16, 8)),
        ((3, 2, 2), (3, 2, 2)),
        ((12, 1, 140), (12, 140)),
        ((8, 1), (1, 8)),
        ((4, 1, 1), (4, 1)),
        ((1,), (1, 1)),
    ],
)
def test_channels_and_sides(given, expected):
    assert folded_shape(given, math.prod(given)) == expected


@pytest.mark.parametrize("bad", [(8.0, 8), "88", 64, (True, 64), None, ("8", "8")])
def test_what_is_no_tuple_of_integers_is_refused(bad):
    with pytest.raises(
        TypeError, match=r"input_shape must be a tuple of integers.*got"
    ):
        folded_shape(bad, 64)


@pytest.mark.parametrize("bad", [(), (1, 1, 8, 8), (0, 8), (-8, -8)])
def test_numbers_that_are_no_sides_are_refused(bad):
    with pytest.raises(ValueError, match="one to three positive integers"):
        folded_shape(bad, 64)


@pytest.mark.parametrize("bad", [(8, 8, 1), (28, 32, 3)])
def test_channels_that_come_last_are_refused(bad):
    with pytest.raises(ValueError, match=r"has its channels last. Put them first"):
        folded_shape(bad, math.prod(bad))


def test_a_shape_of_another_size_is_told_with_both_numbers():
    with pytest.raises(
        ValueError, match=r"\(8, 9\) holds 72 numbers.* has 64 features"
    ):
        folded_shape((8, 9), 64)
