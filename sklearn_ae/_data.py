"""Rows to mini-batches: merged, split and sliced, never fetched row by row."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import gen_batches
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

# Rows, their weights and, of labelled ones, their targets.
Batch = tuple[Tensor, ...]

# Cells of a table that are worked on at once: float64 copies stay in the cache.
_CELLS = 2**18
# An odd 64-bit constant: 2**64 divided by the golden ratio (Fibonacci hashing).
_MIX = np.uint64(0x9E3779B97F4A7C15)


def merge_equal_rows(
    X: NDArray[np.floating], sample_weight: NDArray[np.float64] | None, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Index of each distinct row, in a random order, and its summed weight.

    The order is that of a seeded hash of the rows: random, but a matter of the rows
    and the seed alone. What is trained on the merged rows depends neither on the order
    in which they came nor on whether a row is repeated or weighted; and no row can
    stand on both sides of a validation split. Rows of weight zero are left out.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    sample_weight : ndarray of shape (n_samples,) or None
    seed : int

    Returns
    -------
    rows : ndarray of shape (n_distinct,)
        Indices into X.
    weight : ndarray of shape (n_distinct,)
    """
    key = _row_hash(X, seed)
    if sample_weight is None:
        order = np.argsort(key, kind="stable")
        sample_weight = np.ones(len(X))
    else:
        # Equal rows by weight: the last bit of a sum is a matter of its order.
        order = np.lexsort((sample_weight, key))
        order = order[sample_weight[order] > 0]
    same_hash = np.flatnonzero(key[order[1:]] == key[order[:-1]])
    same = same_hash[(X[order[same_hash]] == X[order[same_hash + 1]]).all(axis=1)]
    starts = np.delete(np.arange(len(order)), same + 1)
    return order[starts], np.add.reduceat(sample_weight[order], starts)


class RowsOf:
    """Some rows of a table in some order, gathered only as they are asked for.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    rows : ndarray of shape (n,)
        Indices into X.
    """

    def __init__(self, X: NDArray[np.floating], rows: NDArray[np.intp]) -> None:
        self.X, self.rows = X, rows
        self.shape = (len(rows), X.shape[1])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, some: slice | NDArray[np.intp]) -> NDArray[np.floating]:
        return self.X[self.rows[some]]


def _row_hash(X: NDArray[np.floating], seed: int) -> NDArray[np.uint64]:
    bits = np.dtype(f"u{X.dtype.itemsize}")
    key = np.full(len(X), seed, dtype=np.uint64) * _MIX
    for column in X.T:
        # Adding zero turns -0.0 into 0.0: equal numbers need equal bits.
        key ^= (np.ascontiguousarray(column) + X.dtype.type(0)).view(bits)
        # Twice: one round leaves the orders of two seeds correlated.
        for shift in (np.uint64(32), np.uint64(29)):
            key *= _MIX
            key ^= key >> shift
    return key


def float32_hash(X: NDArray[np.floating]) -> NDArray[np.uint64]:
    """A number (n,) for each row of X: the same in float32 and in float64."""
    with np.errstate(over="ignore"):
        return _row_hash(X.astype(np.float32), seed=0)


def systematic_sample(weight: NDArray[np.float64], max_rows: int) -> NDArray[np.intp]:
    """Indices in proportion to weight, evenly spaced: each row once if all are one."""
    total = np.cumsum(weight)
    n_rows = min(max(len(weight), round(total[-1])), max_rows)
    targets = (np.arange(n_rows) + 0.5) / n_rows * total[-1]
    return np.searchsorted(total, targets)


class Rows(Dataset[Batch]):
    """A table and its weights as tensors; a list of indices is one gather.

    Parameters
    ----------
    x : Tensor of shape (n, n_features)
    weight : Tensor of shape (n,)
        Scaled to a mean of one, so that the loss has the same size with or without.
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
        # In a third of the time that self.x[index] takes.
        return self.x.index_select(0, index), self.weight.index_select(0, index)

    def part(self, rows: slice) -> "Rows":
        """Some of the rows, sharing memory with these."""
        return Rows(self.x[rows], self.weight[rows])


class LabelledRows(Rows):
    """Rows with a target.

    Parameters
    ----------
    x, weight
        As of ``Rows``.
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

    A pass that was cut short goes on in the next iteration, so that every row is seen
    before any is seen again.

    Parameters
    ----------
    n_rows : int
    batch_size : int
        Rows in a mini-batch at the most.
    max_batches : int
        Mini-batches in an iteration at the most.
    shuffle : bool
        Whether each pass has an order of its own.
    generator : torch.Generator
        On the CPU, so that the order is the same whatever the device.
    device : torch.device, optional
        Where the rows are.
    repeat : bool
        Whether an iteration has ``max_batches`` even of fewer rows, in several passes.
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
            # Of about one size: no last batch of a few rows, and none left out.
            yield from torch.tensor_split(order, per_pass)

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[Tensor]:
        for _ in range(self.n_batches):
            yield next(self._passes)


class RowLoader(DataLoader[Batch]):
    """A ``DataLoader`` over ``Rows`` that slices tensors in this process.

    It stays a DataLoader, so that tools which shard or move one (Accelerate) still
    can; iterating it costs what a bare loop over the indices does.
    """

    def __init__(self, dataset: Rows, batches: Sequence[Tensor] | Sampler[Tensor]):
        super().__init__(dataset, batch_sampler=batches, collate_fn=_as_is)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        for index in self.batch_sampler:  # type: ignore[union-attr]
            yield self.dataset.__getitems__(index)  # type: ignore[attr-defined]


def _as_is(batch: Batch) -> Batch:
    return batch


def cell_blocks(X: "NDArray[np.floating] | RowsOf") -> Iterator[slice]:
    """Slices over the rows of a table: copies of one are small beside all of it."""
    return gen_batches(len(X), max(1, _CELLS // X.shape[1]))


def row_blocks(n_rows: int, width: int, dtype: torch.dtype) -> Iterator[slice]:
    """Slices over the rows, each small enough for its layers to stay in the cache.

    They are of about one size: of a few rows, the last bits would be other ones.
    """
    size = max(64, 2**20 // (width * dtype.itemsize))
    n_blocks = -(-n_rows // size)
    for i in range(n_blocks):
        yield slice(i * n_rows // n_blocks, (i + 1) * n_rows // n_blocks)
