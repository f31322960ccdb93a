import numpy as np
import pytest
from scipy.stats import gumbel_r

from sklearn_ae.detection._tail_probability import (
    TAIL_QUANTILE,
    TailLogPValue,
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
    return TailLogPValue(values, unit(values) if weight is None else weight)


def values_and_weight(n=200):
    """Values, some of them equal, and whole weights."""
    rng = random()
    return rng.normal(size=n).round(1), rng.integers(1, 5, size=n).astype(float)


# -- minus log p ---------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 99, 1_000])
def test_in_the_body_p_is_the_share_of_values_as_high_or_higher(n):
    values = random().normal(size=n).round(1)
    grid = np.unique(values)
    share = (values >= grid[:, None]).mean(axis=1)
    body = share > 1 - TAIL_QUANTILE
    expected = -np.log(share[body])
    np.testing.assert_allclose(tail_of(values)(grid[body]), expected, atol=1e-12)
    # Half of the way to the next.
    grid, share = (grid[1:] + grid[:-1]) / 2, (share[1:] + share[:-1]) / 2
    expected = -np.log(share[body[1:]])
    np.testing.assert_allclose(tail_of(values)(grid[body[1:]]), expected)
    assert tail_of(values)(values.min() - 1) == 0


def test_far_beyond_an_exponential_sample_p_is_its_survival_function():
    values = random().exponential(size=20_000) + 5
    grid = np.array([1.0, 2.0, 8.0, 30.0, 500.0])
    assert grid[3] > 2 * (values.max() - 5)
    # The mean of 4,000 excesses is off by 1.6 %.
    np.testing.assert_allclose(tail_of(values)(grid + 5), grid, rtol=0.05)


def test_beyond_other_tails_that_fall_off_exponentially_too():
    values = gumbel_r.rvs(size=20_000, random_state=0)
    grid = np.array([2.0, 5.0, 20.0])
    np.testing.assert_allclose(tail_of(values)(grid), -gumbel_r.logsf(grid), rtol=0.08)


@pytest.mark.parametrize(
    "values",
    [
        [3.0],
        [3.0, 3.0],
        [3.0] * 50,
        [3.0] * 50 + [4.0],
        [0.0] + [3.0] * 50,
        [-1e300, 3.0, 1e300],
        [0.0, 1e-300, 3.0],
        list(range(10)),
    ],
    ids=str,
)
def test_minus_log_p_rises_from_zero_for_any_sample(values):
    grid = [-np.inf, -1e300, 0.0, 2.9, 3.0, np.nextafter(3.0, 4), 5, 20, np.inf]
    minus_log_p = tail_of(values)(np.array(grid))
    assert not np.isnan(minus_log_p).any()
    assert minus_log_p[0] == 0
    assert (np.diff(minus_log_p) >= 0).all()
    assert np.isfinite(minus_log_p[:-1]).all()


@pytest.mark.parametrize("spread", [1e-15, 1e-9])
def test_values_that_rounding_tells_apart_share_a_step(spread):
    # Ten values, twenty rows each: the highest two are in the tail.
    steps = np.repeat(np.arange(10.0), 20)
    rounded = steps + spread * random().uniform(-1, 1, len(steps))
    exact, tail = tail_of(steps), tail_of(rounded)
    for moved in (steps, steps - spread, steps + spread):
        np.testing.assert_allclose(tail(moved), exact(steps), rtol=1e-6, atol=1e-9)
    # In the body the share of a value counts all of its rows.
    np.testing.assert_allclose(np.exp(-tail(np.arange(8.0))), 1 - np.arange(8) / 10)


def test_beyond_equal_values_p_is_small():
    minus_log_p = tail_of([3.0] * 50)(np.array([3.0, 3.1]))
    assert minus_log_p[0] == 0
    assert minus_log_p[1] > 50


def test_p_goes_on_falling_beyond_the_highest_value():
    values = random().normal(size=100)
    last = values.max()
    minus_log_p = tail_of(values)(np.array([last, last + 1]))
    assert minus_log_p[1] > minus_log_p[0] + 1


def test_calibration_rows_are_compared_with_the_others_only():
    values = np.sort(random().exponential(size=100))
    minus_log_p = tail_of(values)(values, self_weight=1.0)
    others = np.arange(99, -1, -1) / 99  # of 99, how many are as abnormal or more
    np.testing.assert_allclose(minus_log_p[:80], -np.log(np.maximum(others[:80], 0.2)))
    beyond = values[81:] - values[80]
    mean_of_others = (beyond.sum() - beyond) / 19
    expected = beyond / mean_of_others - np.log(0.2)
    np.testing.assert_allclose(minus_log_p[81:], expected)
    # One alone, or next to it, has no others.
    assert np.isfinite(tail_of(values[:5])(values[:5], self_weight=1.0)).all()


def test_p_does_not_depend_on_the_order_nor_on_the_unit_of_weights():
    values, weight = values_and_weight()
    values = values + 1e-6 * np.arange(len(values))
    grid = np.linspace(-5, 5, 101)
    expected = TailLogPValue(values, weight)(grid)
    shuffled = random().permutation(len(values))
    other = TailLogPValue(values[shuffled], 0.25 * weight[shuffled])(grid)
    np.testing.assert_allclose(other, expected, atol=1e-12)


def test_in_the_body_weights_count_as_repetition():
    values, weight = values_and_weight()
    repeated = np.repeat(values, weight.astype(int))
    grid = np.linspace(-5, np.quantile(repeated, 0.79), 101)
    expected = tail_of(repeated)(grid)
    np.testing.assert_allclose(
        TailLogPValue(values, weight)(grid), expected, atol=1e-12
    )


@pytest.mark.parametrize("heavy", [False, True])
def test_in_the_tail_weights_count_as_repetition(heavy):
    values, weight = np.unique(values_and_weight()[0]), values_and_weight()[1]
    weight = weight[: len(values)]
    if heavy:
        weight[int(0.7 * len(values))] = 300
    grid = np.linspace(-5, 9, 101)
    expected = tail_of(np.repeat(values, weight.astype(int)))(grid)
    np.testing.assert_allclose(TailLogPValue(values, weight)(grid), expected, rtol=1e-9)


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
