import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from sklearn_ae import _data
from sklearn_ae._data import (
    RowBatches,
    RowLoader,
    Rows,
    RowsOf,
    merge_equal_rows,
    row_blocks,
    systematic_sample,
)


@pytest.fixture(params=[np.float64, np.float32])
def X(request):
    """Twelve rows of which some are equal."""
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype(request.param)
    return rows[[0, 1, 2, 0, 3, 3, 4, 0, 2, 1, 0, 4]]


def as_dict(X, rows, weight):
    return {tuple(X[i]): w for i, w in zip(rows, weight, strict=True)}


def test_rows_of_a_table_are_gathered_when_asked_for(X):
    rows = np.array([7, 0, 11, 3])
    some = RowsOf(X, rows)
    assert (len(some), some.shape) == (4, (4, 3))
    np.testing.assert_array_equal(some[1:3], X[[0, 11]])
    np.testing.assert_array_equal(some[np.array([3, 0])], X[[3, 7]])


# -- merge_equal_rows ------------------------------------------------------------


def test_equal_rows_become_one_with_their_number_as_weight(X):
    rows, weight = merge_equal_rows(X, None, seed=3)
    distinct, counts = np.unique(X, axis=0, return_counts=True)
    assert len(rows) == len(distinct)
    assert as_dict(X, rows, weight) == as_dict(distinct, range(5), counts)


def test_weights_of_equal_rows_are_summed_and_zeros_left_out(X):
    given = np.arange(len(X), dtype=float)
    given[[6, 11]] = 0  # both copies of row 4
    rows, weight = merge_equal_rows(X, given, seed=3)
    expected = {}
    for row, w in zip(X, given, strict=True):
        if w > 0:
            expected[tuple(row)] = expected.get(tuple(row), 0) + w
    assert as_dict(X, rows, weight) == expected
    assert len(expected) == 4


@pytest.mark.parametrize("weighted", [False, True])
def test_the_order_of_the_rows_does_not_matter(X, weighted):
    # The last bit of a sum of these depends on the order of its terms.
    X = np.tile(X, (3, 1))
    given = np.random.default_rng(1).random(len(X)) if weighted else None
    rows, weight = merge_equal_rows(X, given, seed=3)
    for seed in range(10):
        p = np.random.default_rng(seed).permutation(len(X))
        others, weights = merge_equal_rows(X[p], given[p] if weighted else None, seed=3)
        np.testing.assert_array_equal(X[p][others], X[rows])
        np.testing.assert_array_equal(weights, weight)


def test_the_order_is_random_and_the_seed_decides_it():
    X = np.arange(500.0)[:, None]  # one column and round numbers: hardest to mix
    first, _ = merge_equal_rows(X, None, seed=1)
    again, _ = merge_equal_rows(X, None, seed=1)
    other, _ = merge_equal_rows(X, None, seed=2)
    np.testing.assert_array_equal(first, again)
    for a, b in [(first, np.arange(500)), (first, other), (other, np.arange(500))]:
        # Spearman's rho of two random orders has standard deviation 0.045.
        assert abs(np.corrcoef(np.argsort(a), np.argsort(b))[0, 1]) < 0.25


def test_minus_zero_is_zero():
    X = np.array([[0.0, 1.0], [-0.0, 1.0], [-0.0, -1.0]])
    rows, weight = merge_equal_rows(X, None, seed=0)
    assert as_dict(X, rows, weight) == {(0.0, 1.0): 2, (0.0, -1.0): 1}


def test_columns_do_not_commute_in_the_hash():
    rows, _ = merge_equal_rows(np.array([[1.0, 2.0], [2.0, 1.0], [3.0, 3.0]]), None, 0)
    assert len(rows) == 3


def test_a_collision_of_the_hash_does_not_merge_different_rows(X, monkeypatch):
    monkeypatch.setattr(
        _data, "_row_hash", lambda X, seed: np.zeros(len(X), dtype=np.uint64)
    )
    rows, weight = merge_equal_rows(X, None, seed=0)
    total = {}
    for i, w in zip(rows, weight, strict=True):
        total[tuple(X[i])] = total.get(tuple(X[i]), 0) + w
    distinct, counts = np.unique(X, axis=0, return_counts=True)
    assert total == as_dict(distinct, range(5), counts)


# -- Rows ------------------------------------------------------------------------


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    return Rows(
        torch.randn(23, 4, generator=generator),
        torch.rand(23, dtype=torch.float64, generator=generator),
    )


def test_weights_have_mean_one_also_in_a_part(rows):
    part = rows.part(slice(5, 11))
    for r in (rows, part):
        assert r.weight.mean().item() == pytest.approx(1, abs=1e-6)
        assert r.weight.dtype == r.x.dtype
    # In the same proportions as in the whole.
    torch.testing.assert_close(
        part.weight / part.weight[0], rows.weight[5:11] / rows.weight[5]
    )


def test_a_part_shares_memory(rows):
    assert rows.part(slice(5, 11)).x.data_ptr() == rows.x[5:].data_ptr()


@pytest.mark.parametrize("kind", [list, torch.tensor])
def test_a_list_of_indices_is_one_gather(rows, kind):
    some = [3, 0, 22]
    x, weight = rows.__getitems__(kind(some))
    assert torch.equal(x, torch.stack([rows.x[i] for i in some]))
    assert torch.equal(weight, torch.stack([rows.weight[i] for i in some]))


# -- RowBatches ------------------------------------------------------------------


def batches(n_rows, batch_size, *, max_batches=1_000, shuffle=True, seed=0):
    return RowBatches(
        n_rows,
        batch_size,
        max_batches=max_batches,
        shuffle=shuffle,
        generator=torch.Generator().manual_seed(seed),
    )


def indices(iteration):
    return torch.cat(list(iteration)).tolist()


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_row_once_a_pass(shuffle):
    sampler = batches(24, 4, shuffle=shuffle)
    first, second = indices(sampler), indices(sampler)
    assert len(sampler) == 6
    assert sorted(first) == sorted(second) == list(range(24))
    assert (first == second == list(range(24))) is not shuffle


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_are_of_about_one_size_and_leave_no_row_out(shuffle):
    sampler = batches(23, 5, shuffle=shuffle)
    assert [len(b) for b in sampler] == [5, 5, 5, 4, 4]
    assert sorted(indices(sampler)) == list(range(23))


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_pass_that_was_cut_short_goes_on(shuffle):
    sampler = batches(24, 2, max_batches=4, shuffle=shuffle)
    parts = np.array([indices(sampler) for _ in range(6)])
    assert parts.shape == (6, 8)
    # Three iterations are one pass.
    for one_pass in (parts[:3], parts[3:]):
        assert sorted(one_pass.ravel()) == list(range(24))


def test_a_batch_larger_than_the_table_is_the_table():
    assert [sorted(b.tolist()) for b in batches(3, 10)] == [[0, 1, 2]]


def test_order_comes_from_the_given_generator_alone():
    before = torch.get_rng_state()
    first = indices(batches(50, 7, seed=1))
    assert torch.equal(torch.get_rng_state(), before)
    assert first == indices(batches(50, 7, seed=1))
    assert first != indices(batches(50, 7, seed=2))


# -- RowLoader -------------------------------------------------------------------


@pytest.mark.parametrize("index", [slice(3, 9), torch.tensor([4, 0, 4, 22])])
def test_loader_gives_what_slicing_gives(rows, index):
    ((x, weight),) = RowLoader(rows, [index])
    assert torch.equal(x, rows.x[index])
    assert torch.equal(weight, rows.weight[index])


def test_loader_is_a_data_loader_that_torch_itself_can_iterate(rows):
    index = list(batches(23, 5, shuffle=False))
    loader = RowLoader(rows, index)
    assert isinstance(loader, DataLoader)
    assert len(loader) == 5
    # What a tool sees that goes round our __iter__.
    for ours, torchs in zip(loader, DataLoader.__iter__(loader), strict=True):
        assert torch.equal(ours[0], torchs[0])
        assert torch.equal(ours[1], torchs[1])


def test_a_single_row_is_a_row(rows):
    x, weight = rows[7]
    assert torch.equal(x, rows.x[7])
    assert weight == rows.weight[7]
    assert len(rows) == 23


# -- row_blocks ------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [0, 1, 63, 64, 65, 10_000])
@pytest.mark.parametrize("width", [1, 100, 10**6])
def test_blocks_cover_the_rows_once_and_in_order(n_rows, width):
    covered = [range(n_rows)[b] for b in row_blocks(n_rows, width, torch.float64)]
    assert [i for block in covered for i in block] == list(range(n_rows))
    assert all(len(block) > 0 for block in covered)


def test_blocks_of_wide_rows_are_shorter_down_to_a_floor():
    def first(width, dtype):
        # As many rows as whole blocks have, of each of these sizes.
        return next(row_blocks(64 * 1_310 * 2_621, width, dtype)).stop

    assert first(100, torch.float64) * 100 * 8 <= 2**20
    assert first(100, torch.float32) == pytest.approx(
        2 * first(100, torch.float64), abs=1
    )
    assert first(10**7, torch.float64) == 64


def test_systematic_sample_is_in_proportion_to_weight():
    weight = np.array([1.0, 5.0, 2.0, 0.5, 1.5])
    rows = systematic_sample(weight, 10)
    assert np.bincount(rows, minlength=5) == pytest.approx(weight, abs=1)
    np.testing.assert_array_equal(systematic_sample(np.ones(7), 100), np.arange(7))
    np.testing.assert_array_equal(
        systematic_sample(np.array([1.0, 3.0, 2.0]), 100), [0, 1, 1, 1, 2, 2]
    )
    # Evenly spaced where there are too many.
    assert np.diff(systematic_sample(np.ones(1_000), 10)).tolist() == [100] * 9
