"""Corruption of the rows to train on, for denoising autoencoders."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

# One for all rows, or one for each, of shape (n, 1).
Level = float | Tensor
Corrupt = Callable[[Tensor, Level, Generator], Tensor]


class Statistics(NamedTuple):
    """What there is to know of each column: tensors of shape (n_features,)."""

    centre: Tensor
    spread: Tensor
    low: Tensor
    high: Tensor


def _uniform(x: Tensor, generator: Generator) -> Tensor:
    """One number in [0, 1) a cell, the same ones on whatever device."""
    drawn = torch.rand(x.shape, generator=generator, dtype=torch.float32)
    return drawn.to(x.device)


def gaussian(
    x: Tensor, level: Level, generator: Generator, columns: Statistics
) -> Tensor:
    """Add normal noise of ``level`` times the column's spread."""
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
    return torch.addcmul(x, columns.spread * level, noise)


def masking(
    x: Tensor, level: Level, generator: Generator, columns: Statistics
) -> Tensor:
    """Set each cell with probability ``level`` to the column's centre."""
    return torch.where(_uniform(x, generator) < level, columns.centre, x)


def swap(x: Tensor, level: Level, generator: Generator, columns: Statistics) -> Tensor:
    """Give each cell with probability ``level`` the value of another row."""
    n = len(x)
    if n == 1:
        return x
    swapped = _uniform(x, generator) < level
    # Rows ahead, around the end: a whole turn, back to the row itself, is not drawn.
    ahead = torch.randint(1, n, x.shape, generator=generator).to(x.device)
    other = (torch.arange(n, device=x.device)[:, None] + ahead) % n
    return torch.where(swapped, x.gather(0, other), x)


def salt_and_pepper(
    x: Tensor, level: Level, generator: Generator, columns: Statistics
) -> Tensor:
    """Send each cell with probability ``level`` to the column's low or high end."""
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

    A plain callable and no module: a user's function may be one, and is not to be
    trained.

    Parameters
    ----------
    kind : str or callable
        A key of ``CORRUPTIONS``, or ``(x, level, generator) -> x`` on a copy of the
        rows; the generator is on the CPU.
    level : float or (float, float)
        Probability that a cell is changed; of "gaussian", the noise's standard
        deviation in units of the column's. At 0 no kind changes anything. Of two, each
        row has a level of its own, log-uniform between them; a callable is given them
        as a tensor of shape (n, 1).
    centre, spread, low, high : Tensor of shape (n_features,)
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
        centre: Tensor,
        spread: Tensor,
        low: Tensor,
        high: Tensor,
    ) -> None:
        self.kind = kind
        self.level = level
        columns = (centre, spread, low, high)
        self.columns = Statistics(*(column.float() for column in columns))

    def __call__(self, x: Tensor, generator: Generator) -> tuple[Tensor, Tensor | None]:
        """Corrupted rows (n, n_features), and their levels (n, 1) if they have some.

        x stays as it is; draws are on the CPU.
        """
        if self.level == 0:
            return x, None
        level = self._level(x, generator)
        if not isinstance(self.kind, str):
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

    def importance(self, levels: Tensor) -> Tensor:
        """Weight (n,) of the loss of rows with noise of ``levels``, one on average.

        It is proportional to ``1 / levels ** 2 + 1``, the inverse of the error that is
        left in a column of normal values: each level counts as much (Karras, T., et
        al., 2022. Elucidating the design space of diffusion-based generative models.
        NeurIPS). Without it the highest levels would be all that counts.
        """
        assert isinstance(self.level, tuple)
        low, high = self.level
        mean = (low**-2 - high**-2) / (2 * math.log(high / low))
        return (levels[:, 0] ** -2 + 1) / (mean + 1)

    def noise_std(self, level: float) -> Tensor:
        """Standard deviation (n_features,) of gaussian noise of ``level``."""
        return level * self.columns.spread

    @staticmethod
    def _checked(x: Tensor, corrupted: object) -> Tensor:
        """What a callable gave, in x's dtype and on its device."""
        got = tuple(getattr(corrupted, "shape", ()))
        if not isinstance(corrupted, Tensor) or corrupted.shape != x.shape:
            raise ValueError(
                f"corruption must return a tensor of shape {tuple(x.shape)}, got a "
                f"{type(corrupted).__name__} of shape {got}."
            )
        if x.isfinite().all() and corrupted.isnan().any():
            raise ValueError("corruption must return numbers, got NaN for finite rows.")
        return corrupted.to(x)
