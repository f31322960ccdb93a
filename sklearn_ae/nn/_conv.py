"""Convolutional networks on flat rows: images, and signals as images of height 1.

All sides of 1 stay as they are: along them a kernel has one tap.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from sklearn_ae.nn._mlp import ACTIVATIONS, EmptyLinear

Sides = tuple[int, int]

# Taps of a kernel: of the first, which sees few channels; of one that doubles a side, a
# multiple of two, so that each place gets as many; of all others.
FIRST, DOUBLE, OTHER = 5, 4, 3


@dataclass(frozen=True)
class ConvArchitecture:
    """Strided residual convolutions on rows that are pictures.

    A code as large as a row has an encoder that keeps the picture's resolution.

    Attributes
    ----------
    shape : (int, int, int)
        Channels, height and width; of a signal the height is 1.
    channels : sequence of int
        Of each stage of the encoder, at half of the resolution of the one before,
        rounded up; the decoder has them in reverse.
    activation : str
        A key of ``ACTIVATIONS``.
    generator : torch.Generator
        Source of the initial weights: the global one is never touched.
    """

    shape: tuple[int, int, int]
    channels: Sequence[int]
    activation: str
    generator: Generator

    @property
    def n_features(self) -> int:
        """Cells of a picture."""
        return math.prod(self.shape)

    @property
    def sides(self) -> list[Sides]:
        """Height and width at the start and after each stage."""
        sides = [self.shape[1:]]
        for _ in self.channels:
            height, width = sides[-1]
            sides.append((-(-height // 2), -(-width // 2)))
        return sides

    @property
    def n_lowest(self) -> int:
        """Features at the lowest resolution."""
        return self.channels[-1] * math.prod(self.sides[-1])

    def encoder(
        self,
        n_out: int,
        *,
        at_zero: bool,
        n_noise_features: int = 0,
        components: Tensor | None = None,
    ) -> nn.Module:
        """Convolutions down to the code; to one as large as a row, down and up."""
        if components is None or not self.is_done_by_encoder(n_out):
            return ConvEncoder(
                self, n_out, n_noise_features=n_noise_features, at_zero=at_zero
            )
        turn = EmptyLinear(self.n_features, n_out)
        with torch.no_grad():
            turn.weight.copy_(components)
            turn.bias.zero_()
        return nn.Sequential(
            ConvFilter(self, n_noise_features=n_noise_features, at_zero=at_zero), turn
        )

    def decoder(self, n_in: int, *, at_zero: bool) -> nn.Module:
        """Convolutions up from the code."""
        return ConvDecoder(self, n_in, at_zero=at_zero)

    def is_done_by_encoder(self, n_components: int) -> bool:
        """Whether the code is as large as a row."""
        return n_components == self.n_features


class ConvEncoder(nn.Module):
    """Strided residual convolutions and a linear layer: pictures to codes.

    Parameters
    ----------
    plan : Convolutions
    n_out : int
    n_told : int
        Further numbers at the end of a row, which each place of the picture gets.
    at_zero : bool
        Whether the last layer starts at zero.
    """

    def __init__(
        self,
        plan: ConvArchitecture,
        n_out: int,
        *,
        n_noise_features: int = 0,
        at_zero: bool,
    ) -> None:
        super().__init__()
        self.down = _Down(plan, n_noise_features)
        self.last = EmptyLinear(plan.n_lowest, n_out)
        _draw(self, plan.generator, zero=self.last if at_zero else None)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_features + n_told) to (n, n_out)."""
        h = self.down(x)[-1]
        return self.last(self.down.activation(h).flatten(1))


class ConvDecoder(nn.Module):
    """A linear layer and residual convolutions: codes to pictures.

    Parameters
    ----------
    plan : Convolutions
    n_in : int
    at_zero : bool
        Whether the last layer starts at zero.
    """

    def __init__(self, plan: ConvArchitecture, n_in: int, *, at_zero: bool) -> None:
        super().__init__()
        self.first = EmptyLinear(n_in, plan.n_lowest)
        self.lowest = (plan.channels[-1], *plan.sides[-1])
        self.up = _Up(plan)
        _draw(self, plan.generator, zero=self.up.doubles[-1] if at_zero else None)

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, n_in) to (n, n_features)."""
        h = self.first(z).unflatten(1, self.lowest)
        return self.up(h.contiguous(memory_format=torch.channels_last), ())


class ConvFilter(nn.Module):
    """Pictures to pictures: down and up again, each resolution kept for the way back.

    Parameters
    ----------
    plan : Convolutions
    n_told : int
        As of ``ConvEncoder``.
    at_zero : bool
        Whether the last layer starts at zero.

    References
    ----------
    Ronneberger, O., Fischer, P. and Brox, T. (2015). U-Net: convolutional networks for
    biomedical image segmentation. MICCAI. NOTE: features are added, not concatenated.
    """

    def __init__(
        self, plan: ConvArchitecture, *, n_noise_features: int = 0, at_zero: bool
    ) -> None:
        super().__init__()
        self.down = _Down(plan, n_noise_features)
        self.up = _Up(plan)
        _draw(self, plan.generator, zero=self.up.doubles[-1] if at_zero else None)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_features + n_told) to (n, n_features)."""
        *features, lowest = self.down(x)
        return self.up(lowest, features[::-1])


class _Down(nn.Module):
    """Pictures to features at each resolution."""

    def __init__(self, plan: ConvArchitecture, n_noise_features: int) -> None:
        super().__init__()
        self.shape = plan.shape
        self.activation = ACTIVATIONS[plan.activation]()
        widths = [plan.shape[0] + n_noise_features, *plan.channels]
        taps = [FIRST, *[OTHER] * len(plan.channels)]
        self.halves = nn.ModuleList(
            _EmptyConv(*ends, _along(sides, n_taps), _along(sides, 2))
            for ends, sides, n_taps in zip(
                pairwise(widths), plan.sides, taps, strict=False
            )
        )
        self.residuals = nn.ModuleList(
            _Residual(n, _along(sides, OTHER), self.activation)
            for n, sides in zip(plan.channels, plan.sides[1:], strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (n, n_features + n_told) to features (n, c, h, w) of each stage."""
        h = self._picture(x)
        features: list[Tensor] = []
        for half, residual in zip(self.halves, self.residuals, strict=True):
            h = half(self.activation(h) if features else h)
            # Channels last: convolutions take less time.
            h = residual(h.contiguous(memory_format=torch.channels_last))
            features.append(h)
        return features

    def _picture(self, x: Tensor) -> Tensor:
        n_features = math.prod(self.shape)
        picture = x[:, :n_features].unflatten(1, self.shape)
        if x.shape[1] == n_features:
            return picture
        # What is told of a row is told everywhere (Zhang, K., et al., 2018. FFDNet).
        noise_conditional = x[:, n_features:, None, None].expand(
            -1, -1, *self.shape[1:]
        )
        return torch.cat([picture, noise_conditional], dim=1)


class _Up(nn.Module):
    """Features at the lowest resolution to pictures."""

    def __init__(self, plan: ConvArchitecture) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[plan.activation]()
        self.sides = plan.sides[-2::-1]
        widths = [*plan.channels[::-1], plan.shape[0]]
        self.residuals = nn.ModuleList(
            _Residual(n, _along(sides, OTHER), self.activation)
            for n, sides in zip(widths[:-1], plan.sides[:0:-1], strict=True)
        )
        self.doubles = nn.ModuleList(
            _EmptyConvTranspose(*ends, sides)
            for ends, sides in zip(pairwise(widths), self.sides, strict=True)
        )

    def forward(self, h: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Map (n, c, h, w) to (n, n_features).

        ``features``, if any, are of each higher resolution, and are added there.
        """
        for i, (residual, double) in enumerate(
            zip(self.residuals, self.doubles, strict=True)
        ):
            height, width = self.sides[i]
            h = double(self.activation(residual(h)))[..., :height, :width]
            if i < len(features):
                h = h + features[i]
        return h.flatten(1)


class _Residual(nn.Module):
    """``h + W2 act(W1 act(h))``: pre-activation, without normalisation.

    References
    ----------
    He, K., et al. (2016). Identity mappings in deep residual networks. ECCV.
    """

    def __init__(self, n_channels: int, taps: Sides, activation: nn.Module) -> None:
        super().__init__()
        self.first = _EmptyConv(n_channels, n_channels, taps, (1, 1))
        self.second = _EmptyConv(n_channels, n_channels, taps, (1, 1))
        self.activation = activation

    def forward(self, h: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        act = self.activation
        return h + self.second(act(self.first(act(h))))


class _EmptyConv(nn.Conv2d):
    """A float32 ``Conv2d`` without values yet, and so without random numbers."""

    def __init__(self, n_in: int, n_out: int, taps: Sides, stride: Sides) -> None:
        padding = taps[0] // 2, taps[1] // 2
        super().__init__(
            n_in, n_out, taps, stride, padding, device="cpu", dtype=torch.float32
        )

    def reset_parameters(self) -> None:
        """Draw nothing."""


class _EmptyConvTranspose(nn.ConvTranspose2d):
    """A convolution to ``sides`` from half of them; without values yet."""

    def __init__(self, n_in: int, n_out: int, sides: Sides) -> None:
        taps, stride = _along(sides, DOUBLE), _along(sides, 2)
        padding = (taps[0] - stride[0]) // 2, (taps[1] - stride[1]) // 2
        super().__init__(
            n_in, n_out, taps, stride, padding, device="cpu", dtype=torch.float32
        )

    def reset_parameters(self) -> None:
        """Draw nothing."""


def _along(sides: Sides, n: int) -> Sides:
    """``n`` along each side above 1, along others 1."""
    return (n if sides[0] > 1 else 1), (n if sides[1] > 1 else 1)


def _draw(module: nn.Module, generator: Generator, *, zero: nn.Module | None) -> None:
    """Initial weights: torch's own for layers, biases at zero."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            if part is zero:
                nn.init.zeros_(part.weight)
            else:
                nn.init.kaiming_uniform_(
                    part.weight, a=math.sqrt(5), generator=generator
                )
            assert part.bias is not None
            nn.init.zeros_(part.bias)
