import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from sklearn_ae.training._batches import RowBatches, RowLoader, WeightedRows, row_blocks
from tests.helpers import generator


@pytest.fixture
def rows():
    source = generator()
    return WeightedRows(
        torch.randn(23, 4, generator=source),
        torch.rand(23, dtype=torch.float64, generator=source),
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
        generator=generator(seed),
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
    # Tools may bypass our __iter__.
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
