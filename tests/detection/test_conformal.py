import numpy as np
from scipy.stats import chisquare

from sklearn_ae.detection._conformal import conformal_p_values


def random():
    return np.random.default_rng(0)


def unit(values):
    return np.ones(len(values))


def scores_and_weight(n=200):
    """Values, some of them equal, and whole weights."""
    rng = random()
    return rng.normal(size=n).round(1), rng.integers(1, 5, size=n).astype(float)


def test_p_values_are_the_share_as_low_or_lower_counting_the_row_itself():
    calibration, weight = scores_and_weight()
    scores = np.r_[calibration, np.linspace(-5, 5, 37)]
    expected = [
        (1 + (calibration <= one).sum()) / (1 + len(calibration)) for one in scores
    ]
    np.testing.assert_allclose(
        conformal_p_values(scores, calibration, unit(calibration)), expected
    )
    # With weights, as much of their sum; the row itself has the mean weight.
    below = [weight[calibration <= one].sum() / weight.mean() for one in scores]
    expected = (1 + np.array(below)) / (1 + len(calibration))
    for size in (1, 1e-3, 1e3):
        p = conformal_p_values(scores, calibration, size * weight)
        np.testing.assert_allclose(p, expected)


def test_p_values_of_rows_from_the_same_distribution_are_uniform():
    rng = random()
    n, n_tables = 19, 4_000
    p = np.concatenate(
        [
            conformal_p_values(scores[:1], scores[1:], np.ones(n))
            for scores in rng.gumbel(size=(n_tables, n + 1))
        ]
    )
    counts = np.bincount(np.round(p * (n + 1)).astype(int), minlength=n + 2)
    assert counts[0] == 0
    assert chisquare(counts[1:]).pvalue > 0.001


def test_p_values_of_equal_scores_are_never_too_small():
    rng = random()
    scores = rng.integers(3, size=(4_000, 20)).astype(float)
    p = np.array([conformal_p_values(s[:1], s[1:], np.ones(19))[0] for s in scores])
    for t in (0.05, 0.2, 0.4, 0.7):
        assert (p <= t).mean() <= t + 3 * np.sqrt(t * (1 - t) / len(p))


def test_p_values_take_rounded_scores_for_equal():
    calibration = np.full(19, -2.0) + 1e-15 * np.arange(-9, 10)
    p = conformal_p_values(np.array([-2.0 - 1e-14, -2.1]), calibration, np.ones(19))
    np.testing.assert_allclose(p, [1, 0.05])


def test_p_values_lie_above_one_in_n_plus_one_and_up_to_one():
    calibration = random().normal(size=99)
    p = conformal_p_values(np.array([-np.inf, -9, 9, np.inf]), calibration, np.ones(99))
    np.testing.assert_allclose(p, [0.01, 0.01, 1, 1])
