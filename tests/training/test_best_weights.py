"""Which weights are kept: the rule, on losses made up for it."""

import numpy as np
import pytest
import torch
from scipy.stats import ttest_1samp

from sklearn_ae.training._weights import BestWeights


def float64(values):
    return torch.as_tensor(values, dtype=torch.float64)


def monitor(
    losses,
    weight=None,
    tol=0.0,
    keep_start_unless_significant=True,
    downweight_bad_rows=True,
):
    """A monitor whose start is the vector (0,)."""
    losses = float64(losses)
    weight = torch.ones_like(losses) if weight is None else float64(weight)
    weight = weight / weight.mean()
    return BestWeights(
        float64([0.0]),
        losses,
        weight,
        tol=tol,
        keep_start_unless_significant=keep_start_unless_significant,
        downweight_bad_rows=downweight_bad_rows,
    )


def update(m, number, losses):
    return m.update(float64([float(number)]), float64(losses))


def chosen(m):
    vector, loss = m.select()
    return vector.item(), loss


def test_the_start_is_kept_where_nothing_is_better():
    m = monitor([1.0, 2.0, 3.0])
    assert chosen(m) == (0, 2)
    assert update(m, 1, [1.1, 2.1, 3.1])
    assert chosen(m) == (0, 2)


def test_without_a_test_any_gain_is_kept():
    start, gain = [1.0, 2.0, 3.0], [0.0, 0.0, 0.1]
    tested, bold = (
        monitor(start),
        monitor(start, keep_start_unless_significant=False),
    )
    for m in (tested, bold):
        update(m, 1, np.subtract(start, gain))
    assert chosen(tested)[0] == 0
    assert chosen(bold)[0] == 1


def test_bad_rows_count_in_full_unless_they_are_downweighted():
    start = np.repeat([0.01, 4.0], 20)
    for downweight_bad_rows, kept in ((True, 0), (False, 1)):
        m = monitor(start, downweight_bad_rows=downweight_bad_rows)
        # The wrong ones a little less so, the right ones ten times as unsure.
        update(m, 1, np.repeat([0.5, 3.0], 20))
        assert chosen(m)[0] == kept


def test_the_best_is_kept_and_not_the_last():
    m = monitor([1.0, 2.0, 3.0])
    for number, factor in enumerate([0.9, 0.5, 0.7, 1.2], start=1):
        update(m, number, factor * np.array([1.0, 2.0, 3.0]))
    assert chosen(m) == (2, 1)
    assert m.best.item() == 2
    assert m.curve == pytest.approx([2, 1.8, 1, 1.4, 2.4])


def test_one_row_decides_no_more_than_its_share():
    # A hundredth of the others' loss, a hair less on the one that holds nearly all.
    start = np.array([1.0, 1, 1, 1, 1, 1, 1, 1000])
    others, outlier = start.copy(), start.copy()
    others[:-1] *= 0.01
    outlier[-1] *= 0.99
    m = monitor(start)
    update(m, 1, outlier)
    update(m, 2, others)
    assert outlier.mean() < others.mean() < start.mean()
    assert chosen(m)[0] == 2


def test_the_plain_loss_is_never_above_the_starts():
    start = np.array([1.0, 1, 1, 1, 1, 1, 1, 1000])
    losses = start.copy()
    losses[:-1] *= 0.01
    losses[-1] *= 1.01
    m = monitor(start)
    update(m, 1, losses)
    assert losses.mean() > start.mean()
    assert chosen(m) == (0, start.mean())
    # But for that it would be kept: with as much less on that row it is.
    losses[-1] = 0.99 * start[-1]
    update(m, 2, losses)
    assert chosen(m) == (2, losses.mean())


@pytest.mark.parametrize("seed", range(20))
def test_a_gain_counts_if_a_paired_t_test_exceeds_one_standard_error(seed):
    rng = np.random.default_rng(seed)
    start = np.ones(12)  # so that all rows have the same influence
    losses = start - rng.normal(0.03, 0.1, size=12)
    m = monitor(start)
    update(m, 1, losses)
    p = ttest_1samp(start - losses, 0, alternative="greater").pvalue
    assert chosen(m)[0] == (p < 0.16)


def test_the_seeds_above_show_both_outcomes():
    gains = [np.random.default_rng(s).normal(0.03, 0.1, size=12) for s in range(20)]
    accepted = [ttest_1samp(g, 0, alternative="greater").pvalue < 0.16 for g in gains]
    refused = [g.mean() > 0 and not a for g, a in zip(gains, accepted, strict=True)]
    assert any(accepted)
    assert any(refused)


def test_one_row_shows_nothing():
    m = monitor([1.0])
    update(m, 1, [0.1])
    assert chosen(m) == (0, 1)


def test_equal_gains_of_all_rows_are_more_than_chance():
    m = monitor([1.0, 1.0])
    update(m, 1, [0.5, 0.5])
    assert chosen(m) == (1, 0.5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_not_kept(bad):
    m = monitor([1.0, 2.0])
    assert not update(m, 1, [0.1, bad])
    assert not update(m, bad, [0.1, 0.1])
    assert chosen(m) == (0, 1.5)
    assert len(m.curve) == 3


def test_without_monitored_rows_the_latest_finite_weights_are_kept():
    m = monitor([])
    assert update(m, 1, [])
    assert update(m, 2, [])
    assert not update(m, np.nan, [])
    vector, loss = m.select()
    assert vector.item() == 2
    assert np.isnan(loss)


def test_weights_are_copies():
    # Rows 0 and 1 pull against row 2, in the losses and in the best weights.
    start, first, second = [1.0, 2.0, 4.0], [0.5, 1.0, 5.0], [1.5, 2.5, 1.0]
    for weight, best in (([6, 6, 1], 1), ([1, 1, 6], 2)):
        weighted = monitor(start, weight)
        repeated = monitor(np.repeat(start, weight))
        for number, losses in enumerate((first, second), start=1):
            update(weighted, number, losses)
            update(repeated, number, np.repeat(losses, weight))
        assert weighted.curve == pytest.approx(repeated.curve)
        assert weighted.best.item() == repeated.best.item() == best


def test_waiting_is_counted_from_the_last_gain_of_at_least_tol():
    m = monitor([1.0, 1.0], tol=0.1)
    waited = []
    for number, loss in enumerate([0.95, 0.8, 0.85, 0.79, 0.7, np.nan], start=1):
        update(m, number, [loss, loss])
        waited.append(m.n_waited)
    # 0.95 is best, but no gain of a tenth; what isn't finite is no wait.
    assert waited == [1, 0, 1, 2, 0, 0]
    assert chosen(m) == (5, 0.7)


def test_a_later_change_of_the_vector_changes_nothing():
    vector = float64([0.0])
    m = BestWeights(
        vector,
        float64([1.0, 1.0]),
        float64([1.0, 1.0]),
        tol=0,
        keep_start_unless_significant=True,
    )
    vector.fill_(1)
    assert m.best.item() == 0
    m.update(vector, float64([0.5, 0.5]))
    vector.fill_(2)
    assert m.best.item() == 1


def test_an_exact_start_is_kept():
    m = monitor([0.0, 0.0])
    update(m, 1, [0.0, 0.0])
    assert chosen(m) == (0, 0)
