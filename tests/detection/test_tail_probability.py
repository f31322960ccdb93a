"""Tail probabilities of measures, and weighted quantiles."""

import numpy as np
import pytest
from scipy.stats import fisk, logistic

from sklearn_ae.detection._tail_probability import (
    MIN_MEAN_EXCESS,
    LogLogisticTail,
    just_below,
    median_and_iqr,
    quantile,
)


def random():
    return np.random.default_rng(0)


def unit(values):
    return np.ones(len(values))


def tail_of(values, weight=None):
    values = np.asarray(values, dtype=float)
    return LogLogisticTail(values, unit(values) if weight is None else weight)


def values_and_weight(n=200):
    """Values, some of them equal, and whole weights."""
    rng = random()
    return rng.normal(size=n).round(1), rng.integers(1, 5, size=n).astype(float)


# -- minus log p ---------------------------------------------------------------------


def test_p_is_the_survival_function_of_a_log_logistic_distribution():
    measure = random().gamma(3, size=201)
    logs = np.log(measure)
    median = np.median(measure)
    # The mean excess of a logistic variable over its median is scale times log(2).
    scale = np.maximum(logs - np.log(median), 0).mean() / np.log(2)
    grid = np.array([0.1, 1.0, 3.0, 10.0, 50.0])
    p = fisk(c=1 / scale, scale=median).sf(grid)
    np.testing.assert_allclose(np.exp(-tail_of(logs)(np.log(grid))), p, rtol=1e-9)
    grid = np.array([-30.0, 0, 1, 30, 700])
    expected = -logistic(np.log(median), scale).logsf(grid)
    np.testing.assert_allclose(tail_of(logs)(grid), expected, rtol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_at_the_median_p_is_one_half(n):
    values = random().normal(size=n)
    p = np.exp(-tail_of(values)(np.array([np.median(values)])))
    np.testing.assert_allclose(p, 0.5, rtol=1e-12)


@pytest.mark.parametrize(("median", "scale"), [(0, 1), (-20, 0.1), (3, 4)])
def test_of_logistic_draws_p_is_their_own(median, scale):
    # So is the mean of -log p, 1 where p is uniform.
    values = random().logistic(median, scale, size=20_000)
    grid = median + scale * np.array([-4.0, -1, 0, 1, 3, 10, 100])
    expected = -logistic(median, scale).logsf(grid)
    minus_log_p = tail_of(values)(grid)
    np.testing.assert_allclose(minus_log_p, expected, rtol=0.05)
    assert tail_of(values)(values).mean() == pytest.approx(1, abs=0.03)


def test_low_values_do_not_widen_the_tail():
    # The distances of rows with copies, say, are all but zero.
    values = random().normal(size=401)
    spoilt = np.where(values < -0.5, -20.0, values)
    grid = np.array([0.0, 1, 5])
    np.testing.assert_allclose(tail_of(spoilt)(grid), tail_of(values)(grid))


@pytest.mark.parametrize(
    "values",
    [
        [3.0],
        [3.0, 3.0],
        [3.0] * 50,
        [3.0] * 50 + [4.0],
        [0.0] + [3.0] * 50,
        [-700.0, 3.0, 700.0],
        [0.0, 1e-300, 3.0],
        list(range(10)),
    ],
    ids=str,
)
def test_minus_log_p_is_smooth_and_rises_for_any_sample(values):
    tail = tail_of(values)
    grid = np.array([-1e280, -700, 0, 2.9, 3, np.nextafter(3, 4), 5, 20, 700, 1e280])
    minus_log_p = tail(grid)
    assert np.isfinite(minus_log_p).all()
    assert (minus_log_p >= 0).all()
    assert (np.diff(minus_log_p) >= 0).all()
    assert minus_log_p[-1] > 1e270
    # No step is steeper than the inverse of the scale, a thousandth or more.
    grid = np.linspace(2, 4, 10_001)
    steepest = np.log(2) / MIN_MEAN_EXCESS
    assert np.diff(tail(grid)).max() <= steepest * np.diff(grid).max() * (1 + 1e-6)


def test_of_equal_values_p_falls_from_one_half():
    tail = tail_of([3.0] * 50)
    np.testing.assert_allclose(tail(np.array([3.0])), np.log(2))
    # A thousandth beyond, of a distance or an error, is one mean excess.
    beyond = tail(np.array([3.0 + MIN_MEAN_EXCESS, 3.1]))
    np.testing.assert_allclose(beyond[0], np.log(3), rtol=1e-9)
    assert beyond[1] > 50


def test_a_unit_changes_nothing():
    values, grid = random().normal(size=100), np.linspace(-5, 5, 21)
    moved = tail_of(values + 7)(grid + 7)
    np.testing.assert_allclose(moved, tail_of(values)(grid), rtol=1e-9)


def test_a_power_of_the_measure_changes_nothing():
    values, grid = random().normal(size=100), np.linspace(-5, 5, 21)
    np.testing.assert_allclose(
        tail_of(3 * values)(3 * grid), tail_of(values)(grid), rtol=1e-9
    )


def test_weights_count_as_copies_whatever_their_unit_and_order():
    values, weight = values_and_weight()
    grid = np.linspace(-5, 9, 101)
    expected = tail_of(np.repeat(values, weight.astype(int)))(grid)
    order = random().permutation(len(values))
    for same in (
        tail_of(values, weight),
        tail_of(values, 0.25 * weight),
        tail_of(values[order], weight[order]),
    ):
        np.testing.assert_allclose(same(grid), expected, rtol=1e-9)


# -- thresholds ----------------------------------------------------------------------


@pytest.mark.parametrize("n", [10, 70, 1_000])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_below_a_quantile_lies_exactly_its_share(n, share):
    values = random().normal(size=n)
    threshold = quantile(values, unit(values), share)
    assert (values < threshold).sum() == round(share * n)


@pytest.mark.parametrize("n", [1, 3, 7, 33])
def test_where_no_number_of_rows_is_that_share_there_are_fewer(n):
    values = random().normal(size=n)
    for share in (0.01, 0.1, 0.25, 0.5):
        threshold = quantile(values, unit(values), share)
        assert (values < threshold).sum() == int(share * n)


def test_a_threshold_is_no_rows_own_score():
    # A last bit would otherwise decide whether that row is an outlier.
    values = random().normal(size=40)
    for share in (0.1, 0.25, 0.5):
        assert quantile(values, unit(values), share) not in values


@pytest.mark.parametrize("share", [0.1, 0.25, 0.4, 0.5])
def test_below_it_lie_the_same_rows_whether_weighted_or_repeated(share):
    values, weight = values_and_weight()
    repeated = np.repeat(values, weight.astype(int))
    threshold = quantile(values, weight, share)
    expected = repeated < quantile(repeated, unit(repeated), share)
    np.testing.assert_array_equal(repeated < threshold, expected)
    assert weight[values < threshold].sum() <= share * weight.sum()


def test_sums_of_weights_that_are_no_round_numbers_do():
    values = random().normal(size=100)
    threshold = quantile(values, np.full(100, 0.1), 0.3)
    assert (values < threshold).sum() == 30


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_of_equal_values_none_are_below(share):
    values = np.full(20, 3.0)
    assert quantile(values, unit(values), share) == 3


@pytest.mark.parametrize("score", [-1e8, -20.7, -1e-8, 0.0, 3.0])
def test_just_below_a_score_are_lower_ones_but_no_rounding_of_it(score):
    error = 1e-10 * abs(score) + 1e-15
    limit = just_below(score)
    assert limit < score - error
    assert limit > score - 100 * error - 2e-12


def test_median_and_iqr_are_numpys():
    values = random().normal(size=400)
    method = "averaged_inverted_cdf"
    q1, q2, q3 = np.quantile(values, [0.25, 0.5, 0.75], method=method)
    median, iqr = median_and_iqr(values, unit(values))
    assert median == pytest.approx(q2)
    assert iqr == pytest.approx(q3 - q1)


def test_median_and_iqr_of_a_normal_sample():
    values = random().normal(2, 3, size=20_001)
    median, iqr = median_and_iqr(values, unit(values))
    assert median == pytest.approx(2, abs=0.1)
    assert iqr == pytest.approx(3 * 1.349, rel=0.03)


@pytest.mark.parametrize("n", [200, 203])
def test_median_and_iqr_take_weights_as_repetition(n):
    values, weight = values_and_weight(n)
    values += 1e-3 * np.arange(n)
    repeated = np.repeat(values, weight.astype(int))
    expected = median_and_iqr(repeated, unit(repeated))
    np.testing.assert_allclose(median_and_iqr(values, weight), expected, rtol=1e-9)
