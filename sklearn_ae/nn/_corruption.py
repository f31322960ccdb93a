"""Corruption of training rows, for denoising autoencoders."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from sklearn_ae.nn._generator_mode import GeneratorMode

# One level for all rows, or a tensor (n, 1) with one per row.
Level = float | Tensor
Corrupt = Callable[[Tensor, Level, Generator], Tensor]


class Statistics(NamedTuple):
    """Mean, standard deviation, minimum and maximum of columns, each (n_features,)."""

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor


def _uniform(x: Tensor, generator: Generator) -> Tensor:
    """Draw uniform numbers in [0, 1) on the CPU: the same ones on every device."""
    drawn = torch.rand(x.shape, generator=generator, dtype=torch.float32)
    return drawn.to(x.device)


def gaussian(
    x: Tensor, level: Level, generator: Generator, columns: Statistics
) -> Tensor:
    """Add normal noise with a standard deviation of ``level * columns.std``."""
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
    return torch.addcmul(x, columns.std * level, noise)


def masking(
    x: Tensor, level: Level, generator: Generator, columns: Statistics
) -> Tensor:
    """Set each cell with probability ``level`` to the column's mean."""
    return torch.where(_uniform(x, generator) < level, columns.mean, x)


def swap(x: Tensor, level: Level, generator: Generator, columns: Statistics) -> Tensor:
    """Give each cell with probability ``level`` the value of another row."""
    n = len(x)
    if n == 1:
        return x
    swapped = _uniform(x, generator) < level
    # Offsets from 1 to n - 1: a row is never swapped with itself.
    offset = torch.randint(1, n, x.shape, generator=generator).to(x.device)
    other = (torch.arange(n, device=x.device)[:, None] + offset) % n
    return torch.where(swapped, x.gather(0, other), x)


def salt_and_pepper(
    x: Tensor, level: Level, generator: Generator, columns: Statistics
) -> Tensor:
    """Set each cell with probability ``level`` to the column's minimum or maximum."""
    u = _uniform(x, generator)
    ends = torch.where(u < level / 2, columns.low, columns.high)
    return torch.where(u < level, ends, x)


CORRUPTIONS: dict[str, Callable[[Tensor, Level, Generator, Statistics], Tensor]] = {
    "gaussian": gaussian,
    "masking": masking,
    "swap": swap,
    "salt_and_pepper": salt_and_pepper,
}


class Corruption:
    """Noise on a batch of rows, from which a denoising autoencoder restores them.

    It is a plain callable rather than a module: ``kind`` may be a user's module, whose
    parameters are not to be trained.

    Parameters
    ----------
    kind : str or callable
        A key of ``CORRUPTIONS``, or ``(x, level, generator) -> x`` on a copy of the
        rows; the generator is on the CPU.
    level : float or (float, float)
        Probability that a cell is changed; with "gaussian", standard deviation of the
        noise in units of ``std``. At 0 rows are unchanged. With a pair, each row draws
        its level log-uniformly between the two; a callable gets these levels as a
        tensor of shape (n, 1).
    mean, std, low, high : Tensor of shape (n_features,)
        Mean, standard deviation, minimum and maximum of the columns.

    References
    ----------
    Vincent, P., et al. (2010). Stacked denoising autoencoders. Journal of Machine
    Learning Research 11. NOTE: there masking sets cells to 0, which is a column's mean
    only where it is centred; "swap" is not in the paper, and takes any other row of the
    mini-batch with the same probability, whatever their weights.
    """

    def __init__(
        self,
        kind: str | Corrupt,
        level: float | tuple[float, float],
        *,
        mean: Tensor,
        std: Tensor,
        low: Tensor,
        high: Tensor,
    ) -> None:
        self.kind = kind
        self.level = level
        columns = (mean, std, low, high)
        self.columns = Statistics(*(column.float() for column in columns))

    def __call__(self, x: Tensor, generator: Generator) -> tuple[Tensor, Tensor | None]:
        """Return corrupted rows (n, n_features) and their levels (n, 1).

        The levels are None if all rows have the same one. x is not modified.
        """
        if self.level == 0:
            return x, None
        level = self._level(x, generator)
        if not isinstance(self.kind, str):
            # A function that does not use the generator is to repeat, too.
            with GeneratorMode(generator):
                corrupted = self._checked(x, self.kind(x.clone(), level, generator))
        else:
            columns = Statistics(*(column.to(x) for column in self.columns))
            corrupted = CORRUPTIONS[self.kind](x, level, generator, columns)
        return corrupted, level if isinstance(level, Tensor) else None

    def _level(self, x: Tensor, generator: Generator) -> Level:
        if not isinstance(self.level, tuple):
            return self.level
        low, high = self.level
        drawn = torch.rand(len(x), 1, generator=generator, dtype=torch.float32)
        return (low * (high / low) ** drawn).to(x)

    def noise_std(self, level: float = 1.0) -> Tensor:
        """Return the standard deviation (n_features,) of gaussian noise of a level."""
        return level * self.columns.std

    def importance(self, levels: Tensor) -> Tensor:
        """Return loss weights (n,) of rows by their noise ``levels`` (n, 1); mean 1.

        They are proportional to ``1 / levels ** 2 + 1``, the inverse of the optimal
        denoising error of a standard normal column, so that each level contributes
        equally (Karras, T., et al., 2022. Elucidating the design space of
        diffusion-based generative models. NeurIPS). Unweighted, the highest levels
        would dominate the loss.
        """
        assert isinstance(self.level, tuple)
        low, high = self.level
        mean = (low**-2 - high**-2) / (2 * math.log(high / low))
        return (levels[:, 0] ** -2 + 1) / (mean + 1)

    @staticmethod
    def _checked(x: Tensor, corrupted: object) -> Tensor:
        """Validate a callable's result; return it in x's dtype and on x's device."""
        got = tuple(getattr(corrupted, "shape", ()))
        if not isinstance(corrupted, Tensor) or corrupted.shape != x.shape:
            raise ValueError(
                f"corruption must return a tensor of shape {tuple(x.shape)}, got a "
                f"{type(corrupted).__name__} of shape {got}."
            )
        if x.isfinite().all() and corrupted.isnan().any():
            raise ValueError("corruption must return numbers, got NaN for finite rows.")
        return corrupted.to(x)
