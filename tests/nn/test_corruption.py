import copy
import pickle

import numpy as np
import pytest
import torch
from scipy import stats

from sklearn_ae.nn import CORRUPTIONS, Corruption
from tests.helpers import generator

N = 20_000
# Three columns of different places and sizes.
COLUMNS = {
    "mean": torch.tensor([1.0, -2.0, 30.0]),
    "std": torch.tensor([1.0, 0.1, 5.0]),
    "low": torch.tensor([-3.0, -2.5, 12.0]),
    "high": torch.tensor([6.0, -1.5, 48.0]),
}
REPLACING = ["masking", "swap", "salt_and_pepper"]
# Smallest p-value and largest number of standard errors that pass: with the seeds
# fixed a test always passes or never does.
P, SIGMAS = 1e-3, 4


def corruption(kind, level=0.3, **columns):
    return Corruption(kind, level, **(COLUMNS | columns))


def corrupting(kind, level=0.3, **columns):
    """What a corruption makes of rows, without their levels."""
    corrupt = corruption(kind, level, **columns)
    return lambda x, generator: corrupt(x, generator)[0]


@pytest.fixture(scope="module")
def x():
    """Rows of which no two cells are equal, nor equal to what may replace them."""
    noise = torch.randn(N, 3, dtype=torch.float64, generator=generator(99))
    return COLUMNS["mean"] + COLUMNS["std"] * noise


def add_one(x, level, generator):
    return x + 1


def binomial_fits(counts, n, p):
    """Whether the counts are draws of Binomial(n, p), by chi-square."""
    seen = np.bincount(np.ravel(counts), minlength=n + 1)
    expected = stats.binom.pmf(np.arange(n + 1), n, p) * seen.sum()
    return stats.chisquare(seen, expected).pvalue > P


def test_the_kinds_are_those_tested_here():
    assert set(CORRUPTIONS) == {"gaussian", *REPLACING}


# -- which cells change ------------------------------------------------------------


@pytest.mark.parametrize("level", [0.1, 0.5])
@pytest.mark.parametrize("kind", REPLACING)
def test_each_cell_changes_by_itself_with_probability_level(kind, level, x):
    changed = (corrupting(kind, level)(x, generator()) != x).numpy()
    for column in changed.T:
        assert stats.binomtest(int(column.sum()), N, level).pvalue > P
    # Cells of a row, and of a column in five successive rows.
    assert binomial_fits(changed.sum(axis=1), 3, level)
    assert binomial_fits(changed.reshape(N // 5, 5, 3).sum(axis=1), 5, level)


@pytest.mark.parametrize("kind", REPLACING)
def test_at_level_one_every_cell_changes(kind, x):
    assert (corrupting(kind, 1.0)(x, generator()) != x).all()


@pytest.mark.parametrize("kind", [*sorted(CORRUPTIONS), add_one])
def test_level_zero_is_the_batch_itself(kind, x):
    before = generator().get_state()
    source = generator()
    assert corrupting(kind, 0.0)(x, source) is x
    assert torch.equal(source.get_state(), before)


# -- what they become --------------------------------------------------------------


def test_masking_is_exactly_the_mean(x):
    corrupted = corrupting("masking")(x, generator())
    changed = corrupted != x
    mean = COLUMNS["mean"].double().expand_as(x)
    assert torch.equal(corrupted[changed], mean[changed])


def test_salt_and_pepper_is_the_low_or_the_high_end_with_even_odds(x):
    corrupted = corrupting("salt_and_pepper")(x, generator())
    for j in range(3):
        ends = corrupted[corrupted[:, j] != x[:, j], j]
        low, high = COLUMNS["low"][j].double(), COLUMNS["high"][j].double()
        n_low = int((ends == low).sum())
        assert n_low + int((ends == high).sum()) == len(ends)
        assert stats.binomtest(n_low, len(ends), 0.5).pvalue > P


def test_gaussian_noise_is_standard_normal_in_units_of_level_times_std(x):
    noise = corrupting("gaussian", 0.3)(x, generator()) - x
    noise = (noise / (0.3 * COLUMNS["std"])).numpy()
    for column in noise.T:
        assert abs(column.mean()) < SIGMAS / np.sqrt(N)
        assert abs(column.var() - 1) < SIGMAS * np.sqrt(2 / N)
        assert stats.kstest(column, "norm").pvalue > P
    # Between columns, and with the row before.
    together = np.corrcoef(np.hstack([noise[1:], noise[:-1]]), rowvar=False)
    assert np.abs(together - np.eye(6)).max() < SIGMAS / np.sqrt(N)


def test_a_constant_column_gets_no_noise(x):
    std = torch.tensor([1.0, 0.0, 5.0])
    corrupted = corrupting("gaussian", 0.3, std=std)(x, generator())
    assert torch.equal(corrupted[:, 1], x[:, 1])
    assert (corrupted[:, [0, 2]] != x[:, [0, 2]]).all()


@pytest.fixture(scope="module")
def sources():
    """From which row the cells of many batches of six rows came, (n, 6, 3)."""
    rows, shift = torch.arange(6.0)[:, None], 100 * torch.arange(3.0)
    swap, random = corrupting("swap", 1.0), generator()
    return torch.stack([swap(rows + shift, random) - shift for _ in range(2000)])


def test_swap_takes_from_the_same_column(sources):
    assert torch.equal(sources.unique(), torch.arange(6.0))


def test_swap_never_takes_the_row_itself(sources):
    assert (sources != torch.arange(6.0)[:, None]).all()


def test_swap_takes_each_other_row_equally_often(sources):
    for row in range(6):
        counts = np.bincount(sources[:, row].ravel().int(), minlength=6)
        assert stats.chisquare(np.delete(counts, row)).pvalue > P


def test_swap_keeps_the_columns_distribution(sources):
    for column in sources.unbind(dim=2):
        assert stats.chisquare(np.bincount(column.ravel().int())).pvalue > P


@pytest.mark.parametrize(
    ("one", "other"), [((0, 0), (0, 1)), ((0, 1), (0, 2)), ((0, 0), (1, 0))]
)
def test_swap_draws_a_row_for_each_cell(one, other, sources):
    ahead = ((sources - torch.arange(6.0)[:, None]) % 6).numpy()
    pairs = ahead[:, *one], ahead[:, *other]
    table = stats.contingency.crosstab(*pairs).count
    assert table.shape == (5, 5)
    assert stats.chi2_contingency(table).pvalue > P


def test_swap_in_two_rows_exchanges_them():
    x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert torch.equal(corrupting("swap", 1.0)(x, generator()), x.flip(0))


@pytest.mark.parametrize("kind", sorted(CORRUPTIONS))
def test_one_row_goes_through(kind, x):
    corrupted = corrupting(kind, 1.0)(x[:1], generator())
    assert corrupted.shape == (1, 3)
    assert torch.equal(corrupted, x[:1]) == (kind == "swap")


# -- manners -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(CORRUPTIONS))
def test_the_batch_is_left_as_it_is(kind, x):
    before = x.clone()
    assert not torch.equal(corrupting(kind)(x, generator()), x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("kind", sorted(CORRUPTIONS))
def test_numbers_come_from_the_given_generator_alone(kind, x):
    before = torch.get_rng_state()
    corrupt = corrupting(kind)
    first, again = corrupt(x, generator(1)), corrupt(x, generator(1))
    assert torch.equal(first, again)
    assert not torch.equal(first, corrupt(x, generator(2)))
    source = generator(1)
    assert not torch.equal(corrupt(x, source), corrupt(x, source))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", sorted(CORRUPTIONS))
def test_dtype_is_that_of_the_batch(kind, dtype, x):
    assert corrupting(kind)(x.to(dtype), generator()).dtype == dtype


@pytest.mark.parametrize("kind", ["swap", add_one])
@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))]
)
def test_a_copy_does_the_same(kind, duplicate, x):
    original = corruption(kind)
    expected, _ = original(x, generator())
    copied = duplicate(original)
    assert torch.equal(copied(x, generator())[0], expected)


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_one_level_for_all_rows_is_no_level_of_each(level, x):
    assert corruption("gaussian", level)(x, generator())[1] is None


# -- a corruption of one's own -----------------------------------------------------


def test_a_callable_is_given_rows_level_and_generator(x):
    source = generator()

    def kind(rows, level, given):
        assert torch.equal(rows, x)
        assert (level, given) == (0.3, source)
        return rows * 2

    assert torch.equal(corrupting(kind)(x, source), x * 2)


def test_a_callable_may_work_in_place(x):
    before = x.clone()
    corrupted = corrupting(lambda x, level, generator: x.zero_())(x, generator())
    assert not corrupted.any()
    assert torch.equal(x, before)


def test_what_a_callable_gives_is_cast_to_the_dtype_of_the_batch(x):
    corrupt = corrupting(lambda x, level, generator: x.double())
    assert corrupt(x.float(), generator()).dtype == torch.float32


@pytest.mark.parametrize(
    ("result", "got"),
    [
        (torch.zeros(5, 2), r"a Tensor of shape \(5, 2\)"),
        # It would be broadcast.
        (torch.zeros(3), r"a Tensor of shape \(3,\)"),
        (np.zeros((5, 3)), r"a ndarray of shape \(5, 3\)"),
        (None, r"a NoneType of shape \(\)"),
    ],
)
def test_a_callable_that_gives_no_rows_is_refused(result, got):
    corrupt = corrupting(lambda x, level, generator: result)
    message = rf"corruption must return a tensor of shape \(5, 3\), got {got}"
    with pytest.raises(ValueError, match=message):
        corrupt(torch.zeros(5, 3), generator())
