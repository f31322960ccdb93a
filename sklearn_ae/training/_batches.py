"""Mini-batches: tensors of rows, sliced and never fetched row by row."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

# Rows, their weights and, for labelled rows, their targets.
Batch = tuple[Tensor, ...]


class WeightedRows(Dataset[Batch]):
    """Rows and their weights as tensors; many indices are one gather.

    Parameters
    ----------
    x : Tensor of shape (n, n_features)
    weight : Tensor of shape (n,)
        Scaled to a mean of one: the loss has the same size with and without weights.
    """

    def __init__(self, x: Tensor, weight: Tensor) -> None:
        self.x = x
        self.weight = (weight / weight.mean()).to(x.dtype)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Batch:
        return self.x[index], self.weight[index]

    def __getitems__(self, index: Tensor | slice | list[int]) -> Batch:
        if not isinstance(index, Tensor):
            return self.x[index], self.weight[index]
        # index_select takes a third of the time of self.x[index].
        return self.x.index_select(0, index), self.weight.index_select(0, index)

    def part(self, rows: slice) -> "WeightedRows":
        """Some of the rows, sharing memory with these."""
        return WeightedRows(self.x[rows], self.weight[rows])


class LabelledRows(WeightedRows):
    """Rows with a target.

    Parameters
    ----------
    x, weight
        As in ``WeightedRows``.
    target : Tensor of shape (n,) or (n, n_outputs)
    """

    def __init__(self, x: Tensor, weight: Tensor, target: Tensor) -> None:
        super().__init__(x, weight)
        self.target = target

    def __getitem__(self, index: int) -> Batch:
        return *super().__getitem__(index), self.target[index]

    def __getitems__(self, index: Tensor | slice | list[int]) -> Batch:
        return *super().__getitems__(index), self.target[index]

    def part(self, rows: slice) -> "LabelledRows":
        """Some of the rows, sharing memory with these."""
        return LabelledRows(self.x[rows], self.weight[rows], self.target[rows])


class RowBatches(Sampler[Tensor]):
    """Index tensors of one iteration: a pass over the rows, or ``max_batches`` of one.

    A pass that was cut short goes on in the next iteration, so that every row is
    used before any is used again.

    Parameters
    ----------
    n_rows : int
    batch_size : int
        Largest number of rows in a mini-batch.
    max_batches : int
        Largest number of mini-batches in an iteration.
    shuffle : bool
        Each pass has an order of its own.
    generator : torch.Generator
        On the CPU, so that the order is the same whatever the device.
    device : torch.device, optional
        Device of the rows.
    repeat : bool
        An iteration has ``max_batches`` even of fewer rows, in several passes.
    """

    def __init__(
        self,
        n_rows: int,
        batch_size: int,
        *,
        max_batches: int,
        shuffle: bool,
        generator: torch.Generator,
        device: torch.device | None = None,
        repeat: bool = False,
    ) -> None:
        self.device = device
        self.n_rows = n_rows
        self.shuffle, self.generator = shuffle, generator
        per_pass = -(-n_rows // batch_size)
        self.n_batches = max_batches if repeat else min(per_pass, max_batches)
        self._passes = self._batches_of_passes(per_pass)

    def _batches_of_passes(self, per_pass: int) -> Iterator[Tensor]:
        order = torch.arange(self.n_rows, device=self.device)
        while True:
            if self.shuffle:
                order = torch.randperm(self.n_rows, generator=self.generator)
                order = order.to(self.device)
            # Batches of about one size: no small last one, and no row left out.
            yield from torch.tensor_split(order, per_pass)

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[Tensor]:
        for _ in range(self.n_batches):
            yield next(self._passes)


class RowLoader(DataLoader[Batch]):
    """A ``DataLoader`` over ``WeightedRows`` that slices tensors in this process.

    It stays a DataLoader, so that tools which shard or move one (Accelerate) still
    can; iterating it costs what a bare loop over the indices does.
    """

    def __init__(
        self, dataset: WeightedRows, batches: Sequence[Tensor] | Sampler[Tensor]
    ):
        super().__init__(dataset, batch_sampler=batches, collate_fn=_as_is)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        for index in self.batch_sampler:  # type: ignore[union-attr]
            yield self.dataset.__getitems__(index)  # type: ignore[attr-defined]


def _as_is(batch: Batch) -> Batch:
    return batch


def row_blocks(n_rows: int, width: int, dtype: torch.dtype) -> Iterator[slice]:
    """Slices over the rows, each small enough for its layers to stay in the cache.

    They have about one size: products of a few rows have other last bits.
    """
    size = max(64, 2**20 // (width * dtype.itemsize))
    n_blocks = -(-n_rows // size)
    for i in range(n_blocks):
        yield slice(i * n_rows // n_blocks, (i + 1) * n_rows // n_blocks)
